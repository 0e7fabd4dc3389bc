"""How migration.yaml says that a column is masked, and under which name it goes.

```yaml
tables:
  "*":
    columns:
      "*email*": {mask: hash}               # a keyed SHA-256; MIGRATION_MASK_SALT is its key
  dbo.Customers:
    columns:
      Phone: {mask: {partial: {last: 4}}}   # ***4711
      BirthDate: {mask: {fixed: 1900-01-01}}
      Notes: {mask: null}
      Name: {name: full_name}
```
"""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Literal, TypeAlias

from pydantic import BeforeValidator, Field, ValidationError, WithJsonSchema

from migration_assets.frozen_model import FrozenModel
from migration_assets.naming import RESERVED_COLUMNS, NameKind, comparable, legal_name

MOST_KEPT = 100
"""Characters that a partial mask may keep at each end."""


class MaskWord(StrEnum):
    """A mask that needs no more than a word.

    Attributes:
        HASH: 64 hexadecimal digits of a keyed SHA-256, the same for the same value everywhere.
        NULL: NULL in every row.
        OFF: no mask, against an earlier pattern.
    """

    HASH = "hash"
    NULL = "null"
    OFF = "off"


class FixedMask(FrozenModel):
    """One value in every row, also in those that have NULL.

    Attributes:
        fixed: a value of the column's type, as text: `unknown`, `0`, `1900-01-01`, `0x00`.
    """

    fixed: Annotated[str, WithJsonSchema({"type": ["string", "number", "boolean"]})]


class Kept(FrozenModel):
    """What a partial mask keeps.

    Attributes:
        first: characters at the beginning; default: 0.
        last: characters at the end, blanks behind a text apart; default: 0.
    """

    first: int = Field(0, ge=0, le=MOST_KEPT)
    last: int = Field(0, ge=0, le=MOST_KEPT)


class PartialMask(FrozenModel):
    """The ends of a text with `***` between; a text that is no longer than both is `***` alone.

    Attributes:
        partial: how many characters stay: `{first: 1, last: 2}`.
    """

    partial: Kept


Mask: TypeAlias = MaskWord | FixedMask | PartialMask

_WORDS = {"hash": MaskWord.HASH, "null": MaskWord.NULL, "off": MaskWord.OFF}
_WANTED = "hash, null, {fixed: value}, {partial: {first: 1, last: 2}} or off belongs there"


def _as_mask(value: object) -> object:
    """Read what YAML makes of a mask: of null nothing, of off a switch, of a date a date.

    Nothing is a mask too: `mask:` alone must not mean that the values go.
    """
    if isinstance(value, MaskWord | FixedMask | PartialMask):
        return value
    if value is None:
        return MaskWord.NULL
    if value is False:
        return MaskWord.OFF
    if isinstance(value, str) and value.strip().lower() in _WORDS:
        return _WORDS[value.strip().lower()]
    if isinstance(value, dict) and len(value) == 1:
        ((kind, content),) = value.items()
        if kind == "fixed":
            return FixedMask(fixed=_as_text(content))
        if kind == "partial":
            return _as_partial(content)
    raise ValueError(_WANTED)


def _as_text(value: object) -> str:
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, str | int | float | Decimal):
        return str(value)
    raise ValueError(
        "fixed wants one value; for NULL write `mask: null`"
        if value is None
        else "fixed wants one value, of the column's type"
    )


def _as_partial(value: object) -> PartialMask:
    wanted = f"partial wants {{first: n, last: n}}, from 0 to {MOST_KEPT} characters each"
    is_numbers = isinstance(value, dict) and all(type(n) is int for n in value.values())
    if not is_numbers:
        raise ValueError(wanted)
    try:
        kept = Kept.model_validate(value)
    except ValidationError:
        raise ValueError(wanted) from None
    if not kept.first and not kept.last:
        raise ValueError("partial keeps nothing; write {fixed: '***'} for that")
    return PartialMask(partial=kept)


MaskChoice = Annotated[
    Mask | None,
    # YAML makes null of `null`, and some readers false of `off`.
    BeforeValidator(_as_mask, json_schema_input_type=Mask | Literal[False] | None),
]


def _column_name(name: object) -> object:
    """Refuse a name that another system would not take, or that we have use for ourselves."""
    if not isinstance(name, str):
        return name
    legal = legal_name(name, NameKind.COLUMN)
    if legal != name:
        raise ValueError(f"no name that Iceberg and StarRocks both take; {legal} would be one")
    if comparable(name) in {comparable(reserved) for reserved in _TAKEN}:
        raise ValueError("that name is reserved")
    return name


_TAKEN = RESERVED_COLUMNS | {"migrated_at", "source_schema", "source_partition"}

ColumnName = Annotated[str, BeforeValidator(_column_name)]

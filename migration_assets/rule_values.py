"""Values of migration.yaml that more than one part of it has, and what is wrong with one."""

from __future__ import annotations

import re
from datetime import date
from fnmatch import fnmatchcase
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field

from migration_assets.naming import (
    ICEBERG_TEMPLATE_PATTERN,
    NAMESPACE_PATTERN,
    RESERVED_DATABASES,
    STARROCKS_DATABASE_PATTERN,
    STARROCKS_TEMPLATE_PATTERN,
)


def _as_list(value: object) -> object:
    """Take `include: "sales.*"` as a list of one."""
    return [value] if isinstance(value, str) else value


def _not_reserved(name: str) -> str:
    if name in RESERVED_DATABASES:
        raise ValueError(f"StarRocks has a database {name} of its own")
    return name


def _no_switch(value: object) -> object:
    if isinstance(value, bool):
        # Python takes yes for 1.
        raise ValueError("a number belongs there")  # noqa: TRY004 - pydantic wants a ValueError
    return value


def _of_many_tables(template: str | None) -> str | None:
    if template is not None and "{table}" not in template:
        raise ValueError(
            "all tables would have this name; put {table} into it, as in '{schema}_{table}', or "
            "write the name of one table under `tables`"
        )
    return template


Number = Annotated[int, BeforeValidator(_no_switch)]
Patterns = Annotated[
    tuple[str, ...], BeforeValidator(_as_list, json_schema_input_type=str | list[str])
]
IcebergTemplate = Annotated[str, Field(pattern=ICEBERG_TEMPLATE_PATTERN)]
StarRocksTemplate = Annotated[str, Field(pattern=STARROCKS_TEMPLATE_PATTERN)]
_FOR_MANY = {"pattern": r"\{table\}"}
"""What `_of_many_tables` asks for, in the JSON schema's words."""
IcebergTemplateOfMany = Annotated[
    IcebergTemplate | None, AfterValidator(_of_many_tables), Field(json_schema_extra=_FOR_MANY)
]
StarRocksTemplateOfMany = Annotated[
    StarRocksTemplate | None, AfterValidator(_of_many_tables), Field(json_schema_extra=_FOR_MANY)
]
Namespace = Annotated[str, Field(pattern=NAMESPACE_PATTERN), AfterValidator(_not_reserved)]
Database = Annotated[str, Field(pattern=STARROCKS_DATABASE_PATTERN), AfterValidator(_not_reserved)]


_DAY = re.compile(r"(\d{4})(?:-(\d{2}))?(?:-(\d{2}))?", re.ASCII)


def _as_day(value: object) -> object:
    """Take 2023 and `2023-01` as their first day."""
    found = _DAY.fullmatch(str(value)) if isinstance(value, int | str) else None
    if found is None:
        return value
    try:
        return date(int(found[1]), int(found[2] or 1), int(found[3] or 1))
    except ValueError:
        return value


Day = Annotated[
    date,
    BeforeValidator(
        _as_day,
        json_schema_input_type=int | Annotated[str, Field(pattern=rf"^{_DAY.pattern}$")],
    ),
]


def matches(pattern: str, full_name: str) -> bool:
    """Say whether a shell pattern matches `schema.table`, or is it, without case."""
    name, pattern = full_name.casefold(), pattern.casefold()
    return name == pattern or fnmatchcase(name, pattern)  # a name may hold brackets

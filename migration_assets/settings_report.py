"""docs/settings.md: every variable with type, default and meaning: `python -m migration_assets.settings_report`.

Types and defaults come from `settings.py`, sections and meanings from `.env.example`, which is what
people copy; so the page says nothing that one of them does not.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from enum import Enum
from types import NoneType
from typing import Any, get_args

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from migration_assets.operations.project_folder import env_example
from migration_assets.settings import SETTINGS, variables

_HEAD = """\
# Settings

Written by `python -m migration_assets.settings_report` from `settings.py` and
[.env.example](../.env.example), which `migration-assets init` puts into a project as `.env`.

The environment goes before `.env`; an empty value counts as not set. A secret is shown in no log,
error, page or report. `migration-assets doctor` tries all of them.
"""
_SECTION = re.compile(r"# --- (?P<title>.*)")
_VARIABLE = re.compile(r"(?:# )?(?P<name>[A-Z][A-Z0-9_]+)=")


def fields() -> dict[str, FieldInfo]:
    """Each variable with the field that reads it."""
    return {name: field for cls in SETTINGS for name, field in variables(cls).items()}


def settings_page(example: str | None = None, known: Mapping[str, FieldInfo] | None = None) -> str:
    """Render the page.

    Args:
        example: text of `.env.example`; that of the project unless given.
        known: variables and their fields; those of `settings.py` unless given.
    """
    known = fields() if known is None else known
    rows = _rows(env_example() if example is None else example, known)
    return "\n".join([_HEAD, *rows]) + "\n"


def _rows(example: str, known: Mapping[str, FieldInfo]) -> Iterator[str]:
    meaning, is_in_section, is_in_table = "", False, False
    for line in example.splitlines():
        if section := _SECTION.match(line):
            title, _, note = section["title"].partition(" (")
            yield f"{'' if not is_in_table else chr(10)}## {title}\n"
            if note:
                yield f"{note[0].upper()}{note[1:].removesuffix(')')}.\n"
            is_in_section, is_in_table = True, False
        elif found := _VARIABLE.match(line):
            if not is_in_table:
                yield "| Variable | Type | Default | Secret | Meaning |"
                yield "| --- | --- | --- | --- | --- |"
                is_in_table = True
            yield _row(found["name"], known[found["name"]], meaning)
        elif line.startswith("# ") and is_in_section:
            if meaning and not is_in_table:
                yield f"{meaning}\n"
            meaning = line.removeprefix("# ")
            continue
        elif not line and is_in_section:
            if is_in_table:
                yield ""
            is_in_table = False
        meaning = ""


def _row(name: str, field: FieldInfo, meaning: str) -> str:
    secret = "secret" if _is_secret(field) else ""
    cells = (f"`{name}`", _type(field), _default(field), secret, meaning)
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') or '-' for cell in cells)} |"


def _kind(field: FieldInfo) -> Any:
    """The type of a value that is set."""
    kinds = [kind for kind in get_args(field.annotation) if kind is not NoneType]
    return kinds[0] if kinds else field.annotation


def _is_secret(field: FieldInfo) -> bool:
    return _kind(field) is SecretStr


def _type(field: FieldInfo) -> str:
    kind = _kind(field)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return ", ".join(f"`{member.value}`" for member in kind)
    if kind is bool:
        return "`true`, `false`"
    if kind in {int, float}:
        return " ".join(["whole number" if kind is int else "number", *_bounds(field)])
    return "text"


def _bounds(field: FieldInfo) -> Iterator[str]:
    words = {"gt": "above", "ge": "from", "le": "to"}
    for name, word in words.items():
        for constraint in (*field.metadata, *_annotated(field)):
            bound = getattr(constraint, name, None)
            if bound is not None:
                yield f"{word} {bound}"


def _annotated(field: FieldInfo) -> Iterator[Any]:
    """Constraints of a type that stands beside None."""
    for kind in get_args(field.annotation):
        for extra in getattr(kind, "__metadata__", ()):
            yield from getattr(extra, "metadata", ())


def _default(field: FieldInfo) -> str:
    default = field.default
    if field.is_required():
        return "required"
    if isinstance(default, SecretStr) or default in {None, ""}:
        return ""
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    return f"`{default.value if isinstance(default, Enum) else default}`"


if __name__ == "__main__":
    sys.stdout.write(settings_page())

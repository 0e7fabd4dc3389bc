"""What `schema.sql` declares: the one place where the sample's types are written down."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from importlib import resources

_TABLE = re.compile(
    r"^CREATE TABLE \[(\w+)\]\.\[([^\]]+)\] \($(.*?)^\);$", re.MULTILINE | re.DOTALL
)
_NAME = r"\[(?P<name>(?:[^\]]|\]\])+)\]"
_COMPUTED = re.compile(
    rf"^    {_NAME} AS \(CAST\(.* AS (?P<type>\w+(?:\([^)]*\))?)\)\)", re.MULTILINE
)
_COLUMN = re.compile(rf"^    {_NAME} (?P<type>(?!AS\b)\w+(?:\([^)]*\))?)", re.MULTILINE)


@dataclass(frozen=True)
class DeclaredColumn:
    """One column of a CREATE TABLE.

    Attributes:
        name: without brackets.
        type: `decimal`, in lower case and without arguments.
        arguments: `(38, 10)`; `(-1,)` for `max`; empty where there are none.
        nullable: whether it takes NULL.
        computed: it has no value of its own.
    """

    name: str
    type: str
    arguments: tuple[int, ...]
    nullable: bool
    computed: bool


def schema_sql() -> str:
    """The text of `schema.sql`: batches separated by lines that say GO."""
    return resources.files(__package__).joinpath("schema.sql").read_text(encoding="utf-8")


@cache
def declared_tables() -> dict[tuple[str, str], tuple[DeclaredColumn, ...]]:
    """Schema and name of each table to its columns, both in the order of `schema.sql`."""
    return {
        (schema, name): tuple(_columns(body)) for schema, name, body in _TABLE.findall(schema_sql())
    }


def _columns(body: str) -> list[DeclaredColumn]:
    found = []
    for line in body.splitlines():
        computed = _COMPUTED.match(line)
        match = computed or _COLUMN.match(line)
        if match is None:
            continue
        kind, _, arguments = match["type"].lower().rstrip(")").partition("(")
        numbers = [
            -1 if word == "max" else int(word) for word in arguments.split(",") if word.strip()
        ]
        name = match["name"].replace("]]", "]")
        nullable = "NOT NULL" not in line
        found.append(DeclaredColumn(name, kind, tuple(numbers), nullable, computed is not None))
    return found

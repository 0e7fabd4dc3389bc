"""Writes the values into a SQL Server, and compares what arrived; imports nothing of the product."""

from __future__ import annotations

import datetime as dt
import struct
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from migration_assets_tests.fidelity.values import LOSSY, OWN, TYPES, Type, Value

SCHEMA = "fidelity"
NEWEST = 17
"""Major version of SQL Server 2025."""
Rows = dict[int, dict[str, Any]]
"""Id of a row to its values by column."""


def tables(version: int = NEWEST) -> dict[str, list[Type]]:
    """The types that a server of a major version has, by table."""
    found: dict[str, list[Type]] = defaultdict(list)
    for kind in TYPES:
        if kind.since <= version:
            found[kind.table].append(kind)
    return dict(found)


def ddl(version: int = NEWEST) -> Iterable[str]:
    """Statements that make and fill the tables, each a batch of its own."""
    yield f"CREATE SCHEMA {SCHEMA}"
    for name, kinds in tables(version).items():
        columns = ", ".join(f"{kind.column} {_nullable(kind.declaration)}" for kind in kinds)
        yield f"CREATE TABLE {SCHEMA}.{name} (id int NOT NULL PRIMARY KEY, {columns})"
        for number in range(rows_of(kinds)):
            given = [
                (kind.column, kind.values[number].literal)
                for kind in kinds
                if number < len(kind.values)
            ]
            names = "".join(f", {column}" for column, _ in given)
            literals = "".join(f", {literal}" for _, literal in given)
            yield f"INSERT INTO {SCHEMA}.{name} (id{names}) VALUES ({number}{literals})"


def rows_of(kinds: Sequence[Type]) -> int:
    """Rows of a table: one more than the longest list of values, so that each type has a NULL."""
    return max(len(kind.values) for kind in kinds) + 1


def _nullable(declaration: str) -> str:
    return declaration if declaration.endswith("NULL") else f"{declaration} NULL"


def expected(kinds: Sequence[Type], choice: str = "") -> Rows:
    """What Iceberg must have.

    Args:
        kinds: the types of a table.
        choice: `column` or `text`, as chosen for fractions and offsets; nothing by default.
    """
    rows: Rows = {number: {"id": number} for number in range(rows_of(kinds))}
    for kind in kinds:
        base = kind.declaration
        added = OWN.get(base, set()) | (LOSSY.get(base, set()) if choice == "column" else set())
        for number, row in rows.items():
            value = kind.values[number] if number < len(kind.values) else None
            row[kind.column] = _value(kind, value, choice)
            for suffix in added:
                row[kind.column + suffix] = None if value is None else value.added[suffix]
    return rows


def _value(kind: Type, value: Value | None, choice: str) -> Any:
    if value is None:
        return None
    if choice == "text" and kind.declaration in LOSSY:
        return value.text
    return value.value


def loaded(value: Any) -> Any:
    """What StarRocks' protocol shows of a value: it has no booleans, and instants in UTC."""
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, dt.datetime) and value.tzinfo is not None:
        return value.astimezone(dt.UTC).replace(tzinfo=None)
    return value


def differences(
    found: Rows,
    wanted: Rows,
    shown: Callable[[Any], Any] = lambda value: value,
    singles: Iterable[str] = (),
) -> list[str]:
    """What differs, a line per value.

    Args:
        found: by id.
        wanted: likewise, as Iceberg has it.
        shown: what the system that was asked shows of a value.
        singles: columns of single precision, whose text may have fewer digits than a double's.
    """
    if found.keys() != wanted.keys():
        return [f"rows {sorted(found)} in place of {sorted(wanted)}"]
    lines = []
    for number, row in wanted.items():
        for column, value in row.items():
            there = found[number].get(column, "no such column")
            here = shown(value)
            if column in singles and None not in {there, here}:
                there, here = (struct.unpack("<f", struct.pack("<f", v))[0] for v in (there, here))
            if there != here or (type(there) is not type(here)):
                lines.append(f"{column}[{number}]: {_short(there)} in place of {_short(here)}")
    return lines


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 80 else f"{text[:60]}… ({len(text)} characters)"


def by_id(rows: Iterable[Mapping[str, Any]]) -> Rows:
    """Rows by their id, without the audit columns."""
    audit = {"migrated_at", "source_schema", "source_partition"}
    found: Rows = {}
    for row in rows:
        number = row["id"]
        assert number not in found, f"row {number} came twice"
        found[number] = {name: value for name, value in row.items() if name not in audit}
    return found

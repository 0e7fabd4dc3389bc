"""Databases and tables of the stand-in: what StarRocks' frontend keeps about them.

The rows are in DuckDB: StarRocks' `db`.`t` is DuckDB's `"db"."t"`, one table for all partitions.
DuckDB compares names without case; where two StarRocks names differ by case alone, the later one
gets `~2`, `~3` ... appended in DuckDB.
"""

from __future__ import annotations

import itertools
import re
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from migration_assets.sandbox.starrocks.column_types import ColumnType
from migration_assets.sandbox.starrocks.errors import StarRocksError, unknown_database
from migration_assets.sandbox.starrocks.expressions import literal, name

INTERNAL_CATALOG = "default_catalog"
KeyModel = Literal["DUPLICATE", "PRIMARY", "UNIQUE"]

_ids = itertools.count(10_001)


def next_id() -> int:
    """A new id for a table, a partition or a job."""
    return next(_ids)


@dataclass(frozen=True)
class Column:
    """A column definition.

    Attributes:
        name: as written.
        type: its type.
        nullable: whether it takes NULL.
        default: the text of its default; None for none.
        comment: its comment.
    """

    name: str
    type: ColumnType
    nullable: bool = True
    default: str | None = None
    comment: str = ""


@dataclass
class Partition:
    """A partition; `values` are its values as text, None for NULL; `id` changes when replaced."""

    name: str
    values: list[str | None]
    id: int = field(default_factory=next_id)
    version: int = 1
    changed: float = field(default_factory=time.time)


@dataclass(frozen=True)
class Alteration:
    """A schema change: `created` in seconds since 1970, `until` on the monotonic clock."""

    created: float
    until: float
    id: int = field(default_factory=next_id)


@dataclass
class Table:
    """A table definition with its partitions.

    Attributes:
        automatic: partitions come into being as rows need them (expression partitioning).
        overwriting: INSERT OVERWRITE jobs that run.
        altering_until: monotonic time until which a schema change is in progress.
        alterations: its schema changes so far.
        lock: held while rows are swapped.
    """

    name: str
    storage: str
    columns: list[Column]
    model: KeyModel
    keys: list[str]
    comment: str = ""
    partition_columns: list[str] = field(default_factory=list)
    automatic: bool = False
    hash_columns: list[str] = field(default_factory=list)
    buckets: int = 0
    sort_columns: list[str] = field(default_factory=list)
    properties: dict[str, str] = field(default_factory=dict)
    partitions: dict[str, Partition] = field(default_factory=dict)
    id: int = field(default_factory=next_id)
    created: float = field(default_factory=time.time)
    overwriting: int = 0
    altering_until: float = 0.0
    alterations: list[Alteration] = field(default_factory=list)
    lock: threading.RLock = field(default_factory=threading.RLock)

    def column(self, column: str) -> Column | None:
        """Find a column; names compare without case."""
        return next((c for c in self.columns if c.name.lower() == column.lower()), None)

    def partition_of(self, values: list[str | None]) -> Partition | None:
        """Find the partition that holds these partition values."""
        return next((p for p in self.partitions.values() if values in _held(p, self)), None)

    def add_partition(self, values: list[str | None]) -> Partition:
        """Create the partition of these values, as automatic partitioning does."""
        partition = Partition(partition_name(values), list(values))
        self.partitions[partition.name] = partition
        return partition

    def condition(self, partition: Partition) -> str:
        """DuckDB's condition for the rows of a partition."""
        held = []
        for values in _held(partition, self):
            parts = []
            for column, value in zip(self.partition_columns, values, strict=True):
                found = self.column(column)
                assert found is not None  # noqa: S101 - checked when the table was created
                wanted = f"= CAST({literal(value or '')} AS {found.type.duckdb})"
                parts.append(f"{name(column)} {'IS NULL' if value is None else wanted}")
            held.append(f"({' AND '.join(parts)})")
        return " OR ".join(held) or "true"

    def define(self) -> str:
        """The text of SHOW CREATE TABLE."""
        width = ",\n".join(_define(c) for c in self.columns)
        text = f"CREATE TABLE `{self.name}` (\n{width}\n) ENGINE=OLAP \n"
        text += f"{self.model} KEY({_backquoted(self.keys)})\n"
        if self.comment:
            text += f'COMMENT "{_escaped(self.comment)}"\n'
        if self.partition_columns and self.automatic:
            text += f"PARTITION BY ({_backquoted(self.partition_columns)})\n"
        elif self.partition_columns:
            parts = ",\n ".join(
                f"PARTITION {p.name} VALUES IN ({', '.join(repr(v) for v in p.values)})"
                for p in self.partitions.values()
            )
            text += f"PARTITION BY LIST({_backquoted(self.partition_columns)})(\n {parts}\n)\n"
        text += f"DISTRIBUTED BY {self.distribution}"
        text += f" BUCKETS {self.buckets} \n" if self.buckets else "\n"
        if self.sort_columns:
            text += f"ORDER BY({_backquoted(self.sort_columns)})\n"
        options = ",\n".join(f'"{k}" = "{v}"' for k, v in sorted(self.properties.items()))
        return f"{text}PROPERTIES (\n{options}\n);"

    @property
    def distribution(self) -> str:
        """`HASH(...)` or `RANDOM`."""
        return f"HASH({_backquoted(self.hash_columns)})" if self.hash_columns else "RANDOM"


def _held(partition: Partition, table: Table) -> list[list[str | None]]:
    if table.automatic:
        return [partition.values]
    return [[value] for value in partition.values]  # LIST of one column: several values


def _backquoted(names: Iterable[str]) -> str:
    return ", ".join(f"`{n}`" for n in names)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _define(column: Column) -> str:
    default = "" if column.default is None else f' DEFAULT "{_escaped(column.default)}"'
    null = "NULL" if column.nullable else "NOT NULL"
    comment = _escaped(column.comment)
    return f'  `{column.name}` {column.type.defined} {null}{default} COMMENT "{comment}"'


def partition_name(values: Iterable[str | None]) -> str:
    """The name automatic partitioning gives: `p7`, `p_1` for -1, `p7_20200101`."""
    parts = []
    for value in values:
        text = "NULL" if value is None else value
        parts.append(("_" if text.startswith("-") else "") + re.sub(r"[^0-9A-Za-z_]", "", text))
    return "p" + "_".join(parts)


@dataclass
class Database:
    """A database: its tables and the labels of its loads.

    Attributes:
        loads: one row per load, as `information_schema.loads` shows it.
    """

    name: str
    storage: str
    tables: dict[str, Table] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    id: int = field(default_factory=next_id)


class Metadata:
    """All databases; the lock guards their dictionaries."""

    def __init__(self) -> None:
        """Start empty."""
        self.lock = threading.RLock()
        self.databases: dict[str, Database] = {}
        self.loads: list[dict[str, object]] = []
        self._transactions = itertools.count(2)

    def database(self, database: str) -> Database:
        """Find a database.

        Raises:
            StarRocksError: 5501, there is none of this name; names compare with case.
        """
        found = self.databases.get(database)
        if found is None:
            raise unknown_database(database)
        return found

    def find(self, database: str | None, table: str) -> tuple[Database, Table] | None:
        """Find a table; None when its database has none of this name."""
        if not database:
            raise StarRocksError("No database selected", 1046)
        found = self.database(database)
        if table not in found.tables:
            return None
        return found, found.tables[table]

    def transaction(self) -> int:
        """A new transaction id."""
        return next(self._transactions)


def storage_name(wanted: str, taken: Iterable[str]) -> str:
    """A DuckDB name for a StarRocks name, unique without regard to case."""
    used = {t.lower() for t in taken}
    name_, count = wanted, 1
    while name_.lower() in used:
        count += 1
        name_ = f"{wanted}~{count}"
    return name_

"""Tables that are partitioned: CREATE PARTITION FUNCTION and SCHEME, and what the catalog says.

Rows lie in one table of DuckDB; which partition each belongs to is reckoned when somebody asks.
https://learn.microsoft.com/sql/t-sql/statements/create-partition-function-transact-sql
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from migration_assets.sandbox.sqlserver import dialect, variants
from migration_assets.sandbox.sqlserver.batch import Reader
from migration_assets.sandbox.sqlserver.catalog import Database, Index, Table, storage_name
from migration_assets.sandbox.sqlserver.comparison import key
from migration_assets.sandbox.sqlserver.conversion import Typed, convert
from migration_assets.sandbox.sqlserver.errors import SqlServerError
from migration_assets.sandbox.sqlserver.queries import QueryTranslator
from migration_assets.sandbox.sqlserver.scope import Scope
from migration_assets.sandbox.sqlserver.sql_types import INT, SqlType
from migration_assets.sandbox.sqlserver.variants import VARIANT

if TYPE_CHECKING:
    from migration_assets.sandbox.sqlserver.session import Session

Row = tuple[object, ...]


@dataclass(frozen=True)
class PartitionFunction:
    """What CREATE PARTITION FUNCTION made.

    Attributes:
        boundaries: literals of `type`, ascending, NULL first.
    """

    name: str
    function_id: int
    type: SqlType
    on_right: bool
    boundaries: tuple[Typed, ...]


@dataclass(frozen=True)
class PartitionScheme:
    """What CREATE PARTITION SCHEME made."""

    name: str
    data_space_id: int
    function: PartitionFunction


def create_function(session: Session, reader: Reader) -> None:
    """CREATE PARTITION FUNCTION.

    Raises:
        SqlServerError: 2714 for a name that is taken, 7708 for a boundary that is there twice.
    """
    from migration_assets.sandbox.sqlserver.tables import read_type  # tables are partitioned by it

    database, name = session.database, reader.name()
    if name.lower() in database.partition_functions:
        raise SqlServerError(2714, f"There is already an object named '{name}' in the database.")
    reader.expect("(")
    kind = read_type(reader)
    if kind.collation:
        kind = kind.collated(database.collation)
    reader.expect(")")
    reader.expect("AS", "RANGE")
    on_right = reader.accept("RIGHT")
    if not on_right:
        reader.accept("LEFT")
    reader.expect("FOR", "VALUES", "(")
    boundaries = []
    translator = QueryTranslator(session)
    while not reader.accept(")"):
        node = dialect.parse_expression(reader.until(",", ")"))
        value = translator.expression(node, Scope())
        boundaries.append(session.value(Typed(convert(value, kind), kind)))
        reader.accept(",")
    function = PartitionFunction(
        name,
        65_536 + len(database.partition_functions),
        kind,
        on_right,
        tuple(_sorted(session, boundaries)),
    )
    database.partition_functions[name.lower()] = function


def _sorted(session: Session, values: list[Typed]) -> list[Typed]:
    if not values:
        return []
    keys = " UNION ALL ".join(
        f"SELECT {i} AS i, {key(value)} AS k" for i, value in enumerate(values)
    )
    order = session.fetch(f"SELECT i, k FROM ({keys}) ORDER BY k NULLS FIRST")
    for (_, one), (_, other) in itertools.pairwise(order):
        if one == other:
            raise SqlServerError(
                7708,
                "Duplicate values are not allowed in partition function boundary values list.",
            )
    return [values[int(i)] for i, _ in order]


def create_scheme(session: Session, reader: Reader) -> None:
    """CREATE PARTITION SCHEME; where files lie is nothing here.

    Raises:
        SqlServerError: 2714 for a name that is taken, 7707 for too few filegroups, 208 without the
            function.
    """
    database, name = session.database, reader.name()
    if name.lower() in database.partition_schemes:
        raise SqlServerError(2714, f"There is already an object named '{name}' in the database.")
    reader.expect("AS", "PARTITION")
    named = reader.name()
    function = database.partition_functions.get(named.lower())
    if function is None:
        raise SqlServerError(208, f"Invalid object name '{named}'.")
    everywhere = reader.accept("ALL")
    reader.expect("TO")
    groups = reader.names()
    if not everywhere and len(groups) <= len(function.boundaries):
        raise SqlServerError(
            7707,
            f"The associated partition function '{named}' generates more partitions than there are "
            f"file groups mentioned in the scheme '{name}'.",
        )
    scheme = PartitionScheme(name, 65_601 + len(database.partition_schemes), function)
    database.partition_schemes[name.lower()] = scheme


def placed(database: Database, reader: Reader) -> tuple[str, str] | None:
    """Read what follows ON: a scheme and its column, or None for a filegroup."""
    name = reader.name()
    if reader.peek() != "(":
        return None
    (column,) = reader.names()
    if name.lower() not in database.partition_schemes:
        raise SqlServerError(1921, f"Invalid partition scheme '{name}' specified.")
    return name.lower(), column


def check(database: Database, table: Table) -> None:
    """Refuse what cannot be partitioned so.

    Raises:
        SqlServerError: 1911 without the column, 7726 for a column of another type than the
            function's, 1908 for a unique index without the partitioning column.
    """
    for index in [None, *table.indexes]:
        at = _place(table, index)
        if at is None:
            continue
        scheme, named = database.partition_schemes[at[0]], at[1]
        column = table.column(named)
        if column is None:
            raise SqlServerError(
                1911, f"Column name '{named}' does not exist in the target table or view."
            )
        if column.type.declaration != scheme.function.type.declaration:
            raise SqlServerError(
                7726,
                f"Partition column '{named}' has data type {column.type.declaration} which is "
                f"different from the partition function '{scheme.function.name}' parameter data "
                f"type {scheme.function.type.declaration}.",
            )
        keys = {name.lower() for name, _ in index.columns} if index is not None else set()
        if index is not None and index.unique and named.lower() not in keys:
            raise SqlServerError(
                1908,
                f"Column '{named}' is partitioning column of the index '{index.name}'. "
                "Partition columns for a unique index must be a subset of the index key.",
            )


def _place(table: Table, index: Index | None) -> tuple[str, str] | None:
    """Scheme and column; an index that names none is where its table is."""
    if index is not None and index.placed is not None:
        return index.placed or None
    clustered = next((one for one in table.indexes if one.clustered), None)
    if clustered is not None and clustered.placed is not None:
        return clustered.placed or None
    return table.placed


def data_space(database: Database, table: Table, index: Index | None) -> int:
    """Where an index or heap lies: a scheme's id, or that of PRIMARY."""
    at = _place(table, index)
    return 1 if at is None else database.partition_schemes[at[0]].data_space_id


def partition_column(table: Table, index: Index | None) -> str | None:
    """Name in lower case of the column that an index or heap is partitioned by."""
    at = _place(table, index)
    return None if at is None else at[1].lower()


def rows(session: Session, database: Database, table: Table, index: Index | None) -> list[int]:
    """Rows of each partition of an index or heap, counted now; NULL is the lowest value.

    So rows with NULL are in the first one, unless NULL is a boundary that belongs to the right.
    """
    where = storage_name(database.name, table.schema, table.name)
    at = _place(table, index)
    if at is None:
        return [int(session.fetch(f"SELECT count(*) FROM {where}")[0][0])]
    function = database.partition_schemes[at[0]].function
    columns = dict(session.columns_of(QueryTranslator(session), table, "ss_table"))
    value = next(typed for name, typed in columns.items() if name.lower() == at[1].lower())
    beyond = " + ".join(
        f"({_is_beyond(value, boundary, on_right=function.on_right)})::INTEGER"
        for boundary in function.boundaries
    )
    found = session.fetch(
        f"SELECT {beyond or '0'} AS number, count(*) FROM {where} AS ss_table GROUP BY 1"
    )
    counts = {int(number): int(count) for number, count in found}
    return [counts.get(number, 0) for number in range(len(function.boundaries) + 1)]


def _is_beyond(value: Typed, boundary: Typed, *, on_right: bool) -> str:
    """Whether a value is in a partition above a boundary."""
    if boundary.sql.startswith("CAST(NULL"):
        return "TRUE" if on_right else f"{value.sql} IS NOT NULL"
    return f"coalesce({key(value)} {'>=' if on_right else '>'} {key(boundary)}, FALSE)"


def function_rows(_: Session, database: Database) -> Iterator[Row]:
    """Rows of `sys.partition_functions`."""
    for function in database.partition_functions.values():
        count = len(function.boundaries) + 1
        yield (
            *(function.name, function.function_id, "R", "RANGE", count, function.on_right, False),
            *(database.created, database.created),
        )


def parameter_rows(_: Session, database: Database) -> Iterator[Row]:
    """Rows of `sys.partition_parameters`."""
    for function in database.partition_functions.values():
        kind = function.type
        yield (
            *(function.function_id, 1, kind.info.system_type_id, kind.max_length),
            *(kind.catalog_precision, kind.catalog_scale, kind.collation or None),
            kind.info.system_type_id,
        )


def scheme_rows(_: Session, database: Database) -> Iterator[Row]:
    """Rows of `sys.partition_schemes`."""
    for scheme in database.partition_schemes.values():
        yield (
            *(scheme.name, scheme.data_space_id, "PS", "PARTITION_SCHEME", False, False),
            scheme.function.function_id,
        )


def range_values(database: Database, alias: str) -> tuple[list[tuple[str, Typed]], str]:
    """Columns and FROM item of `sys.partition_range_values`, whose values are sql_variants."""
    nothing = f"CAST(NULL AS {VARIANT.duckdb})"
    selects = [
        f"SELECT {function.function_id}::INTEGER AS function_id, {number}::INTEGER AS boundary_id, "
        f"1::INTEGER AS parameter_id, CAST({variants.pack(value, VARIANT)} AS {VARIANT.duckdb}) "
        'AS "value"'
        for function in database.partition_functions.values()
        for number, value in enumerate(function.boundaries, start=1)
    ] or [
        "SELECT NULL::INTEGER AS function_id, NULL::INTEGER AS boundary_id, "
        f'NULL::INTEGER AS parameter_id, {nothing} AS "value" WHERE FALSE'
    ]
    kinds = {"function_id": INT, "boundary_id": INT, "parameter_id": INT, "value": VARIANT}
    columns = [(name, Typed(f'{alias}."{name}"', kind)) for name, kind in kinds.items()]
    return columns, f"({' UNION ALL '.join(selects)})"

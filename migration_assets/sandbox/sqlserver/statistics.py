"""Statistics of indexes: `sys.stats`, their properties and histograms, built from the rows.

There is one for the first column of each index, made when it is first asked for and again by UPDATE
STATISTICS; in between it grows old, as SQL Server's do. `modification_counter` sees inserts and
deletes only, and histograms have at most 200 steps of about equal rows, after one for NULL.
https://learn.microsoft.com/sql/relational-databases/system-dynamic-management-views/sys-dm-db-stats-histogram-transact-sql
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from migration_assets.sandbox.sqlserver import sql_types, variants
from migration_assets.sandbox.sqlserver.catalog import (
    Column,
    Database,
    Index,
    Table,
    storage_name,
)
from migration_assets.sandbox.sqlserver.comparison import key
from migration_assets.sandbox.sqlserver.errors import SqlServerError
from migration_assets.sandbox.sqlserver.typed import Typed

if TYPE_CHECKING:
    from migration_assets.sandbox.sqlserver.session import Session

Row = tuple[object, ...]
STEPS = 200
_ROTATION = 16
_numbers = itertools.count()


@dataclass(frozen=True)
class Statistics:
    """One column's statistics as they were made.

    Attributes:
        steps: hi (a sql_variant), range_rows, equal_rows, distinct_range_rows by step_number.
    """

    rows: int
    steps: pa.Table


def indexed(database: Database) -> Iterator[tuple[Table, int, Index, Column]]:
    """Each index that has statistics: its table, id, and first column."""
    for table in sorted(database.tables.values(), key=lambda table: table.object_id):
        clustered = next((index for index in table.indexes if index.clustered), None)
        others = [index for index in table.indexes if index is not clustered]
        numbered = [*([(1, clustered)] if clustered else []), *enumerate(others, start=2)]
        for number, index in numbered:
            column = table.column(index.columns[0][0])
            if column is not None and not index.where:
                yield table, number, index, column


def stats_rows(_: Session, database: Database) -> Iterator[Row]:
    """Rows of `sys.stats`."""
    for table, number, index, _column in indexed(database):
        yield table.object_id, index.name, number, False, False, False, False, None, False, False


def stats_columns(_: Session, database: Database) -> Iterator[Row]:
    """Rows of `sys.stats_columns`."""
    for table, number, index, _column in indexed(database):
        for position, (name, _descending) in enumerate(index.columns, start=1):
            column = table.column(name)
            if column is not None:
                yield table.object_id, number, position, column.column_id


def properties(session: Session, arguments: list[Typed]) -> tuple[list[tuple[str, Typed]], str]:
    """Columns and FROM item of `sys.dm_db_stats_properties(object_id, stats_id)`."""
    rows = []
    for table, number, _index, column in indexed(session.database):
        made = _made(session, table, column)
        if made.rows:
            now = _count(session, table)
            rows.append(
                (table.object_id, number, made.rows, made.steps.num_rows, abs(now - made.rows))
            )
    names = ("object_id", "stats_id", "rows", "steps", "modified")
    kinds = (pa.int32(), pa.int32(), pa.int64(), pa.int32(), pa.int64())
    columns = [pa.array([row[i] for row in rows], kind) for i, kind in enumerate(kinds)]
    view = _registered(session, pa.table(columns, names=list(names)))
    listed = (
        "object_id, stats_id, TIMESTAMP '2026-01-01' AS last_updated, rows, rows AS rows_sampled, "
        "steps, rows AS unfiltered_rows, modified AS modification_counter"
    )
    types = {
        "object_id": "int", "stats_id": "int", "last_updated": "datetime", "rows": "bigint",
        "rows_sampled": "bigint", "steps": "int", "unfiltered_rows": "bigint",
        "modification_counter": "bigint",
    }  # fmt: skip
    return _function(listed, types, view, arguments)


def histogram(session: Session, arguments: list[Typed]) -> tuple[list[tuple[str, Typed]], str]:
    """Columns and FROM item of `sys.dm_db_stats_histogram(object_id, stats_id)`."""
    tables = []
    for table, number, _index, column in indexed(session.database):
        steps = _made(session, table, column).steps
        for name, value in (("stats_id", number), ("object_id", table.object_id)):
            steps = steps.add_column(0, name, pa.array([value] * steps.num_rows, pa.int32()))
        tables.append(steps)
    if not tables:
        return properties(session, arguments)  # no index, no rows of either
    view = _registered(session, pa.concat_tables(tables))
    listed = (
        "object_id, stats_id, step_number, range_high_key, range_rows, equal_rows, "
        "distinct_range_rows, CASE WHEN distinct_range_rows > 0 "
        "THEN range_rows / distinct_range_rows ELSE 1 END::REAL AS average_range_rows"
    )
    types = {
        "object_id": "int", "stats_id": "int", "step_number": "int",
        "range_high_key": "sql_variant", "range_rows": "real", "equal_rows": "real",
        "distinct_range_rows": "bigint", "average_range_rows": "real",
    }  # fmt: skip
    return _function(listed, types, view, arguments)


def update(session: Session, table: Table) -> None:
    """UPDATE STATISTICS: the next one who asks gets new ones."""
    with session.engine.lock:
        for place in [p for p in session.engine.statistics if p[1] == table.object_id]:
            del session.engine.statistics[place]


def _function(
    listed: str, types: dict[str, str], view: str, arguments: list[Typed]
) -> tuple[list[tuple[str, Typed]], str]:
    if len(arguments) != 2:
        raise SqlServerError(313, "An insufficient number of arguments were supplied.")
    kinds = {name: sql_types.declared(kind, []) for name, kind in types.items()}
    which = f"object_id = ({arguments[0].sql}) AND stats_id = ({arguments[1].sql})"
    columns = [(name, Typed(f'{{alias}}."{name}"', kind)) for name, kind in kinds.items()]
    return columns, f"(SELECT {listed} FROM {view} WHERE {which})"


def _registered(session: Session, table: pa.Table) -> str:
    # A statement asks for fewer than these; older names are taken again.
    name = f"ss_statistics_{next(_numbers) % _ROTATION}"
    session.cursor.register(name, table)
    return name


def _count(session: Session, table: Table) -> int:
    where = storage_name(session.database.name, table.schema, table.name)
    return int(session.fetch(f"SELECT count(*) FROM {where}")[0][0])


def _made(session: Session, table: Table, column: Column) -> Statistics:
    place = (session.database.name, table.object_id, column.name)
    with session.engine.lock:
        made = session.engine.statistics.get(place)
        if made is None or not made.rows:  # an empty table has none until rows came
            made = _make(session, table, column)
            session.engine.statistics[place] = made
    return made


def _make(session: Session, table: Table, column: Column) -> Statistics:
    from migration_assets.sandbox.sqlserver.queries import QueryTranslator  # they need views

    where = storage_name(session.database.name, table.schema, table.name)
    columns = session.columns_of(QueryTranslator(session), table, "ss_table")
    stored = dict(columns)[column.name].sql  # of a computed column its expression
    kind = column.type
    if kind.name == "timestamp":  # is a varbinary in a sql_variant
        kind = sql_types.varbinary(8)
    value = Typed("ss_value", kind)
    packed = variants.pack(Typed("value", kind), variants.VARIANT)
    sql = f"""
    WITH grouped AS (
      SELECT {key(value)} AS k, any_value(ss_value) AS value, count(*) AS n
      FROM (SELECT {stored} AS ss_value FROM {where} AS ss_table) GROUP BY 1),
    ranked AS (
      SELECT *, sum(n) OVER (ORDER BY k NULLS FIRST) AS upto,
        row_number() OVER (ORDER BY k NULLS FIRST) AS place, sum(n) OVER () AS total FROM grouped),
    marked AS (
      SELECT *, (upto - 1) * {STEPS - 2} // total AS bucket FROM ranked),
    ends AS (
      SELECT *, value IS NULL OR place = 1
        OR bucket IS DISTINCT FROM lead(bucket) OVER (ORDER BY place) AS is_step FROM marked),
    steps AS (
      SELECT *, lag(upto, 1, 0) OVER (ORDER BY place) AS before,
        lag(place, 1, 0) OVER (ORDER BY place) AS last_place FROM ends WHERE is_step)
    SELECT row_number() OVER (ORDER BY place)::INTEGER AS step_number, {packed} AS range_high_key,
      (upto - n - before)::REAL AS range_rows, n::REAL AS equal_rows,
      (place - last_place - 1)::BIGINT AS distinct_range_rows
    FROM steps ORDER BY place"""
    return Statistics(_count(session, table), session.cursor.sql(sql).to_arrow_table())

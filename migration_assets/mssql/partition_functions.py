"""How SQL Server itself partitions tables: three catalog queries, none per table.

Which table is partitioned how, heaps included, is the documented question
(https://learn.microsoft.com/sql/relational-databases/partitions/create-partitioned-tables-and-indexes);
rows per partition are those of `sys.partitions`, which are approximate; boundaries are sql_variants
of several types, so there is a query for each type of column
(https://learn.microsoft.com/sql/relational-databases/system-catalog-views/sys-partition-range-values-transact-sql).
Where a view is missing or denied, a note says so and tables are cut like any other.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from migration_assets.key_types import can_be_key, declaration, text_sql
from migration_assets.mssql.catalog import Catalog, CatalogTable, Source
from migration_assets.partition_function import unusable
from migration_assets.schema import MssqlType, PartitionFunction

_IDS = 1_000
"""Ids in one query."""

_TABLES = Source(
    "sys.partition_functions",
    "SELECT i.object_id, f.function_id, f.name, f.boundary_value_on_right, c.name, "
    "p.collation_name FROM sys.indexes AS i "
    "JOIN sys.partition_schemes AS s ON s.data_space_id = i.data_space_id "
    "JOIN sys.partition_functions AS f ON f.function_id = s.function_id "
    "JOIN sys.partition_parameters AS p ON p.function_id = f.function_id AND p.parameter_id = 1 "
    "JOIN sys.index_columns AS k ON k.object_id = i.object_id AND k.index_id = i.index_id "
    "AND k.partition_ordinal = 1 "
    "JOIN sys.columns AS c ON c.object_id = k.object_id AND c.column_id = k.column_id "
    "WHERE i.index_id IN (0, 1)",
)
_ROWS = (
    "SELECT p.object_id, p.partition_number, p.rows FROM sys.partitions AS p "
    "WHERE p.index_id IN (0, 1) AND p.object_id IN ({ids})"
)
_BOUNDARIES = (
    "SELECT b.function_id, b.boundary_id, {text} FROM ("
    "SELECT r.function_id, r.boundary_id, "
    "CASE WHEN r.function_id IN ({ids}) THEN CAST(r.value AS {type}) END AS boundary "
    "FROM sys.partition_range_values AS r WHERE r.function_id IN ({ids})) AS b"
)
"""CASE, because the server may convert before it filters, and other functions have other types."""


@dataclass(frozen=True)
class _Partitioned:
    """A partitioned table, as far as the first query tells."""

    object_id: int
    function_id: int
    function: PartitionFunction
    kind: MssqlType
    collation: str | None


def read_partition_functions(
    catalog: Catalog, tables: Sequence[CatalogTable]
) -> dict[int, PartitionFunction]:
    """The partition function of each table that has one, by object id.

    Args:
        catalog: where to ask; gets a note where something cannot be learned.
        tables: all tables, with their columns.
    """
    known = {table.object_id: table for table in tables if table.object_id is not None}
    rows = catalog.read("Partition functions", _TABLES, instead="what else is known of keys")
    found = []
    for object_id, function_id, name, on_right, column, collation in rows or ():
        kinds = {c.name: c.type for c in known[object_id].columns} if object_id in known else {}
        if column in kinds:
            function = PartitionFunction(name, column, bool(on_right))
            found.append(_Partitioned(object_id, function_id, function, kinds[column], collation))
    usable = [one for one in found if not _refusal(one)]
    counts = _rows(catalog, usable)
    boundaries = _boundaries(catalog, usable)
    functions = {}
    for one in found:
        reason = _refusal(one)
        if not reason and (counts is None or boundaries is None):
            reason = "this login does not see its partitions"
        if reason or counts is None or boundaries is None:
            functions[one.object_id] = replace(one.function, unusable=reason)
            continue
        texts = boundaries.get((one.function_id, declaration(one.kind)), {})
        rows_of = counts.get(one.object_id, {})
        whole = replace(
            one.function,
            boundaries=tuple(texts[number] for number in sorted(texts)),
            rows=tuple(rows_of[number] for number in sorted(rows_of)),
        )
        reason = unusable(whole, one.kind)
        functions[one.object_id] = replace(one.function, unusable=reason) if reason else whole
    return functions


def _refusal(one: _Partitioned) -> str:
    column, kind = one.function.column, one.kind
    if not can_be_key(kind):
        return f"its partitioning column {column} is of type {kind.declaration}"
    if kind.collation and one.collation and kind.collation != one.collation:
        # Boundaries in the order of another collation may be in none of the column's.
        return f"its boundaries follow the collation {one.collation}, {column} {kind.collation}"
    return ""


def _rows(catalog: Catalog, tables: Iterable[_Partitioned]) -> dict[int, dict[int, int]] | None:
    """Rows by object id and partition number."""
    counts: dict[int, dict[int, int]] = defaultdict(dict)
    for ids in _pieces({one.object_id for one in tables}):
        source = Source("sys.partitions", _ROWS.format(ids=ids))
        rows = catalog.read("Rows of partitions", source, instead="what else is known of keys")
        if rows is None:
            return None
        for object_id, number, count in rows:
            counts[object_id][number] = int(count or 0)
    return counts


def _boundaries(
    catalog: Catalog, tables: Iterable[_Partitioned]
) -> dict[tuple[int, str], dict[int, str | None]] | None:
    """Texts of boundaries by the function's id and the type they are told in, and their number."""
    ids_of: dict[tuple[str, str], set[int]] = defaultdict(set)
    for one in tables:
        ids_of[declaration(one.kind), text_sql(one.kind, "b.boundary")].add(one.function_id)
    texts: dict[tuple[int, str], dict[int, str | None]] = defaultdict(dict)
    for (kind, text), function_ids in ids_of.items():
        for ids in _pieces(function_ids):
            sql = _BOUNDARIES.format(text=text, type=kind, ids=ids)
            source = Source("sys.partition_range_values", sql)
            rows = catalog.read(
                "Boundaries of partitions", source, instead="what else is known of keys"
            )
            if rows is None:
                return None
            for function_id, number, value in rows:
                texts[function_id, kind][number] = value
    return texts


def _pieces(ids: Iterable[int]) -> Iterable[str]:
    ordered = sorted(ids)
    for start in range(0, len(ordered), _IDS):
        yield ", ".join(map(str, ordered[start : start + _IDS]))

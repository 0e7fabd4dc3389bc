"""Rows of the catalog views about partitions, their rows and pages.

Columns: https://learn.microsoft.com/sql/relational-databases/system-catalog-views/
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from migration_assets.sandbox.sqlserver import partitions
from migration_assets.sandbox.sqlserver.catalog import Database, Table, storage_name
from migration_assets.sandbox.sqlserver.system_catalog import (
    Row,
    SystemView,
    indexes_of,
    tables_of,
)

if TYPE_CHECKING:
    from migration_assets.sandbox.sqlserver.session import Session

_PAGE = 8192


def _counts(session: Session, database: Database) -> dict[int, int]:
    """Rows of each table that is not partitioned, counted now."""
    tables = [t for t in tables_of(database) if not _is_partitioned(t)]
    if not tables:
        return {}
    counted = " UNION ALL ".join(
        f"SELECT {t.object_id}, count(*) FROM {storage_name(database.name, t.schema, t.name)}"
        for t in tables
    )
    return {int(number): int(rows) for number, rows in session.fetch(counted)}


def _is_partitioned(table: Table) -> bool:
    return any(partitions.partition_column(table, index) for _, index in indexes_of(table))


def _row_bytes(table: Table) -> int:
    total = 0
    for column in table.columns:
        length = column.type.max_length
        total += 64 if length < 0 else min(length, 64)
    return total + 8


def _partition_stats(
    session: Session, database: Database
) -> Iterator[tuple[Table, int, int, int, int]]:
    """Table, index id, partition number, rows and pages, which are estimated from widths."""
    counts = _counts(session, database)
    for table in tables_of(database):
        for number, index in indexes_of(table):
            width = _row_bytes(table) if number <= 1 else 24
            known = counts.get(table.object_id)
            found = partitions.rows(session, database, table, index) if known is None else [known]
            for partition, rows in enumerate(found, start=1):
                yield table, number, partition, rows, -(-rows * width // _PAGE) + 1 if rows else 0


def _partition_id(table: Table, number: int, partition: int) -> int:
    return 72_057_594_000_000_000 + (table.object_id * 256 + number) * 16_384 + partition - 1


def _partitions(session: Session, database: Database) -> Iterator[Row]:
    for table, number, partition, rows, _ in _partition_stats(session, database):
        identifier = _partition_id(table, number, partition)
        yield identifier, table.object_id, number, partition, identifier, rows, 0, 0, "NONE"


def _allocation_units(session: Session, database: Database) -> Iterator[Row]:
    for table, number, partition, _, pages in _partition_stats(session, database):
        identifier = _partition_id(table, number, partition)
        yield (
            identifier + 1,
            1,
            "IN_ROW_DATA",
            identifier,
            1,
            pages + 1 if pages else 0,
            pages,
            pages,
        )


def _dm_partition_stats(session: Session, database: Database) -> Iterator[Row]:
    for table, number, partition, rows, pages in _partition_stats(session, database):
        identifier = _partition_id(table, number, partition)
        yield (
            identifier,
            table.object_id,
            number,
            partition,
            pages,
            pages,
            pages,
            0,
            0,
            0,
            0,
            pages,
            pages,
            rows,
        )


VIEWS: dict[str, SystemView] = {
    "sys.partition_functions": SystemView(
        "name sysname, function_id int, type char(2), type_desc nvarchar(60)?, fanout int, "
        "boundary_value_on_right bit, is_system bit, create_date datetime, modify_date datetime",
        partitions.function_rows,
    ),
    "sys.partition_parameters": SystemView(
        "function_id int, parameter_id int, system_type_id tinyint, max_length smallint, "
        "precision tinyint, scale tinyint, collation_name sysname?, user_type_id int",
        partitions.parameter_rows,
    ),
    "sys.partition_schemes": SystemView(
        "name sysname, data_space_id int, type char(2), type_desc nvarchar(60)?, is_default bit?, "
        "is_system bit, function_id int", partitions.scheme_rows,
    ),
    "sys.partitions": SystemView(
        "partition_id bigint, object_id int, index_id int, partition_number int, hobt_id bigint, "
        "rows bigint?, filestream_filegroup_id smallint, data_compression tinyint, "
        "data_compression_desc nvarchar(60)?", _partitions,
    ),
    "sys.allocation_units": SystemView(
        "allocation_unit_id bigint, type tinyint, type_desc nvarchar(60)?, container_id bigint, "
        "data_space_id int?, total_pages bigint, used_pages bigint, data_pages bigint",
        _allocation_units,
    ),
    "sys.dm_db_partition_stats": SystemView(
        "partition_id bigint?, object_id int, index_id int, partition_number int, "
        "in_row_data_page_count bigint?, in_row_used_page_count bigint?, "
        "in_row_reserved_page_count bigint?, lob_used_page_count bigint?, "
        "lob_reserved_page_count bigint?, row_overflow_used_page_count bigint?, "
        "row_overflow_reserved_page_count bigint?, used_page_count bigint?, "
        "reserved_page_count bigint?, row_count bigint?", _dm_partition_stats,
    ),
}  # fmt: skip

"""Small tables for unit tests."""

from __future__ import annotations

from collections.abc import Sequence

from migration_assets.column_plan import SOURCE_PARTITION
from migration_assets.key_range import KeyRange
from migration_assets.plan import TablePlan
from migration_assets.schema import Column, MssqlType
from migration_assets.type_mapping import audit_columns, map_column

INT = MssqlType("int", 4, 10, 0)
BIGINT = MssqlType("bigint", 8, 19, 0)


def decimal(precision: int, scale: int) -> MssqlType:
    return MssqlType("decimal", 17, precision, scale)


def nvarchar(length: int) -> MssqlType:
    return MssqlType("nvarchar", 2 * length if length > 0 else -1, 0, 0, "Latin1_General_CI_AS")


def table_plan(
    columns: Sequence[tuple[str, MssqlType]],
    *,
    key: Sequence[str] = (),
    location: str = "s3://lake/warehouse/dbo/t",
    cuts: Sequence[str] = (),
    name: str = "t",
) -> TablePlan:
    """A table `dbo.<name>`; its key's columns are NOT NULL; `cuts` split its first key column."""
    planned = tuple(
        map_column(Column(column, kind, nullable=column not in key), name=column, field_id=position)
        for position, (column, kind) in enumerate(columns, start=1)
    )
    bounds = [None, *cuts, None]
    ranges = tuple(
        KeyRange(
            source_partition=number,
            column=key[0] if cuts else None,
            lower=bounds[number],
            upper=bounds[number + 1],
        )
        for number in range(len(cuts) + 1)
    )
    return TablePlan(
        source_server="server",
        source_database="shop",
        source_schema="dbo",
        source_name=name,
        rows=0,
        columns=planned,
        audit_columns=audit_columns(len(planned) + 1),
        primary_key=tuple(key),
        key_ranges=ranges,
        namespace="dbo",
        iceberg_table=name,
        location=location,
        starrocks_database="dbo",
        starrocks_table=name,
        sort_key=tuple(key) or (SOURCE_PARTITION,),
    )

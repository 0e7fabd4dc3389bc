"""Tables as introspection finds them, and what is planned of them."""

from __future__ import annotations

from typing import Any

from migration_assets.plan import MigrationPlan, TablePlan
from migration_assets.planner import plan
from migration_assets.rules import Rules
from migration_assets.schema import Column, MssqlType, SourceDatabase, SourceTable, TableSchema

INT = MssqlType("int", 4, 10)
TEXT = MssqlType("nvarchar", 100, collation="Latin1_General_CI_AS")
ID = Column("id", INT, nullable=False)


def source(
    name: str = "orders",
    *columns: Column,
    schema: str = "dbo",
    key: tuple[str, ...] = ("id",),
    rows: int = 10,
    bounds: tuple[str, str] | None = None,
    **more: Any,
) -> SourceTable:
    key_bounds = {key[0]: bounds} if bounds else {}
    return SourceTable(
        schema, name, TableSchema(columns or (ID,), key), rows, key_bounds=key_bounds, **more
    )


def planned(
    *tables: SourceTable,
    rules: dict[str, Any] | None = None,
    has_cluster: bool = False,
    **more: Any,
) -> MigrationPlan:
    database = SourceDatabase(
        server="SQL1",
        database="shop",
        version="16.0",
        collation="Latin1_General_CI_AS",
        snapshot_isolation=more.pop("snapshot_isolation", True),
        read_committed_snapshot=False,
        tables=tables,
        **more,
    )
    return plan(
        database,
        Rules.model_validate(rules or {}),
        warehouse="s3://lake/warehouse",
        has_cluster=has_cluster,
    )


def only(*args: Any, **more: Any) -> TablePlan:
    result = planned(*args, **more)
    assert result.skipped == ()
    (table,) = result.tables
    return table

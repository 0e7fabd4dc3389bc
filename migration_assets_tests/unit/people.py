"""A table with a column of each kind, and plans of it under rules."""

from __future__ import annotations

from typing import Any

import pytest

from migration_assets.errors import ConfigurationError
from migration_assets.plan import MigrationPlan, TablePlan
from migration_assets.planner import plan
from migration_assets.rules import Rules
from migration_assets.schema import (
    Column,
    MssqlType,
    SourceDatabase,
    SourceTable,
    TableSchema,
)

SALT = "a salt that is long enough"
DIGEST = "0123456789abcdef"
TEXT = MssqlType("nvarchar", 100, collation="Latin1_General_CI_AS")
ID = Column("Id", MssqlType("int", 4, 10), nullable=False)
KINDS = {
    "Email": MssqlType("nvarchar", 100, collation="Latin1_General_CI_AS"),
    "Code": MssqlType("char", 8, collation="Latin1_General_CI_AS"),
    "Notes": MssqlType("nvarchar", -1, collation="Latin1_General_CI_AS"),
    "Flag": MssqlType("bit", 1),
    "Small": MssqlType("tinyint", 1),
    "Big": MssqlType("bigint", 8),
    "Price": MssqlType("decimal", 9, 10, 2),
    "Cash": MssqlType("money", 8, 19, 4),
    "Ratio": MssqlType("float", 8, 53),
    "Born": MssqlType("date", 3),
    "Clock": MssqlType("time", 5, 12, 3),
    "Seen": MssqlType("datetime2", 8, 27, 7),
    "Zoned": MssqlType("datetimeoffset", 10, 34, 7),
    "Guid": MssqlType("uniqueidentifier", 16),
    "Raw": MssqlType("varbinary", 4),
    "Document": MssqlType("xml", -1),
}


def people(rows: int = 10, **more: Any) -> SourceTable:
    columns = (ID, *(Column(name, kind) for name, kind in KINDS.items()))
    return SourceTable("dbo", "People", TableSchema(columns, ("Id",)), rows, **more)


def made(
    columns: dict[str, Any] | None = None,
    *tables: SourceTable,
    pattern: str = "dbo.People",
    mask_key: str = DIGEST,
    **wishes: Any,
) -> MigrationPlan:
    rules = Rules.model_validate({"tables": {pattern: {"columns": columns or {}, **wishes}}})
    return plan(database(*(tables or (people(),))), rules, warehouse="s3://l/w", mask_key=mask_key)


def database(*tables: SourceTable) -> SourceDatabase:
    return SourceDatabase("SQL1", "shop", "16.0", "Latin1_General_CI_AS", True, False, tables)


def only(*args: Any, **more: Any) -> TablePlan:
    result = made(*args, **more)
    assert result.skipped == ()
    (table,) = result.tables
    return table


def refused(*args: Any, **more: Any) -> str:
    with pytest.raises(ConfigurationError) as raised:
        made(*args, **more)
    return raised.value.found

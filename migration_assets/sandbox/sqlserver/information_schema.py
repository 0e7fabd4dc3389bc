"""Rows of the INFORMATION_SCHEMA views, like `system_catalog.py`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from migration_assets.sandbox.sqlserver.catalog import Database, Table, View
from migration_assets.sandbox.sqlserver.system_catalog import Row, SystemView, tables_of, views_of

if TYPE_CHECKING:
    from migration_assets.sandbox.sqlserver.session import Session


def _is_tables(_: Session, database: Database) -> Iterator[Row]:
    for table in tables_of(database):
        yield database.name, table.schema, table.name, "BASE TABLE"
    for view in views_of(database):
        yield database.name, view.schema, view.name, "VIEW"


def _relations(database: Database) -> list[Table | View]:
    return [*tables_of(database), *views_of(database)]


def _is_columns(_: Session, database: Database) -> Iterator[Row]:
    for relation in _relations(database):
        for position, column in enumerate(relation.columns, start=1):
            kind = column.type
            text = kind.family == "string"
            sized = text or (kind.family == "binary" and kind.name != "timestamp")
            length = (
                (2**30 - 1 if kind.info.unicode else 2**31 - 1) if kind.info.large else kind.length
            )
            exact = kind.family in {"integer", "decimal", "money"}
            number = exact or kind.family == "float"
            timed = kind.family in {"date", "time", "datetime", "offset"}
            yield (
                database.name, relation.schema, relation.name, column.name, position, column.default,
                "YES" if column.nullable else "NO", kind.name, length if sized else None,
                (length * 2 if kind.info.unicode and length > 0 else length) if sized else None,
                kind.catalog_precision if number else None, 2 if kind.family == "float" else 10 if exact else None,
                kind.catalog_scale if exact else None, kind.catalog_scale if timed else None,
                ("UNICODE" if kind.info.unicode else "iso_1") if text else None, kind.collation or None,
            )  # fmt: skip


def _constraints(database: Database) -> Iterator[tuple[Table, str, str, list[str]]]:
    for table in tables_of(database):
        for index in table.indexes:
            if index.kind:
                kind = "PRIMARY KEY" if index.kind == "PK" else "UNIQUE"
                yield table, index.name, kind, [name for name, _ in index.columns]
        for key in table.foreign_keys:
            yield table, key.name, "FOREIGN KEY", key.columns
        for check in table.checks:
            yield table, check.name, "CHECK", []


def _is_table_constraints(_session: Session, database: Database) -> Iterator[Row]:
    for table, name, kind, _ in _constraints(database):
        yield (database.name, table.schema, name, database.name, table.schema, table.name, kind,
               "NO", "NO")  # fmt: skip


def _is_key_columns(_session: Session, database: Database) -> Iterator[Row]:
    for table, name, _, columns in _constraints(database):
        for position, column in enumerate(columns, start=1):
            yield (database.name, table.schema, name, database.name, table.schema, table.name,
                   column, position)  # fmt: skip


def _is_schemata(_session: Session, database: Database) -> Iterator[Row]:
    for name, _ in database.schemas.values():
        yield database.name, name, "dbo"


def _is_views(_: Session, database: Database) -> Iterator[Row]:
    for view in views_of(database):
        yield database.name, view.schema, view.name, view.definition, "NONE", "NO"


VIEWS: dict[str, SystemView] = {
    "information_schema.tables": SystemView(
        "TABLE_CATALOG sysname, TABLE_SCHEMA sysname, TABLE_NAME sysname, TABLE_TYPE varchar(10)",
        _is_tables,
    ),
    "information_schema.columns": SystemView(
        "TABLE_CATALOG sysname, TABLE_SCHEMA sysname, TABLE_NAME sysname, COLUMN_NAME sysname, "
        "ORDINAL_POSITION int, COLUMN_DEFAULT nvarchar(4000)?, IS_NULLABLE varchar(3), "
        "DATA_TYPE nvarchar(128), CHARACTER_MAXIMUM_LENGTH int?, CHARACTER_OCTET_LENGTH int?, "
        "NUMERIC_PRECISION tinyint?, NUMERIC_PRECISION_RADIX smallint?, NUMERIC_SCALE int?, "
        "DATETIME_PRECISION smallint?, CHARACTER_SET_NAME sysname?, COLLATION_NAME sysname?",
        _is_columns,
    ),
    "information_schema.table_constraints": SystemView(
        "CONSTRAINT_CATALOG sysname, CONSTRAINT_SCHEMA sysname, CONSTRAINT_NAME sysname, "
        "TABLE_CATALOG sysname, TABLE_SCHEMA sysname, TABLE_NAME sysname, "
        "CONSTRAINT_TYPE varchar(11), IS_DEFERRABLE varchar(2), INITIALLY_DEFERRED varchar(2)",
        _is_table_constraints,
    ),
    "information_schema.key_column_usage": SystemView(
        "CONSTRAINT_CATALOG sysname, CONSTRAINT_SCHEMA sysname, CONSTRAINT_NAME sysname, "
        "TABLE_CATALOG sysname, TABLE_SCHEMA sysname, TABLE_NAME sysname, COLUMN_NAME sysname, "
        "ORDINAL_POSITION int", _is_key_columns,
    ),
    "information_schema.schemata": SystemView(
        "CATALOG_NAME sysname, SCHEMA_NAME sysname, SCHEMA_OWNER sysname", _is_schemata
    ),
    "information_schema.views": SystemView(
        "TABLE_CATALOG sysname, TABLE_SCHEMA sysname, TABLE_NAME sysname, "
        "VIEW_DEFINITION nvarchar(4000)?, CHECK_OPTION varchar(7), IS_UPDATABLE varchar(2)",
        _is_views,
    ),
}  # fmt: skip

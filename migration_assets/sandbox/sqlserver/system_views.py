"""How `sys.*` and `INFORMATION_SCHEMA.*` become relations that any SELECT can use.

Each view of `system_catalog.py` is a list of Python rows, made afresh for the statement that asks
and handed to DuckDB as an Arrow table, so that joins, filters and functions over it just work.
"""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING

import pyarrow as pa

from migration_assets.sandbox.sqlserver import (
    constraint_catalog,
    information_schema,
    result_sets,
    security_catalog,
    statistics,
    system_catalog,
)
from migration_assets.sandbox.sqlserver.catalog import Database
from migration_assets.sandbox.sqlserver.conversion import Typed
from migration_assets.sandbox.sqlserver.errors import SqlServerError, invalid_object
from migration_assets.sandbox.sqlserver.sql_types import SqlType, declared

if TYPE_CHECKING:
    from migration_assets.sandbox.sqlserver.session import Session

_ARROW = {
    "bit": pa.bool_(), "tinyint": pa.uint8(), "smallint": pa.int16(), "int": pa.int32(),
    "bigint": pa.int64(), "datetime": pa.timestamp("us"),
}  # fmt: skip
_VIEWS = {
    **system_catalog.VIEWS,
    **constraint_catalog.VIEWS,
    **security_catalog.VIEWS,
    **information_schema.VIEWS,
}
_FUNCTIONS = {
    "sys.dm_db_stats_properties": statistics.properties,
    "sys.dm_db_stats_histogram": statistics.histogram,
}
_PERMISSIONS: dict[str, list[str]] = {
    "DATABASE": ["CONNECT", "SELECT", "INSERT", "UPDATE", "DELETE", "ALTER", "CONTROL",
                 "VIEW DEFINITION", "VIEW DATABASE STATE", "CREATE TABLE", "CREATE SCHEMA"],
    "SERVER": ["CONNECT SQL", "VIEW ANY DATABASE", "VIEW SERVER STATE", "CONTROL SERVER"],
}  # fmt: skip
_ROTATION = 64
_numbers = itertools.count()


def relation(
    session: Session, database: Database, name: str, alias: str
) -> tuple[list[tuple[str, Typed]], str]:
    """Columns and FROM item of a catalog view.

    Raises:
        SqlServerError: 208 when unknown or switched off, 371 when denied.
    """
    view = _VIEWS.get(name)
    if view is None:
        raise invalid_object(name)
    _refuse_switched_off(session, database, name)
    with session.engine.lock:
        rows = [list(row) for row in view.rows(session, database)]
    return _register(session, parse_columns(view.columns), rows, alias)


def _refuse_switched_off(session: Session, database: Database, name: str) -> None:
    if name in session.engine.without:
        raise invalid_object(name)
    if name in session.engine.denied:
        raise SqlServerError(
            371 if name.startswith("sys.dm_") else 229,
            f"VIEW DATABASE STATE permission was denied in database '{database.name}'."
            if name.startswith("sys.dm_")
            else f"The SELECT permission was denied on the object '{name}', database '{database.name}'.",
            14,
        )


def table_function(
    session: Session, name: str, arguments: list[Typed], alias: str
) -> tuple[list[tuple[str, Typed]], str]:
    """Columns and FROM item of a table-valued function.

    Raises:
        SqlServerError: 208 for any but `fn_my_permissions`, those of statistics and that of result
            sets, or when it is switched off; 229 when denied.
    """
    if name == result_sets.NAME:
        _refuse_switched_off(session, session.database, name)
        rows = result_sets.describe(session, arguments)
        return _register(session, parse_columns(result_sets.COLUMNS), rows, alias)
    if function := _FUNCTIONS.get(name):
        _refuse_switched_off(session, session.database, name)
        typed, relation = function(session, arguments)
        named = [(n, replace(c, sql=c.sql.replace("{alias}", alias))) for n, c in typed]
        return named, relation
    if name not in {"fn_my_permissions", "sys.fn_my_permissions"} or len(arguments) != 2:
        raise invalid_object(name)
    kind = (arguments[1].constant or "").upper()
    permissions = _PERMISSIONS.get(kind, [])
    entity = "database" if kind == "DATABASE" else "server"
    columns = parse_columns("entity_name sysname, subentity_name sysname, permission_name sysname")
    return _register(session, columns, [[entity, "", name] for name in permissions], alias)


def parse_columns(text: str) -> list[tuple[str, SqlType, bool]]:
    """Read `name type` pairs; a type that ends in `?` is nullable."""
    columns = []
    for item in text.replace("\n", " ").split(", "):
        name, kind = item.split()
        base, _, argument = kind.rstrip("?").partition("(")
        arguments = [-1 if a == "max" else int(a) for a in argument.rstrip(")").split(";") if a]
        columns.append((name, declared(base, arguments), kind.endswith("?")))
    return columns


def _register(
    session: Session, columns: list[tuple[str, SqlType, bool]], rows: list[list[object]], alias: str
) -> tuple[list[tuple[str, Typed]], str]:
    arrays = [
        pa.array([row[i] for row in rows], _ARROW.get(kind.name, pa.string()))
        for i, (_, kind, _) in enumerate(columns)
    ]
    table = pa.table(arrays, names=[name for name, _, _ in columns])
    # A statement uses fewer views than this; older names are taken again.
    name = f"ss_view_{next(_numbers) % _ROTATION}"
    session.cursor.register(name, table)
    typed = [
        (column, Typed(f'{alias}."{column}"', kind, nullable)) for column, kind, nullable in columns
    ]
    return typed, name

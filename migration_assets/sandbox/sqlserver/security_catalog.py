"""Rows of the catalog views about permissions, policies, masks and synonyms."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from migration_assets.sandbox.sqlserver.catalog import Database
from migration_assets.sandbox.sqlserver.system_catalog import (
    COLUMN,
    KINDS,
    OBJECT,
    Row,
    SystemView,
    column_row,
    no_rows,
    object_row,
    schema_id,
    tables_of,
)  # fmt: skip

if TYPE_CHECKING:
    from migration_assets.sandbox.sqlserver.session import Session

_CODES = {"SELECT": "SL", "UNMASK": "UMSK", "VIEW DEFINITION": "VW"}


def _sees_definitions(database: Database) -> bool:
    """Without VIEW DEFINITION a login sees neither policies nor what others were denied."""
    return database.permissions.allows("VIEW DEFINITION")


def _synonyms(_: Session, database: Database) -> Iterator[Row]:
    for schema, name, number, base in database.synonyms.values():
        row = object_row(name, number, schema_id(database, schema), 0, KINDS["SN"])
        yield (*row, ".".join(f"[{part.replace(']', ']]')}]" for part in base))


def _policies(_: Session, database: Database) -> Iterator[Row]:
    for policy in database.policies if _sees_definitions(database) else ():
        schema = schema_id(database, policy.schema)
        row = object_row(policy.name, policy.object_id, schema, 0, KINDS["SP"])
        yield (*row, policy.enabled)


def _predicates(_: Session, database: Database) -> Iterator[Row]:
    for policy in database.policies if _sees_definitions(database) else ():
        for number, (table_id, key, columns) in enumerate(policy.filters, start=1):
            text = f"([{key[0]}].[{key[1]}]({', '.join(columns)}))"
            yield policy.object_id, number, table_id, text, 0


def _permissions(_: Session, database: Database) -> Iterator[Row]:
    if _sees_definitions(database):
        for table, column_id, permission in database.permissions.denied_columns(database):
            code = _CODES[permission].ljust(4)
            yield (1, "OBJECT_OR_COLUMN", table.object_id, column_id, 5, 1, code, permission, "D",
                   "DENY")  # fmt: skip


def _masked_columns(_: Session, database: Database) -> Iterator[Row]:
    for table in tables_of(database):
        for column in table.columns:
            if column.masking:
                yield (*column_row(table.object_id, column, 0), column.masking)


def _principals(session: Session, _: Database) -> Iterator[Row]:
    """The users that every database has, the one login, and two of the roles."""
    for number, name in enumerate(("dbo", "guest", "INFORMATION_SCHEMA", "sys"), start=1):
        yield name, number, "S", "SQL_USER", "dbo", False
    yield session.engine.user, 5, "S", "SQL_USER", None, False
    yield "public", 0, "R", "DATABASE_ROLE", None, False
    yield "db_datareader", 16390, "R", "DATABASE_ROLE", None, True


def _connections(session: Session, _: Database) -> Iterator[Row]:
    """The asking session's own connection only."""
    yield session.spid, "TCP", "TSQL", "TRUE" if session.encrypted else "FALSE", "SQL"


VIEWS: dict[str, SystemView] = {
    "sys.dm_exec_connections": SystemView(
        "session_id int?, net_transport nvarchar(40), protocol_type nvarchar(40)?, "
        "encrypt_option nvarchar(40), auth_scheme nvarchar(40)", _connections,
    ),
    "sys.database_principals": SystemView(
        "name sysname, principal_id int, type char(1), type_desc nvarchar(60)?, "
        "default_schema_name sysname?, is_fixed_role bit", _principals,
    ),
    "sys.database_role_members": SystemView(
        "role_principal_id int, member_principal_id int", no_rows
    ),
    "sys.synonyms": SystemView(OBJECT + ", base_object_name nvarchar(1035)?", _synonyms),
    "sys.security_policies": SystemView(OBJECT + ", is_enabled bit", _policies),
    "sys.security_predicates": SystemView(
        "object_id int, security_predicate_id int, target_object_id int, "
        "predicate_definition nvarchar(max)?, predicate_type int?", _predicates,
    ),
    "sys.database_permissions": SystemView(
        "class tinyint, class_desc nvarchar(60)?, major_id int, minor_id int, "
        "grantee_principal_id int, grantor_principal_id int, type char(4), "
        "permission_name nvarchar(128)?, state char(1), state_desc nvarchar(60)?", _permissions,
    ),
    "sys.masked_columns": SystemView(COLUMN + ", masking_function nvarchar(4000)?", _masked_columns),
}  # fmt: skip

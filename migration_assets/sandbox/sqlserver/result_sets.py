"""`sys.dm_exec_describe_first_result_set`: the columns of a SELECT, which is translated and not run.

A mistake in the statement is a row with its number and text, as SQL Server has it; a statement that
the stand-in does not know is an error of the statement that asks.
https://learn.microsoft.com/sql/relational-databases/system-dynamic-management-views/sys-dm-exec-describe-first-result-set-transact-sql
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import duckdb

from migration_assets.sandbox.sqlserver import dialect
from migration_assets.sandbox.sqlserver.errors import (
    NOT_SUPPORTED,
    UNMAPPED,
    SqlServerError,
    from_duckdb,
    unsupported,
)
from migration_assets.sandbox.sqlserver.scope import Scope
from migration_assets.sandbox.sqlserver.sql_types import INT
from migration_assets.sandbox.sqlserver.typed import Typed

if TYPE_CHECKING:
    from migration_assets.sandbox.sqlserver.session import Session

NAME = "sys.dm_exec_describe_first_result_set"
COLUMNS = (
    "is_hidden bit, column_ordinal int, name sysname?, is_nullable bit, system_type_id int?, "
    "system_type_name nvarchar(256)?, max_length smallint, precision tinyint, scale tinyint, "
    "collation_name sysname?, user_type_id int?, user_type_database sysname?, "
    "user_type_schema sysname?, user_type_name sysname?, error_number int?, error_severity int?, "
    "error_state int?, error_message nvarchar(4000)?"
)
_CLR = 240


def describe(session: Session, arguments: list[Typed]) -> list[list[object]]:
    """Its rows: one for each column, or one with an error.

    Raises:
        SqlServerError: 50001 for what the stand-in cannot describe.
    """
    if len(arguments) != 3:
        raise SqlServerError(313, "An insufficient number of arguments were supplied.")
    if arguments[0].constant is None:
        raise unsupported(f"{NAME} of a statement that is no string literal")
    try:
        return _columns(session, arguments[0].constant)
    except SqlServerError as error:
        if error.number in {NOT_SUPPORTED, UNMAPPED}:
            raise
        return [
            [False, 0, None, True, None, None, 0, 0, 0, *[None] * 5,
             error.number, error.severity, error.state, error.message]
        ]  # fmt: skip


def _columns(session: Session, statement: str) -> list[list[object]]:
    from migration_assets.sandbox.sqlserver.queries import QueryTranslator  # they need functions

    query = QueryTranslator(session).query(dialect.parse(statement), Scope())
    try:
        session.cursor.sql(query.sql)  # binds it, so that what DuckDB finds wrong is said as well
    except duckdb.Error as error:
        raise from_duckdb(error) from None
    rows: list[list[object]] = []
    for ordinal, (name, typed) in enumerate(zip(query.names, query.columns, strict=True), start=1):
        kind = INT if typed.type.family == "null" else typed.type
        is_clr = kind.info.system_type_id == _CLR
        number = kind.info.system_type_id
        rows.append(
            [False, ordinal, name or None, typed.nullable, number,
             None if is_clr else kind.declaration, kind.max_length, kind.catalog_precision,
             kind.catalog_scale, kind.collation or None, kind.user_type_id if is_clr else None,
             None, "sys" if is_clr else None, kind.name if is_clr else None, None, None, None, None]
        )  # fmt: skip
    return rows

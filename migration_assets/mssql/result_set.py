"""The columns of a query, as SQL Server describes them without running it.

`sys.dm_exec_describe_first_result_set` is there since SQL Server 2012 and asks for no right but those
that the query itself needs
(https://learn.microsoft.com/sql/relational-databases/system-dynamic-management-views/sys-dm-exec-describe-first-result-set-transact-sql).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from migration_assets.errors import ConfigurationError
from migration_assets.mssql.client import SqlServer
from migration_assets.schema import Column, MssqlType
from migration_assets.source_query import derived_table

_DESCRIBE = (
    "SELECT r.name, r.system_type_name, r.max_length, r.precision, r.scale, r.collation_name, "
    "r.is_nullable, r.user_type_name, r.user_type_schema, r.is_hidden, r.error_message "
    "FROM sys.dm_exec_describe_first_result_set(%s, NULL, 0) AS r ORDER BY r.column_ordinal"
)
_CLR_TYPES = ("geography", "geometry", "hierarchyid")


@dataclass(frozen=True)
class _Described:
    """A row of the function."""

    name: str | None
    system_type: str | None
    max_length: int | None
    precision: int | None
    scale: int | None
    collation: str | None
    nullable: bool | None
    user_type: str | None
    user_type_schema: str | None
    is_hidden: bool | None
    error: str | None


def describe_query(client: SqlServer, name: str, query: str) -> tuple[Column, ...]:
    """Ask for the columns of a query, in the way it will be read: as a derived table.

    Args:
        client: where it will run.
        name: that the rules give it, for messages.
        query: its text, as `source_query.single_select` gives it.

    Raises:
        ConfigurationError: SQL Server refuses it, or it has a column without a name, or two of one.
        MigrationError: SQL Server cannot be asked, or has no such function.
    """
    found = _describe(client, name, f"SELECT * FROM {derived_table(query)}")
    if not found or found[0].error:
        # The query alone tells more: positions of columns, and lines as the user counts them.
        alone = _describe(client, name, query)
        raise _refused(name, alone, found[0].error if found else None)
    return tuple(
        Column(
            str(column.name),
            _type(column),
            nullable=column.nullable is None or bool(column.nullable),
        )
        for column in found
    )


def _describe(client: SqlServer, name: str, sql: str) -> list[_Described]:
    rows = client.query(_DESCRIBE, (sql,), doing=f"Describing the query {name}")
    described = (_Described(*row) for row in rows)
    return [column for column in described if not column.is_hidden]


def _refused(name: str, alone: list[_Described], of_the_whole: str | None) -> ConfigurationError:
    why = _fault(alone) or of_the_whole or "it has no rows to give"
    return ConfigurationError(
        f"migration.yaml: queries: {name} cannot be read as a table: {why.rstrip('.')}.",
        code="MA-CF-020",
        next_step="Correct its `select`.",
    )


def _fault(alone: list[_Described]) -> str:
    """What is wrong with a query by itself; empty when nothing is."""
    if alone and alone[0].error:
        return alone[0].error
    unnamed = [str(number) for number, column in enumerate(alone, 1) if not column.name]
    if unnamed:
        return f"column {', '.join(unnamed)} has no name; give it one with AS"
    counts = Counter(str(column.name).casefold() for column in alone)
    for number, column in enumerate(alone, 1):
        if counts[str(column.name).casefold()] > 1:
            return f"column {number}, {column.name}, has the name of another; give it one with AS"
    return ""


def _type(column: _Described) -> MssqlType:
    """The type, in the words of `sys.columns` and `sys.types`.

    The base type comes with its arguments (`decimal(18,4)`) and is NULL for CLR types.
    """
    base = (column.system_type or "").partition("(")[0].strip().lower()
    if not base:
        is_own = column.user_type in _CLR_TYPES and column.user_type_schema in {"sys", None}
        base = column.user_type if column.user_type is not None and is_own else "clr"
    return MssqlType(
        name=base,
        max_length=int(column.max_length or 0),
        precision=int(column.precision or 0),
        scale=int(column.scale or 0),
        collation=column.collation,
        user_type=column.user_type,
    )

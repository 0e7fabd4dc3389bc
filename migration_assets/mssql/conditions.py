"""`where` of migration.yaml: SQL Server says whether it is a condition of the table, and how much goes."""

from __future__ import annotations

from dataclasses import replace

from migration_assets.errors import ConfigurationError, PermanentError
from migration_assets.mssql.client import SqlServer
from migration_assets.mssql.select import source_sql, unfiltered_sql
from migration_assets.plan import TablePlan
from migration_assets.planner import left_out_by
from migration_assets.rules import Rules
from migration_assets.schema import SourceDatabase, SourceTable


def with_conditions(client: SqlServer, database: SourceDatabase, rules: Rules) -> SourceDatabase:
    """Give tables the conditions of the rules; one statement for each such table, which reads no row.

    `TOP (0)` makes the server compile the statement: it checks names, types and rights, also of what
    subqueries name.

    Raises:
        ConfigurationError: SQL Server refuses a condition; has its words.
        MigrationError: it cannot be asked.
    """
    return replace(
        database, tables=tuple(_with_condition(client, table, rules) for table in database.tables)
    )


def _with_condition(client: SqlServer, table: SourceTable, rules: Rules) -> SourceTable:
    where = rules.for_table(table.full_name).where
    is_refused = table.refusal is not None and not table.where
    if not where or not table.is_candidate or is_refused or not table.columns.columns:
        return table
    table = replace(table, where=where)
    doing = f"Checking the condition of {table.full_name}"
    try:
        client.query(f"SELECT TOP (0) 1 AS n FROM {source_sql(table)}", doing=doing)
    except PermanentError as error:
        raise ConfigurationError(
            f"migration.yaml: tables: {table.full_name}: where is refused. {error.found}",
            code="MA-CF-055",
            next_step="Correct it: it is put into parentheses after WHERE, over the columns of the "
            "source.",
        ) from None
    return table


def with_left_out(client: SqlServer, table: TablePlan) -> TablePlan:
    """Count the rows that the table's condition leaves out: two scans; they go into its warnings.

    Raises:
        MigrationError: SQL Server cannot be asked, or takes longer than MSSQL_QUERY_TIMEOUT_S.
    """
    if not table.where:
        return table
    sql = (
        f"SELECT (SELECT COUNT_BIG(*) FROM {unfiltered_sql(table)}) AS total, "
        f"(SELECT COUNT_BIG(*) FROM {source_sql(table)}) AS kept"
    )
    doing = f"Counting what the condition of {table.full_name} leaves out"
    ((total, kept),) = client.query(sql, doing=doing)
    said, counted = left_out_by(table.where), f" ({int(total) - int(kept):,} of {int(total):,})"
    warnings = tuple(
        left_out_by(table.where, counted) if warning == said else warning
        for warning in table.warnings
    )
    return table.model_copy(update={"warnings": warnings})

"""How many rows a lossy conversion concerns, counted by SQL Server: one scan of each such table."""

from __future__ import annotations

from migration_assets.losses import affected_sql
from migration_assets.mssql.client import SqlServer
from migration_assets.mssql.select import MAX_SELECT_LIST, source_sql
from migration_assets.plan import TablePlan


def affected_statements(table: TablePlan) -> tuple[tuple[tuple[str, ...], str], ...]:
    """Queries of one row, each with the target names of the columns that it counts for.

    Returns:
        None at all for a table that loses nothing.
    """
    conditions = {column.name: affected_sql(column) for column in table.columns}
    counted = [(name, condition) for name, condition in conditions.items() if condition]
    source = source_sql(table)
    statements = []
    for start in range(0, len(counted), MAX_SELECT_LIST):
        part = counted[start : start + MAX_SELECT_LIST]
        counts = ", ".join(f"COUNT_BIG(CASE WHEN {condition} THEN 1 END)" for _, condition in part)
        statements.append((tuple(name for name, _ in part), f"SELECT {counts} FROM {source}"))
    return tuple(statements)


def with_affected(client: SqlServer, table: TablePlan) -> TablePlan:
    """Count, and return the plan with each column's `affected` rows.

    Raises:
        MigrationError: SQL Server cannot be asked, or takes longer than MSSQL_QUERY_TIMEOUT_S.
    """
    counts: dict[str, int] = {}
    for names, sql in affected_statements(table):
        row = client.query(sql, doing=f"Counting what {table.full_name} would lose")[0]
        counts |= dict(zip(names, map(int, row), strict=True))
    columns = tuple(
        column.model_copy(update={"affected": counts.get(column.name)}) for column in table.columns
    )
    return table.model_copy(update={"columns": columns})

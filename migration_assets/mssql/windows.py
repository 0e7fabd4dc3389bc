"""Where the time windows of tables begin and end: by the server's clock and the lowest dates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

from migration_assets.errors import MigrationError, OperationTimeoutError, PermanentError
from migration_assets.key_types import text_sql
from migration_assets.mssql.client import SqlServer
from migration_assets.mssql.select import quote, source_sql
from migration_assets.plan import TablePlan
from migration_assets.windows import (
    BEGUN_LATER,
    WindowRequest,
    begin,
    bound,
    first_unasked,
)


@dataclass
class MeasuredWindows:
    """What is known of the windows of tables, by their full name.

    Attributes:
        spans: a day of the first window and one of the last.
        notes: sentences for the plan of the table.
    """

    spans: dict[str, tuple[date, date]] = field(default_factory=dict)
    notes: dict[str, tuple[str, ...]] = field(default_factory=dict)


def measure_windows(
    client: SqlServer, requests: Sequence[WindowRequest], old: Mapping[str, TablePlan]
) -> MeasuredWindows:
    """Learn where windows begin and end, as far as rules do not say it.

    They end with the current period by the server's clock (of datetimeoffset in UTC), so that no
    date of 9999-12-31 makes windows of its own. They begin with the first period that has rows, or
    where they began in the plan in force.

    Args:
        client: where the tables are.
        requests: of one table each.
        old: the tables of the plan in force, by full name.

    Raises:
        MigrationError: the server cannot be asked any more.
    """
    measured = MeasuredWindows()
    if not requests:
        return measured
    local, utc = _today(client)
    for request in requests:
        name, rules = request.table.full_name, request.rules
        today = utc if request.column.type.name == "datetimeoffset" else local
        last = rules.last or max(today, rules.first or today)
        known = _known(request, old.get(name))
        notes: tuple[str, ...] = ()
        if rules.first is not None:
            first = rules.first
        elif known is not None:
            first, notes = known
        else:
            first, notes = _first(client, request, last)
        measured.spans[name] = first, max(first, last)
        measured.notes[name] = notes
    return measured


def _known(request: WindowRequest, old: TablePlan | None) -> tuple[date, tuple[str, ...]] | None:
    """Where the windows began in the plan in force, and what it said of that."""
    if old is None or old.window is None:
        return None
    if (old.window.column, old.window.by) != (request.column.name, request.rules.by):
        return None
    return old.window.first, tuple(w for w in old.warnings if w.startswith(BEGUN_LATER))


def _today(client: SqlServer) -> tuple[date, date]:
    """The server's day: local, and in UTC.

    https://learn.microsoft.com/sql/t-sql/functions/sysdatetime-transact-sql
    """
    sql = (
        "SELECT CONVERT(varchar(10), SYSDATETIME(), 23), CONVERT(varchar(10), SYSUTCDATETIME(), 23)"
    )
    ((local, utc),) = client.query(sql, doing="Asking for the server's clock")
    return date.fromisoformat(local), date.fromisoformat(utc)


def _first(client: SqlServer, request: WindowRequest, last: date) -> tuple[date, tuple[str, ...]]:
    """The first day that has rows, but not too long ago; and a sentence where it is."""
    table, kind, by = request.table, request.column.type, request.rules.by
    limit = first_unasked(last, by, kind)
    column, source = quote(request.column.name), source_sql(table)
    lowest = text_sql(kind, f"MIN({column})")
    # Two subqueries, so that each is one seek where there is an index.
    sql = (
        f"SELECT (SELECT {lowest} FROM {source}), "
        f"(SELECT {lowest} FROM {source} WHERE {column} >= {bound(limit, kind)})"
    )
    hint = "`from` of the window in migration.yaml says otherwise."
    try:
        ((earliest, since),) = client.query(
            sql, doing=f"Looking for the first date of {table.full_name}"
        )
    except (PermanentError, OperationTimeoutError) as error:
        said = f"{BEGUN_LATER}{limit}: the first date could not be read ({_short(error)}). {hint}"
        return limit, (said,)
    first = last if since is None else min(date.fromisoformat(since.strip()[:10]), last)
    if earliest is None or date.fromisoformat(earliest.strip()[:10]) >= limit:
        return first, ()
    said = (
        f"{BEGUN_LATER}{begin(first, by)}: what is before, from {earliest.strip()[:10]} on, is one "
        f"partition. {hint}"
    )
    return first, (said,)


def _short(error: MigrationError) -> str:
    return error.found.splitlines()[0].rstrip(".")

"""Which state of the source a step reads, and whether the source moved while it did.

All of it is looked up when a step begins, so no statement is tried that the database would refuse:
options may have changed since the plan was made. Views and functions that are missing or denied
only leave a gap in what the receipt says.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from migration_assets.choices import Consistency
from migration_assets.errors import (
    MigrationError,
    ObjectNotFoundError,
    PermanentError,
    ServerBusyError,
)
from migration_assets.mssql.client import SqlServer
from migration_assets.mssql.select import table_name
from migration_assets.plan import TablePlan
from migration_assets.receipts import (
    DATABASE_SNAPSHOT,
    READ_COMMITTED,
    READ_COMMITTED_SNAPSHOT,
    Difference,
    PointInTime,
)
from migration_assets.schema import TableKind

MAKE_ANOTHER = (
    "`migration-assets snapshot create` makes one of now; partitions that were extracted before show "
    "an older state, so extract them again: `migration-assets run`."
)
_STATE_SQL = (
    "SELECT d.source_database_id, DB_NAME(d.source_database_id), d.create_date, d.state_desc, "
    "d.snapshot_isolation_state, d.is_read_committed_snapshot_on, d.is_cdc_enabled "
    "FROM sys.databases AS d WHERE d.name = DB_NAME()"
)


@dataclass(frozen=True)
class Standpoint:
    """From where in time a step reads.

    Attributes:
        snapshot: SNAPSHOT transactions are to be tried.
        watched: nothing keeps the source still, so its counters are looked at before and after.
        point: for the receipts.
        read_committed_snapshot: what READ COMMITTED reads is of one point in time, too.
    """

    snapshot: bool
    watched: bool = True
    point: PointInTime = field(default_factory=PointInTime)
    read_committed_snapshot: bool = False

    def consistency(self, read: str) -> str:
        """The receipt's word for what a reader calls its way of reading."""
        if self.point.database_snapshot:
            return DATABASE_SNAPSHOT
        if read == READ_COMMITTED and self.read_committed_snapshot:
            return READ_COMMITTED_SNAPSHOT
        return read


@dataclass(frozen=True)
class _State:
    """The row of sys.databases of the database that we are connected with."""

    source_id: int | None
    source: str | None
    created: datetime | None
    state: str | None
    snapshot_isolation: int | None
    read_committed_snapshot: bool | None
    cdc: bool | None


def find_standpoint(client: SqlServer, consistency: Consistency, database: str) -> Standpoint:
    """Look from where in time the rows of a step will be read.

    Args:
        client: where rows are read; at consistency `database_snapshot`, that database.
        consistency: of the plan.
        database: that is migrated.

    Raises:
        ObjectNotFoundError: the database snapshot does not exist, or is none of the database.
        MigrationError: whatever the driver's error means.
    """
    if consistency is Consistency.DATABASE_SNAPSHOT:
        return _in_database_snapshot(client, database)
    try:
        state = _read_state(client)
    except PermanentError:
        state = None
    if state is None:  # a reader that is refused under SNAPSHOT goes on without
        return Standpoint(snapshot=consistency is Consistency.STATEMENT)
    return Standpoint(
        snapshot=consistency is Consistency.STATEMENT and state.snapshot_isolation == 1,
        point=PointInTime(
            change_tracking_version=_change_tracking_version(client), lsn=_lsn(client, state)
        ),
        read_committed_snapshot=bool(state.read_committed_snapshot),
    )


def _in_database_snapshot(client: SqlServer, database: str) -> Standpoint:
    name = client.settings.database
    try:
        state = _read_state(client)
    except ObjectNotFoundError as error:
        raise ObjectNotFoundError(
            f"The database snapshot {name}, which the plan reads from, does not exist, or may not be "
            f"opened. ({error.found})",
            code="MA-MS-110",
            next_step=MAKE_ANOTHER,
        ) from None
    if state is None or state.source_id is None:
        raise ObjectNotFoundError(
            f"{name}, which the plan reads from, is no database snapshot.",
            code="MA-MS-107",
            next_step="Correct `database_snapshot` in migration.yaml and run `migration-assets plan`.",
        )
    if state.source is not None and state.source.casefold() != database.casefold():
        raise ObjectNotFoundError(
            f"{name} is a database snapshot of {state.source}, not of {database}.",
            code="MA-MS-107",
            next_step="Correct `database_snapshot` in migration.yaml and run `migration-assets plan`.",
        )
    if state.state not in {None, "ONLINE"}:
        raise ServerBusyError(
            f"The database snapshot {name} is {state.state}.",
            code="MA-MS-111",
            next_step="If it stays so, its disk was full, and it is lost: drop it with "
            f"`migration-assets snapshot drop`. {MAKE_ANOTHER}",
        )
    return Standpoint(
        snapshot=False,
        watched=False,
        point=PointInTime(
            database_snapshot=name,
            created=state.created,
            change_tracking_version=_change_tracking_version(client),
            lsn=_lsn(client, state),
        ),
    )


def _read_state(client: SqlServer) -> _State | None:
    rows = client.query(_STATE_SQL, doing="Looking at the state of the database")
    return _State(*rows[0]) if rows else None


def _change_tracking_version(client: SqlServer) -> int | None:
    try:
        rows = client.query("SELECT CHANGE_TRACKING_CURRENT_VERSION()", doing="Looking at versions")
    except PermanentError:
        return None
    return None if rows[0][0] is None else int(rows[0][0])


def _lsn(client: SqlServer, state: _State) -> str:
    if not state.cdc:
        return ""
    sql = "SELECT CONVERT(varchar(22), sys.fn_cdc_get_max_lsn(), 1)"
    try:
        rows = client.query(sql, doing="Looking at the log sequence number")
    except PermanentError:
        return ""
    return str(rows[0][0] or "")


OF_THE_DATABASE = " of the database"
"""At the end of a counter's name: other tables move it, too, so it proves nothing of one."""


@dataclass(frozen=True)
class Watch:
    """Counters of a table, as they were before it was read.

    Attributes:
        sql: asks for them again; one row.
        names: what they count, in order.
        before: their values; None where the server has none.
    """

    sql: str
    names: tuple[str, ...]
    before: tuple[int | None, ...]

    def moved(self, ask: Callable[[str], Sequence[Any]]) -> tuple[Difference, ...]:
        """Which counters are others now.

        Args:
            ask: gives the row of a statement that has one.
        """
        try:
            row = ask(self.sql)
        except MigrationError:
            return ()  # what was read is read; that nobody knows whether it moved is no fault of it
        after = [None if value is None else int(value) for value in row]
        return tuple(
            Difference(what=name, expected=was, found=is_now)
            for name, was, is_now in zip(self.names, self.before, after, strict=True)
            if was is not None and is_now is not None and was != is_now
        )


def _counters(table: TablePlan) -> dict[str, str]:
    """A T-SQL expression for each counter; none reads the table's rows.

    `modification_counter` counts changes of a statistic's leading column since its last update, so
    all statistics of the table are summed. Of a view or query there are only those of the database.
    """
    name = table_name(table.source_schema, table.source_name).replace("'", "''")
    number = f"OBJECT_ID(N'{name}')"
    of_the_table = {
        "rows by the catalog": "(SELECT SUM(q.rows) FROM sys.partitions AS q "
        f"WHERE q.object_id = {number} AND q.index_id IN (0, 1))",
        "modification counter": "(SELECT SUM(p.modification_counter) FROM sys.stats AS s "
        "CROSS APPLY sys.dm_db_stats_properties(s.object_id, s.stats_id) AS p "
        f"WHERE s.object_id = {number})",
    }
    counters = {
        **(of_the_table if table.kind is TableKind.TABLE else {}),
        f"Change Tracking version{OF_THE_DATABASE}": "CHANGE_TRACKING_CURRENT_VERSION()",
    }
    if any(column.mssql_type in {"rowversion", "timestamp"} for column in table.columns):
        counters[f"rowversion{OF_THE_DATABASE}"] = "CONVERT(bigint, @@DBTS)"
    return counters


def start_watch(client: SqlServer, table: TablePlan) -> Watch | None:
    """Look at the counters of a table; None where the server shows none.

    One statement; where it is refused, one for each counter, to find those that are allowed.

    Raises:
        TransientError: the server cannot be asked at all.
    """
    counters = _counters(table)
    watch = _look(client, table, counters)
    if watch is None:
        allowed = {
            name: sql
            for name, sql in counters.items()
            if _look(client, table, {name: sql}) is not None
        }
        watch = _look(client, table, allowed) if allowed else None
    return watch


def _look(client: SqlServer, table: TablePlan, counters: dict[str, str]) -> Watch | None:
    sql = f"SELECT {', '.join(counters.values())}"
    try:
        rows = client.query(sql, doing=f"Looking at the counters of {table.full_name}")
    except PermanentError:
        return None
    before = tuple(None if value is None else int(value) for value in rows[0])
    return Watch(sql, tuple(counters), before)

"""One point in time of one table over several connections, where there is no database snapshot.

A SNAPSHOT transaction shows what was committed when it first read data, not when it began, so
transactions that begin together still show several states
(https://learn.microsoft.com/sql/t-sql/statements/set-transaction-isolation-level-transact-sql). A
shared lock of the table makes them show one: it is granted when nobody has uncommitted changes, and
while it is held nobody can begin any. Every transaction reads a row meanwhile, then it is released.
Writers wait some milliseconds, and before that as long as the lock itself has to wait for them.

`TOP (1)` reads, also from an empty table; `TOP (0)` would not. `TABLOCK` with `HOLDLOCK` is a shared
lock of the table until the end of the transaction, also under READ_COMMITTED_SNAPSHOT
(https://learn.microsoft.com/sql/t-sql/queries/hints-transact-sql-table). On a readable secondary
locks mean nothing, and all that a single transaction reads is of one point in time anyway
(https://learn.microsoft.com/sql/database-engine/availability-groups/windows/active-secondaries-readable-secondary-replicas-always-on-availability-groups).

Where the database allows no SNAPSHOT transactions, the lock stays until all is read.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from migration_assets.choices import Consistency, VerificationLevel
from migration_assets.consistency import no_snapshot_transactions
from migration_assets.errors import (
    ConnectionLostError,
    OperationTimeoutError,
    PermanentError,
    ServerBusyError,
    StatementError,
)
from migration_assets.key_range import KeyRange
from migration_assets.memory import MemoryLimit
from migration_assets.mssql.driver_errors import is_driver_error
from migration_assets.mssql.point_in_time import Standpoint, find_standpoint
from migration_assets.mssql.reader import PartitionRead, read_within
from migration_assets.mssql.select import table_name
from migration_assets.plan import TablePlan
from migration_assets.receipts import BARRIER, TABLE_LOCK, PointInTime

if TYPE_CHECKING:
    from datetime import datetime

    import mssql_python

    from migration_assets.mssql.client import SqlServer


class Transaction:
    """A connection of its own with an open transaction; used by one thread at a time.

    Closing the connection, which who lends it does, ends the transaction.
    """

    def __init__(
        self, client: SqlServer, connection: mssql_python.Connection, table: TablePlan
    ) -> None:
        """Take a connection on which nothing was done."""
        self._client = client
        self._connection = connection
        self._table = table
        self._doing = f"Reading {table.full_name} at a barrier"

    def begin(self, isolation: str) -> None:
        """Begin the transaction; it shows no state yet.

        A statement that waits for a lock gives up after MSSQL_LOCK_TIMEOUT_S: behind the barrier
        itself it could wait for ever.
        """
        wait = self._client.settings.lock_timeout_s * 1000
        for statement in (
            f"SET LOCK_TIMEOUT {wait}",
            f"SET TRANSACTION ISOLATION LEVEL {isolation}",
            "BEGIN TRANSACTION",
        ):
            self.run(statement)

    def run(self, sql: str) -> tuple[Any, ...] | None:
        """The first row of a statement; None where it has none.

        Raises:
            MigrationError: whatever the driver's error means.
        """
        try:
            cursor = self._connection.cursor()
            try:
                cursor.execute(sql)
                rows = cursor.fetchall() if cursor.description else []
            finally:
                cursor.close()
        except Exception as error:
            if not is_driver_error(error):
                raise
            raise self._client.translated(error, self._doing) from None
        return tuple(rows[0]) if rows else None

    def fix(self) -> None:
        """Read a row, if there is one: from now on the transaction shows this state."""
        self.run(_first_row(self._table))

    def lock(self) -> None:
        """Wait for a shared lock of the table, which is held until the transaction ends.

        Raises:
            ServerBusyError: somebody was writing for longer than MSSQL_LOCK_TIMEOUT_S.
        """
        seconds = self._client.settings.lock_timeout_s
        try:
            self.run(f"{_first_row(self._table)} WITH (TABLOCK, HOLDLOCK)")
        except (ServerBusyError, OperationTimeoutError) as error:
            raise ServerBusyError(
                f"{self._table.full_name}: no shared lock of the table within {seconds} s, so no "
                f"barrier: somebody writes to it in a transaction that takes longer. ({error.found})",
                code="MA-MS-104",
                next_step="It is tried again by itself. If it comes back, find the transaction, or "
                "raise MSSQL_LOCK_TIMEOUT_S: other writers wait behind the lock meanwhile.",
            ) from None

    def check(self) -> None:
        """See that the transaction is still open: drivers may connect again without a word.

        Raises:
            ConnectionLostError: it is not.
        """
        if self.run("SELECT @@TRANCOUNT") != (1,):
            raise ConnectionLostError(
                f"{self._doing}: SQL Server ended a transaction of the barrier.",
                code="MA-MS-103",
                next_step="It is tried again by itself, with all partitions.",
            )

    @contextmanager
    def partition(
        self,
        key_range: KeyRange,
        *,
        batch_rows: int,
        level: VerificationLevel,
        consistency: str,
        memory: MemoryLimit | None = None,
    ) -> Iterator[PartitionRead]:
        """Start reading a key range. See `reader.read_within`.

        Raises:
            ConnectionLostError: an error ended the transaction: lost row versions, a conflict, a
                deadlock; what it says depends on the server's language, and a new set may work.
            MigrationError: whatever else the driver's error means.
        """
        try:
            with read_within(
                self._client,
                self._connection,
                self._table,
                key_range,
                batch_rows=batch_rows,
                level=level,
                consistency=consistency,
                memory=memory,
            ) as source:
                yield source
        except StatementError as error:
            try:
                self.check()
            except ConnectionLostError as lost:
                raise ConnectionLostError(
                    f"{lost.found} ({error.found})", code=lost.code, next_step=lost.next_step
                ) from None
            raise


def _first_row(table: TablePlan) -> str:
    return f"SELECT TOP (1) 1 FROM {table_name(table.source_schema, table.source_name)}"


@dataclass
class Barrier:
    """Transactions that all show one state of a table; made by `open_barrier`, which ends them.

    Attributes:
        readers: the transactions.
        standpoint: for the receipts: which state it is, and that nothing has to be watched.
        consistency: `BARRIER`, or `TABLE_LOCK` when writers wait until the end.
    """

    readers: tuple[Transaction, ...]
    standpoint: Standpoint
    consistency: str
    _lock: Transaction | None = None
    _checking: threading.Lock = field(default_factory=threading.Lock)

    def check(self, reader: Transaction) -> None:
        """See that what a reader has read so far is of the barrier's state.

        Raises:
            TransientError: a transaction is lost, and with it the whole set.
        """
        reader.check()
        if self._lock is not None and self._lock is not reader:
            with self._checking:
                self._lock.check()


@contextmanager
def open_barrier(client: SqlServer, table: TablePlan) -> Iterator[Barrier]:
    """Open connections with transactions that show one state of a table, and close them.

    There are as many as MSSQL_POOL_SIZE allows, one of which the lock takes, and no more than the
    table has partitions. A single one needs no lock.

    Args:
        client: where the table is.
        table: its plan; `block_writers` says whether the lock may stay.

    Raises:
        ConfigurationError: it would have to stay, and may not.
        ServerBusyError: the lock was not granted in time.
        MigrationError: whatever else a driver's error means.
    """
    standpoint = find_standpoint(client, Consistency.STATEMENT, table.source_database)
    is_still = _is_read_only(client)
    is_locked = not standpoint.snapshot and not is_still
    if is_locked and not table.block_writers:
        raise no_snapshot_transactions(table.full_name, table.source_database)
    most = 1 if is_still else max(1, client.settings.pool_size - 1)
    count = min(most, len(table.partition_keys))
    with ExitStack() as connections, ExitStack() as the_lock_s:

        def connect(stack: ExitStack) -> Transaction:
            doing = f"Reading {table.full_name} at a barrier"
            return Transaction(client, stack.enter_context(client.arrow_connection(doing)), table)

        readers = tuple(connect(connections) for _ in range(count))
        for reader in readers:
            reader.begin("SNAPSHOT" if standpoint.snapshot else "READ COMMITTED")
        lock = None
        if count > 1:
            lock = connect(the_lock_s)
            lock.begin("READ COMMITTED")
        elif is_locked:
            (lock,) = readers
        if lock is not None:
            lock.lock()
        point = _point(lock or readers[0], standpoint.point, is_exact=lock is not None)
        for reader in readers:
            reader.fix()
        if lock is not None and not is_locked:
            lock.run("ROLLBACK TRANSACTION")
            the_lock_s.close()
            lock = None
        yield Barrier(
            readers,
            Standpoint(snapshot=standpoint.snapshot, watched=False, point=point),
            TABLE_LOCK if is_locked else BARRIER,
            lock,
        )


def _is_read_only(client: SqlServer) -> bool:
    """Whether nobody can write here, or only somewhere else: a readable secondary."""
    try:
        rows = client.query(
            "SELECT CONVERT(nvarchar(128), DATABASEPROPERTYEX(DB_NAME(), 'Updateability'))",
            doing="Looking at the state of the database",
        )
    except PermanentError:
        return False
    return bool(rows) and rows[0][0] == "READ_ONLY"


def _point(transaction: Transaction, before: PointInTime, *, is_exact: bool) -> PointInTime:
    """Which state it is, of a fresh id; behind a lock the versions are exact, else of before."""
    version, lsn = before.change_tracking_version, before.lsn
    if is_exact and version is not None:
        version = _asked(transaction, "SELECT CHANGE_TRACKING_CURRENT_VERSION()", version)
    if is_exact and lsn:
        lsn = _asked(transaction, "SELECT CONVERT(varchar(22), sys.fn_cdc_get_max_lsn(), 1)", lsn)
    created: datetime | None = _asked(transaction, "SELECT SYSDATETIME()", None)
    return PointInTime(
        barrier=uuid.uuid4().hex, created=created, change_tracking_version=version, lsn=lsn
    )


def _asked(transaction: Transaction, sql: str, otherwise: Any) -> Any:
    """What a statement gives; a function that is denied only leaves what was known before."""
    row = None
    with suppress(PermanentError):
        row = transaction.run(sql)
    return otherwise if row is None or row[0] is None else row[0]

"""Reads a key range as Arrow record batches and lets the server measure the same rows.

Memory is bounded by the batch: rows are fetched in pieces that `memory.FetchSize` sizes, and pieces
are put together until they are a batch. A `(max)` or xml column makes ODBC fetch row by row, which is
slower but not different.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from migration_assets.choices import VerificationLevel
from migration_assets.errors import OperationTimeoutError, StatementError, UnsupportedError
from migration_assets.fingerprint import tsql_query
from migration_assets.key_range import KeyRange
from migration_assets.memory import FetchSize, MemoryLimit
from migration_assets.mssql.client import SqlServer
from migration_assets.mssql.driver_errors import is_driver_error
from migration_assets.mssql.mask_salt import needs_salt, with_salt
from migration_assets.mssql.select import fingerprint_sql, invalid_text_sql, select_sql
from migration_assets.plan import TablePlan
from migration_assets.receipts import READ_COMMITTED, SNAPSHOT, Fingerprint
from migration_assets.setting_values import MAX_SECONDS
from migration_assets.timeout_advice import Timeout, explained

if TYPE_CHECKING:
    import mssql_python
    import pyarrow as pa


class PartitionRead:
    """A key range that is being read; made by `open_partition`, which closes it.

    Attributes:
        consistency: `snapshot` when rows and fingerprint are of one transaction's point in time,
            else `read committed`; within a transaction of somebody else's, what that one gives.
    """

    def __init__(
        self,
        stream: _Stream,
        *,
        table: TablePlan,
        key_range: KeyRange,
        level: VerificationLevel,
        consistency: str,
    ) -> None:
        """Take a stream whose query runs."""
        self.consistency = consistency
        self._stream = stream
        self._table = table
        self._key_range = key_range
        self._level = level

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the rows, at most `batch_rows` or some MiB at a time; once.

        Raises:
            ConnectionLostError: the server went away.
            MigrationError: whatever else the driver's error means.
        """
        while (batch := self._stream.next_batch()) is not None:
            yield batch

    def fingerprint(self) -> Fingerprint | None:
        """SQL Server's own aggregates of the range; call it after the last batch.

        Returns:
            None at level `none`.

        Raises:
            MigrationError: whatever the driver's error means.
        """
        if self._level is VerificationLevel.NONE:
            return None
        statements = fingerprint_sql(self._table, self._key_range, self._level)
        row = [value for statement in statements for value in self._stream.only_row(statement)]
        return tsql_query(self._table, self._level).decode(row)

    def cancel(self) -> None:
        """End the stream of rows from another thread: who reads them gets an error."""
        self._stream.cancel()

    def ask(self, sql: str) -> tuple[Any, ...]:
        """The row of a statement that has one, on the connection that reads; after the last batch.

        Raises:
            MigrationError: whatever the driver's error means.
        """
        return self._stream.only_row(sql)

    replacement = "\ufffd"
    """What mssql-python's Arrow reader has in the place of a surrogate without its partner."""

    def refuse_invalid_text(self, columns: Sequence[str]) -> Sequence[str]:
        """Ask SQL Server whether texts of these columns are valid; call it after the last batch.

        Raises:
            UnsupportedError: they are not.
            MigrationError: whatever the driver's error means.
        """
        sql = invalid_text_sql(self._table, self._key_range, columns)
        _refuse_invalid(self._table, self._key_range, columns, self._stream.only_row(sql))
        return ()


def refuse_invalid_text(
    client: SqlServer, table: TablePlan, key_range: KeyRange, columns: Sequence[str]
) -> None:
    """Ask SQL Server, on a pooled connection, whether texts of some columns are valid.

    Args:
        client: where the table is.
        table: its plan.
        key_range: which rows.
        columns: target names.

    Raises:
        UnsupportedError: they are not.
        MigrationError: whatever the driver's error means.
    """
    doing = f"Looking for invalid text in {table.full_name}"
    rows = client.query(invalid_text_sql(table, key_range, columns), doing=doing)
    _refuse_invalid(table, key_range, columns, rows[0])


def _refuse_invalid(
    table: TablePlan, key_range: KeyRange, columns: Sequence[str], counts: Sequence[int]
) -> None:
    found = [
        f"{name} in {count:,} rows" for name, count in zip(columns, counts, strict=True) if count
    ]
    if found:
        raise UnsupportedError(
            f"{table.full_name}, partition {key_range.source_partition}: text that is no valid "
            f"UTF-16 (a surrogate without its partner), which UTF-8 cannot hold: {', '.join(found)}.",
            code="MA-MS-117",
            next_step="Correct it in SQL Server, or accept another character in its place with "
            "`invalid_text: replace` in migration.yaml.",
        )


class _Stream:
    """Record batches of one statement on a lent connection, driver errors translated.

    The first rows are fetched at once: only then it is sure that the server took the statement.
    """

    def __init__(
        self,
        client: SqlServer,
        connection: mssql_python.Connection,
        table: TablePlan,
        key_range: KeyRange,
        *,
        batch_rows: int,
        memory: MemoryLimit,
    ) -> None:
        self._client = client
        self._connection = connection
        self._table = table
        self._key_range = key_range
        self._doing = reading(table, key_range)
        self._batch_rows = batch_rows
        self._batch_bytes = memory.batch_bytes
        self._size = FetchSize(table, memory, batch_rows)
        self._rows = 0
        self._cursor: Any = None
        self._cancels: tuple[Any, ...] = ()
        self._cancelled = False
        self._ending = threading.Lock()
        self._first: pa.RecordBatch | None = None

    def start(self, *statements: str) -> None:
        """Run statements, the last of which gives the rows."""
        with self._translated():
            cursor = self._connection.cursor()
            *before, rows = statements
            for statement in before:
                cursor.execute(statement)
            salted, parameters = with_salt(rows, self._client.settings)
            cursor.execute(salted, *parameters)
            # Only for their `close`, the driver's one way to cancel a fetch. It works once, so
            # whoever gives up the rows and the watchdog have one each.
            self._cancels = (cursor.arrow_reader(), cursor.arrow_reader())
            self._cursor = cursor
            self._first = self._fetch()

    def next_batch(self) -> pa.RecordBatch | None:
        """The next batch, None after the last."""
        import pyarrow as pa

        pieces, rows, size = [], 0, 0
        while (piece := self._next_piece()) is not None:
            pieces.append(piece)
            rows += piece.num_rows
            size += piece.get_total_buffer_size()
            # Another like it would not fit.
            mean = size // len(pieces)
            if rows + self._size.rows > self._batch_rows or size + mean > self._batch_bytes:
                break
        if len(pieces) < 2:
            return pieces[0] if pieces else None
        return pa.concat_batches(pieces)

    def _next_piece(self) -> pa.RecordBatch | None:
        if self._first is not None:
            piece, self._first = self._first, None
            return piece
        if self._cursor is None:
            return None
        with self._translated():
            return self._fetch()

    def only_row(self, statement: str) -> tuple[Any, ...]:
        """The row of a statement that has one."""
        with self._translated():
            cursor = self._connection.cursor()
            try:
                salted, parameters = with_salt(statement, self._client.settings)
                cursor.execute(salted, *parameters)
                return tuple(cursor.fetchall()[0])
            finally:
                cursor.close()

    def cancel(self, way: int = 0) -> None:
        """End the fetching of rows, from any thread.

        Args:
            way: which of the two cancels: 1 is the watchdog's.
        """
        self._cancelled = True
        with self._ending, contextlib.suppress(Exception):  # the connection may be gone
            for cancel in self._cancels[way : way + 1]:
                cancel.close()

    def close(self) -> None:
        """Cancel what still runs, so that closing the connection does not wait for its rows."""
        self.cancel()
        with contextlib.suppress(Exception):  # likewise
            self._end()

    def _end(self) -> None:
        """Free the statement; nobody fetches any more."""
        with self._ending:
            cursor, self._cursor, self._cancels = self._cursor, None, ()
            if cursor is not None:
                cursor.close()

    def _fetch(self) -> pa.RecordBatch | None:
        # ODBC's query timeout ends with the first row: a stream that stalls later, behind a lock
        # for one, would be waited for without end.
        import mssql_python

        limit = self._client.settings.query_timeout_s
        batch: pa.RecordBatch | None = None
        if not self._cancelled:
            watchdog = threading.Timer(limit, self.cancel, (1,))
            watchdog.daemon = True
            watchdog.start()
            try:
                batch = self._cursor.arrow_batch(self._size.rows)
            except mssql_python.Error:
                if not self._cancelled:  # else so ends a fetch that is cancelled
                    raise
            finally:
                watchdog.cancel()
        # Also where the fetch ended as if there were no more rows: some would be lost unseen.
        if self._cancelled or batch is None:
            raise OperationTimeoutError(
                f"{self._doing}: SQL Server {self._client.settings.server} sent no rows for "
                f"{limit} s.",
                code="MA-MS-026",
                next_step="Find what blocks the reader, or raise MSSQL_QUERY_TIMEOUT_S.",
            )
        if batch.num_rows == 0:
            self._end()  # the connection has a fingerprint to ask for
            return None
        self._rows += batch.num_rows
        self._size.saw(batch.num_rows, batch.get_total_buffer_size())
        return batch

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except OperationTimeoutError as error:
            raise self._explained(error) from None
        except Exception as error:
            if not is_driver_error(error):
                raise
            meaning = self._client.translated(error, self._doing)
            if isinstance(meaning, OperationTimeoutError):
                meaning = self._explained(meaning)
            raise meaning from None

    def _explained(self, error: OperationTimeoutError) -> OperationTimeoutError:
        timeout = query_timeout(self._client)
        return explained(error, self._table, self._key_range, timeout, done=self._rows)


def reading(table: TablePlan, key_range: KeyRange) -> str:
    """What an error says we were doing."""
    return f"Reading {table.full_name}, partition {key_range.source_partition}"


def query_timeout(client: SqlServer) -> Timeout:
    """The limit of a statement."""
    return Timeout("MSSQL_QUERY_TIMEOUT_S", client.settings.query_timeout_s, MAX_SECONDS)


@contextmanager
def open_partition(
    client: SqlServer,
    table: TablePlan,
    key_range: KeyRange,
    *,
    batch_rows: int,
    level: VerificationLevel,
    snapshot: bool,
    condition: str = "",
    memory: MemoryLimit | None = None,
) -> Iterator[PartitionRead]:
    """Start reading a key range on a connection of its own, closed when the block ends.

    Leaving the block before the last batch cancels the statement.

    Args:
        client: where the table is.
        table: its plan; its columns are read in order, under their target names.
        key_range: which rows.
        batch_rows: rows of a record batch, at most.
        level: what `PartitionRead.fingerprint` measures.
        snapshot: try a SNAPSHOT transaction for rows and fingerprint (see `Standpoint`); where the
            server refuses the statement under it (3952: switched off meanwhile, 41332:
            memory-optimized table), it is read committed.
        condition: T-SQL that rows must also fulfil; fingerprints do not know it.
        memory: what bounds a batch by bytes; None for the settings' default.

    Raises:
        ConnectionLimitError: no connection became free.
        MigrationError: whatever the driver's error means.
    """
    doing = reading(table, key_range)
    sql = select_sql(table, key_range, condition)
    ways: dict[str, tuple[str, ...]] = {READ_COMMITTED: (sql,)}
    if snapshot:
        ways = {SNAPSHOT: (*_BEGIN_SNAPSHOT, sql), **ways}
    for consistency, statements in ways.items():
        with (
            client.arrow_connection(doing) as connection,
            contextlib.closing(
                _Stream(
                    client,
                    connection,
                    table,
                    key_range,
                    batch_rows=batch_rows,
                    memory=memory or MemoryLimit(),
                )
            ) as stream,
        ):
            try:
                stream.start(*statements)
            except StatementError:
                # How a refusal reads depends on the server's language, so whatever is refused
                # under SNAPSHOT is tried without; a fault of the statement itself comes up then.
                if consistency == SNAPSHOT:
                    continue
                raise
            yield PartitionRead(
                stream, table=table, key_range=key_range, level=level, consistency=consistency
            )
            return


@contextmanager
def read_within(
    client: SqlServer,
    connection: mssql_python.Connection,
    table: TablePlan,
    key_range: KeyRange,
    *,
    batch_rows: int,
    level: VerificationLevel,
    consistency: str,
    memory: MemoryLimit | None = None,
) -> Iterator[PartitionRead]:
    """Start reading a key range in the transaction of a connection, which stays open.

    Args:
        client: that lent the connection.
        connection: used by nobody else while the block lasts.
        table: see `open_partition`, like the next three.
        key_range: which rows.
        batch_rows: rows of a record batch, at most.
        level: what `PartitionRead.fingerprint` measures.
        consistency: what the transaction gives, for the receipt.
        memory: what bounds a batch by bytes; None for the settings' default.

    Raises:
        MigrationError: whatever the driver's error means.
    """
    with contextlib.closing(
        _Stream(
            client,
            connection,
            table,
            key_range,
            batch_rows=batch_rows,
            memory=memory or MemoryLimit(),
        )
    ) as stream:
        stream.start(select_sql(table, key_range))
        yield PartitionRead(
            stream, table=table, key_range=key_range, level=level, consistency=consistency
        )


# Closing the connection ends the transaction, in which nothing was written.
_BEGIN_SNAPSHOT = ("SET TRANSACTION ISOLATION LEVEL SNAPSHOT", "BEGIN TRANSACTION")


def measure_partition(
    client: SqlServer, table: TablePlan, key_range: KeyRange, level: VerificationLevel
) -> Fingerprint:
    """SQL Server's aggregates of a range now; for `validate` and checks.

    On a pooled connection, but where they need the salt of a mask: pymssql has no way to keep it out
    of the statement's text.

    Raises:
        MigrationError: whatever the driver's error means.
    """
    doing = f"Measuring {table.full_name}, partition {key_range.source_partition}"
    row: list[Any] = []
    try:
        for statement in fingerprint_sql(table, key_range, level):
            row.extend(_only_row(client, statement, doing))
    except OperationTimeoutError as error:
        raise explained(error, table, key_range, query_timeout(client)) from None
    return tsql_query(table, level).decode(row)


def _only_row(client: SqlServer, statement: str, doing: str) -> Sequence[Any]:
    if not needs_salt(statement):
        return client.query(statement, doing=doing)[0]
    salted, parameters = with_salt(statement, client.settings)
    with client.arrow_connection(doing) as connection, connection.cursor() as cursor:
        cursor.execute(salted, *parameters)
        return tuple(cursor.fetchall()[0])

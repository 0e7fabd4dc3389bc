"""Locks of tables: who waits for whom, through both drivers and by themselves."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import duckdb
import pytest

from migration_assets.sandbox.sqlserver.errors import SqlServerError
from migration_assets.sandbox.sqlserver.locks import SHARED, WRITING, TableLocks
from migration_assets_tests.sandbox.project import wait_until
from migration_assets_tests.sandbox.sqlserver_standin.client import Server, error_of, odbc, one, tds

TABLE, OTHER = ("shop", 1), ("shop", 2)


def take(
    locks: TableLocks,
    owner: object,
    mode: str,
    *,
    wait_ms: int = 0,
    stopped: Callable[[], bool] = lambda: False,
) -> None:
    locks.take(owner, TABLE, mode, timeout_ms=wait_ms, stopped=stopped)


@pytest.mark.parametrize(
    ("first", "second", "waits"),
    [
        (SHARED, SHARED, False),
        (WRITING, WRITING, False),
        (SHARED, WRITING, True),
        (WRITING, SHARED, True),
    ],
)
def test_readers_and_writers_exclude_each_other(first: str, second: str, *, waits: bool) -> None:
    locks = TableLocks()
    take(locks, "a", first)
    take(locks, "a", second)  # its own lock is in nobody's way
    locks.release("a")
    take(locks, "a", first)
    locks.take("b", OTHER, second, timeout_ms=0, stopped=lambda: False)
    if waits:
        with pytest.raises(SqlServerError, match="Lock request time out") as raised:
            take(locks, "b", second)
        assert raised.value.number == 1222
        locks.release("a")
    take(locks, "b", second)


def test_who_came_first_goes_first_and_a_cancel_ends_a_wait() -> None:
    """A writer waits behind a lock that waits itself, as SQL Server's queue has it."""
    locks, cancelled = TableLocks(), threading.Event()
    take(locks, "writer", WRITING)
    with ThreadPoolExecutor(1) as threads:
        reader = threads.submit(take, locks, "reader", SHARED, wait_ms=-1, stopped=cancelled.is_set)
        wait_until(lambda: locks._waiting[TABLE], "the reader")
        with pytest.raises(SqlServerError):
            take(locks, "late", WRITING)
        cancelled.set()
        with pytest.raises(duckdb.InterruptException):
            reader.result(30)
    take(locks, "late", WRITING)


def test_a_transaction_holds_what_its_hints_ask_for(server: Server) -> None:
    reader, writer = odbc(server), tds(server)
    with reader.cursor() as mine, writer.cursor() as theirs:
        theirs.execute("SET LOCK_TIMEOUT 20")
        assert one(writer, "SELECT @@LOCK_TIMEOUT") == 20
        mine.execute("BEGIN TRANSACTION")
        for hints, waits in (("NOLOCK", False), ("TABLOCK", False), ("TABLOCK, HOLDLOCK", True)):
            mine.execute(f"SELECT TOP (1) 1 FROM dbo.customers WITH ({hints})")
            mine.fetchall()
            changes = (
                "UPDATE dbo.customers SET code = 'x'",
                "DELETE c FROM dbo.customers AS c WHERE c.id = -1",
                "INSERT INTO dbo.customers (name) VALUES (N'c')",
            )
            for change in changes:
                if waits:
                    assert error_of(writer, change)[0] == 1222
                else:
                    theirs.execute(change)
        theirs.execute("UPDATE sales.[Order Lines] SET qty = 1")
        mine.execute("COMMIT TRANSACTION")
        theirs.execute(changes[0])
    reader.close()
    writer.close()

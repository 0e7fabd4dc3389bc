"""A bank whose accounts always hold the same total, while transfers between them run."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from migration_assets.mssql.client import SqlServer, run

ACCOUNTS = 400
BALANCE = 100
TOTAL = ACCOUNTS * BALANCE
PARTITIONS = 4
WAIT_S = 240.0

SCRIPT = (
    "CREATE TABLE dbo.accounts (id int NOT NULL PRIMARY KEY, balance int NOT NULL);\nGO\n"
    f"INSERT INTO dbo.accounts VALUES {', '.join(f'({n}, {BALANCE})' for n in range(ACCOUNTS))};\n"
)


class Transfers:
    """Money on its way from the last partition's accounts to the first's, in a thread of its own."""

    def __init__(self, client: SqlServer) -> None:
        self._client = client
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="transfers", daemon=True)
        self.done = 0
        self.error: Exception | None = None

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._ended.set()
        self._thread.join(WAIT_S)
        if self.error is not None:
            raise self.error

    def await_more(self, count: int = 10) -> None:
        """Wait until so many more transfers are done: what happens in minutes elsewhere."""
        wanted, deadline = self.done + count, time.monotonic() + WAIT_S
        while self.done < wanted:
            assert self._thread.is_alive(), self.error
            assert time.monotonic() < deadline
            time.sleep(0.005)

    def _run(self) -> None:
        quarter = ACCOUNTS // PARTITIONS
        try:
            with self._client.connection("transfers") as connection:
                while not self._ended.is_set():
                    giver = ACCOUNTS - 1 - self.done % quarter
                    transfer(lambda sql: run(connection, sql), giver, self.done % quarter)
                    self.done += 1
        except Exception as error:  # noqa: BLE001 - raised again where the thread is ended
            self.error = error


def transfer(execute, giver: int, taker: int, amount: int = 1) -> None:
    """Move money in one transaction: the total never changes."""
    execute("BEGIN TRANSACTION")
    execute(f"UPDATE dbo.accounts SET balance = balance - {amount} WHERE id = {giver}")
    execute(f"UPDATE dbo.accounts SET balance = balance + {amount} WHERE id = {taker}")
    execute("COMMIT TRANSACTION")


@contextmanager
def transfers(client: SqlServer) -> Iterator[Transfers]:
    """Let transfers run while the block does."""
    running = Transfers(client)
    running.start()
    try:
        yield running
    finally:
        running.stop()

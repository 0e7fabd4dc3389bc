"""Locks of whole tables: what `WITH (TABLOCK, HOLDLOCK)` and every change of rows take.

Shared locks go together, and so do intents to write; the two exclude each other, in the order in
which they were asked for. Rows are not locked, and deadlocks are not found: `SET LOCK_TIMEOUT`
ends a wait, or a cancel. See
https://learn.microsoft.com/sql/relational-databases/sql-server-transaction-locking-and-row-versioning-guide
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable

import duckdb

from migration_assets.sandbox.sqlserver.errors import SqlServerError

SHARED, WRITING = "S", "IX"
HELD = frozenset({"HOLDLOCK", "SERIALIZABLE"})
"""Hints that keep a lock until the transaction ends."""

TableKey = tuple[str, int]
"""Database, in lower case, and object id."""

_LOOK_AGAIN_S = 0.05


class TableLocks:
    """Who holds and who waits for locks of tables; safe to use from many threads."""

    def __init__(self) -> None:
        """Nobody holds any."""
        self._changed = threading.Condition()
        self._held: dict[TableKey, dict[object, set[str]]] = defaultdict(dict)
        self._waiting: dict[TableKey, list[tuple[object, str]]] = defaultdict(list)

    def take(
        self,
        owner: object,
        table: TableKey,
        mode: str,
        *,
        timeout_ms: int,
        stopped: Callable[[], bool],
    ) -> None:
        """Wait for a lock, which is held until `release`.

        Args:
            owner: who asks; its own locks are not in its way.
            table: which one.
            mode: `SHARED` or `WRITING`.
            timeout_ms: as `SET LOCK_TIMEOUT` has it; -1 waits without end.
            stopped: whether the statement was cancelled meanwhile.

        Raises:
            SqlServerError: 1222 when the time is over.
            duckdb.InterruptException: cancelled.
        """
        request = (owner, mode)
        deadline = time.monotonic() + timeout_ms / 1000
        with self._changed:
            if mode in self._held[table].get(owner, ()):
                return
            queue = self._waiting[table]
            queue.append(request)
            try:
                while self._is_blocked(table, request):
                    if stopped():
                        raise duckdb.InterruptException("interrupted")
                    if timeout_ms >= 0 and time.monotonic() >= deadline:
                        raise SqlServerError(1222, "Lock request time out period exceeded.")
                    self._changed.wait(_LOOK_AGAIN_S)
                self._held[table].setdefault(owner, set()).add(mode)
            finally:
                queue.remove(request)
                self._changed.notify_all()

    def release(self, owner: object) -> None:
        """Give up all that somebody holds."""
        with self._changed:
            for holders in self._held.values():
                holders.pop(owner, None)
            self._changed.notify_all()

    def _is_blocked(self, table: TableKey, request: tuple[object, str]) -> bool:
        owner, mode = request
        queue = self._waiting[table]
        before = queue[: queue.index(request)]
        others = [(who, m) for who, modes in self._held[table].items() for m in modes]
        return any(who is not owner and other != mode for who, other in [*others, *before])

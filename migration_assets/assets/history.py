"""Makes Dagster's SQLite history cheap to write, for the process that executes a run.

For each of the some 45 times a step that Dagster writes or reads its history it makes a new engine
and a new connection: SQLAlchemy compiles the statement anew, closing the last connection to a
database in WAL mode checkpoints it, and each commit waits for the disk. Together that took longer
than all the rest of a small asset partition; with engines and connections kept, and
`synchronous=NORMAL`, a step takes half the time. A commit survives the death of the process, and a
crash of the machine may take the last events; what was migrated is proved by receipts, Iceberg and
StarRocks, never by events (https://www.sqlite.org/wal.html,
https://www.sqlite.org/pragma.html#pragma_synchronous). With Postgres as storage this does nothing.
"""

from __future__ import annotations

import sqlite3
import threading
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine

KEPT_OPEN = 6
"""Databases that stay open: those of the runs, of asset events, and of the newest runs' events."""

_engines: OrderedDict[str, Engine] = OrderedDict()
_homes: set[Path] = set()
_lock = threading.Lock()


def speed_up(home: Path) -> None:
    """Keep every SQLite database below Dagster's home open that this process opens from now on.

    Dagster has no setting for it, so the function that its two storages make engines with is
    replaced. Where a release of Dagster has it no more, all works as before, only slower.

    Args:
        home: `DAGSTER_HOME`; databases elsewhere are left alone.
    """
    from dagster._core.storage.event_log.sqlite import sqlite_event_log
    from dagster._core.storage.runs.sqlite import sqlite_run_storage

    _homes.add(home.resolve())
    storages: tuple[Any, ...] = (sqlite_event_log, sqlite_run_storage)
    for storage in storages:
        if hasattr(storage, "create_engine"):
            storage.create_engine = _kept_engine


def _kept_engine(url: str, **options: Any) -> Engine:
    """`sqlalchemy.create_engine`, with one engine for each database of ours."""
    from sqlalchemy import create_engine, event, make_url
    from sqlalchemy.pool import QueuePool

    path = make_url(url).database
    if path is None or not any(home in Path(path).resolve().parents for home in _homes):
        return create_engine(url, **options)
    with _lock:
        if path in _engines:
            _engines.move_to_end(path)
            return _engines[path]
        # As many connections as are asked for, of which one is kept; Dagster asks for NullPool.
        options |= {"poolclass": QueuePool, "pool_size": 1, "max_overflow": -1}
        engine = create_engine(url, **options)
        event.listen(engine, "connect", _tune)
        if len(_engines) >= KEPT_OPEN:
            _, oldest = _engines.popitem(last=False)
            type(oldest).dispose(oldest)
        # Dagster disposes of its engines after each use, which would close the connection.
        engine.dispose = _keep  # type: ignore[method-assign]
        _engines[path] = engine
        return engine


def _keep(close: bool = True) -> None:  # noqa: FBT001, FBT002 - the signature of Engine.dispose
    """Do nothing."""


def _tune(connection: sqlite3.Connection, _record: object) -> None:
    connection.execute("PRAGMA synchronous=NORMAL")

"""Makes Dagster's SQLite history cheap to write, for the process that executes a run.

Dagster opens and closes a connection for each event. Closing the last connection to a database in
WAL mode checkpoints it, and each commit waits for the disk: together that took longer than all the
rest of a small asset partition. With `synchronous=NORMAL` a commit survives the death of the
process, and a crash of the machine may take the last events; what was migrated is proved by
receipts, Iceberg and StarRocks, never by events (https://www.sqlite.org/wal.html,
https://www.sqlite.org/pragma.html#pragma_synchronous). With Postgres as storage this does nothing.
"""

from __future__ import annotations

import sqlite3
from collections import OrderedDict
from pathlib import Path

KEPT_OPEN = 6
"""Databases whose last connection stays open: those of runs, schedules and events, and newest runs."""

_keepers: OrderedDict[str, sqlite3.Connection] = OrderedDict()
_homes: set[Path] = set()


def speed_up(home: Path) -> None:
    """Tune every SQLite database below Dagster's home that this process opens from now on.

    Args:
        home: `DAGSTER_HOME`; databases elsewhere are left alone.
    """
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    if not _homes:
        event.listen(Engine, "connect", _tune)
    _homes.add(home.resolve())


def _tune(connection: object, _record: object) -> None:
    if not isinstance(connection, sqlite3.Connection):
        return
    (row,) = connection.execute("PRAGMA database_list").fetchall()[:1]
    path = str(row[2])
    if not path or not any(home in Path(path).parents for home in _homes):
        return
    connection.execute("PRAGMA synchronous=NORMAL")
    if path in _keepers:
        _keepers.move_to_end(path)
        return
    _keepers[path] = sqlite3.connect(path, check_same_thread=False)
    _keepers[path].execute("PRAGMA schema_version")  # a connection that read nothing holds nothing
    if len(_keepers) > KEPT_OPEN:
        _keepers.popitem(last=False)[1].close()

"""Makes the caps of Dagster's pools hold in its SQLite history, too, and no step wait for ever.

Dagster gives a step a place in its pool in several statements: whether one is free, the entry in the
queue, the slot; and when a step ends it gives its place to the next of the queue. In Postgres rows
are locked meanwhile (`FOR UPDATE`); SQLite knows no such thing. So two steps of different processes
that ask in the same moment may be given the same slot, and one more than the cap goes on; and a step
that enters the queue in the moment in which another one leaves is seen by nobody, and waits until a
third one ends, if there is any. Dagster's maintainers do not test it there
(https://github.com/dagster-io/dagster/pull/14644).
"""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from migration_assets.assets.process_locks import alone

_FILE = "slots.lock"
_ONE_AT_A_TIME = (
    "claim_concurrency_slot",
    "free_concurrency_slot_for_step",
    "free_concurrency_slots_for_run",
    "set_concurrency_slots",
    "delete_concurrency_limit",
    "initialize_concurrency_limit_to_default",
)
_thread = threading.local()


def give_slots_singly() -> None:
    """From now on this process asks for slots, and frees them, alone below its `DAGSTER_HOME`.

    Dagster has no setting for it, so the methods of its SQLite storage are wrapped; with another
    storage this does nothing. What a release has no more is left out: all works as before.
    """
    from dagster._core.storage.event_log import SqliteEventLogStorage

    for name in _ONE_AT_A_TIME:
        method = getattr(SqliteEventLogStorage, name, None)
        if method is not None and not hasattr(method, "__wrapped__"):
            setattr(SqliteEventLogStorage, name, _one_at_a_time(method))


def _one_at_a_time(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def called_alone(*arguments: Any, **named: Any) -> Any:
        if getattr(_thread, "is_inside", False):  # one of them calls another
            return method(*arguments, **named)
        with alone(Path(os.environ.get("DAGSTER_HOME", "")) / _FILE):
            _thread.is_inside = True
            try:
                return method(*arguments, **named)
            finally:
                _thread.is_inside = False

    return called_alone

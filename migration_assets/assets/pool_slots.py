"""Makes the caps of Dagster's pools hold in its SQLite history, too.

Dagster gives a step a free slot of its pool in two statements: one reads which is free, the other
takes it. In Postgres the first locks the row (`FOR UPDATE SKIP LOCKED`); SQLite knows no such thing,
and two steps of different processes that ask in the same moment may be given the same slot, so that
one more than the cap goes on. Dagster's maintainers do not test it there
(https://github.com/dagster-io/dagster/pull/14644).
"""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import Any

from migration_assets.assets.process_locks import alone

_FILE = "slots.lock"


def give_slots_singly() -> None:
    """From now on a step of this process asks for its slot alone, below the same `DAGSTER_HOME`.

    Dagster has no setting for it, so the method of its SQLite storage is wrapped; with another
    storage this does nothing. Where a release has it no more, all works as before.
    """
    from dagster._core.storage.event_log import SqliteEventLogStorage

    claim = getattr(SqliteEventLogStorage, "claim_concurrency_slot", None)
    if claim is None or hasattr(claim, "__wrapped__"):
        return

    @functools.wraps(claim)
    def claim_alone(*arguments: Any, **named: Any) -> Any:
        with alone(Path(os.environ.get("DAGSTER_HOME", "")) / _FILE):
            return claim(*arguments, **named)

    SqliteEventLogStorage.claim_concurrency_slot = claim_alone  # type: ignore[method-assign]

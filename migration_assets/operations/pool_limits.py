"""How many extractions go on at once, over all runs, commands and the daemon of a Dagster instance.

Pools have one limit in `dagster.yaml`, for all that have none of their own; their own are in Dagster's
storage (https://docs.dagster.io/guides/operate/managing-concurrency/concurrency-pools). There we put
MSSQL_MAX_EXTRACTIONS, and what somebody else put there we leave.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from migration_assets.assets.translator import Stage

if TYPE_CHECKING:
    import dagster as dg

SPARK_POOL = "spark"
"""Pool of Spark's extractions; its own module loads PySpark."""

EXTRACTION_POOLS = {Stage.MSSQL.value, SPARK_POOL}

_CURSOR = "migration_assets/pool_limits"
"""Key in Dagster's storage: the limits that we put there."""


def limit_extractions(instance: dg.DagsterInstance, most: int | None) -> None:
    """Let at most so many extractions go on at once.

    Args:
        instance: whose pools.
        most: steps at once; None takes back a limit of ours, and leaves anybody else's. Spark's pool
            has one place as it is: one session after the other.
    """
    storage, cursors = instance.event_log_storage, instance.daemon_cursor_storage
    wanted = {} if most is None else {Stage.MSSQL.value: most}
    ours: dict[str, int] = json.loads(
        (cursors.get_cursor_values({_CURSOR}) or {}).get(_CURSOR) or "{}"
    )
    if not wanted and not ours:
        return
    found = {one.name: one.limit for one in storage.get_pool_limits() if not one.from_default}
    for pool, limit in wanted.items():
        if found.get(pool) != limit:
            storage.set_concurrency_slots(pool, limit)
    for pool in ours.keys() - wanted.keys():
        if found.get(pool) == ours[pool]:
            storage.delete_concurrency_limit(pool)
    if wanted != ours:
        cursors.set_cursor_values({_CURSOR: json.dumps(wanted)})

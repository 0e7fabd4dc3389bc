"""Dagster's queue of runs, extended to keep those that extract in it outside of MIGRATION_WINDOW.

Runs that were launched would hold a place each while their extractions wait, and with all places
taken runs that only commit or load could not go on.
"""

from __future__ import annotations

from datetime import UTC, datetime

import dagster as dg
from dagster._core.run_coordinator import QueuedRunCoordinator, SubmitRunContext
from dagster._core.run_coordinator.queued_run_coordinator import RunQueueConfig

from migration_assets.operations.pool_limits import EXTRACTION_POOLS
from migration_assets.settings import ProjectSettings

EXTRACTS_TAG = "migration/extracts"
"""Tag of a queued run in which SQL Server is extracted from."""


class HoursRunCoordinator(QueuedRunCoordinator[dg.DagsterInstance]):
    """Queues runs as Dagster's own does, and launches none that extracts outside of the hours."""

    def submit_run(self, context: SubmitRunContext) -> dg.DagsterRun:
        """Mark a run that extracts, and queue it."""
        run = context.dagster_run
        pools = run.run_op_concurrency.all_pools if run.run_op_concurrency else None
        if EXTRACTION_POOLS & set(pools or ()):
            self._instance.add_run_tags(run.run_id, {EXTRACTS_TAG: "yes"})
        return super().submit_run(context)

    def get_run_queue_config(self) -> RunQueueConfig:
        """The limits as of now: the daemon asks before each look at the queue.

        Raises:
            ConfigurationError: MIGRATION_WINDOW is malformed.
        """
        config = super().get_run_queue_config()
        hours = ProjectSettings.load().hours
        if hours is None or hours.opening(datetime.now(UTC)) is None:
            return config
        none = {"key": EXTRACTS_TAG, "limit": 0}
        return config._replace(tag_concurrency_limits=[*config.tag_concurrency_limits, none])

"""Dagster's launcher of runs on this host, extended to tell a run whose process was killed."""

from __future__ import annotations

import dagster as dg
from dagster._core.launcher import (
    CheckRunHealthResult,
    DefaultRunLauncher,
    LaunchRunContext,
    WorkerStatus,
)
from dagster._serdes import ConfigurableClassData

from migration_assets.assets.pool_slots import give_slots_singly
from migration_assets.operations.pool_limits import limit_extractions
from migration_assets.operations.run_states import cause_of_death
from migration_assets.settings import ProjectSettings


class LocalRunLauncher(DefaultRunLauncher):
    """Starts a process for each run, as Dagster's default does, and knows which of them are gone.

    The default cannot tell, so the daemon's run monitoring never ends a run that was killed: it stays
    STARTED, its backfill does not end, and its slots are taken for good.
    https://docs.dagster.io/deployment/execution/run-monitoring#detecting-run-worker-crashes
    """

    def __init__(self, inst_data: ConfigurableClassData | None = None) -> None:
        """Let this process, the daemon's or that of a run, give and free slots as all others do."""
        super().__init__(inst_data)
        give_slots_singly()

    def launch_run(self, context: LaunchRunContext) -> None:
        """Start the run, after MSSQL_MAX_EXTRACTIONS was heeded: no command may have been typed."""
        limit_extractions(self._instance, ProjectSettings.load().max_extractions)
        super().launch_run(context)

    @property
    def supports_check_run_worker_health(self) -> bool:
        """It does."""
        return True

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """Whether the run's process lives; one that cannot be seen from here counts as alive."""
        cause = cause_of_death(self._instance, run)
        status = WorkerStatus.FAILED if cause else WorkerStatus.RUNNING
        return CheckRunHealthResult(status, cause)

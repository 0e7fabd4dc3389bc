"""Look after the Iceberg tables: the `maintenance` job, in the same Dagster instance as the UI."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field

from migration_assets.assets.maintenance import MAINTENANCE_JOB, MAINTENANCE_OP, MaintenanceConfig
from migration_assets.assets.validation import select_tables
from migration_assets.operations.home import environment, open_instance
from migration_assets.operations.run_states import end_dead_runs
from migration_assets.operations.workers import Batch, BatchEnded, StepEnded, Workers
from migration_assets.plan_source import load_plan
from migration_assets.settings import ProjectSettings, export_env_file


@dataclass
class MaintenanceResult:
    """What became of a maintenance run.

    Attributes:
        tables: `schema.table` to what was done to it, in one line; those it came to.
        message: why the run failed; empty when it did not.
    """

    run_id: str
    tables: dict[str, str] = field(default_factory=dict)
    success: bool = False
    message: str = ""


def maintain(
    *, tables: Sequence[str] = (), engine: str | None = None, compact: bool = False
) -> MaintenanceResult:
    """Run the `maintenance` job to its end.

    Args:
        tables: patterns of `schema.table`; empty for all.
        engine: `pyiceberg` or `spark`; None for `spark` to compact, else `pyiceberg`.
        compact: also rewrite small files; needs Spark. The job has more fields, for the Launchpad.

    Raises:
        MigrationError: there is no plan, or a pattern or the engine is wrong.
    """
    import dagster as dg

    export_env_file()
    settings = ProjectSettings.load()
    config = MaintenanceConfig(
        tables=list(tables),
        engine=engine or ("spark" if compact else "pyiceberg"),
        compact=compact,
    )
    config.check()
    select_tables(load_plan(settings.plan), tables)
    # The worker process reads these.
    os.environ.update(environment(settings))
    batch = Batch(
        job=MAINTENANCE_JOB,
        partition_key=None,
        asset_paths=(),
        run_config={"ops": {MAINTENANCE_OP: {"config": config.model_dump()}}},
    )
    result = MaintenanceResult(batch.run_id)
    with open_instance(settings) as instance:
        end_dead_runs(instance)
        with Workers(1) as workers:
            for event in workers.run([batch]):
                if isinstance(event, StepEnded | BatchEnded):
                    result.message = event.message or result.message
                if isinstance(event, BatchEnded):
                    result.success = event.success
        # A worker that was killed leaves its run behind.
        end_dead_runs(instance)
        logged = instance.all_logs(batch.run_id, of_type=dg.DagsterEventType.ASSET_OBSERVATION)
        for entry in logged:
            observation = entry.asset_observation
            if observation is not None:
                name = str(observation.metadata["table"].value)
                result.tables[name] = (observation.description or "").removeprefix("maintenance: ")
    return result

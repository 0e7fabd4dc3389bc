"""Schedules that migrate the open time window of tables again; off until somebody switches them on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import dagster as dg

from migration_assets.assets.translator import STAGES, MigrationTranslator
from migration_assets.jobs import job_of
from migration_assets.plan import MigrationPlan, TablePlan

EVERY_NIGHT = "0 2 * * *"


def build_window_schedules(
    plan: MigrationPlan, translator: MigrationTranslator
) -> list[dg.ScheduleDefinition]:
    """One schedule for each job of tables with time windows.

    It makes the last window, which is open above, so it also takes what is of a period that no window
    stands for yet. New windows come of `plan`, which a person has to accept. Tables at a barrier have
    none: their partitions show one point in time, so none is extracted alone.

    Args:
        plan: of all tables.
        translator: gives the asset keys.
    """
    by_job: dict[str, list[TablePlan]] = defaultdict(list)
    for table in plan.tables:
        if table.window is not None and not table.at_barrier:
            by_job[job_of(table, plan)].append(table)
    return [_schedule(job, tables, translator) for job, tables in by_job.items()]


def _schedule(
    job: str, tables: list[TablePlan], translator: MigrationTranslator
) -> dg.ScheduleDefinition:
    open_window = tables[0].partition_keys[-1]
    selection = [translator.asset_key(stage, table) for table in tables for stage in STAGES]

    @dg.schedule(
        name=f"{job}_open_window",
        job_name=job,
        cron_schedule=EVERY_NIGHT,
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.STOPPED,
        description=f"Migrates {open_window}, the window that is open, again at 02:00 UTC. "
        "New windows: `migration-assets plan --yes`, then `migration-assets run --failed`.",
    )
    def migrate_open_window(context: dg.ScheduleEvaluationContext) -> Iterator[dg.RunRequest]:
        yield dg.RunRequest(
            run_key=f"{open_window} {context.scheduled_execution_time.date()}",
            partition_key=open_window,
            asset_selection=selection,
        )

    return migrate_open_window

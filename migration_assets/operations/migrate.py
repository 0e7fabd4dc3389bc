"""Migrate from Python or from the command line: settings, plan and instance, then `run`."""

from __future__ import annotations

import os
from collections.abc import Sequence

from migration_assets.assets.translator import STAGES, Stage
from migration_assets.iceberg.driver_errors import translate_errors
from migration_assets.iceberg.lake import Lake
from migration_assets.mssql.client import SqlServer
from migration_assets.operations.database_snapshot import ensure_snapshot
from migration_assets.operations.home import environment, make_pools, open_instance
from migration_assets.operations.results import MigrationResult, Report
from migration_assets.operations.run import Selection, run_migration
from migration_assets.plan import MigrationPlan
from migration_assets.plan_source import load_plan
from migration_assets.settings import (
    LakeSettings,
    MssqlSettings,
    ProjectSettings,
    StarRocksSettings,
    export_env_file,
)
from migration_assets.starrocks.resource import StarRocks


def migrate(
    *,
    tables: Sequence[str] = (),
    partitions: Sequence[str] = (),
    failed: bool = False,
    first: Stage = Stage.MSSQL,
    until: Stage = Stage.STARROCKS,
    report: Report = lambda _: None,
) -> MigrationResult:
    """Migrate tables of the plan, in the Dagster instance that the UI shows.

    Args:
        tables: patterns of `schema.table`; empty for all.
        partitions: partition keys; empty for all.
        failed: only what failed, is missing, stale, or differs.
        first: the first system to make.
        until: the last system to make.
        report: called with the progress after every step and twice a second.

    Raises:
        MigrationError: there is no plan, a setting is missing, or a system cannot be reached at
            all. What fails later, of single partitions, is in the result.
    """
    export_env_file()
    settings = ProjectSettings.load()
    plan = load_plan(settings.plan)
    selection = Selection(
        tables=tables, partition_keys=partitions, only_failed=failed, first=first, last=until
    )
    selection.check(plan)
    _reach_systems(STAGES[STAGES.index(first) : STAGES.index(until) + 1], plan)
    # The worker processes read these; the runs use the same instance and plan as the UI.
    os.environ.update(environment(settings))
    with open_instance(settings) as instance:
        make_pools(instance, ["spark", *(stage.value for stage in STAGES)])
        if first is Stage.MSSQL:
            ensure_snapshot(plan, instance, selection)
        return run_migration(plan, instance, selection, run_slots=settings.run_slots, report=report)


def _reach_systems(stages: Sequence[Stage], plan: MigrationPlan) -> None:
    """Ask each system one thing, so that a wrong password is told once and not per partition."""
    if Stage.MSSQL in stages:
        with SqlServer(MssqlSettings.load()) as mssql:
            mssql.query("SELECT 1", doing="Connecting")
    with Lake(LakeSettings.load()) as lake:
        # Only a listing tells a bucket that is not there from an object that is not.
        next(lake.store.list(f"{lake.settings.warehouse}/.migration/receipts"), None)
        if Stage.ICEBERG in stages and plan.tables:
            with translate_errors(f"The {lake.name}"):
                lake.catalog.namespace_exists(plan.tables[0].namespace)
    if Stage.STARROCKS in stages:
        starrocks = StarRocks(StarRocksSettings.load())
        try:
            starrocks.query("SELECT 1", about="Connecting")
        finally:
            starrocks.close()

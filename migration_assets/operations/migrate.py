"""Migrate from Python or from the command line: settings, plan and instance, then `run`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from migration_assets.assets.directions import REPORT_TAG
from migration_assets.assets.translator import STAGES, Stage
from migration_assets.assets.validation import select_tables
from migration_assets.iceberg.driver_errors import translate_errors
from migration_assets.iceberg.lake import Lake
from migration_assets.mssql.client import SqlServer
from migration_assets.operations.database_snapshot import ensure_snapshot
from migration_assets.operations.home import environment, make_pools, open_instance
from migration_assets.operations.results import MigrationResult, Report
from migration_assets.operations.run import Selection, run_migration
from migration_assets.plan import MigrationPlan, TablePlan
from migration_assets.plan_source import load_plan
from migration_assets.settings import (
    AlertSettings,
    LakeSettings,
    MssqlSettings,
    ProjectSettings,
    StarRocksSettings,
    export_env_file,
)
from migration_assets.starrocks.resource import StarRocks
from migration_assets.starrocks.tables import check_tables


def migrate(
    *,
    tables: Sequence[str] = (),
    partitions: Sequence[str] = (),
    failed: bool = False,
    first: Stage = Stage.MSSQL,
    until: Stage = Stage.STARROCKS,
    window: str | None = None,
    report: Report = lambda _: None,
    report_file: Path | None = None,
) -> MigrationResult:
    """Migrate tables of the plan, in the Dagster instance that the UI shows.

    Args:
        tables: patterns of `schema.table`; empty for all.
        partitions: partition keys; empty for all.
        failed: only what failed, is missing, stale, or differs.
        first: the first system to make.
        until: the last system to make.
        window: hours in which extractions may begin, as `20:00-06:00`; goes before MIGRATION_WINDOW.
        report: called with the progress after every step and twice a second.
        report_file: where the caller will write the report: materializations name it.

    Raises:
        MigrationError: there is no plan, a setting is missing, or a system cannot be reached at
            all. What fails later, of single partitions, is in the result.
    """
    export_env_file()
    settings = ProjectSettings.load(**({"window": window} if window else {}))
    if settings.window is not None:
        os.environ["MIGRATION_WINDOW"] = settings.window  # the worker processes read it
    AlertSettings.load()  # a mistake in it is told here, not by the definitions of each worker
    plan = load_plan(settings.plan)
    selection = Selection(
        tables=tables, partition_keys=partitions, only_failed=failed, first=first, last=until
    )
    selection.check(plan)
    chosen = select_tables(plan, tables)
    _reach_systems(STAGES[STAGES.index(first) : STAGES.index(until) + 1], plan, chosen)
    # The worker processes read these; the runs use the same instance and plan as the UI.
    os.environ.update(environment(settings))
    with open_instance(settings) as instance:
        make_pools(instance, ["spark", *(stage.value for stage in STAGES)])
        if first is Stage.MSSQL:
            ensure_snapshot(plan, instance, selection)
        return run_migration(
            plan,
            instance,
            selection,
            run_slots=settings.run_slots,
            report=report,
            hours=settings.hours,
            tags={} if report_file is None else {REPORT_TAG: str(report_file.absolute())},
        )


def _reach_systems(
    stages: Sequence[Stage], plan: MigrationPlan, tables: Sequence[TablePlan]
) -> None:
    """Ask each system one thing, so that a wrong password is told once and not per partition.

    StarRocks tables that somebody else made are compared too, before a row is read for them.
    """
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
            check_tables(starrocks, tables)
        finally:
            starrocks.close()

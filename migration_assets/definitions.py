"""Entry point of `workspace.yaml`: the plan becomes Dagster definitions; no server is touched."""

from __future__ import annotations

import logging
import warnings

import dagster as dg

from migration_assets.assets.alerts import build_alert_sensors
from migration_assets.assets.barrier import build_barrier_asset
from migration_assets.assets.iceberg import build_iceberg_asset
from migration_assets.assets.mssql import build_mssql_asset
from migration_assets.assets.receipt_store import ReceiptIOManager
from migration_assets.assets.starrocks import build_starrocks_asset
from migration_assets.assets.translator import MigrationTranslator, Stage
from migration_assets.choices import Consistency, Engine
from migration_assets.events import write_lines
from migration_assets.iceberg.resource import LakeResource
from migration_assets.jobs import build_jobs, build_schedules, build_sensors
from migration_assets.mssql.resource import MssqlResource
from migration_assets.plan import MigrationPlan, TablePlan
from migration_assets.plan_source import read_plan
from migration_assets.schedules import build_window_schedules
from migration_assets.setting_choices import LogFormat
from migration_assets.settings import AlertSettings, ProjectSettings, RetrySettings
from migration_assets.starrocks.resource import StarRocksResource

JOB_WITHOUT_PLAN = "make_a_plan"
"""The only job while there is no plan; running it fails with what to do."""


def build_definitions(
    plan: MigrationPlan, *, translator: MigrationTranslator | None = None, table_jobs: bool = True
) -> dg.Definitions:
    """Build assets, checks, jobs, sensors, schedules and resources of a plan.

    Args:
        plan: what to migrate.
        translator: names, groups and tags; a `MigrationTranslator` unless given.
        table_jobs: whether each table gets a job of its own too.
    """
    translator = translator or MigrationTranslator()
    with warnings.catch_warnings():
        # Partitioned asset checks are a preview feature that this design rests on.
        warnings.simplefilter("ignore", dg.PreviewWarning)
        assets = [asset for table in plan.tables for asset in table_assets(table, plan, translator)]
        jobs = list(build_jobs(plan, translator, table_jobs=table_jobs))
    return dg.Definitions(
        assets=assets,
        jobs=jobs,
        sensors=[*build_sensors(), *build_alert_sensors(plan, translator)],
        schedules=[*build_schedules(), *build_window_schedules(plan, translator)],
        resources=build_resources(plan),
        executor=dg.in_process_executor,
        metadata={"plan": plan.plan_id, "tables": len(plan.tables)},
    )


def table_assets(
    table: TablePlan, plan: MigrationPlan, translator: MigrationTranslator
) -> list[dg.AssetsDefinition]:
    """Build the three assets of a table."""
    mssql, iceberg, starrocks = (translator.asset_spec(stage, table) for stage in Stage)
    return [
        _extracting_asset(table, mssql, consistency=plan.consistency),
        build_iceberg_asset(table, iceberg, mssql.key, plan.plan_id),
        build_starrocks_asset(table, starrocks, iceberg.key),
    ]


def _extracting_asset(
    table: TablePlan, spec: dg.AssetSpec, *, consistency: Consistency
) -> dg.AssetsDefinition:
    if table.at_barrier:
        return build_barrier_asset(table, spec)
    if table.engine is Engine.SPARK:
        # PySpark is imported only where a table needs it.
        from migration_assets.assets.spark import build_spark_asset

        return build_spark_asset(table, spec, consistency=consistency)
    return build_mssql_asset(table, spec, consistency=consistency)


def build_resources(plan: MigrationPlan) -> dict[str, object]:
    """Build the resources; secrets are variables' names until a step needs them."""
    spark: dict[str, object] = {}
    if any(table.engine is Engine.SPARK for table in plan.tables):
        from migration_assets.spark.resource import SparkResource

        spark["spark"] = SparkResource()
    return {
        **spark,
        "mssql": MssqlResource(
            host=dg.EnvVar("MSSQL_HOST"),
            database=dg.EnvVar("MSSQL_DATABASE"),
            database_snapshot=plan.database_snapshot.name if plan.database_snapshot else "",
        ),
        "lake": LakeResource(),
        "starrocks": StarRocksResource(
            host=dg.EnvVar("STARROCKS_HOST"), user=dg.EnvVar("STARROCKS_USER")
        ),
        "receipts": ReceiptIOManager(database=plan.database),
    }


def load_definitions() -> dg.Definitions:
    """Load the plan that `MIGRATION_PLAN` names; without one, a location that says what to run.

    Raises:
        ConfigurationError: a setting of the project, of retries or of alerts is malformed.
        PlanError: there is a plan, and it is corrupt or of another version.
    """
    settings = ProjectSettings.load()
    # A mistake in these is told now, not when a step has failed.
    RetrySettings.load()
    AlertSettings.load()
    write_lines(as_json=settings.log_format is LogFormat.JSON)
    try:
        plan = read_plan(settings.plan)
    except FileNotFoundError:
        advice = f"There is no plan at {settings.plan}: run `migration-assets plan`, then reload."
        logging.getLogger("dagster").warning(advice)
        return dg.Definitions(
            jobs=[_job_without_plan(advice)],
            executor=dg.in_process_executor,
            metadata={"next step": advice},
        )
    return build_definitions(plan, table_jobs=settings.table_jobs)


def _job_without_plan(advice: str) -> dg.JobDefinition:
    """A job that says what to do: the UI shows a job's description, and no location's metadata."""

    @dg.op(description=advice)
    def there_is_no_plan() -> None:
        raise dg.Failure(f"MA-PL-001: {advice}", allow_retries=False)

    @dg.job(name=JOB_WITHOUT_PLAN, description=advice)
    def make_a_plan() -> None:
        there_is_no_plan()

    return make_a_plan


defs = load_definitions()

"""Jobs, sensors and schedules: selections over the assets, validation, maintenance."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import dagster as dg

from migration_assets.assets.maintenance import (
    MAINTENANCE_JOB,
    MAINTENANCE_OP,
    MaintenanceConfig,
    maintain_in_run,
)
from migration_assets.assets.translator import STAGES, MigrationTranslator, Stage, dagster_name
from migration_assets.assets.validation import ValidationConfig, validate_in_run
from migration_assets.iceberg.resource import LakeResource
from migration_assets.key_range import EARLIER_KEY
from migration_assets.mssql.resource import MssqlResource
from migration_assets.plan import MigrationPlan, TablePlan
from migration_assets.starrocks.resource import StarRocksResource

VALIDATE_JOB = "validate"


def tables_by_partition_keys(
    tables: Sequence[TablePlan],
) -> dict[tuple[str, ...], list[TablePlan]]:
    """Group tables by their partition keys: a named job cannot mix partition definitions."""
    groups: dict[tuple[str, ...], list[TablePlan]] = defaultdict(list)
    for table in tables:
        groups[table.partition_keys].append(table)
    return dict(groups)


def class_job_name(partition_keys: Sequence[str]) -> str:
    """`migrate_p008` for the tables of eight partitions; `migrate_2023_01_to_2024_05` of windows."""
    if partition_keys[0] == EARLIER_KEY:
        return dagster_name(f"migrate_{partition_keys[1]}_to_{partition_keys[-1]}")
    return f"migrate_p{len(partition_keys):03d}"


def table_job_names(plan: MigrationPlan) -> dict[str, str]:
    """`schema.table` to `migrate__<schema>__<table>`, made unique by a number where needed."""
    names: dict[str, str] = {}
    taken: set[str] = set()
    for table in plan.tables:
        base = f"migrate__{dagster_name(table.source_schema)}__{dagster_name(table.source_name)}"
        name, number = base, 1
        while name in taken:
            number += 1
            name = f"{base}_{number}"
        taken.add(name)
        names[table.full_name] = name
    return names


def job_of(table: TablePlan, plan: MigrationPlan) -> str:
    """The job that `run` uses for a table: its class job, or its own when it is isolated."""
    if table.isolated:
        return table_job_names(plan)[table.full_name]
    return class_job_name(table.partition_keys)


def build_jobs(
    plan: MigrationPlan, translator: MigrationTranslator, *, table_jobs: bool
) -> Iterator[Any]:
    """Yield one job (of types that Dagster does not export) per partition-count class, one per table if wished, `validate` and `maintenance`.

    Args:
        plan: what there is to migrate.
        translator: gives the asset keys.
        table_jobs: whether tables that share a class job get a job of their own too.
    """
    shared = [table for table in plan.tables if not table.isolated]
    for partition_keys, tables in tables_by_partition_keys(shared).items():
        yield dg.define_asset_job(
            class_job_name(partition_keys),
            selection=_selection(tables, translator),
            description=f"Migrate the {len(tables)} tables of {len(partition_keys)} partitions.",
            tags={"migration/plan": plan.plan_id},
        )
    names = table_job_names(plan)
    for table in plan.tables:
        if table.isolated or table_jobs:
            yield dg.define_asset_job(
                names[table.full_name],
                selection=_selection([table], translator),
                description=f"Migrate {table.full_name}.",
                tags={"migration/plan": plan.plan_id},
            )
    yield _validate_job(plan, translator)
    yield _maintenance_job(plan, translator)


def _selection(tables: Sequence[TablePlan], translator: MigrationTranslator) -> dg.AssetSelection:
    return dg.AssetSelection.assets(
        *(translator.asset_key(stage, table) for table in tables for stage in STAGES)
    )


def _validate_job(plan: MigrationPlan, translator: MigrationTranslator) -> dg.JobDefinition:
    @dg.op
    def compare_systems(
        context: dg.OpExecutionContext,
        config: ValidationConfig,
        mssql: MssqlResource,
        lake: LakeResource,
        starrocks: StarRocksResource,
    ) -> None:
        """Count and fingerprint every table afresh in all three systems."""
        target = starrocks.client if config.until == Stage.STARROCKS else None
        validate_in_run(
            context,
            config,
            plan,
            translator,
            mssql=mssql.client,
            lake=lake.lake,
            starrocks=target,
        )

    @dg.job(name=VALIDATE_JOB, tags={"migration/plan": plan.plan_id})
    def validate() -> None:
        """Compare SQL Server, Iceberg and StarRocks, whatever Dagster remembers."""
        compare_systems()

    return validate


def _maintenance_job(plan: MigrationPlan, translator: MigrationTranslator) -> dg.JobDefinition:
    @dg.op(name=MAINTENANCE_OP)
    def maintain_tables(
        context: dg.OpExecutionContext, config: MaintenanceConfig, lake: LakeResource
    ) -> None:
        """Compact, expire and clean one table after the other."""
        maintain_in_run(context, config, plan, translator, lake.lake)

    @dg.job(name=MAINTENANCE_JOB, tags={"migration/plan": plan.plan_id})
    def maintenance() -> None:
        """Look after the Iceberg tables: old snapshots, orphaned files, small files."""
        maintain_tables()

    return maintenance


def build_schedules() -> list[dg.ScheduleDefinition]:
    """The schedule that maintains every night; off until somebody switches it on."""
    return [
        dg.ScheduleDefinition(
            name="maintenance_every_night",
            job_name=MAINTENANCE_JOB,
            cron_schedule="0 3 * * *",
            default_status=dg.DefaultScheduleStatus.STOPPED,
            description="Runs `maintenance` with its defaults at 03:00 UTC.",
        )
    ]


def build_sensors() -> list[dg.SensorDefinition]:
    """The sensor that validates after each backfill; off until somebody switches it on."""

    @dg.sensor(
        name="validate_after_backfill",
        job_name=VALIDATE_JOB,
        default_status=dg.DefaultSensorStatus.STOPPED,
        minimum_interval_seconds=60,
        description="Runs `validate` once after each backfill that completed.",
    )
    def validate_after_backfill(
        context: dg.SensorEvaluationContext,
    ) -> Iterator[dg.RunRequest]:
        seen = float(context.cursor or 0)
        backfills = context.instance.get_backfills(limit=20)
        ends = {b.backfill_id: b.backfill_end_timestamp or 0.0 for b in backfills}
        newer = {backfill_id: end for backfill_id, end in ends.items() if end > seen}
        for backfill_id in newer:
            yield dg.RunRequest(run_key=backfill_id)
        if newer:
            context.update_cursor(str(max(newer.values())))

    return [validate_after_backfill]

"""Compare the three systems afresh; works without Dagster's history."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from migration_assets.assets.translator import MigrationTranslator, Stage
from migration_assets.assets.validation import (
    TableValidation,
    observation,
    record,
    select_tables,
    validate_table,
)
from migration_assets.choices import Consistency, VerificationLevel
from migration_assets.iceberg.lake import Lake
from migration_assets.mssql.client import SqlServer
from migration_assets.mssql.database_snapshot import reading_settings
from migration_assets.mssql.point_in_time import find_standpoint
from migration_assets.plan_source import load_plan
from migration_assets.settings import (
    LakeSettings,
    MssqlSettings,
    ProjectSettings,
    StarRocksSettings,
)
from migration_assets.starrocks.resource import StarRocks

if TYPE_CHECKING:
    import dagster as dg


def validate(
    *,
    tables: Sequence[str] = (),
    level: VerificationLevel = VerificationLevel.FULL,
    last: Stage = Stage.STARROCKS,
    instance: dg.DagsterInstance | None = None,
    sample: int = 0,
) -> Iterator[TableValidation]:
    """Yield each table's comparison as it is made.

    Args:
        tables: patterns of `schema.table`; empty for all.
        level: `count`, `full` or `rows`.
        last: `iceberg` leaves StarRocks out.
        instance: where the results are noted as checks; None for nowhere.
        sample: at level `rows`, about how many rows of each table are compared; 0 for all.

    Raises:
        MigrationError: a setting is missing, or a pattern matches nothing.
    """
    plan = load_plan(ProjectSettings.load().plan)
    chosen = select_tables(plan, tables)
    mssql = SqlServer(reading_settings(MssqlSettings.load(), plan))
    lake = Lake(LakeSettings.load())
    starrocks = StarRocks(StarRocksSettings.load()) if last is Stage.STARROCKS else None
    run_id, translator = str(uuid.uuid4()), MigrationTranslator()
    try:
        if plan.consistency is Consistency.DATABASE_SNAPSHOT:
            # Without it every table would look as if SQL Server did not have it.
            find_standpoint(mssql, plan.consistency, plan.database)
        for table in chosen:
            found = validate_table(
                table, mssql, lake, starrocks, level, translator=translator, sample=sample
            )
            if instance is not None:
                record(instance, translator, found, run_id)
                if last is Stage.STARROCKS:
                    instance.report_runless_asset_event(observation(translator, found))
            yield found
    finally:
        mssql.close()
        lake.close()
        if starrocks is not None:
            starrocks.close()

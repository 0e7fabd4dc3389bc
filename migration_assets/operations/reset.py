"""Make a table valid again after its plan changed: empty it in every system, under the new id."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from migration_assets.assets.receipt_store import ReceiptStore
from migration_assets.assets.translator import MigrationTranslator, Stage
from migration_assets.iceberg.lake import Lake
from migration_assets.plan import MigrationPlan, TablePlan
from migration_assets.protection import refuse_removal
from migration_assets.settings import LakeSettings, StarRocksSettings
from migration_assets.starrocks.resource import StarRocks

if TYPE_CHECKING:
    import dagster as dg


def reset_tables(
    plan: MigrationPlan, tables: Sequence[TablePlan], instance: dg.DagsterInstance
) -> None:
    """Empty the tables and forget what Dagster knows of them.

    The order makes it safe to repeat after an error: rows go first, marks last.

    Args:
        plan: the current plan.
        tables: tables of it.
        instance: the Dagster instance whose marks are wiped.

    Raises:
        ConfigurationError: `prevent_reset` protects one of them; then nothing is touched.
        MigrationError: a system cannot be reached, or an object is not ours.
    """
    from migration_assets.iceberg.tables import reset_table
    from migration_assets.starrocks.tables import recreate_table

    refuse_removal(tables, doing="reset")
    translator = MigrationTranslator()
    with Lake(LakeSettings.load()) as lake:
        starrocks = StarRocks(StarRocksSettings.load())
        try:
            receipts = ReceiptStore(lake, plan.database)
            for table in tables:
                recreate_table(starrocks, table)
                reset_table(lake, table)
                for stage in Stage:
                    key = translator.asset_key(stage, table)
                    receipts.delete(key.path)
                    instance.wipe_assets([key])
        finally:
            starrocks.close()

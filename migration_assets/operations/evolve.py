"""Give tables the plan's columns in Iceberg and StarRocks, and keep their rows."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from migration_assets.assets.receipt_store import ReceiptStore
from migration_assets.assets.translator import MigrationTranslator, Stage
from migration_assets.iceberg.lake import Lake
from migration_assets.plan import MigrationPlan, TablePlan
from migration_assets.receipts import ExtractReceipt
from migration_assets.setting_choices import CatalogType
from migration_assets.settings import LakeSettings, StarRocksSettings
from migration_assets.starrocks.resource import StarRocks


@dataclass(frozen=True)
class Evolved:
    """What became of one table.

    Attributes:
        iceberg: whether the Iceberg table was changed now; not when it was already, or is none.
        starrocks: columns of the StarRocks table that were added or widened now.
        older: partitions that were extracted before columns came, and these columns.
    """

    table: TablePlan
    iceberg: bool
    starrocks: tuple[str, ...]
    older: dict[str, frozenset[str]]

    def describe(self) -> str:
        """One line, and one on the partitions that have NULL in the new columns."""
        name = self.table.full_name
        done = []
        if self.iceberg:
            done.append("Iceberg has the plan's columns")
        if self.starrocks:
            done.append(f"StarRocks changed {', '.join(self.starrocks)}")
        line = f"{name}: {'; '.join(done) or 'nothing was to be done'}."
        if not self.older:
            return line
        columns = sorted(frozenset().union(*self.older.values()))
        keys = list(self.older)
        return (
            f"{line}\n  {', '.join(columns)}: NULL in what was extracted before, {_span(keys)}. "
            "To fetch the values: "
            f"migration-assets run --tables {shlex.quote(name)} --partitions {','.join(keys)}"
        )


def _span(keys: Sequence[str]) -> str:
    return keys[0] if len(keys) == 1 else f"{len(keys)} partitions, {keys[0]} to {keys[-1]}"


def evolve_tables(plan: MigrationPlan, tables: Sequence[TablePlan]) -> Iterator[Evolved]:
    """Change the tables one after the other, and yield what was done.

    Receipts and Dagster's records stay as they are: the plan lists the table ids under which they
    were made. Each table is looked at in both systems before it is changed in one; Iceberg goes
    first, in one commit. Repeating it after an interruption does what is left.

    Args:
        plan: the current plan.
        tables: tables of it.

    Raises:
        MigrationError: a system cannot be reached, or a table needs more than that: the message
            names the command.
    """
    from migration_assets.iceberg import evolution as in_iceberg
    from migration_assets.starrocks import evolution as in_starrocks

    translator = MigrationTranslator()
    settings = LakeSettings.load()
    # StarRocks cannot read a local catalog, so there is nothing of ours in it.
    has_starrocks = settings.catalog_type is not CatalogType.SQL
    with Lake(settings) as lake:
        starrocks = StarRocks(StarRocksSettings.load()) if has_starrocks else None
        try:
            receipts = ReceiptStore(lake, plan.database)
            for table in tables:
                in_iceberg.check_evolvable(lake, table)
                if starrocks is not None:
                    in_starrocks.check_evolvable(starrocks, table)
                changed = in_iceberg.evolve_table(lake, table)
                columns = in_starrocks.evolve_table(starrocks, table) if starrocks else []
                path = translator.asset_key(Stage.MSSQL, table).path
                older = {}
                for key in table.partition_keys if table.evolutions else ():
                    receipt = receipts.find(ExtractReceipt, path, key)
                    if receipt is not None and (came := table.added_since(receipt.table_id)):
                        older[key] = came
                yield Evolved(table, changed, tuple(columns), older)
        finally:
            if starrocks is not None:
                starrocks.close()

"""Remove what was migrated: tables that are ours, their files, receipts and Dagster's marks.

Ours is what says so itself: a StarRocks table by the source in its comment, an Iceberg table by a
table id that the plan, its receipts or that comment know. All else is named, and left alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from migration_assets.assets.receipt_store import ReceiptStore
from migration_assets.assets.translator import MigrationTranslator, Stage
from migration_assets.errors import (
    ConfigurationError,
    ExistingObjectError,
    ReceiptError,
    UnsupportedError,
)
from migration_assets.iceberg.driver_errors import translate_errors
from migration_assets.iceberg.lake import Lake
from migration_assets.iceberg.tables import (
    TABLE_ID_PROPERTY,
    TRIAL_PROPERTY,
    load_table,
    table_name,
)
from migration_assets.operations.run_states import end_dead_runs, is_busy
from migration_assets.plan import TablePlan
from migration_assets.settings import LakeSettings, StarRocksSettings
from migration_assets.starrocks.ddl import table_id_of
from migration_assets.starrocks.resource import StarRocks

if TYPE_CHECKING:
    import dagster as dg
    from pyiceberg.table import Table

_REMOVING = "removing"
"""Note beside a table's receipts: its catalog entry goes, and the files of this location with it."""


@dataclass
class TableObjects:
    """What there is of a table in all systems.

    Attributes:
        ours: what `Cleaner.remove` removes, a phrase each.
        left_alone: what is there as well and stays, a sentence each.
        in_starrocks: a StarRocks table of ours is among it; `in_iceberg` an Iceberg table.
        files: URIs of our files below the table's location.
        stages: whose receipts and marks go, too: not of a system where somebody else's object is.
    """

    table: TablePlan
    ours: list[str] = field(default_factory=list)
    left_alone: list[str] = field(default_factory=list)
    in_starrocks: bool = False
    in_iceberg: bool = False
    files: list[str] = field(default_factory=list)
    stages: list[Stage] = field(default_factory=list)


class Cleaner:
    """Looks for the objects of tables and removes them. Close it, or use it as a context manager."""

    def __init__(
        self, *, starrocks: bool = True, instance: dg.DagsterInstance | None = None
    ) -> None:
        """Connect to nothing yet.

        Args:
            starrocks: whether StarRocks is looked at.
            instance: whose marks go with the tables; None for none. The caller closes it.

        Raises:
            ConfigurationError: a setting is missing, or runs of the instance are going on.
        """
        if instance is not None:
            end_dead_runs(instance)
            if is_busy(instance):
                raise ConfigurationError(
                    "Runs are queued or going on, which may write what would be removed.",
                    next_step="`migration-assets status --watch` ends when they have; or cancel them "
                    "in Dagster's UI.",
                    code="MA-DG-011",
                )
        self._instance = instance
        self._translator = MigrationTranslator()
        self._lake = Lake(LakeSettings.load())
        self._starrocks = StarRocks(StarRocksSettings.load()) if starrocks else None

    def __enter__(self) -> Cleaner:
        """Return the cleaner itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self._lake.close()
        if self._starrocks is not None:
            self._starrocks.close()

    def look(self, table: TablePlan) -> TableObjects:
        """Look what there is of a table; nothing is changed.

        Raises:
            MigrationError: a system cannot be reached.
        """
        found = TableObjects(table)
        if table.prevent_reset:
            found.left_alone.append("prevent_reset of migration.yaml protects all of it.")
            return found
        ids = {table.table_id, *(evolution.table_id for evolution in table.evolutions)}
        if self._starrocks is not None:
            ids |= self._look_into_starrocks(self._starrocks, found)
        self._look_into_lake(found, ids)
        stored = sum(len(self._receipts(table, stage)) for stage in found.stages)
        if stored:
            found.ours.append(f"{stored} receipts")
        if marks := self._marks(found):
            found.ours.append(f"Dagster's marks of {', '.join(marks)}")
        return found

    def remove(self, seen: TableObjects) -> TableObjects:
        """Remove what is ours of a table, and only that; looks again before it does.

        Rows go first and marks last, so it is safe to repeat after an error.

        Returns:
            What was there, and is gone.

        Raises:
            MigrationError: a system cannot be reached, or refuses.
        """
        from migration_assets.starrocks.tables import drop_table

        table = seen.table
        found = self.look(table)
        if found.in_starrocks and self._starrocks is not None:
            drop_table(self._starrocks, table)
        iceberg = self._path(Stage.ICEBERG, table)
        store = self._store(table)
        if found.in_iceberg:
            store.set_note(iceberg, _REMOVING, table.location)
            with translate_errors(f"{table_name(table)} in the {self._lake.name}"):
                self._lake.catalog.drop_table((table.namespace, table.iceberg_table))
        self._lake.store.delete(found.files)
        for stage in found.stages:
            store.delete(self._path(stage, table))
            if self._instance is not None:
                self._instance.wipe_assets([self._translator.asset_key(stage, table)])
        return found

    def _look_into_starrocks(self, client: StarRocks, found: TableObjects) -> set[str]:
        """Add what StarRocks has; returns the table ids that it knows for ours."""
        from migration_assets.starrocks.tables import find_table

        table = found.table
        there = find_table(client, table)
        if there is None:
            found.stages.append(Stage.STARROCKS)
            return set()
        if not table.create:
            found.left_alone.append(
                f"StarRocks table {table.starrocks_database}.{table.starrocks_table}: create: false "
                f"says that somebody else made it; `migration-assets reset {table.full_name}` "
                "empties it."
            )
            return {table_id_of(there.comment) or ""}
        if there.kind != "BASE TABLE" or not there.is_of(table):
            found.left_alone.append(
                f"StarRocks {there.kind.lower()} {table.starrocks_database}."
                f"{table.starrocks_table} is not ours: its comment does not name "
                f"{table.full_name} as its source."
            )
            return set()
        found.in_starrocks = True
        found.stages.append(Stage.STARROCKS)
        found.ours.append(f"StarRocks table {table.starrocks_database}.{table.starrocks_table}")
        return {table_id_of(there.comment) or ""}

    def _look_into_lake(self, found: TableObjects, ids: set[str]) -> None:
        table = found.table
        try:
            there = load_table(self._lake, table)
        except (ExistingObjectError, UnsupportedError) as error:
            found.left_alone.append(f"{table_name(table)} is not ours: {error.found}")
            return
        if there is None:
            found.files = self._files_without_table(table)
        elif reason := self._not_ours(table, there, ids):
            found.left_alone.append(
                f"{table_name(table)} is not ours: {reason}. Its files, and our receipts, stay."
            )
            return
        else:
            found.in_iceberg = True
            found.ours.append(table_name(table))
            found.files = list(self._files_of_table(table))
        found.stages += [Stage.MSSQL, Stage.ICEBERG]
        if found.files:
            found.ours.append(f"{len(found.files)} files below {table.location}/")
        mine = set(found.files)
        others = sum(file.uri not in mine for file in self._lake.store.list(table.location))
        if others:
            found.left_alone.append(
                f"{others} other files below {table.location}/: no receipt and no table of ours "
                "names them."
            )

    def _not_ours(self, table: TablePlan, there: Table, ids: set[str]) -> str:
        """Why an Iceberg table is not ours, a clause; empty when it is."""
        table_id = there.properties.get(TABLE_ID_PROPERTY)
        if table_id is None:
            return f"it has no property {TABLE_ID_PROPERTY}"
        if (TRIAL_PROPERTY in there.properties) is not bool(table.trial_rows):
            return "it is a trial's" if not table.trial_rows else "it is no trial's"
        if table_id not in ids and table_id not in self._stored_ids(table):
            return f"its table id {table_id} is that of another plan"
        if there.location().rstrip("/") != table.location:
            return f"its location is {there.location()}, that of the plan is {table.location}"
        return ""

    def _files_of_table(self, table: TablePlan) -> Iterator[str]:
        """What lies in the two folders that an Iceberg table has below its location."""
        for folder in ("data", "metadata"):
            for file in self._lake.store.list(f"{table.location}/{folder}"):
                yield file.uri

    def _files_without_table(self, table: TablePlan) -> list[str]:
        """Files of extractions that were never committed, or of a removal that was cut short."""
        store = self._store(table)
        if store.note(self._path(Stage.ICEBERG, table), _REMOVING) == table.location:
            return list(self._files_of_table(table))
        try:
            named = store.live_files(self._path(Stage.MSSQL, table))
        except ReceiptError:
            return []  # then they are told as files that nothing names
        return [file.uri for file in self._lake.store.list(table.location) if file.uri in named]

    def _stored_ids(self, table: TablePlan) -> set[str]:
        """Table ids of all receipts of a table: those of earlier plans, too."""
        found = set()
        for stage in (Stage.MSSQL, Stage.ICEBERG):
            for uri in self._receipts(table, stage):
                try:
                    receipt = json.loads(self._lake.store.read(uri))
                except ValueError:
                    continue
                if isinstance(receipt, dict):
                    found.add(receipt.get("table_id"))
        return {one for one in found if isinstance(one, str)}

    def _receipts(self, table: TablePlan, stage: Stage) -> Sequence[str]:
        return self._store(table).listed(self._path(stage, table))

    def _marks(self, found: TableObjects) -> list[str]:
        """The assets of a table that Dagster has materializations of."""
        if self._instance is None:
            return []
        keys = [self._translator.asset_key(stage, found.table) for stage in found.stages]
        return [
            key.to_user_string()
            for key in keys
            if self._instance.get_latest_materialization_event(key) is not None
        ]

    def _store(self, table: TablePlan) -> ReceiptStore:
        return ReceiptStore(self._lake, table.source_database)

    def _path(self, stage: Stage, table: TablePlan) -> Sequence[str]:
        return self._translator.asset_key(stage, table).path

"""Maintenance in this process, of a project that the commands made: for what has to be turned back.

Expiry takes nothing that is younger than an hour, and no command lets one wait.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from unittest.mock import patch

from migration_assets.assets.maintenance import (
    MaintenanceConfig,
    MaintenanceEngine,
    Upkeep,
    maintain_table,
)
from migration_assets.assets.receipt_store import ReceiptStore
from migration_assets.assets.translator import MigrationTranslator, Stage
from migration_assets.iceberg import maintenance as rules
from migration_assets.iceberg.lake import Lake
from migration_assets.plan import MigrationPlan, TablePlan
from migration_assets.settings import LakeSettings
from migration_assets_tests.sandbox.project import Project, iceberg_catalog

TRANSLATOR = MigrationTranslator()


@contextmanager
def lake_of(project: Project) -> Iterator[Lake]:
    """The project's lake; nothing comes from the environment of the tests."""
    fields = LakeSettings.model_fields
    names = {str(field.validation_alias): name for name, field in fields.items()}
    given: dict[str, Any] = {
        name: project.settings.get(alias, fields[name].default) for alias, name in names.items()
    }
    with Lake(LakeSettings(_env_file=None, **given)) as lake:
        yield lake


def plan_of(project: Project) -> MigrationPlan:
    """The project's plan."""
    text = (project.folder / "migration_plan.json").read_text(encoding="utf-8")
    return MigrationPlan.from_json(text, origin="the tests")


def table_of(project: Project, name: str) -> TablePlan:
    """The plan of `schema.table`."""
    return next(table for table in plan_of(project).tables if table.full_name == name)


def receipts_of(lake: Lake, table: TablePlan) -> ReceiptStore:
    return ReceiptStore(lake, table.source_database)


def path_of(stage: Stage, table: TablePlan) -> list[str]:
    return list(TRANSLATOR.asset_key(stage, table).path)


def maintain_now(engine: MaintenanceEngine, lake: Lake, table: TablePlan, **config: Any) -> Upkeep:
    """Look after a table as if the last of its snapshots but one was an hour old."""
    with (
        patch.object(rules, "SNAPSHOTS_KEPT", 1),
        patch.object(rules, "SNAPSHOT_AGE", timedelta(seconds=-1)),
    ):
        given = MaintenanceConfig(**config)
        done = maintain_table(engine, lake, table, given, translator=TRANSLATOR)
    assert not done.error, done.error
    return done


def snapshots(project: Project, table: TablePlan) -> list[int]:
    """Ids of the listed snapshots, oldest first."""
    found = iceberg_catalog(project.settings).load_table((table.namespace, table.iceberg_table))
    return [snapshot.snapshot_id for snapshot in found.snapshots()]


def data_files(project: Project, table: TablePlan) -> set[str]:
    """Paths of the data files that the table has now."""
    found = iceberg_catalog(project.settings).load_table((table.namespace, table.iceberg_table))
    return {task.file.file_path for task in found.scan().plan_files()}

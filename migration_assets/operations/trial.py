"""Try a migration with a few rows of each table: in targets, receipts and a Dagster home of its own."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from migration_assets.assets.translator import Stage
from migration_assets.assets.validation import select_tables
from migration_assets.errors import ExistingObjectError
from migration_assets.operations.clean import Cleaner, TableObjects
from migration_assets.operations.home import ensure_home, open_instance
from migration_assets.operations.migrate import migrate
from migration_assets.operations.planning import write_plan
from migration_assets.operations.report import Files, report_run
from migration_assets.operations.results import MigrationResult, Report
from migration_assets.plan import MigrationPlan, TablePlan
from migration_assets.plan_source import load_plan, read_plan
from migration_assets.settings import ProjectSettings, export_env_file
from migration_assets.trial import trial_plan

if TYPE_CHECKING:
    import dagster as dg

HOME = "trial"
"""Folder below DAGSTER_HOME that is the trial's own: its plan and its history."""
_PLAN = "migration_plan.json"


def try_out(
    *,
    rows: int,
    tables: Sequence[str] = (),
    until: Stage = Stage.STARROCKS,
    report: Report = lambda _: None,
    report_file: Path | None = None,
) -> MigrationResult:
    """Migrate the first rows of tables into targets whose names end with `_trial`.

    What an earlier trial left is removed first. The tables' own targets, receipts and marks are not
    touched.

    Args:
        rows: how many of each table, at most.
        tables: patterns of `schema.table`; empty for all.
        until: the last system to make.
        report: called with the progress after every step and twice a second.
        report_file: where the evidence of the trial goes; None for nowhere.

    Raises:
        ExistingObjectError: a target is there and is no trial's; nothing was written.
        ConfigurationError: another trial is going on.
        MigrationError: as `migrate` raises.
    """
    export_env_file()
    settings = ProjectSettings.load()
    plan = load_plan(settings.plan)
    made = trial_plan(plan, select_tables(plan, tables), rows)
    home = trial_home(settings)
    with (
        trial_instance(home) as instance,
        Cleaner(starrocks=until is Stage.STARROCKS, instance=instance) as cleaner,
    ):
        earlier = _earlier(home)
        targets = {table.location: table for table in (*earlier, *made.tables)}
        seen = [cleaner.look(table) for table in targets.values()]
        for found in seen:
            _refuse(found)
        for found in seen:
            if found.ours:
                cleaner.remove(found)
    _forget(home)
    home.mkdir(parents=True)
    write_plan(made, str(home / _PLAN))
    with _project_of(home):
        result = migrate(until=until, report=report, report_file=report_file)
        if report_file is not None:
            report_run(result, Files(json=report_file))
        return result


def trial_tables(plan: MigrationPlan, home: Path, patterns: Sequence[str] = ()) -> list[TablePlan]:
    """The tables of the last trial; where its plan is lost, those that a trial could have.

    Args:
        plan: of the migration.
        home: the trial's.
        patterns: of `schema.table`; empty for all.

    Raises:
        ConfigurationError: a pattern matches no table.
    """
    tables = _earlier(home) or trial_plan(plan, plan.tables, rows=1).tables
    of_trial = MigrationPlan(**{**dict(plan), "tables": tuple(tables), "database_snapshot": None})
    return select_tables(of_trial, patterns)


def trial_home(settings: ProjectSettings) -> Path:
    """Where Dagster keeps the history of a trial; beside nothing of the migration's own."""
    return ensure_home(settings) / HOME


@contextmanager
def trial_instance(home: Path) -> Iterator[dg.DagsterInstance | None]:
    """Open the Dagster instance of the last trial; None where there is none."""
    if not home.exists():
        yield None
        return
    with _project_of(home), open_instance(ProjectSettings.load()) as instance:
        yield instance


def forget_trial(settings: ProjectSettings, tables: Sequence[TablePlan]) -> None:
    """Remove plan and history of a trial when all its tables are gone."""
    home = trial_home(settings)
    gone = {table.location for table in tables}
    if all(table.location in gone for table in _earlier(home)):
        _forget(home)


def _earlier(home: Path) -> Sequence[TablePlan]:
    try:
        return read_plan(str(home / _PLAN)).tables
    except FileNotFoundError:
        return ()


def _refuse(found: TableObjects) -> None:
    there = [said for said in found.left_alone if "is not ours" in said]
    if there:
        raise ExistingObjectError(
            f"{found.table.full_name} cannot be tried: {' '.join(there)}",
            next_step="Drop or rename it; a trial writes into no table but its own.",
            code="MA-CF-041",
        )


def _forget(home: Path) -> None:
    if home.exists():
        shutil.rmtree(home)


@contextmanager
def _project_of(home: Path) -> Iterator[None]:
    """Have all that follows mean the trial: its plan, its history."""
    own = {"DAGSTER_HOME": str(home), "MIGRATION_PLAN": str(home / _PLAN)}
    before = {name: os.environ.get(name) for name in own}
    os.environ.update(own)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value

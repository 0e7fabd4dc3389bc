"""The command `clean`: list what is ours of some tables, ask, remove it."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from migration_assets.commands.arguments import (
    OK,
    Command,
    plan_option,
    planned,
    tables_option,
    until_option,
)
from migration_assets.settings import ProjectSettings

if TYPE_CHECKING:
    from migration_assets.operations.clean import Cleaner, TableObjects
    from migration_assets.plan import TablePlan


@click.command(cls=Command)
@tables_option
@click.option("--trial", is_flag=True, help="What `run --limit` has written; does not ask.")
@until_option
@click.option("--yes", is_flag=True, help="Do not ask.")
@plan_option
def clean(*, tables: tuple[str, ...], trial: bool, until: str, yes: bool) -> int:
    """Remove what was migrated and carries our table id.

    That is tables, their files and receipts.

    Lists it first, and asks. What is not ours is named, and left alone.
    """
    if not (tables or trial):
        raise click.UsageError("--tables or --trial is missing; --tables '*' means all tables.")
    from migration_assets.assets.validation import select_tables
    from migration_assets.operations.clean import Cleaner
    from migration_assets.operations.home import open_instance
    from migration_assets.operations.trial import (
        forget_trial,
        trial_home,
        trial_instance,
        trial_tables,
    )
    from migration_assets.terminal import console

    settings, plan = ProjectSettings.load(), planned()
    with contextlib.ExitStack() as stack:
        chosen: Sequence[TablePlan]
        if trial:
            home = trial_home(settings)
            chosen = trial_tables(plan, home, tables)
            instance = stack.enter_context(trial_instance(home))
        else:
            chosen = select_tables(plan, tables)
            instance = stack.enter_context(open_instance(settings))
        cleaner = Cleaner(starrocks=until == "starrocks", instance=instance)
        stack.enter_context(cleaner)
        seen = [cleaner.look(table) for table in chosen]
        for found in seen:
            _show(found)
        ours = [found for found in seen if found.ours]
        if ours:
            if not (trial or yes):
                names = ", ".join(found.table.full_name for found in ours)
                click.confirm(f"Remove all this of {names}?", abort=True)
            _remove(cleaner, ours)
        else:
            console.print("There is nothing of ours to remove.")
    if trial:
        forget_trial(settings, chosen)
    return OK


def _remove(cleaner: Cleaner, seen: Sequence[TableObjects]) -> None:
    from migration_assets.terminal import console

    for found in seen:
        cleaner.remove(found)
        console.print(f"Removed what was ours of {found.table.full_name}.", markup=False)


def _show(found: TableObjects) -> None:
    from migration_assets.terminal import console

    if not (found.ours or found.left_alone):
        return
    console.print(f"{found.table.full_name}:", markup=False, style="bold")
    for what in found.ours:
        console.print(f"  - {what}", markup=False, soft_wrap=True)
    for what in found.left_alone:
        console.print(f"  left alone: {what}", markup=False, style="yellow", soft_wrap=True)

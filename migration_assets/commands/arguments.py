"""What the commands share: exit codes, how arguments are read, and the plan they are about."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from migration_assets.settings import ProjectSettings

if TYPE_CHECKING:
    from migration_assets.plan import MigrationPlan

OK, FAILED, WRONG_USE, INTERRUPTED = 0, 1, 2, 130


class Command(click.Command):
    """Takes `--tables a b` for `--tables a --tables b`, as a shell writes `--tables sales.*`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the arguments, a table at a time."""
        return super().parse_args(ctx, list(one_by_one(args)))


class Group(click.Group):
    """A group whose commands take several `--tables` at once."""

    command_class = Command


tables_option = click.option(
    "--tables", multiple=True, metavar="PATTERN", help="schema.table patterns; all unless given."
)


def _use_plan(_: click.Context, __: click.Parameter, file: str | None) -> None:
    """Have this command, and the processes that it starts, mean another plan than the settings.

    Dagster's home stays the one that it is without the option: the history of a migration does not
    depend on where somebody has put the plan that was reviewed.
    """
    if file is not None:
        from migration_assets.operations.home import home_of

        os.environ.setdefault("DAGSTER_HOME", str(home_of(ProjectSettings.load())))
        os.environ["MIGRATION_PLAN"] = file


until_option = click.option(
    "--until",
    type=click.Choice(["iceberg", "starrocks"]),
    default="starrocks",
    help="iceberg: without StarRocks.",
)

plan_option = click.option(
    "--plan",
    metavar="FILE",
    expose_value=False,
    callback=_use_plan,
    help="The plan to go by, a path or s3:// URI [MIGRATION_PLAN].",
)


def planned() -> MigrationPlan:
    """Load the plan that the settings name.

    Raises:
        PlanError: there is none, or it cannot be read.
    """
    from migration_assets.plan_source import load_plan

    return load_plan(ProjectSettings.load().plan)


def one_by_one(arguments: list[str]) -> Iterator[str]:
    """Write `--tables a b` as `--tables a --tables b`; the rest stays."""
    option = ""
    for argument in arguments:
        if argument.startswith("-"):
            option = argument
        elif option == "--tables":
            option = "another"
        elif option == "another":
            yield "--tables"
        yield argument

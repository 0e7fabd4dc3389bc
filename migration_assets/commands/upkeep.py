"""The commands that change or remove what was migrated: `maintain`, `reset`, `evolve`, `snapshot`."""

from __future__ import annotations

import click

from migration_assets.commands.arguments import (
    FAILED,
    OK,
    Command,
    Group,
    plan_option,
    planned,
    tables_option,
)
from migration_assets.settings import ProjectSettings


@click.command(cls=Command)
@tables_option
@click.option("--compact", is_flag=True, help="Rewrite small files into fewer, too; takes Spark.")
@click.option(
    "--engine",
    type=click.Choice(["pyiceberg", "spark"]),
    help="[spark with --compact, else pyiceberg]",
)
def maintain(*, tables: tuple[str, ...], compact: bool, engine: str | None) -> int:
    """Remove old snapshots and orphaned files of the Iceberg tables."""
    from migration_assets.operations.maintenance import maintain as look_after
    from migration_assets.terminal import console

    result = look_after(tables=tables, engine=engine, compact=compact)
    for name, done in result.tables.items():
        console.print(f"{name}: {done}", markup=False, soft_wrap=True)
    if not result.success:
        console.print(f"Failed: {result.message}", markup=False, soft_wrap=True)
    return OK if result.success else FAILED


@click.command(cls=Command)
@click.argument("tables", nargs=-1, required=True)
@click.option("--yes", is_flag=True, help="Do not ask.")
@plan_option
def reset(*, tables: tuple[str, ...], yes: bool) -> int:
    """Empty TABLES, so that a changed plan is valid again. In Iceberg and StarRocks."""
    from migration_assets.assets.validation import select_tables
    from migration_assets.operations.home import open_instance
    from migration_assets.operations.reset import reset_tables
    from migration_assets.protection import refuse_removal

    migration_plan = planned()
    chosen = select_tables(migration_plan, tables)
    refuse_removal(chosen, doing="reset")
    names = ", ".join(table.full_name for table in chosen)
    if not yes:
        click.confirm(f"Delete all migrated rows of {names} in Iceberg and StarRocks?", abort=True)
    with open_instance(ProjectSettings.load()) as instance:
        reset_tables(migration_plan, chosen, instance)
    click.echo(f"Reset {names}. `migration-assets run --failed` migrates them again.")
    return OK


@click.command(cls=Command)
@click.argument("tables", nargs=-1, required=True)
def evolve(*, tables: tuple[str, ...]) -> int:
    """Change columns as the plan has them; rows stay. In Iceberg and StarRocks."""
    from migration_assets.assets.validation import select_tables
    from migration_assets.operations.evolve import evolve_tables
    from migration_assets.terminal import console

    migration_plan = planned()
    for done in evolve_tables(migration_plan, select_tables(migration_plan, tables)):
        console.print(done.describe(), markup=False, soft_wrap=True)
    return OK


@click.group(cls=Group)
def snapshot() -> None:
    """The database snapshot that a plan may read from. It does with `consistency: database_snapshot`."""


@snapshot.command(name="create")
@click.option("--yes", is_flag=True, help="Also when partitions of another state are there.")
def create_snapshot(*, yes: bool) -> int:
    """Make it of the database as it is now; one that is there stays."""
    from migration_assets.operations.database_snapshot import create
    from migration_assets.operations.home import open_instance

    with open_instance(ProjectSettings.load()) as instance:
        click.echo(create(planned(), instance, mixed=yes))
    return OK


@snapshot.command(name="drop")
def drop_snapshot() -> int:
    """Drop it; only one that we made."""
    from migration_assets.operations.database_snapshot import drop

    click.echo(drop(planned()))
    return OK


@snapshot.command(name="show")
def show_snapshot() -> int:
    """Say whether it is there, and of which moment."""
    from migration_assets.operations.database_snapshot import show

    found = show(planned())
    click.echo(found or "There is none: `migration-assets run` makes it.")
    return OK if found else FAILED

"""The command `init`: what a project begins with."""

from __future__ import annotations

from pathlib import Path

import click

from migration_assets.commands.arguments import OK, Command


@click.command(cls=Command)
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False), default=".")
def init(*, folder: Path) -> int:
    """Write commented configuration files into FOLDER.

    These are .env, migration.yaml with its schema, and dagster.yaml. Overwrites nothing.
    """
    from migration_assets.operations.project_folder import begin_project

    for file in begin_project(folder):
        said = "wrote" if file.is_new else "kept "
        click.echo(f"{said} {file.path}: {file.purpose}")
    there = "" if folder == Path() else f"cd {folder}, "
    click.echo(f"Next: {there}fill in .env, then `migration-assets doctor`.")
    return OK

"""The commands that need no server: `sandbox`, `demo`, `dev`."""

from __future__ import annotations

from pathlib import Path

import click

from migration_assets.commands.arguments import FAILED, OK, Command, Group


@click.group(cls=Group)
def sandbox() -> None:
    """Stand-ins for SQL Server, S3, Glue and StarRocks. For development, demo and tests."""


@sandbox.command()
@click.argument("names", nargs=-1, type=click.Choice(["sqlserver", "aws", "starrocks"]))
@click.option("--env-file", type=click.Path(path_type=Path), help="Write the settings here.")
@click.option("--statements", type=click.Path(path_type=Path), help="Log every statement here.")
@click.option("--scale", type=float, default=1.0, show_default=True, help="Size of the sample.")
def start(
    *, names: tuple[str, ...], env_file: Path | None, statements: Path | None, scale: float
) -> int:
    """Start stand-ins in the foreground, all unless NAMES are given, until Ctrl-C."""
    from migration_assets.sandbox.launcher import start_in_foreground

    start_in_foreground(names, env_file=env_file, statements_dir=statements, scale=scale)
    return OK


@click.command(cls=Command)
@click.option("--scale", type=float, default=1.0, show_default=True, help="Size of the sample.")
@click.option("--keep", type=click.Path(path_type=Path), help="Keep plan, history, report here.")
def demo(*, scale: float, keep: Path | None) -> int:
    """Migrate the sample through the sandbox and compare it."""
    from migration_assets.demonstration import demonstrate

    return OK if demonstrate(scale=scale, keep=keep) else FAILED


@click.command(cls=Command)
@click.option("--port", type=int, default=3000, show_default=True, help="Of the UI.")
@click.option("--scale", type=float, default=0.05, show_default=True, help="Size of the sample.")
def dev(*, port: int, scale: float) -> int:
    """Start the sandbox and Dagster's UI on it, until Ctrl-C."""
    from migration_assets.demonstration import develop

    return develop(port=port, scale=scale)

"""The commands about what is around a migration: `doctor`, `jars`, `env`."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import click

from migration_assets.commands.arguments import FAILED, OK, Command, until_option
from migration_assets.settings import ProjectSettings


@click.command(cls=Command)
@click.option("--json", "as_json", is_flag=True, help="One JSON object per line.")
@click.option("--fix", is_flag=True, help="Create StarRocks' external catalog when missing.")
@until_option
@click.option(
    "--bundle",
    type=click.Path(path_type=Path),
    metavar="FILE.zip",
    help="Write what a support case needs, without secrets.",
)
def doctor(*, as_json: bool, fix: bool, until: str, bundle: Path | None) -> int:
    """Try every setting, connection and permission. One line each, with the remedy."""
    import dataclasses

    from migration_assets.operations.bundle import check_bundle, examined, write_bundle
    from migration_assets.operations.doctor import examine
    from migration_assets.terminal import console, errors, print_finding

    if bundle is not None:
        check_bundle(bundle)
    is_fine, findings = True, []
    found = examine(fix=fix, until_iceberg=until == "iceberg")
    for finding in found if bundle is None else examined(found):
        findings.append(finding)
        is_fine = is_fine and bool(finding.ok)
        if as_json:
            click.echo(json.dumps(dataclasses.asdict(finding), ensure_ascii=False))
        else:
            print_finding(finding)
    if bundle is not None:
        inside = ", ".join(write_bundle(bundle, findings))
        text = f"Wrote {bundle}: {inside}. Read them before you send it: only secrets are masked."
        (errors if as_json else console).print(text, markup=False, soft_wrap=True)
    return OK if is_fine else FAILED


@click.command(cls=Command)
@click.option("--check", is_flag=True, help="Fetch nothing; exits 1 if a jar is not there.")
def jars(*, check: bool) -> int:
    """Fetch the Spark engine's jars and verify their checksums."""
    from migration_assets.spark.jars import JarState, examine_jars, fetch_jars, jars_folder
    from migration_assets.terminal import download_progress, print_jars

    project = ProjectSettings.load()
    folder = jars_folder(project)
    if not check:
        with download_progress() as report:
            fetch_jars(folder, project.maven_url, report=report)
    states = examine_jars(folder)
    print_jars(folder, states)
    is_complete = all(state is JarState.PRESENT for state in states.values())
    return OK if is_complete else FAILED


@click.command(cls=Command)
def env() -> int:
    """Print what bare `dagster` commands need. For eval "$(migration-assets env)"."""
    from migration_assets.operations.home import environment

    for name, value in environment(ProjectSettings.load()).items():
        click.echo(f"export {name}={shlex.quote(value)}")
    return OK

"""The command `report`: what a migration can prove, from Dagster's records."""

from __future__ import annotations

from pathlib import Path

import click

from migration_assets.commands.arguments import OK, Command, planned, tables_option, until_option
from migration_assets.settings import MssqlSettings, ProjectSettings


@click.command(cls=Command)
@tables_option
@click.option(
    "--html",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write a page for auditors, one file.",
)
@click.option(
    "--json",
    "as_json",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the same as JSON. [report.json without --html]",
)
@until_option
@click.option("--validate", is_flag=True, help="Compare the three systems afresh before.")
@click.option("--inventory", is_flag=True, help="Ask SQL Server what else stays behind.")
def report(
    *,
    tables: tuple[str, ...],
    html: Path | None,
    as_json: Path | None,
    until: str,
    validate: bool,
    inventory: bool,
) -> int:
    """Write the evidence, from Dagster's records.

    Rows, checks, losses, attempts and durations.

    Needs no server, but for --validate and --inventory. Exits 0 when it is written, whatever it says.
    """
    from migration_assets.assets.translator import Stage
    from migration_assets.assets.validation import select_tables
    from migration_assets.operations.home import open_instance
    from migration_assets.operations.inventory import inventory_of
    from migration_assets.operations.report import Files, write_report
    from migration_assets.operations.validate import validate as compare
    from migration_assets.terminal import print_report, print_validation

    files = Files(json=as_json or (None if html else Path("report.json")), html=html)
    files.check()
    plan, last = planned(), Stage(until)
    chosen = select_tables(plan, tables)
    left_behind = inventory_of(plan, MssqlSettings.load()) if inventory else None
    with open_instance(ProjectSettings.load()) as instance:
        if validate:
            for found in compare(tables=tables, last=last, instance=instance):
                print_validation(found)
        tail = write_report(plan, chosen, instance, files, until=last, inventory=left_behind)
    print_report(tail, files)
    return OK

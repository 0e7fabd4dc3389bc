"""The command `plan`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from migration_assets.commands.arguments import FAILED, OK, Command, tables_option
from migration_assets.errors import MigrationError

CHANGES = 2
"""What `plan --detailed-exitcode` ends with when the plan changes, as `terraform plan` does."""


@click.command(cls=Command)
@click.option("--output", metavar="FILE", help="Path or s3:// URI to write [MIGRATION_PLAN].")
@click.option("--measure", is_flag=True, help="Count the rows that would lose something.")
@click.option("--fresh", is_flag=True, help="Take nothing over from the plan that is there.")
@click.option("--yes", is_flag=True, help="Accept that tables must be evolved, reset or migrated.")
@click.option("--dry-run", is_flag=True, help="Show what would change; write nothing.")
@click.option(
    "--detailed-exitcode", is_flag=True, help="0: no change, 1: error or not written, 2: changes."
)
@click.option(
    "--report",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write a page for whoever decides: .html or .md.",
)
@click.option(
    "--assume",
    multiple=True,
    metavar="NAME=VALUE",
    help="What the report estimates from, as extract_rows_per_s=100000.",
)
@click.option(
    "--show-sql", is_flag=True, help="Only print the SQL of the plan there is, or of one."
)
@tables_option
@click.option("-v", "--verbose", is_flag=True, help="Show what the queries cost, and the cuts.")
def plan(
    *, detailed_exitcode: bool, show_sql: bool, tables: tuple[str, ...], **options: Any
) -> int:
    """Look at SQL Server, write the plan and show it. Wishes are those of migration.yaml.

    Over a plan that is there: show what changes, and ask before a table's rows stop being valid.
    --show-sql and --tables show what it will have each system do, and write nothing.
    """
    if show_sql:
        with_it = {"output", "fresh"}
        if detailed_exitcode or any(options[name] for name in options.keys() - with_it):
            raise click.UsageError("--show-sql goes with --tables, --output and --fresh alone.")
        from migration_assets.commands.shown_statements import show_statements

        show_statements(tables, options["output"], fresh=options["fresh"])
        return OK
    if tables:
        raise click.UsageError("--tables goes with --show-sql: a plan is of all tables.")
    from migration_assets.commands.plan_again import PlanOptions, plan_again

    chosen = PlanOptions(**options)
    try:
        is_written, has_changes = plan_again(chosen)
    except MigrationError as error:
        if not detailed_exitcode:
            raise
        from migration_assets.terminal import print_error

        print_error(error)
        return FAILED  # an error must not end with 2, which says "changes" here
    if not (is_written or chosen.dry_run):
        return FAILED
    return CHANGES if detailed_exitcode and has_changes else OK

"""The command `migration-assets`: arguments and tables around `operations`.

Exit codes: 0 all is well, 1 something failed or differs, 2 wrong use (arguments, settings, plan),
130 interrupted. With `plan --detailed-exitcode` 0 no change, 1 any error, or a plan that was not
accepted and so not written, 2 changes (and wrong arguments).
"""

from __future__ import annotations

import json
import shlex
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from migration_assets.errors import ConfigurationError, MigrationError, PlanError
from migration_assets.settings import ProjectSettings, export_env_file, warn_of_renamed_settings

if TYPE_CHECKING:
    from migration_assets.plan import MigrationPlan

OK, FAILED, WRONG_USE, INTERRUPTED = 0, 1, 2, 130
CHANGES = 2
"""What `plan --detailed-exitcode` ends with when the plan changes, as `terraform plan` does."""

REPEAT_EVERY_S = 60
"""How often `status --watch` says it again when nothing changed, so that nobody takes it for dead."""


def main() -> None:
    """Entry point: our errors become one sentence and an exit code, never a stack trace."""
    from migration_assets.terminal import errors, print_error

    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        errors.print(f"Warning: {message}", style="yellow", markup=False)

    try:
        with warnings.catch_warnings():
            # What libraries warn of is for their developers; ours are for the user.
            warnings.simplefilter("ignore")
            warnings.filterwarnings("always", category=UserWarning, module="migration_assets")
            warnings.showwarning = show
            export_env_file()
            warn_of_renamed_settings()
            code = cli.main(standalone_mode=False)
    except (ConfigurationError, PlanError) as error:
        print_error(error)
        code = WRONG_USE
    except MigrationError as error:
        print_error(error)
        code = FAILED
    except click.ClickException as error:
        error.show()
        code = WRONG_USE
    except (KeyboardInterrupt, click.Abort):
        errors.print("Interrupted.")
        code = INTERRUPTED
    sys.exit(code or OK)


class _Command(click.Command):
    """Takes `--tables a b` for `--tables a --tables b`, as a shell writes `--tables sales.*`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, list(_one_by_one(args)))


class _Group(click.Group):
    command_class = _Command


def _one_by_one(arguments: list[str]) -> Iterator[str]:
    option = ""
    for argument in arguments:
        if argument.startswith("-"):
            option = argument
        elif option == "--tables":
            option = "another"
        elif option == "another":
            yield "--tables"
        yield argument


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """Move a SQL Server database to StarRocks, through Apache Iceberg, as Dagster assets."""


def _plan() -> MigrationPlan:
    from migration_assets.plan_source import load_plan

    return load_plan(ProjectSettings.load().plan)


@cli.command()
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
@click.option("-v", "--verbose", is_flag=True, help="Show what the queries cost, and the cuts.")
def plan(*, detailed_exitcode: bool, **options: Any) -> int:
    """Introspect SQL Server, apply migration.yaml, write and show the plan.

    Over a plan that is there: show what changes, and ask before a table's rows stop being valid.
    """
    from migration_assets.plan_command import PlanOptions, plan_again

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


_tables = click.option(
    "--tables", multiple=True, metavar="PATTERN", help="schema.table patterns; all unless given."
)


@cli.command()
@_tables
@click.option("--partitions", metavar="KEYS", help="Only these, as p003,p007.")
@click.option("--failed", is_flag=True, help="Only what failed, is missing, stale or differs.")
@click.option("--until", type=click.Choice(["mssql", "iceberg", "starrocks"]), default="starrocks")
@click.option(
    "--from", "first", type=click.Choice(["mssql", "iceberg", "starrocks"]), default="mssql"
)
@click.option(
    "--report",
    type=click.Path(path_type=Path, dir_okay=False, writable=True),
    default=Path("report.json"),
    show_default=True,
)
def run(
    *,
    tables: tuple[str, ...],
    partitions: str | None,
    failed: bool,
    until: str,
    first: str,
    report: Path,
) -> int:
    """Migrate: the same runs in the same Dagster instance as a click in the UI.

    The first Ctrl-C lets what runs now finish, the second abandons it; `run --failed` goes on.
    """
    from migration_assets.assets.translator import Stage
    from migration_assets.operations.migrate import migrate
    from migration_assets.terminal import print_result, progress

    keys = [key for part in (partitions or "").split(",") if (key := part.strip())]
    if partitions is not None and not keys:
        # A script whose variable is empty must not migrate everything.
        raise ConfigurationError(
            "--partitions names no partition.", next_step="Leave it out to run all of them."
        )
    if not report.parent.is_dir():
        raise ConfigurationError(f"--report {report}: there is no folder {report.parent}.")
    with progress() as show:
        result = migrate(
            tables=tables,
            partitions=keys,
            failed=failed,
            first=Stage(first),
            until=Stage(until),
            report=show,
        )
    print_result(result)
    result.write(report)
    if result.interrupted:
        return INTERRUPTED
    return OK if result.success else FAILED


@cli.command()
@_tables
@click.option("--json", "as_json", is_flag=True, help="One JSON object per partition.")
@click.option("--failed", is_flag=True, help="Only what is not done, with cause and command.")
@click.option("--watch", is_flag=True, help="Until nothing runs; exits 1 unless all is done.")
def status(*, tables: tuple[str, ...], as_json: bool, failed: bool, watch: bool) -> int:
    """Show where each table stands, from Dagster's records."""
    from migration_assets.assets.translator import MigrationTranslator
    from migration_assets.assets.validation import select_tables
    from migration_assets.operations.home import open_instance
    from migration_assets.operations.status import (
        State,
        failed_steps,
        is_busy,
        partition_statuses,
    )
    from migration_assets.terminal import console, print_failures, status_table

    chosen, translator = select_tables(_plan(), tables), MigrationTranslator()
    shown_line, shown_at = "", 0.0
    with open_instance(ProjectSettings.load()) as instance:
        while True:
            is_running = watch and is_busy(instance)
            statuses = list(partition_statuses(instance, chosen, translator))
            is_done = all(one.state() is State.DONE for one in statuses)
            if not is_running:
                break
            done = sum(one.state() is State.DONE for one in statuses)
            text = f"{done}/{len(statuses)} partitions done"
            if text != shown_line or time.monotonic() - shown_at >= REPEAT_EVERY_S:
                console.print(text, soft_wrap=True)
                shown_line, shown_at = text, time.monotonic()
            time.sleep(5)
        shown = [one for one in statuses if not failed or one.state() is not State.DONE]
        failures = failed_steps(instance, statuses, translator)
    if as_json:
        causes = {(f.table, f.partition_key): f for f in failures}
        for one in shown:
            failure = causes.get((one.table.full_name, one.partition_key))
            line = {
                "table": one.table.full_name,
                "partition": one.partition_key,
                **{stage.value: state.value for stage, state in one.states.items()},
            }
            if failure is not None:
                line |= {
                    "cause": failure.cause,
                    "next_step": failure.next_step,
                    "retry": failure.retry,
                    "run_id": failure.run_id,
                }
            click.echo(json.dumps(line, ensure_ascii=False))
    else:
        console.print(status_table(shown))
        print_failures(failures)
    return FAILED if watch and not is_done else OK


@cli.command()
@_tables
@click.option(
    "--level", type=click.Choice(["count", "full", "rows"]), default="full", show_default=True
)
@click.option("--until", type=click.Choice(["iceberg", "starrocks"]), default="starrocks")
@click.option(
    "--sample",
    type=click.IntRange(min=1),
    metavar="ROWS",
    help="At level rows, compare about as many rows of each table.",
)
def validate(*, tables: tuple[str, ...], level: str, until: str, sample: int | None) -> int:
    """Compare the three systems afresh, whatever Dagster remembers."""
    if sample and (level, until) != ("rows", "starrocks"):
        raise click.UsageError("--sample goes with --level rows, and with StarRocks.")
    from migration_assets.assets.translator import Stage
    from migration_assets.choices import VerificationLevel
    from migration_assets.operations.home import open_instance
    from migration_assets.operations.validate import validate as compare
    from migration_assets.terminal import console, print_validation

    wrong = total = 0
    with open_instance(ProjectSettings.load()) as instance:
        for found in compare(
            tables=tables,
            level=VerificationLevel(level),
            last=Stage(until),
            instance=instance,
            sample=sample or 0,
        ):
            print_validation(found)
            if found.note:
                console.print(f"  {found.note}", markup=False, soft_wrap=True)
            total += 1
            wrong += not found.valid
    console.print(f"{total - wrong} of {total} tables are equal.")
    return FAILED if wrong else OK


@cli.command()
@_tables
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


@cli.command()
@click.argument("tables", nargs=-1, required=True)
@click.option("--yes", is_flag=True, help="Do not ask.")
def reset(*, tables: tuple[str, ...], yes: bool) -> int:
    """Empty TABLES in Iceberg and StarRocks, so that a changed plan is valid again."""
    from migration_assets.assets.validation import select_tables
    from migration_assets.operations.home import open_instance
    from migration_assets.operations.reset import reset_tables

    migration_plan = _plan()
    chosen = select_tables(migration_plan, tables)
    names = ", ".join(table.full_name for table in chosen)
    if not yes:
        click.confirm(f"Delete all migrated rows of {names} in Iceberg and StarRocks?", abort=True)
    with open_instance(ProjectSettings.load()) as instance:
        reset_tables(migration_plan, chosen, instance)
    click.echo(f"Reset {names}. `migration-assets run --failed` migrates them again.")
    return OK


@cli.group()
def snapshot() -> None:
    """The database snapshot that a plan of `consistency: database_snapshot` reads from."""


@snapshot.command(name="create")
@click.option("--yes", is_flag=True, help="Also when partitions of another state are there.")
def create_snapshot(*, yes: bool) -> int:
    """Make it of the database as it is now; one that is there stays."""
    from migration_assets.operations.database_snapshot import create
    from migration_assets.operations.home import open_instance

    with open_instance(ProjectSettings.load()) as instance:
        click.echo(create(_plan(), instance, mixed=yes))
    return OK


@snapshot.command(name="drop")
def drop_snapshot() -> int:
    """Drop it; only one that we made."""
    from migration_assets.operations.database_snapshot import drop

    click.echo(drop(_plan()))
    return OK


@snapshot.command(name="show")
def show_snapshot() -> int:
    """Say whether it is there, and of which moment."""
    from migration_assets.operations.database_snapshot import show

    found = show(_plan())
    click.echo(found or "There is none: `migration-assets run` makes it.")
    return OK if found else FAILED


@cli.command()
@click.argument("tables", nargs=-1, required=True)
def evolve(*, tables: tuple[str, ...]) -> int:
    """Change columns of TABLES in Iceberg and StarRocks as the plan has them; rows stay."""
    from migration_assets.assets.validation import select_tables
    from migration_assets.operations.evolve import evolve_tables
    from migration_assets.terminal import console

    migration_plan = _plan()
    for done in evolve_tables(migration_plan, select_tables(migration_plan, tables)):
        console.print(done.describe(), markup=False, soft_wrap=True)
    return OK


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object per line.")
@click.option("--fix", is_flag=True, help="Create StarRocks' external catalog when missing.")
@click.option("--until", type=click.Choice(["iceberg", "starrocks"]), default="starrocks")
def doctor(*, as_json: bool, fix: bool, until: str) -> int:
    """Try every setting, connection and permission; one line each, with the remedy."""
    import dataclasses

    from migration_assets.operations.doctor import examine
    from migration_assets.terminal import print_finding

    is_fine = True
    for finding in examine(fix=fix, until_iceberg=until == "iceberg"):
        is_fine = is_fine and bool(finding.ok)
        if as_json:
            click.echo(json.dumps(dataclasses.asdict(finding), ensure_ascii=False))
        else:
            print_finding(finding)
    return OK if is_fine else FAILED


@cli.command()
@click.option("--check", is_flag=True, help="Fetch nothing; exits 1 if a jar is not there.")
def jars(*, check: bool) -> int:
    """Fetch the jars that the Spark engine needs, and verify their checksums."""
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


@cli.command()
def env() -> int:
    """Print what bare `dagster` commands need: eval "$(migration-assets env)"."""
    from migration_assets.operations.home import environment

    for name, value in environment(ProjectSettings.load()).items():
        click.echo(f"export {name}={shlex.quote(value)}")
    return OK


@cli.group()
def sandbox() -> None:
    """Stand-ins for SQL Server, S3, Glue and StarRocks, for development, demo and tests."""


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


@cli.command()
@click.option("--scale", type=float, default=1.0, show_default=True, help="Size of the sample.")
@click.option("--keep", type=click.Path(path_type=Path), help="Keep plan, history, report here.")
def demo(*, scale: float, keep: Path | None) -> int:
    """Migrate the sample database through the whole sandbox, and compare every table."""
    from migration_assets.demonstration import demonstrate

    return OK if demonstrate(scale=scale, keep=keep) else FAILED


@cli.command()
@click.option("--port", type=int, default=3000, show_default=True)
@click.option("--scale", type=float, default=0.05, show_default=True, help="Size of the sample.")
def dev(*, port: int, scale: float) -> int:
    """Start the sandbox, plan, and open Dagster's UI on it, until Ctrl-C."""
    from migration_assets.demonstration import develop

    return develop(port=port, scale=scale)

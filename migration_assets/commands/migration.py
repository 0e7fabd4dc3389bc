"""The commands that migrate, watch and compare: `run`, `status`, `validate`."""

from __future__ import annotations

import json
import time
from pathlib import Path

import click

from migration_assets.commands.arguments import (
    FAILED,
    INTERRUPTED,
    OK,
    Command,
    plan_option,
    planned,
    tables_option,
    until_option,
)
from migration_assets.errors import ConfigurationError
from migration_assets.settings import ProjectSettings

REPEAT_EVERY_S = 60
"""How often `status --watch` says it again when nothing changed, so that nobody takes it for dead."""


@click.command(cls=Command)
@tables_option
@click.option("--partitions", metavar="KEYS", help="Only these, as p003,p007.")
@click.option("--failed", is_flag=True, help="Only what failed, is missing, stale or differs.")
@click.option(
    "--until",
    type=click.Choice(["mssql", "iceberg", "starrocks"]),
    default="starrocks",
    help="The last stage to make.",
)
@click.option(
    "--from",
    "first",
    type=click.Choice(["mssql", "iceberg", "starrocks"]),
    default="mssql",
    help="The first one; what comes before must be there.",
)
@click.option(
    "--window",
    metavar="HOURS",
    help="Extract only in these, as 20:00-06:00 [MIGRATION_WINDOW]; commits and loads go on.",
)
@click.option(
    "--report",
    type=click.Path(path_type=Path, dir_okay=False, writable=True),
    help="Where the result goes  [default: report.json; of a trial trial-report.json]",
)
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    metavar="ROWS",
    help="A trial: so many rows of each table, into targets named …_trial.",
)
@plan_option
def run(
    *,
    tables: tuple[str, ...],
    partitions: str | None,
    failed: bool,
    until: str,
    first: str,
    window: str | None,
    report: Path | None,
    limit: int | None,
) -> int:
    """Migrate: extract, commit, load and compare.

    The same runs in the same Dagster instance as a click in the UI.

    With --limit nothing of the tables' own targets and history is touched. The first Ctrl-C lets
    what runs now finish, the second abandons it; `run --failed` goes on.
    """
    from migration_assets.assets.translator import Stage
    from migration_assets.operations.migrate import migrate
    from migration_assets.operations.report import Files, report_run
    from migration_assets.terminal import print_result, print_trial, progress

    if limit and (
        partitions is not None or failed or window or first != "mssql" or until == "mssql"
    ):
        raise click.UsageError("--limit goes with --tables, --until iceberg and --report alone.")
    keys = [key for part in (partitions or "").split(",") if (key := part.strip())]
    if partitions is not None and not keys:
        # A script whose variable is empty must not migrate everything.
        raise ConfigurationError(
            "--partitions names no partition.",
            code="MA-CF-025",
            next_step="Leave it out to run all of them.",
        )
    report = report or Path("trial-report.json" if limit else "report.json")
    files = Files(json=report)
    if window is not None:
        _refuse_bad_window(window)
    files.check()
    with progress() as show:
        if limit:
            from migration_assets.operations.trial import try_out

            result = try_out(
                rows=limit, tables=tables, until=Stage(until), report=show, report_file=report
            )
        else:
            result = migrate(
                tables=tables,
                partitions=keys,
                failed=failed,
                first=Stage(first),
                until=Stage(until),
                window=window,
                report=show,
                report_file=report,
            )
    print_result(result)
    if limit:
        print_trial(planned(), tables, limit)
    else:
        report_run(result, files)
    if result.interrupted:
        return INTERRUPTED
    return OK if result.success else FAILED


def _refuse_bad_window(text: str) -> None:
    """Refuse hours that are none, by the name of the option.

    Raises:
        ConfigurationError: they are not.
    """
    from migration_assets.extraction_hours import ExtractionHours

    try:
        ExtractionHours.parse(text)
    except ValueError as error:
        raise ConfigurationError(f"--window: {error}.", code="MA-CF-025") from None


@click.command(cls=Command)
@tables_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object per partition.")
@click.option("--failed", is_flag=True, help="Only what is not done, with cause and command.")
@click.option("--watch", is_flag=True, help="Until nothing runs; exits 1 unless all is done.")
@plan_option
def status(*, tables: tuple[str, ...], as_json: bool, failed: bool, watch: bool) -> int:
    """Show where each table stands, from Dagster's records."""
    from migration_assets.assets.translator import STAGES, MigrationTranslator
    from migration_assets.assets.validation import select_tables
    from migration_assets.operations.home import open_instance
    from migration_assets.operations.run_states import is_busy
    from migration_assets.operations.status import State, failed_steps, partition_statuses
    from migration_assets.operations.watching import Watcher, outstanding
    from migration_assets.terminal import console, left, print_failures, status_table

    chosen, translator = select_tables(planned(), tables), MigrationTranslator()
    shown_done, shown_at, watcher = -1, 0.0, Watcher(translator)
    keys = {
        tuple(translator.asset_key(stage, table).path): table.partition_keys
        for table in chosen
        for stage in STAGES
    }
    with open_instance(ProjectSettings.load()) as instance:
        while True:
            is_running = watch and is_busy(instance)
            statuses = list(partition_statuses(instance, chosen, translator))
            is_done = all(one.state() is State.DONE for one in statuses)
            if not is_running:
                break
            done = sum(one.state() is State.DONE for one in statuses)
            seconds = watcher.look(statuses, outstanding(instance, keys), time.monotonic())
            text = f"{done}/{len(statuses)} partitions done, {left(seconds)}"
            if done != shown_done or time.monotonic() - shown_at >= REPEAT_EVERY_S:
                console.print(text, soft_wrap=True)
                shown_done, shown_at = done, time.monotonic()
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
                    "code": failure.code,
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


@click.command(cls=Command)
@tables_option
@click.option(
    "--level",
    type=click.Choice(["count", "full", "rows"]),
    default="full",
    show_default=True,
    help="Counts; fingerprints, too; or every row.",
)
@until_option
@click.option(
    "--sample",
    type=click.IntRange(min=1),
    metavar="ROWS",
    help="At level rows, compare about as many rows of each table.",
)
@plan_option
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

"""What commands print: tables, progress, and one sentence for an error."""

from __future__ import annotations

import io
import re
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.live import Live
from rich.padding import Padding
from rich.progress import BarColumn, DownloadColumn, TaskID, TextColumn
from rich.progress import Progress as BarProgress
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from migration_assets.assets.translator import STAGES, Stage
from migration_assets.assets.validation import select_tables
from migration_assets.errors import MigrationError
from migration_assets.trial import trial_plan

if TYPE_CHECKING:
    import click

    from migration_assets.assets.validation import TableValidation
    from migration_assets.evidence.model import Tail
    from migration_assets.operations.doctor import Finding
    from migration_assets.operations.report import Files
    from migration_assets.operations.results import MigrationResult, Progress, Report
    from migration_assets.operations.status import FailedStep, PartitionStatus
    from migration_assets.plan import MigrationPlan
    from migration_assets.spark.jars import Jar, JarState
    from migration_assets.spark.jars import Report as JarReport

LINE_EVERY_S = 5.0
"""How often progress is printed where the output is not a terminal."""
PAUSE_EVERY_S = 600.0
"""How often it is printed there while extractions wait for their hours."""

console = Console(highlight=False)
errors = Console(stderr=True, highlight=False, soft_wrap=True)


def print_error(error: MigrationError) -> None:
    """Print an error as one paragraph on standard error."""
    text = Text(wrapped(f"Error: {error}", errors))
    text.stylize("bold red", 0, len("Error:"))
    errors.print(text)


def print_misuse(error: click.ClickException) -> None:
    """Print what click says of wrong words, usage included."""
    said = io.StringIO()
    error.show(file=said)
    for line in said.getvalue().splitlines():
        errors.print(wrapped(line, errors), markup=False)


_UNBROKEN = re.compile(r"\S*`[^`\n]*`\S*|\S+")
"""A word, or a command in backquotes with what clings to it: to be copied as a whole."""


def wrapped(text: str, to: Console) -> str:
    """Break a paragraph between words where it goes to a terminal; commands and paths stay whole.

    Elsewhere it stays one line, which can be searched for. Lines keep the indentation of the first.
    """
    if not to.is_terminal:
        return text
    indent = text[: len(text) - len(text.lstrip(" "))]
    lines: list[str] = []
    for word in _UNBROKEN.findall(text):
        if lines and len(lines[-1]) + 1 + len(word) <= to.width:
            lines[-1] += f" {word}"
        else:
            lines.append(indent + word)
    return "\n".join(lines)


@contextmanager
def progress() -> Iterator[Report]:
    """Yield what shows the progress of a run: a live line, or a plain line now and then."""
    if console.is_terminal:
        with Live(console=console, transient=True, refresh_per_second=4) as live:
            yield lambda state: live.update(_progress_line(state))
        return
    last, told = 0.0, ""

    def line(state: Progress) -> None:
        nonlocal last, told
        is_told = state.pause and state.pause == told
        if time.monotonic() - last < (PAUSE_EVERY_S if is_told else LINE_EVERY_S):
            return
        last, told = time.monotonic(), state.pause
        console.print(_progress_text(state), soft_wrap=True)
        sys.stdout.flush()

    yield line


def _progress_line(state: Progress) -> Table:
    grid = Table.grid(padding=(0, 1))
    grid.add_row(
        ProgressBar(total=max(state.weight, 1), completed=state.done_weight, width=30),
        _progress_text(state),
    )
    return grid


def _progress_text(state: Progress) -> str:
    parts = [f"{state.done_steps}/{state.steps} asset partitions of {state.tables} tables"]
    if state.failed_steps:
        parts.append(f"{state.failed_steps} failed")
    if state.done_steps + state.failed_steps < state.steps and not state.pause:
        parts.append(left(state.seconds_left))
    if state.is_draining:
        parts.append("stopping after what runs now; Ctrl-C again to abandon it")
    elif state.pause:
        parts.append(state.pause)
    elif state.message:
        parts.append(state.message[:120])
    return ", ".join(parts)


def left(seconds: float | None) -> str:
    """`about 3 min 20 s left`; `estimating` while too little is known."""
    return "estimating the time left" if seconds is None else f"about {duration(seconds)} left"


def duration(seconds: float) -> str:
    """`45 s`, `3 min 20 s`, `2 h 5 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def _count(rows: int | None) -> str:
    return "-" if rows is None else f"{rows:,}"


def print_result(result: MigrationResult, *, only_problems: bool = False) -> None:
    """Print one row per table, then each failure with its cause and retry command."""
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("table", min_width=19, overflow="fold")
    for name in ("mssql", "iceberg", "starrocks", "parts", "seconds"):
        table.add_column(name, justify="right")
    table.add_column("checks", justify="right")
    table.add_column("result")
    for row in result.tables:
        bad = row.status != "done" or row.valid is False
        if only_problems and not bad:
            continue
        table.add_row(
            row.table,
            *(_count(row.rows.get(stage.value)) for stage in STAGES),
            f"{row.done}/{row.partitions}",
            f"{row.seconds:.1f}",
            f"{row.checks_passed}/{row.checks}",
            Text(row.difference or row.status, style="red")
            if bad
            else Text("equal" if row.valid else "done", style="green"),
        )
    console.print(table)
    for row in result.tables:
        if row.note:
            console.print(Text(row.note, style="yellow"), soft_wrap=True)
    print_failures(result.failures)
    done = sum(row.status == "done" for row in result.tables)
    summary = f"{done} of {len(result.tables)} tables done in {duration(result.seconds)}."
    if result.interrupted:
        summary += " Interrupted: `migration-assets run --failed` goes on."
    console.print(Text(summary, style="bold green" if result.success else "bold red"))


def print_trial(plan: MigrationPlan, tables: Sequence[str], rows: int) -> None:
    """Print where the rows of a trial are, what to know of them, and how they go away."""
    chosen = select_tables(plan, tables)
    for table in trial_plan(plan, chosen, rows).tables:
        where = f"Iceberg {table.namespace}.{table.iceberg_table}"
        where += f", StarRocks {table.starrocks_database}.{table.starrocks_table}"
        console.print(f"{table.full_name}: {where}", markup=False, soft_wrap=True)
        for warning in table.warnings:
            console.print(Padding(Text(warning, style="yellow"), (0, 0, 0, 2)))
    console.print("`migration-assets clean --trial` removes them.")


def print_report(tail: Tail, files: Files) -> None:
    """Print what the report says, and where it is."""
    from migration_assets.evidence.page import headline

    is_good, sentence = headline(tail)
    style = {True: "bold green", False: "bold red", None: "bold yellow"}[is_good]
    console.print(Text(sentence, style=style), soft_wrap=True)
    totals = tail.totals
    counts = ", ".join(
        f"{stage.value} {_count(getattr(totals.rows, stage.value))}" for stage in STAGES
    )
    console.print(f"Rows: {counts}. Checks passed: {totals.checks_passed:,} of {totals.checks:,}.")
    for path in filter(None, (files.json, files.html)):
        console.print(f"Wrote {path}.", markup=False, soft_wrap=True)


def print_failures(failures: Sequence[FailedStep], limit: int = 20) -> None:
    """Print why partitions failed and the command that retries each."""
    for failure in failures[:limit]:
        where = f"{failure.table} {failure.partition_key} ({failure.stage.value})"
        console.print(Text(where, style="bold red"), soft_wrap=True)
        console.print(wrapped(f"  {failure.cause}", console), markup=False, soft_wrap=True)
        if failure.next_step and failure.next_step not in failure.cause:
            console.print(wrapped(f"  {failure.next_step}", console), markup=False, soft_wrap=True)
        console.print(f"  {failure.retry}", markup=False, style="cyan", soft_wrap=True)
    if len(failures) > limit:
        console.print(f"and {len(failures) - limit} more; see `migration-assets status --failed`")
    code = next((failure.code for failure in failures if failure.code), "")
    if code:
        console.print(f"`migration-assets explain {code}` says more of a code.", soft_wrap=True)


def status_table(statuses: Iterable[PartitionStatus]) -> Table:
    """One row per table: how many partitions are in which state, by system."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("table", overflow="fold")
    table.add_column("partitions", justify="right")
    for stage in STAGES:
        table.add_column(stage.value)
    by_table: dict[str, list[PartitionStatus]] = {}
    for status in statuses:
        by_table.setdefault(status.table.full_name, []).append(status)
    for name, partitions in by_table.items():
        cells = [_states(partitions, stage) for stage in STAGES]
        table.add_row(name, str(len(partitions)), *cells)
    return table


def _states(partitions: Sequence[PartitionStatus], stage: Stage) -> Text:
    counts: dict[str, int] = {}
    for status in partitions:
        name = status.states[stage].value
        counts[name] = counts.get(name, 0) + 1
    text = ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
    if len(counts) == 1:
        (text,) = counts
    if text == "done":
        return Text(text, style="green")
    return Text(text, style="red" if {"failed", "check failed"} & counts.keys() else "")


def print_validation(found: TableValidation) -> None:
    """Print one table's comparison."""
    rows = ", ".join(f"{stage.value} {_count(count)}" for stage, count in found.rows.items())
    verdict = Text("equal", style="green") if found.valid else Text("differs", style="bold red")
    line = Text(f"{found.table.full_name}: ") + verdict + Text(f" ({rows})" if rows else "")
    if not found.valid:
        line += Text(f" {found.describe()}")
    console.print(line, soft_wrap=True)


@contextmanager
def download_progress() -> Iterator[JarReport]:
    """Yield what shows how much of each jar has come: live bars, or one line when it begins."""
    if not console.is_terminal:
        begun: set[Jar] = set()

        def line(jar: Jar, _: int) -> None:
            if jar not in begun:
                begun.add(jar)
                console.print(f"fetching {jar.coordinate}, {_megabytes(jar)}", soft_wrap=True)

        yield line
        return
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    with BarProgress(*columns, console=console, transient=True) as bars:
        tasks: dict[Jar, TaskID] = {}

        def bar(jar: Jar, arrived: int) -> None:
            if jar not in tasks:
                tasks[jar] = bars.add_task(jar.file_name, total=jar.size)
            bars.update(tasks[jar], completed=arrived)

        yield bar


def print_jars(folder: Path, states: Mapping[Jar, JarState]) -> None:
    """Print one line per jar, then what to do when one is not there."""
    is_complete = True
    for jar, state in states.items():
        is_there = state.value == "present"
        is_complete = is_complete and is_there
        line = Text(f"{state.value:<8}", style="green" if is_there else "bold red")
        console.print(line + Text(f"{jar.coordinate} ({_megabytes(jar)})"), soft_wrap=True)
    advice = "" if is_complete else " `migration-assets jars` fetches what is not there."
    console.print(f"Folder: {folder}.{advice}", markup=False, soft_wrap=True)


def _megabytes(jar: Jar) -> str:
    return f"{jar.size / 1e6:.1f} MB"


def print_finding(finding: Finding) -> None:
    """Print one line of the doctor; in a terminal what to do has lines of its own."""
    mark = {True: ("ok  ", "green"), False: ("FAIL", "bold red"), None: ("-   ", "dim")}[finding.ok]
    found = f" - {finding.found}" if finding.found else ""
    said = f"{mark[0]} {finding.system}: {finding.check}{found}"
    remedy = f" {finding.remedy}" if finding.remedy else ""
    if console.is_terminal:
        # What follows the mark is kept in its column.
        said = (
            mark[0]
            + wrapped(" " * len(mark[0] + " ") + said[len(mark[0]) :].strip(), console)[
                len(mark[0]) :
            ]
        )
        remedy = "\n" + wrapped(f"     {finding.remedy}", console) if finding.remedy else ""
    line = Text(said + remedy)
    line.stylize(mark[1], 0, len(mark[0]))
    line.stylize("yellow", len(said))
    console.print(line, soft_wrap=True)

"""The report as a page for auditors: one HTML file that works without a network.

Tables are added one after the other. What is kept of each is its line, its rows by partition for
the plots, and of its partitions those that a person looks for, so that the page stays readable and
the memory bounded; `report.json` has all of them.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import TextIO

from jinja2 import Template

from migration_assets.evidence import model
from migration_assets.evidence.throughput import BINS, Session, Timeline
from migration_assets.inventory_page.balance import UNEVEN, Balance
from migration_assets.inventory_page.content import Bar
from migration_assets.inventory_page.html import BalancePlot, templates
from migration_assets.inventory_page.wording import counted, duration, sentence, size, visible

MOST_BARS = 15
MOST_PLOTS = 12
MOST_SESSIONS = 8
MOST_FAILURES = 100
MOST_PARTITIONS = 4_000
"""Partitions that are listed, of all tables: a browser has to open the page."""
MOST_OF_A_TABLE = 128
"""A table with more partitions has those listed that did not go through at the first attempt."""
MOST_NOTABLE = 50
SYSTEMS = ("mssql", "iceberg", "starrocks")


@dataclass(frozen=True)
class PartitionRow:
    """A partition in the list of its table's."""

    key: str
    range: str
    rows: tuple[str, ...]
    checks: str
    is_good: bool
    state: str
    attempts: int
    is_retried: bool
    seconds: tuple[str, ...]
    ended: str
    snapshot_id: str
    runs: str


@dataclass(frozen=True)
class TableRow:
    """A table in the list of all."""

    name: str
    target: str
    rows: tuple[str, ...]
    is_equal: bool
    partitions: str
    verification: str
    columns: int
    checks: str
    attempts: int
    is_retried: bool
    seconds: tuple[str, ...]
    total_seconds: float
    rate: str
    verdict: str
    is_good: bool | None
    remark: str
    listed: tuple[PartitionRow, ...]
    hidden: str


class EvidencePage:
    """Collects the page."""

    def __init__(self) -> None:
        """Begin with no table."""
        self._tables: list[TableRow] = []
        self._losses: list[tuple[str, model.Loss]] = []
        self._left_out: list[tuple[str, tuple[str, ...]]] = []
        self._balances: list[Balance] = []
        self._timeline = Timeline()
        self._listed = 0

    def add(self, table: model.Table) -> None:
        """Take over what the page shows of a table."""
        name = visible(table.table)
        self._losses += [(name, loss) for loss in table.losses]
        if table.left_out_columns:
            self._left_out.append((name, tuple(map(visible, table.left_out_columns))))
        rows = array("q", (one.rows.starrocks or one.rows.mssql or 0 for one in table.by_partition))
        if len(rows) > 1:
            self._balances.append(Balance(table.table, tuple(rows)))
        for partition in table.by_partition:
            for stage in partition.stages:
                if stage.ended_at is not None and stage.rows is not None:
                    ended = stage.ended_at.timestamp()
                    self._timeline.add(stage.stage, ended, stage.seconds or 0.0, stage.rows)
        chosen, hidden = self._chosen(table)
        self._listed += len(chosen)
        self._tables.append(_row(table, tuple(map(_partition, chosen)), hidden))

    def _chosen(self, table: model.Table) -> tuple[list[model.Partition], str]:
        partitions = list(table.by_partition)
        if len(partitions) <= min(MOST_OF_A_TABLE, MOST_PARTITIONS - self._listed):
            return partitions, ""
        notable = [one for one in partitions if not _is_plain(one)][:MOST_NOTABLE]
        more = len(partitions) - len(notable)
        return notable, f"And {more:,} more, in the JSON report."

    def write(self, out: TextIO, head: model.Head, tail: model.Tail) -> None:
        """Write the page to an open file."""
        sessions = sorted(self._timeline.sessions(), key=lambda one: -one.rows)[:MOST_SESSIONS]
        sessions.sort(key=lambda one: one.began)
        uneven = sorted(self._balances, key=lambda one: (-one.ratio, -sum(one.rows), one.table))
        slowest = sorted(self._tables, key=lambda row: -row.total_seconds)[:MOST_BARS]
        longest = max((row.total_seconds for row in slowest), default=0.0) or 1.0
        pieces = _template().generate(
            head=head,
            tail=tail,
            totals=tail.totals,
            headline=headline(tail),
            facts=_facts(tail, sessions),
            tables=self._tables,
            failures=tail.failures[:MOST_FAILURES],
            more_failures=len(tail.failures) - MOST_FAILURES,
            plots=[_Plot(session) for session in sessions],
            slowest=[
                Bar(row.name, row.total_seconds / longest, duration(row.total_seconds))
                for row in slowest
            ],
            balances=[BalancePlot(one) for one in uneven[:MOST_PLOTS]],
            more_balances=len(uneven) - MOST_PLOTS,
            uneven=UNEVEN,
            losses=self._losses,
            left_out_columns=self._left_out,
            systems=SYSTEMS,
        )
        out.writelines(pieces)


def headline(tail: model.Tail) -> tuple[bool | None, str]:
    """Whether all is well, in a sentence; None where it was not looked at."""
    totals = tail.totals
    if not totals.tables:
        return None, "There is no table in this report."
    if not tail.success or totals.tables_done < totals.tables:
        open_tables = totals.tables - totals.tables_done
        what = (
            f"{counted(open_tables, 'table')} not complete"
            if open_tables
            else "not equal, or stopped"
        )
        return False, f"Not finished: {what}. See what is open."
    tables = counted(totals.tables, "table")
    if totals.tables_compared < totals.tables:
        rest = totals.tables - totals.tables_compared
        return None, (
            f"All partitions of {tables} are migrated; {counted(rest, 'table')} not compared as a "
            "whole since."
        )
    return (
        True,
        f"All partitions of {tables} are migrated, and what was compared is equal.",
    )


def _is_plain(partition: model.Partition) -> bool:
    return partition.state == "done" and all(
        stage.attempts <= 1 and all(check.outcome == "passed" for check in stage.checks)
        for stage in partition.stages
    )


def _row(table: model.Table, listed: tuple[PartitionRow, ...], hidden: str) -> TableRow:
    targets = table.targets
    same = targets.iceberg == targets.starrocks
    verdict, is_good = "not compared", None
    if table.status != "done":
        verdict, is_good = f"{table.done} of {table.partitions} done", False
    elif table.valid is not None:
        verdict, is_good = ("equal" if table.valid else "differs"), table.valid
    counts = [getattr(table.rows, system) for system in SYSTEMS]
    started, ended = table.started_at, table.ended_at
    spent = (ended - started).total_seconds() if started and ended else 0.0
    rows = next((count for count in counts if count), 0)
    steps = sum(len(partition.stages) for partition in table.by_partition)
    return TableRow(
        name=visible(table.table),
        target=visible(targets.iceberg if same else f"{targets.iceberg}, {targets.starrocks}"),
        rows=tuple(map(_count, counts)),
        is_equal=len(set(counts)) == 1,
        partitions=f"{table.done:,}"
        if table.done == table.partitions
        else f"{table.done}/{table.partitions}",
        verification=table.verification,
        columns=len(table.fingerprint_columns),
        checks=f"{table.checks_passed:,}/{table.checks:,}",
        attempts=table.attempts,
        is_retried=table.attempts > steps,
        seconds=tuple(_seconds(table.seconds_by_stage.get(system)) for system in SYSTEMS),
        total_seconds=table.seconds,
        rate=f"{rows / spent:,.0f}" if spent > 0 and rows else "",
        verdict=verdict,
        is_good=is_good,
        remark=visible(" ".join(filter(None, [table.difference, table.note]))),
        listed=listed,
        hidden=hidden,
    )


def _partition(partition: model.Partition) -> PartitionRow:
    stages = {stage.stage: stage for stage in partition.stages}
    checks = [check for stage in partition.stages for check in stage.checks]
    passed = sum(check.outcome == "passed" for check in checks)
    runs = dict.fromkeys(stage.run_id[:8] for stage in partition.stages if stage.run_id)
    ended = max((s.ended_at for s in partition.stages if s.ended_at), default=None)
    attempts = sum(stage.attempts for stage in partition.stages)
    return PartitionRow(
        key=partition.partition,
        range=visible(partition.range or "all rows"),
        rows=tuple(_count(getattr(partition.rows, system)) for system in SYSTEMS),
        checks=f"{passed}/{len(checks)}",
        is_good=partition.state == "done" and passed == len(checks),
        state=partition.state,
        attempts=attempts,
        is_retried=attempts > len(partition.stages),
        seconds=tuple(
            _seconds(stages[system].seconds if system in stages else None) for system in SYSTEMS
        ),
        ended=_moment(ended),
        snapshot_id=partition.snapshot_id or "",
        runs=" ".join(runs),
    )


def _count(rows: int | None) -> str:
    return "-" if rows is None else f"{rows:,}"


def _seconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds:,.1f}"


def _moment(at: datetime | None) -> str:
    return "" if at is None else at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


def _facts(tail: model.Tail, sessions: list[Session]) -> list[tuple[str, str, str]]:
    totals = tail.totals
    counts = [getattr(totals.rows, system) for system in SYSTEMS]
    same = len(set(counts)) == 1 and counts[0] is not None
    shown = next((count for count in reversed(counts) if count is not None), None)
    busy = sum(session.ended - session.began for session in sessions)
    rows = sum(session.rows for session in sessions)
    return [
        (
            "Tables complete",
            f"{totals.tables_done:,} of {totals.tables:,}",
            f"{totals.tables_compared:,} compared as a whole and equal",
        ),
        (
            "Rows",
            _count(shown),
            "counted alike in all three systems"
            if same
            else "not in all systems, or not counted there",
        ),
        (
            "Partitions complete",
            f"{totals.partitions_done:,} of {totals.partitions:,}",
            f"{totals.attempts:,} attempts in all",
        ),
        (
            "Checks passed",
            f"{totals.checks_passed:,} of {totals.checks:,}",
            "row counts, fingerprints, rows",
        ),
        ("Losses accepted", f"{totals.losses:,}", "by the plan, listed below"),
        ("Data files", size(totals.bytes), "Parquet in S3"),
        (
            "Time at work",
            duration(busy) if busy else "none",
            f"{rows / busy:,.0f} rows per second" if busy and rows else "without pauses",
        ),
        ("Not migrated", f"{sum(o.count for o in tail.not_migrated):,}", "objects, listed below"),
    ]


_HEIGHT, _WIDTH = 100.0, 960.0


class _Plot:
    """Rows per second of a session: extraction as an area, loading as a line."""

    def __init__(self, session: Session) -> None:
        self.began = _moment(datetime.fromtimestamp(session.began, UTC))
        self.ended = _moment(datetime.fromtimestamp(session.ended, UTC))
        self.rows = session.rows
        self.length = duration(session.ended - session.began)
        extracted = session.rates.get("mssql", [0.0] * BINS)
        loaded = session.rates.get("starrocks", [0.0] * BINS)
        self.top = max(*extracted, *loaded, 1.0)
        self.width, self.height = _WIDTH, _HEIGHT
        self.area = f"0,{_HEIGHT} {_points(extracted, self.top)} {_WIDTH},{_HEIGHT}"
        self.line = _points(loaded, self.top)


def _points(rates: list[float], top: float) -> str:
    """A staircase: a rate is that of its whole bin."""
    step = _WIDTH / len(rates)
    return " ".join(
        f"{(number + edge) * step:.1f},{_HEIGHT * (1 - rate / top):.1f}"
        for number, rate in enumerate(rates)
        for edge in (0, 1)
    )


@cache
def _template() -> Template:
    environment = templates("evidence")
    environment.filters |= {"moment": _moment, "number": _count, "sentence": sentence}
    return environment.get_template("evidence.html.j2")

"""What a migration survives, as one table: `python -m benchmarks.reliability`.

A soak (342 tables through four connections of SQL Server, five of StarRocks and an S3 that fails one
request in a hundred), every case of the fault matrix, and kills at random moments, on the sandbox.
Unlike the other benchmarks it measures no speed: its goals are nothing lost, nothing doubled,
nothing left open, and memory that does not grow with the number of tables.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from migration_assets_tests.reliability import fault_matrix, kill_matrix
from migration_assets_tests.reliability.kill_page import page
from migration_assets_tests.reliability.soak import (
    AT_ONCE,
    FULL,
    LIMITS,
    Look,
    Size,
    Soak,
    sandbox_of,
    soak,
)

GROWTH_GOAL = 1.25
"""Memory of the run's processes at the end of the soak, over that after the first looks."""
MIB = 2**20


@dataclass(frozen=True)
class Line:
    """One line of the table; `met` is None where there is no goal."""

    what: str
    found: str
    goal: str = ""
    met: bool | None = None


def soak_lines(found: Soak, tables: int) -> Iterator[Line]:
    """What became of the soak."""
    arrived, lost, doubled = 0, 0, 0
    for table in found.report.get("tables", {}).values():
        source, target = (table["rows"].get(name) or 0 for name in ("mssql", "starrocks"))
        arrived += source == target
        lost += max(source - target, 0)
        doubled += max(target - source, 0)
    rows = f"{found.rows.get('starrocks', 0):,} rows" if found.report else "no report"
    yield Line(
        f"tables of the soak that arrived ({rows})", f"{arrived} of {tables}", "all",
        arrived == tables and found.code == 0,
    )  # fmt: skip
    yield Line("rows lost / doubled", f"{lost:,} / {doubled:,}", "0 / 0", lost == doubled == 0)
    yield Line("S3 requests answered with 503 meanwhile", f"{found.failed_requests:,}")
    for name, counted in found.counters.items():
        limit, left = LIMITS[name], found.still_open[name]
        yield Line(
            f"connections to {name}: at most / refused / left open",
            f"{counted.max_open} / {counted.refused} / {left}", f"≤ {limit} / 0 / 0",
            counted.max_open <= limit and counted.refused == left == 0,
        )  # fmt: skip
    if len(found.looks) < 2:
        return
    # The pool of worker processes is complete, and warm, at the second look.
    early, late = found.looks[1], found.looks[-1]
    growth = late.memory / early.memory
    yield Line(
        f"memory of all processes after {early.tables} / {late.tables} tables, at most",
        f"{early.memory / MIB:,.0f} / {late.memory / MIB:,.0f}, "
        f"{max(look.memory for look in found.looks) / MIB:,.0f} MiB",
        f"≤ {GROWTH_GOAL} x", growth <= GROWTH_GOAL,
    )  # fmt: skip
    yield Line(
        "memory of the largest process, at most",
        f"{max(look.largest for look in found.looks) / MIB:,.0f} MiB",
    )
    yield Line(
        f"file descriptors / threads of a process after {early.tables} and {late.tables} tables",
        f"{early.files} / {early.threads} and {late.files} / {late.threads}",
    )


def fault_lines(found: list[fault_matrix.Outcome]) -> Iterator[Line]:
    """The cases of the fault matrix by what became of them."""
    for outcome in found:
        if outcome.fault:
            print(f"{outcome.system}, {outcome.name}, {outcome.stage}: {outcome.fault}")
    good = [outcome for outcome in found if not outcome.fault]
    transient = sum(outcome.transient for outcome in good)
    yield Line(
        "faults: to be tried again / refused in one sentence / otherwise",
        f"{transient} / {len(good) - transient} / {len(found) - len(good)}",
        f"{len(found)} as their table says", len(good) == len(found),
    )  # fmt: skip


def kill_lines(found: kill_matrix.KillMatrixResult) -> Iterator[Line]:
    """What became of the kills."""
    yield Line(
        "kills at random moments survived", f"{found.survived} of {found.kills}",
        f"all of {found.asked}", found.survived == found.kills == found.asked,
    )  # fmt: skip
    yield Line(
        "rows lost / doubled by them", f"{found.rows_lost:,} / {found.rows_doubled:,}", "0 / 0",
        found.rows_lost == found.rows_doubled == 0,
    )  # fmt: skip
    yield Line(
        "orphaned files found / left after maintenance",
        f"{found.orphans_found} / {found.orphans_left}", "0 left", found.orphans_left == 0,
    )  # fmt: skip
    yield Line(
        "connections they left open", str(found.open_connections), "0", found.open_connections == 0
    )


def _show(look: Look) -> None:
    print(
        f"{look.tables} tables, {look.seconds:.0f} s, {look.memory / MIB:,.0f} MiB in "
        f"{look.processes} processes, {look.files} files, {look.threads} threads",
        flush=True,
    )


def main() -> int:
    """Run all three and print the table; 1 when a goal is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reliability", description=__doc__)
    parser.add_argument("--share", type=float, default=1.0, help="of the soak's tables")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=315)
    parser.add_argument("--kill-page", type=Path, help="where the page of the kills goes")
    options = parser.parse_args()
    sizes = [Size(max(round(one.tables * options.share), 1), one.rows) for one in FULL]
    lines: list[Line] = []
    with (
        tempfile.TemporaryDirectory(prefix="soak") as name,
        sandbox_of(Path(name), sizes) as sandbox,
    ):
        found = soak(Path(name), sandbox, every=20, settings=AT_ONCE, show=_show)
        lines += soak_lines(found, sum(one.tables for one in sizes))
    with tempfile.TemporaryDirectory(prefix="faults") as name:
        lines += fault_lines(fault_matrix.outcomes(Path(name)))
    with tempfile.TemporaryDirectory(prefix="kills") as name:
        killed = kill_matrix.run(options.kills, options.seed, Path(name))
    lines += kill_lines(killed)
    if options.kill_page is not None:
        options.kill_page.write_text(page(killed), encoding="utf-8")
    print("\n| what | found | goal | met |\n|---|---|---|---|")
    for line in lines:
        met = {None: "", True: "yes", False: "NO"}[line.met]
        print(f"| {line.what} | {line.found} | {line.goal} | {met} |")
    return int(any(line.met is False for line in lines))


if __name__ == "__main__":
    sys.exit(main())

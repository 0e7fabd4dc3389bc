"""A database of many tables migrated in one go through servers that admit few connections.

`make soak` moves 342 tables (300 of 1,000 rows, 30 of 50,000, 12 of 500,000); the tests move a small
likeness of them. S3 fails 1 % of the requests. What the run's processes hold (memory, file
descriptors, threads) is looked at as tables are finished, connections are counted by the servers.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from migration_assets.sandbox.control import Counters, Fault
from migration_assets.sandbox.launcher import Sandbox
from migration_assets_tests.sandbox.project import Project, Statements, await_closed

LIMITS = {"sqlserver": 4, "starrocks": 5}
AT_ONCE = {"MIGRATION_CONCURRENT_RUNS": str(LIMITS["sqlserver"])}
"""As many steps as SQL Server admits connections."""
S3_FAILURES_PERCENT = 1.0
LOOK_EVERY_S = 0.5


@dataclass(frozen=True)
class Size:
    """How many tables of how many rows; rows are a power of ten or half of one."""

    tables: int
    rows: int


FULL = (Size(300, 1_000), Size(30, 50_000), Size(12, 500_000))
SMALL = (Size(14, 100), Size(1, 10_000))

_DIGITS = "(VALUES (0),(1),(2),(3),(4),(5),(6),(7),(8),(9))"
_KINDS = (
    # name, declaration of the key, columns of the key, select expressions over the number n
    ("by_int", "id int NOT NULL", "id", "n"),
    ("by_bigint", "id bigint NOT NULL", "id", "CAST(n AS bigint) * 1000003"),
    ("by_decimal", "id decimal(18, 0) NOT NULL", "id", "CAST(n AS decimal(18, 0)) * 7"),
    ("by_two", "id int NOT NULL, line int NOT NULL", "id, line", "n / 4, n % 4"),
    ("by_text", "code varchar(20) NOT NULL", "code", "CONCAT('K', CAST(10000000 + n AS varchar(10)))"),
    ("heap", "id int NULL", "", "n"),
)  # fmt: skip
_VALUES = (
    ("name", "nvarchar(40) NULL", "CONCAT(N'name ', CAST(n AS nvarchar(10)))"),
    ("amount", "decimal(12, 2) NULL", "CAST(n AS decimal(12, 2)) / 4"),
    ("ratio", "float NULL", "CAST(n AS float) / 8"),
    ("at", "datetime2(3) NULL", "DATEADD(second, n, CAST('2024-01-01T00:00:00' AS datetime2(3)))"),
    ("flag", "bit NULL", "CAST(n % 2 AS bit)"),
    ("note", "varchar(60) NULL", "CASE WHEN n % 3 = 0 THEN NULL ELSE 'the same note for many' END"),
)  # fmt: skip


def schema_sql(sizes: Sequence[Size]) -> str:
    """T-SQL that makes the tables and fills them, of each kind of key in turn."""
    statements = []
    for size in sizes:
        for number in range(size.tables):
            kind, declared, key, expressions = _KINDS[number % len(_KINDS)]
            name = f"dbo.{kind}_{size.rows}_{number:03d}"
            columns = [declared, *(f"[{column}] {kind}" for column, kind, _ in _VALUES)]
            if key:
                columns.append(f"PRIMARY KEY ({key})")
            values = ", ".join([expressions, *(expression for *_, expression in _VALUES)])
            statements.append(f"CREATE TABLE {name} ({', '.join(columns)});")
            statements.append(
                f"INSERT INTO {name} SELECT {values} FROM ({_numbers(size.rows)}) AS s;"
            )
    return "\nGO\n".join([*statements, ""])


def _numbers(rows: int) -> str:
    """A query of the numbers 0 to `rows` - 1, as column n."""
    digits = len(str(rows - 1))
    places = " + ".join(f"d{i}.v * {10**i}" for i in range(digits))
    joined = " CROSS JOIN ".join(f"{_DIGITS} AS d{i}(v)" for i in range(digits))
    return f"SELECT {places} AS n FROM {joined} WHERE {places} < {rows}"


@dataclass(frozen=True)
class Look:
    """What the processes of a run held at one moment.

    Attributes:
        tables: finished until then.
        memory: resident bytes of all processes together.
        largest: of the largest of them.
        files: open file descriptors of the process that has most.
        threads: likewise.
    """

    seconds: float
    tables: int
    processes: int
    memory: int
    largest: int
    files: int
    threads: int


@dataclass
class Soak:
    """What came of it.

    Attributes:
        looks: in order of time.
        counters: what each server counted.
        still_open: connections that were open when the run had ended.
        failed_requests: requests that S3 answered with 503.
        report: the run's own.
    """

    code: int
    seconds: float
    looks: list[Look]
    counters: dict[str, Counters]
    still_open: dict[str, int]
    failed_requests: int
    report: dict[str, Any] = field(default_factory=dict)

    @property
    def rows(self) -> dict[str, int]:
        """Rows in each system, of all tables."""
        total: Counter[str] = Counter()
        for table in self.report["tables"].values():
            total.update({system: rows or 0 for system, rows in table["rows"].items()})
        return dict(total)


@contextlib.contextmanager
def sandbox_of(folder: Path, sizes: Sequence[Size]) -> Iterator[Sandbox]:
    """Stand-ins with the tables; servers admit few connections, S3 fails now and then."""
    script = folder / "tables.sql"
    script.write_text(schema_sql(sizes), encoding="utf-8")
    with Sandbox(
        scale=None, limits=LIMITS, statements_dir=folder / "statements",
        extra_arguments={"sqlserver": [f"--script={script}"]},
    ) as sandbox:  # fmt: skip
        yield sandbox


def soak(
    folder: Path,
    sandbox: Sandbox,
    *,
    every: int,
    settings: dict[str, str],
    show: Callable[[Look], None] = lambda _: None,
) -> Soak:
    """Plan and run; look at the processes each time `every` tables more are finished.

    Args:
        folder: of the project; the sandbox's statements lie in it.
        sandbox: with the tables.
        every: after how many finished tables they are looked at.
        settings: beside those of the sandbox.
        show: gets each look.
    """
    project = Project(folder, {**sandbox.settings, **settings})
    project.run("doctor", "--fix").ok()
    project.run("plan").ok()
    failures = Fault("unavailable", percent=S3_FAILURES_PERCENT)
    sandbox.control("aws").arm(failures)
    started = time.monotonic()
    looks: list[Look] = []
    loads = _Loads(folder / "statements" / "starrocks.jsonl", project.plan)
    try:
        process = project.start_run()
        while process.poll() is None:
            time.sleep(LOOK_EVERY_S)
            if loads.tables() >= (looks[-1].tables + every if looks else 1):
                look = _look(process.pid, time.monotonic() - started, loads.tables())
                if look is not None:
                    looks.append(look)
                    show(look)
    finally:
        project.close()
        sandbox.control("aws").arm()
    requests = Statements(folder / "statements" / "aws.jsonl")
    report = folder / "report.json"
    return Soak(
        code=process.returncode,
        seconds=time.monotonic() - started,
        looks=looks,
        counters={name: sandbox.control(name).state() for name in LIMITS},
        still_open={name: await_closed(sandbox, name) for name in LIMITS},
        failed_requests=len([e for e in requests.entries("", "error") if e["status"] == 503]),
        report=project.report if report.exists() else {},
    )


class _Loads:
    """Counts the tables all of whose partitions StarRocks has loaded, by its log."""

    def __init__(self, log: Path, plan: dict[str, Any]) -> None:
        self._log = log
        self._place = 0
        self._left = Counter(
            {
                f"`{t['starrocks_database']}`.`{t['starrocks_table']}`": len(t["key_ranges"])
                for t in plan["tables"]
            }
        )

    def tables(self) -> int:
        """Tables that are finished by now."""
        with self._log.open(encoding="utf-8") as file:
            file.seek(self._place)
            while (line := file.readline()).endswith("\n"):
                self._place = file.tell()
                entry = json.loads(line)
                if entry["outcome"] == "ok" and entry["statement"].startswith("INSERT OVERWRITE "):
                    self._left[entry["statement"].split()[2]] -= 1
        return sum(left <= 0 for left in self._left.values())


def descendants(process: int) -> set[int]:
    """A process and all that descend from it."""
    parents: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            # The name, in brackets, may hold spaces; the parent is the second field behind it.
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
    tree = {process}
    while grown := {child for child, parent in parents.items() if parent in tree} - tree:
        tree |= grown
    return tree


def command_of(process: int) -> str:
    """The command line of a process; empty when it is gone."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{process}/cmdline").read_text(errors="replace").replace("\0", " ")
    return ""


def _look(process: int, seconds: float, tables: int) -> Look | None:
    """Look at a process and all that descend from it; None when it has just ended."""
    memory, files, threads = [], [0], [0]
    for one in descendants(process):
        with contextlib.suppress(OSError):
            lines = Path(f"/proc/{one}/status").read_text().splitlines()
            status = dict(line.split(":", 1) for line in lines)
            count = sum(1 for _ in Path(f"/proc/{one}/fd").iterdir())
            memory.append(int(status["VmRSS"].split()[0]) * 1024 if "VmRSS" in status else 0)
            threads.append(int(status["Threads"]))
            files.append(count)
    if not any(memory):
        return None
    return Look(seconds, tables, len(memory), sum(memory), max(memory), max(files), max(threads))


def main() -> int:
    """Run the soak of full size, or of a part of it; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m migration_assets_tests.reliability.soak")
    parser.add_argument("--share", type=float, default=1.0, help="of the tables of each size")
    parser.add_argument("--every", type=int, default=20, metavar="TABLES")
    options = parser.parse_args()
    sizes = [Size(max(round(one.tables * options.share), 1), one.rows) for one in FULL]
    with tempfile.TemporaryDirectory(prefix="soak") as folder, sandbox_of(Path(folder), sizes) as s:
        print(f"{sum(one.tables for one in sizes)} tables, "
              f"{sum(one.tables * one.rows for one in sizes):,} rows; "
              f"SQL Server admits {LIMITS['sqlserver']} connections, StarRocks "
              f"{LIMITS['starrocks']}, S3 fails {S3_FAILURES_PERCENT:g} % of the requests\n")  # fmt: skip
        print(f"{'tables':>7}{'seconds':>9}{'processes':>11}{'MiB in all':>12}{'largest':>9}"
              f"{'files':>7}{'threads':>9}")  # fmt: skip
        found = soak(Path(folder), s, every=options.every, settings=AT_ONCE, show=_show)
        if found.code:
            print((Path(folder) / "output").read_text()[-3000:])
    print(f"\nexit code {found.code} after {found.seconds:.0f} s")
    for name, counted in found.counters.items():
        print(f"{name}: at most {counted.max_open} of {LIMITS[name]} connections, "
              f"{counted.refused} refused, {found.still_open[name]} left open")  # fmt: skip
    print(f"S3: {found.failed_requests} requests answered with 503")
    if found.report:
        print("rows: " + ", ".join(f"{count:,} in {name}" for name, count in found.rows.items()))
    return found.code


def _show(look: Look) -> None:
    print(
        f"{look.tables:>7}{look.seconds:>9.0f}{look.processes:>11}{look.memory / 2**20:>12.0f}"
        f"{look.largest / 2**20:>9.0f}{look.files:>7}{look.threads:>9}",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())

"""What a run costs when there are no rows to move: `python -m benchmarks.overhead`.

342 tables, 1,546 partitions, 4,638 asset partitions with next to no rows go through the real
`migration-assets plan` and `run` on the sandbox. The stand-ins log how long each statement took
them, so that what is ours and Dagster's can be told from what is theirs.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.measurement import (
    Cost,
    hand_back,
    in_process,
    measured,
    median,
    peak_memory,
    print_goals,
)
from migration_assets.plan import MigrationPlan

TABLES = 342
PARTITIONS = 8
"""Of every second table; the others have one, which makes 1,546 partitions of 342 tables."""
STEP_GOAL_S, LOAD_GOAL_S = 0.1, 3.0

SMALL, WIDE = "small", "wide"
STAGES = ("mssql", "iceberg", "starrocks")
_COLUMNS = """
    id int NOT NULL PRIMARY KEY,
    name nvarchar(50) NOT NULL,
    amount decimal(12, 2) NULL,
    changed_at datetime2(3) NULL,
    remark varchar(100) NULL"""


def schema_sql(tables: int) -> str:
    """T-SQL that makes the tables, eight rows in each."""
    rows = ", ".join(
        f"({n}, N'name {n}', {n}.25, '2024-05-0{n}T10:00:00.123', 'none')" for n in range(1, 9)
    )
    statements = []
    for number in range(tables):
        name = _name(number, tables)
        statements.append(f"CREATE TABLE dbo.{name} ({_COLUMNS}\n);")
        statements.append(f"INSERT INTO dbo.{name} VALUES {rows};")
    return "\nGO\n".join(statements)


def _name(number: int, tables: int) -> str:
    small = number < tables - _wide_tables(tables)
    return f"{SMALL if small else WIDE}_{number:03d}"


def _wide_tables(tables: int) -> int:
    return tables // 2 + 1


def load_definitions() -> Cost:
    """Load the definitions of the plan in this process, Dagster's own import apart."""
    started = time.perf_counter()
    import dagster  # noqa: F401

    imported, before = time.perf_counter() - started, peak_memory()
    with measured(Cost()) as cost:
        from migration_assets.definitions import defs

        assert defs.metadata
    cost.detail = {"dagster": imported, "grown": cost.peak - before}
    return cost


def logged(folder: Path) -> dict[str, tuple[int, float]]:
    """Statements (or requests) that each stand-in has received, and the seconds it took for them."""
    work = {}
    for log in sorted(folder.glob("*.jsonl")):
        lines = log.read_text(encoding="utf-8").splitlines()
        entries = [json.loads(line) for line in lines if '"seconds"' in line]
        work[log.stem] = (len(entries), sum(entry["seconds"] for entry in entries))
    return work


def command(arguments: list[str], folder: Path) -> None:
    """Run a command of ours in a folder.

    Raises:
        SystemExit: it failed; its output is shown.
    """
    done = subprocess.run(
        [sys.executable, "-m", "migration_assets", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise SystemExit(f"{arguments[0]} failed:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")


def compare(options: argparse.Namespace) -> bool:
    """Start the sandbox, plan, load the definitions, run, and print what it cost."""
    from migration_assets.sandbox.launcher import Sandbox
    from migration_assets.settings import ProjectSettings

    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        script = folder / "tables.sql"
        script.write_text(schema_sql(options.tables), encoding="utf-8")
        rules = {"tables": {f"dbo.{WIDE}_*": {"partitions": PARTITIONS}}}
        (folder / "migration.yaml").write_text(json.dumps(rules), encoding="utf-8")
        arguments = {"sqlserver": [f"--script={script}"]}
        logs = folder / "statements"
        with Sandbox(scale=None, statements_dir=logs, extra_arguments=arguments) as sandbox:
            os.environ.update(sandbox.settings)
            command(["doctor", "--fix"], folder)
            command(["plan"], folder)
            path = folder / "migration_plan.json"
            loads = [
                in_process("benchmarks.overhead", "--load", settings={"MIGRATION_PLAN": str(path)})
                for _ in range(options.repeats)
            ]
            load = median(loads)
            if options.no_run:
                return print_goals([show_load(load, options.tables)])
            before, used = logged(logs), _children_cpu()
            started = time.perf_counter()
            command(["run"], folder)
            wall, cpu = time.perf_counter() - started, _children_cpu() - used
            after = logged(logs)
        tables = MigrationPlan.load(path).tables
    partitions = sum(len(table.partition_keys) for table in tables)
    steps = partitions * len(STAGES)
    slots = ProjectSettings.load().run_slots
    print(f"{len(tables)} tables, {partitions} partitions, {steps} asset partitions")
    print(f"run: {wall:.0f} s with {slots} worker processes\n\nper asset partition:")
    theirs = 0.0
    for name, (count, seconds) in after.items():
        count_before, seconds_before = before.get(name, (0, 0.0))
        each = (seconds - seconds_before) / steps
        theirs += each
        print(f"  {name:<12}{(count - count_before) / steps:>6.2f} statements {each:>7.3f} s")
    occupied = wall * slots / steps
    print(f"  all          {occupied:.3f} s of a worker process, {cpu / steps:.3f} s of CPU")
    print(f"  ours and Dagster's {occupied - theirs:.3f} s\n")
    step = ("ours and Dagster's, an asset partition", occupied - theirs, STEP_GOAL_S, "s")
    return print_goals([step, show_load(load, len(tables))])


def show_load(load: Cost, tables: int) -> tuple[str, float, float, str]:
    """Print what loading the definitions cost; return its goal."""
    grown, peak = load.detail["grown"] / 2**20, load.peak / 2**20
    print(f"definitions: {load.wall:.2f} s, {load.cpu:.2f} s of CPU, {grown:.0f} MiB,")
    print(
        f"             after {load.detail['dagster']:.2f} s for `import dagster`; {peak:.0f} MiB in all\n"
    )
    return (f"loading definitions of {tables} tables", load.wall, LOAD_GOAL_S, "s")


def _children_cpu() -> float:
    """CPU seconds of all ended child processes and theirs."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.overhead")
    parser.add_argument("--tables", type=int, default=TABLES)
    parser.add_argument("--repeats", type=int, default=5, help="of loading the definitions")
    parser.add_argument("--no-run", action="store_true", help="only load the definitions")
    parser.add_argument("--keep", type=Path, help="folder for plan, history and logs")
    parser.add_argument("--load", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.load:
        hand_back(load_definitions())
        return
    sys.exit(0 if compare(options) else 1)


if __name__ == "__main__":
    main()

"""What a commit costs as a table's history grows: `python -m benchmarks.commit`.

Three parts, on the sandbox's Glue and S3 (or those of the settings, when S3_BUCKET is set):

- 1,000 commits of one partition each to one table. Between them the older snapshots are backdated
  by two hours, as if a day had passed, so that expiry takes place as in production.
- One commit of 1,000 partitions, to an empty table and over itself.
- Four processes that commit different partitions of one table at once; all must land.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from benchmarks.measurement import ROOT, Cost, measured, median, print_goals
from migration_assets.column_plan import ColumnPlan
from migration_assets.iceberg.commit import commit, partition_rows
from migration_assets.iceberg.data_files import write_data_files
from migration_assets.iceberg.intents import StoredIntents
from migration_assets.iceberg.lake import Lake
from migration_assets.key_range import KeyRange
from migration_assets.plan import TablePlan
from migration_assets.receipts import ExtractReceipt, Fingerprint
from migration_assets.settings import LakeSettings
from migration_assets.type_mapping import arrow_schema, audit_columns

ROWS = 10
BACKDATE_EVERY, BACKDATE_MS = 10, 2 * 3600 * 1000
AROUND = 5
"""Commits whose median counts as "the 100th": a single one may meet an expiry or a busy machine."""
HUNDREDTH_GOAL_S, GROWTH_GOAL, BULK_GOAL_S = 0.2, 5.0, 5.0


def table_plan(lake: Lake, name: str, partitions: int) -> TablePlan:
    """A table of two columns, cut into many partitions."""
    columns = (
        _column("id", 1, "bigint", "long", "bigint"),
        _column("name", 2, "nvarchar(50)", "string", "text"),
    )
    return TablePlan(
        source_server="benchmark",
        source_database="benchmark",
        source_schema="dbo",
        source_name=name,
        rows=ROWS * partitions,
        columns=columns,
        audit_columns=audit_columns(3),
        key_ranges=tuple(KeyRange(source_partition=number) for number in range(partitions)),
        namespace="benchmark",
        iceberg_table=name,
        location=f"{lake.settings.warehouse}/benchmark/{name}",
        starrocks_database="benchmark",
        starrocks_table=name,
        sort_key=("id",),
    )


def _column(
    name: str, field_id: int, mssql_type: str, iceberg_type: str, measure: str
) -> ColumnPlan:
    return ColumnPlan(
        name=name,
        field_id=field_id,
        iceberg_type=iceberg_type,
        starrocks_type="BIGINT",
        source_name=name,
        mssql_type=mssql_type,
        select_expression=f"[{name}]",
        measure=measure,
    )


def extracted(lake: Lake, table: TablePlan, number: int) -> ExtractReceipt:
    """Write a small file for a partition, and the receipt of it."""
    attempt, now = uuid.uuid4().hex, datetime.now(UTC)
    ids = range(number * ROWS, (number + 1) * ROWS)
    rows = {
        "id": list(ids),
        "name": [f"row {i}" for i in ids],
        "migrated_at": [now] * ROWS,
        "source_schema": ["dbo"] * ROWS,
        "source_partition": [number] * ROWS,
    }
    batch = pa.RecordBatch.from_pydict(rows, schema=arrow_schema(table))
    return ExtractReceipt(
        table_id=table.table_id,
        partition_key=table.partition_keys[number],
        source_partition=number,
        attempt=attempt,
        run_id="benchmark",
        rows=ROWS,
        seconds=0.0,
        files=write_data_files([batch], table, number, attempt, lake.store),
        fingerprint=Fingerprint(rows=ROWS),
        source_fingerprint=None,
        consistency="read committed",
        extracted_at=now,
    )


def committed(lake: Lake, table: TablePlan, receipts: Sequence[ExtractReceipt]) -> Cost:
    """Commit receipts and return what it cost."""
    root = f"{lake.settings.warehouse}/.intents/{table.iceberg_table}"
    with measured(Cost()) as cost:
        commit(
            lake,
            table,
            receipts,
            run_id="benchmark",
            plan_id="benchmark",
            intents=StoredIntents(lake.store, root),
        )
    return cost


def backdate(lake: Lake, table: TablePlan) -> int:
    """Make every snapshot but the current one two hours older; return how many there are.

    Metadata files never change, and what this process has read it does not read again: the older
    ones stand in a file of another name, which the catalog is told of.
    """
    found = lake.catalog.load_table((table.namespace, table.iceberg_table))
    body: dict[str, Any] = json.loads(lake.store.read(found.metadata_location))
    current = body["current-snapshot-id"]
    for entry in (*body["snapshots"], *body["snapshot-log"]):
        if entry["snapshot-id"] != current:
            entry["timestamp-ms"] -= BACKDATE_MS
    folder, _, name = found.metadata_location.rpartition("/")
    number = name.partition("-")[0]
    location = f"{folder}/{number}-{uuid.uuid4()}.metadata.json"
    lake.store.write(location, json.dumps(body).encode())
    lake.catalog.drop_table(found.name())
    lake.catalog.register_table(found.name(), location)
    return len(body["snapshots"])


def many_commits(lake: Lake, count: int) -> list[Cost]:
    """Commit so many partitions one by one; return what each cost."""
    table = table_plan(lake, f"one_by_one_{uuid.uuid4().hex[:8]}", count)
    costs, most = [], 0
    for number in range(count):
        receipt = extracted(lake, table, number)
        costs.append(committed(lake, table, [receipt]))
        if (number + 1) % BACKDATE_EVERY == 0:
            most = max(most, backdate(lake, table))
        if (number + 1) % 100 == 0:
            near = _near(costs, number)
            print(f"  the {number + 1:>4}th took {near.wall:.3f} s, {near.cpu:.3f} s of CPU")
    _check(lake, table, count)
    print(f"  at most {most} snapshots were listed")
    return costs


def bulk_commit(lake: Lake, count: int) -> tuple[Cost, Cost]:
    """One commit of all partitions, then another that replaces them all."""
    table = table_plan(lake, f"at_once_{uuid.uuid4().hex[:8]}", count)
    first, second = ([extracted(lake, table, n) for n in range(count)] for _ in range(2))
    result = committed(lake, table, first), committed(lake, table, second)
    _check(lake, table, count)
    return result


def concurrent_commits(lake: Lake, processes: int, each: int) -> float:
    """Let processes commit different partitions of one table at once; return the seconds."""
    name = f"together_{uuid.uuid4().hex[:8]}"
    table = table_plan(lake, name, processes * each)
    started = time.perf_counter()
    children = []
    for number in range(processes):
        words = [f"--writer={name}", f"--partitions={processes * each}"]
        words += [f"--first={number * each}", f"--each={each}"]
        command = [sys.executable, "-m", "benchmarks.commit", *words]
        children.append(subprocess.Popen(command, cwd=ROOT, env=os.environ.copy()))
    codes = [child.wait(600) for child in children]
    if any(codes):
        raise SystemExit(f"A writer failed: exit codes {codes}")
    seconds = time.perf_counter() - started
    _check(lake, table, processes * each)
    return seconds


def write(name: str, partitions: int, first: int, each: int) -> None:
    """What one of the concurrent processes does."""
    with Lake(LakeSettings.load()) as lake:
        table = table_plan(lake, name, partitions)
        for number in range(first, first + each):
            committed(lake, table, [extracted(lake, table, number)])


def _check(lake: Lake, table: TablePlan, count: int) -> None:
    found = partition_rows(lake, table)
    lost = [number for number in range(count) if found.get(number) != ROWS]
    if lost:
        raise SystemExit(f"{table.iceberg_table}: partitions {lost} were lost")


def _near(costs: Sequence[Cost], position: int) -> Cost:
    """Median of the commits around one."""
    return median(costs[max(position - AROUND, 0) : position + AROUND + 1])


def compare(options: argparse.Namespace) -> bool:
    """Run the three parts and print what they found."""
    from migration_assets.sandbox.launcher import Sandbox

    with ExitStack() as stack:
        if "S3_BUCKET" not in os.environ:
            os.environ.update(stack.enter_context(Sandbox(["aws"])).settings)
        os.environ["S3_WAREHOUSE_PATH"] = "benchmark"
        lake = stack.enter_context(Lake(LakeSettings.load()))
        print(f"{options.commits} commits of one partition each")
        costs = many_commits(lake, options.commits)
        print(f"One commit of {options.commits} partitions")
        empty, over = bulk_commit(lake, options.commits)
        for name, cost in (("to an empty table", empty), ("over itself", over)):
            print(f"  {name:<18}{cost.wall:.2f} s, {cost.cpu:.2f} s of CPU")
        print(f"{options.processes} processes, {options.each} commits each, at once")
        together = concurrent_commits(lake, options.processes, options.each)
        print(f"  all landed in {together:.1f} s, starting the processes included\n")
    tenth, hundredth, last = (_near(costs, n - 1).wall for n in (10, 100, len(costs)))
    print(f"10th {tenth:.3f} s, 100th {hundredth:.3f} s, {len(costs)}th {last:.3f} s")
    return print_goals(
        [
            ("100th commit", hundredth, HUNDREDTH_GOAL_S, "s"),
            (f"{len(costs)}th commit", last / tenth, GROWTH_GOAL, "x the 10th"),
            (
                f"one commit of {options.commits} partitions",
                max(empty.wall, over.wall),
                BULK_GOAL_S,
                "s",
            ),
        ]
    )


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.commit")
    parser.add_argument("--commits", type=int, default=1000, help="at least 100")
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--each", type=int, default=25, help="commits of each process")
    parser.add_argument("--writer", help=argparse.SUPPRESS)
    parser.add_argument("--partitions", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--first", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.writer is not None:
        write(options.writer, options.partitions, options.first, options.each)
        return
    if options.commits < 100:
        parser.error("--commits must be at least 100: the 100th has a goal")
    sys.exit(0 if compare(options) else 1)


if __name__ == "__main__":
    main()

"""What an extraction costs against a bare read of the same rows: `python -m benchmarks.extract`.

Variants, alternating, each in a process of its own:

- `bare read`: mssql-python's `arrow_reader` to the last batch, which is thrown away.
- `extract`: the product's own function: read, cast, Arrow fingerprint, Parquet to S3; without SQL
  Server's fingerprint query.
- `extract + commit`: likewise, then the commit to the Iceberg table.
- `fingerprint query`: what SQL Server takes for its side of the fingerprint.
- `pymssql tuples`: `fetchmany` on the same query, as users do it without Arrow.

Without S3_BUCKET, `extract` writes to an S3 that keeps nothing (`benchmarks.sink`) and `extract +
commit` to the sandbox's. Without MSSQL_HOST the stand-in is used. It can replay an answer encoded beforehand (`--replay`, the
default there), so that it takes next to no core from the client.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import sink, source
from benchmarks.measurement import (
    Cost,
    alternate,
    hand_back,
    in_process,
    measured,
    print_goals,
    print_table,
)
from migration_assets.choices import VerificationLevel
from migration_assets.plan import MigrationPlan, TablePlan

if TYPE_CHECKING:
    import pyarrow as pa

    from migration_assets.iceberg.lake import Lake
    from migration_assets.mssql.client import SqlServer
    from migration_assets.mssql.reader import PartitionRead
    from migration_assets.receipts import ExtractReceipt

BARE, EXTRACT, COMMIT = "bare read", "extract", "extract + commit"
QUERY, TUPLES = "fingerprint query", "pymssql tuples"
WALL_GOAL, CPU_GOAL, PEAK_GOAL_MB = 1.25, 1.6, 600
REPLAYED = r"^SELECT (?!COUNT).*FROM \[dbo\]\.\[Movements\]"
"""The statement that reads the rows; the fingerprint's begins with COUNT_BIG."""


class WithoutQuery:
    """A partition's rows without SQL Server's side of the fingerprint."""

    def __init__(self, read: PartitionRead) -> None:
        """Take what reads; its owner closes it."""
        self._read = read
        self.consistency = read.consistency

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The rows."""
        return self._read.batches()

    def fingerprint(self) -> None:
        """Nothing was asked."""

    @property
    def replacement(self) -> str:
        """What the reader has in the place of invalid text."""
        return self._read.replacement

    def refuse_invalid_text(self, columns: Sequence[str]) -> Sequence[str]:
        """Ask the server."""
        return self._read.refuse_invalid_text(columns)


def run_variant(variant: str, plan: MigrationPlan) -> Cost:
    """Do one variant's work in this process."""
    from migration_assets.iceberg.lake import Lake
    from migration_assets.mssql.client import SqlServer
    from migration_assets.settings import LakeSettings, MssqlSettings

    (table,) = plan.tables
    with SqlServer(MssqlSettings.load()) as mssql, Lake(LakeSettings.load()) as lake:
        return {
            BARE: bare_read,
            EXTRACT: extract_only,
            COMMIT: extract_and_commit,
            QUERY: fingerprint_query,
            TUPLES: tuples,
        }[variant](mssql, lake, table)


def bare_read(mssql: SqlServer, _: Lake, table: TablePlan) -> Cost:
    """Read all batches and drop them."""
    from migration_assets.mssql.select import select_sql

    (key_range,) = table.key_ranges
    count = 0
    with measured(Cost()) as cost, mssql.arrow_connection() as connection:
        cursor = connection.cursor()
        cursor.execute(select_sql(table, key_range))
        for batch in cursor.arrow_reader(batch_size=mssql.settings.batch_rows):
            count += batch.num_rows
    cost.detail = {"rows": count}
    return cost


def extract_only(mssql: SqlServer, lake: Lake, table: TablePlan) -> Cost:
    """Extract and remove the files."""
    prepare(lake)
    with measured(Cost()) as cost:
        receipt = extracted(mssql, lake, table)
    size = sum(file.bytes for file in receipt.files)
    cost.detail = {"rows": receipt.rows, "bytes": size, "files": len(receipt.files)}
    lake.store.delete([file.path for file in receipt.files])
    return cost


def extract_and_commit(mssql: SqlServer, lake: Lake, table: TablePlan) -> Cost:
    """Extract, and commit over what the last run committed."""
    from migration_assets.iceberg.commit import commit
    from migration_assets.iceberg.intents import StoredIntents

    prepare(lake)
    _ = lake.catalog
    intents = StoredIntents(lake.store, f"{lake.settings.warehouse}/.intents")
    with measured(Cost()) as cost:
        receipt = extracted(mssql, lake, table)
        commit(lake, table, [receipt], run_id="benchmark", plan_id="benchmark", intents=intents)
    cost.detail = {"rows": receipt.rows}
    return cost


def prepare(lake: Lake) -> None:
    """Import and open what a worker process has open already when it begins a partition."""
    import migration_assets.arrow_fingerprint
    import migration_assets.iceberg.commit
    import migration_assets.iceberg.data_files
    import migration_assets.mssql.reader  # noqa: F401

    lake.store.write(f"{lake.settings.warehouse}/.benchmark", b"")


def extracted(
    mssql: SqlServer,
    lake: Lake,
    table: TablePlan,
    level: VerificationLevel = VerificationLevel.FULL,
) -> ExtractReceipt:
    """What the mssql asset does for a partition, but for the fingerprint query."""
    from migration_assets.extraction import extract
    from migration_assets.iceberg.data_files import write_data_files
    from migration_assets.mssql.introspection import check_columns
    from migration_assets.mssql.reader import open_partition

    (key_range,), (partition_key,) = table.key_ranges, table.partition_keys
    attempt = uuid.uuid4().hex
    check_columns(mssql, table)
    write = partial(
        write_data_files,
        table=table,
        source_partition=key_range.source_partition,
        attempt=attempt,
        store=lake.store,
    )
    with open_partition(
        mssql,
        table,
        key_range,
        batch_rows=mssql.settings.batch_rows,
        level=level,
        snapshot=False,
    ) as read:
        rows = WithoutQuery(read)
        return extract(
            table, partition_key, rows, write, attempt=attempt, run_id="benchmark", level=level
        )


def fingerprint_query(mssql: SqlServer, _: Lake, table: TablePlan) -> Cost:
    """Let SQL Server measure the rows."""
    from migration_assets.mssql.reader import measure_partition

    (key_range,) = table.key_ranges
    with measured(Cost()) as cost:
        found = measure_partition(mssql, table, key_range, VerificationLevel.FULL)
    cost.detail = {"rows": found.rows}
    return cost


def tuples(mssql: SqlServer, _: Lake, table: TablePlan) -> Cost:
    """Fetch tuples with pymssql and drop them."""
    from migration_assets.mssql.select import select_sql

    (key_range,) = table.key_ranges
    count = 0
    with measured(Cost()) as cost, mssql.connection() as connection:
        cursor = connection.cursor()
        cursor.execute(select_sql(table, key_range))
        while rows := cursor.fetchmany(10_000):
            count += len(rows)
    cost.detail = {"rows": count}
    return cost


def make_plan(table: str) -> MigrationPlan:
    """Plan the one table as one partition."""
    from migration_assets.operations.planning import make_plan
    from migration_assets.rules import Rules
    from migration_assets.settings import LakeSettings, MssqlSettings

    rules = Rules.model_validate({"include": [table], "tables": {table: {"partitions": 1}}})
    return make_plan(MssqlSettings.load(), LakeSettings.load(), rules)


def compare(options: argparse.Namespace) -> bool:
    """Start what is not given by the settings, run all variants and print them."""
    from migration_assets.sandbox.launcher import Sandbox

    settings: dict[str, str] = {}
    with ExitStack() as stack:
        sinking: dict[str, str] = {}
        if "S3_BUCKET" not in os.environ:
            settings |= stack.enter_context(Sandbox(["aws"])).settings
            sinking = stack.enter_context(sink.running())
        if "MSSQL_HOST" not in os.environ:
            replay = None if options.no_replay else REPLAYED
            settings |= stack.enter_context(source.running(options.rows, replay))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        settings["S3_WAREHOUSE_PATH"] = "benchmark"
        os.environ.update(settings)
        plan = make_plan(options.table)
        path = folder / "migration_plan.json"
        path.write_text(plan.to_json(), encoding="utf-8")

        def run(variant: str) -> Cost:
            words = ("--variant", variant, "--plan", str(path))
            target = sinking if variant == EXTRACT else {}
            return in_process("benchmarks.extract", *words, settings=settings | target)

        run(BARE)  # encodes the answer that will be replayed; warms a real server's cache
        costs = alternate(options.only or [BARE, EXTRACT, COMMIT], options.repeats, run)
        if not options.only:
            costs |= alternate([QUERY, TUPLES], 1, run)
    counts = {cost.detail["rows"] for runs in costs.values() for cost in runs}
    if len(counts) != 1:
        raise SystemExit(f"The variants read different numbers of rows: {sorted(counts)}")
    table = plan.tables[0]
    print(f"{table.full_name}: {counts.pop():,} rows x {len(table.columns)} columns\n")
    medians = print_table(costs, base=BARE if BARE in costs else next(iter(costs)))
    if not {BARE, EXTRACT} <= medians.keys():
        return True
    print(f"\nParquet: {medians[EXTRACT].detail['bytes'] / 2**20:.1f} MiB")
    return print_goals(
        [
            ("extract, wall", medians[EXTRACT].wall / medians[BARE].wall, WALL_GOAL, "x bare"),
            ("extract, CPU", medians[EXTRACT].cpu / medians[BARE].cpu, CPU_GOAL, "x bare"),
            ("extract, peak memory", medians[EXTRACT].peak / 1e6, PEAK_GOAL_MB, "MB"),
        ]
    )


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.extract")
    parser.add_argument("--rows", type=int, default=2_000_000, help="of the stand-in's table")
    parser.add_argument("--table", default=source.TABLE, help="schema.table to read")
    parser.add_argument("--repeats", type=int, default=5, help="of each variant")
    parser.add_argument("--no-replay", action="store_true", help="let the stand-in encode anew")
    parser.add_argument("--only", action="append", choices=[BARE, EXTRACT, COMMIT, QUERY, TUPLES])
    parser.add_argument("--variant", help=argparse.SUPPRESS)
    parser.add_argument("--plan", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.variant is not None:
        hand_back(run_variant(options.variant, MigrationPlan.load(options.plan)))
        return
    sys.exit(0 if compare(options) else 1)


if __name__ == "__main__":
    main()

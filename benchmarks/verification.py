"""What verification finds, and what it costs: `python -m benchmarks.verification`.

Detection: for each kind of column, a table of random values, in which one thing is changed, many
times over; the share of changes that each level sees. Cost: the same extraction at each level, each
in a process of its own, alternating; SQL Server's side of the fingerprint apart, since the stand-in's
time for it says nothing of SQL Server's (with MSSQL_HOST a real one is asked).
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
import random
import tempfile
import uuid
from collections.abc import Callable
from contextlib import ExitStack
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa

from benchmarks import sink, source
from benchmarks.extract import REPLAYED, extracted, fingerprint_query, make_plan, prepare
from benchmarks.measurement import (
    Cost,
    alternate,
    hand_back,
    in_process,
    measured,
    print_goals,
    print_table,
)
from migration_assets.arrow_fingerprint import ArrowFingerprint
from migration_assets.choices import VerificationLevel
from migration_assets.plan import MigrationPlan, TablePlan
from migration_assets.planner import plan
from migration_assets.row_digest import ComparedColumns, RowDigest, RowHasher
from migration_assets.rules import Rules
from migration_assets.schema import Column, MssqlType, SourceDatabase, SourceTable, TableSchema
from migration_assets.type_mapping import arrow_schema

ROWS, TRIALS = 500, 200
COUNT, FULL, DIGEST = VerificationLevel.COUNT, VerificationLevel.FULL, VerificationLevel.ROWS
FULL_GOAL = 1.25
"""Of the extraction's time without verification."""
HASH = "read and hash"
QUERY = "fingerprint query"

Row = list[Any]


def moment(draw: random.Random) -> dt.datetime:
    """A moment of the last fifty years, in microseconds."""
    return dt.datetime.fromisoformat("1975-01-01") + dt.timedelta(
        microseconds=draw.randrange(50 * 31_557_600 * 10**6)
    )


def word(draw: random.Random) -> str:
    """Eight to twelve letters."""
    return "".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=draw.randint(8, 12)))


KINDS: dict[str, tuple[MssqlType, Callable[[random.Random], Any]]] = {
    "bit": (MssqlType("bit"), lambda draw: draw.random() < 0.5),
    "int": (MssqlType("int"), lambda draw: draw.randrange(10**6)),
    "bigint": (MssqlType("bigint"), lambda draw: draw.randrange(-(2**63), 2**63)),
    "decimal(18,4)": (
        MssqlType("decimal", 9, 18, 4),
        lambda draw: Decimal(draw.randrange(10**12)).scaleb(-4),
    ),
    "decimal(38,10)": (
        MssqlType("decimal", 17, 38, 10),
        lambda draw: Decimal(draw.randrange(-(10**37), 10**37)).scaleb(-10),
    ),
    "float": (MssqlType("float"), lambda draw: draw.gauss(0, 1000)),
    "date": (MssqlType("date"), lambda draw: moment(draw).date()),
    "time(3)": (
        MssqlType("time", scale=3),
        lambda draw: moment(draw).isoformat(timespec="milliseconds")[11:],
    ),
    "datetime2(6)": (MssqlType("datetime2", scale=6), moment),
    "uniqueidentifier": (
        MssqlType("uniqueidentifier"),
        lambda draw: str(uuid.UUID(int=draw.getrandbits(128))).upper(),
    ),
    "nvarchar": (MssqlType("nvarchar", 100), word),
    "varbinary": (MssqlType("varbinary", 50), lambda draw: draw.randbytes(draw.randint(8, 12))),
}


def change(rows: list[Row], draw: random.Random, value: Callable[[random.Random], Any]) -> None:
    """Another value."""
    row = draw.choice(rows)
    before = row[1]
    while row[1] == before:
        row[1] = value(draw)


def same_length(
    rows: list[Row], draw: random.Random, value: Callable[[random.Random], Any]
) -> None:
    """Another value, as long as the first where it has a length."""
    row = draw.choice(rows)
    before = row[1]
    while row[1] == before or (isinstance(before, (str, bytes)) and len(row[1]) != len(before)):
        row[1] = value(draw)


def exchange(rows: list[Row], draw: random.Random, _: object) -> None:
    """Two rows exchange their values."""
    first, second = draw.sample(rows, 2)
    while first[1] == second[1]:
        first, second = draw.sample(rows, 2)
    first[1], second[1] = second[1], first[1]


def null(rows: list[Row], draw: random.Random, _: object) -> None:
    """A value is lost."""
    draw.choice(rows)[1] = None


def lose(rows: list[Row], draw: random.Random, _: object) -> None:
    """A row is lost."""
    rows.remove(draw.choice(rows))


def double(rows: list[Row], draw: random.Random, _: object) -> None:
    """A row comes twice."""
    rows.append(list(draw.choice(rows)))


def replace(rows: list[Row], draw: random.Random, _: object) -> None:
    """A row is lost and another one comes twice."""
    first, second = draw.sample(range(len(rows)), 2)
    rows[first] = list(rows[second])


CHANGES = {
    "value": change,
    "same length": same_length,
    "exchange": exchange,
    "NULL": null,
    "lost row": lose,
    "doubled row": double,
    "row for row": replace,
}


def table_of(kind: MssqlType) -> TablePlan:
    """A table of a key and one column."""
    columns = TableSchema(
        (Column("id", MssqlType("int"), nullable=False), Column("v", kind)), ("id",)
    )
    found = SourceDatabase(
        server="s",
        database="d",
        version="16",
        collation="Latin1_General_CI_AS",
        snapshot_isolation=True,
        read_committed_snapshot=False,
        tables=(SourceTable("dbo", "t", columns, ROWS),),
    )
    (made,) = plan(found, Rules(), warehouse="s3://none").tables
    return made


def looked_at(table: TablePlan, rows: list[Row]) -> dict[VerificationLevel, Any]:
    """What each level has of some rows."""
    schema = arrow_schema(table)
    arrays = [
        pa.array([row[i] for row in rows], schema.field(name).type)
        for i, name in enumerate(("id", "v"))
    ]
    batch = pa.RecordBatch.from_arrays(arrays, names=["id", "v"])
    seen: dict[VerificationLevel, Any] = {}
    for level in (COUNT, FULL):
        fingerprint = ArrowFingerprint(table, level)
        fingerprint.update(batch)
        seen[level] = fingerprint.result()
    digest = RowDigest()
    digest.add(RowHasher(ComparedColumns.of(table, loaded=True)).hashes(batch))
    seen[DIGEST] = digest
    return seen


def detected(
    before: dict[VerificationLevel, Any], after: dict[VerificationLevel, Any]
) -> list[bool]:
    """Whether each level sees a change: count, full, rows."""
    digest: RowDigest = before[DIGEST]
    return [
        bool(before[COUNT].differences(after[COUNT])),
        bool(before[FULL].differences(after[FULL])),
        bool(len(digest.differing(after[DIGEST]))),
    ]


def print_detection(trials: int, seed: int) -> None:
    """Print the share of changes that each level sees, by type and change."""
    draw = random.Random(seed)
    print(f"Changes seen, of {trials} each in {ROWS} rows, at the levels count / full / rows (%)\n")
    print(f"{'':18}" + "".join(f"{name:>15}" for name in CHANGES))
    for name, (kind, value) in KINDS.items():
        table = table_of(kind)
        shares = []
        for make in CHANGES.values():
            seen = [0, 0, 0]
            for _ in range(trials):
                rows = [[number, value(draw)] for number in range(ROWS)]
                before = looked_at(table, rows)
                make(rows, draw, value)
                seen = [
                    n + d
                    for n, d in zip(seen, detected(before, looked_at(table, rows)), strict=True)
                ]
            shares.append("/".join(f"{100 * n / trials:.0f}" for n in seen))
        print(f"{name:18}" + "".join(f"{share:>15}" for share in shares))


def run_variant(variant: str, plan: MigrationPlan) -> Cost:
    """Do one variant's work in this process."""
    from migration_assets.iceberg.lake import Lake
    from migration_assets.mssql.client import SqlServer
    from migration_assets.settings import LakeSettings, MssqlSettings

    (table,) = plan.tables
    with SqlServer(MssqlSettings.load()) as mssql, Lake(LakeSettings.load()) as lake:
        prepare(lake)
        if variant == QUERY:
            return fingerprint_query(mssql, lake, table)
        if variant == HASH:
            return read_and_hash(mssql, table)
        with measured(Cost()) as cost:
            receipt = extracted(mssql, lake, table, VerificationLevel(variant))
        lake.store.delete([file.path for file in receipt.files])
        return cost


def read_and_hash(mssql: Any, table: TablePlan) -> Cost:
    """What level `rows` does on SQL Server's side."""
    from datetime import UTC, datetime

    from migration_assets.extraction import conformer
    from migration_assets.mssql.reader import open_partition

    (key_range,) = table.key_ranges
    conform = conformer(table, key_range.source_partition, datetime.now(UTC))
    hasher, digest = RowHasher(ComparedColumns.of(table, loaded=True)), RowDigest()
    with (
        measured(Cost()) as cost,
        open_partition(
            mssql,
            table,
            key_range,
            batch_rows=mssql.settings.batch_rows,
            level=COUNT,
            snapshot=False,
        ) as read,
    ):
        for batch in read.batches():
            digest.add(hasher.hashes(conform(batch)))
    return cost


def print_cost(options: argparse.Namespace) -> bool:
    """Start what the settings do not give, run all variants and print them."""
    from migration_assets.sandbox.launcher import Sandbox

    settings: dict[str, str] = {}
    with ExitStack() as stack:
        if "S3_BUCKET" not in os.environ:
            settings |= stack.enter_context(Sandbox(["aws"])).settings
            settings |= stack.enter_context(sink.running())
        if "MSSQL_HOST" not in os.environ:
            settings |= stack.enter_context(source.running(options.rows, REPLAYED))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        settings["S3_WAREHOUSE_PATH"] = "benchmark"
        os.environ.update(settings)
        made = make_plan(options.table)
        path = folder / "migration_plan.json"
        path.write_text(made.to_json(), encoding="utf-8")

        def run(variant: str) -> Cost:
            words = ("--variant", variant, "--plan", str(path))
            return in_process("benchmarks.verification", *words, settings=settings)

        run(VerificationLevel.NONE.value)
        levels = [VerificationLevel.NONE.value, COUNT.value, FULL.value, HASH]
        costs = alternate(levels, options.repeats, run) | alternate([QUERY], 1, run)
    print(f"\n{options.table}: {options.rows:,} rows, extraction at each level\n")
    medians = print_table(costs, base=VerificationLevel.NONE.value)
    wall = medians[FULL.value].wall / medians[VerificationLevel.NONE.value].wall
    return print_goals([("full, wall", wall, FULL_GOAL, "x none")])


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.verification")
    parser.add_argument("--rows", type=int, default=1_000_000, help="of the stand-in's table")
    parser.add_argument("--table", default=source.TABLE, help="schema.table to read")
    parser.add_argument("--repeats", type=int, default=5, help="of each variant")
    parser.add_argument("--trials", type=int, default=TRIALS, help="of each change")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--variant", help=argparse.SUPPRESS)
    parser.add_argument("--plan", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.variant is not None:
        hand_back(run_variant(options.variant, MigrationPlan.load(options.plan)))
        return
    print_detection(options.trials, options.seed)
    print_cost(options)


if __name__ == "__main__":
    main()

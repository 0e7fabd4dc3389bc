"""Upkeep by Spark, over the real stand-ins: compaction, expiry and orphans, and loads go on.

The sandbox's tables are small, so a partition's file is cut into many, as a commit of many small
files would leave them.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import pytest

from migration_assets.assets.maintenance import SparkEngine
from migration_assets.assets.translator import Stage
from migration_assets.iceberg.data_files import write_data_files
from migration_assets.iceberg.lake import Lake
from migration_assets.plan import TablePlan
from migration_assets.receipts import CommitReceipt, ExtractReceipt
from migration_assets.type_mapping import arrow_schema
from migration_assets_tests.sandbox.bench import ROWS, Bench, running
from migration_assets_tests.sandbox.project import Project
from migration_assets_tests.sandbox.upkeep import (
    data_files,
    lake_of,
    maintain_now,
    path_of,
    receipts_of,
    snapshots,
    table_of,
)
from migration_assets_tests.spark.sessions import environment

if TYPE_CHECKING:
    from migration_assets.spark.resource import SparkResource

PIECES = 6


@pytest.fixture(scope="module")
def bench(
    spark_settings: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Bench]:
    with running(tmp_path_factory.mktemp("maintenance")) as made:
        made.project = Project(made.project.folder, {**made.project.settings, **spark_settings})
        yield made


@pytest.fixture
def lake(bench: Bench) -> Iterator[Lake]:
    with lake_of(bench.project) as lake:
        yield lake


def cut(lake: Lake, table: TablePlan, partition_key: str) -> None:
    """Make many files of the one of a partition's extract, before it is committed."""
    store, path = receipts_of(lake, table), path_of(Stage.MSSQL, table)
    receipt = store.load(ExtractReceipt, path, partition_key)
    (file,) = receipt.files
    with lake.store.open_input(file.path) as source:
        rows = pq.read_table(source).cast(arrow_schema(table))
    ends = [rows.num_rows * n // PIECES for n in range(PIECES + 1)]
    pieces = [rows.slice(a, b - a).to_batches()[0] for a, b in pairwise(ends)]
    number = receipt.source_partition
    files = [
        written
        for piece in pieces
        for written in write_data_files([piece], table, number, str(uuid.uuid4()), lake.store)
    ]
    assert len(files) == PIECES
    store.save(path, receipt.model_copy(update={"files": tuple(files)}))


def committed(lake: Lake, table: TablePlan, key: str) -> CommitReceipt:
    return receipts_of(lake, table).load(CommitReceipt, path_of(Stage.ICEBERG, table), key)


@pytest.fixture(scope="module")
def in_pieces(bench: Bench) -> dict[str, TablePlan]:
    """Two tables extracted, their files cut, and committed; their loads wait."""
    names = ("Ranged", "Fine")
    words = [word for name in names for word in ("--tables", f"dbo.{name}")]
    bench.project.run("run", *words, "--until", "mssql").ok()
    tables = {name: table_of(bench.project, f"dbo.{name}") for name in names}
    with lake_of(bench.project) as lake:
        for table in tables.values():
            for key in table.partition_keys:
                cut(lake, table, key)
    bench.project.run("run", *words, "--from", "iceberg", "--until", "iceberg").ok()
    for table in tables.values():
        assert len(data_files(bench.project, table)) == PIECES * len(table.partition_keys)
    return tables


@pytest.fixture
def spark(spark_settings: dict[str, str]) -> Iterator[SparkResource]:
    """Spark in this process, as a run has it; it is stopped afterwards."""
    from migration_assets.spark.resource import SparkResource

    with environment(spark_settings):
        # Without this property Iceberg's procedure looks for no orphans younger than a day.
        made = SparkResource(spark_config={"spark.testing": "true"})
        try:
            yield made
        finally:
            made.stop()


def test_compaction_between_commit_and_load(
    bench: Bench, lake: Lake, in_pieces: dict[str, TablePlan]
) -> None:
    table = in_pieces["Ranged"]
    keys = table.partition_keys
    before = {key: committed(lake, table, key) for key in keys}
    done = bench.project.run("maintain", "--compact", "--tables", "dbo.Ranged").ok()
    said = f"{PIECES * len(keys)} files compacted to {len(keys)}, {len(keys)} receipts renewed"
    assert said in done.out
    files = data_files(bench.project, table)
    assert len(files) == len(keys)
    for key in keys:
        receipt = committed(lake, table, key)
        assert receipt.attempt == before[key].attempt
        assert {file.path for file in receipt.files} < files
        assert sum(file.rows for file in receipt.files) == before[key].rows
    bench.project.run("run", "--from", "starrocks", "--tables", "dbo.Ranged").ok()
    bench.assert_arrived("Ranged")
    # And a partition that is extracted anew replaces what was compacted.
    bench.project.run("run", "--tables", "dbo.Ranged", "--partitions", keys[3]).ok()
    bench.assert_arrived("Ranged")
    assert bench.reads()["Ranged"] == len(keys) + 1


def test_expiry_and_orphans(
    bench: Bench, lake: Lake, in_pieces: dict[str, TablePlan], spark: SparkResource
) -> None:
    table = in_pieces["Fine"]
    waiting = committed(lake, table, "p000").snapshot_id
    engine = SparkEngine(lake, spark)
    done = maintain_now(engine, lake, table, compact=True, remove_orphans=False)
    assert (done.files_rewritten, done.files_added, done.snapshots_expired) == (PIECES, 1, 1)
    # The commit's snapshot may go: the receipt that waits for its load names the new file.
    assert waiting not in snapshots(bench.project, table)
    pieces = [file.path for file in extract_receipt(lake, table).files]
    assert not any(lake.store.exists(path) for path in pieces), "Spark removes them at once"
    bench.project.run("run", "--failed", "--tables", "dbo.Fine").ok()
    bench.assert_arrived("Fine")

    # A commit whose load waits keeps its snapshot, and what came after it.
    bench.project.run("run", "--tables", "dbo.Fine", "--until", "iceberg").ok()
    needed = committed(lake, table, "p000").snapshot_id
    found = lake.catalog.load_table((table.namespace, table.iceberg_table))
    for _ in range(2):
        found.append(found.schema().as_arrow().empty_table())
    listed = snapshots(bench.project, table)
    assert listed.index(needed) > 0
    done = maintain_now(engine, lake, table, remove_orphans=False)
    assert done.snapshots_expired == listed.index(needed)
    assert snapshots(bench.project, table) == listed[listed.index(needed) :]

    # An extraction that waits for its commit, and one that nobody knows of.
    bench.project.run("run", "--tables", "dbo.Fine", "--until", "mssql").ok()
    kept = extract_receipt(lake, table).files
    lost = [f"{table.location}/data/source_partition=0/{uuid.uuid4()}-0.parquet"]
    lake.store.write(lost[0], b"PAR1 half written")
    done = maintain_now(engine, lake, table, orphan_age_hours=0, expire=False)
    assert done.files_removed >= 1
    assert not lake.store.exists(lost[0])
    assert all(lake.store.exists(file.path) for file in kept)
    bench.project.run("run", "--failed", "--tables", "dbo.Fine").ok()
    bench.assert_arrived("Fine")
    assert len(bench.loaded("Fine")) == ROWS


def extract_receipt(lake: Lake, table: TablePlan) -> ExtractReceipt:
    return receipts_of(lake, table).load(ExtractReceipt, path_of(Stage.MSSQL, table), "p000")

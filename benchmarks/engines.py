"""Which engine for which table: `python -m benchmarks.engines`.

For each number of rows, one table in eight partitions, extracted to Parquet on S3:

- `arrow`: the arrow engine, partition after partition, as one run does it.
- `spark, arrow reader`: one Spark job, whose tasks read with the arrow engine's own reader.
- `spark, jdbc reader`: one Spark job on Spark's JDBC reader.
- `plain Spark`: what people write by hand: `spark.read.jdbc` with `partitionColumn` and bounds,
  `writeTo` an Iceberg table of Glue. It checks nothing.

Cold is the first extraction of a process, the start of Spark and imports included; warm the median
of those that follow. Ours measure the fingerprint of the rows; SQL Server's is not asked for.

With `--shapes`, a table of 8 small partitions is extracted on a standalone cluster of two workers,
once as one Spark job and once with a job and a session for each partition.

Needs Java 17 and the jars (`migration-assets jars`). SPARK_MASTER is local[2] unless it is set.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks import source
from benchmarks.measurement import Cost, alternate, hand_back, in_process, measured
from migration_assets.choices import VerificationLevel
from migration_assets.plan import MigrationPlan, TablePlan

ARROW, TASKS, JDBC, PLAIN = "arrow", "spark, arrow reader", "spark, jdbc reader", "plain Spark"
ONE_JOB, JOB_EACH = "one job", "a job and session each"
VARIANTS = (ARROW, TASKS, JDBC, PLAIN)
PARTITIONS = 8
SHAPE_PARTITIONS = 8
SIZES = (10_000, 100_000, 500_000, 2_000_000)


def run_variant(variant: str, plan: MigrationPlan, repeats: int) -> Cost:
    """Extract once cold and several times warm in this process."""
    from migration_assets.iceberg.lake import Lake
    from migration_assets.mssql.client import SqlServer
    from migration_assets.settings import LakeSettings, MssqlSettings
    from migration_assets.spark.resource import SparkResource

    (table,) = plan.tables
    spark = SparkResource(spark_config=_catalog() if variant == PLAIN else {})
    with SqlServer(MssqlSettings.load()) as mssql, Lake(LakeSettings.load()) as lake:
        once: Callable[[], int] = {
            ARROW: lambda: by_arrow(mssql, lake, table),
            TASKS: lambda: by_spark(mssql, lake, spark, table),
            JDBC: lambda: by_spark(mssql, lake, spark, table),
            PLAIN: lambda: by_plain_spark(mssql, spark, table),
            ONE_JOB: lambda: by_spark(mssql, lake, spark, table),
            JOB_EACH: lambda: by_job_each(mssql, lake, spark, table),
        }[variant]
        seconds, rows = [], 0
        with measured(Cost()) as cost:
            for _ in range(repeats + 1):
                started = time.perf_counter()
                rows = once()
                seconds.append(time.perf_counter() - started)
        spark.stop()
    cost.detail = {
        "rows": rows,
        "cold": seconds[0],
        "warm": statistics.median(seconds[1:] or seconds),
    }
    return cost


def _extraction(table: TablePlan) -> Any:
    from migration_assets.assets.extractor import Extraction
    from migration_assets.mssql.point_in_time import Standpoint

    return Extraction(
        table=table,
        run_id="benchmark",
        # Counted by SQL Server at most: what its aggregates cost is benchmarks.extract's subject.
        level=VerificationLevel.COUNT,
        standpoint=Standpoint(snapshot=False, watched=False),
        batch_rows=65_536,
    )


def by_arrow(mssql: Any, lake: Any, table: TablePlan) -> int:
    """Extract partition after partition in this process."""
    from migration_assets.mssql.introspection import check_columns

    check_columns(mssql, table)
    extraction = _extraction(table)
    receipts = [extraction.read(mssql, lake, key) for key in table.partition_keys]
    return sum(receipt.rows for receipt in receipts)


def by_spark(mssql: Any, lake: Any, spark: Any, table: TablePlan) -> int:
    """Extract all partitions in one Spark job, with the reader of SPARK_READER."""
    return _by_spark(mssql, lake, spark, table, table.partition_keys)


def by_job_each(mssql: Any, lake: Any, spark: Any, table: TablePlan) -> int:
    """Extract each partition in a session of its own, as a run per partition has it."""
    rows = 0
    for key in table.partition_keys:
        rows += _by_spark(mssql, lake, spark, table, [key])
        spark.stop()
    return rows


def _by_spark(mssql: Any, lake: Any, spark: Any, table: TablePlan, keys: Sequence[str]) -> int:
    from migration_assets.assets.spark import extract_with_spark

    extracted = extract_with_spark(mssql, lake, spark, _extraction(table), keys)
    for error in extracted.errors.values():
        raise error
    return sum(receipt.rows for receipt in extracted.receipts.values())


def by_plain_spark(mssql: Any, spark: Any, table: TablePlan) -> int:
    """Read with equal strides of the key, write an Iceberg table."""
    from migration_assets.mssql.jdbc import jdbc_options, jdbc_url

    session = spark.spark_session
    bounds = session.read.jdbc(
        jdbc_url(mssql.settings),
        f"(SELECT MIN(movement_id) AS low, MAX(movement_id) AS high FROM {table.full_name}) AS b",
        properties=jdbc_options(mssql.settings, snapshot=False),
    ).first()
    frame = session.read.jdbc(
        jdbc_url(mssql.settings),
        table.full_name,
        column="movement_id",
        lowerBound=bounds["low"],
        upperBound=bounds["high"] + 1,
        numPartitions=PARTITIONS,
        properties=jdbc_options(mssql.settings, snapshot=False),
    )
    name = f"lake.benchmark_engines.movements_{uuid.uuid4().hex[:8]}"
    session.sql("CREATE NAMESPACE IF NOT EXISTS lake.benchmark_engines")
    frame.writeTo(name).create()
    return int(session.table(name).count())


def _catalog() -> dict[str, str]:
    """An Iceberg catalog as Spark's users configure it; keys come from the environment."""
    bucket, endpoint = os.environ["S3_BUCKET"], os.environ.get("AWS_ENDPOINT_URL")
    conf = {
        "spark.sql.catalog.lake": "org.apache.iceberg.spark.SparkCatalog",
        "spark.sql.catalog.lake.catalog-impl": "org.apache.iceberg.aws.glue.GlueCatalog",
        "spark.sql.catalog.lake.io-impl": "org.apache.iceberg.aws.s3.S3FileIO",
        "spark.sql.catalog.lake.warehouse": f"s3://{bucket}/benchmark-plain",
        "spark.sql.catalog.lake.client.region": os.environ.get("AWS_REGION", "us-east-1"),
    }
    if endpoint:
        conf |= {
            "spark.sql.catalog.lake.glue.endpoint": endpoint,
            "spark.sql.catalog.lake.s3.endpoint": endpoint,
            "spark.sql.catalog.lake.s3.path-style-access": "true",
        }
    return conf


def make_plan(partitions: int) -> MigrationPlan:
    """Plan the one table in so many partitions."""
    from migration_assets.operations.planning import make_plan as planned
    from migration_assets.rules import Rules
    from migration_assets.settings import LakeSettings, MssqlSettings

    rules = Rules.model_validate(
        {
            "include": [source.TABLE],
            "tables": {source.TABLE: {"partitions": partitions, "engine": "spark"}},
        }
    )
    return planned(MssqlSettings.load(), LakeSettings.load(), rules)


def measure(
    variants: Sequence[str], rows: int, partitions: int, repeats: int, further: dict[str, str]
) -> dict[str, Cost]:
    """Start the servers, plan, and run each variant in a process of its own."""
    from migration_assets.sandbox.launcher import Sandbox

    with ExitStack() as stack:
        settings = {"S3_WAREHOUSE_PATH": "benchmark", "SPARK_MASTER": "local[2]"}
        settings |= stack.enter_context(Sandbox(["aws"])).settings
        settings |= stack.enter_context(source.running(rows, None))
        settings |= further
        os.environ.update(settings)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        path = folder / "migration_plan.json"
        path.write_text(make_plan(partitions).to_json(), encoding="utf-8")

        def run(variant: str) -> Cost:
            reader = "jdbc" if variant == JDBC else "arrow"
            words = ("--variant", variant, "--plan", str(path), "--repeats", str(repeats))
            return in_process(
                "benchmarks.engines", *words, settings={**settings, "SPARK_READER": reader}
            )

        costs = alternate(variants, 1, run)
    found = {variant: runs[0] for variant, runs in costs.items()}
    counts = {cost.detail["rows"] for cost in found.values()}
    if counts != {rows}:
        raise SystemExit(f"The variants extracted {sorted(counts)} of {rows} rows.")
    return found


def compare(sizes: Sequence[int], repeats: int) -> None:
    """Print each variant's seconds, cold and warm, against the arrow engine's."""
    crossed: dict[str, int] = {}
    print(f"{'rows':>10}  {'variant':<20} {'cold s':>8} {'warm s':>8} {'cold x':>8} {'warm x':>8}")
    for rows in sizes:
        found = measure(VARIANTS, rows, PARTITIONS, repeats, {})
        base = found[ARROW].detail
        for variant, cost in found.items():
            cold, warm = cost.detail["cold"], cost.detail["warm"]
            print(
                f"{rows:>10,}  {variant:<20} {cold:>8.2f} {warm:>8.2f} "
                f"{cold / base['cold']:>8.2f} {warm / base['warm']:>8.2f}",
                flush=True,
            )
            if variant != ARROW and warm < base["warm"]:
                crossed.setdefault(variant, rows)
    for variant in VARIANTS[1:]:
        where = (
            f"from {crossed[variant]:,} rows on" if variant in crossed else "at none of the sizes"
        )
        print(f"{variant} is faster than arrow, warm, {where}.")


def compare_shapes(rows: int) -> None:
    """Print what one job and what a run per partition take on a cluster of two workers."""
    from migration_assets.sandbox.spark_cluster import SparkCluster
    from migration_assets.spark.java import require_java

    with (
        tempfile.TemporaryDirectory() as folder,
        SparkCluster(Path(folder), require_java().home) as cluster,
    ):
        further = {
            "SPARK_MASTER": cluster.master,
            "SPARK_PYTHON": str(cluster.python),
            "SPARK_EXECUTOR_MEMORY": "1g",
        }
        found = measure([ONE_JOB, JOB_EACH], rows, SHAPE_PARTITIONS, 0, further)
    one, each = found[ONE_JOB].detail["cold"], found[JOB_EACH].detail["cold"]
    print(f"{SHAPE_PARTITIONS} partitions, {rows:,} rows, two workers, Spark's start included")
    print(f"  {ONE_JOB}: {one:.1f} s")
    print(f"  {JOB_EACH}: {each:.1f} s, {each / one:.1f} x")


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.engines")
    parser.add_argument("--rows", type=int, action="append", help="sizes; more than once")
    parser.add_argument("--repeats", type=int, default=3, help="warm ones")
    parser.add_argument("--shapes", action="store_true", help="one job or many, on a cluster")
    parser.add_argument("--variant", help=argparse.SUPPRESS)
    parser.add_argument("--plan", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.variant is not None:
        plan = MigrationPlan.load(options.plan)
        hand_back(run_variant(options.variant, plan, options.repeats))
        return
    if options.shapes:
        compare_shapes((options.rows or [64_000])[0])
    else:
        compare(options.rows or SIZES, options.repeats)
    sys.exit(0)


if __name__ == "__main__":
    main()

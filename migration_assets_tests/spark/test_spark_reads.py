"""Spark reads what we wrote: every sample table through the Glue catalog, as pyiceberg reads it.

On a cluster whose workers have an empty environment, so that the keys of the object store can only
have come with the tables; and nothing that Spark writes down or shows has one of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from migration_assets.iceberg.lake import CATALOG_NAME
from migration_assets.sandbox import sample
from migration_assets.sandbox.launcher import Sandbox
from migration_assets.sandbox.spark_cluster import SparkCluster
from migration_assets.spark.catalog import EXTENSIONS, attach_catalog
from migration_assets.spark.java import Java
from migration_assets.spark.maintenance import SparkTable
from migration_assets_tests.sandbox.project import Project, iceberg_catalog
from migration_assets_tests.sandbox.upkeep import lake_of, table_of
from migration_assets_tests.spark.sessions import open_session

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

SCALE = 0.01
CANARY = "canary-S3cret-42"
TABLES = [f"{schema}.{name}" for schema, name in sample.declared_tables()]


@pytest.fixture(scope="module")
def cluster(java: Java, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkCluster]:
    with SparkCluster(tmp_path_factory.mktemp("cluster"), java.home) as running:
        yield running


@pytest.fixture(scope="module")
def project(java: Java, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """The sample, migrated to Iceberg by the arrow engine."""
    assert java
    with Sandbox(["sqlserver", "aws"], scale=SCALE, passwords={"aws": CANARY}) as sandbox:
        made = Project(tmp_path_factory.mktemp("reads"), sandbox.settings)
        made.run("plan").ok()
        made.run("run", "--until", "iceberg", MIGRATION_CONCURRENT_RUNS="2").ok()
        yield made


@dataclass
class Reader:
    """A session with the catalog, and where it logs its events."""

    session: SparkSession
    events: Path


@pytest.fixture(scope="module")
def reader(
    java: Java,
    jars: list[Path],
    project: Project,
    cluster: SparkCluster,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Reader]:
    events = tmp_path_factory.mktemp("events")
    conf = {
        "spark.sql.extensions": EXTENSIONS,
        "spark.executor.memory": "512m",
        "spark.eventLog.enabled": "true",
        "spark.eventLog.compress": "false",
        "spark.eventLog.dir": str(events),
    }
    with (
        lake_of(project) as lake,
        open_session(java, jars, conf, master=cluster.master) as session,
    ):
        attach_catalog(session, CATALOG_NAME, lake.settings)
        yield Reader(session, events)


def rows(table: pa.Table) -> Counter[str]:
    """Each row with its values' Python types, scales and zones."""
    return Counter(repr(tuple(row.values())) for row in table.to_pylist())


@pytest.mark.parametrize("name", TABLES)
def test_every_value_is_what_pyiceberg_reads(reader: Reader, project: Project, name: str) -> None:
    planned = table_of(project, name)
    table = SparkTable(CATALOG_NAME, planned.namespace, planned.iceberg_table)
    found = reader.session.sql(f"SELECT * FROM {table}").toArrow()
    catalog = iceberg_catalog(project.settings)
    wanted = catalog.load_table((planned.namespace, planned.iceberg_table)).scan().to_arrow()
    assert found.column_names == wanted.column_names
    different = rows(found) - rows(wanted)
    assert sorted(different)[:1] == sorted(rows(wanted) - rows(found))[:1]
    assert not different
    assert found.num_rows == wanted.num_rows == rows_of_sample()[name]


def rows_of_sample() -> dict[str, int]:
    return {f"{one.schema}.{one.name}": one.data.num_rows for one in sample.expected(SCALE)}


def test_executors_write_with_the_keys_too(reader: Reader, project: Project) -> None:
    """Compaction, of files that there is no need to compact: it must change no row."""
    planned = table_of(project, "sales.Transactions")
    table = SparkTable(CATALOG_NAME, planned.namespace, planned.iceberg_table)
    before = rows(reader.session.sql(f"SELECT * FROM {table}").toArrow())
    call = table.call("rewrite_data_files", options="map('rewrite-all', 'true')")
    (done,) = reader.session.sql(call).collect()
    assert done["rewritten_data_files_count"] == done["added_data_files_count"] > 0
    catalog = iceberg_catalog(project.settings)
    found = catalog.load_table((planned.namespace, planned.iceberg_table)).scan().to_arrow()
    assert rows(found) == before


def test_no_key_is_written_down_or_shown(reader: Reader) -> None:
    """After all that: neither in the events, which the UI shows, nor in a process list."""
    logged = "\n".join(
        path.read_text(errors="replace") for path in reader.events.rglob("*") if path.is_file()
    )
    assert "spark.sql.catalog.lake.warehouse" in logged, "properties of the session are logged"
    assert CANARY not in logged
    commands = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if is_java(path)]
    assert commands
    assert not any(CANARY.encode() in command for command in commands)
    kept = [row["value"] for row in reader.session.sql("SET").collect()]
    assert kept
    assert not any(CANARY in value for value in kept)


def is_java(path: Path) -> bool:
    try:
        return b"org.apache.spark" in path.read_bytes()
    except OSError:
        return False

"""Both engines, and both readers of Spark's, make equal tables of the whole sample; Spark reads them.

Three projects on one sandbox, driven by the commands; what arrived is read with pyiceberg. Then a
cluster reads it through the Glue catalog: its worker has an empty environment, so that the keys of
the object store can only have come with the tables; and nothing that Spark writes down or shows has
one of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from migration_assets.iceberg.lake import CATALOG_NAME
from migration_assets.sandbox import sample
from migration_assets.sandbox.control import Counters
from migration_assets.sandbox.launcher import Sandbox
from migration_assets.sandbox.spark_cluster import SparkCluster
from migration_assets.spark.catalog import attach_catalog
from migration_assets.spark.java import Java
from migration_assets.spark.maintenance import SparkTable
from migration_assets_tests.sandbox.project import Project, await_closed, iceberg_catalog
from migration_assets_tests.sandbox.upkeep import lake_of, table_of
from migration_assets_tests.spark.sessions import LOOPBACK, WITH_UI, open_session, shown_by

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

SCALE = 0.002
CANARY = "canary-S3cret-42"
CONNECTIONS = 2
WAYS = {"arrow": None, "spark": "arrow", "jdbc": "jdbc"}
"""Names of the projects: by engine, then by Spark's reader."""

TABLES = [f"{schema}.{name}" for schema, name in sample.declared_tables()]

Rows = Counter[tuple[str, ...]]


@dataclass
class Arrived:
    """What a project left in Iceberg, and how its run went."""

    project: Project
    rows: dict[str, Rows]
    schemas: dict[str, list[str]]
    report: dict[str, Any]
    counters: Counters
    kinds: set[str]


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(("sqlserver", "aws"), scale=SCALE, passwords={"aws": CANARY}) as running:
        yield running


@pytest.fixture(scope="module")
def arrived(
    sandbox: Sandbox, spark_settings: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Arrived]:
    return {
        way: migrate(way, sandbox, spark_settings, tmp_path_factory.mktemp(way)) for way in WAYS
    }


def migrate(way: str, sandbox: Sandbox, spark_settings: dict[str, str], folder: Path) -> Arrived:
    reader = WAYS[way]
    engine = "arrow" if reader is None else "spark"
    (folder / "migration.yaml").write_text(
        f"namespace_prefix: {way}_\n"
        f"defaults: {{engine: {engine}}}\n"
        "tables: {sales.Transactions: {partitions: 8}, dbo.Order Details: {partitions: 8}}\n"
    )
    project = Project(
        folder,
        {
            **sandbox.settings,
            **spark_settings,
            "S3_WAREHOUSE_PATH": way,
            "SPARK_MASTER": "local[4]",
            "SPARK_READER": reader or "arrow",
            "SPARK_MSSQL_CONNECTIONS": str(CONNECTIONS),
        },
    )
    project.run("plan").ok()
    project.run("run", "--until", "iceberg").ok()
    assert await_closed(sandbox, "sqlserver") == 0
    catalog = iceberg_catalog(project.settings)
    rows, schemas = {}, {}
    for name in TABLES:
        planned = project.table(name)
        table = catalog.load_table((planned["namespace"], planned["iceberg_table"]))
        data = table.scan().to_arrow().drop_columns(["migrated_at"])
        rows[name] = Counter(tuple(map(repr, row.values())) for row in data.to_pylist())
        schemas[name] = [str(field) for field in data.schema]
    return Arrived(
        project=project,
        rows=rows,
        schemas=schemas,
        report=project.report,
        counters=sandbox.control("sqlserver").state(),
        kinds={planned["engine"] for planned in project.plan["tables"]},
    )


@pytest.mark.parametrize("way", ["spark", "jdbc"])
@pytest.mark.parametrize("name", TABLES)
def test_both_engines_make_equal_tables(arrived: dict[str, Arrived], way: str, name: str) -> None:
    assert arrived[way].kinds == {"spark"}
    assert arrived[way].rows[name] == arrived["arrow"].rows[name]
    assert arrived[way].schemas[name] == arrived["arrow"].schemas[name]


def test_the_rows_are_those_of_the_sample(arrived: dict[str, Arrived]) -> None:
    for table in sample.expected(SCALE):
        rows = arrived["arrow"].rows[f"{table.schema}.{table.name}"]
        assert rows.total() == table.data.num_rows


@pytest.mark.parametrize("way", list(WAYS))
def test_each_partition_is_checked_whatever_the_engine(
    arrived: dict[str, Arrived], way: str
) -> None:
    tables = arrived[way].report["tables"].values()
    for table in tables:
        assert table["status"] == "done"
        # Row count and fingerprint of the extract, row count of the commit.
        assert table["checks"] == table["checks_passed"] == 3 * table["partitions"]


def test_connections_to_sql_server_stay_under_the_cap(arrived: dict[str, Arrived]) -> None:
    """Four cores, caps of two: Spark's tasks, and beside them what the run itself asks."""
    for way in ("spark", "jdbc"):
        assert arrived[way].counters.max_open <= CONNECTIONS + 2, way
    assert {arrived[way].counters.refused for way in WAYS} == {0}


@pytest.fixture(scope="module")
def project(arrived: dict[str, Arrived]) -> Project:
    """The project whose tables the arrow engine made."""
    return arrived["arrow"].project


@dataclass
class Reader:
    """A session with the catalog, and where it logs its events."""

    session: SparkSession
    events: Path


@pytest.fixture(scope="module")
def reader(
    java: Java,
    spark_settings: dict[str, str],
    project: Project,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Reader]:
    events = tmp_path_factory.mktemp("events")
    conf = {
        "spark.eventLog.enabled": "true",
        "spark.eventLog.compress": "false",
        "spark.eventLog.dir": str(events),
        **WITH_UI,
    }
    with (
        lake_of(project) as lake,
        SparkCluster(tmp_path_factory.mktemp("cluster"), java.home, workers=1) as cluster,
        open_session(
            {
                **spark_settings,
                **LOOPBACK,
                "SPARK_MASTER": cluster.master,
                "SPARK_PYTHON": str(cluster.python),
            },
            conf,
        ) as session,
    ):
        attach_catalog(session, CATALOG_NAME, lake.settings)
        yield Reader(session, events)


def counted(table: pa.Table) -> Counter[str]:
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
    different = counted(found) - counted(wanted)
    assert sorted(different)[:1] == sorted(counted(wanted) - counted(found))[:1]
    assert not different
    assert found.num_rows == wanted.num_rows


def test_executors_write_with_the_keys_too(reader: Reader, project: Project) -> None:
    """Compaction, of files that there is no need to compact: it must change no row."""
    planned = table_of(project, "sales.Transactions")
    table = SparkTable(CATALOG_NAME, planned.namespace, planned.iceberg_table)
    before = counted(reader.session.sql(f"SELECT * FROM {table}").toArrow())
    call = table.call("rewrite_data_files", options="map('rewrite-all', 'true')")
    (done,) = reader.session.sql(call).collect()
    assert done["rewritten_data_files_count"] == done["added_data_files_count"] > 0
    catalog = iceberg_catalog(project.settings)
    found = catalog.load_table((planned.namespace, planned.iceberg_table)).scan().to_arrow()
    assert counted(found) == before


def test_no_key_is_written_down_or_shown(reader: Reader) -> None:
    """After all that: neither in the events, nor in the UI, nor in a process list."""
    logged = "\n".join(
        path.read_text(errors="replace") for path in reader.events.rglob("*") if path.is_file()
    )
    assert "spark.sql.catalog.lake.warehouse" in logged, "properties of the session are logged"
    assert CANARY not in logged
    shown = shown_by(reader.session)
    assert any(b"spark.sql.catalog.lake.warehouse" in page for page in shown.values())
    assert [path for path, page in shown.items() if CANARY.encode() in page] == []
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

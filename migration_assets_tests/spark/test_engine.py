"""Both engines, and both readers of Spark's, make equal tables of the whole sample.

Three projects on one sandbox, driven by the commands; what arrived is read with pyiceberg.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from migration_assets.sandbox import sample
from migration_assets.sandbox.control import Counters
from migration_assets.sandbox.launcher import Sandbox
from migration_assets.spark.java import Java
from migration_assets_tests.sandbox.project import Project, await_closed, iceberg_catalog
from migration_assets_tests.spark.processes import QUICK_JVM

SCALE = 0.01
CONNECTIONS = 2
WAYS = {"arrow": None, "spark": "arrow", "jdbc": "jdbc"}
"""Names of the projects: by engine, then by Spark's reader."""

TABLES = [f"{schema}.{name}" for schema, name in sample.declared_tables()]

Rows = Counter[tuple[str, ...]]


@dataclass
class Arrived:
    """What a project left in Iceberg, and how its run went."""

    rows: dict[str, Rows]
    schemas: dict[str, list[str]]
    report: dict[str, Any]
    counters: Counters
    kinds: set[str]


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(names=("sqlserver", "aws"), scale=SCALE) as running:
        yield running


@pytest.fixture(scope="module")
def arrived(
    sandbox: Sandbox, java: Java, jars: list[Path], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Arrived]:
    return {way: migrate(way, sandbox, java, jars, tmp_path_factory.mktemp(way)) for way in WAYS}


def migrate(way: str, sandbox: Sandbox, java: Java, jars: list[Path], folder: Path) -> Arrived:
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
            "S3_WAREHOUSE_PATH": way,
            "JAVA_HOME": str(java.home),
            "JAVA_TOOL_OPTIONS": QUICK_JVM,
            "MIGRATION_JARS": str(jars[0].parent),
            "SPARK_MASTER": "local[4]",
            "SPARK_DRIVER_MEMORY": "1g",
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

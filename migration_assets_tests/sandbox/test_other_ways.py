"""Two other ways of use: a target without any AWS, and the Python API."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyiceberg.catalog import load_catalog

from migration_assets.sandbox.launcher import Sandbox
from migration_assets_tests.sandbox.project import Project, starrocks_rows

SCRIPT = """
CREATE TABLE dbo.Items (Id int NOT NULL PRIMARY KEY, Name nvarchar(20) NULL);
GO
INSERT INTO dbo.Items VALUES (1, N'one'), (2, N'zwölf'), (3, NULL);
GO
CREATE TABLE dbo.Others (Id int NOT NULL PRIMARY KEY);
GO
INSERT INTO dbo.Others VALUES (7);
GO
"""
ITEMS = {(1, "one"), (2, "zwölf"), (3, None)}
API = """
import json

from migration_assets.operations import migrate, validate

if __name__ == "__main__":
    steps = []
    result = migrate(tables=["dbo.It*"], report=lambda progress: steps.append(progress.done_steps))
    found = list(validate(tables=["dbo.Items"]))
    print(json.dumps({
        "success": result.success,
        "tables": [[t.table, t.status, t.rows, t.valid] for t in result.tables],
        "failures": len(result.failures),
        "progress": max(steps),
        "validated": [[v.table.full_name, dict(v.rows), v.valid] for v in found],
    }))
"""


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    script = tmp_path_factory.mktemp("script") / "tables.sql"
    script.write_text(SCRIPT, encoding="utf-8")
    with Sandbox(scale=None, extra_arguments={"sqlserver": [f"--script={script}"]}) as running:
        yield running


def test_a_local_target_needs_no_aws_at_all(sandbox: Sandbox, tmp_path: Path) -> None:
    source = {name: value for name, value in sandbox.settings.items() if name.startswith("MSSQL_")}
    catalog_uri = f"sqlite:///{tmp_path}/catalog.db"
    project = Project(
        tmp_path,
        {
            **source,
            "ICEBERG_CATALOG_TYPE": "sql",
            "ICEBERG_CATALOG_URI": catalog_uri,
            "S3_WAREHOUSE_PATH": "my warehouse",
            # Whoever asked AWS for credentials would wait for this address, which is nobody's.
            "AWS_EC2_METADATA_SERVICE_ENDPOINT": "http://127.0.0.1:1",
        },
    )
    project.run("doctor", "--until", "iceberg").ok()
    assert [path.name for path in tmp_path.joinpath("my warehouse").iterdir()] == []
    project.run("plan").ok()
    for _ in range(2):
        project.run("run", "--until", "iceberg").ok()
    catalog = load_catalog("lake", type="sql", uri=catalog_uri)
    try:
        rows = catalog.load_table(("dbo", "items")).scan().to_arrow().to_pylist()
    finally:
        catalog.close()
    assert len(rows) == len(ITEMS)
    assert {(row["id"], row["name"]) for row in rows} == ITEMS
    assert {row["source_schema"] for row in rows} == {"dbo"}
    files = {path.suffix for path in (tmp_path / "my warehouse" / "dbo").rglob("*.*")}
    assert ".parquet" in files
    project.run("validate", "--until", "iceberg").ok()


def test_migrate_and_validate_from_python(sandbox: Sandbox, tmp_path: Path) -> None:
    project = Project(tmp_path, sandbox.settings)
    project.run("doctor", "--fix").ok()
    project.run("plan").ok()
    (tmp_path / "mine.py").write_text(API, encoding="utf-8")
    said = json.loads(project.execute("python", "mine.py").ok().out.splitlines()[-1])
    rows = {"mssql": 3, "iceberg": 3, "starrocks": 3}
    assert said == {
        "success": True,
        "tables": [["dbo.Items", "done", rows, True]],
        "failures": 0,
        "progress": 3,
        "validated": [["dbo.Items", rows, True]],
    }
    assert set(starrocks_rows(project.settings, "SELECT id, name FROM dbo.items")) == ITEMS
    # The same history as the commands'.
    done = project.status("--tables", "dbo.Items")["dbo.Items", "p000"]
    assert (done["mssql"], done["iceberg"], done["starrocks"]) == ("done", "done", "done")
    assert project.status()["dbo.Others", "p000"]["mssql"] == "missing"

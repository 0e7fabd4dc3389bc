"""The evidence of a migration in which things went wrong: as `run` writes it, and `report`."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import dagster as dg
import jsonschema
import pytest

from migration_assets.sandbox.control import Fault
from migration_assets.sandbox.launcher import Sandbox
from migration_assets_tests.sandbox.project import Project

SCHEMA = Path(__file__).parents[2] / "docs" / "report.schema.json"
ROWS = 40
SCRIPT = f"""
CREATE TABLE dbo.Visits (Id int NOT NULL PRIMARY KEY, SeenAt datetime2(7) NOT NULL);
GO
INSERT INTO dbo.Visits VALUES
{", ".join(f"({n}, '2026-11-22 10:00:00.1234567')" for n in range(ROWS))};
GO
CREATE TABLE dbo.Shaky (Id int NOT NULL PRIMARY KEY, Name nvarchar(20) NULL);
GO
INSERT INTO dbo.Shaky VALUES (1, N'one'), (2, NULL);
GO
CREATE TABLE dbo.Old (Id int NOT NULL PRIMARY KEY);
GO
"""
RULES = "exclude: [dbo.Old]\ntables:\n  dbo.Visits: {partitions: 8}\n"
BROKEN = r"INSERT OVERWRITE.*visits.*source_partition\s*=\s*3\b"


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What the reports said after the run that failed, and after the one that repaired it."""
    folder = tmp_path_factory.mktemp("report")
    (folder / "tables.sql").write_text(SCRIPT, encoding="utf-8")
    (folder / "migration.yaml").write_text(RULES, encoding="utf-8")
    words = {"sqlserver": [f"--script={folder / 'tables.sql'}"]}
    with Sandbox(scale=None, extra_arguments=words) as sandbox:
        project = Project(folder, sandbox.settings)
        project.run("doctor", "--fix").ok()
        project.run("plan").ok()
        sandbox.control("sqlserver").arm(
            Fault(
                "error", match=r"FROM \[dbo\]\.\[Shaky\]", number=1205, message="deadlock", times=1
            )
        )
        sandbox.control("starrocks").arm(
            Fault("error", match=BROKEN, number=5203, message="Access denied; you need INSERT.")
        )
        assert project.run("run").code == 1
        of_run = project.report
        failed = read(project, "failed")
        for name in ("sqlserver", "starrocks"):
            sandbox.control(name).arm()
        project.run("run", "--failed").ok()
        metadata = newest_metadata(project, "starrocks", "dbo", "visits")
        repaired = read(project, "repaired")
        sandbox.control("starrocks").sql("UPDATE dbo.shaky SET name = 'three' WHERE id = 1")
        compared = read(project, "compared", "--validate")
    # No server is there any more.
    return {"run": of_run, "failed": failed, "repaired": repaired, "compared": compared,
            "metadata": metadata, "folder": folder, "alone": read(project, "alone")}  # fmt: skip


def read(project: Project, name: str, *options: str) -> tuple[dict[str, Any], str, str]:
    """What `report` writes: JSON, its tables by name, the page, and what it prints."""
    said = project.run(
        "report", "--json", f"{name}.json", "--html", f"{name}.html", *options, COLUMNS="80"
    ).ok()
    found = json.loads((project.folder / f"{name}.json").read_text(encoding="utf-8"))
    jsonschema.validate(found, json.loads(SCHEMA.read_text(encoding="utf-8")))
    page = (project.folder / f"{name}.html").read_text(encoding="utf-8")
    return found | {"tables": {t["table"]: t for t in found["tables"]}}, page, said.out


def newest_metadata(project: Project, *path: str) -> dict[str, dict[str, Any]]:
    with project.instance() as instance:
        records = instance.fetch_materializations(dg.AssetKey(path), limit=100).records
    found: dict[str, dict[str, Any]] = {}
    for record in records:
        assert record.asset_materialization is not None
        said = {n: m.value for n, m in record.asset_materialization.metadata.items()}
        found.setdefault(str(record.partition_key), said)
    return found


def test_a_failed_partition_is_told_with_its_cause_and_command(told: Any) -> None:
    found, page, said = told["failed"]
    assert not found["success"]
    visits = found["tables"]["dbo.Visits"]
    assert (visits["status"], visits["done"], visits["partitions"]) == ("failed", 7, 8)
    assert visits["rows"] == {"mssql": ROWS, "iceberg": ROWS, "starrocks": None}
    states = {p["partition"]: p["state"] for p in visits["by_partition"]}
    assert states.pop("p003") == "failed"
    assert set(states.values()) == {"done"}
    (failure,) = found["failures"]
    command = "migration-assets run --failed --tables dbo.Visits --partitions p003"
    assert (failure["partition"], failure["stage"], failure["retry"]) == (
        "p003",
        "starrocks",
        command,
    )
    assert command in page
    assert "you need INSERT" in page
    assert "Not finished: 1 table not complete" in page
    assert "Not finished: 1 table not complete" in said
    assert max(map(len, said.splitlines())) <= 80
    assert found["failures"] == told["run"]["failures"]


def test_what_was_tried_again_is_counted(told: Any) -> None:
    first, _, _ = told["failed"]
    (shaky,) = first["tables"]["dbo.Shaky"]["by_partition"]
    assert [s["attempts"] for s in shaky["stages"]] == [2, 1, 1]
    found, page, _ = told["repaired"]
    visits = {p["partition"]: p for p in found["tables"]["dbo.Visits"]["by_partition"]}
    assert [s["attempts"] for s in visits["p003"]["stages"]] == [1, 1, 2]
    assert [s["attempts"] for s in visits["p004"]["stages"]] == [1, 1, 1]
    assert found["tables"]["dbo.Visits"]["attempts"] == 8 * 3 + 1
    assert re.search(r'<td class="n warn">25</td>', page)


def test_all_sides_are_equal_in_the_end(told: Any) -> None:
    found, page, said = told["repaired"]
    assert found["success"] is True
    visits = found["tables"]["dbo.Visits"]
    assert visits["rows"] == dict.fromkeys(("mssql", "iceberg", "starrocks"), ROWS)
    assert (visits["valid"], visits["comparison"]["level"]) == (True, "count")
    assert visits["fingerprint_columns"] == ["id", "seenat"]
    checks = [c for p in visits["by_partition"] for s in p["stages"] for c in s["checks"]]
    assert len(checks) == 8 * 5
    assert {check["outcome"] for check in checks} == {"passed"}
    assert {check["columns"] for check in checks} == {2, None}
    assert all(s["seconds"] and s["run_id"] for p in visits["by_partition"] for s in p["stages"])
    assert "and what was compared is equal" in page
    assert f"starrocks {ROWS + 2}" in said


def test_validate_compares_afresh_and_the_page_shows_it(told: Any) -> None:
    found, page, said = told["compared"]
    assert found["success"] is False
    assert found["tables"]["dbo.Shaky"]["valid"] is False
    assert found["tables"]["dbo.Visits"]["valid"] is True
    assert "dbo.Shaky: differs" in said
    assert "name.bytes" in page


def test_what_is_known_is_told_without_a_server(told: Any) -> None:
    assert told["alone"][0]["tables"] == told["compared"][0]["tables"]


def test_losses_and_what_was_left_out_are_told_with_the_reason(told: Any) -> None:
    found, page, _ = told["repaired"]
    (loss,) = found["tables"]["dbo.Visits"]["losses"]
    assert (loss["columns"], loss["types"]) == (["SeenAt"], ["datetime2(7)"])
    assert "seventh digit" in loss["what"]
    assert "seventh digit" in page
    (left_out,) = found["not_migrated"]
    assert left_out["name"] == "dbo.Old"
    assert left_out["reason"]
    assert "dbo.Old" in page


def test_the_page_works_without_a_network(told: Any) -> None:
    _, page, _ = told["repaired"]
    assert set(re.findall(r"https?://[^\s\"<]*", page)) == set()
    assert not re.search(r"<(script|link|img|iframe)|url\(|@import", page)


def test_no_secret_is_in_it(told: Any) -> None:
    found, page, _ = told["repaired"]
    assert found["hosts"]["database"]
    assert found["hosts"]["warehouse"].startswith("s3://")
    for text in (json.dumps(found), page):
        assert "password" not in text.lower()


def test_a_materialization_leads_on(told: Any) -> None:
    of = told["metadata"]["p003"]
    assert "SELECT *\nFROM `dbo`.`visits`\nWHERE source_partition = 3" in of["query"]
    assert (
        f"FOR VERSION AS OF {of['snapshot id']}\nWHERE source_partition = 3"
        in (of["query in Athena, Trino, Spark"])
    )
    assert "FROM [dbo].[Visits]\nWHERE [Id] >= " in of["query in SQL Server"]
    assert "run --tables dbo.Visits --partitions p003" in of["migrate again"]
    assert of["report of the run"] == str(told["folder"] / "report.json")
    assert of["table done (%)"] == 100.0
    assert of["partitions done"] == "8 of 8"
    early = next(m for m in told["metadata"].values() if "rest of the table" in m)
    assert "if one partition follows the other at this pace" in early["rest of the table"]

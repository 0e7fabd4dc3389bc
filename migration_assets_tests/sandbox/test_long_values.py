"""Values longer than StarRocks takes: they stop the load, are cut, or stay in Iceberg, by choice."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from migration_assets.sandbox.launcher import Sandbox
from migration_assets_tests.fidelity.cases import catalog_of, mssql, starrocks
from migration_assets_tests.sandbox.project import Project

LIMIT = 1_048_576
KEPT = 262_144
# Two values too long by bytes, of one and of three bytes a character, and one that just fits.
TEXTS = {0: "short", 1: "x" * (LIMIT + 1), 2: "日" * 400_000, 3: "é" * (LIMIT // 2), 4: None}
RULES = """
include: ["long.notes"]
namespace_prefix: {choice}_
defaults: {{long_values: {choice}}}
"""


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with Sandbox(scale=None) as running:
        with mssql(running.settings) as connection, connection.cursor() as cursor:
            cursor.execute("CREATE SCHEMA long")
            cursor.execute(
                "CREATE TABLE long.notes (id int NOT NULL PRIMARY KEY, body nvarchar(max) NULL)"
            )
            for number, text in TEXTS.items():
                literal = "NULL" if text is None else _repeated(text)
                cursor.execute(f"INSERT INTO long.notes VALUES ({number}, {literal})")
        Project(tmp_path_factory.mktemp("doctor"), running.settings).run("doctor", "--fix").ok()
        yield running


def _repeated(text: str) -> str:
    if len(set(text)) > 1:
        return f"N'{text}'"
    return f"REPLICATE(CAST(N'{text[0]}' AS nvarchar(max)), {len(text)})"


def planned(sandbox: Sandbox, folder: Path, choice: str) -> Project:
    (folder / "migration.yaml").write_text(RULES.format(choice=choice), encoding="utf-8")
    project = Project(folder, sandbox.settings)
    project.run("plan").ok()
    return project


def in_iceberg(project: Project, choice: str) -> dict[int, str | None]:
    table = catalog_of(project.settings).load_table((f"{choice}_long", "notes"))
    return {row["id"]: row["body"] for row in table.scan().to_arrow().to_pylist()}


def in_starrocks(project: Project, sql: str) -> list[tuple[object, ...]]:
    with starrocks(project.settings) as connection, connection.cursor() as cursor:
        cursor.execute(sql)
        return list(cursor.fetchall())


def test_they_stop_the_load_by_default(sandbox: Sandbox, tmp_path: Path) -> None:
    project = planned(sandbox, tmp_path, "stop")
    result = project.run("run")
    assert result.code == 1
    assert in_iceberg(project, "stop") == TEXTS
    assert in_starrocks(project, "SELECT COUNT(*) FROM stop_long.notes") == [(0,)]
    assert "body" in result.out + result.err


def test_they_are_cut_in_starrocks_alone_and_counted(sandbox: Sandbox, tmp_path: Path) -> None:
    project = planned(sandbox, tmp_path, "cut")
    project.run("run").ok()
    assert in_iceberg(project, "cut") == TEXTS
    found = dict(in_starrocks(project, "SELECT id, body FROM cut_long.notes"))
    cut = {number: TEXTS[number][:KEPT] for number in (1, 2)}  # type: ignore[index]
    assert found == {**TEXTS, **cut}
    with project.instance() as instance:
        event = instance.get_latest_materialization_event(dg.AssetKey(["mssql", "long", "notes"]))
    assert event is not None
    metadata = event.asset_materialization.metadata  # type: ignore[union-attr]
    assert metadata["values of body cut in StarRocks"].value == 2
    project.run("validate", "--level", "rows").ok()


def test_their_column_may_stay_in_iceberg(sandbox: Sandbox, tmp_path: Path) -> None:
    project = planned(sandbox, tmp_path, "iceberg")
    project.run("run").ok()
    assert in_iceberg(project, "iceberg") == TEXTS
    columns = [row[0] for row in in_starrocks(project, "DESC iceberg_long.notes")]
    assert sorted(map(str, columns)) == ["id", "migrated_at", "source_partition", "source_schema"]
    project.run("validate", "--level", "rows").ok()


def test_the_plan_counts_them(sandbox: Sandbox, tmp_path: Path) -> None:
    project = planned(sandbox, tmp_path, "stop")
    shown = project.run("plan", "--measure").ok().out
    (column,) = [c for c in project.table("long.notes")["columns"] if c["name"] == "body"]
    # SQL Server counts UTF-16 units: every value of more than a third of the limit may be too long.
    assert column["affected"] == 3
    assert "long.notes: body" in shown
    assert "It concerns 3 values in 5 rows" in shown
    assert "long_values: cut or iceberg" in shown

"""The doctor with a wrong password, a corrupt plan in Dagster, catalog views that do not answer.

What a person can get wrong is in `migration_assets_tests/bad_input`, as data.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from migration_assets.sandbox.launcher import Sandbox
from migration_assets_tests.sandbox.project import Project, Result

SCRIPT = """
CREATE TABLE dbo.Items (Id int NOT NULL PRIMARY KEY, Name nvarchar(20) NULL);
GO
INSERT INTO dbo.Items VALUES (1, N'one'), (2, N'two');
GO
"""
WRONG = "Wr0ng-password"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    folder = tmp_path_factory.mktemp("input")
    (folder / "tables.sql").write_text(SCRIPT, encoding="utf-8")
    words = {"sqlserver": [f"--script={folder / 'tables.sql'}"]}
    with Sandbox(scale=None, extra_arguments=words) as sandbox:
        made = Project(folder, sandbox.settings)
        made.run("plan").ok()
        yield made


def assert_no_secret(project: Project, result: Result) -> None:
    secrets = {
        value for name, value in project.settings.items() if "PASSWORD" in name or "SECRET" in name
    }
    assert secrets
    for secret in (*secrets, WRONG):
        assert secret not in result.out + result.err


def test_doctor_tells_each_system_apart(project: Project) -> None:
    result = project.run("doctor", MSSQL_PASSWORD=WRONG)
    assert result.code == 1
    lines = result.out.splitlines()
    failed = [line for line in lines if line.startswith("FAIL")]
    assert any("SQL Server: connection" in line and "MSSQL_PASSWORD" in line for line in failed)
    assert any(line.startswith("ok   Lake: create table and commit") for line in lines)
    assert any(line.startswith("ok   StarRocks: connection") for line in lines)
    # Nobody has made the external catalog yet, and --fix was not asked for.
    assert any("StarRocks: external catalog" in line and "--fix" in line for line in failed)
    assert_no_secret(project, result)
    project.run("doctor", "--fix").ok()
    project.run("doctor").ok()


def test_definitions_of_a_corrupt_plan_do_not_load_and_say_why(project: Project) -> None:
    (project.folder / "corrupt.json").write_text("{}")
    result = project.execute(
        "dagster", "definitions", "validate", "-m", "migration_assets.definitions",
        MIGRATION_PLAN="corrupt.json",
    )  # fmt: skip
    assert result.code != 0
    assert "corrupt.json" in result.out + result.err
    assert "migration-assets plan" in result.out + result.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["--without=sys.dm_db_partition_stats", "--without=sys.partitions"],
            "tables were counted: no view had an estimate.",
        ),
        (["--deny=sys.dm_db_partition_stats"], "not permitted"),
    ],
    ids=["missing", "denied"],
)
def test_plan_falls_back_where_catalog_views_do_not_answer(
    words: list[str], said: str, tmp_path: Path
) -> None:
    (tmp_path / "tables.sql").write_text(SCRIPT, encoding="utf-8")
    arguments = {"sqlserver": [f"--script={tmp_path / 'tables.sql'}", *words]}
    with Sandbox(["sqlserver"], scale=None, extra_arguments=arguments) as sandbox:
        project = Project(tmp_path, {**sandbox.settings, "S3_BUCKET": "lake"})
        result = project.run("plan").ok()
    assert project.table("dbo.Items")["rows"] == 2
    assert said in " ".join(project.plan["notes"])
    assert said in " ".join(result.out.split())

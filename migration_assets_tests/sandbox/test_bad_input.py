"""Wrong settings, stopped servers, wrong arguments: one sentence and an exit code each."""

from __future__ import annotations

import socket
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
FAST = {"MSSQL_LOGIN_TIMEOUT_S": "3", "S3_MAX_ATTEMPTS": "1", "STARROCKS_CONNECT_TIMEOUT_S": "3"}


@pytest.fixture(scope="module")
def closed_port() -> Iterator[str]:
    """A port on which nobody listens, kept so."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield str(held.getsockname()[1])


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    folder = tmp_path_factory.mktemp("input")
    (folder / "tables.sql").write_text(SCRIPT, encoding="utf-8")
    words = {"sqlserver": [f"--script={folder / 'tables.sql'}"]}
    with Sandbox(scale=None, extra_arguments=words) as sandbox:
        made = Project(folder, {**sandbox.settings, **FAST})
        made.run("plan").ok()
        yield made


def assert_one_sentence(project: Project, result: Result, code: int, *said: str) -> None:
    assert result.code == code, str(result)
    lines = result.err.strip().splitlines()
    assert len(lines) == 1, str(result)
    assert lines[0].startswith("Error: "), lines
    assert "Traceback" not in result.out
    for word in said:
        assert word in lines[0], lines
    assert_no_secret(project, result)


def assert_no_secret(project: Project, result: Result) -> None:
    secrets = {
        value for name, value in project.settings.items() if "PASSWORD" in name or "SECRET" in name
    }
    assert secrets
    for secret in (*secrets, WRONG):
        assert secret not in result.out + result.err


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"MSSQL_PASSWORD": WRONG}, ["SQL Server 127.0.0.1", "'sa'", "MSSQL_PASSWORD"]),
        ({"MSSQL_HOST": "no-such-host.invalid"}, ["no-such-host.invalid", "MSSQL_HOST"]),
        ({"MSSQL_PORT": "closed"}, ["SQL Server 127.0.0.1,", "MSSQL_PORT"]),
        ({"MSSQL_DATABASE": "nowhere"}, ["'nowhere'", "MSSQL_DATABASE"]),
    ],
    ids=["password", "host", "stopped", "database"],
)
def test_plan_cannot_reach_sql_server(
    project: Project, closed_port: str, changes: dict[str, str], said: list[str], tmp_path: Path
) -> None:
    changes = {name: closed_port if value == "closed" else value for name, value in changes.items()}
    result = project.run("plan", "--output", str(tmp_path / "plan.json"), **changes)
    assert_one_sentence(project, result, 1, *said)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"S3_BUCKET": "nowhere"}, ["nowhere", "S3_BUCKET"]),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:closed"}, ["http://127.0.0.1:"]),
        ({"STARROCKS_PASSWORD": WRONG}, ["StarRocks", "root", "STARROCKS_PASSWORD"]),
        ({"STARROCKS_PORT": "closed"}, ["StarRocks", "127.0.0.1:", "STARROCKS_PORT"]),
        ({"STARROCKS_HOST": "no-such-host.invalid"}, ["no-such-host.invalid", "STARROCKS_HOST"]),
    ],
    ids=["bucket", "endpoint", "password", "stopped", "host"],
)
def test_run_cannot_reach_a_target(
    project: Project, closed_port: str, changes: dict[str, str], said: list[str]
) -> None:
    changes = {name: value.replace("closed", closed_port) for name, value in changes.items()}
    result = project.run("run", **changes)
    assert_one_sentence(project, result, 1, *said)
    assert not (project.folder / "report.json").exists()


@pytest.mark.parametrize(
    ("arguments", "changes", "said"),
    [
        (["plan"], {"MSSQL_HOST": None, "MSSQL_USER": None}, ["MSSQL_HOST", "MSSQL_USER"]),
        (["plan"], {"MSSQL_PORT": "many"}, ["MSSQL_PORT"]),
        (["plan"], {"S3_BUCKET": None}, ["S3_BUCKET"]),
        (["run"], {"STARROCKS_HOST": None}, ["STARROCKS_HOST"]),
        (["run", "--tables", "sales.*"], {}, ["'sales.*'", "migration-assets status"]),
        (["run", "--partitions", "p000,p099"], {}, ["'p099'"]),
        (["run", "--from", "starrocks", "--until", "mssql"], {}, ["--from", "--until"]),
        (["status", "--tables", "Items"], {}, ["'Items'"]),
        (["validate", "--tables", "nothing.*"], {}, ["'nothing.*'"]),
        (["reset", "dbo.Other", "--yes"], {}, ["'dbo.Other'"]),
        (["run"], {"MIGRATION_PLAN": "none.json"}, ["none.json", "migration-assets plan"]),
        (["run"], {"MIGRATION_PLAN": "corrupt.json"}, ["corrupt.json", "migration-assets plan"]),
        (["status"], {"MIGRATION_PLAN": "corrupt.json"}, ["corrupt.json"]),
        (["plan"], {"MIGRATION_RULES": "wrong.yaml"}, ["wrong.yaml", "inclde", "include"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_wrong_use_ends_with_2(
    project: Project, arguments: list[str], changes: dict[str, str | None], said: list[str]
) -> None:
    (project.folder / "corrupt.json").write_text('{"version": 1, "tables": [')
    (project.folder / "wrong.yaml").write_text('inclde: ["dbo.*"]\n')
    result = project.run(*arguments, **changes)
    assert_one_sentence(project, result, 2, *said)


def test_an_unknown_option_is_explained_by_the_command_line(project: Project) -> None:
    result = project.run("run", "--evrything")
    assert result.code == 2
    assert "--evrything" in result.err
    assert "Traceback" not in result.err


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

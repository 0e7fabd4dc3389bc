"""The bundle for a support case: what there is gets in, nothing secret does, and nothing is needed."""

from __future__ import annotations

import json
import os
import stat
import zipfile
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import dagster as dg
import pytest

from migration_assets.assets.failures import plain_failure
from migration_assets.errors import ConfigurationError, PlanError
from migration_assets.operations import bundle
from migration_assets.operations.bundle import check_bundle, examined, write_bundle
from migration_assets.operations.doctor import Finding
from migration_assets.operations.home import open_instance
from migration_assets.operations.redaction import Redaction, is_secret_name, known_secrets
from migration_assets.settings import ProjectSettings
from migration_assets_tests.sandbox.canaries import PASSWORDS, SECRETS, secrets_in
from migration_assets_tests.unit.test_plan import PLAN

FINDINGS = [
    Finding("SQL Server", "connection", ok=True, found="Microsoft SQL Server 2022"),
    Finding("StarRocks", "connection", ok=False, found="MA-SR-007: No connection could be made."),
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project's folder, with secrets in its settings and nothing else."""
    for name in list(os.environ):
        if name.startswith(
            ("MSSQL_", "STARROCKS_", "AWS_", "S3_", "ICEBERG_", "MIGRATION_", "DAGSTER_")
        ):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    given = {
        "MSSQL_HOST": "db.example", "MSSQL_USER": "reader", "MSSQL_DATABASE": "shop",
        "MSSQL_PASSWORD": PASSWORDS["sqlserver"], "AWS_SECRET_ACCESS_KEY": PASSWORDS["aws"],
        "STARROCKS_PASSWORD": PASSWORDS["starrocks"],
        "ICEBERG_CATALOG_URI": "postgresql://joe:s3cr3t@catalog:5432/lake",
        "SLACK_WEBHOOK_URL": "https://hooks.example/T000/B000/canary",
    }  # fmt: skip
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    return tmp_path


def read(path: Path) -> dict[str, Any]:
    with zipfile.ZipFile(path) as archive:
        bodies = {name: archive.read(name) for name in archive.namelist()}
    for name, body in bodies.items():
        assert secrets_in(body) == set(), name
        assert b"s3cr3t" not in body, name
        assert b"hooks.example" not in body, name
    return {name: json.loads(body) for name, body in bodies.items()}


def test_without_plan_history_and_report_the_rest_is_there(folder: Path) -> None:
    path = folder / "support.zip"
    assert write_bundle(path, FINDINGS) == [
        "manifest.json", "settings.json", "versions.json", "doctor.json"
    ]  # fmt: skip
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [one.name for one in folder.iterdir()] == ["support.zip"], "no home was made for it"
    inside = read(path)
    left_out = {one["name"]: one["why"] for one in inside["manifest.json"]["left_out"]}
    assert set(left_out) == {"plan.json", "errors.json", "report.json"}
    assert left_out["plan.json"].startswith("MA-PL-001: There is no plan at migration_plan.json.")
    assert (
        left_out["errors.json"]
        == f"MA-CF-032: There is no history of Dagster in {folder}/.dagster."
    )
    shown = inside["settings.json"]
    assert shown["MssqlSettings"]["MSSQL_HOST"] == "db.example"
    assert shown["MssqlSettings"]["MSSQL_PASSWORD"] == "***"
    assert shown["LakeSettings"] == {
        "AWS_SECRET_ACCESS_KEY": "***", "ICEBERG_CATALOG_URI": "postgresql://***@catalog:5432/lake",
    }  # fmt: skip
    assert inside["versions.json"]["servers"] == {
        "SQL Server": "Microsoft SQL Server 2022", "StarRocks": None,
    }  # fmt: skip
    assert {"pymssql", "pyarrow", "dagster"} <= inside["versions.json"]["packages"].keys()
    assert inside["doctor.json"][1]["found"] == "MA-SR-007: No connection could be made."


def test_errors_of_the_history_come_with_code_and_trace_and_without_secrets(folder: Path) -> None:
    secret = PASSWORDS["sqlserver"]

    @dg.op
    def coded() -> None:
        cause = PlanError(f"Told of {secret!r}.", code="MA-PL-009")
        raise plain_failure(cause, "dbo.t p000") from cause

    @dg.op
    def unforeseen() -> None:
        raise ValueError(f"postgresql://u:{secret}@h/x refused")

    @dg.job(executor_def=dg.in_process_executor)
    def broken() -> None:
        coded()
        unforeseen()

    with open_instance(ProjectSettings.load()) as instance:
        ended = broken.execute_in_process(instance=instance, raise_on_error=False)
    assert not ended.success
    (folder / "migration_plan.json").write_text(PLAN.to_json())
    (folder / "report.json").write_text(json.dumps({"failures": [f"it was {secret}"]}))
    path = folder / "support.zip"
    path.write_bytes(b"an older one")
    write_bundle(path, FINDINGS)
    inside = read(path)
    assert inside["manifest.json"]["left_out"] == []
    assert inside["plan.json"]["tables"]
    assert inside["report.json"] == {"failures": ["it was ***"]}
    by_step = {one["step"]: one for one in inside["errors.json"]}
    assert by_step["coded"]["code"] == "MA-PL-009"
    assert by_step["coded"]["said"] == "MA-PL-009: dbo.t p000: Told of '***'."
    assert by_step["coded"]["error"] == "PlanError"
    assert "in coded" in by_step["coded"]["trace"]
    assert by_step["unforeseen"]["error"] == "ValueError"
    assert "refused" in by_step["unforeseen"]["said"]
    assert by_step["coded"]["run_id"] == ended.run_id


def test_a_part_that_fails_unforeseen_costs_only_itself(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails() -> None:
        raise KeyError(PASSWORDS["starrocks"])

    monkeypatch.setattr(bundle, "settings_shown", fails)
    write_bundle(folder / "x.zip", FINDINGS)
    inside = read(folder / "x.zip")
    assert "settings.json" not in inside
    (why,) = [
        one["why"] for one in inside["manifest.json"]["left_out"] if one["name"] == "settings.json"
    ]
    assert why.startswith("MA-DG-001: unexpected KeyError: ")


def test_an_error_that_ends_the_doctor_is_its_last_finding() -> None:
    def broken(error: Exception) -> Any:
        yield FINDINGS[0]
        raise error

    found = list(examined(broken(ConfigurationError("No.", code="MA-CF-001", next_step="Set it."))))
    assert found[0] is FINDINGS[0]
    assert (found[1].found, found[1].remedy) == ("MA-CF-001: No.", "Set it.")
    (_, last) = examined(broken(RuntimeError("odd")))
    assert last.found == "MA-DG-001: unexpected RuntimeError: odd"


def test_what_cannot_be_written_is_refused_before_anything_is_looked_at(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nowhere" / "x.zip"):
        with pytest.raises(ConfigurationError) as refused:
            check_bundle(path)
        assert refused.value.code == "MA-CF-031"
    check_bundle(tmp_path / "x.zip")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://joe:pw@host/x and more", "https://***@host/x and more"),
        ("redis://:p/w@host", "redis://***@host"),
        ("s3://bucket/key", "s3://bucket/key"),
        ("Server=h;PWD={a;}}b};Database=d", "Server=h;PWD=***;Database=d"),
        ("password=abc&x=1", "password=***&x=1"),
        ("mail me at a@b.example", "mail me at a@b.example"),
        ("MSSQL_PASSWORD: it is not set", "MSSQL_PASSWORD: it is not set"),
    ],
)
def test_what_stands_as_a_secret_is_masked_without_being_known(text: str, shown: str) -> None:
    assert Redaction([]).text(text) == shown


@pytest.mark.parametrize("secret", SECRETS)
def test_known_secrets_are_masked_however_they_are_quoted(secret: str) -> None:
    redaction = Redaction(SECRETS)
    for quoted in (
        secret, json.dumps(secret), json.dumps(secret, ensure_ascii=False), repr(secret),
        quote(secret), quote(secret, safe=""), quote_plus(secret), secret.replace("}", "}}"),
        secret.replace("'", "''"), secret.replace("&", "&amp;"),
    ):  # fmt: skip
        text = f"begin {quoted} end"
        assert secrets_in(text.encode()) == {secret}
        assert secrets_in(redaction.text(text).encode()) == set()
        assert redaction.text(text).startswith("begin ")
        assert redaction.text(text).endswith(" end")


def test_structures_are_masked_by_value_and_by_key() -> None:
    redaction = Redaction(SECRETS)
    assert redaction.data({"a": [SECRETS[0], {"b": (SECRETS[1], 1, None)}]}) == {
        "a": ["***", {"b": ["***", 1, None]}]
    }
    assert redaction.data({"salt": "x", "sort_key": "y"}) == {"salt": "***", "sort_key": "y"}


def test_a_short_secret_leaves_the_json_whole() -> None:
    assert Redaction(["a", "ab"]).data({"sa": "abc", "n": 1}) == {"s***": "***c", "n": 1}


def test_secrets_are_known_by_settings_and_by_name(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MSSQL_PASSWORD_SECRET_ID", "prod/mssql")
    monkeypatch.setenv("SOME_API_KEY", "key of eight or more")
    found = known_secrets()
    assert {*PASSWORDS.values(), "key of eight or more"} <= found
    assert "prod/mssql" not in found
    assert os.environ["PWD"] not in found
    assert is_secret_name("SLACK_WEBHOOK_URL")
    assert not is_secret_name("MSSQL_USER")

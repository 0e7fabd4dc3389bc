"""Falsified values and failing partitions, over real sockets, and how they are repaired.

Each scenario runs once, on tables of its own in one small database, and several tests look at what
it left. Only commands and what the servers received and hold are looked at.
"""

from __future__ import annotations

import base64
import io
import json
import sqlite3
import zipfile
import zlib
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import boto3
import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from migration_assets.error_codes.registry import CODES
from migration_assets.errors import code_of
from migration_assets.sandbox.control import Fault
from migration_assets_tests.sandbox import canaries
from migration_assets_tests.sandbox.bench import DONE, ROWS, VALUES, Bench
from migration_assets_tests.sandbox.project import WAIT_S, Project, Result

# -- a value falsified, a partition that fails ------------------------------------------------------


@dataclass
class Red:
    """The first run, with faults in three of five tables."""

    result: Result
    report: dict[str, Any]
    states: dict[tuple[str, str], dict[str, str]]
    failed: Result
    checks: dict[str, str]
    untouched: dict[str, list[Any]]


@pytest.fixture(scope="module")
def red(bench: Bench) -> Red:
    p003 = bench.project.table("dbo.Ranged")["key_ranges"][3]
    broken = rf"AS \[amount\] FROM \[dbo\]\.\[Ranged\] WHERE \[Id\] >= {p003['lower']} "
    bench.sqlserver.arm(
        Fault("alter", match=r"AS \[amount\] FROM \[dbo\]\.\[Altered\]", column="amount"),
        Fault("error", match=broken, number=8134, message="Divide by zero error encountered."),
    )
    bench.starrocks.arm(
        Fault(
            "then",
            match="^INSERT OVERWRITE `dbo`.`loaded`",
            sql='UPDATE "dbo"."loaded" SET amount = 99 WHERE id = 7',
        )
    )
    names = ["Altered", "Ranged", "Loaded", "Fine", "Empty"]
    patterns = [word for name in names for word in ("--tables", f"dbo.{name}")]
    result = bench.project.run("run", *patterns)
    bench.disarm()
    failed = bench.project.run("status", "--failed", *patterns)
    checks = {}
    with bench.project.instance() as instance:
        for path, check in (
            ("mssql/dbo/Altered", "fingerprint"),
            ("starrocks/dbo/loaded", "fingerprint"),
        ):
            key = dg.AssetCheckKey(dg.AssetKey(path.split("/")), check)
            (record,) = instance.event_log_storage.get_asset_check_execution_history(key, limit=1)
            evaluation = record.evaluation
            assert evaluation is not None
            assert not evaluation.passed
            checks[path] = evaluation.description or ""
    return Red(
        result=result,
        report=bench.project.report,
        states=bench.states(*(f"dbo.{name}" for name in names)),
        failed=failed,
        checks=checks,
        untouched={
            "Fine": bench.loaded("Fine"),
            "Empty": bench.loaded("Empty"),
            "Empty in Iceberg": bench.iceberg("Empty"),
            "Ranged": bench.loaded("Ranged"),
        },
    )


def test_a_run_with_failures_ends_with_exit_code_1_and_reports_each(red: Red) -> None:
    assert red.result.code == 1, str(red.result)
    assert red.report["success"] is False
    failures = {(f["table"], f["partition"], f["stage"]) for f in red.report["failures"]}
    assert failures == {
        ("dbo.Altered", "p000", "mssql"),
        ("dbo.Ranged", "p003", "mssql"),
        ("dbo.Loaded", "p000", "starrocks"),
    }
    assert "Traceback" not in red.result.out + red.result.err


def test_a_value_altered_on_the_way_from_sql_server_is_found_by_the_source_check(red: Red) -> None:
    assert red.states["dbo.Altered", "p000"] == {
        "mssql": "failed", "iceberg": "missing", "starrocks": "missing",
    }  # fmt: skip
    total = sum(range(ROWS)) * 25  # hundredths
    description = red.checks["mssql/dbo/Altered"]
    assert "amount." in description
    assert f"expected {total:,}, found {total + 100:,}" in description


def test_a_value_altered_in_starrocks_is_found_by_the_target_check(red: Red) -> None:
    assert red.states["dbo.Loaded", "p000"] == {
        "mssql": "done", "iceberg": "done", "starrocks": "failed",
    }  # fmt: skip
    total = sum(range(ROWS)) * 25
    description = red.checks["starrocks/dbo/loaded"]
    assert "amount." in description
    assert f"expected {total:,}, found {total - 175 + 9900:,}" in description


def test_one_failing_partition_leaves_all_others_materialized(red: Red) -> None:
    keys = [f"p{number:03d}" for number in range(8)]
    for key in keys:
        wanted = DONE if key != "p003" else {
            "mssql": "failed", "iceberg": "missing", "starrocks": "missing",
        }  # fmt: skip
        assert red.states["dbo.Ranged", key] == wanted
    assert set(red.untouched["Ranged"]) < VALUES
    assert len(red.untouched["Ranged"]) == ROWS * 7 // 8
    assert red.states["dbo.Fine", "p000"] == DONE
    assert set(red.untouched["Fine"]) == VALUES


def test_an_empty_table_is_there_in_both_targets(red: Red) -> None:
    assert red.states["dbo.Empty", "p000"] == DONE
    assert red.untouched["Empty"] == red.untouched["Empty in Iceberg"] == []
    assert red.report["tables"]["dbo.Empty"]["valid"] is True


def test_status_names_cause_and_command(red: Red) -> None:
    text = red.failed.ok().out
    assert "Divide by zero error encountered." in text
    assert "migration-assets run --failed --tables dbo.Ranged --partitions p003" in text
    assert "amount." in text


@dataclass
class Healed:
    """What `run --failed` did after the faults were gone."""

    result: Result
    reads: Counter[str]
    loads: Counter[str]
    materialized: dict[str, int]


@pytest.fixture(scope="module")
def healed(bench: Bench, red: Red) -> Healed:
    reads, loads = bench.reads(), bench.loads()
    patterns = [f"dbo.{name}" for name in ("Altered", "Ranged", "Loaded", "Fine", "Empty")]
    words = [word for pattern in patterns for word in ("--tables", pattern)]
    result = bench.project.run("run", "--failed", *words)
    return Healed(
        result,
        bench.reads() - reads,
        bench.loads() - loads,
        bench.project.materializations("starrocks", "dbo", "ranged"),
    )


def test_failed_remakes_what_failed_and_nothing_else(bench: Bench, healed: Healed) -> None:
    healed.result.ok()
    assert healed.reads == {"Altered": 1, "Ranged": 1, "Loaded": 1}
    assert healed.loads == {"altered": 1, "ranged": 1, "loaded": 1}
    assert healed.materialized == {f"p{number:03d}": 1 for number in range(8)}
    bench.assert_arrived("Altered", "Ranged", "Loaded", "Fine")


# -- later changes ---------------------------------------------------------------------------------


@dataclass
class Later:
    """Rows changed in StarRocks after the fact, and an extract made alone."""

    red: Result
    states: dict[tuple[str, str], dict[str, str]]
    failed: Result
    reads: Counter[str]
    loads: Counter[str]
    green: Result


@pytest.fixture(scope="module")
def later(bench: Bench, healed: Healed) -> Later:
    project = bench.project
    bench.starrocks.sql('UPDATE "dbo"."loaded" SET amount = 98 WHERE id = 7')
    bench.starrocks.sql('UPDATE "dbo"."ranged" SET amount = 98 WHERE id = 130')
    # Of a text's length StarRocks knows the bytes and SQL Server the UTF-16 units.
    bench.starrocks.sql("""UPDATE "dbo"."ranged" SET name = 'row 60 ' WHERE id = 60""")
    patterns = ["--tables", "dbo.Loaded", "--tables", "dbo.Ranged", "--tables", "dbo.Fine"]
    red = project.run("validate", *patterns)
    project.run("run", "--until", "mssql", "--tables", "dbo.Fine").ok()
    project.run("run", "--from", "starrocks", "--tables", "dbo.Ranged", "--partitions", "p001").ok()
    states = bench.states("dbo.Loaded", "dbo.Ranged", "dbo.Fine")
    reads, loads = bench.reads(), bench.loads()
    failed = project.run("run", "--failed", *patterns)
    return Later(
        red,
        states,
        failed,
        bench.reads() - reads,
        bench.loads() - loads,
        project.run("validate", *patterns),
    )


def test_validate_finds_what_changed_in_starrocks(later: Later) -> None:
    assert later.red.code == 1
    lines = {line.split(":")[0]: line for line in later.red.out.splitlines()}
    assert "differs" in lines["dbo.Loaded"]
    assert "p000 amount." in lines["dbo.Loaded"]
    assert "differs" in lines["dbo.Ranged"]
    assert "p005 amount." in lines["dbo.Ranged"]
    assert "p002 name.bytes: " in lines["dbo.Ranged"]
    assert "equal" in lines["dbo.Fine"]


def test_a_comparison_of_counts_does_not_turn_a_red_fingerprint_green(later: Later) -> None:
    assert later.states["dbo.Ranged", "p005"]["starrocks"] == "check failed"
    assert later.states["dbo.Ranged", "p002"]["starrocks"] == "check failed"
    assert later.states["dbo.Ranged", "p001"] == DONE
    assert later.states["dbo.Loaded", "p000"]["starrocks"] == "check failed"


def test_an_extract_made_alone_leaves_its_downstream_stale(later: Later) -> None:
    assert later.states["dbo.Fine", "p000"] == {
        "mssql": "done", "iceberg": "stale", "starrocks": "stale",
    }  # fmt: skip


def test_failed_repairs_both_and_validate_is_green_again(bench: Bench, later: Later) -> None:
    later.failed.ok()
    assert later.reads == {"Loaded": 1, "Ranged": 2}
    assert later.loads == {"loaded": 1, "ranged": 2, "fine": 1}
    later.green.ok()
    bench.assert_arrived("Loaded", "Ranged", "Fine")


# -- Parquet files replaced ------------------------------------------------------------------------


def replace_file(bench: Bench, table: str, change: Any) -> None:
    """Write a table's only data file anew under its own name."""
    settings = bench.project.settings
    s3 = boto3.client(
        "s3", endpoint_url=settings["AWS_ENDPOINT_URL"], region_name=settings["AWS_REGION"],
        aws_access_key_id=settings["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=settings["AWS_SECRET_ACCESS_KEY"],
    )  # fmt: skip
    bucket, prefix = settings["S3_BUCKET"], f"warehouse/dbo/{table}/data/"
    (found,) = s3.list_objects_v2(Bucket=bucket, Prefix=prefix)["Contents"]
    content = s3.get_object(Bucket=bucket, Key=found["Key"])["Body"].read()
    changed = io.BytesIO()
    pq.write_table(change(pq.read_table(io.BytesIO(content))), changed, compression="zstd")
    s3.put_object(Bucket=bucket, Key=found["Key"], Body=changed.getvalue())
    s3.close()


def other_value(rows: pa.Table) -> pa.Table:
    place = rows.column_names.index("amount")
    amounts = rows["amount"].to_pylist()
    amounts[7] += 1
    return rows.set_column(
        place, rows.schema.field(place), pa.array(amounts, rows.schema.field(place).type)
    )


@dataclass
class Replaced:
    """Runs around the replacement of two files."""

    commit: Result
    after_commit: dict[tuple[str, str], dict[str, str]]
    load: Result
    after_load: dict[tuple[str, str], dict[str, str]]
    healed: Result


@pytest.fixture(scope="module")
def replaced(bench: Bench) -> Replaced:
    names, project = ("dbo.Replaced", "dbo.Swapped"), bench.project
    words = [word for name in names for word in ("--tables", name)]
    project.run("run", "--until", "mssql", *words).ok()
    replace_file(bench, "replaced", lambda rows: rows.slice(1))
    commit = project.run("run", "--from", "iceberg", "--until", "iceberg", *words)
    after_commit = bench.states(*names)
    replace_file(bench, "swapped", other_value)
    load = project.run("run", "--failed", *words)
    after_load = bench.states(*names)
    return Replaced(commit, after_commit, load, after_load, project.run("run", "--failed", *words))


def test_a_file_that_is_not_as_its_receipt_says_is_not_committed(replaced: Replaced) -> None:
    assert replaced.commit.code == 1
    assert replaced.after_commit["dbo.Replaced", "p000"] == {
        "mssql": "done", "iceberg": "failed", "starrocks": "missing",
    }  # fmt: skip
    assert replaced.after_commit["dbo.Swapped", "p000"]["iceberg"] == "done"
    said = replaced.commit.out
    assert "dbo.Replaced p000 (iceberg)" in said
    assert ".parquet" in said
    assert "rows" in said or "bytes" in said


def test_a_value_changed_in_a_committed_file_is_found_in_starrocks(
    bench: Bench, replaced: Replaced
) -> None:
    assert replaced.load.code == 1
    assert replaced.after_load["dbo.Replaced", "p000"] == DONE
    assert replaced.after_load["dbo.Swapped", "p000"] == {
        "mssql": "done", "iceberg": "done", "starrocks": "failed",
    }  # fmt: skip
    assert "amount." in replaced.load.out
    replaced.healed.ok()
    bench.assert_arrived("Replaced", "Swapped")


# -- secrets ---------------------------------------------------------------------------------------


def test_a_secret_is_found_in_each_form_it_may_be_written_in(tmp_path: Path) -> None:
    secret = canaries.PASSWORDS["sqlserver"]
    assert not canaries.secrets_in(b"nothing of the kind")
    for data in (
        f"PWD={{{secret.replace('}', '}}')}}};".encode(),
        base64.b64encode(b"?" + f"sa:{secret}!".encode()),
        json.dumps({"message": json.dumps({"password": secret})}).encode(),
        quote(secret, safe="").encode(),
        zlib.compress(secret.encode()),
        secret.encode("utf-16-le"),
    ):
        assert canaries.secrets_in(data) == {secret}, data
    with closing(sqlite3.connect(tmp_path / "events.db")) as database:
        database.execute("CREATE TABLE events (body BLOB)")
        database.execute("INSERT INTO events VALUES (?)", [zlib.compress(secret.encode())])
        database.commit()
    assert {secret} in [found for _, found in canaries.places_in(tmp_path)]


def assert_bundle(project: Project) -> None:
    """What whoever helps needs is in it, of a project with a history of failures."""
    with zipfile.ZipFile(project.folder / "support.zip") as archive:
        inside = {name: json.loads(archive.read(name)) for name in archive.namelist()}
    manifest = inside.pop("manifest.json")
    assert [one["name"] for one in manifest["files"]] == list(inside)
    assert set(inside) == {
        "settings.json", "versions.json", "doctor.json", "plan.json", "errors.json", "report.json",
    }  # fmt: skip
    assert manifest["left_out"] == []
    shown = {name: value for own in inside["settings.json"].values() for name, value in own.items()}
    assert shown["MSSQL_USER"] == project.settings["MSSQL_USER"]
    for name in ("MSSQL_PASSWORD", "STARROCKS_PASSWORD", "AWS_SECRET_ACCESS_KEY"):
        assert shown[name] == "***", name
    codes = {code_of(one["found"]) for one in inside["doctor.json"]}
    assert {"MA-MS-005", "MA-SR-009"} <= codes  # both logins were refused
    errors = inside["errors.json"]
    assert [one["at"] for one in errors] == sorted((one["at"] for one in errors), reverse=True)
    failed = [one for one in errors if one["step"]]
    assert all(one["code"] in CODES and one["said"].startswith(one["code"]) for one in failed)
    (differs,) = [one for one in failed if one["step"] == "starrocks__dbo__swapped"]
    assert differs["code"] == "MA-VE-001"
    assert "File " in differs["trace"]
    assert inside["plan.json"]["tables"]
    assert inside["report.json"]["tables"]


def test_no_secret_is_in_anything_that_was_written(bench: Bench, replaced: Replaced) -> None:
    """After all of the above: failures, retries, checks, and now a report and refused logins."""
    project, wrong = bench.project, canaries.WRONG
    project.run("plan", "--yes", "--report", "report.html").ok()
    process = project.start_run("--tables", "dbo.Fine", **wrong)
    seen = canaries.command_lines(60, process)
    assert process.wait(WAIT_S) == 1
    denied = project.run("doctor", "--bundle", "support.zip", **wrong)
    assert denied.code == 1
    assert "refused the login" in denied.out
    assert "login was refused" in denied.out  # StarRocks
    assert_bundle(project)
    assert any(b"migration-assets" in line and b"dbo.Fine" in line for line in seen)
    assert any(b"migration_assets.sandbox.sqlserver" in line for line in seen)

    places = [("command lines", canaries.secrets_in(b"\n".join(seen)))]
    places += [("output", canaries.secrets_in(text.encode())) for text in project.said]
    places += canaries.places_in(project.folder)
    places += canaries.places_in_aws(project.settings, "dbo")
    assert [(place, found) for place, found in places if found] == []
    names = " ".join(place for place, _ in places)
    for kind in ("report.html", "migration_plan.json", ".db:event_logs", "output", "receipts",
                 ".parquet", "metadata.json", "statements", "compute_logs", "support.zip:errors.json"):  # fmt: skip
        assert kind in names, f"{kind} was not looked at"

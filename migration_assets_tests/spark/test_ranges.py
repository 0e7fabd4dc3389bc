"""A table of Spark's: one run for many partitions, and each of them on its own where it matters."""

from __future__ import annotations

import hashlib
import hmac
import os
import signal
import time
from collections.abc import Iterator

import dagster as dg
import pytest

from migration_assets.sandbox.control import Fault
from migration_assets_tests.sandbox.bench import DONE, Bench, running
from migration_assets_tests.sandbox.project import Project, iceberg_catalog, kill, wait_until
from migration_assets_tests.spark.processes import is_gone, jvms_of

KEYS = [f"p{number:03d}" for number in range(8)]
RULES = """
tables:
  dbo.Ranged: {partitions: 8, engine: spark}
  dbo.Fine: {partitions: 8, engine: spark}
  dbo.Killed?: {partitions: 8, engine: spark}
  dbo.Changed: {partitions: 8, engine: spark, where: Id >= 10, columns: {Name: {mask: hash}}}
"""
SALT = "a salt that is long enough"


@pytest.fixture(scope="module")
def bench(
    spark_settings: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Bench]:
    with running(tmp_path_factory.mktemp("bench")) as made:
        (made.project.folder / "migration.yaml").write_text(RULES)
        made.project.settings = {
            **made.project.settings, **spark_settings, "MIGRATION_MASK_SALT": SALT,
        }  # fmt: skip
        made.project.run("plan", "--yes").ok()
        yield made


def runs_of(project: Project, name: str) -> dict[str, list[str]]:
    """The run that last materialized each partition of a table's extract, by run."""
    found: dict[str, list[str]] = {}
    with project.instance() as instance:
        records = instance.fetch_materializations(
            dg.AssetKey(["mssql", "dbo", name]), limit=100
        ).records
    seen = set()
    for record in records:  # newest first
        key = str(record.partition_key)
        if key not in seen:
            seen.add(key)
            found.setdefault(record.run_id, []).append(key)
    return {run: sorted(keys) for run, keys in found.items()}


@pytest.fixture(scope="module")
def red(bench: Bench) -> str:
    """A run of two tables, of which one partition cannot be read."""
    p003 = bench.project.table("dbo.Ranged")["key_ranges"][3]
    broken = rf"AS \[amount\] FROM \[dbo\]\.\[Ranged\] WHERE \[Id\] >= {p003['lower']} "
    bench.sqlserver.arm(
        Fault("error", match=broken, number=8134, message="Divide by zero error encountered.")
    )
    result = bench.project.run("run", "--tables", "dbo.Ranged", "--tables", "dbo.Fine")
    bench.disarm()
    assert result.code == 1, str(result)
    return result.out + result.err


def test_all_partitions_of_all_tables_are_extracted_in_one_run(bench: Bench, red: str) -> None:
    (run,) = runs_of(bench.project, "Fine")
    assert runs_of(bench.project, "Fine") == {run: KEYS}
    assert runs_of(bench.project, "Ranged") == {run: [key for key in KEYS if key != "p003"]}
    bench.assert_arrived("Fine")


def test_the_partition_that_failed_fails_alone(bench: Bench, red: str) -> None:
    states = bench.states("dbo.Ranged")
    for key in KEYS:
        wanted = DONE if key != "p003" else {
            "mssql": "failed", "iceberg": "missing", "starrocks": "missing",
        }  # fmt: skip
        assert states["dbo.Ranged", key] == wanted
    assert "Divide by zero error encountered." in red
    assert "migration-assets run --failed --tables dbo.Ranged --partitions p003" in red
    assert "Traceback" not in red


def test_checks_are_of_partitions(bench: Bench, red: str) -> None:
    with bench.project.instance() as instance:
        for check in ("row_count", "fingerprint"):
            key = dg.AssetCheckKey(dg.AssetKey(["mssql", "dbo", "Fine"]), check)
            found = instance.event_log_storage.get_asset_check_partition_info([key])
            states = {info.partition_key: info.latest_execution_status.value for info in found}
            assert states == dict.fromkeys(KEYS, "SUCCEEDED")


def test_failed_makes_just_that_one_again(bench: Bench, red: str) -> None:
    before = runs_of(bench.project, "Ranged")
    bench.project.run("run", "--failed", "--tables", "dbo.Ranged").ok()
    after = runs_of(bench.project, "Ranged")
    assert [keys for run, keys in after.items() if run not in before] == [["p003"]]
    bench.assert_arrived("Ranged")


def test_one_partition_from_dagsters_command_line(bench: Bench, red: str) -> None:
    before = bench.project.data_versions("starrocks", "dbo", "fine")
    bench.project.shell(
        'eval "$(migration-assets env)"\n'
        "dagster asset materialize -m migration_assets.definitions --partition p005 "
        '--select "mssql/dbo/Fine,iceberg/dbo/fine,starrocks/dbo/fine"'
    ).ok()
    after = bench.project.data_versions("starrocks", "dbo", "fine")
    assert [key for key in KEYS if before[key] != after[key]] == ["p005"]
    bench.assert_arrived("Fine")


def test_a_range_from_dagsters_command_line_is_one_run(bench: Bench, red: str) -> None:
    before = runs_of(bench.project, "Fine")
    bench.project.shell(
        'eval "$(migration-assets env)"\n'
        "dagster asset materialize -m migration_assets.definitions "
        "--partition-range p002...p006 --select mssql/dbo/Fine"
    ).ok()
    after = runs_of(bench.project, "Fine")
    assert [keys for run, keys in after.items() if run not in before] == [KEYS[2:7]]
    states = bench.states("dbo.Fine")
    assert states["dbo.Fine", "p002"]["iceberg"] == "stale"
    bench.project.run("run", "--failed", "--tables", "dbo.Fine").ok()
    bench.assert_arrived("Fine")


def hashed(n: int) -> str:
    return hmac.new(SALT.encode(), f"row {n}".encode("utf-16-le"), hashlib.sha256).hexdigest()


def test_a_trial_of_masked_rows(bench: Bench) -> None:
    bench.project.run("run", "--limit", "5", "--tables", "dbo.Changed").ok()
    tried = iceberg_catalog(bench.project.settings).load_table(("dbo", "changed_trial"))
    rows = tried.scan().to_arrow().select(["id", "name"]).to_pylist()
    assert {(row["id"], row["name"]) for row in rows} == {(n, hashed(n)) for n in range(10, 15)}
    assert "changed_trial" in bench.project.run("clean", "--trial").ok().out


def test_a_jvm_that_is_killed_costs_a_retry(bench: Bench) -> None:
    bench.sqlserver.arm(
        Fault("delay", match=r"AS \[amount\] FROM \[dbo\]\.\[KilledA\]", seconds=120, times=2)
    )
    process = bench.project.start_run("--tables", "dbo.KilledA")
    try:
        wait_until(lambda: bench.reads()["KilledA"] > 0, "a task that reads")
        (jvm,) = jvms_of(process.pid)
        os.kill(jvm, signal.SIGKILL)
        wait_until(lambda: bench.reads()["KilledA"] > 2, "the retry")
        bench.disarm()
        assert process.wait(120) == 0, (bench.project.folder / "output").read_text()
    finally:
        bench.disarm()
        kill(process)
    bench.assert_arrived("KilledA")


def test_no_jvm_outlives_a_run_that_is_broken_off(bench: Bench) -> None:
    """Ctrl-C twice, in the middle of a Spark job: the run is abandoned, its JVM ends with it."""
    bench.sqlserver.arm(
        Fault("delay", match=r"AS \[amount\] FROM \[dbo\]\.\[KilledB\]", seconds=300)
    )
    process = bench.project.start_run("--tables", "dbo.KilledB")
    try:
        wait_until(lambda: bench.reads()["KilledB"] > 0, "a task that reads")
        jvms = jvms_of(process.pid)
        assert len(jvms) == 1
        process.send_signal(signal.SIGINT)
        time.sleep(1)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
        for jvm in jvms:
            wait_until(is_gone(jvm), "the end of the JVM")
    finally:
        bench.disarm()
        kill(process)
    bench.project.run("run", "--failed", "--tables", "dbo.KilledB").ok()
    bench.assert_arrived("KilledB")


def test_a_run_that_dagster_cancels_ends_its_spark_job(bench: Bench) -> None:
    """An interrupt reaches the step while its main thread waits for Spark."""
    bench.sqlserver.arm(
        Fault("delay", match=r"AS \[amount\] FROM \[dbo\]\.\[KilledC\]", seconds=300)
    )
    process = bench.project.start(
        "/bin/bash",
        "-ec",
        'eval "$(migration-assets env)"\n'
        "exec dagster asset materialize -m migration_assets.definitions --partition p000 "
        "--select mssql/dbo/KilledC",
    )
    try:
        wait_until(lambda: bench.reads()["KilledC"] > 0, "a task that reads")
        jvms = jvms_of(process.pid)
        assert len(jvms) == 1
        process.send_signal(signal.SIGINT)
        # Far less than the 300 s that the task would take.
        assert process.wait(60) != 0
        for jvm in jvms:
            wait_until(is_gone(jvm), "the end of the JVM")
        wait_until(lambda: bench.sqlserver.state().open == 0, "closed connections")
    finally:
        bench.disarm()
        kill(process)

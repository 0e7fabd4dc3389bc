"""Each row of the fault matrix, and one run in Dagster that meets several faults in every stage."""

from __future__ import annotations

import json
import logging
import socket
import time
import warnings
from collections.abc import Iterator
from typing import Any

import dagster as dg
import pytest

pytest.importorskip("duckdb", reason="needs the extra sandbox")

from migration_assets import events
from migration_assets.assets.translator import MigrationTranslator
from migration_assets.definitions import build_resources, table_assets
from migration_assets.errors import (
    ConnectionLostError,
    OperationTimeoutError,
    TransientError,
)
from migration_assets.plan import MigrationPlan
from migration_assets.sandbox.control import Fault
from migration_assets_tests.reliability.fault_matrix import (
    MATRIX,
    READ,
    ROWS,
    S3,
    SQLSERVER,
    STARROCKS,
    Bench,
    Row,
    bench_in,
    strikes,
)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with bench_in(tmp_path_factory.mktemp("matrix")) as made:
        yield made


def closed_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.mark.parametrize(
    ("system", "stage", "row"),
    [pytest.param(case[0], case[2], case[3], id="-".join(case[:3])) for case in MATRIX],
)
def test_case(bench: Bench, system: str, stage: str, row: Row) -> None:
    strikes(bench, system, row, getattr(bench, stage))


@pytest.mark.parametrize("way", ["ask", "extract", "extract_elsewhere", "load"])
def test_nobody_listens(bench: Bench, way: str) -> None:
    port = closed_port()
    changes: dict[str, Any] = {"port": port}
    if way == "extract_elsewhere":
        changes = {"endpoint_url": f"http://127.0.0.1:{port}"}
    with pytest.raises(ConnectionLostError) as raised:
        getattr(bench, way)(**changes)
    assert raised.value.next_step


@pytest.mark.parametrize(
    ("system", "way", "setting"),
    [
        ("sqlserver", "ask", "login_timeout_s"),
        ("sqlserver", "extract", "login_timeout_s"),
        ("starrocks", "load", "connect_timeout_s"),
    ],
)
def test_a_login_that_is_not_answered_ends(
    bench: Bench, system: str, way: str, setting: str
) -> None:
    began = time.monotonic()
    row = (Fault("delay", match="^LOGIN", seconds=60), TransientError)
    strikes(bench, system, row, getattr(bench, way), **{setting: 1})
    assert time.monotonic() - began < 30


@pytest.mark.parametrize("way", ["ask", "extract"])
def test_a_query_that_is_not_answered_ends(bench: Bench, way: str) -> None:
    row = (Fault("delay", match=READ, seconds=60), OperationTimeoutError)
    strikes(bench, "sqlserver", row, getattr(bench, way), query_timeout_s=1)


# --- what is healed within a stage


def test_requests_are_repeated_within_a_stage_and_counted(bench: Bench) -> None:
    conflict = "ConcurrentModificationException: Update table failed"
    busy = "ThrottlingException: Rate exceeded"
    bench.control("aws").arm(
        Fault("unavailable", match="^PUT .*/data/", times=1),
        Fault("error", match="UpdateTable", number=400, message=conflict, times=1),
        Fault("error", match="GetTable", number=400, message=busy, times=1),
    )
    with events.place(table="dbo.Tiny") as tally:
        bench.commit()
    bench.disarm()
    assert tally.retries == 3


def test_a_commit_whose_outcome_is_unknown_lands_once(bench: Bench) -> None:
    bench.control("aws").arm(Fault("drop", match="UpdateTable", after_bytes=0, times=1))
    bench.commit()  # looks that there is one snapshot of this attempt
    assert bench.control("aws").faults()[0].times == 0
    bench.disarm()


def test_a_load_that_becomes_visible_late_is_waited_for_and_not_sent_again(bench: Bench) -> None:
    before = bench.log.read_text().count("INSERT OVERWRITE `shop`.`tiny`")
    bench.control("starrocks").arm(Fault("late", seconds=0.7, times=1))
    began = time.monotonic()
    bench.load()
    assert time.monotonic() - began >= 0.7
    bench.disarm()
    bench.load()
    loads = bench.log.read_text().count("INSERT OVERWRITE `shop`.`tiny`") - before
    assert loads == 2 * 2  # each is logged when it comes and when it ends


# --- in Dagster


def materialize(bench: Bench, instance: dg.DagsterInstance) -> dg.ExecuteInProcessResult:
    plan = MigrationPlan(server="stand-in", database="shop", tables=(bench.table,))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.PreviewWarning)
        assets = table_assets(bench.table, plan, MigrationTranslator())
        return dg.materialize(
            assets, resources=build_resources(plan), partition_key="p000", instance=instance,
            raise_on_error=False,
        )  # fmt: skip


def test_a_run_meets_a_fault_in_every_stage_and_says_what_it_did(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "migration_assets")
    bench.control("sqlserver").arm(SQLSERVER["deadlock victim"][0], SQLSERVER["tempdb full"][0])
    bench.control("aws").arm(
        Fault("unavailable", match="^PUT .*/data/", times=1),
        Fault("error", match="UpdateTable", number=400, message="ConcurrentModificationException: x", times=1),
    )  # fmt: skip
    bench.control("starrocks").arm(STARROCKS["too many versions"][0], Fault("late", seconds=0.1))
    with dg.DagsterInstance.ephemeral() as instance:
        result = materialize(bench, instance)
        bench.disarm()
        assert result.success
        made = {
            event.asset_key.path[-3]: event.materialization.metadata
            for event in result.get_asset_materialization_events()
            if event.asset_key is not None
        }
        bench.control("aws").arm(S3["expired token"][0])
        failed = materialize(bench, instance)
        bench.disarm()
    assert bench.loaded() == ROWS
    retries = {stage: metadata["retries"].value for stage, metadata in made.items()}
    assert retries == {"mssql": 2, "iceberg": 0, "starrocks": 1}
    assert made["mssql"]["requests repeated"].value == 1
    assert made["iceberg"]["requests repeated"].value == 1
    assert 0 < float(str(made["starrocks"]["retry waits (s)"].value)) <= 0.05

    (step,) = [event for event in failed.all_events if event.is_step_failure]
    described = step.step_failure_data.user_failure_data.description
    assert described.startswith("MA-IC-001: dbo.Tiny p000: s3://lake/")
    assert "the AWS credentials have expired" in described
    assert described.endswith(
        "Renew them (`aws sso login`, or a new AWS_SESSION_TOKEN) and try again."
    )
    assert "\n" not in described

    formatter = events.Lines(as_json=True)
    lines = [json.loads(formatter.format(r)) for r in caplog.records if hasattr(r, "fields")]
    told = [(line["stage"], line["attempt"], line["event"]) for line in lines]
    assert told == [
        ("mssql", 1, "started"), ("mssql", 1, "retry"), ("mssql", 2, "started"),
        ("mssql", 2, "retry"), ("mssql", 3, "started"), ("mssql", 3, "repeated"),
        ("mssql", 3, "done"),
        ("iceberg", 1, "started"), ("iceberg", 1, "repeated"), ("iceberg", 1, "done"),
        ("starrocks", 1, "started"), ("starrocks", 1, "retry"), ("starrocks", 2, "started"),
        ("starrocks", 2, "not visible yet"), ("starrocks", 2, "done"),
        ("mssql", 1, "started"), ("mssql", 1, "failed"),
    ]  # fmt: skip
    assert {(line["table"], line["partition"]) for line in lines} == {("dbo.Tiny", "p000")}

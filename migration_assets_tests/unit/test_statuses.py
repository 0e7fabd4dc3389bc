"""Where each partition stands, and why it failed, by Dagster's history."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import time
from pathlib import Path

import dagster as dg
import pytest

from migration_assets.assets.translator import STAGES, Stage
from migration_assets.definitions import build_definitions
from migration_assets.jobs import job_of
from migration_assets.operations import status as status_module
from migration_assets.operations.report import Files, write_report
from migration_assets.operations.results import Progress
from migration_assets.operations.run import Selection, _account, run_migration
from migration_assets.operations.run_states import is_alive
from migration_assets.operations.schedule import Schedule
from migration_assets.operations.status import (
    State,
    count_checks,
    failed_steps,
    partition_statuses,
)
from migration_assets.operations.workers import BatchEnded
from migration_assets.plan import TablePlan
from migration_assets_tests.unit.histories import (
    ICEBERG,
    MSSQL,
    STARROCKS,
    TRANSLATOR,
    batches,
    instance,
    materialize,
    plan_of,
    states,
    table,
    work,
)

__all__ = ["instance"]  # a fixture

# --- where each partition stands


def test_a_partition_is_done_when_all_go_back_to_the_same_extraction(
    instance: dg.DagsterInstance,
) -> None:
    made = table("t", partitions=2)
    for stage in STAGES:
        materialize(instance, made, stage, "p000")
    assert states(instance, made) == {
        "p000": [State.DONE] * 3,
        "p001": [State.MISSING] * 3,
    }


def test_what_is_not_from_the_newest_extraction_is_stale(instance: dg.DagsterInstance) -> None:
    made = table("t")
    for stage in STAGES:
        materialize(instance, made, stage, "p000")
    materialize(instance, made, MSSQL, "p000", attempt="a2")
    assert states(instance, made)["p000"] == [State.DONE, State.STALE, State.STALE]
    materialize(instance, made, ICEBERG, "p000", attempt="a2")
    assert states(instance, made)["p000"] == [State.DONE, State.DONE, State.STALE]


def test_what_was_made_after_the_newest_extraction_and_not_from_it_makes_that_stale(
    instance: dg.DagsterInstance,
) -> None:
    """Two runs at once: the receipt of one is the newest, and the event of the other."""
    made = table("t", partitions=3)
    for stage in STAGES:
        materialize(instance, made, stage, "p000")
        materialize(instance, made, stage, "p001", attempt="a2" if stage is not MSSQL else "a1")
        materialize(instance, made, stage, "p002", attempt="a2" if stage is STARROCKS else "a1")
    assert states(instance, made) == {
        "p000": [State.DONE] * 3,
        "p001": [State.STALE] * 3,
        "p002": [State.STALE, State.DONE, State.STALE],
    }
    assert work(instance, [made], Selection(only_failed=True)) == [
        ("t", "p001", STAGES),
        ("t", "p002", STAGES),
    ]


def check(
    instance: dg.DagsterInstance, of: TablePlan, stage: Stage, key: str, *, passed: bool
) -> None:
    evaluation = dg.AssetCheckEvaluation(
        asset_key=TRANSLATOR.asset_key(stage, of),
        check_name="row_count",
        passed=passed,
        metadata={},
        partition=key,
    )
    instance.report_runless_asset_event(evaluation)


def test_a_check_that_a_dead_run_never_came_to_counts_as_last_evaluated(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(status_module, "PAGE", 2)
    made = table("t", partitions=4)
    keys = made.partition_keys
    for key in keys:
        plan_run(instance, made, key, *STAGES)
    assert count_checks(instance, made, TRANSLATOR) == (0, 0)
    for key in keys[:3]:
        check(instance, made, MSSQL, key, passed=key != keys[0])
        check(instance, made, ICEBERG, key, passed=True)
    assert count_checks(instance, made, TRANSLATOR) == (5, 6)
    for key in keys:
        plan_run(instance, made, key, *STAGES)
    assert count_checks(instance, made, TRANSLATOR) == (5, 6)


def test_what_was_made_under_another_plan_is_stale(instance: dg.DagsterInstance) -> None:
    made = table("t")
    for stage in STAGES:
        materialize(instance, made, stage, "p000", table_id="0123456789abcdef")
    assert states(instance, made)["p000"][0] is State.STALE


def plan_run(
    instance: dg.DagsterInstance, of: TablePlan, key: str, *stages: Stage
) -> dg.DagsterRun:
    """Begin a run that is to make these assets of a partition."""
    defs = build_definitions(plan_of(of))
    return instance.create_run_for_job(
        defs.resolve_job_def(job_of(of, plan_of(of))),
        tags={"dagster/partition": key},
        asset_selection=frozenset(TRANSLATOR.asset_key(stage, of) for stage in stages),
    )


def fail_run(
    instance: dg.DagsterInstance, of: TablePlan, key: str, *stages: Stage, said: str = "Gone."
) -> str:
    """A run that was to make these assets of a partition, and ended without making one."""
    run = plan_run(instance, of, key, *stages)
    instance.report_run_failed(run, said)
    return run.run_id


def test_what_lies_downstream_of_a_failure_never_ran(instance: dg.DagsterInstance) -> None:
    made = table("t", partitions=2)
    fail_run(instance, made, "p000", *STAGES)
    assert states(instance, made) == {
        "p000": [State.FAILED, State.MISSING, State.MISSING],
        "p001": [State.MISSING] * 3,
    }
    assert work(instance, [made], Selection(only_failed=True, partition_keys=["p000"])) == [
        ("t", "p000", STAGES)
    ]


def test_a_failure_in_the_middle_leaves_what_lies_before_it_done(
    instance: dg.DagsterInstance,
) -> None:
    made = table("t")
    materialize(instance, made, MSSQL, "p000")
    fail_run(instance, made, "p000", ICEBERG, STARROCKS)
    assert states(instance, made)["p000"] == [State.DONE, State.FAILED, State.MISSING]
    assert work(instance, [made], Selection(only_failed=True)) == [
        ("t", "p000", (ICEBERG, STARROCKS))
    ]


def test_what_an_earlier_run_made_downstream_of_a_failure_is_stale(
    instance: dg.DagsterInstance,
) -> None:
    made = table("t")
    for stage in STAGES:
        materialize(instance, made, stage, "p000")
    fail_run(instance, made, "p000", *STAGES)
    assert states(instance, made)["p000"] == [State.FAILED, State.STALE, State.STALE]


def test_a_load_that_failed_by_itself_stays_failed(instance: dg.DagsterInstance) -> None:
    made = table("t")
    for stage in (MSSQL, ICEBERG):
        materialize(instance, made, stage, "p000")
    fail_run(instance, made, "p000", STARROCKS)
    fail_run(instance, made, "p000", MSSQL)
    assert states(instance, made)["p000"] == [State.FAILED, State.DONE, State.FAILED]


# --- why


def failures(
    instance: dg.DagsterInstance, of: TablePlan, *never_run: BatchEnded
) -> list[tuple[str, Stage, str, str]]:
    statuses = list(partition_statuses(instance, [of], TRANSLATOR))
    found = failed_steps(instance, statuses, TRANSLATOR, never_run)
    return [(one.partition_key, one.stage, one.cause, one.run_id) for one in found]


def test_a_run_that_was_ended_from_outside_says_why(instance: dg.DagsterInstance) -> None:
    made = table("t")
    said = "Worker process 17 ended with exit code -9."
    run_id = fail_run(instance, made, "p000", *STAGES, said=said)
    assert failures(instance, made) == [("p000", MSSQL, said, run_id)]


def test_the_run_of_a_worker_that_died_is_ended_with_its_last_words(
    instance: dg.DagsterInstance,
) -> None:
    made = table("t")
    run_id = plan_run(instance, made, "p000", *STAGES).run_id
    (one,) = batches(plan_of(made))
    said = "Worker process 17 ended with exit code -9."
    ended = BatchEnded(dataclasses.replace(one, run_id=run_id), success=False, message=said)
    nothing = Schedule(plan_of(made), [], TRANSLATOR)
    _account(ended, instance, Progress(steps=3, weight=3, tables=1), {}, nothing)
    assert failures(instance, made) == [("p000", MSSQL, said, run_id)]


def test_a_batch_that_never_had_a_run_is_told_whatever_an_earlier_one_did(
    instance: dg.DagsterInstance,
) -> None:
    made = table("t", partitions=3)
    for stage in STAGES:
        materialize(instance, made, stage, "p000")
    fail_run(instance, made, "p001", *STAGES, said="Long ago.")
    ends = [
        BatchEnded(one, success=False, message="OSError: no space left")
        for one in batches(plan_of(made))
    ]
    assert failures(instance, made, *ends) == [
        (str(one.batch.partition_key), MSSQL, "OSError: no space left", one.batch.run_id)
        for one in ends
    ]


def test_a_range_that_never_had_a_run_is_told_of_each_of_its_partitions(
    instance: dg.DagsterInstance,
) -> None:
    made = table("t", partitions=4)
    (first, *_) = batches(plan_of(made), (MSSQL,))
    ranged = dataclasses.replace(first, partition_key=None, partition_range=("p001", "p002"))
    found = failures(instance, made, BatchEnded(ranged, success=False, message="No memory."))
    assert found == [(key, MSSQL, "No memory.", ranged.run_id) for key in ("p001", "p002")]


def test_workers_that_cannot_begin_fail_the_run_with_the_reason(
    instance: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Real workers, whose plan cannot be read; the partitions were done by an earlier run."""
    (tmp_path / "plan.json").write_text("{", encoding="utf-8")
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("MIGRATION_PLAN", str(tmp_path / "plan.json"))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    made = table("t")
    for stage in STAGES:
        materialize(instance, made, stage, "p000")
    result = run_migration(
        plan_of(made), instance, Selection(last=ICEBERG), run_slots=1, validate=False
    )
    assert not result.success
    assert [one.status for one in result.tables] == ["failed"]
    write_report(
        plan_of(made), [made], instance, Files(json=tmp_path / "report.json"), result=result
    )
    (said,) = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))["failures"]
    assert (said["table"], said["partition"], said["stage"]) == ("dbo.t", "p000", "mssql")
    assert "The definitions do not load" in said["cause"]
    assert said["retry"] == "migration-assets run --failed --tables dbo.t --partitions p000"


def test_a_dead_process_that_nobody_reaped_is_not_alive() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        assert is_alive(process.pid)
        process.kill()
        state = Path(f"/proc/{process.pid}/stat")
        deadline = time.monotonic() + 30
        while state.read_text().rpartition(")")[2].split()[0] != "Z":
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert not is_alive(process.pid)
    assert not is_alive(process.pid)

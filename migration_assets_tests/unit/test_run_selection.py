"""What a run makes: which partitions, from which stage on, gathered into which Dagster runs."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import dagster as dg
import pytest

from migration_assets.assets.build import DATA_VERSION_TAG, NO_POINT, POINT_IN_TIME_TAG
from migration_assets.assets.translator import STAGES, MigrationTranslator, Stage
from migration_assets.definitions import build_definitions
from migration_assets.errors import ConfigurationError
from migration_assets.jobs import job_of
from migration_assets.operations.run import (
    MigrationResult,
    Progress,
    Selection,
    TableResult,
    _account,
    _restart,
    _work,
    run_migration,
)
from migration_assets.operations.schedule import ROWS_PER_BATCH, STEPS_PER_BATCH, Schedule, Work
from migration_assets.operations.status import (
    FailedStep,
    PartitionStatus,
    State,
    _is_alive,
    failed_steps,
    partition_statuses,
)
from migration_assets.operations.workers import Batch, BatchEnded
from migration_assets.plan import MigrationPlan, TablePlan
from migration_assets_tests.unit.tables import INT, table_plan

TRANSLATOR = MigrationTranslator()
MSSQL, ICEBERG, STARROCKS = STAGES


def table(name: str, *, rows: int = 0, partitions: int = 1, isolated: bool = False) -> TablePlan:
    made = table_plan(
        [("id", INT)], key=["id"], name=name, cuts=[str(n) for n in range(1, partitions)]
    )
    return made.model_copy(update={"rows": rows, "isolated": isolated})


def plan_of(*tables: TablePlan) -> MigrationPlan:
    return MigrationPlan(server="server", database="shop", tables=tables)


@pytest.fixture
def instance(monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    for name in ("MSSQL_HOST", "MSSQL_USER", "MSSQL_DATABASE", "STARROCKS_HOST", "STARROCKS_USER"):
        monkeypatch.setenv(name, "nobody")  # Dagster makes no run without them
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral


def materialize(
    instance: dg.DagsterInstance,
    of: TablePlan,
    stage: Stage,
    key: str,
    *,
    attempt: str = "a1",
    table_id: str = "",
    point: str = NO_POINT,
) -> None:
    """Note a materialization as the assets of this project do."""
    version = f"{table_id or of.table_id}-{attempt}"
    event = dg.AssetMaterialization(
        TRANSLATOR.asset_key(stage, of),
        partition=key,
        tags={DATA_VERSION_TAG: version, POINT_IN_TIME_TAG: point},
    )
    instance.report_runless_asset_event(event)


def states(instance: dg.DagsterInstance, of: TablePlan) -> dict[str, list[State]]:
    found = partition_statuses(instance, [of], TRANSLATOR)
    return {one.partition_key: [one.states[stage] for stage in STAGES] for one in found}


# --- the selection


def test_a_selection_that_fits_is_taken() -> None:
    plan = plan_of(table("a", partitions=3), table("b"))
    Selection(tables=["DBO.A"], partition_keys=["p002"], first=ICEBERG, last=ICEBERG).check(plan)
    Selection().check(plan)


@pytest.mark.parametrize(
    ("selection", "said"),
    [
        (Selection(first=STARROCKS, last=MSSQL), "no stage from starrocks to mssql"),
        (Selection(tables=["hr.*"]), r"No table of the plan matches 'hr\.\*'"),
        (Selection(tables=["dbo.b"], partition_keys=["p002"]), "No selected table has a partition 'p002'"),
        (Selection(partition_keys=["p000", "7"]), "No selected table has a partition '7'"),
    ],
)  # fmt: skip
def test_a_selection_of_nothing_is_refused(selection: Selection, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said) as raised:
        selection.check(plan_of(table("a", partitions=3), table("b")))
    assert raised.value.next_step


@pytest.mark.parametrize(
    ("first", "last", "expected"),
    [
        (MSSQL, STARROCKS, [MSSQL, ICEBERG, STARROCKS]),
        (MSSQL, ICEBERG, [MSSQL, ICEBERG]),
        (ICEBERG, STARROCKS, [ICEBERG, STARROCKS]),
        (STARROCKS, STARROCKS, [STARROCKS]),
        (STARROCKS, ICEBERG, []),
    ],
)
def test_stages_from_until(first: Stage, last: Stage, expected: list[Stage]) -> None:
    assert list(Selection(first=first, last=last).stages) == expected


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
    result.write(tmp_path / "report.json")
    (said,) = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))["failures"]
    assert (said["table"], said["partition"], said["stage"]) == ("dbo.t", "p000", "mssql")
    assert "The definitions do not load" in said["cause"]
    assert said["retry"] == "migration-assets run --failed --tables dbo.t --partitions p000"


# --- the work


def work(
    instance: dg.DagsterInstance, tables: Sequence[TablePlan], selection: Selection
) -> list[tuple[str, str, tuple[Stage, ...]]]:
    found = _work(instance, tables, selection, TRANSLATOR)
    return [(item.table.source_name, item.partition_key, item.stages) for item in found]


def test_without_failed_everything_selected_is_made_again(instance: dg.DagsterInstance) -> None:
    made = table("t", partitions=3)
    for stage in STAGES:
        materialize(instance, made, stage, "p000")
    selection = Selection(partition_keys=["p000", "p002"], last=ICEBERG)
    assert work(instance, [made], selection) == [
        ("t", "p000", (MSSQL, ICEBERG)),
        ("t", "p002", (MSSQL, ICEBERG)),
    ]


def test_failed_makes_only_what_is_not_done_each_from_its_stage(
    instance: dg.DagsterInstance,
) -> None:
    made = table("t", partitions=4)
    for key, stages in {"p000": STAGES, "p001": (MSSQL,), "p002": (MSSQL, ICEBERG)}.items():
        for stage in stages:
            materialize(instance, made, stage, key)
    assert work(instance, [made], Selection(only_failed=True)) == [
        ("t", "p001", (ICEBERG, STARROCKS)),
        ("t", "p002", (STARROCKS,)),
        ("t", "p003", (MSSQL, ICEBERG, STARROCKS)),
    ]


def test_failed_until_iceberg_leaves_what_starrocks_lacks(instance: dg.DagsterInstance) -> None:
    made = table("t", partitions=2)
    for stage in (MSSQL, ICEBERG):
        materialize(instance, made, stage, "p000")
    assert work(instance, [made], Selection(only_failed=True, last=ICEBERG)) == [
        ("t", "p001", (MSSQL, ICEBERG))
    ]


def test_failed_from_starrocks_begins_no_earlier(instance: dg.DagsterInstance) -> None:
    made = table("t")
    materialize(instance, made, MSSQL, "p000")
    assert work(instance, [made], Selection(only_failed=True, first=STARROCKS)) == [
        ("t", "p000", (STARROCKS,))
    ]


def status(*given: State) -> PartitionStatus:
    return PartitionStatus(table("t"), "p000", dict(zip(STAGES, given, strict=True)))


@pytest.mark.parametrize(
    ("given", "error", "expected"),
    [
        ((State.DONE, State.DONE, State.DONE), "", None),
        ((State.MISSING, State.MISSING, State.MISSING), "", MSSQL),
        ((State.STALE, State.STALE, State.STALE), "", MSSQL),
        ((State.DONE, State.STALE, State.STALE), "", ICEBERG),
        ((State.DONE, State.DONE, State.FAILED), "ConnectionLostError", STARROCKS),
        ((State.DONE, State.FAILED, State.MISSING), "CommitConflictError", ICEBERG),
        # Spent receipts and copies that differ can only be healed at the source.
        ((State.DONE, State.FAILED, State.MISSING), "ReceiptError", MSSQL),
        ((State.DONE, State.DONE, State.FAILED), "VerificationError", MSSQL),
        ((State.DONE, State.DONE, State.CHECK_FAILED), "", MSSQL),
        # Somebody is at it.
        ((State.RUNNING, State.MISSING, State.MISSING), "", None),
        ((State.DONE, State.RUNNING, State.MISSING), "", None),
    ],
)
def test_where_a_partition_begins_again(
    given: tuple[State, ...], error: str, expected: Stage | None
) -> None:
    assert _restart(status(*given), error) is expected


# --- batches


def batches(plan: MigrationPlan, stages: tuple[Stage, ...] = STAGES) -> list[Batch]:
    items = [Work(one, key, stages) for one in plan.tables for key in one.partition_keys]
    return Schedule(plan, items, TRANSLATOR).first()


def made_by(found: Sequence[Batch]) -> list[tuple[str, ...]]:
    return sorted(
        (*path, str(batch.partition_key)) for batch in found for path in batch.asset_paths
    )


def test_every_asset_partition_is_in_exactly_one_batch() -> None:
    tables = [table(f"t{n}", rows=n * 7000, partitions=1 + n % 3) for n in range(60)]
    found = batches(plan_of(*tables))
    expected = sorted(
        (stage.value, "dbo", one.source_name, key)
        for one in tables
        for stage in STAGES
        for key in one.partition_keys
    )
    assert made_by(found) == expected


def test_small_tables_share_a_run_up_to_its_limit() -> None:
    found = batches(plan_of(*(table(f"t{n}") for n in range(100))))
    assert {batch.job for batch in found} == {"migrate_p001"}
    assert all(len(batch.asset_paths) <= STEPS_PER_BATCH for batch in found)
    assert len(found) == 100 * len(STAGES) // STEPS_PER_BATCH


def test_large_tables_stand_alone() -> None:
    big = [table(f"big{n}", rows=ROWS_PER_BATCH + 1) for n in range(3)]
    found = batches(plan_of(*big, table("small")))
    sizes = sorted(len({path[2] for path in batch.asset_paths}) for batch in found)
    assert sizes == [1, 1, 1, 1]


def test_a_run_has_one_job_and_one_partition_key() -> None:
    found = batches(plan_of(table("a", partitions=2), table("b", partitions=2), table("c")))
    assert sorted((batch.job, str(batch.partition_key)) for batch in found) == [
        ("migrate_p001", "p000"), ("migrate_p002", "p000"), ("migrate_p002", "p001"),
    ]  # fmt: skip


def test_an_isolated_table_runs_by_its_own_job() -> None:
    found = batches(plan_of(table("a"), table("big", isolated=True)))
    assert sorted((batch.job, str(batch.partition_key)) for batch in found) == [
        ("migrate__dbo__big", "dbo-big-p000"), ("migrate_p001", "p000"),
    ]  # fmt: skip


def test_a_batch_has_the_stages_in_flow_order_and_the_plan_as_a_tag() -> None:
    plan = plan_of(table("a", rows=500))
    (found,) = batches(plan, (ICEBERG, STARROCKS))
    assert found.asset_paths == (("iceberg", "dbo", "a"), ("starrocks", "dbo", "a"))
    assert found.tags == {"migration/plan": plan.plan_id}
    assert found.weight == (500 + 1000) * 2


# --- results


def failure() -> FailedStep:
    return FailedStep(
        table="dbo.a", partition_key="p000", stage=ICEBERG, cause="Gone.", next_step="Wait.",
        retry="migration-assets run --failed --tables dbo.a --partitions p000", run_id="r", error="E",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("result", "interrupted", "expected"),
    [
        (TableResult("a", 2, done=2), False, True),
        (TableResult("a", 2, done=2, valid=True), False, True),
        (TableResult("a", 2, done=1), False, False),
        (TableResult("a", 2, done=2, valid=False), False, False),
        (TableResult("a", 2, done=2, valid=True), True, False),
    ],
)
def test_success_is_done_equal_and_not_interrupted(
    result: TableResult, *, interrupted: bool, expected: bool
) -> None:
    assert MigrationResult("p", [result], [], 1.0, interrupted).success is expected


def test_the_report_has_tables_and_failures(tmp_path: Path) -> None:
    tables = [TableResult("dbo.a", 2, done=1, rows={"mssql": 5}, attempts=7, seconds=1.26)]
    MigrationResult("p1", tables, [failure()], 2.04).write(tmp_path / "report.json")
    found = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert (found["version"], found["plan_id"], found["success"]) == (1, "p1", False)
    (one,) = found["tables"]
    assert (one["table"], one["status"], one["done"], one["attempts"]) == ("dbo.a", "failed", 1, 7)
    (why,) = found["failures"]
    assert why == {
        "table": "dbo.a", "partition": "p000", "stage": "iceberg", "cause": "Gone.",
        "next_step": "Wait.", "run_id": "r",
        "retry": "migration-assets run --failed --tables dbo.a --partitions p000",
    }  # fmt: skip


def test_the_time_left_is_that_of_the_weight_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.monotonic", lambda: 130.0)
    state = Progress(steps=10, weight=400, tables=1, started=100.0)
    assert state.seconds_left is None
    state.done_weight = 100
    assert state.seconds_left == pytest.approx(90.0)


def test_a_dead_process_that_nobody_reaped_is_not_alive() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        assert _is_alive(process.pid)
        process.kill()
        state = Path(f"/proc/{process.pid}/stat")
        deadline = time.monotonic() + 30
        while state.read_text().rpartition(")")[2].split()[0] != "Z":
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert not _is_alive(process.pid)
    assert not _is_alive(process.pid)

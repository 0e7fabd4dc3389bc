"""What a run makes: which partitions, from which stage on, gathered into which Dagster runs."""

from __future__ import annotations

from collections.abc import Sequence

import dagster as dg
import pytest

from migration_assets.assets.translator import STAGES, Stage
from migration_assets.errors import ConfigurationError
from migration_assets.operations.results import MigrationResult, Progress, TableResult
from migration_assets.operations.run import Selection, _restart
from migration_assets.operations.schedule import ROWS_PER_BATCH, STEPS_PER_BATCH
from migration_assets.operations.status import (
    PartitionStatus,
    State,
)
from migration_assets.operations.workers import Batch
from migration_assets_tests.unit.histories import (
    ICEBERG,
    MSSQL,
    STARROCKS,
    batches,
    instance,
    materialize,
    plan_of,
    table,
    work,
)

__all__ = ["instance"]  # a fixture

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


# --- the work


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


def test_the_time_left_is_told_from_the_start_of_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.monotonic", lambda: 200.0)
    state = Progress(steps=10, weight=400, tables=1, started=100.0)
    state.time_left.plan("mssql", 400)
    assert state.seconds_left is None
    state.end("mssql", 100, made=True)
    assert (state.done_weight, state.seconds_left) == (100, pytest.approx(300.0))

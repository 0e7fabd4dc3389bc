"""The estimate of the time left, in `run`, in `status --watch` and on a partition."""

from __future__ import annotations

import dagster as dg
import pytest
from dagster._core.events import StepMaterializationData

from migration_assets.assets import directions
from migration_assets.assets.shares import share
from migration_assets.assets.translator import STAGES
from migration_assets.operations.status import PartitionStatus, State
from migration_assets.operations.time_left import LEAST_SECONDS, TimeLeft
from migration_assets.operations.watching import Watcher, outstanding
from migration_assets.operations.workers import RANGE_TAGS
from migration_assets.plan import TablePlan
from migration_assets_tests.unit.histories import TRANSLATOR, instance, table

__all__ = ["instance"]  # a fixture


def reckoning(**weights: int) -> TimeLeft:
    made = TimeLeft()
    for stage, weight in weights.items():
        made.plan(stage, weight)
    return made


def test_the_first_minute_is_no_ground_for_an_estimate() -> None:
    found = reckoning(mssql=1_000)
    found.end("mssql", 500)
    assert found.estimate(LEAST_SECONDS - 1) is None
    assert found.estimate(LEAST_SECONDS) == pytest.approx(LEAST_SECONDS)


def test_nor_is_the_first_hundredth_however_long_it_took() -> None:
    found = reckoning(mssql=1_000)
    found.end("mssql", 9)
    assert found.estimate(3_600) is None
    found.end("mssql", 1)
    assert found.estimate(3_600) == pytest.approx(3_600 * 99)


def test_large_partitions_weigh_more_than_many_small_ones() -> None:
    found = reckoning(mssql=1_000_000 + 10 * 1_000)
    for _ in range(10):
        found.end("mssql", 1_000)
    left = found.estimate(100.0)
    assert left is None, "ten of eleven steps are done, and a hundredth of the rows"
    found.end("mssql", 500_000)
    assert found.estimate(100.0) == pytest.approx(100 * 500_000 / 510_000)


def test_a_cheap_stage_that_is_still_to_come_takes_what_it_takes() -> None:
    """Spark and barriers extract everything before the first commit."""
    found = reckoning(mssql=1_000, iceberg=1_000)
    found.took("mssql", 500, 90.0)
    found.took("iceberg", 10, 0.018)
    found.end("mssql", 990)
    found.end("iceberg", 10)
    assert found.estimate(200.0) == pytest.approx(200 * (10 + 9.9) / (990 + 0.1), rel=0.01)


def test_what_failed_is_neither_left_nor_a_proof_of_speed() -> None:
    found = reckoning(mssql=1_000)
    found.end("mssql", 250)
    found.end("mssql", 500, made=False)
    assert found.estimate(100.0) == pytest.approx(100.0)
    found.end("mssql", 250, made=False)
    assert found.estimate(100.0) == 0.0


def statuses(of: TablePlan, **states: State) -> list[PartitionStatus]:
    return [
        PartitionStatus(of, key, dict.fromkeys(STAGES, states.get(key, State.MISSING)))
        for key in of.partition_keys
    ]


def test_who_watches_learns_the_pace_from_what_disappears() -> None:
    of = table("t", rows=4_000, partitions=4)
    watcher = Watcher(TRANSLATOR)
    assert watcher.look(statuses(of, p000=State.DONE), (), 1_000.0) is None
    half = statuses(of, p000=State.DONE, p001=State.DONE)
    assert watcher.look(half, (), 1_000.0 + LEAST_SECONDS) == pytest.approx(2 * LEAST_SECONDS)
    failed = statuses(of, p000=State.DONE, p001=State.DONE, p002=State.FAILED)
    assert watcher.look(failed, (), 1_000.0 + LEAST_SECONDS) == pytest.approx(LEAST_SECONDS)
    done = statuses(of, **dict.fromkeys(of.partition_keys, State.DONE))
    assert watcher.look(done, (), 2_000.0) == 0.0


def test_what_is_to_be_made_again_is_work_although_it_is_done() -> None:
    of = table("t", partitions=2)
    done = statuses(of, **dict.fromkeys(of.partition_keys, State.DONE))
    asked = {
        (tuple(TRANSLATOR.asset_key(s, of).path), k) for s in STAGES for k in of.partition_keys
    }
    watcher = Watcher(TRANSLATOR)
    watcher.look(done, asked, 0.0)
    first = {place for place in asked if place[1] == "p001"}
    assert watcher.look(done, first, 300.0) == pytest.approx(300.0)


def test_outstanding_is_what_a_run_was_to_make_and_has_not(instance: dg.DagsterInstance) -> None:
    of = table("t", partitions=2)
    keys = [TRANSLATOR.asset_key(stage, of) for stage in STAGES]
    known = {tuple(key.path): of.partition_keys for key in keys}
    run = dg.DagsterRun(
        "migrate_p002", status=dg.DagsterRunStatus.STARTED, asset_selection=frozenset(keys),
        tags={"dagster/partition": "p001"},
    )  # fmt: skip
    instance.add_run(run)
    assert outstanding(instance, known) == {(tuple(key.path), "p001") for key in keys}
    made = dg.AssetMaterialization(keys[0], partition="p001")
    instance.report_dagster_event(
        dg.DagsterEvent(
            dg.DagsterEventType.ASSET_MATERIALIZATION.value,
            "migrate_p002",
            event_specific_data=StepMaterializationData(made),
        ),
        run_id=run.run_id,
    )
    assert outstanding(instance, known) == {(tuple(key.path), "p001") for key in keys[1:]}
    instance.report_run_failed(run)
    assert outstanding(instance, known) == set()


def test_a_run_of_several_partitions_is_to_make_each_of_them(instance: dg.DagsterInstance) -> None:
    key = TRANSLATOR.asset_key(STAGES[0], table("t", partitions=8))
    path, keys = tuple(key.path), table("t", partitions=8).partition_keys
    run = dg.DagsterRun(
        "migrate_p008", status=dg.DagsterRunStatus.STARTED, asset_selection=frozenset([key]),
        tags=dict(zip(RANGE_TAGS, ("p002", "p004"), strict=True)),
    )  # fmt: skip
    instance.add_run(run)
    assert outstanding(instance, {path: keys}) == {(path, f"p00{n}") for n in (2, 3, 4)}
    assert outstanding(instance, {}) == set()


def test_a_partition_says_how_much_of_its_table_is_there() -> None:
    of = table("t", rows=6_000, partitions=4).replaced(range_rows=(1_000, 1_000, 1_000, 5_000))
    said = share(of, {"p000", "p001"}, rows=1_000, seconds=4.0)
    assert said["table done (%)"] == pytest.approx(33.3)  # 2 of 4, by rows
    assert said["partitions done"] == "2 of 4"
    assert "about 16 s" in str(said["rest of the table"])
    assert "rest of the table" not in share(of, set(of.partition_keys), rows=9, seconds=1.0)


def test_directions_lead_to_the_rows_in_each_system() -> None:
    of = table("t", partitions=2)
    found = directions.queries(of, "p001", 77)
    assert found == {
        "mssql": "SELECT *\nFROM [dbo].[t]\nWHERE [id] >= 1",
        "iceberg": "SELECT *\nFROM dbo.t FOR VERSION AS OF 77\nWHERE source_partition = 1",
        "starrocks": "SELECT *\nFROM `dbo`.`t`\nWHERE source_partition = 1",
    }
    assert directions.queries(of)["starrocks"] == "SELECT *\nFROM `dbo`.`t`"
    odd = of.replaced(iceberg_table='2024 "x', starrocks_table="a`b")
    assert directions.queries(odd) == {
        "mssql": "SELECT *\nFROM [dbo].[t]",
        "iceberg": 'SELECT *\nFROM dbo."2024 ""x"',
    }


def test_directions_name_the_commands_and_the_report() -> None:
    of = table("my table", partitions=2)
    assert directions.run_command(of, "p001") == (
        "migration-assets run --tables 'dbo.my table' --partitions p001"
    )
    in_ui = directions.partition_directions("mssql", of, "p001", {})
    assert "migration-assets report --tables 'dbo.my table'" in str(in_ui["evidence"].value)
    by_run = directions.partition_directions(
        "mssql", of, "p001", {directions.REPORT_TAG: "/project/report.json"}
    )
    assert by_run["report of the run"] == dg.MetadataValue.path("/project/report.json")
    assert set(by_run) == {
        "query", "query in Athena, Trino, Spark", "query in StarRocks", "migrate again",
        "report of the run",
    }  # fmt: skip

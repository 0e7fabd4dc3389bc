"""Somebody else is at work, too: nothing is overwritten unseen, and what can be healed is.

Each situation of docs/interference.md has tables of its own in one small database. Only commands and
what the servers hold are looked at. A run that Dagster's UI starts beside one of the command line is
in `test_dagster_cli.py`, where a webserver runs.
"""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pytest
from pyiceberg.partitioning import PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.types import IntegerType, NestedField, StringType

from migration_assets.assets.directions import REPORT_TAG
from migration_assets.sandbox.control import Fault
from migration_assets_tests.sandbox.bench import DONE, ROWS, VALUES, Bench, running
from migration_assets_tests.sandbox.project import (
    Result,
    await_closed,
    iceberg_catalog,
    run_tsql,
    starrocks_rows,
    wait_until,
)

TABLES = [
    "Added", "Edited", "Emptied", "Extra", "Missing", "Retyped", "Dropped", "Remade",
    "Appended", "Meanwhile", "Evolved", "RolledBack", "Recreated", "Gone", "Expired",
    "Shared", "Other", "Hidden", "Replanned", "Requested", "Vanished", "Halved", "Hollow", "Clock",
    "CrossedMssql", "CrossedIceberg", "Early",
]  # fmt: skip
RULES = """
tables:
  dbo.Shared: {partitions: 8}
  dbo.Halved: {partitions: 8}
  dbo.Replanned: {partitions: 8}
"""

PATIENT = {"S3_REQUEST_TIMEOUT_S": "600"}
"""Of a run whose request is held: it must not give up and send another one on a busy machine."""


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with running(tmp_path_factory.mktemp("interference"), TABLES, RULES) as made:
        yield made


def words(*names: str) -> list[str]:
    return [word for name in names for word in ("--tables", f"dbo.{name}")]


def causes(bench: Bench) -> dict[str, str]:
    """Why each table failed in the last run."""
    return {
        one["table"].removeprefix("dbo."): one["cause"] for one in bench.project.report["failures"]
    }


def in_starrocks(bench: Bench, *statements: str) -> None:
    for statement in statements:
        starrocks_rows(bench.project.settings, statement)


def in_iceberg(bench: Bench, name: str) -> Any:
    return iceberg_catalog(bench.project.settings).load_table(("dbo", name.lower()))


def append(bench: Bench, name: str) -> None:
    """Somebody appends a copy of a row to Iceberg's table."""
    table = in_iceberg(bench, name)
    table.append(table.scan(limit=1).to_arrow())


# -- StarRocks, by hand, and rows appended to Iceberg ------------------------------------------------

BY_HAND = ("Added", "Edited", "Emptied", "Appended")
ALTERED = ("Extra", "Missing", "Retyped", "Dropped", "Remade")


@dataclass
class Refused:
    """A run over tables that somebody has changed since they were migrated."""

    result: Result
    causes: dict[str, str]
    kept: dict[str, list[Any]]


@pytest.fixture(scope="module")
def refused(bench: Bench) -> Refused:
    names = words(*BY_HAND, *ALTERED)
    bench.project.run("run", *names).ok()
    in_starrocks(
        bench,
        "INSERT INTO dbo.added (id, name, amount, migrated_at, source_schema, source_partition) "
        "VALUES (1000, 'by hand', 1, '2024-01-01 00:00:00', 'dbo', 0)",
        "TRUNCATE TABLE dbo.emptied",
        "ALTER TABLE dbo.extra ADD COLUMN extra INT NULL",
        "ALTER TABLE dbo.missing DROP COLUMN amount",
        "ALTER TABLE dbo.retyped MODIFY COLUMN amount DECIMAL(20, 2) NULL",
        "DROP TABLE dbo.dropped",
        "DROP TABLE dbo.remade",
        "CREATE TABLE dbo.remade (id INT NOT NULL, theirs VARCHAR(20)) DUPLICATE KEY (id) "
        "DISTRIBUTED BY HASH (id) BUCKETS 1 PROPERTIES ('replication_num' = '1')",
        "INSERT INTO dbo.remade VALUES (1, 'mine')",
    )
    bench.starrocks.sql('UPDATE "dbo"."edited" SET amount = 99 WHERE id = 7')
    append(bench, "Appended")
    result = bench.project.run("run", *names)
    assert result.code == 1, str(result)
    kept = {name: bench.loaded(name) for name in (*BY_HAND, "Dropped")}
    return Refused(result, causes(bench), kept | {"in Iceberg": bench.iceberg("Appended")})


def test_rows_changed_by_hand_are_refused_once_and_then_replaced(
    bench: Bench, refused: Refused
) -> None:
    project, found = bench.project, refused.causes
    assert (
        "it holds 201 rows that are not as a load left them: rows went from 200" in found["Added"]
    )
    assert "it holds 200 rows" in found["Edited"]
    assert "amount." in found["Edited"]
    assert "keep what you need" in refused.result.out
    assert len(refused.kept["Added"]) == ROWS + 1
    assert 99 in {row[2] for row in refused.kept["Edited"]}
    assert "Emptied" not in found, "there was nothing to overwrite"
    assert set(refused.kept["Emptied"]) == VALUES
    assert "which no run of ours made" in found["Appended"]
    assert len(refused.kept["in Iceberg"]) == ROWS + 1
    assert set(refused.kept["Appended"]) == VALUES
    project.run("run", "--failed", *words(*BY_HAND)).ok()
    bench.assert_arrived(*BY_HAND)
    with project.instance() as instance:
        event = instance.get_latest_materialization_event(
            dg.AssetKey(["starrocks", "dbo", "added"])
        )
        assert event is not None
        assert event.asset_materialization is not None
        replaced = event.asset_materialization.metadata["foreign rows replaced"].value
    assert "it holds 201 rows" in str(replaced)


def test_a_starrocks_table_altered_by_hand_is_left_alone(bench: Bench, refused: Refused) -> None:
    project, found = bench.project, refused.causes
    assert set(found) & set(ALTERED) == set(ALTERED) - {"Dropped"}
    assert "was altered since it was made: column extra is not in the plan" in found["Extra"]
    assert "column amount is missing" in found["Missing"]
    assert "column amount is decimal(20" in found["Retyped"].lower()
    assert "exists already and is not ours" in found["Remade"]
    assert starrocks_rows(project.settings, "SELECT * FROM dbo.remade") == [(1, "mine")]
    assert len(starrocks_rows(project.settings, "SELECT id FROM dbo.extra")) == ROWS
    assert set(refused.kept["Dropped"]) == VALUES, "there was nothing to overwrite"
    project.run("reset", "dbo.Missing", "--yes").ok()
    project.run("run", "--failed", *words("Missing")).ok()
    bench.assert_arrived("Missing")


# -- Iceberg, by somebody else ---------------------------------------------------------------------


def test_what_others_do_to_iceberg_tables_is_seen_before_the_load(bench: Bench) -> None:
    project = bench.project
    names = ("Meanwhile", "Evolved", "RolledBack", "Recreated", "Gone", "Expired")
    project.run("run", "--until", "iceberg", *words("RolledBack", "Expired")).ok()
    project.run("run", "--until", "iceberg", *words(*names)).ok()
    catalog = iceberg_catalog(project.settings)
    append(bench, "Meanwhile")
    with in_iceberg(bench, "Evolved").update_schema() as update:
        update.add_column("extra", StringType())
    rolled = in_iceberg(bench, "RolledBack")
    first = rolled.snapshots()[0].snapshot_id
    rolled.manage_snapshots().rollback_to_snapshot(first).commit()
    expired = in_iceberg(bench, "Expired")
    expired.maintenance.expire_snapshots().by_id(expired.snapshots()[0].snapshot_id).commit()
    catalog.drop_table(("dbo", "gone"))
    catalog.drop_table(("dbo", "recreated"))
    theirs = catalog.create_table(
        ("dbo", "recreated"),
        schema=Schema(NestedField(1, "id", IntegerType(), required=False)),
        location="s3://lake/theirs/recreated",
        partition_spec=PartitionSpec(),
    )
    theirs.append(pa.table({"id": pa.array([1], pa.int32())}))

    refused = project.run("run", "--from", "starrocks", *words(*names))
    assert refused.code == 1, str(refused)
    found = causes(bench)
    assert set(found) == set(names) - {"Expired"}
    assert "no longer holds the files" in found["Meanwhile"]
    assert "no longer holds the files" in found["RolledBack"]
    assert "Iceberg table dbo.gone is gone" in found["Gone"]
    assert "field 7 (extra string) is not planned" in found["Evolved"]
    assert "was there before and is not ours" in found["Recreated"]
    bench.assert_arrived("Expired")
    assert bench.project.run("run", "--failed", *words("Meanwhile", "RolledBack", "Gone")).ok()
    bench.assert_arrived("Meanwhile", "RolledBack", "Gone")
    again = project.run("run", "--failed", *words("Evolved", "Recreated"))
    assert again.code == 1
    assert in_iceberg(bench, "Recreated").scan().to_arrow().to_pylist() == [{"id": 1}]


# -- several runs at once --------------------------------------------------------------------------

CLEAR = (
    "somebody committed it again", "is still loading", "is spent", "Another writer was first",
    "no longer holds", "not as a load left them", "no run of ours made",
)  # fmt: skip
"""What a run may say that another one came in between."""


def test_three_runs_at_once_over_the_same_partitions_double_nothing(bench: Bench) -> None:
    project, tables = bench.project, words("Shared", "Other")
    runs = [
        project.start_run(*tables, "--report", f"{name}.json", MIGRATION_CONCURRENT_RUNS="2")
        for name in ("one", "two")
    ]
    third = project.start(
        "/bin/bash",
        "-ec",
        'eval "$(migration-assets env)"; dagster asset materialize '
        "-m migration_assets.definitions --select 'key:\"mssql/dbo/Other\"+' --partition p000",
    )
    codes = [process.wait(240) for process in (*runs, third)]
    assert set(codes) <= {0, 1}, codes
    for name, code in zip(("one", "two"), codes[:2], strict=True):
        text = (project.folder / f"{name}.json").read_text()
        if code:
            assert any(said in text for said in CLEAR) or '"failures": []' in text, text
    project.run("run", "--failed", *tables).ok()
    bench.assert_arrived("Shared", "Other")
    assert set(map(str, bench.states("dbo.Shared", "dbo.Other").values())) == {str(DONE)}
    project.run("validate", *tables).ok()
    assert {await_closed(bench.sandbox, name) for name in ("sqlserver", "starrocks")} == {0}


@pytest.mark.parametrize("stage", ["mssql", "iceberg"])
def test_receipts_and_events_that_two_runs_wrote_crosswise_are_healed(
    bench: Bench, stage: str
) -> None:
    name = f"Crossed{stage.title()}"
    stored = Fault("withhold", match=f"PUT .*/{stage}/dbo/{name}/p000", seconds=600, times=1)
    bench.aws.arm(stored)
    two = {"MIGRATION_CONCURRENT_RUNS": "2", **PATIENT}
    slow = bench.project.start_run(*words(name), "--report", "slow.json", **two)
    wait_until(lambda: bench.aws.faults()[0].struck or slow.poll() is not None, "a receipt")
    # Its receipt is the newest one now, and the event of the slow run will be the newest one.
    bench.project.run("run", *words(name), "--report", "quick.json", **two)
    bench.disarm()
    slow.wait(240)
    crossed = bench.states(f"dbo.{name}")
    assert str(DONE) not in map(str, crossed.values()), crossed
    bench.project.run("run", "--failed", *words(name)).ok()
    bench.assert_arrived(name)
    assert set(map(str, bench.states(f"dbo.{name}").values())) == {str(DONE)}


def test_a_commit_of_ours_whose_receipt_is_not_there_yet_is_waited_for(bench: Bench) -> None:
    insert, project = "^INSERT OVERWRITE `dbo`.`early`", bench.project
    two = {"MIGRATION_CONCURRENT_RUNS": "2", **PATIENT}
    bench.starrocks.arm(Fault("delay", match=insert, seconds=600, times=1))
    loads = project.start_run(*words("Early"), "--report", "loads.json", **two)
    wait_until(lambda: bench.logs["starrocks"].matching(insert) or loads.poll() is not None, insert)
    receipt = "PUT .*/iceberg/dbo/early/p000.json"
    bench.aws.arm(Fault("delay", match=receipt, seconds=600, times=1))
    commits = project.start_run(*words("Early"), "--until", "iceberg", "--report", "c.json", **two)
    wait_until(lambda: bench.aws.faults()[0].struck or commits.poll() is not None, receipt)
    bench.starrocks.arm()

    def was_told_to_wait() -> bool:
        with project.instance() as instance:
            (run,) = instance.get_runs(dg.RunsFilter(tags={REPORT_TAG: str(told_in)}))
            retry = dg.DagsterEventType.STEP_UP_FOR_RETRY
            return "somebody committed it again" in str(
                instance.all_logs(run.run_id, of_type=retry)
            )

    told_in = project.folder / "loads.json"
    wait_until(lambda: was_told_to_wait() or loads.poll() is not None, "a retry")
    bench.disarm()
    assert (commits.wait(240), loads.wait(240)) == (0, 0), (project.folder / "output").read_text()
    bench.assert_arrived("Early")
    assert set(map(str, bench.states("dbo.Early").values())) == {str(DONE)}


def test_a_run_in_another_pid_namespace_is_not_ended(bench: Bench) -> None:
    insert = "^INSERT OVERWRITE `dbo`.`hidden`"
    bench.starrocks.arm(Fault("delay", match=insert, seconds=600, times=1))
    slow = bench.project.start_run(*words("Hidden"), "--report", "hidden.json")
    wait_until(lambda: bench.logs["starrocks"].matching(insert) or slow.poll() is not None, insert)
    with bench.project.instance() as instance:
        (run,) = instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED]))
        # As it looks from there: a number that no process has here.
        instance.add_run_tags(run.run_id, {"migration/pid": str(2**22 + 1)})
        bench.project.run("run", "--failed", *words("Hidden"))
        status = instance.get_run_by_id(run.run_id)
        assert status is not None
        assert status.status is dg.DagsterRunStatus.STARTED
        bench.disarm()
        assert slow.wait(240) == 0, (bench.project.folder / "output").read_text()
    bench.assert_arrived("Hidden")


# -- a plan that is replaced -----------------------------------------------------------------------


def plan_anew(bench: Bench, rule: str) -> None:
    rules = bench.project.folder / "migration.yaml"
    rules.write_text(f"{rules.read_text()}  {rule}\n", encoding="utf-8")
    bench.project.run("plan", "--yes").ok()


def test_a_plan_replaced_while_a_run_is_going(bench: Bench) -> None:
    """A worker that dies is replaced by one that loads the new plan, which has other ranges."""
    project, reading = bench.project, r"AS \[amount\] FROM \[dbo\]\.\[Replanned\]"
    bench.sqlserver.arm(Fault("delay", match=reading, seconds=600, times=1))
    going = project.start_run(*words("Replanned"))
    wait_until(
        lambda: bench.logs["sqlserver"].matching(reading) or going.poll() is not None, reading
    )
    rules = project.folder / "migration.yaml"
    text = rules.read_text().replace(
        "dbo.Replanned: {partitions: 8}", "dbo.Replanned: {partitions: 1}"
    )
    rules.write_text(text, encoding="utf-8")
    project.run("plan", "--yes").ok()
    with project.instance() as instance:
        (run,) = instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED]))
    os.kill(int(run.tags["migration/pid"]), signal.SIGKILL)
    bench.disarm()
    assert going.wait(240) == 1
    assert "The plan was replaced while the run was going" in str(project.report["failures"])
    assert not iceberg_catalog(project.settings).table_exists(("dbo", "replanned"))
    project.run("run", "--failed", *words("Replanned")).ok()
    bench.assert_arrived("Replanned")


def test_what_was_extracted_under_the_old_plan_is_not_committed_under_the_new_one(
    bench: Bench,
) -> None:
    project, swap = bench.project, "AWSGlue.UpdateTable dbo.requested"
    bench.aws.arm(Fault("delay", match=swap, seconds=600, times=1))
    # With fewer the old run's step keeps the new one's waiting.
    many = {"MIGRATION_CONCURRENT_RUNS": "3", **PATIENT}
    old = project.start_run(*words("Requested"), "--report", "old.json", **many)
    wait_until(lambda: bench.logs["aws"].matching(swap) or old.poll() is not None, swap)
    plan_anew(bench, "dbo.Requested: {partitions: 8}")
    project.run("reset", "dbo.Requested", "--yes").ok()
    project.run("run", *words("Requested"), **many).ok()
    bench.assert_arrived("Requested")
    bench.disarm()
    assert old.wait(240) == 1
    assert "holds rows of another plan" in (project.folder / "old.json").read_text()
    bench.assert_arrived("Requested")
    assert len(bench.states("dbo.Requested")) == 8


# -- the source ------------------------------------------------------------------------------------


def test_a_source_table_that_vanishes_or_is_emptied_is_told(bench: Bench) -> None:
    project = bench.project
    project.run("run", *words("Vanished")).ok()
    project.run("run", *words("Halved"), "--partitions", "p000,p001,p002,p003")
    run_tsql(
        project.settings,
        "DROP TABLE dbo.Vanished",
        "TRUNCATE TABLE dbo.Halved",
        "TRUNCATE TABLE dbo.Hollow",
    )
    gone = project.run("run", *words("Vanished"))
    assert gone.code == 1
    assert "Table dbo.Vanished is not in database" in causes(bench)["Vanished"]
    assert set(bench.loaded("Vanished")) == VALUES, "what was migrated stays"
    halved = project.run("run", *words("Halved"), "--partitions", "p004,p005,p006,p007")
    assert halved.code == 1, str(halved)
    assert (
        "iceberg rows: expected 0, found 25" in project.report["tables"]["dbo.Halved"]["difference"]
    )
    # Equal everywhere, and perhaps not as meant.
    void = project.run("run", *words("Hollow")).ok()
    assert "SQL Server has no rows of dbo.Hollow: about 200 when it was planned" in void.out
    assert bench.loaded("Hollow") == []


# -- clocks ----------------------------------------------------------------------------------------

WRONG_CLOCK = """
import os, time
_time = time.time
_hours = float(os.environ["HOURS_AHEAD"])
time.time = lambda: _time() + _hours * 3600
"""


def test_a_clock_that_was_ahead_and_one_that_was_set_back_let_the_later_run_win(
    bench: Bench, tmp_path: Path
) -> None:
    project = bench.project
    (tmp_path / "sitecustomize.py").write_text(WRONG_CLOCK, encoding="utf-8")
    wrong = {"PYTHONPATH": str(tmp_path), "MIGRATION_RETRIES": "5"}

    def run_at(hours: int) -> Result:
        bench.sqlserver.arm(
            Fault("error", match=r"COUNT_BIG.*FROM \[dbo\]\.\[Clock\]", number=1205, times=1)
        )
        done = project.execute(
            "migration-assets", "run", *words("Clock"), **wrong, HOURS_AHEAD=str(hours)
        )
        bench.disarm()
        return done

    for number, hours in enumerate((48, -48)):
        run_tsql(project.settings, f"UPDATE dbo.Clock SET Amount = {number} WHERE Id = 7")
        run_at(hours).ok()
        for rows in (bench.loaded("Clock"), bench.iceberg("Clock")):
            assert len(rows) == ROWS
            assert {amount for n, _, amount in rows if n == 7} == {number}
        assert bench.states("dbo.Clock") == {("dbo.Clock", "p000"): DONE}
    metadata = in_iceberg(bench, "Clock").metadata
    times = [entry.timestamp_ms for entry in metadata.snapshot_log]
    assert times == sorted(times)
    project.run("maintain", *words("Clock")).ok()
    assert re.search(r"1 of 1 tables are equal", project.run("validate", *words("Clock")).ok().out)

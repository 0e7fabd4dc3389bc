"""Workers killed from outside, runs overtaken, shaken by transient faults, or planned anew: all go on.

Each scenario runs once, on tables of its own in one small database. Only commands and what the
servers received and hold are looked at.
"""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import dagster as dg
import pytest

from migration_assets.sandbox.control import Fault
from migration_assets_tests.sandbox.bench import DONE, RULES, VALUES, Bench
from migration_assets_tests.sandbox.project import Result, run_tsql, wait_until

# -- only a worker killed --------------------------------------------------------------------------


def test_a_worker_that_is_killed_is_a_failure_with_its_cause(bench: Bench) -> None:
    insert, words = "^INSERT OVERWRITE `dbo`.`orphaned`", ("--tables", "dbo.Orphaned")
    bench.starrocks.arm(Fault("delay", match=insert, seconds=600, times=1))
    process = bench.project.start_run(*words)
    wait_until(lambda: bench.logs["starrocks"].matching(insert) or process.poll() is not None)
    with bench.project.instance() as instance:
        (run,) = instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED]))
    worker = int(run.tags["migration/pid"])
    os.kill(worker, signal.SIGKILL)
    bench.disarm()
    assert process.wait(240) == 1
    cause = f"Worker process {worker} ended with exit code -9."
    assert bench.states("dbo.Orphaned")["dbo.Orphaned", "p000"] == {
        "mssql": "done", "iceberg": "done", "starrocks": "failed",
    }  # fmt: skip
    (failure,) = bench.project.report["failures"]
    assert (failure["table"], failure["stage"]) == ("dbo.Orphaned", "starrocks")
    assert (failure["cause"], failure["run_id"]) == (f"MA-DG-004: {cause}", run.run_id)
    assert cause in (bench.project.folder / "output").read_text()
    assert cause in bench.project.run("status", "--failed", *words).ok().out
    bench.project.run("run", "--failed", *words).ok()
    bench.assert_arrived("Orphaned")


# -- overtaken -------------------------------------------------------------------------------------


def test_a_load_overtaken_by_a_newer_commit_is_made_again_from_that(bench: Bench) -> None:
    insert, words = "^INSERT OVERWRITE `dbo`.`raced`", ("--tables", "dbo.Raced")
    bench.starrocks.arm(Fault("delay", match=insert, seconds=600, times=1))
    slow = bench.project.start_run(*words, "--report", "slow.json", MIGRATION_CONCURRENT_RUNS="2")
    wait_until(lambda: bench.logs["starrocks"].matching(insert) or slow.poll() is not None, insert)
    run_tsql(bench.project.settings, "UPDATE dbo.Raced SET Name = N'changed' WHERE Id = 1")
    bench.project.run("run", "--until", "iceberg", *words).ok()
    assert slow.poll() is None, "the newer run must not end a run that lives"
    reads = bench.reads()
    bench.disarm()
    assert slow.wait(240) == 0, (bench.project.folder / "output").read_text()
    assert bench.reads() == reads
    assert len(bench.logs["starrocks"].matching(insert)) > 1
    assert bench.states("dbo.Raced")["dbo.Raced", "p000"] == DONE
    assert (1, "changed", Decimal("0.25")) in bench.loaded("Raced")
    assert sorted(bench.loaded("Raced")) == sorted(bench.iceberg("Raced"))


# -- transient faults ------------------------------------------------------------------------------


def test_transient_faults_are_retried_and_end_green(bench: Bench) -> None:
    insert = "^INSERT OVERWRITE `dbo`.`cut`"
    bench.sqlserver.arm(
        Fault("error", match=r"COUNT_BIG.*FROM \[dbo\]\.\[Victim\]", number=1205, times=1),
        Fault("drop", match=r"AS \[amount\] FROM \[dbo\]\.\[Cut\]", after_bytes=2000, times=1),
    )
    bench.aws.arm(Fault("unavailable", match="/lake/", percent=10))
    bench.starrocks.arm(Fault("drop", match=insert, times=1))
    refused = bench.starrocks.state().refused
    words = ("--tables", "dbo.Victim", "--tables", "dbo.Cut")
    process = bench.project.start_run(*words)
    wait_until(lambda: bench.starrocks.faults()[0].times == 0 or process.poll() is not None)
    bench.starrocks.arm(Fault("refuse", above=0))
    wait_until(lambda: bench.starrocks.state().refused > refused or process.poll() is not None)
    bench.starrocks.arm()
    struck = {fault.kind: fault.times for fault in bench.sqlserver.faults()}
    output = bench.project.folder / "output"
    assert process.wait(240) == 0, output.read_text()
    bench.disarm()
    assert struck == {"error": 0, "drop": 0}
    assert bench.starrocks.state().refused > refused
    answers = bench.logs["aws"].entries("/lake/", "error")
    assert any(answer.get("status") == 503 for answer in answers), "no request was refused"
    assert bench.project.report["tables"]["dbo.Victim"]["attempts"] > 3
    assert bench.project.report["tables"]["dbo.Cut"]["attempts"] > 4
    bench.assert_arrived("Victim", "Cut")


# -- another plan ----------------------------------------------------------------------------------


@dataclass
class Changed:
    """A table planned anew with other key ranges."""

    run: Result
    states: dict[tuple[str, str], dict[str, str]]
    load: Result
    rows: list[Any]
    declined: Result
    after_decline: list[Any]
    reset: Result
    emptied: list[Any]
    again: Result


@pytest.fixture(scope="module")
def changed(bench: Bench) -> Changed:
    project, words = bench.project, ("--tables", "dbo.Changed")
    project.run("run", *words).ok()
    rules = project.folder / "migration.yaml"
    rules.write_text(RULES + "  dbo.Changed: {partitions: 8}\n", encoding="utf-8")
    project.run("plan", "--yes").ok()
    assert len(project.table("dbo.Changed")["key_ranges"]) == 8
    run = project.run("run", "--until", "iceberg", *words)
    states = bench.states("dbo.Changed")
    load = project.run("run", "--from", "starrocks", *words, "--partitions", "p000")
    rows = bench.loaded("Changed")
    declined = project.run("reset", "dbo.Changed")  # nobody answers the question
    after_decline = bench.loaded("Changed")
    reset = project.run("reset", "dbo.Changed", "--yes")
    emptied = [*bench.loaded("Changed"), *bench.iceberg("Changed")]
    return Changed(
        run,
        states,
        load,
        rows,
        declined,
        after_decline,
        reset,
        emptied,
        project.run("run", "--failed", *words),
    )


def test_a_changed_plan_is_refused_by_commit_and_load(changed: Changed) -> None:
    assert changed.run.code == 1
    assert "holds rows of another plan" in changed.run.out
    assert "migration-assets reset dbo.Changed" in changed.run.out
    assert {state["iceberg"] for state in changed.states.values()} == {"failed"}
    assert changed.load.code == 1
    assert set(changed.rows) == VALUES, "nothing was dropped or loaded"


def test_reset_asks_and_then_makes_it_valid(bench: Bench, changed: Changed) -> None:
    assert changed.declined.code == 130
    assert set(changed.after_decline) == VALUES
    changed.reset.ok()
    assert changed.emptied == []
    changed.again.ok()
    bench.assert_arrived("Changed")
    assert len(set(bench.project.data_versions("starrocks", "dbo", "changed").values())) == 8

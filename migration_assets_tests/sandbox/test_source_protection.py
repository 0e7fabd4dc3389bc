"""Extractions wait for their hours and for each other, and nothing else does: `run` and the daemon."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest

from migration_assets.sandbox.control import Fault
from migration_assets_tests.sandbox.bench import Bench, running
from migration_assets_tests.sandbox.project import kill, wait_until

MODULE = "migration_assets.definitions"
RULES = "tables: {dbo.Ranged: {partitions: 8}}\n"


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with running(tmp_path_factory.mktemp("protection"), ["Ranged", "Loaded"], RULES) as made:
        yield made


def closed() -> str:
    """Hours that neither this test nor the slowest machine will see begin."""
    began = datetime.now(UTC) + timedelta(hours=6)
    return f"{began:%H:%M}-{began + timedelta(hours=1):%H:%M}"


@pytest.mark.timeout(900)
def test_outside_of_the_hours_only_extractions_wait(bench: Bench) -> None:
    project, output = bench.project, bench.project.folder / "output"
    project.run("run", "--tables", "dbo.Loaded", "--until", "iceberg").ok()
    reads = bench.reads()
    # `run`: the load that is left is made, and what is to be extracted waits.
    hours = closed()
    process = project.start_run("--failed", "--window", hours)
    wait_until(lambda: bench.loads()["loaded"] or process.poll() is not None, "the load")
    wait_until(lambda: "waits until" in output.read_text() or process.poll() is not None, "a word")
    assert process.poll() is None, output.read_text()
    assert f"UTC (window {hours} UTC)" in output.read_text()
    process.send_signal(signal.SIGINT)
    assert process.wait(240) == 130
    assert bench.reads() == reads
    bench.assert_arrived("Loaded")
    # The daemon: the run that extracts stays in the queue, the one that came behind it does not.
    tags, environment = json.dumps({"protected": "yes"}), 'eval "$(migration-assets env)"'
    config = json.dumps({"ops": {"compare_systems": {"config": {"tables": ["dbo.Loaded"]}}}})
    script = f"{environment}; exec dagster-daemon run -m {MODULE}"
    daemon = project.start("/bin/bash", "-ec", script, MIGRATION_WINDOW=closed())
    for command in (
        "backfill --job migrate_p008 --partitions p000 --noprompt",
        f"launch --job validate --config-json '{config}'",
    ):
        project.shell(f"{environment}; dagster job {command} -m {MODULE} --tags '{tags}'").ok()
        wait_until(
            lambda: "migrate_p008" in ends(bench) or daemon.poll() is not None, "the backfill"
        )
    wait_until(lambda: "validate" in ends(bench) or daemon.poll() is not None, "a run that ended")
    assert ends(bench) == {"validate": "SUCCESS", "migrate_p008": "QUEUED"}, output.read_text()
    kill(daemon)
    assert bench.reads() == reads
    daemon = project.start("/bin/bash", "-ec", script)
    wait_until(lambda: ends(bench)["migrate_p008"] == "SUCCESS" or daemon.poll() is not None, "it")
    kill(daemon)
    assert ends(bench)["migrate_p008"] == "SUCCESS", output.read_text()


def ends(bench: Bench) -> dict[str, str]:
    """Job to status of its run, of those that count as over, or that the queue has looked at."""
    with bench.project.instance() as instance:
        runs = instance.get_runs(dg.RunsFilter(tags={"protected": "yes"}))
    return {
        run.job_name: run.status.value
        for run in runs
        if run.is_finished or "migration/extracts" in run.tags
    }


@pytest.mark.timeout(600)
def test_so_many_extractions_go_on_at_once_in_all_commands(bench: Bench) -> None:
    project = bench.project
    read = r"AS \[amount\] FROM \[dbo\]\.\[Ranged\]"
    before = bench.reads()["Ranged"]
    bench.sqlserver.arm(Fault("delay", match=read, seconds=600))
    more = {"MSSQL_MAX_EXTRACTIONS": "1", "MIGRATION_CONCURRENT_RUNS": "2"}
    words = ("--tables", "dbo.Ranged", "--until", "mssql")
    first = project.start_run(*words, "--partitions", "p001,p002", "--report", "1.json", **more)
    second = project.start_run(*words, "--partitions", "p003", "--report", "2.json", **more)

    def waiting() -> bool:
        with project.instance() as instance:
            found = instance.event_log_storage.get_concurrency_info("mssql")
        return found.slot_count == 1 and found.pending_step_count + found.assigned_step_count >= 3

    def ended() -> bool:
        return first.poll() is not None or second.poll() is not None

    # Before that Dagster's home may not be there.
    wait_until(lambda: bench.reads()["Ranged"] > before or ended(), "a step that reads")
    wait_until(lambda: waiting() or ended(), "steps that wait")
    assert bench.reads()["Ranged"] == before + 1
    bench.disarm()
    assert (first.wait(240), second.wait(240)) == (0, 0)
    assert bench.reads()["Ranged"] == before + 3

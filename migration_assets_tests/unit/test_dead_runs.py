"""Runs whose process is gone: who is told so, and what becomes of the slots they held."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.launcher import WorkerStatus

from migration_assets.assets.process_locks import own_lock
from migration_assets.assets.translator import STAGES
from migration_assets.definitions import build_definitions
from migration_assets.operations import workers
from migration_assets.operations.home import ensure_home
from migration_assets.operations.run import Selection
from migration_assets.operations.run_launcher import LocalRunLauncher
from migration_assets.operations.run_states import end_dead_runs
from migration_assets.operations.status import State
from migration_assets.operations.workers import Batch
from migration_assets.settings import ProjectSettings
from migration_assets_tests.unit.histories import batches, plan_of, states, table, work

POOL = "mssql"
STARTED, FAILURE = dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.FAILURE
NOT_STARTED = dg.DagsterRunStatus.NOT_STARTED
TABLE = table("t", partitions=2)


@dg.job
def nothing() -> None:
    """A job without steps."""


@pytest.fixture
def instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    """A project's own, on disk: only there are pools."""
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    ensure_home(ProjectSettings.load(concurrent_runs=4))
    with dg.DagsterInstance.get() as made:
        yield made


@pytest.fixture
def dead() -> int:
    """The id of a process that was there and is gone."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid


def run_of(
    instance: dg.DagsterInstance, process: int, status: dg.DagsterRunStatus, host: str = ""
) -> dg.DagsterRun:
    """A run of a process that holds a slot of the pool."""
    tags = {"migration/host": host or socket.gethostname(), "migration/pid": str(process)}
    made = instance.create_run_for_job(nothing, status=status, tags=tags)
    instance.event_log_storage.initialize_concurrency_limit_to_default(POOL)
    instance.event_log_storage.claim_concurrency_slot(POOL, made.run_id, "step")
    return made


def holders(instance: dg.DagsterInstance) -> set[str]:
    slots = instance.event_log_storage.get_concurrency_info(POOL).claimed_slots
    return {slot.run_id for slot in slots}


def test_slots_go_back_of_the_dead_and_the_ended_only(
    instance: dg.DagsterInstance, dead: int
) -> None:
    mine = os.getpid()
    living = run_of(instance, mine, STARTED)
    elsewhere = run_of(instance, dead, STARTED, host="another-host")
    killed = run_of(instance, dead, STARTED)
    failed = run_of(instance, mine, FAILURE)
    assert holders(instance) == {run.run_id for run in (living, elsewhere, killed, failed)}
    assert end_dead_runs(instance) == [killed.run_id]
    assert holders(instance) == {living.run_id, elsewhere.run_id}


def test_the_daemon_is_told_of_the_dead_and_of_nobody_else(
    instance: dg.DagsterInstance, dead: int
) -> None:
    launcher = instance.run_launcher
    assert isinstance(launcher, LocalRunLauncher)
    assert launcher.supports_check_run_worker_health
    mine = os.getpid()
    told = launcher.check_run_worker_health(run_of(instance, dead, STARTED))
    assert told.status is WorkerStatus.FAILED
    assert told.msg == f"MA-DG-004: Its process {dead} on {socket.gethostname()} is gone."
    for run in (run_of(instance, mine, STARTED), run_of(instance, dead, STARTED, host="another")):
        assert launcher.check_run_worker_health(run).status is WorkerStatus.RUNNING


# --- between the making of a run and its start


def _die_before_the_start(batch: Batch) -> None:
    """A worker that is killed when all of its run is noted except that it has started."""
    handle = dg.DagsterInstance.handle_new_event

    def handle_new_event(self: dg.DagsterInstance, event: Any, **options: Any) -> None:
        told = event.dagster_event
        if told is not None and told.event_type is dg.DagsterEventType.RUN_START:
            os.kill(os.getpid(), signal.SIGKILL)
        handle(self, event, **options)

    dg.DagsterInstance.handle_new_event = handle_new_event  # type: ignore[method-assign]
    _ours, theirs = multiprocessing.Pipe()
    with dg.DagsterInstance.get() as instance:
        workers._execute(build_definitions(plan_of(TABLE)), instance, batch, theirs)


def test_what_a_run_was_to_make_whose_worker_died_before_its_start_is_made_again(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("MSSQL_HOST", "MSSQL_USER", "MSSQL_DATABASE", "STARROCKS_HOST", "STARROCKS_USER"):
        monkeypatch.setenv(name, "nobody")  # Dagster makes no run without them
    batch = next(one for one in batches(plan_of(TABLE)) if one.partition_key == "p001")
    worker = multiprocessing.get_context("spawn").Process(
        target=_die_before_the_start, args=(batch,)
    )
    worker.start()
    worker.join(120)
    assert worker.exitcode == -signal.SIGKILL
    (run,) = instance.get_runs()
    assert run.status is NOT_STARTED
    assert "migration/lock" in run.tags  # the number alone does not tell
    assert states(instance, TABLE)["p001"] == [State.RUNNING] * 3

    assert end_dead_runs(instance) == [run.run_id]
    assert states(instance, TABLE)["p001"] == [State.FAILED, State.MISSING, State.MISSING]
    assert ("t", "p001", STAGES) in work(instance, [TABLE], Selection(only_failed=True))


def test_a_run_that_is_only_just_made_is_left_alone(
    instance: dg.DagsterInstance, tmp_path: Path, dead: int
) -> None:
    number = {"migration/host": socket.gethostname(), "migration/pid": str(dead)}
    lock = own_lock(tmp_path)
    assert lock is not None
    # By a process in another container, whose number means nothing here.
    instance.create_run_for_job(nothing, tags={**number, "migration/lock": lock})
    # By the UI's retry of a run that was killed: the tags are those of the one that is retried.
    killed = instance.create_run_for_job(nothing, status=FAILURE, tags=number)
    instance.create_run_for_job(
        nothing, tags=number, parent_run_id=killed.run_id, root_run_id=killed.run_id
    )
    # Likewise when it has started, until its own process has said so.
    instance.create_run_for_job(
        nothing, status=STARTED, tags=number, parent_run_id=killed.run_id, root_run_id=killed.run_id
    )
    assert end_dead_runs(instance) == []
    assert [run.status for run in instance.get_runs()] == [
        STARTED, NOT_STARTED, FAILURE, NOT_STARTED,
    ]  # fmt: skip


def test_a_retry_whose_own_process_died_is_ended(instance: dg.DagsterInstance, dead: int) -> None:
    of_another = {"migration/host": socket.gethostname(), "migration/pid": str(dead + 1)}
    killed = instance.create_run_for_job(nothing, status=FAILURE, tags=of_another)
    retry = instance.create_run_for_job(
        nothing, status=STARTED, tags={**of_another, "migration/pid": str(dead)},
        parent_run_id=killed.run_id, root_run_id=killed.run_id,
    )  # fmt: skip
    assert end_dead_runs(instance) == [retry.run_id]

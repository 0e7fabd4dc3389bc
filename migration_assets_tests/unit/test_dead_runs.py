"""Runs whose process is gone: who is told so, and what becomes of the slots they held."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.launcher import WorkerStatus

from migration_assets.operations.home import ensure_home
from migration_assets.operations.run_launcher import LocalRunLauncher
from migration_assets.operations.status import end_dead_runs
from migration_assets.settings import ProjectSettings

POOL = "mssql"
STARTED, FAILURE = dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.FAILURE


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

"""Which runs of a Dagster instance go on, and which only seem to: their process is gone."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from migration_assets.assets.process_locks import HOST_TAG, LOCK_TAG, PID_TAG, is_held

if TYPE_CHECKING:
    import dagster as dg


def end_dead_runs(instance: dg.DagsterInstance) -> list[str]:
    """End runs whose process on this host is gone, and free their pool slots.

    After SIGKILL a run stays STARTED, its partitions "in progress" and its slots taken. So does one
    that its process had made and not started yet: NOT_STARTED, its partitions "in progress" as well.
    Runs of other hosts, and runs that never said where they are, are left to Dagster's run monitoring.
    Slots of runs that have ended are freed, too: a run that fails outside of its steps keeps them,
    and whoever waits for one would wait for ever where no daemon runs.
    Returns the ids of the runs that were ended.
    """
    import dagster as dg

    ended = []
    made = dg.DagsterRunStatus.NOT_STARTED
    begun = [dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]
    for run in instance.get_runs(dg.RunsFilter(statuses=[made, *begun])):
        cause = cause_of_death(instance, run)
        if not cause:
            continue
        instance.report_run_failed(run, cause)
        instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
        ended.append(run.run_id)
    _free_slots_of_ended_runs(instance)
    return ended


def _free_slots_of_ended_runs(instance: dg.DagsterInstance) -> None:
    import dagster as dg

    storage = instance.event_log_storage
    infos = [storage.get_concurrency_info(key) for key in storage.get_concurrency_keys()]
    holders = {slot.run_id for info in infos for slot in info.claimed_slots}
    if holders:
        unfinished = [status for status in dg.DagsterRunStatus if status.value not in _FINISHED]
        filters = dg.RunsFilter(run_ids=list(holders), statuses=unfinished)
        holders -= {run.run_id for run in instance.get_runs(filters)}
    for run_id in sorted(holders):
        storage.free_concurrency_slots_for_run(run_id)


def _process_of(run: dg.DagsterRun) -> tuple[str | None, ...]:
    return tuple(run.tags.get(tag) for tag in (HOST_TAG, PID_TAG, LOCK_TAG))


def cause_of_death(instance: dg.DagsterInstance, run: dg.DagsterRun) -> str:
    """Say that the process of a run is gone; empty while it lives or cannot be seen from here."""
    if run.parent_run_id is not None:
        # Dagster makes a retry with the tags of the run that it retries; its process writes its own.
        parent = instance.get_run_by_id(run.parent_run_id)
        if parent is not None and _process_of(parent) == _process_of(run):
            return ""
    host, process = run.tags.get(HOST_TAG), run.tags.get(PID_TAG)
    if host != socket.gethostname() or process is None:
        return ""
    held = _is_lock_held(run)
    if is_alive(int(process)) if held is None else held:
        return ""
    return f"MA-DG-004: Its process {process} on {host} is gone."


def _is_lock_held(run: dg.DagsterRun) -> bool | None:
    """Whether the lock of a run's process says that it lives; None where there is none."""
    name, home = run.tags.get(LOCK_TAG), os.environ.get("DAGSTER_HOME")
    return None if name is None or home is None else is_held(Path(home), name)


def unfinished_runs(
    instance: dg.DagsterInstance, limit: int | None = None
) -> Sequence[dg.DagsterRun]:
    """Runs that are queued or going."""
    import dagster as dg

    unfinished = [status for status in dg.DagsterRunStatus if status.value not in _FINISHED]
    return instance.get_runs(dg.RunsFilter(statuses=unfinished), limit=limit)


def is_busy(instance: dg.DagsterInstance) -> bool:
    """Whether a run is queued or going, or a backfill is not over."""
    from dagster._core.execution.backfill import BulkActionStatus

    if unfinished_runs(instance, limit=1):
        return True
    return bool(instance.get_backfills(status=BulkActionStatus.REQUESTED, limit=1))


_FINISHED = {"SUCCESS", "FAILURE", "CANCELED"}


def is_alive(process: int) -> bool:
    """Whether a process runs; one that is dead and that nobody has reaped does not.

    In a container the first process often reaps nobody, so what was killed stays listed there.
    """
    with contextlib.suppress(OSError):
        # The state is the first field behind the name: https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html
        stat = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
        if stat.rpartition(")")[2].split()[0] in {"Z", "X"}:
            return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True

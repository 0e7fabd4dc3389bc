"""Processes that execute Dagster runs one after another, so that a run costs no process start.

Each worker loads the definitions once and executes runs in its own process, in the same instance
as the UI. The parent hears of every step as it ends. A worker that dies takes down its own run
only: the run is ended as failed, and a new worker takes the dead one's place. A parent that is
killed takes its workers with it.

Workers are forks of a process that has imported the libraries and done nothing else, so that they
share these and the second costs next to nothing.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from migration_assets.assets.history import speed_up
from migration_assets.assets.pool_slots import give_slots_singly
from migration_assets.assets.process_locks import process_tags
from migration_assets.errors import MigrationError, coded
from migration_assets.extraction_hours import ExtractionHours

if TYPE_CHECKING:
    import dagster as dg

PLAN_TAG = "migration/plan"
"""Tag of a run: the id of the plan that it was made under."""

LIBRARIES = (
    "boto3",
    "dagster",
    "dagster_aws.s3",
    "pyarrow.compute",
    "pyarrow.parquet",
    "pydantic_settings",
    "pyiceberg.catalog.glue",
    "pyiceberg.io.pyarrow",
    "pymysql",
)
"""What every worker needs, and what can be forked: none opens anything when it is imported, and the
threads that numpy's OpenBLAS and Arrow's jemalloc start know of forks. The drivers of SQL Server,
which keep a state per process, and our definitions, which may not load, are no part of it."""

RUNS_PER_WORKER = 200
"""A worker is replaced after so many runs: whatever a library leaks stays bounded."""


@dataclass(frozen=True)
class Batch:
    """One Dagster run: some assets of one job, one partition key or a range of them.

    Attributes:
        partition_range: first and last key of a run of several; `partition_key` is None then.
        asset_paths: asset keys' paths; empty for a job without assets.
        weight: expected rows, for the order of work and the progress.
        extracts: it reads from SQL Server, so it begins within the hours of MIGRATION_WINDOW only.
    """

    job: str
    partition_key: str | None
    asset_paths: tuple[tuple[str, ...], ...]
    partition_range: tuple[str, str] | None = None
    weight: int = 0
    extracts: bool = False
    tags: Mapping[str, str] = field(default_factory=dict)
    run_config: Mapping[str, Any] = field(default_factory=dict)
    run_id: str = field(default_factory=lambda: str(uuid.uuid4()))


@dataclass(frozen=True)
class StepEnded:
    """A step of a batch ended.

    Attributes:
        outcome: `done`, `failed`, `skipped` (something upstream failed) or `retrying`.
        seconds: what it took, when done.
    """

    batch: Batch
    asset_path: tuple[str, ...]
    outcome: str
    message: str = ""
    seconds: float = 0.0


@dataclass(frozen=True)
class BatchEnded:
    """A batch's run ended."""

    batch: Batch
    success: bool
    message: str = ""


@dataclass(frozen=True)
class PartitionMade:
    """A step of a range of partitions materialized one of them."""

    batch: Batch
    asset_path: tuple[str, ...]
    partition_key: str


Event = StepEnded | PartitionMade | BatchEnded


class Workers:
    """A fixed number of worker processes. Use as a context manager; leaving it ends them."""

    def __init__(self, count: int, hours: ExtractionHours | None = None) -> None:
        """Start no process yet.

        Args:
            count: of processes.
            hours: in which batches that extract may begin; None for always.
        """
        self._count = count
        self._hours = hours
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(list(LIBRARIES))
        self._busy: dict[Connection, tuple[BaseProcess, Batch, int]] = {}
        self._idle: list[tuple[Connection, BaseProcess, int]] = []
        self._waiting: list[Batch] = []
        self.draining = False

    def __enter__(self) -> Workers:
        """Return the workers."""
        return self

    def __exit__(self, *_: object) -> None:
        """End all processes: idle ones at once, busy ones by force."""
        for connection, process, _runs in self._idle:
            connection.close()
            process.join(10)
        for connection, (process, _batch, _runs) in self._busy.items():
            process.kill()
            process.join(10)
            connection.close()
        self._idle, self._busy = [], {}

    @property
    def running(self) -> list[Batch]:
        """Batches that workers execute now."""
        return [batch for _process, batch, _runs in self._busy.values()]

    @property
    def opening(self) -> datetime | None:
        """When extractions begin again, if there are any that wait for it, else None."""
        if self._hours is None or not any(one.extracts for one in [*self._waiting, *self.running]):
            return None
        return self._hours.opening(datetime.now(UTC))

    def run(self, batches: Sequence[Batch]) -> Iterator[Event | None]:
        """Execute the batches, heaviest first, and yield what happens.

        Yields None at least twice a second, so that the caller can look at the clock. When
        `draining` is set no further batch is started and the iterator ends with the last running
        one.
        """
        self._waiting = []
        self.add(batches)
        while self._busy or (self._waiting and not self.draining):
            while not self.draining and len(self._busy) < self._count:
                if (batch := self._next()) is None:
                    break
                self._start(batch)
            for connection in wait(list(self._busy), timeout=0.5):
                if isinstance(connection, Connection):
                    yield self._receive(connection)
            yield None

    def add(self, batches: Sequence[Batch]) -> None:
        """Execute these, too, in the order of weight; while `run` is being iterated."""
        # Where extractions may have to wait, in a worker that waits with them, the others go first.
        self._waiting = sorted(
            [*self._waiting, *batches],
            key=lambda batch: (self._hours is not None and not batch.extracts, batch.weight),
        )

    def _next(self) -> Batch | None:
        """The next batch, None where there is none that may begin."""
        is_open = self.opening is None
        for position in reversed(range(len(self._waiting))):
            if is_open or not self._waiting[position].extracts:
                return self._waiting.pop(position)
        return None

    def _start(self, batch: Batch) -> None:
        while self._idle:
            connection, process, runs = self._idle.pop()
            try:
                connection.send(batch)
            except OSError:  # it died while it had nothing to do
                connection.close()
                process.join(10)
                continue
            self._busy[connection] = (process, batch, runs + 1)
            return
        connection, process, runs = self._spawn()
        connection.send(batch)
        self._busy[connection] = (process, batch, runs + 1)

    def _spawn(self) -> tuple[Connection, BaseProcess, int]:
        ours, theirs = self._context.Pipe()
        # The process they are forks of has the environment of the first `Workers` of this process.
        arguments = (_work, theirs, dict(os.environ))
        process = self._context.Process(target=_begin, args=arguments, daemon=True)
        process.start()
        theirs.close()
        return ours, process, 0

    def _receive(self, connection: Connection) -> Event:
        process, batch, runs = self._busy[connection]
        try:
            event: Event = connection.recv()
        except (EOFError, ConnectionResetError):
            process.join(10)
            del self._busy[connection]
            connection.close()
            cause = (
                f"MA-DG-004: Worker process {process.pid} ended with exit code {process.exitcode}."
            )
            return BatchEnded(batch, success=False, message=cause)
        if isinstance(event, BatchEnded):
            del self._busy[connection]
            if runs < RUNS_PER_WORKER:
                self._idle.append((connection, process, runs))
            else:
                connection.close()
                process.join(30)
        return event


def _begin(
    work: Callable[[Connection, Mapping[str, str]], None],
    parent: Connection,
    environment: Mapping[str, str],
) -> None:
    """Run a worker's loop, which ends at once when the parent is killed.

    A worker that went on alone would fail its run as soon as it told of it, with its pool slots
    taken for good; and would be in the way of the command that somebody types next.
    """

    def watch(sentinel: int) -> None:
        wait([sentinel])
        os.kill(os.getpid(), signal.SIGKILL)

    started_by = multiprocessing.parent_process()
    if started_by is not None:
        arguments = (started_by.sentinel,)
        threading.Thread(target=watch, args=arguments, name="parent watch", daemon=True).start()
    work(parent, environment)


def _work(parent: Connection, environment: Mapping[str, str]) -> None:
    """Execute batches until the parent hangs up. Runs in the worker process."""
    os.environ.clear()
    os.environ.update(environment)
    # Ctrl-C goes to the whole process group; the parent decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _write_to_log()
    import dagster as dg

    try:
        from migration_assets.definitions import defs
    except Exception as error:  # noqa: BLE001 - told to the parent, as the outcome of its batch
        message = _said(error, "The definitions do not load: ")
        parent.send(BatchEnded(parent.recv(), success=False, message=message))
        return
    speed_up(Path(os.environ["DAGSTER_HOME"]))
    give_slots_singly()
    with dg.DagsterInstance.get() as instance:
        while True:
            try:
                batch: Batch = parent.recv()
            except EOFError:
                return
            parent.send(_execute(defs, instance, batch, parent))


def _write_to_log() -> None:
    """Send what runs print to a file: it would garble the parent's progress.

    By file descriptor, so that what drivers and a dying interpreter print gets there as well.
    """
    folder = Path(os.environ["DAGSTER_HOME"]) / "workers"
    folder.mkdir(exist_ok=True)
    log = os.open(folder / f"{os.getpid()}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)


def _execute(
    defs: dg.Definitions, instance: dg.DagsterInstance, batch: Batch, parent: Connection
) -> BatchEnded:
    import dagster as dg

    planned, own = batch.tags.get(PLAN_TAG), defs.metadata.get("plan") if defs.metadata else None
    if planned is not None and (own is None or planned != own.value):
        return BatchEnded(batch, success=False, message=_PLAN_REPLACED)

    def tell(entry: dg.EventLogEntry) -> None:
        event = _partition_made(batch, entry) or _step_ended(batch, entry)
        if event is not None:
            parent.send(event)

    instance.add_event_listener(batch.run_id, tell)
    # From the first on: a run that has not started when its process is killed has no others.
    tags = {**process_tags(Path(os.environ["DAGSTER_HOME"])), **batch.tags}
    if batch.partition_range is not None:
        tags |= dict(zip(RANGE_TAGS, batch.partition_range, strict=True))
    try:
        result = defs.resolve_job_def(batch.job).execute_in_process(
            instance=instance,
            run_id=batch.run_id,
            partition_key=batch.partition_key,
            asset_selection=[dg.AssetKey(list(path)) for path in batch.asset_paths] or None,
            run_config=dict(batch.run_config) or None,
            tags=tags,
            raise_on_error=False,
        )
    except Exception as error:  # noqa: BLE001 - reported to the parent, which tells the user
        return BatchEnded(batch, success=False, message=_said(error))
    return BatchEnded(batch, success=result.success)


def _said(error: Exception, before: str = "") -> str:
    """What went wrong outside of a step; what is none of ours has the code of the unexpected."""
    if isinstance(error, MigrationError):
        return coded(error.code, f"{before}{type(error).__name__}: {error.message}")
    return coded("MA-DG-001", f"{before}{type(error).__name__}: {error}")


_PLAN_REPLACED = (
    "MA-PL-015: The plan was replaced while the run was going, so nothing more of it is made. `migration-assets "
    "run --failed` goes on under the new plan; `migration-assets status` shows what it needs."
)

RANGE_TAGS = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")
"""Dagster's tags of a run of several partitions."""


def _partition_made(batch: Batch, entry: dg.EventLogEntry) -> PartitionMade | None:
    event = entry.dagster_event
    if batch.partition_range is None or event is None or not event.is_step_materialization:
        return None
    made = event.step_materialization_data.materialization
    if made.partition is None:
        return None
    return PartitionMade(batch, tuple(made.asset_key.path), made.partition)


_OUTCOMES = {
    "STEP_SUCCESS": "done",
    "STEP_FAILURE": "failed",
    "STEP_SKIPPED": "skipped",
    "STEP_UP_FOR_RETRY": "retrying",
}


def _step_ended(batch: Batch, entry: dg.EventLogEntry) -> StepEnded | None:
    import dagster as dg

    event = entry.dagster_event
    if event is None or event.step_key is None or event.event_type_value not in _OUTCOMES:
        return None
    outcome = _OUTCOMES[event.event_type_value]
    message = ""
    if outcome == "failed":
        failure = event.step_failure_data.user_failure_data
        message = (failure.description if failure is not None else None) or ""
        message = message or (event.step_failure_data.error_display_string or "").strip()
    by_step = {dg.AssetKey(list(p)).to_python_identifier(): p for p in batch.asset_paths}
    seconds = 0.0
    if outcome == "done":
        seconds = event.step_success_data.duration_ms / 1000
    path = by_step.get(event.step_key, (event.step_key,))
    return StepEnded(batch, path, outcome, message, seconds)

"""Migrate tables: the same runs, in the same Dagster instance, as a click in the UI makes."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import TYPE_CHECKING

from migration_assets.assets.barrier import refuse_part
from migration_assets.assets.failures import retry_command
from migration_assets.assets.translator import STAGES, MigrationTranslator, Stage
from migration_assets.assets.validation import select_tables
from migration_assets.errors import ConfigurationError
from migration_assets.extraction_hours import ExtractionHours, waits_until
from migration_assets.jobs import VALIDATE_JOB
from migration_assets.operations.results import MigrationResult, Progress, Report, TableResult
from migration_assets.operations.run_states import end_dead_runs
from migration_assets.operations.schedule import Schedule, Work, stages_between
from migration_assets.operations.status import (
    FailedStep,
    PartitionStatus,
    State,
    count_checks,
    failed_steps,
    narrowed_windows,
    partition_statuses,
)
from migration_assets.operations.workers import (
    PLAN_TAG,
    Batch,
    BatchEnded,
    Event,
    PartitionMade,
    StepEnded,
    Workers,
)
from migration_assets.plan import MigrationPlan, TablePlan

if TYPE_CHECKING:
    import dagster as dg


@dataclass(frozen=True)
class Selection:
    """What a run shall make.

    Attributes:
        tables: patterns of `schema.table`; empty for all.
        partition_keys: only these; empty for all.
        only_failed: only what is not done, or not from what lies upstream.
        first: the first stage to make; `last` the last one.
    """

    tables: Sequence[str] = ()
    partition_keys: Sequence[str] = ()
    only_failed: bool = False
    first: Stage = Stage.MSSQL
    last: Stage = Stage.STARROCKS

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The stages to make, in order."""
        return stages_between(self.first, self.last)

    def check(self, plan: MigrationPlan) -> None:
        """Refuse a selection that selects nothing.

        Raises:
            ConfigurationError: a pattern or key matches nothing, or no stage is left.
        """
        if not self.stages:
            raise ConfigurationError(
                f"There is no stage from {self.first.value} to {self.last.value}.",
                code="MA-CF-025",
                next_step="--from must name the system of --until or one before it.",
            )
        known = {key for t in select_tables(plan, self.tables) for key in t.partition_keys}
        unknown = [key for key in self.partition_keys if key not in known]
        if unknown:
            raise ConfigurationError(
                f"No selected table has a partition {unknown[0]!r}.",
                code="MA-PL-009",
                next_step="`migration-assets status --json` lists the partitions.",
            )


def run_migration(
    plan: MigrationPlan,
    instance: dg.DagsterInstance,
    selection: Selection,
    *,
    run_slots: int,
    report: Report = lambda _: None,
    validate: bool = True,
    translator: MigrationTranslator | None = None,
    hours: ExtractionHours | None = None,
    tags: Mapping[str, str] | None = None,
) -> MigrationResult:
    """Make the selected asset partitions, and compare row counts at the end.

    Args:
        plan: the plan that `MIGRATION_PLAN` names; the worker processes load it by themselves.
        instance: the Dagster instance; the caller closes it.
        selection: what to make.
        run_slots: worker processes.
        report: called after every step and twice a second.
        validate: whether to compare whole tables at the end of a run down to StarRocks.
        translator: as given to `build_definitions`.
        hours: in which extractions may begin; the rest goes on outside of them. None for always.
        tags: of the Dagster runs, beside ours.

    Raises:
        ConfigurationError: the selection names nothing that the plan has.
    """
    translator = translator or MigrationTranslator()
    started = time.monotonic()
    end_dead_runs(instance)
    tables = select_tables(plan, selection.tables)
    work = list(_work(instance, tables, selection, translator))
    narrowed = {t.full_name: narrowed_windows(instance, t, translator) for t in tables}
    schedule = Schedule(plan, work, translator, narrowed, tags=tags)
    results = {
        table.full_name: TableResult(table.full_name, partitions)
        for table in tables
        if (partitions := len(_selected_keys(table, selection)))
    }
    progress = Progress(
        steps=sum(len(item.stages) for item in work),
        weight=sum(item.weight for item in work),
        tables=len({item.table.full_name for item in work}),
    )
    for item in work:
        for stage in item.stages:
            progress.time_left.plan(stage.value, item.step_weight)
    broken: list[BatchEnded] = []
    interrupts = _Interrupts()
    with contextlib.suppress(KeyboardInterrupt), Workers(run_slots, hours) as workers, interrupts:
        for event in workers.run(schedule.first()):
            workers.draining = interrupts.count > 0
            _account(event, instance, progress, results, schedule)
            if isinstance(event, BatchEnded):
                workers.add(schedule.after(event.batch))
            if isinstance(event, BatchEnded) and event.message:
                broken.append(event)
            progress.is_draining = workers.draining
            opening = workers.opening
            progress.pause = "" if hours is None or opening is None else waits_until(hours, opening)
            report(progress)
        if validate and selection.last is Stage.STARROCKS and not interrupts.count:
            progress.message = "comparing row counts"
            report(progress)
            _validate(workers, instance, results, run_slots, plan.plan_id)
            _note_emptied(tables, results)
    end_dead_runs(instance)
    statuses = [
        status
        for status in partition_statuses(instance, tables, translator)
        if status.partition_key in _selected_keys(status.table, selection)
    ]
    never_run = [end for end in broken if not instance.has_run(end.batch.run_id)]
    failures = failed_steps(instance, statuses, translator, never_run)
    unmade = _conclude(statuses, selection, results, failures)
    if not interrupts.count:  # then the summary says that not all was begun, and how to go on
        for name, of_table in unmade.items():
            results[name].note = _describe_unmade(of_table, selection.last)
    for table in tables:
        if result := results.get(table.full_name):
            result.checks_passed, result.checks = count_checks(instance, table, translator)
    return MigrationResult(
        plan_id=plan.plan_id,
        tables=list(results.values()),
        failures=failures,
        seconds=time.monotonic() - started,
        interrupted=interrupts.count > 0,
        plan=plan,
        partition_keys=tuple(selection.partition_keys),
        last=selection.last,
    )


def _selected_keys(table: TablePlan, selection: Selection) -> list[str]:
    wanted = set(selection.partition_keys)
    return [key for key in table.partition_keys if not wanted or key in wanted]


def _work(
    instance: dg.DagsterInstance,
    tables: Sequence[TablePlan],
    selection: Selection,
    translator: MigrationTranslator,
) -> Iterator[Work]:
    """What has to be made, in plan order."""
    if not selection.only_failed:
        for table in tables:
            keys = _selected_keys(table, selection)
            if keys and table.at_barrier and selection.first is Stage.MSSQL:
                refuse_part(table, keys)
            for key in keys:
                yield Work(table, key, selection.stages)
        return
    statuses = [
        status
        for status in partition_statuses(instance, tables, translator)
        if status.partition_key in _selected_keys(status.table, selection)
    ]
    causes = {
        (failure.table, failure.partition_key): failure.error
        for failure in failed_steps(instance, statuses, translator)
    }
    starts = {
        (status.table.full_name, status.partition_key): _restart(
            status, causes.get((status.table.full_name, status.partition_key), "")
        )
        for status in statuses
    }
    for table in tables:
        if table.at_barrier:
            _restart_whole(table, statuses, starts, selection)
    for status in statuses:
        start = starts[status.table.full_name, status.partition_key]
        if start is None or STAGES.index(start) > STAGES.index(selection.last):
            continue
        first = max(start, selection.first, key=STAGES.index)
        error = causes.get((status.table.full_name, status.partition_key), "")
        yield Work(
            status.table,
            status.partition_key,
            stages_between(first, selection.last),
            replaces_foreign=error in TELLS_OF_FOREIGN_ROWS
            or State.CHECK_FAILED in status.states.values(),
        )


TELLS_OF_SPENT_RECEIPTS = {
    "ReceiptError", "VerificationError", "ForeignCommitError", "SupersededError",
}  # fmt: skip
"""Errors after which only another extraction helps: what lies upstream would be refused again."""

UNMADE_SHOWN = 5
"""Partitions of a table that are named as neither done nor failed."""

TELLS_OF_FOREIGN_ROWS = {"ForeignRowsError", "ForeignCommitError", "VerificationError"}
"""Errors after which `--failed` may replace what a partition holds: somebody was told of it."""


def _restart_whole(
    table: TablePlan,
    statuses: Sequence[PartitionStatus],
    starts: dict[tuple[str, str], Stage | None],
    selection: Selection,
) -> None:
    """Begin with all partitions of a table at a barrier where one has to be extracted again.

    Raises:
        ConfigurationError: some of them are not selected.
    """
    own = [status for status in statuses if status.table.full_name == table.full_name]
    places = {status.partition_key: (table.full_name, status.partition_key) for status in own}
    if selection.first is not Stage.MSSQL or Stage.MSSQL not in map(starts.get, places.values()):
        return
    refuse_part(table, list(places))
    is_running = any(status.states[Stage.MSSQL] is State.RUNNING for status in own)
    starts.update(dict.fromkeys(places.values(), None if is_running else Stage.MSSQL))


def _restart(status: PartitionStatus, error: str) -> Stage | None:
    """The stage to begin with; None when all is done or somebody is at it.

    A receipt that is spent, and a copy that differs, can only be healed from the source on.
    """
    stage = status.first_open_stage
    if stage is None:
        return None
    state = status.states[stage]
    if state is State.RUNNING:
        return None
    return Stage.MSSQL if state is State.CHECK_FAILED or error in TELLS_OF_SPENT_RECEIPTS else stage


def _account(
    event: Event | None,
    instance: dg.DagsterInstance,
    progress: Progress,
    results: dict[str, TableResult],
    schedule: Schedule,
) -> None:
    """Add an event to the progress; end the run of a worker that died."""
    if isinstance(event, PartitionMade):
        item = schedule.made(event)
        progress.done_steps += 1
        progress.end(Stage.MSSQL.value, item.step_weight, made=True)
    elif isinstance(event, StepEnded) and (items := schedule.items(event)):
        result = results[items[0].table.full_name]
        result.attempts += event.outcome != "skipped"
        if event.outcome == "retrying":
            return
        result.seconds += event.seconds
        progress.message = event.message.splitlines()[0] if event.message else progress.message
        stage = schedule.stage(event, items[0]).value
        if event.batch.partition_range is not None:
            # What it made was told partition by partition; what it did not ends the later stages.
            lost = [item for item in items if not schedule.is_made(event, item)]
            progress.failed_steps += len(lost)
            for item in lost:
                for one in item.stages:
                    progress.end(one.value, item.step_weight, made=False)
            if made := sum(item.step_weight for item in items if item not in lost):
                progress.time_left.took(stage, made, event.seconds)
            return
        if event.outcome == "done":
            progress.done_steps += 1
            progress.time_left.took(stage, items[0].step_weight, event.seconds)
        else:
            progress.failed_steps += 1
        progress.end(stage, items[0].step_weight, made=event.outcome == "done")
    elif isinstance(event, BatchEnded) and event.message:
        progress.message = event.message
        run = instance.get_run_by_id(event.batch.run_id)
        if run is not None and not run.is_finished:
            instance.report_run_failed(run, event.message)
            instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)


def _validate(
    workers: Workers,
    instance: dg.DagsterInstance,
    results: dict[str, TableResult],
    run_slots: int,
    plan_id: str,
) -> None:
    """Run the `validate` job over all tables that are complete, and take over what it found."""
    import dagster as dg

    tables = list(results)
    shares = [tables[start::run_slots] for start in range(min(run_slots, len(tables)))]
    batches = [
        Batch(
            job=VALIDATE_JOB,
            partition_key=None,
            asset_paths=(),
            run_config={"ops": {"compare_systems": {"config": {"tables": share}}}},
            tags={PLAN_TAG: plan_id},
        )
        for share in shares
    ]
    messages = [
        event.message
        for event in workers.run(batches)
        if isinstance(event, BatchEnded) and event.message
    ]
    for batch in batches:
        observed = instance.all_logs(batch.run_id, of_type=dg.DagsterEventType.ASSET_OBSERVATION)
        for entry in observed:
            observation = entry.asset_observation
            if observation is None:
                continue
            found = {name: value.value for name, value in observation.metadata.items()}
            result = results[str(found["table"])]
            result.rows = {stage.value: _count(found.get(stage.value)) for stage in STAGES}
            result.difference = str(found["difference"])
            result.valid = not result.difference
    for result in results.values():
        if result.valid is None:
            # What could not be compared is not known to be right.
            result.valid = False
            result.difference = " ".join(["not compared: the validation failed.", *messages[:1]])


def _note_emptied(tables: Sequence[TablePlan], results: Mapping[str, TableResult]) -> None:
    """Say which tables have no rows any more: equal in all systems, but perhaps not as meant."""
    for table in tables:
        result = results.get(table.full_name)
        # Of the rows that a condition leaves, nobody knows how many there were.
        emptied = table.rows and not table.where
        if result is not None and result.rows.get(Stage.MSSQL.value) == 0 and emptied:
            result.note = (
                f"SQL Server has no rows of {table.full_name}: about {table.rows:,} when it was "
                "planned. Was it truncated? The targets have none either now."
            )


def _count(value: object) -> int | None:
    return value if isinstance(value, int) else None


def _conclude(
    statuses: Sequence[PartitionStatus],
    selection: Selection,
    results: dict[str, TableResult],
    failures: Sequence[FailedStep],
) -> dict[str, list[PartitionStatus]]:
    """Count what is done; returns by table what is not, although nothing of it failed."""
    stages = stages_between(Stage.MSSQL, selection.last)
    failed = {(one.table, one.partition_key) for one in failures if one.stage in stages}
    unmade: dict[str, list[PartitionStatus]] = {}
    for status in statuses:
        name = status.table.full_name
        if all(status.states[stage] is State.DONE for stage in stages):
            results[name].done += (name, status.partition_key) not in failed
        elif (name, status.partition_key) not in failed:
            unmade.setdefault(name, []).append(status)
    return unmade


def _describe_unmade(statuses: Sequence[PartitionStatus], last: Stage) -> str:
    table, stages, shown = statuses[0].table, stages_between(Stage.MSSQL, last), []
    for status in statuses[:UNMADE_SHOWN]:
        stage = next(stage for stage in stages if status.states[stage] is not State.DONE)
        shown.append(f"{status.partition_key} is {status.states[stage].value} in {stage.value}")
    more = len(statuses) - len(shown)
    return (
        f"{table.full_name} is not done, although nothing failed: {', '.join(shown)}"
        f"{f', and {more} more' if more else ''}. Another run may be at it; when it has ended: "
        f"{retry_command(table)}"
    )


class _Interrupts:
    """Counts Ctrl-C: the first drains, the second abandons."""

    def __init__(self) -> None:
        self.count = 0
        self._previous: object = None

    def __enter__(self) -> None:
        with contextlib.suppress(ValueError):  # not in the main thread: nobody presses keys there
            self._previous = signal.signal(signal.SIGINT, self._handle)

    def __exit__(self, *_: object) -> None:
        if callable(self._previous):
            signal.signal(signal.SIGINT, self._previous)

    def _handle(self, _number: int, _frame: FrameType | None) -> None:
        self.count += 1
        if self.count > 1:
            raise KeyboardInterrupt

"""Where each asset partition stands, from Dagster's own records."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from migration_assets.assets.build import (
    DATA_VERSION_TAG,
    NO_POINT,
    POINT_IN_TIME_TAG,
    is_valid,
)
from migration_assets.assets.checks import CHECKS
from migration_assets.assets.failures import retry_command
from migration_assets.assets.translator import (
    STAGES,
    MigrationTranslator,
    Stage,
    partitions_definition,
)
from migration_assets.choices import VerificationLevel
from migration_assets.errors import code_of
from migration_assets.plan import TablePlan

if TYPE_CHECKING:
    import dagster as dg
    from dagster_shared.error import SerializableErrorInfo

    from migration_assets.operations.workers import BatchEnded


PAGE = 500
"""Records of Dagster's history that are read at once."""


class State(StrEnum):
    """State of one asset partition; only `DONE` needs nothing.

    `FAILED`: its own latest attempt failed or was interrupted. What lies downstream of a failure
    never ran: it is `MISSING`, or `STALE` when an earlier run made it. `STALE`: made under another
    plan, of a time window that has got an end since, not from what now lies upstream, or, at a
    barrier, not as of one point in time. `CHECK_FAILED`: made, but its newest check failed,
    that of a `validate` included.
    """

    DONE = "done"
    RUNNING = "running"
    FAILED = "failed"
    MISSING = "missing"
    STALE = "stale"
    CHECK_FAILED = "check failed"


@dataclass(frozen=True)
class PartitionStatus:
    """One partition of one table: its state in each system."""

    table: TablePlan
    partition_key: str
    states: dict[Stage, State]

    @property
    def first_open_stage(self) -> Stage | None:
        """The first stage that is not done; None when all are."""
        return next((stage for stage in STAGES if self.states[stage] is not State.DONE), None)

    def state(self) -> State:
        """The whole partition's state: that of its first open stage."""
        stage = self.first_open_stage
        return State.DONE if stage is None else self.states[stage]


@dataclass(frozen=True)
class FailedStep:
    """Why an asset partition failed last.

    Attributes:
        error: class name of the error, where it is one of ours.
    """

    table: str
    partition_key: str
    stage: Stage
    cause: str
    next_step: str
    retry: str
    run_id: str
    error: str

    @property
    def code(self) -> str:
        """With which the cause begins; empty where it has none."""
        return code_of(self.cause)


def partition_statuses(
    instance: dg.DagsterInstance,
    tables: Sequence[TablePlan],
    translator: MigrationTranslator,
) -> Iterator[PartitionStatus]:
    """Yield the status of every partition of the tables, in plan order."""
    for table in tables:
        stages = {stage: _stage_states(instance, table, stage, translator) for stage in STAGES}
        crossed = _crossed(instance, table, translator, stages)
        for key in table.partition_keys:
            states: dict[Stage, State] = {}
            newest, is_upstream_failed = "", False
            for stage in STAGES:
                state, version = stages[stage][key]
                if stage is Stage.MSSQL:
                    newest = version
                    state = State.STALE if state is State.DONE and key in crossed else state
                elif state is State.DONE and version != newest:
                    state = State.STALE
                if state is State.FAILED and is_upstream_failed:
                    # Dagster calls all failed that a failed run was to make.
                    state = State.STALE if version else State.MISSING
                else:
                    is_upstream_failed = state is State.FAILED
                states[stage] = state
            yield PartitionStatus(table, key, states)


def _stage_states(
    instance: dg.DagsterInstance, table: TablePlan, stage: Stage, translator: MigrationTranslator
) -> dict[str, tuple[State, str]]:
    """State and data version of each partition of one asset."""
    import dagster as dg

    key = translator.asset_key(stage, table)
    partitions = partitions_definition(table.partition_keys)
    statuses = instance.get_status_by_partition(key, table.partition_keys, partitions) or {}
    tags = instance.event_log_storage.get_latest_tags_by_partition(
        key, dg.DagsterEventType.ASSET_MATERIALIZATION, [DATA_VERSION_TAG]
    )
    is_torn = stage is Stage.MSSQL and _shows_several_states(instance, table, key)
    failed_checks = _failed_checks(instance, table, key)
    states: dict[str, tuple[State, str]] = {}
    for partition_key in table.partition_keys:
        status = statuses.get(partition_key)
        version = tags.get(partition_key, {}).get(DATA_VERSION_TAG, "")
        name = "" if status is None else status.value
        if name == "IN_PROGRESS":
            state = State.RUNNING
        elif name == "FAILED":
            state = State.FAILED
        elif name != "MATERIALIZED":
            state = State.MISSING
        elif not is_valid(version, table, partition_key):
            state = State.STALE
        elif partition_key in failed_checks:
            state = State.CHECK_FAILED
        else:
            state = State.STALE if is_torn else State.DONE
        states[partition_key] = (state, version)
    return states


def _crossed(
    instance: dg.DagsterInstance,
    table: TablePlan,
    translator: MigrationTranslator,
    stages: Mapping[Stage, Mapping[str, tuple[State, str]]],
) -> set[str]:
    """Partitions of which a stage was made after the newest one upstream, and yet not from it.

    A stage is made from the newest receipt. Two runs at once may store their receipts in one order
    and their events in the other: made again from the same receipt, it would be as stale as before.
    """
    import dagster as dg

    pairs = list(itertools.pairwise(STAGES))
    keys = {
        key
        for key in table.partition_keys
        for upstream, stage in pairs
        if stages[stage][key][1] and stages[stage][key][1] != stages[upstream][key][1]
    }
    if not keys:
        return keys
    places = {
        stage: instance.event_log_storage.get_latest_storage_id_by_partition(
            translator.asset_key(stage, table), dg.DagsterEventType.ASSET_MATERIALIZATION, keys
        )
        for stage in STAGES
    }
    return {
        key
        for key in keys
        for upstream, stage in pairs
        if stages[stage][key][1] != stages[upstream][key][1]
        and places[stage].get(key, 0) > places[upstream].get(key, 0)
    }


def narrowed_windows(
    instance: dg.DagsterInstance, table: TablePlan, translator: MigrationTranslator
) -> list[str]:
    """Partition keys of time windows that were committed or loaded when their end was another one.

    Until they are migrated again they hold rows that belong to later windows.
    """
    import dagster as dg

    if table.window is None:
        return []
    found = set()
    for stage in (Stage.ICEBERG, Stage.STARROCKS):
        tags = instance.event_log_storage.get_latest_tags_by_partition(
            translator.asset_key(stage, table),
            dg.DagsterEventType.ASSET_MATERIALIZATION,
            [DATA_VERSION_TAG],
        )
        for key in table.partition_keys:
            version = tags.get(key, {}).get(DATA_VERSION_TAG, "")
            if version and not is_valid(version, table, key):
                found.add(key)
    return [key for key in table.partition_keys if key in found]


def _shows_several_states(
    instance: dg.DagsterInstance, table: TablePlan, asset_key: dg.AssetKey
) -> bool:
    """Whether a table at a barrier has partitions that were not extracted together."""
    if not table.at_barrier or len(table.partition_keys) == 1:
        return False
    tags = latest_tags(instance, asset_key)
    made = [tags[key] for key in table.partition_keys if key in tags]
    points = {of.get(POINT_IN_TIME_TAG, NO_POINT) for of in made}
    return len(points) > 1 or NO_POINT in points


def latest_tags(
    instance: dg.DagsterInstance, asset_key: dg.AssetKey
) -> dict[str, Mapping[str, str]]:
    """Tags of each partition's newest materialization: two queries, however many there are."""
    import dagster as dg

    event = dg.DagsterEventType.ASSET_MATERIALIZATION
    newest = instance.event_log_storage.get_latest_storage_id_by_partition(asset_key, event)
    if not newest:
        return {}
    wanted = dg.AssetRecordsFilter(asset_key, storage_ids=list(newest.values()))
    found = {}
    for record in instance.fetch_materializations(wanted, limit=len(newest)).records:
        if record.asset_materialization is not None and record.partition_key is not None:
            found[record.partition_key] = record.asset_materialization.tags or {}
    return found


def _failed_checks(
    instance: dg.DagsterInstance, table: TablePlan, asset_key: dg.AssetKey
) -> set[str]:
    """Partitions whose newest evaluation of some check failed as an error."""
    import dagster as dg
    from dagster._core.event_api import PartitionKeyFilter

    if table.verification is VerificationLevel.NONE:
        return set()
    keys = [dg.AssetCheckKey(asset_key, name) for name in CHECKS]
    storage = instance.event_log_storage
    failed = set()
    for info in storage.get_asset_check_partition_info(keys):
        if info.partition_key is None or info.latest_execution_status.value != "FAILED":
            continue
        newest = storage.get_asset_check_execution_history(
            info.check_key, limit=1, partition_filter=PartitionKeyFilter(key=info.partition_key)
        )
        # A warning (a source that moved) is told, but no retry could heal it.
        if not any(_is_warning(record.event) for record in newest):
            failed.add(info.partition_key)
    return failed


def _is_warning(event: dg.EventLogEntry | None) -> bool:
    import dagster as dg

    if event is None or event.dagster_event is None:
        return False
    evaluation = event.dagster_event.event_specific_data
    return getattr(evaluation, "severity", None) is dg.AssetCheckSeverity.WARN


def count_checks(
    instance: dg.DagsterInstance, table: TablePlan, translator: MigrationTranslator
) -> tuple[int, int]:
    """How many of the table's partitioned checks passed when last evaluated, and how many were."""
    import dagster as dg
    from dagster._core.storage.asset_check_execution_record import (
        COMPLETED_ASSET_CHECK_EXECUTION_RECORD_STATUSES as EVALUATED,
    )

    keys = [
        dg.AssetCheckKey(translator.asset_key(stage, table), name)
        for stage in STAGES
        for name in CHECKS
    ]
    storage, outcomes = instance.event_log_storage, []
    unevaluated: dict[dg.AssetCheckKey, set[str | None]] = {}
    for info in storage.get_asset_check_partition_info(keys):
        if info.latest_execution_status in EVALUATED:
            outcomes.append(info.latest_execution_status.value)
        else:  # planned by a run that never came to it: what counts is an earlier one
            unevaluated.setdefault(info.check_key, set()).add(info.partition_key)
    for check_key, waiting in unevaluated.items():
        cursor: int | None = None
        while waiting:
            page = storage.get_asset_check_execution_history(check_key, PAGE, cursor, EVALUATED)
            for record in page:
                if record.partition in waiting:
                    waiting.discard(record.partition)
                    outcomes.append(record.status.value)
            if len(page) < PAGE:
                break
            cursor = page[-1].id
    return outcomes.count("SUCCEEDED"), len(outcomes)


def failed_steps(
    instance: dg.DagsterInstance,
    statuses: Sequence[PartitionStatus],
    translator: MigrationTranslator,
    never_run: Sequence[BatchEnded] = (),
) -> list[FailedStep]:
    """Find the cause of each failed partition in the events of the run that failed.

    Args:
        instance: whose events.
        statuses: of the partitions.
        translator: gives the asset keys.
        never_run: batches that ended before they had made their run, so that Dagster knows nothing
            of them: what they were to make failed, whatever an earlier run made of it.
    """
    ends: dict[str, _RunEnd] = {}
    found = []
    for status in statuses:
        keys = {stage: translator.asset_key(stage, status.table) for stage in STAGES}
        unmade = ((stage, end) for stage in STAGES for end in never_run)
        broken = next((one for one in unmade if _was_to_make(one[1], keys[one[0]], status)), None)
        if broken is not None:
            stage, end = broken
            run_id, cause, next_step, error = end.batch.run_id, end.message, _RETRY_IT, ""
        else:
            first_open = status.first_open_stage
            if first_open is None or status.states[first_open] is not State.FAILED:
                continue
            stage = first_open
            run_id = _latest_attempt(instance, keys[stage], status.partition_key)
            if run_id and run_id not in ends:
                ends[run_id] = _end_of(instance, run_id)
            cause, next_step, error = _cause(
                ends.get(run_id), keys[stage].to_python_identifier(), status.partition_key
            )
        found.append(
            FailedStep(
                table=status.table.full_name,
                partition_key=status.partition_key,
                stage=stage,
                cause=cause,
                next_step=next_step,
                retry=retry_command(status.table, status.partition_key),
                run_id=run_id,
                error=error,
            )
        )
    return found


_RETRY_IT = "Retry it."


def _was_to_make(end: BatchEnded, key: dg.AssetKey, status: PartitionStatus) -> bool:
    """Whether a batch was to make an asset of this partition, alone or within a range."""
    batch, keys = end.batch, status.table.partition_keys
    if tuple(key.path) not in batch.asset_paths:
        return False
    if batch.partition_range is None:
        return batch.partition_key == status.partition_key
    first, last = (keys.index(one) for one in batch.partition_range)
    return first <= keys.index(status.partition_key) <= last


def _latest_attempt(instance: dg.DagsterInstance, key: dg.AssetKey, partition_key: str) -> str:
    """The run that last tried to make an asset partition and did not."""
    storage = instance.event_log_storage
    runs = storage.get_latest_asset_partition_materialization_attempts_without_materializations(key)
    return runs.get(partition_key, ("", 0))[0]


@dataclass(frozen=True)
class _RunEnd:
    """How a run failed: its failed steps by key, and what was said of the run as a whole."""

    steps: dict[str, dg.EventLogEntry]
    said: str


def _end_of(instance: dg.DagsterInstance, run_id: str) -> _RunEnd:
    import dagster as dg

    kinds = {dg.DagsterEventType.STEP_FAILURE, dg.DagsterEventType.RUN_FAILURE}
    entries = instance.all_logs(run_id, of_type=kinds)
    steps = {entry.step_key: entry for entry in entries if entry.step_key is not None}
    events = [entry.dagster_event for entry in entries if entry.step_key is None]
    return _RunEnd(steps, next((event.message or "" for event in events if event is not None), ""))


def _cause(end: _RunEnd | None, step_key: str, partition_key: str) -> tuple[str, str, str]:
    event = None if end is None else end.steps.get(step_key)
    if event is None or event.dagster_event is None:
        of_run = "" if end is None else end.said
        return (
            of_run or "MA-DG-004: The process of its run ended before it was done.",
            _RETRY_IT,
            "",
        )
    data = event.dagster_event.step_failure_data
    failure = data.user_failure_data
    if failure is None:
        return _last_cause(data.error)
    said = {name: str(value.value) for name, value in failure.metadata.items()}
    # A step of many partitions says of each why it failed.
    cause = said.get(partition_key) or failure.description or "unknown"
    return cause, said.get("next step", ""), said.get("error", "")


def _last_cause(error: SerializableErrorInfo | None) -> tuple[str, str, str]:
    """What failed when retries ran out: Dagster's own errors around it say nothing of it."""
    while error is not None and error.cause is not None and error.cls_name in _WRAPPERS:
        error = error.cause
    if error is None:
        return "unknown", "", ""
    said = error.message.strip().splitlines()[0] if error.message.strip() else str(error.cls_name)
    # `package.module.Class: message`
    kind, _, rest = said.partition(": ")
    cause = rest if rest and kind.endswith(str(error.cls_name)) else said
    of_ours = error.cause if error.cls_name == "Failure" and error.cause else error
    return cause, "", str(of_ours.cls_name)


_WRAPPERS = {
    "DagsterMaxRetriesExceededError",
    "DagsterExecutionStepExecutionError",
    "RetryRequestedFromPolicy",
}

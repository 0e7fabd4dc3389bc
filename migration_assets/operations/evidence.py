"""What Dagster's records prove of a table: one `Table` of the report at a time.

No server is asked. Per asset there are a few queries, however many partitions it has; what is read
of one table is gone before the next one is looked at.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from migration_assets.assets.checks import CHECKS, COLUMN_NAMES, DESCRIPTIONS, ROW_COUNT
from migration_assets.assets.translator import STAGES, MigrationTranslator, Stage
from migration_assets.evidence import model
from migration_assets.losses import table_losses
from migration_assets.operations.status import PAGE, PartitionStatus, State
from migration_assets.partitioning import predicate
from migration_assets.plan import TablePlan

if TYPE_CHECKING:
    import dagster as dg

    from migration_assets.operations.results import TableResult


def table_evidence(
    instance: dg.DagsterInstance,
    table: TablePlan,
    statuses: Sequence[PartitionStatus],
    translator: MigrationTranslator,
    *,
    until: Stage = Stage.STARROCKS,
    result: TableResult | None = None,
) -> model.Table:
    """Put together what is known of a table.

    Args:
        instance: whose records.
        table: the plan of it.
        statuses: of its partitions that are to be reported, in the order of the plan.
        translator: gives the asset keys.
        until: the last stage that counts.
        result: what the run that is being reported found; None outside of one.
    """
    stages = STAGES[: STAGES.index(until) + 1]
    keys = [status.partition_key for status in statuses]
    records = {stage: _records(instance, table, stage, translator, set(keys)) for stage in STAGES}
    columns = _columns(records)
    partitions = tuple(
        _partition(table, status, {stage: records[stage] for stage in stages}, columns)
        for status in statuses
    )
    made = [one for partition in partitions for one in partition.stages if one.ended_at]
    done = sum(all(s.states[stage] is State.DONE for stage in stages) for s in statuses)
    done = done if result is None else result.done
    compared = _comparison(
        instance, table, translator, max((at for at in _ends(made)), default=None)
    )
    valid, difference, note = _verdict(compared, result, is_done=done == len(partitions))
    checks = [check for partition in partitions for s in partition.stages for check in s.checks]
    return model.Table(
        table=table.full_name,
        table_id=table.table_id,
        status="done" if done == len(partitions) else "failed",
        partitions=len(partitions),
        done=done,
        rows=add_rows(partition.rows for partition in partitions),
        attempts=sum(one.attempts for partition in partitions for one in partition.stages),
        seconds=round(sum(one.seconds or 0.0 for one in made), 3),
        seconds_by_stage={
            stage.value: round(sum(o.seconds or 0.0 for o in made if o.stage == stage.value), 3)
            for stage in stages
        },
        bytes=sum(one.bytes or 0 for one in made if one.stage == Stage.MSSQL.value),
        started_at=min((at for at in _starts(made)), default=None),
        ended_at=max((at for at in _ends(made)), default=None),
        checks=len(checks),
        checks_passed=sum(check.outcome == "passed" for check in checks),
        valid=valid,
        difference=difference,
        note=note,
        verification=table.verification.value,
        engine=table.engine.value,
        targets=model.Target(
            iceberg=f"{table.namespace}.{table.iceberg_table}",
            location=table.location,
            starrocks=f"{table.starrocks_database}.{table.starrocks_table}",
        ),
        fingerprint_columns=columns,
        comparison=compared,
        losses=tuple(
            model.Loss(
                columns=loss.columns,
                types=loss.mssql_types,
                what=loss.what,
                values=loss.affected,
                to_keep_it=loss.remedy,
            )
            for loss in table_losses(table)
        ),
        left_out_columns=table.left_out or (),
        warnings=table.warnings,
        by_partition=partitions,
    )


def add_rows(counts: Iterable[model.Rows]) -> model.Rows:
    """Sums by system; None where one of them is not known, or there are none."""
    listed = list(counts)

    def total(of: list[int | None]) -> int | None:
        known = [one for one in of if one is not None]
        return sum(known) if known and len(known) == len(of) else None

    return model.Rows(
        mssql=total([one.mssql for one in listed]),
        iceberg=total([one.iceberg for one in listed]),
        starrocks=total([one.starrocks for one in listed]),
    )


@dataclass(frozen=True)
class _Evaluation:
    """A check of a partition: the newest evaluation, and the numbers of the newest that has any.

    `validate` evaluates checks, too, and says of a whole table what it counted.
    """

    check: model.Check
    counts: Mapping[str, int]
    columns: frozenset[str]


@dataclass
class _Records:
    """What is stored of one asset, by partition key."""

    made: dict[str, tuple[float, str, dict[str, Any]]] = field(default_factory=dict)
    """Timestamp, run id and metadata of the newest materialization."""
    runs: Counter[str] = field(default_factory=Counter)
    """Runs that were to make it."""
    checks: dict[str, list[_Evaluation]] = field(default_factory=dict)


def _records(
    instance: dg.DagsterInstance,
    table: TablePlan,
    stage: Stage,
    translator: MigrationTranslator,
    keys: set[str],
) -> _Records:
    import dagster as dg

    asset_key, found = translator.asset_key(stage, table), _Records()
    for record in newest_materializations(instance, asset_key):
        if record.partition_key in keys and record.asset_materialization is not None:
            said = {n: m.value for n, m in record.asset_materialization.metadata.items()}
            kept = {name: said[name] for name in _KEPT if name in said}
            found.made[str(record.partition_key)] = (record.timestamp, record.run_id, kept)
    found.runs = _planned(instance, asset_key)
    for name in (name for name in CHECKS if (stage, name) in DESCRIPTIONS):
        check_key = dg.AssetCheckKey(asset_key, name)
        for partition_key, evaluation in _evaluations(instance, check_key, keys):
            found.checks.setdefault(partition_key, []).append(evaluation)
    return found


_KEPT = (
    "dagster/partition_row_count", "seconds", "bytes", "retries", "requests repeated",
    "snapshot id", "read consistency",
)  # fmt: skip
"""Metadata of a materialization that the report shows."""


def newest_materializations(
    instance: dg.DagsterInstance, asset_key: dg.AssetKey
) -> Iterator[dg.EventLogRecord]:
    """Yield each partition's newest materialization, whatever history there is."""
    import dagster as dg

    event = dg.DagsterEventType.ASSET_MATERIALIZATION
    newest = instance.event_log_storage.get_latest_storage_id_by_partition(asset_key, event)
    ids = list(newest.values())
    for start in range(0, len(ids), PAGE):
        wanted = dg.AssetRecordsFilter(asset_key, storage_ids=ids[start : start + PAGE])
        yield from instance.fetch_materializations(wanted, limit=PAGE).records


def _planned(instance: dg.DagsterInstance, asset_key: dg.AssetKey) -> Counter[str]:
    """How many runs were to make each partition."""
    import dagster as dg

    runs: Counter[str] = Counter()
    oldest: int | None = None
    while True:
        wanted = dg.EventRecordsFilter(
            dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED, asset_key, before_cursor=oldest
        )
        page = instance.event_log_storage.get_event_records(wanted, limit=PAGE)
        for record in page:
            event = record.event_log_entry.dagster_event
            if event is None:
                continue
            planned = event.asset_materialization_planned_data
            subset = planned.partitions_subset
            runs.update([planned.partition] if planned.partition else [])
            runs.update(subset.get_partition_keys() if subset is not None else [])
        if len(page) < PAGE:
            return runs
        oldest = page[-1].storage_id


def _evaluations(
    instance: dg.DagsterInstance, check_key: dg.AssetCheckKey, keys: set[str]
) -> Iterator[tuple[str, _Evaluation]]:
    """Yield each partition's newest evaluation of a check, with numbers of the newest that has any."""
    storage, cursor = instance.event_log_storage, None
    newest: dict[str, model.Check] = {}
    waiting = set(keys)
    while waiting:
        page = storage.get_asset_check_execution_history(check_key, limit=PAGE, cursor=cursor)
        for record in page:
            event = None if record.event is None else record.event.dagster_event
            data: Any = None if event is None else event.event_specific_data
            if record.partition not in waiting or not hasattr(data, "passed"):
                continue
            check = newest.setdefault(record.partition, _check(check_key.name, record, data))
            said = {name: value.value for name, value in data.metadata.items()}
            if said:
                waiting.discard(record.partition)
                yield record.partition, _with_numbers(check, said)
        if len(page) < PAGE:
            break
        cursor = page[-1].id
    for partition_key in waiting & newest.keys():
        yield partition_key, _Evaluation(newest[partition_key], {}, frozenset())


def _check(name: str, record: Any, data: Any) -> model.Check:
    outcome: Literal["passed", "failed", "warning", "not verified"] = "passed"
    if not data.passed:
        outcome = "warning" if data.severity.value == "WARN" else "failed"
        if (data.description or "").startswith("Not verified"):
            outcome = "not verified"
    return model.Check(
        check=name,
        outcome=outcome,
        said=data.description or "",
        at=datetime.fromtimestamp(record.create_timestamp, UTC),
    )


def _with_numbers(check: model.Check, said: Mapping[str, Any]) -> _Evaluation:
    counts = {name: value for name, value in said.items() if isinstance(value, int)}
    numbers = {"columns": counts.get("columns"), "aggregates": counts.get("aggregates")}
    columns = frozenset(said.get(COLUMN_NAMES, ()))
    return _Evaluation(check.model_copy(update=numbers), counts, columns)


def _columns(records: Mapping[Stage, _Records]) -> tuple[str, ...]:
    """Columns whose fingerprints were compared, in any partition."""
    named = {
        name
        for of_stage in records.values()
        for evaluations in of_stage.checks.values()
        for one in evaluations
        for name in one.columns
    }
    return tuple(sorted(named))


def _partition(
    table: TablePlan,
    status: PartitionStatus,
    records: Mapping[Stage, _Records],
    columns: Sequence[str],
) -> model.Partition:
    key = status.partition_key
    stages = tuple(_stage(stage, status, records[stage], columns) for stage in records)
    # Of each system the number that was counted in its own stage: another stage only passes it on.
    counted = {
        stage.value: one.counts.get(stage.value)
        for stage, of_stage in records.items()
        for one in of_stage.checks.get(key, ())
        if one.check.check == ROW_COUNT
    }
    said = {n: v for r in records.values() if key in r.made for n, v in r.made[key][2].items()}
    snapshot = said.get("snapshot id")
    return model.Partition(
        partition=key,
        range=predicate(table.key_range(key)),
        state=status.state().value,
        rows=model.Rows(**counted),
        stages=stages,
        snapshot_id=None if snapshot is None else str(snapshot),
        consistency=said.get("read consistency"),
    )


def _stage(
    stage: Stage, status: PartitionStatus, records: _Records, columns: Sequence[str]
) -> model.Stage:
    key = status.partition_key
    at, run_id, said = records.made.get(key, (None, "", {}))
    rows, seconds = said.get("dagster/partition_row_count"), said.get("seconds")
    retries = int(said.get("retries", 0))
    return model.Stage(
        stage=stage.value,
        state=status.states[stage].value,
        rows=rows,
        ended_at=None if at is None else datetime.fromtimestamp(at, UTC),
        seconds=seconds,
        rows_per_second=int(rows / seconds) if rows is not None and seconds else None,
        bytes=said.get("bytes"),
        attempts=max(records.runs[key], at is not None) + retries,
        retries=retries,
        repeated_requests=int(said.get("requests repeated", 0)),
        run_id=run_id,
        checks=tuple(
            one.check
            if not one.columns
            else one.check.model_copy(
                update={"not_compared": tuple(c for c in columns if c not in one.columns)}
            )
            for one in records.checks.get(key, ())
        ),
    )


def _ends(stages: Iterable[model.Stage]) -> Iterator[datetime]:
    return (one.ended_at for one in stages if one.ended_at is not None)


def _starts(stages: Iterable[model.Stage]) -> Iterator[datetime]:
    for one in stages:
        if one.ended_at is not None:
            began = one.ended_at.timestamp() - (one.seconds or 0.0)
            yield datetime.fromtimestamp(began, UTC)


def _comparison(
    instance: dg.DagsterInstance,
    table: TablePlan,
    translator: MigrationTranslator,
    newest: datetime | None,
) -> model.Comparison | None:
    """The newest comparison of the whole table that Dagster knows of."""
    key = translator.asset_key(Stage.STARROCKS, table)
    for record in instance.fetch_observations(key, limit=1).records:
        if record.asset_observation is None:
            continue
        said = {name: value.value for name, value in record.asset_observation.metadata.items()}
        if "difference" not in said:
            continue
        counts = {stage.value: said.get(stage.value) for stage in STAGES}
        at = datetime.fromtimestamp(record.timestamp, UTC)
        return model.Comparison(
            at=at,
            level=str(said.get("level", "")),
            rows=model.Rows(**{n: c if isinstance(c, int) else None for n, c in counts.items()}),
            difference=str(said["difference"]),
            is_current=newest is None or at >= newest,
        )
    return None


def _verdict(
    compared: model.Comparison | None, result: TableResult | None, *, is_done: bool
) -> tuple[bool | None, str, str]:
    """Whether the table is equal, what differs, and what to know."""
    if result is not None:
        return result.valid, result.difference, result.note
    if compared is None:
        return None, "", "It was never compared as a whole: `migration-assets validate` does."
    if not compared.is_current:
        at = f"{compared.at:%Y-%m-%d %H:%M:%S} UTC"
        return None, "", f"It was compared at {at}, and a partition was made since: compare again."
    if not is_done:
        return False if compared.difference else None, compared.difference, ""
    return not compared.difference, compared.difference, ""

"""Sensors that tell a webhook of runs that failed, and of checks that failed in runs that did not.

They send after the run, in Dagster's daemon, so nothing about them can fail a run. A sensor remembers
which runs it has told of; what the webhook did not take is sent again at the next tick. So an alert
comes at least once, and twice only where the daemon dies between sending and noting.

Dagster's own `run_failure_sensor` goes on to the next run when what it calls fails: an alert would be
lost while the webhook is down.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

import dagster as dg
from dagster._core.definitions.run_request import InstigatorType

from migration_assets.assets.failures import retry_command
from migration_assets.assets.translator import STAGES, MigrationTranslator, Stage
from migration_assets.errors import MigrationError, coded
from migration_assets.plan import MigrationPlan, TablePlan
from migration_assets.settings import AlertSettings
from migration_assets.webhook import Alert, Problem, send

RUN_SENSOR, CHECK_SENSOR = "alert_on_run_failure", "alert_on_check_failure"
RUN_FAILED, CHECK_FAILED = "run failed", "check failed"

MOST_RUNS = 500
"""Runs that a tick looks at; the next one goes on."""
TICK_S = 30.0
"""A tick ends after so many seconds: Dagster gives it sixty."""
OVERLAP_S = 60.0
"""Runs that ended so much earlier than the newest are looked for as well: clocks differ."""
REMEMBERED = 2 * MOST_RUNS

Assets = Mapping[dg.AssetKey, tuple[Stage, TablePlan]]


@dataclass
class Cursor:
    """How far a sensor is.

    Attributes:
        began: when it was switched on; what ended before is not told.
        since: runs are looked for that changed after it, seconds of the epoch.
        told: ids of runs that are dealt with, the newest last.
    """

    began: float
    since: float
    told: list[str] = field(default_factory=list)

    @classmethod
    def read(cls, text: str | None) -> "Cursor | None":
        """None before the first tick, or where somebody reset it."""
        return None if not text else cls(**json.loads(text))

    def __str__(self) -> str:
        """What `read` reads."""
        return json.dumps({**asdict(self), "told": self.told[-REMEMBERED:]})


def build_alert_sensors(
    plan: MigrationPlan, translator: MigrationTranslator
) -> list[dg.SensorDefinition]:
    """The two sensors; off until somebody switches them on.

    Args:
        plan: names the tables.
        translator: gives the asset keys.
    """
    assets = {
        translator.asset_key(stage, table): (stage, table)
        for table in plan.tables
        for stage in STAGES
    }

    def runs(instance: dg.DagsterInstance, run: dg.DagsterRun) -> Alert | None:
        return alert_of_failed_run(instance, run, assets)

    def checks(instance: dg.DagsterInstance, run: dg.DagsterRun) -> Alert | None:
        if run.status is dg.DagsterRunStatus.FAILURE and _is_on(instance, RUN_SENSOR):
            return None  # that one tells it, checks included
        problems = list(_failed_checks(instance, run, assets))
        return Alert(CHECK_FAILED, run.run_id, run.job_name, problems) if problems else None

    failed, succeeded = dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.SUCCESS
    return [
        _sensor(RUN_SENSOR, "Tells of every run that failed.", [failed], runs),
        _sensor(
            CHECK_SENSOR,
            f"Tells of checks that failed; of those of a failed run, {RUN_SENSOR} tells, if it is on.",
            [succeeded, failed],
            checks,
        ),
    ]


def _sensor(
    name: str,
    description: str,
    statuses: list[dg.DagsterRunStatus],
    find: Callable[[dg.DagsterInstance, dg.DagsterRun], Alert | None],
) -> dg.SensorDefinition:
    @dg.sensor(
        name=name,
        default_status=dg.DefaultSensorStatus.STOPPED,
        minimum_interval_seconds=30,
        description=f"{description} To MIGRATION_ALERT_WEBHOOK_URL; see docs/alerts.md.",
    )
    def tell(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        cursor = Cursor.read(context.cursor)
        if cursor is None:
            now = time.time()
            context.update_cursor(str(Cursor(began=now, since=now)))
            return dg.SkipReason("Begins now: what was before is not told.")
        settings = AlertSettings.load()
        if settings.webhook_url is None:
            return dg.SkipReason("MIGRATION_ALERT_WEBHOOK_URL is not set; it will be told later.")
        sent, deadline = 0, time.monotonic() + TICK_S
        said = ""
        for record in _ended(context.instance, statuses, cursor):
            run = record.dagster_run
            try:
                alert = find(context.instance, run)
                if alert is not None:
                    send(alert, settings)
                    sent += 1
            except MigrationError as error:
                context.log.error("Run %s: %s", run.run_id, error)  # noqa: TRY400 - one sentence
                said = f" {error}"
                break
            cursor.told.append(run.run_id)
            cursor.since = max(cursor.since, record.update_timestamp.timestamp())
            if time.monotonic() > deadline:
                break
        context.update_cursor(str(cursor))
        return dg.SkipReason(f"Alerts sent: {sent}.{said}")

    return tell


def _ended(
    instance: dg.DagsterInstance, statuses: list[dg.DagsterRunStatus], cursor: Cursor
) -> Iterator[dg.RunRecord]:
    """Runs that ended and that were not told of, in order."""
    since = datetime.fromtimestamp(cursor.since - OVERLAP_S, UTC)
    records = instance.get_run_records(
        dg.RunsFilter(statuses=statuses, updated_after=since),
        limit=MOST_RUNS + len(cursor.told),
        order_by="update_timestamp",
        ascending=True,
    )
    told = set(cursor.told)
    for record in records:
        ended = record.end_time or record.update_timestamp.timestamp()
        if record.dagster_run.run_id not in told and ended >= cursor.began:
            yield record


def _is_on(instance: dg.DagsterInstance, sensor: str) -> bool:
    states = instance.all_instigator_state(instigator_type=InstigatorType.SENSOR)
    return any(state.instigator_name == sensor and state.is_running for state in states)


def alert_of_failed_run(instance: dg.DagsterInstance, run: dg.DagsterRun, assets: Assets) -> Alert:
    """What to tell of a run that failed: its failed steps and checks, or why it ended as a whole."""
    kinds = {dg.DagsterEventType.STEP_FAILURE, dg.DagsterEventType.RUN_FAILURE}
    events = [
        entry.dagster_event
        for entry in instance.all_logs(run.run_id, of_type=kinds)
        if entry.dagster_event is not None
    ]
    steps = [_of_step(event) for event in events if event.is_step_failure]
    known = {(problem.table, problem.partition) for problem in steps}
    checks = [
        problem
        for problem in _failed_checks(instance, run, assets)
        if (problem.table, problem.partition) not in known
    ]
    # A step that compares all tables says of none which partitions differ; its checks do.
    problems = [problem for problem in steps if problem.table or not checks] + checks
    if not problems:
        said = next((event.message or "" for event in events), "")
        problems = [_of_run(run, said, assets)]
    return Alert(RUN_FAILED, run.run_id, run.job_name, problems)


def _of_step(event: dg.DagsterEvent) -> Problem:
    data = event.step_failure_data
    failure = data.user_failure_data
    said: dict[str, Any] = {}
    if failure is not None:
        said = {name: str(value.value) for name, value in failure.metadata.items()}
    cause = (failure.description if failure is not None else None) or ""
    if not cause and data.error is not None:
        cause = data.error.message.strip().partition("\n")[0]
    return Problem(
        table=said.get("table", ""),
        partition=said.get("partition", ""),
        stage=said.get("stage", ""),
        cause=_without_place(cause or "unknown", said),
        next_step=said.get("next step", ""),
        retry=said.get("retry", _RETRY_ALL),
    )


_RETRY_ALL = "migration-assets run --failed"


def _without_place(cause: str, said: Mapping[str, str]) -> str:
    """The cause without the table and partition that an alert says by itself."""
    place = " ".join(filter(None, [said.get("table"), said.get("partition")]))
    if not said.get("partition"):
        return cause
    code = said.get("code", "")
    return coded(code, cause.removeprefix(coded(code, "")).removeprefix(f"{place}: "))


def _failed_checks(
    instance: dg.DagsterInstance, run: dg.DagsterRun, assets: Assets
) -> Iterator[Problem]:
    """Checks of a run that failed; a warning (a source that moved) is none, no retry could heal it."""
    kind = dg.DagsterEventType.ASSET_CHECK_EVALUATION
    for entry in instance.all_logs(run.run_id, of_type=kind):
        if entry.dagster_event is None:
            continue
        found = entry.dagster_event.asset_check_evaluation_data
        if found.passed or found.severity is not dg.AssetCheckSeverity.ERROR:
            continue
        stage, table = assets.get(found.asset_key, (None, None))
        partition = found.partition or run.tags.get("dagster/partition", "")
        yield Problem(
            table=found.asset_key.to_user_string() if table is None else table.full_name,
            partition=partition,
            stage="" if stage is None else stage.value,
            cause=f"Check {found.check_name} failed. {found.description or ''}".strip(),
            next_step="",
            retry=_RETRY_ALL if table is None else retry_command(table, partition or None),
        )


def _of_run(run: dg.DagsterRun, said: str, assets: Assets) -> Problem:
    """What to tell of a run whose process ended, or that never began."""
    tables = {
        assets[key][1].full_name: assets[key][1]
        for key in sorted(run.asset_selection or ())
        if key in assets
    }
    partition = run.tags.get("dagster/partition", "")
    only = next(iter(tables.values())) if len(tables) == 1 else None
    return Problem(
        table=", ".join(list(tables)[:3]) + (" and more" if len(tables) > 3 else ""),
        partition=partition,
        stage="",
        cause=said or "Its process ended before it was done.",
        next_step="",
        retry=_RETRY_ALL if only is None else retry_command(only, partition or None),
    )

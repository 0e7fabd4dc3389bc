"""The one place where a `MigrationError` becomes a Dagster `Failure`, or a retry.

Assets have no `retry_policy`: Dagster applies it to interrupts as well, so a run that somebody
terminates would start its step again instead of ending
(https://docs.dagster.io/guides/build/ops/op-retries). They request their retries by themselves.
"""

from __future__ import annotations

import logging
import random
import shlex
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import dagster as dg

from migration_assets import events
from migration_assets.assets.extraction_start import await_hours
from migration_assets.assets.pace import ask_for_patience, be_patient
from migration_assets.assets.translator import Stage
from migration_assets.errors import MigrationError, TransientError, coded
from migration_assets.plan import TablePlan
from migration_assets.settings import RetrySettings

if TYPE_CHECKING:
    from dagster._core.execution.context.system import StepExecutionContext

RETRY_IN_UI = (
    "Select this asset and what lies downstream of it, then Materialize, Failed and missing."
)


@dataclass(frozen=True)
class Retries:
    """What a step has been through before its current attempt.

    Attributes:
        count: attempts that failed.
        waited_s: seconds waited after them, together.
        since_s: seconds since the first of them failed.
    """

    count: int = 0
    waited_s: float = 0.0
    since_s: float = 0.0

    @classmethod
    def before(cls, step: StepExecutionContext) -> Retries:
        """Look it up in Dagster's history, which all processes share."""
        count = step.previous_attempt_count
        if not count:
            return cls()
        records = step.instance.get_records_for_run(
            step.run_id, of_type=dg.DagsterEventType.STEP_UP_FOR_RETRY
        ).records
        waits, failed_at = [], []
        for record in records:
            told = record.event_log_entry.dagster_event
            if told is not None and told.step_key == step.step.key:
                waits.append(told.step_retry_data.seconds_to_wait or 0.0)
                failed_at.append(record.event_log_entry.timestamp)
        waited_s, now = float(sum(waits)), time.monotonic()
        # History has the times of a clock that may be set: only another process, which did not see
        # the first failure, has to go by it.
        since_s = waited_s if count == 1 else time.time() - min(failed_at, default=time.time())
        began = _first_failed.setdefault((step.run_id, step.step.key), now - since_s)
        return cls(count, waited_s, now - began)


_first_failed: dict[tuple[str, str], float] = {}
"""Run and step to when it failed first, by the clock that nobody sets."""


def forgive(step: StepExecutionContext, seconds: float) -> None:
    """Count what was waited for another reason not as time in which the step failed."""
    if (key := (step.run_id, step.step.key)) in _first_failed:
        _first_failed[key] += seconds


@dataclass(frozen=True)
class Attempt:
    """One attempt of a step, while it goes on."""

    retries: Retries
    tally: events.Tally
    paused_s: float = 0.0
    """Waited before it began, because the stage's system had told another step to slow down."""

    def metadata(self) -> dict[str, float]:
        """For the materialization: what had to be tried again until it was made."""
        said = {
            "retries": self.retries.count,
            "retry waits (s)": round(self.retries.waited_s, 3),
            "requests repeated": self.tally.retries,
            "request waits (s)": round(self.tally.waited_s, 3),
            "slowed down (s)": round(self.paused_s, 3),
        }
        return {name: value for name, value in said.items() if value or name == "retries"}


@contextmanager
def failures(
    context: dg.AssetExecutionContext, stage: Stage, table: TablePlan, partition_key: str | None
) -> Iterator[Attempt]:
    """Turn whatever the body raises into a `Failure` that says what to do, and log how it went.

    Args:
        context: of the step.
        stage: the step's.
        table: what the step is about.
        partition_key: of its partition; None in a step of many.

    Raises:
        dagster.RetryRequested: for a `TransientError`, as often and long as `RetrySettings` say.
        dagster.Failure: for any other, and then.
    """
    began = time.monotonic()
    with events.place(
        table=table.full_name,
        partition=partition_key,
        stage=stage.value,
        attempt=context.retry_number + 1,
        run=context.run.run_id,
    ) as tally:
        events.event("started")
        retries = Retries.before(context.get_step_execution_context())
        try:
            if stage is Stage.MSSQL:
                forgive(context.get_step_execution_context(), await_hours(context.log))
            paused_s = be_patient(context.instance, stage)
            yield Attempt(retries, tally, paused_s)
        except dg.RetryRequested:
            raise
        except dg.Failure as failed:
            _log_failure(failed)
            raise
        except MigrationError as error:
            if error.wait_s and isinstance(error, TransientError):
                ask_for_patience(context.instance, stage, error.wait_s)
            described = failure(error, stage, table, partition_key)
            outcome = retry_or_fail(described, retries, at_least_s=error.wait_s)
            if isinstance(outcome, dg.Failure):
                _log_failure(outcome)
            raise outcome from error
        except Exception as error:
            unforeseen = _unforeseen(error, stage, table, partition_key)
            _log_failure(unforeseen)
            raise unforeseen from error
        events.event(
            "done",
            seconds=round(time.monotonic() - began, 3),
            retries=retries.count,
            repeated=tally.retries or None,
        )


def retry_or_fail(
    failed: dg.Failure, retries: Retries, *, at_least_s: float = 0.0
) -> dg.Failure | dg.RetryRequested:
    """What a step must raise: a request to be tried again, if that is worth it, else the failure.

    Args:
        failed: whether it may be retried is in it.
        retries: what the step has been through.
        at_least_s: the least wait before the next attempt.
    """
    if not failed.allow_retries:
        return failed
    settings = RetrySettings.load()
    draw = random.random()  # noqa: S311 - it spreads retries, and guards nothing
    wait_s = settings.wait_s(retries.count + 1, at_least_s=at_least_s, draw=draw)
    if retries.count < settings.retries and retries.since_s + wait_s <= settings.within_s:
        cause = failed.description
        events.event("retry", level=logging.WARNING, wait_s=round(wait_s, 3), cause=cause)
        return dg.RetryRequested(max_retries=settings.retries, seconds_to_wait=wait_s)
    waited = f"{retries.waited_s:.0f} s of waiting"
    return dg.Failure(
        f"{failed.description} Given up after {retries.count + 1} attempts and {waited}.",
        metadata={
            **failed.metadata,
            "attempts": retries.count + 1,
            "retry waits (s)": round(retries.waited_s, 3),
        },
        allow_retries=False,
    )


def _log_failure(failed: dg.Failure) -> None:
    error = failed.metadata.get("error")
    kind = None if error is None else error.value
    events.event("failed", level=logging.ERROR, error=kind, cause=failed.description)


def _unforeseen(
    error: Exception, stage: Stage, table: TablePlan, partition_key: str | None
) -> dg.Failure:
    """The `Failure` of what nobody translated: a defect, or a fault that no table has yet."""
    text = _one_line(f"unexpected {type(error).__name__}: {error}").rstrip(".")
    known = MigrationError(
        f"{text}.",
        code="MA-DG-001",
        next_step=f"It is not retried, since it is not known; report it with the stack trace. "
        f"`{retry_command(table, partition_key)}` tries again.",
    )
    return failure(known, stage, table, partition_key, named=type(error).__name__)


def _one_line(text: str) -> str:
    """The UI and every list of failures show the first line only."""
    return " ".join(text.split())


def failure(
    error: MigrationError,
    stage: Stage,
    table: TablePlan,
    partition_key: str | None,
    *,
    named: str = "",
) -> dg.Failure:
    """The `Failure` of an error: cause first, then the next step and the retry command.

    Args:
        error: what happened.
        stage: where.
        table: of what.
        partition_key: likewise; None for a step of many partitions.
        named: the error's name where it is not its class.
    """
    about = table.full_name if partition_key is None else f"{table.full_name} {partition_key}"
    said: dict[str, Any] = dict(place(stage, table, partition_key))
    return plain_failure(error, about, {**said, **({"error": named} if named else {})})


def range_failure(
    errors: Mapping[str, MigrationError], stage: Stage, table: TablePlan, *, made: int
) -> dg.Failure:
    """The `Failure` of a step of many partitions, of which some failed.

    Its metadata has each partition's error under its key. It is retried when one of them is
    transient; what the step has made it does not make again.

    Args:
        errors: by partition key.
        stage: the step's.
        table: what the partitions are of.
        made: how many partitions are done.
    """
    first_key, first = next(iter(errors.items()))
    same = all(str(error) == str(first) for error in errors.values())
    where = f"{first_key} and {len(errors) - 1} more" if same and len(errors) > 1 else first_key
    retried = any(isinstance(error, TransientError) for error in errors.values())
    return dg.Failure(
        description=_one_line(
            coded(
                first.code,
                f"{table.full_name}: {len(errors)} of {made + len(errors)} partitions failed. "
                f"{where}: {first.message}",
            )
        ),
        metadata={
            **({"next step": first.next_step} if first.next_step else {}),
            **place(stage, table, None),
            "error": type(first).__name__,
            **({"code": first.code} if first.code else {}),
            "retried": retried,
            **{partition_key: str(error) for partition_key, error in errors.items()},
        },
        allow_retries=retried,
    )


def plain_failure(
    error: MigrationError, about: str, metadata: Mapping[str, str] | None = None
) -> dg.Failure:
    """The `Failure` of an error where the table is not at hand; transient ones are retried.

    Args:
        error: what happened.
        about: what it concerns, the beginning of the message.
        metadata: what else to say.
    """
    transient = isinstance(error, TransientError)
    said: dict[str, str | bool] = {
        # The UI shows the first few rows without a click.
        **({"next step": error.next_step} if error.next_step else {}),
        "error": type(error).__name__,
        **({"code": error.code} if error.code else {}),
        **(metadata or {}),
        "retried": transient,
    }
    description = _one_line(coded(error.code, f"{about}: {error.message}"))
    return dg.Failure(description=description, metadata=said, allow_retries=transient)


def place(stage: Stage, table: TablePlan, partition_key: str | None) -> dict[str, str]:
    """Metadata of a failure: how it is made good, and where it happened."""
    return {
        "retry": retry_command(table, partition_key),
        "retry in the UI": RETRY_IN_UI,
        "table": table.full_name,
        **({} if partition_key is None else {"partition": partition_key}),
        "stage": stage.value,
    }


def retry_command(table: TablePlan, partition_key: str | None = None) -> str:
    """The command that makes the failed partitions of a table again.

    A table at a barrier is extracted whole, if it has to be.
    """
    name = shlex.quote(table.full_name)
    if table.trial_rows:
        return f"migration-assets run --tables {name} --limit {table.trial_rows}"
    is_whole = partition_key is None or table.at_barrier
    partitions = "" if is_whole else f" --partitions {partition_key}"
    return f"migration-assets run --failed --tables {name}{partitions}"

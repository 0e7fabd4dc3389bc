"""The one place where a `MigrationError` becomes a Dagster `Failure`, or a retry.

Assets have no `retry_policy`: Dagster applies it to interrupts as well, so a run that somebody
terminates would start its step again instead of ending
(https://docs.dagster.io/guides/build/ops/op-retries). They request their retries by themselves.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import dagster as dg

from migration_assets.assets.translator import Stage
from migration_assets.errors import MigrationError, TransientError
from migration_assets.plan import TablePlan

RETRIES = dg.RetryPolicy(
    max_retries=4, delay=1, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS
)
"""For transient errors: about 1, 2, 4 and 8 seconds apart; permanent ones are not retried."""

RETRY_IN_UI = (
    "Select this asset and what lies downstream of it, then Materialize, Failed and missing."
)


@contextmanager
def failures(
    context: dg.AssetExecutionContext, stage: Stage, table: TablePlan, partition_key: str | None
) -> Iterator[None]:
    """Turn a `MigrationError` of the body into a `Failure` that says what to do.

    Args:
        context: of the step.
        stage: the step's.
        table: what the step is about.
        partition_key: of its partition; None in a step of many.

    Raises:
        dagster.RetryRequested: for a `TransientError`, until `RETRIES` are used up.
        dagster.Failure: for any other, and then.
    """
    try:
        yield
    except MigrationError as error:
        failed = failure(error, stage, table, partition_key)
        raise retry_or_fail(failed, context.retry_number) from error


def retry_or_fail(failed: dg.Failure, retry_number: int) -> dg.Failure | dg.RetryRequested:
    """What a step must raise: a request to be tried again, if that is worth it, else the failure.

    Args:
        failed: whether it may be retried is in it.
        retry_number: retries that the step has had.
    """
    if not failed.allow_retries or retry_number >= RETRIES.max_retries:
        return failed
    return dg.RetryRequested(
        max_retries=RETRIES.max_retries,
        seconds_to_wait=RETRIES.calculate_delay(retry_number + 1),
    )


def failure(
    error: MigrationError, stage: Stage, table: TablePlan, partition_key: str | None
) -> dg.Failure:
    """The `Failure` of an error: cause first, then the next step and the retry command."""
    about = table.full_name if partition_key is None else f"{table.full_name} {partition_key}"
    return plain_failure(error, about, place(stage, table, partition_key))


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
        description=f"{table.full_name}: {len(errors)} of {made + len(errors)} partitions failed. "
        f"{where}: {first}",
        metadata={
            **({"next step": first.next_step} if first.next_step else {}),
            **place(stage, table, None),
            "error": type(first).__name__,
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
        **(metadata or {}),
        "error": type(error).__name__,
        "retried": transient,
    }
    return dg.Failure(description=f"{about}: {error}", metadata=said, allow_retries=transient)


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
    is_whole = partition_key is None or table.at_barrier
    partitions = "" if is_whole else f" --partitions {partition_key}"
    return f"migration-assets run --failed --tables {name}{partitions}"

"""What Dagster shows of a step that fails, and how it is tried again."""

import json
import logging
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import dagster as dg
import pytest

from migration_assets import events
from migration_assets.assets.failures import Retries, failures, plain_failure, retry_or_fail
from migration_assets.assets.translator import Stage
from migration_assets.definitions import load_definitions
from migration_assets.errors import AccessDeniedError, ConfigurationError, ServerBusyError
from migration_assets.settings import RetrySettings
from migration_assets.starrocks.server_errors import understand
from migration_assets_tests.unit.tables import INT, table_plan

TABLE = table_plan([("id", INT)], key=["id"])
BUSY = ServerBusyError("SQL Server db\nis busy.", next_step="It is tried again by itself.")
DENIED = AccessDeniedError("S3 refused:\n  access denied.", next_step="Check the credentials.")


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIGRATION_RETRY_FIRST_WAIT_S", "0.002")
    monkeypatch.setenv("MIGRATION_RETRIES", "2")


def run_of(
    body: Callable[[int], None], *, stage: Stage = Stage.MSSQL
) -> tuple[dg.ExecuteInProcessResult, list[dg.DagsterEvent]]:
    """Run a step whose attempts call `body` with their number, from 1."""

    @dg.asset
    def orders(context: dg.AssetExecutionContext) -> Iterator[Any]:
        with failures(context, stage, TABLE, "p000") as attempt:
            body(context.retry_number + 1)
            yield dg.MaterializeResult(metadata=attempt.metadata())

    with warnings.catch_warnings(), dg.DagsterInstance.ephemeral() as instance:
        result = dg.materialize([orders], instance=instance, raise_on_error=False)
    return result, result.all_events


def failure_of(result: dg.ExecuteInProcessResult) -> dg.Failure | Any:
    (event,) = [e for e in result.all_events if e.is_step_failure]
    return event.step_failure_data


def raising(*errors: Exception | None) -> Callable[[int], None]:
    """A body whose n-th attempt raises the n-th of these, and the last one ever after."""

    def body(attempt: int) -> None:
        error = errors[min(attempt, len(errors)) - 1]
        if error is not None:
            raise error

    return body


def test_cause_and_next_step_are_in_the_first_line() -> None:
    result, _ = run_of(raising(DENIED))
    data = failure_of(result)
    said = "dbo.t p000: S3 refused: access denied. Check the credentials."
    assert data.user_failure_data.description == said
    assert data.error.message.splitlines()[0].endswith(said)
    metadata = {name: value.value for name, value in data.user_failure_data.metadata.items()}
    assert metadata["error"] == "AccessDeniedError"
    assert metadata["retried"] is False


def test_a_transient_fault_is_tried_again_and_the_result_says_how_often() -> None:
    result, told = run_of(raising(BUSY, BUSY, None))
    assert result.success
    assert len([e for e in told if e.event_type_value == "STEP_UP_FOR_RETRY"]) == 2
    (made,) = result.get_asset_materialization_events()
    metadata = made.materialization.metadata
    assert metadata["retries"].value == 2
    waits = [e.step_retry_data.seconds_to_wait for e in told if "RETRY" in e.event_type_value]
    assert metadata["retry waits (s)"].value == pytest.approx(sum(waits), abs=0.001)


def test_a_step_without_faults_says_so_in_one_number() -> None:
    result, _ = run_of(raising(None))
    (made,) = result.get_asset_materialization_events()
    assert {name: value.value for name, value in made.materialization.metadata.items()} == {
        "retries": 0
    }


def test_when_all_retries_are_used_up_the_failure_says_so() -> None:
    result, told = run_of(raising(BUSY))
    assert len([e for e in told if e.event_type_value == "STEP_UP_FOR_RETRY"]) == 2
    data = failure_of(result).user_failure_data
    assert data.description == (
        "dbo.t p000: SQL Server db is busy. It is tried again by itself. "
        "Given up after 3 attempts and 0 s of waiting."
    )
    assert data.metadata["attempts"].value == 3


def test_a_permanent_fault_after_a_transient_one_ends_it() -> None:
    result, told = run_of(raising(BUSY, DENIED))
    assert len([e for e in told if e.event_type_value == "STEP_UP_FOR_RETRY"]) == 1
    assert "S3 refused" in failure_of(result).user_failure_data.description


def test_no_retry_begins_after_the_time_is_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIGRATION_RETRIES", "100")
    monkeypatch.setenv("MIGRATION_RETRY_WITHIN_S", "60")
    failed = plain_failure(BUSY, "dbo.t")
    young = retry_or_fail(failed, Retries(count=9, waited_s=50, since_s=58))
    assert isinstance(young, dg.RetryRequested)
    old = retry_or_fail(failed, Retries(count=9, waited_s=50, since_s=60.5))
    assert isinstance(old, dg.Failure)
    assert old.allow_retries is False
    assert "Given up after 10 attempts and 50 s of waiting." in str(old.description)


def test_what_nobody_foresaw_is_one_line_too_and_is_not_retried() -> None:
    result, told = run_of(raising(KeyError("no such\nthing")))
    assert not [e for e in told if e.event_type_value == "STEP_UP_FOR_RETRY"]
    data = failure_of(result)
    first = data.user_failure_data.description
    assert first.startswith(
        "MA-DG-001: dbo.t p000: unexpected KeyError: 'no such\\nthing'. It is not retried"
    )
    assert "migration-assets run --failed --tables dbo.t --partitions p000" in first
    assert data.user_failure_data.metadata["error"].value == "KeyError"
    assert data.error.cause.cls_name == "KeyError"  # its stack trace is there


def test_a_fault_s_own_wait_is_a_least_one(monkeypatch: pytest.MonkeyPatch) -> None:
    failed = plain_failure(BUSY, "dbo.t")
    asked = retry_or_fail(failed, Retries(), at_least_s=30)
    assert isinstance(asked, dg.RetryRequested)
    assert 30 <= asked.seconds_to_wait <= 45
    monkeypatch.setenv("MIGRATION_RETRY_LONGEST_WAIT_S", "3")
    asked = retry_or_fail(failed, Retries(), at_least_s=30)
    assert isinstance(asked, dg.RetryRequested)
    assert asked.seconds_to_wait <= 3


@pytest.mark.parametrize(
    ("answer", "least_s"),
    [
        ("too many versions. tablet_id: 10087, version_count: 1001, limit: 1000", 30),
        ("current running txns on db 10005 is 1000, larger than limit 1000", 10),
        ("No alive backends", 5),
        ("Reach user-level(qualifiedUser: u) connection limit, currentUserMaxConn=1", 5),
    ],
)
def test_a_step_gives_starrocks_the_time_to_recover(answer: str, least_s: float) -> None:
    error = understand(1064, answer, subject="Table dbo.t", server="sr:9030")
    asked = retry_or_fail(plain_failure(error, "dbo.t"), Retries(), at_least_s=error.wait_s)
    assert isinstance(asked, dg.RetryRequested)
    assert least_s <= asked.seconds_to_wait <= 1.5 * least_s


@pytest.mark.parametrize("at_least_s", [0, 1, 30, 1000])
@pytest.mark.parametrize("draw", [0.0, 0.25, 0.999])
def test_waits_grow_are_spread_and_are_bounded(at_least_s: float, draw: float) -> None:
    settings = RetrySettings(_env_file=None, first_wait_s=1, longest_wait_s=60)
    waits = [settings.wait_s(n, at_least_s=at_least_s, draw=draw) for n in range(1, 40)]
    assert waits == sorted(waits)
    assert waits[-1] <= 60
    assert min(waits) >= min(at_least_s, 40)
    assert settings.wait_s(3, at_least_s=0, draw=0.0) == 2
    assert settings.wait_s(3, at_least_s=0, draw=1.0) == 4


def test_a_mistake_in_the_settings_of_retries_is_told_before_anything_runs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MIGRATION_RETRIES", "many")
    with pytest.raises(ConfigurationError, match=r"Settings: MIGRATION_RETRIES: "):
        load_definitions()


# --- the log


def lines(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    formatter = events.Lines(as_json=True)
    return [json.loads(formatter.format(r)) for r in caplog.records if hasattr(r, "fields")]


def test_each_event_is_a_line_that_says_where(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "migration_assets")
    run_of(raising(BUSY, None), stage=Stage.STARROCKS)
    said = lines(caplog)
    assert [(line["event"], line["attempt"]) for line in said] == [
        ("started", 1), ("retry", 1), ("started", 2), ("done", 2),
    ]  # fmt: skip
    for line in said:
        assert (line["table"], line["partition"], line["stage"]) == ("dbo.t", "p000", "starrocks")
        assert line["run"] == said[0]["run"]
    assert said[1]["wait_s"] >= 0
    assert said[1]["cause"] == "dbo.t p000: SQL Server db is busy. It is tried again by itself."
    assert said[3]["retries"] == 1


def test_a_failure_is_a_line_with_its_cause(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "migration_assets")
    run_of(raising(DENIED))
    last = lines(caplog)[-1]
    assert (last["event"], last["level"], last["error"]) == ("failed", "ERROR", "AccessDeniedError")
    assert last["cause"].endswith("Check the credentials.")

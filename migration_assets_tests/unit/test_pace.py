"""What one step is told about a system that has too much to do, the others heed."""

import warnings
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import dagster as dg
import pytest

from migration_assets.assets import pace
from migration_assets.assets.failures import failures
from migration_assets.assets.pace import ask_for_patience, be_patient
from migration_assets.assets.receipt_store import ReceiptIOManager
from migration_assets.assets.spark import _conclude_range
from migration_assets.assets.translator import Stage
from migration_assets.errors import MigrationError, ServerBusyError, StatementError
from migration_assets.spark.extract import Extracted
from migration_assets.starrocks.server_errors import understand
from migration_assets_tests.unit.tables import INT, table_plan

TABLE = table_plan([("id", INT)], key=["id"])
TOO_MANY = "too many versions. tablet_id: 10087, version_count: 1001, limit: 1000"


class Clock:
    """Goes on only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1_000_000.0
        self.slept: list[float] = []

    def time(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(pace, "time", made)
    return made


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with warnings.catch_warnings(), dg.DagsterInstance.local_temp(str(tmp_path)) as made:
        yield made


def test_another_process_waits_as_well_once_and_in_its_own_stage(
    instance: dg.DagsterInstance, clock: Clock, tmp_path: Path
) -> None:
    assert be_patient(instance, Stage.STARROCKS) == 0
    ask_for_patience(instance, Stage.STARROCKS, 30)
    clock.now += 10
    with dg.DagsterInstance.local_temp(str(tmp_path)) as other:  # the same files
        assert be_patient(other, Stage.MSSQL) == 0
        assert 20 <= be_patient(other, Stage.STARROCKS) <= 30
        assert be_patient(other, Stage.STARROCKS) == 0
    assert be_patient(instance, Stage.STARROCKS) == 0
    assert len(clock.slept) == 1


def test_the_longest_wish_counts_and_none_is_longer_than_allowed(
    instance: dg.DagsterInstance, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIGRATION_RETRY_LONGEST_WAIT_S", "30")
    ask_for_patience(instance, Stage.STARROCKS, 1000)
    ask_for_patience(instance, Stage.STARROCKS, 1)
    assert 20 <= be_patient(instance, Stage.STARROCKS) <= 30


def test_a_clock_that_was_wrong_stops_nobody(instance: dg.DagsterInstance, clock: Clock) -> None:
    clock.now += 86_400
    ask_for_patience(instance, Stage.STARROCKS, 30)
    clock.now -= 86_400
    assert be_patient(instance, Stage.STARROCKS) == 0


def test_a_storage_that_fails_stops_nobody(clock: Clock) -> None:
    def fails(*_: Any) -> Any:
        raise OSError("database is locked")

    storage = SimpleNamespace(get_cursor_values=fails, set_cursor_values=fails)
    broken: Any = SimpleNamespace(daemon_cursor_storage=storage)
    ask_for_patience(broken, Stage.STARROCKS, 30)
    assert be_patient(broken, Stage.STARROCKS) == 0


@pytest.mark.parametrize(
    ("answer", "is_heeded"),
    [
        (TOO_MANY, True),
        ("Reach user-level(qualifiedUser: u) connection limit, currentUserMaxConn=1", True),
        ("Label [x] has already been used", False),
    ],
)
def test_a_step_of_another_run_begins_later_and_says_so(
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    answer: str,
    *,
    is_heeded: bool,
) -> None:
    monkeypatch.setenv("MIGRATION_RETRIES", "0")
    error: MigrationError | None = understand(1064, answer, subject="Table t", server="sr:9030")

    @dg.asset
    def orders(context: dg.AssetExecutionContext) -> Iterator[Any]:
        with failures(context, Stage.STARROCKS, TABLE, "p000") as attempt:
            if error is not None:
                raise error
            yield dg.MaterializeResult(metadata=attempt.metadata())

    with warnings.catch_warnings(), dg.DagsterInstance.ephemeral() as instance:
        assert not dg.materialize([orders], instance=instance, raise_on_error=False).success
        error = None
        result = dg.materialize([orders], instance=instance)
    (made,) = result.get_asset_materialization_events()
    assert ("slowed down (s)" in made.materialization.metadata) == is_heeded
    assert len(clock.slept) == is_heeded


def test_a_step_of_many_partitions_slows_others_down_too(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIGRATION_RETRIES", "0")
    errors: dict[str, MigrationError] = {
        "p000": StatementError("Broken."), "p001": ServerBusyError("Throttled.", wait_s=10),
    }  # fmt: skip

    @dg.asset(partitions_def=dg.StaticPartitionsDefinition(["p000"]))
    def orders(context: dg.AssetExecutionContext) -> None:
        extracted, receipts = (
            Extracted(errors=errors),
            cast("ReceiptIOManager", None),
        )  # nothing to store
        with failures(context, Stage.MSSQL, TABLE, None) as attempt:
            _conclude_range(context, TABLE, (), extracted, lambda _: [], receipts, attempt)

    with warnings.catch_warnings(), dg.DagsterInstance.ephemeral() as instance:
        assert not dg.materialize(
            [orders], instance=instance, partition_key="p000", raise_on_error=False
        ).success
        assert 10 <= be_patient(instance, Stage.MSSQL) <= 15

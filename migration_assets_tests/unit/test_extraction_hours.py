"""The hours in which extractions may begin: by which clock, past midnight, and who waits for them."""

import logging
import multiprocessing
import threading
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest

from migration_assets.assets import extraction_start, failures
from migration_assets.assets.extraction_start import await_hours
from migration_assets.assets.translator import Stage
from migration_assets.errors import ServerBusyError
from migration_assets.extraction_hours import ExtractionHours, waits_until
from migration_assets.operations import workers as workers_module
from migration_assets.operations.home import open_instance
from migration_assets.operations.run_coordinator import EXTRACTS_TAG
from migration_assets.operations.workers import Batch, Workers
from migration_assets.settings import ProjectSettings
from migration_assets_tests.unit.tables import INT, table_plan
from migration_assets_tests.unit.test_workers import _obey

BERLIN = "Europe/Berlin"


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("hours", "zone", "now", "opening"),
    [
        ("20:00-06:00", "UTC", "2026-03-01 20:00:00", None),
        ("20:00-06:00", "UTC", "2026-03-01 05:59:59", None),
        ("20:00-06:00", "UTC", "2026-03-01 06:00:00", "2026-03-01 20:00"),
        ("20:00-06:00", "UTC", "2026-03-01 19:59:59", "2026-03-01 20:00"),
        ("01:00-05:00", "UTC", "2026-12-31 05:00:00", "2027-01-01 01:00"),
        ("1:00-5:00", "UTC", "2026-12-31 00:30:00", "2026-12-31 01:00"),
        ("20:00-24:00", "UTC", "2026-03-01 23:59:59", None),
        ("20:00-24:00", "UTC", "2026-03-01 00:00:00", "2026-03-01 20:00"),
        ("12:00:05-12:00:07", "UTC", "2026-03-01 12:00:07", "2026-03-02 12:00:05"),
        # By Berlin's clock, an hour ahead in winter and two in summer.
        ("20:00-06:00", BERLIN, "2026-01-10 18:59:00", "2026-01-10 19:00"),
        ("20:00-06:00", BERLIN, "2026-07-10 18:00:00", None),
        ("20:00-06:00", BERLIN, "2026-07-10 04:00:00", "2026-07-10 18:00"),
        # The day before the clock is put forward, and back: the night has 23 and 25 hours.
        ("06:00-22:00", BERLIN, "2026-03-28 21:00:00", "2026-03-29 04:00"),
        ("06:00-22:00", BERLIN, "2026-10-24 20:00:00", "2026-10-25 05:00"),
    ],
)
def test_when_they_open(hours: str, zone: str, now: str, opening: str | None) -> None:
    found = ExtractionHours.parse(hours, zone).opening(at(now))
    assert found == (None if opening is None else at(opening))


@pytest.mark.parametrize(
    "bad", ["", "20:00", "20-06", "25:00-06:00", "20:61-06:00", "20:00-20:00", "24:00-00:00"]
)
def test_what_is_no_hours_is_refused(bad: str) -> None:
    with pytest.raises(ValueError, match="20:00-06:00"):
        ExtractionHours.parse(bad)
    for zone in ("Mars/Base", "../../etc/passwd", ""):
        with pytest.raises(ValueError, match="no time zone"):
            ExtractionHours.parse("20:00-06:00", zone)


def test_what_is_told_names_day_hour_and_zone() -> None:
    hours = ExtractionHours.parse("20:00-6:00", BERLIN)
    opening = hours.opening(at("2026-01-10 12:00"))
    assert opening is not None
    assert waits_until(hours, opening) == (
        "extraction waits until 2026-01-10 20:00 Europe/Berlin (window 20:00-06:00 Europe/Berlin)"
    )


class Clock:
    """Goes on only while somebody sleeps."""

    def __init__(self, now: datetime) -> None:
        self.now = now
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += timedelta(seconds=seconds)

    def monotonic(self) -> float:
        return self.now.timestamp()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock(at("2026-01-10 19:59:00"))
    fake = SimpleNamespace(sleep=made.sleep, monotonic=made.monotonic)
    monkeypatch.setattr(extraction_start, "time", fake)
    monkeypatch.setattr(extraction_start, "_now", lambda: made.now)
    monkeypatch.setenv("MIGRATION_WINDOW", "20:00-06:00")
    return made


def test_a_step_waits_in_pieces_and_says_once_until_when(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    log = logging.getLogger("test")
    with caplog.at_level(logging.INFO, logger="test"):
        assert await_hours(log) == 60
        assert await_hours(log) == 0
    assert max(clock.slept) <= 20
    (said,) = [record.message for record in caplog.records if record.name == "test"]
    assert "waits until 2026-01-10 20:00 UTC" in said


def test_only_extractions_wait_and_waiting_does_not_count_as_failing(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step that fails before the hours end is tried again after they begin, a day later."""
    monkeypatch.setenv("MIGRATION_RETRY_FIRST_WAIT_S", "0.002")
    monkeypatch.setenv("MIGRATION_RETRY_WITHIN_S", "60")
    clock.now = at("2026-01-10 05:59:59")
    ticks = SimpleNamespace(monotonic=clock.monotonic, time=clock.monotonic)
    monkeypatch.setattr(failures, "time", ticks)
    table = table_plan([("id", INT)], key=["id"])

    def run(stage: Stage, fails: int) -> bool:
        @dg.asset
        def orders(context: dg.AssetExecutionContext) -> Iterator[Any]:
            with failures.failures(context, stage, table, "p000"):
                if context.retry_number < fails:
                    clock.now += timedelta(seconds=1)
                    raise ServerBusyError("SQL Server is busy.")
                yield dg.MaterializeResult()

        with warnings.catch_warnings(), dg.DagsterInstance.ephemeral() as instance:
            return dg.materialize([orders], instance=instance, raise_on_error=False).success

    assert run(Stage.MSSQL, fails=2)
    assert clock.now == at("2026-01-10 20:00:01")
    clock.now = at("2026-01-10 12:00:00")
    assert run(Stage.STARROCKS, fails=0)
    assert clock.now == at("2026-01-10 12:00:00")


def batch(*, extracts: bool, weight: int = 0) -> Batch:
    return Batch(job="ok", partition_key=None, asset_paths=(), weight=weight, extracts=extracts)


def _thread() -> tuple[Connection, Any, int]:
    """A worker that is no process, so that it costs nothing."""
    ours, theirs = multiprocessing.Pipe()
    thread = threading.Thread(target=_obey, args=(theirs, {}), daemon=True)
    thread.start()
    return ours, SimpleNamespace(pid=0, exitcode=0, join=thread.join, kill=ours.close), 0


def test_run_begins_no_extraction_and_goes_on_with_the_rest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Workers, "_spawn", lambda _: _thread())
    hours = ExtractionHours.parse("20:00-06:00")
    now = [at("2026-01-10 12:00")]
    clock = SimpleNamespace(now=lambda _: now[0])
    monkeypatch.setattr(workers_module, "datetime", clock)
    reading, loading = batch(extracts=True, weight=100), batch(extracts=False, weight=1)
    ended: list[Batch] = []
    with Workers(1, hours) as workers:
        for event in workers.run([reading, loading]):
            if isinstance(event, workers_module.BatchEnded):
                ended.append(event.batch)
            elif event is None and ended == [loading] and now[0].hour == 12:
                assert workers.opening == at("2026-01-10 20:00")
                assert not workers.running
                now[0] = at("2026-01-10 20:00")
    assert ended == [loading, reading]
    assert workers.opening is None


def test_the_queue_of_the_daemon_keeps_runs_that_extract(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What Dagster asks of the coordinator before each look at the queue."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    with open_instance(ProjectSettings.load(concurrent_runs=3)) as instance:

        def limits() -> list[dict[str, Any]]:
            found = instance.get_concurrency_config().run_queue_config
            assert found is not None
            assert found.max_concurrent_runs == 3
            return [dict(one) for one in found.tag_concurrency_limits]

        def hours(first: int, last: int) -> None:
            """From and until so many hours from now."""
            times = [datetime.now(UTC) + timedelta(hours=one) for one in (first, last)]
            monkeypatch.setenv("MIGRATION_WINDOW", "-".join(f"{one:%H:%M}" for one in times))

        assert limits() == []
        hours(-2, 2)
        assert limits() == []
        hours(2, 4)
        assert limits() == [{"key": EXTRACTS_TAG, "limit": 0}]


def test_the_cap_is_put_where_all_processes_see_it_and_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))

    def limit(most: int | None) -> dict[str, int]:
        settings = ProjectSettings.load(concurrent_runs=8, max_extractions=most)
        with open_instance(settings) as instance:
            storage = instance.event_log_storage
            return {o.name: o.limit for o in storage.get_pool_limits() if not o.from_default}

    assert limit(None) == {}
    assert limit(2) == {"mssql": 2}
    assert limit(3) == {"mssql": 3}
    assert limit(None) == {}
    # What somebody else set stays.
    limit(2)
    with open_instance(ProjectSettings.load(concurrent_runs=8, max_extractions=2)) as instance:
        instance.event_log_storage.set_concurrency_slots("mssql", 5)
    assert limit(None) == {"mssql": 5}

"""An Iceberg table that somebody else writes to, and clocks that are set, in a local lake."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest

from migration_assets.assets import maintenance as upkeep
from migration_assets.assets.translator import MigrationTranslator
from migration_assets.choices import OnExisting
from migration_assets.errors import ForeignRowsError
from migration_assets.iceberg import maintenance
from migration_assets.iceberg.commit import commit
from migration_assets.iceberg.lake import Lake
from migration_assets.iceberg.tables import reset_table
from migration_assets.plan import TablePlan
from migration_assets_tests.unit.iceberg_tables import (
    Intents,
    commit_all,
    compact,
    expected_rows,
    extract,
    iceberg_table,
    planned_table,
    rows_of,
    stored_rows,
)

HOUR_MS = 3_600_000


def append(lake: Lake, table: TablePlan, number: int, first: int) -> None:
    """Somebody else appends a row to a partition."""
    iceberg_table(lake, table).append(pa.Table.from_batches([rows_of(table, number, 1, first)]))


def test_rows_of_another_writer_are_replaced_only_when_told(lake: Lake, table: TablePlan) -> None:
    commit_all(lake, table, [extract(lake, table, number, 10) for number in (0, 1)])
    append(lake, table, 0, 500)
    newer = extract(lake, table, 0, 12)
    with pytest.raises(ForeignRowsError, match=r"partition p000.*snapshot \d+") as caught:
        commit_all(lake, table, [newer])
    assert "run --failed" in str(caught.value)
    assert len(stored_rows(lake, table)) == 21
    # Its neighbour is nobody's business but ours.
    commit_all(lake, table, [extract(lake, table, 1, 11)])
    commit(lake, table, [newer], run_id="r", plan_id="p", intents=Intents(), replaces_foreign=True)
    assert stored_rows(lake, table) == expected_rows(table, (0, 12), (1, 11))
    commit_all(lake, table, [extract(lake, table, 0, 13)])
    assert stored_rows(lake, table) == expected_rows(table, (0, 13), (1, 11))


def test_a_compaction_is_nobody_else_s_rows(lake: Lake, table: TablePlan) -> None:
    commit_all(lake, table, [extract(lake, table, 0, 10)])
    compact(lake, table, 0)
    commit_all(lake, table, [extract(lake, table, 0, 11)])
    assert stored_rows(lake, table) == expected_rows(table, (0, 11))


def test_rows_of_a_table_that_is_to_be_adopted_may_be_replaced(lake: Lake) -> None:
    table = planned_table(lake.settings.warehouse, on_existing=OnExisting.ADOPT)
    commit_all(lake, table, [extract(lake, table, 0, 10)])
    append(lake, table, 0, 500)
    commit_all(lake, table, [extract(lake, table, 0, 11)])
    assert stored_rows(lake, table) == expected_rows(table, (0, 11))


# -- clocks ----------------------------------------------------------------------------------------


@contextmanager
def clock_set(monkeypatch: pytest.MonkeyPatch, hours: float) -> Iterator[None]:
    """The clock that pyiceberg reads is wrong by some hours."""

    class Shifted(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return datetime.now(tz) + timedelta(hours=hours)

    with monkeypatch.context() as patched:
        wrong = SimpleNamespace(time=lambda: time.time() + hours * 3600)
        patched.setattr("pyiceberg.table.snapshots.time", wrong)
        patched.setattr("pyiceberg.table.update.datetime", Shifted)
        yield


def test_times_of_commits_never_go_back(
    lake: Lake, table: TablePlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    with clock_set(monkeypatch, 48):
        commit_all(lake, table, [extract(lake, table, 0, 10)])
    ahead = iceberg_table(lake, table).metadata.last_updated_ms
    assert ahead > time.time() * 1000 + 40 * HOUR_MS
    commit_all(lake, table, [extract(lake, table, 0, 11)])
    with clock_set(monkeypatch, -48):
        commit_all(lake, table, [extract(lake, table, 1, 12)])
        with iceberg_table(lake, table).transaction() as transaction:
            transaction.set_properties(looked="at")
    metadata = iceberg_table(lake, table).metadata
    # What Iceberg's Java library asks of a table before it reads it.
    for log in (metadata.snapshot_log, metadata.metadata_log):
        times = [entry.timestamp_ms for entry in log]
        assert len(times) >= 3
        assert times == sorted(times)
        assert times[-1] <= metadata.last_updated_ms
    assert {snapshot.timestamp_ms for snapshot in metadata.snapshots} == {ahead}
    # The later attempt wins, whatever the times say.
    assert stored_rows(lake, table) == expected_rows(table, (0, 11), (1, 12))
    with clock_set(monkeypatch, -48):
        assert reset_table(lake, table)
    assert iceberg_table(lake, table).metadata.last_updated_ms == ahead


def test_expiry_goes_by_the_order_of_commits_and_not_by_their_times(
    lake: Lake, table: TablePlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maintenance, "SNAPSHOTS_KEPT", 2)
    for _ in range(4):
        commit_all(lake, table, [extract(lake, table, 0, rows=0)])
    metadata = iceberg_table(lake, table).metadata
    # The newest two were written by a clock that was set back, as another library may do.
    snapshots = [
        one.model_copy(update={"timestamp_ms": one.timestamp_ms - hours * HOUR_MS})
        for one, hours in zip(metadata.snapshots, (2, 2, 90, 90), strict=True)
    ]
    metadata = metadata.model_copy(update={"snapshots": snapshots})
    expired = maintenance.expirable_snapshots(metadata, now=datetime.now(UTC))
    assert expired == [one.snapshot_id for one in snapshots[1::-1]]


def test_a_clock_that_is_ahead_makes_no_file_of_a_running_extraction_an_orphan(
    lake: Lake, table: TablePlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    (file,) = extract(lake, table, 0, 10).files  # no receipt is stored yet

    class Ahead(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return datetime.now(tz) + timedelta(days=3)

    monkeypatch.setattr(upkeep, "datetime", Ahead)
    done = upkeep.maintain_table(
        upkeep.PyIcebergEngine(lake),
        lake,
        table,
        upkeep.MaintenanceConfig(orphan_age_hours=48),
        translator=MigrationTranslator(),
    )
    assert (done.error, done.files_removed) == ("", 0)
    assert lake.store.exists(file.path)
    assert list(lake.store.list(f"{lake.settings.warehouse}/.migration/clock")) == []

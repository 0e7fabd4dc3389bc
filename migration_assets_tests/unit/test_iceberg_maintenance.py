"""Expiry of snapshots and removal of orphans."""

import os
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from migration_assets.errors import SupersededError
from migration_assets.iceberg import maintenance
from migration_assets.iceberg.commit import commit, table_rows
from migration_assets.iceberg.lake import Lake
from migration_assets.iceberg.maintenance import expire_snapshots, remove_orphans, renewed_receipts
from migration_assets.iceberg.output_files import local_path
from migration_assets.iceberg.partitions import snapshot_holding
from migration_assets.plan import TablePlan
from migration_assets_tests.unit.iceberg_tables import (
    Intents,
    commit_all,
    compact,
    expected_rows,
    extract,
    iceberg_table,
    planned_table,
    stored_rows,
)


def aged(found: Any, minutes: int, *, young: int = 0) -> Any:
    """The loaded table as it would be if all but its `young` newest snapshots were older."""
    snapshots = [
        snapshot.model_copy(
            update={"timestamp_ms": snapshot.timestamp_ms - minutes * 60_000}
            if number < len(found.metadata.snapshots) - young
            else {}
        )
        for number, snapshot in enumerate(found.metadata.snapshots)
    ]
    found.metadata = found.metadata.model_copy(update={"snapshots": snapshots})
    return found


class TestExpiry:
    @pytest.fixture
    def ten_snapshots(self, lake: Lake, table: TablePlan, monkeypatch: pytest.MonkeyPatch) -> Any:
        monkeypatch.setattr(maintenance, "SNAPSHOTS_KEPT", 4)
        for number in range(10):
            commit_all(lake, table, [extract(lake, table, number % 2, rows=0)])
        return iceberg_table(lake, table)

    def left(self, lake: Lake, table: TablePlan) -> list[int]:
        return [s.sequence_number for s in iceberg_table(lake, table).snapshots()]

    def test_the_rules(self) -> None:
        assert maintenance.SNAPSHOT_LIMIT == 200
        assert maintenance.SNAPSHOTS_KEPT == 100
        assert timedelta(hours=1) == maintenance.SNAPSHOT_AGE

    def test_old_and_beyond_the_newest(
        self, lake: Lake, table: TablePlan, ten_snapshots: Any
    ) -> None:
        assert expire_snapshots(aged(ten_snapshots, 61)) == 6
        assert self.left(lake, table) == [7, 8, 9, 10]

    def test_young_ones_stay(self, lake: Lake, table: TablePlan, ten_snapshots: Any) -> None:
        assert expire_snapshots(aged(ten_snapshots, 59)) == 0
        assert len(self.left(lake, table)) == 10

    def test_young_beyond_the_newest_stay(
        self, lake: Lake, table: TablePlan, ten_snapshots: Any
    ) -> None:
        assert expire_snapshots(aged(ten_snapshots, 61, young=8)) == 2
        assert self.left(lake, table) == [3, 4, 5, 6, 7, 8, 9, 10]

    def test_tagged_ones_stay(self, lake: Lake, table: TablePlan, ten_snapshots: Any) -> None:
        first = ten_snapshots.snapshots()[0].snapshot_id
        ten_snapshots.manage_snapshots().create_tag(first, "kept").commit()
        assert expire_snapshots(aged(iceberg_table(lake, table), 61)) == 5
        assert self.left(lake, table) == [1, 7, 8, 9, 10]

    def test_lost_against_another_writer(
        self, lake: Lake, table: TablePlan, ten_snapshots: Any
    ) -> None:
        late = aged(iceberg_table(lake, table), 61)
        expire_snapshots(aged(ten_snapshots, 61))
        assert expire_snapshots(late) == 0

    def test_commits_expire_above_the_limit(
        self, lake: Lake, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """With the real limits, snapshots older than an hour: at most 200, then 100 again."""
        from migration_assets.iceberg import commit as commit_module

        table = planned_table(lake.settings.warehouse, partitions=2)
        real = commit_module.expire_snapshots
        monkeypatch.setattr(
            commit_module, "expire_snapshots", lambda found: real(aged(found, 61, young=1))
        )
        counts = []
        for _ in range(202):
            commit_all(lake, table, [extract(lake, table, 0, rows=0)])
            counts.append(len(iceberg_table(lake, table).snapshots()))
        assert counts[198:] == [199, 200, 100, 101]

    def test_failure_does_not_undo_the_commit(
        self,
        lake: Lake,
        table: TablePlan,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        from migration_assets.errors import ServerBusyError
        from migration_assets.iceberg import commit as commit_module

        def fail(found: Any) -> int:
            raise ServerBusyError("The catalog is busy.")

        monkeypatch.setattr(commit_module, "SNAPSHOT_LIMIT", 0)
        monkeypatch.setattr(commit_module, "expire_snapshots", fail)
        commit_all(lake, table, [extract(lake, table, 0)])
        assert table_rows(lake, table) == 10
        assert "The catalog is busy" in caplog.text


class TestRenewal:
    """What commit receipts say after a compaction; see also test_maintenance.py."""

    def expire_all_but_newest(self, lake: Lake, table: TablePlan) -> None:
        found = iceberg_table(lake, table)
        old = [snapshot.snapshot_id for snapshot in found.snapshots()[:-1]]
        found.maintenance.expire_snapshots().by_ids(old).commit()

    def test_nothing_was_rewritten(self, lake: Lake, table: TablePlan) -> None:
        receipts = commit_all(lake, table, [extract(lake, table, 0), extract(lake, table, 1)])
        commit_all(lake, table, [extract(lake, table, 2)])
        assert renewed_receipts(iceberg_table(lake, table), receipts) == []

    def test_only_rewritten_partitions(self, lake: Lake, table: TablePlan) -> None:
        first, second = commit_all(
            lake, table, [extract(lake, table, 0), extract(lake, table, 1, rows=7)]
        )
        compact(lake, table, 1)
        commit_all(lake, table, [extract(lake, table, 2)])
        found = iceberg_table(lake, table)
        (renewed,) = renewed_receipts(found, [first, second])
        changed = {"snapshot_id", "files"}
        assert renewed.model_dump(exclude=changed) == second.model_dump(exclude=changed)
        assert renewed.snapshot_id == found.current_snapshot().snapshot_id
        assert [file.rows for file in renewed.files] == [7]
        assert renewed.files != second.files

    def test_with_other_rows_or_committed_again_it_stays(
        self, lake: Lake, table: TablePlan
    ) -> None:
        receipts = commit_all(lake, table, [extract(lake, table, number) for number in range(3)])
        compact(lake, table, 0, rows=9)
        commit_all(lake, table, [extract(lake, table, 1)])
        commit_all(lake, table, [extract(lake, table, 2)])
        compact(lake, table, 2)
        assert renewed_receipts(iceberg_table(lake, table), receipts) == []

    def test_current_files_of_an_expired_snapshot(self, lake: Lake, table: TablePlan) -> None:
        """So that a compaction to come can be recognised."""
        (receipt,) = commit_all(lake, table, [extract(lake, table, 0)])
        (other,) = commit_all(lake, table, [extract(lake, table, 1)])
        self.expire_all_but_newest(lake, table)
        (renewed,) = renewed_receipts(iceberg_table(lake, table), [receipt, other])
        assert renewed == receipt.model_copy(update={"snapshot_id": other.snapshot_id})
        compact(lake, table, 0)
        assert snapshot_holding(lake, table, renewed)
        with pytest.raises(SupersededError):
            snapshot_holding(lake, table, receipt)

    def test_rewritten_after_its_snapshot_expired(self, lake: Lake, table: TablePlan) -> None:
        """Nothing shows that the rows are the same."""
        (receipt,) = commit_all(lake, table, [extract(lake, table, 0)])
        compact(lake, table, 0)
        self.expire_all_but_newest(lake, table)
        assert renewed_receipts(iceberg_table(lake, table), [receipt]) == []


class TestOrphans:
    def make_old(self, lake: Lake) -> None:
        for path in local_path(lake.settings.warehouse).rglob("*"):
            os.utime(path, (1_000_000, 1_000_000))

    def clean(self, lake: Lake, table: TablePlan, live: set[str]) -> list[str]:
        return remove_orphans(lake, [table], live, datetime.now(UTC) - timedelta(days=1))

    def test_keeps_what_is_referred_to(self, lake: Lake, table: TablePlan) -> None:
        commit_all(lake, table, [extract(lake, table, 0), extract(lake, table, 1)])
        (old,) = commit_all(lake, table, [extract(lake, table, 0, rows=3)])
        commit_all(lake, table, [extract(lake, table, 0, rows=4)])
        self.make_old(lake)
        assert self.clean(lake, table, set()) == []
        assert stored_rows(lake, table) == expected_rows(table, (0, 4), (1, 10))
        found = iceberg_table(lake, table)
        assert found.scan(snapshot_id=old.snapshot_id).count() == 13

    def test_live_files_stay_whatever_their_age(self, lake: Lake, table: TablePlan) -> None:
        commit_all(lake, table, [extract(lake, table, 1)])
        waiting, lost = extract(lake, table, 0), extract(lake, table, 2)
        self.make_old(lake)
        live = {file.path for file in waiting.files}
        assert self.clean(lake, table, live) == [lost.files[0].path]
        commit_all(lake, table, [waiting])
        assert stored_rows(lake, table) == expected_rows(table, (0, 10), (1, 10))

    def test_young_files_stay(self, lake: Lake, table: TablePlan) -> None:
        extract(lake, table, 0)
        assert self.clean(lake, table, set()) == []

    def test_files_of_expired_snapshots_go(self, lake: Lake, table: TablePlan) -> None:
        replaced = extract(lake, table, 0)
        commit_all(lake, table, [replaced])
        commit_all(lake, table, [extract(lake, table, 0, rows=3)])
        found = iceberg_table(lake, table)
        old = [snapshot.snapshot_id for snapshot in found.snapshots()[:-1]]
        found.maintenance.expire_snapshots().by_ids(old).commit()
        self.make_old(lake)
        removed = self.clean(lake, table, set())
        assert replaced.files[0].path in removed
        assert all("/metadata/" in uri for uri in removed if uri != replaced.files[0].path)
        assert stored_rows(lake, table) == expected_rows(table, (0, 3))
        commit_all(lake, table, [extract(lake, table, 1)])
        assert stored_rows(lake, table) == expected_rows(table, (0, 3), (1, 10))

    def test_leftovers_of_conflicts_go(
        self, lake: Lake, table: TablePlan, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from pyiceberg.catalog.sql import SqlCatalog
        from pyiceberg.exceptions import CommitFailedException

        commit_all(lake, table, [extract(lake, table, 1)])
        real, failures = SqlCatalog.commit_table, [CommitFailedException("late")]

        def commit_table(self: SqlCatalog, *arguments: Any) -> Any:
            if failures:
                raise failures.pop()
            return real(self, *arguments)

        monkeypatch.setattr(SqlCatalog, "commit_table", commit_table)
        commit_all(lake, table, [extract(lake, table, 0)])
        self.make_old(lake)
        assert len(self.clean(lake, table, set())) == 2  # a manifest and a manifest list
        assert stored_rows(lake, table) == expected_rows(table, (0, 10), (1, 10))

    def test_other_tables_are_left_alone(self, lake: Lake, table: TablePlan) -> None:
        other = planned_table(lake.settings.warehouse, "orders_2")
        (file,) = extract(lake, other, 0).files
        self.make_old(lake)
        assert self.clean(lake, table, set()) == []
        assert lake.store.exists(file.path)

    def test_table_without_a_commit(self, lake: Lake, table: TablePlan) -> None:
        receipt = extract(lake, table, 0)
        self.make_old(lake)
        assert self.clean(lake, table, {receipt.files[0].path}) == []
        assert self.clean(lake, table, set()) == [receipt.files[0].path]
        commit(lake, table, [], run_id="r", plan_id="p", intents=Intents())

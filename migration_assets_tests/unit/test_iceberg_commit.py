"""Commits on a local warehouse: what each rule of the design guards against."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import CommitFailedException

from migration_assets.errors import PlanError, ReceiptError
from migration_assets.iceberg import commit as commit_module
from migration_assets.iceberg.commit import table_rows
from migration_assets.iceberg.lake import Lake
from migration_assets.iceberg.partitions import partition_rows
from migration_assets.plan import TablePlan
from migration_assets_tests.unit.catalog_swaps import Swap
from migration_assets_tests.unit.iceberg_tables import (
    commit_all,
    compact,
    expected_rows,
    extract,
    iceberg_table,
    planned_table,
    stored_rows,
)


class TestOneTransaction:
    def test_rows_and_receipt(self, lake: Lake, table: TablePlan) -> None:
        extracted = extract(lake, table, 2, rows=25)
        (receipt,) = commit_all(lake, table, [extracted])
        assert stored_rows(lake, table) == expected_rows(table, (2, 25))
        found = iceberg_table(lake, table)
        assert receipt.snapshot_id == found.current_snapshot().snapshot_id
        assert (receipt.rows, receipt.partition_key, receipt.source_partition) == (25, "p002", 2)
        assert (receipt.files, receipt.fingerprint) == (extracted.files, extracted.fingerprint)
        assert receipt.attempt == extracted.attempt
        assert receipt.table_id == table.table_id

    def test_replaces_its_partition_and_no_other(self, lake: Lake, table: TablePlan) -> None:
        commit_all(lake, table, [extract(lake, table, number) for number in range(3)])
        commit_all(lake, table, [extract(lake, table, 1, rows=3, first=50)])
        assert stored_rows(lake, table) == expected_rows(table, (0, 10), (1, 3, 50), (2, 10))

    def test_several_partitions_are_one_swap(self, lake: Lake, table: TablePlan) -> None:
        commit_all(lake, table, [extract(lake, table, 0)])
        before = len(lake.catalog.load_table(("shop_dbo", "orders")).metadata.metadata_log)
        receipts = commit_all(lake, table, [extract(lake, table, n, first=20) for n in range(4)])
        found = iceberg_table(lake, table)
        assert len(found.metadata.metadata_log) == before + 1
        assert {receipt.snapshot_id for receipt in receipts} == {
            found.current_snapshot().snapshot_id
        }
        assert stored_rows(lake, table) == expected_rows(table, *[(n, 10, 20) for n in range(4)])

    def test_no_file_still_makes_a_snapshot(self, lake: Lake, table: TablePlan) -> None:
        """The load pins a snapshot, also where the key range is empty."""
        (receipt,) = commit_all(lake, table, [extract(lake, table, 0, rows=0)])
        assert iceberg_table(lake, table).current_snapshot().snapshot_id == receipt.snapshot_id
        assert (receipt.files, receipt.rows) == ((), 0)

    def test_no_file_on_a_table_with_snapshots(self, lake: Lake, table: TablePlan) -> None:
        commit_all(lake, table, [extract(lake, table, 0)])
        extracted = extract(lake, table, 3, rows=0)
        (receipt,) = commit_all(lake, table, [extracted])
        current = iceberg_table(lake, table).current_snapshot()
        assert receipt.snapshot_id == current.snapshot_id
        attempts = current.summary.additional_properties["migration.attempts"]
        assert attempts == extracted.attempt

    def test_empty_extract_empties_its_partition(self, lake: Lake, table: TablePlan) -> None:
        commit_all(lake, table, [extract(lake, table, 0), extract(lake, table, 1)])
        commit_all(lake, table, [extract(lake, table, 0, rows=0)])
        assert stored_rows(lake, table) == expected_rows(table, (1, 10))

    def test_readers_see_the_old_rows_until_the_swap(
        self, lake: Lake, table: TablePlan, swaps: list[Swap]
    ) -> None:
        commit_all(lake, table, [extract(lake, table, 0)])
        seen = []

        def look(swap: Callable[[], Any]) -> Any:
            seen.append(stored_rows(lake, table))
            return swap()

        swaps.append(look)
        commit_all(lake, table, [extract(lake, table, 0, first=30)])
        assert seen == [expected_rows(table, (0, 10))]

    def test_snapshot_says_who_made_it(self, lake: Lake, table: TablePlan) -> None:
        extracted = extract(lake, table, 0)
        commit_all(lake, table, [extracted])
        summary = iceberg_table(lake, table).current_snapshot().summary
        properties = summary.additional_properties
        assert properties["migration.run-id"] == "run-1"
        assert properties["migration.plan-id"] == "plan-1"
        assert properties["migration.table-id"] == table.table_id
        assert properties["migration.attempts"] == extracted.attempt

    def test_hundreds_of_partitions_replaced_at_once(self, lake: Lake) -> None:
        table = planned_table(lake.settings.warehouse, partitions=260)
        commit_all(lake, table, [extract(lake, table, number, rows=2) for number in range(260)])
        commit_all(lake, table, [extract(lake, table, number, rows=1) for number in range(1, 260)])
        assert partition_rows(lake, table) == {0: 2, **dict.fromkeys(range(1, 260), 1)}

    def test_nothing_to_commit(self, lake: Lake, table: TablePlan) -> None:
        assert commit_all(lake, table, []) == ()


class TestCommittedOnce:
    def test_again_changes_nothing(self, lake: Lake, table: TablePlan) -> None:
        extracted = [extract(lake, table, 0), extract(lake, table, 1, rows=0)]
        first = commit_all(lake, table, extracted)
        before = iceberg_table(lake, table).metadata_location
        again = commit_all(lake, table, extracted)
        assert iceberg_table(lake, table).metadata_location == before
        assert [r.snapshot_id for r in again] == [r.snapshot_id for r in first]
        assert [r.files for r in again] == [r.files for r in first]

    def test_again_after_others_names_its_own_snapshot(self, lake: Lake, table: TablePlan) -> None:
        extracted = extract(lake, table, 0)
        (first,) = commit_all(lake, table, [extracted])
        commit_all(lake, table, [extract(lake, table, 1)])
        (again,) = commit_all(lake, table, [extracted])
        assert again.snapshot_id == first.snapshot_id

    def test_some_new_some_done(self, lake: Lake, table: TablePlan) -> None:
        done = extract(lake, table, 0)
        (first,) = commit_all(lake, table, [done])
        old, new = commit_all(lake, table, [done, extract(lake, table, 1)])
        assert old.snapshot_id == first.snapshot_id != new.snapshot_id
        assert stored_rows(lake, table) == expected_rows(table, (0, 10), (1, 10))

    def test_replaced_receipt_is_spent(self, lake: Lake, table: TablePlan) -> None:
        old = extract(lake, table, 0)
        commit_all(lake, table, [old])
        commit_all(lake, table, [extract(lake, table, 0, rows=5)])
        with pytest.raises(ReceiptError, match="is spent") as raised:
            commit_all(lake, table, [old])
        assert "re-materialize the mssql asset of this partition" in raised.value.next_step
        assert stored_rows(lake, table) == expected_rows(table, (0, 5))

    def test_empty_receipt_replaced_by_rows_is_spent(self, lake: Lake, table: TablePlan) -> None:
        old = extract(lake, table, 0, rows=0)
        commit_all(lake, table, [old])
        commit_all(lake, table, [extract(lake, table, 0)])
        with pytest.raises(ReceiptError, match="is spent"):
            commit_all(lake, table, [old])

    def test_compacted_receipt_is_done(self, lake: Lake, table: TablePlan) -> None:
        extracted = extract(lake, table, 0)
        (first,) = commit_all(lake, table, [extracted])
        compact(lake, table, 0)
        (again,) = commit_all(lake, table, [extracted])
        assert again.snapshot_id == first.snapshot_id

    def test_one_spent_receipt_stops_all(self, lake: Lake, table: TablePlan) -> None:
        old = extract(lake, table, 0)
        commit_all(lake, table, [old])
        commit_all(lake, table, [extract(lake, table, 0, rows=5)])
        with pytest.raises(ReceiptError, match="is spent"):
            commit_all(lake, table, [extract(lake, table, 1), old])
        assert stored_rows(lake, table) == expected_rows(table, (0, 5))


class TestConflicts:
    def test_another_partition_came_first(
        self, lake: Lake, table: TablePlan, swaps: list[Swap]
    ) -> None:
        other = extract(lake, table, 1)

        def be_late(swap: Callable[[], Any]) -> Any:
            commit_all(lake, table, [other])
            return swap()

        swaps.append(be_late)
        commit_all(lake, table, [extract(lake, table, 0)])
        assert stored_rows(lake, table) == expected_rows(table, (0, 10), (1, 10))

    def test_same_partition_came_first(
        self, lake: Lake, table: TablePlan, swaps: list[Swap]
    ) -> None:
        """Both add files to an empty partition: without a look at the new state both would stay."""
        other = extract(lake, table, 0, rows=7)

        def be_late(swap: Callable[[], Any]) -> Any:
            commit_all(lake, table, [other])
            return swap()

        swaps.append(be_late)
        commit_all(lake, table, [extract(lake, table, 0)])
        assert stored_rows(lake, table) == expected_rows(table, (0, 10))

    def test_reset_came_first(self, lake: Lake, table: TablePlan, swaps: list[Swap]) -> None:
        """A conflict looks at everything again: rows of the old plan must not get in."""
        from migration_assets.iceberg.commit import reset_table

        commit_all(lake, table, [extract(lake, table, 1)])
        changed = planned_table(lake.settings.warehouse, sort_key=("name",))

        def be_late(swap: Callable[[], Any]) -> Any:
            assert reset_table(lake, changed)
            return swap()

        swaps.append(be_late)
        with pytest.raises(PlanError, match="another plan"):
            commit_all(lake, table, [extract(lake, table, 0)])
        assert table_rows(lake, changed) == 0

    def test_threads_with_different_partitions(self, lake: Lake) -> None:
        table = planned_table(lake.settings.warehouse, partitions=24)
        extracted = [extract(lake, table, number) for number in range(24)]
        ready = threading.Barrier(4, timeout=30)

        def work(worker: int) -> None:
            ready.wait()
            for receipt in extracted[worker::4]:
                commit_all(lake, table, [receipt])

        with ThreadPoolExecutor(4) as threads:
            list(threads.map(work, range(4)))
        assert stored_rows(lake, table) == expected_rows(table, *[(n, 10) for n in range(24)])

    def test_conflicts_are_bounded(
        self, lake: Lake, table: TablePlan, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from migration_assets.errors import CommitConflictError

        commit_all(lake, table, [extract(lake, table, 1)])
        tried = []

        def lose(self: SqlCatalog, *arguments: Any) -> Any:
            tried.append(1)
            raise CommitFailedException("another process was first")

        monkeypatch.setattr("tenacity.nap.time.sleep", lambda _: None)
        monkeypatch.setattr(SqlCatalog, "commit_table", lose)
        with pytest.raises(CommitConflictError, match="another process was first"):
            commit_all(lake, table, [extract(lake, table, 0)])
        assert len(tried) == 100


def test_a_commit_expires_above_the_limit(
    lake: Lake, table: TablePlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr(commit_module, "SNAPSHOT_LIMIT", 2)
    monkeypatch.setattr(
        commit_module, "expire_snapshots", lambda found: asked.append(len(found.snapshots()))
    )
    for number in range(4):
        commit_all(lake, table, [extract(lake, table, number)])
    assert asked == [3, 4]

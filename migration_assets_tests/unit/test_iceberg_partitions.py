"""What a table holds by metadata, and whether it still holds what a receipt says."""

import pytest

from migration_assets.errors import ObjectNotFoundError, PlanError, SupersededError
from migration_assets.iceberg.commit import partition_rows, snapshot_holding, table_rows
from migration_assets.iceberg.lake import Lake
from migration_assets.iceberg.partitions import was_committed_since
from migration_assets.plan import TablePlan
from migration_assets_tests.unit.iceberg_tables import (
    commit_all,
    compact,
    extract,
    iceberg_table,
    planned_table,
)


class TestRows:
    def test_no_table(self, lake: Lake, table: TablePlan) -> None:
        assert partition_rows(lake, table) == {0: 0, 1: 0, 2: 0, 3: 0}
        assert table_rows(lake, table) == 0

    def test_counts(self, lake: Lake, table: TablePlan) -> None:
        commit_all(lake, table, [extract(lake, table, n, rows=n) for n in range(3)])
        commit_all(lake, table, [extract(lake, table, 1, rows=7)])
        assert partition_rows(lake, table) == {0: 0, 1: 7, 2: 2, 3: 0}
        assert partition_rows(lake, table, ["p002"]) == {2: 2}
        assert partition_rows(lake, table, []) == {}
        assert table_rows(lake, table) == 9

    def test_only_fitting_manifests_are_read(
        self, lake: Lake, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from pyiceberg.manifest import ManifestFile

        table = planned_table(lake.settings.warehouse, partitions=12)
        for number in range(12):
            commit_all(lake, table, [extract(lake, table, number)])
        read = []
        real = ManifestFile.fetch_manifest_entry

        def fetch(self: ManifestFile, *arguments: object, **named: object) -> object:
            read.append(self.manifest_path)
            return real(self, *arguments, **named)  # type: ignore[arg-type]

        monkeypatch.setattr(ManifestFile, "fetch_manifest_entry", fetch)
        assert partition_rows(lake, table, ["p007"]) == {7: 10}
        assert len(read) == 1
        assert len(partition_rows(lake, table)) == 12
        assert len(read) == 13

    def test_another_plan(self, lake: Lake, table: TablePlan) -> None:
        commit_all(lake, table, [extract(lake, table, 0)])
        changed = planned_table(lake.settings.warehouse, partitions=2)
        with pytest.raises(PlanError):
            partition_rows(lake, changed)
        with pytest.raises(PlanError):
            table_rows(lake, changed)


class TestSnapshotHolding:
    def current(self, lake: Lake, table: TablePlan) -> int:
        current: int = iceberg_table(lake, table).current_snapshot().snapshot_id
        return current

    def test_right_after_the_commit(self, lake: Lake, table: TablePlan) -> None:
        (receipt,) = commit_all(lake, table, [extract(lake, table, 0)])
        assert snapshot_holding(lake, table, receipt) == receipt.snapshot_id

    def test_other_partitions_do_not_matter(self, lake: Lake, table: TablePlan) -> None:
        (receipt,) = commit_all(lake, table, [extract(lake, table, 0)])
        commit_all(lake, table, [extract(lake, table, 1)])
        commit_all(lake, table, [extract(lake, table, 1, rows=3)])
        held = snapshot_holding(lake, table, receipt)
        assert held == self.current(lake, table) != receipt.snapshot_id

    def test_newer_commit_of_the_partition(self, lake: Lake, table: TablePlan) -> None:
        (receipt,) = commit_all(lake, table, [extract(lake, table, 0)])
        commit_all(lake, table, [extract(lake, table, 0)])
        with pytest.raises(SupersededError, match="partition p000") as raised:
            snapshot_holding(lake, table, receipt)
        assert "run --failed" in raised.value.next_step

    def test_emptied(self, lake: Lake, table: TablePlan) -> None:
        (receipt,) = commit_all(lake, table, [extract(lake, table, 0)])
        commit_all(lake, table, [extract(lake, table, 0, rows=0)])
        with pytest.raises(SupersededError):
            snapshot_holding(lake, table, receipt)

    def test_empty_partition(self, lake: Lake, table: TablePlan) -> None:
        (receipt,) = commit_all(lake, table, [extract(lake, table, 0, rows=0)])
        assert snapshot_holding(lake, table, receipt) == receipt.snapshot_id
        commit_all(lake, table, [extract(lake, table, 0, rows=1)])
        with pytest.raises(SupersededError):
            snapshot_holding(lake, table, receipt)

    def test_compacted(self, lake: Lake, table: TablePlan) -> None:
        (receipt,) = commit_all(lake, table, [extract(lake, table, 0)])
        commit_all(lake, table, [extract(lake, table, 1)])
        compact(lake, table, 0)
        commit_all(lake, table, [extract(lake, table, 2)])
        assert snapshot_holding(lake, table, receipt) == self.current(lake, table)

    def test_compacted_with_other_rows(self, lake: Lake, table: TablePlan) -> None:
        (receipt,) = commit_all(lake, table, [extract(lake, table, 0)])
        compact(lake, table, 0, rows=9)
        with pytest.raises(SupersededError):
            snapshot_holding(lake, table, receipt)

    def test_replaced_by_as_many_rows_then_compacted(self, lake: Lake, table: TablePlan) -> None:
        (receipt,) = commit_all(lake, table, [extract(lake, table, 0)])
        commit_all(lake, table, [extract(lake, table, 0, first=100)])
        compact(lake, table, 0)
        with pytest.raises(SupersededError):
            snapshot_holding(lake, table, receipt)

    def test_compacted_and_expired(self, lake: Lake, table: TablePlan) -> None:
        """What happened in between can no longer be seen."""
        (receipt,) = commit_all(lake, table, [extract(lake, table, 0)])
        compact(lake, table, 0)
        found = iceberg_table(lake, table)
        found.maintenance.expire_snapshots().by_id(receipt.snapshot_id).commit()
        with pytest.raises(SupersededError):
            snapshot_holding(lake, table, receipt)

    def test_no_table(self, lake: Lake, table: TablePlan) -> None:
        (receipt,) = commit_all(lake, table, [extract(lake, table, 0)])
        lake.catalog.drop_table(("shop_dbo", "orders"))
        with pytest.raises(ObjectNotFoundError, match="is gone"):
            snapshot_holding(lake, table, receipt)


class TestCommittedSince:
    """Whose rows a partition holds that no longer holds those of a receipt."""

    def test_by_a_run_of_ours(self, lake: Lake, table: TablePlan) -> None:
        (receipt,) = commit_all(lake, table, [extract(lake, table, 0)])
        assert not was_committed_since(lake, table, receipt)
        (newer,) = commit_all(lake, table, [extract(lake, table, 0)])
        commit_all(lake, table, [extract(lake, table, 1)])
        assert was_committed_since(lake, table, receipt)
        assert not was_committed_since(lake, table, newer)

    def test_by_one_that_found_no_rows(self, lake: Lake, table: TablePlan) -> None:
        (receipt,) = commit_all(lake, table, [extract(lake, table, 0)])
        commit_all(lake, table, [extract(lake, table, 0, rows=0)])
        assert was_committed_since(lake, table, receipt)

    def test_compacted_since(self, lake: Lake, table: TablePlan) -> None:
        (receipt,) = commit_all(lake, table, [extract(lake, table, 0)])
        compact(lake, table, 0)
        assert not was_committed_since(lake, table, receipt)
        commit_all(lake, table, [extract(lake, table, 0)])
        compact(lake, table, 0)
        assert was_committed_since(lake, table, receipt)

    def test_by_somebody_else(self, lake: Lake, table: TablePlan) -> None:
        (receipt,) = commit_all(lake, table, [extract(lake, table, 0)])
        commit_all(lake, table, [extract(lake, table, 0)])
        found = iceberg_table(lake, table)
        found.append(found.scan().to_arrow())
        assert not was_committed_since(lake, table, receipt)

    def test_rolled_back(self, lake: Lake, table: TablePlan) -> None:
        (older,) = commit_all(lake, table, [extract(lake, table, 0)])
        (receipt,) = commit_all(lake, table, [extract(lake, table, 0)])
        found = iceberg_table(lake, table)
        found.manage_snapshots().rollback_to_snapshot(older.snapshot_id).commit()
        assert not was_committed_since(lake, table, receipt)

    def test_no_table(self, lake: Lake, table: TablePlan) -> None:
        (receipt,) = commit_all(lake, table, [extract(lake, table, 0)])
        lake.catalog.drop_table(("shop_dbo", "orders"))
        assert not was_committed_since(lake, table, receipt)

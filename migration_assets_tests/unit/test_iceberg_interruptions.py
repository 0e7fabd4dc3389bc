"""Commits that are killed or whose answer is lost: each lands once, or is told to be spent."""

from collections.abc import Callable
from typing import Any

import pytest

from migration_assets.errors import ConnectionLostError, ReceiptError
from migration_assets.iceberg.intents import Intent, StoredIntents
from migration_assets.iceberg.lake import Lake
from migration_assets.plan import TablePlan
from migration_assets_tests.unit.catalog_swaps import (
    Interruption,
    Swap,
    conflict_with_itself,
    killed_after,
    killed_before,
    lost_answer,
    lost_request,
)
from migration_assets_tests.unit.iceberg_tables import (
    Intents,
    commit_all,
    expected_rows,
    extract,
    iceberg_table,
    stored_rows,
)


class TestInterrupted:
    def test_before_the_swap_is_tried_again(
        self, lake: Lake, table: TablePlan, swaps: list[Swap]
    ) -> None:
        intents, extracted = Intents(), extract(lake, table, 0)
        commit_all(lake, table, [extract(lake, table, 1)], intents)
        swaps.append(killed_before)
        with pytest.raises(Interruption):
            commit_all(lake, table, [extracted], intents)
        assert intents.store["p000"].attempt == extracted.attempt
        commit_all(lake, table, [extract(lake, table, 2)], intents)
        commit_all(lake, table, [extracted], Intents(intents.store))
        assert stored_rows(lake, table) == expected_rows(table, (0, 10), (1, 10), (2, 10))

    def test_after_the_swap_is_done(self, lake: Lake, table: TablePlan, swaps: list[Swap]) -> None:
        intents, extracted = Intents(), extract(lake, table, 0)
        commit_all(lake, table, [extract(lake, table, 1)], intents)
        swaps.append(killed_after)
        with pytest.raises(Interruption):
            commit_all(lake, table, [extracted], intents)
        landed = iceberg_table(lake, table)
        (receipt,) = commit_all(lake, table, [extracted], Intents(intents.store))
        assert receipt.snapshot_id == landed.current_snapshot().snapshot_id
        assert iceberg_table(lake, table).metadata_location == landed.metadata_location

    def test_after_the_swap_and_replaced_is_spent(
        self, lake: Lake, table: TablePlan, swaps: list[Swap]
    ) -> None:
        intents, extracted = Intents(), extract(lake, table, 0)
        commit_all(lake, table, [extract(lake, table, 1)], intents)
        swaps.append(killed_after)
        with pytest.raises(Interruption):
            commit_all(lake, table, [extracted], intents)
        commit_all(lake, table, [extract(lake, table, 0, rows=2)], intents)
        with pytest.raises(ReceiptError, match="is spent"):
            commit_all(lake, table, [extracted], intents)

    @pytest.mark.parametrize("landed", [True, False])
    def test_expired_history_is_spent(
        self, lake: Lake, table: TablePlan, swaps: list[Swap], landed: bool
    ) -> None:
        """Whether it landed can no longer be told, so adding its files again is not safe."""
        intents, extracted = Intents(), extract(lake, table, 0)
        commit_all(lake, table, [extract(lake, table, 1)])
        swaps.append(killed_after if landed else killed_before)
        with pytest.raises(Interruption):
            commit_all(lake, table, [extracted], intents)
        commit_all(lake, table, [extract(lake, table, 0, rows=2)])
        commit_all(lake, table, [extract(lake, table, 1, rows=3)])
        found = iceberg_table(lake, table)
        old = [s.snapshot_id for s in found.snapshots()[:-1]]
        found.maintenance.expire_snapshots().by_ids(old).commit()
        with pytest.raises(ReceiptError, match="has expired"):
            commit_all(lake, table, [extracted], intents)
        assert stored_rows(lake, table) == expected_rows(table, (0, 2), (1, 3))

    def test_history_expired_before_the_intent_does_not_matter(
        self, lake: Lake, table: TablePlan, swaps: list[Swap]
    ) -> None:
        intents, extracted = Intents(), extract(lake, table, 0)
        for rows in (1, 2, 3):
            commit_all(lake, table, [extract(lake, table, 1, rows=rows)])
        found = iceberg_table(lake, table)
        old = [s.snapshot_id for s in found.snapshots()[:-1]]
        found.maintenance.expire_snapshots().by_ids(old).commit()
        swaps.append(killed_before)
        with pytest.raises(Interruption):
            commit_all(lake, table, [extracted], intents)
        commit_all(lake, table, [extracted], intents)
        assert stored_rows(lake, table) == expected_rows(table, (0, 10), (1, 3))

    def test_intent_on_a_table_that_was_dropped_since(self, lake: Lake, table: TablePlan) -> None:
        """The table of this name is another one: nothing can have landed in it."""
        commit_all(lake, table, [extract(lake, table, 1)])
        commit_all(lake, table, [extract(lake, table, 1, rows=3)])
        found = iceberg_table(lake, table)
        old = [s.snapshot_id for s in found.snapshots()[:-1]]
        found.maintenance.expire_snapshots().by_ids(old).commit()
        extracted = extract(lake, table, 0)
        intent = Intent(
            attempt=extracted.attempt,
            table_uuid="00000000-0000-0000-0000-000000000000",
            base_snapshot_id=None,
            base_sequence_number=0,
        )
        commit_all(lake, table, [extracted], Intents({"p000": intent}))
        assert stored_rows(lake, table) == expected_rows(table, (0, 10), (1, 3))

    def test_intent_is_stored_before_the_swap(
        self, lake: Lake, table: TablePlan, swaps: list[Swap]
    ) -> None:
        commit_all(lake, table, [extract(lake, table, 1)])
        base = iceberg_table(lake, table)
        intents, extracted = Intents(), extract(lake, table, 0)
        at_swap: list[Intent] = []

        def look(swap: Callable[[], Any]) -> Any:
            at_swap.extend(intents.store.values())
            return swap()

        swaps.append(look)
        commit_all(lake, table, [extracted], intents)
        (intent,) = at_swap
        assert intent.attempt == extracted.attempt
        assert intent.base_snapshot_id == base.current_snapshot().snapshot_id
        assert intent.table_uuid == str(base.metadata.table_uuid)

    def test_stored_intents(self, lake: Lake) -> None:
        root = f"{lake.settings.warehouse}/.receipts/orders"
        intents = StoredIntents(lake.store, f"{root}/")
        assert intents.load(["p000"]) == {"p000": []}
        intent = Intent(attempt="a", table_uuid="u", base_snapshot_id=None, base_sequence_number=0)
        intents.save({"p000": intent})
        assert [file.uri for file in lake.store.list(root)] == [f"{root}/p000.intent.json"]
        assert intents.load(["p000", "p001"]) == {"p000": [intent], "p001": []}
        intents.clear("p000")
        intents.clear("p000")
        assert intents.load(["p000"]) == {"p000": []}
        lake.store.write(f"{root}/p000.intent.json", b"{}")
        assert intents.load(["p000"]) == {"p000": []}
        lake.store.write(f"{root}/p000.intent.json", b'{"p000": {}}')
        with pytest.raises(ReceiptError, match="no intent"):
            intents.load(["p000"])

    def test_intents_of_one_commit_are_one_object(self, lake: Lake) -> None:
        root = f"{lake.settings.warehouse}/.receipts/orders"
        intents = StoredIntents(lake.store, root)
        old, new = (
            Intent(attempt=name, table_uuid="u", base_snapshot_id=None, base_sequence_number=0)
            for name in ("old", "new")
        )
        intents.save({"p000": old, "p001": old})
        intents.save({"p001": new, "p000": new})
        assert len(list(lake.store.list(root))) == 1
        assert intents.load(["p001", "p002"]) == {"p001": [new], "p002": []}
        intents.save({"p001": old})
        assert intents.load(["p001"]) == {"p001": [old, new]}

    def test_many_partitions_with_expired_history_are_spent(
        self, lake: Lake, table: TablePlan, swaps: list[Swap]
    ) -> None:
        intents = StoredIntents(lake.store, f"{lake.settings.warehouse}/.receipts/orders")
        both = [extract(lake, table, 0), extract(lake, table, 1)]
        swaps.append(killed_after)
        with pytest.raises(Interruption):
            commit_all(lake, table, both, intents)
        commit_all(lake, table, [extract(lake, table, 1, rows=2)], intents)
        found = iceberg_table(lake, table)
        old = [s.snapshot_id for s in found.snapshots()[:-1]]
        found.maintenance.expire_snapshots().by_ids(old).commit()
        with pytest.raises(ReceiptError, match=r"p001.*has expired"):
            commit_all(lake, table, both[1:], intents)


class TestUnknownOutcome:
    def test_lost_answer(self, lake: Lake, table: TablePlan, swaps: list[Swap]) -> None:
        commit_all(lake, table, [extract(lake, table, 0)])
        swaps.append(lost_answer)
        (receipt,) = commit_all(lake, table, [extract(lake, table, 0, rows=4)])
        found = iceberg_table(lake, table)
        assert receipt.snapshot_id == found.current_snapshot().snapshot_id
        assert len(found.snapshots()) == 3  # append; delete and append, once
        assert stored_rows(lake, table) == expected_rows(table, (0, 4))

    def test_lost_request(self, lake: Lake, table: TablePlan, swaps: list[Swap]) -> None:
        swaps.append(lost_request)
        commit_all(lake, table, [extract(lake, table, 0)])
        assert stored_rows(lake, table) == expected_rows(table, (0, 10))

    def test_conflict_with_the_commit_that_landed(
        self, lake: Lake, table: TablePlan, swaps: list[Swap]
    ) -> None:
        """pyiceberg deletes the manifests of a failed commit; these are in use."""
        commit_all(lake, table, [extract(lake, table, 0)])
        swaps.append(conflict_with_itself)
        commit_all(lake, table, [extract(lake, table, 0, rows=4)])
        assert len(iceberg_table(lake, table).snapshots()) == 3
        assert stored_rows(lake, table) == expected_rows(table, (0, 4))

    def test_gives_up_on_a_catalog_that_stays_away(
        self,
        lake: Lake,
        table: TablePlan,
        swaps: list[Swap],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr("tenacity.nap.time.sleep", lambda _: None)
        swaps.extend([lost_request] * 3)
        with pytest.raises(ConnectionLostError, match=r"shop_dbo\.orders"):
            commit_all(lake, table, [extract(lake, table, 0)])

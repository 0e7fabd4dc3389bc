"""Which of the lake's objects are ours to remove, told by what they say themselves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from migration_assets.assets.receipt_store import ReceiptStore
from migration_assets.assets.translator import MigrationTranslator, Stage
from migration_assets.iceberg.lake import Lake
from migration_assets.iceberg.tables import load_table, open_table
from migration_assets.operations.clean import Cleaner
from migration_assets.plan import TablePlan
from migration_assets.trial import trial_table
from migration_assets_tests.unit.iceberg_tables import extract


@pytest.fixture
def cleaner(lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cleaner]:
    """A cleaner of the same lake as `lake`."""
    monkeypatch.chdir(tmp_path)
    for name in ("S3_BUCKET", "ICEBERG_CATALOG_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ICEBERG_CATALOG_TYPE", "sql")
    monkeypatch.setenv("S3_WAREHOUSE_PATH", str(tmp_path / "warehouse"))
    with Cleaner(starrocks=False) as made:
        yield made


def store_of(lake: Lake, table: TablePlan) -> tuple[ReceiptStore, dict[Stage, list[str]]]:
    paths = {stage: list(MigrationTranslator().asset_key(stage, table).path) for stage in Stage}
    return ReceiptStore(lake, table.source_database), paths


def below(lake: Lake, table: TablePlan) -> set[str]:
    return {file.uri for file in lake.store.list(table.location)}


def test_a_table_of_the_plan_goes_with_its_files_and_receipts(
    lake: Lake, table: TablePlan, cleaner: Cleaner
) -> None:
    open_table(lake, table)
    receipt = extract(lake, table, 0)
    store, paths = store_of(lake, table)
    store.save(paths[Stage.MSSQL], receipt)
    foreign = f"{table.location}/mine.txt"
    lake.store.write(foreign, b"")
    neighbour = f"{table.location}_trial/data/x"
    lake.store.write(neighbour, b"")
    found = cleaner.look(table)
    assert found.in_iceberg
    assert found.left_alone == [
        f"1 other files below {table.location}/: no receipt and no table of ours names them."
    ]
    cleaner.remove(found)
    assert load_table(lake, table) is None
    assert below(lake, table) == {foreign}
    assert lake.store.exists(neighbour)
    assert store.listed(paths[Stage.MSSQL]) == store.listed(paths[Stage.ICEBERG]) == []
    assert cleaner.look(table).ours == []


def test_extracts_that_were_never_committed_are_known_by_their_receipts(
    lake: Lake, table: TablePlan, cleaner: Cleaner
) -> None:
    receipt, orphan = extract(lake, table, 0), extract(lake, table, 1)
    store, paths = store_of(lake, table)
    store.save(paths[Stage.MSSQL], receipt)
    cleaner.remove(cleaner.look(table))
    assert below(lake, table) == {file.path for file in orphan.files}


def test_a_removal_that_was_cut_short_goes_on(
    lake: Lake, table: TablePlan, cleaner: Cleaner
) -> None:
    open_table(lake, table)
    delete = cleaner._lake.store.delete
    cleaner._lake.store.delete = lambda _: (_ for _ in ()).throw(KeyboardInterrupt)  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        cleaner.remove(cleaner.look(table))
    assert load_table(lake, table) is None
    assert below(lake, table)
    cleaner._lake.store.delete = delete  # type: ignore[method-assign]
    cleaner.remove(cleaner.look(table))
    assert below(lake, table) == set()
    assert cleaner.look(table).ours == []


def test_what_says_that_it_is_another_s_is_left_alone(
    lake: Lake, table: TablePlan, cleaner: Cleaner
) -> None:
    trial = trial_table(table, 5)
    same_place = {"iceberg_table": table.iceberg_table, "location": table.location}
    cases = {
        "that of another plan": table.replaced(starrocks_table="elsewhere"),
        "it is a trial's": trial.replaced(**same_place),
    }
    for reason, other in cases.items():
        open_table(lake, other)
        before = below(lake, table)
        found = cleaner.look(table)
        assert reason in found.left_alone[0]
        assert not found.in_iceberg
        cleaner.remove(found)
        assert load_table(lake, table) is not None
        assert below(lake, table) == before
        lake.catalog.purge_table((table.namespace, table.iceberg_table))
    open_table(lake, table)
    found = cleaner.look(trial.replaced(**same_place))
    assert "it is no trial's" in found.left_alone[0]
    elsewhere = table.replaced(location=f"{table.location}2")
    found = cleaner.look(elsewhere)
    assert not found.in_iceberg


def test_a_table_under_an_earlier_plan_is_known_by_its_receipts(
    lake: Lake, table: TablePlan, cleaner: Cleaner
) -> None:
    earlier = table.replaced(starrocks_table="earlier")
    open_table(lake, earlier)
    assert not cleaner.look(table).in_iceberg
    store, paths = store_of(lake, table)
    store.save(paths[Stage.MSSQL], extract(lake, earlier, 0))
    assert cleaner.look(table).in_iceberg

"""Time windows in order: no row is committed or loaded in two of them, and what `run` makes of it."""

from __future__ import annotations

import datetime as dt
import uuid
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from migration_assets.assets.build import DATA_VERSION_TAG
from migration_assets.assets.translator import STAGES
from migration_assets.assets.windows import loading_window
from migration_assets.choices import Engine
from migration_assets.errors import (
    EarlierWindowError,
    PlanError,
    ReceiptError,
    StatementError,
)
from migration_assets.iceberg.data_files import write_data_files
from migration_assets.iceberg.tables import reset_table
from migration_assets.iceberg.windows import LAST_WINDOW_PROPERTY, window_properties
from migration_assets.key_range import Period, Window
from migration_assets.operations.schedule import Schedule, Work
from migration_assets.operations.status import narrowed_windows, partition_statuses
from migration_assets.operations.workers import PartitionMade
from migration_assets.plan import TablePlan
from migration_assets.receipts import ExtractReceipt, Fingerprint
from migration_assets.windows import check_range
from migration_assets_tests.unit.iceberg_tables import (
    EXTRACTED_AT,
    commit_all,
    iceberg_table,
    local_lake,
    planned_table,
    rows_of,
    stored_rows,
)
from migration_assets_tests.unit.test_windows import (
    TRANSLATOR,
    extended,
    ranges,
)

# -- no row is committed twice ---------------------------------------------------------------------


def iceberg_windows(folder: Path, last: int) -> TablePlan:
    """Windows from January 2024 to a month of it, for the tables of `iceberg_tables`."""
    window = Window(column="name", by=Period.MONTH, first=dt.date(2024, 1, 1))
    cut = ranges("date", Period.MONTH, window.first, dt.date(2024, last, 1))
    named = tuple(r.model_copy(update={"column": "name"}) for r in cut)
    return planned_table(folder.as_uri(), key_ranges=named, window=window)


def extracted(lake: Any, table: TablePlan, key: str) -> ExtractReceipt:
    """Five rows of a window, extracted."""
    number, attempt = table.key_range(key).source_partition, uuid.uuid4().hex
    files = write_data_files([rows_of(table, number, 5)], table, number, attempt, lake.store)
    return ExtractReceipt(
        table_id=table.table_id,
        partition_key=key,
        source_partition=number,
        attempt=attempt,
        run_id="run-1",
        range_id=table.range_id(key),
        rows=5,
        seconds=0.5,
        files=files,
        fingerprint=Fingerprint(rows=5),
        source_fingerprint=None,
        consistency="snapshot",
        extracted_at=EXTRACTED_AT,
    )


def committed(lake: Any, table: TablePlan, *keys: str) -> str:
    """Commit windows and return what the table says of the last one."""
    receipts = commit_all(lake, table, [extracted(lake, table, key) for key in keys])
    assert [receipt.range_id for receipt in receipts] == [table.range_id(key) for key in keys]
    return str(iceberg_table(lake, table).properties[LAST_WINDOW_PROPERTY])


def held(lake: Any, table: TablePlan) -> set[int]:
    return {row["source_partition"] for row in stored_rows(lake, table)}


def test_later_windows_wait_until_the_one_that_was_open_is_committed_again(tmp_path: Path) -> None:
    march, may = (iceberg_windows(tmp_path, last) for last in (3, 5))
    assert march.table_id == may.table_id
    with local_lake(tmp_path) as lake:
        assert committed(lake, march, "2024-02") == "202402"
        assert committed(lake, march, "2024-03", "earlier") == "202403 open"
        old = extracted(lake, march, "2024-03")
        with pytest.raises(EarlierWindowError, match="2024-03 was migrated when it was") as raised:
            committed(lake, may, "2024-05")
        assert "migration-assets run --failed --tables dbo.orders" in raised.value.next_step
        assert held(lake, may) == {0, 202402, 202403}
        with pytest.raises(ReceiptError, match="when this window had another end") as spoiled:
            commit_all(lake, may, [old])
        assert "Extract again" in spoiled.value.next_step
        assert committed(lake, may, "2024-01", "earlier") == "202403 open"
        assert committed(lake, may, "2024-03") == "202403"
        assert committed(lake, may, "2024-05") == "202405 open"
        assert committed(lake, may, "2024-04") == "202405 open"
        # Of a process that still has the old plan, to which March is the last one.
        with pytest.raises(PlanError, match="has the window 2024-05, but by this plan 2024-03"):
            commit_all(lake, march, [old])
        assert held(lake, may) == {0, 202401, 202402, 202403, 202404, 202405}
        reset_table(lake, march)
        assert committed(lake, march, "2024-03") == "202403 open"


def test_the_command_of_a_name_with_blanks_can_be_pasted(tmp_path: Path) -> None:
    march, may = (
        iceberg_windows(tmp_path, last).replaced(source_name="order lines") for last in (3, 5)
    )
    notes = Notes()
    loaded(notes, march, "2024-03")
    with pytest.raises(EarlierWindowError) as raised:
        loaded(notes, may, "2024-04")
    assert "--tables 'dbo.order lines'`" in raised.value.next_step
    with pytest.raises(EarlierWindowError) as raised:
        window_properties(may, {LAST_WINDOW_PROPERTY: "202403 open"}, [202404])
    assert "--tables 'dbo.order lines'`" in raised.value.next_step


def test_the_window_that_was_open_may_come_in_one_commit_with_later_ones(tmp_path: Path) -> None:
    march, may = (iceberg_windows(tmp_path, last) for last in (3, 5))
    with local_lake(tmp_path) as lake:
        committed(lake, march, "2024-03")
        assert committed(lake, may, "2024-05", "2024-03") == "202405 open"


class Notes:
    """The notes of a receipt store."""

    def __init__(self) -> None:
        self.noted: dict[str, str] = {}

    def note(self, _: Any, name: str) -> str | None:
        return self.noted.get(name)

    def set_note(self, _: Any, name: str, text: str | None) -> None:
        self.noted.pop(name, None)
        if text is not None:
            self.noted[name] = text


def loaded(notes: Any, table: TablePlan, key: str, *, fails: bool = False) -> dict[str, str]:
    with loading_window(notes, ["starrocks", "shop", "orders"], table, key):
        if fails:
            raise StatementError("It was refused.")
    return dict(notes.noted)


def test_starrocks_loads_later_windows_after_the_one_that_was_open(tmp_path: Path) -> None:
    march, may = (iceberg_windows(tmp_path, last) for last in (3, 5))
    notes = Notes()
    assert loaded(notes, march, "2024-02") == {}
    with pytest.raises(StatementError):
        loaded(notes, march, "2024-03", fails=True)
    assert notes.noted == {"open-window": "202403"}, "it may have been loaded all the same"
    assert loaded(notes, march, "2024-03") == {"open-window": "202403"}
    with pytest.raises(EarlierWindowError, match="2024-03 was loaded when it was the last one"):
        loaded(notes, may, "2024-04")
    with pytest.raises(StatementError):
        loaded(notes, may, "2024-03", fails=True)
    assert loaded(notes, may, "2024-01") == {"open-window": "202403"}
    assert loaded(notes, may, "2024-03") == {}
    assert loaded(notes, may, "2024-05") == {"open-window": "202405"}
    assert loaded(notes, may, "2024-04") == {"open-window": "202405"}


# -- what `run` makes of it ------------------------------------------------------------------------


def test_run_makes_the_window_that_got_an_end_first_and_the_later_ones_after_it() -> None:
    old, new = extended()
    before, table = old.tables[0], new.tables[0]
    with dg.DagsterInstance.ephemeral() as instance:
        for stage in STAGES:
            for key in before.partition_keys:
                tags = {DATA_VERSION_TAG: f"{before.table_id}.{before.range_id(key)}-a1"}
                instance.report_runless_asset_event(
                    dg.AssetMaterialization(TRANSLATOR.asset_key(stage, table), partition=key,
                                            tags=tags)
                )  # fmt: skip
        statuses = list(partition_statuses(instance, [table], TRANSLATOR))
        narrowed = narrowed_windows(instance, table, TRANSLATOR)
    states = {status.partition_key: status.state().value for status in statuses}
    assert states == {
        "earlier": "done", "2024-01": "done", "2024-02": "done", "2024-03": "stale",
        "2024-04": "missing", "2024-05": "missing",
    }  # fmt: skip
    assert narrowed == ["2024-03"]
    work = [Work(table, key, STAGES) for key in table.partition_keys]
    schedule = Schedule(new, work, TRANSLATOR, {table.full_name: narrowed})
    first = schedule.first()
    assert [batch.partition_key for batch in first] == ["earlier", "2024-01", "2024-02", "2024-03"]
    assert [schedule.after(batch) for batch in first[:3]] == [[], [], []]
    after = schedule.after(first[3])
    assert [batch.partition_key for batch in after] == ["2024-04", "2024-05"]
    assert [schedule.after(batch) for batch in after] == [[], []]
    alone = Schedule(new, work[4:], TRANSLATOR, {table.full_name: narrowed}).first()
    assert [batch.partition_key for batch in alone] == ["2024-04", "2024-05"], "nothing to wait for"


def test_run_makes_windows_of_spark_in_the_same_order() -> None:
    _, new = extended()
    table = new.tables[0].replaced(engine=Engine.SPARK)
    work = [Work(table, key, STAGES) for key in table.partition_keys]
    schedule = Schedule(new, work, TRANSLATOR, {table.full_name: ["2024-03"]})
    (first,) = schedule.first()
    assert first.partition_range == ("earlier", "2024-03")
    for key in table.partition_keys[:4]:
        path = tuple(TRANSLATOR.asset_key(STAGES[0], table).path)
        schedule.made(PartitionMade(first, path, key))
    loads = schedule.after(first)
    assert [batch.partition_key for batch in loads] == list(table.partition_keys[:4])
    (then,) = [batch for load in loads for batch in schedule.after(load)]
    assert then.partition_range == ("2024-04", "2024-05")


def test_a_receipt_of_another_end_is_refused_and_plain_tables_have_none(tmp_path: Path) -> None:
    plain = planned_table(tmp_path.as_uri())
    assert plain.range_id("p000") == ""
    march, may = (iceberg_windows(tmp_path, last) for last in (3, 5))
    with local_lake(tmp_path) as lake:
        receipt = extracted(lake, march, "2024-03")
    check_range(receipt, march)
    with pytest.raises(ReceiptError, match=r"rows where \[name\] >= '2024-03-01' AND"):
        check_range(receipt, may)

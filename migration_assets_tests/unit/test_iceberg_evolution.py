"""An Iceberg table's columns changed in place: rows and receipts stay valid."""

from __future__ import annotations

import pytest

from migration_assets.errors import PlanError, ReceiptError, SchemaDriftError
from migration_assets.evolution import evolution
from migration_assets.iceberg.commit import partition_rows
from migration_assets.iceberg.evolution import check_evolvable, evolve_table
from migration_assets.iceberg.lake import Lake
from migration_assets.iceberg.partitions import snapshot_holding
from migration_assets.iceberg.rows import read_files
from migration_assets.iceberg.tables import reset_table
from migration_assets.plan import TablePlan
from migration_assets_tests.unit.iceberg_tables import (
    commit_all,
    expected_rows,
    extract,
    iceberg_table,
    planned_column,
    stored_rows,
)


def evolved(table: TablePlan) -> TablePlan:
    """The plan with a new column and a wider decimal, going on from the old one."""
    columns = tuple(
        column.model_copy(update={"iceberg_type": "decimal(20, 4)"})
        if column.name == "amount"
        else column
        for column in table.columns
    )
    new = table.replaced(columns=(*columns, planned_column("note", 7, "string")))
    step = evolution(table, new)
    assert step is not None
    assert (step.added, step.widened) == (("note",), ("amount",))
    return new.replaced(evolutions=(step,))


def test_rows_stay_and_the_new_column_is_null(lake: Lake, table: TablePlan) -> None:
    receipts = commit_all(lake, table, [extract(lake, table, number) for number in range(2)])
    before, new = iceberg_table(lake, table), evolved(table)
    with pytest.raises(PlanError, match=r"earlier plan.*migration-assets evolve dbo\.orders"):
        partition_rows(lake, new)
    assert check_evolvable(lake, new) is True
    assert evolve_table(lake, new) is True
    after = iceberg_table(lake, new)
    assert len(after.metadata.metadata_log) == len(before.metadata.metadata_log) + 1
    assert after.current_snapshot() == before.current_snapshot()
    assert after.properties["migration.table-id"] == new.table_id
    assert stored_rows(lake, new) == [
        {**row, "note": None} for row in expected_rows(table, (0, 10), (1, 10))
    ]
    assert snapshot_holding(lake, new, receipts[0]) == before.current_snapshot().snapshot_id
    assert check_evolvable(lake, new) is evolve_table(lake, new) is False


def test_a_receipt_from_before_can_be_committed_afterwards(lake: Lake, table: TablePlan) -> None:
    commit_all(lake, table, [extract(lake, table, 0)])
    extracted, new = extract(lake, table, 1), evolved(table)
    evolve_table(lake, new)
    (receipt,) = commit_all(lake, new, [extracted])
    assert receipt.table_id == table.table_id
    assert {row["note"] for row in stored_rows(lake, new)} == {None}
    assert partition_rows(lake, new) == {0: 10, 1: 10, 2: 0, 3: 0}
    (batch,) = read_files(lake, new, [file.path for file in extracted.files])
    assert batch.column("note").null_count == 10
    assert str(batch.schema.field("amount").type) == "decimal128(20, 4)"


def test_files_may_lack_only_what_came_since(lake: Lake, table: TablePlan) -> None:
    new = evolved(table)
    newer = extract(lake, table, 1).model_copy(update={"table_id": new.table_id})
    with pytest.raises(ReceiptError, match=r"field 7 .* is missing"):
        commit_all(lake, new, [newer])


def test_a_table_made_under_an_evolved_plan_has_its_field_ids(lake: Lake, table: TablePlan) -> None:
    new = evolved(table)
    commit_all(lake, new, [extract(lake, table, 0)])
    found = iceberg_table(lake, new)
    assert {field.name: field.field_id for field in found.schema().fields} == {
        column.name: column.field_id for column in new.target_columns
    }
    assert [field.source_id for field in found.spec().fields] == [6]
    assert stored_rows(lake, new) == [
        {**row, "note": None} for row in expected_rows(table, (0, 10))
    ]


def test_another_plan_and_a_stranger_s_change_are_refused(lake: Lake, table: TablePlan) -> None:
    new = evolved(table)
    assert evolve_table(lake, new) is False  # there is none
    commit_all(lake, table, [extract(lake, table, 0)])
    other = new.replaced(evolutions=())
    with pytest.raises(
        SchemaDriftError, match=r"cannot evolve.*migration-assets reset dbo\.orders"
    ):
        evolve_table(lake, other)
    with iceberg_table(lake, table).update_schema() as update:
        update.rename_column("name", "mine")
    with pytest.raises(SchemaDriftError, match="field 2 is mine string, planned is name string"):
        evolve_table(lake, new)
    assert iceberg_table(lake, table).properties["migration.table-id"] == table.table_id
    reset_table(lake, new)
    assert evolve_table(lake, new) is False

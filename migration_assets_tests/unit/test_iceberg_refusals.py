"""Receipts and tables that a commit must refuse, since `add_files` itself compares nothing."""

from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from migration_assets.errors import (
    PlanError,
    ReceiptError,
    SchemaDriftError,
)
from migration_assets.iceberg.commit import table_rows
from migration_assets.iceberg.lake import Lake
from migration_assets.iceberg.output_files import local_path
from migration_assets.plan import TablePlan
from migration_assets.receipts import DataFile
from migration_assets_tests.unit.iceberg_tables import (
    commit_all,
    expected_rows,
    extract,
    iceberg_table,
    planned_table,
    rows_of,
    stored_rows,
)


class TestRefusals:
    def refused(self, lake: Lake, table: TablePlan, receipt: Any, match: str) -> None:
        with pytest.raises(ReceiptError, match=match) as raised:
            commit_all(lake, table, [receipt])
        assert raised.value.next_step
        assert table_rows(lake, table) == 0

    def test_wrong_size(self, lake: Lake, table: TablePlan) -> None:
        receipt = extract(lake, table, 0)
        (file,) = receipt.files
        wrong = file.model_copy(update={"bytes": file.bytes + 1})
        self.refused(
            lake, table, receipt.model_copy(update={"files": (wrong,)}), "the receipt says"
        )

    def test_wrong_rows(self, lake: Lake, table: TablePlan) -> None:
        receipt = extract(lake, table, 0)
        (file,) = receipt.files
        wrong = receipt.model_copy(
            update={"files": (file.model_copy(update={"rows": 11}),), "rows": 11}
        )
        self.refused(lake, table, wrong, "has 10 rows, the receipt says 11")

    def test_rows_that_are_not_the_sum(self, lake: Lake, table: TablePlan) -> None:
        receipt = extract(lake, table, 0).model_copy(update={"rows": 11})
        self.refused(lake, table, receipt, "says 11 rows, its files have 10")

    def test_file_overwritten_by_a_late_writer(self, lake: Lake, table: TablePlan) -> None:
        """Seven rows were read where the metadata said 1,000."""
        receipt = extract(lake, table, 0, rows=1000)
        other = extract(lake, table, 0, rows=7)
        local_path(other.files[0].path).replace(local_path(receipt.files[0].path))
        self.refused(lake, table, receipt, "bytes, the receipt says")

    def test_missing_file(self, lake: Lake, table: TablePlan) -> None:
        receipt = extract(lake, table, 0)
        lake.store.delete([receipt.files[0].path])
        self.refused(lake, table, receipt, "is gone")

    def test_no_parquet_file(self, lake: Lake, table: TablePlan) -> None:
        receipt = extract(lake, table, 0)
        (file,) = receipt.files
        lake.store.write(file.path, b"\0" * file.bytes)
        self.refused(lake, table, receipt, "no Parquet file")

    def rewritten(self, lake: Lake, table: TablePlan, schema: pa.Schema) -> Any:
        """An extract whose file was written again with another schema, same rows."""
        receipt = extract(lake, table, 0)
        (file,) = receipt.files
        path = local_path(file.path)
        columns = rows_of(table, 0, 10).columns
        pq.write_table(pa.Table.from_arrays(columns, schema=schema), path)
        files = (file.model_copy(update={"bytes": path.stat().st_size}),)
        return receipt.model_copy(update={"files": files})

    def test_exchanged_field_ids(self, lake: Lake, table: TablePlan) -> None:
        """`add_files` takes them without a word, and the columns come back exchanged."""
        schema = rows_of(table, 0, 1).schema
        one, two = schema.field("name"), schema.field("source_schema")
        exchanged = schema.set(1, one.with_metadata(two.metadata)).set(
            4, two.with_metadata(one.metadata)
        )
        receipt = self.rewritten(lake, table, exchanged)
        self.refused(lake, table, receipt, "field 2 is source_schema string, planned is name")

    def test_field_of_another_id(self, lake: Lake, table: TablePlan) -> None:
        """A column that was added again has a new id, and comes back NULL."""
        schema = rows_of(table, 0, 1).schema
        other = schema.set(1, schema.field("name").with_metadata({"PARQUET:field_id": "99"}))
        receipt = self.rewritten(lake, table, other)
        self.refused(lake, table, receipt, "field 2 .name string. is missing")

    def test_field_of_another_type(self, lake: Lake, table: TablePlan) -> None:
        receipt = extract(lake, table, 0)
        (file,) = receipt.files
        path = local_path(file.path)
        batch = rows_of(table, 0, 10)
        field = batch.schema.field("amount").with_type(pa.decimal128(18, 2))
        schema = batch.schema.set(2, field)
        arrays = [*batch.columns[:2], pa.nulls(10, field.type), *batch.columns[3:]]
        pq.write_table(pa.Table.from_arrays(arrays, schema=schema), path)
        files = (file.model_copy(update={"bytes": path.stat().st_size}),)
        self.refused(
            lake,
            table,
            receipt.model_copy(update={"files": files}),
            r"decimal\(18, 2\), planned is amount decimal\(18, 4\)",
        )

    def test_file_without_field_ids(self, lake: Lake, table: TablePlan) -> None:
        schema = pa.schema([f.with_metadata({}) for f in rows_of(table, 0, 1).schema])
        self.refused(lake, table, self.rewritten(lake, table, schema), "no usable schema")

    def test_rows_of_another_partition(self, lake: Lake, table: TablePlan) -> None:
        other = extract(lake, table, 1)
        receipt = extract(lake, table, 0).model_copy(update={"files": other.files})
        self.refused(lake, table, receipt, "source_partition 1, the receipt says 0")

    def test_rows_of_several_partitions(self, lake: Lake, table: TablePlan) -> None:
        from migration_assets.iceberg.data_files import write_data_files

        batches = [rows_of(table, 0, 5), rows_of(table, 1, 5)]
        files = write_data_files(batches, table, 0, "mixed", lake.store)
        receipt = extract(lake, table, 0).model_copy(update={"files": files})
        self.refused(lake, table, receipt, "several partitions")

    def test_file_outside_the_location(self, lake: Lake, table: TablePlan) -> None:
        receipt = extract(lake, table, 0)
        stray = DataFile(path=f"{table.location}2/x.parquet", bytes=1, rows=10)
        self.refused(
            lake, table, receipt.model_copy(update={"files": (stray,)}), "which is outside"
        )

    def test_one_file_twice(self, lake: Lake, table: TablePlan) -> None:
        receipt = extract(lake, table, 0)
        twice = receipt.model_copy(update={"files": receipt.files * 2, "rows": 20})
        self.refused(lake, table, twice, "a file twice")

    def test_two_receipts_of_one_partition(self, lake: Lake, table: TablePlan) -> None:
        with pytest.raises(ReceiptError, match="one of two"):
            commit_all(lake, table, [extract(lake, table, 0), extract(lake, table, 0)])

    def test_partition_number_of_another_key(self, lake: Lake, table: TablePlan) -> None:
        receipt = extract(lake, table, 1).model_copy(update={"partition_key": "p002"})
        self.refused(lake, table, receipt, "source_partition 1, not 2")

    def test_receipt_of_another_plan(self, lake: Lake, table: TablePlan) -> None:
        receipt = extract(lake, table, 0)
        changed = planned_table(lake.settings.warehouse, sort_key=("name",))
        with pytest.raises(PlanError, match="under another plan") as raised:
            commit_all(lake, changed, [receipt])
        assert "re-materialize the mssql asset" in raised.value.next_step

    def test_table_of_another_plan(self, lake: Lake, table: TablePlan) -> None:
        commit_all(lake, table, [extract(lake, table, 0)])
        changed = planned_table(lake.settings.warehouse, partitions=5)
        with pytest.raises(PlanError, match="holds rows of another plan") as raised:
            commit_all(lake, changed, [extract(lake, changed, 0)])
        assert "migration-assets reset dbo.orders" in raised.value.next_step
        assert stored_rows(lake, table) == expected_rows(table, (0, 10))

    def test_changed_schema(self, lake: Lake, table: TablePlan) -> None:
        commit_all(lake, table, [extract(lake, table, 0)])
        with iceberg_table(lake, table).update_schema() as update:
            update.rename_column("name", "title")
        with pytest.raises(SchemaDriftError, match="field 2 is title string, planned is name"):
            commit_all(lake, table, [extract(lake, table, 1)])

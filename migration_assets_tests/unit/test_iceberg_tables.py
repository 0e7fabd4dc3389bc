"""Tables: made as planned, recognised, refused, taken over, reset."""

from typing import Any

import pyarrow as pa
import pytest
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.schema import Schema
from pyiceberg.table.sorting import SortField, SortOrder
from pyiceberg.types import LongType, NestedField, StringType

from migration_assets.choices import OnExisting
from migration_assets.errors import (
    ExistingObjectError,
    PlanError,
    SchemaDriftError,
    UnsupportedError,
)
from migration_assets.iceberg.commit import commit, reset_table, table_rows
from migration_assets.iceberg.data_files import write_data_files
from migration_assets.iceberg.lake import Lake
from migration_assets.iceberg.partitions import partition_rows
from migration_assets.iceberg.schema import iceberg_schema, partition_spec
from migration_assets.iceberg.tables import open_table, table_properties
from migration_assets.plan import TablePlan
from migration_assets.type_mapping import arrow_schema
from migration_assets_tests.unit.iceberg_tables import (
    commit_all,
    expected_rows,
    extract,
    iceberg_table,
    planned_column,
    planned_table,
    rows_of,
    stored_rows,
)

NAME = ("shop_dbo", "orders")


def plan(lake: Lake, **other: Any) -> TablePlan:
    return planned_table(lake.settings.warehouse, **other)


def foreign_table(lake: Lake, table: TablePlan, **other: Any) -> None:
    """A table of somebody else with a row, sorted, not partitioned."""
    schema = Schema(
        NestedField(1, "title", StringType(), required=False),
        NestedField(2, "id", LongType(), required=False),
    )
    lake.catalog.create_namespace_if_not_exists("shop_dbo")
    given: dict[str, Any] = {
        "schema": schema,
        "location": table.location,
        "sort_order": SortOrder(SortField(source_id=2)),
    }
    found = lake.catalog.create_table(NAME, **(given | other))
    if not other:
        found.append(pa.table({"title": ["x"], "id": pa.array([1], pa.int64())}))


class TestSchema:
    def test_fields(self, lake: Lake) -> None:
        schema = iceberg_schema(plan(lake))
        assert [(f.field_id, f.name, str(f.field_type)) for f in schema.fields] == [
            (1, "order id", "long"),
            (2, "name", "string"),
            (3, "amount", "decimal(18, 4)"),
            (4, "migrated_at", "timestamptz"),
            (5, "source_schema", "string"),
            (6, "source_partition", "int"),
        ]
        assert not any(field.required for field in schema.fields)

    def test_every_type_of_the_mapping(self, lake: Lake) -> None:
        types = ["boolean", "int", "long", "float", "double", "decimal(38, 0)", "date"]
        types += ["timestamp", "timestamptz", "string", "binary"]
        columns = tuple(planned_column(f"c{n}", n, t) for n, t in enumerate(types, start=1))
        schema = iceberg_schema(plan(lake, columns=columns, audit_columns=()))
        assert [str(field.field_type) for field in schema.fields] == types

    def test_unknown_type(self, lake: Lake) -> None:
        table = plan(lake, columns=(planned_column("c", 1, "money"),))
        with pytest.raises(PlanError, match="column c has the Iceberg type 'money'"):
            iceberg_schema(table)

    def test_partition_spec(self, lake: Lake) -> None:
        (field,) = partition_spec(plan(lake)).fields
        assert (field.source_id, field.field_id, field.name) == (6, 1000, "source_partition")
        assert str(field.transform) == "identity"


class TestOpen:
    def test_made_as_planned(self, lake: Lake) -> None:
        table = plan(lake)
        found = open_table(lake, table)
        assert found.schema().as_struct() == iceberg_schema(table).as_struct()
        assert found.spec() == partition_spec(table)
        assert found.location() == table.location
        assert found.metadata.format_version == 2
        assert found.properties.items() >= table_properties(table).items()
        assert found.properties["commit.retry.num-retries"] == "100"
        assert open_table(lake, table).metadata.table_uuid == found.metadata.table_uuid

    def test_names_with_dots_and_quotes(self, lake: Lake) -> None:
        columns = tuple(
            planned_column(name, number, "long")
            for number, name in enumerate(["a.b", "a", 'q"`]', "größe", "order"], start=1)
        )
        table = plan(lake, columns=columns)
        audit = rows_of(plan(lake), 1, 2).columns[3:]
        arrays = [pa.array([number, None], pa.int64()) for number in range(5)] + audit
        batch = pa.RecordBatch.from_arrays(arrays, schema=arrow_schema(table))
        receipt = extract(lake, table, 1, rows=0)
        files = write_data_files([batch], table, 1, receipt.attempt, lake.store)
        commit_all(lake, table, [receipt.model_copy(update={"files": files, "rows": 2})])
        assert iceberg_table(lake, table).scan().to_arrow().to_pylist() == batch.to_pylist()

    def test_foreign_table_is_refused(self, lake: Lake) -> None:
        table = plan(lake)
        foreign_table(lake, table)
        with pytest.raises(ExistingObjectError, match="is not ours") as raised:
            commit_all(lake, table, [extract(lake, table, 0)])
        assert "on_existing" in raised.value.next_step
        assert iceberg_table(lake, table).scan().count() == 1

    def test_adopt_what_is_as_planned(self, lake: Lake) -> None:
        table = plan(lake, on_existing=OnExisting.ADOPT)
        foreign_table(
            lake,
            table,
            schema=iceberg_schema(table),
            partition_spec=partition_spec(table),
            sort_order=SortOrder(),
        )
        uuid = iceberg_table(lake, table).metadata.table_uuid
        commit_all(lake, table, [extract(lake, table, 0)])
        found = iceberg_table(lake, table)
        assert found.metadata.table_uuid == uuid
        assert found.properties["migration.table-id"] == table.table_id
        assert stored_rows(lake, table) == expected_rows(table, (0, 10))

    def test_adopt_nothing_else(self, lake: Lake) -> None:
        table = plan(lake, on_existing=OnExisting.ADOPT)
        foreign_table(lake, table)
        with pytest.raises(SchemaDriftError, match="partitioned by nothing") as raised:
            open_table(lake, table)
        assert "field 1 is title string, planned is order id long" in str(raised.value)
        assert iceberg_table(lake, table).scan().count() == 1

    def test_replace(self, lake: Lake) -> None:
        table = plan(lake, on_existing=OnExisting.REPLACE)
        foreign_table(lake, table)
        commit_all(lake, table, [extract(lake, table, 0)])
        commit_all(lake, table, [extract(lake, table, 0, rows=4)])
        assert stored_rows(lake, table) == expected_rows(table, (0, 4))
        assert table_rows(lake, table) == 4

    def test_replace_at_another_location(self, lake: Lake) -> None:
        table = plan(lake, on_existing=OnExisting.REPLACE)
        foreign_table(lake, table, location=f"{lake.settings.warehouse}/elsewhere")
        commit_all(lake, table, [extract(lake, table, 0)])
        assert iceberg_table(lake, table).location() == table.location
        assert stored_rows(lake, table) == expected_rows(table, (0, 10))

    def test_other_format_version(self, lake: Lake) -> None:
        table = plan(lake, on_existing=OnExisting.REPLACE)
        foreign_table(lake, table, properties={"format-version": "1"})
        with pytest.raises(UnsupportedError, match="format version 1"):
            open_table(lake, table)

    def test_changed_location(self, lake: Lake) -> None:
        table = plan(lake)
        commit_all(lake, table, [extract(lake, table, 0)])
        moved = table.model_copy(update={"location": f"{lake.settings.warehouse}/moved"})
        moved = TablePlan.model_validate(moved.model_dump())
        with pytest.raises(PlanError, match="its location is"):
            open_table(lake, moved)


class TestReset:
    def test_no_table(self, lake: Lake) -> None:
        assert reset_table(lake, plan(lake)) is False

    def test_empties_and_takes_the_new_plan(self, lake: Lake) -> None:
        old = plan(lake)
        commit_all(lake, old, [extract(lake, old, number) for number in range(3)])
        before = iceberg_table(lake, old)
        columns = (planned_column("order id", 1, "long"), planned_column("amount", 9, "double"))
        new = plan(lake, columns=columns, partitions=2)
        assert new.table_id != old.table_id
        assert reset_table(lake, new) is True
        after = iceberg_table(lake, new)
        assert len(after.metadata.metadata_log) == len(before.metadata.metadata_log) + 1
        assert after.metadata.table_uuid == before.metadata.table_uuid
        assert table_rows(lake, new) == 0
        assert partition_rows(lake, new) == {0: 0, 1: 0}
        assert after.properties["migration.table-id"] == new.table_id
        assert (
            after.properties["schema.name-mapping.default"]
            != (before.properties["schema.name-mapping.default"])
        )

    def test_commits_follow(self, lake: Lake) -> None:
        old = plan(lake)
        commit_all(lake, old, [extract(lake, old, number) for number in range(3)])
        new = plan(lake, partitions=2)
        reset_table(lake, new)
        commit_all(lake, new, [extract(lake, new, 1, rows=2)])
        assert stored_rows(lake, new) == expected_rows(new, (1, 2))
        with pytest.raises(PlanError, match="holds rows of another plan"):
            commit_all(lake, old, [extract(lake, old, 0)])

    def test_old_snapshots_stay_readable(self, lake: Lake) -> None:
        table = plan(lake)
        (receipt,) = commit_all(lake, table, [extract(lake, table, 0)])
        reset_table(lake, table)
        found = iceberg_table(lake, table)
        assert found.scan(snapshot_id=receipt.snapshot_id).count() == 10

    def test_partition_column_with_another_id(self, lake: Lake) -> None:
        old = plan(lake)
        commit_all(lake, old, [extract(lake, old, 0)])
        audit = tuple(
            column.model_copy(update={"field_id": column.field_id + 10})
            for column in old.audit_columns
        )
        new = plan(lake, audit_columns=audit)
        reset_table(lake, new)
        commit_all(lake, new, [extract(lake, new, 2)])
        commit_all(lake, new, [extract(lake, new, 2, rows=3)])
        assert stored_rows(lake, new) == expected_rows(new, (2, 3))
        assert partition_rows(lake, new)[2] == 3

    def test_not_ours(self, lake: Lake) -> None:
        table = plan(lake)
        foreign_table(lake, table)
        with pytest.raises(ExistingObjectError):
            reset_table(lake, table)
        assert iceberg_table(lake, table).scan().count() == 1

    def test_conflict_is_tried_again(self, lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
        table = plan(lake)
        commit_all(lake, table, [extract(lake, table, 0)])
        real, failures = SqlCatalog.commit_table, [CommitFailedException("somebody was first")]

        def commit_table(self: SqlCatalog, *arguments: Any) -> Any:
            if failures:
                raise failures.pop()
            return real(self, *arguments)

        monkeypatch.setattr(SqlCatalog, "commit_table", commit_table)
        assert reset_table(lake, table)
        assert table_rows(lake, table) == 0

    def test_lost_answer_does_not_reset_twice(
        self, lake: Lake, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Rows committed after the reset that was reported as a conflict must stay."""
        table = plan(lake)
        commit_all(lake, table, [extract(lake, table, 0)])
        real, calls = SqlCatalog.commit_table, []

        def commit_table(self: SqlCatalog, *arguments: Any) -> Any:
            calls.append(1)
            answer = real(self, *arguments)
            if len(calls) == 1:
                commit_all(lake, table, [extract(lake, table, 1)])
                raise CommitFailedException("conflict with itself")
            return answer

        monkeypatch.setattr(SqlCatalog, "commit_table", commit_table)
        assert reset_table(lake, table)
        assert stored_rows(lake, table) == expected_rows(table, (1, 10))


def test_commit_is_exported_where_the_assets_look() -> None:
    from migration_assets.iceberg import commit as module

    assert commit is module.commit
    assert all(hasattr(module, name) for name in module.__all__)

"""Record batches to Parquet files, on a local store."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from migration_assets.errors import ConnectionLostError
from migration_assets.iceberg.data_files import DataFileWriter, write_data_files
from migration_assets.iceberg.file_store import LocalFileStore
from migration_assets.iceberg.output_files import OutputFile, local_path
from migration_assets.plan import TablePlan
from migration_assets.type_mapping import arrow_schema
from migration_assets_tests.unit.iceberg_tables import planned_column, planned_table, rows_of

STORE = LocalFileStore()


@pytest.fixture
def table(tmp_path: Path) -> TablePlan:
    return planned_table(f"file://{tmp_path}")


def batches_of(table: TablePlan, *sizes: int) -> Iterator[pa.RecordBatch]:
    first = 0
    for size in sizes:
        yield rows_of(table, 3, size, first)
        first += size


def files_below(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def test_location_names_and_content(table: TablePlan, tmp_path: Path) -> None:
    attempt = str(uuid.uuid4())
    (file,) = write_data_files(batches_of(table, 10, 0, 5), table, 3, attempt, STORE)
    assert file.path == f"{table.location}/data/source_partition=3/{attempt}-0.parquet"
    path = local_path(file.path)
    assert (file.rows, file.bytes) == (15, path.stat().st_size)
    assert pq.read_table(path).to_pylist() == rows_of(table, 3, 15).to_pylist()
    assert len(files_below(tmp_path)) == 1


@pytest.mark.parametrize("sizes", [(), (0,), (0, 0)])
def test_no_file_for_no_rows(table: TablePlan, tmp_path: Path, sizes: tuple[int, ...]) -> None:
    assert write_data_files(batches_of(table, *sizes), table, 3, "a", STORE) == ()
    assert files_below(tmp_path) == []


def test_field_ids_compression_and_statistics(table: TablePlan) -> None:
    (file,) = write_data_files(batches_of(table, 10), table, 3, "a", STORE)
    parquet = pq.ParquetFile(local_path(file.path))
    fields = parquet.schema_arrow
    assert [int(field.metadata[b"PARQUET:field_id"]) for field in fields] == [1, 2, 3, 4, 5, 6]
    for number in range(len(fields)):
        column = parquet.metadata.row_group(0).column(number)
        assert column.compression == "ZSTD"
        assert column.statistics.has_min_max
        assert column.has_column_index
        assert column.has_offset_index
    # decimal(18, 4) as a 64-bit integer, as Iceberg's specification has it
    assert parquet.schema.column(2).physical_type == "INT64"


def test_dictionary_where_values_repeat(tmp_path: Path) -> None:
    names = ("key", "different", "repeated", "mostly_null", "all_null")
    columns = tuple(
        planned_column(name, number, "long", nullable=True, distinct=name == "key")
        for number, name in enumerate(names, 1)
    )
    table = planned_table(f"file://{tmp_path}", columns=columns, audit_columns=())
    rows = [
        {
            "key": 1,  # the plan knows better than the first rows
            "different": n,
            "repeated": n % 40,
            "mostly_null": n if n % 10 == 0 else None,
            "all_null": None,
        }
        for n in range(100)
    ]
    batch = pa.RecordBatch.from_pylist(rows, schema=arrow_schema(table))
    (file,) = write_data_files([batch], table, 0, "a", STORE)
    group = pq.ParquetFile(local_path(file.path)).metadata.row_group(0)
    encoded = [group.column(n).has_dictionary_page for n in range(group.num_columns)]
    assert encoded == [False, False, True, False, True]
    assert pq.read_table(local_path(file.path)).to_pylist() == rows


def test_only_distinct_columns(tmp_path: Path) -> None:
    columns = (planned_column("id", 1, "long", distinct=True),)
    table = planned_table(f"file://{tmp_path}", columns=columns, audit_columns=())
    batch = pa.RecordBatch.from_arrays([pa.array([1, 2])], schema=arrow_schema(table))
    (file,) = write_data_files([batch], table, 0, "a", STORE)
    group = pq.ParquetFile(local_path(file.path)).metadata.row_group(0)
    assert not group.column(0).has_dictionary_page


def test_row_groups_and_files_are_bounded_by_bytes(table: TablePlan) -> None:
    batch_bytes = rows_of(table, 3, 1000).get_total_buffer_size()
    writer = DataFileWriter(
        table,
        3,
        "a",
        arrow_schema(table),
        STORE,
        target_bytes=10_000,
        row_group_bytes=2 * batch_bytes,
    )
    with writer:
        for batch in batches_of(table, *[1000] * 9):
            writer.write(batch)
    footers = [pq.ParquetFile(local_path(file.path)).metadata for file in writer.files]
    assert len(writer.files) > 1
    for file, footer in zip(writer.files, footers, strict=True):
        assert file.rows == footer.num_rows
        assert all(footer.row_group(n).num_rows <= 2000 for n in range(footer.num_row_groups))
    assert all(file.bytes >= 10_000 for file in writer.files[:-1])
    read = [row for f in writer.files for row in pq.read_table(local_path(f.path)).to_pylist()]
    assert read == rows_of(table, 3, 9000).to_pylist()


def test_many_small_batches_are_one_row_group(table: TablePlan) -> None:
    (file,) = write_data_files(batches_of(table, *[10] * 50), table, 3, "a", STORE)
    assert pq.ParquetFile(local_path(file.path)).metadata.num_row_groups == 1


def test_an_error_removes_what_was_written(table: TablePlan, tmp_path: Path) -> None:
    writer = DataFileWriter(
        table, 3, "a", arrow_schema(table), STORE, target_bytes=1, row_group_bytes=1
    )

    def fail() -> None:
        with writer:
            for batch in batches_of(table, 10, 10):
                writer.write(batch)
            assert len(files_below(tmp_path)) == 2
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert files_below(tmp_path) == []
    assert writer.files == ()


def test_batches_that_fail_leave_no_file(table: TablePlan, tmp_path: Path) -> None:
    def lost() -> Iterator[pa.RecordBatch]:
        yield from batches_of(table, 10)
        raise ConnectionLostError("The server went away.")

    with pytest.raises(ConnectionLostError):
        write_data_files(lost(), table, 3, "a", STORE)
    assert files_below(tmp_path) == []


def test_a_store_that_fails_leaves_no_file(
    table: TablePlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when it fails at the very end, where the file would become visible."""

    def refuse(self: OutputFile) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("migration_assets.iceberg.output_files.LocalOutput._publish", refuse)
    with pytest.raises(Exception, match="nothing can be written there"):
        write_data_files(batches_of(table, 10), table, 3, "a", STORE)
    assert files_below(tmp_path) == []

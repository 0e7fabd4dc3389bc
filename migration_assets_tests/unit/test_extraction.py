"""Extraction without a server: reading ahead, conforming, and the receipt of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from datetime import UTC, date, datetime
from datetime import time as clock
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from migration_assets.assets.extractor import Extraction
from migration_assets.choices import VerificationLevel
from migration_assets.column_plan import MIGRATED_AT, SOURCE_PARTITION
from migration_assets.errors import ConnectionLostError, SchemaDriftError, UnsupportedError
from migration_assets.extraction import (
    READ_AHEAD_BATCHES,
    conformer,
    exact_cast,
    extract,
    read_ahead,
)
from migration_assets.iceberg.lake import Lake
from migration_assets.mssql.point_in_time import Standpoint
from migration_assets.plan import TablePlan
from migration_assets.receipts import DataFile, ExtractReceipt, Fingerprint
from migration_assets.type_mapping import arrow_schema
from migration_assets_tests.unit import iceberg_tables
from migration_assets_tests.unit.tables import INT, decimal, nvarchar, table_plan

NOW = datetime(2024, 5, 6, 7, 8, 9, 123456, tzinfo=UTC)
WAIT_S = 120.0


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "read-ahead"]


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


# --- read_ahead


def test_items_come_in_order_and_the_thread_ends() -> None:
    assert list(read_ahead(iter(range(100)))) == list(range(100))
    assert list(read_ahead(iter(()))) == []
    assert not threads()


def test_none_and_falsy_items_are_items() -> None:
    assert list(read_ahead(iter([None, 0, "", False]))) == [None, 0, "", False]


def test_it_reads_while_the_consumer_works_and_no_further_than_its_depth() -> None:
    fetched: list[int] = []

    def source() -> Iterator[int]:
        for number in range(20):
            fetched.append(number)
            yield number

    with closing(read_ahead(source(), depth=2)) as items:
        assert next(items) == 0
        # One is with the consumer, two wait, one is in the hand of the thread.
        wait_for(lambda: len(fetched) == 4)
        time.sleep(0.2)
        assert fetched == [0, 1, 2, 3]


def test_an_error_comes_after_the_items_before_it() -> None:
    def source() -> Iterator[int]:
        yield 1
        yield 2
        raise ConnectionLostError("gone")

    items = read_ahead(source())
    assert [next(items), next(items)] == [1, 2]
    with pytest.raises(ConnectionLostError, match="gone"):
        next(items)
    assert not threads()


def test_an_error_of_the_consumer_stops_the_thread() -> None:
    def source() -> Iterator[int]:
        number = 0
        while True:
            yield number
            number += 1

    def consume() -> None:
        with closing(read_ahead(source())) as items:
            for item in items:
                if item == 3:
                    raise ValueError("full")

    with pytest.raises(ValueError, match="full"):
        consume()
    assert not threads()


def test_closing_early_waits_for_the_item_being_fetched() -> None:
    """The connection must not be closed by the caller while the thread still reads from it."""
    reading, ended = threading.Event(), []

    def source() -> Iterator[int]:
        yield 0
        reading.set()
        time.sleep(0.3)
        ended.append(True)
        yield 1

    items = read_ahead(source())
    assert next(items) == 0
    assert reading.wait(WAIT_S)
    items.close()
    assert ended == [True]
    assert not threads()


# --- conform


@pytest.fixture
def table() -> TablePlan:
    return table_plan(
        [("id", INT), ("name", nvarchar(10)), ("price", decimal(9, 2))], key=["id"], cuts=["10"]
    )


def batch(**columns: Any) -> pa.RecordBatch:
    given: dict[str, Any] = {
        "id": pa.array([1, 2], pa.int32()),
        "name": pa.array(["a", None], pa.string()),
        "price": pa.array(["1.50", None], pa.string()).cast(pa.decimal128(9, 2)),
    } | columns
    return pa.RecordBatch.from_pydict(given)


def test_values_are_cast_and_the_audit_columns_appended(table: TablePlan) -> None:
    found = conformer(table, 1, NOW)(batch(id=pa.array([1, 2], pa.int64())))
    assert found.schema.equals(arrow_schema(table), check_metadata=True)
    assert found.to_pylist() == [
        {"id": 1, "name": "a", "price": pa.scalar("1.50").cast(pa.decimal128(9, 2)).as_py(),
         "migrated_at": NOW, "source_schema": "dbo", "source_partition": 1},
        {"id": 2, "name": None, "price": None,
         "migrated_at": NOW, "source_schema": "dbo", "source_partition": 1},
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"id": pa.array([1, 2**40], pa.int64())}, "column id came as int64"),
        ({"name": pa.array([b"\xff", b"a"], pa.binary())}, "column name came as binary"),
        ({"price": pa.array(["1.5", "x"], pa.string())}, "column price came as string"),
        (
            {"price": pa.array(["1.255", "2"]).cast(pa.decimal128(9, 3))},
            r"came as decimal128\(9, 3",
        ),
        ({"id": pa.array([[1], [2]])}, "column id came as list"),
        ({"price": pa.array([1.255, 2.0])}, "column price came as double"),
        ({"id": pa.array([1.0, 2.0])}, "column id came as double"),
        ({"id": pa.array([1, None], pa.int32())}, "column id is planned NOT NULL but has NULLs"),
    ],
)
def test_values_that_do_not_fit_are_refused(
    table: TablePlan, changed: dict[str, Any], said: str
) -> None:
    with pytest.raises(SchemaDriftError, match=said) as raised:
        conformer(table, 0, NOW)(batch(**changed))
    assert "dbo.t" in raised.value.found
    assert "migration-assets plan" in raised.value.next_step


US = pa.timestamp("us")
MOMENT = datetime(2024, 5, 6, 7, 8, 9, 123456)


@pytest.mark.parametrize(
    ("values", "target", "expected"),
    [
        (pa.array(["a", None]), pa.large_string(), ["a", None]),
        (pa.array([b"a"], pa.binary(1)), pa.large_binary(), [b"a"]),
        (pa.array([255], pa.uint8()), pa.int32(), [255]),
        (pa.array([-7], pa.int16()), pa.int32(), [-7]),
        (pa.array([1.5], pa.float32()), pa.float64(), [1.5]),
        (pa.array(["1.25"]).cast(pa.decimal128(5, 2)), pa.decimal128(38, 4), [Decimal("1.2500")]),
        (pa.array([MOMENT], US), pa.timestamp("us", "UTC"), [MOMENT.replace(tzinfo=UTC)]),
        (pa.array([MOMENT], pa.timestamp("us", "UTC")), US, [MOMENT]),
        (pa.array([MOMENT], pa.timestamp("us", "Europe/Berlin")), US, [MOMENT]),
        (pa.array([5], pa.timestamp("ms")), US, [datetime(1970, 1, 1, microsecond=5000)]),
        (pa.array([date(2024, 5, 6)], pa.date64()), pa.date32(), [date(2024, 5, 6)]),
        (pa.array([1, None], pa.timestamp("us", "UTC")), pa.time64("us"), [clock(0, 0, 0, 1), None]),
        (pa.nulls(2), pa.decimal128(9, 2), [None, None]),
    ],
    ids=str,
)  # fmt: skip
def test_a_cast_within_a_kind_keeps_every_value(
    values: pa.Array, target: pa.DataType, expected: list[Any]
) -> None:
    found = exact_cast(values, target)
    assert found.type == target
    assert found.to_pylist() == expected


@pytest.mark.parametrize(
    ("values", "target"),
    [
        # Arrow's own checked cast lets these pass, rounded, cut or read as something else.
        (pa.array([1.255]), pa.decimal128(9, 2)),
        (pa.array([0.1]), pa.float32()),
        (pa.array([MOMENT], US), pa.date32()),
        (pa.array([MOMENT], US), pa.time64("us")),
        (pa.array(["2024-05-06"]), pa.date32()),
        (pa.array([5]), pa.bool_()),
        (pa.array([5]), US),
        (pa.array([b"a"]), pa.large_string()),
        # These it refuses by itself.
        (pa.array([2**31]), pa.int32()),
        (pa.array([1001], pa.timestamp("ns")), US),
        (pa.array(["1.255"]).cast(pa.decimal128(9, 3)), pa.decimal128(9, 2)),
        (pa.array([86_400_001]).cast(pa.date64()), pa.date32()),
    ],
    ids=str,
)
def test_a_cast_that_could_change_a_value_is_refused(values: pa.Array, target: pa.DataType) -> None:
    with pytest.raises(pa.ArrowInvalid):
        exact_cast(values, target)


def test_what_has_its_planned_type_is_not_touched(table: TablePlan) -> None:
    given = batch(name=pa.array(["a", None], pa.large_string()))
    found = conformer(table, 0, NOW)(given)
    for name in given.schema.names:
        addresses = [
            [buffer and buffer.address for buffer in one.column(name).buffers()]
            for one in (given, found)
        ]
        assert addresses[0] == addresses[1]


@pytest.mark.parametrize(
    "names", [["id", "name"], ["id", "price", "name"], ["ID", "name", "price"]]
)
def test_other_columns_than_planned_are_refused(table: TablePlan, names: list[str]) -> None:
    columns = [pa.array([1], pa.int32())] * len(names)
    with pytest.raises(SchemaDriftError, match="gave columns"):
        conformer(table, 0, NOW)(pa.RecordBatch.from_arrays(columns, names=names))


# --- extract


class Source:
    """Batches given by the test; notes when the server was asked for its fingerprint."""

    consistency = "snapshot"
    replacement = "\ufffd"

    def __init__(
        self,
        *batches: pa.RecordBatch,
        error: Exception | None = None,
        invalid: Exception | None = None,
    ) -> None:
        self.given = batches
        self.error = error
        self.invalid = invalid
        self.doubtful: list[str] = []
        self.read = 0
        self.asked_after: int | None = None

    def batches(self) -> Iterator[pa.RecordBatch]:
        for one in self.given:
            self.read += 1
            yield one
        if self.error is not None:
            raise self.error

    def refuse_invalid_text(self, columns: Sequence[str]) -> Sequence[str]:
        self.doubtful.extend(columns)
        if self.invalid is not None:
            raise self.invalid
        return ()

    def fingerprint(self) -> Fingerprint:
        self.asked_after = self.read
        return Fingerprint(rows=sum(one.num_rows for one in self.given))


def keep(
    written: list[pa.RecordBatch],
) -> Callable[[Iterable[pa.RecordBatch]], tuple[DataFile, ...]]:
    def write(batches: Iterable[pa.RecordBatch]) -> tuple[DataFile, ...]:
        written.extend(batches)
        return ()

    return write


def extracted(
    table: TablePlan,
    source: Source,
    write: Callable[[Iterable[pa.RecordBatch]], tuple[DataFile, ...]],
    level: VerificationLevel = VerificationLevel.FULL,
) -> ExtractReceipt:
    return extract(table, "p001", source, write, attempt="a1", run_id="r1", level=level)


def test_the_receipt_says_what_was_read(table: TablePlan) -> None:
    written: list[pa.RecordBatch] = []
    source = Source(batch(), batch(id=pa.array([3, 4], pa.int32())))
    before = datetime.now(UTC)
    found = extracted(table, source, keep(written))
    assert (found.table_id, found.partition_key, found.source_partition) == (
        table.table_id, "p001", 1,
    )  # fmt: skip
    assert (found.attempt, found.run_id, found.consistency) == ("a1", "r1", "snapshot")
    assert found.rows == 4 == sum(one.num_rows for one in written)
    assert found.fingerprint is not None
    assert found.fingerprint.values["id.sum"] == 1 + 2 + 3 + 4
    assert found.fingerprint.values["name.count"] == 2
    assert source.asked_after == 2
    moments = {value for one in written for value in one.column(MIGRATED_AT).to_pylist()}
    assert moments == {found.extracted_at}
    assert before <= found.extracted_at <= datetime.now(UTC)
    partitions = {value for one in written for value in one.column(SOURCE_PARTITION).to_pylist()}
    assert partitions == {1}


def test_an_empty_range_is_a_receipt_without_rows(table: TablePlan) -> None:
    found = extracted(table, Source(), keep([]))
    assert (found.rows, found.files) == (0, ())


def test_counting_only_measures_nothing_else(table: TablePlan) -> None:
    found = extracted(table, Source(batch()), keep([]), VerificationLevel.COUNT)
    assert found.fingerprint == Fingerprint(rows=2)


def test_an_error_of_the_source_reaches_the_writer_and_the_caller(table: TablePlan) -> None:
    """The writer must see it, to leave no file behind."""
    seen: list[BaseException] = []

    def write(batches: Iterable[pa.RecordBatch]) -> tuple[DataFile, ...]:
        try:
            list(batches)
        except ConnectionLostError as error:
            seen.append(error)
            raise
        return ()

    with pytest.raises(ConnectionLostError, match="gone"):
        extracted(table, Source(batch(), error=ConnectionLostError("gone")), write)
    assert len(seen) == 1
    assert not threads()


def test_an_error_of_the_writer_stops_the_reading(table: TablePlan) -> None:
    source = Source(*[batch()] * 50)

    def write(batches: Iterable[pa.RecordBatch]) -> tuple[DataFile, ...]:
        next(iter(batches))
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        extracted(table, source, write)
    assert source.read <= READ_AHEAD_BATCHES + 3
    assert source.asked_after is None
    assert not threads()


# --- invalid text


@pytest.mark.parametrize(
    ("texts", "asked"),
    [
        (["plain", None], []),
        (["Grüße", "日本 ﷽ 😀"], []),
        (["ok", "a\ufffdb"], ["name"]),
        (["\ufffd", "\ufffd"], ["name"]),
    ],
)
def test_the_server_is_asked_where_a_reader_may_have_replaced_something(
    table: TablePlan, texts: list[str | None], asked: list[str]
) -> None:
    source = Source(batch(), batch(name=pa.array(texts, pa.large_string())))
    extracted(table, source, keep([]), VerificationLevel.NONE)
    assert source.doubtful == asked


def test_invalid_text_fails_within_the_writer_s_reach(table: TablePlan) -> None:
    seen: list[BaseException] = []

    def write(batches: Iterable[pa.RecordBatch]) -> tuple[DataFile, ...]:
        try:
            list(batches)
        except UnsupportedError as error:
            seen.append(error)
            raise
        return ()

    texts = pa.array(["\ufffd", None], pa.large_string())
    source = Source(batch(name=texts), invalid=UnsupportedError("name is no text"))
    with pytest.raises(UnsupportedError, match="no text"):
        extracted(table, source, write)
    assert len(seen) == 1


def test_a_column_in_which_it_is_accepted_is_not_asked_about(table: TablePlan) -> None:
    columns = tuple(column.model_copy(update={"utf16": False}) for column in table.columns)
    source = Source(batch(name=pa.array(["\ufffd", None], pa.large_string())))
    extracted(table.model_copy(update={"columns": columns}), source, keep([]))
    assert source.doubtful == []


def test_each_attempt_has_files_of_its_own(lake: Lake) -> None:
    planned = iceberg_tables.planned_table(lake.settings.warehouse)
    extraction = Extraction(planned, "r1", VerificationLevel.COUNT, Standpoint(snapshot=True), 100)
    rows = iceberg_tables.rows_of(planned, 1, 3)
    found = [
        extraction.write(lake, "p001", Source(rows.select(["order id", "name", "amount"])))
        for _ in range(2)
    ]
    paths = [file.path for receipt in found for file in receipt.files]
    assert len(set(paths)) == 2
    assert {receipt.rows for receipt in found} == {3}
    assert [lake.store.exists(path) for path in paths] == [True, True]

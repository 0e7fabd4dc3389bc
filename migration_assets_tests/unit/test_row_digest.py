"""Row digests and the comparison built on them: what they see, whatever the order of the rows."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Sequence
from contextlib import nullcontext
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from migration_assets import row_comparison, row_digest
from migration_assets.errors import UnsupportedError
from migration_assets.plan import TablePlan
from migration_assets.row_comparison import RowComparison, compare_rows
from migration_assets.row_digest import ComparedColumns, RowDigest, RowHasher
from migration_assets.schema import MssqlType
from migration_assets.type_mapping import arrow_type
from migration_assets_tests.unit.tables import BIGINT, INT, decimal, nvarchar, table_plan

KINDS = {
    "flag": MssqlType("bit", 1),
    "number": BIGINT,
    "price": decimal(38, 4),
    "ratio": MssqlType("float", 8, 53, 0),
    "small": MssqlType("real", 4, 24, 0),
    "day": MssqlType("date", 3),
    "moment": MssqlType("datetime2", 8, 26, 6),
    "name": nvarchar(40),
    "raw": MssqlType("varbinary", 8),
}
TABLE = table_plan([("id", INT), *KINDS.items()], key=["id"])
HEAP = table_plan([("id", INT), *KINDS.items()])
VALUES = {
    "flag": True,
    "number": 2**62,
    "price": Decimal("-1234567890123456789012345678901234.5678"),
    "ratio": 0.1,
    "small": 0.5,
    "day": dt.date(1, 1, 1),
    "moment": dt.datetime(1955, 6, 1, 12, 0, 0, 1),
    "name": "Zoë",
    "raw": b"\0\xff",
}
CHANGED = {
    "flag": False,
    "number": 2**62 + 1,
    "price": Decimal("-1234567890123456789012345678901234.5679"),
    "ratio": float(np.nextafter(0.1, 1)),
    "small": float(np.nextafter(np.float32(0.5), np.float32(1))),
    "day": dt.date(1, 1, 2),
    "moment": dt.datetime(1955, 6, 1, 12, 0, 0, 2),
    "name": "Zoé",
    "raw": b"\0\xfe",
}
EMPTY = {"name": "", "raw": b"", "number": 0, "ratio": 0.0, "flag": False}

Row = dict[str, Any]


def rows(count: int = 100) -> list[Row]:
    return [{"id": number, **VALUES} for number in range(count)]


def batches(given: Sequence[Row], table: TablePlan = TABLE, size: int = 33) -> list[pa.RecordBatch]:
    """The rows in batches that begin in the middle of longer arrays."""
    schema = pa.schema([(c.name, arrow_type(c.iceberg_type)) for c in table.columns])
    whole = pa.RecordBatch.from_pylist(list(given), schema)
    return [whole.slice(start, size) for start in range(0, len(given), size)]


def compared(right: Sequence[Row], wrong: Sequence[Row], table: TablePlan = TABLE) -> RowComparison:
    return compare_rows(
        ComparedColumns.of(table, loaded=True),
        lambda: nullcontext(batches(right, table)),
        lambda: nullcontext(batches(wrong, table, 20)),
    )


def with_value(given: list[Row], position: int, **values: Any) -> list[Row]:
    changed = [dict(row) for row in given]
    changed[position] |= values
    return changed


@pytest.mark.parametrize("table", [TABLE, HEAP], ids=["key", "no key"])
def test_equal_rows_are_equal_in_any_order_and_batches(table: TablePlan) -> None:
    right = [*rows(), {"id": 100, **dict.fromkeys(VALUES)}]
    wrong = random.Random(1).sample(right, len(right))
    assert compared(right, wrong, table) == RowComparison(101, 101)


@pytest.mark.parametrize("column", CHANGED)
def test_a_changed_value_is_named_with_its_key_and_both_values(column: str) -> None:
    found = compared(rows(), with_value(rows(), 42, **{column: CHANGED[column]}))
    (difference,) = found.differences
    assert (found.keys, difference.row, difference.column) == (1, "id 42", column)
    assert difference.expected != difference.found
    assert difference.found in found.describe()


@pytest.mark.parametrize("column", VALUES)
def test_null_differs_from_a_value_and_from_an_empty_one(column: str) -> None:
    for value in {VALUES[column], EMPTY.get(column, VALUES[column])}:
        right = with_value(rows(3), 1, **{column: value})
        (difference,) = compared(right, with_value(right, 1, **{column: None})).differences
        assert (difference.column, difference.found) == (column, "NULL")


def test_values_are_shown_as_they_are() -> None:
    changed = with_value(rows(2), 0, **CHANGED)
    shown = {d.column: (d.expected, d.found) for d in compared(rows(2), changed).differences}
    assert shown["number"] == ("4611686018427387904", "4611686018427387905")
    assert shown["ratio"] == ("0.1", "0.10000000000000002")
    later = compared(
        with_value(rows(1), 0, name="x" * 200), with_value(rows(1), 0, name="y", raw=None)
    )
    assert {d.column: (d.expected, d.found) for d in later.differences} == {
        "name": (f"'{'x' * 80}'… (200 characters)", "'y'"),
        "raw": ("0x00ff", "NULL"),
    }


def test_zeros_of_both_signs_differ_and_all_nans_are_alike() -> None:
    zeros = [with_value(rows(1), 0, ratio=value) for value in (0.0, -0.0)]
    (difference,) = compared(*zeros).differences
    assert (difference.expected, difference.found) == ("0.0", "-0.0")
    quiet, other = np.array([0x7FF8000000000000, 0xFFF8000000000001], np.uint64).view(np.float64)
    hasher = RowHasher(ComparedColumns.of(table_plan([("ratio", KINDS["ratio"])]), loaded=True))
    hashes = [
        hasher.hashes(pa.RecordBatch.from_arrays([pa.array(np.array([nan]))], ["ratio"])).rows
        for nan in (quiet, other)
    ]
    assert hashes[0] == hashes[1]


def test_a_lost_a_doubled_and_a_new_row_are_told_apart() -> None:
    right = rows()
    wrong = [*right[:7], *right[8:], right[9], {"id": 500, **VALUES}]
    found = compared(right, wrong)
    assert (found.expected, found.found, found.keys) == (100, 101, 3)
    assert {d.describe() for d in found.differences} == {
        "id 7: the row is missing",
        "id 9: the row is there 2 times, expected 1",
        "id 500: the row is not in the source",
    }


@pytest.mark.parametrize("buckets", [1, row_digest.BUCKETS], ids=["same bucket", "usual"])
def test_values_that_two_rows_exchange_are_found(
    buckets: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row_digest, "BUCKETS", buckets)
    right = with_value(rows(), 1, name="first")
    right = with_value(right, 2, name="other")
    wrong = with_value(with_value(right, 1, name="other"), 2, name="first")
    assert {(d.row, d.found) for d in compared(right, wrong).differences} == {
        ("id 1", "'other'"),
        ("id 2", "'first'"),
    }


def test_values_that_two_columns_exchange_are_found() -> None:
    table = table_plan([("id", INT), ("a", INT), ("b", INT)], key=["id"])
    found = compared([{"id": 1, "a": 2, "b": 3}], [{"id": 1, "a": 3, "b": 2}], table)
    assert [(d.column, d.expected, d.found) for d in found.differences] == [
        ("a", "2", "3"),
        ("b", "3", "2"),
    ]


def test_without_a_key_rows_are_named_as_a_whole() -> None:
    table = table_plan([("a", INT), ("b", nvarchar(5))])
    right = [{"a": 1, "b": "x"}] * 5 + [{"a": 2, "b": None}]
    wrong = [{"a": 1, "b": "x"}] * 3 + [{"a": 2, "b": None}] + [{"a": 1, "b": "z"}]
    assert {d.describe() for d in compared(right, wrong, table).differences} == {
        "a 1, b 'x': the row is there 3 times, expected 5",
        "a 1, b 'z': the row is not in the source",
    }


def test_a_key_of_several_columns_of_any_kind_names_the_row() -> None:
    table = table_plan([("a", nvarchar(9)), ("b", decimal(5, 2)), ("c", INT)], key=["b", "a"])
    right = [{"a": f"k{n % 7}", "b": Decimal(n // 7), "c": n} for n in range(70)]
    wrong = [{**row, "c": 0} if row["c"] == 50 else row for row in right]
    (difference,) = compared(right, wrong, table).differences
    assert difference.describe() == "a 'k1', b 7.00: c is 0, expected 50"


def test_only_so_many_differences_are_named_but_all_are_counted() -> None:
    found = compared(rows(2000), [{**row, "number": 1} for row in rows(2000)])
    assert len(found.differences) == row_comparison.NAMED
    # 2,000 keys in 65,536 buckets: some share one, so it is "at least".
    assert 1900 < found.keys <= 2000


def test_rows_that_cannot_be_kept_are_counted_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_comparison, "KEPT_ROWS", 0)
    found = compared(rows(), with_value(rows(), 5, number=0))
    assert (found.keys, found.differences) == (1, ())
    assert "at least 1 row differs; which ones is open" in found.describe()


def test_what_is_equal_at_the_second_look_is_equal() -> None:
    """A load that became visible, or a source that was written to, between the two."""
    looks = iter([with_value(rows(), 5, number=0), rows()])
    found = compare_rows(
        ComparedColumns.of(TABLE, loaded=True),
        lambda: nullcontext(batches(rows())),
        lambda: nullcontext(batches(next(looks))),
    )
    assert found.equal


def test_columns_that_starrocks_does_not_have_are_left_out() -> None:
    plain = table_plan([("id", INT), ("name", nvarchar(5))], key=["id"])
    columns = (plain.columns[0], plain.columns[1].model_copy(update={"starrocks_type": ""}))
    table = plain.model_copy(update={"columns": columns})
    assert [c.name for c in ComparedColumns.of(table, loaded=True).all] == ["id"]
    assert [c.name for c in ComparedColumns.of(table, loaded=False).all] == ["id", "name"]
    keyed_by_it = table.model_copy(update={"primary_key": ("id", "name")})
    assert ComparedColumns.of(keyed_by_it, loaded=True).key == ()


def test_every_byte_counts_and_what_is_no_text_is_no_error() -> None:
    table = table_plan([("id", INT), ("name", nvarchar(5))], key=["id"])

    def side(text: bytes) -> list[pa.RecordBatch]:
        texts = pa.array([text], pa.large_binary()).cast(pa.large_string(), safe=False)
        return [pa.RecordBatch.from_arrays([pa.array([1], pa.int32()), texts], ["id", "name"])]

    found = compare_rows(
        ComparedColumns.of(table, loaded=True),
        lambda: nullcontext(side("ü".encode())),
        lambda: nullcontext(side(b"\xfc")),
    )
    assert found.differences[0].describe() == r"id 1: name is '\\xfc', expected 'ü'"


def test_digests_do_not_collide_on_small_integers() -> None:
    """Poorly mixed ones would: 1 and 2 against 2 and 1, or all in a few buckets."""
    table = table_plan([("a", INT), ("b", INT)])
    hasher = RowHasher(ComparedColumns.of(table, loaded=True))
    grid = [{"a": a, "b": b} for a in range(300) for b in range(300)]
    (batch,) = batches(grid, table, len(grid))
    hashes = hasher.hashes(batch)
    assert len(np.unique(hashes.rows)) == len(grid)
    digest = RowDigest()
    digest.add(hashes)
    assert digest.rows == len(grid)
    # Spread evenly: no bucket holds many more than the 1.4 of the mean.
    assert digest.counts.max() < 15


def test_an_arrow_type_that_no_table_has_is_refused() -> None:
    table = table_plan([("id", INT)])
    batch = pa.RecordBatch.from_arrays([pa.array([[1]])], ["id"])
    with pytest.raises(UnsupportedError, match="list"):
        RowHasher(ComparedColumns.of(table, loaded=True)).hashes(batch)

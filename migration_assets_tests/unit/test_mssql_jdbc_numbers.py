"""Dates and times as numbers: the query that asks for them, and what Arrow makes of them."""

from __future__ import annotations

import datetime

import pyarrow as pa
import pytest

from migration_assets.mssql.jdbc_numbers import from_numbers, numbered
from migration_assets.schema import MssqlType
from migration_assets_tests.unit.tables import INT, table_plan

DATE = MssqlType("date")
STAMP = MssqlType("datetime2", scale=7)
ZONED = MssqlType("datetimeoffset", scale=3)
PLAN = table_plan([("id", INT), ("day", DATE), ("at", STAMP), ("instant", ZONED)], key=["id"])


def batch(days: pa.Array, moments: pa.Array) -> pa.RecordBatch:
    numbers = [pa.array(range(len(days)), pa.int32()), days, moments, moments]
    return pa.RecordBatch.from_arrays(numbers, names=["id", "day", "at", "instant"])


def test_only_dates_and_times_are_asked_for_as_numbers() -> None:
    instant = "CAST(SWITCHOFFSET([instant], '+00:00') AS datetime2(7))"
    assert [numbered(column) for column in PLAN.columns] == [
        "[id]",
        "DATEDIFF(day, '1970-01-01', [day])",
        "DATEDIFF_BIG(microsecond, '1970-01-01', [at])",
        f"DATEDIFF_BIG(microsecond, '1970-01-01', {instant})",
    ]


def test_it_is_the_planned_expression_that_is_numbered() -> None:
    (column,) = table_plan([("a{c}", MssqlType("datetime"))]).columns
    assert numbered(column) == (
        "DATEDIFF_BIG(microsecond, '1970-01-01', CAST([a{c}] AS datetime2(3)))"
    )


def test_the_numbers_are_the_dates_and_moments_of_the_proleptic_calendar() -> None:
    first, last = -719162, 2932896
    moments = [first * 86_400_000_000, -1, None, last * 86_400_000_000 + 86_399_999_999]
    read = from_numbers(
        batch(pa.array([first, -141432, None, last], pa.int32()), pa.array(moments, pa.int64())),
        PLAN,
    )
    assert read["id"].to_pylist() == [0, 1, 2, 3]
    assert read["day"].to_pylist() == [
        datetime.date(1, 1, 1), datetime.date(1582, 10, 10), None, datetime.date(9999, 12, 31),
    ]  # fmt: skip
    expected = [
        datetime.datetime(1, 1, 1),
        datetime.datetime(1969, 12, 31, 23, 59, 59, 999_999),
        None,
        datetime.datetime(9999, 12, 31, 23, 59, 59, 999_999),
    ]
    assert read["at"].to_pylist() == expected
    assert read["instant"].type == pa.timestamp("us", "UTC")
    assert read["instant"].cast(pa.timestamp("us")).to_pylist() == expected


@pytest.mark.parametrize(
    ("days", "moments"),
    [
        (pa.array([0], pa.date32()), pa.array([0], pa.int64())),
        (pa.array([0], pa.int64()), pa.array([0], pa.int64())),
        (pa.array([0], pa.int32()), pa.array([0], pa.timestamp("us"))),
        (pa.array([0], pa.int32()), pa.array([0], pa.int32())),
    ],
)
def test_what_did_not_come_as_a_number_is_refused(days: pa.Array, moments: pa.Array) -> None:
    with pytest.raises(pa.ArrowInvalid, match="not as numbers"):
        from_numbers(batch(days, moments), PLAN)

"""Cuts along SQL Server's own partition functions: each value in one range, whole partitions each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import duckdb
import pytest
import sqlglot
from hypothesis import given, settings
from hypothesis import strategies as st

from migration_assets.key_distribution import Histogram, KeyPoint, Step, walked_cuts
from migration_assets.key_range import KeyRange
from migration_assets.partition_function import (
    along,
    by_histogram,
    large_parts,
    parts,
    range_of,
    unusable,
)
from migration_assets.partitioning import cut_ranges, predicate, range_rows
from migration_assets.schema import (
    Cut,
    MssqlType,
    PartitionFunction,
)

INT = MssqlType("int", 4, 10)
DATE = MssqlType("date", 3)
MOMENT = MssqlType("datetime", 8, 23, 3)
WIDE = MssqlType("nvarchar", 80, collation="Latin1_General_BIN2")
BYTES = MssqlType("varbinary", 8)
FLOAT = MssqlType("float", 8, 53)
_SETTINGS = settings(max_examples=50, deadline=None)


def partition_of(value: Any, boundaries: Sequence[Any], *, on_right: bool) -> int:
    """`$PARTITION`, written out: NULL is below all values.

    RIGHT: as many boundaries as are not above the value; LEFT: as many as are below it. So NULL is
    in the first partition, unless NULL is a boundary and the range RIGHT.
    """

    def place(one: Any) -> tuple[bool, Any]:
        return (one is not None, one)

    below = [
        place(boundary) < place(value) or (on_right and boundary == value)
        for boundary in boundaries
    ]
    return 1 + sum(below)


def rows_of(values: Sequence[Any], boundaries: Sequence[Any], *, on_right: bool) -> tuple[int, ...]:
    numbers = [partition_of(value, boundaries, on_right=on_right) for value in values]
    return tuple(numbers.count(i + 1) for i in range(len(boundaries) + 1))


def function_of(
    values: Sequence[Any], boundaries: Sequence[Any], *, on_right: bool, text: Any = str
) -> PartitionFunction:
    return PartitionFunction(
        "pf",
        "a",
        on_right=on_right,
        boundaries=tuple(None if b is None else text(b) for b in boundaries),
        rows=rows_of(values, boundaries, on_right=on_right),
    )


@cache
def duck() -> duckdb.DuckDBPyConnection:
    return duckdb.connect(config={"threads": 1})


def where(ranges: Sequence[KeyRange], values: Sequence[Any], *kinds: str) -> list[list[int]]:
    """For each row the numbers of the ranges that it is in, as DuckDB says."""
    if not values:
        return []
    rows = [value if isinstance(value, tuple) else (value,) for value in values]
    marks = ", ".join("?" * (len(kinds) + 1))
    listed = ", ".join(f"({marks})" for _ in rows)
    casts = ", ".join(f"{name}::{kind} AS {name}" for name, kind in zip("ab", kinds, strict=False))
    conditions = [
        sqlglot.transpile(predicate(r) or "1 = 1", "tsql", "duckdb")[0].replace("'0x", "'\\x")
        for r in ranges
    ]
    flags = ", ".join(f"coalesce({condition}, FALSE)" for condition in conditions)
    names = ", ".join("ab"[: len(kinds)])
    found = duck().execute(
        f"SELECT {flags} FROM (SELECT row, {casts} FROM (VALUES {listed}) AS v(row, {names})) "
        "ORDER BY row",
        [cell for number, row in enumerate(rows) for cell in (number, *row)],
    )
    return [[i for i, is_in in enumerate(row) if is_in] for row in found.fetchall()]


def boundaries_of(values: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    """Sorted different values, NULL first if it is one."""
    return st.tuples(st.booleans(), st.lists(values, max_size=12, unique=True)).map(
        lambda found: [*([None] if found[0] else []), *sorted(found[1])]
    )


_INTS = st.integers(-20, 20)
_TEXTS = st.text("ab'", min_size=1, max_size=3)
_BYTES = st.binary(min_size=1, max_size=3)
_TICKS = st.integers(0, 900).map(  # datetime has 300 steps a second
    lambda tick: f"2024-02-29T10:00:{tick // 300:02d}.{round(tick % 300 * 10 / 3):03d}"
)
KINDS: dict[str, tuple[MssqlType, str, st.SearchStrategy[Any], Any]] = {
    "int": (INT, "INTEGER", _INTS, str),
    "datetime": (MOMENT, "VARCHAR", _TICKS, str),
    "nvarchar": (WIDE, "VARCHAR", _TEXTS, lambda value: value.encode("utf-16-le").hex()),
    "varbinary": (BYTES, "BLOB", _BYTES, lambda value: value.hex()),
}


@pytest.mark.parametrize("kind", KINDS)
@_SETTINGS
@given(data=st.data())
def test_each_value_is_in_one_range_of_whole_partitions(kind: str, data: st.DataObject) -> None:
    mssql_type, duckdb_type, strategy, text = KINDS[kind]
    boundaries = data.draw(boundaries_of(strategy))
    values = data.draw(st.lists(st.one_of(st.none(), strategy), max_size=40))
    on_right = data.draw(st.booleans())
    wanted = data.draw(st.sampled_from([8, 16, 32]))
    function = function_of(values, boundaries, on_right=on_right, text=text)
    assert unusable(function, mssql_type) == ""
    ranges, _ = cut_ranges(along(function, mssql_type), wanted)
    assert len(ranges) <= wanted
    later = [*values, *boundaries, None]
    found = where(ranges, later, duckdb_type)
    assert {len(one) for one in found} == {1}
    range_of_partition: dict[int, int] = {}
    for value, (number,) in zip(later, found, strict=True):
        partition = partition_of(value, boundaries, on_right=on_right)
        assert range_of_partition.setdefault(partition, number) == number or (
            # Only NULL's own partition and the next one are one part, whatever is in them.
            boundaries[:1] == [None] and partition <= 2
        )
    in_order = [range_of_partition[partition] for partition in sorted(range_of_partition)]
    assert in_order == sorted(in_order)
    estimated = range_rows(ranges, along(function, mssql_type))
    if len(ranges) > 1:
        counted = [number for (number,) in found[: len(values)]]
        assert list(estimated) == [counted.count(i) for i in range(len(ranges))]


@_SETTINGS
@given(
    boundaries_of(_INTS),
    st.lists(st.one_of(st.none(), _INTS), min_size=1, max_size=60),
    st.lists(_INTS, min_size=1, max_size=60),
    st.booleans(),
    st.sampled_from([8, 16]),
)
def test_a_histogram_that_lies_costs_balance_and_no_row(
    boundaries: list[int | None],
    values: list[int | None],
    others: list[int],
    on_right: bool,
    wanted: int,
) -> None:
    function = function_of(values, boundaries, on_right=on_right)
    marks = sorted(set(others))
    steps = tuple(Step(str(mark), 3.0, float(others.count(mark))) for mark in marks)
    found = by_histogram(function, Histogram(INT, steps), wanted)
    assert found is not None
    ranges, _ = cut_ranges(found, wanted)
    later = [*values, *boundaries, None, -(2**31), 2**31 - 1]
    assert {len(one) for one in where(ranges, later, "INTEGER")} == {1}


@_SETTINGS
@given(
    boundaries_of(_INTS),
    st.lists(st.tuples(_INTS, st.integers(0, 5)), min_size=1, max_size=60),
    st.booleans(),
    st.sampled_from([8, 16]),
)
def test_large_partitions_are_divided_by_walks_inside_them(
    boundaries: list[int | None],
    rows: list[tuple[int, int]],
    on_right: bool,
    wanted: int,
) -> None:
    function = function_of([a for a, _ in rows], boundaries, on_right=on_right)
    inside = {}
    for number, part in large_parts(function, wanted).items():
        condition = where([range_of(function, part, INT)], [a for a, _ in rows], "INTEGER")
        within = sorted(row for row, found in zip(rows, condition, strict=True) if found)
        assert len(within) == part.rows
        points = [
            KeyPoint(
                (str(row[0]), str(row[1])),
                (sum(other[0] < row[0] for other in within), within.index(row)),
            )
            for row in within
        ]
        inside[number] = walked_cuts(points, (INT, INT))
    found = along(function, INT, columns=("a", "b"), inside=inside)
    ranges, uneven = cut_ranges(found, wanted)
    ends = [(-(2**31), 0), (2**31 - 1, 0)]
    assert {len(one) for one in where(ranges, [*rows, *ends], "INTEGER", "INTEGER")} == {1}
    if len(set(rows)) == len(rows) and len(ranges) == wanted:
        assert uneven <= 1 + wanted / len(rows)  # nothing but the last row of a range is too much


def test_null_as_a_boundary_parts_nothing() -> None:
    """RIGHT: the first partition is empty. LEFT: NULL goes with the partition after."""
    right = PartitionFunction("pf", "a", True, (None, "5"), (0, 3, 4))
    left = PartitionFunction("pf", "a", False, (None, "5"), (2, 3, 4))
    assert [part.rows for part in parts(right)] == [3, 4]
    assert [part.rows for part in parts(left)] == [5, 4]
    assert along(right, INT).cuts == (Cut(("5",), 3),)
    assert along(left, INT).cuts == (Cut(("5",), 5, after=True),)


def test_ranges_are_plain_comparisons_that_partitions_are_eliminated_by() -> None:
    boundaries = ("2024-01-31", "2024-02-29")
    left = PartitionFunction("pf", "d", False, boundaries, (4, 4, 4))
    assert [predicate(r) for r in cut_ranges(along(left, DATE), 8)[0]] == [
        "([d] <= '2024-01-31' OR [d] IS NULL)",
        "[d] > '2024-01-31' AND [d] <= '2024-02-29'",
        "[d] > '2024-02-29'",
    ]
    right = replace(left, on_right=True)
    assert [predicate(r) for r in cut_ranges(along(right, DATE), 8)[0]] == [
        "([d] < '2024-01-31' OR [d] IS NULL)",
        "[d] >= '2024-01-31' AND [d] < '2024-02-29'",
        "[d] >= '2024-02-29'",
    ]


def test_small_partitions_are_put_together_and_empty_ones_make_no_range() -> None:
    months = tuple(f"20{year:02d}-{month:02d}-01" for year in range(10) for month in range(1, 13))
    rows = (0, *(100 for _ in range(60)), *(0 for _ in range(60)))
    found = along(PartitionFunction("pf", "d", True, months, rows), DATE)
    ranges, uneven = cut_ranges(found, 8)
    assert (len(ranges), sum(range_rows(ranges, found))) == (8, 6000)
    assert uneven <= 8 / 60 * 8
    assert ranges[-1].lower is not None
    assert ranges[-1].lower < "'2005-01-01'"


def test_older_plans_have_nothing_new_in_them() -> None:
    key_range = KeyRange(source_partition=1, column="a", lower="1", upper="2")
    assert set(key_range.model_dump()) == {"source_partition", "column", "lower", "upper"}
    assert key_range.identity == [1, "a", "1", "2"]
    after = key_range.model_copy(update={"lower_after": True})
    assert after.identity != key_range.identity
    assert KeyRange.model_validate_json(after.model_dump_json()) == after


@pytest.mark.parametrize(
    ("boundaries", "rows", "kind", "reason"),
    [
        (("1", "2"), (1, 2), INT, "do not fit"),
        (("2", "1"), (1, 2, 3), INT, "not in the order"),
        (("1", None), (1, 2, 3), INT, "no value"),
        (("x",), (1, 2), INT, "no value"),
        ((None, "1"), (1, 2, 3), INT, ""),
    ],
)
def test_boundaries_that_cannot_be_trusted_are_not_used(
    boundaries: tuple[str | None, ...], rows: tuple[int, ...], kind: MssqlType, reason: str
) -> None:
    function = PartitionFunction("pf", "a", boundaries=boundaries, rows=rows)
    assert reason in unusable(function, kind)
    assert bool(unusable(function, kind)) == bool(reason)

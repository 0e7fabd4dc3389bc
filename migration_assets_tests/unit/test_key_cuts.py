"""Cuts over any key: each row in one range (DuckDB evaluates), even parts, literals of the key's type."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Sequence
from typing import Any

import duckdb
import pytest
import sqlglot
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlglot import exp

from migration_assets.key_distribution import (
    Histogram,
    KeyPoint,
    Step,
    balanced,
    imbalance,
    walked_cuts,
)
from migration_assets.key_range import KeyRange
from migration_assets.key_types import line_of, literal
from migration_assets.partitioning import (
    can_cut,
    choose_key,
    cut_ranges,
    hash_ranges,
    partition_count,
    predicate,
)
from migration_assets.schema import (
    Column,
    Cut,
    KeyCuts,
    MssqlType,
    SourceIndex,
    SourceTable,
    TableSchema,
)

INT = MssqlType("int", 4, 10)
BIGINT = MssqlType("bigint", 8, 19)
GUID = MssqlType("uniqueidentifier", 16)
WIDE = MssqlType("nvarchar", 80, collation="Latin1_General_CI_AS")
NARROW = MssqlType("varchar", 40, collation="SQL_Latin1_General_CP1_CI_AS")
_SETTINGS = settings(max_examples=60, deadline=None)
_KEYS = st.tuples(st.integers(-3, 3), st.text("ab'", max_size=2), st.integers(-2, 2))


def text_of(kind: MssqlType, value: Any) -> str:
    return value.encode("utf-16-le").hex() if kind is WIDE else str(value)


def walked(rows: Sequence[tuple[Any, ...]], types: Sequence[MssqlType], step: int) -> KeyCuts:
    """What a walk along an index finds: NULL first, ranks as the server counts them."""
    order = sorted(rows, key=lambda row: tuple((v is not None, v) for v in row))
    points = []
    for row in order[::step]:
        below = [
            next(i for i, other in enumerate(order) if other[:width] == row[:width])
            for width in range(1, len(row) + 1)
        ]
        texts = (None if v is None else text_of(k, v) for v, k in zip(row, types, strict=True))
        points.append(KeyPoint(tuple(texts), tuple(below)))
    names = ("a", "b", "c")[: len(types)]
    return KeyCuts(names, walked_cuts(points, types), len(rows), "walk")


def in_ranges(ranges: Sequence[KeyRange], rows: Sequence[tuple[Any, ...]], ddl: str) -> list[int]:
    """How many of the ranges each row is in, as DuckDB says."""
    with duckdb.connect() as connection:
        connection.execute(f"CREATE TABLE t ({ddl})")
        if rows:
            marks = ", ".join("?" * len(rows[0]))
            connection.executemany(f"INSERT INTO t VALUES ({marks})", [list(row) for row in rows])
        each = [
            f"CASE WHEN {sqlglot.transpile(predicate(r) or '1 = 1', 'tsql', 'duckdb')[0]} "
            "THEN 1 ELSE 0 END"
            for r in ranges
        ]
        return [n for (n,) in connection.execute(f"SELECT {' + '.join(each)} FROM t").fetchall()]


@_SETTINGS
@given(
    st.lists(_KEYS, min_size=1, max_size=60),
    st.lists(_KEYS, max_size=10),
    st.integers(1, 4),
    st.sampled_from([8, 16, 32]),
)
def test_each_row_of_a_key_of_several_columns_is_in_one_range(
    rows: list[tuple[int, str, int]], later: list[tuple[int, str, int]], step: int, wanted: int
) -> None:
    ranges, _ = cut_ranges(walked(rows, (INT, WIDE, INT), step), wanted)
    outside = [(-(2**31), "", 0), (2**31 - 1, "~", 0)]
    ddl = "a INTEGER NOT NULL, b VARCHAR NOT NULL, c INTEGER NOT NULL"
    assert set(in_ranges(ranges, [*rows, *later, *outside], ddl)) == {1}


@_SETTINGS
@given(
    st.lists(st.one_of(st.none(), st.integers(-50, 50)), min_size=1, max_size=80),
    st.integers(1, 4),
    st.sampled_from([8, 16, 32]),
)
def test_null_and_all_values_of_one_column_are_in_one_range(
    values: list[int | None], step: int, wanted: int
) -> None:
    rows = [(value,) for value in values]
    ranges, _ = cut_ranges(walked(rows, (INT,), step), wanted)
    outside: list[tuple[int | None]] = [(None,), (-(2**31),), (2**31 - 1,)]
    assert set(in_ranges(ranges, [*rows, *outside], "a INTEGER")) == {1}
    if len(ranges) > 1:
        assert "[a] IS NULL" in str(predicate(ranges[0]))


@_SETTINGS
@given(
    st.lists(st.floats(0.5, 1e6), min_size=1, max_size=60, unique=True).map(sorted),
    st.integers(1, 40),
)
def test_balanced_is_never_worse_than_the_largest_gap_and_the_mean(
    places: list[float], n: int
) -> None:
    rows = places[-1] + 1
    chosen = balanced([Cut((), place) for place in places], rows, n)
    assert len(chosen) == min(n - 1, len(places))
    assert [c.below for c in chosen] == sorted({c.below for c in chosen})
    widest = max(b - a for a, b in itertools.pairwise([0.0, *places, rows]))
    parts = len(chosen) + 1
    assert imbalance(chosen, rows) * rows / parts <= rows / parts + widest + 1e-6 * rows


def test_a_step_of_few_values_with_many_rows_has_no_place_twice() -> None:
    """Two cuts at one value would make a range of it that the next one has too."""
    for between in range(6):
        steps = (Step("0", 0.0, 100.0), Step(str(between + 1), 5_000.0, 100.0))
        literals = [cut.literals for cut in Histogram(INT, steps).cuts(64)]
        assert len(literals) == len(set(literals)) == between + 1


@_SETTINGS
@given(
    st.lists(st.tuples(st.integers(1, 4), st.floats(0, 500), st.floats(1, 500)), max_size=20),
    st.sampled_from([8, 16, 32]),
)
def test_cuts_by_any_histogram_leave_each_value_in_one_range(
    made: list[tuple[int, float, float]], wanted: int
) -> None:
    places = list(itertools.accumulate((gap for gap, _, _ in made), initial=0))
    steps = (
        Step("0", 0.0, 1.0),
        *(
            Step(str(place), between, equal)
            for place, (_, between, equal) in zip(places[1:], made, strict=True)
        ),
    )
    found = Histogram(INT, steps)
    ranges, _ = cut_ranges(KeyCuts(("a",), found.cuts(wanted), found.rows, "histogram"), wanted)
    rows: list[tuple[int | None]] = [(None,), *((n,) for n in range(-1, places[-1] + 2))]
    assert set(in_ranges(ranges, rows, "a INTEGER")) == {1}


def test_one_value_with_half_the_rows_is_divided_by_the_next_column() -> None:
    rows = [(7, "x", n) for n in range(512)] + [(n + 8, "x", 0) for n in range(512)]
    ranges, uneven = cut_ranges(walked(rows, (INT, WIDE, INT), 4), 16)
    assert len(ranges) == 16
    assert uneven <= 1.1
    assert predicate(ranges[2]) == "[a] = 7 AND [b] = N'x' AND [c] >= 128 AND [c] < 192"
    first = predicate(ranges[0])
    assert first == (
        "[a] <= 7 AND ([a] < 7 OR ([a] = 7 AND ([b] < N'x' OR ([b] = N'x' AND [c] < 64))))"
    )
    crossing = next(r for r in ranges if r.lower == "7" and r.upper != "7")
    assert str(predicate(crossing)).startswith("[a] >= 7 AND ([a] > 7 OR ([a] = 7 AND ")


def test_one_value_with_half_the_rows_and_nothing_further_is_told() -> None:
    rows = [(7,)] * 512 + [(n + 8,) for n in range(512)]
    ranges, uneven = cut_ranges(walked(rows, (INT,), 4), 16)
    assert len(ranges) == 16
    assert uneven == pytest.approx(8, rel=0.05)


# Histograms


def histogram(values: Sequence[int], steps: int = 200, kind: MssqlType = BIGINT) -> Histogram:
    """As SQL Server makes them: at most 200 steps, heavy values with their own rows."""
    order = sorted(values)
    marks = sorted({order[(len(order) - 1) * i // (steps - 1)] for i in range(steps)})
    found = []
    for before, mark in zip([None, *marks], marks, strict=False):
        between = sum(1 for v in order if (before is None or v > before) and v < mark)
        found.append(Step(str(mark), between, order.count(mark)))
    return Histogram(kind, tuple(found))


@pytest.mark.parametrize(
    "values",
    [
        pytest.param([10**12 // (n + 1) for n in range(3000)], id="zipf"),
        pytest.param([n + (n // 1000) * 10**12 for n in range(3000)], id="gaps"),
        pytest.param([n * n for n in range(3000)], id="squares"),
    ],
)
@pytest.mark.parametrize("wanted", [8, 16, 64])
def test_a_histogram_cuts_skewed_keys_evenly(values: list[int], wanted: int) -> None:
    found = histogram(values)
    assert not found.is_even(wanted)
    ranges, told = cut_ranges(KeyCuts(("k",), found.cuts(wanted), found.rows, "histogram"), wanted)
    edges = [int(r.lower) for r in ranges[1:] if r.lower is not None]
    sizes = [0] * wanted
    for value in values:
        sizes[sum(edge <= value for edge in edges)] += 1
    assert max(sizes) <= 2 * len(values) / wanted
    assert told <= 2


@pytest.mark.parametrize("wanted", [8, 16, 64, 256])
def test_arithmetic_is_for_even_keys(wanted: int) -> None:
    assert histogram(range(5000)).is_even(wanted)
    assert not histogram([*range(5000), 10**12]).is_even(wanted)


def test_null_is_a_step_of_its_own() -> None:
    found = Histogram(INT, (Step(None, 0, 500), Step("1", 0, 1), Step("1000", 498, 1)))
    assert found.rows == 1000
    assert found.bounds == ("1", "1000")
    assert found.cuts(4)[0] == Cut(("1",), 500)


# Literals


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [
        (INT, "-5", "-5"),
        (MssqlType("decimal", 9, 18, 4), "1.5000", "1.5000"),
        (MssqlType("money", 8, 19, 4), "-12.5000", "CAST(-12.5000 AS money)"),
        (MssqlType("smallmoney", 4, 10, 4), "0.0100", "CAST(0.0100 AS smallmoney)"),
        (MssqlType("date"), "2024-01-31", "'2024-01-31'"),
        (MssqlType("datetime"), "2024-01-31T10:00:00.123", "'2024-01-31T10:00:00.123'"),
        (
            MssqlType("datetimeoffset", 10, 34, 7),
            "2024-01-31T10:00:00.1234567+00:00",
            "'2024-01-31T10:00:00.1234567+00:00'",
        ),
        (MssqlType("time", 5, 16, 7), "10:00:00.1234567", "'10:00:00.1234567'"),
        (
            GUID,
            "6f9619ff-8b86-d011-b42d-00c04fc964ff",
            "'6F9619FF-8B86-D011-B42D-00C04FC964FF'",
        ),
        (MssqlType("timestamp", 8), "00000000000007D1", "0x00000000000007D1"),
        (MssqlType("binary", 2), "0aFF", "CAST(0x0AFF AS binary(2))"),
        (MssqlType("varbinary", 8), "0aFF", "0x0AFF"),
        (WIDE, "It's é".encode("utf-16-le").hex(), "N'It''s é'"),
        (WIDE, b"\x00\xd8".hex(), "CAST(0x00D8 AS nvarchar(1))"),
        (WIDE, "\\\n".encode("utf-16-le").hex(), "CAST(0x5C000A00 AS nvarchar(2))"),
        (NARROW, "It's".encode("utf-16-le").hex(), "'It''s'"),
        (
            NARROW,
            "é".encode("utf-16-le").hex(),
            "CAST(CAST(0xE900 AS nvarchar(1)) COLLATE SQL_Latin1_General_CP1_CI_AS AS varchar(40))",
        ),
    ],
)
def test_literals_are_of_the_column_s_own_type(kind: MssqlType, text: str, expected: str) -> None:
    assert can_cut(kind)
    assert literal(kind, text) == expected


@pytest.mark.parametrize(
    ("kind", "text"), [(INT, "1; DROP"), (GUID, "x"), (MssqlType("date"), "31.1.2024")]
)
def test_a_text_that_is_no_value_is_no_literal(kind: MssqlType, text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        literal(kind, text)


@given(st.lists(st.uuids(), min_size=2, max_size=20))
def test_guids_lie_on_their_line_as_sql_server_orders_them(values: list[uuid.UUID]) -> None:
    line = line_of(GUID)
    assert line is not None

    def by_documentation(value: uuid.UUID) -> tuple[bytes, ...]:
        b = value.bytes_le
        return b[10:16], b[8:10], b[6:8], b[4:6], b[0:4]

    positions = [line.position(str(value)) for value in sorted(values, key=by_documentation)]
    assert positions == sorted(positions)
    for value in values:
        assert line.literal(line.position(str(value))) == f"'{str(value).upper()}'"


@_SETTINGS
@given(st.lists(_KEYS, min_size=20, max_size=60, unique=True), st.sampled_from([8, 16]))
def test_predicates_can_seek(rows: list[tuple[int, str, int]], wanted: int) -> None:
    """No function stands over a column, and the first condition bounds the leading column."""
    for key_range in cut_ranges(walked(rows, (INT, WIDE, INT), 1), wanted)[0]:
        condition = predicate(key_range)
        assert condition is not None
        tree = sqlglot.parse_one(f"SELECT 1 WHERE {condition}", read="tsql")
        for column in tree.find_all(exp.Column):
            assert isinstance(column.parent, exp.GTE | exp.GT | exp.LT | exp.LTE | exp.EQ | exp.Is)
        first = condition.lstrip("(").split(" AND ")[0]
        assert first.startswith(("[a] >= ", "[a] = ", "[a] <= ", "[a] < "))
        for name, kind in (("b", exp.National), ("a", exp.Literal), ("c", exp.Literal)):
            for column in tree.find_all(exp.Column):
                other = column.parent.expression
                if column.name == name and not isinstance(column.parent, exp.Is):
                    assert isinstance(other, kind | exp.Neg), (condition, other)


# Which key


def source(*columns: Column, key: tuple[str, ...] = (), **more: Any) -> SourceTable:
    return SourceTable("dbo", "t", TableSchema(columns, key), 100_000, **more)


A, B, C = (Column(name, INT, nullable=False) for name in "abc")
MAYBE = Column("maybe", INT)
FLOAT = Column("f", MssqlType("float"), nullable=False)


def test_without_a_primary_key_a_unique_index_without_null_goes_first() -> None:
    table = source(
        A, B, MAYBE,
        indexes=(
            SourceIndex(1, ("maybe",), unique=False),
            SourceIndex(2, ("maybe", "a"), unique=True),
            SourceIndex(3, ("b", "maybe", "a"), unique=True),
        ),
    )  # fmt: skip
    assert choose_key(table).columns == ("b",)
    only_clustered = source(A, MAYBE, indexes=(SourceIndex(1, ("maybe", "a"), unique=False),))
    assert choose_key(only_clustered).columns == ("maybe",)


def test_further_columns_stop_at_null_and_at_what_cannot_be_cut() -> None:
    assert choose_key(source(A, B, C, key=("a", "b", "c"))).columns == ("a", "b", "c")
    assert choose_key(source(A, FLOAT, B, key=("a", "f", "b"))).columns == ("a",)
    other = SourceIndex(2, ("b", "a"), unique=True)
    assert choose_key(source(FLOAT, A, B, key=("f",), indexes=(other,))).columns == ("b", "a")
    heap = source(FLOAT, indexes=(SourceIndex(2, ("f",), unique=True),))
    assert choose_key(heap).reason == "it has no primary key, and none of its indexes can be cut"


def test_a_hash_split_has_each_remainder_once() -> None:
    ranges = hash_ranges(source(A, FLOAT, MAYBE), 8)
    expression = "ABS(CAST(CHECKSUM([a], [maybe]) AS bigint) * 1640531527 / 65536 % 8)"
    assert [predicate(r) for r in ranges] == [f"{expression} = {i}" for i in range(8)]
    assert hash_ranges(source(FLOAT), 8) == (KeyRange(source_partition=0),)


@pytest.mark.parametrize(
    ("rows", "size", "wishes", "expected"),
    [
        (1_000_000, None, {"target_rows": 10_000}, 128),
        (1_000_000, 1 << 30, {"target_bytes": 1 << 26}, 16),
        (5_000, None, {"target_rows": 1_000}, 8),
        (50_000_000, None, {"target_rows": 50_000_000}, 1),
        (1_000_000, None, {"target_rows": 1, "wanted": 4}, 8),
    ],
)
def test_targets_by_rule(
    rows: int, size: int | None, wishes: dict[str, int], expected: int
) -> None:
    assert partition_count(rows, size, **wishes) == expected


def test_ranges_of_one_column_are_stored_as_they_always_were() -> None:
    simple = KeyRange(source_partition=1, column="id", lower="1", upper="2")
    assert simple.identity == [1, "id", "1", "2"]
    assert simple.model_dump() == {
        "source_partition": 1, "column": "id", "lower": "1", "upper": "2"
    }  # fmt: skip
    more = simple.model_copy(update={"more_columns": ("b",), "more_lower": ("3",)})
    assert more.identity != simple.identity
    assert KeyRange.model_validate_json(more.model_dump_json()) == more
    assert more.renamed({"id": "x", "b": "y"}).key_columns == ("x", "y")

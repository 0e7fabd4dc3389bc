"""Partition counts, cuts and predicates; the predicates are also executed by DuckDB."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import duckdb
import pytest
import sqlglot
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from migration_assets.errors import ConfigurationError, PlanError
from migration_assets.key_range import KeyRange
from migration_assets.partitioning import (
    WHOLE_TABLE,
    choose_key,
    cut,
    key_ranges,
    partition_class,
    partition_count,
    predicate,
)
from migration_assets.schema import Column, MssqlType, SourceTable, TableSchema

GIB = 1 << 30
INT = MssqlType("int", 4, 10)
BIGINT = MssqlType("bigint", 8, 19)
DATE = MssqlType("date", 3, 10)
DATETIME = MssqlType("datetime", 8, 23, 3)


def table(*columns: Column, key: tuple[str, ...] = (), rows: int = 100_000) -> SourceTable:
    return SourceTable("dbo", "t", TableSchema(columns, key), rows)


# How many


@pytest.mark.parametrize(
    ("rows", "size", "partitions"),
    [
        (0, None, 1),
        (9_999, 10_000_000, 1),
        (10_000, None, 8),
        (99_999, None, 8),
        (100_000, None, 16),
        (1_000_000, None, 16),
        (1_000_001, None, 32),
        (64_000_000, None, 32),
        (64_000_001, None, 64),
        (300_000_000, None, 256),
        (10**12, None, 512),
        (50_000, 20 * GIB, 32),
        (50_000, 8 * GIB, 8),
        (9_000, 3 * GIB, 8),
        (5, 100 * GIB, 1),
        (20, 100 * GIB, 16),
    ],
)
def test_partitions_grow_with_rows_and_bytes(rows: int, size: int | None, partitions: int) -> None:
    assert partition_count(rows, size) == partitions


@pytest.mark.parametrize(("wanted", "given"), [(1, 1), (2, 8), (8, 8), (9, 16), (100, 128)])
def test_a_wish_goes_before_the_bands_and_becomes_a_class(wanted: int, given: int) -> None:
    assert partition_count(10, None, wanted=wanted) == given


@given(st.integers(1, 5000))
def test_a_class_is_the_next_of_1_8_16_32(count: int) -> None:
    classes = [1, 8, *(2**e for e in range(4, 14))]
    assert partition_class(count) == next(c for c in classes if c >= count)


# Which column


def test_the_key_is_the_first_column_of_the_primary_key() -> None:
    two = table(Column("b", INT), Column("a", DATE), key=("a", "b"))
    assert choose_key(two).column == "a"


@pytest.mark.parametrize(
    "name", ["nvarchar", "float", "real", "bit", "xml", "hierarchyid", "sql_variant"]
)
def test_a_key_of_another_type_is_refused_with_its_type(name: str) -> None:
    choice = choose_key(table(Column("Id", MssqlType(name)), key=("Id",)))
    assert choice.column is None
    assert "Id" in choice.reason
    assert name in choice.reason


def test_no_primary_key_is_a_reason() -> None:
    assert choose_key(table(Column("a", INT))).reason == "it has no primary key"


def test_an_override_is_found_without_case_and_an_exact_match_goes_first() -> None:
    twins = table(Column("id", INT), Column("ID", INT), Column("At", DATETIME))
    assert choose_key(twins, "ID").column == "ID"
    assert choose_key(twins, "at").column == "At"


def test_an_impossible_override_is_an_error_that_names_table_and_column() -> None:
    source = table(Column("a", MssqlType("xml")))
    with pytest.raises(ConfigurationError, match=r"partition_column b .* dbo\.t.*columns are a"):
        choose_key(source, "b")
    with pytest.raises(ConfigurationError, match=r"partition_column a of dbo\.t is of type xml"):
        choose_key(source, "a")


# Where to cut


@pytest.mark.parametrize(
    ("lower", "upper", "mssql_type", "n", "cuts"),
    [
        ("1", "1000", INT, 4, ["251", "501", "751"]),
        ("-4", "3", INT, 8, ["-3", "-2", "-1", "0", "1", "2", "3"]),
        ("0", "3", INT, 8, ["1", "2", "3"]),
        ("7", "7", INT, 8, []),
        (
            "-9223372036854775808",
            "9223372036854775807",
            BIGINT,
            4,
            ["-4611686018427387904", "0", "4611686018427387904"],
        ),
        ("-0.50", "1.49", MssqlType("decimal", 9, 18, 2), 4, ["0.00", "0.50", "1.00"]),
        ("-0.04", "-0.01", MssqlType("numeric", 9, 18, 2), 4, ["-0.03", "-0.02", "-0.01"]),
        ("0", "9" * 38, MssqlType("decimal", 17, 38, 0), 2, ["5" + "0" * 37]),
        ("0." + "0" * 37 + "1", "0." + "0" * 37 + "2", MssqlType("decimal", 17, 38, 38), 2,
         ["0." + "0" * 37 + "2"]),
        ("2024-01-01", "2024-01-04", DATE, 2, ["'2024-01-03'"]),
        ("0001-01-01", "9999-12-31", DATE, 2, ["'5000-07-02'"]),
        ("2024-01-01T00:00:00", "2024-12-31T23:59:59.997", DATETIME, 2, ["'2024-07-02T00:00:00'"]),
        ("2024-01-01T00:00:00", "2024-01-01T00:00:00.997", DATETIME, 4,
         ["'2024-01-01T00:00:00.250'", "'2024-01-01T00:00:00.500'", "'2024-01-01T00:00:00.750'"]),
        ("2024-01-01 00:00", "2024-01-01 00:03", MssqlType("smalldatetime", 4), 2,
         ["'2024-01-01T00:02:00'"]),
        ("2024-01-01T00:00:00.0000000", "2024-01-01T00:00:00.0000003",
         MssqlType("datetime2", 8, 27, 7), 2, ["'2024-01-01T00:00:00.0000002'"]),
        ("2024-01-01T00:00:00", "2024-01-01T01:59:59", MssqlType("datetime2", 6, 19, 0), 2,
         ["'2024-01-01T01:00:00'"]),
    ],
)  # fmt: skip
def test_cuts(lower: str, upper: str, mssql_type: MssqlType, n: int, cuts: list[str]) -> None:
    assert cut(lower, upper, mssql_type, n) == cuts


def test_ten_millisecond_steps_are_exact_datetimes() -> None:
    """A datetime holds multiples of 1/300 s; a literal between two of them would be rounded."""
    cuts = cut("2024-01-01T00:00:00", "2024-01-01T00:00:00.993", DATETIME, 64)
    assert len(cuts) == 63
    assert all(int(text[-4:-1]) * 3 % 10 == 0 for text in cuts)


@pytest.mark.parametrize(
    ("lower", "upper", "mssql_type"),
    [
        ("2", "1", INT),
        ("one", "2", INT),
        ("1.5", "2", INT),
        ("0", "NaN", INT),
        ("0", "Infinity", MssqlType("decimal", 9, 18, 2)),
        ("0.001", "1", MssqlType("decimal", 9, 18, 2)),
        ("31/01/2024", "2024-02-01", DATE),
        ("2024-02-30", "2024-03-01", DATE),
    ],
)
def test_bounds_that_are_none_are_an_error(lower: str, upper: str, mssql_type: MssqlType) -> None:
    with pytest.raises(PlanError, match="bounds"):
        cut(lower, upper, mssql_type, 2)


@pytest.mark.parametrize(
    ("upper", "wanted", "ranges"),
    [(1000, 64, 64), (63, 64, 32), (20, 64, 16), (8, 512, 8), (7, 8, 1), (7, 16, 1), (5, 32, 5)],
)
def test_few_key_values_lower_the_count_to_a_class(upper: int, wanted: int, ranges: int) -> None:
    found = key_ranges("k", "1", str(upper), INT, wanted)
    assert len(found) == ranges
    assert [r.source_partition for r in found] == list(range(ranges))


def test_one_key_value_is_the_whole_table() -> None:
    assert key_ranges("k", "5", "5", INT, 64) == WHOLE_TABLE


# Predicates


def test_the_predicates_of_a_table() -> None:
    ranges = key_ranges("Order ]Id", "1", "24", INT, 8)
    assert predicate(ranges[0]) == "([Order ]]Id] < 4 OR [Order ]]Id] IS NULL)"
    assert predicate(ranges[1]) == "[Order ]]Id] >= 4 AND [Order ]]Id] < 7"
    assert predicate(ranges[-1]) == "[Order ]]Id] >= 22"
    assert predicate(WHOLE_TABLE[0]) is None
    assert predicate(KeyRange(source_partition=0, column="k")) is None


def moments(digits: int, low: dt.datetime, high: dt.datetime) -> st.SearchStrategy[dt.datetime]:
    step = 10 ** (6 - min(digits, 6))
    return st.datetimes(low, high).map(
        lambda m: m.replace(microsecond=m.microsecond // step * step)
    )


def decimal_text(value: int, scale: int) -> Decimal:
    return Decimal(value).scaleb(-scale)


Y1, Y1753, Y1900, Y2079, Y9999 = (
    dt.datetime(1, 1, 1),
    dt.datetime(1753, 1, 1),
    dt.datetime(1900, 1, 1),
    dt.datetime(2079, 6, 6),
    dt.datetime(9999, 12, 31, 23, 59, 59),
)
# Per type: values a column of it may hold, its DuckDB type, how introspection writes a value.
KEYS: dict[str, tuple[MssqlType, st.SearchStrategy[Any], str, Callable[[Any], str]]] = {
    "tinyint": (MssqlType("tinyint", 1), st.integers(0, 255), "UTINYINT", str),
    "int": (INT, st.integers(-(2**31), 2**31 - 1), "INTEGER", str),
    "bigint": (BIGINT, st.integers(-(2**63), 2**63 - 1), "BIGINT", str),
    "decimal(18,4)": (
        MssqlType("decimal", 9, 18, 4),
        st.integers(-(10**18) + 1, 10**18 - 1).map(lambda v: decimal_text(v, 4)),
        "DECIMAL(18,4)",
        str,
    ),
    "date": (DATE, st.dates(), "DATE", str),
    "datetime": (
        DATETIME,
        st.builds(
            # 1/300 s, as a datetime has it, shown with three digits
            lambda m, t: m.replace(microsecond=(t * 10 + 1) // 3 * 1000),
            st.datetimes(Y1753, Y9999),
            st.integers(0, 299),
        ),
        "TIMESTAMP",
        lambda m: m.isoformat(),
    ),
    "smalldatetime": (
        MssqlType("smalldatetime", 4),
        moments(0, Y1900, Y2079).map(lambda m: m.replace(second=0)),
        "TIMESTAMP",
        lambda m: m.isoformat(),
    ),
    "datetime2(3)": (
        MssqlType("datetime2", 7, 23, 3),
        moments(3, Y1, Y9999),
        "TIMESTAMP",
        lambda m: m.isoformat(" "),
    ),
    "datetime2(6)": (
        MssqlType("datetime2", 8, 26, 6),
        moments(6, Y1, Y9999),
        "TIMESTAMP",
        lambda m: m.isoformat(),
    ),
}


@pytest.fixture(scope="module")
def connection() -> duckdb.DuckDBPyConnection:
    return duckdb.connect()


@pytest.mark.parametrize("name", KEYS)
@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_every_row_is_in_exactly_one_range(
    name: str, data: st.DataObject, connection: duckdb.DuckDBPyConnection
) -> None:
    """Rows that arrive after the plan, below, above and NULL, are in one range too."""
    mssql_type, values, duckdb_type, text = KEYS[name]
    bounds = data.draw(st.lists(values, min_size=2, max_size=2).map(sorted))
    wanted = data.draw(st.sampled_from([8, 16, 64]))
    later = data.draw(st.lists(values, max_size=20))
    ranges = key_ranges("k", text(bounds[0]), text(bounds[1]), mssql_type, wanted)
    assume(len(ranges) > 1)
    connection.execute(f"CREATE OR REPLACE TABLE t (id INTEGER, k {duckdb_type})")
    rows = [None, *bounds, *later]
    connection.executemany("INSERT INTO t VALUES (?, ?)", list(enumerate(rows)))
    # The edges themselves: each cut must be in the range above it.
    for key_range in ranges[1:]:
        connection.execute(
            f"INSERT INTO t SELECT {len(rows)}, CAST({key_range.lower} AS {duckdb_type})"
        )
        rows.append(key_range.lower)

    found: list[int] = []
    for key_range in ranges:
        where = sqlglot.transpile(predicate(key_range) or "", read="tsql", write="duckdb")[0]
        found += [r[0] for r in connection.execute(f"SELECT id FROM t WHERE {where}").fetchall()]
    assert sorted(found) == list(range(len(rows)))


@given(
    st.lists(st.integers(-(2**63), 2**63 - 1), min_size=2, max_size=2).map(sorted),
    st.sampled_from([8, 16, 32, 512]),
    st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1)),
)
def test_integer_ranges_follow_each_other_without_gap(
    bounds: list[int], wanted: int, value: int | None
) -> None:
    ranges = key_ranges("k", str(bounds[0]), str(bounds[1]), BIGINT, wanted)
    assert ranges[0].lower is None
    assert ranges[-1].upper is None
    cuts = [int(r.upper) for r in ranges[:-1] if r.upper is not None]
    assert cuts == [int(r.lower) for r in ranges[1:] if r.lower is not None]
    assert cuts == sorted(set(cuts))
    assert all(bounds[0] < edge <= bounds[1] for edge in cuts)
    assert sum(holds(r, value) for r in ranges) == 1


def holds(key_range: KeyRange, value: int | None) -> bool:
    """What a KeyRange promises, in Python."""
    if value is None:
        return key_range.lower is None
    above = key_range.lower is None or int(key_range.lower) <= value
    return above and (key_range.upper is None or value < int(key_range.upper))


@given(st.integers(0, 10**12), st.integers(10_000, 10**9), st.sampled_from([8, 16, 32, 64]))
def test_ranges_are_even(lower: int, span: int, wanted: int) -> None:
    ranges = key_ranges("k", str(lower), str(lower + span - 1), BIGINT, wanted)
    edges = [lower, *(int(r.lower) for r in ranges[1:] if r.lower is not None), lower + span]
    widths = [b - a for a, b in itertools.pairwise(edges)]
    assert max(widths) - min(widths) <= 1

"""Cuts along SQL Server's own partition functions: each value in one range, whole partitions each."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import duckdb
import pytest
import sqlglot
from hypothesis import given, settings
from hypothesis import strategies as st

from migration_assets.errors import AccessDeniedError
from migration_assets.key_distribution import Histogram, KeyPoint, Step, walked_cuts
from migration_assets.key_range import KeyRange
from migration_assets.mssql.catalog import Catalog, CatalogColumn, CatalogTable
from migration_assets.mssql.keys import measure_keys
from migration_assets.mssql.partition_functions import read_partition_functions
from migration_assets.operations.planning import with_keys
from migration_assets.partition_function import (
    along,
    by_histogram,
    large_parts,
    parts,
    range_of,
    unusable,
)
from migration_assets.partitioning import cut_ranges, predicate, range_rows
from migration_assets.plan import MigrationPlan
from migration_assets.planner import keys_to_measure, plan
from migration_assets.replanning import same_but_estimates, stamped, take_over
from migration_assets.rules import Rules
from migration_assets.schema import (
    Column,
    Cut,
    KeyCuts,
    MssqlType,
    PartitionFunction,
    SourceDatabase,
    SourceIndex,
    SourceTable,
    TableSchema,
)
from migration_assets_tests.unit.scripted_server import DENIED, MISSING, ScriptedServer

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


# --- what is asked of the server, and what the plan says


class Server:
    """Answers walks over rows 0, 1, 2 ... of `per_value` rows each; everything else is refused."""

    def __init__(self, *, refuses: bool = False) -> None:
        self.asked: list[str] = []
        self.refuses = refuses

    def query(self, sql: str, *_: Any, **__: Any) -> list[tuple[Any, ...]]:
        self.asked.append(sql)
        if "lower_bound" in sql:
            return [(0, "2024-01-01", "2024-12-31")]
        if self.refuses or "ROW_NUMBER" not in sql:
            raise AccessDeniedError("It is denied.")
        assert "WHERE [d] >= '2024-02-01'" in sql
        # A walk through the last of three partitions: 900 rows, one for each of 90 days, 10 times.
        days = [f"2024-{month:02d}-{day:02d}" for month in (2, 3, 4) for day in range(1, 29)]
        return [(day, i * 10 + 1, i * 10 + 1) for i, day in enumerate(days)]


def table_of(function: PartitionFunction | None, **more: Any) -> SourceTable:
    columns = (
        Column("id", MssqlType("bigint", 8, 19), nullable=False),
        Column("d", DATE, nullable=False),
        Column("f", FLOAT),
    )
    given: dict[str, Any] = {"rows": 1000, "indexes": (SourceIndex(1, ("d",), unique=False),)}
    schema = TableSchema(columns, more.pop("key", ()))
    return SourceTable("dbo", "t", schema, object_id=1, partitioned=function, **(given | more))


def planned(server: Server, table: SourceTable, **rules: Any) -> Any:
    database = SourceDatabase("s", "d", "16", "c", True, False, (table,))
    wishes = Rules.model_validate({"defaults": {"partitions": 8, **rules}})
    known = with_keys(server, database, wishes)  # type: ignore[arg-type] # asks only
    found = plan(known, wishes, warehouse="s3://lake/w")
    return found.tables[0], found.notes


EVEN = PartitionFunction(
    "pf",
    "d",
    True,
    tuple(f"2024-{m:02d}-01" for m in range(1, 13)),
    (10, *(80,) * 12),
)
SKEWED = PartitionFunction("pf", "d", True, ("2024-01-01", "2024-02-01"), (50, 50, 840))


def test_partitions_that_are_even_cost_no_query_at_all() -> None:
    server = Server()
    table, _ = planned(server, table_of(EVEN))
    assert server.asked == []
    assert (table.cut_by, len(table.key_ranges)) == ("partition_function", 8)
    assert sum(table.range_rows) == 970
    assert max(table.range_rows) <= 2 * 970 / 8


def test_large_partitions_are_walked_where_a_rule_asks_for_the_function() -> None:
    server = Server()
    table, _ = planned(server, table_of(SKEWED), split="partition_function")
    assert sum("ROW_NUMBER" in sql for sql in server.asked) == 1
    assert (table.cut_by, len(table.key_ranges)) == ("partition_function", 8)
    assert max(table.range_rows) <= 2 * 940 / 8
    assert table.warnings == ("No primary key: duplicate rows cannot be told apart.",)


def test_large_partitions_without_an_index_stay_and_the_plan_says_so() -> None:
    server = Server(refuses=True)
    table, _ = planned(server, table_of(SKEWED, indexes=()), split="partition_function")
    assert not any("ROW_NUMBER" in sql for sql in server.asked)
    assert [predicate(r) for r in table.key_ranges] == [
        "([d] < '2024-01-01' OR [d] IS NULL)",
        "[d] >= '2024-01-01' AND [d] < '2024-02-01'",
        "[d] >= '2024-02-01'",
    ]
    assert table.range_rows == (50, 50, 840)
    assert any("3 partitions instead of 8: its partition function" in w for w in table.warnings)
    assert any("89% of the rows" in w and "SQL Server makes by d" in w for w in table.warnings)


def test_a_walk_that_is_refused_leaves_the_boundaries_and_a_note() -> None:
    table, notes = planned(Server(refuses=True), table_of(SKEWED), split="partition_function")
    assert table.range_rows == (50, 50, 840)
    assert any(
        "its large partitions could not be walked along d: It is denied." in n for n in notes
    )


def test_without_a_rule_uneven_partitions_leave_the_table_to_the_usual_way() -> None:
    server = Server(refuses=True)
    request = keys_to_measure(
        SourceDatabase("s", "d", "16", "c", True, False, (table_of(SKEWED),)),
        Rules.model_validate({"defaults": {"partitions": 8}}),
    )
    measured = measure_keys(server, request)  # type: ignore[arg-type] # asks only
    assert measured.cuts == {}
    assert any("ROW_NUMBER" in sql and "WHERE [d]" not in sql for sql in server.asked)


@pytest.mark.parametrize(
    ("table", "rules", "said"),
    [
        (table_of(None), {}, "SQL Server does not partition this table"),
        (
            table_of(PartitionFunction("pf", "f", unusable="x")),
            {},
            "its partitioning column f is of type float",
        ),
        (
            table_of(PartitionFunction("pf", "d", unusable="its boundaries follow another")),
            {},
            "has no effect: its boundaries follow another.",
        ),
    ],
)
def test_a_wish_that_cannot_be_met_is_told(
    table: SourceTable, rules: dict[str, Any], said: str
) -> None:
    found, _ = planned(Server(refuses=True), table, split="partition_function", **rules)
    assert any(said in warning for warning in found.warnings)
    assert found.cut_by != "partition_function"


def test_another_partition_column_beside_the_wish_is_told() -> None:
    database = SourceDatabase("s", "d", "16", "c", True, False, (table_of(EVEN, key=("id",)),))
    rules = Rules.model_validate(
        {
            "defaults": {"partitions": 8, "split": "partition_function"},
            "tables": {"dbo.t": {"partition_column": "id"}},
        }
    )
    (table,) = plan(
        with_keys(Server(), database, rules),  # type: ignore[arg-type] # asks only
        rules,
        warehouse="s3://lake/w",
    ).tables
    assert {r.column for r in table.key_ranges} == {"d"}
    assert any("partition_column id has no effect" in w for w in table.warnings)


def test_a_key_by_another_column_is_cut_as_ever() -> None:
    """Without a rule the table's key goes first: its ranges seek, whatever the partitions."""
    database = SourceDatabase("s", "d", "16", "c", True, False, (table_of(EVEN, key=("id",)),))
    (request,) = keys_to_measure(database, Rules.model_validate({"defaults": {"partitions": 8}}))
    assert request.columns == ("id",)
    assert request.function is None


def test_ranges_by_partition_are_as_even_as_the_partitions_allow() -> None:
    for count in (3, 5, 12, 60, 400):
        rows = tuple(100 + i % 7 for i in range(count))
        function = PartitionFunction("pf", "a", True, tuple(map(str, range(1, count))), rows)
        found = along(function, INT)
        ranges, uneven = cut_ranges(found, 32)
        assert uneven <= 2
        pairs = itertools.pairwise(ranges)
        assert all(one.upper == other.lower for one, other in pairs)


# --- what the catalog says


NARROW = MssqlType("varchar", 20, collation="Latin1_General_BIN2")
CATALOG = [
    CatalogTable(
        "dbo",
        name,
        number,
        [CatalogColumn("k", kind, nullable=True, column_id=1)],
    )
    for number, (name, kind) in enumerate(
        [("ints", INT), ("texts", NARROW), ("floats", FLOAT), ("plain", INT)], start=1
    )
]
FOUND = [
    (1, 70, "pf_ints", True, "k", None),
    (2, 71, "pf_texts", False, "k", "Latin1_General_BIN2"),
    (3, 72, "pf_floats", False, "k", None),
]
ROWS = [(1, 2, 20), (1, 1, 10), (2, 1, 5), (2, 2, None)]


def boundaries_told(sql: str, _: Any) -> list[tuple[Any, ...]]:
    if "AS int)" in sql:
        assert "IN (70)" in sql, "boundaries of another type would not convert"
        return [(70, 1, "7")]
    return [(71, 1, "a'b".encode("utf-16-le").hex())]


def answers(**changes: Any) -> dict[str, Any]:
    return {
        "partition_schemes": FOUND,
        "partition_range_values": boundaries_told,
        "sys.partitions": ROWS,
    } | changes


def functions_by(script: dict[str, Any]) -> tuple[dict[int, PartitionFunction], Catalog]:
    catalog = Catalog(ScriptedServer(script))  # type: ignore[arg-type] # asks only
    return read_partition_functions(catalog, CATALOG), catalog


def test_functions_boundaries_and_rows_come_with_four_queries() -> None:
    found, catalog = functions_by(answers())
    texts = ("a'b".encode("utf-16-le").hex(),)
    assert found == {
        1: PartitionFunction("pf_ints", "k", on_right=True, boundaries=("7",), rows=(10, 20)),
        2: PartitionFunction("pf_texts", "k", boundaries=texts, rows=(5, 0)),
        3: PartitionFunction(
            "pf_floats", "k", unusable="its partitioning column k is of type float"
        ),
    }
    assert along(found[2], NARROW).cuts == ()  # no row is above the boundary
    assert len(catalog._client.asked) == 4  # type: ignore[attr-defined]
    assert catalog.notes == []


def test_a_database_without_partitions_is_asked_once() -> None:
    found, catalog = functions_by({})
    assert (found, len(catalog._client.asked)) == ({}, 1)  # type: ignore[attr-defined]


@pytest.mark.parametrize("view", ["partition_schemes", "partition_range_values", "sys.partitions"])
@pytest.mark.parametrize("refusal", [MISSING, DENIED])
def test_a_view_that_is_missing_or_denied_is_a_note(view: str, refusal: Exception) -> None:
    found, catalog = functions_by(answers(**{view: refusal}))
    assert all(function.unusable for function in found.values())
    assert all(not function.boundaries for function in found.values())
    (note,) = catalog.notes
    assert "what else is known of keys was used instead" in note


def test_boundaries_in_the_order_of_another_collation_are_not_used() -> None:
    other = [(2, 71, "pf_texts", False, "k", "Latin1_General_CI_AS")]
    found, _ = functions_by(answers(partition_schemes=other))
    assert "follow the collation Latin1_General_CI_AS" in found[2].unusable


# --- estimates in the plan


def test_estimates_are_kept_with_the_ranges_and_are_no_reason_for_another_plan() -> None:
    columns = (Column("id", INT, nullable=False),)

    def cuts(rows: float) -> KeyCuts:
        found = tuple(Cut((str(i * 100),), i * rows / 8) for i in range(1, 8))
        return KeyCuts(("id",), found, rows, "histogram")

    def made(rows: int) -> MigrationPlan:
        table = SourceTable(
            "dbo", "t", TableSchema(columns, ("id",)), rows=rows, key_cuts=cuts(float(rows))
        )
        database = SourceDatabase("s", "d", "16", "c", True, False, (table,))
        rules = Rules.model_validate({"defaults": {"partitions": 8}})
        new = plan(database, rules, warehouse="s3://lake/w")
        return stamped(new, database, rules, warehouse="s3://lake/w")

    old, new = made(80_000), made(96_000)
    assert old.tables[0].range_rows == (10_000,) * 8
    assert new.tables[0].range_rows == (12_000,) * 8
    assert old.tables[0].table_id == new.tables[0].table_id
    assert same_but_estimates(old, new)
    kept = take_over(new, old, Rules.model_validate({"defaults": {"partitions": 8}}))
    assert kept.tables[0].range_rows == (10_000,) * 8, "as of when they were cut"
    again = MigrationPlan.from_json(old.to_json(), origin="test")
    assert again.tables[0].range_rows == old.tables[0].range_rows
    assert "range_rows" not in old.tables[0].replaced(range_rows=()).model_dump()


def test_arithmetic_over_an_even_histogram_has_estimates_too() -> None:
    steps = (Step("1", 0.0, 1.0), *(Step(str(i * 100 + 1), 99.0, 1.0) for i in range(1, 11)))
    even = Histogram(INT, steps).even_rows(8)
    assert even is not None
    table = SourceTable(
        "dbo",
        "t",
        TableSchema((Column("id", INT, nullable=False),), ("id",)),
        rows=1_001,
        key_bounds={"id": ("1", "1001")},
        key_is_even=True,
        even_rows=even,
    )
    database = SourceDatabase("s", "d", "16", "c", True, False, (table,))
    rules = Rules.model_validate({"defaults": {"partitions": 8}})
    (found,) = plan(database, rules, warehouse="s3://lake/w").tables
    assert (found.cut_by, sum(found.range_rows)) == ("arithmetic", 1_001)
    assert max(found.range_rows) <= 1.25 * 125

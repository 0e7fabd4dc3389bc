"""What is asked of the server about its partitions, and what the plan makes of it."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from migration_assets.errors import AccessDeniedError
from migration_assets.key_distribution import Histogram, Step
from migration_assets.mssql.catalog import Catalog, CatalogColumn, CatalogTable
from migration_assets.mssql.keys import measure_keys
from migration_assets.mssql.partition_functions import read_partition_functions
from migration_assets.operations.planning import with_keys
from migration_assets.partition_function import (
    along,
)
from migration_assets.partitioning import cut_ranges, predicate
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

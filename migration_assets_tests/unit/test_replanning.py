"""Plans made over a plan: what is kept, what changes, what that asks of the tables."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from migration_assets.changes_report import render_changes
from migration_assets.errors import ConfigurationError
from migration_assets.evolution import is_wider
from migration_assets.plan import MigrationPlan, TablePlan
from migration_assets.plan_changes import Area, Kind, PlanChanges, Remedy, compare_plans
from migration_assets.planner import plan
from migration_assets.replanning import same_but_estimates, stamped, take_over
from migration_assets.rules import Rules
from migration_assets.schema import (
    Column,
    Cut,
    KeyCuts,
    MssqlType,
    SourceDatabase,
    SourceIndex,
    SourceTable,
    TableSchema,
)
from migration_assets_tests.unit.source_tables import ID, INT, TEXT, source

BIGINT = MssqlType("bigint", 8, 19)
WAREHOUSE = "s3://lake/warehouse"
NOTE = Column("note", TEXT, nullable=True)
TOTAL = Column("total", MssqlType("decimal", 9, 18, 4), nullable=True)


def made(
    *tables: SourceTable,
    rules: dict[str, Any] | None = None,
    old: MigrationPlan | None = None,
    warehouse: str = WAREHOUSE,
    server: str = "SQL1",
) -> MigrationPlan:
    database = SourceDatabase(
        server=server,
        database="shop",
        version="16.0",
        collation="Latin1_General_CI_AS",
        snapshot_isolation=True,
        read_committed_snapshot=False,
        tables=tables,
    )
    wishes = Rules.model_validate(rules or {})
    new = plan(database, wishes, warehouse=warehouse)
    new = stamped(new, database, wishes, warehouse=warehouse)
    return new if old is None else take_over(new, old, wishes)


def orders(*columns: Column, rows: int = 10, **more: Any) -> SourceTable:
    return source("orders", *(columns or (ID, NOTE)), rows=rows, **more)


def big(rows: int, last: int) -> SourceTable:
    return orders(rows=rows, bounds=("1", str(last)))


def replanned(before: SourceTable, after: SourceTable, **more: Any) -> tuple[TablePlan, TablePlan]:
    old = made(before)
    return old.tables[0], made(after, old=old, **more).tables[0]


def text_of(changes: PlanChanges, width: int = 80) -> str:
    out = io.StringIO()
    Console(file=out, width=width).print(render_changes(changes))
    return out.getvalue()


# -- nothing changed -------------------------------------------------------------------------------

_NAMES = st.text("abcdefgh", min_size=1, max_size=3)
_TYPES = st.sampled_from(
    [INT, BIGINT, TEXT, TOTAL.type, MssqlType("geography", -1), MssqlType("datetime2", 8, 27, 7)]
)


@st.composite
def _tables(draw: st.DrawFn) -> tuple[SourceTable, ...]:
    names = draw(st.lists(_NAMES, unique=True, min_size=1, max_size=3))
    tables = []
    for name in names:
        columns = draw(st.lists(_NAMES, unique=True, max_size=5))
        described = [Column(column, draw(_TYPES), draw(st.booleans())) for column in columns]
        rows = draw(st.sampled_from([0, 10, 5_000_000, 90_000_000]))
        tables.append(
            source(name, ID, *(c for c in described if c.name != "id"), rows=rows,
                   bounds=("1", "100000000"))
        )  # fmt: skip
    return tuple(tables)


@given(_tables(), st.sampled_from([{}, {"defaults": {"partitions": 8}}]))
def test_a_plan_over_itself_is_the_same_plan(
    tables: tuple[SourceTable, ...], rules: dict[str, Any]
) -> None:
    old = made(*tables, rules=rules)
    again = made(*tables, rules=rules, old=old)
    assert again.to_json() == old.to_json()
    assert not compare_plans(old, again)


@given(_tables(), st.lists(_NAMES, unique=True, max_size=3))
def test_what_stays_keeps_its_id_and_no_id_comes_back(
    tables: tuple[SourceTable, ...], gone: list[str]
) -> None:
    old = made(*tables)
    fewer = tuple(
        replace(t, columns=TableSchema(
            tuple(c for c in t.columns.columns if c.name not in gone), ("id",)))
        for t in tables
    )  # fmt: skip
    between = made(*fewer, old=old)
    back = made(*tables, old=between)
    assert made(*tables, old=back).to_json() == back.to_json()
    for first, second, third in zip(old.tables, between.tables, back.tables, strict=True):
        ids = {(c.source_name, c.name): c.field_id for c in first.columns}
        left = {(c.source_name, c.name) for c in second.columns}
        for column in second.columns:
            assert column.field_id == ids[column.source_name, column.name]
        for column in third.columns:
            stayed = (column.source_name, column.name) in left
            assert (column.field_id == ids[column.source_name, column.name]) is stayed
        all_ids = [column.field_id for column in third.target_columns]
        assert len(set(all_ids)) == len(all_ids)


def test_rows_alone_are_no_change_and_keep_the_file() -> None:
    old = made(big(20_000_000, 1000))
    new = made(big(30_000_000, 9000), old=old)
    assert not compare_plans(old, new)
    assert same_but_estimates(old, new)
    assert new.tables[0].key_ranges == old.tables[0].key_ranges
    assert new.tables[0].rows == 30_000_000


# -- ranges ----------------------------------------------------------------------------------------


def test_ranges_are_cut_anew_once_the_rows_have_doubled_since_they_were_cut() -> None:
    plans = [made(big(20_000_000, 1000))]
    for rows in (30_000_000, 39_999_999, 40_000_000):
        plans.append(made(big(rows, 9000), old=plans[-1]))
    cuts = [each.tables[0].key_ranges for each in plans]
    assert cuts[0] == cuts[1] == cuts[2] != cuts[3]
    assert [each.tables[0].cut_rows for each in plans] == [20_000_000] * 3 + [40_000_000]


def test_an_empty_table_is_cut_when_it_has_rows() -> None:
    old, new = replanned(orders(rows=0), big(20_000_000, 1000))
    assert (len(old.key_ranges), len(new.key_ranges) > 1) == (1, True)


@pytest.mark.parametrize(
    ("rules", "is_kept"),
    [
        ({"defaults": {"verification": "count", "exclude_columns": ["note"]}}, True),
        ({"defaults": {"engine": "spark", "buckets": 4}}, True),
        ({"defaults": {"partitions": 32}}, False),
        ({"tables": {"dbo.orders": {"partition_column": "id"}}}, False),
    ],
)
def test_only_rules_about_cutting_cut_anew(rules: dict[str, Any], *, is_kept: bool) -> None:
    old, new = replanned(big(20_000_000, 1000), big(20_000_000, 9000), rules=rules)
    assert (old.key_ranges == new.key_ranges) is is_kept


def test_a_key_that_became_wider_keeps_its_ranges_and_another_key_does_not() -> None:
    wide = replace(big(20_000_000, 9000), columns=TableSchema((Column("id", BIGINT, False), NOTE),
                                                              ("id",)))  # fmt: skip
    old, new = replanned(big(20_000_000, 1000), wide)
    assert old.key_ranges == new.key_ranges
    keyless = replace(big(20_000_000, 9000), columns=TableSchema((ID, NOTE), ()))
    old, new = replanned(big(20_000_000, 1000), keyless)
    assert old.key_ranges != new.key_ranges


def test_what_is_said_of_the_ranges_is_said_of_those_that_stay() -> None:
    """Not of those that a new cut would have: that changes with every row, and with it the plan."""
    old = made(big(20_000_000, 15), rules={"defaults": {"buckets": 3}})
    few = "8 partitions instead of 32: id has too few values, 1 to 15."
    assert few in old.tables[0].warnings, "the example must have something to say"
    for after in (big(21_000_000, 20), big(21_000_000, 10**7)):
        new = made(after, old=old, rules={"defaults": {"buckets": 3}})
        assert new.tables[0].key_ranges == old.tables[0].key_ranges
        assert new.tables[0].warnings == old.tables[0].warnings
        assert same_but_estimates(old, new)
    later = made(big(50_000_000, 20), old=old, rules={"defaults": {"buckets": 3}})
    assert few not in later.tables[0].warnings, "cut anew"
    plain = made(big(20_000_000, 10**7))
    assert made(big(21_000_000, 20), old=plain).tables[0].warnings == plain.tables[0].warnings


def test_rows_of_ranges_that_stay_are_no_change() -> None:
    """Or `plan --detailed-exitcode` would call them one for ever: the file stays as it is."""

    def cut(rows: int) -> SourceTable:
        cuts = tuple(Cut((str(n * 10),), rows * n / 8) for n in range(1, 8))
        return orders(rows=rows, key_cuts=KeyCuts(("id",), cuts, rows, "walk"))

    old = made(cut(20_000))
    new = made(cut(50_000), old=old)
    assert old.tables[0].range_rows != new.tables[0].range_rows, "cut anew, at the same places"
    assert same_but_estimates(old, new)
    assert not compare_plans(old, new)


# -- no row may come to lie in two ranges, or in none ----------------------------------------------


def by_two(*columns: Column, cuts: tuple[Cut, ...] = ()) -> SourceTable:
    """A heap with a unique index over two columns."""
    names = tuple(column.name for column in columns)
    known = KeyCuts(names if len(cuts[0].literals) > 1 else names[:1], cuts, 1000, "walk")
    index = SourceIndex(2, names, unique=True)
    return source("orders", *columns, key=(), rows=20_000, indexes=(index,), key_cuts=known)


def test_a_cut_over_several_columns_ends_when_one_takes_null() -> None:
    """A row with NULL in the middle of a key would be in no range."""
    first, second = Column("a", INT, nullable=False), Column("b", INT, nullable=False)
    pairs = tuple(Cut(("1", str(n * 100)), n * 100) for n in range(1, 10))
    before = by_two(first, second, cuts=pairs)
    after = by_two(first, replace(second, nullable=True), cuts=(Cut(("1",), 500),))
    old, new = replanned(before, after)
    assert old.key_ranges[1].more_columns == ("b",), "the example must be cut over both"
    assert not any(one.more_columns for one in new.key_ranges)
    assert remedy(before, after) is Remedy.RESET


@pytest.mark.parametrize("cuts", [("'B'", "'a'"), ("'a'", "'B'")], ids=["others", "the same"])
def test_another_order_of_a_text_cuts_anew(cuts: tuple[str, ...]) -> None:
    """`'a' <= code < 'B'` has rows of the ranges beside it where upper case comes first."""

    def coded(collation: str, *literals: str) -> SourceTable:
        kind = MssqlType("varchar", 10, collation=collation)
        found = tuple(Cut((text,), 100 * n) for n, text in enumerate(literals, start=1))
        known = KeyCuts(("code",), found, 300, "walk")
        return source("orders", Column("code", kind, nullable=False), key=("code",), rows=300,
                      key_cuts=known)  # fmt: skip

    rules = {"defaults": {"partitions": 32}}
    old = made(coded("Latin1_General_CI_AS", "'a'", "'B'"), rules=rules)
    new = made(coded("Latin1_General_BIN2", *cuts), rules=rules, old=old)
    assert [one.lower for one in old.tables[0].key_ranges] == [None, "'a'", "'B'"]
    assert [one.lower for one in new.tables[0].key_ranges] == [None, *cuts]
    (changed,) = compare_plans(old, new).tables
    assert changed.remedy is Remedy.RESET
    assert any("code" in reason for reason in changed.reasons), changed.reasons


def test_another_type_of_a_hashed_column_is_another_split() -> None:
    """CHECKSUM of a bigint is none of the int: rows would move to other partitions."""
    rules = {"defaults": {"partitions": 8, "split": "hash"}}
    old = made(source("orders", NOTE, column("x", "int", 4, 10), key=()), rules=rules)
    wide = source("orders", NOTE, column("x", "bigint", 8, 19), key=())
    (changed,) = compare_plans(old, made(wide, rules=rules, old=old)).tables
    assert changed.remedy is Remedy.RESET
    assert any("hash" in reason for reason in changed.reasons), changed.reasons


# -- names -----------------------------------------------------------------------------------------


def composite(*columns: Column) -> SourceTable:
    """A table cut over two columns of a unique index."""
    names = tuple(c.name for c in columns)
    cuts = tuple(Cut((f"'{letter}'", "5"), 1_000.0 * (i + 1)) for i, letter in enumerate("bdfhjln"))
    return source(
        "orders", *columns, key=(), rows=20_000, indexes=(SourceIndex(2, names, unique=True),),
        key_cuts=KeyCuts(names, cuts, 20_000.0, "walk"),
    )  # fmt: skip


def test_ranges_that_would_lose_or_double_rows_are_cut_anew() -> None:
    word = Column("word", replace(TEXT, collation="Latin1_General_BIN2"), nullable=False)
    number = Column("number", INT, nullable=False)
    old = made(composite(word, number))
    assert old.tables[0].key_ranges[0].more_columns == ("number",)
    # A row with NULL in the second column of a cut is in no range.
    with_null = composite(word, replace(number, nullable=True))
    # In another order the bounds of a range may exchange places.
    reordered = composite(replace(word, type=TEXT), number)
    for changed in (with_null, reordered):
        anew = replace(
            changed, key_cuts=KeyCuts(("word",), (Cut(("'m'",), 9_000.0),), 20_000.0, "walk")
        )
        assert made(anew, old=old).tables[0].key_ranges == made(anew).tables[0].key_ranges


def test_a_split_by_hash_stays_whatever_takes_null() -> None:
    rules = {"tables": {"dbo.orders": {"split": "hash"}}}
    old = made(orders(ID, NOTE, rows=20_000, key=()), rules=rules)
    grown = made(orders(ID, NOTE, rows=39_000, key=()), rules=rules, old=old)
    assert grown.tables[0].cut_rows == old.tables[0].cut_rows
    assert grown.tables[0].key_ranges == old.tables[0].key_ranges


def test_a_new_table_takes_no_name_from_an_old_one() -> None:
    old = made(source("Order Lines"))
    names = {t.source_name: t.iceberg_table for t in old.tables}
    later = made(source("Order Lines"), source("order_lines"))
    assert {t.source_name: t.iceberg_table for t in later.tables}["Order Lines"] != names[
        "Order Lines"
    ], "the example must be one where names are settled anew"
    with pytest.raises(ConfigurationError, match="want the same Iceberg table"):
        made(source("Order Lines"), source("order_lines"), old=old)


def test_another_warehouse_or_name_in_the_rules_moves_the_table() -> None:
    old, new = replanned(orders(), orders(), warehouse="s3://other/place")
    assert (old.location, new.location) == (
        "s3://lake/warehouse/dbo/orders", "s3://other/place/dbo/orders"
    )  # fmt: skip
    _, new = replanned(orders(), orders(), rules={"schemas": {"dbo": "core"}})
    assert (new.namespace, new.starrocks_database) == ("core", "core")


# -- columns ---------------------------------------------------------------------------------------


def remedy(before: SourceTable, after: SourceTable, **more: Any) -> Remedy:
    old = made(before)
    changes = compare_plans(old, made(after, old=old, **more))
    return changes.tables[0].remedy if changes.tables else Remedy.NONE


def test_an_added_column_evolves_the_table_and_comes_last_with_an_id_of_its_own() -> None:
    old, new = replanned(orders(ID, NOTE), orders(ID, TOTAL, NOTE))
    assert [c.name for c in new.columns] == ["id", "note", "total"]
    assert [c.field_id for c in new.target_columns] == [1, 2, 6, 3, 4, 5]
    assert new.holds(old.table_id)
    assert new.added_since(old.table_id) == {"total"}
    assert new.added_since(new.table_id) == frozenset()
    assert new.generation == old.table_id
    assert "total came later: partitions extracted before have NULL there." in new.warnings


def test_evolutions_add_up_until_one_change_is_none() -> None:
    first = made(orders(ID))
    second = made(orders(ID, NOTE), old=first)
    third = made(orders(ID, NOTE, TOTAL), old=second)
    table = third.tables[0]
    assert table.added_since(first.tables[0].table_id) == {"note", "total"}
    assert table.added_since(second.tables[0].table_id) == {"total"}
    fourth = made(orders(ID, TOTAL), old=third).tables[0]
    assert fourth.evolutions == ()
    assert not fourth.holds(table.table_id)
    assert fourth.last_field_id == 0  # total has a higher one than note had
    fifth = made(orders(ID), old=made(orders(ID, TOTAL), old=third)).tables[0]
    assert fifth.last_field_id == 6


def column(name: str, kind: str, *sizes: int, nullable: bool = True) -> Column:
    return Column(name, MssqlType(kind, *sizes), nullable)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (column("x", "int", 4, 10), column("x", "bigint", 8, 19), Remedy.EVOLVE),
        (column("x", "smallint", 2, 5), column("x", "int", 4, 10), Remedy.EVOLVE),
        (column("x", "varchar", 10), column("x", "varchar", 20), Remedy.EVOLVE),
        (column("x", "decimal", 9, 10, 2), column("x", "decimal", 9, 18, 2), Remedy.EVOLVE),
        (column("x", "int", 4, 10, nullable=False), column("x", "int", 4, 10), Remedy.EVOLVE),
        (column("x", "int", 4, 10), column("x", "int", 4, 10, nullable=False), Remedy.NONE),
        (column("x", "bigint", 8, 19), column("x", "int", 4, 10), Remedy.RESET),
        (column("x", "varchar", 20), column("x", "varchar", 10), Remedy.RESET),
        (column("x", "decimal", 9, 10, 2), column("x", "decimal", 9, 18, 4), Remedy.RESET),
        (column("x", "int", 4, 10), column("x", "varchar", 10), Remedy.RESET),
        (column("x", "int", 4, 10), column("y", "int", 4, 10), Remedy.RESET),
        (column("x", "real", 4), column("x", "float", 8), Remedy.RESET),
    ],
)
def test_what_evolves_and_what_must_be_reset(
    before: Column, after: Column, expected: Remedy
) -> None:
    assert remedy(orders(ID, before), orders(ID, after)) is expected


def test_a_new_column_that_takes_no_null_and_a_wider_key_are_reset() -> None:
    strict = column("x", "int", 4, 10, nullable=False)
    assert remedy(orders(ID), orders(ID, strict)) is Remedy.RESET
    assert remedy(orders(ID), orders(column("id", "bigint", 8, 19, nullable=False))) is Remedy.RESET


def test_a_retyped_column_gets_another_field_id() -> None:
    before, after = column("x", "int", 4, 10), column("x", "varchar", 10)
    old, new = replanned(orders(ID, before), orders(ID, after))
    assert old.by_source["x"].field_id == 2
    assert new.by_source["x"].field_id == 6


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        ("VARCHAR(10)", "VARCHAR(10)", True),
        ("nvarchar(10)", "nvarchar(max)", True),
        ("nvarchar(max)", "nvarchar(10)", False),
        ("int", "long", True),
        ("long", "int", False),
        ("decimal(10, 2)", "decimal(12, 2)", True),
        ("decimal(10, 2)", "decimal(12, 3)", False),
        ("DECIMAL(10, 2)", "DECIMAL(9, 2)", False),
        ("INT", "LARGEINT", False),
        ("datetime2(3)", "datetime2(7)", False),
    ],
)
def test_wider_types(before: str, now: str, *, expected: bool) -> None:
    assert is_wider(before, now) is expected


# -- what is told ----------------------------------------------------------------------------------


def test_every_difference_is_named_and_fits_into_80_columns() -> None:
    old = made(
        orders(ID, NOTE, column("x", "int", 4, 10)), source("gone"), source("wide table"),
        rules={"tables": {"dbo.wide*": {"verification": "count"}}},
    )  # fmt: skip
    new = made(
        orders(ID, TOTAL, column("x", "varchar", 10)),
        source("came", rows=1234),
        source("wide table", ID, NOTE),
        rules={"tables": {"dbo.wide*": {"verification": "rows"}}},
        old=old,
    )
    changes = compare_plans(old, new)
    kinds = {table.table: table.kind for table in changes.tables}
    assert kinds == {
        "dbo.orders": Kind.CHANGED, "dbo.came": Kind.ADDED, "dbo.gone": Kind.REMOVED,
        "dbo.wide table": Kind.CHANGED,
    }  # fmt: skip
    assert changes.is_to_be_accepted
    assert [t.table for t in changes.needing(Remedy.RESET)] == ["dbo.orders"]
    assert [t.table for t in changes.needing(Remedy.EVOLVE)] == ["dbo.wide table"]
    said = text_of(changes)
    for line in (
        "+ dbo.came  1,234 rows, 1 partition",
        "- dbo.gone  10 rows, 1 partition",
        "~ dbo.orders  must be reset",
        "+ total: decimal(18,4) -> decimal(18, 4), DECIMAL(18,4)",
        "~ x: int -> int, INT",
        "=> varchar(10) -> string, VARCHAR(30)",
        "~ dbo.wide table  evolves, its rows stay",
        "~ verification: count",
        "=> rows",
        "Tables: 1 added, 1 removed, 2 changed.",
        "migration-assets reset dbo.orders",
        "migration-assets evolve 'dbo.wide table'",
    ):
        assert line in said, said
    assert max(map(len, said.splitlines())) <= 80


def test_ranges_and_targets_are_shown_old_to_new() -> None:
    old = made(big(20_000_000, 1000))
    new = made(big(60_000_000, 5000), old=old, rules={"schemas": {"dbo": "core"}})
    (table,) = compare_plans(old, new).tables
    shown = {change.name: (change.old, change.new) for change in table.changes}
    assert shown["Iceberg table"] == ("dbo.orders", "core.orders")
    assert shown["partitions"][0].startswith(
        f"{len(old.tables[0].key_ranges)} of id, the last from"
    )
    assert {change.area for change in table.changes} == {Area.RANGES, Area.TARGETS}
    assert table.remedy is Remedy.RESET
    assert set(table.reasons) == {"its targets change", "its key ranges change"}


def test_other_partition_keys_are_asked_for_although_the_table_id_stays() -> None:
    old = made(orders())
    new = made(orders(), old=old, rules={"defaults": {"isolated": True}})
    changes = compare_plans(old, new)
    assert new.tables[0].table_id == old.tables[0].table_id
    assert [table.remedy for table in changes.tables] == [Remedy.RUN]
    assert changes.is_to_be_accepted


def test_another_server_takes_nothing_over() -> None:
    old = made(orders(ID, NOTE))
    new = made(orders(NOTE, ID), old=old, server="SQL2")
    assert [c.name for c in new.tables[0].columns] == ["note", "id"]
    (table,) = compare_plans(old, new).tables
    assert table.remedy is Remedy.RESET
    assert "the source is another one" in table.reasons

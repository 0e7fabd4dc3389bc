"""From introspected tables and rules to a plan: skips, warnings, ranges, determinism."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from migration_assets.choices import Engine, OnExisting, VerificationLevel
from migration_assets.plan import MigrationPlan
from migration_assets.planner import keys_to_measure
from migration_assets.rules import Rules
from migration_assets.schema import Column, MssqlType, SourceDatabase, SourceTable, TableKind
from migration_assets_tests.unit.source_tables import ID, INT, TEXT, only, planned, source

GIB = 1 << 30


def test_a_plain_table() -> None:
    at = Column("At", MssqlType("datetime2", 8, 26, 6))
    table = only(source("Orders", ID, at, schema="Sales", bytes=5_000))
    assert (table.source_server, table.source_database) == ("SQL1", "shop")
    assert (table.source_schema, table.source_name) == ("Sales", "Orders")
    assert [(c.name, c.field_id) for c in table.target_columns] == [
        ("id", 1),
        ("at", 2),
        ("migrated_at", 3),
        ("source_schema", 4),
        ("source_partition", 5),
    ]
    assert (table.namespace, table.iceberg_table) == ("sales", "orders")
    assert (table.starrocks_database, table.starrocks_table) == ("sales", "orders")
    assert table.location == "s3://lake/warehouse/sales/orders"
    assert table.primary_key == ("id",)
    assert table.sort_key == ("id",)
    assert table.partition_keys == ("p000",)
    assert (table.buckets, table.isolated) == (1, False)
    assert table.engine is Engine.ARROW
    assert table.verification is VerificationLevel.FULL
    assert table.on_existing is OnExisting.REFUSE
    assert table.warnings == ()


def test_the_wishes_of_a_rule_reach_the_table() -> None:
    table = only(
        source(),
        rules={
            "tables": {
                "dbo.orders": {
                    "namespace": "lake",
                    "iceberg_table": "o",
                    "starrocks_database": "DW",
                    "starrocks_table": "O",
                    "isolated": True,
                    "verification": "count",
                    "on_existing": "adopt",
                    "engine": "arrow",
                    "buckets": 7,
                    "location": "s3://other/place/",
                }
            }
        },
    )
    assert (table.namespace, table.iceberg_table) == ("lake", "o")
    assert (table.starrocks_database, table.starrocks_table) == ("DW", "O")
    assert table.location == "s3://other/place"
    assert table.partition_keys == ("lake-o-p000",)
    assert table.verification is VerificationLevel.COUNT
    assert table.on_existing is OnExisting.ADOPT
    assert table.engine is Engine.ARROW
    assert table.buckets == 7


# What is migrated


@pytest.mark.parametrize(
    ("rows", "size", "has_cluster", "wish", "engine"),
    [
        (20_000_000, 1, True, {}, Engine.SPARK),
        (19_999_999, 1, True, {}, Engine.ARROW),
        (1, 5_000_000_000, True, {}, Engine.SPARK),
        (10**9, 10**12, False, {}, Engine.ARROW),
        (10**9, 10**12, True, {"defaults": {"engine": "arrow"}}, Engine.ARROW),
        (1, 1, False, {"tables": {"dbo.*": {"engine": "spark"}}}, Engine.SPARK),
        (1000, None, True, {"spark_from": {"rows": 1000}}, Engine.SPARK),
    ],
)
def test_large_tables_go_to_a_cluster(
    rows: int, size: int | None, has_cluster: bool, wish: dict[str, Any], engine: Engine
) -> None:
    table = only(source(rows=rows, bytes=size), rules=wish, has_cluster=has_cluster)
    assert table.engine is engine
    # Who extracts is no part of what was extracted.
    assert table.table_id == only(source(rows=rows, bytes=size)).table_id


def test_what_is_left_out_is_listed_with_its_reason() -> None:
    result = planned(
        source("b"),
        source("a"),
        source("tmp1"),
        source("v", kind=TableKind.VIEW),
        source("h", kind=TableKind.HISTORY),
        source("shapes", ID, Column("g", MssqlType("hologram", -1))),
        source("masked", ID, Column("m", INT, refusal="it cannot be read")),
        rules={"exclude": ["*.tmp*"]},
    )
    assert [t.source_name for t in result.tables] == ["a", "b"]
    reasons = {s.source_name: s.reason for s in result.skipped}
    assert list(reasons) == ["h", "masked", "shapes", "tmp1", "v"]
    assert reasons["h"] == "it is a temporal history table"
    assert reasons["v"] == "it is a view"
    assert "*.tmp*" in reasons["tmp1"]
    assert "Column g: Type hologram has no mapping" in reasons["shapes"]
    assert "exclude_columns" in reasons["shapes"]
    assert "Column m: it cannot be read" in reasons["masked"]


def test_one_plan_names_all_refused_columns_of_all_tables() -> None:
    hologram, cube = MssqlType("hologram", -1), MssqlType("cube", -1)
    result = planned(
        source("a", ID, Column("g", hologram), Column("fine", TEXT), Column("h", cube)),
        source("b", ID, Column("m", INT, refusal="it is masked"), Column("g", hologram)),
    )
    assert [(s.source_name, s.reason) for s in result.skipped] == [
        (
            "a",
            "Column g: Type hologram has no mapping. Column h: Type cube has no mapping. List them "
            "under exclude_columns in migration.yaml to migrate the table without them.",
        ),
        (
            "b",
            "Column m: it is masked. Column g: Type hologram has no mapping. List them under "
            "exclude_columns in migration.yaml to migrate the table without them.",
        ),
    ]


def test_a_refused_column_can_be_left_out_by_rule() -> None:
    columns = (ID, Column("Shape", MssqlType("geometry", -1)), Column("name", TEXT))
    table = only(source("t", *columns), rules={"defaults": {"exclude_columns": ["SHAPE", "ghost"]}})
    assert [(c.source_name, c.field_id) for c in table.columns] == [("id", 1), ("name", 2)]
    assert table.audit_columns[0].field_id == 3
    assert table.warnings == (
        "Column Shape is left out by rule.",
        "exclude_columns: there is no column ghost.",
    )


def test_a_table_without_columns_left_is_skipped() -> None:
    result = planned(source(), rules={"defaults": {"exclude_columns": ["id"]}})
    assert result.tables == ()
    assert result.skipped[0].reason == "no column is left to migrate"


def test_a_primary_key_that_lost_a_column_is_not_used() -> None:
    table = only(
        source("t", ID, Column("n", INT, nullable=False), key=("id", "n")),
        rules={"defaults": {"exclude_columns": ["n"]}},
    )
    assert table.primary_key == ()
    assert table.sort_key == ("source_partition",)
    assert any("lost a column" in warning for warning in table.warnings)


def test_two_tables_whose_full_names_read_alike_are_not_merged() -> None:
    result = planned(source("b.c", schema="a"), source("c", schema="a.b"))
    assert {t.full_name: (t.namespace, t.iceberg_table) for t in result.tables} == {
        "a.[b.c]": ("a", "b_c"),
        "[a.b].c": ("a_b", "c"),
    }
    assert result.skipped == ()


# Keys, ranges, sizes


def test_ranges_are_cut_from_the_measured_bounds() -> None:
    table = only(source(rows=50_000, bounds=("1", "80000")))
    assert len(table.key_ranges) == 8
    assert [r.lower for r in table.key_ranges][:3] == [None, "10001", "20001"]
    assert {r.column for r in table.key_ranges} == {"id"}
    assert table.warnings == ()


@pytest.mark.parametrize(
    ("table", "warning"),
    [
        (source(rows=50_000), "of 8: the bounds of id were not measured."),
        (source(rows=50_000, key=()), "of 8: it has no primary key."),
        (
            source("t", Column("id", MssqlType("float")), rows=10**6),
            "of 16: its primary key begins with id of",
        ),
        (
            dataclasses.replace(source(rows=50_000), key_bounds={"id": None}),
            "of 8: id has no values.",
        ),
    ],
)
def test_a_big_table_that_cannot_be_cut_says_why(table: SourceTable, warning: str) -> None:
    result = only(table)
    assert len(result.key_ranges) == 1
    assert any(warning in found for found in result.warnings)


def test_too_few_values_are_a_warning() -> None:
    table = only(source(rows=50_000_000, bounds=("1", "20")))
    assert len(table.key_ranges) == 16
    assert table.warnings == ("16 partitions instead of 32: id has too few values, 1 to 20.",)


def test_a_wish_that_is_no_class_is_rounded_with_a_warning() -> None:
    table = only(source(bounds=("1", "1000")), rules={"defaults": {"partitions": 20}})
    assert len(table.key_ranges) == 32
    assert table.warnings == ("partitions 20 became 32: tables share runs by these numbers.",)


def test_keys_to_measure_are_those_that_the_plan_will_cut() -> None:
    tables = (
        source("big", rows=10**6),
        source("small"),
        source("text", Column("id", TEXT), rows=10**6),
        source("wish", ID, Column("At", MssqlType("date"))),
        source("out", rows=10**6),
        source("view", rows=10**6, kind=TableKind.VIEW),
    )
    database = SourceDatabase("s", "d", "16", "c", True, True, tables)
    rules = Rules.model_validate(
        {
            "exclude": ["dbo.out"],
            "tables": {"dbo.wish": {"partitions": 8, "partition_column": "at"}},
        }
    )
    requests = keys_to_measure(database, rules)
    assert [(r.table.name, r.columns, r.count) for r in requests] == [
        ("big", ("id",), 16),
        ("text", ("id",), 16),
        ("wish", ("At",), 8),
    ]


def test_a_big_table_in_one_piece_has_keys_of_its_own_unless_a_rule_says_no() -> None:
    big = source("heap", rows=5_000_000, key=())
    assert only(big).isolated
    assert not only(big, rules={"defaults": {"isolated": False}}).isolated
    assert not only(source(rows=5_000_000, bounds=("1", "5000000"))).isolated


def test_no_primary_key_is_a_warning_and_sorts_by_partition() -> None:
    table = only(source(key=()))
    assert table.sort_key == ("source_partition",)
    assert table.warnings == ("No primary key: duplicate rows cannot be told apart.",)


@pytest.mark.parametrize(
    ("types", "sort_key"),
    [
        ([INT, TEXT, INT, INT], ("c0", "c1", "c2")),
        ([INT, MssqlType("float", 8), INT], ("c0",)),
        ([MssqlType("real", 4), INT], ("source_partition",)),
        ([MssqlType("varbinary", 8), INT], ("source_partition",)),
        ([MssqlType("nvarchar", -1)], ("source_partition",)),
        ([MssqlType("uniqueidentifier", 16)], ("c0",)),
        ([MssqlType("decimal", 9, 18, 2)], ("c0",)),
    ],
)
def test_the_sort_key_is_the_leading_run_that_starrocks_takes(
    types: list[MssqlType], sort_key: tuple[str, ...]
) -> None:
    columns = [Column(f"c{i}", t, nullable=False) for i, t in enumerate(types)]
    # The key's order is not the table's.
    table = only(source("t", *reversed(columns), key=tuple(c.name for c in columns)))
    assert table.sort_key == sort_key
    assert table.primary_key == tuple(c.name for c in columns)


@pytest.mark.parametrize(
    ("size", "buckets"),
    [(None, 1), (GIB - 1, 1), (GIB, 2), (20 * GIB, 2), (20 * GIB + 1, 3), (95 * GIB, 10)],
)
def test_buckets_follow_the_bytes_of_a_partition(size: int | None, buckets: int) -> None:
    assert only(source(bytes=size, rows=10)).buckets == buckets


def test_buckets_are_counted_per_partition() -> None:
    rules = {"defaults": {"partitions": 8}}
    table = only(source(bytes=8 * 25 * GIB, bounds=("1", "1000")), rules=rules)
    assert len(table.key_ranges) == 8
    assert table.buckets == 3


# Warnings, notes, columns


def test_what_introspection_warns_of_reaches_the_plan() -> None:
    masked = Column("m", TEXT, warnings=("m is masked for this login.",))
    table = only(source("t", ID, masked, warnings=("Row-level security is on.",)))
    assert table.warnings == (
        "Row-level security is on.",
        "m is masked for this login.",
    )


def test_distinct_columns_are_marked() -> None:
    columns = (
        ID,
        Column("g", MssqlType("uniqueidentifier", 16)),
        Column("v", MssqlType("timestamp", 8)),
        Column("n", INT, identity=True),
        Column("name", TEXT),
    )
    marks = {c.name: c.distinct for c in only(source("t", *columns)).columns}
    assert marks == {"id": True, "g": True, "v": True, "n": True, "name": False}
    composite = only(source("t", ID, Column("n", INT), key=("id", "n")))
    assert not any(c.distinct for c in composite.columns)


def test_notes_say_what_the_plan_had_to_do_without() -> None:
    result = planned(
        source(),
        rules={"tables": {"dbo.zzz": {"buckets": 2}}},
        notes=("sys.x was denied.",),
        not_migrated={"views": 3, "triggers": 0, "procedures": 2},
        snapshot_isolation=False,
    )
    assert result.notes[:3] == (
        "sys.x was denied.",
        "migration.yaml: tables: dbo.zzz matches no table.",
        "Not migrated: 2 procedures, 3 views.",
    )
    assert "ALLOW_SNAPSHOT_ISOLATION is OFF" in result.notes[3]
    (note,) = planned(source()).notes
    assert "as of its own time" in note


# Determinism


def test_the_same_input_in_another_order_gives_the_same_plan() -> None:
    tables = [source(name, schema=schema) for name in ("b", "A", "a b") for schema in ("x", "Y")]
    there, back = planned(*tables), planned(*reversed(tables))
    assert there.to_json() == back.to_json()
    assert there.plan_id == back.plan_id
    assert [t.full_name for t in there.tables] == ["x.A", "x.a b", "x.b", "Y.A", "Y.a b", "Y.b"]


def test_a_planned_database_survives_the_file() -> None:
    result = planned(source(rows=50_000, bounds=("1", "80000")), source("注文", schema="日本"))
    assert MigrationPlan.from_json(result.to_json(), origin="x") == result

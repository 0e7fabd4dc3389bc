"""The plan of a trial: other targets, one partition, the same rows for whoever reads or measures."""

from __future__ import annotations

import pytest

from migration_assets.assets.failures import retry_command
from migration_assets.assets.translator import MigrationTranslator, Stage
from migration_assets.choices import Consistency, OnExisting, VerificationLevel
from migration_assets.definitions import build_definitions
from migration_assets.errors import ConfigurationError
from migration_assets.iceberg.tables import TRIAL_PROPERTY, table_properties
from migration_assets.key_range import KeyRange, Period, Window
from migration_assets.mssql.select import fingerprint_sql, select_sql
from migration_assets.plan import DatabaseSnapshot, Evolution, MigrationPlan
from migration_assets.schema import MssqlType, TableKind
from migration_assets.starrocks.ddl import source_name, table_comment
from migration_assets.trial import sort_columns, trial_plan, trial_table, what_is_compared
from migration_assets_tests.unit.tables import INT, nvarchar, table_plan

ORDERS = table_plan([("id", INT), ("note", nvarchar(10))], key=["id"], cuts=["10"], name="orders")
FIRST = "(\nSELECT TOP (5) [id], [note] FROM [dbo].[orders] ORDER BY [id]\n) AS [q]"


def plan_of(*tables, **changes):
    return MigrationPlan(server="s", database="shop", tables=tables, **changes)


def test_rows_and_fingerprint_are_of_the_same_first_rows() -> None:
    table = trial_table(ORDERS, 5)
    (key_range,) = table.key_ranges
    assert select_sql(table, key_range) == f"SELECT [id] AS [id], [note] AS [note] FROM {FIRST}"
    (measured,) = fingerprint_sql(table, key_range, VerificationLevel.FULL)
    assert measured.endswith(f"FROM {FIRST}")
    assert table.kind is TableKind.TABLE  # so its columns are still compared with the catalog's


def test_a_query_is_tried_too_and_a_view_by_the_key_it_was_given() -> None:
    query = ORDERS.replaced(kind=TableKind.QUERY, query="SELECT * FROM dbo.a", primary_key=("id",))
    assert trial_table(query, 5).query == (
        "SELECT TOP (5) [id], [note] FROM (\nSELECT * FROM dbo.a\n) AS [q] ORDER BY [id]"
    )


def test_all_that_a_plan_may_have_of_partitions_becomes_one() -> None:
    table = ORDERS.replaced(
        key_ranges=(KeyRange(source_partition=0), KeyRange(source_partition=202401)),
        window=Window(column="note", by=Period.MONTH, first="2024-01-01"),
        cut_by="window",
        range_rows=(3, 4),
        consistency="barrier",
        block_writers=True,
        isolated=True,
        verification="none",
        on_existing="replace",
        evolutions=(Evolution(table_id="old"),),
        buckets=9,
    )
    made = trial_table(table, 5)
    assert made.partition_keys == ("p000",)
    assert (made.window, made.at_barrier, made.isolated, made.evolutions) == (
        None,
        False,
        False,
        (),
    )
    assert made.verification is VerificationLevel.FULL
    assert made.on_existing is OnExisting.REFUSE
    rows = table.replaced(verification="rows", window=None)
    assert trial_table(rows, 5).verification is VerificationLevel.ROWS


def test_nothing_of_the_table_itself_is_meant() -> None:
    made, translator = trial_table(ORDERS, 5), MigrationTranslator()
    assert (made.iceberg_table, made.starrocks_table) == ("orders_trial", "orders_trial")
    assert made.location == f"{ORDERS.location}_trial"
    assert made.table_id != ORDERS.table_id
    assert source_name(made) != source_name(ORDERS)
    assert table_comment(made).endswith("[dbo].[orders] (trial)")
    assert table_properties(made)[TRIAL_PROPERTY] == "5"
    assert TRIAL_PROPERTY not in table_properties(ORDERS)
    for stage in Stage:
        own = translator.asset_key(stage, ORDERS).path
        assert translator.asset_key(stage, made).path[:2] == ["trial", stage.value]
        assert own[0] == stage.value
    assert retry_command(made, "p000") == "migration-assets run --tables dbo.orders --limit 5"


def test_targets_are_none_of_the_plan_s_and_do_not_depend_on_what_is_tried() -> None:
    other = table_plan([("id", INT)], key=["id"], name="orders_trial", location="s3://lake/other")
    plan = plan_of(ORDERS, other)
    both = trial_plan(plan, [ORDERS, other], 5).tables
    assert [table.iceberg_table for table in both] == [
        "orders_trial_trial",
        "orders_trial_trial_trial",
    ]
    assert trial_plan(plan, [other], 5).tables == both[1:]


def test_the_plan_of_a_trial_can_be_stored_and_loaded_as_definitions() -> None:
    snapshot = DatabaseSnapshot(name="shop_snapshot")
    plan = plan_of(
        ORDERS, consistency=Consistency.DATABASE_SNAPSHOT, database_snapshot=snapshot, notes=("n",)
    )
    made = trial_plan(plan, plan.tables, 5)
    assert (made.consistency, made.database_snapshot) == (Consistency.STATEMENT, None)
    again = MigrationPlan.from_json(made.to_json(), origin="a test")
    assert again == made
    keys = {
        key.path[0] for key in build_definitions(again).resolve_asset_graph().get_all_asset_keys()
    }
    assert keys == {"trial"}


def test_a_plan_without_a_trial_keeps_its_id() -> None:
    assert "trial_rows" not in ORDERS.model_dump()
    assert trial_table(ORDERS, 5).model_dump()["trial_rows"] == 5


def test_without_a_key_the_order_is_by_all_that_can_be_sorted_and_it_is_said() -> None:
    table = table_plan(
        [
            ("id", INT),
            ("text", nvarchar(-1)),
            ("wide", nvarchar(4000)),
            ("name", MssqlType("varchar", 20, 0, 0, "Latin1_General_CI_AS")),
            ("at", MssqlType("datetime2", 7, 26, 6)),
            ("doc", MssqlType("xml", -1)),
        ],
        name="log",
    )
    assert sort_columns(table) == ("id", "name", "at")  # `wide` alone has 8,000 bytes
    made = trial_table(table, 5)
    assert made.query.endswith("ORDER BY [id], [name], [at]")
    (warning,) = made.warnings
    assert "dbo.log has no key" in warning
    assert "id, name, at" in warning
    assert what_is_compared(ORDERS) == ""
    only = table_plan([("doc", MssqlType("xml", -1))], name="docs")
    assert "ORDER BY" not in trial_table(only, 5).query


def test_a_name_that_becomes_too_long_is_refused() -> None:
    long = ORDERS.replaced(starrocks_table="x" * 250)
    with pytest.raises(ConfigurationError, match="256 characters"):
        trial_table(long, 5)

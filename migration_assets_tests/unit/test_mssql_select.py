import pytest

from migration_assets.choices import VerificationLevel
from migration_assets.column_plan import ColumnPlan, TargetColumn
from migration_assets.key_range import KeyRange
from migration_assets.mssql import select
from migration_assets.mssql.select import count_sql, fingerprint_sql, quote, select_sql, table_name
from migration_assets.plan import TablePlan


def column(name, field_id, kind="int", measure="integer", expression=None):
    return ColumnPlan(
        name=name.lower().replace(" ", "_"),
        field_id=field_id,
        iceberg_type="int",
        starrocks_type="INT",
        source_name=name,
        mssql_type=kind,
        select_expression=expression or quote(name),
        measure=measure,
    )


def plan(*columns):
    return TablePlan(
        source_server="db",
        source_database="shop",
        source_schema="my schema",
        source_name="Order]Lines",
        rows=1,
        columns=columns,
        audit_columns=(
            TargetColumn(
                name="source_partition", field_id=99, iceberg_type="int", starrocks_type="INT"
            ),
        ),
        key_ranges=(KeyRange(source_partition=0),),
        namespace="shop",
        iceberg_table="order_lines",
        location="s3://lake/shop/order_lines",
        starrocks_database="shop",
        starrocks_table="order_lines",
        sort_key=(),
    )


@pytest.mark.parametrize(
    ("name", "quoted"),
    [("a", "[a]"), ("a b", "[a b]"), ("a]b", "[a]]b]"), ("[a]", "[[a]]]"), ("select", "[select]")],
)
def test_a_quoted_name_ends_where_the_name_ends(name, quoted):
    assert quote(name) == quoted


def test_both_parts_of_a_table_name_are_quoted():
    assert table_name("my schema", "Order]Lines") == "[my schema].[Order]]Lines]"
    assert count_sql("s", "t]") == "SELECT COUNT_BIG(*) FROM [s].[t]]]"


def test_a_whole_table_has_no_predicate():
    table = plan(column("Id", 1), column("At", 2, expression="CAST([At] AS datetime2(3))"))
    assert select_sql(table, table.key_ranges[0]) == (
        "SELECT [Id] AS [id], CAST([At] AS datetime2(3)) AS [at] FROM [my schema].[Order]]Lines]"
    )


def test_a_key_range_is_a_predicate_of_select_and_fingerprint():
    table = plan(column("Id", 1))
    middle = KeyRange(source_partition=1, column="Id", lower="10", upper="20")
    condition = " FROM [my schema].[Order]]Lines] WHERE [Id] >= 10 AND [Id] < 20"
    assert select_sql(table, middle) == "SELECT [Id] AS [id]" + condition
    (sql,) = fingerprint_sql(table, middle, VerificationLevel.COUNT)
    assert sql == "SELECT COUNT_BIG(*)" + condition


def test_a_fingerprint_above_the_limit_of_a_select_list_is_split(monkeypatch):
    table = plan(*(column(f"c{i}", i) for i in range(10)))
    (whole,) = fingerprint_sql(table, table.key_ranges[0], VerificationLevel.FULL)
    monkeypatch.setattr(select, "MAX_SELECT_LIST", 7)
    parts = fingerprint_sql(table, table.key_ranges[0], VerificationLevel.FULL)
    assert len(parts) == 3
    source = " FROM [my schema].[Order]]Lines]"
    lists = [part.removeprefix("SELECT ").removesuffix(source) for part in parts]
    assert "SELECT " + ", ".join(lists) + source == whole

"""Names and places that the planner gives: no two tables or columns get the same."""

from __future__ import annotations

import re

import pytest

from migration_assets.column_plan import AUDIT_COLUMNS
from migration_assets.errors import ConfigurationError
from migration_assets.naming import RESERVED_COLUMNS
from migration_assets.schema import Column
from migration_assets_tests.unit.source_tables import INT, only, planned, source


def test_names_that_meet_get_a_suffix_and_a_warning_the_unchanged_one_does_not() -> None:
    result = planned(source("order items"), source("order-items"), source("order_items"))
    names = {t.source_name: t.iceberg_table for t in result.tables}
    assert names["order_items"] == "order_items"
    assert re.fullmatch("order_items_[0-9a-f]{6}", names["order items"])
    assert re.fullmatch("order_items_[0-9a-f]{6}", names["order-items"])
    assert len(set(names.values())) == 3
    for table in result.tables:
        assert table.starrocks_table == table.iceberg_table
        renamed = table.source_name != "order_items"
        assert any("other tables want order_items" in w for w in table.warnings) == renamed


def test_another_table_or_filter_does_not_change_a_name() -> None:
    pair = (source("a b"), source("a-b"))
    before = planned(*pair).table("dbo.a b").iceberg_table
    assert planned(source("A_B"), *pair).table("dbo.a b").iceberg_table == before
    filtered = planned(*pair, rules={"exclude": ["dbo.a-b"]})
    assert filtered.table("dbo.a b").iceberg_table == before


def test_schemas_that_share_a_namespace_keep_their_tables_apart() -> None:
    result = planned(
        source("t", schema="a"),
        source("t", schema="b"),
        rules={"schemas": {"a": "one", "b": "one"}},
    )
    assert {t.namespace for t in result.tables} == {"one"}
    assert len({t.iceberg_table for t in result.tables}) == 2
    assert len({t.location for t in result.tables}) == 2


def test_schemas_that_share_only_a_starrocks_database_collide_only_there() -> None:
    result = planned(
        source("t", schema="a"),
        source("t", schema="b"),
        rules={"defaults": {"starrocks_database": "dw"}},
    )
    assert [t.iceberg_table for t in result.tables] == ["t", "t"]
    assert len({t.starrocks_table for t in result.tables}) == 2
    assert all("in StarRocks" in t.warnings[-1] for t in result.tables)


def test_a_name_that_a_rule_gives_is_kept_and_the_other_gives_way() -> None:
    result = planned(source("a"), source("b"), rules={"tables": {"dbo.a": {"iceberg_table": "b"}}})
    assert result.table("dbo.a").iceberg_table == "b"
    assert result.table("dbo.b").iceberg_table.startswith("b_")


@pytest.mark.parametrize(
    ("wish", "what"),
    [
        ({"iceberg_table": "x"}, "Iceberg table, dbo.x"),
        ({"starrocks_table": "x"}, "StarRocks table, dbo.x"),
        ({"location": "s3://b/x"}, "location, s3://b/x"),
    ],
)
def test_two_tables_are_never_sent_to_one_place(wish: dict[str, str], what: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"dbo\.a and dbo\.b to the same {what}"):
        planned(source("a"), source("b"), rules={"tables": {"*": wish}})


def test_data_of_one_table_never_lies_within_that_of_another() -> None:
    with pytest.raises(ConfigurationError, match=r"location of dbo\.a.* within that of dbo\.b"):
        planned(
            source("a"),
            source("b"),
            rules={"tables": {"dbo.a": {"location": "s3://lake/warehouse/dbo/b/deep/a"}}},
        )


def test_prefix_and_schema_mapping() -> None:
    result = planned(
        source("t"),
        source("t", schema="hr"),
        source("t", schema="ops"),
        rules={
            "namespace_prefix": "shop_",
            "schemas": {"HR": {"namespace": "people"}, "ops": {"database": "Ops"}},
        },
    )
    assert [(t.namespace, t.starrocks_database) for t in result.tables] == [
        ("shop_dbo", "shop_dbo"),
        ("people", "people"),
        ("shop_ops", "Ops"),
    ]


def test_columns_never_take_a_reserved_name_or_each_others() -> None:
    names = ["Migrated_At", "source_partition", "__op", "a b", "a_b", "A_B", "_file"]
    table = only(source("t", *(Column(name, INT) for name in names), key=()))
    targets = [c.name for c in table.target_columns]
    assert len({name.casefold() for name in targets}) == len(targets)
    assert {c.source_name: c.name for c in table.columns}["a_b"] == "a_b"
    assert not {c.name for c in table.columns} & (RESERVED_COLUMNS | set(AUDIT_COLUMNS))
    assert sum("is named" in warning for warning in table.warnings) == 6


def test_templates_name_the_targets_and_the_suffix_is_that_of_namespaces_alone() -> None:
    result = planned(
        source("Orders", schema="Sales"),
        source("Salaries", schema="hr"),
        source("1st", schema="hr"),
        source("注文", schema="hr"),
        source("Lines", schema="Sales"),
        rules={
            "namespace_prefix": "old_",
            "namespace_suffix": "_glue",
            "iceberg_table": "{schema}_{table}",
            "defaults": {"starrocks_table": "T_{table}"},
            "schemas": {"x": "y"},
            "tables": {"hr.*": {"starrocks_table": "{table}_of_{schema}"}, "hr.1st": {"namespace": "n"},
                       "Sales.Lines": {"iceberg_table": "lines"}},
        },
    )  # fmt: skip
    placed = {
        t.full_name: (t.namespace, t.iceberg_table, t.starrocks_database, t.starrocks_table)
        for t in result.tables
    }
    hashed = placed.pop("hr.注文")
    assert re.fullmatch("hr_t_[0-9a-f]{6}", hashed[1])
    assert placed == {
        "Sales.Orders": ("old_sales_glue", "sales_orders", "old_sales", "T_orders"),
        "Sales.Lines": ("old_sales_glue", "lines", "old_sales", "T_lines"),
        "hr.Salaries": ("old_hr_glue", "hr_salaries", "old_hr", "salaries_of_hr"),
        "hr.1st": ("n", "hr_t_1st", "n", "t_1st_of_hr"),
    }
    assert all("other tables want" not in w for t in result.tables for w in t.warnings)


def test_templates_that_meet_get_suffixes() -> None:
    result = planned(
        source("b_c", schema="a"),
        source("c", schema="a_b"),
        rules={"iceberg_table": "{schema}_{table}", "schemas": {"a": "one", "a_b": "one"}},
    )
    names = [t.iceberg_table for t in result.tables]
    assert len(set(names)) == 2
    assert all(re.fullmatch("a_b_c_[0-9a-f]{6}", name) for name in names)
    assert all("other tables want a_b_c too" in " ".join(t.warnings) for t in result.tables)


def test_long_names_stay_within_what_glue_takes() -> None:
    long = source("t" * 128, schema="s" * 128)
    rules = {"iceberg_table": "{schema}_{table}", "namespace_prefix": "p" * 51,
             "namespace_suffix": "x" * 50}  # fmt: skip
    table = only(long, rules=rules)
    assert len(table.namespace) == 51 + 128 + 50
    assert len(table.iceberg_table) <= 190
    wide = only(source("t", schema="ß" * 128), rules=rules)
    assert len(wide.namespace) == 252
    assert wide.namespace.endswith("s" + "x" * 50)

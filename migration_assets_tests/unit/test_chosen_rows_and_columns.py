"""Conditions, names and choice of columns: what the plan and its statements make of them."""

from __future__ import annotations

from typing import Any

import pytest

from migration_assets.choices import VerificationLevel
from migration_assets.evolution import obstacles
from migration_assets.mssql.jdbc import jdbc_table
from migration_assets.mssql.select import (
    fingerprint_sql,
    invalid_text_sql,
    range_count_sql,
    select_sql,
    source_sql,
)
from migration_assets.plan import TablePlan
from migration_assets.plan_changes import compare_plans
from migration_assets.replanning import take_over
from migration_assets.rules import Rules
from migration_assets.schema import (
    Column,
    SourceTable,
    TableKind,
    TableSchema,
)
from migration_assets.source_query import single_condition
from migration_assets_tests.unit.people import (
    ID,
    TEXT,
    made,
    only,
    refused,
)

# -- conditions ----------------------------------------------------------------------------------


def with_where(where: str, **wishes: Any) -> TablePlan:
    return only(where=where, **wishes)


def test_every_statement_reads_through_the_condition():
    table = with_where("Small > 3 -- grown up", exclude_columns=["Notes"])
    (whole,) = table.key_ranges
    source = source_sql(table)
    assert source.startswith("(SELECT [Id], [Email], ")
    assert source.endswith(" FROM [dbo].[People] WHERE (\nSmall > 3 -- grown up\n)) AS [People]")
    assert "[Notes]" not in source
    for sql in (
        select_sql(table, whole),
        *fingerprint_sql(table, whole, VerificationLevel.FULL),
        invalid_text_sql(table, whole, ["email"]),
        range_count_sql(table, whole),
        jdbc_table(table),
    ):
        assert source in sql


def test_a_condition_is_part_of_the_table_and_told():
    plain, filtered, other = only(), with_where("Small > 3"), with_where("Small > 4")
    assert len({plain.table_id, filtered.table_id, other.table_id}) == 3
    assert obstacles(filtered, other) == ["its condition changes"]
    assert "Rows are left out: only those are migrated where Small > 3" in filtered.warnings
    (change,) = compare_plans(made(where="Small > 3"), made(where="Small > 4")).tables
    assert ("where", "Small > 3", "Small > 4") in [(c.name, c.old, c.new) for c in change.changes]


def test_a_plan_without_all_that_is_as_it_was():
    table = only()
    body = table.model_dump(mode="json")
    assert not {"where", "mask_key"} & set(body)
    assert not {"mask", "masked_type", "named"} & set(body["columns"][0])


# -- names and choice of columns -----------------------------------------------------------------


def test_columns_are_named_by_rule_everywhere():
    table = only({"email": {"name": "mail"}, "Born": {"name": "email"}})
    assert (table.by_source["Email"].name, table.by_source["Born"].name) == ("mail", "email")
    assert "[Email] AS [mail]" in select_sql(table, table.key_ranges[0])
    assert not any("is named" in warning for warning in table.warnings)


def test_two_columns_of_one_name_are_refused():
    assert "both Email and Born x" in refused({"Email": {"name": "x"}, "Born": {"name": "x"}})


def test_a_name_by_rule_moves_another_that_has_it():
    table = only({"Email": {"name": "born"}})
    assert table.by_source["Email"].name == "born"
    assert table.by_source["Born"].name.startswith("born_")


@pytest.mark.parametrize(
    ("first", "second", "names"),
    [
        ({}, {"Email": {"name": "mail"}}, ("mail", "born")),
        ({"Email": {"name": "mail"}}, {}, ("email", "born")),
        ({"Email": {"name": "mail"}}, {"Email": {"name": "post"}}, ("post", "born")),
    ],
)
def test_a_new_plan_follows_new_names(first: Any, second: Any, names: tuple[str, str]):
    old, new = made(first), made(second)
    rules = Rules.model_validate({"tables": {"dbo.People": {"columns": second}}})
    (table,) = take_over(new, old, rules).tables
    assert (table.by_source["Email"].name, table.by_source["Born"].name) == names
    assert not table.evolutions  # StarRocks and Iceberg have the old name


def test_columns_are_chosen_by_patterns():
    table = only(include_columns=["id", "*a*"], exclude_columns=["Cash"])
    assert [c.source_name for c in table.columns] == [
        "Id", "Email", "Flag", "Small", "Ratio", "Raw",
    ]  # fmt: skip
    assert (
        "include_columns: there is no column Nope." in only(include_columns=["Nope", "Id"]).warnings
    )


def test_a_query_is_read_through_its_condition_too():
    columns = TableSchema((ID, Column("Email", TEXT)), ("Id",))
    query = SourceTable(
        "dbo", "People", columns, 10, kind=TableKind.QUERY, query="SELECT Id, Email FROM x"
    )
    table = only({"Email": {"mask": None}}, query, where="Id > 3")
    assert source_sql(table) == (
        "(SELECT [Id] FROM (\nSELECT Id, Email FROM x\n) AS [q] WHERE (\nId > 3\n)) AS [People]"
    )


@pytest.mark.parametrize(
    "where",
    [
        "Name LIKE N'%;%' AND Id IN (SELECT Id FROM dbo.t WHERE x = 1)",
        "[GETDATE] > 1 /* a ) comment */ -- and ; another",
        "Status IS DISTINCT FROM 'x'",
        "NOT EXISTS (SELECT 1 FROM dbo.gone AS g WHERE g.Id = People.Id)",
    ],
)
def test_conditions_that_are_taken(where: str):
    assert single_condition(f"  {where}\n") == where

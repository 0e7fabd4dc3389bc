"""Views and queries as tables: the rules, what is asked of SQL Server, and what the plan makes of it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from migration_assets.choices import VerificationLevel
from migration_assets.errors import ConfigurationError, OperationTimeoutError
from migration_assets.fingerprint import key_columns
from migration_assets.inventory import Inventory, Kind, LeftBehind
from migration_assets.mssql.affected import affected_statements
from migration_assets.mssql.hazards import MASKED, POLICY
from migration_assets.mssql.introspection import check_columns, key_bounds
from migration_assets.mssql.jdbc import jdbc_table
from migration_assets.mssql.keys import walk
from migration_assets.mssql.point_in_time import start_watch
from migration_assets.mssql.select import fingerprint_sql, range_count_sql, select_sql
from migration_assets.mssql.views import with_views
from migration_assets.partitioning import choose_key
from migration_assets.plan import MigrationPlan, TablePlan
from migration_assets.plan_changes import Remedy, compare_plans
from migration_assets.planner import KeyRequest, plan
from migration_assets.replanning import stamped, take_over
from migration_assets.rules import Rules
from migration_assets.rules_file import load_rules
from migration_assets.schema import (
    Column,
    MssqlType,
    SourceDatabase,
    SourceTable,
    TableKind,
    TableSchema,
)
from migration_assets_tests.unit.scripted_server import (
    DENIED,
    INT,
    MISSING,
    NAME,
    TYPES,
    ScriptedServer,
    columns_of,
)
from migration_assets_tests.unit.source_tables import only, source

VIEWS = columns_of(
    ("sales", "v_orders", [("Id", INT), ("Who", NAME)]), ("sales", "v_left", [("Id", INT)])
)
SELECT = "SELECT Id, SUM(Price) AS Total FROM sales.Lines GROUP BY Id -- all"
RULES = {
    "views": "sales.V_O*",
    "queries": {"sales.totals": {"select": SELECT, "key": "id"}},
    "tables": {"sales.v_orders": {"key": ["ID", "who"], "partitions": 8}},
}


def described(name: str | None, kind: str | None = "int", **more: Any) -> tuple[Any, ...]:
    """A row of sys.dm_exec_describe_first_result_set."""
    values = {
        "length": 4, "precision": 10, "scale": 0, "collation": None, "nullable": True,
        "user_type": None, "user_schema": None, "hidden": False, "error": None,
    } | more  # fmt: skip
    return (name, kind, *values.values())


def failed(message: str) -> list[tuple[Any, ...]]:
    return [described(None, None, error=message)]


TOTALS = [
    described("Id", nullable=False),
    described("Total", "decimal(38,2)", length=17, precision=38, scale=2),
]


def views(_: str, only: tuple[str, ...]) -> list[tuple[Any, ...]]:
    return [row for row in VIEWS if not only or row[:2] == only]


def server(**answers: Any) -> ScriptedServer:
    usual = {
        r"dm_exec_describe": TOTALS,
        r"FROM sys\.views": views,
        r"sys\.types": TYPES,
        r"rows_of_it.*v_orders": [(30_000, 1, 0)],
        r"rows_of_it": [(7, 1, 0)],
        r"SELECT COUNT_BIG\(\*\) FROM": [(3,)],
    }
    return ScriptedServer(answers | {k: v for k, v in usual.items() if k not in answers})


def found(*more: SourceTable, **values: Any) -> SourceDatabase:
    views = [
        SourceTable("sales", name, TableSchema(()), 0, kind=TableKind.VIEW)
        for name in ("v_orders", "v_left")
    ]
    return SourceDatabase(
        "SQL1", "shop", "16", "Latin1_General_CI_AS", True, True, (*views, *more), **values
    )  # fmt: skip


def taken(client: ScriptedServer, rules: dict[str, Any] | None = None) -> dict[str, SourceTable]:
    database = with_views(client, found(), Rules.model_validate(rules or RULES))  # type: ignore[arg-type] # asks only
    return {table.full_name: table for table in database.tables}


def planned(
    client: ScriptedServer, rules: dict[str, Any] | None = None, old: MigrationPlan | None = None
) -> MigrationPlan:
    wishes = Rules.model_validate(rules or RULES)
    database = with_views(client, found(), wishes)  # type: ignore[arg-type] # asks only
    made = plan(database, wishes, warehouse="s3://lake/w")
    made = stamped(made, database, wishes, warehouse="s3://lake/w")
    return made if old is None else take_over(made, old, wishes)


# -- rules ---------------------------------------------------------------------------------------


@pytest.fixture
def load(tmp_path: Path) -> Callable[[str], Rules]:
    def _load(text: str) -> Rules:
        (tmp_path / "migration.yaml").write_text(text, encoding="utf-8")
        return load_rules(tmp_path / "migration.yaml")

    return _load


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("queries: {s.q: {select: SELECT 1 AS a, kee: x}}", "line 1: queries.s.q.kee is not a known key; did you mean key?"),
        ("queries:\n  s.q: {key: a}", "line 2: queries.s.q.select is"),
        ("queries:\n  s.q:\n    select: DELETE FROM t", "line 3: queries.s.q.select is 'DELETE FROM t': it begins with DELETE"),
        ("queries: {totals: {select: SELECT 1 AS a}}", "totals is not of the form schema.name"),
        ("queries: {'a.[b.c]': {select: SELECT 1 AS a}}", "is not of the form schema.name"),
        ("queries: {a.b: {select: SELECT 1 AS a}, A.B: {select: SELECT 1 AS a}}", "A.B is there twice"),
        ("view: [a.b]", "view is not a known key; did you mean views?"),
    ],
)  # fmt: skip
def test_mistakes_are_told_with_their_line(
    load: Callable[[str], Rules], text: str, message: str
) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(message)):
        load(text)


def test_a_view_is_taken_in_by_its_name_and_excluded_again() -> None:
    rules = Rules.model_validate({"views": "sales.V_*", "exclude": "*.v_left", "include": []})
    assert rules.takes_view("sales.v_orders")
    assert not rules.takes_view("sales.v_left")
    assert not rules.takes_view("dbo.v_orders")
    assert not Rules().takes_view("sales.v_orders")


def test_the_key_of_a_query_goes_before_that_of_a_pattern() -> None:
    rules = Rules.model_validate({**RULES, "tables": {"*": {"key": "other"}}})
    assert rules.for_table("Sales.Totals").key == ("id",)
    assert rules.for_table("sales.v_orders").key == ("other",)


# -- what is asked -------------------------------------------------------------------------------


def test_nothing_is_asked_where_rules_name_nothing() -> None:
    client, database = server(), found()
    assert with_views(client, database, Rules()) is database  # type: ignore[arg-type] # asks only
    assert client.asked == []
    assert {s.reason for s in planned(client, {"views": []}).skipped} == {"it is a view"}


def test_views_and_queries_are_described_and_counted() -> None:
    client = server()
    tables = taken(client)
    view, totals = tables["sales.v_orders"], tables["sales.totals"]
    assert len(client.asked) == 5  # columns, types, one description, two counts
    assert [c.name for c in view.columns.columns] == ["Id", "Who"]
    assert view.columns.primary_key == ("Id", "Who")
    assert (view.rows, view.rows_exact, view.object_id) == (30_000, True, 1)
    assert (totals.kind, totals.query) == (TableKind.QUERY, SELECT)
    assert [c.type.declaration for c in totals.columns.columns] == ["int", "decimal(38,2)"]
    assert [c.nullable for c in totals.columns.columns] == [False, True]
    assert not tables["sales.v_left"].is_candidate
    (counted,) = (sql for sql in client.asked if "rows_of_it" in sql and "v_orders" not in sql)
    assert f"FROM (\n{SELECT}\n) AS [q] GROUP BY [Id]) AS g" in counted


@pytest.mark.parametrize(
    ("row", "name", "declaration"),
    [
        (described("a", "nvarchar(20)", length=40, collation="C"), "nvarchar", "nvarchar(20)"),
        (described("a", "nvarchar(max)", length=-1, collation="C"), "nvarchar", "nvarchar(max)"),
        (described("a", "datetime2(3)", length=7, precision=23, scale=3), "datetime2", "datetime2(3)"),
        (described("a", "timestamp", length=8), "timestamp", "timestamp"),
        (described("a", None, user_type="geography", user_schema="sys"), "geography", "geography"),
        (described("a", None, user_type="Point", user_schema="dbo"), "clr", "clr"),
        (described("a", "nvarchar(128)", length=256, user_type="sysname"), "nvarchar", "nvarchar(128)"),
    ],
)  # fmt: skip
def test_types_are_those_of_the_catalog(row: tuple[Any, ...], name: str, declaration: str) -> None:
    client = server(dm_exec_describe=[row])
    rules = {"queries": {"s.q": {"select": "SELECT a FROM t"}}}
    (column,) = taken(client, rules)["s.q"].columns.columns
    assert (column.type.name, column.type.declaration) == (name, declaration)


@pytest.mark.parametrize(
    ("whole", "alone", "said"),
    [
        (failed("Invalid object name 't'."), failed("Invalid object name 't'."), "Invalid object name 't'"),
        (failed("No name."), [described("a"), described(None)], "column 2 has no name; give it one with AS"),
        (failed("Twice."), [described("a"), described("b"), described("A")], "column 1, a, has the name of another"),
        (failed("The ORDER BY clause is invalid."), [described("a")], "The ORDER BY clause is invalid."),
        ([], [], "it has no rows to give"),
    ],
)  # fmt: skip
def test_a_query_that_cannot_be_a_table_is_refused(
    whole: list[tuple[Any, ...]], alone: list[tuple[Any, ...]], said: str
) -> None:
    def describe(_: str, params: tuple[str]) -> list[tuple[Any, ...]]:
        return whole if params[0].startswith("SELECT * FROM (\n") else alone

    with pytest.raises(ConfigurationError, match=re.escape(said)):
        taken(server(dm_exec_describe=describe))


def test_what_cannot_be_had_leaves_one_out_and_the_others_in() -> None:
    said = {s.source_name: s.reason for s in planned(server(dm_exec_describe=MISSING)).skipped}
    assert said["totals"] == "SQL Server cannot say which columns it has: Invalid object name"
    said = {s.source_name: s.reason for s in planned(server(v_orders=DENIED)).skipped}
    assert said["v_orders"] == "it cannot be read: The permission was denied"
    views = {r"FROM sys\.views": [], "TABLE_TYPE = 'VIEW'": []}
    said = {s.source_name: s.reason for s in planned(server(**views)).skipped}
    assert said["v_orders"] == "its columns are not visible to this login"


def test_a_count_that_takes_too_long_leaves_the_size_open() -> None:
    late = OperationTimeoutError("It took too long.")
    tables = taken(server(**{"rows_of_it": late, r"SELECT COUNT_BIG\(\*\) FROM \[": late}))
    assert (tables["sales.v_orders"].rows, tables["sales.v_orders"].refusal) == (0, None)
    assert any("MSSQL_QUERY_TIMEOUT_S" in w for w in tables["sales.v_orders"].warnings)


@pytest.mark.parametrize(
    ("counted", "said"),
    [
        ([(9, 1, 0)], ""),
        ([(9, 2, 0)], "The key (Id) is not unique"),
        ([(9, 1, 1)], "The key (Id) is NULL in some rows"),
        (DENIED, "It is not known whether the key (Id) is unique."),
    ],
)
def test_a_key_that_is_none_is_a_warning(counted: Any, said: str) -> None:
    client = server(**{"rows_of_it": counted, r"SELECT COUNT_BIG\(\*\) FROM \(": [(9,)]})
    table = taken(client, {"queries": RULES["queries"]})["sales.totals"]
    assert table.rows == 9
    assert [w for w in table.warnings if "key" in w] == [
        w for w in table.warnings if said and said in w
    ]
    assert table.columns.primary_key == ("Id",)


def test_a_key_with_null_is_not_cut_by_several_columns_whatever_the_catalog_says() -> None:
    """The catalog's word on a view is as old as the view; a row with NULL would be in no range."""
    said = columns_of(("sales", "v_orders", [("Id", INT), ("Who", NAME)]))
    strict = [(*row[:-1], False) for row in said]  # the last says whether it takes NULL
    for nulls, more in ((0, ("Who",)), (1, ())):
        client = server(
            **{r"FROM sys\.views": strict, r"rows_of_it.*v_orders": [(30_000, 1, nulls)]}
        )
        table = taken(client)["sales.v_orders"]
        assert choose_key(table).column == "Id"
        assert choose_key(table).more == more


def test_a_query_that_is_excluded_is_not_asked_for() -> None:
    client = server()
    made = planned(client, {**RULES, "views": [], "exclude": "*.totals"})
    assert made.tables == ()
    assert client.asked == []
    reasons = {s.source_name: s.reason for s in made.skipped}
    assert reasons["totals"] == "excluded by the pattern *.totals in migration.yaml"


def test_what_tables_conceal_is_a_warning() -> None:
    masked = Column("Mail", MssqlType("int", 4, 10), refusal=MASKED)
    filtered = source("People", masked, warnings=(f"{POLICY} dbo.own filters it.",))
    database = with_views(server(), found(filtered), Rules.model_validate(RULES))  # type: ignore[arg-type] # asks only
    said = {table.full_name: table.warnings for table in database.tables}
    expected = (
        "If it reads dbo.People.Mail: they are masked for this login, and so would be their copies.",
        "If it reads dbo.People: they are filtered by row-level security, so rows may be missing.",
    )
    assert said["sales.totals"] == said["sales.v_orders"] == expected
    assert said["sales.v_left"] == ()
    assert {t.warnings for t in taken(server()).values()} == {()}


def test_that_there_are_no_counters_is_a_note() -> None:
    assert any("no counters of their own" in note for note in planned(server()).notes)
    fixed = {**RULES, "consistency": "database_snapshot"}
    assert not any("no counters of their own" in note for note in planned(server(), fixed).notes)


def test_a_key_of_no_column_and_a_name_of_another_are_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"names nope, which is no column"):
        taken(server(), {"views": "*.v_orders", "tables": {"sales.v_orders": {"key": "nope"}}})
    for name, kind in {"SALES.V_LEFT": "view", "dbo.Orders": "table"}.items():
        rules = Rules.model_validate({"queries": {name: {"select": SELECT}}})
        with pytest.raises(ConfigurationError, match=f"{name} has the name of a {kind}"):
            with_views(server(), found(source("orders")), rules)  # type: ignore[arg-type] # asks only


def test_what_is_migrated_does_not_stay_behind() -> None:
    rules = Rules.model_validate(RULES)
    database = with_views(server(), found(not_migrated={"views": 2}), rules)  # type: ignore[arg-type] # asks only
    assert database.not_migrated == {"views": 1}
    views = tuple(LeftBehind("sales", name) for name in ("v_left", "v_orders"))
    inventory = Inventory({Kind.VIEW: views}, ("note",))
    assert inventory.without_views({("sales", "v_orders")}).objects == {Kind.VIEW: views[:1]}
    assert inventory.without_views({("sales", "v_orders")}).notes == ("note",)


# -- what is planned -----------------------------------------------------------------------------


def tables_of(made: MigrationPlan) -> tuple[TablePlan, TablePlan]:
    by_name = {table.source_name: table for table in made.tables}
    return by_name["v_orders"], by_name["totals"]


def test_the_plan_has_them_and_comes_back_from_its_file() -> None:
    made = planned(server())
    view, totals = tables_of(made)
    assert (view.kind, view.query, view.sort_key) == (TableKind.VIEW, "", ("id", "who"))
    assert (totals.kind, totals.query, totals.sort_key) == (TableKind.QUERY, SELECT, ("id",))
    assert {s.source_name: s.reason for s in made.skipped} == {"v_left": "it is a view"}
    assert MigrationPlan.from_json(made.to_json(), origin="file") == made
    assert "No key" not in " ".join(view.warnings)
    bare = planned(server(), {"views": "*.v_orders"})
    assert "No key: duplicate rows cannot be told apart." in bare.tables[0].warnings


def test_a_table_s_plan_says_nothing_of_views() -> None:
    table = only(source())
    assert not {"kind", "query"} & table.model_dump(mode="json").keys()
    assert table.replaced(query=SELECT).table_id != table.table_id
    assert only(source(), rules={"tables": {"*": {"key": "id"}}}).warnings == (
        "key has no effect: it is for views and queries.",
    )


def test_every_statement_reads_the_query_in_parentheses() -> None:
    _, totals = tables_of(planned(server()))
    key_range = replace_range(totals)
    derived = f"FROM (\n{SELECT}\n) AS [q]"
    statements = [
        select_sql(totals, key_range),
        *fingerprint_sql(totals, key_range, VerificationLevel.FULL),
        range_count_sql(totals, key_range),
        jdbc_table(totals),
        *(sql for _, sql in affected_statements(lossy(totals))),
    ]
    for sql in statements:
        assert sql.count(derived) == 1
    assert select_sql(totals, key_range).endswith(f"{derived} WHERE [Id] >= 5")
    table = taken(server())["sales.totals"]
    client = ScriptedServer({"MIN": [(0, "1", "9")], "RANK": []})
    key_bounds(client, [(table, "Id")])  # type: ignore[arg-type] # asks only
    walk(client, KeyRequest(table, ("Id",), 8))  # type: ignore[arg-type] # asks only
    assert [sql.count(derived) for sql in client.asked] == [2, 1]


def replace_range(table: TablePlan) -> Any:
    return table.key_ranges[0].model_copy(update={"column": "Id", "lower": "5"})


def lossy(table: TablePlan) -> TablePlan:
    column = Column("At", MssqlType("datetime2", 8, 27, 7))
    return only(source("totals", column, key=())).replaced(query=table.query)


def test_columns_are_looked_at_again_before_rows_are_read() -> None:
    view, totals = tables_of(planned(server()))
    check_columns(server(), view)  # type: ignore[arg-type] # asks only
    check_columns(server(), totals)  # type: ignore[arg-type] # asks only
    other = [TOTALS[0], described("Total", "decimal(38,4)", length=17, precision=38, scale=4)]
    with pytest.raises(Exception, match=r"decimal\(38,4\) now, it was decimal\(38,2\)"):
        check_columns(server(dm_exec_describe=other), totals)  # type: ignore[arg-type] # asks only


def test_only_counters_of_the_database_are_watched() -> None:
    view, totals = tables_of(planned(server()))
    for table in (view, totals):
        client = ScriptedServer({"CHANGE_TRACKING": [(7,)]})
        watch = start_watch(client, table)  # type: ignore[arg-type] # asks only
        assert watch is not None
        assert watch.names == ("Change Tracking version of the database",)
        assert "OBJECT_ID" not in watch.sql


def test_a_changed_query_is_a_change_and_nothing_else_is() -> None:
    old = planned(server())
    assert not compare_plans(old, planned(server(), old=old))
    queries = {"sales.totals": {"select": f"{SELECT}\n", "key": "id"}}
    assert not compare_plans(old, planned(server(), {**RULES, "queries": queries}, old))
    queries["sales.totals"]["select"] = SELECT.replace("SUM", "MAX")
    changes = compare_plans(old, planned(server(), {**RULES, "queries": queries}, old))
    (changed,) = changes.tables
    assert (changed.table, changed.remedy) == ("sales.totals", Remedy.RESET)
    assert changed.reasons == ("its query changes",)
    assert [change.name for change in changed.changes] == ["query"]


def test_a_key_that_may_be_null_measures_nothing_with_it() -> None:
    """T-SQL's product with NULL is NULL, so it would differ from what Arrow works out."""
    view, _ = tables_of(planned(server()))
    assert [column.name for column in key_columns(view)] == ["id"]
    nullable = replace_column(view, nullable=True)
    assert key_columns(nullable) == ()


def replace_column(table: TablePlan, **values: Any) -> TablePlan:
    first, *others = table.columns
    return table.replaced(columns=(first.model_copy(update=values), *others))


def test_rules_without_effect_are_named() -> None:
    made = planned(server(), {**RULES, "views": ["sales.v_o*", "x.y"]})
    assert "migration.yaml: views: x.y matches no view." in made.notes
    assert not any("v_o*" in note for note in made.notes)

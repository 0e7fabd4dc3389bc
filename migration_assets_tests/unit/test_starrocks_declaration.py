"""Tables that somebody else makes: read, compared, marked, emptied, never made, altered or dropped."""

from __future__ import annotations

import contextlib
from typing import Any

import dagster as dg
import pytest

from migration_assets.assets.translator import MigrationTranslator, Stage
from migration_assets.errors import (
    AccessDeniedError,
    ConfigurationError,
    ExistingObjectError,
    MigrationError,
    ObjectNotFoundError,
    SchemaDriftError,
)
from migration_assets.plan import TablePlan
from migration_assets.schema import Column, MssqlType
from migration_assets.starrocks import ddl, evolution, tables
from migration_assets.starrocks.declaration import compare_declaration, read_declaration
from migration_assets.starrocks.wire import Answer
from migration_assets_tests.unit.source_tables import ID, TEXT, only, source
from migration_assets_tests.unit.test_replanning import made, orders

SHOWN = """CREATE TABLE `t` (
  `id` int(11) NOT NULL COMMENT "",
  `a b)` varchar(60) NULL COMMENT "PARTITION BY (`source_partition`)"
) ENGINE=OLAP
{key}
COMMENT "the owner's"
{partition}
DISTRIBUTED BY HASH(`id`) BUCKETS 3
PROPERTIES (
"compression" = "LZ4"
);"""
BY_VALUE = "PARTITION BY (`source_partition`)"


def table(**wishes: Any) -> TablePlan:
    columns = (ID, Column("note", TEXT, nullable=True))
    rules = {"tables": {"dbo.orders": {"create": False, "model": "primary", **wishes}}}
    return only(source("orders", *columns), rules=rules)


class Server:
    """A StarRocks with one table, or none, that somebody made as a plan has it."""

    server = "here:9030"

    def __init__(self, planned: TablePlan | None, *, comment: str = "", rows: int = 0) -> None:
        self.planned, self.comment, self.rows = planned, comment, rows
        self.kind, self.denied = "BASE TABLE", False
        self.partition = BY_VALUE
        self.sent: list[str] = []

    def connection(self) -> Any:
        return contextlib.nullcontext()

    def query(self, sql: str, **_: Any) -> list[tuple[Any, ...]]:
        if self.planned is None:
            return []
        if "information_schema.tables" in sql:
            return [(self.kind, self.comment)]
        if "information_schema.columns" in sql:
            return [
                (c.name, c.starrocks_type.lower(), "YES" if c.nullable else "NO")
                for c in self.planned.starrocks_columns
            ]
        assert sql == "SELECT 1 FROM `dbo`.`orders` LIMIT 1", sql
        return [(1,)] * min(self.rows, 1)

    def execute(self, sql: str, **_: Any) -> Answer:
        if sql.startswith("SHOW CREATE TABLE"):
            assert self.planned is not None
            key = ", ".join(f"`{name}`" for name in self.planned.sort_key)
            model = self.planned.model.value.upper()
            text = SHOWN.format(key=f"{model} KEY({key})", partition=self.partition)
            return Answer(("Table", "Create Table"), (("orders", text),))
        if sql.startswith("SHOW ALTER"):
            return Answer(("JobId",))
        if self.denied:
            raise AccessDeniedError("Access denied.")
        self.sent.append(sql)
        return Answer()


def client(server: Server) -> Any:
    return server


@pytest.mark.parametrize(
    ("key", "partition", "differences"),
    [
        ("PRIMARY KEY(`id`, `source_partition`)", BY_VALUE, []),
        ("PRIMARY KEY(`ID`, `Source_Partition`) ", "PARTITION BY (source_partition)", []),
        (
            "UNIQUE KEY(`id`, `source_partition`)",
            BY_VALUE,
            [
                "it has UNIQUE KEY (id, source_partition), planned is PRIMARY KEY (id, "
                "source_partition)"
            ],
        ),
        (
            "PRIMARY KEY(`source_partition`, `id`)",
            BY_VALUE,
            [
                "it has PRIMARY KEY (source_partition, id), planned is PRIMARY KEY (id, "
                "source_partition)"
            ],
        ),
        (
            "PRIMARY KEY(`id`, `source_partition`)",
            "PARTITION BY LIST(`source_partition`)(\n PARTITION p1 VALUES IN ('1')\n)",
            [
                "it has PARTITION BY LIST(`source_partition`)(, planned is PARTITION BY "
                "(source_partition)"
            ],
        ),
        (
            "PRIMARY KEY(`id`, `source_partition`)",
            "PARTITION BY (`source_partition`, `id`)",
            [
                "it has PARTITION BY (`source_partition`, `id`), planned is PARTITION BY "
                "(source_partition)"
            ],
        ),
        (
            "",
            "",
            [
                "it has no key, planned is PRIMARY KEY (id, source_partition)",
                "it has no partitions, planned is PARTITION BY (source_partition)",
            ],
        ),
    ],
)
def test_what_is_declared_otherwise_is_told(
    key: str, partition: str, differences: list[str]
) -> None:
    found = read_declaration(SHOWN.format(key=key, partition=partition))
    assert compare_declaration(table(), found) == differences


def test_an_empty_table_that_fits_is_marked_and_taken() -> None:
    planned = table()
    server = Server(planned, comment="orders of the shop")
    tables.check_tables(client(server), [planned])
    assert server.sent == []
    tables.ensure_table(client(server), planned)
    assert server.sent == [ddl.set_comment_sql(planned)]
    server.sent.clear()
    server.comment, server.rows = ddl.table_comment(planned), 5
    tables.ensure_table(client(server), planned)
    assert server.sent == []


def test_rows_of_others_are_taken_over_only_where_a_rule_says_so() -> None:
    with pytest.raises(ExistingObjectError, match="no migration made it"):
        tables.ensure_table(client(Server(table(), rows=3)), table())
    adopting = table(on_existing="adopt")
    server = Server(adopting, rows=3)
    tables.ensure_table(client(server), adopting)
    assert server.sent == [ddl.set_comment_sql(adopting)]
    other = ddl.table_comment(only(source("other")))
    with pytest.raises(ExistingObjectError, match=r"the copy of .*other"):
        tables.ensure_table(client(Server(table(), comment=other)), table())


def test_one_that_is_not_there_or_another_thing_is_refused_and_nothing_made() -> None:
    for look in (
        lambda s: tables.check_tables(s, [table()]),
        lambda s: tables.ensure_table(s, table()),
    ):
        nothing = Server(None)
        with pytest.raises(ObjectNotFoundError, match="create: false leaves making it"):
            look(nothing)
        view = Server(table())
        view.kind = "VIEW"
        with pytest.raises(SchemaDriftError, match="is a view and no table"):
            look(view)
        listed = Server(table())
        listed.partition = "PARTITION BY LIST(`source_partition`)("
        with pytest.raises(SchemaDriftError, match="planned is PARTITION BY"):
            look(listed)
        assert nothing.sent == view.sent == listed.sent == []
    ours = table(create=True)
    tables.check_tables(client(Server(None)), [ours])  # that we make is no matter of this


def test_all_differences_of_all_tables_are_told_at_once() -> None:
    planned = table()
    server = Server(planned.replaced(model="unique", columns=planned.columns[:1]))
    twin = planned.replaced(starrocks_table="twin")
    with pytest.raises(SchemaDriftError) as caught:
        tables.check_tables(client(server), [planned, twin])
    assert caught.value.found.count("column note is missing") == 2
    assert caught.value.found.count("it has UNIQUE KEY") == 2
    assert "dbo.twin" in caught.value.found


def test_who_may_not_set_the_mark_learns_the_statement_for_the_owner() -> None:
    planned = table()
    server = Server(planned)
    server.denied = True
    with pytest.raises(AccessDeniedError) as caught:
        tables.ensure_table(client(server), planned)
    assert ddl.set_comment_sql(planned) in caught.value.next_step


def test_a_reset_empties_and_marks_and_never_drops() -> None:
    planned = table()
    server = Server(
        planned, comment=ddl.table_comment(planned.replaced(location="s3://b/x")), rows=3
    )
    tables.recreate_table(client(server), planned)
    assert server.sent == ["TRUNCATE TABLE `dbo`.`orders`", ddl.set_comment_sql(planned)]
    for untouched in (Server(None), Server(planned, comment="mine")):
        tables.recreate_table(client(untouched), planned)
        assert untouched.sent == []
    theirs = Server(planned, comment="mine", rows=1)
    with pytest.raises(ExistingObjectError):
        tables.recreate_table(client(theirs), planned)
    with pytest.raises(ExistingObjectError, match="create: false says that somebody else made it"):
        tables.drop_table(client(server), planned)


def test_columns_are_altered_by_the_owner() -> None:
    count = Column("n", MssqlType("int", 4, 10), nullable=True)
    old = made(orders(ID))
    rules = {"defaults": {"create": False}}
    new = made(orders(ID, count), old=old, rules=rules).tables[0]
    assert not new.create
    server = Server(old.tables[0], comment=ddl.table_comment(old.tables[0]))
    with pytest.raises(
        SchemaDriftError, match=r"ALTER TABLE `dbo`.`orders` ADD COLUMN `n` INT NULL"
    ):
        evolution.evolve_table(client(server), new)
    assert server.sent == []
    server.planned = new
    assert evolution.evolve_table(client(server), new) == []
    assert server.sent == [ddl.set_comment_sql(new)]


@pytest.mark.parametrize("create", [True, False])
def test_protected_rows_are_not_removed(create: bool) -> None:
    planned = table(create=create, prevent_reset=True)
    server = Server(planned, comment=ddl.table_comment(planned), rows=3)
    for remove in (tables.recreate_table, tables.drop_table):
        with pytest.raises(ConfigurationError, match=r"prevent_reset of .* protects it"):
            remove(client(server), planned)
    assert server.sent == []


def test_nothing_is_touched_where_one_of_the_tables_is_protected(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from migration_assets.operations import reset
    from migration_assets_tests.unit.source_tables import planned as plan_of

    rules = {"tables": {"dbo.orders": {"prevent_reset": True}}}
    plan = plan_of(source("orders"), source("a"), rules=rules)
    monkeypatch.setattr(reset.LakeSettings, "load", lambda: pytest.fail("a system was asked"))
    with dg.DagsterInstance.ephemeral() as instance, pytest.raises(ConfigurationError) as caught:
        reset.reset_tables(plan, plan.tables, instance)
    assert caught.value.found.startswith("dbo.orders is not reset")


def test_iceberg_rows_are_protected_too() -> None:
    from migration_assets.iceberg.tables import reset_table

    with pytest.raises(MigrationError, match="prevent_reset"):
        reset_table(None, table(prevent_reset=True))  # type: ignore[arg-type] # refused before


def test_owners_are_those_of_the_assets() -> None:
    owned = table(owners=["team:sales", "ann.b+x@example.com"])
    for stage in Stage:
        spec = MigrationTranslator().asset_spec(stage, owned)
        assert spec.owners == ["team:sales", "ann.b+x@example.com"]
        assert spec.metadata["owners"] == "team:sales, ann.b+x@example.com"
    facts = MigrationTranslator().asset_spec(Stage.STARROCKS, table(prevent_reset=True)).metadata
    assert facts["made by"] == "its owner in StarRocks (create: false)"
    assert facts["model"] == "primary"
    assert "prevent_reset" in facts


@pytest.mark.parametrize(
    "owner",
    ["team:a b", "a@b.co", "a@b.museum", "_x%y@a-b.c.de", "%a@b.co", "a@b", "team:", "a b@c.de"],
)
def test_rules_take_exactly_the_owners_that_dagster_takes(owner: str) -> None:
    from dagster._core.definitions.utils import is_valid_owner

    try:
        table(owners=[owner])
        taken = True
    except ValueError:
        taken = False
    assert taken == is_valid_owner(owner)

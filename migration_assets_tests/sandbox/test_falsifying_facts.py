"""Facts that make a copy false without an error: found when the plan is made, over a real socket."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from migration_assets.mssql.client import SqlServer
from migration_assets.mssql.introspection import introspect
from migration_assets.plan import MigrationPlan
from migration_assets.planner import plan
from migration_assets.rules import Rules
from migration_assets.sandbox.launcher import Sandbox
from migration_assets_tests.sandbox import sources

SCRIPT = """
CREATE SCHEMA sec;
GO
CREATE TABLE dbo.Staff (
    id int NOT NULL PRIMARY KEY,
    mail varchar(50) MASKED WITH (FUNCTION = 'email()') NULL,
    pay decimal(9, 2) MASKED WITH (FUNCTION = 'default()') NOT NULL,
    note nvarchar(20) NULL
);
INSERT INTO dbo.Staff VALUES (1, 'ann@example.com', 1234.56, N'n'), (2, NULL, 7, NULL);
CREATE TABLE dbo.Regions (id int NOT NULL PRIMARY KEY, region nvarchar(10) NOT NULL);
INSERT INTO dbo.Regions VALUES (1, N'north'), (2, N'south'), (3, N'north');
CREATE TABLE dbo.Computed (
    id int NOT NULL PRIMARY KEY,
    twice AS (id * 2),
    stored AS (id + 1) PERSISTED,
    now_ AS (GETDATE())
);
CREATE TABLE dbo.Secret (id int NOT NULL PRIMARY KEY, a int NULL, [b]]c.d] int NULL);
INSERT INTO dbo.Secret VALUES (1, 2, 3);
CREATE TABLE dbo.Closed (id int NOT NULL PRIMARY KEY);
CREATE TABLE dbo.Flagged (id int NOT NULL PRIMARY KEY, a int NULL, b int NULL, c nvarchar(100));
CREATE TABLE dbo.Flagged2 (id int NOT NULL PRIMARY KEY);
CREATE TABLE dbo.Plain (id int NOT NULL PRIMARY KEY);
GO
CREATE FUNCTION sec.only_region(@region nvarchar(10)) RETURNS TABLE WITH SCHEMABINDING AS
RETURN SELECT 1 AS ok WHERE @region = N'north';
GO
CREATE SECURITY POLICY sec.RegionPolicy
    ADD FILTER PREDICATE sec.only_region(region) ON dbo.Regions WITH (STATE = ON);
GO
CREATE VIEW dbo.[A View] AS SELECT id FROM dbo.Plain;
GO
CREATE SYNONYM dbo.Nickname FOR dbo.Plain;
GO
"""
MASKS = "REVOKE UNMASK FROM migration;\nGO\n"


def describe(*facts: tuple[str, str, int, str]) -> str:
    """Statements by which the stand-in claims to be what it cannot be."""
    return "".join(
        f"EXEC sp_stand_in_describe '{table}', '{flag}', {value}"
        + (f", '{column}'" if column else "")
        + ";\nGO\n"
        for table, flag, value, column in facts
    )


class Source:
    """A stand-in's database, and what is planned of it."""

    def __init__(self, client: SqlServer) -> None:
        self.client = client

    def sql(self, statements: str) -> None:
        for statement in statements.split("\nGO\n"):
            if statement.strip():
                self.client.query(statement)

    def plan(self, **rules: object) -> MigrationPlan:
        return plan(
            introspect(self.client), Rules.model_validate(rules), warehouse="s3://lake/warehouse"
        )


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with sources.running("", tmp_path_factory.mktemp("sqlserver")) as running:
        yield running


_numbers = itertools.count(1)


@pytest.fixture
def source(sandbox: Sandbox) -> Iterator[Source]:
    """A database of its own: permissions and flags of one test do not reach the next."""
    database = f"shop{next(_numbers)}"
    with sources.client(sandbox) as client:
        client.query(f"CREATE DATABASE {database}")
    with sources.client(sandbox, database=database) as client:
        made = Source(client)
        made.sql(SCRIPT)
        yield made


def reasons(made: MigrationPlan) -> dict[str, str]:
    return {skipped.source_name: skipped.reason for skipped in made.skipped}


def warnings(made: MigrationPlan, table: str) -> str:
    return "\n".join(made.table(table).warnings)


def test_masks_are_refused_where_they_would_be_copied(source: Source) -> None:
    assert made_of(source.plan(), "Staff")
    source.sql(MASKS)
    # That is what would arrive: values, and no error.
    masked = source.client.query("SELECT mail, pay FROM dbo.Staff ORDER BY id")
    assert [(mail, float(pay)) for mail, pay in masked] == [("aXXX@XXXX.com", 0), (None, 0)]
    reason = reasons(source.plan())["Staff"]
    assert "Column mail: it is masked" in reason
    assert "GRANT UNMASK" in reason
    assert "exclude_columns" in reason
    without = source.plan(tables={"dbo.Staff": {"exclude_columns": ["mail", "pay"]}})
    assert [column.source_name for column in without.table("dbo.Staff").columns] == ["id", "note"]


def test_unmask_on_columns_or_the_table_is_enough(source: Source) -> None:
    source.sql(MASKS + "GRANT UNMASK ON dbo.Staff (mail) TO migration;\nGO\n")
    assert "Column pay: it is masked" in reasons(source.plan())["Staff"]
    source.sql("GRANT UNMASK ON dbo.Staff TO migration")
    assert made_of(source.plan(), "Staff")
    mail = source.client.query("SELECT mail FROM dbo.Staff WHERE id = 1")
    assert mail == [("ann@example.com",)]


def made_of(made: MigrationPlan, name: str) -> bool:
    return name in {table.source_name for table in made.tables}


def test_policies_are_named(source: Source) -> None:
    made = source.plan()
    assert "policy sec.RegionPolicy filters it" in warnings(made, "dbo.Regions")
    assert warnings(made, "dbo.Plain") == ""
    assert source.client.query("SELECT COUNT_BIG(*) FROM dbo.Regions") == [(2,)]


def test_a_login_that_cannot_see_policies_is_told_so(source: Source) -> None:
    assert not [note for note in source.plan().notes if "VIEW DEFINITION" in note]
    source.sql("REVOKE VIEW DEFINITION FROM migration")
    made = source.plan()
    assert warnings(made, "dbo.Regions") == ""  # not seen: that is why there must be a note
    assert [note for note in made.notes if "no VIEW DEFINITION" in note]


@pytest.mark.parametrize("sees", [True, False])
def test_denied_columns_and_tables_are_found_before_data_moves(source: Source, sees: bool) -> None:
    source.sql("DENY SELECT ON dbo.Secret ([b]]c.d]) TO migration;\nGO\n")
    source.sql("DENY SELECT ON dbo.Closed TO migration;\nGO\n")
    if not sees:
        source.sql("REVOKE VIEW DEFINITION FROM migration")
    found = reasons(source.plan())
    assert "Column b]c.d: this login may not read it" in found["Secret"]
    assert found["Closed"] == "this login may not read it, SELECT is denied or not granted"
    assert set(found) == {"Secret", "Closed", "A View", "Nickname"}
    rules = {"dbo.Secret": {"exclude_columns": ["b]c.d"]}}
    without = source.plan(tables=rules).table("dbo.Secret")
    assert [column.source_name for column in without.columns] == ["id", "a"]


def test_only_granted_columns_can_be_read(source: Source) -> None:
    source.sql("REVOKE SELECT ON dbo.Secret FROM migration;\nGO\n")
    source.sql("GRANT SELECT ON dbo.Secret (id, a) TO migration;\nGO\n")
    assert "Column b]c.d: this login may not read it" in reasons(source.plan())["Secret"]


def test_computed_columns(source: Source) -> None:
    made = source.plan()
    said = warnings(made, "dbo.Computed")
    assert "now_ is computed and may not be deterministic" in said
    assert "twice" not in said
    assert "stored" not in said
    names = [column.source_name for column in made.table("dbo.Computed").columns]
    assert names == ["id", "twice", "stored", "now_"]


def test_views_and_synonyms_are_listed_by_name(source: Source) -> None:
    assert reasons(source.plan()) == {"A View": "it is a view", "Nickname": "it is a synonym"}


@pytest.mark.parametrize(
    ("fact", "said"),
    [
        (("dbo.Flagged", "temporal_type", 2, ""), "its history is not migrated"),
        (("dbo.Flagged", "is_memory_optimized", 1, ""), "memory-optimized"),
        (("dbo.Flagged", "is_filetable", 1, ""), "FileTable"),
        (("dbo.Flagged", "ledger_type", 2, ""), "ledger table"),
        (("dbo.Flagged", "is_node", 1, ""), "graph table"),
        (("dbo.Flagged", "is_hidden", 1, "a"), "a is hidden"),
        (("dbo.Flagged", "generated_always_type", 1, "a"), "a is generated by SQL Server"),
        (("dbo.Flagged", "is_filestream", 1, "a"), "a is FILESTREAM"),
        (("dbo.Flagged", "is_column_set", 1, "c"), "Column c is left out: it is a column set"),
        (("dbo.Flagged", "is_dropped_ledger_column", 1, "c"), "Column c is left out: it was dro"),
    ],
)
def test_what_is_warned_of(source: Source, fact: tuple[str, str, int, str], said: str) -> None:
    source.sql(describe(fact))
    made = source.plan()
    assert said in warnings(made, "dbo.Flagged")
    assert warnings(made, "dbo.Flagged2") == ""


@pytest.mark.parametrize(
    ("fact", "reason"),
    [
        (("dbo.Flagged", "temporal_type", 1, ""), "it is a temporal history table"),
        (("dbo.Flagged", "ledger_type", 1, ""), "it is a ledger history table"),
        (("dbo.Flagged", "is_dropped_ledger_table", 1, ""), "it is a dropped ledger table"),
        (("dbo.Flagged", "is_external", 1, ""), "it is an external table"),
        (("dbo.Flagged", "is_ms_shipped", 1, ""), "it is a system table"),
        (("dbo.Flagged", "encryption_type", 2, "a"), "Column a: it is under Always Encrypted"),
    ],
)
def test_what_is_refused(source: Source, fact: tuple[str, str, int, str], reason: str) -> None:
    source.sql(describe(fact))
    made = source.plan()
    assert reason in reasons(made)["Flagged"]
    assert made_of(made, "Flagged2")


def test_of_a_graph_table_the_ids_arrive_and_the_internal_columns_do_not(source: Source) -> None:
    source.sql(
        describe(
            ("dbo.Flagged", "is_edge", 1, ""),
            ("dbo.Flagged", "graph_type", 1, "a"),
            ("dbo.Flagged", "graph_type", 4, "b"),
            ("dbo.Flagged", "graph_type", 5, "c"),
        )
    )
    made = source.plan().table("dbo.Flagged")
    assert [column.source_name for column in made.columns] == ["id", "c"]
    assert "copied as JSON text" in "\n".join(made.warnings)


@pytest.mark.parametrize(
    "argument",
    [
        "--without=sys.database_permissions",
        "--without=sys.security_policies",
        "--without=sys.computed_columns",
        "--without=sys.extended_properties",
        "--without=sys.objects",
        "--deny=sys.security_policies",
    ],
)
def test_each_view_may_be_missing_or_denied(argument: str, tmp_path: Path) -> None:
    with (
        sources.running(SCRIPT, tmp_path, argument) as sandbox,
        sources.client(sandbox) as client,
    ):
        made = Source(client).plan()
    assert argument.partition("=")[2] in "\n".join(made.notes)
    assert made_of(made, "Plain")
    assert len(made.tables) == 8

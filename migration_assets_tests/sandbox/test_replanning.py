"""Planning over a plan, and columns that come or grow while partitions are migrated."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pymssql
import pytest

from migration_assets.sandbox.control import Fault
from migration_assets.sandbox.launcher import Sandbox
from migration_assets_tests.sandbox.project import (
    Project,
    Result,
    Statements,
    iceberg_catalog,
    starrocks_rows,
)

ROWS = 80
RULES = "tables:\n  dbo.Orders: {partitions: 8}\n"
SCRIPT = (
    "CREATE TABLE dbo.Orders (Id int NOT NULL PRIMARY KEY, Name varchar(10) NOT NULL, "
    "Amount decimal(10, 2) NULL, Pieces int NOT NULL);\nGO\n"
    "CREATE TABLE dbo.Other (Id int NOT NULL PRIMARY KEY, Name varchar(10) NULL);\nGO\n"
    "INSERT INTO dbo.Orders VALUES "
    + ", ".join(f"({n}, 'row {n}', {n / 4}, {n})" for n in range(ROWS))
    + ";\nGO\nINSERT INTO dbo.Other VALUES (1, 'a'), (2, NULL);\nGO\n"
)
ORDERS = ("--tables", "dbo.Orders")


class Bench:
    """A project on stand-ins, the steps of its story taken once, in order."""

    def __init__(self, folder: Path, sandbox: Sandbox) -> None:
        self.sandbox, self.settings = sandbox, sandbox.settings
        self.project = Project(folder, {**sandbox.settings, "COLUMNS": "80"})
        self.logs = {n: Statements(folder / "statements" / f"{n}.jsonl") for n in sandbox.names}
        self.said: dict[str, Result] = {}
        self.seen: dict[str, Any] = {}

    def run(self, name: str, *arguments: str) -> Result:
        self.said[name] = self.project.run(*arguments)
        return self.said[name]

    def alter(self, *statements: str) -> None:
        settings = self.settings
        connection = pymssql.connect(
            server=settings["MSSQL_HOST"], port=settings["MSSQL_PORT"],
            user=settings["MSSQL_USER"], password=settings["MSSQL_PASSWORD"],
            database=settings["MSSQL_DATABASE"], autocommit=True,
        )  # fmt: skip
        try:
            with connection.cursor() as cursor:
                for statement in statements:
                    cursor.execute(statement)
        finally:
            connection.close()

    @property
    def file(self) -> bytes:
        return (self.project.folder / "migration_plan.json").read_bytes()

    def reads(self) -> int:
        return len(self.logs["sqlserver"].matching(r"AS \[name\].* FROM \[dbo\]\.\[Orders\]"))

    def iceberg(self) -> Any:
        return iceberg_catalog(self.settings).load_table(("dbo", "orders"))

    def starrocks(self, query: str) -> list[tuple[Any, ...]]:
        return starrocks_rows(self.settings, query)

    def ids(self) -> tuple[str, str]:
        """The table id in Iceberg and in StarRocks."""
        (row,) = self.starrocks(
            "SELECT TABLE_COMMENT FROM information_schema.tables WHERE TABLE_NAME = 'orders' "
            "AND TABLE_SCHEMA = 'dbo'"
        )
        return self.iceberg().properties["migration.table-id"], row[0].split()[1].split("=")[1]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """The whole story; the tests look at what each step said and left behind."""
    folder = tmp_path_factory.mktemp("replanning")
    (folder / "tables.sql").write_text(SCRIPT, encoding="utf-8")
    (folder / "migration.yaml").write_text(RULES, encoding="utf-8")
    words = {"sqlserver": [f"--script={folder / 'tables.sql'}"]}
    statements = folder / "statements"
    with Sandbox(scale=None, statements_dir=statements, extra_arguments=words) as sandbox:
        made = Bench(folder, sandbox)
        try:
            _story(made)
            yield made
        finally:
            made.project.close()


def _story(made: Bench) -> None:
    seen, project = made.seen, made.project
    project.run("doctor", "--fix").ok()
    made.run("first plan", "plan", "--detailed-exitcode")
    seen["first plan"] = made.file
    made.run("same plan", "plan", "--detailed-exitcode")
    seen["same plan"] = made.file
    made.run("run", "run").ok()
    seen["first ids"] = made.ids()
    made.alter(
        "ALTER TABLE dbo.Orders ADD Note nvarchar(20) NULL",
        "ALTER TABLE dbo.Orders ALTER COLUMN Pieces bigint NOT NULL",
        "ALTER TABLE dbo.Orders ALTER COLUMN Amount decimal(14, 2) NULL",
        "ALTER TABLE dbo.Orders ALTER COLUMN Name varchar(30) NOT NULL",
        "UPDATE dbo.Orders SET Note = 'noted', Pieces = 5000000000 WHERE Id < 10",
    )
    seen["reads"] = made.reads()
    made.run("drifted", "run", *ORDERS, "--partitions", "p000")
    seen["reads after drift"] = made.reads()
    made.run("dry", "plan", "--dry-run", "--detailed-exitcode")
    made.run("unasked", "plan", "--detailed-exitcode")
    seen["unasked"] = made.file
    made.run("accepted", "plan", "--yes", "--detailed-exitcode")
    made.run("too early", "run", "--from", "starrocks", *ORDERS, "--partitions", "p001")
    starrocks = sandbox_control(made)
    starrocks.arm(Fault("error", match="^ALTER TABLE .* ADD COLUMN", number=1064, times=1))
    made.run("interrupted", "evolve", "dbo.Orders")
    starrocks.arm()
    seen["half"] = made.ids()
    made.run("evolved", "evolve", "dbo.Orders")
    seen["ids"] = made.ids()
    made.run("evolved again", "evolve", "dbo.*")
    seen["reads before failed"] = made.reads()
    made.run("failed", "run", "--failed", *ORDERS)
    seen["reads after failed"] = made.reads()
    made.run("same evolved plan", "plan", "--detailed-exitcode")
    made.run("loaded", "run", *ORDERS, "--partitions", "p002")
    made.run("rows", "validate", *ORDERS, "--level", "rows")
    seen["rows"] = made.starrocks("SELECT id, note, pieces, amount FROM dbo.orders ORDER BY id")
    scanned = made.iceberg().scan(selected_fields=("id", "note", "pieces", "amount"))
    seen["iceberg rows"] = sorted(
        tuple(row[name] for name in ("id", "note", "pieces", "amount"))
        for row in scanned.to_arrow().to_pylist()
    )
    made.alter("ALTER TABLE dbo.Orders DROP COLUMN Note")
    made.run("gone", "run", *ORDERS, "--partitions", "p003")
    made.run("to reset", "plan", "--yes")
    made.run("refused", "evolve", "dbo.Orders")
    made.run("reset", "reset", "dbo.Orders", "--yes")
    made.run("reloaded", "run", "--failed", *ORDERS)


def sandbox_control(made: Bench) -> Any:
    return made.sandbox.control("starrocks")


def test_planning_twice_changes_nothing(bench: Bench) -> None:
    assert bench.said["first plan"].code == 2, "a plan where none was is a change"
    assert bench.said["same plan"].code == 0
    assert "No changes" in bench.said["same plan"].out
    assert bench.seen["same plan"] == bench.seen["first plan"]
    assert bench.said["same evolved plan"].code == 0, str(bench.said["same evolved plan"])


def test_drift_is_found_before_the_first_row_is_read(bench: Bench) -> None:
    said = bench.said["drifted"]
    assert said.code == 1
    assert "was varchar(10) when planned" in said.out
    assert "migration-assets evolve dbo.Orders" in said.out
    assert bench.seen["reads after drift"] == bench.seen["reads"]
    gone = bench.said["gone"]
    assert "Column Note of dbo.Orders does not exist any more" in gone.out
    assert "migration-assets reset dbo.Orders" in gone.out


def test_plan_shows_what_changes_and_writes_nothing_unasked(bench: Bench) -> None:
    dry, unasked = bench.said["dry"], bench.said["unasked"]
    assert (dry.code, unasked.code) == (2, 1)
    assert bench.seen["unasked"] == bench.seen["first plan"]
    assert "--yes" in unasked.err
    for line in (
        "~ dbo.Orders  evolves, its rows stay",
        "+ note: Note nvarchar(20) -> string, VARCHAR(60)",
        "~ pieces: Pieces int NOT NULL -> int, INT",
        "=> Pieces bigint NOT NULL -> long, BIGINT",
        "Tables: 0 added, 0 removed, 1 changed.",
        "migration-assets evolve dbo.Orders",
    ):
        assert line in dry.out, str(dry)
    changes = dry.out[dry.out.index("What changes") :]
    assert max(map(len, changes.splitlines())) <= 80
    assert bench.said["accepted"].code == 2


def test_before_it_is_evolved_nothing_is_loaded(bench: Bench) -> None:
    assert bench.said["too early"].code == 1
    assert "migration-assets evolve dbo.Orders" in bench.said["too early"].out


def test_an_interruption_between_iceberg_and_starrocks_is_made_good(bench: Bench) -> None:
    assert bench.said["interrupted"].code == 1
    first = bench.seen["first ids"][0]
    half, whole = bench.seen["half"], bench.seen["ids"]
    assert (half[0] != first, half[1] == first) == (True, True)
    assert whole == (half[0], half[0])
    said = bench.said["evolved"].ok().out
    assert "dbo.Orders: StarRocks changed " in said
    assert "note: NULL in what was extracted before, 8 partitions, p000 to p007." in said
    assert "--partitions p000,p001" in said
    again = bench.said["evolved again"].ok().out
    assert "dbo.Orders: nothing was to be done." in again
    assert "dbo.Other: nothing was to be done." in again


def test_what_was_migrated_is_not_extracted_again(bench: Bench) -> None:
    bench.said["failed"].ok()
    # p000, whose last attempt failed for the drift, and no other.
    assert bench.seen["reads after failed"] == bench.seen["reads before failed"] + 1


def test_new_partitions_have_values_and_old_ones_null(bench: Bench) -> None:
    bench.said["loaded"].ok()
    rows = bench.seen["rows"]
    assert len(rows) == ROWS
    assert rows[0][1:3] == ("noted", 5_000_000_000)
    assert {row[1] for row in rows[10:]} == {None}
    assert [row[2] for row in rows[10:]] == list(range(10, ROWS))
    assert rows == bench.seen["iceberg rows"]


def test_validation_compares_what_can_be_compared_and_says_what_not(bench: Bench) -> None:
    # Level rows is full, and each row besides.
    said = bench.said["rows"].ok().out
    assert "6 partitions (p001, p003, p004, p005, p006, ...)" in said
    assert "before note came" in said


def test_other_changes_are_refused_with_the_command_that_reloads(bench: Bench) -> None:
    assert "migration-assets reset dbo.Orders" in bench.said["to reset"].ok().out
    assert bench.said["refused"].code == 1
    assert "`migration-assets reset dbo.Orders`" in bench.said["refused"].err
    bench.said["reset"].ok()
    bench.said["reloaded"].ok()
    ids = {c["name"]: c["field_id"] for c in json.loads(bench.file)["tables"][0]["columns"]}
    assert ids == {"id": 1, "name": 2, "amount": 3, "pieces": 4}
    assert json.loads(bench.file)["tables"][0]["last_field_id"] == 8

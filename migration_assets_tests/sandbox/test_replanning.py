"""Planning over a plan, and columns that come or grow while partitions are migrated."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from migration_assets.sandbox.control import Fault
from migration_assets.sandbox.launcher import Sandbox
from migration_assets_tests.sandbox.project import (
    Project,
    Result,
    Statements,
    iceberg_catalog,
    run_tsql,
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
        run_tsql(self.settings, *statements)

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
    """Stand-ins and a project; the fixtures that follow take the steps of one story in order."""
    folder = tmp_path_factory.mktemp("replanning")
    (folder / "tables.sql").write_text(SCRIPT, encoding="utf-8")
    (folder / "migration.yaml").write_text(RULES, encoding="utf-8")
    words = {"sqlserver": [f"--script={folder / 'tables.sql'}"]}
    statements = folder / "statements"
    with Sandbox(scale=None, statements_dir=statements, extra_arguments=words) as sandbox:
        made = Bench(folder, sandbox)
        try:
            made.project.run("doctor", "--fix").ok()
            yield made
        finally:
            made.project.close()


@pytest.fixture(scope="module")
def planned(bench: Bench) -> Bench:
    """Planned twice, migrated, and planned again after columns came and grew."""
    seen = bench.seen
    bench.run("first plan", "plan", "--detailed-exitcode")
    seen["first plan"] = bench.file
    bench.run("same plan", "plan", "--detailed-exitcode")
    seen["same plan"] = bench.file
    bench.run("run", "run").ok()
    seen["first ids"] = bench.ids()
    bench.alter(
        "ALTER TABLE dbo.Orders ADD Note nvarchar(20) NULL",
        "ALTER TABLE dbo.Orders ALTER COLUMN Pieces bigint NOT NULL",
        "ALTER TABLE dbo.Orders ALTER COLUMN Amount decimal(20, 2) NULL",
        "ALTER TABLE dbo.Orders ALTER COLUMN Name varchar(30) NOT NULL",
        "UPDATE dbo.Orders SET Note = 'noted', Pieces = 5000000000 WHERE Id < 10",
    )
    seen["reads"] = bench.reads()
    bench.run("drifted", "run", *ORDERS, "--partitions", "p000")
    seen["reads after drift"] = bench.reads()
    bench.run("dry", "plan", "--dry-run", "--detailed-exitcode")
    bench.run("unasked", "plan", "--detailed-exitcode")
    seen["unasked"] = bench.file
    bench.run("accepted", "plan", "--yes", "--detailed-exitcode")
    bench.run("too early", "run", "--from", "starrocks", *ORDERS, "--partitions", "p001")
    return bench


@pytest.fixture(scope="module")
def evolved(planned: Bench) -> Bench:
    """Evolved, with an interruption between the two systems, and run again."""
    bench, seen = planned, planned.seen
    starrocks = bench.sandbox.control("starrocks")
    starrocks.arm(Fault("error", match="^ALTER TABLE .* ADD COLUMN", number=1064, times=1))
    bench.run("interrupted", "evolve", "dbo.Orders")
    starrocks.arm()
    seen["half"] = bench.ids()
    bench.run("evolved", "evolve", "dbo.Orders")
    seen["ids"] = bench.ids()
    bench.run("evolved again", "evolve", "dbo.*")
    seen["reads before failed"] = bench.reads()
    bench.run("failed", "run", "--failed", *ORDERS)
    seen["reads after failed"] = bench.reads()
    bench.run("same evolved plan", "plan", "--detailed-exitcode")
    return bench


@pytest.fixture(scope="module")
def loaded(evolved: Bench) -> Bench:
    """One partition more extracted under the new plan, and all compared."""
    bench, seen = evolved, evolved.seen
    bench.run("loaded", "run", *ORDERS, "--partitions", "p002")
    bench.run("rows", "validate", *ORDERS, "--level", "rows")
    seen["rows"] = bench.starrocks("SELECT id, note, pieces, amount FROM dbo.orders ORDER BY id")
    scanned = bench.iceberg().scan(selected_fields=("id", "note", "pieces", "amount"))
    seen["iceberg rows"] = sorted(
        tuple(row[name] for name in ("id", "note", "pieces", "amount"))
        for row in scanned.to_arrow().to_pylist()
    )
    return bench


@pytest.fixture(scope="module")
def shrunk(loaded: Bench) -> Bench:
    """A column went: no evolution leads there."""
    bench = loaded
    bench.alter("ALTER TABLE dbo.Orders DROP COLUMN Note")
    bench.run("to reset", "plan", "--yes")
    bench.run("refused", "evolve", "dbo.Orders")
    return bench


def test_planning_twice_changes_nothing(planned: Bench) -> None:
    assert planned.said["first plan"].code == 2, "a plan where none was is a change"
    assert planned.said["same plan"].code == 0
    assert "No changes" in planned.said["same plan"].out
    assert planned.seen["same plan"] == planned.seen["first plan"]


def test_drift_is_found_before_the_first_row_is_read(planned: Bench) -> None:
    said = planned.said["drifted"]
    assert said.code == 1
    assert "was varchar(10) when planned" in said.out
    assert "migration-assets evolve dbo.Orders" in said.out
    assert planned.seen["reads after drift"] == planned.seen["reads"]


def test_plan_shows_what_changes_and_writes_nothing_unasked(planned: Bench) -> None:
    dry, unasked = planned.said["dry"], planned.said["unasked"]
    assert (dry.code, unasked.code) == (2, 1)
    assert planned.seen["unasked"] == planned.seen["first plan"]
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
    assert planned.said["accepted"].code == 2


def test_before_it_is_evolved_nothing_is_loaded(planned: Bench) -> None:
    assert planned.said["too early"].code == 1
    assert "migration-assets evolve dbo.Orders" in planned.said["too early"].out


def test_an_interruption_between_iceberg_and_starrocks_is_made_good(evolved: Bench) -> None:
    assert evolved.said["interrupted"].code == 1
    first = evolved.seen["first ids"][0]
    half, whole = evolved.seen["half"], evolved.seen["ids"]
    assert (half[0] != first, half[1] == first) == (True, True)
    assert whole == (half[0], half[0])
    said = evolved.said["evolved"].ok().out
    assert "dbo.Orders: StarRocks changed " in said
    assert "note: NULL in what was extracted before, 8 partitions, p000 to p007." in said
    assert "--partitions p000,p001" in said
    again = evolved.said["evolved again"].ok().out
    assert "dbo.Orders: nothing was to be done." in again
    assert "dbo.Other: nothing was to be done." in again


def test_planning_after_evolving_changes_nothing(evolved: Bench) -> None:
    assert evolved.said["same evolved plan"].code == 0, str(evolved.said["same evolved plan"])


def test_what_was_migrated_is_not_extracted_again(evolved: Bench) -> None:
    evolved.said["failed"].ok()
    # p000, whose last attempt failed for the drift, and no other.
    assert evolved.seen["reads after failed"] == evolved.seen["reads before failed"] + 1


def test_new_partitions_have_values_and_old_ones_null(loaded: Bench) -> None:
    loaded.said["loaded"].ok()
    rows = loaded.seen["rows"]
    assert len(rows) == ROWS
    assert rows[0][1:3] == ("noted", 5_000_000_000)
    assert {row[1] for row in rows[10:]} == {None}
    assert [row[2] for row in rows[10:]] == list(range(10, ROWS))
    assert rows == loaded.seen["iceberg rows"]


def test_validation_compares_what_can_be_compared_and_says_what_not(loaded: Bench) -> None:
    # Level rows is full, and each row besides.
    said = loaded.said["rows"].ok().out
    assert "6 partitions (p001, p003, p004, p005, p006, ...)" in said
    assert "before note came" in said


def test_other_changes_are_refused_with_the_command_that_reloads(shrunk: Bench) -> None:
    assert "migration-assets reset dbo.Orders" in shrunk.said["to reset"].ok().out
    assert shrunk.said["refused"].code == 1
    assert "`migration-assets reset dbo.Orders`" in shrunk.said["refused"].err
    ids = {c["name"]: c["field_id"] for c in json.loads(shrunk.file)["tables"][0]["columns"]}
    assert ids == {"id": 1, "name": 2, "amount": 3, "pieces": 4}
    assert json.loads(shrunk.file)["tables"][0]["last_field_id"] == 8

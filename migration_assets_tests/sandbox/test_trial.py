"""From init to clean: what a person tries first, and that nothing else is touched by it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from migration_assets.iceberg.file_store import StoredFile
from migration_assets.sandbox.launcher import Sandbox
from migration_assets_tests.sandbox.project import (
    Project,
    Statements,
    iceberg_catalog,
    run_tsql,
    starrocks_rows,
)
from migration_assets_tests.sandbox.upkeep import lake_of

ROWS = 40
FIRST = 7
SCRIPT = f"""
CREATE TABLE dbo.Orders (Id int NOT NULL PRIMARY KEY, Name nvarchar(20) NULL);
GO
INSERT INTO dbo.Orders VALUES {", ".join(f"({1000 - n}, N'row {n}')" for n in range(ROWS))};
GO
CREATE TABLE dbo.Heap (N int NULL, Name nvarchar(20) NULL);
GO
INSERT INTO dbo.Heap VALUES (3, N'c'), (1, N'a'), (2, NULL);
GO
CREATE TABLE dbo.Other (Id int NOT NULL PRIMARY KEY);
GO
INSERT INTO dbo.Other VALUES (1), (2);
GO
CREATE VIEW dbo.vOrders AS SELECT Id, Name FROM dbo.Orders WHERE Id > 970;
GO
"""
RULES = """
tables:
  dbo.Orders: {partitions: 8}
  dbo.vOrders: {key: [Id]}
views: [dbo.vOrders]
"""
CHANGES = r"^\s*(CREATE|DROP|ALTER|INSERT|TRUNCATE|DELETE|UPDATE)\b"
REVIEWED = "s3://lake/reviewed/plan.json"
TRIED = ("dbo.Orders", "dbo.Heap", "dbo.vOrders")


class Bench:
    """Stand-ins and a project in which `dbo.Other` has been migrated."""

    def __init__(self, project: Project, logs: Path) -> None:
        self.project = project
        self.logs = {name: Statements(logs / f"{name}.jsonl") for name in ("aws", "starrocks")}

    def stored(self) -> set[StoredFile]:
        """All objects of the bucket, with the time of their last change."""
        with lake_of(self.project) as lake:
            return set(lake.store.list("s3://lake"))

    def changes(self) -> list[str]:
        """The statements so far that changed something in StarRocks."""
        return self.logs["starrocks"].matching(CHANGES)

    def tables(self) -> set[str]:
        """Iceberg and StarRocks tables of the database."""
        catalog = iceberg_catalog(self.project.settings)
        found = {f"iceberg {name[-1]}" for name in catalog.list_tables("dbo")}
        query = "SELECT TABLE_NAME FROM information_schema.tables WHERE TABLE_SCHEMA = 'dbo'"
        return found | {f"starrocks {n}" for (n,) in starrocks_rows(self.project.settings, query)}

    def loaded(self, table: str, columns: str) -> set[tuple[object, ...]]:
        return set(starrocks_rows(self.project.settings, f"SELECT {columns} FROM dbo.{table}"))


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    folder = tmp_path_factory.mktemp("trial")
    (folder / "tables.sql").write_text(SCRIPT, encoding="utf-8")
    words = {"sqlserver": [f"--script={folder / 'tables.sql'}"]}
    logs = folder / "statements"
    with Sandbox(scale=None, statements_dir=logs, extra_arguments=words) as sandbox:
        project = Project(folder, {**sandbox.settings, "COLUMNS": "80"})
        yield Bench(project, logs)
        project.close()


def statements(script: str) -> list[str]:
    """The statements of a script, as a client divides it."""
    return [part for part in re.sub(r"(?m)^--.*\n", "", script).split(";\n") if part.strip()]


def test_from_init_to_clean_nothing_else_is_touched(bench: Bench) -> None:
    project = bench.project
    began = project.run("init").ok().out
    assert [line.split()[0] for line in began.splitlines()] == ["wrote"] * 4 + ["Next:"]
    (project.folder / "migration.yaml").write_text(RULES, encoding="utf-8")
    project.run("doctor", "--fix").ok()

    # What will be asked: nothing is written, and each half is taken by its server.
    before = bench.stored(), bench.changes()
    shown = project.run("plan", "--show-sql", "--tables", "dbo.orders").ok().out
    assert (bench.stored(), bench.changes()) == before
    assert not (project.folder / "migration_plan.json").exists()
    source, _, target = shown.partition("-- StarRocks: database and table")
    run_tsql(project.settings, *statements(source))
    *made, refresh, load, measure = statements(target)
    assert refresh.startswith("REFRESH")
    assert load.startswith("INSERT OVERWRITE")
    for statement in (*made, measure, "DROP TABLE dbo.orders"):
        starrocks_rows(project.settings, statement)

    project.run("plan", "--output", REVIEWED).ok()
    # From here on the plan that was reviewed, and no other.
    project.run("run", "--plan", REVIEWED, "--tables", "dbo.Other").ok()
    stored, tables, said = bench.stored(), bench.tables(), len(bench.changes())
    with project.instance() as instance:
        runs = {run.run_id for run in instance.get_runs()}

    # A foreign table in the way is refused before anything is written.
    starrocks_rows(project.settings, "CREATE TABLE dbo.heap_trial (a INT) DUPLICATE KEY (a) "
                   "PROPERTIES ('replication_num' = '1')")  # fmt: skip
    refused = project.run("run", "--plan", REVIEWED, "--limit", "3", "--tables", *TRIED)
    assert refused.code == 1
    assert "StarRocks base table dbo.heap_trial is not ours" in refused.err
    assert bench.stored() == stored
    starrocks_rows(project.settings, "DROP TABLE dbo.heap_trial")
    said = len(bench.changes())

    # A trial, and one that replaces it.
    project.run("run", "--plan", REVIEWED, "--limit", "3", "--tables", "dbo.Orders").ok()
    assert bench.loaded("orders_trial", "id") == {(961,), (962,), (963,)}
    tried = (
        project.run("run", "--plan", REVIEWED, "--limit", str(FIRST), "--tables", *TRIED).ok().out
    )
    assert "dbo.Heap has no key" in tried
    assert max(map(len, tried.splitlines())) <= 80
    rows = {(1000 - n, f"row {n}") for n in range(ROWS - FIRST, ROWS)}
    assert bench.loaded("orders_trial", "id, name") == rows
    assert bench.loaded("heap_trial", "n, name") == {(1, "a"), (2, None), (3, "c")}
    assert bench.loaded("vorders_trial", "id") == {(n,) for n in range(971, 971 + FIRST)}
    committed = iceberg_catalog(project.settings).load_table("dbo.orders_trial").scan().to_arrow()
    assert {(row["id"], row["name"]) for row in committed.to_pylist()} == rows
    new = {file.uri for file in bench.stored() ^ stored}
    assert all(re.search(r"_trial/|/receipts/\w+/trial/", uri) for uri in new), new
    assert all("_trial" in statement for statement in bench.changes()[said:])
    assert (
        project.run("status", "--plan", REVIEWED).ok().out.count("missing") == 9
    )  # three tables in three systems
    with project.instance() as instance:
        assert {run.run_id for run in instance.get_runs()} == runs

    # And all of it is gone again, though its plan is lost.
    (project.folder / ".dagster" / "trial" / "migration_plan.json").unlink()
    assert (
        "StarRocks table dbo.orders_trial"
        in project.run("clean", "--plan", REVIEWED, "--trial").ok().out
    )
    assert (bench.stored(), bench.tables()) == (stored, tables)
    assert not (project.folder / ".dagster" / "trial").exists()

    project.run("run", "--plan", REVIEWED, "--tables", "dbo.Orders", "dbo.Heap").ok()
    assert len(bench.loaded("orders", "id, name")) == ROWS

    # Of what is there only what is ours goes, and only when it is wanted.
    catalog = iceberg_catalog(project.settings)
    with catalog.load_table("dbo.heap").transaction() as transaction:
        transaction.remove_properties("migration.table-id")
    with lake_of(project) as lake:
        lake.store.write("s3://lake/warehouse/dbo/orders/notes.txt", b"somebody's")
    full = bench.stored()
    asked = project.run("clean", "--plan", REVIEWED, "--tables", *TRIED)
    assert asked.code == 130
    assert bench.stored() == full
    done = project.run("clean", "--plan", REVIEWED, "--tables", *TRIED, "--yes").ok().out
    assert "left alone: Iceberg table dbo.heap is not ours" in done
    assert "left alone: 1 other files below s3://lake/warehouse/dbo/orders/" in done
    assert bench.tables() == {"iceberg heap", "iceberg other", "starrocks other"}
    gone = {file.uri for file in full - bench.stored()}
    assert bench.stored() <= full
    ours = r"warehouse/dbo/orders/|/receipts/\w+/(\w+/dbo/orders|starrocks/dbo/heap)/"
    assert all(re.search(ours, uri, re.IGNORECASE) for uri in gone), gone
    assert "s3://lake/warehouse/dbo/orders/notes.txt" not in gone
    said_now = project.status("--plan", REVIEWED)
    states = {
        name: f"{line['iceberg']} {line['starrocks']}" for (name, _), line in said_now.items()
    }
    assert states == {
        "dbo.Orders": "missing missing",
        "dbo.vOrders": "missing missing",
        "dbo.Heap": "done missing",
        "dbo.Other": "done done",
    }

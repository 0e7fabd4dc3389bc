"""Tables partitioned by month: migrated, two months later planned again, and only the rest migrated."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from migration_assets.sandbox.launcher import Sandbox
from migration_assets_tests.sandbox.project import (
    Project,
    Result,
    Statements,
    iceberg_catalog,
    run_tsql,
    starrocks_rows,
)

RULES = """
tables:
  dbo.Orders: {{window: {{column: orderedat, by: month, until: {until}}}}}
  dbo.Payments: {{window: {{column: PaidOn, by: month, from: 2024-01, until: {until}}}}}
"""
MOMENTS = [
    None, None, "1900-01-01T00:00:00", "2024-01-31T23:59:59.997", "2024-02-01T00:00:00",
    "2024-02-29T12:00:00", "2024-03-31T23:59:59.997", "9999-12-31T23:59:59.997",
]  # fmt: skip
LATER = [
    "2024-03-01T00:00:00", "2024-04-01T00:00:00", "2024-04-30T23:59:59.997", "2024-05-01T00:00:00",
]  # fmt: skip


def inserts(moments: list[str | None], first: int) -> list[str]:
    orders, payments = [], []
    for number, moment in enumerate(moments, start=first):
        quoted = "NULL" if moment is None else f"'{moment}'"
        orders.append(f"({number}, {quoted})")
        payments.append(f"({number}, {quoted if moment is None else quoted[:11] + quoted[-1]})")
    return [
        f"INSERT INTO dbo.Orders VALUES {', '.join(orders)}",
        f"INSERT INTO dbo.Payments VALUES {', '.join(payments)}",
    ]


SCRIPT = ";\nGO\n".join(
    [
        "CREATE TABLE dbo.Orders (Id int NOT NULL PRIMARY KEY, OrderedAt datetime NULL)",
        "CREATE TABLE dbo.Payments (Id int NOT NULL PRIMARY KEY, PaidOn date NULL)",
        *inserts(MOMENTS, 0),
        "",
    ]
)


class Bench:
    """A project on stand-ins, the steps of its story taken once, in order."""

    def __init__(self, folder: Path, sandbox: Sandbox) -> None:
        self.folder, self.settings = folder, sandbox.settings
        self.project = Project(folder, {**sandbox.settings, "MIGRATION_CONCURRENT_RUNS": "2"})
        self.log = Statements(folder / "statements" / "sqlserver.jsonl")
        self.said: dict[str, Result] = {}
        self.seen: dict[str, Any] = {}

    def rules(self, until: str) -> None:
        (self.folder / "migration.yaml").write_text(RULES.format(until=until), encoding="utf-8")

    def run(self, name: str, *arguments: str) -> Result:
        self.said[name] = self.project.run(*arguments)
        return self.said[name]

    def write(self, *statements: str) -> None:
        run_tsql(self.settings, *statements)

    def reads(self) -> Counter[str]:
        """How often rows were read, by table and condition."""
        found: Counter[str] = Counter()
        for text in self.log.matching(r"AS \[id\].* FROM \[dbo\]\.\[\w+\] WHERE "):
            found[re.sub(r".* FROM \[dbo\]\.", "", text, flags=re.DOTALL).strip()] += 1
        return found

    def table(self, name: str) -> Any:
        return iceberg_catalog(self.settings).load_table(("dbo", name))

    def rows(self, name: str) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]:
        """Partition and id of all rows, in Iceberg and in StarRocks."""
        scanned = self.table(name).scan(selected_fields=("source_partition", "id")).to_arrow()
        iceberg = sorted((r["source_partition"], r["id"]) for r in scanned.to_pylist())
        query = f"SELECT source_partition, id FROM dbo.{name} ORDER BY 1, 2"
        return iceberg, [tuple(row) for row in starrocks_rows(self.settings, query)]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """Stand-ins and a project, planned until March 2024 and migrated."""
    folder = tmp_path_factory.mktemp("windows")
    (folder / "tables.sql").write_text(SCRIPT, encoding="utf-8")
    words = {"sqlserver": [f"--script={folder / 'tables.sql'}"]}
    with Sandbox(
        scale=None, statements_dir=folder / "statements", extra_arguments=words
    ) as sandbox:
        made = Bench(folder, sandbox)
        try:
            made.rules("2024-03")
            made.project.run("doctor", "--fix").ok()
            made.run("first plan", "plan", "-v").ok()
            made.seen["first plan"] = made.project.plan
            made.run("first run", "run").ok()
            made.seen["first rows"] = {name: made.rows(name) for name in ("orders", "payments")}
            yield made
        finally:
            made.project.close()


@pytest.fixture(scope="module")
def later(bench: Bench) -> Bench:
    """Two months later: rows came, also into the window that was open; planned and run again."""
    bench.write(*inserts(LATER, 100))
    bench.rules("2024-05")
    bench.run("second plan", "plan", "--yes").ok()
    bench.seen["status"] = bench.project.status()
    before = bench.reads()
    bench.run("failed", "run", "--failed")
    bench.seen["reads"] = bench.reads() - before
    return bench


def test_windows_are_partitions_with_readable_keys(bench: Bench) -> None:
    said = bench.said["first plan"].out
    assert "4 by month" in said
    assert "dbo.Orders: 3 windows by month of OrderedAt from 2024-01-01; 2024-03 is open" in said
    (told,) = [w for w in bench.project.table("dbo.Orders")["warnings"] if "Time windows" in w]
    assert told.startswith("Time windows begin with 2024-01-01: what is before, from 1900-01-01 on")
    expected = [(0, 0), (0, 1), (0, 2), (202401, 3), (202402, 4), (202402, 5), (202403, 6),
                (202403, 7)]  # fmt: skip
    for name in ("orders", "payments"):
        assert bench.seen["first rows"][name] == (expected, expected)


def test_planning_later_gives_the_last_window_an_end_and_new_ones(later: Bench) -> None:
    said = later.said["second plan"].out
    assert "~ dbo.Orders  one window is migrated again, new ones follow" in said
    assert "window 2024-03: [OrderedAt] >= '2024-03-01T00:00:00'" in said
    assert "=> [OrderedAt] >= '2024-03-01T00:00:00' AND [OrderedAt] < '2024-04-01T00:00:00'" in said
    assert "windows: 2024-04 to 2024-05" in said
    assert "migration-assets run --failed --tables dbo.Orders" in said
    old = {t["source_name"]: t for t in later.seen["first plan"]["tables"]}
    for name in ("Orders", "Payments"):
        states = {
            key: line["mssql"]
            for (table, key), line in later.seen["status"].items()
            if table == f"dbo.{name}"
        }
        assert states == {
            "earlier": "done", "2024-01": "done", "2024-02": "done", "2024-03": "stale",
            "2024-04": "missing", "2024-05": "missing",
        }  # fmt: skip
        assert later.project.table(f"dbo.{name}")["window"] == old[name]["window"]


def test_only_that_window_and_the_new_ones_are_migrated_in_order(later: Bench) -> None:
    later.said["failed"].ok()
    assert len(later.seen["reads"]) == 6
    assert set(later.seen["reads"].values()) == {1}
    assert all(re.search(r"'2024-0[345]-01", text) for text in later.seen["reads"])
    expected = [(0, 0), (0, 1), (0, 2), (202401, 3), (202402, 4), (202402, 5), (202403, 6),
                (202403, 100), (202404, 101), (202404, 102), (202405, 7), (202405, 103)]  # fmt: skip
    root = later.table("orders").location().rsplit("/", 2)[0]
    root += f"/.migration/receipts/{later.settings['MSSQL_DATABASE']}"
    for name in ("orders", "payments"):
        assert later.rows(name) == (expected, expected)
        table = later.table(name)
        assert table.properties["migration.last-window"] == "202405 open"
        numbers = [
            {entry.data_file.partition[0] for entry in entries}
            for snapshot in table.metadata.snapshots[-4:]
            for manifest in snapshot.manifests(table.io)
            if manifest.added_snapshot_id == snapshot.snapshot_id
            and (entries := manifest.fetch_manifest_entry(table.io))
        ]
        note = f"{root}/starrocks/dbo/{name}/open-window"
        assert table.io.new_input(note).open().read() == b"202405", "later loads look at it"
        assert numbers[0] == {202403}, "later windows wait for the one that has got an end"

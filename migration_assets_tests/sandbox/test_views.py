"""A view and a query go the whole way as tables: cut, compared value by value, planned again."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from migration_assets.sandbox.launcher import Sandbox
from migration_assets_tests.sandbox.project import (
    Project,
    Statements,
    iceberg_catalog,
    starrocks_rows,
)

ORDERS = [
    (n, n % 7 or None, n % 3, f"{'50%' if n % 5 == 0 else 'row'} {n}", Decimal(n * n) / 4)
    for n in range(1, 201)
]
"""Id, customer, region, text, amount."""

SCRIPT = (
    "CREATE SCHEMA sales;\nGO\n"
    "CREATE TABLE sales.Customers (Id int NOT NULL PRIMARY KEY, Name nvarchar(20) NOT NULL);\nGO\n"
    "CREATE TABLE sales.Orders (Id int NOT NULL PRIMARY KEY, Customer int NULL, "
    "Region int NOT NULL, Text varchar(20) NOT NULL, Amount decimal(12, 2) NOT NULL);\nGO\n"
    f"INSERT INTO sales.Customers VALUES {', '.join(f'({n}, N{chr(39)}Kunde Ä{n}{chr(39)})' for n in range(1, 7))};\nGO\n"
    "INSERT INTO sales.Orders VALUES "
    + ", ".join(f"({i}, {c or 'NULL'}, {r}, '{t}', {a})" for i, c, r, t, a in ORDERS)
    + ";\nGO\n"
    "CREATE VIEW sales.vOrders AS SELECT o.Id AS OrderId, c.Name, o.Amount * 2 AS Twice "
    "FROM sales.Orders AS o LEFT JOIN sales.Customers AS c ON c.Id = o.Customer "
    "WHERE o.Region <> 2;\nGO\n"
    "CREATE VIEW sales.Leftover AS SELECT Id FROM sales.Orders;\nGO\n"
)
RULES = """
exclude: [sales.Orders, sales.Customers]
views: [sales.VORDERS]
queries:
  sales.totals:
    select: |
      -- per customer; it's the second word that counts
      SELECT Customer, Region, SUM(Amount) AS Total, COUNT_BIG(*) AS [Number of orders]
      FROM sales.Orders WHERE Text {like} N'50[%]%' /* ) */
      GROUP BY Customer, Region; -- the end
    key: [customer, Region]
tables:
  sales.vOrders: {{key: [orderid], partitions: 8}}
"""


class Bench:
    """A project on stand-ins, planned and migrated."""

    def __init__(self, folder: Path, sandbox: Sandbox) -> None:
        self.settings, self.folder = sandbox.settings, folder
        self.project = Project(folder, {**sandbox.settings, "MIGRATION_CONCURRENT_RUNS": "2"})
        self.log = Statements(folder / "statements" / "sqlserver.jsonl")

    def rules(self, *, like: str) -> None:
        (self.folder / "migration.yaml").write_text(RULES.format(like=like), encoding="utf-8")

    def copies(self, name: str) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]:
        """The rows in Iceberg and in StarRocks, without audit columns."""
        columns = [column["name"] for column in self.project.table(f"sales.{name}")["columns"]]
        listed = ", ".join(f"`{column}`" for column in columns)
        loaded = starrocks_rows(self.settings, f"SELECT {listed} FROM `sales`.`{name.lower()}`")
        scan = iceberg_catalog(self.settings).load_table(("sales", name.lower())).scan()
        committed = [tuple(row.values()) for row in scan.select(*columns).to_arrow().to_pylist()]
        return sorted(committed, key=repr), sorted(map(tuple, loaded), key=repr)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    folder = tmp_path_factory.mktemp("views")
    (folder / "tables.sql").write_text(SCRIPT, encoding="utf-8")
    words = {"sqlserver": [f"--script={folder / 'tables.sql'}"]}
    statements = folder / "statements"
    with Sandbox(scale=None, statements_dir=statements, extra_arguments=words) as sandbox:
        made = Bench(folder, sandbox)
        made.rules(like="LIKE")
        made.project.run("doctor", "--fix").ok()
        yield made
        made.project.close()


@pytest.fixture(scope="module")
def planned(bench: Bench) -> str:
    """What the first plan printed."""
    return bench.project.run("plan", "-v", "--report", "report.md").ok().out


def test_planning_again_shows_only_what_changed(bench: Bench, planned: str) -> None:
    again = bench.project.run("plan", "--detailed-exitcode")
    assert again.code == 0, str(again)
    bench.rules(like="NOT LIKE")
    changed = bench.project.run("plan", "--dry-run", "--detailed-exitcode")
    assert changed.code == 2, str(changed)
    assert "NOT LIKE N'50[%]%'" in changed.out
    assert "because its query changes" in changed.out
    assert "~ sales.totals  must be reset" in changed.out
    assert "~ sales.vOrders" not in changed.out


def test_a_view_and_a_query_go_the_whole_way(bench: Bench, planned: str) -> None:
    view, totals = (bench.project.table(f"sales.{name}") for name in ("vOrders", "totals"))
    assert [view["kind"], totals["kind"]] == ["view", "query"]
    assert [view["rows"], totals["rows"]] == [133, 21]
    assert "Counting sales.totals by its key" in planned
    assert (view["primary_key"], view["cut_by"]) == (["OrderId"], "walk")
    assert len(view["key_ranges"]) == 8
    assert view["key_ranges"][1]["column"] == "OrderId"
    assert totals["primary_key"] == ["Customer", "Region"]
    assert any("is NULL in some rows" in warning for warning in totals["warnings"])
    assert "query" not in view
    report = (bench.folder / "report.md").read_text(encoding="utf-8")
    views = report.split("## Not migrated")[1].split("## Tables in StarRocks")[0]
    assert "Leftover" in views
    assert "vOrders" not in views

    bench.project.run("run").ok()
    names = {n: f"Kunde Ä{n}" for n in range(1, 7)}
    orders = [(i, names.get(c), a * 2) for i, c, r, _, a in ORDERS if r != 2]
    sums: dict[Any, Any] = {}
    for _, customer, region, text, amount in ORDERS:
        if text.startswith("50%"):
            total, count = sums.get((customer, region), (Decimal(0), 0))
            sums[customer, region] = total + amount, count + 1
    expected = {"vOrders": orders, "totals": [(*key, *value) for key, value in sums.items()]}
    for name, rows in expected.items():
        committed, loaded = bench.copies(name)
        assert committed == sorted(rows, key=repr)
        assert loaded == committed
    said = bench.project.run("validate", "--level", "rows").ok().out
    assert "2 of 2 tables are equal." in said

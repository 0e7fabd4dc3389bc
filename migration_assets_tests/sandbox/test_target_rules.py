"""Rules about the targets, all the way: names, models, properties, a table that somebody else makes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from migration_assets.sandbox.launcher import Sandbox
from migration_assets_tests.sandbox.project import (
    Project,
    Statements,
    iceberg_catalog,
    starrocks_rows,
)
from migration_assets_tests.sandbox.starrocks_client import Client

ORDERS = [(n, f"row {n}", n * 3 % 7) for n in range(1, 101)]
LINES = [(order, line, f"{order}/{line}") for order in range(1, 21) for line in range(1, 4)]
EVENTS = [(n % 3, n % 5, f"event {n % 4}") for n in range(60)]  # some rows are equal

SCRIPT = (
    "CREATE SCHEMA Sales;\nGO\n"
    "CREATE TABLE Sales.Orders (Id int NOT NULL PRIMARY KEY, Text nvarchar(20) NULL, N int);\nGO\n"
    "CREATE TABLE Sales.Lines (OrderId int NOT NULL, Line decimal(9, 0) NOT NULL, "
    "Text nvarchar(20), PRIMARY KEY (OrderId, Line));\nGO\n"
    "CREATE TABLE Sales.Events (Kind int NOT NULL, At int NULL, Text nvarchar(20));\nGO\n"
    "CREATE TABLE Sales.Ledger (Id int NOT NULL PRIMARY KEY, Text nvarchar(20) NULL, N int);\nGO\n"
    f"INSERT INTO Sales.Orders VALUES {', '.join(map(str, ORDERS))};\nGO\n"
    f"INSERT INTO Sales.Lines VALUES {', '.join(map(str, LINES))};\nGO\n"
    f"INSERT INTO Sales.Events VALUES {', '.join(map(str, EVENTS))};\nGO\n"
    f"INSERT INTO Sales.Ledger VALUES {', '.join(map(str, ORDERS))};\nGO\n"
)
RULES = """
namespace_prefix: old_
namespace_suffix: _glue
iceberg_table: "{schema}_{table}"
defaults: {verification: rows, properties: {compression: ZSTD}, owners: [team:sales]}
tables:
  Sales.Orders: {model: primary, partitions: 8, properties: {enable_persistent_index: true}}
  Sales.Lines: {model: unique, distributed_by: [line], buckets: 2}
  Sales.Events: {keys: [text, kind], distributed_by: [At], starrocks_table: "Events_{schema}"}
  Sales.Ledger: {model: primary, create: false, owners: ann@example.com}
"""
PROTECTED = RULES.replace("create: false,", "create: false, prevent_reset: true,")
LEDGER = "`old_sales`.`sales_ledger`"


class Bench:
    """A project on stand-ins, planned, and the statements that its source received."""

    def __init__(self, folder: Path, sandbox: Sandbox, log: Statements) -> None:
        self.settings, self.folder, self.log = sandbox.settings, folder, log
        self.project = Project(folder, sandbox.settings)
        (folder / "migration.yaml").write_text(RULES, encoding="utf-8")
        self.project.run("doctor", "--fix").ok()
        self.project.run("plan", "--report", "plan.md").ok()

    def owner(self, *statements: str) -> None:
        """What the owner of a StarRocks table does, beside the product."""
        root = self.settings["STARROCKS_USER"], self.settings["STARROCKS_PASSWORD"]
        client = Client(int(self.settings["STARROCKS_PORT"]), *root)
        with closing(client.connection):
            for statement in statements:
                client(statement)

    def rows(self, table: str, columns: str) -> list[tuple[object, ...]]:
        return starrocks_rows(self.settings, f"SELECT {columns} FROM {table} ORDER BY {columns}")

    def declared(self, table: str) -> str:
        ((_, text),) = starrocks_rows(self.settings, f"SHOW CREATE TABLE {table}")
        return str(text)

    def refused(self, *fragments: str) -> None:
        """`run` compares, refuses, and reads no row of any table."""
        before = len(self.log.matching(r"FROM \[Sales\]"))
        result = self.project.run("run")
        assert result.code == 1, str(result)
        said = " ".join((result.out + result.err).split())
        for fragment in fragments:
            assert fragment in said
        assert len(self.log.matching(r"FROM \[Sales\]")) == before


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    folder = tmp_path_factory.mktemp("targets")
    (folder / "tables.sql").write_text(SCRIPT, encoding="utf-8")
    words = {"sqlserver": [f"--script={folder / 'tables.sql'}"]}
    with Sandbox(scale=None, extra_arguments=words, statements_dir=folder) as sandbox:
        made = Bench(folder, sandbox, Statements(folder / "sqlserver.jsonl"))
        yield made
        made.project.close()


def test_rules_about_targets_all_the_way(bench: Bench) -> None:
    project = bench.project
    # A table that its owner has to make, and makes wrongly at first.
    bench.refused("Table old_sales.sales_ledger does not exist", "create: false")
    page = (bench.folder / "plan.md").read_text(encoding="utf-8")
    (statement,) = re.findall(r"CREATE TABLE `old_sales`.`sales_ledger`.*?\);\n", page, re.DOTALL)
    plain = re.sub(r"COMMENT '.*'\n", "", statement).rstrip(";\n")
    assert "PRIMARY KEY (`id`, `source_partition`)" in plain
    assert "migration_assets" not in plain
    wrong = plain.replace("`text` VARCHAR(60)", "`text` VARCHAR(40)").replace(
        "`n` INT NULL,", "`extra` INT NULL,"
    )
    wrong = wrong.replace("PRIMARY KEY (`id`, `source_partition`)", "DUPLICATE KEY (`id`)")
    wrong = wrong.replace("PARTITION BY (`source_partition`)\n", "")
    bench.owner("CREATE DATABASE old_sales", wrong)
    bench.refused(
        "column text is varchar(40), planned is VARCHAR(60)",
        "column n is missing",
        "column extra is not in the plan",
        "it has DUPLICATE KEY (id), planned is PRIMARY KEY (id, source_partition)",
        "it has no partitions, planned is PARTITION BY (source_partition)",
        "Let the table's owner alter it",
    )
    zlib = plain.replace('"compression" = "ZSTD"', '"compression" = "ZLIB"')
    bench.owner(f"DROP TABLE {LEDGER}", zlib)
    project.run("run").ok()

    # Names: the suffix is the Glue database's alone.
    catalog = iceberg_catalog(bench.settings)
    assert catalog.list_namespaces() == [("old_sales_glue",)]
    assert {table for _, table in catalog.list_tables("old_sales_glue")} == {
        "sales_orders", "sales_lines", "sales_events", "sales_ledger",
    }  # fmt: skip
    # Rows: each once, whatever the model; the run has compared them one by one (level rows).
    assert bench.rows("`old_sales`.`sales_orders`", "id, text, n") == ORDERS
    assert bench.rows(LEDGER, "id, text, n") == ORDERS
    assert bench.rows("`old_sales`.`sales_lines`", "orderid, line, text") == LINES
    assert bench.rows("`old_sales`.`Events_sales`", "kind, at, text") == sorted(EVENTS)
    # Tables as asked for.
    for table, *parts in (
        ("sales_orders", "PRIMARY KEY(`id`, `source_partition`)", "HASH(`id`) BUCKETS 1",
         '"compression" = "ZSTD"', '"enable_persistent_index" = "true"'),
        ("sales_lines", "UNIQUE KEY(`orderid`, `line`, `source_partition`)",
         "HASH(`line`) BUCKETS 2"),
        ("Events_sales", "DUPLICATE KEY(`text`, `kind`)", "HASH(`at`) BUCKETS 1"),
        ("sales_ledger", '"compression" = "ZLIB"', "migration_assets table_id="),
    ):  # fmt: skip
        declared = bench.declared(f"`old_sales`.`{table}`")
        for part in (*parts, "PARTITION BY (`source_partition`)"):
            assert part in declared, declared

    # One partition again: replaced as a whole, in tables of one row for each key too.
    words = ("--tables", "Sales.Orders", "--tables", "Sales.Lines", "--partitions", "p000,p003")
    project.run("run", *words).ok()
    assert bench.rows("`old_sales`.`sales_orders`", "id, text, n") == ORDERS
    assert bench.rows("`old_sales`.`sales_lines`", "orderid, line, text") == LINES

    # Its owner's table is emptied by a reset, and stays as it was made.
    project.run("reset", "Sales.Ledger", "--yes").ok()
    assert bench.rows(LEDGER, "id") == []
    assert '"compression" = "ZLIB"' in bench.declared(LEDGER)
    project.run("run", "--failed").ok()
    assert bench.rows(LEDGER, "id, text, n") == ORDERS

    # Protected rows stay, and nothing of the other tables is touched either.
    (bench.folder / "migration.yaml").write_text(PROTECTED, encoding="utf-8")
    project.run("plan").ok()
    result = project.run("reset", "Sales.*", "--yes")
    assert result.code == 2
    assert "Sales.Ledger is not reset: prevent_reset" in " ".join(result.err.split())
    assert bench.rows(LEDGER, "id, text, n") == ORDERS
    assert bench.rows("`old_sales`.`sales_orders`", "id, text, n") == ORDERS

"""`migration-assets plan --report`, from a database with much that stays behind to the page."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from migration_assets.inventory import Kind, LeftBehind
from migration_assets.mssql.left_behind import read_inventory
from migration_assets.sandbox.launcher import Sandbox
from migration_assets_tests.sandbox import sources
from migration_assets_tests.sandbox.project import Project

SCRIPT = """
CREATE SCHEMA sales;
GO
CREATE TABLE sales.customers (
    id int IDENTITY(1, 1) NOT NULL CONSTRAINT pk_customers PRIMARY KEY,
    name nvarchar(50) NOT NULL CONSTRAINT uq_name UNIQUE,
    active bit NOT NULL CONSTRAINT df_active DEFAULT (1)
);
GO
CREATE TABLE sales.orders (
    id int NOT NULL CONSTRAINT pk_orders PRIMARY KEY,
    customer int NOT NULL CONSTRAINT fk_customer FOREIGN KEY REFERENCES sales.customers (id),
    price int NOT NULL CONSTRAINT ck_price CHECK (price >= 0),
    placed datetimeoffset(7) NULL,
    double_price AS (price * 2)
);
GO
CREATE TABLE dbo.[<b>|bold|</b>] (id int NOT NULL PRIMARY KEY);
GO
CREATE VIEW sales.big AS SELECT id FROM sales.orders WHERE price > 10;
GO
CREATE INDEX ix_customer ON sales.orders (customer);
GO
INSERT INTO sales.customers (name) VALUES (N'Ada');
"""
ORDERS = "INSERT INTO sales.orders (id, customer, price) VALUES " + ", ".join(
    f"({number}, 1, {number})" for number in (*range(1, 31), 1_000_000)
)


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    script = f"{SCRIPT}GO\n{ORDERS};\n"
    with sources.running(script, tmp_path_factory.mktemp("sqlserver")) as running:
        yield running


@pytest.fixture
def project(sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Project:
    folder = tmp_path_factory.mktemp("project")
    (folder / "migration.yaml").write_text("tables:\n  sales.orders: {partitions: 8}\n")
    return Project(folder, {**sandbox.settings, "ICEBERG_CATALOG_TYPE": "sql"})


def test_what_stays_behind_has_names(sandbox: Sandbox) -> None:
    with sources.client(sandbox) as client:
        found = read_inventory(client)
    assert found.objects[Kind.VIEW] == (LeftBehind("sales", "big"),)
    assert found.objects[Kind.FOREIGN_KEY] == (
        LeftBehind("sales", "fk_customer", "orders", "to sales.customers"),
    )
    assert found.objects[Kind.CHECK] == (LeftBehind("sales", "ck_price", "orders"),)
    assert found.objects[Kind.DEFAULT] == (LeftBehind("sales", "df_active", "customers"),)
    assert found.objects[Kind.UNIQUE] == (LeftBehind("sales", "uq_name", "customers"),)
    assert found.objects[Kind.IDENTITY] == (LeftBehind("sales", "id", "customers"),)
    assert [one.name for one in found.objects[Kind.COMPUTED]] == ["double_price"]
    assert [one.name for one in found.objects[Kind.INDEX]] == ["ix_customer"]
    assert found.objects[Kind.PROCEDURE] == ()
    assert found.unknown == (Kind.JOB,), "the stand-in has no msdb"


def test_the_same_from_a_server_without_the_catalog_views(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    views = ["sys.objects", "sys.foreign_keys", "sys.identity_columns", "sys.views"]
    words = [f"--without={view}" for view in views]
    with (
        sources.running(SCRIPT, tmp_path_factory.mktemp("bare"), *words) as running,
        sources.client(running) as client,
    ):
        found = read_inventory(client)
    assert found.objects[Kind.VIEW] == (LeftBehind("sales", "big"),)
    assert found.objects[Kind.FOREIGN_KEY] == (LeftBehind("sales", "fk_customer", "orders"),)
    assert found.objects[Kind.IDENTITY] == (LeftBehind("sales", "id", "customers"),)
    assert any("INFORMATION_SCHEMA.VIEWS was used instead" in note for note in found.notes)


def test_the_report_of_a_plan(project: Project) -> None:
    ended = project.run("plan", "--report", "out/report.html", "--assume", "concurrent_runs=7").ok()
    assert "Wrote out/report.html." in ended.out
    page = (project.folder / "out" / "report.html").read_text(encoding="utf-8")
    assert project.plan["plan_id"] in page
    for expected in ("fk_customer", "ck_price", "df_active", "the offset itself is dropped",
                     "CREATE TABLE `sales`.`orders`", "&lt;b&gt;|bold|&lt;/b&gt;"):  # fmt: skip
        assert expected in page, expected
    assert "<b>|bold|</b>" not in page
    assert re.search(r"<code>concurrent_runs</code></th><td class=\"n\">7</td>.*--assume", page)
    (figure,) = re.findall(r"<figure>.*?</figure>", page, re.DOTALL)
    assert '<span class="dim">estimated</span>' in figure, "from the histogram, without a query"
    estimated = [int(number) for number in re.findall(r"partition \d+: about (\d+) rows", figure)]
    assert estimated == project.table("sales.orders")["range_rows"]
    assert sum(estimated) == 31
    assert "Rows of the partitions of the tables below are estimated" in page


def test_the_report_leaves_the_plan_as_it_is(project: Project) -> None:
    project.run("plan").ok()
    before = project.plan["plan_id"]
    project.run("plan", "--report", "report.md").ok()
    assert project.plan["plan_id"] == before
    page = (project.folder / "report.md").read_text(encoding="utf-8")
    assert page.startswith("# Migration of shop on stand-in\n")
    assert "- sales: fk\\_customer on orders to sales.customers" in page


def test_measured_partitions_are_plotted(project: Project) -> None:
    project.run("plan", "--measure", "--report", "report.html").ok()
    page = (project.folder / "report.html").read_text(encoding="utf-8")
    (figure,) = re.findall(r"<figure>.*?</figure>", page, re.DOTALL)
    counted = [int(number) for number in re.findall(r"partition \d+: (\d+) rows", figure)]
    ranges = len(project.table("sales.orders")["key_ranges"])
    assert len(counted) == ranges > 1
    assert sum(counted) == 31
    assert "estimated" not in figure

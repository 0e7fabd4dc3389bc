"""Tables with keys of text, GUIDs, several columns and NULL, and tables that SQL Server itself
partitions: migrated in parts, compared by value."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from migration_assets.sandbox.launcher import Sandbox
from migration_assets_tests.fidelity.cases import catalog_of, mssql
from migration_assets_tests.sandbox.project import Project, starrocks_rows

NUMBERS = (
    "(SELECT a.n + 8 * b.n + 64 * c.n AS n FROM dbo.eight AS a CROSS JOIN dbo.eight AS b "
    "CROSS JOIN dbo.eight AS c) AS numbers"
)
SCRIPT = f"""
CREATE TABLE dbo.eight (n int NOT NULL);
GO
INSERT INTO dbo.eight VALUES (0), (1), (2), (3), (4), (5), (6), (7);
GO
CREATE TABLE dbo.texts (k nvarchar(40) COLLATE Latin1_General_CI_AS NOT NULL PRIMARY KEY, n int);
GO
INSERT INTO dbo.texts SELECT CONCAT(N'It''s ', NCHAR(945 + n % 24), n), n FROM {NUMBERS};
GO
CREATE TABLE dbo.codes (k varchar(20) COLLATE Latin1_General_CS_AS NOT NULL PRIMARY KEY, n int);
GO
INSERT INTO dbo.codes SELECT CONCAT(CHAR(192 + n % 60), n), n FROM {NUMBERS};
GO
CREATE TABLE dbo.guids (k uniqueidentifier NOT NULL PRIMARY KEY, n int);
GO
INSERT INTO dbo.guids
SELECT CAST(HASHBYTES('MD5', CONVERT(varchar(20), n)) AS uniqueidentifier), n FROM {NUMBERS};
GO
CREATE TABLE dbo.composites (a int NOT NULL, b nvarchar(20) COLLATE Latin1_General_BIN2 NOT NULL,
  k int NOT NULL, n int, CONSTRAINT pk_composites PRIMARY KEY (a, b DESC, k));
GO
INSERT INTO dbo.composites
SELECT CASE WHEN n < 256 THEN 7 ELSE n END, CONCAT(N'x', n / 100), n, n FROM {NUMBERS};
GO
CREATE TABLE dbo.nullables (k int NULL, n int);
GO
CREATE CLUSTERED INDEX ix_nullables ON dbo.nullables (k);
GO
INSERT INTO dbo.nullables SELECT CASE WHEN n < 20 THEN NULL ELSE n END, n FROM {NUMBERS};
GO
CREATE PARTITION FUNCTION pf_days (date) AS RANGE LEFT FOR VALUES
  (NULL, '2024-01-31', '2024-02-29', '2024-03-31', '2024-04-30', '2024-05-31', '2024-06-30',
   '2024-07-31', '2024-08-31', '2024-09-30', '2024-10-31', '2024-11-30', '2024-12-31');
CREATE PARTITION SCHEME ps_days AS PARTITION pf_days ALL TO ([PRIMARY]);
CREATE PARTITION FUNCTION pf_ints (int) AS RANGE RIGHT FOR VALUES (0, 64, 128);
CREATE PARTITION SCHEME ps_ints AS PARTITION pf_ints ALL TO ([PRIMARY]);
GO
CREATE TABLE dbo.lefts (k date NULL, n int) ON ps_days(k);
GO
INSERT INTO dbo.lefts
SELECT CASE WHEN n < 20 THEN NULL ELSE DATEADD(day, n % 366, '2024-01-01') END, n FROM {NUMBERS};
GO
CREATE TABLE dbo.rights (k int NOT NULL, n int, CONSTRAINT pk_rights PRIMARY KEY (k)) ON ps_ints(k);
GO
INSERT INTO dbo.rights SELECT n, n FROM {NUMBERS};
GO
CREATE TABLE dbo.heaps (k int NULL, n int);
GO
INSERT INTO dbo.heaps SELECT CASE WHEN n < 20 THEN NULL ELSE n END, n FROM {NUMBERS};
GO
"""
TABLES = ["texts", "codes", "guids", "composites", "nullables", "heaps", "lefts", "rights"]
RULES = """
exclude: dbo.eight
defaults: {partitions: 8}
tables:
  dbo.heaps: {split: hash}
  dbo.lefts: {split: partition_function}
  dbo.rights: {split: partition_function}
"""


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Project, str]]:
    folder: Path = tmp_path_factory.mktemp("keys")
    (folder / "tables.sql").write_text(SCRIPT, encoding="utf-8")
    (folder / "migration.yaml").write_text(RULES, encoding="utf-8")
    words = {"sqlserver": [f"--script={folder / 'tables.sql'}"]}
    with Sandbox(scale=None, extra_arguments=words) as sandbox:
        made = Project(folder, sandbox.settings)
        made.run("doctor", "--fix").ok()
        yield made, made.run("plan", "-v").ok().out


@pytest.fixture(scope="module")
def project(planned: tuple[Project, str]) -> Project:
    planned[0].run("run").ok()
    return planned[0]


def source(project: Project, table: str) -> set[tuple[Any, ...]]:
    with mssql(project.settings) as connection, connection.cursor() as cursor:
        cursor.execute(f"SELECT k, n FROM dbo.{table}")
        rows = list(cursor.fetchall())
    assert len(rows) == 512
    return {(None if k is None else str(k).lower(), n) for k, n in rows}


@pytest.mark.parametrize("table", TABLES)
def test_each_arrives_in_eight_parts(project: Project, table: str) -> None:
    expected = source(project, table)
    arrow = catalog_of(project.settings).load_table(("dbo", table)).scan().to_arrow()
    found = [(r["k"], r["n"]) for r in arrow.to_pylist()]
    assert len(found) == 512
    assert {(None if k is None else str(k).lower(), n) for k, n in found} == expected
    parts = arrow.column("source_partition").to_pylist()
    assert set(parts) == set(range(8))
    assert max(parts.count(part) for part in range(8)) <= 2 * 512 / 8
    rows = starrocks_rows(project.settings, f"SELECT `k`, `n` FROM `dbo`.`{table}`")
    assert len(rows) == 512
    assert {(None if k is None else str(k).lower(), n) for k, n in rows} == expected


@pytest.mark.parametrize("table", ["nullables", "lefts"])
def test_null_is_in_the_first_part(project: Project, table: str) -> None:
    arrow = catalog_of(project.settings).load_table(("dbo", table)).scan().to_arrow()
    parts = {r["source_partition"] for r in arrow.to_pylist() if r["k"] is None}
    assert parts == {0}


def test_the_copies_compare_equal(project: Project) -> None:
    project.run("validate", "--level", "rows").ok()


def test_plan_tells_what_it_asked_and_how_tables_were_cut(planned: tuple[Project, str]) -> None:
    project, told = planned
    assert " queries to SQL Server took " in told
    assert "Reading sys.dm_db_stats_histogram" in told
    assert "1 by hash" in told
    plan = json.loads((project.folder / "migration_plan.json").read_text(encoding="utf-8"))
    how = {table["source_name"]: table["cut_by"] for table in plan["tables"]}
    assert how["composites"] == "walk"
    assert how["texts"] == how["codes"] == "histogram"
    assert how["heaps"] == "hash"
    assert how["lefts"] == how["rights"] == "partition_function"
    # The months that are put together say how many rows they have; the last 384 of rights are one
    # partition of SQL Server's, which its key divides.
    by_name = {table["source_name"]: table for table in plan["tables"]}
    assert sum(by_name["lefts"]["range_rows"]) == 512
    assert {r["upper"] for r in by_name["lefts"]["key_ranges"]} <= {
        None, *(f"'2024-{end}'" for end in ("01-31", "02-29", "03-31", "04-30", "05-31", "06-30",
                                            "07-31", "08-31", "09-30", "10-31", "11-30"))
    }  # fmt: skip
    assert all(r.get("upper_after") for r in by_name["lefts"]["key_ranges"][:-1])

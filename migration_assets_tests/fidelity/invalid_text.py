"""A table with text that no UTF-8 can hold, for each way of reading it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from migration_assets_tests.fidelity.cases import catalog_of, mssql
from migration_assets_tests.sandbox.project import Project, Result

TABLE = "invalid.texts"
# Two with half a pair, and three that look like what drivers make of those.
TEXTS = ("N'a' + NCHAR(55357) + N'b'", "NCHAR(56832)", "NCHAR(65533)", "N'?'", "N'ok 😀'")
RULES = """
include: ["{table}"]
defaults: {{engine: {engine}, verification: {level}, invalid_text: {choice}}}
"""


def write(settings: Mapping[str, str], texts: tuple[str, ...] = TEXTS) -> None:
    """Make the table anew, with a text in each row."""
    with mssql(settings) as connection, connection.cursor() as cursor:
        cursor.execute("IF SCHEMA_ID('invalid') IS NULL EXEC('CREATE SCHEMA invalid')")
        cursor.execute(f"DROP TABLE IF EXISTS {TABLE}")
        cursor.execute(f"CREATE TABLE {TABLE} (id int NOT NULL PRIMARY KEY, t nvarchar(20) NULL)")
        for number, text in enumerate(texts):
            cursor.execute(f"INSERT INTO {TABLE} VALUES ({number}, {text})")


def run(
    folder: Path,
    settings: Mapping[str, str],
    *,
    choice: str = "stop",
    level: str = "full",
    engine: str = "arrow",
) -> Result:
    """Plan and run as far as Iceberg, in a folder of its own."""
    folder.mkdir()
    rules = RULES.format(table=TABLE, engine=engine, level=level, choice=choice)
    (folder / "migration.yaml").write_text(rules, encoding="utf-8")
    project = Project(folder, settings)
    project.run("plan").ok()
    return project.run("run", "--until", "iceberg")


def arrived(settings: Mapping[str, str]) -> dict[int, str]:
    """What Iceberg has, by id."""
    rows = catalog_of(settings).load_table(("invalid", "texts")).scan().to_arrow().to_pylist()
    return {row["id"]: row["t"] for row in rows}


def assert_refused(result: Result) -> None:
    """The run failed, and says where, how many and what to do."""
    assert result.code == 1, str(result)
    assert "t in 2 rows" in result.out + result.err
    assert "invalid_text: replace" in result.out + result.err

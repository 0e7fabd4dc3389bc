"""The tests themselves, the same for the sandbox, for Spark and for real servers.

Who imports them gives a module-wide fixture `arrived`: the tables of `values.py`, migrated once for
each choice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pymssql
import pymysql
import pytest
from pyiceberg.catalog import Catalog, load_catalog

from migration_assets_tests.fidelity import suite
from migration_assets_tests.fidelity.values import TYPES
from migration_assets_tests.sandbox.project import Project

CHOICES = ("", "column", "text")
RULES = """
include: ["fidelity.*"]
namespace_prefix: {prefix}
defaults: {{fractions: {fractions}, offsets: {offsets}, engine: {engine}}}
"""
WORDS = {"": ("cut", "drop"), "column": ("column", "column"), "text": ("text", "text")}
SINGLES = {kind.column for kind in TYPES if kind.declaration in {"real", "float(24)"}}


@dataclass(frozen=True)
class Arrived:
    """The tables of `values.py` in the targets.

    Attributes:
        projects: by choice; each has targets of its own.
        tables: types by table, those that this SQL Server has.
    """

    projects: Mapping[str, Project]
    tables: Mapping[str, list[Any]]

    def iceberg(self, choice: str, table: str) -> suite.Rows:
        found = catalog_of(self.projects[choice].settings).load_table(
            (f"{_prefix(choice)}{suite.SCHEMA}", table)
        )
        return suite.by_id(found.scan().to_arrow().to_pylist())

    def starrocks(self, choice: str, table: str) -> suite.Rows:
        with (
            starrocks(self.projects[choice].settings) as connection,
            connection.cursor(pymysql.cursors.DictCursor) as cursor,
        ):
            cursor.execute(f"SELECT * FROM `{_prefix(choice)}{suite.SCHEMA}`.`{table}`")
            return suite.by_id(cursor.fetchall())


def _prefix(choice: str) -> str:
    return f"{choice or 'plain'}_"


def write(settings: Mapping[str, str], version: int | None = None) -> dict[str, list[Any]]:
    """Make the tables in SQL Server; returns the types that it has, by table.

    Args:
        settings: the product's.
        version: major version whose types it has, when it is not the one that it says.
    """
    with mssql(settings) as connection, connection.cursor() as cursor:
        if version is None:
            cursor.execute("SELECT CONVERT(nvarchar(128), SERVERPROPERTY('ProductVersion'))")
            version = int(cursor.fetchone()[0].split(".")[0])
        for statement in suite.ddl(version):
            cursor.execute(statement)
    return suite.tables(version)


def migrate(folder: Path, settings: Mapping[str, str], engine: str = "arrow") -> dict[str, Project]:
    """Plan and run once for each choice, in folders of their own."""
    projects = {}
    for choice in CHOICES:
        own = folder / (choice or "plain")
        own.mkdir(parents=True)
        fractions, offsets = WORDS[choice]
        rules = RULES.format(
            prefix=_prefix(choice), fractions=fractions, offsets=offsets, engine=engine
        )
        if choice:
            # Only these have a choice.
            rules = rules.replace("fidelity.*", "fidelity.moments")
        (own / "migration.yaml").write_text(rules, encoding="utf-8")
        projects[choice] = Project(own, settings)
        projects[choice].run("plan").ok()
        projects[choice].run("run").ok()
    return projects


def mssql(settings: Mapping[str, str]) -> Any:
    return pymssql.connect(
        server=settings["MSSQL_HOST"],
        port=settings.get("MSSQL_PORT", "1433"),
        user=settings["MSSQL_USER"],
        password=settings["MSSQL_PASSWORD"],
        database=settings["MSSQL_DATABASE"],
        autocommit=True,
    )


def starrocks(settings: Mapping[str, str]) -> Any:
    return pymysql.connect(
        host=settings["STARROCKS_HOST"],
        port=int(settings.get("STARROCKS_PORT", "9030")),
        user=settings["STARROCKS_USER"],
        password=settings.get("STARROCKS_PASSWORD", ""),
        autocommit=True,
        # The default changes what is shown of a DATETIME in no version, but says what is meant.
        init_command="SET time_zone = 'UTC'",
    )


def catalog_of(settings: Mapping[str, str]) -> Catalog:
    """The Glue catalog of the settings, configured here and not by the product."""
    given = {
        "endpoint": settings.get("AWS_ENDPOINT_URL"),
        "region": settings.get("AWS_REGION"),
        "access-key-id": settings.get("AWS_ACCESS_KEY_ID"),
        "secret-access-key": settings.get("AWS_SECRET_ACCESS_KEY"),
        "session-token": settings.get("AWS_SESSION_TOKEN"),
    }
    properties = {
        f"{service}.{name}": value
        for service in ("glue", "s3")
        for name, value in given.items()
        if value
    }
    return load_catalog("fidelity", **{"type": "glue", **properties})


MOVED = [
    (choice, table)
    for choice in CHOICES
    for table in suite.tables()
    if not choice or table == "moments"
]


@pytest.mark.parametrize(("choice", "table"), MOVED)
def test_iceberg_has_every_value(arrived: Arrived, choice: str, table: str) -> None:
    wanted = suite.expected(arrived.tables[table], choice)
    assert suite.differences(arrived.iceberg(choice, table), wanted) == []


@pytest.mark.parametrize(("choice", "table"), MOVED)
def test_starrocks_has_every_value(arrived: Arrived, choice: str, table: str) -> None:
    wanted = suite.expected(arrived.tables[table], choice)
    found = arrived.starrocks(choice, table)
    assert suite.differences(found, wanted, suite.loaded, SINGLES) == []


def test_every_check_passed(arrived: Arrived) -> None:
    for project in arrived.projects.values():
        project.run("validate").ok()

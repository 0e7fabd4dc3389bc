"""Types whose values no literal gives, and types that a database makes itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from migration_assets.sandbox.launcher import Sandbox
from migration_assets_tests.fidelity.cases import catalog_of, mssql
from migration_assets_tests.sandbox.project import Project

DDL = (
    "CREATE SCHEMA own",
    "CREATE TYPE own.Phone FROM varchar(20) NOT NULL",
    "CREATE TYPE own.Amount FROM decimal(18, 4)",
    "CREATE TYPE own.Essay FROM nvarchar(max)",
    "CREATE TYPE own.Point EXTERNAL NAME Shapes.[Shapes.Point]",
    "CREATE TABLE own.things (id int NOT NULL PRIMARY KEY, phone own.Phone, amount own.Amount NULL, "
    "essay own.Essay NULL, at_ own.Point NULL, version rowversion)",
    "INSERT INTO own.things (id, phone, amount, essay, at_) "
    "VALUES (1, '+41 44', -1.0001, N'日本', 0x0102FF)",
    "INSERT INTO own.things (id, phone) VALUES (2, '')",
)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    with Sandbox(scale=None) as sandbox:
        with mssql(sandbox.settings) as connection, connection.cursor() as cursor:
            for statement in DDL:
                cursor.execute(statement)
        made = Project(tmp_path_factory.mktemp("own"), sandbox.settings)
        made.run("doctor", "--fix").ok()
        made.run("plan").ok()
        made.run("run").ok()
        yield made


def source(project: Project, columns: str) -> list[tuple[Any, ...]]:
    with mssql(project.settings) as connection, connection.cursor() as cursor:
        cursor.execute(f"SELECT {columns} FROM own.things ORDER BY id")
        return list(cursor.fetchall())


def test_each_arrives_as_the_source_has_it(project: Project) -> None:
    read = source(project, "id, phone, amount, essay, CONVERT(varbinary(max), at_), version")
    rows = catalog_of(project.settings).load_table(("own", "things")).scan().to_arrow().to_pylist()
    names = ("id", "phone", "amount", "essay", "at_", "version")
    assert sorted(tuple(row[name] for name in names) for row in rows) == read
    assert read[0][4] == b"\x01\x02\xff"
    assert all(len(row[5]) == 8 for row in read)


def test_an_alias_type_is_planned_as_its_base_type(project: Project) -> None:
    columns = {c["name"]: c for c in project.table("own.things")["columns"]}
    assert columns["phone"]["starrocks_type"] == "VARCHAR(60)"
    assert not columns["phone"]["nullable"]
    assert columns["amount"]["starrocks_type"] == "DECIMAL(18,4)"
    assert columns["essay"]["mssql_type"] == "nvarchar(max)"
    assert columns["at_"]["mssql_type"] == "clr"


def test_their_copies_compare_equal(project: Project) -> None:
    project.run("validate", "--level", "rows").ok()

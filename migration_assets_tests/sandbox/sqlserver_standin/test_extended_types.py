"""sql_variant, hierarchyid, geometry, geography, json, vector, xml, alias and CLR types."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from migration_assets_tests.sandbox.sqlserver_standin import extended_values
from migration_assets_tests.sandbox.sqlserver_standin.client import (
    Server,
    arrow,
    error_of,
    odbc,
    rows,
    tds,
)
from migration_assets_tests.sandbox.sqlserver_standin.extended_values import VALUES, expected, query

PLACES = [
    pytest.param(place, id=f"{value.kind}-{value.text[:30]}") for place, value in enumerate(VALUES)
]


@pytest.fixture(scope="module")
def filled() -> Iterator[Server]:
    server = Server()
    server.execute_script(extended_values.SCRIPT)
    yield server
    server.close()


@pytest.fixture(scope="module")
def connections(filled: Server) -> Iterator[dict[str, Any]]:
    made = {"tds": tds(filled), "odbc": odbc(filled)}
    yield made
    for connection in made.values():
        connection.close()


def plain(values: Any) -> list[Any]:
    return [str(value) if isinstance(value, Decimal) else value for value in values]


@pytest.mark.parametrize("driver", ["tds", "odbc"])
@pytest.mark.parametrize("place", PLACES)
def test_the_expressions_of_a_value(connections: dict[str, Any], driver: str, place: int) -> None:
    (found,) = rows(connections[driver], query(place))
    assert plain(found) == expected(place)


@pytest.mark.parametrize("place", PLACES)
def test_the_expressions_of_a_value_as_arrow(connections: dict[str, Any], place: int) -> None:
    table = arrow(connections["odbc"], query(place))
    assert plain(column[0].as_py() for column in table.columns) == expected(place)


def test_what_the_catalog_says_of_the_types(filled: Server) -> None:
    connection = tds(filled)
    known = rows(
        connection,
        "SELECT name, system_type_id, user_type_id, is_user_defined, is_assembly_type, is_nullable "
        "FROM sys.types WHERE user_type_id IN (98, 128, 129, 130, 244, 255) OR user_type_id > 256 "
        "ORDER BY user_type_id",
    )
    columns = rows(
        connection,
        "SELECT t.name, c.system_type_id, c.user_type_id, c.max_length, c.is_nullable "
        "FROM sys.tables t JOIN sys.columns c ON c.object_id = t.object_id WHERE c.name = 'c'",
    )
    connection.close()
    assert known == [
        ("sql_variant", 98, 98, False, False, True),
        ("hierarchyid", 240, 128, False, True, True),
        ("geometry", 240, 129, False, True, True),
        ("geography", 240, 130, False, True, True),
        ("json", 244, 244, False, False, True),
        ("vector", 255, 255, False, False, True),
        ("Phone", 167, 257, True, False, False),
        ("Price", 106, 258, True, False, True),
        ("Spot", 240, 259, True, True, True),
    ]
    described = {
        VALUES[int(name[1:])].kind: tuple(rest) for name, *rest in columns
    }  # fmt: skip
    assert {kind: described[kind] for kind in [
        "sql_variant", "hierarchyid", "geometry", "geography", "json", "vector(3)", "dbo.Phone",
        "dbo.Price", "dbo.Spot", "xml",
    ]} == {
        "sql_variant": (98, 98, 8016, True),
        "hierarchyid": (240, 128, 892, True),
        "geometry": (240, 129, -1, True),
        "geography": (240, 130, -1, True),
        "json": (244, 244, -1, True),
        "vector(3)": (255, 255, 20, True),
        "dbo.Phone": (167, 257, 20, False),
        "dbo.Price": (106, 258, 9, True),
        "dbo.Spot": (240, 259, -1, True),
        "xml": (241, 241, -1, True),
    }  # fmt: skip


def test_the_order_of_hierarchyid_is_depth_first(server: Server) -> None:
    server.execute_script(
        "CREATE TABLE tree (h hierarchyid PRIMARY KEY, parent hierarchyid NULL)\n"
        "INSERT tree (h) VALUES ('/10/'), ('/2/'), ('/'), ('/2/1/'), ('/2.1/'), ('/-1/')"
    )
    connection = odbc(server)
    found = rows(connection, "SELECT h.ToString() FROM tree ORDER BY h")
    extremes = rows(
        connection, "SELECT MIN(h).ToString(), MAX(h).ToString(), COUNT(parent) FROM tree"
    )
    between = rows(connection, "SELECT COUNT(*) FROM tree WHERE h > '/2/' AND h <= '/2.1/'")
    connection.close()
    assert [path for (path,) in found] == ["/", "/-1/", "/2/", "/2/1/", "/2.1/", "/10/"]
    assert extremes == [("/", "/10/", 0)]
    assert between == [(2,)]


def test_values_that_are_not_of_the_type_are_refused(server: Server) -> None:
    server.execute_script(
        "CREATE TABLE r (v sql_variant, h hierarchyid, g geometry, e geography, j json, "
        "n vector(3), x xml)"
    )
    refused = {
        "INSERT r (v) VALUES (CAST('a' AS varchar(max)))": (206, "varchar(max)"),
        "INSERT r (h) VALUES ('1/2')": (6522, "24001"),
        "INSERT r (g) VALUES ('POINT (1)')": (6522, "24141"),
        "INSERT r (g) VALUES ('MULTIPOINT ((1 1))')": (50001, "MULTIPOINT"),
        "INSERT r (g) VALUES ('POINT EMPTY')": (50001, "POINT EMPTY"),
        "INSERT r (g) VALUES ('LINESTRING (1 1)')": (6522, "24117"),
        "INSERT r (g) VALUES ('POLYGON ((0 0, 1 0, 1 1, 0 1))')": (6522, "24119"),
        "INSERT r (g) VALUES (geometry::Point(1, 2, -1))": (6522, "24204"),
        "INSERT r (e) VALUES (geography::Point(90.5, 0, 4326))": (6522, "24201"),
        "INSERT r (e) VALUES (geography::Point(1, 1, 0))": (6522, "24204"),
        "INSERT r (g) VALUES (geometry::Conjure('x'))": (50001, "geometry::Conjure"),
        "INSERT r (j) VALUES ('{a: 1}')": (13609, "'a' is found at position 1"),
        "INSERT r (n) VALUES ('[1, 2]')": (42204, "3 and 2"),
        "INSERT r (n) VALUES ('[1, 2, \"3\"]')": (13609, "numbers"),
        "INSERT r (x) VALUES ('<a><b></a>')": (9400, "mismatched tag"),
        'INSERT r (x) VALUES (N\'<?xml version="1.0" encoding="utf-8"?><a/>\')': (9402, "encoding"),
        "INSERT r (x) VALUES ('<!DOCTYPE a><a/>')": (6359, "DTD"),
        "SELECT g.Buffer(1) FROM r": (50001, "Buffer"),
        "SELECT x.value('(/a)[1]', 'int') FROM r": (50001, "value"),
        "SELECT DATALENGTH(g) FROM r": (50001, "DATALENGTH"),
        "SELECT COUNT(DISTINCT j) FROM r": (305, "json"),
        "SELECT 1 FROM r WHERE v = 1": (50001, "sql_variant"),
        "SELECT CAST('x' AS dbo.Nothing)": (2715, "nothing"),
        "CREATE TABLE q (a vector)": (50001, "vector"),
        "CREATE TYPE dbo.T AS TABLE (a int)": (50001, "CREATE TYPE"),
    }
    bare = {f"SELECT {column} FROM r": (50001, "a result column of type") for column in "vhgejn"}
    connection = tds(server)
    found = {sql: error_of(connection, sql) for sql in refused | bare}
    connection.close()
    for sql, (number, words) in (refused | bare).items():
        assert found[sql][0] == number, found[sql]
        assert words in found[sql][1], found[sql]


def test_a_type_in_use_is_not_dropped(server: Server) -> None:
    server.execute_script(
        "CREATE TYPE dbo.Code FROM char(3) NOT NULL\nCREATE TABLE coded (c dbo.Code, d Code NULL)"
    )
    connection = tds(server)
    assert error_of(connection, "DROP TYPE dbo.Code")[0] == 3732
    assert error_of(connection, "INSERT coded VALUES (NULL, 'a')")[0] == 515
    server.execute_script("DROP TABLE coded\nDROP TYPE dbo.Code\nDROP TYPE IF EXISTS dbo.Code")
    assert error_of(connection, "DROP TYPE dbo.Code")[0] == 218
    connection.close()

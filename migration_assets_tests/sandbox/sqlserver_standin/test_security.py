"""Permissions, masks, policies and synonyms of the stand-in, through a real driver."""

from __future__ import annotations

import pytest

from migration_assets_tests.sandbox.sqlserver_standin.client import (
    Server,
    error_of,
    odbc,
    rows,
    tds,
)

SCRIPT = """
CREATE TABLE dbo.t (id int NOT NULL, a char(8) MASKED WITH (FUNCTION = 'default()') NULL, b int)
INSERT INTO dbo.t VALUES (1, 'secret', 7), (2, NULL, 8)
GO
CREATE FUNCTION dbo.only(@b int) RETURNS TABLE AS RETURN (SELECT 1 AS ok WHERE @b > 7)
GO
CREATE SYNONYM dbo.s FOR dbo.t
"""
POLICY = "CREATE SECURITY POLICY dbo.p ADD FILTER PREDICATE dbo.only(b) ON dbo.t WITH (STATE = {})"


@pytest.fixture
def secured(server: Server) -> Server:
    server.execute_script(SCRIPT)
    return server


def test_denied_columns_are_error_230_wherever_they_are_named(secured: Server) -> None:
    connection = tds(secured)
    connection.cursor().execute("DENY SELECT ON dbo.t (b) TO anybody")
    for sql in ("SELECT b FROM t", "SELECT * FROM t", "SELECT 1 FROM t WHERE t.b = 1"):
        assert error_of(connection, sql)[0] == 230
    assert error_of(connection, "SELECT max(B) FROM dbo.s")[0] == 230
    assert rows(connection, "SELECT id FROM t ORDER BY id") == [(1,), (2,)]
    ask = "SELECT HAS_PERMS_BY_NAME('dbo.t', 'OBJECT', 'SELECT'{})"
    assert rows(connection, ask.format("")) == [(1,)]
    assert rows(connection, ask.format(", 'B', 'COLUMN'")) == [(0,)]
    assert rows(connection, ask.format(", 'a', 'COLUMN'")) == [(1,)]
    assert rows(connection, ask.format("").replace("dbo.t", "dbo.gone")) == [(None,)]
    found = rows(connection, "SELECT minor_id, type, state FROM sys.database_permissions")
    assert [(number, code.strip(), state) for number, code, state in found] == [(3, "SL", "D")]
    connection.close()


def test_denied_tables_are_error_229_until_granted(secured: Server) -> None:
    connection = tds(secured)
    connection.cursor().execute("DENY SELECT ON dbo.t TO anybody")
    assert error_of(connection, "SELECT COUNT(*) FROM t")[0] == 229
    connection.cursor().execute("GRANT SELECT ON dbo.t TO anybody")
    assert rows(connection, "SELECT COUNT(*) FROM t") == [(2,)]
    assert error_of(connection, "GRANT TAKE OWNERSHIP ON dbo.t TO anybody")[0] == 50001
    connection.close()


def test_masks(secured: Server) -> None:
    connection = odbc(secured)
    assert rows(connection, "SELECT a FROM t ORDER BY id") == [("secret  ",), (None,)]
    connection.cursor().execute("REVOKE UNMASK FROM anybody")
    assert rows(connection, "SELECT a FROM t ORDER BY id") == [("xxxx    ",), (None,)]
    masked = "SELECT name, masking_function FROM sys.masked_columns"
    assert rows(connection, masked) == [("a", "default()")]
    connection.close()


@pytest.mark.parametrize(("state", "seen"), [("ON", [(2,)]), ("OFF", [(1,), (2,)])])
def test_a_policy_filters_rows_while_it_is_on(
    secured: Server, state: str, seen: list[tuple[int]]
) -> None:
    connection = tds(secured)
    connection.cursor().execute(POLICY.format(state))
    for name in ("t", "s"):
        assert rows(connection, f"SELECT id FROM {name} ORDER BY id") == seen
    enabled = rows(connection, "SELECT name, is_enabled FROM sys.security_policies")
    assert enabled == [("p", state == "ON")]
    connection.cursor().execute("REVOKE VIEW DEFINITION FROM anybody")
    assert rows(connection, "SELECT name FROM sys.security_policies") == []
    assert rows(connection, "SELECT id FROM t ORDER BY id") == seen
    connection.close()


def test_determinism(secured: Server) -> None:
    connection = tds(secured)
    connection.cursor().execute("CREATE TABLE c (i int, d AS (i + 1), n AS (GETDATE()))")
    asked = "SELECT COLUMNPROPERTY(object_id, name, 'IsDeterministic') FROM sys.columns "
    found = rows(connection, asked + "WHERE object_id = OBJECT_ID('c') ORDER BY column_id")
    assert found == [(None,), (1,), (0,)]
    refused = "CREATE TABLE d (i int, n AS (NEWID()) PERSISTED)"
    assert error_of(connection, refused)[0] == 4936
    connection.close()


def test_what_it_cannot_be_is_described(secured: Server) -> None:
    connection = tds(secured)
    cursor = connection.cursor()
    cursor.execute("EXEC sp_stand_in_describe 'dbo.t', 'temporal_type', 2")
    cursor.execute("EXEC sp_stand_in_describe 'dbo.t', 'is_hidden', 1, 'b'")
    assert rows(connection, "SELECT temporal_type FROM sys.tables WHERE name = 't'") == [(2,)]
    assert rows(connection, "SELECT name FROM sys.columns WHERE is_hidden = 1") == [("b",)]
    cursor.execute("EXEC sp_stand_in_describe 'dbo.t', 'is_nonsense', 1")
    assert error_of(connection, "SELECT name FROM sys.tables")[0] == 50001
    connection.close()

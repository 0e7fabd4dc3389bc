"""The catalog views that introspection reads."""

from __future__ import annotations

import pytest

from migration_assets_tests.sandbox.sqlserver_standin.client import Server, error_of, rows, tds


def test_catalog_views(server: Server) -> None:
    connection = tds(server)
    columns = rows(
        connection,
        "SELECT c.name, ty.name, c.max_length, c.precision, c.scale, c.collation_name, c.is_nullable, c.is_identity, "
        "c.is_computed FROM sys.columns c JOIN sys.types ty ON ty.user_type_id = c.user_type_id "
        "WHERE c.object_id = OBJECT_ID('dbo.customers') ORDER BY c.column_id",
    )
    collation = "SQL_Latin1_General_CP1_CI_AS"
    assert columns == [
        ("id", "int", 4, 10, 0, None, False, True, False),
        ("name", "nvarchar", 100, 0, 0, collation, False, False, False),
        ("code", "char", 5, 0, 0, collation, True, False, False),
        ("balance", "money", 8, 19, 4, None, True, False, False),
        ("shout", "nvarchar", 102, 0, 0, collation, False, False, True),
    ]
    keys = rows(
        connection,
        "SELECT i.name, i.type_desc, i.is_primary_key, c.name, ic.key_ordinal, ic.is_descending_key, ic.is_included_column "
        "FROM sys.indexes i JOIN sys.index_columns ic ON ic.object_id = i.object_id AND ic.index_id = i.index_id "
        "JOIN sys.columns c ON c.object_id = i.object_id AND c.column_id = ic.column_id "
        "JOIN sys.tables t ON t.object_id = i.object_id JOIN sys.schemas s ON s.schema_id = t.schema_id "
        "WHERE s.name = 'sales' ORDER BY i.index_id, ic.index_column_id",
    )
    assert keys == [
        ("PK_lines", "CLUSTERED", True, "Order", 1, False, False),
        ("PK_lines", "CLUSTERED", True, "line", 2, True, False),
        ("ix_customer", "NONCLUSTERED", False, "customer", 1, True, False),
        ("ix_customer", "NONCLUSTERED", False, "qty", 0, False, True),
    ]
    counts = "SELECT OBJECT_NAME(object_id), SUM({}) FROM {} WHERE index_id < 2 GROUP BY object_id ORDER BY 1"
    expected = [("customers", 2), ("Order Lines", 3)]
    assert rows(connection, counts.format("rows", "sys.partitions")) == expected
    assert rows(connection, counts.format("row_count", "sys.dm_db_partition_stats")) == expected
    foreign = rows(
        connection,
        "SELECT OBJECT_NAME(k.referenced_object_id), k.delete_referential_action_desc, c.referenced_column_id "
        "FROM sys.foreign_keys k JOIN sys.foreign_key_columns c ON c.constraint_object_id = k.object_id",
    )
    assert foreign == [("customers", "CASCADE", 1)]
    assert rows(connection, "SELECT TABLE_NAME, TABLE_TYPE FROM INFORMATION_SCHEMA.TABLES ORDER BY 1") == [
        ("bought", "VIEW"), ("customers", "BASE TABLE"), ("Order Lines", "BASE TABLE")]  # fmt: skip
    assert rows(connection, "SELECT definition, is_persisted FROM sys.computed_columns") == [
        ("(UPPER(name) + N'!')", True)
    ]
    assert ("SELECT",) in rows(
        connection, "SELECT permission_name FROM fn_my_permissions(NULL, 'DATABASE')"
    )
    connection.close()


def test_views_can_be_missing_or_denied() -> None:
    server = Server("--without", "sys.dm_db_partition_stats", "--deny", "sys.partitions")
    connection = tds(server)
    assert error_of(connection, "SELECT * FROM sys.dm_db_partition_stats")[0] == 208
    assert error_of(connection, "SELECT * FROM sys.partitions")[0] == 229
    assert rows(connection, "SELECT * FROM sys.tables") == []
    connection.close()
    server.close()


DESCRIBE = (
    "SELECT name, system_type_name, max_length, precision, scale, collation_name, is_nullable, "
    "user_type_name, error_number FROM sys.dm_exec_describe_first_result_set(N'{}', NULL, 0) "
    "ORDER BY column_ordinal"
)


def described(server: Server, statement: str) -> list[tuple[object, ...]]:
    return rows(tds(server), DESCRIBE.format(statement.replace("'", "''")))


def test_a_select_is_described_without_being_run(server: Server) -> None:
    found = described(
        server,
        "SELECT id, UPPER(name) AS shouted, SUM(balance) AS total, COUNT_BIG(*) AS n, NULL AS nothing, "
        "CAST('/1/' AS hierarchyid) AS place, 1 / 0 FROM dbo.customers GROUP BY id, name",
    )
    collation = "SQL_Latin1_General_CP1_CI_AS"
    assert found[:6] == [
        ("id", "int", 4, 10, 0, None, False, None, None),
        ("shouted", "nvarchar(50)", 100, 0, 0, collation, False, None, None),
        ("total", "money", 8, 19, 4, None, True, None, None),
        ("n", "bigint", 8, 19, 0, None, False, None, None),
        ("nothing", "int", 4, 10, 0, None, True, None, None),
        ("place", None, 892, 0, 0, None, False, "hierarchyid", None),
    ]
    assert found[6][0] is None


def test_a_select_that_cannot_run_is_described_by_its_error(server: Server) -> None:
    wrong = {
        "SELECT id FROM dbo.nobody": 208,
        "SELECT nothing FROM dbo.customers": 207,
        "SELECT id, name FROM dbo.customers GROUP BY id": 8120,
        "SELECT FROM": 102,
        "SELECT * FROM (SELECT id FROM dbo.customers ORDER BY id) AS q": 1033,
        "SELECT * FROM (SELECT id, id + 1 FROM dbo.customers) AS q": 8155,
        "SELECT * FROM (SELECT id, 1 AS ID FROM dbo.customers) AS q": 8156,
        "SELECT * FROM (WITH c AS (SELECT 1 AS a) SELECT a FROM c) AS q": 156,
    }
    found = {statement: described(server, statement)[0] for statement in wrong}
    assert {statement: row[-1] for statement, row in found.items()} == wrong
    (fine,) = described(
        server, "SELECT * FROM (SELECT TOP 1 id FROM dbo.customers ORDER BY id) AS q"
    )
    assert fine[0] == "id"
    unknown = "SELECT name FROM dbo.customers FOR XML PATH"
    with pytest.raises(Exception, match="stand-in: not supported"):
        described(server, unknown)


def test_columns_of_views_are_in_the_catalog(server: Server) -> None:
    server.execute_script("CREATE VIEW dbo.v AS SELECT id, balance * 2 AS twice FROM dbo.customers")
    connection = tds(server)
    catalog = (
        "SELECT c.name, c.system_type_id, c.precision, c.scale, c.is_nullable FROM sys.views AS v "
        "JOIN sys.columns AS c ON c.object_id = v.object_id WHERE v.name = 'v' ORDER BY c.column_id"
    )
    assert rows(connection, catalog) == [("id", 56, 10, 0, False), ("twice", 60, 19, 4, True)]
    standard = (
        "SELECT c.COLUMN_NAME, c.DATA_TYPE FROM INFORMATION_SCHEMA.COLUMNS AS c "
        "JOIN INFORMATION_SCHEMA.TABLES AS t ON t.TABLE_NAME = c.TABLE_NAME "
        "WHERE t.TABLE_TYPE = 'VIEW' AND t.TABLE_NAME = 'v' ORDER BY c.ORDINAL_POSITION"
    )
    assert rows(connection, standard) == [("id", "int"), ("twice", "money")]

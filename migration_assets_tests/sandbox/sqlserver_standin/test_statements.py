"""T-SQL: expressions, queries, changes, and the numbers of errors."""

from __future__ import annotations

import uuid
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from migration_assets_tests.sandbox.sqlserver_standin.client import (
    GUID,
    PLUS_2,
    Server,
    error_of,
    odbc,
    one,
    rows,
    tds,
)

EXPRESSIONS: list[tuple[str, Any]] = [
    ("7 / 2", 3), ("-7 / 2", -3), ("7 % -3", 1), ("7 / 2.0", Decimal("3.500000")),
    ("CAST(2 AS decimal(10,0)) / 3", Decimal("0.66666666666")),
    ("1.5 * 2.25", Decimal("3.375")), ("5 & 3 | 8", 9), ("5 ^ 1", 4), ("~5", -6), ("1e0 / 4", 0.25),
    ("AVG(x) FROM (VALUES (1), (2)) v(x)", 1),
    ("AVG(CAST(x AS decimal(5,2))) FROM (VALUES (1), (2), (2)) v(x)", Decimal("1.666666")),
    ("SUM(CAST(x AS decimal(38,0))) FROM (VALUES (9223372036854775807), (1)) v(x)", Decimal(2**63)),
    ("STRING_AGG(x, '+') WITHIN GROUP (ORDER BY x DESC) FROM (VALUES ('a'), ('b')) v(x)", "b+a"),
    ("LEN('ab  ')", 2), ("LEN(N'😀')", 2), ("DATALENGTH(N'é😀')", 6), ("DATALENGTH('é')", 1),
    ("DATALENGTH(CAST('ab' AS char(5)))", 5), ("DATALENGTH(0x0102)", 2), ("DATALENGTH(CAST(1 AS bigint))", 8),
    ("LEFT('abc', 2) + RIGHT('abc', 1)", "abc"), ("SUBSTRING('abcdef', 2, 3)", "bcd"),
    ("SUBSTRING('abc', 0, 2)", "a"), ("CHARINDEX('B', 'abcb')", 2), ("CHARINDEX('b', 'abcb', 3)", 4),
    ("CONCAT('a', NULL, 1)", "a1"), ("ISNULL(CAST(NULL AS varchar(3)), 'abcdef')", "abc"),
    ("NULLIF(1, 1)", None), ("COALESCE(NULL, 2, 3)", 2), ("IIF(1 = 1, 'y', 'n')", "y"),
    ("CASE 2 WHEN 1 THEN 'a' WHEN 2 THEN 'b' END", "b"), ("REPLICATE('ab', 2)", "abab"),
    ("CASE WHEN 'a' = 'A ' THEN 1 ELSE 0 END", 1), ("CASE WHEN 'abc' LIKE 'A[a-c]_' THEN 1 ELSE 0 END", 1),
    ("CASE WHEN 'a' COLLATE Latin1_General_BIN2 = 'A' THEN 1 ELSE 0 END", 0),
    ("CAST(2.5 AS int)", 2), ("CAST(-2.5 AS decimal(5,0))", Decimal(-3)), ("CAST(CAST(1.5 AS money) AS int)", 2),
    ("CAST(NULL AS int)", None), ("TRY_CAST('x' AS int)", None), ("TRY_CONVERT(decimal(5,2), '1.5')", Decimal("1.50")),
    ("CONVERT(varchar(8), CAST('2020-02-01' AS date), 112)", "20200201"),
    ("CONVERT(varchar(10), CAST('2020-02-01 10:00' AS datetime), 23)", "2020-02-01"),
    ("CONVERT(varchar(30), CAST('2020-02-01 13:05:06.123' AS datetime))", "Feb  1 2020  1:05PM"),
    ("CONVERT(varchar(30), CAST('2020-02-01 13:05:06.123' AS datetime), 121)", "2020-02-01 13:05:06.123"),
    ("CONVERT(varchar(30), CAST('2020-02-01 13:05:06.123' AS datetime2(7)), 121)", "2020-02-01 13:05:06.1230000"),
    ("CONVERT(varchar(30), CAST('2020-02-01 13:05:06.123' AS datetime2(3)), 126)", "2020-02-01T13:05:06.123"),
    ("CONVERT(varchar(30), CAST('13:05:06.123' AS time(3)), 114)", "13:05:06:123"),
    ("CONVERT(varchar(34), CAST('2020-01-01 10:00 -05:30' AS datetimeoffset(0)), 121)", "2020-01-01 10:00:00 -05:30"),
    ("CONVERT(varchar(34), CAST('2020-01-01 10:00 -05:30' AS datetimeoffset(0)), 127)", "2020-01-01T15:30:00Z"),
    ("CAST(CAST('2020-01-01 10:00 -05:30' AS datetimeoffset(0)) AS datetime2(0))", datetime(2020, 1, 1, 10)),
    ("CONVERT(datetime2(6), CAST('2020-01-01 00:00:00.003' AS datetime))", datetime(2020, 1, 1, 0, 0, 0, 3333)),
    ("CASE WHEN CAST('2020-01-01 10:00 +02:00' AS datetimeoffset) = CAST('2020-01-01 08:00' AS datetime2) THEN 1 END", 1),
    ("SWITCHOFFSET(CAST('2020-01-01 10:00 +00:00' AS datetimeoffset(0)), '+02:00')", datetime(2020, 1, 1, 12, tzinfo=PLUS_2)),
    ("CAST('2020-01-01 10:00' AS datetime2(0)) AT TIME ZONE 'UTC'", datetime(2020, 1, 1, 10, tzinfo=UTC)),
    ("TODATETIMEOFFSET(CAST('2020-01-01 10:00' AS datetime2(0)), '+02:00')", datetime(2020, 1, 1, 10, tzinfo=PLUS_2)),
    ("DATEDIFF_BIG(microsecond, CAST('0001-01-01' AS datetime2(6)), CAST('9999-12-31 23:59:59.999999' AS datetime2(6)))", 315_537_897_599_999_999),
    ("DATEDIFF(day, '2020-01-31 23:59', '2020-02-01')", 1), ("DATEDIFF(month, '2020-01-31', '2020-02-01')", 1),
    ("DATEDIFF(hour, CAST('1969-12-31 23:30' AS datetime2), CAST('1970-01-01 00:15' AS datetime2))", 1),
    ("DATEADD(month, 1, CAST('2020-01-31' AS date))", date(2020, 2, 29)),
    ("DATEADD(millisecond, -1, CAST('2020-01-01' AS datetime2(3)))", datetime(2019, 12, 31, 23, 59, 59, 999000)),
    ("DATEPART(nanosecond, CAST('01:02:03.1234567' AS time(7)))", 123_456_700),
    ("DATEPART(microsecond, CAST('1900-01-01 01:02:03.123456' AS datetime2(6)))", 123_456),
    ("YEAR(CAST('0001-01-01' AS date))", 1), ("HASHBYTES('MD5', 'abc')", bytes.fromhex("900150983cd24fb0d6963f7d28e17f72")),
    ("CONVERT(varchar(64), HASHBYTES('SHA2_256', N'abc'), 2)", "13E228567E8249FCE53337F25D7970DE3BD68AB2653424C7B8F9FD05E33CAEDF"),
    (f"CONVERT(binary(16), CAST('{GUID}' AS uniqueidentifier))", GUID.bytes_le),
    (f"CONVERT(bigint, SUBSTRING(CONVERT(binary(16), CAST('{GUID}' AS uniqueidentifier)), 1, 4))", 0x33221100),
    (f"CONVERT(varchar(36), CAST('{GUID}' AS uniqueidentifier))", str(GUID).upper()),
    ("CONVERT(bigint, 0xFFFFFFFFFFFFFFFF)", -1), ("CONVERT(binary(8), CAST(-2 AS bigint))", b"\xff" * 7 + b"\xfe"),
    ("CONVERT(varchar(10), 0x0aff, 1)", "0x0AFF"), ("CONVERT(varchar(20), CAST(-1.5 AS money))", "-1.50"),
    ("CONVERT(varchar(40), CAST(0.1 AS float), 3)", "1.0000000000000001e-001"),
    ("2147483648", Decimal(2147483648)), ("ABS(-5)", 5), ("ROUND(2.345, 2)", Decimal("2.350")), ("FLOOR(-1.5)", Decimal(-2)),
    ("SCHEMA_NAME()", "dbo"), ("ORIGINAL_LOGIN()", "sa"), ("@@TRANCOUNT", 0),
    ("SERVERPROPERTY('ProductVersion')", "16.0.1000.6"), ("HAS_PERMS_BY_NAME(NULL, 'DATABASE', 'SELECT')", 1),
    ("DATABASEPROPERTYEX('master', 'Collation')", "SQL_Latin1_General_CP1_CI_AS"),
    ("OBJECT_ID('dbo.nope')", None), ("OBJECT_NAME(OBJECT_ID(N'[sales].[Order Lines]'))", "Order Lines"),
]  # fmt: skip


def test_expressions(server: Server) -> None:
    connection = odbc(server)
    got = {sql: one(connection, f"SELECT {sql}") for sql, _ in EXPRESSIONS}
    connection.close()
    assert got == dict(EXPRESSIONS)


def test_names_are_case_insensitive_and_quoted_both_ways(server: Server) -> None:
    connection = tds(server)
    assert rows(
        connection, "SELECT \"NAME\" FROM [DBO].[Customers] AS C WHERE c.ID = 2 AND Name = 'BOB'"
    ) == [("bob",)]
    assert rows(
        connection,
        f"SELECT l.[ORDER] FROM {server.database}.Sales.[order lines] l WHERE qty BETWEEN 2 AND 3",
    ) == [(1,)]
    connection.close()


def test_queries(server: Server) -> None:
    connection = tds(server)
    expected: dict[str, list[tuple[Any, ...]]] = {
        "SELECT name, qty FROM sales.bought ORDER BY 2 DESC": [("Ann 😀", 2), ("bob", 1)],
        "SELECT TOP (1) id FROM customers ORDER BY id DESC": [(2,)],
        "SELECT id FROM customers ORDER BY name OFFSET 1 ROWS FETCH NEXT 1 ROWS ONLY": [(2,)],
        "SELECT code, COUNT(*) FROM customers GROUP BY code ORDER BY code": [(None, 1), ("ab   ", 1)],
        "SELECT c.id, x.n FROM customers c CROSS APPLY (SELECT COUNT(*) n FROM sales.[Order Lines] l "
        "WHERE l.customer = c.id) x ORDER BY 1": [(1, 1), (2, 1)],
        "SELECT c.id, x.qty FROM customers c OUTER APPLY (SELECT qty FROM sales.[Order Lines] l WHERE "
        "l.customer = c.id AND qty > 1) x ORDER BY 1": [(1, 2), (2, None)],
        "WITH a AS (SELECT id x FROM customers), b(y) AS (SELECT x + 1 FROM a) SELECT y FROM b WHERE y IN "
        "(SELECT x FROM a)": [(2,)],
        "SELECT l.[Order], c.name FROM sales.[Order Lines] l LEFT JOIN customers c ON c.id = l.customer "
        "WHERE c.id IS NULL": [(2, None)],
        "SELECT x FROM (VALUES ('b'), ('A'), ('a')) v(x) GROUP BY x ORDER BY x": [("A",), ("b",)],
        "SELECT DISTINCT x FROM (VALUES ('a'), ('A '), ('b')) v(x) ORDER BY x": [("a",), ("b",)],
        "SELECT id, ROW_NUMBER() OVER (ORDER BY id DESC) r, NTILE(2) OVER (ORDER BY id) t, SUM(id) OVER () s "
        "FROM customers ORDER BY id": [(1, 2, 1, 3), (2, 1, 2, 3)],
        "SELECT id FROM customers WHERE EXISTS (SELECT 1 FROM sales.[Order Lines] WHERE customer = id AND qty = 2)"
        " UNION ALL SELECT 9 ORDER BY 1 DESC": [(9,), (1,)],
        "SELECT g FROM (VALUES (CAST('00000000-0000-0000-0000-000000000002' AS uniqueidentifier)), "
        "('10000000-0000-0000-0000-000000000001')) v(g) ORDER BY g": [
            (uuid.UUID("10000000-0000-0000-0000-000000000001"),), (uuid.UUID(int=2),)],
        "SELECT MIN(x), MAX(x) FROM (VALUES ('b'), ('A'), ('C')) v(x)": [("A", "C")],
    }  # fmt: skip
    assert {sql: rows(connection, sql) for sql in expected} == expected
    connection.close()


def test_changes(server: Server) -> None:
    connection = tds(server)

    def run(sql: str) -> int:
        with connection.cursor() as cursor:
            cursor.execute(sql)
            return int(cursor.rowcount)

    assert (
        run(
            "UPDATE c SET c.balance = l.qty FROM customers c JOIN sales.[Order Lines] l ON l.customer = c.id"
        )
        == 2
    )
    assert rows(connection, "SELECT balance, shout FROM customers ORDER BY id") == [
        (Decimal(2), "ANN 😀!"), (Decimal(1), "BOB!")]  # fmt: skip
    assert run("DELETE FROM sales.[Order Lines] WHERE customer IS NULL") == 1
    run("SET IDENTITY_INSERT customers ON")
    assert run("INSERT customers (id, name) VALUES (10, 'ten')") == 1
    run("SET IDENTITY_INSERT customers OFF")
    assert rows(
        connection, "INSERT INTO customers (name) OUTPUT inserted.id, inserted.name VALUES ('next')"
    ) == [(11, "next")]
    assert run("INSERT INTO customers (name) SELECT name FROM customers") == 4
    assert one(connection, "SELECT MAX(id) FROM customers") == 15
    run("ALTER TABLE customers ADD extra int NOT NULL CONSTRAINT df DEFAULT 7")
    run("ALTER TABLE customers ALTER COLUMN code varchar(9) NULL")
    assert rows(connection, "SELECT extra, code FROM customers WHERE id = 1") == [(7, "ab   ")]
    run("ALTER TABLE customers DROP COLUMN balance")
    run("EXEC sp_rename 'dbo.customers', 'people'")
    run("TRUNCATE TABLE people")
    run("INSERT people (name) VALUES ('first')")
    assert rows(connection, "SELECT id, name FROM people") == [(1, "first")]
    connection.close()


def test_fingerprint_queries(server: Server) -> None:
    server.execute_script(
        "CREATE TABLE f (k int NOT NULL PRIMARY KEY, v bigint, g uniqueidentifier, d datetime2(3), t time(6), n nvarchar(9))\n"
        f"INSERT f VALUES (10, 40000, '{GUID}', '2020-01-01', '00:00:00.5', N'é😀'), (11, NULL, NULL, NULL, NULL, NULL), (20, 1, NULL, NULL, NULL, NULL)"
    )
    connection = tds(server)
    sql = (
        "SELECT COUNT_BIG(*), COUNT_BIG([v]), SUM(CAST([v] AS decimal(38,0))), "
        "SUM(CAST(DATEDIFF_BIG(microsecond, CAST('0001-01-01' AS datetime2(6)), CAST([d] AS datetime2(6))) AS decimal(38,0))), "
        "SUM(CAST(DATALENGTH([n]) AS decimal(38,0))), SUM(CAST(([k] % 32749) * ([v] % 32749) AS decimal(38,0))), "
        "MIN([k]), MAX([k]), SUM(CAST(CONVERT(bigint, SUBSTRING(CONVERT(binary(16), [g]), 1, 4)) AS decimal(38,0))), "
        "SUM(CAST(DATEPART(nanosecond,[t]) AS decimal(38,0))) FROM [dbo].[f] WHERE ([k] >= 10 AND [k] < 20)"
    )
    micros = (datetime(2020, 1, 1) - datetime(1, 1, 1)) // timedelta(microseconds=1)
    expected = (2, 1, 40000, micros, 6, 10 * (40000 % 32749), 10, 11, 0x33221100, 500_000_000)
    assert rows(connection, sql) == [expected]
    connection.close()


def test_errors_have_sql_servers_numbers(server: Server) -> None:
    connection = tds(server)
    expected = {
        "SELECT * FROM nope": 208,
        "SELECT nope FROM customers": 207,
        "SELECT x.id FROM customers": 4104,
        "SELECT id FROM customers a, customers b": 209,
        "SELEC 1": 50001,
        "SELECT 1 +": 102,
        "SELECT 1/0": 8134,
        "SELECT 1 % (id - id) FROM customers": 8134,
        "SELECT CAST('abc' AS int)": 245,
        "SELECT CAST('1.5' AS int)": 245,
        "SELECT CAST('abc' AS decimal(5,2))": 8114,
        "SELECT CAST('2020-13-01' AS date)": 241,
        "SELECT 2147483647 + 1": 8115,
        "SELECT SUM(x) FROM (VALUES (2147483647), (1)) v(x)": 8115,
        "INSERT customers (id, name) VALUES (9, 'x')": 544,
        "INSERT customers (name) VALUES (NULL)": 515,
        "INSERT customers (name, code) VALUES ('x', 'too long')": 2628,
        "INSERT sales.[Order Lines] VALUES (1, 1, NULL, 1)": 2627,
        "INSERT sales.[Order Lines] VALUES (7, 1, NULL, 0)": 547,
        "UPDATE customers SET shout = 'x'": 271,
        "DROP TABLE nope": 3701,
        "CREATE TABLE customers (a int)": 2714,
        "CREATE TABLE q (a nosuchtype)": 2715,
        "CREATE TABLE q (a cursor)": 50001,
        "SELECT SOUNDEX('a')": 50001,
        "SELECT id FROM customers FOR XML PATH('')": 50001,
        "SELECT TOP (1) WITH TIES id FROM customers ORDER BY id": 50001,
        "MERGE customers USING customers x ON 1 = 0 WHEN MATCHED THEN UPDATE SET code = 'x'": 50001,
        "EXEC nope": 2812,
        "COMMIT": 3902,
        "ROLLBACK": 3903,
        "USE nope": 911,
        "SELECT @missing": 137,
        "SELECT name, COUNT(*) FROM customers": 8120,
        "RAISERROR('mine', 16, 1)": 50000,
    }
    assert {sql: error_of(connection, sql)[0] for sql in expected} == expected
    assert one(connection, "SELECT COUNT(*) FROM customers") == 2
    connection.close()

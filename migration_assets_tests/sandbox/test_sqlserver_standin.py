"""The SQL Server stand-in, through real drivers over real sockets; no product code."""

from __future__ import annotations

import itertools
import json
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta, timezone
from datetime import time as clock
from decimal import Decimal
from typing import Any

import mssql_python
import pyarrow as pa
import pymssql
import pytest

from migration_assets.sandbox.control import Control, Fault
from migration_assets.sandbox.sqlserver import FAKE_PASSWORD, SqlServerStandIn
from migration_assets.sandbox.sqlserver.batch import scripts
from migration_assets.sandbox.sqlserver.errors import SqlServerError

mssql_python.pooling(enabled=False)

EXAMPLE = """
CREATE SCHEMA sales
GO
CREATE TABLE dbo.customers (
    id int IDENTITY(1,1) NOT NULL CONSTRAINT PK_customers PRIMARY KEY CLUSTERED,
    name nvarchar(50) NOT NULL,
    code char(5) NULL,
    balance money DEFAULT ((0)),
    shout AS (UPPER(name) + N'!') PERSISTED
)
CREATE TABLE sales.[Order Lines] (
    [Order] bigint NOT NULL, line smallint NOT NULL,
    customer int REFERENCES dbo.customers(id) ON DELETE CASCADE,
    qty int NOT NULL DEFAULT 1 CHECK (qty > 0),
    CONSTRAINT PK_lines PRIMARY KEY ([Order], line DESC)
)
CREATE INDEX ix_customer ON sales.[Order Lines](customer DESC) INCLUDE (qty)
GO
CREATE VIEW sales.bought AS
    SELECT c.name, l.qty FROM sales.[Order Lines] l JOIN dbo.customers c ON c.id = l.customer
GO
INSERT INTO customers (name, code, balance) VALUES (N'Ann 😀', 'ab', -1.5), (N'bob', NULL, DEFAULT)
INSERT sales.[Order Lines] ([Order], line, customer, qty) VALUES (1, 1, 1, 2), (1, 2, 2, 1), (2, 1, NULL, 5)
"""


class Server:
    """The stand-in in a process of its own.

    mssql-python keeps Python's lock while it waits for rows, so it cannot fetch from a server in
    its own process.
    """

    def __init__(self, *options: str) -> None:
        command = [
            sys.executable,
            "-m",
            "migration_assets.sandbox.sqlserver",
            "--exit-with-parent",
            *options,
        ]
        pipes: dict[str, Any] = {
            "stdin": subprocess.PIPE,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
        }
        self.process = subprocess.Popen(command, **pipes)
        ready = json.loads(self.process.stdout.readline())  # type: ignore[union-attr] # a pipe
        self.port: int = ready["port"]
        self.control = Control(ready["control"])
        self.database = "shop"

    def execute_script(self, text: str) -> None:
        connection = tds(self)
        for part in scripts(text):
            connection.cursor().execute(part)
        connection.close()

    def close(self) -> None:
        with self.process as process:
            process.stdin.close()  # type: ignore[union-attr] # a pipe
            process.wait(timeout=20)


@pytest.fixture(scope="module")
def process() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


@pytest.fixture
def server(process: Server) -> Iterator[Server]:
    """A fresh database of the one process."""
    process.database = "master"
    name = f"shop{next(_numbers)}"
    process.execute_script(f"CREATE DATABASE {name}")
    process.database = name
    process.execute_script(EXAMPLE)
    yield process
    process.control.arm()
    process.database = "master"


_numbers = itertools.count(1)


def tds(server: Server, **changes: Any) -> pymssql.Connection:
    settings: dict[str, Any] = {
        "server": "127.0.0.1", "port": str(server.port), "user": "sa", "password": FAKE_PASSWORD,
        "database": server.database, "login_timeout": 5, "timeout": 20, "autocommit": True,
    }  # fmt: skip
    return pymssql.connect(**{**settings, **changes})


def odbc(server: Server, *, autocommit: bool = True, **changes: str) -> mssql_python.Connection:
    settings = {"UID": "sa", "PWD": FAKE_PASSWORD, "Database": server.database, **changes}
    text = "".join(f"{name}={value};" for name, value in settings.items())
    return mssql_python.connect(
        f"Server=127.0.0.1,{server.port};{text}Encrypt=no;TrustServerCertificate=yes;",
        autocommit=autocommit,
    )


def rows(connection: Any, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, *([parameters] if parameters else []))
        return [tuple(row) for row in cursor.fetchall()]


def one(connection: Any, sql: str) -> Any:
    ((value,),) = rows(connection, sql)
    return value


def arrow(connection: Any, sql: str) -> pa.Table:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        reader = cursor.arrow_reader()  # kept: collected early, it closes and gives no row
        return reader.read_all()


def error_of(connection: Any, sql: str) -> tuple[int, str]:
    """Number and text of the error that a statement gives (through pymssql)."""
    with pytest.raises(pymssql.Error) as caught:
        rows(connection, sql)
    number, message = caught.value.args
    return number, message.decode()


# -- values --------------------------------------------------------------------------------------

PLUS_2 = timezone(timedelta(hours=2))
GUID = uuid.UUID("00112233-4455-6677-8899-aabbccddeeff")
BIG = Decimal("12345678901234567890123456789012345678")
LONG = "é😀" * 5000

VALUES: list[tuple[str, str, Any]] = [
    ("bit", "1", True),
    ("bit", "0", False),
    ("tinyint", "255", 255),
    ("smallint", "-32768", -32768),
    ("int", "-2147483648", -(2**31)),
    ("bigint", "9223372036854775807", 2**63 - 1),
    ("decimal(38,0)", f"-{BIG}", BIG.copy_negate()),
    ("decimal(38,38)", "0.00000000000000000000000000000000000001", Decimal("1E-38")),
    ("decimal(9,2)", "-1234567.89", Decimal("-1234567.89")),
    ("numeric(19,4)", "123456789012345.6789", Decimal("123456789012345.6789")),
    ("decimal(28,5)", "12345678901234567890123.45678", Decimal("12345678901234567890123.45678")),
    ("money", "-922337203685477.5808", Decimal("-922337203685477.5808")),
    ("smallmoney", "-214748.3648", Decimal("-214748.3648")),
    ("real", "1.5", 1.5),
    ("float", "5e-324", 5e-324),
    ("float", "-1.7976931348623157e308", -1.7976931348623157e308),
    ("date", "'0001-01-01'", date(1, 1, 1)),
    ("date", "'9999-12-31'", date(9999, 12, 31)),
    ("time(0)", "'23:59:58'", clock(23, 59, 58)),
    ("time(3)", "'01:02:03.1236'", clock(1, 2, 3, 124000)),
    ("time(7)", "'23:59:59.999999'", clock(23, 59, 59, 999999)),
    ("datetime", "'1753-01-01 00:00:00.002'", datetime(1753, 1, 1, 0, 0, 0, 3000)),
    ("datetime", "'9999-12-31T23:59:59.997'", datetime(9999, 12, 31, 23, 59, 59, 997000)),
    ("smalldatetime", "'2079-06-06 23:59:29'", datetime(2079, 6, 6, 23, 59)),
    ("datetime2(6)", "'0001-01-01 00:00:00.000001'", datetime(1, 1, 1, 0, 0, 0, 1)),
    ("datetime2(7)", "'9999-12-31 23:59:59.999999'", datetime(9999, 12, 31, 23, 59, 59, 999999)),
    ("datetime2(3)", "'1969-12-31 23:59:59.9996'", datetime(1970, 1, 1)),
    ("datetimeoffset(3)", "'2020-01-01 10:00:00.1236 +02:00'",
     datetime(2020, 1, 1, 10, 0, 0, 124000, tzinfo=PLUS_2)),
    ("char(5)", "'ab'", "ab   "),
    ("varchar(10)", "'€uro'", "€uro"),
    ("varchar(10)", "''", ""),
    ("varchar(max)", "N'Ж'", "?"),
    ("varchar(20) COLLATE Latin1_General_100_CI_AS_SC_UTF8", "N'Ж😀'", "Ж😀"),
    ("nchar(3)", "N'é'", "é  "),
    ("nvarchar(10)", "N'a😀é'", "a😀é"),
    ("nvarchar(10)", "N'it''s'", "it's"),
    ("nvarchar(max)", f"N'{LONG}'", LONG),
    ("nvarchar(max)", "N''", ""),
    ("text", "'old'", "old"),
    ("ntext", "N'öld 😀'", "öld 😀"),
    ("xml", "N'<a>é</a>'", "<a>é</a>"),
    ("binary(4)", "0x0102", b"\x01\x02\x00\x00"),
    ("varbinary(4)", "0x", b""),
    ("varbinary(max)", "0x00ff", b"\x00\xff"),
    ("image", "0x0a", b"\n"),
    ("uniqueidentifier", f"'{GUID}'", GUID),
]  # fmt: skip


@pytest.fixture(scope="module")
def typed() -> Iterator[Server]:
    """One table: row 0 holds the values, row 1 NULLs, row 2 the values again."""
    server = Server()
    columns = ", ".join(f"c{i} {kind} NULL" for i, (kind, _, _) in enumerate(VALUES))
    exact = ", ".join(f"c{i} {kind} NOT NULL" for i, (kind, _, _) in enumerate(VALUES))
    cells = ", ".join(text for _, text, _ in VALUES)
    nulls = ", ".join("NULL" for _ in VALUES)
    server.execute_script(
        f"CREATE TABLE v (n int, {columns})\nCREATE TABLE w ({exact})\n"
        f"INSERT v VALUES (0, {cells})\nINSERT v VALUES (1, {nulls})\nINSERT v VALUES (2, {cells})\n"
        f"INSERT w VALUES ({cells})"
    )
    yield server
    server.close()


@pytest.mark.parametrize("driver", [tds, odbc])
def test_every_type_arrives_value_by_value(typed: Server, driver: Any) -> None:
    connection = driver(typed)
    filled, empty, again = rows(connection, "SELECT * FROM v ORDER BY n")
    (exact,) = rows(connection, "SELECT * FROM w")
    connection.close()
    expected = [value for _, _, value in VALUES]
    assert list(filled[1:]) == expected
    assert list(again[1:]) == expected
    assert list(exact) == expected
    assert list(empty[1:]) == [None] * len(VALUES)


def test_every_type_arrives_as_arrow(typed: Server) -> None:
    connection = odbc(typed)
    table = arrow(connection, "SELECT * FROM v ORDER BY n")
    connection.close()
    for i, (kind, _, value) in enumerate(VALUES):
        got = table.column(f"c{i}").to_pylist()
        expected = str(value).upper() if isinstance(value, uuid.UUID) else value
        assert got == [expected, None, expected], kind


# 300,000 numbers without a table of numbers: six digits of a cross join.
DIGITS = "(VALUES (0),(1),(2),(3),(4),(5),(6),(7),(8),(9))"
NUMBERS = (
    "(SELECT a.x + 10*b.x + 100*c.x + 1000*d.x + 10000*e.x + 100000*f.x AS k FROM "
    f"{DIGITS} a(x), {DIGITS} b(x), {DIGITS} c(x), {DIGITS} d(x), {DIGITS} e(x), (VALUES (0),(1),(2)) f(x)) AS n"
)


def test_large_results_and_column_metadata(server: Server) -> None:
    count = 300_000
    server.execute_script(
        "CREATE TABLE big (k int NOT NULL, n nvarchar(20) NULL, d decimal(12,2) NULL, b bit)\n"
        "INSERT big SELECT k, CASE WHEN k % 7 <> 0 THEN CONCAT(N'é', k) END, "
        f"CASE WHEN k % 5 <> 0 THEN (k - 7) / 100.0 END, 1 - k % 2 FROM {NUMBERS}"
    )
    texts = [None if i % 7 == 0 else f"é{i}" for i in range(count)]
    numbers = [None if i % 5 == 0 else Decimal(i - 7).scaleb(-2) for i in range(count)]
    connection = odbc(server)
    started = time.perf_counter()
    table = arrow(connection, "SELECT * FROM big ORDER BY k")
    print(f"{count / (time.perf_counter() - started):,.0f} rows/s of 4 columns")
    assert table.column("k").to_pylist() == list(range(count))
    assert table.column("n").to_pylist() == texts
    assert table.column("d").to_pylist() == numbers
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT k, n, d, CAST(k AS decimal(38,0)) q, CONVERT(varchar(16), k) FROM big WHERE k = 8"
        )
        described = [
            (name, size, precision, scale)
            for name, _, _, size, precision, scale, _ in cursor.description
        ]
        assert [name for name, *_ in described] == ["k", "n", "d", "q", ""]
        assert described[2][2:] == (12, 2)
        assert described[3][2:] == (38, 0)
        assert [column[6] for column in cursor.description] == [False, True, True, False, False]
    connection.close()


# -- sessions ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes", [{"password": "wrong"}, {"user": "nobody"}, {"database": "nope"}]
)
def test_login_is_refused(server: Server, changes: dict[str, str]) -> None:
    with pytest.raises(pymssql.OperationalError, match="18456"):
        tds(server, **changes)
    names = {"password": "PWD", "user": "UID", "database": "Database"}
    with pytest.raises(mssql_python.OperationalError, match="Login failed for user"):
        odbc(server, **{names[name]: value for name, value in changes.items()})


def test_parameters_and_prepared_statements(server: Server) -> None:
    connection = odbc(server)
    assert rows(connection, "SELECT name FROM customers WHERE id = ? AND name <> ?", 2, "x") == [
        ("bob",)
    ]
    with connection.cursor() as cursor:
        for number, name in [(1, "Ann 😀"), (2, "bob"), (3, None)]:
            cursor.execute("SELECT name FROM customers WHERE id = ?", (number,))
            assert [tuple(row) for row in cursor.fetchall()] == ([(name,)] if name else [])
        moment = datetime(2020, 1, 2, 3, 4, 5, 678000)
        values = (
            moment,
            date(1999, 1, 1),
            Decimal("-1.50"),
            GUID,
            b"\x01\x02",
            None,
            True,
            2.5,
            2**40,
        )
        cursor.execute("SELECT ?, ?, ?, ?, ?, ?, ?, ?, ?", values)
        assert tuple(cursor.fetchone()) == values
    connection.close()


def test_statements_of_a_batch_have_their_own_answers(server: Server) -> None:
    connection = odbc(server)
    with connection.cursor() as cursor:
        cursor.execute(
            "DECLARE @n int = 2 UPDATE customers SET code = 'x' SELECT @n = @n + 1\n"
            "IF @n = 3 SELECT @n AS n ELSE SELECT 0\nSELECT 'second' AS s"
        )
        assert cursor.rowcount == 2
        seen = []
        while True:
            if cursor.description:
                seen.append([tuple(row) for row in cursor.fetchall()])
            if not cursor.nextset():
                break
        assert seen == [[(3,)], [("second",)]]
    connection.close()


@pytest.mark.parametrize("autocommit", [True, False])
def test_transactions_of_odbc(server: Server, autocommit: bool) -> None:
    writer, reader = odbc(server, autocommit=autocommit), odbc(server)
    count = "SELECT COUNT(*) FROM customers"
    if autocommit:
        writer.cursor().execute("BEGIN TRAN")
    writer.cursor().execute("INSERT customers (name) VALUES ('new')")
    assert one(writer, count) == 3
    assert one(writer, "SELECT @@TRANCOUNT") == 1
    assert one(reader, count) == 2
    if autocommit:
        writer.cursor().execute("ROLLBACK")
    else:
        writer.rollback()
    assert one(reader, count) == 2
    if autocommit:
        writer.cursor().execute("BEGIN TRAN")
    writer.cursor().execute("INSERT customers (name) VALUES ('new')")
    if autocommit:
        writer.cursor().execute("COMMIT")
    else:
        writer.commit()
    assert one(reader, count) == 3
    writer.close()
    reader.close()


def test_snapshot_isolation(server: Server) -> None:
    reader, writer = odbc(server), tds(server)
    with reader.cursor() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL SNAPSHOT")
        cursor.execute("BEGIN TRAN")
    assert one(reader, "SELECT COUNT(*) FROM customers") == 2
    writer.cursor().execute("DELETE FROM customers WHERE id = 2")
    assert one(reader, "SELECT COUNT(*) FROM customers") == 2
    reader.cursor().execute("COMMIT")
    assert one(reader, "SELECT COUNT(*) FROM customers") == 1
    # READ COMMITTED sees what others commit, inside one transaction too.
    with reader.cursor() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL READ COMMITTED; BEGIN TRAN")
    assert one(reader, "SELECT COUNT(*) FROM customers") == 1
    writer.cursor().execute("DELETE FROM customers")
    assert one(reader, "SELECT COUNT(*) FROM customers") == 0
    reader.close()
    writer.close()


def test_snapshot_isolation_not_allowed(server: Server) -> None:
    connection = tds(server)
    connection.cursor().execute("ALTER DATABASE CURRENT SET ALLOW_SNAPSHOT_ISOLATION OFF")
    assert rows(
        connection, "SELECT snapshot_isolation_state FROM sys.databases WHERE name = DB_NAME()"
    ) == [(0,)]
    connection.cursor().execute("SET TRANSACTION ISOLATION LEVEL SNAPSHOT; BEGIN TRAN")
    assert error_of(connection, "SELECT * FROM customers")[0] == 3952
    connection.close()


def test_rolled_back_definitions_are_forgotten(server: Server) -> None:
    connection = tds(server)
    connection.cursor().execute("BEGIN TRAN CREATE TABLE gone (a int) INSERT gone VALUES (1)")
    assert one(connection, "SELECT COUNT(*) FROM gone") == 1
    connection.cursor().execute("ROLLBACK")
    number, message = error_of(connection, "SELECT * FROM gone")
    assert (number, message[:27]) == (208, "Invalid object name 'gone'.")
    connection.close()


def test_cancel_in_mid_stream_and_while_computing(server: Server) -> None:
    server.execute_script(
        f"CREATE TABLE n (a int NOT NULL, b varchar(100)) INSERT n SELECT k, REPLICATE('x', 90) FROM {NUMBERS}"
    )
    connection = odbc(server)
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM n")
        reader = cursor.arrow_reader(1000)
        assert next(iter(reader)).num_rows == 1000
        reader.close()
    assert one(connection, "SELECT COUNT(*) FROM n") == 300_000
    # A query timeout is a cancel that the driver sends.
    connection.timeout = 1
    for slow in (
        "SELECT SUM(CAST(x.a % (y.a + 1) AS bigint)) FROM n x JOIN n y ON x.a <> y.a",
        "WAITFOR DELAY '00:00:30'",
    ):
        started = time.monotonic()
        with connection.cursor() as cursor, pytest.raises(mssql_python.Error, match="timeout"):
            cursor.execute(slow)
        assert time.monotonic() - started < 10
        assert one(connection, "SELECT COUNT(*) FROM customers") == 2
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
        "CREATE TABLE q (a sql_variant)": 50001,
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


# -- T-SQL ---------------------------------------------------------------------------------------

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
    ("DATEPART(nanosecond, CAST('01:02:03.1234567' AS time(7)))", 123_456_000),
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


# -- catalog -------------------------------------------------------------------------------------


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


# -- faults --------------------------------------------------------------------------------------


def test_faults(server: Server) -> None:
    control = server.control
    connection = odbc(server)
    control.arm(Fault("error", match="FROM customers", number=1205, times=1))
    with pytest.raises(mssql_python.Error, match="deadlock"):
        rows(connection, "SELECT * FROM customers")
    control.arm(Fault("alter", match="FROM customers", column="id", times=1))
    assert rows(connection, "SELECT id FROM customers ORDER BY id") == [(2,), (2,)]
    assert rows(connection, "SELECT id FROM customers ORDER BY id") == [(1,), (2,)]
    control.arm(Fault("delay", match="FROM customers", seconds=0.5))
    started = time.monotonic()
    assert one(connection, "SELECT COUNT(*) FROM customers") == 2
    assert time.monotonic() - started >= 0.5
    control.arm(
        Fault(
            "then",
            match="FROM customers",
            sql=f"DELETE FROM {server.database}.dbo.customers WHERE id = 2",
            times=1,
        )
    )
    assert one(connection, "SELECT COUNT(*) FROM customers") == 2
    control.arm()
    assert one(connection, "SELECT COUNT(*) FROM customers") == 1
    assert control.sql(f"SELECT name FROM {server.database}.dbo.customers") == [["Ann 😀"]]
    control.arm(Fault("drop", match="FROM customers", after_bytes=40, times=1))
    with pytest.raises(mssql_python.Error):
        rows(connection, "SELECT * FROM customers")
    assert connection.close() is None
    again = odbc(server)
    assert one(again, "SELECT COUNT(*) FROM customers") == 1
    again.close()


def test_a_deadlock_victim_loses_its_transaction(server: Server) -> None:
    connection = tds(server)
    connection.cursor().execute("BEGIN TRAN INSERT customers (name) VALUES ('lost')")
    server.control.arm(Fault("error", match="UPDATE", number=1205, times=1))
    assert error_of(connection, "UPDATE customers SET code = 'x'")[0] == 1205
    assert rows(connection, "SELECT @@TRANCOUNT, COUNT(*) FROM customers") == [(0, 2)]
    connection.close()


def test_refused_connections_are_counted() -> None:
    server = Server("--limit", "2")
    server.control.arm(Fault("refuse", above=1))
    first = tds(server)
    with pytest.raises(pymssql.OperationalError):
        tds(server)
    server.control.arm()
    second = tds(server)
    with pytest.raises(mssql_python.Error, match="maximum number of '2' user connections"):
        odbc(server)
    state = server.control.state()
    assert (state.open, state.max_open, state.opened) == (2, 2, 2)
    assert state.refused >= 2  # drivers try again by themselves
    second.close()
    first.close()
    deadline = time.monotonic() + 5
    while server.control.state().open and time.monotonic() < deadline:
        time.sleep(0.02)
    assert server.control.state().open == 0
    server.close()


def test_drop_after_queries(server: Server) -> None:
    connection = tds(server)
    server.control.arm(Fault("drop", after_queries=5))
    for _ in range(3):  # two were sent by the driver itself
        assert one(connection, "SELECT 1") == 1
    with pytest.raises(pymssql.Error):
        rows(connection, "SELECT 1")


# -- as a process --------------------------------------------------------------------------------


def test_the_process(tmp_path: Any) -> None:
    script = tmp_path / "s.sql"
    script.write_text("CREATE TABLE t (a int)\nGO\nINSERT t VALUES (5)", encoding="utf-8")
    command = [sys.executable, "-m", "migration_assets.sandbox.sqlserver", "--script", str(script),
               "--statements", str(tmp_path), "--password", "Other-1", "--exit-with-parent"]  # fmt: skip
    pipes: dict[str, Any] = {
        "stdin": subprocess.PIPE,
        "stdout": subprocess.PIPE,
        "stderr": subprocess.PIPE,
    }
    for ending in ("input", "signal"):
        with subprocess.Popen(command, **pipes) as process:
            assert process.stdin is not None
            ready = json.loads(process.stdout.readline())
            connection = pymssql.connect(
                server="127.0.0.1",
                port=str(ready["port"]),
                user="sa",
                password="Other-1",
                database="shop",
            )
            assert rows(connection, "SELECT a FROM t") == [(5,)]
            assert Control(ready["control"]).state().open == 1
            if ending == "input":
                process.stdin.close()
            else:
                process.send_signal(signal.SIGTERM)
            process.wait(timeout=20)
            assert process.returncode == 0, process.stderr.read().decode()
            assert b"not SQL Server" in process.stderr.read()
            process.stdin.close()
            connection.close()
    lines = [json.loads(line) for line in (tmp_path / "sqlserver.jsonl").read_text().splitlines()]
    assert any(line["statement"] == "SELECT a FROM t" and line["outcome"] == "ok" for line in lines)


def test_replayed_answers_are_equal() -> None:
    server = Server("--replay", "FROM t")
    server.execute_script(
        "CREATE TABLE t (a int, b nvarchar(9))\nINSERT t VALUES (1, N'é'), (2, NULL)"
    )
    connection = odbc(server)
    first = arrow(connection, "SELECT * FROM t")
    server.control.sql("UPDATE dbo.t SET a = 9")
    assert arrow(connection, "SELECT * FROM t") == first
    assert first.to_pylist() == [{"a": 1, "b": "é"}, {"a": 2, "b": None}]
    assert rows(connection, "SELECT a FROM  t") == [(9,), (9,)]  # another text is another answer
    connection.close()
    server.close()


def test_load_arrow_and_scripts_in_process() -> None:
    with SqlServerStandIn(database="mine") as stand_in:
        stand_in.execute_script(
            "CREATE TABLE t (id int IDENTITY PRIMARY KEY, c char(3), d datetime, o datetimeoffset(3), b binary(3), v rowversion, "
            "x AS (id * 2))\nGO\nINSERT t (c) VALUES ('a')"
        )
        data = pa.table(
            {
                "C": ["é", None], "d": pa.array([datetime(2020, 1, 1, 0, 0, 0, 2000), None], pa.timestamp("us")),
                "o": pa.array([{"utc": datetime(2020, 1, 1), "off": 60}, None], pa.struct([("utc", pa.timestamp("us")), ("off", pa.int16())])),
                "b": pa.array([b"\x01", None], pa.binary()),
            }
        )  # fmt: skip
        assert stand_in.load_arrow("DBO", "T", data) == 2
        got = Control(stand_in.control_url).sql(
            "SELECT id, c, d, o.off, hex(b), hex(v) FROM mine.dbo.t ORDER BY id"
        )
        assert got == [
            [1, "a  ", None, None, None, "00000000000007D1"],
            [2, "é  ", "2020-01-01 00:00:00.003000", 60, "010000", "00000000000007D2"],
            [3, None, None, None, None, "00000000000007D3"],
        ]
        with pytest.raises(SqlServerError, match="2628"):
            stand_in.load_arrow("dbo", "t", pa.table({"c": ["long text"]}))
        with pytest.raises(SqlServerError, match="207"):
            stand_in.load_arrow("dbo", "t", pa.table({"nope": [1]}))
        stand_in.execute_script("INSERT t (c) VALUES ('b')")
        assert Control(stand_in.control_url).sql("SELECT max(id) FROM mine.dbo.t") == [[4]]

"""Logins, batches, transactions and cancels, through both drivers."""

from __future__ import annotations

import time
from datetime import date, datetime
from decimal import Decimal

import mssql_python
import pymssql
import pytest

from migration_assets_tests.sandbox.sqlserver_standin.client import (
    GUID,
    NUMBERS,
    Server,
    error_of,
    odbc,
    one,
    rows,
    tds,
)


@pytest.mark.parametrize(
    "changes", [{"password": "wrong"}, {"user": "nobody"}, {"database": "nope"}]
)
def test_login_is_refused(server: Server, changes: dict[str, str]) -> None:
    # Its number may be of an earlier test's refusal: pymssql keeps the gravest of the process.
    with pytest.raises(pymssql.OperationalError, match="20018, severity 14"):
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

"""Database snapshots and Change Tracking's version, as SQL Server documents them."""

from __future__ import annotations

import pytest

from migration_assets_tests.sandbox.sqlserver_standin.client import (
    Server,
    error_of,
    odbc,
    one,
    rows,
    tds,
)


def create(server: Server, *, file: str = "", name: str = "", source: str = "") -> str:
    own = server.database
    return (
        f"CREATE DATABASE {name or snap(server)} ON (NAME = {file or own}, "
        f"FILENAME = '/x/snap.ss') AS SNAPSHOT OF {source or own}"
    )


def snap(server: Server) -> str:
    return f"snap_of_{server.database}"


def test_a_snapshot_shows_what_was_committed_when_it_was_made(server: Server) -> None:
    writer, open_writer = tds(server), tds(server)
    open_writer.cursor().execute("BEGIN TRAN UPDATE customers SET code = 'zz'")
    writer.cursor().execute(create(server))
    open_writer.cursor().execute("COMMIT")
    writer.cursor().execute("DELETE FROM sales.[Order Lines]")
    for reader in (tds(server, database=snap(server)), odbc(server, Database=snap(server))):
        assert one(reader, "SELECT COUNT(*) FROM customers WHERE code = 'zz'") == 0
        assert one(reader, "SELECT COUNT(*) FROM sales.bought") == 2
        assert one(reader, "SELECT shout FROM customers WHERE id = 2") == "BOB!"
        reader.close()
    assert one(writer, f"SELECT COUNT(*) FROM {snap(server)}.sales.[Order Lines]") == 3
    assert one(writer, "SELECT COUNT(*) FROM customers WHERE code = 'zz'") == 2
    open_writer.close()
    writer.close()


def test_it_is_described_and_read_only_and_goes_before_its_source(server: Server) -> None:
    connection = tds(server)
    connection.cursor().execute(create(server))
    described = rows(
        connection,
        "SELECT name, DB_NAME(source_database_id) FROM sys.databases "
        "WHERE source_database_id = DB_ID()",
    )
    assert described == [(snap(server), server.database)]
    inside = tds(server, database=snap(server))
    assert rows(inside, "SELECT physical_name FROM sys.database_files") == [("/x/snap.ss",)]
    assert error_of(inside, "DELETE FROM customers")[0] == 3906
    assert error_of(inside, f"DROP DATABASE {snap(server)}")[0] == 3702
    inside.close()
    elsewhere = tds(server, database="master")
    assert error_of(elsewhere, f"DROP DATABASE {server.database}")[0] == 3709
    elsewhere.cursor().execute(f"DROP DATABASE {snap(server)}")
    assert error_of(elsewhere, f"DROP DATABASE {snap(server)}")[0] == 3701
    elsewhere.cursor().execute(f"DROP DATABASE IF EXISTS {snap(server)}")
    assert error_of(elsewhere, f"SELECT * FROM {snap(server)}.dbo.customers")[0] == 911
    elsewhere.close()
    connection.close()


@pytest.mark.parametrize(
    ("mistake", "number"),
    [({"file": "other"}, 5127), ({"source": "nothing"}, 911), ({"name": "tempdb"}, 1801)],
)
def test_mistakes_are_refused(server: Server, mistake: dict[str, str], number: int) -> None:
    connection = tds(server)
    assert error_of(connection, create(server, **mistake))[0] == number
    assert one(connection, "SELECT COUNT(*) FROM customers") == 2
    connection.close()


def test_change_tracking_counts_statements_that_change_rows(server: Server) -> None:
    connection = tds(server)
    version = "SELECT CHANGE_TRACKING_CURRENT_VERSION()"
    assert one(connection, version) is None
    connection.cursor().execute(
        "ALTER DATABASE CURRENT SET CHANGE_TRACKING = ON (CHANGE_RETENTION = 2 DAYS)"
    )
    assert one(connection, version) == 0
    connection.cursor().execute("UPDATE customers SET code = 'x'")
    connection.cursor().execute("UPDATE customers SET code = 'x' WHERE id = 99")
    assert one(connection, version) == 1
    connection.close()

"""The pool, the connection strings and the driver's libraries, without a server."""

import subprocess
import sys
import threading
import time

import pymssql
import pytest

from migration_assets.errors import (
    AccessDeniedError,
    ConfigurationError,
    ConnectionLimitError,
    ConnectionLostError,
    ObjectNotFoundError,
    StatementError,
)
from migration_assets.mssql import client as client_module
from migration_assets.mssql import odbc
from migration_assets.mssql.client import SqlServer
from migration_assets.mssql.odbc import (
    connection_string,
    missing_odbc_libraries,
    require_odbc_libraries,
)
from migration_assets.mssql.resource import MssqlResource
from migration_assets.settings import MssqlSettings

SECRET = "pa}ss;{w=rd"


def settings(**changes):
    values = {"host": "db.example", "user": "reader", "password": SECRET, "database": "shop"}
    return MssqlSettings(_env_file=None, **(values | changes))


class FakeCursor:
    description = (("n", 3, None, None, None, None, None),)

    def __init__(self, connection):
        self.connection = connection

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def execute(self, sql):
        if "fail" in sql:
            raise pymssql.OperationalError(8134, b"Divide by zero error encountered.")

    def fetchall(self):
        return [(self.connection.number,)]


class FakeConnection:
    def __init__(self, server, number, arguments):
        self.server = server
        self.number = number
        self.arguments = arguments
        self.closed = False

    def cursor(self):
        return FakeCursor(self)

    def close(self):
        if not self.closed:
            self.closed = True
            self.server.open -= 1


class FakeServer:
    """Counts what a server would see."""

    def __init__(self):
        self.opened = self.open = self.most = 0
        self.lock = threading.Lock()
        self.refuse = None

    def connect(self, *_, **arguments):
        with self.lock:
            if self.refuse is not None:
                self.refuse(arguments)
            self.opened += 1
            self.open += 1
            self.most = max(self.most, self.open)
            return FakeConnection(self, self.opened, arguments)


@pytest.fixture
def server(monkeypatch):
    fake = FakeServer()
    monkeypatch.setattr(pymssql, "connect", fake.connect)
    monkeypatch.setattr(client_module, "_odbc_connect", lambda: fake.connect)
    return fake


def test_a_connection_is_used_again_and_closed_at_the_end(server):
    with SqlServer(settings()) as client:
        assert client.query("SELECT 1") == [(1,)]
        assert client.query("SELECT 1") == [(1,)]
        assert server.open == 1
    assert (server.opened, server.open) == (1, 0)


def test_a_connection_is_not_used_again_after_an_error(server):
    with SqlServer(settings()) as client:
        with pytest.raises(StatementError, match="Divide by zero"):
            client.query("SELECT fail")
        assert server.open == 0
        assert client.query("SELECT 1") == [(2,)]


def test_a_connection_that_was_idle_for_long_is_not_used(server, monkeypatch):
    with SqlServer(settings()) as client:
        client.query("SELECT 1")
        later = time.monotonic() + client_module.MAX_IDLE_S + 1
        monkeypatch.setattr(time, "monotonic", lambda: later)
        assert client.query("SELECT 1") == [(2,)]
        assert server.open == 1


def test_a_connection_in_use_while_the_client_is_closed_is_closed_when_it_comes_back(server):
    client = SqlServer(settings())
    with client.connection():
        client.close()
    assert server.open == 0


def test_both_kinds_share_one_limit_and_idle_ones_count(server):
    with SqlServer(settings(pool_size=1, pool_timeout_s=1)) as client:
        client.query("SELECT 1")
        with client.arrow_connection() as connection:
            assert server.open == 1
            assert connection.timeout == 3600
            with pytest.raises(ConnectionLimitError, match="All 1 connections"):
                client.query("SELECT 1")
        assert server.open == 0
        client.query("SELECT 1")
    assert server.most == 1


def test_many_threads_stay_below_the_limit(server):
    with SqlServer(settings(pool_size=2)) as client:

        def work(number):
            for _ in range(20):
                if number % 2:
                    client.query("SELECT 1")
                else:
                    with client.arrow_connection():
                        time.sleep(0.001)

        threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    assert server.most == 2
    assert server.open == 0


def test_what_pymssql_is_given(server):
    with (
        SqlServer(settings(host="db\\inst", application_intent="ReadOnly")) as client,
        client.connection() as connection,
    ):
        arguments = connection.arguments
    assert arguments["server"] == "db\\inst"
    assert arguments["database"] == "shop"
    assert arguments["encryption"] == "require"
    assert arguments["read_only"] is True
    assert arguments["appname"] == "migration_assets"
    assert arguments["autocommit"] is True
    assert arguments["login_timeout"] == 30
    assert arguments["timeout"] == 3600


def _refused(*_):
    raise pymssql.OperationalError((18456, b"Login failed for user 'reader'."))


def test_a_refused_login_is_the_password_unless_it_works_without_the_database(server):
    client = SqlServer(settings())
    server.refuse = _refused
    with pytest.raises(AccessDeniedError, match="MSSQL_PASSWORD"):
        client.query("SELECT 1")
    server.refuse = lambda arguments: arguments["database"] and _refused()
    with pytest.raises(ObjectNotFoundError, match=r"no database 'shop'.*MSSQL_DATABASE"):
        client.query("SELECT 1")
    assert server.open == 0


def test_values_in_the_odbc_string_cannot_end_it():
    text = connection_string(settings(user="a;b", encrypt="strict"))
    assert text == (
        "Server={db.example,1433};Database={shop};UID={a;b};PWD={pa}}ss;{w=rd};Encrypt=strict;"
        "TrustServerCertificate=no;ApplicationIntent=ReadWrite;ConnectRetryCount=0"
    )
    text = connection_string(settings(host="db\\inst", trust_server_certificate="yes"))
    assert "Server={db\\inst};" in text
    assert "TrustServerCertificate=yes;" in text


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"authentication": "ActiveDirectoryMSI", "user": ""}, "Authentication=ActiveDirectoryMSI"),
        (
            {"authentication": "activedirectorymsi", "user": "an-id"},
            "UID={an-id};Authentication=ActiveDirectoryMSI",
        ),
        ({"authentication": "ActiveDirectoryDefault"}, "Authentication=ActiveDirectoryDefault"),
        (
            {"authentication": "ActiveDirectoryServicePrincipal", "password": "x"},
            "UID={reader};PWD={x};Authentication=ActiveDirectoryServicePrincipal",
        ),
        ({"authentication": "Kerberos"}, "Trusted_Connection=yes"),
    ],
)
def test_who_signs_in_and_how_it_is_proved(changes, said):
    text = connection_string(settings(**changes))
    assert f"Database={{shop}};{said};Encrypt=yes" in text
    assert SECRET not in text


@pytest.mark.parametrize("way", ["SqlPassword", "ActiveDirectoryServicePrincipal"])
def test_what_a_way_to_sign_in_needs_is_named(way, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for name in ("USER", "PASSWORD"):
        monkeypatch.delenv(f"MSSQL_{name}", raising=False)
    with pytest.raises(ConfigurationError, match="MSSQL_USER is not set; MSSQL_PASSWORD is not"):
        MssqlSettings.load(host="h", database="d", authentication=way)
    assert MssqlSettings.load(host="h", database="d", authentication="kerberos").login == "Kerberos"


def test_every_session_gives_way_and_a_server_that_cannot_is_left_without(server, monkeypatch):
    said = []
    usual = FakeCursor.execute

    def execute(cursor, sql):
        said.append(sql)
        if "DEADLOCK" in sql:
            raise pymssql.OperationalError(156, b"Incorrect syntax near the keyword.")
        return usual(cursor, sql)

    monkeypatch.setattr(FakeCursor, "execute", execute)
    with SqlServer(settings()) as client:
        assert client.query("SELECT 1") == client.query("SELECT 1") == [(1,)]
        with client.arrow_connection():
            pass
    assert said.count("SET DEADLOCK_PRIORITY -10") == 2

    def lost(cursor, sql):
        raise pymssql.OperationalError(20004, b"Read from the server failed")

    monkeypatch.setattr(FakeCursor, "execute", lost)
    with SqlServer(settings()) as client, pytest.raises(ConnectionLostError):
        client.query("SELECT 1")
    assert server.open == 0


def test_the_driver_reads_the_string_as_meant():
    from mssql_python.connection_string_parser import _ConnectionStringParser

    parsed = _ConnectionStringParser(validate_keywords=True)._parse(connection_string(settings()))
    assert {key.lower(): value for key, value in parsed.items()}["pwd"] == SECRET


def test_missing_libraries_are_named_with_the_command(monkeypatch):
    monkeypatch.setattr(odbc, "LIBRARIES", ("libc.so.6", "libnothere.so.9"))
    assert missing_odbc_libraries() == ["libnothere.so.9"]
    with pytest.raises(ConfigurationError, match=r"libnothere.so.9.*apt-get.*dnf.*brew"):
        require_odbc_libraries()


def test_the_resource_opens_nothing_and_closes_all(server, monkeypatch):
    import dagster as dg

    monkeypatch.setenv("MSSQL_POOL_SIZE", "5")
    inside = []

    @dg.asset
    def touched(mssql: MssqlResource) -> None:
        inside.append(server.opened)
        assert mssql.client is mssql.client
        mssql.client.query("SELECT 1")
        inside.append((server.open, mssql.client.settings.pool_size))

    secret = MssqlResource(
        host="db.example", user="reader", password=dg.EnvVar("TEST_PASSWORD"), database="shop"
    )
    monkeypatch.setenv("TEST_PASSWORD", SECRET)
    result = dg.materialize([touched], resources={"mssql": secret})
    assert result.success
    assert inside == [0, (1, 5)]
    assert SECRET not in repr(MssqlResource(host="h", user="u", password=SECRET, database="d"))
    assert server.open == 0


def test_importing_the_resource_loads_no_driver():
    code = (
        "import sys, migration_assets.mssql.resource\n"
        "loaded = {'pymssql', 'mssql_python', 'sqlalchemy', 'pyarrow'} & set(sys.modules)\n"
        "assert not loaded, loaded\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr

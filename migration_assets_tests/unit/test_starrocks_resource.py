"""The pool: capped, nothing idle, everything given back; the session; the Dagster resource."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import dagster as dg
import pymysql
import pytest

from migration_assets.errors import (
    ConfigurationError,
    ConnectionLimitError,
    ConnectionLostError,
    StatementError,
    UnsupportedError,
)
from migration_assets.settings import StarRocksSettings
from migration_assets.starrocks import wire
from migration_assets.starrocks.resource import StarRocks, StarRocksResource, session_variables
from migration_assets.starrocks.wire import Answer


class FakeServer:
    """Stands where the driver is: counts connections, fails on demand."""

    def __init__(self):
        self.lock = threading.Lock()
        self.open = self.most = self.opened = 0
        self.statements = []
        self.unknown_variables = ()
        self.refuse_connections = False
        self.timeouts = []

    def connect(self, settings):
        assert settings.host == "sr"
        if self.refuse_connections:
            raise pymysql.err.OperationalError(2003, "Can't connect: Connection refused")
        return FakeWire(self)


class FakeWire:
    connection_id = 7

    def __init__(self, server):
        self.server = server
        with server.lock:
            server.open += 1
            server.opened += 1
            server.most = max(server.most, server.open)

    def run(self, sql, *, timeout_s):
        self.server.statements.append(sql)
        self.server.timeouts.append(timeout_s)
        for name in self.server.unknown_variables:
            if sql.startswith("SET") and name in sql:
                raise pymysql.err.OperationalError(1193, f"Unknown system variable '{name}'")
        if sql == "fail":
            raise pymysql.err.ProgrammingError(1064, "Getting syntax error, password pw")
        return Answer(("a",), ((1,),))

    def close(self):
        with self.server.lock:
            self.server.open -= 1


@pytest.fixture
def server(monkeypatch):
    fake = FakeServer()
    monkeypatch.setattr(wire, "Wire", fake.connect)
    return fake


def settings(**values):
    defaults = {"host": "sr", "port": 9030, "user": "u", "password": "pw", "pool_timeout_s": 1}
    return StarRocksSettings(_env_file=None, **{**defaults, **values})


def test_nothing_is_open_between_two_uses(server):
    client = StarRocks(settings())
    assert server.opened == 0
    assert client.query("SELECT 1") == [(1,)]
    assert (server.opened, server.open) == (1, 0)
    client.query("SELECT 1")
    assert (server.opened, server.open) == (2, 0)


def test_nested_use_shares_one_connection(server):
    client = StarRocks(settings(pool_size=1))
    with client.connection() as outer, client.connection() as inner:
        assert inner is outer
        client.query("SELECT 1")
    assert (server.opened, server.open) == (1, 0)


@pytest.mark.parametrize("leave", [StatementError, KeyboardInterrupt, None])
def test_a_connection_is_given_back_on_every_path(server, leave):
    client = StarRocks(settings(pool_size=1))
    for _ in range(3):
        try:
            with client.connection():
                if leave is StatementError:
                    client.query("fail")
                elif leave is not None:
                    raise leave
        except (StatementError, KeyboardInterrupt) as error:
            assert type(error) is leave  # noqa: PT017 - KeyboardInterrupt must not end the run
    assert server.open == 0
    assert client.query("SELECT 1") == [(1,)]


def test_the_cap_holds_and_waiting_threads_get_their_turn(server):
    client = StarRocks(settings(pool_size=2, pool_timeout_s=20))

    def work():
        for _ in range(3):
            with client.connection():
                time.sleep(0.01)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert server.most == 2
    assert (server.opened, server.open) == (24, 0)


def test_no_free_connection_is_a_limit_error_that_names_the_setting(server):
    client = StarRocks(settings(pool_size=1))
    release, held = threading.Event(), threading.Event()

    def hold():
        with client.connection():
            held.set()
            release.wait(30)

    holder = threading.Thread(target=hold)
    holder.start()
    assert held.wait(10)
    try:
        with pytest.raises(ConnectionLimitError, match=r"sr:9030.*STARROCKS_POOL_SIZE"):
            client.query("SELECT 1")
    finally:
        release.set()
        holder.join(30)
    assert client.query("SELECT 1") == [(1,)]


def test_failed_connections_do_not_use_up_the_cap(server):
    client = StarRocks(settings(pool_size=1))
    server.refuse_connections = True
    for _ in range(3):
        with pytest.raises(ConnectionLostError, match="sr:9030"):
            client.query("SELECT 1")
    server.refuse_connections = False
    assert client.query("SELECT 1") == [(1,)]


def test_the_session_is_set_up_in_one_statement(server):
    StarRocks(settings(insert_timeout_s=99, query_timeout_s=11)).query("SELECT 1")
    assert server.statements[0] == (
        "SET time_zone = 'UTC', enable_insert_strict = true, insert_max_filter_ratio = 0, "
        "dynamic_overwrite = false, sql_mode = 'ONLY_FULL_GROUP_BY,ALLOW_THROW_EXCEPTION', "
        "insert_timeout = 99, query_timeout = 11"
    )


def test_variables_whose_absence_is_harmless_may_be_missing(server):
    server.unknown_variables = ("dynamic_overwrite", "insert_max_filter_ratio")
    StarRocks(settings()).query("SELECT 1")
    assert "SET time_zone = 'UTC'" in server.statements
    assert "SET query_timeout = 300" in server.statements


@pytest.mark.parametrize(
    "name",
    ["time_zone", "enable_insert_strict", "sql_mode", "insert_timeout", "query_timeout"],
)
def test_variables_that_a_safe_load_needs_may_not(server, name):
    server.unknown_variables = (name,)
    with pytest.raises(UnsupportedError, match=name):
        StarRocks(settings()).query("SELECT 1")
    assert server.open == 0


def test_the_client_waits_longer_than_the_server(server):
    client = StarRocks(settings(query_timeout_s=10))
    client.query("SELECT 1")
    client.execute("INSERT", timeout_s=500)
    assert server.timeouts[1] > 10
    assert server.timeouts[-1] > 500


def test_errors_name_object_and_server_and_no_secret(server):
    client = StarRocks(settings())
    with pytest.raises(StatementError, match=r"^MA-SR-020: Table a\.b: .*sr:9030") as caught:
        client.query("fail", about="Table a.b")
    assert "pw" not in str(caught.value)
    assert "pw" not in repr(client.settings)


def test_close_can_be_repeated_and_undone(server):
    client = StarRocks(settings())
    client.query("SELECT 1")
    client.close()
    client.close()
    assert client.query("SELECT 1") == [(1,)]


def test_every_session_variable_is_a_literal():
    for name, value in session_variables(settings()).items():
        assert name.isidentifier()
        assert value.isalnum() or (value[0] == value[-1] == "'")


def test_the_resource_opens_nothing_until_used_and_closes_at_the_end(server, monkeypatch):
    monkeypatch.setenv("SR_HOST", "sr")
    monkeypatch.setenv("STARROCKS_POOL_SIZE", "5")
    seen = []

    @dg.asset
    def loaded(starrocks: StarRocksResource) -> None:
        assert server.opened == 0
        assert starrocks.client is starrocks.client
        assert starrocks.client.settings.host == "sr"
        assert starrocks.client.settings.pool_size == 5
        starrocks.client.query("SELECT 1")
        seen.append(starrocks.client)

    resource = StarRocksResource(host=dg.EnvVar("SR_HOST"), user="u", password="pw")
    result = dg.materialize([loaded], resources={"starrocks": resource})
    assert result.success
    assert server.open == 0
    assert seen[0]._pool is None  # torn down


def test_a_malformed_setting_is_named(monkeypatch):
    monkeypatch.setenv("STARROCKS_PORT", "ninety")
    resource = StarRocksResource(host="sr", user="u")
    with pytest.raises(ConfigurationError, match="STARROCKS_PORT"):
        _ = resource.client


def test_importing_the_resource_loads_no_driver():
    code = (
        "import sys, migration_assets.starrocks.resource\n"
        "loaded = {'pymysql', 'pyarrow', 'pyiceberg', 'pyspark', 'duckdb'} & set(sys.modules)\n"
        "assert not loaded, loaded"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)

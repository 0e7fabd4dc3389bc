"""The StarRocks stand-in, through pymysql alone: connections, sessions, faults, the process.

The rules and texts are those of a real frontend: section 12 of the project's StarRocks reference.
"""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pymysql
import pytest

from migration_assets.sandbox.control import Control, Fault
from migration_assets.sandbox.starrocks import StarRocksStandIn
from migration_assets_tests.sandbox.starrocks_client import Client, create, wait_until


@pytest.fixture(scope="module")
def server() -> Iterator[StarRocksStandIn]:
    with StarRocksStandIn() as running:
        yield running


@pytest.fixture
def sr(server: StarRocksStandIn) -> Iterator[Client]:
    client = Client(server.port)
    client("CREATE DATABASE IF NOT EXISTS d")
    client("USE d")
    yield client
    client.connection.close()
    with contextlib.closing(Client(server.port).connection) as cleaner, cleaner.cursor() as cursor:
        cursor.execute("DROP DATABASE IF EXISTS d FORCE")


def test_the_handshake_is_mysqls_and_the_version_starrocks(sr: Client) -> None:
    assert sr.connection.get_server_info() == "8.0.33"
    assert sr.connection._auth_plugin_name == "mysql_native_password"
    assert sr.one("current_version()").startswith("4.1.0 ")
    assert sr.one("@@version_comment").startswith("StarRocks version 4.1.0")
    assert sr("SELECT database(), user(), current_user(), version()") == [
        ("d", "'root'@'127.0.0.1'", "'root'@'%'", "8.0.33")
    ]


def test_a_wrong_password_and_an_unknown_user_are_1045() -> None:
    with StarRocksStandIn(user="root", password="right") as server:
        Client(server.port, password="right").connection.close()
        for user, password in (("root", "wrong"), ("root", ""), ("nobody", "right")):
            with pytest.raises(pymysql.err.OperationalError, match=rf"'{user}'@'127") as caught:
                Client(server.port, user, password)
            assert caught.value.args[0] == 1045
        # The SQL state is no part of pymysql's exception.
        Client(server.port, password="right").connection.close()
        # A server sees that a socket was closed a moment later.
        wait_until(lambda: Control(server.control_url).state().open == 0)


class TestConnections:
    def test_the_limit_of_a_user_is_checked_before_the_password(
        self, server: StarRocksStandIn, sr: Client
    ) -> None:
        sr("CREATE USER 'u2' IDENTIFIED BY 'p'")
        sr("""ALTER USER 'u2' SET PROPERTIES("max_user_connections"="1")""")
        first = Client(server.port, "u2", "p")
        for password in ("p", "wrong"):
            with pytest.raises(pymysql.err.MySQLError) as caught:
                Client(server.port, "u2", password)
            number, text = caught.value.args
            assert number == 1064
            assert text == (
                "Reach user-level(qualifiedUser: u2) connection limit, currentUserMaxConn=1, "
                "connectionMap.size=2, connByUser.totConn=2, user.currConn=1, node=127.0.0.1:9010"
            )
        first.connection.close()
        wait_until(lambda: Control(server.control_url).state().open == 1)
        Client(server.port, "u2", "p").connection.close()
        assert sr.refused("ALTER USER 'u2' SET PROPERTIES('max_user_connections'='0')")[0] == 1064
        sr("DROP USER 'u2'")

    def test_the_limit_of_the_cluster(self) -> None:
        with StarRocksStandIn() as server:
            sr = Client(server.port)
            sr('ADMIN SET FRONTEND CONFIG ("qe_max_connection" = "3")')
            others = [Client(server.port) for _ in range(2)]
            with pytest.raises(pymysql.err.MySQLError, match="Reach cluster-wide") as caught:
                Client(server.port)
            assert caught.value.args[0] == 1064
            assert "limit, qe_max_connection=3, connectionMap.size=3, node=" in str(caught.value)
            state = Control(server.control_url).state()
            assert (state.open, state.max_open, state.refused) == (3, 3, 1)
            for other in [sr, *others]:
                other.connection.close()

    def test_a_limit_from_the_start_and_a_refusing_fault(self) -> None:
        with StarRocksStandIn(limit=2) as server:
            control = Control(server.control_url)
            held = [Client(server.port) for _ in range(2)]
            with pytest.raises(pymysql.err.MySQLError, match=r"user-level.*MaxConn=2"):
                Client(server.port)
            held.pop().connection.close()
            wait_until(lambda: control.state().open == 1)
            control.arm(Fault("refuse", above=1))
            with pytest.raises(pymysql.err.MySQLError, match=r"cluster-wide.*connection=1"):
                Client(server.port)
            control.arm()
            Client(server.port).connection.close()
            held.pop().connection.close()

    def test_killed_sessions_see_2013_at_the_next_query(
        self, server: StarRocksStandIn, sr: Client
    ) -> None:
        victim = Client(server.port)
        sr(f"KILL {victim.connection.thread_id()}")
        number, _ = victim.refused("SELECT 1")
        assert number in (2006, 2013)
        assert sr.refused("KILL 1")[0] == 1094

    def test_kill_query_stops_an_insert_and_leaves_the_session(
        self, server: StarRocksStandIn, sr: Client
    ) -> None:
        create(sr, "id INT")
        control = Control(server.control_url)
        control.arm(Fault("delay", match="INSERT INTO", seconds=30))
        victim = Client(server.port, database="d")
        outcome: list[tuple[int, str]] = []
        thread = threading.Thread(
            target=lambda: outcome.append(victim.refused("INSERT INTO t VALUES (1)"))
        )
        thread.start()
        identifier = victim.connection.thread_id()
        wait_until(
            lambda: any(
                "INSERT" in str(r) for r in sr("SHOW FULL PROCESSLIST") if r[0] == str(identifier)
            )
        )
        sr(f"KILL QUERY {identifier}")
        thread.join(10)
        control.arm()
        assert outcome == [(5609, f"killed manually: KILL QUERY {identifier}")]
        assert victim.one("1") == 1
        assert sr("SELECT COUNT(*) FROM t") == [(0,)]
        victim.connection.close()

    def test_the_process_list(self, sr: Client) -> None:
        (row,) = [r for r in sr("SHOW FULL PROCESSLIST") if r[8] == "SHOW FULL PROCESSLIST"]
        assert row[:5] == (str(sr.connection.thread_id()), "root", "127.0.0.1", "d", "Query")


class TestSession:
    def test_defaults(self, sr: Client) -> None:
        for variable, value in {
            "query_timeout": 300,
            "insert_timeout": 14400,
            "insert_max_filter_ratio": 0.0,
            "enable_insert_strict": 1,
            "dynamic_overwrite": 0,
            "sql_mode": "ONLY_FULL_GROUP_BY",
            "time_zone": "UTC",
        }.items():
            assert sr.one(f"@@{variable}") == value, variable
        assert sr("SHOW VARIABLES LIKE 'enable_insert_strict'") == [
            ("enable_insert_strict", "true")
        ]

    def test_setting_and_reading_back(self, server: StarRocksStandIn, sr: Client) -> None:
        sr(
            "SET time_zone = 'UTC', enable_insert_strict = true, insert_max_filter_ratio = 0, "
            "dynamic_overwrite = false, sql_mode = 'ONLY_FULL_GROUP_BY,ALLOW_THROW_EXCEPTION', "
            "insert_timeout = 77, query_timeout = 33"
        )
        assert sr.one("@@sql_mode") == "ONLY_FULL_GROUP_BY,ALLOW_THROW_EXCEPTION"
        assert sr("SHOW VARIABLES LIKE '%sert_timeout'") == [("insert_timeout", "77")]
        other = Client(server.port)
        assert other.one("@@insert_timeout") == 14400
        other.connection.close()

    def test_refused_values(self, sr: Client) -> None:
        assert sr.refused("SET nonsense = 1") == (1193, "Unknown system variable 'nonsense'")
        assert sr.refused("SELECT @@nonsense")[0] == 1193
        assert sr.refused("SET sql_mode = 'FORBID_INVALID_IMPLICIT_CAST'")[0] == 1231
        assert sr.refused("SET insert_timeout = 0")[0] == 1231
        assert sr.refused("SET insert_timeout = 259201")[0] == 1231
        for zone in ("UTC", "+00:00", "CST", "+08:00", "Europe/Berlin"):
            sr(f"SET time_zone = '{zone}'")
            assert sr.one("@@time_zone") == zone
        for zone in ("EST", "Nowhere/City", "+25:00"):
            assert sr.refused(f"SET time_zone = '{zone}'")[0] == 1298

    def test_timeouts(self, server: StarRocksStandIn, sr: Client) -> None:
        create(sr, "id INT")
        control = Control(server.control_url)
        control.arm(Fault("delay", match="INSERT INTO t|SELECT 1", seconds=30))
        sr("SET insert_timeout = 1, query_timeout = 1")
        number, text = sr.refused("INSERT INTO t VALUES (1)")
        assert number == 5024
        assert text.startswith(
            "Insert reached its timeout of 1 seconds, please increase the 'insert_timeout' session "
            "variable"
        )
        assert sr.refused("SELECT 1")[0] == 5024
        control.arm()
        assert sr("SELECT COUNT(*) FROM t") == [(0,)]

    def test_bare_commit_and_rollback_do_nothing(self, sr: Client) -> None:
        sr.connection.commit()
        sr.connection.rollback()

    def test_the_unknown_is_said(self, sr: Client) -> None:
        for statement in (
            "BEGIN", "UPDATE t SET a = 1", "SHOW NONSENSE", "SELECT nonsense(1)", "CALL x()",
            "SELECT 1; SELECT 2", "SELECT /*+ SET_VAR(query_timeout=1) */ 1", "SUBMIT TASK AS x",
            "SELECT * FROM information_schema.nonsense",
        ):  # fmt: skip
            number, text = sr.refused(statement)
            assert (number, text[:24]) == (1064, "stand-in: not supported:"), statement


class TestFaults:
    def test_a_dropped_answer_is_2013_and_the_statement_has_run(
        self, server: StarRocksStandIn, sr: Client
    ) -> None:
        create(sr, "id INT")
        Control(server.control_url).arm(Fault("drop", match="INSERT", times=1))
        victim = Client(server.port, database="d")
        assert victim.refused("INSERT INTO t VALUES (1)")[0] == 2013
        assert sr("SELECT id FROM t") == [(1,)]

    def test_a_drop_after_some_statements_and_bytes(
        self, server: StarRocksStandIn, sr: Client
    ) -> None:
        control = Control(server.control_url)
        victim = Client(server.port)
        before = control.state().statements
        control.arm(Fault("drop", match="SELECT 7", times=1, after_queries=2, after_bytes=3))
        assert victim.one("7") == 7
        assert victim.one("8") == 8
        assert victim.refused("SELECT 7")[0] == 2013
        assert control.state().statements == before + 3
        assert sr.one("7") == 7

    def test_errors_and_consequences(self, server: StarRocksStandIn, sr: Client) -> None:
        create(sr, "id INT")
        control = Control(server.control_url)
        control.arm(
            Fault("error", match="VALUES .1.", number=5077, message="crash of backends", times=1),
            Fault("then", match="VALUES .2.", sql='UPDATE "d"."t" SET id = 9', times=1),
        )
        assert sr.refused("INSERT INTO t VALUES (1)") == (5077, "crash of backends")
        sr("INSERT INTO t VALUES (2)")
        assert sr("SELECT id FROM t") == [(9,)]
        control.sql('UPDATE "d"."t" SET id = 8')
        assert sr("SELECT id FROM t") == [(8,)]


@contextlib.contextmanager
def process(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """The stand-in as a process; killed at the end if it has not stopped by itself."""
    command = [sys.executable, "-m", "migration_assets.sandbox.starrocks", *arguments]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as running:
        try:
            yield running
        finally:
            running.kill()


def test_the_process(tmp_path: Path) -> None:
    """Starts as documented, logs statements, and stops when its parent's pipe ends."""
    options = ["--exit-with-parent", "--password", "p", "--limit", "1"]
    with process(*options, "--statements", str(tmp_path)) as running:
        ready = json.loads(running.stdout.readline())  # type: ignore[union-attr] # a pipe
        client = Client(ready["port"], password="p")
        client("SELECT 42")
        client.refused("SELECT nonsense(1)")
        with pytest.raises(pymysql.err.MySQLError, match="currentUserMaxConn=1"):
            Client(ready["port"], password="p")
        assert Control(ready["control"]).state().refused == 1
        running.stdin.close()  # type: ignore[union-attr] # a pipe
        assert running.wait(20) == 0
        assert "stand-in, not StarRocks" in running.stderr.read()  # type: ignore[union-attr] # a pipe
        client.connection._force_close()
    lines = [json.loads(line) for line in (tmp_path / "starrocks.jsonl").read_text().splitlines()]
    outcomes = [(line["statement"], line["outcome"]) for line in lines if "seconds" in line]
    assert outcomes[-2:] == [("SELECT 42", "ok"), ("SELECT nonsense(1)", "error")]


def test_the_process_stops_on_sigterm_with_clients_and_statements_open() -> None:
    with process() as running:
        ready = json.loads(running.stdout.readline())  # type: ignore[union-attr] # a pipe
        control = Control(ready["control"])
        control.arm(Fault("delay", match="SELECT 1", seconds=60))
        client = Client(ready["port"])
        before = control.state().statements
        thread = threading.Thread(target=client.refused, args=["SELECT 1"])
        thread.start()
        wait_until(lambda: control.state().statements == before + 1)
        running.send_signal(signal.SIGTERM)
        assert running.wait(20) == 0
        thread.join(10)
        assert not thread.is_alive()
    with (
        pytest.raises(ConnectionRefusedError),
        socket.create_connection(("127.0.0.1", ready["port"]), 1),
    ):
        pass


def test_errors_carry_their_sql_state(sr: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    packets: list[bytes] = []
    original = pymysql.err.raise_mysql_exception

    def record(data: bytes) -> None:
        packets.append(data)
        original(data)

    monkeypatch.setattr(pymysql.err, "raise_mysql_exception", record)
    sr.refused("SELECT * FROM nowhere.t")
    sr.refused("INSERT INTO x VALUES (1)")
    assert [packet[3:9] for packet in packets] == [b"#HY000", b"#HY000"]
    packets.clear()
    with pytest.raises(pymysql.err.OperationalError):
        Client(sr.connection.port, "nobody")
    assert packets[0][3:9] == b"#28000"


def test_an_insert_goes_on_when_its_client_has_gone(server: StarRocksStandIn, sr: Client) -> None:
    create(sr, "id INT")
    control = Control(server.control_url)
    control.arm(Fault("delay", match="INSERT", seconds=0.5))
    client = Client(server.port, database="d")
    client.connection._execute_command(3, "INSERT INTO t VALUES (1)")
    wait_until(lambda: any("INSERT" in str(row) for row in sr("SHOW FULL PROCESSLIST")))
    client.connection._force_close()
    wait_until(lambda: sr("SELECT COUNT(*) FROM t") == [(1,)])
    control.arm()
    wait_until(lambda: control.state().open == 1)


def test_a_session_that_idles_too_long_is_closed(server: StarRocksStandIn) -> None:
    client = Client(server.port)
    client("SET wait_timeout = 1")
    wait_until(lambda: Control(server.control_url).state().open == 0)
    assert client.refused("SELECT 1")[0] in (2006, 2013)


def test_secrets_are_in_no_log_and_no_process_list(tmp_path: Path) -> None:
    with StarRocksStandIn(statements=tmp_path) as server:
        sr = Client(server.port)
        Control(server.control_url).arm(Fault("delay", match="CATALOG", seconds=1))
        other = Client(server.port)
        statement = """CREATE EXTERNAL CATALOG c PROPERTIES ("type"="iceberg",
            "iceberg.catalog.type"="glue", "aws.s3.secret_key" = "hush", 'aws.s3.access_key'='quiet')"""
        thread = threading.Thread(target=other, args=[statement])
        thread.start()
        shown = ""

        def listed() -> bool:
            nonlocal shown
            shown = str(sr("SHOW FULL PROCESSLIST"))
            return "iceberg.catalog.type" in shown

        wait_until(listed)
        thread.join()
        sr("CREATE USER 'u' IDENTIFIED BY 'silent'")
        for client in (sr, other):
            client.connection.close()
    for text in (shown, (tmp_path / "starrocks.jsonl").read_text()):
        assert "***" in text
        assert not any(secret in text for secret in ("hush", "quiet", "silent"))

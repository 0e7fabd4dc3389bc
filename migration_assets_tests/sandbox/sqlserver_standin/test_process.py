"""Faults that are armed from outside, replays, and the stand-in as a process."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from datetime import datetime
from typing import Any

import mssql_python
import pyarrow as pa
import pymssql
import pytest

from migration_assets.sandbox.control import Control, Fault
from migration_assets.sandbox.sqlserver import FAKE_PASSWORD, SqlServerStandIn
from migration_assets.sandbox.sqlserver.errors import SqlServerError
from migration_assets_tests.sandbox.sqlserver_standin.client import (
    Server,
    arrow,
    error_of,
    odbc,
    one,
    rows,
    tds,
)


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
    # In another process: pymssql reports this error again for each later login that fails.
    login = (
        f"__import__('pymssql').connect('127.0.0.1', 'sa', {FAKE_PASSWORD!r}, port='{server.port}')"
    )
    refused = subprocess.run(
        [sys.executable, "-c", login], capture_output=True, timeout=60, check=False
    )
    assert b"OperationalError: (17809" in refused.stderr
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

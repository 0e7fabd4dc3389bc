"""Signing in without pymssql: a managed identity's token, over sockets from end to end.

The stand-in takes its password for a token too, as a FEDAUTH extension of the login. What gives the
token is an HTTP server that answers as the identity endpoint of Azure's App Service does.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pymssql
import pytest

from migration_assets.errors import AccessDeniedError, ObjectNotFoundError
from migration_assets.mssql.client import SqlServer
from migration_assets.setting_choices import Authentication
from migration_assets.settings import MssqlSettings
from migration_assets_tests.sandbox.project import Project, Statements
from migration_assets_tests.sandbox.sources import running

SCRIPT = """
CREATE TABLE dbo.Orders (
    Id int NOT NULL PRIMARY KEY, Name nvarchar(40) COLLATE Latin1_General_CI_AS,
    Amount decimal(10, 2), PlacedAt datetime2(7), Day date, Code uniqueidentifier, Raw varbinary(8),
    IsPaid bit DEFAULT 0, Kind AS (Id * 2)
);
GO
CREATE TABLE dbo.Lines ([Order No] bigint NOT NULL, Line smallint NOT NULL, Price money,
    PRIMARY KEY ([Order No], Line));
GO
CREATE VIEW dbo.Names AS SELECT Name FROM dbo.Orders;
GO
INSERT INTO dbo.Orders (Id, Name, Amount, PlacedAt, Day, Code, Raw) VALUES
    (1, N'Łukasz 😀', 1.25, '2024-01-31T10:00:00.1234567', '2024-01-31',
     '6F9619FF-8B86-D011-B42D-00C04FC964FF', 0x00FF), (5, NULL, NULL, NULL, NULL, NULL, NULL);
"""
RULES = "tables: {dbo.Orders: {partitions: 8}}\nviews: [dbo.Names]\n"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("signing-in")
    with running(SCRIPT, folder, statements_dir=folder) as made:
        log = Statements(folder / "sqlserver.jsonl")
        yield SimpleNamespace(settings=made.settings, log=log)


@pytest.fixture(scope="module")
def identity(source: Any) -> Iterator[dict[str, str]]:
    """Variables that lead azure-identity to an endpoint which gives the stand-in's token."""

    class Endpoint(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = "client_id=stranger" not in self.path
            token = source.settings["MSSQL_PASSWORD"] if asked else "of somebody else"
            answer = {"access_token": token, "token_type": "Bearer", "resource": "sql",
                      "expires_on": str(int(time.time()) + 3600)}  # fmt: skip
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Endpoint)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield {
        "IDENTITY_ENDPOINT": f"http://127.0.0.1:{server.server_port}/token",
        "IDENTITY_HEADER": "header",
    }
    server.shutdown()
    server.server_close()


def settings(source: Any, **changes: Any) -> MssqlSettings:
    given = {
        name.removeprefix("MSSQL_").lower(): value
        for name, value in source.settings.items()
        if name.startswith("MSSQL_") and name not in {"MSSQL_USER", "MSSQL_PASSWORD"}
    }
    way = {"authentication": Authentication.MANAGED_IDENTITY}
    return MssqlSettings(_env_file=None, **{**given, **way, **changes})


def test_a_plan_is_the_same_through_both_drivers(
    source: Any, identity: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "migration.yaml").write_text(RULES, encoding="utf-8")
    project = Project(tmp_path, {**source.settings, "S3_BUCKET": "lake"})
    project.run("plan", "--output", "by_login.json").ok()
    nobody: dict[str, str | None] = {"MSSQL_USER": None, "MSSQL_PASSWORD": None}
    token = {"MSSQL_AUTHENTICATION": "activedirectorymsi", **nobody, **identity}
    before = time.time()
    project.run("plan", "--output", "by_token.json", **token).ok()
    plans = [json.loads((tmp_path / f"by_{way}.json").read_text()) for way in ("login", "token")]
    for plan in plans:
        assert len(plan["tables"]) == 3
    assert plans[0] == plans[1]
    asked = [one for one in source.log.entries("", "received") if one["at"] > before]
    assert {one["login"] for one in asked} == {"token"}
    assert len(asked) > 10


def test_pymssql_is_never_asked_and_refusals_are_told_apart(
    source: Any, identity: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pymssql, "connect", None)
    for name, value in identity.items():
        monkeypatch.setenv(name, value)
    with SqlServer(settings(source)) as client:
        assert client.query("DECLARE @n int; SET @n = 7; SELECT @n, N'x%'") == [(7, "x%")]
        row = (1, "a'b%s", None)
        assert client.query("SELECT CONVERT(int, %s), %s, %s, '%%'", row) == [(*row, "%")]
        assert client.query("SELECT COUNT(*) FROM dbo.Orders WHERE Name LIKE N'%x'") == [(0,)]
    with (
        SqlServer(settings(source, database="nowhere")) as client,
        pytest.raises(ObjectNotFoundError, match="no database 'nowhere'"),
    ):
        client.query("SELECT 1")
    with (
        SqlServer(settings(source, user="stranger")) as client,
        pytest.raises(AccessDeniedError, match="MSSQL_AUTHENTICATION"),
    ):
        client.query("SELECT 1")
    monkeypatch.setenv("IDENTITY_ENDPOINT", "http://127.0.0.1:9/nobody")
    from mssql_python import auth

    auth._credential_cache.clear()
    with (
        SqlServer(settings(source, user="another")) as client,
        pytest.raises(Exception, match=r"Entra ID gave no token for SQL Server 127.0.0.1") as told,
    ):
        client.query("SELECT 1")
    assert source.settings["MSSQL_PASSWORD"] not in str(told.value)


def test_every_session_reads_only_where_that_was_asked_for(source: Any, tmp_path: Path) -> None:
    """Of both drivers, as the login says; and each gives way in a deadlock."""
    before = time.time()
    by_login = {"authentication": "SqlPassword", "user": source.settings["MSSQL_USER"],
                "password": source.settings["MSSQL_PASSWORD"]}  # fmt: skip
    with SqlServer(settings(source, application_intent="ReadOnly", **by_login)) as client:
        client.query("SELECT 1")
        with client.arrow_connection() as connection, connection.cursor() as cursor:
            cursor.execute("SELECT 2")
    asked = [one for one in source.log.entries("", "received") if one["at"] > before]
    assert all(one["read_only"] for one in asked)
    sessions: dict[int, list[str]] = {}
    for one in asked:
        sessions.setdefault(one["connection"], []).append(one["statement"])
    assert len(sessions) == 2
    for statements in sessions.values():
        assert any("DEADLOCK_PRIORITY -10" in text for text in statements)

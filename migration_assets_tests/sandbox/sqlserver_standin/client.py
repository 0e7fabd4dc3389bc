"""SQL Server's stand-in in a process, and what real drivers say to it; no product code."""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from datetime import timedelta, timezone
from typing import Any

import mssql_python
import pyarrow as pa
import pymssql
import pytest

from migration_assets.sandbox.control import Control
from migration_assets.sandbox.sqlserver import FAKE_PASSWORD
from migration_assets.sandbox.sqlserver.batch import scripts

mssql_python.pooling(enabled=False)

PLUS_2 = timezone(timedelta(hours=2))
GUID = uuid.UUID("00112233-4455-6677-8899-aabbccddeeff")
# 300,000 numbers without a table of numbers: six digits of a cross join.
DIGITS = "(VALUES (0),(1),(2),(3),(4),(5),(6),(7),(8),(9))"
NUMBERS = (
    "(SELECT a.x + 10*b.x + 100*c.x + 1000*d.x + 10000*e.x + 100000*f.x AS k FROM "
    f"{DIGITS} a(x), {DIGITS} b(x), {DIGITS} c(x), {DIGITS} d(x), {DIGITS} e(x), (VALUES (0),(1),(2)) f(x)) AS n"
)

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

"""What the tests of the StarRocks stand-in share: a client, and nothing of the product."""

from __future__ import annotations

import time
from typing import Any

import pymysql
import pytest

AE = "Getting analyzing error. Detail message: "


class Client:
    """A pymysql connection with short names for what these tests do."""

    def __init__(self, port: int, user: str = "root", password: str = "", **options: Any) -> None:
        self.connection = pymysql.connect(
            host="127.0.0.1", port=port, user=user, password=password, autocommit=True,
            connect_timeout=10, read_timeout=60, **options,
        )  # fmt: skip
        self.info = ""
        self.affected = 0

    def __call__(self, statement: str) -> list[tuple[Any, ...]]:
        with self.connection.cursor() as cursor:
            self.affected = cursor.execute(statement)
            self.info = cursor._result.message.decode() if cursor._result.message else ""
            return list(cursor.fetchall())

    def one(self, expression: str) -> Any:
        ((value,),) = self(f"SELECT {expression}")
        return value

    def refused(self, statement: str) -> tuple[int, str]:
        with pytest.raises(pymysql.err.MySQLError) as caught:
            self(statement)
        return int(caught.value.args[0]), str(caught.value.args[1])


def create(sr: Client, columns: str, rest: str = "DUPLICATE KEY(id)", table: str = "t") -> None:
    sr(f"CREATE TABLE {table} ({columns}) {rest} PROPERTIES('replication_num'='1')")


def wait_until(condition: Any, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)

"""One process of the stand-in for all its tests, and a database in it for each."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from migration_assets_tests.sandbox.sqlserver_standin.client import EXAMPLE, Server

_numbers = itertools.count(1)


@pytest.fixture(scope="package")
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

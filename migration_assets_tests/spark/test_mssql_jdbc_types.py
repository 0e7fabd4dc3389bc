"""Microsoft's JDBC driver in Spark: expressions over the types that have no format of their own,
all seven digits of a second as text, code pages, NUL and surrogates."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from migration_assets_tests.sandbox.sqlserver_standin import (
    extended_values,
    test_boundaries,
    test_text,
)
from migration_assets_tests.sandbox.sqlserver_standin.client import FAKE_PASSWORD, Server
from migration_assets_tests.sandbox.sqlserver_standin.extended_values import VALUES, expected, query
from migration_assets_tests.spark.sessions import open_session

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

DRIVER = "com.microsoft.sqlserver.jdbc.SQLServerDriver"


@pytest.fixture(scope="module")
def spark(spark_settings: dict[str, str]) -> Iterator[SparkSession]:
    with open_session(spark_settings) as session:
        yield session


@pytest.fixture(scope="module")
def server(spark_settings: dict[str, str]) -> Iterator[Server]:
    """The stand-in; only where Spark can be started too."""
    made = Server()
    made.execute_script(extended_values.SCRIPT)
    yield made
    made.close()


def read(spark: SparkSession, server: Server, sql: str) -> list[tuple[Any, ...]]:
    frame = spark.read.jdbc(
        f"jdbc:sqlserver://127.0.0.1:{server.port};databaseName={server.database};encrypt=false",
        f"({sql}) AS q",
        properties={"user": "sa", "password": FAKE_PASSWORD, "driver": DRIVER},
    )
    return [
        tuple(bytes(v) if isinstance(v, bytearray) else v for v in row) for row in frame.collect()
    ]


def test_the_expressions_of_all_values(spark: SparkSession, server: Server) -> None:
    wrong = {}
    for place, value in enumerate(VALUES):
        (found,) = read(spark, server, query(place))
        plain = [str(v) if isinstance(v, Decimal) else v for v in found]
        if plain != expected(place):
            wrong[f"{value.kind} {value.text}"] = plain
    assert wrong == {}


def test_all_digits_of_a_second_as_text(spark: SparkSession, server: Server) -> None:
    columns = ", ".join(
        f"CONVERT(varchar(34), CAST('{text}' AS {kind}), 121) AS c{place}"
        for place, (kind, text, _, _) in enumerate(test_boundaries.DATES_AND_TIMES)
    )
    (found,) = read(spark, server, f"SELECT {columns}")
    assert list(found) == [shown for *_, shown in test_boundaries.DATES_AND_TIMES]


def test_expressions_on_boundary_values(spark: SparkSession, server: Server) -> None:
    wanted = test_boundaries.EXPRESSIONS
    columns = ", ".join(f"{sql} AS c{place}" for place, sql in enumerate(wanted))
    (found,) = read(spark, server, f"SELECT {columns}")
    assert dict(zip(wanted, found, strict=True)) == wanted


def test_numbers_and_binaries_at_their_edges(spark: SparkSession, server: Server) -> None:
    chosen = [
        (kind, text, value)
        for kind, text, value in test_boundaries.OTHERS
        if not kind.startswith(("bit", "tinyint"))
    ]
    columns = ", ".join(
        f"CAST({text} AS {kind}) AS c{i}" for i, (kind, text, _) in enumerate(chosen)
    )
    (found,) = read(spark, server, f"SELECT {columns}")
    assert list(found) == [value for *_, value in chosen]


def test_text_of_every_code_page(spark: SparkSession, server: Server) -> None:
    columns = ", ".join(
        f"CAST(N'{text}' COLLATE {collation} AS varchar(20)) AS v{place}, "
        f"CAST(N'{text}' COLLATE {collation} AS varchar(max)) AS m{place}"
        for place, (collation, text, _, _) in enumerate(test_text.PAGES)
    )
    (found,) = read(spark, server, f"SELECT {columns}")
    assert list(found) == [kept for _, _, kept, _ in test_text.PAGES for _ in range(2)]


def test_nul_and_surrogates_without_a_partner(spark: SparkSession, server: Server) -> None:
    (found,) = read(
        spark,
        server,
        "SELECT N'a' + NCHAR(0) + N'b' AS n, CAST('x' + CHAR(0) AS varchar(max)) AS v, "
        "N'a' + NCHAR(0xD800) AS lone, CAST(N'a' + NCHAR(0xD800) AS varbinary(10)) AS held",
    )
    # On the way to Spark's UTF-8 the surrogate is replaced, in silence.
    assert found == ("a\0b", "x\0", "a\ufffd", b"a\x00\x00\xd8")

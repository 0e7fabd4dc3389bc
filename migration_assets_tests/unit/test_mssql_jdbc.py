"""What Spark's JDBC reader is told."""

from __future__ import annotations

import pytest

from migration_assets.errors import UnsupportedError
from migration_assets.mssql.jdbc import jdbc_options, jdbc_predicates, jdbc_table, jdbc_url
from migration_assets.settings import MssqlSettings
from migration_assets_tests.unit.tables import INT, table_plan

PASSWORD = "se;cret}="


def settings(**changes: object) -> MssqlSettings:
    given = {"host": "db1", "user": "me", "password": PASSWORD, "database": "shop", **changes}
    return MssqlSettings.load(**given)


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({}, "jdbc:sqlserver://db1:1433;databaseName={shop};encrypt={true};"),
        ({"encrypt": "no"}, "encrypt={false};"),
        ({"encrypt": "strict"}, "encrypt={strict};"),
        ({"trust_server_certificate": True}, "trustServerCertificate={true};"),
        ({"host": "db1\\sales"}, "jdbc:sqlserver://db1\\sales;databaseName"),
        ({"database": "a;b}c"}, "databaseName={a;b}}c};"),
        ({"application_intent": "ReadOnly"}, "applicationIntent={ReadOnly};"),
        ({"query_timeout_s": 7}, "socketTimeout={7000};"),
    ],
)
def test_url(changes: dict[str, object], part: str) -> None:
    url = jdbc_url(settings(**changes))
    assert part in url
    assert PASSWORD not in url


def test_options() -> None:
    plain = jdbc_options(settings(), snapshot=False)
    assert plain["password"] == PASSWORD
    assert plain["sessionInitStatement"] == "SET DEADLOCK_PRIORITY -10"
    assert "fetchsize" not in plain
    special = jdbc_options(settings(), snapshot=True, fetch_size=10_000)
    assert special["sessionInitStatement"] == (
        "SET DEADLOCK_PRIORITY -10; SET TRANSACTION ISOLATION LEVEL SNAPSHOT"
    )
    assert special["fetchsize"] == "10000"


def test_a_way_to_sign_in_that_the_driver_has_no_jars_for_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="SPARK_READER=arrow"):
        jdbc_options(settings(authentication="ActiveDirectoryMSI"), snapshot=False)


def test_predicates_are_those_of_the_plan_on_the_raw_key() -> None:
    table = table_plan([("order id", INT)], key=["order id"], cuts=["10"])
    assert jdbc_predicates(table, ["p001", "p000"]) == [
        "[migration_assets_key] >= 10",
        "([migration_assets_key] < 10 OR [migration_assets_key] IS NULL)",
    ]
    assert jdbc_table(table).startswith("(SELECT ")
    assert "[order id] AS [migration_assets_key] FROM " in jdbc_table(table)


def test_a_table_in_one_piece_has_a_predicate_all_the_same() -> None:
    table = table_plan([("order id", INT)])
    assert jdbc_predicates(table, ["p000"]) == ["1 = 1"]
    assert "migration_assets_key" not in jdbc_table(table)

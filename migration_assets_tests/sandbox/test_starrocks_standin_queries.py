"""Queries of the StarRocks stand-in, through pymysql alone: values, functions, casts, sums."""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from migration_assets.sandbox.control import Control
from migration_assets.sandbox.starrocks import StarRocksStandIn
from migration_assets_tests.sandbox.starrocks_client import AE, Client, create


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


class TestQueries:
    @pytest.mark.parametrize(
        ("expression", "value"),
        [
            ("length('aé😀')", 7),
            ("char_length('aé😀')", 3),
            ("length(x'00FF')", 2),
            ("CAST('x' AS INT)", None),
            ("CAST('300' AS TINYINT)", None),
            ("CAST('1999-02-30' AS DATE)", None),
            ("CAST(123.45 AS DECIMAL(4,2))", None),
            ("CAST(1.99 AS INT)", 1),
            ("CAST(-1.99 AS BIGINT)", -1),
            ("CAST(CAST('1.5e0' AS DOUBLE) AS INT)", 1),
            ("CAST(true AS VARCHAR)", "1"),
            ("CAST(CAST('2020-01-02' AS DATE) AS BIGINT)", 20200102),
            ("CAST('2020-01-02 03:04:05.5' AS DATETIME)", dt.datetime(2020, 1, 2, 3, 4, 5, 500000)),
            (
                "CAST(CAST('2020-01-02 03:04:05.5' AS DATETIME) AS VARCHAR)",
                "2020-01-02 03:04:05.500000",
            ),
            ("CAST(CAST('0999-01-02' AS DATETIME) AS VARCHAR)", "0999-01-02 00:00:00"),
            ("CAST(7 AS LARGEINT)", "7"),
            ("170141183460469231731687303715884105727", "170141183460469231731687303715884105727"),
            (
                "date_diff('microsecond', CAST('9999-12-31 23:59:59.999999' AS DATETIME), '0001-01-01 00:00:00')",
                315537897599999999,
            ),
            ("seconds_diff('2020-01-01 00:00:01', '0001-01-01 00:00:00')", 63713433601),
            ("milliseconds_diff('2020-01-01 00:00:01', '2020-01-01 00:00:00')", 1000),
            ("timestampdiff(SECOND, '2020-01-01 00:00:00', '2020-01-01 00:01:00')", 60),
            ("datediff('2020-01-01', '0001-01-01')", 737424),
            ("date_format('2020-01-01 00:00:00.000123', '%f')", "000123"),
            ("date_format('2020-01-02 13:04:05', '%Y-%m-%d %H:%i:%s')", "2020-01-02 13:04:05"),
            ("mod(CAST(-7 AS LARGEINT), 3)", "-1"),
            ("mod(7, 0)", None),
            ("bitxor(5, 3)", 6),
            ("5 & 3", 1),
            ("5 | 3", 7),
            ("conv('FFFFFFFF', 16, 10)", "4294967295"),
            ("CAST(conv(substr('ffff0000-x', 1, 8), 16, 10) AS LARGEINT)", "4294901760"),
            ("hex('é')", "C3A9"),
            ("hex(x'AB01')", "AB01"),
            ("hex(255)", "FF"),
            ("unhex('C3A9')", "é"),
            ("to_binary('AB01', 'hex')", b"\xab\x01"),
            ("from_binary(x'AB01', 'hex')", "AB01"),
            ("to_binary('zz', 'hex')", None),
            ("md5('a')", "0cc175b9c0f1b6a831c399e269772661"),
            ("md5sum('a', 'b')", "187ef4436122d1cc2f40dc2b92f0eba0"),
            ("sha2('a', 256)", "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"),
            ("crc32('a')", 3904355907),
            ("concat('a', NULL)", None),
            ("substr('abc', 0, 2)", ""),
            ("substr('abcdef', 2, 3)", "bcd"),
            ("7 / 2", 3.5),
            ("7 DIV 2", 3),
            ("1 / 0", None),
            ("if(1 = 1, 'a', 'b')", "a"),
            ("CASE WHEN NULL THEN 1 ELSE 2 END", 2),
            ("1 <=> NULL", 0),
            ("true", 1),
            ("CAST(1.5 AS DECIMAL(10,2)) * 100", Decimal("150.00")),
            ('"double quotes are strings"', "double quotes are strings"),
            ("'a\\'b\\\\c'", "a'b\\c"),
        ],
    )
    def test_values(self, sr: Client, expression: str, value: Any) -> None:
        assert sr.one(expression) == value

    @pytest.mark.parametrize(
        ("expression", "signature"),
        [
            ("microsecond(now())", "microsecond(datetime)"),
            ("extract(MICROSECOND FROM now())", "microsecond(datetime)"),
            ("timestampdiff(MICROSECOND, now(), now())", "microseconds_diff(datetime, datetime)"),
            ("microseconds_diff(now(), now())", "microseconds_diff(datetime, datetime)"),
            ("ord('a')", "ord(varchar)"),
            ("bit_xor(1)", "bit_xor(tinyint)"),
        ],
    )
    def test_functions_that_do_not_exist(self, sr: Client, expression: str, signature: str) -> None:
        expected = f"{AE}No matching function with signature: {signature}."
        assert sr.refused(f"SELECT {expression}") == (1064, expected)

    def test_casts_that_starrocks_has_not(self, sr: Client) -> None:
        for expression in (
            "CAST(1 AS TIMESTAMP)",
            "CAST(1 AS UNSIGNED)",
            "1::int",
            "CAST(now() AS DATETIME(6))",
        ):
            assert "syntax error" in sr.refused(f"SELECT {expression}")[1], expression

    def test_allow_throw_exception_makes_failing_casts_errors(self, sr: Client) -> None:
        sr("SET sql_mode = 'ONLY_FULL_GROUP_BY,ALLOW_THROW_EXCEPTION'")
        for expression in (
            "CAST('x' AS INT)",
            "CAST(123.45 AS DECIMAL(4,2))",
            "CAST(300 AS TINYINT)",
        ):
            assert sr.refused(f"SELECT {expression}")[0] == 1064, expression
        assert sr.one("CAST(NULL AS INT)") is None
        sr("SET sql_mode = DEFAULT")
        assert sr.one("CAST('x' AS INT)") is None

    def test_sums(self, sr: Client) -> None:
        create(sr, "id INT, b BIGINT, l LARGEINT, d DECIMAL(10,2), f DOUBLE, o BOOLEAN")
        huge = 2**63 - 1
        sr(
            f"INSERT INTO t VALUES (1, {huge}, {huge}, 1.25, 0.5, true), (2, 2, 2, 2.50, 0.25, false)"
        )
        assert sr(
            "SELECT SUM(b), SUM(l), SUM(d), SUM(f), SUM(o), SUM(CAST(b AS LARGEINT)) FROM t"
        ) == [(-(2**63) + 1, str(2**63 + 1), Decimal("3.75"), 0.75, 1, str(2**63 + 1))]
        assert sr("SELECT SUM(b), COUNT(b), COUNT(*), MIN(d), MAX(d) FROM t WHERE id > 5") == [
            (None, 0, 0, None, None)
        ]
        assert sr.refused("SELECT id, COUNT(*) FROM t")[0] == 1064

    def test_the_fingerprint_of_a_table(self, sr: Client) -> None:
        create(sr, "id BIGINT, t DATETIME, x VARCHAR(20), g VARCHAR(36), e DATE, n DECIMAL(38,4)")
        sr(
            "INSERT INTO t VALUES (40000, '1955-06-01 23:59:59.997', 'aé', "
            "'0000000a-0000-0000-0000-000000000000', '2020-01-01', -1.5), (2, NULL, NULL, NULL, NULL, NULL)"
        )
        assert sr(
            "SELECT COUNT(*), COUNT(`t`), SUM(CAST(datediff(`e`, '0001-01-01') AS LARGEINT)), "
            "SUM(CAST(seconds_diff(`t`, '0001-01-01 00:00:00') AS LARGEINT)), "
            "SUM(CAST(date_format(`t`, '%f') AS LARGEINT)), SUM(char_length(x)), SUM(length(x)), "
            "SUM(CAST(mod(CAST(`id` AS LARGEINT), 32749) * mod(CAST(`id` AS LARGEINT), 32749) AS LARGEINT)), "
            "SUM(CAST(conv(substr(`g`, 1, 8), 16, 10) AS LARGEINT)), SUM(CAST(`n` * 10000 AS LARGEINT)), "
            "SUM(CAST(right(concat(repeat('0', 38), replace(replace(CAST(`n` AS VARCHAR(48)), '.', ''), '-', '')), 19) AS LARGEINT) * CASE WHEN `n` < 0 THEN -1 ELSE 1 END) "
            "FROM d.t"
        ) == [(
            2, 1, "737424", str((dt.datetime(1955, 6, 1, 23, 59, 59) - dt.datetime(1, 1, 1)) // dt.timedelta(seconds=1)),
            "997000", 2, 3, str(7251**2 + 4), "10", "-15000", "-15000",
        )]  # fmt: skip

    def test_joins_subqueries_and_order(self, sr: Client) -> None:
        create(sr, "id INT, v VARCHAR(5)")
        create(sr, "id INT, w VARCHAR(5)", table="u")
        sr("INSERT INTO t VALUES (1, 'b'), (2, NULL), (3, 'B')")
        sr("INSERT INTO u VALUES (1, 'x'), (3, 'y')")
        assert sr("SELECT t.id, w FROM t LEFT JOIN u ON t.id = u.id ORDER BY w, t.id") == [
            (2, None), (1, "x"), (3, "y"),
        ]  # fmt: skip
        assert sr("SELECT v FROM t WHERE id IN (SELECT id FROM u) ORDER BY v DESC") == [
            ("b",),
            ("B",),
        ]
        assert sr("SELECT n FROM (SELECT COUNT(*) AS n FROM t) x") == [(3,)]
        assert sr("WITH c AS (SELECT id FROM t) SELECT MAX(id) AS m FROM c") == [(3,)]
        assert sr("SELECT id FROM t UNION SELECT id FROM u ORDER BY id LIMIT 2") == [(1,), (2,)]
        assert sr("SELECT v, COUNT(*) FROM t GROUP BY v ORDER BY v") == [
            (None, 1),
            ("B", 1),
            ("b", 1),
        ]
        assert sr("SELECT x.* FROM t AS x WHERE x.v LIKE 'b%' OR x.v IS NULL ORDER BY 1") == [
            (1, "b"), (2, None),
        ]  # fmt: skip
        assert "cannot be resolved" in sr.refused("SELECT zz FROM t")[1]
        assert "ambiguous" in sr.refused("SELECT id FROM t, u")[1]
        sr("DELETE FROM t WHERE id = 1")
        assert sr("SELECT COUNT(*) FROM t") == [(2,)]

    def test_long_in_lists_are_refused(self, sr: Client) -> None:
        create(sr, "id INT")
        values = ", ".join(map(str, range(9_999)))
        number, text = sr.refused(f"SELECT * FROM t WHERE id IN ({values})")
        assert number == 1064
        assert text.startswith(f"{AE}Expression too complex. ")
        shorter = ", ".join(map(str, range(5_000)))
        assert sr(f"SELECT * FROM t WHERE id IN ({shorter})") == []

    def test_results_of_many_rows_arrive_whole(self, server: StarRocksStandIn, sr: Client) -> None:
        create(sr, "id INT, v VARCHAR(20)")
        Control(server.control_url).sql(
            'INSERT INTO "d"."t" SELECT i, \'v\' || i FROM range(25000) r(i)'
        )
        rows = sr("SELECT * FROM t ORDER BY id")
        assert rows == [(i, f"v{i}") for i in range(25_000)]

"""The edges of SQL Server's types: what goes in from T-SQL comes out of every driver as it was."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from datetime import date, datetime, timedelta, timezone
from datetime import time as clock
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from migration_assets_tests.sandbox.sqlserver_standin.client import (
    Server,
    arrow,
    error_of,
    odbc,
    rows,
    tds,
)


def at(text: str, minutes: int) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=timezone(timedelta(minutes=minutes)))


def real(bits: int) -> float:
    """The single-precision number of these bits."""
    return float(struct.unpack("<f", struct.pack("<I", bits))[0])


NINES = 10**38 - 1
DATES_AND_TIMES: list[tuple[str, str, Any, str]] = [
    # kind, stored, as the drivers cut it to microseconds, and as style 121 shows it
    ("date", "0001-01-01", date(1, 1, 1), "0001-01-01"),
    ("date", "9999-12-31", date(9999, 12, 31), "9999-12-31"),
    ("time(7)", "00:00:00.0000001", clock(0), "00:00:00.0000001"),
    ("time(7)", "23:59:59.9999999", clock(23, 59, 59, 999999), "23:59:59.9999999"),
    ("time(6)", "23:59:59.999999", clock(23, 59, 59, 999999), "23:59:59.999999"),
    ("time(5)", "12:00:00.0000149", clock(12, 0, 0, 10), "12:00:00.00001"),
    ("time(4)", "23:59:59.9999", clock(23, 59, 59, 999900), "23:59:59.9999"),
    ("time(3)", "12:00:00.0005", clock(12, 0, 0, 1000), "12:00:00.001"),
    ("time(2)", "12:00:00.0049999", clock(12), "12:00:00.00"),
    ("time(1)", "12:00:00.05", clock(12, 0, 0, 100_000), "12:00:00.1"),
    ("time(0)", "12:00:00.4999999", clock(12), "12:00:00"),
    ("time(0)", "12:00:00.5", clock(12, 0, 1), "12:00:01"),
    ("datetime2(7)", "0001-01-01 00:00:00.0000000", datetime(1, 1, 1),
     "0001-01-01 00:00:00.0000000"),
    ("datetime2(7)", "0001-01-01 00:00:00.0000001", datetime(1, 1, 1),
     "0001-01-01 00:00:00.0000001"),
    ("datetime2(7)", "9999-12-31T23:59:59.9999999", datetime(9999, 12, 31, 23, 59, 59, 999999),
     "9999-12-31 23:59:59.9999999"),
    ("datetime2(7)", "1969-12-31 23:59:59.9999999", datetime(1969, 12, 31, 23, 59, 59, 999999),
     "1969-12-31 23:59:59.9999999"),
    ("datetime2(6)", "1969-12-31 23:59:59.9999994", datetime(1969, 12, 31, 23, 59, 59, 999999),
     "1969-12-31 23:59:59.999999"),
    ("datetime2(6)", "1969-12-31 23:59:59.9999995", datetime(1970, 1, 1),
     "1970-01-01 00:00:00.000000"),
    ("datetime2(5)", "2020-02-29 00:00:00.000014", datetime(2020, 2, 29, 0, 0, 0, 10),
     "2020-02-29 00:00:00.00001"),
    ("datetime2(4)", "9999-12-31 23:59:59.9999", datetime(9999, 12, 31, 23, 59, 59, 999900),
     "9999-12-31 23:59:59.9999"),
    ("datetime2(3)", "2020-02-29 23:59:59.9995", datetime(2020, 3, 1), "2020-03-01 00:00:00.000"),
    # Rounded twice, by way of microseconds, it would be the next millisecond.
    ("datetime2(3)", "2020-01-01 00:00:00.0004999", datetime(2020, 1, 1),
     "2020-01-01 00:00:00.000"),
    ("datetime2(2)", "2020-01-01 00:00:00.01", datetime(2020, 1, 1, 0, 0, 0, 10_000),
     "2020-01-01 00:00:00.01"),
    ("datetime2(1)", "2020-01-01 00:00:00.1", datetime(2020, 1, 1, 0, 0, 0, 100_000),
     "2020-01-01 00:00:00.1"),
    ("datetime2(0)", "9999-12-31 23:59:59", datetime(9999, 12, 31, 23, 59, 59),
     "9999-12-31 23:59:59"),
    ("datetimeoffset(7)", "0001-01-01 14:00:00.0000001 +14:00", at("0001-01-01 14:00", 840),
     "0001-01-01 14:00:00.0000001 +14:00"),
    ("datetimeoffset(7)", "9999-12-31 09:59:59.9999999 -14:00",
     at("9999-12-31 09:59:59.999999", -840), "9999-12-31 09:59:59.9999999 -14:00"),
    ("datetimeoffset(7)", "1969-12-31T23:59:59.9999999Z", at("1969-12-31 23:59:59.999999", 0),
     "1969-12-31 23:59:59.9999999 +00:00"),
    ("datetimeoffset(3)", "2020-01-01 00:00:00.0004999 +05:30", at("2020-01-01", 330),
     "2020-01-01 00:00:00.000 +05:30"),
    ("datetimeoffset(0)", "1969-12-31 23:59:59.5 -00:01", at("1970-01-01", -1),
     "1970-01-01 00:00:00 -00:01"),
    ("datetime", "1753-01-01", datetime(1753, 1, 1), "1753-01-01 00:00:00.000"),
    ("datetime", "2020-01-01 00:00:00.001", datetime(2020, 1, 1), "2020-01-01 00:00:00.000"),
    ("datetime", "2020-01-01 00:00:00.002", datetime(2020, 1, 1, 0, 0, 0, 3000),
     "2020-01-01 00:00:00.003"),
    ("datetime", "2020-01-01 00:00:00.005", datetime(2020, 1, 1, 0, 0, 0, 7000),
     "2020-01-01 00:00:00.007"),
    ("datetime", "2020-01-01 00:00:00.008", datetime(2020, 1, 1, 0, 0, 0, 7000),
     "2020-01-01 00:00:00.007"),
    ("datetime", "2020-01-01 00:00:00.009", datetime(2020, 1, 1, 0, 0, 0, 10_000),
     "2020-01-01 00:00:00.010"),
    ("datetime", "1969-12-31 23:59:59.999", datetime(1970, 1, 1), "1970-01-01 00:00:00.000"),
    ("datetime", "9999-12-31 23:59:59.997", datetime(9999, 12, 31, 23, 59, 59, 997_000),
     "9999-12-31 23:59:59.997"),
    ("smalldatetime", "1900-01-01", datetime(1900, 1, 1), "1900-01-01 00:00:00"),
    ("smalldatetime", "2020-01-01 12:59:29.998", datetime(2020, 1, 1, 12, 59),
     "2020-01-01 12:59:00"),
    ("smalldatetime", "2020-01-01 12:59:29.999", datetime(2020, 1, 1, 13), "2020-01-01 13:00:00"),
    ("smalldatetime", "2079-06-06 23:59", datetime(2079, 6, 6, 23, 59), "2079-06-06 23:59:00"),
]  # fmt: skip
OTHERS: list[tuple[str, str, Any]] = [
    ("bit", "1", True),
    ("tinyint", "0", 0),
    ("tinyint", "255", 255),
    ("smallint", "32767", 32767),
    ("int", "2147483647", 2**31 - 1),
    ("bigint", "-9223372036854775808", -(2**63)),
    ("decimal(38,0)", str(NINES), Decimal(NINES)),
    ("decimal(38,0)", f"-{NINES}", Decimal(-NINES)),
    ("decimal(38,38)", f"0.{NINES}", Decimal(f"0.{NINES}")),
    ("decimal(38,38)", f"-0.{NINES}", Decimal(f"-0.{NINES}")),
    ("numeric(38,19)", f"{10**19 - 1}.{10**19 - 1}", Decimal(f"{10**19 - 1}.{10**19 - 1}")),
    ("decimal(1,0)", "-9", Decimal(-9)),
    ("money", "922337203685477.5807", Decimal("922337203685477.5807")),
    ("money", "-922337203685477.5808", Decimal("-922337203685477.5808")),
    ("money", "-0.0001", Decimal("-0.0001")),
    ("smallmoney", "214748.3647", Decimal("214748.3647")),
    ("smallmoney", "-214748.3648", Decimal("-214748.3648")),
    ("float", "4.94065645841246544E-324", 5e-324),
    ("float", "2.2250738585072009E-308", 2.2250738585072009e-308),
    ("float", "1.7976931348623157E+308", 1.7976931348623157e308),
    ("float", "0.1", 0.1),
    ("float(24)", "3.40282347E+38", real(0x7F7FFFFF)),
    ("real", "-3.40282347E+38", -real(0x7F7FFFFF)),
    ("real", "1.17549435E-38", real(0x00800000)),
    ("real", "1.401298E-45", real(0x00000001)),
    ("char(5)", "''", "     "),
    ("char(5)", "'a '", "a    "),
    ("nchar(3)", "N'Ж'", "Ж  "),
    ("varchar(5)", "''", ""),
    ("varchar(5)", "'a  '", "a  "),
    ("nvarchar(5)", "N'  '", "  "),
    ("binary(3)", "0x", b"\0\0\0"),
    ("varbinary(3)", "0x", b""),
    ("varbinary(3)", "0x0000", b"\0\0"),
    ("varchar(8000)", "REPLICATE('x', 8000)", "x" * 8000),
    ("nvarchar(4000)", "REPLICATE(N'é', 4000)", "é" * 4000),
    ("char(8000)", "'x'", "x" + " " * 7999),
    ("binary(8000)", "0x01", b"\1" + bytes(7999)),
    ("varchar(max)", "REPLICATE(CAST('x' AS varchar(max)), 1048576)", "x" * 1048576),
    ("nvarchar(max)", "REPLICATE(CAST(N'😀' AS nvarchar(max)), 524288)", "😀" * 524288),
    ("varbinary(max)", "CAST(REPLICATE(CAST('x' AS varchar(max)), 1048577) AS varbinary(max))",
     b"x" * 1048577),
]  # fmt: skip
KINDS = [(kind, f"'{text}'", value) for kind, text, value, _ in DATES_AND_TIMES] + OTHERS


@pytest.fixture(scope="module")
def filled() -> Iterator[Server]:
    """One table for each value: the value and a NULL, and the value where NULL is not allowed."""
    server = Server()
    server.execute_script(
        "\n".join(
            f"CREATE TABLE b{place} (k int, c {kind} NULL)\nINSERT b{place} VALUES (1, {text}), (2, NULL)\n"
            f"CREATE TABLE n{place} (c {kind} NOT NULL)\nINSERT n{place} VALUES ({text})"
            for place, (kind, text, _) in enumerate(KINDS)
        )
    )
    yield server
    server.close()


@pytest.fixture(scope="module")
def connections(filled: Server) -> Iterator[dict[str, Any]]:
    made = {"tds": tds(filled), "odbc": odbc(filled)}
    yield made
    for connection in made.values():
        connection.close()


PLACES = [pytest.param(i, id=f"{kind}-{text[:40]}") for i, (kind, text, _) in enumerate(KINDS)]


@pytest.mark.parametrize("driver", ["tds", "odbc"])
@pytest.mark.parametrize("place", PLACES)
def test_a_value_as_row(connections: dict[str, Any], driver: str, place: int) -> None:
    connection = connections[driver]
    wanted = KINDS[place][2]
    nullable = rows(connection, f"SELECT c FROM b{place} ORDER BY k")
    exact = rows(connection, f"SELECT c FROM n{place}")
    assert nullable == [(wanted,), (None,)]
    assert exact == [(wanted,)]
    if isinstance(wanted, datetime) and wanted.tzinfo:
        assert exact[0][0].utcoffset() == wanted.utcoffset()


@pytest.mark.parametrize("place", PLACES)
def test_a_value_as_arrow(connections: dict[str, Any], place: int) -> None:
    wanted = KINDS[place][2]
    found = arrow(connections["odbc"], f"SELECT c FROM b{place} ORDER BY k").column(0)
    assert found.null_count == 1
    value = found[0]
    if pa.types.is_timestamp(found.type) or pa.types.is_time(found.type):
        # The driver may answer in ns or us; what counts is the moment.
        unit = "us"
        kind = (
            pa.time64(unit) if pa.types.is_time(found.type) else pa.timestamp(unit, found.type.tz)
        )
        value = value.cast(kind, safe=False)
    assert value.as_py() == wanted


@pytest.mark.parametrize("driver", ["tds", "odbc"])
def test_all_seven_digits_and_the_offset_in_expressions(
    connections: dict[str, Any], driver: str
) -> None:
    found = [
        rows(connections[driver], f"SELECT CONVERT(varchar(34), c, 121) FROM n{place}")[0][0]
        for place in range(len(DATES_AND_TIMES))
    ]
    assert found == [shown for *_, shown in DATES_AND_TIMES]


EXPRESSIONS = {
    "DATEPART(nanosecond, CAST('9999-12-31 23:59:59.9999999' AS datetime2(7))) / 100 % 10": 9,
    "DATEPART(nanosecond, CAST('00:00:00.0000001' AS time(7)))": 100,
    "DATEPART(nanosecond, CAST('0001-01-01 14:00:00.0000012 +14:00' AS datetimeoffset)) / 100 % 10": 2,
    "DATEPART(tzoffset, CAST('0001-01-01 14:00 +14:00' AS datetimeoffset(7)))": 840,
    "DATEPART(tzoffset, CAST('2020-01-01 14:00 -00:01' AS datetimeoffset(0)))": -1,
    "DATEDIFF_BIG(second, '0001-01-01T00:00:00', CAST('9999-12-31 23:59:59.9999999' AS datetime2))":
        315537897599,
    "DATEDIFF_BIG(nanosecond, CAST('0001-01-01' AS datetime2), CAST('0001-01-02 00:00:00.0000001' AS datetime2))":
        86_400_000_000_100,
    "DATEDIFF_BIG(second, '0001-01-01T00:00:00', CAST(SWITCHOFFSET("
    "CAST('9999-12-31 09:59:59.9999999 -14:00' AS datetimeoffset), '+00:00') AS datetime2(7)))":
        315537897599,
    "CONVERT(varchar(34), SWITCHOFFSET(CAST('2020-01-01 00:00:00.1234567 +02:00' AS datetimeoffset), '-05:30'), 121)":
        "2019-12-31 16:30:00.1234567 -05:30",
    "CONVERT(varchar(34), TODATETIMEOFFSET(CAST('2020-01-01 10:00:00.1234567' AS datetime2), '-03:00'), 121)":
        "2020-01-01 10:00:00.1234567 -03:00",
    "CONVERT(varchar(34), CAST('2020-01-01 10:00:00.1234567 +02:00' AS datetimeoffset) AT TIME ZONE 'UTC', 121)":
        "2020-01-01 08:00:00.1234567 +00:00",
    "CONVERT(varchar(34), CAST('2020-01-01 10:00:00.1234567 +02:00' AS datetimeoffset), 127)":
        "2020-01-01T08:00:00.1234567Z",
    "CONVERT(varchar(34), CAST('2020-01-01 10:00:00.1234567 +02:00' AS datetimeoffset), 126)":
        "2020-01-01T10:00:00.1234567+02:00",
    "CONVERT(varchar(27), CAST('2020-01-01 10:00:00.1234567' AS datetime2), 126)":
        "2020-01-01T10:00:00.1234567",
    # At compatibility level 130 a datetime is 1/300 s.
    "CONVERT(varchar(27), CAST(CAST('2020-01-01 00:00:00.187' AS datetime) AS datetime2(7)), 121)":
        "2020-01-01 00:00:00.1866667",
    "CONVERT(varchar(27), DATEADD(month, 1, CAST('2020-01-31 00:00:00.1234567' AS datetime2)), 121)":
        "2020-02-29 00:00:00.1234567",
    "CONVERT(varchar(16), DATEADD(hour, 2, CAST('23:00:00.0000001' AS time)), 121)": "01:00:00.0000001",
    "CONVERT(nvarchar(30), CAST(4.94065645841246544E-324 AS float), 3)": "4.9406564584124654e-324",
    "CONVERT(nvarchar(30), CAST(0.1 AS real), 3)": "1.00000001e-001",
    "CONVERT(varchar(30), CAST('-922337203685477.5808' AS money), 2)": "-922337203685477.5808",
    "CONVERT(varchar(30), 0x00FF, 1)": "0x00FF",
    "CONVERT(varchar(30), 0x00FF, 2)": "00FF",
    "CONVERT(varchar(41), CAST(-0.5 AS decimal(38,38)))": "-0." + "5".ljust(38, "0"),
    "DATALENGTH(CAST('a' AS char(5)))": 5,
    "DATALENGTH(CAST(N'a😀' AS nvarchar(5)))": 6,
}  # fmt: skip


@pytest.mark.parametrize("driver", ["tds", "odbc"])
def test_expressions_on_boundary_values(connections: dict[str, Any], driver: str) -> None:
    found = {
        sql: rows(connections[driver], f"SELECT {sql}")[0][0] for sql in EXPRESSIONS
    }  # fmt: skip
    assert found == EXPRESSIONS


def test_comparisons_see_the_seventh_digit(server: Server) -> None:
    server.execute_script(
        "CREATE TABLE fine (d datetime2(7) PRIMARY KEY, t time(7), o datetimeoffset(7))\n"
        "INSERT fine VALUES ('2020-01-01 00:00:00.0000001', '00:00:00.0000001', '2020-01-01 00:00:00.0000001 +00:00'), "
        "('2020-01-01 00:00:00.0000002', '00:00:00.0000002', '2020-01-01 02:00:00.0000002 +02:00')"
    )
    connection = odbc(server)
    found = {
        where: rows(connection, f"SELECT COUNT(*) FROM fine WHERE {where}")[0][0]
        for where in (
            "d > '2020-01-01 00:00:00.0000001'", "d = '2020-01-01 00:00:00.0000002'",
            "t < '00:00:00.0000002'", "o >= '2020-01-01 00:00:00.0000002 +00:00'",
            "d = CAST('2020-01-01' AS datetime2(3))", "d < CAST('2020-01-02' AS date)",
        )
    }  # fmt: skip
    extremes = rows(
        connection,
        "SELECT CONVERT(varchar(27), MIN(d), 121), CONVERT(varchar(27), MAX(d), 121), "
        "COUNT(DISTINCT d), COUNT(DISTINCT t), COUNT(DISTINCT o) FROM fine",
    )
    connection.close()
    assert list(found.values()) == [1, 1, 1, 1, 0, 2]
    assert extremes == [
        ("2020-01-01 00:00:00.0000001", "2020-01-01 00:00:00.0000002", 2, 2, 2)
    ]  # fmt: skip


def test_seven_digits_as_parameters(server: Server) -> None:
    moment = datetime(2020, 1, 1, 23, 59, 59, 999999)
    connection = odbc(server)
    found = rows(
        connection, "SELECT CONVERT(varchar(27), CAST(? AS datetime2(7)), 121), DATEPART(tzoffset, ?)",
        moment, moment.replace(tzinfo=timezone(timedelta(hours=-14))),
    )  # fmt: skip
    connection.close()
    assert found == [("2020-01-01 23:59:59.9999990", -840)]


def test_what_lies_beyond_the_edges_is_refused(server: Server) -> None:
    refused = {
        "SELECT CAST('1752-12-31' AS datetime)": 242,
        "SELECT CAST('9999-12-31 23:59:59.999' AS datetime)": 242,
        "SELECT CAST('1899-12-31' AS smalldatetime)": 242,
        "SELECT CAST('2079-06-06 23:59:30' AS smalldatetime)": 242,
        "SELECT CAST('2020-01-01 00:00:00.12345678' AS datetime2)": 241,
        "SELECT CAST('0001-01-01 00:00 +00:01' AS datetimeoffset)": 241,
        "SELECT CAST('2020-01-01 00:00 +14:01' AS datetimeoffset)": 241,
        "SELECT CAST('9999-12-31 23:59:59.9999999' AS datetime2(3))": 50001,
        "SELECT CAST('x' AS time(8))": 1002,
    }
    connection = tds(server)
    assert {sql: error_of(connection, sql)[0] for sql in refused} == refused
    connection.close()

"""Values of every type, through both drivers, as rows and as Arrow."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from datetime import date, datetime
from datetime import time as clock
from decimal import Decimal
from typing import Any

import pytest

from migration_assets_tests.sandbox.sqlserver_standin.client import (
    GUID,
    NUMBERS,
    PLUS_2,
    Server,
    arrow,
    odbc,
    rows,
    tds,
)

BIG = Decimal("12345678901234567890123456789012345678")
LONG = "é😀" * 5000

VALUES: list[tuple[str, str, Any]] = [
    ("bit", "1", True),
    ("bit", "0", False),
    ("tinyint", "255", 255),
    ("smallint", "-32768", -32768),
    ("int", "-2147483648", -(2**31)),
    ("bigint", "9223372036854775807", 2**63 - 1),
    ("decimal(38,0)", f"-{BIG}", BIG.copy_negate()),
    ("decimal(38,38)", "0.00000000000000000000000000000000000001", Decimal("1E-38")),
    ("decimal(9,2)", "-1234567.89", Decimal("-1234567.89")),
    ("numeric(19,4)", "123456789012345.6789", Decimal("123456789012345.6789")),
    ("decimal(28,5)", "12345678901234567890123.45678", Decimal("12345678901234567890123.45678")),
    ("money", "-922337203685477.5808", Decimal("-922337203685477.5808")),
    ("smallmoney", "-214748.3648", Decimal("-214748.3648")),
    ("real", "1.5", 1.5),
    ("float", "5e-324", 5e-324),
    ("float", "-1.7976931348623157e308", -1.7976931348623157e308),
    ("date", "'0001-01-01'", date(1, 1, 1)),
    ("date", "'9999-12-31'", date(9999, 12, 31)),
    ("time(0)", "'23:59:58'", clock(23, 59, 58)),
    ("time(3)", "'01:02:03.1236'", clock(1, 2, 3, 124000)),
    ("time(7)", "'23:59:59.999999'", clock(23, 59, 59, 999999)),
    ("datetime", "'1753-01-01 00:00:00.002'", datetime(1753, 1, 1, 0, 0, 0, 3000)),
    ("datetime", "'9999-12-31T23:59:59.997'", datetime(9999, 12, 31, 23, 59, 59, 997000)),
    ("smalldatetime", "'2079-06-06 23:59:29'", datetime(2079, 6, 6, 23, 59)),
    ("datetime2(6)", "'0001-01-01 00:00:00.000001'", datetime(1, 1, 1, 0, 0, 0, 1)),
    ("datetime2(7)", "'9999-12-31 23:59:59.999999'", datetime(9999, 12, 31, 23, 59, 59, 999999)),
    ("datetime2(3)", "'1969-12-31 23:59:59.9996'", datetime(1970, 1, 1)),
    ("datetimeoffset(3)", "'2020-01-01 10:00:00.1236 +02:00'",
     datetime(2020, 1, 1, 10, 0, 0, 124000, tzinfo=PLUS_2)),
    ("char(5)", "'ab'", "ab   "),
    ("varchar(10)", "'€uro'", "€uro"),
    ("varchar(10)", "''", ""),
    ("varchar(max)", "N'Ж'", "?"),
    ("varchar(20) COLLATE Latin1_General_100_CI_AS_SC_UTF8", "N'Ж😀'", "Ж😀"),
    ("nchar(3)", "N'é'", "é  "),
    ("nvarchar(10)", "N'a😀é'", "a😀é"),
    ("nvarchar(10)", "N'it''s'", "it's"),
    ("nvarchar(max)", f"N'{LONG}'", LONG),
    ("nvarchar(max)", "N''", ""),
    ("text", "'old'", "old"),
    ("ntext", "N'öld 😀'", "öld 😀"),
    ("xml", "N'<a>é</a>'", "<a>é</a>"),
    ("binary(4)", "0x0102", b"\x01\x02\x00\x00"),
    ("varbinary(4)", "0x", b""),
    ("varbinary(max)", "0x00ff", b"\x00\xff"),
    ("image", "0x0a", b"\n"),
    ("uniqueidentifier", f"'{GUID}'", GUID),
]  # fmt: skip


@pytest.fixture(scope="module")
def typed() -> Iterator[Server]:
    """One table: row 0 holds the values, row 1 NULLs, row 2 the values again."""
    server = Server()
    columns = ", ".join(f"c{i} {kind} NULL" for i, (kind, _, _) in enumerate(VALUES))
    exact = ", ".join(f"c{i} {kind} NOT NULL" for i, (kind, _, _) in enumerate(VALUES))
    cells = ", ".join(text for _, text, _ in VALUES)
    nulls = ", ".join("NULL" for _ in VALUES)
    server.execute_script(
        f"CREATE TABLE v (n int, {columns})\nCREATE TABLE w ({exact})\n"
        f"INSERT v VALUES (0, {cells})\nINSERT v VALUES (1, {nulls})\nINSERT v VALUES (2, {cells})\n"
        f"INSERT w VALUES ({cells})"
    )
    yield server
    server.close()


@pytest.mark.parametrize("driver", [tds, odbc])
def test_every_type_arrives_value_by_value(typed: Server, driver: Any) -> None:
    connection = driver(typed)
    filled, empty, again = rows(connection, "SELECT * FROM v ORDER BY n")
    (exact,) = rows(connection, "SELECT * FROM w")
    connection.close()
    expected = [value for _, _, value in VALUES]
    assert list(filled[1:]) == expected
    assert list(again[1:]) == expected
    assert list(exact) == expected
    assert list(empty[1:]) == [None] * len(VALUES)


def test_every_type_arrives_as_arrow(typed: Server) -> None:
    connection = odbc(typed)
    table = arrow(connection, "SELECT * FROM v ORDER BY n")
    connection.close()
    for i, (kind, _, value) in enumerate(VALUES):
        got = table.column(f"c{i}").to_pylist()
        expected = str(value).upper() if isinstance(value, uuid.UUID) else value
        assert got == [expected, None, expected], kind


def test_large_results_and_column_metadata(server: Server) -> None:
    count = 300_000
    server.execute_script(
        "CREATE TABLE big (k int NOT NULL, n nvarchar(20) NULL, d decimal(12,2) NULL, b bit)\n"
        "INSERT big SELECT k, CASE WHEN k % 7 <> 0 THEN CONCAT(N'é', k) END, "
        f"CASE WHEN k % 5 <> 0 THEN (k - 7) / 100.0 END, 1 - k % 2 FROM {NUMBERS}"
    )
    texts = [None if i % 7 == 0 else f"é{i}" for i in range(count)]
    numbers = [None if i % 5 == 0 else Decimal(i - 7).scaleb(-2) for i in range(count)]
    connection = odbc(server)
    started = time.perf_counter()
    table = arrow(connection, "SELECT * FROM big ORDER BY k")
    print(f"{count / (time.perf_counter() - started):,.0f} rows/s of 4 columns")
    assert table.column("k").to_pylist() == list(range(count))
    assert table.column("n").to_pylist() == texts
    assert table.column("d").to_pylist() == numbers
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT k, n, d, CAST(k AS decimal(38,0)) q, CONVERT(varchar(16), k) FROM big WHERE k = 8"
        )
        described = [
            (name, size, precision, scale)
            for name, _, _, size, precision, scale, _ in cursor.description
        ]
        assert [name for name, *_ in described] == ["k", "n", "d", "q", ""]
        assert described[2][2:] == (12, 2)
        assert described[3][2:] == (38, 0)
        assert [column[6] for column in cursor.description] == [False, True, True, False, False]
    connection.close()

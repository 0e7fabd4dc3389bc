"""The first rows of dbo.AllTypes: of each type what breaks careless copies.

Row by row: all NULL; zero or empty; the least; the greatest; then odd ones. Limits are those of
https://learn.microsoft.com/sql/t-sql/data-types/data-types-transact-sql
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa

from migration_assets.sandbox.sample import words

ROWS = 10

_MIDNIGHT_1970 = datetime(1970, 1, 1)  # noqa: DTZ001 - datetime2 has no time zone
_MICROSECOND = timedelta(microseconds=1)


def _naive(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _decimals(precision: int, scale: int) -> list[Decimal | None]:
    """Extremes, and values whose digits are lost first by a float or by a narrower decimal."""
    most = 10**precision - 1

    def exact(digits: int) -> Decimal:
        return Decimal((int(digits < 0), tuple(map(int, str(abs(digits)))), -scale))

    one_behind = -(10 ** (precision - 1)) - 1
    odd = [
        exact(1),
        exact(-1),
        exact(most - 1),
        exact(one_behind),
        exact(most // 9),
        exact(-most // 3),
    ]
    return [None, exact(0), exact(-most), exact(most), *odd]


def _money(digits: int) -> list[Decimal | None]:
    """Extremes of money (64 bits) and smallmoney (32 bits), in ten-thousandths."""
    least, most = -(2 ** (digits - 1)), 2 ** (digits - 1) - 1
    odd = [1, -1, -12_3456, 99_9999, most - 1, least + 1]
    return [None, *(Decimal(number).scaleb(-4) for number in [0, least, most, *odd])]


def _integers(least: int, most: int) -> list[int | None]:
    return [None, 0, least, most, 1, most - 1, least + 1, 10, 100, most // 2]


def _timestamps(scale: int) -> list[datetime | None]:
    """datetime2 of a scale; microseconds are cut to its digits."""
    unit = timedelta(microseconds=10 ** (6 - min(scale, 6)))
    last = _naive("9999-12-31T23:59:59.999999")
    last -= timedelta(microseconds=last.microsecond % (unit // _MICROSECOND))
    return [
        None,
        _MIDNIGHT_1970,
        _naive("0001-01-01"),
        last,
        # A fraction before 1970: whoever rounds towards zero gets the next day.
        _MIDNIGHT_1970 - unit,
        _naive("1900-01-01") - unit,
        _naive("0001-01-01") + unit,
        _naive("2000-02-29T12:00:00"),
        _naive("1582-10-10T00:00:00"),  # a day that the Julian calendar does not have
        _naive("2262-04-11T23:47:17") + unit,  # the first second that nanoseconds cannot hold
    ]


def _offsets(scale: int) -> pa.Array:
    """Datetimeoffset of a scale; each pair is the UTC time and the offset in minutes."""
    naive = _timestamps(scale)
    minutes = [None, 0, 0, 0, -840, 840, 0, 330, 765, -1]
    rows = [
        None if moment is None else {"utc": moment.replace(tzinfo=UTC), "offset_minutes": shift}
        for moment, shift in zip(naive, minutes, strict=True)
    ]
    return pa.array(rows, OFFSET)


def _times(scale: int) -> list[time | None]:
    unit = 10 ** (6 - min(scale, 6))
    last = time(23, 59, 59, 999_999 // unit * unit)
    small = time(0, 0, 0, unit) if unit < 10**6 else time(0, 0, 1)
    return [
        None,
        time(0),
        time(0),
        last,
        small,
        time(12),
        time(0, 1),
        time(23, 59, 59),
        time(1),
        last,
    ]


def _texts(kind: str) -> list[str | None]:
    tricky = words.TRICKY_LATIN if kind == "latin" else words.TRICKY_UNICODE
    return [
        None,
        "",
        " ",
        "z" * 100,
        tricky[0],
        tricky[1],
        tricky[2],
        "trailing   ",
        *words.TRICKY[6:8],
    ]


def _fixed(texts: list[str], width: int) -> list[str | None]:
    """Texts of exactly `width` UTF-16 units."""
    filled = [text + " " * (width - len(text.encode("utf-16-le")) // 2) for text in texts]
    return [None, *filled]


def _bytes(width: int | None) -> list[bytes | None]:
    values = [
        b"",
        b"\x00",
        b"\xff" * 8,
        b"\x00\x01",
        b"\x80",
        b"\r\n\t",
        b"'\"\\",
        b"\xf0\x9f\x98\x80",
        b"a",
    ]
    return [None, *(value if width is None else value.ljust(width, b"\x00") for value in values)]


OFFSET = pa.struct([("utc", pa.timestamp("us", "UTC")), ("offset_minutes", pa.int16())])
"""How the sample represents datetimeoffset."""


def edge_cases() -> pa.Table:
    """The rows, with all columns of dbo.AllTypes but `Id` and `RowVersion`."""
    latin = ["", "a", "zzzzzzzzzz", " lead", "it's", "Müller", "€", "tab\there", "a\nb"]
    wide = ["", "a", "\uffee" * 10, " lead", "😀", "日本語", "\U0001d518😀", "e\u0301", "\u2028"]
    days = ["1970-01-01", "0001-01-01", "9999-12-31", "1969-12-31", "1900-01-01", "1582-10-10",
            "2000-02-29", "1752-09-14", "2038-01-20"]  # fmt: skip
    moments = ["1970-01-01", "1753-01-01", "9999-12-31T23:59:59.997", "1969-12-31T23:59:59.997",
               "1900-01-01T00:00:00.003", "1899-12-31T23:59:59.993", "2000-02-29T12:00:00",
               "2026-01-01T00:00:00.007", "2038-01-19T03:14:08"]  # fmt: skip
    minutes = ["1970-01-01", "1900-01-01", "2079-06-06T23:59", "1969-12-31T23:59", "1900-01-01T00:01",
               "2000-02-29T12:00", "2026-01-01T00:01", "2038-01-19T03:15", "1999-12-31T23:59"]  # fmt: skip
    guids = ["00000000-0000-0000-0000-000000000000", "00000000-0000-0000-0000-000000000001",
             "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF", "01020304-0506-0708-090A-0B0C0D0E0F10",
             "80000000-0000-0000-0000-000000000000", "6F9619FF-8B86-D011-B42D-00C04FC964FF",
             "0000000A-0000-0000-0000-000000000000", "00000000-0000-0000-0000-0A0000000000",
             "DEADBEEF-CAFE-F00D-BABE-0123456789AB"]  # fmt: skip
    xml = ["", "<a/>", "<a b=\"&quot;\">&lt;&amp;&gt;</a>", "<é>ü😀</é>", "text only", "<a>1</a><a>2</a>",
           "<a><!--c--><b/></a>", "<n:a xmlns:n=\"urn:x\"><n:b>1</n:b></n:a>", "<a>it's</a>"]  # fmt: skip
    float_max, real_max = 1.7976931348623157e308, 3.4028234663852886e38
    floats = [
        0.0,
        -float_max,
        float_max,
        5e-324,
        -5e-324,
        2.2250738585072014e-308,
        0.1,
        1 / 3,
        -1e-7,
    ]
    reals = [0.0, -real_max, real_max, 1e-45, -1e-45, 1.17549435e-38, 0.1, 1 / 3, 16_777_216.0]
    columns: dict[str, tuple[Any, list[Any]]] = {
        "Bit": (pa.bool_(), [None, False, False, True, True, False, True, False, True, False]),
        "TinyInt": (pa.uint8(), _integers(0, 255)),
        "SmallInt": (pa.int16(), _integers(-(2**15), 2**15 - 1)),
        "Int": (pa.int32(), _integers(-(2**31), 2**31 - 1)),
        "BigInt": (pa.int64(), _integers(-(2**63), 2**63 - 1)),
    }
    for precision, scale in DECIMALS:
        name = f"{'Numeric' if precision == 18 else 'Decimal'}{precision}_{scale}"
        columns[name] = (pa.decimal128(precision, scale), _decimals(precision, scale))
    columns |= {
        "Money": (pa.decimal128(19, 4), _money(64)),
        "SmallMoney": (pa.decimal128(10, 4), _money(32)),
        "Real": (pa.float32(), [None, *reals]),
        "Float": (pa.float64(), [None, *floats]),
        "Date": (pa.date32(), [None, *map(date.fromisoformat, days)]),
        "Time0": (pa.time64("us"), _times(0)),
        "Time3": (pa.time64("us"), _times(3)),
        "Time7": (pa.time64("us"), _times(7)),
        "DateTime": (pa.timestamp("us"), [None, *map(_naive, moments)]),
        "SmallDateTime": (pa.timestamp("us"), [None, *map(_naive, minutes)]),
        "DateTime2_0": (pa.timestamp("us"), _timestamps(0)),
        "DateTime2_3": (pa.timestamp("us"), _timestamps(3)),
        "DateTime2_6": (pa.timestamp("us"), _timestamps(6)),
        "DateTime2_7": (pa.timestamp("us"), _timestamps(7)),
        "DateTimeOffset0": (OFFSET, _offsets(0).to_pylist()),
        "DateTimeOffset3": (OFFSET, _offsets(3).to_pylist()),
        "DateTimeOffset7": (OFFSET, _offsets(7).to_pylist()),
        "Char10": (pa.string(), _fixed(latin, 10)),
        "VarChar100": (pa.string(), _texts("latin")),
        "VarCharMax": (pa.string(), _texts("latin")),
        "Text": (pa.string(), _texts("latin")),
        "NChar10": (pa.string(), _fixed(wide, 10)),
        "NVarChar100": (pa.string(), _texts("unicode")),
        "NVarCharMax": (pa.string(), _texts("unicode")),
        "NText": (pa.string(), _texts("unicode")),
        "Binary8": (pa.binary(8), _bytes(8)),
        "VarBinary100": (pa.binary(), _bytes(None)),
        "VarBinaryMax": (pa.binary(), _bytes(None)),
        "Image": (pa.binary(), _bytes(None)),
        "UniqueIdentifier": (pa.string(), [None, *guids]),
        "Xml": (pa.string(), [None, *xml]),
    }
    return pa.table({name: pa.array(values, kind) for name, (kind, values) in columns.items()})


DECIMALS = [(5, 0), (9, 2), (19, 4), (28, 10), (38, 0), (38, 10), (38, 38), (18, 6)]
"""Precision and scale of the decimal columns of dbo.AllTypes, in its order."""

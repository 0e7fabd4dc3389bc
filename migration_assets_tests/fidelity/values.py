"""THE VALUES: for each SQL Server type, what is written and what must be found.

A row here is a fact about SQL Server, not about this project: the literal that T-SQL takes, and the
value that arrives where nothing is lost. Where the default conversion loses something, `value` is
what is left, `text` and `added` what the choices `text` and `column` keep.
"""

from __future__ import annotations

import datetime as dt
import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

UTC = dt.UTC


@dataclass(frozen=True)
class Value:
    """One value of a type.

    Attributes:
        literal: T-SQL that makes it.
        value: what Iceberg has of it; StarRocks' is derived by `suite.loaded`.
        text: the whole value as text, where a type has that choice.
        added: suffix of a second column to what it holds.
    """

    literal: str
    value: Any
    text: str | None = None
    added: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Type:
    """A type and its values; NULL is one of each without being named.

    Attributes:
        table: of the schema `fidelity`, in which its column is.
        declaration: as CREATE TABLE has it, with its collation.
        since: major version of SQL Server that has it first.
    """

    table: str
    declaration: str
    values: Sequence[Value]
    since: int = 13

    @property
    def column(self) -> str:
        """Name of its column."""
        return re.sub(r"\W+", "_", self.declaration.lower()).strip("_")


def same(*values: Any) -> list[Value]:
    """Values whose T-SQL is Python's text."""
    return [Value(str(value), value) for value in values]


def decimals(*texts: str) -> list[Value]:
    return [Value(text, Decimal(text)) for text in texts]


def texts(*values: str) -> list[Value]:
    return [Value("N'" + value.replace("'", "''") + "'", value) for value in values]


def binaries(*values: bytes) -> list[Value]:
    return [Value("0x" + value.hex(), value) for value in values]


def floats(*literals: str) -> list[Value]:
    return [Value(text, float(text)) for text in literals]


def singles(*literals: str) -> list[Value]:
    return [Value(t, struct.unpack("<f", struct.pack("<f", float(t)))[0]) for t in literals]


def dates(*texts: str) -> list[Value]:
    return [Value(f"'{text}'", dt.date.fromisoformat(text)) for text in texts]


def moments(scale: int, *texts: str) -> list[Value]:
    """datetime2(scale), given with seven digits; the seventh is what is lost."""
    made = []
    for given in texts:
        text = given[: 20 + scale] if scale else given[:19]
        digits = (given[20:] + "0000000")[:scale].ljust(7, "0")
        value = dt.datetime.fromisoformat(f"{given[:19]}.{digits[:6]}")
        shown = text.replace("T", " ")
        made.append(Value(f"'{text}'", value, text=shown, added={"_100ns": int(digits[6])}))
    return made


def offsets(scale: int, *given: tuple[str, str]) -> list[Value]:
    """datetimeoffset(scale): local time with seven digits, and `+05:30`."""
    made = []
    for local, offset in given:
        moment = moments(scale, local)[0]
        sign = -1 if offset[0] == "-" else 1
        minutes = sign * (int(offset[1:3]) * 60 + int(offset[4:6]))
        instant = moment.value.replace(tzinfo=dt.timezone(dt.timedelta(minutes=minutes)))
        made.append(
            Value(
                f"'{moment.literal[1:-1]}{offset}'",
                instant.astimezone(UTC),
                text=f"{moment.text} {offset}",
                added={**moment.added, "_offset": minutes},
            )
        )
    return made


def times(scale: int) -> list[Value]:
    width = 8 if scale == 0 else 9 + scale
    given = ("00:00:00.0000000", "23:59:59.9999999", "12:34:56.1234567", "00:00:00.0000001")
    return [Value(f"'{text[:width]}'", text[:width]) for text in given]


def variant(base: str, literal: str, text: str) -> Value:
    return Value(f"CAST({literal} AS {base})", text, added={"_type": base.partition("(")[0]})


def point(x: float, y: float) -> bytes:
    """Well-known binary of a point: https://www.ogc.org/standard/sfa/."""
    return struct.pack("<BIdd", 1, 1, x, y)


def line(*points: tuple[float, float]) -> bytes:
    pairs = b"".join(struct.pack("<dd", *pair) for pair in points)
    return struct.pack("<BII", 1, 2, len(points)) + pairs


def long(character: str, count: int, kind: str = "nvarchar") -> Value:
    prefix = "N" if kind == "nvarchar" else ""
    sql = f"REPLICATE(CAST({prefix}'{character}' AS {kind}(max)), {count})"
    return Value(sql, character * count)


NINES = "9" * 38
LATEST = "9999-12-31T23:59:59.9999999"
INSTANTS = (
    "0001-01-01T00:00:00.0000000",
    LATEST,
    "1969-12-31T23:59:59.9999999",
    "1970-01-01T00:00:00.0000001",
    "1582-10-10T12:00:00.5000000",
    "2024-02-29T23:59:59.1234567",
)
OFFSETS = (
    ("0001-01-01T00:00:00.0000000", "+00:00"),
    (LATEST, "+00:00"),
    (LATEST, "+14:00"),
    ("0001-01-01T00:00:00.0000000", "-14:00"),
    ("1969-12-31T23:59:59.9999999", "-05:30"),
    ("2024-02-29T23:59:59.1234567", "+05:45"),
)
WORDS = ("", " ", "trailing  ", "it's", "tab\tand\nline", "x" * 20)

TYPES: tuple[Type, ...] = (
    Type("numbers", "bit", [Value("0", False), Value("1", True)]),
    Type("numbers", "tinyint", same(0, 1, 127, 128, 255)),
    Type("numbers", "smallint", same(-32768, -1, 0, 32767)),
    Type("numbers", "int", same(-(2**31), -1, 0, 2**31 - 1)),
    Type("numbers", "bigint", same(-(2**63), -1, 0, 2**63 - 1, 2**53 + 1)),
    Type("numbers", "decimal(1,0)", decimals("-9", "0", "9")),
    Type("numbers", "decimal(9,2)", decimals("-9999999.99", "0.01", "9999999.99")),
    Type("numbers", "decimal(18,4)", decimals("-99999999999999.9999", "0.0001", "0")),
    Type("numbers", "decimal(19,0)", decimals("-9999999999999999999", "9999999999999999999")),
    Type("numbers", "decimal(28,10)", decimals("-999999999999999999.9999999999", "0.0000000001")),
    Type("numbers", "decimal(38,0)", decimals(f"-{NINES}", "0", NINES)),
    Type("numbers", "decimal(38,19)", decimals(f"-{'9' * 19}.{'9' * 19}", f"0.{'0' * 18}1")),
    Type("numbers", "decimal(38,38)", decimals(f"-0.{NINES}", f"0.{'0' * 37}1", f"0.{NINES}")),
    Type("numbers", "numeric(5,5)", decimals("-0.99999", "0.00001")),
    Type(
        "numbers",
        "money",
        decimals("-922337203685477.5808", "922337203685477.5807", "-0.0001", "0.0000"),
    ),
    Type("numbers", "smallmoney", decimals("-214748.3648", "214748.3647", "-0.0001")),
    Type(
        "numbers", "real", singles("-3.40282347E+38", "1.17549435E-38", "0.1", "16777217E0", "0E0")
    ),
    Type(
        "numbers",
        "float",
        floats(
            "-1.7976931348623157E+308",
            "2.2250738585072014E-308",
            "0.1E0",
            "9007199254740993E0",
            "3.3333333333333331E-1",
        ),
    ),
    Type("numbers", "float(24)", singles("0.1", "1.17549435E-38")),
    Type(
        "moments",
        "date",
        dates(
            "0001-01-01",
            "1582-10-04",
            "1582-10-15",
            "1900-02-28",
            "1969-12-31",
            "1970-01-01",
            "2024-02-29",
            "9999-12-31",
        ),
    ),
    *(Type("moments", f"time({scale})", times(scale)) for scale in range(8)),
    *(Type("moments", f"datetime2({scale})", moments(scale, *INSTANTS)) for scale in range(8)),
    *(Type("moments", f"datetimeoffset({scale})", offsets(scale, *OFFSETS)) for scale in range(8)),
    Type(
        "moments",
        "datetime",
        [
            Value("'1753-01-01T00:00:00.000'", dt.datetime(1753, 1, 1)),
            Value("'9999-12-31T23:59:59.997'", dt.datetime(9999, 12, 31, 23, 59, 59, 997000)),
            Value("'1955-06-01T23:59:59.997'", dt.datetime(1955, 6, 1, 23, 59, 59, 997000)),
            Value("'2024-01-31T10:00:00.003'", dt.datetime(2024, 1, 31, 10, 0, 0, 3000)),
            Value("'2024-01-31T10:00:00.007'", dt.datetime(2024, 1, 31, 10, 0, 0, 7000)),
            # Steps of 1/300 s: the nearest is taken when it is written.
            Value("'2024-01-31T10:00:00.005'", dt.datetime(2024, 1, 31, 10, 0, 0, 7000)),
        ],
    ),
    Type(
        "moments",
        "smalldatetime",
        [
            Value("'1900-01-01T00:00:00'", dt.datetime(1900, 1, 1)),
            Value("'2079-06-06T23:59:00'", dt.datetime(2079, 6, 6, 23, 59)),
            Value("'2024-01-31T10:00:30'", dt.datetime(2024, 1, 31, 10, 1)),
        ],
    ),
    Type(
        "texts",
        "char(5)",
        [Value("'ab'", "ab   "), Value("''", "     "), Value("'abcde'", "abcde")],
    ),
    Type(
        "texts",
        "varchar(20) COLLATE SQL_Latin1_General_CP1_CI_AS",
        [*texts(*WORDS, "Grüße €"), Value("'a' + CHAR(0) + 'b'", "a\0b")],
    ),
    Type("texts", "varchar(20) COLLATE SQL_Latin1_General_CP437_CI_AS", texts("Grüße", "├┼┤")),
    Type("texts", "varchar(20) COLLATE Polish_CI_AS", texts("zażółć gęślą", "€")),
    Type("texts", "varchar(20) COLLATE Cyrillic_General_CI_AS", texts("Привет")),
    Type("texts", "varchar(20) COLLATE Japanese_CI_AS", texts("日本語 abc", "ｶﾀｶﾅ", "")),
    Type("texts", "varchar(20) COLLATE Chinese_PRC_CI_AS", texts("汉字 abc")),
    Type("texts", "varchar(20) COLLATE Chinese_Taiwan_Stroke_CI_AS", texts("繁體 abc")),
    Type("texts", "varchar(20) COLLATE Korean_Wansung_CI_AS", texts("한글 abc")),
    Type(
        "texts",
        "varchar(20) COLLATE Latin1_General_100_CI_AS_SC_UTF8",
        texts("Grüße 😀", "日本語", "", "x" * 20),
        since=15,
    ),
    Type("texts", "char(10) COLLATE Japanese_CI_AS", [Value("N'日本'", "日本      ")]),
    Type("texts", "nchar(5)", [Value("N'ab'", "ab   "), Value("N'😀'", "😀   ")]),
    Type(
        "texts",
        "nvarchar(20)",
        [
            *texts(*WORDS, "😀😀", "e\u0301", "\uffff\ue000", "日本語"),
            Value("N'a' + NCHAR(0) + N'b'", "a\0b"),
        ],
    ),
    Type("texts", "sysname NULL", texts("dbo", "日" * 128)),
    Type("wide_texts", "char(8000)", [Value("REPLICATE('x', 8000)", "x" * 8000)]),
    Type("wider_texts", "varchar(8000)", [Value("REPLICATE('é', 8000)", "é" * 8000)]),
    Type("wider_texts", "nvarchar(4000)", [Value("REPLICATE(N'あ', 4000)", "あ" * 4000)]),
    Type("long_texts", "varchar(max)", [*texts("", "a"), long("x", 2**20, "varchar")]),
    Type("long_texts", "nvarchar(max)", [*texts("", "😀"), long("é", 2**19), long("日", 349_525)]),
    Type("long_texts", "text", [*texts("", "Grüße"), long("y", 10_000, "varchar")]),
    Type("long_texts", "ntext", [*texts("", "日本語"), long("z", 10_000)]),
    Type("long_texts", "xml", [Value("N'<a b=\"1\">ü</a>'", '<a b="1">ü</a>'), Value("''", "")]),
    Type("binaries", "binary(4)", [Value("0x01", b"\1\0\0\0"), *binaries(b"\xff\0\xfe\1")]),
    Type("binaries", "varbinary(8)", binaries(b"", b"\0", b"\0\0", bytes(range(248, 256)))),
    Type("binaries", "varbinary(8000)", binaries(bytes(range(256)) * 31)),
    Type(
        "binaries",
        "varbinary(max)",
        [
            *binaries(b"", b"\0"),
            Value(
                "CAST(REPLICATE(CAST('A' AS varchar(max)), 1048576) AS varbinary(max))",
                b"A" * 2**20,
            ),
        ],
    ),
    Type("binaries", "image", binaries(b"", b"\x89PNG\0")),
    Type(
        "binaries",
        "uniqueidentifier",
        [
            Value(f"'{text}'", text)
            for text in (
                "00000000-0000-0000-0000-000000000000",
                "6F9619FF-8B86-D011-B42D-00C04FC964FF",
                "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF",
            )
        ],
    ),
    Type(
        "documents",
        "sql_variant",
        [
            variant("int", "-2147483648", "-2147483648"),
            variant("bigint", "9223372036854775807", "9223372036854775807"),
            variant("decimal(38,10)", "-1.0000000001", "-1.0000000001"),
            variant("money", "-1.2345", "-1.2345"),
            variant("float", "0.1E0", "1.0000000000000001e-001"),
            variant("bit", "1", "1"),
            variant("nvarchar(20)", "N'日本 😀'", "日本 😀"),
            variant("varchar(20)", "'Grüße'", "Grüße"),
            variant("date", "'0001-01-01'", "0001-01-01"),
            variant("datetime", "'2024-01-31T10:00:00.007'", "2024-01-31 10:00:00.007"),
            variant("smalldatetime", "'2024-01-31T10:01:00'", "2024-01-31 10:01:00"),
            variant("datetime2(7)", f"'{LATEST}'", LATEST.replace("T", " ")),
            variant("time(7)", "'23:59:59.9999999'", "23:59:59.9999999"),
            variant(
                "datetimeoffset(7)",
                "'2024-02-29T23:59:59.1234567-14:00'",
                "2024-02-29 23:59:59.1234567 -14:00",
            ),
            variant(
                "uniqueidentifier",
                "'6F9619FF-8B86-D011-B42D-00C04FC964FF'",
                "6F9619FF-8B86-D011-B42D-00C04FC964FF",
            ),
            variant("varbinary(8)", "0x00FF", "0x00FF"),
        ],
    ),
    Type(
        "documents",
        "hierarchyid",
        [Value(f"hierarchyid::Parse('{path}')", path) for path in ("/", "/1/", "/1/2.1/-3/")],
    ),
    Type(
        "documents",
        "json",
        [Value('N\'{"a":[1,2,null],"b":"ü"}\'', '{"a":[1,2,null],"b":"ü"}')],
        since=17,
    ),
    Type(
        "documents",
        "vector(3)",
        [Value("'[1, -0.25, 0]'", "[1.0000000e+000,-2.5000000e-001,0.0000000e+000]")],
        since=17,
    ),
    Type(
        "shapes",
        "geometry",
        [
            Value(
                "geometry::STGeomFromText('POINT (1.5 -2)', 4326)",
                point(1.5, -2),
                added={"_srid": 4326},
            ),
            Value(
                "geometry::STGeomFromText('LINESTRING (0 0, 1 1, 2 0.1)', 0)",
                line((0, 0), (1, 1), (2, 0.1)),
                added={"_srid": 0},
            ),
        ],
    ),
    Type(
        "shapes",
        "geography",
        # A point of a geography is given as latitude and longitude, and written the other way.
        [Value("geography::Point(47.5, 8.25, 4326)", point(8.25, 47.5), added={"_srid": 4326})],
    ),
)

LOSSY = {
    "datetime2(7)": {"_100ns"},
    **{f"datetimeoffset({scale})": {"_offset"} for scale in range(7)},
    "datetimeoffset(7)": {"_offset", "_100ns"},
}
"""Types with a choice, and the columns that the choice `column` adds."""

OWN = {"geometry": {"_srid"}, "geography": {"_srid"}, "sql_variant": {"_type"}}
"""Types that have a second column whatever is chosen."""

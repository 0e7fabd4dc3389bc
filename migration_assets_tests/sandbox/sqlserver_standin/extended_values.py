"""Values of the types that go out through expressions: what is stored, selected and expected.

The expressions are those of `type_mapping.py`, and a few that show what is inside.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Value:
    """One value of one type.

    Attributes:
        kind: of the column.
        text: T-SQL that is stored.
        shown: expressions over the column `c`, and what each gives.
    """

    kind: str
    text: str
    shown: dict[str, Any] = field(default_factory=dict)


def wkb(number: int, *parts: int | float) -> bytes:
    """Little-endian WKB: ints are counts, floats are coordinates."""
    form = "".join("I" if isinstance(part, int) else "d" for part in parts)
    return struct.pack("<BI" + form, 1, number, *parts)


BASE = "CAST(SQL_VARIANT_PROPERTY(c, 'BaseType') AS nvarchar(128))"
VARIANT = (
    f"CASE WHEN {BASE} IN (N'float', N'real') THEN CONVERT(nvarchar(max), CAST(c AS float), 3) "
    f"WHEN {BASE} IN (N'datetime') THEN CONVERT(nvarchar(max), CAST(c AS datetime2(3)), 121) "
    f"WHEN {BASE} IN (N'smalldatetime') THEN CONVERT(nvarchar(max), CAST(c AS datetime2(0)), 121) "
    f"WHEN {BASE} IN (N'money', N'smallmoney') THEN CONVERT(nvarchar(max), CAST(c AS money), 2) "
    f"WHEN {BASE} IN (N'binary', N'varbinary') "
    "THEN CONVERT(nvarchar(max), CAST(c AS varbinary(8000)), 1) ELSE CONVERT(nvarchar(max), c) END"
)
TEXT = "CONVERT(nvarchar(max), c)"


def variant(text: str, shown: str | None, base: str | None) -> Value:
    return Value("sql_variant", text, {VARIANT: shown, BASE: base})


def shape(kind: str, text: str, binary: bytes, srid: int, shown: str) -> Value:
    return Value(
        kind, text, {"c.AsBinaryZM()": binary, "c.STSrid": srid, "c.AsTextZM()": shown}
    )  # fmt: skip


def property_of(name: str, kind: str) -> str:
    return f"CAST(SQL_VARIANT_PROPERTY(c, '{name}') AS {kind})"


VALUES = [
    variant("1", "1", "int"),
    variant("CAST(-9223372036854775808 AS bigint)", "-9223372036854775808", "bigint"),
    variant("CAST(255 AS tinyint)", "255", "tinyint"),
    variant("CAST(1 AS bit)", "1", "bit"),
    variant("1.50", "1.50", "numeric"),
    variant("CAST(0.00000000000000000000000000000000000001 AS decimal(38,38))",
            "0.00000000000000000000000000000000000001", "decimal"),
    variant("CAST('-922337203685477.5808' AS money)", "-922337203685477.5808", "money"),
    variant("CAST(0.0001 AS smallmoney)", "0.0001", "smallmoney"),
    variant("CAST(0.1 AS float)", "1.0000000000000001e-001", "float"),
    variant("CAST(0.1 AS real)", "1.0000000149011612e-001", "real"),
    variant("CAST('9999-12-31' AS date)", "9999-12-31", "date"),
    variant("CAST('23:59:59.9999999' AS time)", "23:59:59.9999999", "time"),
    variant("CAST('23:59:59.999' AS time(3))", "23:59:59.999", "time"),
    variant("CAST('2020-02-29 10:00:00.002' AS datetime)", "2020-02-29 10:00:00.003", "datetime"),
    variant("CAST('2020-02-29 10:00:30' AS smalldatetime)", "2020-02-29 10:01:00", "smalldatetime"),
    variant("CAST('0001-01-01 00:00:00.0000001' AS datetime2)",
            "0001-01-01 00:00:00.0000001", "datetime2"),
    variant("CAST('2020-02-29 10:00:00.12 -14:00' AS datetimeoffset(2))",
            "2020-02-29 10:00:00.12 -14:00", "datetimeoffset"),
    variant("CAST('a' AS char(3))", "a  ", "char"),
    variant("'é'", "é", "varchar"),
    variant("N'Ж😀'", "Ж😀", "nvarchar"),
    variant("CAST(N'Ж' AS nchar(2))", "Ж ", "nchar"),
    variant("0x0102", "0x0102", "varbinary"),
    variant("CAST(0x01 AS binary(3))", "0x010000", "binary"),
    variant("CAST('00112233-4455-6677-8899-aabbccddeeff' AS uniqueidentifier)",
            "00112233-4455-6677-8899-AABBCCDDEEFF", "uniqueidentifier"),
    variant("NULL", None, None),
    Value("sql_variant", "CAST(1.5 AS decimal(10,3))", {
        property_of("Precision", "int"): 10, property_of("Scale", "int"): 3,
        property_of("MaxLength", "int"): 9, property_of("Collation", "nvarchar(128)"): None,
        "CAST(c AS decimal(9,2))": "1.50", "CAST(c AS float)": 1.5, "CAST(c AS int)": 1,
    }),
    Value("sql_variant", "N'abc'", {
        property_of("Precision", "int"): 0, property_of("MaxLength", "int"): 6,
        property_of("Collation", "nvarchar(128)"): "SQL_Latin1_General_CP1_CI_AS",
        "DATALENGTH(c)": 6,
    }),
    Value("hierarchyid", "'/1/2/'", {"c.ToString()": "/1/2/", "c.GetLevel()": 2}),
    Value("hierarchyid", "hierarchyid::Parse('/1.1/-3/007/')",
          {"c.ToString()": "/1.1/-3/7/", "c.GetLevel()": 3}),
    Value("hierarchyid", "hierarchyid::GetRoot()", {"c.ToString()": "/", "c.GetLevel()": 0}),
    Value("hierarchyid", "NULL", {"c.ToString()": None}),
    shape("geometry", "geometry::STGeomFromText('POINT (1 2)', 4326)",
          wkb(1, 1.0, 2.0), 4326, "POINT (1 2)"),
    shape("geometry", "'POINT (-0.5 1e-3 7)'", wkb(1001, -0.5, 0.001, 7.0), 0,
          "POINT (-0.5 0.001 7)"),
    # The example of Microsoft's page of AsBinaryZM.
    shape("geometry", "geometry::Parse('Point(1 1 2 3)')", wkb(3001, 1.0, 1.0, 2.0, 3.0), 0,
          "POINT (1 1 2 3)"),
    shape("geometry", "geometry::STLineFromText('LINESTRING (0 0, 3.25 4)', 0)",
          wkb(2, 2, 0.0, 0.0, 3.25, 4.0), 0, "LINESTRING (0 0, 3.25 4)"),
    shape("geometry", "'POLYGON ((0 0, 9 0, 9 9, 0 0), (5 1, 6 1, 6 2, 5 1))'",
          wkb(3, 2, 4, 0.0, 0.0, 9.0, 0.0, 9.0, 9.0, 0.0, 0.0,
              4, 5.0, 1.0, 6.0, 1.0, 6.0, 2.0, 5.0, 1.0), 0,
          "POLYGON ((0 0, 9 0, 9 9, 0 0), (5 1, 6 1, 6 2, 5 1))"),
    shape("geography", "geography::Point(47.5, 8.25, 4326)", wkb(1, 8.25, 47.5), 4326,
          "POINT (8.25 47.5)"),
    shape("geography", "geography::Parse('POINT (8.25 47.5)')", wkb(1, 8.25, 47.5), 4326,
          "POINT (8.25 47.5)"),
    Value("geography", "geography::STGeomFromWKB(0x010100000000000000008020400000000000C04740, 4269)",
          {"c.STSrid": 4269, "c.Lat": 47.5, "c.Long": 8.25, "c.STAsText()": "POINT (8.25 47.5)"}),
    Value("geometry", "geometry::Point(1, 2, 0)", {"c.STX": 1.0, "c.STY": 2.0, "c.Z": None}),
    Value("geometry", "NULL", {"c.AsBinaryZM()": None, "c.STSrid": None}),
    Value("json", """N'{"a": 1, "é" : [1.50, "x  y\\u0041", null ]}'""",
          {TEXT: '{"a":1,"é":[1.50,"x  y\\u0041",null]}'}),
    Value("json", "'[]'", {TEXT: "[]"}),
    Value("json", "NULL", {TEXT: None}),
    Value("vector(3)", "'[1, 2.5, -3e-3]'",
          {TEXT: "[1.0000000e+000,2.5000000e+000,-3.0000000e-003]"}),
    Value("vector(1)", "CAST('[0.1]' AS json)", {TEXT: "[1.0000000e-001]"}),
    Value("vector(2)", "NULL", {TEXT: None}),
    Value("xml", "N'<?xml version=\"1.0\" encoding=\"utf-16\"?>\n<a b=''1''> <c></c>é<![CDATA[<]]></a>'",
          {TEXT: '<a b="1"><c/>é&lt;</a>'}),
    Value("xml", "'text<a/>more'", {TEXT: "text<a/>more"}),
    Value("xml", "N''", {TEXT: ""}),
    Value("dbo.Spot", "0x00FF", {"CONVERT(varbinary(max), c)": b"\x00\xff", "DATALENGTH(c)": 2}),
    Value("dbo.Phone", "'+41'", {"c": "+41"}),
    Value("dbo.Price", "1.5", {"c": "1.50"}),
    Value("text", "'é'", {"CONVERT(varchar(max), c)": "é"}),
    Value("ntext", "N'Ж'", {"CONVERT(nvarchar(max), c)": "Ж"}),
    Value("image", "0x00", {"CONVERT(varbinary(max), c)": b"\x00"}),
]  # fmt: skip

SCRIPT = "\n".join(
    [
        "CREATE TYPE dbo.Phone FROM varchar(20) NOT NULL",
        "CREATE TYPE dbo.Price FROM decimal(10,2)",
        "CREATE TYPE dbo.Spot EXTERNAL NAME Assembly.[Acme.Spot]",
        *(
            f"CREATE TABLE dbo.x{place} (k int NOT NULL, c {value.kind})\n"
            f"INSERT dbo.x{place} VALUES (1, {value.text})"
            for place, value in enumerate(VALUES)
        ),
    ]
)
"""One table for each value."""


def query(place: int) -> str:
    """The expressions of a value, decimals as text."""
    value = VALUES[place]
    return f"SELECT {', '.join(f'{sql} AS s{i}' for i, sql in enumerate(value.shown))} FROM dbo.x{place}"


def expected(place: int) -> list[Any]:
    return list(VALUES[place].shown.values())

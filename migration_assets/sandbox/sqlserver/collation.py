"""What a collation means: code page, case, and its five bytes on the wire.

Layout of the five bytes: MS-TDS section 2.2.5.1.2. Only case sensitivity, binary order and the code
page are honoured: accents and the order of punctuation are not.
"""

from __future__ import annotations

import struct

from migration_assets.sandbox.sqlserver.sql_types import SqlType

_LOCALES: list[tuple[str, int, str]] = [
    ("cyrillic", 0x0419, "cp1251"),
    ("ukrainian", 0x0422, "cp1251"),
    ("greek", 0x0408, "cp1253"),
    ("turkish", 0x041F, "cp1254"),
    ("hebrew", 0x040D, "cp1255"),
    ("arabic", 0x0401, "cp1256"),
    ("estonian", 0x0425, "cp1257"),
    ("latvian", 0x0426, "cp1257"),
    ("lithuanian", 0x0427, "cp1257"),
    ("vietnamese", 0x042A, "cp1258"),
    ("thai", 0x041E, "cp874"),
    ("polish", 0x0415, "cp1250"),
    ("czech", 0x0405, "cp1250"),
    ("hungarian", 0x040E, "cp1250"),
    ("croatian", 0x041A, "cp1250"),
    ("romanian", 0x0418, "cp1250"),
    ("japanese_unicode", 0x10411, "cp932"),
    ("japanese", 0x0411, "cp932"),
    ("chinese_prc_stroke", 0x20804, "gbk"),
    ("chinese_prc", 0x0804, "gbk"),
    ("chinese_taiwan_bopomofo", 0x30404, "cp950"),
    ("chinese_taiwan", 0x0404, "cp950"),
    ("korean", 0x0412, "cp949"),
    ("latin1_general", 0x0409, "cp1252"),
    ("", 0x0409, "cp1252"),
]
_SORT_IDS: list[tuple[str, str, dict[str, int]]] = [
    ("sql_latin1_general_cp437_", "cp437", {"bin": 30, "cs_as": 31, "ci_as": 32}),
    ("sql_latin1_general_cp850_", "cp850", {"bin": 40, "cs_as": 41, "ci_as": 42, "ci_ai": 44}),
    ("sql_latin1_general_cp1_", "cp1252", {"cs_as": 51, "ci_as": 52, "ci_ai": 54}),
    ("sql_latin1_general_cp1250_", "cp1250", {"cs_as": 81, "ci_as": 82}),
    ("sql_latin1_general_cp1251_", "cp1251", {"cs_as": 105, "ci_as": 106}),
    ("sql_latin1_general_cp1253_", "cp1253", {"cs_as": 113, "ci_as": 114}),
    ("sql_latin1_general_cp1254_", "cp1254", {"cs_as": 129, "ci_as": 130}),
    ("sql_latin1_general_cp1255_", "cp1255", {"cs_as": 137, "ci_as": 138}),
    ("sql_latin1_general_cp1256_", "cp1256", {"cs_as": 145, "ci_as": 146}),
    ("sql_latin1_general_cp1257_", "cp1257", {"cs_as": 153, "ci_as": 154}),
]
"""The old collations whose code page is that of a sort id, which drivers look at before the LCID."""


def _locale(collation: str) -> tuple[int, str]:
    name = collation.lower()
    for prefix, codec_name, _ in _SORT_IDS:
        if name.startswith(prefix):
            return 0x0409, codec_name
    name = name.removeprefix("sql_")
    return next((lcid, codec) for prefix, lcid, codec in _LOCALES if name.startswith(prefix))


def _sort_id(collation: str) -> int:
    name = collation.lower()
    for prefix, _, ids in _SORT_IDS:
        if name.startswith(prefix):
            return ids.get(name.removeprefix(prefix), 0)
    return 0


def is_double_byte(collation: str) -> bool:
    """Whether the code page has characters of two bytes."""
    return codec(collation) in {"cp932", "gbk", "cp949", "cp950"}


def is_wide(kind: SqlType) -> bool:
    """Whether one character of a char or varchar may take more than one byte."""
    return not kind.info.unicode and (is_utf8(kind.collation) or is_double_byte(kind.collation))


def codec(collation: str) -> str:
    """Python's name of the encoding of char and varchar."""
    return "utf-8" if is_utf8(collation) else _locale(collation)[1]


def is_utf8(collation: str) -> bool:
    """Whether char and varchar hold UTF-8."""
    return collation.upper().endswith("_UTF8")


def is_binary(collation: str) -> bool:
    """Whether comparison is by code point."""
    return "_BIN" in collation.upper()


def ignores_case(collation: str) -> bool:
    """Whether 'a' equals 'A'."""
    return not is_binary(collation) and "_CS" not in collation.upper()


def wire(collation: str) -> bytes:
    """The five bytes of a collation in TYPE_INFO and ENVCHANGE."""
    if not collation:
        return bytes(5)
    upper = collation.upper()
    bits = _locale(collation)[0]
    if "_BIN2" in upper:
        bits |= 1 << 25
    elif "_BIN" in upper:
        bits |= 1 << 24
    else:
        bits |= (1 << 20) if "_CI" in upper else 0
        bits |= (1 << 21) if "_AI" in upper else 0
        bits |= (1 << 22) | (1 << 23)
    if is_utf8(collation):
        bits |= 1 << 26
    version = 2 if "_100_" in upper else 3 if "_140_" in upper else 1 if "_90_" in upper else 0
    return struct.pack("<IB", bits | version << 28, _sort_id(collation))

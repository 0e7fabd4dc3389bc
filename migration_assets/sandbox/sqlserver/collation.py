"""What a collation means: code page, case, and its five bytes on the wire.

Layout of the five bytes: MS-TDS section 2.2.5.1.2. Only case sensitivity, binary order and the code
page are honoured: accents and the order of punctuation are not.
"""

from __future__ import annotations

import struct

_LOCALES: list[tuple[str, int, str]] = [
    ("cyrillic", 0x0419, "cp1251"),
    ("greek", 0x0408, "cp1253"),
    ("turkish", 0x041F, "cp1254"),
    ("hebrew", 0x040D, "cp1255"),
    ("arabic", 0x0401, "cp1256"),
    ("polish", 0x0415, "cp1250"),
    ("czech", 0x0405, "cp1250"),
    ("japanese", 0x0411, "cp932"),
    ("chinese_prc", 0x0804, "gbk"),
    ("korean", 0x0412, "cp949"),
    ("", 0x0409, "cp1252"),
]


def _locale(collation: str) -> tuple[int, str]:
    name = collation.lower().removeprefix("sql_")
    return next((lcid, codec) for prefix, lcid, codec in _LOCALES if name.startswith(prefix))


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
    sort_id = 0x34 if upper == "SQL_LATIN1_GENERAL_CP1_CI_AS" else 0
    return struct.pack("<IB", bits | version << 28, sort_id)

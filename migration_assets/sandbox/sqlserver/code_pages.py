"""Text as bytes: UTF-16 with surrogates that have no partner, and code pages with `?`.

DuckDB holds UTF-8, which has no surrogates. One without its partner, which SQL Server's nvarchar
may hold, is kept as a character of the last private plane, U+10F800 + (unit - U+D800); so these
2,048 characters themselves cannot be kept, and are refused.
"""

from __future__ import annotations

import codecs
import re

from migration_assets.sandbox.sqlserver.errors import unsupported

_FIRST_LONE, _FIRST_KEPT = 0xD800, 0x10F800
_LONE = re.compile("[\ud800-\udfff]")
_KEPT = re.compile("[\U0010f800-\U0010ffff]")
KEPT_BYTES = re.compile(rb"\xf4\x8f[\xa0-\xbf]")
"""How a kept surrogate looks in UTF-8."""


def _question_marks(error: UnicodeError) -> tuple[str, int]:
    """What a code page has for other characters: one `?` for each UTF-16 unit, as SQL Server."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lost = error.object[error.start : error.end]
    return "?" * (len(lost.encode("utf-16-le", "surrogatepass")) // 2), error.end


codecs.register_error("sqlserver", _question_marks)


def _lone(text: str) -> str:
    """Kept surrogates back to what they stand for."""
    return _KEPT.sub(lambda found: chr(ord(found[0]) - _FIRST_KEPT + _FIRST_LONE), text)


def encoded(text: str, codec: str) -> bytes:
    """Text as DuckDB holds it, in UTF-16 (`utf-16-le`), UTF-8 or a code page."""
    if codec == "utf-16-le":
        return _lone(text).encode(codec, "surrogatepass")
    if codec == "utf-8":
        return _KEPT.sub("\ufffd", text).encode(codec)
    plain = _lone(text)
    if codec == "gbk" and "€" in plain:  # Windows added it to the code page at 0x80
        return b"\x80".join(part.encode(codec, "sqlserver") for part in plain.split("€"))
    if codec == "cp950":  # Python adds ETEN's characters, which Windows has not
        pieces = (_question_marked(character, codec) for character in plain)
        return b"".join(pieces)
    return plain.encode(codec, "sqlserver")


def _question_marked(character: str, codec: str) -> bytes:
    piece = character.encode(codec, "sqlserver")
    return b"?" if b"\xc6\xa1" <= piece <= b"\xc8\xfe" and len(piece) == 2 else piece


def decoded(data: bytes, codec: str) -> str:
    """The text that bytes mean, as DuckDB can hold it.

    Raises:
        SqlServerError: 50001 for characters of the last private plane.
    """
    if codec == "utf-16-le":
        text = data.decode(codec, "surrogatepass")
    elif codec == "gbk" and b"\x80" in data:
        text = _decoded_936(data)
    else:
        text = data.decode(codec, "replace")
    if _KEPT.search(text):
        raise unsupported("characters from U+10F800 on, where unpaired surrogates are kept")
    return _LONE.sub(lambda found: chr(ord(found[0]) - _FIRST_LONE + _FIRST_KEPT), text)


def _decoded_936(data: bytes) -> str:
    out, at = "", 0
    while at < len(data):
        width = 1 if data[at] <= 0x80 else 2
        piece = data[at : at + width]
        out += "€" if piece == b"\x80" else piece.decode("gbk", "replace")
        at += width
    return out


def kept(text: str, codec: str) -> str:
    """What is left of a text in a code page."""
    return decoded(encoded(text, codec), codec)


def cut(text: str, codec: str, most: int) -> str:
    """As many whole characters as fit into `most` bytes."""
    room = most
    for place, character in enumerate(text):
        room -= len(encoded(character, codec))
        if room < 0:
            return text[:place]
    return text


def character(unit: int) -> str:
    """One UTF-16 unit as DuckDB holds it."""
    return decoded(unit.to_bytes(2, "little"), "utf-16-le")


def units(text: str) -> int:
    """UTF-16 units of a text as DuckDB holds it."""
    return len(encoded(text, "utf-16-le")) // 2

"""RPC requests: `sp_executesql`, `sp_prepexec` and their kin, with typed parameters (MS-TDS 2.2.6.6)."""

from __future__ import annotations

import struct
import uuid
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal

from migration_assets.sandbox.sqlserver import code_pages, collation, sql_types
from migration_assets.sandbox.sqlserver.conversion import Typed, literal
from migration_assets.sandbox.sqlserver.errors import SqlServerError, unsupported
from migration_assets.sandbox.sqlserver.sql_types import DEFAULT_COLLATION, MAX, TYPES, SqlType

_PROCEDURES = {
    1: "sp_cursor", 2: "sp_cursoropen", 3: "sp_cursorprepare", 4: "sp_cursorexecute",
    5: "sp_cursorprepexec", 6: "sp_cursorunprepare", 7: "sp_cursorfetch", 8: "sp_cursoroption",
    9: "sp_cursorclose", 10: "sp_executesql", 11: "sp_prepare", 12: "sp_execute",
    13: "sp_prepexec", 14: "sp_prepexecrpc", 15: "sp_unprepare",
}  # fmt: skip


@dataclass(frozen=True)
class Parameter:
    """One parameter: its name (may be empty), value as expression, text of a string, integer."""

    name: str
    value: Typed
    text: str | None
    number: int | None
    output: bool


@dataclass(frozen=True)
class Call:
    """One procedure call."""

    procedure: str
    parameters: list[Parameter]


class _Bytes:
    """Reads a request from left to right."""

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.at = 0

    @property
    def left(self) -> int:
        return len(self.body) - self.at

    def take(self, count: int) -> bytes:
        piece = self.body[self.at : self.at + count]
        if len(piece) < count:
            raise SqlServerError(8016, "The incoming TDS RPC protocol stream is incorrect.", 16)
        self.at += count
        return piece

    def unpack(self, form: str) -> int:
        return int(struct.unpack("<" + form, self.take(struct.calcsize("<" + form)))[0])


def skip_headers(body: bytes) -> bytes:
    """What follows ALL_HEADERS of a batch, RPC or transaction request."""
    (length,) = struct.unpack_from("<I", body)
    return body[length:] if 4 <= length <= len(body) else body


def read_calls(body: bytes) -> list[Call]:
    """Read the calls of an RPC request.

    Raises:
        SqlServerError: 50001 for parameter types that the stand-in does not read.
    """
    source = _Bytes(skip_headers(body))
    calls = []
    while source.left:
        length = source.unpack("H")
        if length == 0xFFFF:
            number = source.unpack("H")
            name = _PROCEDURES.get(number, f"procedure {number}")
        else:
            name = (
                source.take(2 * length).decode("utf-16-le").lower().rsplit(".", 1)[-1].strip("[]")
            )
        source.take(2)
        parameters = []
        while source.left and source.body[source.at] not in {0x80, 0xFF, 0xFE}:
            parameters.append(_parameter(source))
        if source.left:
            source.take(1)
        calls.append(Call(name, parameters))
    return calls


def _parameter(source: _Bytes) -> Parameter:
    name = source.take(2 * source.unpack("B")).decode("utf-16-le")
    status = source.unpack("B")
    kind, raw = _typed_bytes(source)
    value = _expression(kind, raw)
    text = value.constant if kind.family == "string" else None
    number = None
    if raw is not None and kind.family == "integer":
        number = int.from_bytes(raw, "little", signed=kind.name != "tinyint")
    return Parameter(name.lstrip("@").lower(), value, text, number, bool(status & 1))


_BY_TOKEN = {
    0xA7: "varchar", 0xAF: "char", 0xE7: "nvarchar", 0xEF: "nchar", 0xA5: "varbinary", 0xAD: "binary",
}  # fmt: skip
_INTEGERS = {1: "tinyint", 2: "smallint", 4: "int", 8: "bigint"}
_FIXED = {
    0x30: ("tinyint", 1), 0x32: ("bit", 1), 0x34: ("smallint", 2), 0x38: ("int", 4),
    0x7F: ("bigint", 8), 0x3B: ("real", 4), 0x3E: ("float", 8), 0x3D: ("datetime", 8),
    0x3A: ("smalldatetime", 4), 0x3C: ("money", 8), 0x7A: ("smallmoney", 4),
}  # fmt: skip


def _typed_bytes(source: _Bytes) -> tuple[SqlType, bytes | None]:
    token = source.unpack("B")
    if token in _FIXED:
        name, width = _FIXED[token]
        return sql_types.declared(name, []), source.take(width)
    if token in {0x26, 0x68, 0x6D, 0x6E, 0x6F, 0x24}:
        width = source.unpack("B")
        names = {
            0x26: _INTEGERS.get(width, "int"), 0x68: "bit", 0x6D: "real" if width == 4 else "float",
            0x6E: "smallmoney" if width == 4 else "money",
            0x6F: "smalldatetime" if width == 4 else "datetime", 0x24: "uniqueidentifier",
        }  # fmt: skip
        return sql_types.declared(names[token], []), _short(source)
    if token in {0x6A, 0x6C}:
        source.take(1)
        precision, scale = source.unpack("B"), source.unpack("B")
        return SqlType("decimal", precision=precision, scale=scale), _short(source)
    if token == 0x28:
        return sql_types.DATE, _short(source)
    if token in {0x29, 0x2A, 0x2B}:
        name = {0x29: "time", 0x2A: "datetime2", 0x2B: "datetimeoffset"}[token]
        return SqlType(name, scale=source.unpack("B")), _short(source)
    if token in _BY_TOKEN:
        return _sized(source, _BY_TOKEN[token])
    if token in {0x63, 0x23, 0x22}:
        return _large(source, {0x63: "ntext", 0x23: "text", 0x22: "image"}[token])
    if token == 0xF1:
        if source.unpack("B"):
            raise unsupported("an xml parameter with a schema")
        return sql_types.declared("xml", []), _chunks(source)
    if token == 0x1F:
        return sql_types.NULL, None
    raise unsupported(f"RPC parameter of TDS type 0x{token:02X}")


def _short(source: _Bytes) -> bytes | None:
    length = source.unpack("B")
    return source.take(length) if length else None


def _sized(source: _Bytes, name: str) -> tuple[SqlType, bytes | None]:
    width = source.unpack("H")
    info = TYPES[name]
    text = info.family == "string"
    if text:
        source.take(5)
    unit = 2 if info.unicode else 1
    length = MAX if width == 0xFFFF else max(width // unit, 1)
    kind = SqlType(name, length, collation=DEFAULT_COLLATION if text else "")
    if width == 0xFFFF:
        return kind, _chunks(source)
    size = source.unpack("H")
    return kind, None if size == 0xFFFF else source.take(size)


def _large(source: _Bytes, name: str) -> tuple[SqlType, bytes | None]:
    source.take(4)
    if name != "image":
        source.take(5)
    size = source.unpack("i")
    return sql_types.declared(name, []), None if size < 0 else source.take(size)


def _chunks(source: _Bytes) -> bytes | None:
    if source.unpack("Q") == 0xFFFFFFFFFFFFFFFF:
        return None
    out = bytearray()
    while size := source.unpack("I"):
        out += source.take(size)
    return bytes(out)


def _expression(kind: SqlType, raw: bytes | None) -> Typed:
    return literal(None if raw is None else _text(kind, raw), kind)


def _text(kind: SqlType, raw: bytes) -> str:
    """A value in the text from which DuckDB casts it."""
    match kind.family:
        case "string":
            codec = "utf-16-le" if kind.info.unicode else collation.codec(kind.collation)
            return code_pages.decoded(raw, codec)
        case "binary":
            return raw.hex()
        case "bit":
            return "true" if raw[0] else "false"
        case "integer":
            return str(int.from_bytes(raw, "little", signed=kind.name != "tinyint"))
        case "float":
            return repr(struct.unpack("<f" if kind.name == "real" else "<d", raw)[0])
        case "decimal":
            number = Decimal(int.from_bytes(raw[1:], "little"))
            number = number.scaleb(-kind.scale) if number else number
            return f"{number if raw[0] else -number:f}"
        case "money":
            ordered = raw if kind.name == "smallmoney" else raw[4:] + raw[:4]
            return f"{Decimal(int.from_bytes(ordered, 'little', signed=True)) / 10_000:f}"
        case "guid":
            return str(uuid.UUID(bytes_le=raw))
        case "date":
            return _day(raw).isoformat()
        case "time" if kind.ticks:
            return str(int.from_bytes(raw, "little"))
        case "time":
            return _clock(raw, kind.scale)
        case "datetime" if kind.ticks:
            return str(_ticks(raw))
        case "datetime":
            return _stamp(kind, raw)
        case "offset" if kind.ticks:
            (minutes,) = struct.unpack("<h", raw[-2:])
            return f"{{'utc': {_ticks(raw[:-2])}, 'off': {minutes}}}"
        case "offset":
            stamp = _stamp(SqlType("datetime2", scale=kind.scale), raw[:-2])
            (minutes,) = struct.unpack("<h", raw[-2:])
            return f"{{'utc': {stamp}, 'off': {minutes}}}"
        case _:
            raise unsupported(f"RPC parameter of type {kind.declaration}")


def _ticks(raw: bytes) -> int:
    """100 ns since 0001-01-01 of a datetime2(7)."""
    return int.from_bytes(raw[-3:], "little") * 864_000_000_000 + int.from_bytes(raw[:-3], "little")


def _day(raw: bytes) -> date:
    return date(1, 1, 1) + timedelta(days=int.from_bytes(raw, "little"))


def _clock(raw: bytes, scale: int) -> str:
    micros = int.from_bytes(raw, "little") * 10**7 // 10**scale // 10
    seconds, micros = divmod(micros, 1_000_000)
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}.{micros:06d}"


def _stamp(kind: SqlType, raw: bytes) -> str:
    if kind.name == "datetime2":
        return f"{_day(raw[-3:]).isoformat()} {_clock(raw[:-3], kind.scale)}"
    if kind.name == "smalldatetime":
        days, minutes = struct.unpack("<HH", raw)
        return (datetime(1900, 1, 1) + timedelta(days=days, minutes=minutes)).isoformat(" ")  # noqa: DTZ001 - no zone
    days, ticks = struct.unpack("<iI", raw)
    moment = datetime(1900, 1, 1) + timedelta(days=days, milliseconds=round(ticks * 10 / 3))  # noqa: DTZ001 - no zone
    return moment.isoformat(" ")

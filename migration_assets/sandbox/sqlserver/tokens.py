"""TDS tokens of an answer (MS-TDS 2.2.7), except the rows: see rows.py."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from migration_assets.sandbox.sqlserver import collation
from migration_assets.sandbox.sqlserver.errors import SqlServerError
from migration_assets.sandbox.sqlserver.sql_types import MAX, SqlType, decimal_bytes

DONE = 0xFD
DONEPROC = 0xFE
DONEINPROC = 0xFF

MORE = 0x01
ERROR = 0x02
IN_TRANSACTION = 0x04
COUNT = 0x10
ATTENTION = 0x20

_INFO_TOKEN = 0xAB
_ERROR_TOKEN = 0xAA
SERVER_NAME = "stand-in"


@dataclass(frozen=True)
class ResultColumn:
    """One column of a result set.

    Attributes:
        name: as the client sees it; empty for an unnamed expression.
        type: its T-SQL type.
        nullable: NOT NULL columns use the wire formats without a length.
        identity: flag of the metadata.
        computed: flag of the metadata.
    """

    name: str
    type: SqlType
    nullable: bool = True
    identity: bool = False
    computed: bool = False


def _short_text(text: str) -> bytes:
    return bytes([len(text.encode("utf-16-le")) // 2]) + text.encode("utf-16-le")


def _long_text(text: str) -> bytes:
    data = text.encode("utf-16-le")
    return struct.pack("<H", len(data) // 2) + data


def login_ack() -> bytes:
    """LOGINACK: TDS 7.4, version 16.0 (SQL Server 2022, whose dialect is aimed at)."""
    body = b"\x01" + bytes([0x74, 0, 0, 4]) + _short_text("Microsoft SQL Server (stand-in)")
    body += bytes([16, 0, 0x03, 0xE8])
    return b"\xad" + struct.pack("<H", len(body)) + body


def federated_ack() -> bytes:
    """FEATUREEXTACK of a token of Entra ID, without a nonce."""
    return struct.pack("<BBIB", 0xAE, 2, 0, 0xFF)


def _env_change(kind: int, new: bytes, old: bytes) -> bytes:
    body = bytes([kind]) + new + old
    return b"\xe3" + struct.pack("<H", len(body)) + body


def env_text(kind: int, new: str, old: str) -> bytes:
    """ENVCHANGE of a text: 1 database, 2 language, 4 packet size."""
    return _env_change(kind, _short_text(new), _short_text(old))


def env_collation(name: str) -> bytes:
    """ENVCHANGE 7: the connection's collation."""
    return _env_change(7, b"\x05" + collation.wire(name), b"\x00")


def env_transaction(kind: int, descriptor: int) -> bytes:
    """ENVCHANGE of transactions: 8 begun, 9 committed, 10 rolled back."""
    packed = b"\x08" + struct.pack("<Q", descriptor)
    return _env_change(kind, packed, b"\x00") if kind == 8 else _env_change(kind, b"\x00", packed)


def env_reset() -> bytes:
    """ENVCHANGE 18: the session state was reset as asked."""
    return _env_change(18, b"\x00", b"\x00")


def message(error: SqlServerError) -> bytes:
    """ERROR, or INFO when the severity is 10 or less."""
    token = _ERROR_TOKEN if error.severity > 10 else _INFO_TOKEN
    body = struct.pack("<iBB", error.number, error.state, error.severity)
    body += _long_text(error.message) + _short_text(SERVER_NAME) + _short_text("")
    body += struct.pack("<i", error.line)
    return bytes([token]) + struct.pack("<H", len(body)) + body


def done(token: int, status: int, *, command: int = 0, rows: int | None = None) -> bytes:
    """DONE, DONEPROC or DONEINPROC."""
    if rows is not None:
        status |= COUNT
    return struct.pack("<BHHQ", token, status, command, rows or 0)


def return_status(value: int) -> bytes:
    """RETURNSTATUS of a procedure."""
    return struct.pack("<Bi", 0x79, value)


def return_int(ordinal: int, value: int) -> bytes:
    """RETURNVALUE of an int output parameter."""
    head = struct.pack("<BH", 0xAC, ordinal) + _short_text("")
    return head + struct.pack("<BIH", 1, 0, 1) + bytes([0x26, 4, 4]) + struct.pack("<i", value)


def type_info(kind: SqlType, *, nullable: bool) -> bytes:
    """TYPE_INFO of a column."""
    info = kind.info
    name = kind.name
    if not nullable and info.fixed_token:
        return bytes([info.fixed_token])
    head = bytes([info.token])
    if name in {"decimal", "numeric"}:
        return head + bytes([decimal_bytes(kind.precision), kind.precision, kind.scale])
    if name in {"time", "datetime2", "datetimeoffset"}:
        return head + bytes([kind.scale])
    if name == "date":
        return head
    if name == "xml":
        return head + b"\x00"
    if info.large:
        tail = collation.wire(kind.collation) if kind.family == "string" else b""
        # One part, empty: the table name that a client could use with the text pointer.
        return head + struct.pack("<i", 0x7FFFFFFF) + tail + b"\x01" + _long_text("")
    if kind.family in {"string", "binary"}:
        width = 0xFFFF if kind.length == MAX else kind.max_length
        tail = collation.wire(kind.collation) if kind.family == "string" else b""
        return head + struct.pack("<H", width) + tail
    return head + bytes([info.max_length])


def column_metadata(columns: list[ResultColumn]) -> bytes:
    """COLMETADATA of a result set."""
    out = bytearray(struct.pack("<BH", 0x81, len(columns)))
    for column in columns:
        flags = 0x08 | int(column.nullable)
        flags |= 0x10 if column.identity else 0
        flags |= 0x20 if column.computed else 0
        user_type = 80 if column.type.name == "timestamp" else 0
        out += struct.pack("<IH", user_type, flags)
        out += type_info(column.type, nullable=column.nullable)
        out += _short_text(column.name)
    return bytes(out)

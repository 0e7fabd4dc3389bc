"""PRELOGIN and LOGIN7 (MS-TDS 2.2.6.4 and 2.2.6.5)."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from migration_assets.sandbox.sqlserver.encryption import Encrypt

_ENCRYPTION_OPTION = 1
_TERMINATOR = 0xFF


def wanted_encryption(prelogin: bytes) -> int:
    """The client's ENCRYPTION option; one that says nothing cannot encrypt."""
    position = 0
    while position + 5 <= len(prelogin) and prelogin[position] != _TERMINATOR:
        token, offset, length = struct.unpack_from(">BHH", prelogin, position)
        if token == _ENCRYPTION_OPTION and length:
            return int(prelogin[offset])
        position += 5
    return Encrypt.NOT_SUPPORTED


def prelogin_answer(encryption: Encrypt) -> bytes:
    """Version 16.0, what was agreed on, no MARS: 5-byte option headers, then their data."""
    options = [
        (0, bytes([16, 0, 0x03, 0xE8, 0, 0])),
        (_ENCRYPTION_OPTION, bytes([encryption])),
        (2, b"\x00"),
        (3, b""),
        (4, b"\x00"),
    ]
    offset = 5 * len(options) + 1
    head, data = bytearray(), bytearray()
    for token, value in options:
        head += struct.pack(">BHH", token, offset + len(data), len(value))
        data += value
    return bytes(head) + b"\xff" + bytes(data)


@dataclass(frozen=True)
class Login:
    """What LOGIN7 says.

    Attributes:
        packet_size: asked for; 0 leaves it to the server.
    """

    user: str
    password: str
    database: str
    host: str
    program: str
    packet_size: int


def read_login(body: bytes) -> Login:
    """Read LOGIN7."""

    def text(index: int) -> bytes:
        offset, length = struct.unpack_from("<HH", body, 36 + index * 4)
        return body[offset : offset + 2 * length]

    # Passwords are obscured: nibbles swapped, then XOR 0xA5.
    hidden = text(2)
    password = bytes(((byte ^ 0xA5) << 4 | (byte ^ 0xA5) >> 4) & 0xFF for byte in hidden)
    # After nine entries comes the client's 6-byte id; the database is the ninth (index 8).
    (packet_size,) = struct.unpack_from("<I", body, 8)
    return Login(
        user=text(1).decode("utf-16-le"),
        password=password.decode("utf-16-le"),
        database=text(8).decode("utf-16-le"),
        host=text(0).decode("utf-16-le"),
        program=text(3).decode("utf-16-le"),
        packet_size=packet_size,
    )

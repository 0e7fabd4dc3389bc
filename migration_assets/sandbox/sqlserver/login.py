"""PRELOGIN and LOGIN7 (MS-TDS 2.2.6.4 and 2.2.6.5)."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from migration_assets.sandbox.sqlserver.encryption import Encrypt

_ENCRYPTION_OPTION, _FEDERATED_OPTION = 1, 6
_TERMINATOR = 0xFF


def wanted_encryption(prelogin: bytes) -> int:
    """The client's ENCRYPTION option; one that says nothing cannot encrypt."""
    found = _option(prelogin, _ENCRYPTION_OPTION)
    return Encrypt.NOT_SUPPORTED if found is None else found


def may_bring_token(prelogin: bytes) -> bool:
    """Whether the client may sign in with a token of Entra ID."""
    return bool(_option(prelogin, _FEDERATED_OPTION))


def _option(prelogin: bytes, wanted: int) -> int | None:
    position = 0
    while position + 5 <= len(prelogin) and prelogin[position] != _TERMINATOR:
        token, offset, length = struct.unpack_from(">BHH", prelogin, position)
        if token == wanted and length:
            return int(prelogin[offset])
        position += 5
    return None


def prelogin_answer(encryption: Encrypt, *, federated: bool = False) -> bytes:
    """Version 16.0, what was agreed on, no MARS: 5-byte option headers, then their data."""
    options = [
        (0, bytes([16, 0, 0x03, 0xE8, 0, 0])),
        (_ENCRYPTION_OPTION, bytes([encryption])),
        (2, b"\x00"),
        (3, b""),
        (4, b"\x00"),
        *([(_FEDERATED_OPTION, b"\x01")] if federated else []),
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
        read_only: the application intends only to read.
        token: of Entra ID; empty where there is none.
    """

    user: str
    password: str
    database: str
    host: str
    program: str
    packet_size: int
    read_only: bool = False
    token: str = ""


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
        read_only=bool(body[_TYPE_FLAGS] & _READ_ONLY_INTENT),
        token=_token(body),
    )


_TYPE_FLAGS, _READ_ONLY_INTENT = 26, 0x20
_OPTION_FLAGS_3, _HAS_EXTENSION = 27, 0x10
_EXTENSION_ENTRY = 36 + 5 * 4
_FEDERATED, _SECURITY_TOKEN = 2, 1


def _token(body: bytes) -> str:
    """The security token of the FEDAUTH extension, if there is one."""
    if not body[_OPTION_FLAGS_3] & _HAS_EXTENSION:
        return ""
    (offset,) = struct.unpack_from("<H", body, _EXTENSION_ENTRY)
    (position,) = struct.unpack_from("<I", body, offset)
    while body[position] != _TERMINATOR:
        feature, length = struct.unpack_from("<BI", body, position)
        data = body[position + 5 : position + 5 + length]
        if feature == _FEDERATED and data[0] >> 1 == _SECURITY_TOKEN:
            (size,) = struct.unpack_from("<I", data, 1)
            return data[5 : 5 + size].decode("utf-16-le")
        position += 5 + length
    return ""

"""TDS packets over a socket: messages in, a buffered and packetised answer out (MS-TDS 2.2.3)."""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass

from migration_assets.sandbox.sqlserver.encryption import (
    TLS_HANDSHAKE_BYTE,
    Channel,
    Encryption,
    Plain,
    Tls,
)

BATCH = 1
RPC = 3
ANSWER = 4
ATTENTION = 6
TRANSACTION_REQUEST = 14
LOGIN7 = 16
PRELOGIN = 18

_END_OF_MESSAGE = 1
_RESET_CONNECTION = 0x08 | 0x10
_HEADER = struct.Struct(">BBHHBB")


@dataclass(frozen=True)
class Message:
    """One message of the client.

    Attributes:
        kind: packet type.
        body: payload of all its packets.
        reset: the client asks for a fresh session state first.
    """

    kind: int
    body: bytes
    reset: bool


class DroppedError(ConnectionError):
    """A `drop` fault took the connection."""


class Packets:
    """Reads messages from and writes answers to one socket; not safe for several threads."""

    def __init__(self, sock: socket.socket) -> None:
        """Take over a connected socket; the caller closes it."""
        self._socket = sock
        self._plain = Plain(sock)
        self._channel: Channel = self._plain
        self.size = 4096
        self.drop_after: int | None = None
        """Bytes of answer after which a fault drops the connection; None for never."""
        self._pending = bytearray()
        self._number = 0

    def read(self) -> Message | None:
        """Next message; None when the client has gone."""
        body = bytearray()
        reset = False
        while True:
            header = self._exactly(8)
            if header is None:
                return None
            kind, status, length, _, _, _ = _HEADER.unpack(header)
            payload = self._exactly(length - 8)
            if payload is None:
                return None
            body += payload
            reset = reset or bool(status & _RESET_CONNECTION)
            if status & _END_OF_MESSAGE:
                return Message(kind, bytes(body), reset)

    def readable(self) -> bool:
        """Whether the client sent something (an attention) or has gone."""
        return self._channel.readable()

    def begins_with_tls(self) -> bool:
        """Whether the client's first byte is TLS's, which is TDS 8.0; waits for it."""
        return self._socket.recv(1, socket.MSG_PEEK) == bytes([TLS_HANDSHAKE_BYTE])

    def encrypt_all(self, encryption: Encryption) -> None:
        """Shake hands at once and stay encrypted (TDS 8.0)."""
        tls = Tls(self._socket, encryption.strict)
        tls.shake_hands()
        self._channel = tls

    def encrypt(self, encryption: Encryption) -> None:
        """Shake hands inside of PRELOGIN packets; what follows are TLS records (TDS 7.x)."""
        tls = Tls(self._socket, encryption.inside_prelogin)
        tls.shake_hands(self._unwrapped, self._send_wrapped)
        self._channel = tls

    def decrypt(self) -> None:
        """Leave TLS, after the login."""
        self._channel = self._plain

    def _unwrapped(self) -> bytes | None:
        message = self.read()
        return None if message is None or message.kind != PRELOGIN else message.body

    def _send_wrapped(self, data: bytes) -> None:
        payload = self.size - 8
        for start in range(0, len(data), payload):
            piece = data[start : start + payload]
            last = start + payload >= len(data)
            head = _HEADER.pack(PRELOGIN, int(last), len(piece) + 8, 0, 0, 0)
            self._socket.sendall(head + piece)

    def write(self, data: bytes | memoryview) -> None:
        """Append to the answer; whole packets are sent."""
        self._pending += data
        payload = self.size - 8
        if len(self._pending) <= payload:
            return
        # The last packet stays: only `finish` knows that it is the last.
        whole = (len(self._pending) - 1) // payload
        view = memoryview(self._pending)
        parts: list[bytes | memoryview] = []
        for start in range(0, whole * payload, payload):
            parts += [self._header(payload, last=False), view[start : start + payload]]
        message = b"".join(parts)
        parts.clear()
        view.release()
        del self._pending[: whole * payload]
        self._send(message)

    def finish(self) -> None:
        """Send the rest of the answer and end the message."""
        message = self._header(len(self._pending), last=True) + bytes(self._pending)
        self._pending.clear()
        self._number = 0
        self._send(message)

    def _header(self, payload: int, *, last: bool) -> bytes:
        self._number = (self._number + 1) % 256
        return _HEADER.pack(ANSWER, int(last), payload + 8, 0, self._number, 0)

    def _send(self, data: bytes) -> None:
        if self.drop_after is not None:
            head = data[: self.drop_after]
            self.drop_after -= len(head)
            if len(head) < len(data) or self.drop_after == 0:
                self._channel.sendall(head)
                raise DroppedError("dropped by a fault")
        self._channel.sendall(data)

    def _exactly(self, count: int) -> bytes | None:
        parts = bytearray()
        while len(parts) < count:
            got = self._channel.recv(count - len(parts))
            if not got:
                return None
            parts += got
        return bytes(parts)

"""How a TDS connection is encrypted: what is agreed in PRELOGIN, and TLS over a socket.

TDS 7.x shakes hands inside of PRELOGIN packets and then goes on with plain TLS records, either for
the LOGIN7 message alone or to the end; TDS 8.0 (`strict`) begins with TLS and never leaves it.
https://learn.microsoft.com/openspecs/windows_protocols/ms-tds/60f56408-0188-4cd5-8b90-25c6f2423868
and https://learn.microsoft.com/sql/relational-databases/security/networking/tds-8
"""

from __future__ import annotations

import select
import socket
import ssl
import struct
from collections.abc import Callable
from enum import IntEnum, StrEnum
from typing import Protocol

from migration_assets.sandbox.certificate import Certificate

TLS_HANDSHAKE_BYTE = 0x16
"""First byte of a TLS connection; no TDS packet type has it."""

_RECORD = struct.Struct(">BHH")
_CHUNK_BYTES = 256 * 1024


class Offer(StrEnum):
    """What a stand-in does about encryption.

    `offered` is SQL Server's default, `required` its `Force Encryption`, and `none` a server that
    cannot: one before 2005, or one of the protocol's other implementations.
    """

    NONE = "none"
    OFFERED = "offered"
    REQUIRED = "required"


class Encrypt(IntEnum):
    """PRELOGIN's ENCRYPTION option."""

    OFF = 0
    """Only the login is encrypted."""
    ON = 1
    NOT_SUPPORTED = 2
    REQUIRED = 3


def agree(offer: Offer, client: int) -> Encrypt:
    """What the server answers to the client's wish (MS-TDS 2.2.6.5)."""
    if offer is Offer.NONE or (offer is Offer.OFFERED and client == Encrypt.NOT_SUPPORTED):
        return Encrypt.NOT_SUPPORTED
    if client in {Encrypt.ON, Encrypt.REQUIRED}:
        return Encrypt.ON
    return Encrypt.REQUIRED if offer is Offer.REQUIRED else Encrypt.OFF


class Encryption:
    """Offer and TLS contexts of one stand-in."""

    def __init__(self, offer: Offer, certificate: Certificate) -> None:
        """Make the contexts.

        Windows' SChannel speaks TLS 1.3 only with TDS 8.0; under 7.x a ticket that TLS 1.3 sends
        after the handshake would have no packet to travel in.
        """
        self.offer = offer
        self.inside_prelogin = certificate.context(newest=ssl.TLSVersion.TLSv1_2)
        self.strict = certificate.context(protocols=("tds/8.0",))


class Channel(Protocol):
    """Carries the bytes of TDS packets."""

    def recv(self, count: int) -> bytes:
        """Up to `count` bytes; none when the other side has gone."""

    def sendall(self, data: bytes) -> None:
        """Send everything."""

    def readable(self) -> bool:
        """Whether bytes wait, or the other side has gone."""


class Plain:
    """A socket as it is."""

    def __init__(self, sock: socket.socket) -> None:
        """Take over a connected socket; the caller closes it."""
        self._socket = sock

    def recv(self, count: int) -> bytes:
        """Up to `count` bytes; none when the client has gone."""
        return self._socket.recv(count)

    def sendall(self, data: bytes) -> None:
        """Send everything."""
        self._socket.sendall(data)

    def readable(self) -> bool:
        """Whether bytes wait, or the client has gone."""
        poll = select.poll()  # not select, which ends at descriptor 1023
        poll.register(self._socket, select.POLLIN)
        return bool(poll.poll(0))


class Tls:
    """TLS over a socket, in memory: the handshake may have to travel inside of something else.

    It never reads beyond a record: what waits on the socket is what the client sent last, which is
    how the stand-in sees an attention.
    """

    def __init__(self, sock: socket.socket, context: ssl.SSLContext) -> None:
        """Take over a connected socket; the caller closes it. `shake_hands` comes next."""
        self._socket = sock
        self._plain = Plain(sock)
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._in, self._out, server_side=True)

    def shake_hands(
        self,
        receive: Callable[[], bytes | None] | None = None,
        send: Callable[[bytes], None] | None = None,
    ) -> None:
        """Shake hands over the socket, or through two functions.

        Raises:
            OSError: the client went away, or would not agree (`ssl.SSLError` is one).
        """
        receive, send = receive or self._record, send or self._socket.sendall
        try:
            while True:
                try:
                    self._tls.do_handshake()
                except ssl.SSLWantReadError:
                    if self._out.pending:
                        send(self._out.read())
                    came = receive()
                    if not came:
                        raise ConnectionError("the client left during the handshake") from None
                    self._in.write(came)
                else:
                    break
        finally:
            # Also an alert, which tells the client what it did wrong.
            if self._out.pending:
                send(self._out.read())

    def recv(self, count: int) -> bytes:
        """Up to `count` bytes; none when the client has gone."""
        while True:
            try:
                return self._tls.read(count)
            except ssl.SSLWantReadError:
                came = self._record()
                if not came:
                    return b""
                self._in.write(came)
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                return b""

    def sendall(self, data: bytes) -> None:
        """Send everything."""
        view = memoryview(data)
        while view:
            view = view[self._tls.write(view[:_CHUNK_BYTES]) :]
            self._socket.sendall(self._out.read())

    def readable(self) -> bool:
        """Whether bytes wait, or the client has gone."""
        return self._tls.pending() > 0 or self._plain.readable()

    def _record(self) -> bytes | None:
        header = self._exactly(_RECORD.size)
        if header is None:
            return None
        body = self._exactly(_RECORD.unpack(header)[2])
        return None if body is None else header + body

    def _exactly(self, count: int) -> bytes | None:
        parts = bytearray()
        while len(parts) < count:
            got = self._socket.recv(count - len(parts))
            if not got:
                return None
            parts += got
        return bytes(parts)

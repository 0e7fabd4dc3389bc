"""One connection to StarRocks over the MySQL protocol.

The only module of the package that imports a driver; it is imported where a connection is made.
"""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import pymysql.connections

from migration_assets.errors import ConfigurationError
from migration_assets.setting_choices import TlsMode
from migration_assets.settings import StarRocksSettings

_KEEPALIVE = {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 15, "TCP_KEEPCNT": 4}
"""A peer that vanished during an hour-long INSERT is noticed after 2 minutes; it also keeps load
balancers, which drop a silent connection after some minutes, from doing so."""


@dataclass(frozen=True)
class Answer:
    """What a statement gave.

    Attributes:
        columns: names of the result's columns; empty when there is no result set.
        rows: its rows, values converted by pymysql (LARGEINT comes as text).
        affected_rows: of the OK packet: rows that an INSERT wrote.
        info: text of the OK packet; for loads `{'label':'…', 'status':'VISIBLE', 'txnId':'2'}`.
    """

    columns: tuple[str, ...] = ()
    rows: tuple[tuple[Any, ...], ...] = ()
    affected_rows: int = 0
    info: str = ""


BATCH_ROWS = 16_384
BATCH_BYTES = 32 * 2**20
"""Where a batch of a streamed result ends, whichever comes first."""

TextRow = list[bytes | None]
"""A row as the server writes it: each value as text, NULL as None."""

_contexts: list[ssl.SSLContext] = []
_context_lock = threading.Lock()


@lru_cache(maxsize=4)
def _context(ca_file: str | None, *, verify: bool) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=ca_file)
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _verifying_context(settings: StarRocksSettings) -> ssl.SSLContext:
    """The context of connections that have to be encrypted; made once, see `_create_ssl_ctx`.

    Raises:
        ConfigurationError: the file of authorities cannot be read.
    """
    try:
        return _context(settings.tls_ca_file, verify=not settings.tls_trust_server_certificate)
    except OSError as error:  # what OpenSSL raises of a file without certificates is one
        raise ConfigurationError(
            f"Settings: STARROCKS_TLS_CA_FILE names {settings.tls_ca_file}, which cannot be read "
            f"as certificates: {error.strerror or error}.",
            code="MA-CF-005",
            next_step="Let it name a file of trusted authorities in PEM format, or unset it.",
        ) from None


class Wire(pymysql.connections.Connection):
    """A pymysql connection whose timeout can differ from statement to statement."""

    # pymysql has them, its type stubs do not.
    _sock: socket.socket
    _result: Any

    def __init__(self, settings: StarRocksSettings) -> None:
        """Connect and log in.

        Raises:
            pymysql.err.MySQLError: with the number and text that `server_errors` understands.
        """
        super().__init__(
            host=settings.host,
            port=settings.port,
            user=settings.user,
            password=settings.password.get_secret_value(),
            connect_timeout=settings.connect_timeout_s,
            # Also bounds the login: a server that accepts and then says nothing must not hang us.
            read_timeout=settings.connect_timeout_s,
            write_timeout=settings.connect_timeout_s,
            charset="utf8mb4",
            # Anything else makes pymysql send SET AUTOCOMMIT, and StarRocks begin a transaction.
            autocommit=True,
            program_name="migration_assets",
            ssl_disabled=settings.tls is TlsMode.NO,
            ssl=_verifying_context(settings) if settings.tls is TlsMode.YES else None,
        )
        for name, value in _KEEPALIVE.items():
            if hasattr(socket, name):  # macOS has other names
                self._sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)

    def _create_ssl_ctx(self, sslp: dict[str, Any] | ssl.SSLContext) -> ssl.SSLContext:
        """Give all connections that only prefer TLS the same context.

        pymysql reads the system's certificates anew for each: 25 ms of CPU, a quarter of what a
        small partition costs, and then verifies nothing with them.
        """
        if isinstance(sslp, ssl.SSLContext):
            return sslp
        if sslp:
            return self._make_context(sslp)
        with _context_lock:
            if not _contexts:
                _contexts.append(self._make_context({}))
            return _contexts[0]

    def _make_context(self, given: dict[str, Any] | ssl.SSLContext) -> ssl.SSLContext:
        made: ssl.SSLContext = super()._create_ssl_ctx(given)  # type: ignore[misc] # not in the stubs
        return made

    @property
    def cipher(self) -> str:
        """What the connection is encrypted with, `TLSv1.3 TLS_AES_256_GCM_SHA384`; empty for not."""
        found = self._sock.cipher() if isinstance(self._sock, ssl.SSLSocket) else None
        return f"{found[1]} {found[0]}" if found else ""

    def run(self, sql: str, *, timeout_s: float) -> Answer:
        """Run one statement.

        Args:
            sql: the statement; nothing is pasted into it.
            timeout_s: how long each read from the socket may wait.

        Raises:
            pymysql.err.Error: whatever the server or the socket said.
        """
        self._read_timeout = timeout_s
        self.query(sql)
        result = self._result
        columns = tuple(str(column[0]) for column in result.description or ())
        rows = tuple(tuple(row) for row in result.rows or ())
        info = (result.message or b"").decode("utf-8", "replace")
        return Answer(columns, rows, int(result.affected_rows or 0), info)

    def stream(self, sql: str, *, timeout_s: float) -> Iterator[list[TextRow]]:
        """Run a query and yield its rows in batches while they come, nothing converted.

        The connection can do nothing else before the last batch; given up before, it is closed,
        since the protocol has no other way to stop the rows.

        Args:
            sql: the query.
            timeout_s: how long each read from the socket may wait.

        Raises:
            pymysql.err.Error: whatever the server or the socket said.
        """
        self._read_timeout = timeout_s
        self.query(sql, unbuffered=True)
        result, rows, size = self._result, [], 0
        try:
            while True:
                packet: Any = self._read_packet()  # type: ignore[no-untyped-call] # not in the stubs
                if packet.is_eof_packet():
                    break
                data = packet.get_all_data()
                rows.append(_values(data))
                size += len(data)
                if len(rows) == BATCH_ROWS or size >= BATCH_BYTES:
                    yield rows
                    rows, size = [], 0
            result.unbuffered_active = False
        finally:
            if result.unbuffered_active:
                result.unbuffered_active = False
                self._force_close()  # type: ignore[attr-defined] # not in the stubs
        if rows:
            yield rows


_LENGTH_BYTES = {252: 2, 253: 3, 254: 8}


def _values(data: bytes) -> TextRow:
    """The values of a row's packet, each after its length.

    https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_com_query_response_text_resultset_row.html
    """
    values: TextRow = []
    position, end = 0, len(data)
    while position < end:
        length = data[position]
        position += 1
        if length > 250:
            if length == 251:
                values.append(None)
                continue
            width = _LENGTH_BYTES[length]
            length = int.from_bytes(data[position : position + width], "little")
            position += width
        values.append(data[position : position + length])
        position += length
    return values

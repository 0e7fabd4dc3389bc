"""The MySQL protocol of one client connection, on mysql-mimic's packets.

Only the text protocol: StarRocks prepares nothing but SELECT on the server, and the product's
driver prepares nothing.
"""

from __future__ import annotations

import asyncio
import ssl
import struct
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from mysql_mimic import packets
from mysql_mimic.auth import NativePasswordAuthPlugin
from mysql_mimic.auth import User as MimicUser
from mysql_mimic.charset import CharacterSet
from mysql_mimic.constants import DEFAULT_SERVER_CAPABILITIES
from mysql_mimic.errors import MysqlError
from mysql_mimic.results import ResultColumn
from mysql_mimic.stream import ConnectionClosed, MysqlStream
from mysql_mimic.types import Capabilities, Commands, ServerStatus
from mysql_mimic.types import ColumnType as WireType

from migration_assets.sandbox.control import Fault
from migration_assets.sandbox.starrocks.errors import StarRocksError, unsupported
from migration_assets.sandbox.starrocks.lexer import masked, split
from migration_assets.sandbox.starrocks.select import OutputColumn
from migration_assets.sandbox.starrocks.session import Done, Rows, Session

if TYPE_CHECKING:
    from migration_assets.sandbox.starrocks.server import Shared

T = TypeVar("T")

_PLUGIN = NativePasswordAuthPlugin()
_UTF8 = CharacterSet.utf8mb4
_WIRE_TYPES = {
    "BOOLEAN": WireType.TINY,
    "TINYINT": WireType.TINY,
    "SMALLINT": WireType.SHORT,
    "INT": WireType.LONG,
    "BIGINT": WireType.LONGLONG,
    "LARGEINT": WireType.STRING,  # clients get a string: MySQL has no 128 bits
    "FLOAT": WireType.FLOAT,
    "DOUBLE": WireType.DOUBLE,
    "DECIMAL": WireType.NEWDECIMAL,
    "CHAR": WireType.STRING,
    "VARCHAR": WireType.VAR_STRING,
    "VARBINARY": WireType.BLOB,
    "DATE": WireType.DATE,
    "DATETIME": WireType.DATETIME,
    "NULL_TYPE": WireType.VAR_STRING,
}


class Dropped(Exception):  # noqa: N818 - an event, not an error
    """The socket is gone: a fault, a KILL, or the client itself."""


class Connection:
    """Serves one client until it leaves."""

    def __init__(
        self, shared: Shared, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Take over an accepted socket; runs on the loop that accepted it."""
        self.shared = shared
        self.loop = asyncio.get_running_loop()
        self.session: Session | None = None
        self.user = ""
        self._admitted = False
        self._stream = MysqlStream(reader, writer)
        self._writer = writer
        self._capabilities = DEFAULT_SERVER_CAPABILITIES
        if shared.tls is not None:
            self._capabilities |= Capabilities.CLIENT_SSL
        self._statements = 0

    async def serve(self, connection_id: int) -> None:
        """Log in, answer commands, clean up."""
        try:
            if await self._log_in(connection_id):
                await self._commands()
        except (ConnectionClosed, Dropped, ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self.shared.leave(connection_id, self if self._admitted else None)
            if self.session is not None:
                self.session.close()
            self._writer.close()

    def abort(self) -> None:
        """Cut the socket; a statement that runs is stopped."""
        if self.session is not None:
            self.session.cancel(StarRocksError("the connection was killed"))
        self._writer.transport.abort()

    async def _log_in(self, connection_id: int) -> bool:
        nonce, state = await _PLUGIN.start()
        del state
        assert isinstance(nonce, bytes)  # noqa: S101 - the plugin's first answer
        handshake = packets.make_handshake_v10(
            capabilities=self._capabilities,
            server_charset=_UTF8,
            server_version=str(self.shared.variables["version"]),
            connection_id=connection_id,
            auth_data=nonce,
            status_flags=ServerStatus.SERVER_STATUS_AUTOCOMMIT,
            auth_plugin_name=_PLUGIN.name,
        )
        await self._stream.write(handshake)
        try:
            answer = packets.parse_handshake_response(
                capabilities=self._capabilities, data=await self._stream.read()
            )
            if isinstance(answer, packets.SSLRequest):
                if self.shared.tls is None:
                    return False
                await self._start_tls(self.shared.tls)
                answer = packets.parse_handshake_response_41(
                    capabilities=self._capabilities, data=await self._stream.read()
                )
        except (MysqlError, struct.error, AssertionError, ssl.SSLError):
            return False  # a port check, or a client that does not trust us
        self._capabilities = answer.capabilities
        if delay := self.shared.board.strike("delay", f"LOGIN {answer.username}", aimed=True):
            await self._in_thread(partial(self.shared.board.hold, delay))
        if fault := self.shared.board.strike("error", f"LOGIN {answer.username}", aimed=True):
            await self._stream.write(self._error(StarRocksError(fault.message, fault.number)))
            return False
        refusal = self.shared.admit(answer.username)
        if refusal is not None:
            await self._stream.write(self._error(refusal))
            return False
        self.user, self._admitted = answer.username, True
        response = answer.auth_response
        if answer.client_plugin not in (None, _PLUGIN.name):
            await self._stream.write(packets.make_auth_switch_request(_UTF8, _PLUGIN.name, nonce))
            response = await self._stream.read()
        host = str(self._writer.get_extra_info("peername")[0])
        user = self.shared.users.get(answer.username)
        known = user and _PLUGIN.password_matches(
            MimicUser(user.name, user.password_hash), response, nonce.rstrip(b"\0")
        )
        if not known:
            using = "YES" if response else "NO"
            text = f"Access denied for user '{answer.username}'@'{host}' (using password: {using})"
            await self._stream.write(self._error(StarRocksError(text, 1045)))
            return False
        self.session = Session(self.shared, connection_id, answer.username, host)
        self.shared.enter(connection_id, self)
        try:
            if answer.database:
                self.session.use([answer.database])
        except StarRocksError as error:
            await self._stream.write(self._error(error))
            return False
        await self._stream.write(self._ok(Done()))
        self._stream.reset_seq()
        return True

    async def _start_tls(self, context: ssl.SSLContext) -> None:
        """Go on in TLS, with what the client has sent of it already.

        A client sends its first record right after its request, and asyncio may have read both: the
        new protocol must be given those bytes, or it waits for them for ever.
        """
        early = bytes(self._stream.reader._buffer)  # noqa: SLF001 - no other way
        self._stream.reader._buffer.clear()  # noqa: SLF001
        transport = self._writer.transport
        starting = asyncio.ensure_future(self._stream.start_tls(context))
        await asyncio.sleep(0)  # it has put its protocol in place, and waits for the handshake
        protocol = transport.get_protocol()
        if early and isinstance(protocol, asyncio.BufferedProtocol):
            self.loop.call_soon(_feed, protocol, early)
        await starting

    async def _commands(self) -> None:
        assert self.session is not None  # noqa: S101 - logged in
        while True:
            idle = int(str(self.session.variables["wait_timeout"]))
            try:
                data = await asyncio.wait_for(self._stream.read(), idle)
            except TimeoutError:
                return  # the client learns of it at its next statement
            command, rest = data[0], data[1:]
            try:
                if command == Commands.COM_QUIT:
                    return
                if command == Commands.COM_QUERY:
                    query = packets.parse_com_query(self._capabilities, _UTF8, rest)
                    await self._query(query.sql)
                elif command == Commands.COM_INIT_DB:
                    self.session.use([rest.decode()])
                    await self._stream.write(self._ok(Done()))
                elif command == Commands.COM_PING:
                    await self._stream.write(self._ok(Done()))
                elif command == Commands.COM_STMT_PREPARE:
                    raise StarRocksError(
                        "This command is not supported in the prepared statement protocol yet", 1295
                    )
                else:
                    raise unsupported(f"protocol command {command:#x}")
            except StarRocksError as error:
                await self._stream.write(self._error(error))
            finally:
                self._stream.reset_seq()

    async def _query(self, text: str) -> None:
        board, session = self.shared.board, self.session
        assert session is not None  # noqa: S101 - logged in
        board.count_statement()
        self._statements += 1
        with self.shared.log.record(session.id, masked(text)) as entry:
            statements = split(text)
            if len(statements) != 1:
                raise unsupported(f"{len(statements)} statements in one query")
            if fault := board.strike("error", text):
                raise StarRocksError(fault.message, fault.number)
            delay = board.strike("delay", text)
            run = partial(session.execute, statements[0], delay)
            try:
                answer = await self._in_thread(run)
            except StarRocksError:
                if self._writer.transport.is_closing():
                    raise Dropped from None
                raise
            if fault := board.strike("then", text):
                await self._in_thread(partial(self.shared.run_sql, fault.sql))
            if fault := board.strike("withhold", text):
                gone = self._writer.transport.is_closing
                await self._in_thread(partial(board.hold, fault, gone))
            drop = self._strike_drop(text)
            if isinstance(answer, Done):
                entry["rows"] = answer.affected
                await self._send_ok(answer, drop)
            else:
                entry["rows"] = await self._send_rows(answer, drop)

    def _strike_drop(self, text: str) -> Fault | None:
        armed = [f for f in self.shared.board.faults if f.kind == "drop"]
        if any(self._statements > fault.after_queries for fault in armed):
            return self.shared.board.strike("drop", text)
        return None

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self.shared.workers, work)

    async def _send_ok(self, done: Done, drop: Fault | None) -> None:
        await self._stream.write(self._ok(done), drain=drop is None)
        if drop is not None:
            await self._drop(drop)

    async def _send_rows(self, rows: Rows, drop: Fault | None) -> int:
        columns = [_wire_column(c) for c in rows.columns]
        header = [packets.make_column_count(self._capabilities, len(columns))]
        header += [
            packets.make_column_definition_41(
                server_charset=_UTF8,
                name=c.name,
                column_type=c.type,
                character_set=c.character_set,
            )
            for c in columns
        ]
        if not self._deprecate_eof:
            header.append(self._eof())
        self._stream.write_many(header)
        sent = 0
        while batch := await self._in_thread(partial(next, rows.batches, None)):
            self._stream.write_text_rows(batch, columns)
            sent += len(batch)
            if drop is None:
                await self._stream.drain()
        await self._stream.write(self._eof(), drain=drop is None)
        if drop is not None:
            await self._drop(drop)
        return sent

    async def _drop(self, drop: Fault) -> None:
        """Send the first bytes of the answer that waits in the buffer, and cut the socket."""
        pending = bytes(self._stream._buffer)  # noqa: SLF001 - mysql-mimic offers no other way
        if drop.after_bytes:
            self._writer.write(pending[: drop.after_bytes])
            await self._writer.drain()
            self._writer.close()
        else:
            self._writer.transport.abort()
        raise Dropped

    @property
    def _deprecate_eof(self) -> bool:
        return bool(self._capabilities.CLIENT_DEPRECATE_EOF in self._capabilities)

    def _ok(self, done: Done) -> bytes:
        packet = packets.make_ok(
            capabilities=self._capabilities,
            status_flags=ServerStatus.SERVER_STATUS_AUTOCOMMIT,
            affected_rows=done.affected,
        )
        return bytes(packet) + done.info.encode()

    def _eof(self) -> bytes:
        make = packets.make_ok if self._deprecate_eof else packets.make_eof
        extra = {"eof": True} if self._deprecate_eof else {}
        return bytes(
            make(
                capabilities=self._capabilities,
                status_flags=ServerStatus.SERVER_STATUS_AUTOCOMMIT,
                **extra,
            )
        )

    def _error(self, error: StarRocksError) -> bytes:
        return (
            b"\xff" + struct.pack("<H", error.number) + b"#" + error.state.encode()
            + error.message.encode()
        )  # fmt: skip


def _feed(protocol: asyncio.BufferedProtocol, data: bytes) -> None:
    while data:
        place = memoryview(protocol.get_buffer(len(data)))
        count = min(len(place), len(data))
        place[:count] = data[:count]
        protocol.buffer_updated(count)
        data = data[count:]


def _wire_column(column: OutputColumn) -> ResultColumn:
    binary = column.type.family == "binary"
    # Values are text already, whatever their type: no encoder but the plain one.
    return ResultColumn(
        column.name,
        _WIRE_TYPES[column.type.name],
        CharacterSet.binary if binary else _UTF8,
    )

"""One TDS connection: login, batches, RPCs, transaction requests, attentions, faults."""

from __future__ import annotations

import contextlib
import re
import socket
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import duckdb

from migration_assets.sandbox.control import StatementLog, Switchboard
from migration_assets.sandbox.sqlserver import code_pages, faults, packets, rows, rpc, tokens
from migration_assets.sandbox.sqlserver.answers import SELECT, Change, Done, Event, Notice, Rows
from migration_assets.sandbox.sqlserver.bindings import bound
from migration_assets.sandbox.sqlserver.encryption import Encrypt, Encryption, Offer, agree
from migration_assets.sandbox.sqlserver.engine import Engine
from migration_assets.sandbox.sqlserver.errors import SqlServerError, from_duckdb, unsupported
from migration_assets.sandbox.sqlserver.login import (
    may_bring_token,
    prelogin_answer,
    read_login,
    wanted_encryption,
)
from migration_assets.sandbox.sqlserver.packets import DroppedError, Message, Packets
from migration_assets.sandbox.sqlserver.rpc import Call, Parameter
from migration_assets.sandbox.sqlserver.session import Session
from migration_assets.sandbox.sqlserver.tokens import (
    ATTENTION,
    DONE,
    DONEINPROC,
    DONEPROC,
    ERROR,
    IN_TRANSACTION,
    MORE,
)  # fmt: skip

_LARGEST_PACKET = 32_767
_LARGEST_ENCRYPTED_PACKET = 16_000
"""A packet has to fit into one TLS record; Microsoft's ODBC driver refuses to send any near 16,383."""
_SMALLEST_PACKET = 512
_REFUSAL_SECONDS = 10.0
"""How long a refused client may take to say who it is."""


@dataclass
class Shared:
    """What all connections of a stand-in use.

    Attributes:
        replay: statements that match it are answered from memory after the first time.
        answers: those answers.
        watch: tells the server's watcher which session runs, so that an attention reaches it.
    """

    engine: Engine
    board: Switchboard
    log: StatementLog
    watch: Callable[[Connection, bool], None]
    encryption: Encryption
    replay: re.Pattern[str] | None = None
    answers: dict[str, list[bytes]] = field(default_factory=dict)


class CancelledError(Exception):
    """The client sent an attention."""


class Connection:
    """Serves one socket until the client goes; runs in a thread of its own."""

    def __init__(self, sock: socket.socket, spid: int, shared: Shared) -> None:
        """Take over a connected socket."""
        self.socket = sock
        self.spid = spid
        self.shared = shared
        self.packets = Packets(sock)
        self.session: Session | None = None
        self.encrypted = False
        """Whether more than the login is."""
        self._prepared: dict[int, tuple[str, str]] = {}
        self._statements = 0
        self._federated = False

    def refuse(self, most: int) -> None:
        """Let the client log in only to hear that there are too many connections (17809)."""
        text = (
            f"Could not connect because the maximum number of '{most}' user connections has already "
            "been reached. The system administrator can use sp_configure to increase the maximum "
            "value. The connection has been closed."
        )
        with contextlib.suppress(OSError), self.socket:
            self.socket.settimeout(_REFUSAL_SECONDS)
            if self._read_login() is not None:
                error = SqlServerError(17809, text, 20)
                self.packets.write(tokens.message(error) + tokens.done(DONE, ERROR))
                self.packets.finish()

    def serve(self) -> None:
        """Serve until the client goes, a fault drops it, or the stand-in stops."""
        try:
            if self._log_in():
                while (message := self.packets.read()) is not None:
                    self._handle(message)
        except (OSError, DroppedError):
            pass
        finally:
            try:
                if self.session is not None:
                    self.session.close()
            finally:
                self.socket.close()

    # -- login -----------------------------------------------------------------------------------

    def _read_login(self) -> Message | None:
        """Agree on encryption; the message that follows, encrypted or not."""
        encryption = self.shared.encryption
        if encryption.offer is not Offer.NONE and self.packets.begins_with_tls():
            self.packets.encrypt_all(encryption)
            self.encrypted = True
        message = self.packets.read()
        if message is None or message.kind != packets.PRELOGIN:
            return message
        if self.encrypted:
            agreed = Encrypt.NOT_SUPPORTED  # TDS 8.0 has done it already
        else:
            agreed = agree(encryption.offer, wanted_encryption(message.body))
        self._federated = may_bring_token(message.body)
        self.packets.write(prelogin_answer(agreed, federated=self._federated))
        self.packets.finish()
        if agreed is Encrypt.NOT_SUPPORTED:
            return self.packets.read()
        self.packets.encrypt(encryption)
        message = self.packets.read()
        if agreed is Encrypt.OFF:
            self.packets.decrypt()
        else:
            self.encrypted = True
        return message

    def _log_in(self) -> bool:
        message = self._read_login()
        if message is None or message.kind != packets.LOGIN7:
            return False
        login = read_login(message.body)
        engine = self.shared.engine
        try:
            # Whoever has the password as a token is the same user.
            known = login.user.lower() == engine.user.lower() and login.password == engine.password
            if not known and login.token != engine.password:
                raise SqlServerError(18456, f"Login failed for user '{login.user}'.", 14)
            faults.at_login(self.shared.board, login.database, self.packets.readable)
            try:
                self.session = Session(engine, self.spid, login.database or None)
            except SqlServerError:
                self.packets.write(self._login_error(login.database))
                raise SqlServerError(18456, f"Login failed for user '{login.user}'.", 14) from None
        except SqlServerError as error:
            self.packets.write(tokens.message(error) + tokens.done(DONE, ERROR))
            self.packets.finish()
            return False
        self.session.program, self.session.host = login.program, login.host
        self.session.encrypted = self.encrypted
        self.session.read_only = login.read_only
        self.session.login = "token" if login.token else "password"
        name = self.session.database.name
        largest = _LARGEST_ENCRYPTED_PACKET if self.encrypted else _LARGEST_PACKET
        wanted = login.packet_size or largest
        size = min(max(wanted, _SMALLEST_PACKET), largest)
        answer = tokens.env_text(1, name, "master")
        answer += tokens.message(
            SqlServerError(5701, f"Changed database context to '{name}'.", 0, 2)
        )
        answer += tokens.env_collation(engine.databases[name.lower()].collation)
        answer += tokens.env_text(2, "us_english", "")
        answer += tokens.message(SqlServerError(5703, "Changed language setting to us_english.", 0))
        answer += tokens.login_ack()
        answer += tokens.federated_ack() if login.token else b""
        answer += tokens.env_text(4, str(size), str(wanted))
        self.packets.write(answer + tokens.done(DONE, 0))
        self.packets.finish()
        self.packets.size = size
        return True

    @staticmethod
    def _login_error(database: str) -> bytes:
        text = f'Cannot open database "{database}" requested by the login. The login failed.'
        return tokens.message(SqlServerError(4060, text, 11))

    # -- requests --------------------------------------------------------------------------------

    def _handle(self, message: Message) -> None:
        session = self.session
        assert session is not None  # noqa: S101 - logged in
        if message.kind == packets.ATTENTION:
            # It came after the answer was complete.
            self.packets.write(tokens.done(DONE, ATTENTION))
            self.packets.finish()
            return
        if message.reset:
            session.reset()
            self._prepared.clear()
            self.packets.write(tokens.env_reset())
        kind = {packets.BATCH: self._batch, packets.RPC: self._rpc,
                packets.TRANSACTION_REQUEST: self._transaction}.get(message.kind)  # fmt: skip
        if kind is None:
            raise DroppedError(f"packet type {message.kind}")
        self.shared.watch(self, True)  # noqa: FBT003 - running
        try:
            kind(message.body)
        except CancelledError:
            # SQL Server ends the answer with an error, and acknowledges in a message of its own;
            # mssql-jdbc waits for both.
            self.packets.write(tokens.done(DONE, ERROR | self._in_transaction()))
            self.packets.finish()
            self.packets.write(tokens.done(DONE, ATTENTION | self._in_transaction()))
        finally:
            self.shared.watch(self, False)  # noqa: FBT003 - not running
        self.packets.finish()

    def _running(self) -> Session:
        assert self.session is not None  # noqa: S101 - logged in
        return self.session

    def _batch(self, body: bytes) -> None:
        try:
            text = code_pages.decoded(rpc.skip_headers(body), "utf-16-le")
        except SqlServerError as error:
            self._fail(error, DONE)
            return
        self._run(text, None, DONE)

    def _transaction(self, body: bytes) -> None:
        rest = rpc.skip_headers(body)
        (kind,) = struct.unpack_from("<H", rest)
        session = self._running()
        levels = {
            1: "READ UNCOMMITTED",
            2: "READ COMMITTED",
            3: "REPEATABLE READ",
            4: "SERIALIZABLE",
            5: "SNAPSHOT",
        }
        try:
            if kind == 5:
                if rest[2] in levels:
                    session.isolation = levels[rest[2]]
                events = session.begin()
            elif kind == 7:
                events = session.commit()
            elif kind == 8:
                events = session.rollback()
            else:
                raise unsupported(f"transaction manager request {kind}")
            changes = list(events)
            # fBeginXact of commit and rollback: begin the next one at once.
            if kind in {7, 8} and len(rest) > 3 + rest[2] and rest[3 + rest[2]] & 1:
                changes += session.begin()
            for change in changes:
                self._send(change, DONE)
            self.packets.write(tokens.done(DONE, self._in_transaction()))
        except (SqlServerError, duckdb.Error) as error:
            self._fail(error, DONE)

    def _in_transaction(self) -> int:
        return IN_TRANSACTION if self._running().transactions else 0

    def _fail(self, error: Exception, token: int) -> None:
        shown = error if isinstance(error, SqlServerError) else from_duckdb(error)
        if self.packets.readable() and isinstance(error, duckdb.InterruptException):
            self._attention()
        status = ERROR | self._in_transaction() | (MORE if token == DONEINPROC else 0)
        self.packets.write(tokens.message(shown) + tokens.done(token, status))

    # -- running statements ----------------------------------------------------------------------

    def _run(self, text: str, parameters: dict[str, Any] | None, token: int) -> bool:
        """Run a batch and send its answer; False when it failed."""
        board = self.shared.board
        board.count_statement()
        self._statements += 1
        session = self._running()
        before = session.transactions
        told = {"read_only": session.read_only, "login": session.login, "program": session.program}
        with self.shared.log.record(self.spid, text, **told) as entry:
            try:
                self._strike(text)
                if self._replayed(text, token, parameters):
                    return True
                self._held = tokens.done(DONE, self._in_transaction()) if token == DONE else b""
                for event in session.run(text, parameters):
                    self._send(event, token, text)
                if token == DONE:
                    # The last statement's DONE says that no more follows.
                    self._held = self._held[:1] + bytes([self._held[1] & ~MORE]) + self._held[2:]
                self._flush_done()
            except (SqlServerError, duckdb.Error) as error:
                if isinstance(error, duckdb.InterruptException) or session.cancelled.is_set():
                    self._tell_lost_transaction(before)
                    self._attention()
                entry["outcome"], entry["error"] = "error", str(error)
                self._tell_lost_transaction(before)
                self._fail(error, token)
                return False
        after = faults.after(board, text)
        for sql in after:
            session.fetch(sql)
        return True

    def _tell_lost_transaction(self, before: int) -> None:
        """ENVCHANGE for a transaction that an error ended."""
        if before and not self._running().transactions:
            self.packets.write(tokens.env_transaction(10, self._running().descriptor))

    def _strike(self, text: str) -> None:
        board = self.shared.board
        delay = board.strike("delay", text)
        if delay is not None:
            board.hold(delay, stopped=self.packets.readable)
            self._check_attention()
        drop = faults.drop(board, text, self._statements)
        if drop is not None:
            self.packets.drop_after = drop
            if drop == 0:
                raise DroppedError("dropped by a fault")
        error = faults.error(board, text)
        if error is not None:
            if error.number == 1205:
                self._running().lose_transaction()
            raise error

    def _replayed(self, text: str, token: int, parameters: dict[str, Any] | None) -> bool:
        shared = self.shared
        if shared.replay is None or parameters or not shared.replay.search(text):
            return False
        answer = shared.answers.get(text)
        if answer is None:
            answer = []
            for event in self._running().run(text):
                if isinstance(event, Rows):
                    answer.append(tokens.column_metadata(event.columns))
                    count = 0
                    for batch in event.batches:
                        count += batch.num_rows
                        answer += [bytes(piece) for piece in rows.encode(batch, event.columns)]
                    answer.append(tokens.done(token, 0, command=SELECT, rows=count))
            shared.answers[text] = answer
        for piece in answer:
            self._check_attention()
            self.packets.write(piece)
        return True

    _held: bytes = b""
    """DONE of the last statement: whether more follows is known only when the next event comes."""

    def _send(self, event: Event, token: int, text: str = "") -> None:
        session = self._running()
        self._flush_more()
        if isinstance(event, (Notice, Change)):
            self.packets.write(
                tokens.message(event.error) if isinstance(event, Notice) else event.token
            )
            return
        if isinstance(event, Done):
            count, command = event.rows, event.command
        else:
            count, command = self._send_rows(event, text), SELECT
            session.rowcount = count
        shown = None if session.nocount else count
        self._held = tokens.done(token, MORE | self._in_transaction(), command=command, rows=shown)

    def _flush_more(self) -> None:
        """Send the held DONE of a statement, unless it is the placeholder of an empty batch."""
        if self._held and self._held[1] & MORE:
            self.packets.write(self._held)
            self._held = b""

    def _flush_done(self) -> None:
        self.packets.write(self._held)
        self._held = b""

    def _send_rows(self, event: Rows, text: str) -> int:
        self.packets.write(tokens.column_metadata(event.columns))
        count = 0
        batches: Iterator[Any] = faults.altered(self.shared.board, text, event)
        for batch in batches:
            count += batch.num_rows
            for piece in rows.encode(batch, event.columns):
                self.packets.write(piece)
            self._check_attention()
        return count

    def _check_attention(self) -> None:
        if self.packets.readable():
            self._attention()

    def _attention(self) -> None:
        """Read the attention that waits on the socket.

        Raises:
            CancelledError: always; or DroppedError when the client has gone.
        """
        self._held = b""
        message = self.packets.read()
        if message is None or message.kind != packets.ATTENTION:
            raise DroppedError("the client went away")
        raise CancelledError

    # -- procedures ------------------------------------------------------------------------------

    def _rpc(self, body: bytes) -> None:
        try:
            calls = rpc.read_calls(body)
        except SqlServerError as error:
            self._fail(error, DONEPROC)
            return
        for position, call in enumerate(calls):
            more = MORE if position + 1 < len(calls) else 0
            self._call(call, more)

    def _call(self, call: Call, more: int) -> None:
        handler = {
            "sp_executesql": self._execute_sql, "sp_prepexec": self._prepare_and_execute,
            "sp_prepare": self._prepare, "sp_execute": self._execute_prepared,
            "sp_unprepare": self._unprepare,
        }.get(call.procedure)  # fmt: skip
        try:
            if handler is None and call.procedure.startswith("sp_cursor"):
                raise unsupported(f"procedure {call.procedure}: do without server cursors")
            if handler is None:
                raise SqlServerError(2812, f"Could not find stored procedure '{call.procedure}'.")
            outputs, worked = handler(call.parameters)
        except SqlServerError as error:
            self._fail(error, DONEPROC)
            return
        self._flush_done()
        if worked:
            self.packets.write(tokens.return_status(0) + outputs)
        status = more | self._in_transaction() | (0 if worked else ERROR)
        self.packets.write(tokens.done(DONEPROC, status))

    def _execute_sql(self, given: list[Parameter]) -> tuple[bytes, bool]:
        text, declaration, values = _text_of(given, 0), _text_of(given, 1), given[2:]
        return b"", self._run_call(text, declaration, values)

    def _prepare_and_execute(self, given: list[Parameter]) -> tuple[bytes, bool]:
        declaration, text, values = _text_of(given, 1), _text_of(given, 2), given[3:]
        handle = self._keep(declaration, text)
        worked = self._run_call(text, declaration, values)
        return tokens.return_int(0, handle), worked

    def _prepare(self, given: list[Parameter]) -> tuple[bytes, bool]:
        handle = self._keep(_text_of(given, 1), _text_of(given, 2))
        return tokens.return_int(0, handle), True

    def _keep(self, declaration: str, text: str) -> int:
        handle = len(self._prepared) + 1
        while handle in self._prepared:
            handle += 1
        self._prepared[handle] = (declaration, text)
        return handle

    def _execute_prepared(self, given: list[Parameter]) -> tuple[bytes, bool]:
        handle = given[0].number or 0
        if handle not in self._prepared:
            raise SqlServerError(8179, f"Could not find prepared statement with handle {handle}.")
        declaration, text = self._prepared[handle]
        return b"", self._run_call(text, declaration, given[1:])

    def _unprepare(self, given: list[Parameter]) -> tuple[bytes, bool]:
        self._prepared.pop(given[0].number or 0, None)
        return b"", True

    def _run_call(self, text: str, declaration: str, values: list[Parameter]) -> bool:
        return self._run(text, bound(declaration, values), DONEINPROC)


def _text_of(given: list[Parameter], position: int) -> str:
    return given[position].text or "" if position < len(given) else ""

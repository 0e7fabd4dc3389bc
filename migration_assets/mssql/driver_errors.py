"""What errors of the two drivers become in ours, as data.

pymssql gives SQL Server's error numbers and those of FreeTDS; mssql-python gives a text that stands
for the SQLSTATE, and the server's sentence without its number. Numbers:
https://learn.microsoft.com/sql/relational-databases/errors-events/database-engine-events-and-errors
and https://learn.microsoft.com/azure/azure-sql/database/troubleshoot-common-errors-issues;
SQLSTATEs: https://learn.microsoft.com/sql/odbc/reference/appendixes/appendix-a-odbc-error-codes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from migration_assets.errors import (
    AccessDeniedError,
    ConfigurationError,
    ConnectionLimitError,
    ConnectionLostError,
    MigrationError,
    ObjectNotFoundError,
    OperationTimeoutError,
    SchemaDriftError,
    ServerBusyError,
    StatementError,
    UnsupportedError,
)


@dataclass(frozen=True)
class Meaning:
    """What an error means to us.

    Attributes:
        kind: the class that is raised.
        next_step: what to do about it.
        sentence: replaces the server's own words, where those do not say it; `{server}`,
            `{database}`, `{user}` and `{text}` are filled in.
    """

    kind: type[MigrationError]
    next_step: str = ""
    sentence: str = ""


_RETRY = "It is tried again by itself."
_GRANTS = "Grant db_datareader and VIEW DEFINITION; `migration-assets doctor` lists what is needed."
_REPLAN = "If the table was changed, run `migration-assets plan` again."
_REACH = "Check MSSQL_HOST and MSSQL_PORT, and that a firewall lets this machine through."
_TIMEOUT = "Raise MSSQL_QUERY_TIMEOUT_S, or cut the table into more partitions."

_LOGIN = Meaning(
    AccessDeniedError,
    "Check MSSQL_USER and MSSQL_PASSWORD.",
    "SQL Server {server} refused the login of user {user!r} to database {database!r}.",
)
_NO_DATABASE = Meaning(
    ObjectNotFoundError,
    "Check MSSQL_DATABASE, and that the login has a user in it.",
    "SQL Server {server} has no database {database!r} that user {user!r} may open.",
)
_DENIED = Meaning(AccessDeniedError, _GRANTS)
_BUSY = Meaning(ServerBusyError, _RETRY)
_VERSION_LOST = Meaning(
    ServerBusyError,
    f"{_RETRY} If it comes back, let tempdb (or the database's persistent version store) grow, cut the "
    "table into more partitions, or use `consistency: database_snapshot`.",
    "SQL Server {server}, database {database}, no longer has the row versions that a SNAPSHOT "
    "transaction was reading: {text}",
)
_SNAPSHOT_OFF = Meaning(
    StatementError,
    "It is read without by itself; if this stays, it was switched off meanwhile: start again.",
    "SQL Server {server}, database {database}, does not allow SNAPSHOT transactions: {text}",
)
_FILES_LOST = Meaning(
    ServerBusyError,
    "Look into SQL Server's error log. A database snapshot whose disk was full is lost: free space, "
    "`migration-assets snapshot drop`, `migration-assets snapshot create`, and extract everything "
    "again, since the new one shows a later state. What was half written counts nowhere.",
    "SQL Server {server} cannot open or write files of database {database}: {text}",
)
_NO_SNAPSHOT = Meaning(
    StatementError,
    "Look into SQL Server's error log; the folder of its files (`database_snapshot_folder` in "
    "migration.yaml) must exist on the server, be writable by its service, and have space. Or let "
    "an administrator make it, and name it in migration.yaml: `database_snapshot: NAME`.",
    "SQL Server {server} could not make the files of a database snapshot: {text}",
)
_IN_USE = Meaning(
    StatementError,
    "Wait until no run reads from it, then try again.",
    "A database on SQL Server {server} is still in use: {text}",
)
_NO_SNAPSHOTS_HERE = Meaning(
    UnsupportedError,
    "Use `consistency: statement` in migration.yaml.",
    "SQL Server {server} makes no database snapshots: {text}",
)
_LOST = Meaning(
    ConnectionLostError,
    f"{_RETRY} {_REACH}",
    "The connection to SQL Server {server} was lost or could not be made: {text}",
)
_EXPIRED = Meaning(
    OperationTimeoutError, _TIMEOUT, "SQL Server {server} did not answer in time: {text}"
)
_CERTIFICATE = Meaning(
    ConfigurationError,
    "Install the authority that signed it on this machine, or let SSL_CERT_FILE name a file of "
    "authorities, or set MSSQL_TRUST_SERVER_CERTIFICATE=yes on a network that you trust (which "
    "MSSQL_ENCRYPT=strict does not heed).",
    "The certificate of SQL Server {server} is not trusted here: {text}",
)
_OTHER_NAME = Meaning(
    ConfigurationError,
    "Set MSSQL_HOST to a name that the certificate has, or MSSQL_HOST_NAME_IN_CERTIFICATE to the "
    "name to expect; Microsoft's ODBC driver finds names only, no addresses.",
    "The certificate of SQL Server {server} is for another host: {text}",
)
_NO_TLS = Meaning(
    ConfigurationError,
    "Let the server offer TLS 1.2 or later, or set MSSQL_ENCRYPT=no on a network that you trust.",
    "SQL Server {server} and this machine agree on no encryption: {text}",
)

BY_NUMBER: dict[int, Meaning] = {
    # logins and databases
    18452: _LOGIN, 18456: _LOGIN, 18470: _LOGIN, 18486: _LOGIN, 18487: _LOGIN, 18488: _LOGIN,
    4060: _NO_DATABASE, 911: _NO_DATABASE, 916: _NO_DATABASE, 4064: _NO_DATABASE,
    # permissions
    **dict.fromkeys((229, 230, 262, 297, 300, 371, 378, 15247, 15151, 15562), _DENIED),
    # objects that went away
    208: Meaning(ObjectNotFoundError, _REPLAN),
    4121: Meaning(ObjectNotFoundError, _REPLAN),
    207: Meaning(SchemaDriftError, _REPLAN),
    # deadlocks, locks, snapshot conflicts
    **dict.fromkeys((1205, 1222, 3960, 3961, 41302, 41305, 41325), _BUSY),
    **dict.fromkeys((3958, 3959, 3965, 3966, 3967), _VERSION_LOST),
    **dict.fromkeys((3952, 3956), _SNAPSHOT_OFF),
    # database snapshots: https://learn.microsoft.com/sql/relational-databases/databases/view-the-size-of-the-sparse-file-of-a-database-snapshot-transact-sql
    **dict.fromkeys((823, 926, 945, 5128, 17053), _FILES_LOST),
    **dict.fromkeys((1823, 1830, 1834, 5119, 5120, 5123, 5127, 5133, 5170), _NO_SNAPSHOT),
    **dict.fromkeys((1825, 1844, 40508, 40510, 40517), _NO_SNAPSHOTS_HERE),
    3702: _IN_USE,
    # memory, worker threads, space
    **dict.fromkeys((701, 802, 8645, 8651, 8902, 17803, 1105, 1101, 9002), _BUSY),
    # Azure: throttled, moving, or out of some resource
    **dict.fromkeys(
        (10922, 10928, 10929, 10936, 40143, 40197, 40501, 40540, 40544, 40549,
         40550, 40551, 40552, 40553, 40613, 42108, 42109, 49918, 49919, 49920),
        _BUSY,
    ),
    # a database that is starting, being restored or failing over
    **dict.fromkeys((904, 921, 922, 927, 976, 978, 979, 982, 983, 6005, 9001, 18401, 18451), _BUSY),
    # connections that the server does not give
    **dict.fromkeys((17809, 10930, 40532), Meaning(ConnectionLimitError, _RETRY)),
    **dict.fromkeys((17830, 17832, 17836, 596), _LOST),
    # FreeTDS' own: https://www.freetds.org/reference/a00352.html
    20003: _EXPIRED,
    **dict.fromkeys((20004, 20006, 20009, 20012, 20013, 20017, 20047), _LOST),
    20002: Meaning(
        ConnectionLostError,
        f"{_RETRY} {_REACH} If the server offers no TLS, set MSSQL_ENCRYPT=no.",
        "SQL Server {server} ended the login without an answer.",
    ),
}  # fmt: skip
"""Error number to meaning; other numbers are a `StatementError`."""

BY_TEXT: tuple[tuple[str, Meaning | int], ...] = (
    (r"(host ?name.*(mismatch|does not match))|does not match host ?name|wrong host", _OTHER_NAME),
    (r"certificate verify failed|certificate.*not trusted|self.signed certificate", _CERTIFICATE),
    (r"encryption (is )?not supported|unsupported protocol|wrong version number", _NO_TLS),
    (r"SSL Provider|SSL routines|TLS handshake", _NO_TLS),
    (r"Cannot open database", 4060),
    (r"maximum number of .{1,12} user connections", 17809),
    (r"Login failed", 18456),
    (r"permission was denied|permission denied", 229),
    (r"Invalid object name", 208),
    (r"Invalid column name", 207),
    (r"snapshot isolation is not allowed in this database", 3952),
    (r"row version|version store|versioned row", 3966),
    (r"inaccessible files|marked suspect|sparse file", 945),
    (r"deadlock", 1205),
    (r"Lock request time ?out", 1222),
    (r"Snapshot isolation transaction (aborted|failed).*(conflict|modified by a DDL)", 3960),
    (r"insufficient (system )?memory|There is insufficient", 701),
    (r"is not currently available|is currently busy|service is currently", 40613),
    (r"timeout expired|timed out", 20003),
    (r"Error code 0x274C", _LOST),
    (r"Connection to the database failed for an unknown reason", 20009),
    (r"TCP Provider|Communication link failure|DBPROCESS is dead|Not connected to any", 20047),
    (r"connection is (broken|closed)|Connection is closed|forcibly closed", 20047),
)
"""Where there is no number: the first pattern found in the text gives a meaning, or a number."""

BY_STATE: dict[str, Meaning] = {
    "Client unable to establish connection": _LOST,  # 08001
    "Server rejected the connection": _LOST,  # 08004
    "Connection not open": _LOST,  # 08003
    "Connection failure during transaction": _LOST,  # 08007
    "Communication link failure": _LOST,  # 08S01
    "Disconnect error": _LOST,  # 01002
    "Timeout expired": _EXPIRED,  # HYT00
    "Connection timeout expired": _LOST,  # HYT01
    "Invalid authorization specification": _LOGIN,  # 28000
    "Serialization failure": _BUSY,  # 40001
    "Statement completion unknown": _LOST,  # 40003
    "Memory allocation error": _BUSY,  # HY001
    "Base table or view not found": BY_NUMBER[208],  # 42S02
    "Column not found": BY_NUMBER[207],  # 42S22
}
"""mssql-python's text for a SQLSTATE (its `exceptions.py`) to meaning."""

_WINSOCK = {
    "0x2749": "connection refused",
    "0x274C": "no answer in time",
    "0x2AF9": "the host name is unknown",
    "0x2746": "connection reset by the server",
    "0x6F": "connection refused",
    "0x6E": "no answer in time",
    "0x68": "connection reset by the server",
}
"""The ODBC driver says only this much about TCP errors: Windows' numbers, also on Linux, or its."""


def is_driver_error(error: BaseException) -> bool:
    """Whether an exception was raised by one of the two drivers (or by Arrow on behalf of one)."""
    module = type(error).__module__.partition(".")[0]
    return module in {"pymssql", "_mssql", "mssql_python"}


def is_doubtful(error: BaseException) -> bool:
    """Whether a refused connection of pymssql may have had another cause than it says.

    FreeTDS says `connection failed` (20002) whatever TLS complained about. And pymssql 2.4 keeps the
    gravest message of the process: after a connection limit (17809, severity 20) every refused
    login has that number, and no words. Of those, `_without_dblib` knows a wrong password.
    """
    number, _, words = _parts(error)
    return number == _FAILED or words.startswith(_CHECK_MESSAGES)


def translate(
    error: BaseException, *, server: str, database: str, user: str, doing: str = ""
) -> MigrationError:
    """Turn a driver's error into one of ours.

    Args:
        error: what the driver raised.
        server: host and port, for the message.
        database: the database asked for.
        user: the login.
        doing: what was being done, `Reading dbo.Orders`; empty while connecting.
    """
    number, state, text = _parts(error)
    meaning = _meaning(number, state, text)
    words = re.sub(r"Error code (0x[0-9A-Fa-f]+)", _winsock, text).strip()
    if meaning.sentence:
        found = meaning.sentence.format(server=server, database=database, user=user, text=words)
        found = f"{doing}: {found}" if doing else found
    else:
        where = f"SQL Server {server}, database {database}"
        code = f" (error {number})" if number else ""
        found = f"{doing + ' failed: ' if doing else ''}{where}: {words.rstrip('.')}{code}."
    if not found.endswith((".", "!", "?")):
        found += "."
    return meaning.kind(found, next_step=meaning.next_step)


def _meaning(number: int | None, state: str, text: str) -> Meaning:
    if number is not None and number in BY_NUMBER:
        return BY_NUMBER[number]
    if number is None:
        for pattern, found in BY_TEXT:
            if re.search(pattern, text, re.IGNORECASE | re.DOTALL):
                return BY_NUMBER[found] if isinstance(found, int) else found
    return BY_STATE.get(state, Meaning(StatementError))


def _parts(error: BaseException) -> tuple[int | None, str, str]:
    """Number (pymssql), SQLSTATE's text (mssql-python) and one line of text."""
    state = getattr(error, "driver_error", None)
    if isinstance(state, str):
        server_text = str(getattr(error, "ddbc_error", "")) or state
        return None, state, _one_line(re.sub(r"^(\s*\[[^\]]*\])+", "", server_text))
    arguments = error.args
    connecting = len(arguments) == 1 and isinstance(arguments[0], tuple)
    if connecting:
        arguments = arguments[0]
    number = next((part for part in arguments if isinstance(part, int)), None)
    texts = [part for part in arguments if isinstance(part, (bytes, str))]
    text = "; ".join(p.decode("utf-8", "replace") if isinstance(p, bytes) else p for p in texts)
    number, words = _without_dblib(number, text)
    if connecting and number == _TIMED_OUT:
        number = _UNREACHABLE
    return number, "", _one_line(words)


_FAILED, _CHECK_MESSAGES = 20002, "General SQL Server error: Check messages"
_DBLIB = re.compile(r"DB-Lib error message (\d+), severity (\d+):\s*([^\n]*(?:\nNet-Lib[^\n]*)?)")
_TIMED_OUT, _UNREACHABLE, _SERVER_SAID_NO = 20003, 20009, 20018
_LOGIN_FAILED, _LOGIN_FAILED_SEVERITY = 18456, 14


def _without_dblib(number: int | None, text: str) -> tuple[int | None, str]:
    """Drop what DB-Library appends to the server's sentence, or repeats; and mend the number.

    While connecting, pymssql 2.4 keeps number and severity of the gravest error of the process: an
    unreachable server has the number of an earlier refused login, a second refused login has no
    words, an unknown host has neither. But its text names DB-Library's own errors of this attempt.
    """
    library = [(int(n), int(severity), words) for n, severity, words in _DBLIB.findall(text)]
    own = text.partition("DB-Lib error message")[0]
    if own == "Unknown error":
        return _UNREACHABLE, "there is no answer, the host name may be unknown"
    if own.strip() or not library:
        return number, own
    if any(n == _SERVER_SAID_NO for n, _, _ in library):
        if max(severity for _, severity, _ in library) == _LOGIN_FAILED_SEVERITY:
            return _LOGIN_FAILED, "Login failed."
        return number, library[0][2]
    return library[0][0], library[0][2]


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _winsock(found: re.Match[str]) -> str:
    return _WINSOCK.get(found[1], found[0])

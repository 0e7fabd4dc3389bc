"""What errors of the two drivers become in ours: their shapes; what they mean is in `faults.py`."""

from __future__ import annotations

import re

from migration_assets.errors import MigrationError
from migration_assets.mssql.faults import fault_of

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
    number, _, _ = _parts(error)
    return number == _FAILED or is_wordless(error)


def is_wordless(error: BaseException) -> bool:
    """Whether the server refused a login for a cause that pymssql does not name.

    Its number is then one of an earlier refusal: the function of pymssql that forgets the last
    message (`clr_err`) sets local variables, where it means the module's.
    https://github.com/pymssql/pymssql/blob/v2.3.2/src/pymssql/_mssql.pyx
    """
    return _parts(error)[2].startswith(_CHECK_MESSAGES)


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
    fault = fault_of(number, state, text)
    words = re.sub(
        r"Error code (0x[0-9A-Fa-f]+)", _winsock, _without_values(number, state, text)
    ).strip()
    if fault.sentence:
        found = fault.sentence.format(server=server, database=database, user=user, text=words)
        found = f"{doing}: {found}" if doing else found
    else:
        where = f"SQL Server {server}, database {database}"
        code = f" (error {number})" if number else ""
        found = f"{doing + ' failed: ' if doing else ''}{where}: {words.rstrip('.')}{code}."
    if not found.endswith((".", "!", "?")):
        found += "."
    return fault.raised(found)


_VALUE = re.compile(r"(?P<before>\bvalue:? )(?:N?'(?:[^']|'')*'|= ?-?[\d.,]+)", re.IGNORECASE)
"""Where SQL Server quotes data: `the varchar value 'abc'`, `value = 300`, `Truncated value: 'abc'`
(errors 220, 232, 245, 248 and 2628,
https://learn.microsoft.com/sql/relational-databases/errors-events/database-engine-events-and-errors)."""
_QUOTED = re.compile(r"N?'(?:[^']|'')*'")
_CONVERSION_STATES = ("Invalid character value for cast", "Numeric value out of range")
_CONVERSION_NUMBERS = {220, 232, 245, 248, 2628}


def _without_values(number: int | None, state: str, text: str) -> str:
    """The server's words without the value that could not be converted: it may be masked data.

    Whatever language they are in: where the fault is a conversion, nothing quoted stays.
    """
    is_conversion = number in _CONVERSION_NUMBERS or state.startswith(_CONVERSION_STATES)
    text = _VALUE.sub(r"\g<before>(not shown)", text)
    return _QUOTED.sub("(not shown)", text) if is_conversion else text


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

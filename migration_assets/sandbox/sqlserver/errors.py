"""Errors in SQL Server's own numbers and words, and what DuckDB's errors become.

Numbers and texts: https://learn.microsoft.com/sql/relational-databases/errors-events/database-engine-events-and-errors
"""

from __future__ import annotations

import re

NOT_SUPPORTED = 50001
"""Number of every error that says that the stand-in does not know something."""
UNMAPPED = 50002
"""Number of errors of DuckDB that have no counterpart here."""


class SqlServerError(Exception):
    """One ERROR token: what SQL Server would have answered.

    Attributes:
        number: the error number, e.g. 208.
        message: the text without number.
        severity: class of the error; 11 to 16 are the user's, 20 and above end the connection.
        state: SQL Server's state, 1 when unknown.
        line: line in the batch, counted from 1.
    """

    def __init__(
        self, number: int, message: str, severity: int = 16, state: int = 1, line: int = 1
    ) -> None:
        """Keep the parts; `str()` gives number and message."""
        super().__init__(f"{number}: {message}")
        self.number = number
        self.message = message
        self.severity = severity
        self.state = state
        self.line = line


def unsupported(what: str) -> SqlServerError:
    """The error for whatever this stand-in does not know."""
    return SqlServerError(NOT_SUPPORTED, f"stand-in: not supported: {what}")


def invalid_object(name: str) -> SqlServerError:
    """Error 208."""
    return SqlServerError(208, f"Invalid object name '{name}'.")


def invalid_column(name: str) -> SqlServerError:
    """Error 207."""
    return SqlServerError(207, f"Invalid column name '{name}'.")


_RAISED = re.compile(r"tds:(\d+):(.*)", re.DOTALL)
"""What translated SQL passes to DuckDB's `error()`: number and text of an own error."""


def raising(number: int, message: str) -> str:
    """DuckDB expression that raises this error when it is evaluated."""
    text = f"tds:{number}:{message}".replace("'", "''")
    return f"error('{text}')"


_DUCKDB: list[tuple[str, int, str, int]] = [
    (r"duplicate key \"(?P<what>[^\"]*)", 2627,
     "Violation of PRIMARY KEY or UNIQUE KEY constraint. Cannot insert duplicate key in object. "
     "The duplicate key value is ({what}).", 14),
    (r"NOT NULL constraint failed: (?P<what>\S+)", 515,
     "Cannot insert the value NULL into column '{what}'; column does not allow nulls.", 16),
    (r"CHECK constraint failed(?P<what>.*)", 547,
     "The statement conflicted with a CHECK constraint{what}.", 16),
    (r"(write-write conflict|Conflict on)(?P<what>)", 3960,
     "Snapshot isolation transaction aborted due to update conflict.", 16),
    (r"must appear in the GROUP BY clause(?P<what>)", 8120,
     "A selected column is invalid in the select list because it is not contained in either an "
     "aggregate function or the GROUP BY clause.", 16),
    (r"(division by zero|Division by zero)(?P<what>)", 8134, "Divide by zero error encountered.", 16),
    (r"Could not convert string '(?P<what>.*)' to U?(INT|HUGEINT)", 245,
     "Conversion failed when converting the varchar value '{what}' to data type int.", 16),
    (r"(invalid (date|timestamp|time) field|(date|timestamp|time) field value out of range)(?P<what>)",
     241, "Conversion failed when converting date and/or time from character string.", 16),
    (r"Could not convert string '(?P<what>.*)' to (UUID|INT128)", 8169,
     "Conversion failed when converting from a character string to uniqueidentifier.", 16),
    (r"Could not convert string (?P<what>.*)", 8114, "Error converting data type varchar to numeric.",
     16),
    (r"(out of range|Overflow|does not fit|Could not cast value)(?P<what>)", 8115,
     "Arithmetic overflow error converting expression to data type.", 16),
]  # fmt: skip


def from_duckdb(error: Exception) -> SqlServerError:
    """Translate an error of DuckDB; one without counterpart keeps its text under `UNMAPPED`."""
    text = str(error)
    raised = _RAISED.search(text)
    if raised:
        return SqlServerError(int(raised[1]), raised[2].strip())
    for pattern, number, message, severity in _DUCKDB:
        found = re.search(pattern, text, re.IGNORECASE | re.DOTALL)
        if found:
            return SqlServerError(number, message.format(what=found["what"]), severity)
    return SqlServerError(UNMAPPED, f"stand-in: DuckDB says: {text}")

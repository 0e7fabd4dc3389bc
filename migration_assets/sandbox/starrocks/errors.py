"""What the stand-in answers when it refuses: a number, an SQL state and StarRocks' own text."""

from __future__ import annotations

SQL_STATES = {1045: "28000", 1050: "42S01", 1060: "42S21"}


class StarRocksError(Exception):
    """An error packet.

    Attributes:
        number: MySQL error number; StarRocks answers 1064 to most things.
        message: the text.
        state: the SQL state; `HY000` unless MySQL clients are told otherwise.
    """

    def __init__(self, message: str, number: int = 1064) -> None:
        """Keep what goes into the error packet."""
        super().__init__(f"({number}) {message}")
        self.number = number
        self.message = message
        self.state = SQL_STATES.get(number, "HY000")


def analysis_error(detail: str, number: int = 1064) -> StarRocksError:
    """An error of the frontend's analyser; it always ends with one more full stop."""
    return StarRocksError(f"Getting analyzing error. Detail message: {detail}.", number)


def syntax_error(near: str, line: int = 1, column: int = 0) -> StarRocksError:
    """An error of the frontend's parser."""
    return StarRocksError(
        f"Getting syntax error at line {line}, column {column}. "
        f"Detail message: Unexpected input '{near}'."
    )


def unsupported(what: str) -> StarRocksError:
    """A statement that StarRocks may well accept, but this stand-in does not know."""
    return StarRocksError(f"stand-in: not supported: {what}")


def unknown_table(name: str) -> StarRocksError:
    """A missing table as SELECT, DESC and DROP report it."""
    return analysis_error(f"Unknown table '{name}'", 5502)


def table_not_found(name: str) -> StarRocksError:
    """A missing table as INSERT, SHOW and TRUNCATE report it."""
    return analysis_error(f"Table {name} is not found")


def unknown_database(name: str) -> StarRocksError:
    """A missing database."""
    return StarRocksError(f"Unknown database '{name}'", 5501)

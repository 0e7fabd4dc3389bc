"""What the armed faults of a `Switchboard` do to this stand-in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa

from migration_assets.sandbox.control import Switchboard
from migration_assets.sandbox.sqlserver.answers import Rows
from migration_assets.sandbox.sqlserver.errors import SqlServerError
from migration_assets.sandbox.sqlserver.sql_types import SqlType

_SEVERITIES = {1205: 13, 18456: 14, 17809: 20, 229: 14, 371: 14, 297: 14}
_DEADLOCK = (
    "Transaction (Process ID {spid}) was deadlocked on lock resources with another process and has "
    "been chosen as the deadlock victim. Rerun the transaction."
)


def at_login(board: Switchboard, database: str, stopped: Callable[[], bool]) -> None:
    """What armed faults do to a login, `LOGIN <database>`.

    Raises:
        SqlServerError: it is refused.
    """
    text = f"LOGIN {database}"
    delay = board.strike("delay", text, aimed=True)
    if delay is not None:
        board.hold(delay, stopped)
    refusal = error(board, text, aimed=True)
    if refusal is not None:
        raise refusal


def error(board: Switchboard, text: str, *, aimed: bool = False) -> SqlServerError | None:
    """The error with which an armed fault answers a statement."""
    fault = board.strike("error", text, aimed=aimed)
    if fault is None:
        return None
    message = fault.message or (_DEADLOCK.format(spid=51) if fault.number == 1205 else "injected")
    return SqlServerError(fault.number, message, _SEVERITIES.get(fault.number, 16))


def drop(board: Switchboard, text: str, statements: int) -> int | None:
    """Bytes of answer after which the connection is to be dropped; None for not at all.

    Args:
        board: the armed faults.
        text: the statement.
        statements: how many the connection has sent, with this one.
    """
    for fault in board.faults:
        if fault.kind == "drop" and fault.after_queries and statements <= fault.after_queries:
            return None
    fault_now = board.strike("drop", text)
    return None if fault_now is None else fault_now.after_bytes


def after(board: Switchboard, text: str) -> list[str]:
    """DuckDB statements to run after a statement succeeded."""
    fault = board.strike("then", text)
    return [] if fault is None else [fault.sql]


def altered(board: Switchboard, text: str, event: Rows) -> Iterator[pa.RecordBatch]:
    """The batches of a result set; where a fault says so, with one value changed."""
    places = {column.name.lower(): i for i, column in enumerate(event.columns)}
    wanted = [
        fault for fault in board.faults
        if fault.kind == "alter" and fault.column.lower() in places
    ]  # fmt: skip
    fault = board.strike("alter", text) if wanted else None
    pending = places.get(fault.column.lower()) if fault is not None else None
    for batch in event.batches:
        if pending is not None and batch.column(pending).null_count < batch.num_rows:
            yield _changed(batch, pending, event.columns[pending].type)
            pending = None
        else:
            yield batch


def _changed(batch: pa.RecordBatch, place: int, kind: SqlType) -> pa.RecordBatch:
    column = batch.column(place)
    values = column.to_pylist()
    first = next(i for i, value in enumerate(values) if value is not None)
    values[first] = _another_moment(values[first]) if kind.ticks else another(values[first])
    arrays = list(batch.columns)
    arrays[place] = pa.array(values, column.type)
    return pa.RecordBatch.from_arrays(arrays, schema=batch.schema)


_HOUR, _DAY = 36_000_000_000, 864_000_000_000
"""In 100 ns, as the types of seven digits are kept."""


def _another_moment(value: Any) -> Any:
    if isinstance(value, dict):
        return {**value, "utc": _another_moment(value["utc"])}
    if value < _DAY:
        return (value + _HOUR) % _DAY
    return value - _DAY


def another(value: object) -> object:
    """A value near the given one that fits the same column."""
    match value:
        case bool():
            return not value
        case int() | float() | Decimal():
            # One unit up, or down at the top of a tinyint and its like.
            return value - 1 if value in {255, 32_767, 2**31 - 1, 2**63 - 1} else value + 1
        case str() if len(value) == 36 and value.count("-") == 4:
            return ("1" if value[0] != "1" else "2") + value[1:]
        case str():
            return ("X" if value[:1] != "X" else "Y") + value[1:]
        case bytes():
            return bytes([value[0] ^ 1]) + value[1:] if value else b"\x01"
        case datetime() | date():
            top = value.year == 9999 and value.month == 12 and value.day == 31
            return value - timedelta(days=1) if top else value + timedelta(days=1)
        case time():
            return value.replace(hour=(value.hour + 1) % 24)
        case dict():
            return {**value, "utc": another(value["utc"])}
        case _:
            raise TypeError(f"no fault for values like {value!r}")

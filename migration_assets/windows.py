"""Windows of time as key ranges: by day, month or year of a column of dates; pure.

The first range has NULL and all that is before the first window; its `source_partition` is 0. Then
every period has a window, also one without rows, since a row that comes later must have its place.
The last window is open above. So each row is in exactly one range.

Windows may follow later: then the one that was open gets an end. It alone must be migrated again,
and before the new ones: until then it holds rows that belong to them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date

from migration_assets.errors import ConfigurationError, PlanError, ReceiptError
from migration_assets.key_range import EARLIER, KeyRange, Period, Window
from migration_assets.key_types import Line, line_of
from migration_assets.partitioning import predicate
from migration_assets.plan import TablePlan
from migration_assets.receipts import Receipt
from migration_assets.schema import Column, MssqlType, SourceTable
from migration_assets.table_rules import MAX_PARTITIONS, WindowRules

MAX_WINDOWS = MAX_PARTITIONS - 1
"""With the range before them they are as many as other partitions may be. StarRocks makes no more
partitions of a table by itself, either: `max_automatic_partition_number`, 4096
(https://docs.starrocks.io/docs/table_design/expression_partitioning/)."""

UNASKED_WINDOWS = {Period.DAY: 1_100, Period.MONTH: 240, Period.YEAR: 100}
"""So many windows, no more, without a rule that says where they begin: one row of 1753-01-01 would
make 3,000 months."""

BEGUN_LATER = "Time windows begin with "
"""How the sentence begins that says where they begin unasked."""

_RANGE_OF_TYPE = {
    "date": (date.min, date.max),
    "datetime": (date(1753, 1, 1), date.max),
    "smalldatetime": (date(1900, 1, 1), date(2079, 6, 6)),
    "datetime2": (date.min, date.max),
    "datetimeoffset": (date.min, date.max),
}
"""https://learn.microsoft.com/sql/t-sql/data-types/date-and-time-types"""


@dataclass(frozen=True)
class WindowRequest:
    """A table that a rule wants partitioned by windows of time.

    Attributes:
        column: the column of dates, as the table has it.
        rules: what is wished.
    """

    table: SourceTable
    column: Column
    rules: WindowRules


def window_request(table: SourceTable, rules: WindowRules) -> WindowRequest:
    """Find the column that a rule names.

    Raises:
        ConfigurationError: the table has no such column, it is none of dates, or one of its windows
            could not be told in its type.
    """
    columns = table.columns.columns
    exact = [c for c in columns if c.name == rules.column]
    found = exact or [c for c in columns if c.name.casefold() == rules.column.casefold()]
    if not found:
        raise ConfigurationError(
            f"The window of {table.full_name} names the column {rules.column}, which it does not "
            "have.",
            code="MA-CF-017",
            next_step=f"Its columns are {', '.join(column.name for column in columns)}.",
        )
    column = found[0]
    if column.type.name not in _RANGE_OF_TYPE:
        raise ConfigurationError(
            f"The window of {table.full_name} names {column.name}, which is "
            f"{column.type.declaration}: no date.",
            code="MA-CF-018",
            next_step=f"Name a column of type {', '.join(_RANGE_OF_TYPE)}.",
        )
    lowest, highest = _RANGE_OF_TYPE[column.type.name]
    for name, day in (("from", rules.first), ("until", rules.last)):
        if day is not None and not lowest <= begin(day, rules.by) <= highest:
            raise ConfigurationError(
                f"The window of {table.full_name} has `{name}` {day}: {column.name} is "
                f"{column.type.declaration}, which goes from {lowest} to {highest}.",
                code="MA-CF-019",
                next_step="Choose a day that the column can hold.",
            )
    if rules.first is not None and rules.last is not None and rules.last < rules.first:
        raise ConfigurationError(
            f"The window of {table.full_name} has `until` {rules.last}, which is before `from` "
            f"{rules.first}.",
            code="MA-CF-019",
            next_step="Exchange them, or leave `until` out.",
        )
    return WindowRequest(table, column, rules)


def begin(day: date, by: Period) -> date:
    """The first day of the period that a day is in."""
    match by:
        case Period.DAY:
            return day
        case Period.MONTH:
            return day.replace(day=1)
        case Period.YEAR:
            return day.replace(month=1, day=1)


def number(day: date, by: Period) -> int:
    """`source_partition` of the window that a day is in: 20240131, 202401 or 2024."""
    match by:
        case Period.DAY:
            return (day.year * 100 + day.month) * 100 + day.day
        case Period.MONTH:
            return day.year * 100 + day.month
        case Period.YEAR:
            return day.year


def _place(day: date, by: Period) -> int:
    """Periods since some day long ago."""
    match by:
        case Period.DAY:
            return day.toordinal()
        case Period.MONTH:
            return day.year * 12 + day.month - 1
        case Period.YEAR:
            return day.year


def _day(place: int, by: Period) -> date:
    """The first day of a period."""
    match by:
        case Period.DAY:
            return date.fromordinal(place)
        case Period.MONTH:
            return date(place // 12, place % 12 + 1, 1)
        case Period.YEAR:
            return date(place, 1, 1)


def first_unasked(last: date, by: Period, kind: MssqlType) -> date:
    """Where windows begin at the earliest, without a rule that says so."""
    lowest = _RANGE_OF_TYPE[kind.name][0]
    limit = max(_place(last, by) - UNASKED_WINDOWS[by] + 1, _place(date.min, by))
    return max(_day(limit, by), lowest)


def bound(day: date, kind: MssqlType) -> str:
    """The T-SQL literal of the beginning of a day, of a column's own type.

    Of datetimeoffset it is an instant of UTC.
    """
    line = _line(kind)
    return line.literal(line.position(day.isoformat()))


def _line(kind: MssqlType) -> Line:
    line = line_of(kind)
    if line is None or kind.name not in _RANGE_OF_TYPE:
        raise PlanError(
            f"A column of type {kind.declaration} has no windows of time.", code="MA-PL-007"
        )
    return line


def make_windows(
    table: SourceTable, rules: WindowRules
) -> tuple[Window, tuple[KeyRange, ...], tuple[str, ...]]:
    """Make the ranges of a table that a rule wants partitioned by windows of time.

    Args:
        table: with `window_span`.
        rules: its rule.

    Returns:
        What the ranges follow from, the ranges, and sentences for the plan.

    Raises:
        ConfigurationError: there are too many, or the rule does not fit the table.
        PlanError: the span was not measured.
    """
    request = window_request(table, rules)
    if table.window_span is None:
        raise PlanError(f"The windows of {table.full_name} were not measured.", code="MA-PL-007")
    first, last = (begin(day, rules.by) for day in table.window_span)
    window = Window(column=request.column.name, by=rules.by, first=first)
    count = _place(last, rules.by) - _place(first, rules.by) + 1
    if count > MAX_WINDOWS:
        raise ConfigurationError(
            f"{table.full_name} would have {count:,} windows, {window}; {MAX_WINDOWS:,} is the "
            "most.",
            code="MA-CF-019",
            next_step="Write a later `from` into migration.yaml (what is before it has a partition "
            "of its own), or longer periods.",
        )
    ranges = tuple(_ranges(window, last, request.column.type))
    return window, ranges, table.window_notes


def _ranges(window: Window, last: date, kind: MssqlType) -> Iterator[KeyRange]:
    by, lower = window.by, bound(window.first, kind)
    yield KeyRange(source_partition=EARLIER, column=window.column, upper=lower)
    end = _place(last, by)
    for place in range(_place(window.first, by), end + 1):
        upper = bound(_day(place + 1, by), kind) if place < end else None
        yield KeyRange(
            source_partition=number(_day(place, by), by),
            column=window.column,
            lower=lower,
            upper=upper,
        )
        lower = upper or ""


def continued(made: TablePlan, old: TablePlan) -> tuple[KeyRange, ...]:
    """The ranges of a table whose windows go on from an older plan's: never fewer than it had.

    A window less would be rows twice: its own, and those of the last one, which is open above.
    """
    return max(made.key_ranges, old.key_ranges, key=len)


@dataclass(frozen=True)
class Extension:
    """What became of the windows of a table.

    Attributes:
        narrowed: keys of windows that were open above and have got an end.
        added: keys of new ones.
    """

    narrowed: tuple[str, ...]
    added: tuple[str, ...]


def extension(old: TablePlan, new: TablePlan) -> Extension | None:
    """Say which windows followed from one plan to another; None where that is not all there is."""
    if new.window is None or new.window != old.window or new.isolated != old.isolated:
        return None
    if not set(old.partition_keys) < set(new.partition_keys):
        return None
    kept = len(old.partition_keys)
    narrowed = [key for key in old.partition_keys if old.range_id(key) != new.range_id(key)]
    return Extension(tuple(narrowed), new.partition_keys[kept:])


def check_range(receipt: Receipt, table: TablePlan) -> None:
    """Refuse a receipt of a window that has another end by now.

    Raises:
        ReceiptError: names the window.
    """
    if receipt.range_id != table.range_id(receipt.partition_key):
        rows = predicate(table.key_range(receipt.partition_key)) or "all rows"
        raise ReceiptError(
            f"The receipt of {table.full_name} {receipt.partition_key} was made when this window "
            f"had another end. By the plan it has the rows where {rows}.",
            code="MA-RC-010",
            next_step="Extract again: re-materialize the mssql asset of this partition.",
        )


def described(tables: Sequence[TablePlan]) -> list[str]:
    """A line for each table that has windows: `sales.Orders: by month of ordered_at, ...`."""
    return [
        f"{table.full_name}: {len(table.key_ranges) - 1} windows {table.window}; "
        f"{table.partition_keys[-1]} is open, {table.partition_keys[0]} takes NULL and what is "
        "before."
        for table in tables
        if table.window is not None
    ]

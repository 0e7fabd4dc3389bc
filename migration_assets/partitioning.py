"""Into how many partitions a table goes, where its key is cut, and the predicate of each range.

All arithmetic is on integers: a key's values lie on a line of steps (1 for integers, the last digit
of a decimal, a day, 10 ms ...), so cuts are exact for every value a column can hold.

A range is `lower <= column < upper`; the first is open below and takes NULL, the last is open
above. So each row is in exactly one range, also a row that arrives after the plan was made.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from decimal import Decimal, InvalidOperation, localcontext
from typing import Protocol

from migration_assets.errors import ConfigurationError, PlanError
from migration_assets.plan import KeyRange
from migration_assets.schema import Column, MssqlType, SourceTable

ONE_PARTITION_BELOW_ROWS = 10_000
EIGHT_PARTITIONS_BELOW_ROWS = 100_000
SIXTEEN_PARTITIONS_UP_TO_ROWS = 1_000_000
TARGET_ROWS = 2_000_000
TARGET_BYTES = 1 << 30
SMALLEST_CLASS = 8
MAX_PLANNED_PARTITIONS = 512
"""Above about a billion rows the partitions grow, not their number: each costs StarRocks tablets
and Iceberg commits. A rule may ask for more."""

_COARSE_STEPS = 100
"""A cut is moved to a whole day or second where a range is at least so many of them: it shifts
at most one hundredth of a range, and the plan stays readable."""


def partition_class(count: int) -> int:
    """Round up to one of 1, 8, 16, 32, 64 ...: tables of the same count share Dagster's runs."""
    if count <= 1:
        return 1
    return max(SMALLEST_CLASS, 1 << (count - 1).bit_length())


def partition_count(rows: int, size: int | None, *, wanted: int | None = None) -> int:
    """Say into how many partitions a table goes, always a class.

    Below 10,000 rows 1; to 1 million 8 (below 100,000) or 16; above that 32, 64, 128 ... so that a
    partition has at most 2 million rows. At every number of rows, at most 1 GiB each.

    Args:
        rows: rows of the table.
        size: its bytes, None if unknown.
        wanted: number that a rule asks for; goes before all else.
    """
    if wanted is not None:
        return partition_class(wanted)
    if rows < ONE_PARTITION_BELOW_ROWS:
        by_rows = 1
    elif rows < EIGHT_PARTITIONS_BELOW_ROWS:
        by_rows = 8
    elif rows <= SIXTEEN_PARTITIONS_UP_TO_ROWS:
        by_rows = 16
    else:
        by_rows = max(32, -(-rows // TARGET_ROWS))
    by_size = -(-(size or 0) // TARGET_BYTES)
    return min(partition_class(max(by_rows, by_size)), MAX_PLANNED_PARTITIONS, _largest_class(rows))


def _largest_class(limit: int) -> int:
    """The largest class that is not above a limit."""
    return 1 if limit < SMALLEST_CLASS else 1 << (limit.bit_length() - 1)


@dataclass(frozen=True)
class KeyChoice:
    """The column that is cut, or the reason why none can be.

    Attributes:
        column: its exact name, None for a table of one partition.
        reason: why there is none, the rest of a sentence; empty when there is one.
    """

    column: str | None
    reason: str = ""


def choose_key(table: SourceTable, override: str | None = None) -> KeyChoice:
    """Choose the column to cut: the override, else the first column of the primary key.

    Args:
        table: the table.
        override: name from the rules, compared without case when there is no exact match.

    Raises:
        ConfigurationError: the table has no column of the override's name, or it cannot be cut.
    """
    if override is not None:
        column = _named(table, override)
        if not can_cut(column.type):
            raise ConfigurationError(
                f"partition_column {override} of {table.full_name} is of type "
                f"{column.type.declaration}, which cannot be cut into ranges.",
                next_step="Name a column of an integer, decimal, date or datetime type.",
            )
        return KeyChoice(column.name)
    if not table.columns.primary_key:
        return KeyChoice(None, "it has no primary key")
    leading = table.columns.column(table.columns.primary_key[0])
    if not can_cut(leading.type):
        return KeyChoice(
            None,
            f"its primary key begins with {leading.name} of type {leading.type.declaration}, "
            "which is not cut into ranges",
        )
    return KeyChoice(leading.name)


def _named(table: SourceTable, name: str) -> Column:
    columns = table.columns.columns
    for same in (str, str.casefold):
        for column in columns:
            if same(column.name) == same(name):
                return column
    raise ConfigurationError(
        f"partition_column {name} is not a column of {table.full_name}.",
        next_step=f"Its columns are {', '.join(column.name for column in columns)}.",
    )


def can_cut(mssql_type: MssqlType) -> bool:
    """Say whether a column of this type can be cut into ranges."""
    return _line_of(mssql_type) is not None


def key_space(lower: str, upper: str, mssql_type: MssqlType) -> int:
    """Count the values that a column can have from `lower` to `upper`, both included.

    Raises:
        PlanError: a bound is not a value of the type, or the bounds are in the wrong order.
    """
    line = _must_line_of(mssql_type)
    return _span(line, lower, upper)[1]


def cut(lower: str, upper: str, mssql_type: MssqlType, n: int) -> list[str]:
    """Cut a key into even ranges.

    Args:
        lower: lowest value, a T-SQL literal without quotes.
        upper: highest value, likewise.
        mssql_type: type of the column.
        n: number of ranges wanted.

    Returns:
        The T-SQL literals between the ranges, ascending, all different, above `lower` and not above
        `upper`: `n - 1` of them, or fewer when the key has fewer than `n` values.

    Raises:
        PlanError: a bound is not a value of the type, or the bounds are in the wrong order.
    """
    line = _must_line_of(mssql_type)
    start, span = _span(line, lower, upper)
    ranges = min(n, span)
    step = next((s for s in line.coarse_steps if span // ranges >= _COARSE_STEPS * s), 1)
    cuts = (start + span * i // ranges for i in range(1, ranges))
    return [line.literal(value - value % step) for value in cuts]


def key_ranges(
    column: str, lower: str, upper: str, mssql_type: MssqlType, n: int
) -> tuple[KeyRange, ...]:
    """Make the ranges of a table, numbered from 0.

    Where the key has fewer values than ranges are wanted, the number goes down to the largest class
    that fits. Below the smallest class, a table of more than 16 partitions gets one range per
    value, any other stays whole.

    Args:
        column: the source column.
        lower: its lowest value, a T-SQL literal without quotes.
        upper: its highest value, likewise.
        mssql_type: its type.
        n: number of ranges wanted, a class.

    Raises:
        PlanError: a bound is not a value of the type, or the bounds are in the wrong order.
    """
    space = key_space(lower, upper, mssql_type)
    count = min(n, _largest_class(space))
    if count == 1 and n > 2 * SMALLEST_CLASS:
        count = space
    if count == 1:
        return WHOLE_TABLE
    cuts = cut(lower, upper, mssql_type, count)
    bounds = [None, *cuts, None]
    return tuple(
        KeyRange(source_partition=i, column=column, lower=bounds[i], upper=bounds[i + 1])
        for i in range(len(cuts) + 1)
    )


WHOLE_TABLE = (KeyRange(source_partition=0),)
"""The ranges of a table that is one partition."""


def predicate(key_range: KeyRange) -> str | None:
    """Return the T-SQL condition of a range, None when it is the whole table.

    It compares the bare column with literals, so SQL Server can seek in an index on it: a literal
    of a neighbouring type (a number above int's range is `numeric`) is converted to a seek range
    (https://learn.microsoft.com/sql/t-sql/data-types/constants-transact-sql).
    """
    lower, upper = key_range.lower, key_range.upper
    if key_range.column is None or (lower is None and upper is None):
        return None
    column = f"[{key_range.column.replace(']', ']]')}]"
    if lower is None:
        return f"({column} < {upper} OR {column} IS NULL)"
    if upper is None:
        return f"{column} >= {lower}"
    return f"{column} >= {lower} AND {column} < {upper}"


class _Line(Protocol):
    """A type's values as integers, one per step."""

    @property
    def coarse_steps(self) -> tuple[int, ...]:
        """Rounder steps to cut at where there is room, the coarsest first."""

    def position(self, value: str) -> int:
        """Place of a value; `ValueError` when it is not one of the type."""

    def literal(self, position: int) -> str:
        """T-SQL literal of a place."""


@dataclass(frozen=True)
class _NumberLine:
    """Integers and decimals; a step is the last digit."""

    scale: int = 0
    coarse_steps: tuple[int, ...] = ()

    def position(self, value: str) -> int:
        with localcontext(prec=80):  # decimal(38, 38) times 10^38 must stay exact
            try:
                scaled = Decimal(value).scaleb(self.scale)
                position = int(scaled)
            except (InvalidOperation, OverflowError) as error:
                raise ValueError(value) from error
            if position != scaled:
                raise ValueError(value)
        return position

    def literal(self, position: int) -> str:
        if not self.scale:
            return str(position)
        digits = str(abs(position)).rjust(self.scale + 1, "0")
        sign = "-" if position < 0 else ""
        return f"{sign}{digits[: -self.scale]}.{digits[-self.scale :]}"


_HUNDRED_NS_A_DAY = 864_000_000_000
_MOMENT = re.compile(
    r"(\d{4}-\d{2}-\d{2})(?:[T ](\d{2}):(\d{2})(?::(\d{2})(?:\.(\d{1,7}))?)?)?", re.ASCII
)


@dataclass(frozen=True)
class _TimeLine:
    """Dates and times without a zone; position 0 is in year 0, so all are above 0.

    Literals read the same under every SET LANGUAGE and SET DATEFORMAT. `date`: ISO 8601 YYYY-MM-DD,
    "the only format defined as an international standard"
    (https://learn.microsoft.com/sql/t-sql/data-types/date-transact-sql). The others: ISO 8601 with
    the T, which is "not affected by the SET LANGUAGE and SET DATEFORMAT session locale settings"
    (https://learn.microsoft.com/sql/t-sql/data-types/datetime2-transact-sql); without the T,
    `datetime` and `smalldatetime` are (https://bornsql.ca/?p=1263).

    Attributes:
        steps_a_day: number of steps in a day.
        digits: digits of the second's fraction in a literal.
    """

    steps_a_day: int
    digits: int = 0

    @property
    def coarse_steps(self) -> tuple[int, ...]:
        return tuple(s for s in (self.steps_a_day, self.steps_a_day // 86_400) if s > 1)

    def position(self, value: str) -> int:
        moment = _MOMENT.fullmatch(value)
        if moment is None:
            raise ValueError(value)
        hours, minutes, seconds = (int(moment[part] or 0) for part in (2, 3, 4))
        fraction = int((moment[5] or "0").ljust(7, "0"))
        time = ((hours * 60 + minutes) * 60 + seconds) * 10_000_000 + fraction
        days = date.fromisoformat(moment[1]).toordinal()
        return (days * _HUNDRED_NS_A_DAY + time) // (_HUNDRED_NS_A_DAY // self.steps_a_day)

    def literal(self, position: int) -> str:
        days, steps = divmod(position, self.steps_a_day)
        day = date.fromordinal(days).isoformat()
        if self.steps_a_day == 1:
            return f"'{day}'"
        time = steps * (_HUNDRED_NS_A_DAY // self.steps_a_day)
        seconds, fraction = divmod(time, 10_000_000)
        text = f"{day}T{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
        return f"'{text}.{f'{fraction:07d}'[: self.digits]}'" if fraction else f"'{text}'"


def _line_of(mssql_type: MssqlType) -> _Line | None:
    match mssql_type.name:
        case "tinyint" | "smallint" | "int" | "bigint":
            return _NumberLine()
        case "decimal" | "numeric":
            return _NumberLine(mssql_type.scale)
        case "date":
            return _TimeLine(1)
        case "smalldatetime":
            return _TimeLine(24 * 60)
        case "datetime":
            # Values lie on 1/300 s; 10 ms are three of those, so no literal is ever rounded.
            return _TimeLine(24 * 60 * 60 * 100, digits=3)
        case "datetime2":
            return _TimeLine(24 * 60 * 60 * 10**mssql_type.scale, digits=mssql_type.scale)
        case _:
            return None


def _must_line_of(mssql_type: MssqlType) -> _Line:
    line = _line_of(mssql_type)
    if line is None:
        raise PlanError(f"A column of type {mssql_type.declaration} cannot be cut into ranges.")
    return line


def _span(line: _Line, lower: str, upper: str) -> tuple[int, int]:
    """Position of the lowest value, and how many values there are up to the highest."""
    try:
        start, end = line.position(lower), line.position(upper)
    except ValueError:
        start, end = 1, 0
    if start > end:
        raise PlanError(
            f"The lowest and highest value of a key, {lower!r} and {upper!r}, are not bounds of "
            "its type.",
            next_step="Run `migration-assets plan` again; report this if it comes back.",
        )
    return start, end - start + 1

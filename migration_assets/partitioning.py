"""Into how many partitions a table goes, which key is cut, and the predicate of each range.

Where a key is cut is taken from what SQL Server knows (`key_distribution.py`), or is arithmetic: a
key's values lie on a line of steps (1 for integers, the last digit of a decimal, a day, 10 ms ...).

A range is `lower <= column < upper`; the first is open below and takes NULL, the last is open
above. So each row is in exactly one range, also a row that arrives after the plan was made. At a
boundary that belongs to the rows below it (`RANGE LEFT`), it is `column > lower` and `column <=
upper`: exact for every type, where the next value of some is not to be had. A cut
over several columns compares as rows do, and only NOT NULL columns: a comparison with NULL is
neither true nor false, so a row with one in the middle of a key would be in no range.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from migration_assets.errors import ConfigurationError, PlanError
from migration_assets.key_distribution import balanced, imbalance
from migration_assets.key_range import KeyRange
from migration_assets.key_types import Line, can_be_key, line_of
from migration_assets.naming import bracketed
from migration_assets.schema import Column, KeyCuts, MssqlType, SourceTable, TableKind

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


def partition_count(
    rows: int,
    size: int | None,
    *,
    wanted: int | None = None,
    target_rows: int | None = None,
    target_bytes: int | None = None,
) -> int:
    """Say into how many partitions a table goes, always a class.

    Below 10,000 rows 1; to 1 million 8 (below 100,000) or 16; above that 32, 64, 128 ... so that a
    partition has at most 2 million rows. At every number of rows, at most 1 GiB each.

    Args:
        rows: rows of the table.
        size: its bytes, None if unknown.
        wanted: number that a rule asks for; goes before all else.
        target_rows: most rows of a partition by rule, instead of the bands.
        target_bytes: most bytes of a partition by rule.
    """
    if wanted is not None:
        return partition_class(wanted)
    if target_rows is not None:
        by_rows = -(-rows // target_rows)
    elif rows < ONE_PARTITION_BELOW_ROWS:
        by_rows = 1
    elif rows < EIGHT_PARTITIONS_BELOW_ROWS:
        by_rows = 8
    elif rows <= SIXTEEN_PARTITIONS_UP_TO_ROWS:
        by_rows = 16
    else:
        by_rows = max(32, -(-rows // TARGET_ROWS))
    by_size = -(-(size or 0) // (target_bytes or TARGET_BYTES))
    return min(partition_class(max(by_rows, by_size)), MAX_PLANNED_PARTITIONS, _largest_class(rows))


def _largest_class(limit: int) -> int:
    """The largest class that is not above a limit."""
    return 1 if limit < SMALLEST_CLASS else 1 << (limit.bit_length() - 1)


@dataclass(frozen=True)
class KeyChoice:
    """The columns that are cut, or the reason why none can be.

    Attributes:
        column: exact name of the first, None for a table of one partition.
        reason: why there is none, the rest of a sentence; empty when there is one.
        more: further columns that can divide rows of one value of the first, in order.
    """

    column: str | None
    reason: str = ""
    more: tuple[str, ...] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        """All of them."""
        return () if self.column is None else (self.column, *self.more)


_NO_KEY = "migration.yaml gives it no `key`"
MAX_KEY_COLUMNS = 4
"""Further columns of a key make predicates longer and hardly ever decide anything."""


def choose_key(table: SourceTable, override: str | None = None) -> KeyChoice:
    """Choose the key to cut: the override, else the primary key, a unique index, the clustered one.

    The first of these whose first column can be cut; of unique indexes those without NULL go first.
    Its further columns serve when one value of the first has too many rows.

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
                code="MA-CF-018",
                next_step="Name a column of numbers, dates, times, text, GUIDs or binary values "
                "that an index could have; float, (max) and special types are none.",
            )
        keys = [key for key in _keys(table) if key[0] == column.name]
        return _key_choice(table, next(iter(keys), (column.name,)))
    for key in _keys(table):
        if can_cut(table.columns.column(key[0]).type):
            return _key_choice(table, key)
    if not table.columns.primary_key:
        return KeyChoice(
            None,
            ("it has no primary key" if table.kind is TableKind.TABLE else _NO_KEY)
            + (", and none of its indexes can be cut" if table.indexes else ""),
        )
    leading = table.columns.column(table.columns.primary_key[0])
    kind = "primary key" if table.kind is TableKind.TABLE else "key"
    return KeyChoice(
        None,
        f"its {kind} begins with {leading.name} of type {leading.type.declaration}, "
        "which is not cut into ranges",
    )


def _keys(table: SourceTable) -> Iterator[tuple[str, ...]]:
    """Keys in the order of preference."""
    by_name = {column.name: column for column in table.columns.columns}
    if table.columns.primary_key:
        yield table.columns.primary_key
    indexes = [i for i in table.indexes if i.columns and all(c in by_name for c in i.columns)]
    unique = [index.columns for index in indexes if index.unique]
    # As few NULLs as can be, and above all not in the first column.
    yield from sorted(unique, key=lambda key: [by_name[name].nullable for name in key])
    yield from (index.columns for index in indexes if index.index_id == 1 and not index.unique)


def _key_choice(table: SourceTable, key: tuple[str, ...]) -> KeyChoice:
    usable: list[str] = []
    for name in key[:MAX_KEY_COLUMNS]:
        column = table.columns.column(name)
        if column.nullable or not can_cut(column.type):
            break
        usable.append(name)
    return KeyChoice(key[0], more=tuple(usable[1:]))


def _named(table: SourceTable, name: str) -> Column:
    columns = table.columns.columns
    for same in (str, str.casefold):
        for column in columns:
            if same(column.name) == same(name):
                return column
    raise ConfigurationError(
        f"partition_column {name} is not a column of {table.full_name}.",
        code="MA-CF-017",
        next_step=f"Its columns are {', '.join(column.name for column in columns)}.",
    )


def can_cut(mssql_type: MssqlType) -> bool:
    """Say whether a column of this type can be cut into ranges."""
    return can_be_key(mssql_type)


def can_reckon(mssql_type: MssqlType) -> bool:
    """Say whether a column's lowest and highest value are enough to cut it by arithmetic."""
    return line_of(mssql_type) is not None


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
    count = _count(n, key_space(lower, upper, mssql_type))
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


PARTITION_FUNCTION = "partition_function"
"""`KeyCuts.method` of cuts along the partitions that SQL Server itself makes."""

UNEVEN = 2.0
"""A largest partition of more times the mean is told."""
_GOOD_ENOUGH = 1.5
"""Cuts by the first column alone are taken up to here: their predicates are the simplest."""


def cut_ranges(found: KeyCuts, n: int) -> tuple[tuple[KeyRange, ...], float]:
    """Make the ranges of a table from where it can be cut, numbered from 0.

    Where there are not enough places to cut, the number goes down as `key_ranges` says; along a
    partition function to one range for each partition, since that is what is asked for.

    Args:
        found: places to cut.
        n: number of ranges wanted, a class.

    Returns:
        The ranges, and how many times the mean the largest has by what `found` knows.
    """
    simple = [cut for cut in found.cuts if len(cut.literals) == 1]
    few = found.method == PARTITION_FUNCTION
    chosen = balanced(simple, found.rows, _count(n, len(simple) + 1, few=few))
    is_enough = len(chosen) + 1 == n and imbalance(chosen, found.rows) <= _GOOD_ENOUGH
    if not is_enough and len(simple) < len(found.cuts):
        chosen = balanced(found.cuts, found.rows, _count(n, len(found.cuts) + 1, few=few))
    if not chosen:
        return WHOLE_TABLE, 1.0
    width = max(len(cut.literals) for cut in chosen)
    bounds = [(), *(cut.literals for cut in chosen), ()]
    ranges = tuple(
        KeyRange(
            source_partition=i,
            column=found.columns[0],
            lower=bounds[i][0] if bounds[i] else None,
            upper=bounds[i + 1][0] if bounds[i + 1] else None,
            more_columns=found.columns[1:width],
            more_lower=bounds[i][1:],
            more_upper=bounds[i + 1][1:],
            lower_after=i > 0 and chosen[i - 1].after,
            upper_after=i < len(chosen) and chosen[i].after,
        )
        for i in range(len(chosen) + 1)
    )
    return ranges, imbalance(chosen, found.rows)


def range_rows(ranges: Sequence[KeyRange], found: KeyCuts) -> tuple[int, ...]:
    """Rows of each range, by what is known of the places where they were cut.

    Args:
        ranges: as `cut_ranges` makes them.
        found: what it made them of.
    """
    below = {(cut.literals, cut.after): cut.below for cut in found.cuts}
    ends = [
        found.rows if r.upper is None else below[(r.upper, *r.more_upper), r.upper_after]
        for r in ranges
    ]
    return whole_rows([0.0, *ends])


def whole_rows(edges: Sequence[float]) -> tuple[int, ...]:
    """Estimated rows between edges, as integers that add up."""
    return tuple(round(end) - round(start) for start, end in pairwise(edges))


def _count(n: int, most: int, *, few: bool = False) -> int:
    """The number of ranges where there can be so many at most; `few`: rather few than one."""
    count = min(n, _largest_class(most))
    return min(n, most) if count == 1 and (few or n > 2 * SMALLEST_CLASS) else count


def hash_ranges(table: SourceTable, n: int) -> tuple[KeyRange, ...]:
    """Split a table that has no order by a checksum over its columns; each range reads all of it.

    Returns:
        One range for all when it has no column that a checksum takes.
    """
    columns = tuple(
        column.name
        for column in table.columns.columns
        if column.refusal is None and (can_cut(column.type) or column.type.name == "bit")
    )
    if n == 1 or not columns:
        return WHOLE_TABLE
    return tuple(KeyRange(source_partition=i, hash_columns=columns, hash_of=n) for i in range(n))


def predicate(key_range: KeyRange) -> str | None:
    """Return the T-SQL condition of a range, None when it is the whole table.

    It compares the bare column with literals, so SQL Server can seek in an index on it: a literal
    of a neighbouring type (a number above int's range is `numeric`) is converted to a seek range
    (https://learn.microsoft.com/sql/t-sql/data-types/constants-transact-sql).
    """
    if key_range.hash_of:
        return f"{_hash(key_range)} = {key_range.source_partition}"
    if key_range.column is None or (key_range.lower is None and key_range.upper is None):
        return None
    columns = [bracketed(name) for name in key_range.key_columns]
    lower = () if key_range.lower is None else (key_range.lower, *key_range.more_lower)
    upper = () if key_range.upper is None else (key_range.upper, *key_range.more_upper)
    if not lower and len(upper) == 1:
        before = "<=" if key_range.upper_after else "<"
        return f"({columns[0]} {before} {upper[0]} OR {columns[0]} IS NULL)"
    same = 0
    while same < min(len(lower), len(upper)) and lower[same] == upper[same]:
        same += 1
    conditions = [f"{columns[i]} = {lower[i]}" for i in range(same)]
    conditions += _from_row(columns[same:], lower[same:], after=key_range.lower_after)
    conditions += _before_row(columns[same:], upper[same:], after=key_range.upper_after)
    return " AND ".join(conditions)


def _from_row(columns: Sequence[str], values: Sequence[str], *, after: bool) -> list[str]:
    """Conditions of rows that are not before these values; the first is one to seek by."""
    if not values:
        return []
    if len(values) == 1:
        return [f"{columns[0]} {'>' if after else '>='} {values[0]}"]
    return [f"{columns[0]} >= {values[0]}", _beyond(columns, values, ">", ">=")]


def _before_row(columns: Sequence[str], values: Sequence[str], *, after: bool) -> list[str]:
    """Conditions of rows before these values; the first is one to seek by."""
    if not values:
        return []
    if len(values) == 1:
        return [f"{columns[0]} {'<=' if after else '<'} {values[0]}"]
    return [f"{columns[0]} <= {values[0]}", _beyond(columns, values, "<", "<")]


def _beyond(columns: Sequence[str], values: Sequence[str], beyond: str, last: str) -> str:
    """How rows compare: the first columns that differ decide."""
    column, value = columns[0], values[0]
    if len(values) == 1:
        return f"{column} {last} {value}"
    rest = _beyond(columns[1:], values[1:], beyond, last)
    return f"({column} {beyond} {value} OR ({column} = {value} AND {rest}))"


def _hash(key_range: KeyRange) -> str:
    """A number from 0 to `hash_of` - 1 for each row, with NULL a value like others.

    CHECKSUM of one int is that int, so its low digits say little: a product with a large odd number
    spreads them into the higher ones
    (https://learn.microsoft.com/sql/t-sql/functions/checksum-transact-sql).
    """
    columns = ", ".join(bracketed(name) for name in key_range.hash_columns)
    mixed = f"CAST(CHECKSUM({columns}) AS bigint) * 1640531527 / 65536"
    return f"ABS({mixed} % {key_range.hash_of})"


def _must_line_of(mssql_type: MssqlType) -> Line:
    line = line_of(mssql_type)
    if line is None:
        raise PlanError(
            f"A column of type {mssql_type.declaration} cannot be cut into ranges.",
            code="MA-PL-007",
        )
    return line


def _span(line: Line, lower: str, upper: str) -> tuple[int, int]:
    """Position of the lowest value, and how many values there are up to the highest."""
    try:
        start, end = line.position(lower), line.position(upper)
    except ValueError:
        start, end = 1, 0
    if start > end:
        raise PlanError(
            f"The lowest and highest value of a key, {lower!r} and {upper!r}, are not bounds of "
            "its type.",
            code="MA-PL-007",
            next_step="Run `migration-assets plan` again; report this if it comes back.",
        )
    return start, end - start + 1

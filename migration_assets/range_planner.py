"""Into which ranges a table is cut: by its rules, its key, and what was measured of that; pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import accumulate

from migration_assets.key_range import KeyRange, Window
from migration_assets.partition_function import about_function, without_function
from migration_assets.partitioning import (
    PARTITION_FUNCTION,
    UNEVEN,
    WHOLE_TABLE,
    KeyChoice,
    choose_key,
    cut_ranges,
    hash_ranges,
    key_ranges,
    partition_count,
    range_rows,
    whole_rows,
)
from migration_assets.schema import KeyCuts, SourceTable
from migration_assets.table_rules import Split, TableRules
from migration_assets.windows import make_windows

ABOUT_RANGES = re.compile(
    r"(One partition|\d+ partitions?) instead of|The largest partition has|Split by hash:"
    r"|partitions \d+ became"
)
"""How the sentences begin that `plan_ranges` says of the ranges it has made, time windows apart."""


def choose(table: SourceTable, wishes: TableRules) -> tuple[KeyChoice, bool]:
    """The key that is cut, and whether it is to be cut along the table's partition function."""
    if wishes.split is Split.PARTITION_FUNCTION and not without_function(table):
        assert table.partitioned is not None  # noqa: S101 - there is a function
        return choose_key(table, table.partitioned.column), True
    return choose_key(table, wishes.partition_column), False


def count_partitions(table: SourceTable, wishes: TableRules) -> int:
    """How many ranges a table should have, by its size and the rules; time windows apart."""
    return partition_count(
        table.rows,
        table.bytes,
        wanted=wishes.partitions,
        target_rows=wishes.target_rows,
        target_bytes=wishes.target_bytes,
    )


@dataclass(frozen=True)
class PlannedRanges:
    """The ranges of a table, where they come from, and what must be said about them."""

    ranges: tuple[KeyRange, ...]
    cut_by: str
    warnings: tuple[str, ...]
    rows: tuple[int, ...] = ()
    window: Window | None = None


def plan_ranges(table: SourceTable, wishes: TableRules) -> PlannedRanges:
    """Cut a table.

    Args:
        table: with what was measured of its key.
        wishes: about it.

    Raises:
        ConfigurationError: the rules name a column that cannot be cut.
        PlanError: its time windows were not measured.
    """
    if wishes.window is not None:
        window, ranges, notes = make_windows(table, wishes.window)
        return PlannedRanges(ranges, "window", notes, window=window)
    count = count_partitions(table, wishes)
    warnings = []
    if wishes.partitions is not None and count != wishes.partitions:
        warnings.append(
            f"partitions {wishes.partitions} became {count}: tables share runs by these numbers."
        )
    if count == 1:
        return PlannedRanges(WHOLE_TABLE, "", tuple(warnings))
    if wishes.split is Split.HASH:
        return _by_hash(table, count, warnings)
    choice, _ = choose(table, wishes)
    if wishes.split is Split.PARTITION_FUNCTION:
        warnings += about_function(table, wishes.partition_column)
    if table.key_cuts is not None and choice.column is not None:
        return _by_cuts(table.key_cuts, count, warnings)
    if choice.column is not None and choice.column not in table.key_bounds:
        choice = KeyChoice(None, f"the bounds of {choice.column} were not measured")
    bounds = table.key_bounds[choice.column] if choice.column is not None else None
    if choice.column is None or bounds is None:
        reason = choice.reason or f"{choice.column} has no values"
        return PlannedRanges(
            WHOLE_TABLE, "", (*warnings, f"One partition instead of {count}: {reason}.")
        )
    column = table.columns.column(choice.column)
    ranges = key_ranges(column.name, *bounds, column.type, count)
    if len(ranges) != count:
        warnings.append(
            f"{_counted(len(ranges), 'partition')} instead of {count}: {column.name} has too few "
            f"values, {bounds[0]} to {bounds[1]}."
        )
    how = "arithmetic" if table.key_is_even else "bounds"
    rows = whole_rows([*accumulate(table.even_rows, initial=0.0)])
    if len(rows) != len(ranges):
        rows = ()
    return PlannedRanges(ranges, how if len(ranges) > 1 else "", tuple(warnings), rows)


def _by_cuts(found: KeyCuts, count: int, warnings: list[str]) -> PlannedRanges:
    ranges, uneven = cut_ranges(found, count)
    columns = ", ".join(found.columns)
    is_along = found.method == PARTITION_FUNCTION
    if len(ranges) != count:
        few = f"{columns} has too few values{'' if found.cuts else ', or NULL alone'}"
        if is_along:
            few = "its partition function has no more partitions with rows"
        warnings.append(f"{_counted(len(ranges), 'partition')} instead of {count}: {few}.")
    if uneven > UNEVEN:
        reason = (
            f"the partitions that SQL Server makes by {columns} are uneven, and no index or "
            "statistics told where the large ones can be cut"
            if is_along
            else f"they have one value of {columns}, and the key has no further NOT NULL column to "
            "cut by"
        )
        warnings.append(
            f"The largest partition has about {uneven / len(ranges):.0%} of the rows, "
            f"{uneven:.1f} times the mean: {reason}."
        )
    if len(ranges) == 1:
        return PlannedRanges(ranges, "", tuple(warnings))
    return PlannedRanges(ranges, found.method, tuple(warnings), range_rows(ranges, found))


def _by_hash(table: SourceTable, count: int, warnings: list[str]) -> PlannedRanges:
    ranges = hash_ranges(table, count)
    if len(ranges) == 1:
        warnings.append(f"One partition instead of {count}: it has no column that can be hashed.")
        return PlannedRanges(ranges, "", tuple(warnings))
    warnings.append(
        f"Split by hash: each of the {len(ranges)} partitions reads the whole table, and a row that "
        "is updated while it is read may be in two of them or in none."
    )
    return PlannedRanges(ranges, "hash", tuple(warnings))


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"

"""What to change where a partition was too large for a timeout; pure."""

from __future__ import annotations

from dataclasses import dataclass

from migration_assets.errors import OperationTimeoutError
from migration_assets.key_range import KeyRange
from migration_assets.plan import TablePlan

SMALL_ROWS = 10_000
"""Partitions below are not too large for any timeout: something else was slow."""

_SHORTER = {"year": "month", "month": "day"}


@dataclass(frozen=True)
class Timeout:
    """A limit that a setting gives.

    Attributes:
        variable: the setting's name.
        seconds: its value.
        most: the highest value that it takes.
    """

    variable: str
    seconds: int
    most: int


def explained(
    error: OperationTimeoutError,
    table: TablePlan,
    key_range: KeyRange,
    timeout: Timeout,
    *,
    done: int = 0,
) -> OperationTimeoutError:
    """The error with the partition's size in it, and as next step what to set to what.

    Args:
        error: what happened.
        table: the plan of the table.
        key_range: of the partition.
        timeout: that was reached.
        done: rows that had come until then; 0 where nobody knows.
    """
    rows = _rows(table, key_range)
    size = "" if not table.bytes or not table.rows else _mib(table.bytes * rows // table.rows)
    came = f", {done:,} of which had come" if done else ""
    longer = min(2 * timeout.seconds, timeout.most)
    ways = [f"set {timeout.variable} to {longer} (it is {timeout.seconds})"]
    if longer == timeout.seconds:
        ways = []
    if rows >= SMALL_ROWS:
        ways.append(
            f"{_smaller(table, rows, done)} in migration.yaml, then `migration-assets plan`"
        )
    change = f"If nothing blocks it or slows it down, {', or '.join(ways)}." if ways else ""
    return OperationTimeoutError(
        f"{error.found} {_name(table, key_range)} of {table.full_name} has about {rows:,} rows"
        f"{size}{came}.",
        code=error.code,
        next_step=change or error.next_step,
        wait_s=error.wait_s,
    )


def _smaller(table: TablePlan, rows: int, done: int) -> str:
    """The rule that cuts a table into smaller partitions."""
    if table.window is not None:
        by = _SHORTER.get(table.window.by)
        return f"`by: {by}` in the table's `window`" if by else "no `window` for the table"
    wanted = done if 0 < done < rows else rows // 2
    digits = len(str(wanted)) - 2
    rule = f"`target_rows: {wanted // 10**digits * 10**digits}` for the table"
    if len(table.key_ranges) == 1:
        rule += " (where it has no key to cut by, `partition_column` or `split: hash` beside it)"
    return rule


def _rows(table: TablePlan, key_range: KeyRange) -> int:
    """Rows of a range, as far as the plan knows."""
    if key_range in table.key_ranges and len(table.range_rows) == len(table.key_ranges):
        return table.range_rows[table.key_ranges.index(key_range)]
    return table.rows // len(table.key_ranges)


def _name(table: TablePlan, key_range: KeyRange) -> str:
    if key_range in table.key_ranges:
        return f"Partition {table.partition_keys[table.key_ranges.index(key_range)]}"
    return f"Partition {key_range.source_partition}"


def _mib(size: int) -> str:
    return f" ({max(size // 2**20, 1):,} MiB)"

"""What a plan must not say twice: tables, targets, partitions, columns; pure.

The planner makes no such plan. One that was written or merged by a script may be one, with an id that
fits: two tables of one target would overwrite each other, two partitions of one number likewise.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from migration_assets.plan import MigrationPlan, TablePlan


def contradiction(plan: MigrationPlan) -> str:
    """The first contradiction of a plan, a clause without a full stop; empty when there is none."""
    return next(_contradictions(plan), "")


def _contradictions(plan: MigrationPlan) -> Iterator[str]:
    tables = plan.tables
    yield from _twice("the table {}", [table.full_name for table in tables])
    yield from _twice("the Iceberg table {}", [f"{t.namespace}.{t.iceberg_table}" for t in tables])
    yield from _twice(
        "the StarRocks table {}", [f"{t.starrocks_database}.{t.starrocks_table}" for t in tables]
    )
    yield from _twice("the location {}", [table.location for table in tables])
    for table in tables:
        yield from (f"{table.full_name} has {found}" for found in _of_table(table))


def _of_table(table: TablePlan) -> Iterator[str]:
    numbers = [key_range.source_partition for key_range in table.key_ranges]
    names = [column.name for column in table.target_columns]
    if not numbers:
        yield "no partition"
    if any(number < 0 for number in numbers):
        yield "a partition of a negative number"
    if not table.columns:
        yield "no column"
    if "" in names:
        yield "a column without a name"
    yield from _twice("the partition {}", numbers)
    yield from _twice("the column {}", names)
    yield from _twice("the field id {}", [column.field_id for column in table.target_columns])
    for name in table.sort_key:
        if name not in names:
            yield f"the sort key {name}, which is no column of it"
    for name in table.distributed_by:
        if name not in names:
            yield f"rows distributed by {name}, which is no column of it"


def _twice(what: str, values: Iterable[Hashable]) -> Iterator[str]:
    seen = set()
    for value in values:
        if value in seen:
            yield f"{what.format(value)} twice"
            return
        seen.add(value)

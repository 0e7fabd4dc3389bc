"""How a table's rows divide among its partitions, and how large partitions are altogether."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from migration_assets.inventory_page.estimate import rows_of
from migration_assets.plan import MigrationPlan

UNEVEN = 2.0
"""The largest partition should have no more than so many times the mean."""

_BOUNDS = (1_000, 10_000, 100_000, 500_000, 1_000_000, 2_000_000)
_LABELS = (
    "below 1,000 rows",
    "1,000 to 10,000",
    "10,000 to 100,000",
    "100,000 to 500,000",
    "500,000 to 1 million",
    "1 to 2 million",
    "2 million and more",
)


@dataclass(frozen=True)
class Balance:
    """The partitions of one table.

    Attributes:
        table: its full name.
        rows: of each partition, in the order of their keys.
        estimated: they were not counted, but reckoned from what the tables were cut by.
    """

    table: str
    rows: tuple[int, ...]
    estimated: bool = False

    @property
    def mean(self) -> float:
        """Rows of a partition on average."""
        return sum(self.rows) / len(self.rows)

    @property
    def ratio(self) -> float:
        """The largest partition's rows to the mean; 1 when all are alike, or there are no rows."""
        return max(self.rows) / self.mean if any(self.rows) else 1.0


def known_rows(
    plan: MigrationPlan, partition_rows: Mapping[str, Sequence[int]]
) -> dict[str, Balance]:
    """What is known of tables that are cut, by full name: counted rows, else the plan's estimates.

    Args:
        plan: the plan.
        partition_rows: counted rows of each partition, by the table's full name.
    """
    found = {}
    for table in plan.tables:
        counted = tuple(partition_rows.get(table.full_name, ()))
        is_counted = len(counted) == len(table.key_ranges)
        rows = counted if is_counted else table.range_rows
        if len(table.key_ranges) > 1 and len(rows) == len(table.key_ranges):
            found[table.full_name] = Balance(table.full_name, rows, estimated=not is_counted)
    return found


def balances(
    plan: MigrationPlan, partition_rows: Mapping[str, Sequence[int]]
) -> tuple[Balance, ...]:
    """The tables whose ranges have known rows, the most uneven one first."""
    known = known_rows(plan, partition_rows).values()
    return tuple(sorted(known, key=lambda one: (-one.ratio, -sum(one.rows), one.table)))


def partition_sizes(
    plan: MigrationPlan, partition_rows: Mapping[str, Sequence[int]]
) -> tuple[tuple[str, int], ...]:
    """How many partitions there are of each size, by rows; where unknown, by equal shares."""
    counts = [0] * len(_LABELS)
    for table in plan.tables:
        for rows in rows_of(table, partition_rows.get(table.full_name)):
            counts[sum(rows >= bound for bound in _BOUNDS)] += 1
    return tuple(zip(_LABELS, counts, strict=True))

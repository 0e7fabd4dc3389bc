"""Which rows a partition has: a range of keys, or a window of time."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from enum import StrEnum
from typing import Any

from pydantic import SerializerFunctionWrapHandler, model_serializer

from migration_assets.frozen_model import FrozenModel


class KeyRange(FrozenModel):
    """The rows of one partition: `lower <= column < upper`, open where a bound is None.

    The first range of a table is open below and takes NULL, the last is open above. Bounds may go
    on in further columns, which decide among rows that are equal in those before; a bound that has
    fewer values lies below all rows that begin with them.

    Attributes:
        source_partition: value of the column `source_partition`; also the Iceberg partition.
        column: source column that is cut; None when the table is one partition, or by hash.
        lower: T-SQL literal of the column's own type, None when open.
        upper: likewise, exclusive.
        more_columns: further columns of the key, the same in all ranges of a table; NOT NULL, like
            `column` when there are any.
        more_lower: literals of the first of these, after `lower`; `more_upper` after `upper`.
        lower_after: rows equal to `lower` lie below the bound, as at a boundary of a partition
            function that is RANGE LEFT; `upper_after` likewise.
        hash_columns: columns whose checksum decides, when the table has no order to cut by.
        hash_of: number of the partitions by hash; this one has the rows of hash `source_partition`.
    """

    source_partition: int
    column: str | None = None
    lower: str | None = None
    upper: str | None = None
    more_columns: tuple[str, ...] = ()
    more_lower: tuple[str, ...] = ()
    more_upper: tuple[str, ...] = ()
    lower_after: bool = False
    upper_after: bool = False
    hash_columns: tuple[str, ...] = ()
    hash_of: int = 0

    @property
    def key_columns(self) -> tuple[str, ...]:
        """The source columns that its predicate names."""
        first = () if self.column is None else (self.column,)
        return (*first, *self.more_columns, *self.hash_columns)

    def renamed(self, names: Mapping[str, str]) -> KeyRange:
        """The same range of columns that are called otherwise, by their source names."""
        changes = {
            "column": None if self.column is None else names[self.column],
            "more_columns": tuple(names[name] for name in self.more_columns),
            "hash_columns": tuple(names[name] for name in self.hash_columns),
        }
        return self.model_copy(update=changes)

    @property
    def identity(self) -> list[Any]:
        """What makes it another range; of one column as it was before there were more."""
        more = {name: getattr(self, name) for name in _LATER_RANGE_FIELDS if getattr(self, name)}
        return [
            self.source_partition,
            self.column,
            self.lower,
            self.upper,
            *([more] if more else []),
        ]

    @model_serializer(mode="wrap")
    def _without_empty(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what few ranges have: a plan has many, and older plans keep their id."""
        content: dict[str, Any] = handler(self)
        return {k: v for k, v in content.items() if v or k not in _LATER_RANGE_FIELDS}


_LATER_RANGE_FIELDS = (
    *("more_columns", "more_lower", "more_upper", "lower_after", "upper_after"),
    *("hash_columns", "hash_of"),
)


class Period(StrEnum):
    """What a time window is."""

    DAY = "day"
    MONTH = "month"
    YEAR = "year"


EARLIER = 0
"""`source_partition` of NULL and of what is before the first time window; its key is `earlier`."""
EARLIER_KEY = "earlier"

_DIGITS = {Period.DAY: 8, Period.MONTH: 6, Period.YEAR: 4}


class Window(FrozenModel):
    """A table is partitioned by windows of time; `windows.py` makes them.

    Attributes:
        column: source column of dates.
        by: what a window is.
        first: the first day of the first window.
    """

    column: str
    by: Period
    first: date

    def key(self, source_partition: int) -> str:
        """Partition key of a window: `2024-01-31`, `2024-01` or `2024` for 20240131, 202401, 2024."""
        if source_partition == EARLIER:
            return EARLIER_KEY
        digits = str(source_partition).zfill(_DIGITS[self.by])
        return "-".join(filter(None, (digits[:4], digits[4:6], digits[6:])))

    def __str__(self) -> str:
        """`by month of ordered_at from 2023-01-01`."""
        return f"by {self.by.value} of {self.column} from {self.first.isoformat()}"

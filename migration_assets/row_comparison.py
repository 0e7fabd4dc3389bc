"""Compare two readings of a partition row by row, and name rows that differ.

Both sides are read once to be digested (`row_digest.py`). Where the digests differ both are read
again, and this second look is what counts: it keeps the rows of a few of the differing buckets and
compares them exactly, key by key. Neither the order of the rows nor the kind of the key matters.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import islice
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow import types

from migration_assets.column_plan import ColumnPlan
from migration_assets.row_digest import ComparedColumns, RowDigest, RowHasher, is_bytes

Rows: TypeAlias = Callable[[], AbstractContextManager[Iterable[pa.RecordBatch]]]
"""Opens a reading of one side; its batches have the compared columns under their target names."""

NAMED = 5
"""Differences that are named."""
KEPT_BUCKETS = 64
KEPT_ROWS = 100_000
"""Different rows of the differing buckets that are kept of each side, at most."""
LONGEST_SHOWN = 80

Exact: TypeAlias = str | bytes | None
"""A value in a form that is equal exactly when its bits are: bytes, or the text of a number."""
Row: TypeAlias = tuple[Exact, ...]


@dataclass(frozen=True)
class RowDifference:
    """A row that differs.

    Attributes:
        row: which: `id 5, line 2`; without a key its first columns.
        column: what differs in it; empty where the whole row is missing or too many.
        expected: the right value, or how often the row should be there.
        found: likewise.
    """

    row: str
    column: str
    expected: str
    found: str

    def describe(self) -> str:
        """Both values, in one line."""
        if self.column:
            return f"{self.row}: {self.column} is {self.found}, expected {self.expected}"
        if self.found == "0":
            return f"{self.row}: the row is missing"
        if self.expected == "0":
            return f"{self.row}: the row is not in the source"
        return f"{self.row}: the row is there {self.found} times, expected {self.expected}"


@dataclass(frozen=True)
class RowComparison:
    """What comparing a partition row by row found.

    Attributes:
        expected: how many rows the right side has in what was compared.
        found: how many the other one has.
        keys: how many keys differ, at least.
        differences: some of them by name; none where they could not be pinned down.
    """

    expected: int
    found: int
    keys: int = 0
    differences: tuple[RowDifference, ...] = ()

    @property
    def equal(self) -> bool:
        """Whether both sides hold the same rows."""
        return self.keys == 0

    def describe(self) -> str:
        """What differs, in one line; empty when nothing does."""
        if self.equal:
            return ""
        count = f"at least {self.keys:,} {'row differs' if self.keys == 1 else 'rows differ'}"
        if not self.differences:
            return f"{count}; which ones is open: they changed between two looks, or are too many"
        named = "; ".join(difference.describe() for difference in self.differences)
        return f"{count}: {named}"


def compare_rows(columns: ComparedColumns, expected: Rows, found: Rows) -> RowComparison:
    """Compare two sides of one partition.

    Memory: a batch, two digests and `KEPT_ROWS` rows a side.

    Args:
        columns: what counts of a row.
        expected: opens the side that is right; twice, when something differs.
        found: opens the other side, likewise.

    Raises:
        MigrationError: whatever reading raises.
    """
    nothing = np.zeros(0, dtype=np.intp)
    right, wrong = (_look(columns, rows, nothing) for rows in (expected, found))
    differing = right.digest.differing(wrong.digest)
    if len(differing):
        chosen = _few(differing, right, wrong)
        right, wrong = (_look(columns, rows, chosen) for rows in (expected, found))
        differing = right.digest.differing(wrong.digest)
    return RowComparison(
        expected=right.digest.rows,
        found=wrong.digest.rows,
        keys=len(differing),
        differences=_named(columns, right, wrong) if len(differing) else (),
    )


class _Look:
    """One reading of one side: its digest, and the rows of some buckets."""

    def __init__(self, columns: ComparedColumns, chosen: npt.NDArray[np.intp]) -> None:
        self.digest = RowDigest()
        self.rows: Counter[Row] = Counter()
        self._chosen = chosen
        self._columns = columns
        self._hasher = RowHasher(columns)

    @property
    def is_complete(self) -> bool:
        """Whether all rows of the chosen buckets were kept."""
        return len(self.rows) <= KEPT_ROWS

    def add(self, batch: pa.RecordBatch) -> None:
        hashes = self._hasher.hashes(batch)
        self.digest.add(hashes)
        if len(self._chosen) and self.is_complete:
            kept = np.isin(hashes.buckets, self._chosen)
            if kept.any():
                self.rows.update(_exact_rows(batch.filter(pa.array(kept)), self._columns.all))


def _look(columns: ComparedColumns, rows: Rows, chosen: npt.NDArray[np.intp]) -> _Look:
    look = _Look(columns, chosen)
    with rows() as batches:
        for batch in batches:
            look.add(batch)
    return look


def _few(differing: npt.NDArray[np.intp], *looks: _Look) -> npt.NDArray[np.intp]:
    """As many of the buckets as can be kept, at least one."""
    counts = np.maximum(*(look.digest.counts[differing] for look in looks))
    fitting = int(np.searchsorted(np.cumsum(counts), KEPT_ROWS, side="right"))
    return differing[: min(max(fitting, 1), KEPT_BUCKETS)]


def _named(columns: ComparedColumns, expected: _Look, found: _Look) -> tuple[RowDifference, ...]:
    if not (expected.is_complete and found.is_complete):
        return ()
    return tuple(islice(_differences(columns, expected.rows, found.rows), NAMED))


def _differences(
    columns: ComparedColumns, expected: Counter[Row], found: Counter[Row]
) -> Iterator[RowDifference]:
    """Compare rows exactly, key by key, in the order of the expected side."""
    key = columns.key or columns.all
    positions = [columns.all.index(column) for column in key]
    sides: dict[Row, tuple[Counter[Row], Counter[Row]]] = defaultdict(
        lambda: (Counter(), Counter())
    )
    for side, rows in enumerate((expected, found)):
        for row, count in rows.items():
            sides[tuple(row[position] for position in positions)][side][row] = count
    for values, (right, wrong) in sides.items():
        if right == wrong:
            continue
        name = _name(values, key)
        lost, added = list((right - wrong).elements()), list((wrong - right).elements())
        for one, other in zip(lost, added, strict=False):
            yield from (
                RowDifference(name, column.name, shown(a, column), shown(b, column))
                for column, a, b in zip(columns.all, one, other, strict=True)
                if a != b
            )
        # What is left on one side only: the row is there more or less often than it should be.
        if len(lost) != len(added):
            yield RowDifference(name, "", f"{right.total()}", f"{wrong.total()}")


def _name(values: Row, key: tuple[ColumnPlan, ...], longest: int = 6) -> str:
    named = [f"{c.name} {shown(v, c)}" for c, v in zip(key, values, strict=True)][:longest]
    return ", ".join(named) + (", …" if len(key) > longest else "")


def _exact_rows(batch: pa.RecordBatch, columns: tuple[ColumnPlan, ...]) -> list[Row]:
    """The rows of a (small) batch, columns as given."""
    by_column = [exact_values(batch.column(column.name)) for column in columns]
    return list(zip(*by_column, strict=True))


def exact_values(values: pa.Array) -> list[Exact]:
    """The values of an array in a form that is equal exactly when their bits are."""
    kind = values.type
    if is_bytes(kind):
        exact: list[Exact] = values.cast(pa.large_binary()).to_pylist()
        return exact
    if types.is_float32(kind) or types.is_float64(kind):
        number = np.dtype(f"f{kind.bit_width // 8}").type
        # The shortest digits that give the number back.
        return [None if value is None else str(number(value)) for value in values.to_pylist()]
    if types.is_timestamp(kind):
        # Without its zone, UTC, the data of which Arrow would look for.
        values = values.cast(pa.timestamp(kind.unit))
    texts: list[Exact] = values.cast(pa.large_string()).to_pylist()
    return texts


def shown(value: Exact, column: ColumnPlan) -> str:
    """A value as messages have it, shortened: text in quotes, binary as 0x…, all else bare."""
    if value is None:
        return "NULL"
    if isinstance(value, str):
        return value
    if column.iceberg_type == "string":
        text = value.decode("utf-8", "backslashreplace")
        if len(text) <= LONGEST_SHOWN:
            return repr(text)
        return f"{text[:LONGEST_SHOWN]!r}… ({len(text):,} characters)"
    digits = f"0x{value[: LONGEST_SHOWN // 2].hex()}"
    return digits if len(value) <= LONGEST_SHOWN // 2 else f"{digits}… ({len(value):,} bytes)"

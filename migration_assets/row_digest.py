"""Digests of rows: which of two large sets of rows differ, in any order and in bounded memory.

Each row is hashed to 64 bits, and the hashes are added up modulo 2**64 in buckets that the row's
key chooses. Two sides whose buckets have equal sums and equal counts hold the same rows as often,
whatever their order: a lost, doubled or changed row is missed once in about 2**64 cases. Where a
bucket differs, only its rows need to be looked at. Without a key, the whole row chooses.

What is compared are a value's bits, by the kind of its Arrow type: text and binary as bytes, so
that nothing depends on a collation, decimals as their two words, dates and moments as integers.
NULL differs from every value, also from an empty one. Floats are compared by their bits too: 0.0
differs from -0.0, but any NaN is like any other, since text has but one form of it.

Hashes hold within one process: those of texts are Python's own, which differ from run to run.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow import types

from migration_assets.column_plan import ColumnPlan
from migration_assets.errors import UnsupportedError
from migration_assets.plan import TablePlan

Words: TypeAlias = npt.NDArray[np.uint64]

BUCKETS = 65_536
"""A megabyte for each side; a bucket of a partition of 10 million rows has 150 of them."""

_GOLDEN = 0x9E3779B97F4A7C15
_WHOLE = 2**64


@dataclass(frozen=True)
class ComparedColumns:
    """The columns in which the rows of two sides are compared.

    Attributes:
        all: those that both sides have, without audit columns.
        key: those of them that the primary key became; none when not all of it is among them.
    """

    all: tuple[ColumnPlan, ...]
    key: tuple[ColumnPlan, ...]

    @classmethod
    def of(cls, table: TablePlan, *, loaded: bool) -> ComparedColumns:
        """The columns of a table that StarRocks has too (`loaded`), or Iceberg."""
        columns = tuple(c for c in table.columns if c.starrocks_type or not loaded)
        is_whole = set(table.primary_key) <= {column.source_name for column in columns}
        key = [column for column in columns if column.source_name in table.primary_key]
        return cls(columns, tuple(key) if is_whole else ())


@dataclass(frozen=True)
class RowHashes:
    """The hashes of a batch's rows, in their order.

    Attributes:
        keys: of the identifying columns, or of the whole row; chooses buckets.
        rows: of all compared columns.
    """

    keys: Words
    rows: Words

    @property
    def buckets(self) -> npt.NDArray[np.intp]:
        """The bucket of each row."""
        return (self.keys % np.uint64(BUCKETS)).astype(np.intp)


class RowHasher:
    """Hashes the rows of batches that have the compared columns, under their target names."""

    def __init__(self, columns: ComparedColumns) -> None:
        """Take the columns."""
        self._columns = [column.name for column in columns.all]
        self._key = {column.name for column in columns.key}

    def hashes(self, batch: pa.RecordBatch) -> RowHashes:
        """Hash each row of a batch.

        Raises:
            UnsupportedError: a column's Arrow type is none that a table can have.
        """
        rows: Words = np.zeros(batch.num_rows, dtype=np.uint64)
        keys: Words = np.zeros(batch.num_rows, dtype=np.uint64)
        for position, name in enumerate(self._columns, start=1):
            hashed = _hashed(batch.column(name), seed=position * _GOLDEN % _WHOLE)
            rows += hashed
            if name in self._key:
                keys += hashed
        # Mixed once more: sums of columns would not see two rows that exchange a value.
        rows = _mixed(rows)
        return RowHashes(_mixed(keys) if self._key else rows, rows)


class RowDigest:
    """The sums and counts of one side's rows, bucket by bucket."""

    def __init__(self) -> None:
        """Start without rows."""
        self._sums: Words = np.zeros(BUCKETS, dtype=np.uint64)
        self._counts: npt.NDArray[np.int64] = np.zeros(BUCKETS, dtype=np.int64)

    @property
    def rows(self) -> int:
        """How many rows were added."""
        return int(self._counts.sum())

    @property
    def counts(self) -> npt.NDArray[np.int64]:
        """Rows by bucket."""
        return self._counts

    def add(self, hashes: RowHashes) -> None:
        """Add rows."""
        buckets = hashes.buckets
        np.add.at(self._sums, buckets, hashes.rows)
        self._counts += np.bincount(buckets, minlength=BUCKETS)

    def differing(self, other: RowDigest) -> npt.NDArray[np.intp]:
        """The buckets that do not hold the same rows on both sides, ascending."""
        return np.flatnonzero((self._sums != other._sums) | (self._counts != other._counts))


def _mixed(words: Words) -> Words:
    """The finalizer of SplitMix64: each bit of the input changes about half of the output.

    https://doi.org/10.1145/2660193.2660195; arithmetic on arrays of uint64 wraps around.
    """
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))


def _hashed(values: pa.Array, seed: int) -> Words:
    """Hashes of one column; the seed makes those of another column others."""
    hashed = _mixed(_words(values) + np.uint64(seed))
    if values.null_count:
        present = values.is_valid().to_numpy(zero_copy_only=False)
        hashed = np.where(present, hashed, np.uint64(~seed % _WHOLE))
    return hashed


def _words(values: pa.Array) -> Words:
    """64 bits for each value, different for different values; anything where it is NULL."""
    kind = values.type
    if types.is_boolean(kind):
        values, kind = values.cast(pa.int8()), pa.int8()
    if types.is_float32(kind) or types.is_float64(kind):
        return _float_words(values)
    if types.is_integer(kind) or types.is_date32(kind) or types.is_time(kind):
        return _signed(values).astype(np.int64, copy=False).view(np.uint64)
    if types.is_timestamp(kind) and kind.unit == "us":
        return _signed(values).view(np.uint64)
    if types.is_decimal128(kind):
        words: Words = _fixed(values, np.dtype(np.uint64), width=2)
        return words[:, 0] + _mixed(words[:, 1])
    if is_bytes(kind):
        # Bytes and not texts: what is no valid UTF-8 is a difference, not an error.
        whole = values.cast(pa.large_binary()).to_numpy(zero_copy_only=False)
        return np.fromiter(map(hash, whole), np.int64, len(values)).view(np.uint64)
    raise UnsupportedError(
        f"Values of Arrow type {kind} cannot be compared row by row.", code="MA-PL-012"
    )


def is_bytes(kind: pa.DataType) -> bool:
    """Whether values of an Arrow type are compared as bytes: text and binary."""
    kinds = (types.is_string, types.is_large_string, types.is_binary, types.is_large_binary)
    return any(is_a(kind) for is_a in kinds)


def _float_words(values: pa.Array) -> Words:
    size = values.type.bit_width // 8
    numbers = _fixed(values, np.dtype(f"f{size}"))[:, 0]
    numbers = np.where(np.isnan(numbers), numbers.dtype.type(np.nan), numbers)
    return numbers.view(f"u{size}").astype(np.uint64, copy=False)


def _signed(values: pa.Array) -> npt.NDArray[Any]:
    return _fixed(values, np.dtype(f"i{values.type.bit_width // 8}"))[:, 0]


def _fixed(values: pa.Array, dtype: np.dtype[Any], width: int = 1) -> npt.NDArray[Any]:
    """The values of a fixed-width array as a matrix of `width` numbers each; copies nothing."""
    data = values.buffers()[1]
    if data is None or len(values) == 0:
        return np.zeros((0, width), dtype=dtype)
    numbers = np.frombuffer(data, dtype=dtype)
    start, stop = values.offset * width, (values.offset + len(values)) * width
    return numbers[start:stop].reshape(-1, width)

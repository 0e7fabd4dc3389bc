"""Pseudo-random Arrow columns that depend on nothing but a seed and their name.

Every value is a hash (splitmix64, https://prng.di.unimi.it/splitmix64.c) of the seed, the table, the
column and the row number. So a column keeps its values when another one is added or removed, and
no value is made by a Python loop: a million rows of ten columns take about two seconds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cache
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

Array = Any
"""A pyarrow array; pyarrow has no type hints."""

_U64 = pa.uint64()


def _uint64(value: int) -> Any:
    return pa.scalar(value, _U64)


class Draw:
    """Draws the columns of one table."""

    def __init__(self, seed: int, table: str, rows: int) -> None:
        """Draw for a table.

        Args:
            seed: of the whole sample.
            table: `schema.name`, part of the hash.
            rows: length of each drawn column.
        """
        self.rows = rows
        self._prefix = f"{seed}/{table}/"
        self._index = pa.arange(1, rows + 1).cast(_U64)

    def bits(self, name: str) -> Array:
        """64 random bits a row, as uint64."""
        digest = hashlib.sha256((self._prefix + name).encode()).digest()
        key = _uint64(int.from_bytes(digest[:8], "little"))
        bits = pc.add(pc.multiply(self._index, _uint64(0x9E3779B97F4A7C15)), key)
        bits = pc.bit_wise_xor(bits, pc.shift_right(bits, _uint64(30)))
        bits = pc.multiply(bits, _uint64(0xBF58476D1CE4E5B9))
        bits = pc.bit_wise_xor(bits, pc.shift_right(bits, _uint64(27)))
        bits = pc.multiply(bits, _uint64(0x94D049BB133111EB))
        return pc.bit_wise_xor(bits, pc.shift_right(bits, _uint64(31)))

    def integers(self, name: str, low: int, high: int, kind: Any = None) -> Array:
        """Integers from `low` to `high`, both included, as int64 or `kind`."""
        bits, span = self.bits(name), _uint64(high - low + 1)
        rest = pc.subtract(bits, pc.multiply(pc.divide(bits, span), span))
        numbers = pc.add(
            rest.view(pa.int64()), low
        )  # wraps, so that any span within int64 is right
        return numbers if kind is None else numbers.cast(kind)

    def bigints(self, name: str) -> Array:
        """Integers over the whole range of int64."""
        return self.bits(name).view(pa.int64())

    def fractions(self, name: str) -> Array:
        """Doubles in [0, 1) that use all 53 bits."""
        return pc.multiply(
            pc.shift_right(self.bits(name), _uint64(11)).cast(pa.float64()), 2.0**-53
        )

    def decimals(self, name: str, low: int, high: int, precision: int, scale: int) -> Array:
        """Decimals whose digits without the point lie from `low` to `high` (within int64)."""
        return unscaled(self.integers(name, low, high), precision, scale)

    def wide_decimals(self, name: str, precision: int, scale: int) -> Array:
        """Decimals of both signs that use all their digits.

        Args:
            name: of the column.
            precision: from 20 to 38: below, `decimals` does.
            scale: digits behind the point.
        """
        # The high word of the 128 bits stays below 10^precision / 2^64, the low word is free.
        bound = 10**precision // 2**64 - 1
        high = self.integers(name + ".high", -bound, bound).view(_U64)
        low = self.bits(name + ".low")
        return _interleaved(low, high).view(pa.decimal128(precision, scale))

    def choice(self, name: str, values: Sequence[Any] | Array, kind: Any = None) -> Array:
        """Elements of `values` (also None), as string or `kind`."""
        if not isinstance(values, (pa.Array, pa.ChunkedArray)):
            values = pa.array(values, pa.string() if kind is None else kind)
        return _plain(values.take(self.integers(name, 0, len(values) - 1)))

    def booleans(self, name: str, percent: float = 50.0) -> Array:
        """True in about `percent` of the rows."""
        return pc.less(self.integers(name, 0, 9_999), int(percent * 100))

    def dates(self, name: str, first: int, last: int) -> Array:
        """Dates; the bounds are days since 1970."""
        return self.integers(name, first, last, pa.int32()).cast(pa.date32())

    def timestamps(self, name: str, first: int, last: int, unit_us: int = 1) -> Array:
        """timestamp[us]; the bounds are days since 1970, values are multiples of `unit_us`."""
        per_day = 86_400_000_000 // unit_us
        units = self.integers(name, first * per_day, last * per_day + per_day - 1)
        return pc.multiply(units, unit_us).cast(pa.timestamp("us"))

    def datetimes(self, name: str, first: int, last: int) -> Array:
        """Values of `datetime`: 300ths of a second, shown as .000, .003 and .007; at least 1970.

        https://learn.microsoft.com/sql/t-sql/data-types/datetime-transact-sql
        """
        per_day = 86_400 * 300
        ticks = self.integers(name, first * per_day, last * per_day + per_day - 1)
        millis = pc.divide(pc.add(pc.multiply(ticks, 10), 1), 3)
        return pc.multiply(millis, 1000).cast(pa.timestamp("us"))

    def times(self, name: str, unit_us: int = 1) -> Array:
        """time64[us], multiples of `unit_us`."""
        units = self.integers(name, 0, 86_400_000_000 // unit_us - 1)
        return pc.multiply(units, unit_us).cast(pa.time64("us"))

    def offsets(self, name: str, first: int, last: int, unit_us: int = 1) -> Array:
        """Values of `datetimeoffset`: struct<utc: timestamp[us, UTC], offset_minutes: int16>."""
        utc = self.timestamps(name, first, last, unit_us).cast(pa.timestamp("us", "UTC"))
        minutes = self.choice(f"{name}.offset", [-480, -300, 0, 60, 120, 330, 765], pa.int16())
        return pa.StructArray.from_arrays([utc, minutes], ["utc", "offset_minutes"])

    def guids(self, name: str) -> Array:
        """GUIDs as upper-case text."""
        table, parts = _hexadecimal(), []
        for word in ("high", "low"):
            bits = self.bits(f"{name}.{word}")
            for shift in (48, 32, 16, 0):
                part = pc.bit_wise_and(pc.shift_right(bits, _uint64(shift)), _uint64(0xFFFF))
                parts.append(table.take(part))
        first = pc.binary_join_element_wise(parts[0], parts[1], "")
        last = pc.binary_join_element_wise(*parts[5:], "")
        return pc.binary_join_element_wise(first, parts[2], parts[3], parts[4], last, "-")

    def binaries(self, name: str, width: int) -> Array:
        """`width` random bytes, a multiple of 8, as fixed-size binary."""
        words = [self.bits(f"{name}.{number}") for number in range(width // 8)]
        return _interleaved(*words).view(pa.binary(width))

    def rowversions(self, first: int) -> Array:
        """Values of `rowversion`: 8 bytes, big-endian, counting up from `first`."""
        numbers = range(first, first + self.rows)
        return pa.array([number.to_bytes(8, "big") for number in numbers], pa.binary(8))

    def nullable(self, name: str, percent: float, array: Array) -> Array:
        """The same with NULL in about `percent` of the rows."""
        nothing = pa.scalar(None, array.type)
        return pc.if_else(self.booleans(f"{name}.null", percent), nothing, array)


def unscaled(numbers: Array, precision: int, scale: int) -> Array:
    """Decimals from int64 that hold their digits without the point."""
    return numbers.cast(pa.decimal128(19, 0)).view(pa.decimal128(precision, scale))


def numbered(prefix: str, numbers: Array, width: int) -> Array:
    """Text like `TX-00042`: a prefix and zero-padded numbers."""
    return pc.binary_join_element_wise(
        prefix, pc.utf8_lpad(numbers.cast(pa.string()), width, "0"), ""
    )


def padded(array: Array, width: int) -> Array:
    """Text filled with spaces to `width` UTF-16 units, as SQL Server keeps char and nchar."""
    wide = pc.count_substring_regex(array, "[\\x{10000}-\\x{10FFFF}]")
    if not pc.any(pc.greater(wide, 0)).as_py():
        return pc.utf8_rpad(array, width)
    units = pc.add(pc.utf8_length(array).cast(pa.int64()), wide.cast(pa.int64()))
    spaces = pa.array([" " * number for number in range(width + 1)])
    return pc.binary_join_element_wise(array, spaces.take(pc.subtract(width, units)), "")


@cache
def _hexadecimal() -> Array:
    return pa.array([f"{number:04X}" for number in range(0x10000)])


def _interleaved(*words: Array) -> Array:
    """The words of each row side by side, as fixed-size binary in memory order."""
    rows, width = len(words[0]), len(words)
    place = pa.arange(0, rows * width)
    row = pc.divide(place, width)
    word = pc.subtract(place, pc.multiply(row, width))
    # Row r, word w is at w * rows + r of the concatenation.
    flat = pa.concat_arrays(words).take(pc.add(pc.multiply(word, rows), row))
    buffers = [None, flat.buffers()[1]]
    return pa.Array.from_buffers(pa.binary(8 * width), rows, buffers)


def _plain(array: Array) -> Array:
    return array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array

"""The fingerprint of Arrow batches, computed while they pass; see `fingerprint.py` for its rules.

Sums are exact: 64-bit values are added in two halves and combined as Python integers, because
Arrow's own int64 and decimal128 sums wrap around silently. Everything is vectorised; a batch costs
a few passes over its buffers and no Python loop over values.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from migration_assets.choices import VerificationLevel
from migration_assets.column_plan import ColumnPlan
from migration_assets.fingerprint import (
    CUT,
    SWAP_MODULUS,
    decimal_digits,
    is_wide_decimal,
    key_columns,
    swap_measured,
    time_digits,
)
from migration_assets.plan import TablePlan
from migration_assets.receipts import Fingerprint
from migration_assets.type_mapping import LONGEST_KEPT, MAX_STARROCKS_BYTES

Ints: TypeAlias = npt.NDArray[np.int64]

SLICE_ROWS = 32_768
"""Rows measured at once: what is worked out in between then stays in the processor's cache, which
took a fifth off the time of 65,536."""

_EPOCH_DAYS = 719_162
"""Days from 0001-01-01 to 1970-01-01."""
_MICROS_PER_DAY = 86_400_000_000
_MICROS_PER_SECOND = 1_000_000


@dataclass(frozen=True)
class Measured:
    """What one column of one batch gives.

    Attributes:
        sums: measure name to the exact sum.
        numbers: measure name to the rows' numbers for the product with the key, 0 where NULL.
    """

    sums: dict[str, int]
    numbers: dict[str, Ints]


class ArrowFingerprint:
    """Accumulates the fingerprint of one partition, batch by batch."""

    def __init__(self, table: TablePlan, level: VerificationLevel) -> None:
        """Start at zero rows."""
        self._columns = table.columns if level.compares_values else ()
        self._keys = key_columns(table)
        self._rows = 0
        self._values: Counter[str] = Counter()
        for column in self._columns:
            self._values.update(dict.fromkeys(_names(column, self._keys), 0))

    def update(self, batch: pa.RecordBatch) -> None:
        """Add the rows of a batch that has the table's target columns, in their Arrow types."""
        self._rows += batch.num_rows
        if not self._columns:
            return
        for start in range(0, batch.num_rows, SLICE_ROWS):
            self._measure(batch.slice(start, SLICE_ROWS))

    def _measure(self, batch: pa.RecordBatch) -> None:
        key = self._key_numbers(batch)
        for column in self._columns:
            values = batch.column(column.name)
            measured = _KINDS[column.measure](column, values)
            self._values[f"{column.name}.count"] += batch.num_rows - values.null_count
            for name, total in measured.sums.items():
                self._values[f"{column.name}.{name}"] += total
            if key is None or not swap_measured(self._keys, column):
                continue
            for name, numbers in measured.numbers.items():
                self._values[f"{column.name}.{name}"] += int(np.dot(key, _remainders(numbers)))

    def result(self) -> Fingerprint:
        """Return the fingerprint of all rows so far."""
        return Fingerprint(rows=self._rows, values=dict(self._values))

    def _key_numbers(self, batch: pa.RecordBatch) -> Ints | None:
        """The rows' key numbers; key columns are NOT NULL in SQL Server."""
        if not self._keys:
            return None
        total: Ints = np.zeros(batch.num_rows, dtype=np.int64)
        for column in self._keys:
            numbers = _KINDS[column.measure](column, batch.column(column.name)).numbers
            total += _remainders(next(iter(numbers.values())))
        return total


def _names(column: ColumnPlan, keys: tuple[ColumnPlan, ...]) -> Iterator[str]:
    empty = pa.array([], type=_EMPTY_TYPES.get(column.measure, pa.int64()))
    if column.measure == "decimal":
        empty = pa.array([], type=pa.decimal128(*decimal_digits(column)))
    measured = _KINDS[column.measure](column, empty)
    yield f"{column.name}.count"
    yield from (f"{column.name}.{name}" for name in measured.sums)
    if swap_measured(keys, column):
        yield from (f"{column.name}.{name}" for name in measured.numbers)


def _exact_sum(values: npt.NDArray[Any]) -> int:
    """Sum of 64-bit integers without wrap-around: where it could, the high and low words apart."""
    if len(values) == 0:
        return 0
    largest = max(int(values.max()), -int(values.min()))
    if largest * len(values) < 1 << 63:
        return int(values.sum(dtype=np.int64))
    high = int((values >> 32).sum(dtype=np.int64))
    low = int((values & 0xFFFFFFFF).sum(dtype=np.int64))
    return (high << 32) + low


def _remainders(numbers: Ints) -> Ints:
    """`np.fmod(numbers, SWAP_MODULUS)`, which SQL's `%` is too, in half the time for positive ones.

    NumPy divides by a constant without the processor's slow division, for 32 bits faster still.
    """
    if len(numbers) == 0:
        return numbers
    lowest, highest = int(numbers.min()), int(numbers.max())
    if lowest > -SWAP_MODULUS and highest < SWAP_MODULUS:
        return numbers
    if lowest < 0:
        signed: Ints = np.fmod(numbers, SWAP_MODULUS)
        return signed
    narrow = numbers.astype(np.uint32) if highest < 1 << 32 else numbers
    multiples = narrow // SWAP_MODULUS
    multiples *= SWAP_MODULUS
    return np.subtract(narrow, multiples, out=multiples).astype(np.int64, copy=False)


def _present(values: pa.Array) -> npt.NDArray[np.bool_]:
    """Whether each row has a value."""
    valid: npt.NDArray[np.bool_] = values.is_valid().to_numpy(zero_copy_only=False)
    return valid


def _zero_nulls(numbers: Ints, values: pa.Array) -> Ints:
    """The numbers of an array's rows with 0 where the array has NULL: anything may stand there."""
    return numbers * _present(values) if values.null_count else numbers


def _int64(values: pa.Array) -> Ints:
    """The integers behind an array, whatever lies under a NULL; copies no 64-bit type."""
    if pa.types.is_boolean(values.type):
        values = values.cast(pa.int8())
    dtype = np.dtype(f"i{values.type.bit_width // 8}")
    numbers = np.frombuffer(values.buffers()[1], dtype=dtype)
    return numbers[values.offset : values.offset + len(values)].astype(np.int64, copy=False)


def _integer(_: ColumnPlan, values: pa.Array) -> Measured:
    numbers = _zero_nulls(_int64(values), values)
    return Measured({"sum": _exact_sum(numbers)}, {"swap": numbers})


def _date(_: ColumnPlan, values: pa.Array) -> Measured:
    days = _zero_nulls(_int64(values) + _EPOCH_DAYS, values)
    return Measured({"sum": int(days.sum())}, {"swap": days})


def _timestamp(_: ColumnPlan, values: pa.Array) -> Measured:
    micros = _zero_nulls(_int64(values) + _EPOCH_DAYS * _MICROS_PER_DAY, values)
    seconds = micros // _MICROS_PER_SECOND
    number = seconds + (micros - seconds * _MICROS_PER_SECOND)
    return Measured({"sum": _exact_sum(micros)}, {"swap": number})


def _decimal(column: ColumnPlan, values: pa.Array) -> Measured:
    """Unscaled values as two 64-bit words, the upper one signed."""
    words = np.frombuffer(values.buffers()[1], dtype=np.uint64)
    words = words[2 * values.offset : 2 * (values.offset + len(values))].reshape(-1, 2)
    if values.null_count:
        words = words * _present(values)[:, np.newaxis]
    low, high = words[:, 0], words[:, 1].view(np.int64)
    narrow = low.astype(np.int64)
    if bool((high == narrow >> 63).all()):
        # No value needs the upper word, as in most columns however wide they are declared.
        return Measured({"sum": _exact_sum(narrow)}, {"swap": narrow})
    low_sum = (int((low >> np.uint64(32)).sum()) << 32) + int((low & np.uint64(0xFFFFFFFF)).sum())
    total = (_exact_sum(high) << 64) + low_sum
    precision, scale = decimal_digits(column)
    is_wide = is_wide_decimal(precision, scale)
    return Measured({"sum": total}, {"swap": _wide_remainders(low, high, low_digits=is_wide)})


def _wide_remainders(low: npt.NDArray[np.uint64], high: Ints, *, low_digits: bool) -> Ints:
    """Remainders, with the value's sign, of what SQL takes as the number of a decimal.

    That is the whole unscaled value, or the low 19 digits of a wide one. Both are worked out from
    two 64-bit words, since no 128-bit integer type is at hand.
    """
    negative = high < 0
    # Two's complement magnitude: invert and add one, carrying into the upper word.
    low_magnitude = np.where(negative, ~low + np.uint64(1), low)
    carry = (negative & (low == 0)).astype(np.uint64)
    high_bits: npt.NDArray[np.uint64] = high.view(np.uint64)
    high_magnitude = np.where(negative, ~high_bits + carry, high_bits)
    remainder: npt.NDArray[Any]
    if low_digits:
        remainder = _low_digits(low_magnitude, high_magnitude) % np.uint64(SWAP_MODULUS)
    else:
        modulus = np.uint64(SWAP_MODULUS)
        two_64 = np.uint64(pow(2, 64, SWAP_MODULUS))
        remainder = ((high_magnitude % modulus) * two_64 + low_magnitude % modulus) % modulus
    signed: Ints = remainder.astype(np.int64)
    return np.where(negative, -signed, signed)


def _low_digits(
    low: npt.NDArray[np.uint64], high: npt.NDArray[np.uint64]
) -> npt.NDArray[np.uint64]:
    """`(high * 2**64 + low) % 10**19`, by Python integers: columns this wide are rare."""
    values = high.astype(object) * (1 << 64) + low.astype(object)
    return (values % 10**19).astype(np.uint64) if len(values) else low


def _time(column: ColumnPlan, values: pa.Array) -> Measured:
    """`HH:MM:SS[.f…]` of fixed width."""
    scale = time_digits(column)
    digits = _characters(values, 8 if scale == 0 else 9 + scale) - np.uint8(48)

    def number(start: int, length: int) -> Ints:
        total: Ints = np.zeros(len(digits), dtype=np.int64)
        for position in range(start, start + length):
            total = total * 10 + digits[:, position]
        return total

    seconds = number(0, 2) * 3600 + number(3, 2) * 60 + number(6, 2)
    fraction = number(9, scale)
    total = int(seconds.sum()) * 10**7 + int(fraction.sum()) * 10 ** (7 - scale)
    return Measured({"sum": total}, {"swap": seconds + fraction})


_UUID_TEXT = np.dtype(
    {
        "names": list("abcdef"),
        "formats": [">u8", ">u4", ">u4", ">u4", ">u4", ">u8"],
        "offsets": [0, 9, 14, 19, 24, 28],
        "itemsize": 36,
    }
)
"""Where the hexadecimal digits are in `aaaaaaaa-bbbb-cccc-dddd-eeeeffffffff`."""


def _uuid(_: ColumnPlan, values: pa.Array) -> Measured:
    """Four 32-bit numbers from the text, of which two lie around a dash."""
    text = _characters(values, 36).reshape(-1).view(_UUID_TEXT)

    def joined(first: str, second: str) -> npt.NDArray[np.uint64]:
        high = text[first].astype(np.uint64)
        high <<= np.uint64(32)
        high |= text[second]
        return high

    packed = (
        text["a"].astype(np.uint64),
        joined("b", "c"),
        joined("d", "e"),
        text["f"].astype(np.uint64),
    )
    words = [_hexadecimal(characters) for characters in packed]
    total = sum(int(word.sum()) << (96 - 32 * position) for position, word in enumerate(words))
    return Measured({"sum": total}, {"swap": words[0] + words[-1]})


def _hexadecimal(packed: npt.NDArray[np.uint64]) -> Ints:
    """Numbers from eight hexadecimal characters each, within 64-bit words; overwrites them."""
    letters = packed >> np.uint64(6)
    letters &= np.uint64(0x0101010101010101)
    letters *= np.uint64(9)
    packed &= np.uint64(0x0F0F0F0F0F0F0F0F)
    packed += letters
    for shift, mask in ((4, 0x00FF00FF00FF00FF), (8, 0x0000FFFF0000FFFF), (16, 0xFFFFFFFF)):
        np.right_shift(packed, np.uint64(shift), out=letters)
        packed |= letters
        packed &= np.uint64(mask)
    numbers: Ints = packed.view(np.int64)
    return numbers


def _characters(values: pa.Array, width: int) -> npt.NDArray[np.uint8]:
    """The bytes of an array of texts that all have the same width, as a matrix; zeros for NULL."""
    if values.null_count:
        values = values.fill_null(pa.scalar("0" * width, values.type))
    _offsets, data = _text_buffers(values)
    if len(data) != width * len(values):
        wrong = pc.filter(values, pc.not_equal(pc.binary_length(values), width))
        raise AssertionError(f"expected {width} characters, found {wrong[0].as_py()!r}")
    return data.reshape(-1, width)


def _text_buffers(values: pa.Array) -> tuple[Ints, npt.NDArray[np.uint8]]:
    """Offsets from zero and bytes of a (large) string or binary array without nulls."""
    wide = pa.types.is_large_string(values.type) or pa.types.is_large_binary(values.type)
    _, offset_buffer, data_buffer = values.buffers()
    if offset_buffer is None or len(values) == 0:
        return np.zeros(1, dtype=np.int64), np.zeros(0, dtype=np.uint8)
    dtype = np.int64 if wide else np.int32
    offsets = np.frombuffer(offset_buffer, dtype=dtype)[
        values.offset : values.offset + len(values) + 1
    ].astype(np.int64, copy=False)
    data = np.frombuffer(data_buffer or b"", dtype=np.uint8)[offsets[0] : offsets[-1]]
    return offsets - offsets[0] if offsets[0] else offsets, data


def _text(column: ColumnPlan, values: pa.Array) -> Measured:
    offsets, data = _text_buffers(values)
    lengths = _zero_nulls(np.diff(offsets), values)
    units = lengths
    highest = data.max() if len(data) else 0
    if highest >= 0x80:
        units = _zero_nulls(_int64(pc.utf8_length(values)), values)
        if highest >= 0xF0:  # lead bytes of characters that take two UTF-16 units
            units = units + _zero_nulls(_counts(np.flatnonzero(data >= 0xF0), offsets), values)
    sums = {"utf16": int(units.sum())}
    if column.cut:
        # StarRocks, which is compared in bytes, gets the beginning of these; see `starrocks/dml.py`.
        too_long = np.flatnonzero(lengths > MAX_STARROCKS_BYTES)
        beginnings = pc.utf8_slice_codeunits(values.take(pa.array(too_long)), 0, LONGEST_KEPT)
        lengths = lengths.copy()
        lengths[too_long] = _int64(pc.binary_length(beginnings))
        sums[CUT] = len(too_long)
    sums["bytes"] = int(lengths.sum())
    return Measured(sums, {"utf16_swap": units, "bytes_swap": lengths})


def _counts(positions: npt.NDArray[np.intp], offsets: Ints) -> Ints:
    """How many of the sorted positions lie between each two offsets."""
    owners = np.searchsorted(offsets, positions, side="right") - 1
    return np.bincount(owners, minlength=len(offsets) - 1)


def _binary(_: ColumnPlan, values: pa.Array) -> Measured:
    lengths = _zero_nulls(np.diff(_text_buffers(values)[0]), values)
    return Measured({"bytes": int(lengths.sum())}, {"bytes_swap": lengths})


def _float(_column: ColumnPlan, _values: pa.Array) -> Measured:
    return Measured({}, {})


_KINDS: dict[str, Callable[[ColumnPlan, pa.Array], Measured]] = {
    "boolean": _integer,
    "integer": _integer,
    "bigint": _integer,
    "decimal": _decimal,
    "date": _date,
    "timestamp": _timestamp,
    "instant": _timestamp,
    "time": _time,
    "uuid": _uuid,
    "text": _text,
    "binary": _binary,
    "float": _float,
}

_EMPTY_TYPES = {
    "date": pa.date32(),
    "timestamp": pa.timestamp("us"),
    "instant": pa.timestamp("us"),
    "time": pa.large_string(),
    "uuid": pa.large_string(),
    "text": pa.large_string(),
    "binary": pa.large_binary(),
}

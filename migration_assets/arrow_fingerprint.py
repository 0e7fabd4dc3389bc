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

from migration_assets.fingerprint import (
    SWAP_MODULUS,
    decimal_digits,
    is_wide_decimal,
    key_columns,
    swap_measured,
    time_digits,
)
from migration_assets.plan import ColumnPlan, TablePlan, VerificationLevel
from migration_assets.receipts import Fingerprint

Ints: TypeAlias = npt.NDArray[np.int64]

_EPOCH_DAYS = 719_162
"""Days from 0001-01-01 to 1970-01-01."""
_MICROS_PER_DAY = 86_400_000_000
_MICROS_PER_SECOND = 1_000_000


@dataclass(frozen=True)
class Measured:
    """What one column of one batch gives, over its non-null rows in order.

    Attributes:
        sums: measure name to the exact sum.
        numbers: measure name to the rows' numbers for the product with the key.
    """

    sums: dict[str, int]
    numbers: dict[str, Ints]


class ArrowFingerprint:
    """Accumulates the fingerprint of one partition, batch by batch."""

    def __init__(self, table: TablePlan, level: VerificationLevel) -> None:
        """Start at zero rows."""
        self._columns = table.columns if level is VerificationLevel.FULL else ()
        self._keys = key_columns(table)
        self._rows = 0
        self._values: Counter[str] = Counter()
        for column in self._columns:
            self._values.update(dict.fromkeys(_names(column, self._keys), 0))

    def update(self, batch: pa.RecordBatch) -> None:
        """Add the rows of a batch that has the table's target columns, in their Arrow types."""
        self._rows += batch.num_rows
        if batch.num_rows == 0 or not self._columns:
            return
        key = self._key_numbers(batch)
        for column in self._columns:
            values = batch.column(column.name)
            nulls = values.null_count
            present = values.drop_null() if nulls else values
            measured = _KINDS[column.measure](column, present)
            self._values[f"{column.name}.count"] += batch.num_rows - nulls
            for name, total in measured.sums.items():
                self._values[f"{column.name}.{name}"] += total
            if key is None or not swap_measured(self._keys, column):
                continue
            key_here = key[values.is_valid().to_numpy(zero_copy_only=False)] if nulls else key
            for name, numbers in measured.numbers.items():
                product = int(np.dot(key_here, np.fmod(numbers, SWAP_MODULUS)))
                self._values[f"{column.name}.{name}"] += product

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
            total += np.fmod(next(iter(numbers.values())), SWAP_MODULUS)
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
    """Sum of 64-bit integers without wrap-around: the high and low words apart."""
    high = int((values >> 32).sum(dtype=np.int64))
    low = int((values & 0xFFFFFFFF).sum(dtype=np.int64))
    return (high << 32) + low


def _int64(values: pa.Array) -> Ints:
    """The integers behind an array without nulls; copies nothing for 64-bit types."""
    if pa.types.is_boolean(values.type):
        values = values.cast(pa.int8())
    if pa.types.is_temporal(values.type):
        values = values.view(pa.int32() if values.type.bit_width == 32 else pa.int64())
    numbers: Ints = values.to_numpy(zero_copy_only=True).astype(np.int64, copy=False)
    return numbers


def _integer(_: ColumnPlan, values: pa.Array) -> Measured:
    numbers = _int64(values)
    return Measured({"sum": _exact_sum(numbers)}, {"swap": numbers})


def _date(_: ColumnPlan, values: pa.Array) -> Measured:
    days = _int64(values) + _EPOCH_DAYS
    return Measured({"sum": int(days.sum())}, {"swap": days})


def _timestamp(_: ColumnPlan, values: pa.Array) -> Measured:
    micros = _int64(values) + _EPOCH_DAYS * _MICROS_PER_DAY
    seconds = micros // _MICROS_PER_SECOND
    number = seconds + (micros - seconds * _MICROS_PER_SECOND)
    return Measured({"sum": _exact_sum(micros)}, {"swap": number})


def _decimal(column: ColumnPlan, values: pa.Array) -> Measured:
    """Unscaled values as two 64-bit words, the upper one signed."""
    words = np.frombuffer(values.buffers()[1], dtype=np.uint64)
    words = words[2 * values.offset : 2 * (values.offset + len(values))].reshape(-1, 2)
    low, high = words[:, 0], words[:, 1].view(np.int64)
    low_sum = (int((low >> np.uint64(32)).sum()) << 32) + int((low & np.uint64(0xFFFFFFFF)).sum())
    total = (_exact_sum(high) << 64) + low_sum
    precision, scale = decimal_digits(column)
    is_wide = is_wide_decimal(precision, scale)
    if precision <= 18 and not is_wide:
        return Measured({"sum": total}, {"swap": low.view(np.int64)})
    return Measured({"sum": total}, {"swap": _remainders(low, high, low_digits=is_wide)})


def _remainders(low: npt.NDArray[np.uint64], high: Ints, *, low_digits: bool) -> Ints:
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


def _uuid(_: ColumnPlan, values: pa.Array) -> Measured:
    """Four 32-bit numbers from the text; eight hexadecimal digits at a time."""
    text = _characters(values, 36)
    groups = (
        text[:, 0:8],
        np.concatenate([text[:, 9:13], text[:, 14:18]], axis=1),
        np.concatenate([text[:, 19:23], text[:, 24:28]], axis=1),
        text[:, 28:36],
    )
    words = [_hexadecimal(group) for group in groups]
    total = sum(int(word.sum()) << (96 - 32 * position) for position, word in enumerate(words))
    return Measured({"sum": total}, {"swap": words[0] + words[-1]})


def _hexadecimal(digits: npt.NDArray[np.uint8]) -> Ints:
    """Numbers from rows of eight hexadecimal characters, packed within 64-bit words."""
    packed = np.ascontiguousarray(digits).view(">u8").ravel().astype(np.uint64)
    nibbles = (packed & np.uint64(0x0F0F0F0F0F0F0F0F)) + np.uint64(9) * (
        (packed >> np.uint64(6)) & np.uint64(0x0101010101010101)
    )
    pairs = (nibbles | (nibbles >> np.uint64(4))) & np.uint64(0x00FF00FF00FF00FF)
    fours = (pairs | (pairs >> np.uint64(8))) & np.uint64(0x0000FFFF0000FFFF)
    eights = (fours | (fours >> np.uint64(16))) & np.uint64(0xFFFFFFFF)
    numbers: Ints = eights.astype(np.int64)
    return numbers


def _characters(values: pa.Array, width: int) -> npt.NDArray[np.uint8]:
    """The bytes of an array of texts that all have the same width, as a matrix."""
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
    return offsets - offsets[0], data


def _text(_: ColumnPlan, values: pa.Array) -> Measured:
    offsets, data = _text_buffers(values)
    lengths = np.diff(offsets)
    units = lengths
    if len(data) and data.max() >= 0x80:
        units = pc.utf8_length(values).to_numpy(zero_copy_only=False).astype(np.int64)
        supplementary = data >= 0xF0  # lead bytes of characters that take two UTF-16 units
        if supplementary.any():
            before = np.concatenate([[0], np.cumsum(supplementary)])
            units = units + (before[offsets[1:]] - before[offsets[:-1]])
    return Measured(
        {"utf16": int(units.sum()), "bytes": len(data)},
        {"utf16_swap": units, "bytes_swap": lengths},
    )


def _binary(_: ColumnPlan, values: pa.Array) -> Measured:
    offsets, data = _text_buffers(values)
    return Measured({"bytes": len(data)}, {"bytes_swap": np.diff(offsets)})


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

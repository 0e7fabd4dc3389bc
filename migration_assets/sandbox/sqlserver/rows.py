"""Rows of a result set, encoded column by column.

Every field becomes one or two Arrow binary arrays (length prefix, value); one call of
`binary_join_element_wise` then joins the columns into rows. No Python loop runs per value, so the
stand-in does not set the pace of a benchmark. Formats: MS-TDS 2.2.5.5 and 2.2.7.19.
"""

from __future__ import annotations

import struct
from decimal import Decimal
from functools import cache
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from migration_assets.sandbox.sqlserver import code_pages, collation
from migration_assets.sandbox.sqlserver.sql_types import MAX, SqlType, decimal_bytes, time_bytes
from migration_assets.sandbox.sqlserver.tokens import ResultColumn

_ROW = b"\xd1"
_DAY_US = 86_400_000_000
_DAY_TICKS = _DAY_US * 10
_DAYS_0001 = 719_162
"""Days from 0001-01-01 to 1970-01-01."""
_DAYS_1900 = 25_567
"""Days from 1900-01-01 to 1970-01-01."""
_ZERO = pa.array([0], pa.int32())
_LARGEST_JOIN = 1 << 30
"""Bytes above which a batch is halved: Arrow's binary arrays end at 2 GiB."""

Part = Any  # a pyarrow binary array, or bytes that are the same in each row


def encode(batch: pa.RecordBatch, columns: list[ResultColumn]) -> list[memoryview]:
    """Encode a batch as ROW tokens.

    Args:
        batch: the rows, in DuckDB's storage types (see `sql_types.TYPES`).
        columns: their T-SQL types, in order.

    Returns:
        Pieces of the answer, to be sent in order.
    """
    if batch.num_rows == 0:
        return []
    if batch.num_rows > 1 and batch.nbytes > _LARGEST_JOIN // 4:
        half = batch.num_rows // 2
        return encode(batch.slice(0, half), columns) + encode(batch.slice(half), columns)
    parts: list[Part] = [_ROW]
    for array, column in zip(batch.columns, columns, strict=True):
        parts += _field(array, column)
    arrays = _merge_constants(parts)
    joined = pc.binary_join_element_wise(*arrays, pa.scalar(b"", pa.binary()))
    if isinstance(joined, pa.Scalar):  # all constant: not reached with at least one column
        return [memoryview(joined.as_py() * batch.num_rows)]
    _, offsets, data = joined.buffers()
    ends = memoryview(offsets).cast("i")
    first, last = ends[joined.offset], ends[joined.offset + len(joined)]
    return [memoryview(data)[first:last]]


def _merge_constants(parts: list[Part]) -> list[Any]:
    arrays: list[Any] = []
    constant = b""
    for part in parts:
        if isinstance(part, bytes):
            constant += part
            continue
        if constant:
            arrays.append(pa.scalar(constant, pa.binary()))
            constant = b""
        arrays.append(part)
    if constant:
        arrays.append(pa.scalar(constant, pa.binary()))
    return arrays


def _field(array: Any, column: ResultColumn) -> list[Part]:
    kind = column.type
    if kind.family in {"string", "binary"}:
        return _variable(_bytes_of(array, kind), kind)
    value = _fixed(_fill(array), kind)
    if kind.info.fixed_token and not column.nullable:
        return [value]
    width = _width(kind)
    if array.null_count == 0:
        return [bytes([width]), value]
    prefixed = pc.binary_join_element_wise(pa.scalar(bytes([width])), value, pa.scalar(b""))
    return [pc.if_else(array.is_valid(), prefixed, pa.scalar(b"\x00", pa.binary()))]


def _width(kind: SqlType) -> int:
    if kind.name in {"decimal", "numeric"}:
        return decimal_bytes(kind.precision)
    if kind.name in {"time", "datetime2", "datetimeoffset"}:
        return kind.max_length
    return kind.info.max_length


def _fill(array: Any) -> Any:
    """Replace NULLs by zeros, so that the kernels below see plain buffers."""
    if array.null_count == 0:
        return array
    if pa.types.is_struct(array.type):
        return pa.StructArray.from_arrays([_fill(part) for part in array.flatten()], ["utc", "off"])
    if pa.types.is_string(array.type) or pa.types.is_large_string(array.type):
        return array.fill_null("00000000-0000-0000-0000-000000000000")
    if pa.types.is_temporal(array.type):
        width = array.type.bit_width
        plain = array.view(pa.int32() if width == 32 else pa.int64())
        return plain.fill_null(0).view(array.type)
    zero = False if pa.types.is_boolean(array.type) else 0
    return array.fill_null(
        pa.scalar(Decimal(0) if pa.types.is_decimal(array.type) else zero, array.type)
    )


def _bytes(array: Any, width: int) -> Any:
    """Little-endian bytes of an integer array, cut to `width`."""
    full = array.type.bit_width // 8
    binary = array.view(pa.binary(full)).cast(pa.binary())
    return binary if width == full else pc.binary_slice(binary, 0, width)


def _fixed(array: Any, kind: SqlType) -> Any:
    match kind.name:
        case "bit":
            return _bytes(array.cast(pa.uint8()), 1)
        case "tinyint":
            return _bytes(array.cast(pa.uint8()), 1)
        case "smallint":
            return _bytes(array.cast(pa.int16()), 2)
        case "int" | "null":
            return _bytes(array.cast(pa.int32()), 4)
        case "bigint":
            return _bytes(array.cast(pa.int64()), 8)
        case "real":
            return _bytes(array.cast(pa.float32()), 4)
        case "float":
            return _bytes(array.cast(pa.float64()), 8)
        case "decimal" | "numeric":
            return _decimal(array, kind)
        case "money" | "smallmoney":
            return _money(array, kind)
        case "uniqueidentifier":
            return _guid(array)
        case "date":
            return _date(array.view(pa.int32()))
        case "time":
            return _time(array.view(pa.int64()), kind.scale)
        case "datetime2":
            return _moment(array, kind)
        case "datetimeoffset":
            offset = _bytes(array.field("off").cast(pa.int16()), 2)
            return _join(_moment(array.field("utc"), kind), offset)
        case "datetime":
            days, micros = _split(array.view(pa.int64()))
            ticks = pc.divide(pc.add(pc.multiply(micros, 3), 5000), 10_000)
            since = pc.add(days, _DAYS_1900).cast(pa.int32())
            return _join(_bytes(since, 4), _bytes(ticks.cast(pa.uint32()), 4))
        case "smalldatetime":
            days, micros = _split(array.view(pa.int64()))
            minutes = pc.divide(micros, 60_000_000).cast(pa.uint16())
            since = pc.add(days, _DAYS_1900).cast(pa.uint16())
            return _join(_bytes(since, 2), _bytes(minutes, 2))
        case _:
            pass
    raise AssertionError(f"no encoding for {kind.name}")


def _join(*parts: Any) -> Any:
    return pc.binary_join_element_wise(*parts, pa.scalar(b"", pa.binary()))


def _decimal(array: Any, kind: SqlType) -> Any:
    width = decimal_bytes(kind.precision)
    exact = array.cast(pa.decimal128(38, kind.scale))
    negative = pc.less(exact, pa.scalar(0, pa.decimal128(38, kind.scale)))
    magnitude = pc.abs(exact) if pc.any(negative).as_py() else exact
    digits = pc.binary_slice(magnitude.view(pa.binary(16)).cast(pa.binary()), 0, width - 1)
    if magnitude is exact:
        return _join(pa.scalar(b"\x01"), digits)
    sign = pc.if_else(negative, pa.scalar(b"\x00"), pa.scalar(b"\x01"))
    return _join(sign, digits)


def _money(array: Any, kind: SqlType) -> Any:
    units = array.cast(pa.decimal128(38, 4)).view(pa.binary(16)).cast(pa.binary())
    if kind.name == "smallmoney":
        return pc.binary_slice(units, 0, 4)
    return _join(pc.binary_slice(units, 4, 8), pc.binary_slice(units, 0, 4))


def _split(micros: Any) -> tuple[Any, Any]:
    """Days since 1970 (rounded down) and microseconds of the day."""
    # Integer division rounds towards zero: shift everything behind 0001-01-01 first.
    shifted = pc.add(micros, _DAYS_0001 * _DAY_US)
    days = pc.divide(shifted, _DAY_US)
    return pc.subtract(days, _DAYS_0001), pc.subtract(shifted, pc.multiply(days, _DAY_US))


def _moment(array: Any, kind: SqlType) -> Any:
    """Time and day of a datetime2 or of the UTC of a datetimeoffset."""
    if kind.ticks:
        ticks = array.view(pa.int64())
        days = pc.divide(ticks, _DAY_TICKS)
        units = pc.subtract(ticks, pc.multiply(days, _DAY_TICKS))
        return _join(_time(units, 7), _bytes(days.cast(pa.int32()), 3))
    days, micros = _split(array.view(pa.int64()))
    return _join(_time(micros, kind.scale), _date(days.cast(pa.int32())))


def _date(days: Any) -> Any:
    return _bytes(pc.add(days, pa.scalar(_DAYS_0001, pa.int32())), 3)


def _time(stored: Any, scale: int) -> Any:
    """Microseconds, or 100 ns where the scale is 7."""
    units = stored if scale == 7 else pc.divide(stored, 10 ** (6 - scale))
    return _bytes(units, time_bytes(scale))


def _guid(array: Any) -> Any:
    """GUIDs as text to SQL Server's mixed-endian bytes, all in C: hex parse and strided copies."""
    text = _concatenated(array)[1]
    raw = bytes.fromhex(text.replace(b"-", b"").decode("ascii"))
    out = bytearray(len(raw))
    for place, source in enumerate([3, 2, 1, 0, 5, 4, 7, 6, *range(8, 16)]):
        out[place::16] = raw[source::16]
    fixed = pa.Array.from_buffers(pa.binary(16), len(array), [None, pa.py_buffer(bytes(out))])
    return fixed.cast(pa.binary())


def _concatenated(array: Any) -> tuple[Any, bytes]:
    """Where each value of a string or binary array ends (with a 0 in front), and all bytes."""
    _, offsets, data = array.cast(pa.binary()).buffers()
    ends = pa.Array.from_buffers(pa.int32(), len(array) + 1, [None, offsets], offset=array.offset)
    first, last = ends[0].as_py(), ends[-1].as_py()
    if first or array.offset:
        ends = pc.subtract(ends, pa.scalar(first, pa.int32()))
    return ends, bytes(memoryview(data)[first:last]) if data else b""


def _bytes_of(array: Any, kind: SqlType) -> Any:
    """The values as the bytes that go on the wire; NULLs stay NULL."""
    if kind.family == "binary":
        return array.cast(pa.binary())
    if kind.info.unicode:
        return transcoded(array.cast(pa.string()), "utf-16-le")
    codec = collation.codec(kind.collation)
    if codec == "utf-8":
        return array.cast(pa.binary())
    return transcoded(array.cast(pa.string()), codec)


# How many UTF-16 units begin at a byte of UTF-8; also the bytes in a code page, see above.
_UNITS = bytes([1] * 0x80 + [0] * 0x40 + [1] * 0x30 + [2] * 0x10)
_ONE_BY_ONE = {"cp932", "gbk", "cp949", "cp950"}
"""Code pages in which the length of a value is known only once it is encoded."""


def transcoded(array: Any, codec: str) -> Any:
    """Encode a string array: one call of Python's codec for all values together."""
    filled = (array.fill_null("") if array.null_count else array).cast(pa.binary())
    ends, data = _concatenated(filled)
    text = data.decode("utf-8")
    if len(text) == len(data) and codec != "utf-16-le":  # ASCII only
        return array.cast(pa.binary())
    if codec in _ONE_BY_ONE or code_pages.KEPT_BYTES.search(data):
        values = [None if v is None else code_pages.encoded(v, codec) for v in array.to_pylist()]
        return pa.array(values, pa.binary())
    if len(text) == len(data):  # ASCII only
        places = ends
    else:
        begun = pa.Array.from_buffers(
            pa.uint8(), len(data), [None, pa.py_buffer(data.translate(_UNITS))]
        )
        before = pa.concat_arrays([_ZERO, pc.cumulative_sum(begun.cast(pa.int32()))])
        places = before.take(ends)
    offsets = pc.multiply(places, pa.scalar(2, pa.int32())) if codec == "utf-16-le" else places
    encoded = pa.py_buffer(text.encode(codec, "sqlserver"))
    out = pa.Array.from_buffers(pa.binary(), len(array), [None, offsets.buffers()[1], encoded])
    return pc.if_else(array.is_valid(), out, None) if array.null_count else out


def _variable(array: Any, kind: SqlType) -> list[Part]:
    if kind.length == MAX or kind.info.large:
        return _large(array, kind) if kind.info.large else _chunked(array)
    lengths = pc.binary_length(array).cast(pa.uint16()).fill_null(0xFFFF)
    value = array.fill_null(b"") if array.null_count else array
    return [_bytes(lengths, 2), value]


@cache
def _null_length() -> Any:
    return pa.scalar(-1, pa.int64())


def _chunked(array: Any) -> list[Part]:
    """(max) and xml: 8-byte length, one chunk, terminator; all ones for NULL."""
    lengths = pc.binary_length(array).cast(pa.int64())
    total = _bytes(lengths.fill_null(_null_length()), 8)
    chunk = _bytes(lengths.cast(pa.int32()).fill_null(0), 4)
    empty = pa.scalar(b"", pa.binary())
    # An empty value is its length and a terminator, which a chunk of zero bytes already is.
    if array.null_count:
        chunk = pc.if_else(array.is_valid(), chunk, empty)
        array = array.fill_null(b"")
    filled = pc.greater(pc.binary_length(array), 0)
    end = pc.if_else(filled, pa.scalar(bytes(4), pa.binary()), empty)
    return [total, chunk, array, end]


def _large(array: Any, kind: SqlType) -> list[Part]:
    """Text, ntext and image: text pointer, timestamp, 4-byte length; a zero byte for NULL."""
    del kind
    pointer = bytes([16]) + b"stand-in-pointer" + struct.pack("<Q", 0)
    lengths = _bytes(pc.binary_length(array).cast(pa.int32()).fill_null(0), 4)
    head = _join(pa.scalar(pointer), lengths)
    if array.null_count:
        head = pc.if_else(array.is_valid(), head, pa.scalar(b"\x00", pa.binary()))
        array = array.fill_null(b"")
    return [head, array]

"""A fixed value in every row of a masked column: whether it fits the type, and its T-SQL; pure."""

from __future__ import annotations

import math
import re
import struct
import uuid
from datetime import UTC, date, datetime, time
from decimal import Decimal, InvalidOperation

from migration_assets.column_plan import ColumnPlan
from migration_assets.errors import ConfigurationError
from migration_assets.fingerprint import decimal_digits
from migration_assets.schema import Column

MOST_UNITS = 4000
"""Longest nvarchar that is not (max)."""

_TEXTS = frozenset({"char", "varchar", "nchar", "nvarchar", "text", "ntext"})
_BINARIES = frozenset({"binary", "varbinary", "image"})
_INTEGERS = {
    "tinyint": (0, 2**8 - 1),
    "smallint": (-(2**15), 2**15 - 1),
    "int": (-(2**31), 2**31 - 1),
    "bigint": (-(2**63), 2**63 - 1),
}


def fixed_expression(column: Column, plain: ColumnPlan, value: str, where: str) -> tuple[str, str]:
    """T-SQL of a constant of a column's type.

    Args:
        column: as introspected.
        plain: its plan without a mask.
        value: as migration.yaml has it.
        where: the table's name, for messages.

    Returns:
        The expression and its T-SQL type.

    Raises:
        ConfigurationError: the type takes no fixed value, or not this one.
    """
    try:
        return _expression(column, plain, value)
    except (ValueError, InvalidOperation, OverflowError) as error:
        why = str(error) if isinstance(error, _UnfitError) else "it is no value of that type"
        raise ConfigurationError(
            f"{where}: {column.name} of type {column.type.declaration} cannot be masked by the fixed "
            f"value {value[:80]!r}: {why}.",
            code="MA-CF-050",
            next_step="Correct `fixed` in migration.yaml, or use `mask: null`.",
        ) from None


def decimal_type(column: ColumnPlan) -> str:
    """The T-SQL type of a column whose Iceberg type is a decimal: `decimal(19,4)`, of money too."""
    precision, scale = decimal_digits(column)
    return f"decimal({precision},{scale})"


class _UnfitError(ValueError):
    """Says why, as the end of a sentence."""


def _expression(column: Column, plain: ColumnPlan, value: str) -> tuple[str, str]:
    kind = column.type
    match plain.measure:
        case "text" if kind.name in _TEXTS:
            return _text(value, kind.length)
        case "binary" if kind.name in _BINARIES:
            return _binary(value, kind.length)
        case "boolean":
            number = {"1": 1, "0": 0, "true": 1, "false": 0}.get(value.lower())
            if number is None:
                raise _UnfitError("a bit is 0 or 1")
            return f"CAST({number} AS bit)", "bit"
        case "integer" | "bigint":
            lowest, highest = _INTEGERS[kind.name]
            number = int(value)
            if not lowest <= number <= highest:
                raise _UnfitError(f"it goes from {lowest} to {highest}")
            wide = "bigint" if plain.measure == "bigint" else "int"
            return f"CAST({number} AS {wide})", wide
        case "decimal":
            return _decimal(value, decimal_type(plain))
        case "float":
            number_ = float(value)
            name = "real" if plain.iceberg_type == "float" else "float"
            if not math.isfinite(number_):
                raise _UnfitError("SQL Server has finite numbers only")
            if name == "real":
                struct.pack("<f", number_)
            return f"CAST({number_!r} AS {name})", name
        case "date":
            return f"CAST('{date.fromisoformat(value)}' AS date)", "date"
        case "timestamp":
            moment = datetime.fromisoformat(value)
            if moment.tzinfo is not None:
                raise _UnfitError("that type has no offset")
            return f"CAST('{moment.isoformat()}' AS datetime2(6))", "datetime2(6)"
        case "instant":
            moment = datetime.fromisoformat(value)
            if moment.tzinfo is None:
                raise _UnfitError("it needs an offset: 1900-01-01T00:00:00+00:00")
            at_utc = moment.astimezone(UTC).isoformat()
            return f"CAST('{at_utc}' AS datetimeoffset(6))", "datetimeoffset(6)"
        case "time":
            return _time(value, kind.scale)
        case "uuid":
            return (
                f"CAST('{str(uuid.UUID(value)).upper()}' AS uniqueidentifier)",
                "uniqueidentifier",
            )
        case _:
            raise _UnfitError("that type takes none; use null")


def _text(value: str, length: int | None) -> tuple[str, str]:
    units = len(value.encode("utf-16-le")) // 2
    limit = min(length or MOST_UNITS, MOST_UNITS)
    if units > limit:
        raise _UnfitError(f"it is longer than {limit}")
    if re.search(r"[\0\x85\u2028\u2029]", value):
        raise _UnfitError("it has a control character")
    literal = value.replace("'", "''")
    kind = f"nvarchar({max(units, 1)})"
    return f"CAST(N'{literal}' AS {kind})", kind


def _binary(value: str, length: int | None) -> tuple[str, str]:
    found = re.fullmatch(r"0x((?:[0-9a-fA-F]{2})*)", value)
    if found is None:
        raise _UnfitError("bytes are written as 0x00ff")
    size = len(found[1]) // 2
    limit = min(length or MOST_UNITS, MOST_UNITS)
    if size > limit:
        raise _UnfitError(f"it is longer than {limit} bytes")
    kind = f"varbinary({max(size, 1)})"
    return f"CAST({value} AS {kind})", kind


def _decimal(value: str, kind: str) -> tuple[str, str]:
    precision, scale = (int(part) for part in kind[len("decimal(") : -1].split(","))
    number = Decimal(value)
    if not number.is_finite():
        raise _UnfitError("it is no number")
    if number != 0 and number.adjusted() >= precision - scale:
        raise _UnfitError(f"it has more than {precision - scale} digits before the point")
    exponent = number.normalize().as_tuple().exponent
    if isinstance(exponent, int) and -exponent > scale:
        raise _UnfitError(f"it has more than {scale} digits after the point")
    return f"CAST({number:f} AS {kind})", kind


def _time(value: str, scale: int) -> tuple[str, str]:
    moment = time.fromisoformat(value)
    if moment.tzinfo is not None:
        raise _UnfitError("that type has no offset")
    digits = f"{moment.microsecond:06d}0"
    if digits[scale:].strip("0"):
        raise _UnfitError(f"it has more than {scale} digits after the point")
    text = f"{moment:%H:%M:%S}" + (f".{digits[:scale]}" if scale else "")
    return f"CAST('{text}' AS varchar(16))", "varchar(16)"

"""Keys of every type: their text, their literals in T-SQL, and the line that their values lie on.

The *text* of a value is what a query of `KeyType.text` returns: exact, in ASCII, and nothing that a
driver could change. Strings and binary values travel as hexadecimal digits.

Values of one key are put in order by SQL Server alone. A line is for arithmetic *between* two values
that the server put in order: cuts are exact for every value that a column can hold.
"""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass
from datetime import date
from decimal import Decimal, InvalidOperation, localcontext
from typing import Protocol

from migration_assets.schema import MssqlType


class Line(Protocol):
    """A type's values as integers, one per step."""

    @property
    def coarse_steps(self) -> tuple[int, ...]:
        """Rounder steps to cut at where there is room, the coarsest first."""

    def position(self, value: str) -> int:
        """Place of a value; `ValueError` when it is not one of the type."""

    def literal(self, position: int) -> str:
        """T-SQL literal of a place."""


@dataclass(frozen=True)
class _NumberLine:
    """Integers, decimals and money; a step is the last digit.

    Attributes:
        scale: digits after the point.
        money: type that a literal is cast to: a bare one is decimal, which would convert the column.
    """

    scale: int = 0
    money: str = ""
    coarse_steps: tuple[int, ...] = ()

    def position(self, value: str) -> int:
        if not self.scale:
            return int(value)
        with localcontext(prec=80):  # decimal(38, 38) times 10^38 must stay exact
            try:
                scaled = Decimal(value).scaleb(self.scale)
                position = int(scaled)
            except (InvalidOperation, OverflowError) as error:
                raise ValueError(value) from error
            if position != scaled:
                raise ValueError(value)
        return position

    def literal(self, position: int) -> str:
        if not self.scale:
            return str(position)
        digits = str(abs(position)).rjust(self.scale + 1, "0")
        sign = "-" if position < 0 else ""
        number = f"{sign}{digits[: -self.scale]}.{digits[-self.scale :]}"
        return f"CAST({number} AS {self.money})" if self.money else number


_HUNDRED_NS_A_DAY = 864_000_000_000
_MOMENT = re.compile(
    r"(\d{4}-\d{2}-\d{2})(?:[T ](\d{2}):(\d{2})(?::(\d{2})(?:\.(\d{1,7}))?)?)?", re.ASCII
)


@dataclass(frozen=True)
class _TimeLine:
    """Dates and times without a zone; position 0 is in year 0, so all are above 0.

    Literals read the same under every SET LANGUAGE and SET DATEFORMAT. `date`: ISO 8601 YYYY-MM-DD,
    "the only format defined as an international standard"
    (https://learn.microsoft.com/sql/t-sql/data-types/date-transact-sql). The others: ISO 8601 with
    the T, which is "not affected by the SET LANGUAGE and SET DATEFORMAT session locale settings"
    (https://learn.microsoft.com/sql/t-sql/data-types/datetime2-transact-sql); without the T,
    `datetime` and `smalldatetime` are (https://bornsql.ca/?p=1263).

    Attributes:
        steps_a_day: number of steps in a day.
        digits: digits of the second's fraction in a literal.
        offset: what a literal ends with, `+00:00` for moments that have an offset.
    """

    steps_a_day: int
    digits: int = 0
    offset: str = ""

    @property
    def coarse_steps(self) -> tuple[int, ...]:
        return tuple(s for s in (self.steps_a_day, self.steps_a_day // 86_400) if s > 1)

    def position(self, value: str) -> int:
        moment = _MOMENT.fullmatch(value.removesuffix(self.offset))
        if moment is None:
            raise ValueError(value)
        hours, minutes, seconds = (int(moment[part] or 0) for part in (2, 3, 4))
        fraction = int((moment[5] or "0").ljust(7, "0"))
        time = ((hours * 60 + minutes) * 60 + seconds) * 10_000_000 + fraction
        days = date.fromisoformat(moment[1]).toordinal()
        return (days * _HUNDRED_NS_A_DAY + time) // (_HUNDRED_NS_A_DAY // self.steps_a_day)

    def literal(self, position: int) -> str:
        days, steps = divmod(position, self.steps_a_day)
        day = date.fromordinal(days).isoformat()
        if self.steps_a_day == 1:
            return f"'{day}'"
        time = steps * (_HUNDRED_NS_A_DAY // self.steps_a_day)
        seconds, fraction = divmod(time, 10_000_000)
        text = f"{day}T{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
        if fraction:
            text += f".{f'{fraction:07d}'[: self.digits]}"
        return f"'{text}{self.offset}'"


@dataclass(frozen=True)
class _ClockLine:
    """Times of a day.

    Attributes:
        digits: digits of the second's fraction.
    """

    digits: int

    @property
    def coarse_steps(self) -> tuple[int, ...]:
        return (10**self.digits,) if self.digits else ()

    @property
    def _moments(self) -> _TimeLine:
        return _TimeLine(86_400 * 10**self.digits, digits=self.digits)

    def position(self, value: str) -> int:
        return self._moments.position(f"0001-01-01T{value}")

    def literal(self, position: int) -> str:
        return self._moments.literal(position).replace("0001-01-01T", "")


_GUID_ORDER = (10, 11, 12, 13, 14, 15, 8, 9, 7, 6, 5, 4, 3, 2, 1, 0)
"""Bytes of a GUID as it is written, in the order in which SQL Server compares them: the last six,
then 8 to 9, then the first three groups, each from its last byte
(https://learn.microsoft.com/sql/connect/ado-net/sql/compare-guid-uniqueidentifier-values)."""


@dataclass(frozen=True)
class _GuidLine:
    """uniqueidentifier in SQL Server's order."""

    coarse_steps: tuple[int, ...] = (1 << 80,)

    def position(self, value: str) -> int:
        written = uuid.UUID(value).bytes
        return int.from_bytes(bytes(written[i] for i in _GUID_ORDER))

    def literal(self, position: int) -> str:
        written = bytearray(16)
        for i, byte in zip(_GUID_ORDER, position.to_bytes(16), strict=True):
            written[i] = byte
        return f"'{str(uuid.UUID(bytes=bytes(written))).upper()}'"


@dataclass(frozen=True)
class _ByteLine:
    """binary(n) and rowversion, as numbers of n bytes.

    Attributes:
        length: n.
        cast: type that a literal is cast to; a bare one is varbinary.
    """

    length: int
    cast: str = ""
    coarse_steps: tuple[int, ...] = ()

    def position(self, value: str) -> int:
        content = bytes.fromhex(value)
        if len(content) != self.length:
            raise ValueError(value)
        return int.from_bytes(content)

    def literal(self, position: int) -> str:
        digits = f"0x{position.to_bytes(self.length).hex().upper()}"
        return f"CAST({digits} AS {self.cast})" if self.cast else digits


def line_of(mssql_type: MssqlType) -> Line | None:
    """The line that a type's values lie on; None for text, varbinary and what is no key."""
    scale = mssql_type.scale
    match mssql_type.name:
        case "tinyint" | "smallint" | "int" | "bigint":
            return _NumberLine()
        case "decimal" | "numeric":
            return _NumberLine(scale)
        case "money" | "smallmoney":
            return _NumberLine(4, money=mssql_type.name)
        case "date":
            return _TimeLine(1)
        case "smalldatetime":
            return _TimeLine(24 * 60)
        case "datetime":
            # Values lie on 1/300 s; 10 ms are three of those, so no literal is ever rounded.
            return _TimeLine(24 * 60 * 60 * 100, digits=3)
        case "datetime2":
            return _TimeLine(24 * 60 * 60 * 10**scale, digits=scale)
        case "datetimeoffset":
            return _TimeLine(24 * 60 * 60 * 10**scale, digits=scale, offset="+00:00")
        case "time":
            return _ClockLine(scale)
        case "uniqueidentifier":
            return _GuidLine()
        case "timestamp" | "rowversion":
            return _ByteLine(8)
        case "binary":
            return _ByteLine(mssql_type.max_length, cast=mssql_type.declaration)
        case _:
            return None


_TEXTS = {
    **dict.fromkeys(("tinyint", "smallint", "int", "bigint"), "CONVERT(varchar(20), {x})"),
    **dict.fromkeys(("decimal", "numeric"), "CONVERT(varchar(42), {x})"),
    **dict.fromkeys(("money", "smallmoney"), "CONVERT(varchar(30), {x}, 2)"),
    "date": "CONVERT(varchar(10), {x}, 23)",
    **dict.fromkeys(("smalldatetime", "datetime", "datetime2"), "CONVERT(varchar(33), {x}, 126)"),
    "datetimeoffset": (
        "CONVERT(varchar(33), CAST(SWITCHOFFSET({x}, '+00:00') AS datetime2(7)), 126) + '+00:00'"
    ),
    "time": "CONVERT(varchar(16), {x}, 121)",
    "uniqueidentifier": "CONVERT(varchar(36), {x})",
    **dict.fromkeys(
        ("binary", "varbinary", "timestamp", "rowversion"),
        "CONVERT(varchar(max), CONVERT(varbinary(8000), {x}), 2)",
    ),
    **dict.fromkeys(
        ("char", "varchar", "nchar", "nvarchar"),
        "CONVERT(varchar(max), CONVERT(varbinary(8000), CONVERT(nvarchar(4000), {x})), 2)",
    ),
}
"""Styles: https://learn.microsoft.com/sql/t-sql/functions/cast-and-convert-transact-sql"""

_STRINGS = {"char", "varchar", "nchar", "nvarchar"}
_COLLATION = re.compile(r"[A-Za-z0-9_]+", re.ASCII)


def can_be_key(mssql_type: MssqlType) -> bool:
    """Say whether a column of this type can be cut into ranges."""
    if mssql_type.name in _STRINGS | {"varbinary", "binary"}:
        # No index has a key of (max), so cutting by it would sort the table for each partition.
        return mssql_type.max_length > 0
    return mssql_type.name in _TEXTS


def text_sql(mssql_type: MssqlType, expression: str) -> str:
    """The T-SQL expression of a value's text.

    Args:
        mssql_type: a type that `can_be_key`.
        expression: T-SQL of a value of it.
    """
    return _TEXTS[mssql_type.name].replace("{x}", expression)


def declaration(mssql_type: MssqlType) -> str:
    """What a sql_variant that holds a value of the type is cast to."""
    if mssql_type.name in _STRINGS:
        return "nvarchar(4000)"
    if mssql_type.name in {"binary", "varbinary", "timestamp", "rowversion"}:
        return "varbinary(8000)"
    return mssql_type.declaration


def literal(mssql_type: MssqlType, text: str) -> str:
    """The T-SQL literal of a value of the column's own type, so that an index on it can be sought.

    Text in another type would be compared as that one: `N'...'` on a varchar column of an old
    collation scans the whole index
    (https://learn.microsoft.com/sql/t-sql/data-types/data-type-precedence-transact-sql).

    Args:
        mssql_type: a type that `can_be_key`.
        text: as `text_sql` gives it.

    Raises:
        ValueError: the text is none of a value of the type.
    """
    if mssql_type.name in _STRINGS:
        return _string_literal(mssql_type, bytes.fromhex(text))
    if mssql_type.name == "varbinary":
        return f"0x{bytes.fromhex(text).hex().upper()}"
    line = line_of(mssql_type)
    if line is None:
        raise ValueError(text)
    position = line.position(text)  # raises for what is no value
    if isinstance(line, _TimeLine | _ClockLine):
        # datetime's text has milliseconds that its steps of 10 ms would lose.
        return f"'{text}'"
    return line.literal(position)


def _string_literal(mssql_type: MssqlType, utf16: bytes) -> str:
    is_wide = mssql_type.name in {"nchar", "nvarchar"}
    try:
        text = utf16.decode("utf-16-le")
    except UnicodeDecodeError:  # half a surrogate pair
        is_plain = False
    else:
        is_plain = text.isprintable() and (is_wide or text.isascii())
    if is_plain:
        return f"{'N' if is_wide else ''}'{text.replace(chr(39), 2 * chr(39))}'"
    units = max(len(utf16) // 2, 1)
    # Line feeds after a backslash vanish in a literal, and not every character can be sent.
    wide = f"CAST(0x{utf16.hex().upper()} AS nvarchar({units}))"
    if is_wide:
        return wide
    collation = mssql_type.collation or ""
    if not _COLLATION.fullmatch(collation):
        raise ValueError(f"collation {collation!r}")
    # The code page of a conversion is that of the collation that the text has.
    return f"CAST({wide} COLLATE {collation} AS varchar({mssql_type.max_length}))"

"""Conversions to and from dates and times.

Types of up to six fractional digits are DuckDB's own; those of seven are whole numbers of 100 ns
(`SqlType.ticks`). What may hold a seventh digit is converted through 100 ns since 0001-01-01, so
that it is rounded once, as SQL Server does, and not twice.

Styles: https://learn.microsoft.com/sql/t-sql/functions/cast-and-convert-transact-sql
"""

from __future__ import annotations

from migration_assets.sandbox.sqlserver.sql_types import SqlType
from migration_assets.sandbox.sqlserver.typed import Typed, macro, refusal, unless_null

_DAY = 864_000_000_000
"""100 ns in a day."""
_MINUTE = 600_000_000
_DAYS_1900 = 693_595
"""Days from 0001-01-01 to 1900-01-01, the day of a time without one."""


def ticks(value: Typed, target: SqlType) -> str:
    """The local date and time in 100 ns since 0001-01-01 (BIGINT).

    Raises:
        SqlServerError: 50001 for a value that has neither date nor time.
    """
    sql, kind = value.sql, value.type
    match kind.family:
        case "datetime" if kind.ticks:
            return sql
        case "datetime" if kind.name == "datetime":
            return macro("ticks_of_datetime", sql)
        case "datetime":
            return macro("ticks_of_stamp", sql)
        case "date":
            return macro("ticks_of_stamp", f"CAST({sql} AS TIMESTAMP)")
        case "time" if kind.ticks:
            return f"({sql} + {_DAYS_1900 * _DAY})"
        case "time":
            return f"(epoch_us({sql}) * 10 + {_DAYS_1900 * _DAY})"
        case "offset" if kind.ticks:
            return f"(({sql}).utc + ({sql}).off::BIGINT * {_MINUTE})"
        case "offset":
            return macro("ticks_of_stamp", macro("dto_local", sql))
        case "string":
            return macro("ticks_of_text", sql)
        case _:
            pass
    raise refusal(value, target)


def stamp(value: Typed, target: SqlType, digits: int = 6) -> str:
    """The local date and time as TIMESTAMP, rounded to at most six digits."""
    sql, kind = value.sql, value.type
    exact = kind.ticks or kind.family == "string" or (kind.name == "datetime" and digits > 3)
    if exact:
        rounded = macro("round_ticks", ticks(value, target), str(10 ** (7 - digits)))
        return macro("stamp_of_ticks", rounded)
    match kind.family:
        case "datetime":
            plain = sql
        case "date":
            plain = f"CAST({sql} AS TIMESTAMP)"
        case "time":
            plain = macro("stamp_of_time", sql)
        case "offset":
            plain = macro("dto_local", sql)
        case _:
            raise refusal(value, target)
    held = {"date": 0, "smalldatetime": 0, "datetime": 3}.get(kind.name, kind.scale)
    return plain if digits >= held else macro("round_stamp", plain, str(10 ** (6 - digits)))


def floor_stamp(value: Typed, target: SqlType) -> str:
    """The local date and time as TIMESTAMP as it is shown, the seventh digit cut off."""
    if value.type.name == "datetime":
        return value.sql
    if value.type.ticks or value.type.family == "string":
        return macro("stamp_of_ticks", ticks(value, target))
    return stamp(value, target)


def to_date(value: Typed, target: SqlType, style: int | None) -> str:
    """Convert to date."""
    if value.type.family == "date":
        return value.sql
    if value.type.family == "time":
        raise refusal(value, target, style)
    return f"CAST({floor_stamp(value, target)} AS DATE)"


def to_time(value: Typed, target: SqlType, style: int | None) -> str:
    """Convert to time(n); what rounds up to midnight is 00:00."""
    del style
    if value.type.family == "date":
        raise refusal(value, target)
    if target.ticks:
        return f"({ticks(value, target)} % {_DAY})"
    if value.type.family == "time" and not value.type.ticks:
        if target.scale >= value.type.scale:
            return value.sql
        return macro("round_time", value.sql, str(10 ** (6 - target.scale)))
    return f"CAST({stamp(value, target, target.scale)} AS TIME)"


def to_datetime(value: Typed, target: SqlType, style: int | None) -> str:
    """Convert to datetime2(n), datetime or smalldatetime."""
    del style
    source = value.type
    if target.name == "datetime2":
        if target.ticks:
            return ticks(value, target)
        return stamp(value, target, target.scale)
    if source.name == target.name:
        return value.sql
    if source.name == "smalldatetime":
        return value.sql
    if target.name == "datetime":
        return macro("datetime_of_ticks", ticks(value, target))
    # The ticks of a datetime are what is compared with half a minute: 29.998 s rounds down.
    moment = (
        value.sql if source.name == "datetime" else macro("datetime_of_ticks", ticks(value, target))
    )
    return macro("smalldatetime_of_datetime", moment)


def to_offset(value: Typed, target: SqlType, style: int | None) -> str:
    """Convert to datetimeoffset(n); what has no offset gets +00:00."""
    del style
    source = value.type
    if source.family == "string":
        made = macro("dto_of_text", value.sql)
        return made if target.ticks else _fewer_digits(made, target)
    if source.family != "offset":
        local = ticks(value, target) if target.ticks else stamp(value, target, target.scale)
        return unless_null(value.sql, f"{{'utc': {local}, 'off': 0::SMALLINT}}")
    if source.ticks:
        return value.sql if target.ticks else _fewer_digits(value.sql, target)
    if target.ticks:
        utc = macro("ticks_of_stamp", f"({value.sql}).utc")
    elif target.scale >= source.scale:
        return value.sql
    else:
        utc = macro("round_stamp", f"({value.sql}).utc", str(10 ** (6 - target.scale)))
    return unless_null(value.sql, f"{{'utc': {utc}, 'off': ({value.sql}).off}}")


def _fewer_digits(sql: str, target: SqlType) -> str:
    """A datetimeoffset in 100 ns with at most six digits; offsets are whole minutes."""
    utc = macro(
        "stamp_of_ticks", macro("round_ticks", f"({sql}).utc", str(10 ** (7 - target.scale)))
    )
    return unless_null(sql, f"{{'utc': {utc}, 'off': ({sql}).off}}")


# -- text ----------------------------------------------------------------------------------------


def _fraction(value: Typed, moment: str, digits: int) -> str:
    """The digits of the second's fraction."""
    if value.type.ticks:
        number = f"{ticks(value, value.type)} % 10000000"
        return f"lpad(CAST({number} AS VARCHAR), 7, '0')"
    number = f"((epoch_us({moment}) % 1000000) + 1000000) % 1000000"
    padded = f"lpad(CAST({number} AS VARCHAR), 6, '0')"
    return padded if digits == 6 else f"substr({padded}, 1, {digits})"


def text(value: Typed, target: SqlType, style: int | None) -> str:
    """Convert to text.

    Raises:
        SqlServerError: 50001 for a style that the stand-in does not know.
    """
    kind = value.type
    digits = {"datetime": 3, "smalldatetime": 0, "date": 0}.get(kind.name, kind.scale)
    moment = floor_stamp(value, target)
    if style is None:
        style = 0 if kind.name in {"datetime", "smalldatetime"} else 121
    has_date, has_time = kind.family != "time", kind.family != "date"
    offset = f" || {macro('offset_text', f'({value.sql}).off')}" if kind.family == "offset" else ""
    zone = f" || ' '{offset}" if offset else ""

    def format_of(date: str, time: str) -> str:
        parts = [part for part, has in [(date, has_date), (time, has_time)] if has and part]
        glue = "T" if style in {126, 127} else " "
        return f"strftime({moment}, '{glue.join(parts)}')"

    def fraction(separator: str = ".") -> str:
        return f" || '{separator}' || {_fraction(value, moment, digits)}" if digits else ""

    clock, day = "%H:%M:%S", "%Y-%m-%d"
    match style:
        case 23:
            return format_of(day, "") if has_date else format_of("", clock)
        case 112:
            return format_of("%Y%m%d", "") if has_date else format_of("", clock)
        case 108 | 8:
            return format_of("", clock)
        case 114 | 14 if has_time:
            return format_of("", clock) + fraction(":" if digits == 3 else ".")
        case 20 | 120:
            return format_of(day, clock) + zone
        case 21 | 25 | 121:
            return format_of(day, clock) + (fraction() + zone if has_time else "")
        case 126 | 127:
            if kind.family == "offset" and style == 127:
                utc = Typed(f"({value.sql}).utc", SqlType("datetime2", scale=kind.scale))
                return text(utc, target, 126) + " || 'Z'"
            made = format_of(day, clock)
            if has_time and digits:
                zero = f"{_fraction(value, moment, digits)} = '{'0' * digits}'"
                made += f" || CASE WHEN {zero} THEN '' ELSE ''{fraction()} END"
            return made + offset
        case 0 | 100 if kind.family == "datetime":
            hour = f"strftime({moment}, '%I')"
            day_of_month = f"lpad(CAST(day({moment}) AS VARCHAR), 2, ' ')"
            return (
                f"strftime({moment}, '%b ') || {day_of_month} || strftime({moment}, ' %Y ') || "
                f"lpad(ltrim({hour}, '0'), 2, ' ') || strftime({moment}, ':%M%p')"
            )
    raise refusal(value, target, style)

"""DATEADD, DATEDIFF, DATEPART and their kin."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from sqlglot import exp

from migration_assets.sandbox.sqlserver import sql_types, temporal
from migration_assets.sandbox.sqlserver.conversion import Typed, convert, macro
from migration_assets.sandbox.sqlserver.errors import SqlServerError, unsupported
from migration_assets.sandbox.sqlserver.sql_types import BIGINT, INT, SqlType, nvarchar
from migration_assets.sandbox.sqlserver.typed import unless_null

if TYPE_CHECKING:
    from migration_assets.sandbox.sqlserver.expressions import ExpressionTranslator
    from migration_assets.sandbox.sqlserver.scope import Scope

_PARTS = {
    "year": "year", "yy": "year", "yyyy": "year", "quarter": "quarter", "qq": "quarter",
    "q": "quarter", "month": "month", "mm": "month", "m": "month", "dayofyear": "dayofyear",
    "dy": "dayofyear", "y": "dayofyear", "day": "day", "dd": "day", "d": "day", "week": "week",
    "wk": "week", "ww": "week", "weekday": "weekday", "dw": "weekday", "hour": "hour",
    "hh": "hour", "minute": "minute", "mi": "minute", "n": "minute", "second": "second",
    "ss": "second", "s": "second", "millisecond": "millisecond", "ms": "millisecond",
    "microsecond": "microsecond", "mcs": "microsecond", "nanosecond": "nanosecond",
    "ns": "nanosecond", "tzoffset": "tzoffset", "tz": "tzoffset", "iso_week": "iso_week",
    "isowk": "iso_week", "isoww": "iso_week",
}  # fmt: skip

_FINEST = SqlType("datetime2", scale=7)
_MICROSECONDS = {
    "week": 604_800_000_000, "day": 86_400_000_000, "dayofyear": 86_400_000_000,
    "hour": 3_600_000_000, "minute": 60_000_000, "second": 1_000_000, "millisecond": 1_000,
    "microsecond": 1,
}  # fmt: skip


def _part(node: exp.Expression) -> str:
    name = _PARTS.get(node.name.lower())
    if name is None:
        raise SqlServerError(
            155, f"'{node.name}' is not a recognized datepart option.", severity=15
        )
    return name


def _exact(value: Typed) -> str:
    """The instant as TIMESTAMP: UTC for datetimeoffset, exact thirds of 10 ms for datetime.

    A seventh digit is cut off; see `_last_digit`.
    """
    match value.type.family:
        case "offset":
            utc = f"({value.sql}).utc"
            return macro("stamp_of_ticks", utc) if value.type.ticks else utc
        case "datetime" | "time" if value.type.ticks:
            return temporal.floor_stamp(value, _FINEST)
        case "datetime":
            name = value.type.name
            return macro("exact_datetime", value.sql) if name == "datetime" else value.sql
        case "date" | "time" | "string":
            return temporal.floor_stamp(value, _FINEST)
        case _:
            pass
    raise unsupported(f"date function on {value.type.declaration}")


def _last_digit(value: Typed) -> str:
    """The 100 ns that `_exact` leaves out."""
    kind = value.type
    if not kind.ticks and kind.family != "string":
        return "0"
    return f"({temporal.ticks(value, _FINEST)} % 10)"


def _datediff(kind: SqlType) -> Callable[..., Typed]:
    def function(
        translator: ExpressionTranslator, arguments: list[exp.Expression], scope: Scope
    ) -> Typed:
        part = _part(arguments[0])
        start, end = (translator.expression(a, scope) for a in arguments[1:3])
        nullable = start.nullable or end.nullable
        a, b = _exact(start), _exact(end)
        if part in {"year", "quarter", "month"}:
            months = {"year": 12, "quarter": 3, "month": 1}[part]
            count = [f"(year({t}) * 12 + month({t}) - 1) // {months}" for t in (a, b)]
        elif part == "nanosecond":
            count = [
                f"({macro('since_0001', t)})::HUGEINT * 1000 + {_last_digit(v)} * 100"
                for t, v in ((a, start), (b, end))
            ]
        elif part == "week":
            # Weeks begin on Sunday whatever DATEFIRST says; 0001-01-01 was a Monday.
            count = [f"({macro('since_0001', t)} + 86400000000) // 604800000000" for t in (a, b)]
        elif part in _MICROSECONDS:
            count = [f"{macro('since_0001', t)} // {_MICROSECONDS[part]}" for t in (a, b)]
        else:
            raise SqlServerError(
                9806, f"The datepart {part} is not supported by date function datediff."
            )
        return Typed(f"CAST(({count[1]}) - ({count[0]}) AS {kind.duckdb})", kind, nullable)

    return function


def _dateadd(
    translator: ExpressionTranslator, arguments: list[exp.Expression], scope: Scope
) -> Typed:
    part = _part(arguments[0])
    amount, value = (translator.expression(a, scope) for a in arguments[1:3])
    count = convert(amount, BIGINT)
    kind = value.type if value.type.family != "string" else sql_types.DATETIME
    stamp = convert(value, kind)
    held = Typed(stamp, kind)
    base = temporal.floor_stamp(held, _FINEST)
    if part in {"year", "quarter", "month"}:
        months = {"year": 12, "quarter": 3, "month": 1}[part]
        moved = f"({base} + to_months(CAST({count} * {months} AS INTEGER)))"
    elif part == "nanosecond":
        if kind.ticks:
            raise unsupported("DATEADD(nanosecond) on a type of seven digits")
        moved = f"make_timestamp(epoch_us({base}) + {count} // 1000)"
    elif part in {*_MICROSECONDS, "weekday"}:
        unit = _MICROSECONDS.get(part, 86_400_000_000)
        exact = macro("exact_datetime", base) if kind.name == "datetime" else base
        moved = f"make_timestamp(epoch_us({exact}) + {count} * {unit})"
    else:
        raise SqlServerError(
            9806, f"The datepart {part} is not supported by date function dateadd."
        )
    local = f"({macro('ticks_of_stamp', moved)} + {_last_digit(held)})" if kind.ticks else moved
    back = {
        "date": f"CAST({moved} AS DATE)",
        "time": f"{local} % 864000000000" if kind.ticks else f"CAST({moved} AS TIME)",
        "offset": _with_offset(local, f"({stamp}).off", kind),
    }.get(kind.family, local)
    if kind.name == "datetime":
        back = macro("to_datetime", moved)
    return Typed(back, kind, amount.nullable or value.nullable)


def _with_offset(local: str, minutes: str, kind: SqlType) -> str:
    """A datetimeoffset of a local time in its storage, and an offset."""
    if kind.ticks:
        return macro("dto_of_local", local, minutes)
    utc = f"make_timestamp(epoch_us({local}) - ({minutes})::BIGINT * 60000000)"
    return unless_null(f"{local}", f"{{'utc': {utc}, 'off': ({minutes})::SMALLINT}}")


def _datepart(
    translator: ExpressionTranslator, arguments: list[exp.Expression], scope: Scope
) -> Typed:
    part = _part(arguments[0])
    value = translator.expression(arguments[1], scope)
    sql = _number(part, value)
    return Typed(f"CAST({sql} AS INTEGER)", INT, value.nullable)


def _number(part: str, value: Typed) -> str:
    is_offset = value.type.family == "offset"
    stamp = temporal.floor_stamp(value, _FINEST) if is_offset else _exact(value)
    micros = f"(((epoch_us({stamp}) % 1000000) + 1000000) % 1000000)"
    match part:
        case "millisecond":
            return f"{micros} // 1000"
        case "microsecond":
            return micros
        case "nanosecond":
            return f"{micros} * 1000 + {_last_digit(value)} * 100"
        case "weekday":
            return f"dayofweek({stamp}) + 1"
        case "iso_week":
            return f"week({stamp})"
        case "tzoffset" if value.type.family == "offset":
            return f"({value.sql}).off"
        case "week" | "tzoffset":
            raise unsupported(f"DATEPART({part})")
        case _:
            pass
    return f"{part}({stamp})"


def _datename(
    translator: ExpressionTranslator, arguments: list[exp.Expression], scope: Scope
) -> Typed:
    part = _part(arguments[0])
    value = translator.expression(arguments[1], scope)
    stamp = _exact(value)
    names = {"month": f"monthname({stamp})", "weekday": f"dayname({stamp})"}
    sql = names.get(part) or f"CAST({_number(part, value)} AS VARCHAR)"
    return Typed(sql, nvarchar(30), value.nullable)


def _short(part: str) -> Callable[..., Typed]:
    def function(
        translator: ExpressionTranslator, arguments: list[exp.Expression], scope: Scope
    ) -> Typed:
        if len(arguments) != 1:
            raise SqlServerError(174, f"The {part} function requires 1 argument(s).")
        return _datepart(translator, [exp.column(part), arguments[0]], scope)

    return function


def _minutes(translator: ExpressionTranslator, node: exp.Expression, scope: Scope) -> str:
    zone = translator.expression(node, scope)
    if zone.type.family == "integer":
        return zone.sql
    return macro("offset_minutes", zone.sql)


def _switchoffset(
    translator: ExpressionTranslator, arguments: list[exp.Expression], scope: Scope
) -> Typed:
    value = translator.expression(arguments[0], scope)
    kind = value.type if value.type.family == "offset" else SqlType("datetimeoffset", scale=7)
    minutes = _minutes(translator, arguments[1], scope)
    moment = convert(value, kind)
    made = f"{{'utc': ({moment}).utc, 'off': ({minutes})::SMALLINT}}"
    return Typed(unless_null(moment, made), kind, value.nullable)


def _todatetimeoffset(
    translator: ExpressionTranslator, arguments: list[exp.Expression], scope: Scope
) -> Typed:
    value = translator.expression(arguments[0], scope)
    scale = value.type.catalog_scale if value.type.family in {"datetime", "offset"} else 7
    kind = SqlType("datetimeoffset", scale=scale)
    local = convert(value, SqlType("datetime2", scale=scale))
    minutes = _minutes(translator, arguments[1], scope)
    return Typed(_with_offset(local, minutes, kind), kind, value.nullable)


def _eomonth(
    translator: ExpressionTranslator, arguments: list[exp.Expression], scope: Scope
) -> Typed:
    value = translator.expression(arguments[0], scope)
    if len(arguments) > 1:
        raise unsupported("EOMONTH with an offset")
    return Typed(f"last_day({convert(value, sql_types.DATE)})", sql_types.DATE, value.nullable)


def _datefromparts(
    translator: ExpressionTranslator, arguments: list[exp.Expression], scope: Scope
) -> Typed:
    parts = [translator.expression(a, scope) for a in arguments]
    sql = ", ".join(convert(part, BIGINT) for part in parts)
    return Typed(f"make_date({sql})", sql_types.DATE, any(part.nullable for part in parts))


SPECIAL: dict[str, Callable[..., Typed]] = {
    "DATEDIFF": _datediff(INT),
    "DATEDIFF_BIG": _datediff(BIGINT),
    "DATEADD": _dateadd,
    "DATEPART": _datepart,
    "DATENAME": _datename,
    "YEAR": _short("year"),
    "MONTH": _short("month"),
    "DAY": _short("day"),
    "SWITCHOFFSET": _switchoffset,
    "TODATETIMEOFFSET": _todatetimeoffset,
    "EOMONTH": _eomonth,
    "DATEFROMPARTS": _datefromparts,
}

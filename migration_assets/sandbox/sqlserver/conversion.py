"""CAST and CONVERT between T-SQL types, as DuckDB expressions.

Styles: https://learn.microsoft.com/sql/t-sql/functions/cast-and-convert-transact-sql
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from migration_assets.sandbox.sqlserver import collation
from migration_assets.sandbox.sqlserver.errors import raising, unsupported
from migration_assets.sandbox.sqlserver.macros import PREFIX
from migration_assets.sandbox.sqlserver.sql_types import MAX, SqlType


@dataclass(frozen=True)
class Typed:
    """A translated expression.

    Attributes:
        sql: DuckDB expression whose value is in the storage type of `type`.
        type: its T-SQL type.
        nullable: whether the result column is.
        identity: it is a plain identity column.
        computed: it is a plain computed column.
        name: of the column, when it is a plain one.
        constant: the value of a string literal, for arguments that must be literals.
    """

    sql: str
    type: SqlType
    nullable: bool = True
    identity: bool = False
    computed: bool = False
    name: str = ""
    constant: str | None = None


_TEMPORAL = {"date", "time", "datetime", "offset"}
_ISO_STYLES = {None, 0, 20, 21, 23, 25, 112, 120, 121, 126, 127}


def macro(name: str, *arguments: str) -> str:
    """A call of one of the stand-in's macros."""
    return f"{PREFIX}{name}({', '.join(arguments)})"


def literal(text: str | None, kind: SqlType) -> Typed:
    """A value given as DuckDB's text of it (hex digits for binaries) as a literal expression."""
    if text is None:
        return Typed(f"CAST(NULL AS {kind.duckdb})", kind)
    quoted = "'" + text.replace("'", "''") + "'"
    if kind.family == "binary":
        return Typed(f"unhex({quoted})", kind, nullable=False)
    if kind.family == "string":
        return Typed(quoted, kind, nullable=False, constant=text)
    return Typed(f"CAST({quoted} AS {kind.duckdb})", kind, nullable=False)


def convert(value: Typed, target: SqlType, style: int | None = None) -> str:
    """Convert explicitly, as CAST and CONVERT do: strings are cut to the target's length.

    Raises:
        SqlServerError: 50001 for a pair of types or a style that the stand-in does not know.
    """
    if value.type.family == "null":
        return f"CAST(NULL AS {target.duckdb})"
    from_text = value.type.family == "string" and target.family in _TEMPORAL
    if from_text and style not in _ISO_STYLES:
        raise _refuse(value, target, style)  # only ISO 8601 is read, whatever the style
    maker = _MAKERS[target.family]
    return maker(value, target, style)


def store(value: Typed, target: SqlType, column: str) -> str:
    """Convert for an assignment to a column: text that is too long is error 2628, not cut."""
    same = value.type.family == target.family and target.family in {"string", "binary"}
    if not same or target.length == MAX or target.info.large:
        return convert(value, target)
    if value.type.length != MAX and value.type.length <= target.length:
        return convert(value, target)
    length = _length(value.sql, target)
    complaint = raising(2628, f"String or binary data would be truncated in column '{column}'.")
    return (
        f"CASE WHEN {length} > {target.length} THEN {complaint} ELSE {convert(value, target)} END"
    )


def _length(sql: str, kind: SqlType) -> str:
    if kind.family == "binary":
        return f"octet_length({sql})"
    if kind.info.unicode:
        return macro("units", f"rtrim({sql}, ' ')")
    if collation.is_utf8(kind.collation):
        return f"strlen(rtrim({sql}, ' '))"
    return f"length(rtrim({sql}, ' '))"


def _refuse(value: Typed, target: SqlType, style: int | None = None) -> Exception:
    with_style = "" if style is None else f" with style {style}"
    return unsupported(
        f"conversion of {value.type.declaration} to {target.declaration}{with_style}"
    )


# -- strings -------------------------------------------------------------------------------------


def _to_string(value: Typed, target: SqlType, style: int | None) -> str:
    text = _text(value, target, style)
    source = value.type
    if source.family == "string":
        to_code_page = not target.info.unicode and not collation.is_utf8(target.collation)
        was_narrow = not source.info.unicode and source.collation == target.collation
        if to_code_page and not was_narrow and collation.codec(target.collation) == "cp1252":
            text = macro("cp1252", text)
    if target.length == MAX or target.info.large:
        return text
    fits = source.family == "string" and source.length != MAX and source.length <= target.length
    if not fits:
        if source.family in {"integer", "decimal", "money"}:
            too_long = raising(
                8115, f"Arithmetic overflow error converting expression to data type {target.name}."
            )
            text = f"CASE WHEN length({text}) > {target.length} THEN {too_long} ELSE {text} END"
        elif target.info.unicode:
            text = f"CASE WHEN {macro('units', text)} > {target.length} THEN substr({macro('bmp', text)}, 1, {target.length}) ELSE {text} END"
        else:
            text = f"substr({text}, 1, {target.length})"
    if target.info.padded and not (source.name == target.name and source.length == target.length):
        missing = f"{target.length} - {_padded_length(text, target)}"
        text = f"({text} || repeat(' ', greatest({missing}, 0)))"
    return text


def _padded_length(text: str, target: SqlType) -> str:
    if target.info.unicode:
        return macro("units", text)
    return f"strlen({text})" if collation.is_utf8(target.collation) else f"length({text})"


def _text(value: Typed, target: SqlType, style: int | None) -> str:
    sql, kind = value.sql, value.type
    match kind.family:
        case "string":
            return sql
        case "bit":
            return f"CASE {sql} WHEN TRUE THEN '1' WHEN FALSE THEN '0' END"
        case "integer" | "decimal":
            return f"CAST({sql} AS VARCHAR)"
        case "money":
            if style in {2, 126}:
                return f"CAST({sql} AS VARCHAR)"
            if style in {None, 0}:
                return f"CAST(CAST({sql} AS DECIMAL(21,2)) AS VARCHAR)"
        case "float":
            if style == 3:
                digits = 16 if kind.name == "float" else 8
                return macro("exp3", f"printf('%.{digits}e', {sql}::DOUBLE)")
            if style == 2:
                return macro("exp3", f"printf('%.15e', {sql}::DOUBLE)")
            if style in {None, 0}:
                return macro("exp3", f"printf('%.6g', {sql}::DOUBLE)")
        case "guid":
            return f"upper(CAST({sql} AS VARCHAR))"
        case "binary":
            if style == 1:
                return f"'0x' || hex({sql})"
            if style == 2:
                return f"hex({sql})"
        case "date" | "time" | "datetime" | "offset":
            return _time_text(value, target, style)
        case _:
            pass
    raise _refuse(value, target, style)


def _fraction(stamp: str, digits: int, separator: str = ".") -> str:
    if digits == 0:
        return ""
    micros = f"lpad(CAST(epoch_us({stamp}) % 1000000 + CASE WHEN epoch_us({stamp}) % 1000000 < 0 THEN 1000000 ELSE 0 END AS VARCHAR), 6, '0')"
    cut = f"{micros} || '0'" if digits == 7 else f"substr({micros}, 1, {digits})"
    return f" || '{separator}' || {cut}"


def _time_text(value: Typed, target: SqlType, style: int | None) -> str:
    kind = value.type
    digits = {"datetime": 3, "smalldatetime": 0, "date": 0}.get(kind.name, kind.scale)
    stamp = {
        "date": f"CAST({value.sql} AS TIMESTAMP)",
        "time": f"make_timestamp(epoch_us({value.sql}))",
        "offset": macro("dto_local", value.sql),
    }.get(kind.family, value.sql)
    if style is None:
        style = 0 if kind.name in {"datetime", "smalldatetime"} else 121
    has_date, has_time = kind.family != "time", kind.family != "date"
    zone = (
        f" || ' ' || {macro('offset_text', f'({value.sql}).off')}"
        if kind.family == "offset"
        else ""
    )
    tight = zone.replace("' ' || ", "")

    def format_of(date: str, time: str) -> str:
        parts = [part for part, has in [(date, has_date), (time, has_time)] if has and part]
        glue = "T" if style in {126, 127} else " "
        return f"strftime({stamp}, '{glue.join(parts)}')"

    clock, day = "%H:%M:%S", "%Y-%m-%d"
    match style:
        case 23:
            return format_of(day, "") if has_date else format_of("", clock)
        case 112:
            return format_of("%Y%m%d", "") if has_date else format_of("", clock)
        case 108 | 8:
            return format_of("", clock)
        case 114 | 14 if has_time:
            return format_of("", clock) + _fraction(stamp, digits, ":" if digits == 3 else ".")
        case 20 | 120:
            return format_of(day, clock) + zone
        case 21 | 25 | 121:
            return format_of(day, clock) + (_fraction(stamp, digits) + zone if has_time else "")
        case 126 | 127:
            text = format_of(day, clock)
            if has_time and digits:
                text += f" || CASE WHEN epoch_us({stamp}) % 1000000 = 0 THEN '' ELSE ''{_fraction(stamp, digits)} END"
            if kind.family == "offset" and style == 127:
                utc = Typed(f"({value.sql}).utc", SqlType("datetime2", scale=kind.scale))
                return _time_text(utc, target, 126) + " || 'Z'"
            return text + tight
        case 0 | 100 if kind.family == "datetime":
            hour = f"strftime({stamp}, '%I')"
            day_of_month = f"lpad(CAST(day({stamp}) AS VARCHAR), 2, ' ')"
            return (
                f"strftime({stamp}, '%b ') || {day_of_month} || strftime({stamp}, ' %Y ') || "
                f"lpad(ltrim({hour}, '0'), 2, ' ') || strftime({stamp}, ':%M%p')"
            )
    raise _refuse(value, target, style)


# -- numbers -------------------------------------------------------------------------------------


def _to_integer(value: Typed, target: SqlType, style: int | None) -> str:
    sql, duckdb = value.sql, target.duckdb
    match value.type.family:
        case "integer" | "bit" | "money":
            return f"CAST({sql} AS {duckdb})"
        case "decimal" | "float":
            return f"CAST(trunc({sql}) AS {duckdb})"
        case "string":
            return f"CAST({macro('whole', sql)} AS {duckdb})"
        case "binary":
            bits = target.info.max_length * 8
            number = f"({macro('unsigned', sql)} % {1 << bits}::UHUGEINT)::HUGEINT"
            if target.name == "tinyint":
                return f"CAST({number} AS {duckdb})"
            half, full = 1 << (bits - 1), 1 << bits
            return f"CAST(CASE WHEN {number} >= {half}::HUGEINT THEN {number} - {full}::HUGEINT ELSE {number} END AS {duckdb})"
        case _:
            pass
    raise _refuse(value, target, style)


def _to_bit(value: Typed, target: SqlType, style: int | None) -> str:
    match value.type.family:
        case "bit":
            return value.sql
        case "integer" | "decimal" | "money" | "float":
            return f"({value.sql} <> 0)"
        case "string":
            lowered = f"lower(trim({value.sql}))"
            return f"CASE {lowered} WHEN 'true' THEN TRUE WHEN 'false' THEN FALSE ELSE CAST({macro('whole', value.sql)} AS BIGINT) <> 0 END"
        case _:
            pass
    raise _refuse(value, target, style)


def _to_number(value: Typed, target: SqlType, style: int | None) -> str:
    if value.type.family in {"bit", "integer", "decimal", "money", "float"}:
        return f"CAST({value.sql} AS {target.duckdb})"
    if value.type.family == "string":
        text = f"trim({value.sql})"
        if target.family == "money":
            text = f"replace(replace({text}, '$', ''), ',', '')"
        return f"CAST({text} AS {target.duckdb})"
    raise _refuse(value, target, style)


# -- binaries and GUIDs --------------------------------------------------------------------------


def _to_binary(value: Typed, target: SqlType, style: int | None) -> str:
    sql, kind = value.sql, value.type
    width = target.length
    match kind.family:
        case "binary":
            data = sql
        case "guid":
            data = macro("guid_binary", sql)
        case "integer" | "bit":
            size = kind.info.max_length
            digits = f"printf('%016x', CAST({sql} AS BIGINT))"
            if width == MAX or width >= size:
                pad = width - size if target.info.padded else 0
                return f"unhex('{'00' * pad}' || right({digits}, {2 * size}))"
            return f"unhex(right({digits}, {2 * width}))"
        case "string":
            if style in {1, 2}:
                data = f"unhex(substr({sql}, {3 if style == 1 else 1}))"
            elif kind.info.unicode:
                data = macro("ascii_utf16", sql)
            else:
                data = (
                    f"encode({sql})"
                    if collation.is_utf8(kind.collation)
                    else macro("ascii_bytes", sql)
                )
        case _:
            raise _refuse(value, target, style)
    if width == MAX or target.info.large:
        return data
    known = kind.length if kind.family == "binary" and kind.info.padded else 0
    if kind.family == "guid":
        known = 16
    if known == width:
        return data
    if known == 0 and kind.family == "binary" and kind.length != MAX and kind.length <= width:
        cut = data
    else:
        cut = macro("blob_part", data, "1", str(width))
    if target.info.padded:
        return f"unhex(rpad(hex({cut}), {2 * width}, '0'))"
    return cut


def _to_guid(value: Typed, target: SqlType, style: int | None) -> str:
    match value.type.family:
        case "guid":
            return value.sql
        case "string":
            return f"CAST(trim({value.sql}, ' {{}}') AS UUID)"
        case "binary":
            return macro("binary_guid", value.sql)
        case _:
            pass
    raise _refuse(value, target, style)


# -- dates and times -----------------------------------------------------------------------------


def _stamp(value: Typed, target: SqlType, style: int | None) -> str:
    """The value as TIMESTAMP, not yet rounded to the target."""
    match value.type.family:
        case "datetime":
            finer = target.name in {"datetime2", "datetimeoffset", "time"} and target.scale > 3
            if value.type.name == "datetime" and finer:
                return macro("exact_datetime", value.sql)
            return value.sql
        case "date":
            return f"CAST({value.sql} AS TIMESTAMP)"
        case "time":
            return macro("stamp_of_time", value.sql)
        case "offset":
            return macro("dto_local", value.sql)
        case "string":
            return macro("to_stamp", value.sql)
        case _:
            pass
    raise _refuse(value, target, style)


def _source_digits(kind: SqlType) -> int:
    """Most fractional digits a value of the type can have; 7 counts as 6, see the package text."""
    if kind.family == "string":
        return 6
    return {"date": 0, "smalldatetime": 0, "datetime": 6}.get(kind.name, min(kind.scale, 6))


def _rounded(stamp: str, value: Typed, target: SqlType) -> str:
    if target.name == "datetime":
        return (
            stamp
            if value.type.name in {"datetime", "date", "smalldatetime"}
            else macro("to_datetime", stamp)
        )
    if target.name == "smalldatetime":
        # The seconds of a datetime round at 29.998: its ticks, not its text, are what is compared.
        return (
            stamp
            if value.type.name in {"date", "smalldatetime"}
            else macro("round_stamp", stamp, "60000000")
        )
    if target.scale >= min(6, _source_digits(value.type)):
        return stamp
    return macro("round_stamp", stamp, str(10 ** (6 - target.scale)))


def _to_date(value: Typed, target: SqlType, style: int | None) -> str:
    if value.type.family == "date":
        return value.sql
    if value.type.family == "time":
        raise _refuse(value, target, style)
    if value.type.family == "string":
        return f"CAST({macro('to_stamp', value.sql)} AS DATE)"
    return f"CAST({_stamp(value, target, style)} AS DATE)"


def _to_time(value: Typed, target: SqlType, style: int | None) -> str:
    if value.type.family == "time":
        sql = value.sql
    else:
        sql = f"CAST({_stamp(value, target, style)} AS TIME)"
    if target.scale >= min(6, _source_digits(value.type)):
        return sql
    return macro("round_time", sql, str(10 ** (6 - target.scale)))


def _to_datetime(value: Typed, target: SqlType, style: int | None) -> str:
    return _rounded(_stamp(value, target, style), value, target)


def _to_offset(value: Typed, target: SqlType, style: int | None) -> str:
    unit = str(10 ** (6 - min(target.scale, 6)))
    if value.type.family == "offset":
        if target.scale >= min(value.type.scale, 6):
            return value.sql
        rounded = macro("round_stamp", macro("dto_local", value.sql), unit)
        return macro("make_dto", rounded, f"({value.sql}).off")
    if value.type.family == "string":
        if target.scale >= 6:
            return macro("to_dto", value.sql)
        parsed = macro("to_dto", value.sql)
        rounded = macro("round_stamp", macro("dto_local", parsed), unit)
        return macro("make_dto", rounded, f"({parsed}).off")
    return macro("make_dto", _rounded(_stamp(value, target, style), value, target), "0")


_MAKERS: dict[str, Callable[[Typed, SqlType, int | None], str]] = {
    "string": _to_string,
    "bit": _to_bit,
    "integer": _to_integer,
    "decimal": _to_number,
    "money": _to_number,
    "float": _to_number,
    "binary": _to_binary,
    "guid": _to_guid,
    "date": _to_date,
    "time": _to_time,
    "datetime": _to_datetime,
    "offset": _to_offset,
}

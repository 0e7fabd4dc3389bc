"""CAST and CONVERT between T-SQL types, as DuckDB expressions.

Styles: https://learn.microsoft.com/sql/t-sql/functions/cast-and-convert-transact-sql
"""

from __future__ import annotations

from collections.abc import Callable

from migration_assets.sandbox.sqlserver import collation, extended, temporal, variants
from migration_assets.sandbox.sqlserver.errors import raising
from migration_assets.sandbox.sqlserver.natives import native
from migration_assets.sandbox.sqlserver.sql_types import MAX, SqlType
from migration_assets.sandbox.sqlserver.typed import Typed, literal, macro, refusal

__all__ = ["Typed", "convert", "literal", "macro", "store"]

_TEMPORAL = {"date", "time", "datetime", "offset"}
_ISO_STYLES = {None, 0, 20, 21, 23, 25, 112, 120, 121, 126, 127}


def convert(value: Typed, target: SqlType, style: int | None = None) -> str:
    """Convert explicitly, as CAST and CONVERT do: strings are cut to the target's length.

    Raises:
        SqlServerError: 50001 for a pair of types or a style that the stand-in does not know.
    """
    if value.type.family == "null":
        return f"CAST(NULL AS {target.duckdb})"
    if value.type.family == "variant":
        return variants.unpack(value, target, style, convert)
    from_text = value.type.family == "string" and target.family in _TEMPORAL
    if from_text and style not in _ISO_STYLES:
        raise refusal(value, target, style)  # only ISO 8601 is read, whatever the style
    maker = _MAKERS[target.family]
    return maker(value, target, style)


def store(value: Typed, target: SqlType, column: str) -> str:
    """Convert for an assignment to a column: text that is too long is error 2628, not cut."""
    same = value.type.family == target.family and target.family in {"string", "binary"}
    if not same or target.length == MAX or target.info.large:
        return convert(value, target)
    short = value.type.length != MAX and value.type.length <= target.length
    if short and (_same_units(value.type, target) or not collation.is_wide(target)):
        return convert(value, target)
    length = _length(value.sql, target)
    complaint = raising(2628, f"String or binary data would be truncated in column '{column}'.")
    return (
        f"CASE WHEN {length} > {target.length} THEN {complaint} ELSE {convert(value, target)} END"
    )


def _same_units(source: SqlType, target: SqlType) -> bool:
    """Whether the lengths of two text or binary types count the same."""
    return source.info.unicode == target.info.unicode and source.collation == target.collation


def _length(sql: str, kind: SqlType) -> str:
    if kind.family == "binary":
        return f"octet_length({sql})"
    return byte_or_unit_count(f"rtrim({sql}, ' ')", kind)


def byte_or_unit_count(sql: str, kind: SqlType) -> str:
    """A text's length in the units of its type's length: UTF-16 units, or bytes of the code page."""
    if kind.info.unicode:
        return macro("units", sql)
    if collation.is_utf8(kind.collation):
        return f"strlen({sql})"
    if collation.is_double_byte(kind.collation):
        page = f"'{collation.codec(kind.collation)}'"
        return f"octet_length({macro('narrow', sql, page)})"
    return f"length({sql})"


# -- strings -------------------------------------------------------------------------------------


def _to_string(value: Typed, target: SqlType, style: int | None) -> str:
    if target.name == "xml":
        return extended.to_xml(value, target, style)
    text = _text(value, target, style)
    source = value.type
    if source.family == "string":
        was_narrow = not source.info.unicode and source.collation == target.collation
        if not target.info.unicode and not was_narrow:
            text = _in_code_page(text, target)
    if target.length == MAX or target.info.large:
        return text
    fits = (
        source.family == "string" and source.length != MAX and source.length <= target.length
        and (_same_units(source, target) or not collation.is_wide(target))
    )  # fmt: skip
    if not fits:
        if source.family in {"integer", "decimal", "money"}:
            too_long = raising(
                8115, f"Arithmetic overflow error converting expression to data type {target.name}."
            )
            text = f"CASE WHEN length({text}) > {target.length} THEN {too_long} ELSE {text} END"
        elif target.info.unicode:
            text = f"CASE WHEN {macro('units', text)} > {target.length} THEN substr({macro('bmp', text)}, 1, {target.length}) ELSE {text} END"
        elif collation.is_wide(target):
            page = f"'{collation.codec(target.collation)}'"
            text = macro("cut", text, page, str(target.length))
        else:
            text = f"substr({text}, 1, {target.length})"
    if target.info.padded and not (source.name == target.name and source.length == target.length):
        missing = f"{target.length} - {byte_or_unit_count(text, target)}"
        text = f"({text} || repeat(' ', greatest({missing}, 0)))"
    return text


def _in_code_page(text: str, target: SqlType) -> str:
    """Text without what the target's code page lacks."""
    codec = collation.codec(target.collation)
    if codec == "cp1252":
        return macro("cp1252", text)
    return macro("kept", text, f"'{codec}'")


def _text(value: Typed, target: SqlType, style: int | None) -> str:
    sql, kind = value.sql, value.type
    match kind.family:
        case "string":
            return sql
        case "bit":
            return f"CASE {sql} WHEN TRUE THEN '1' WHEN FALSE THEN '0' END"
        case "decimal" if kind.scale == kind.precision:
            return macro("decimal_text", sql)  # DuckDB writes .5
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
            codec = "utf-16-le" if target.info.unicode else collation.codec(target.collation)
            if style in {None, 0}:
                return native("text", sql, f"'{codec}'")
        case "date" | "time" | "datetime" | "offset":
            return temporal.text(value, target, style)
        case "hierarchy" | "spatial" | "json" | "vector":
            return extended.text(value, target, style)
        case _:
            pass
    raise refusal(value, target, style)


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
    raise refusal(value, target, style)


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
    raise refusal(value, target, style)


def _to_number(value: Typed, target: SqlType, style: int | None) -> str:
    if value.type.family in {"bit", "integer", "decimal", "money", "float"}:
        return f"CAST({value.sql} AS {target.duckdb})"
    if value.type.family == "string":
        text = f"trim({value.sql})"
        if target.family == "money":
            text = f"replace(replace({text}, '$', ''), ',', '')"
        return f"CAST({text} AS {target.duckdb})"
    raise refusal(value, target, style)


# -- binaries and GUIDs --------------------------------------------------------------------------


def _to_binary(value: Typed, target: SqlType, style: int | None) -> str:
    sql, kind = value.sql, value.type
    width = target.length
    match kind.family:
        case "binary" | "clr":
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
                data = macro("utf16", sql)
            else:
                data = macro("narrow", sql, f"'{collation.codec(kind.collation)}'")
        case _:
            raise refusal(value, target, style)
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
    raise refusal(value, target, style)


_MAKERS: dict[str, Callable[[Typed, SqlType, int | None], str]] = {
    "string": _to_string,
    "bit": _to_bit,
    "integer": _to_integer,
    "decimal": _to_number,
    "money": _to_number,
    "float": _to_number,
    "binary": _to_binary,
    "guid": _to_guid,
    "date": temporal.to_date,
    "time": temporal.to_time,
    "datetime": temporal.to_datetime,
    "offset": temporal.to_offset,
    "variant": variants.pack,
    "hierarchy": extended.to_hierarchy,
    "spatial": extended.to_spatial,
    "json": extended.to_json,
    "vector": extended.to_vector,
    "clr": extended.to_clr,
}

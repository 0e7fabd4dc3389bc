"""StarRocks' functions as DuckDB expressions, with their result types.

A function that is not here is refused, so that DuckDB never answers for a namesake with another
meaning (`length` counts bytes in StarRocks and characters in DuckDB).
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from migration_assets.sandbox.starrocks.casts import cast
from migration_assets.sandbox.starrocks.column_types import (
    BIGINT,
    BINARY,
    BOOLEAN,
    DATE,
    DATETIME,
    DOUBLE,
    INT,
    INTEGERS,
    LARGEINT,
    STRING,
    ColumnType,
    decimal,
)
from migration_assets.sandbox.starrocks.errors import StarRocksError, analysis_error, unsupported

if TYPE_CHECKING:
    import duckdb

# Seen to be missing on a real frontend (4.1): a product that uses them must fail here too.
MISSING = ("microsecond", "microseconds_diff", "ord", "bit_xor")

MACROS = """
CREATE MACRO standin_wrap(s) AS CAST(((s + 9223372036854775808::HUGEINT)
    % 18446744073709551616::HUGEINT + 18446744073709551616::HUGEINT)
    % 18446744073709551616::HUGEINT - 9223372036854775808::HUGEINT AS BIGINT);
CREATE MACRO standin_hex(s) AS CASE
    WHEN regexp_full_match(s, '([0-9A-Fa-f]{2})*') THEN unhex(s) END;
CREATE MACRO standin_conv_hex(s) AS CASE
    WHEN s IS NULL THEN NULL
    WHEN regexp_full_match(s, '[0-9A-Fa-f]{1,16}') THEN CAST(CAST('0x' || s AS UBIGINT) AS VARCHAR)
    ELSE error('stand-in: not supported: conv of other text than 1 to 16 hex digits') END;
CREATE MACRO standin_substr(s, a, n) AS CASE WHEN a = 0 THEN '' ELSE substring(s, a, n) END;
"""


def register(connection: duckdb.DuckDBPyConnection) -> None:
    """Define the macros and functions that the expressions below use, once per DuckDB."""
    connection.execute(MACROS)
    connection.create_function("standin_crc32", _crc32, ["BLOB"], "BIGINT")


def _crc32(data: bytes) -> int:
    return zlib.crc32(data)


@dataclass(frozen=True)
class Typed:
    """A DuckDB expression and the StarRocks type of its value.

    Attributes:
        sql: the expression.
        type: what StarRocks would call it.
        literal: the value, where the expression is a string or integer literal.
    """

    sql: str
    type: ColumnType
    literal: str | int | None = None


def describe(name: str, arguments: Sequence[Typed]) -> str:
    """The signature as StarRocks prints it: `length(varchar)`."""
    return f"{name}({', '.join(a.type.name.lower() for a in arguments)})"


def no_match(name: str, arguments: Sequence[Typed]) -> StarRocksError:
    """The analyser's error for a function, or argument types, that do not exist."""
    return analysis_error(f"No matching function with signature: {describe(name, arguments)}")


def call(name: str, arguments: Sequence[Typed]) -> Typed:
    """Write a scalar function call.

    Raises:
        StarRocksError: StarRocks has no such function, or the stand-in does not know it.
    """
    name = name.lower()
    if name in MISSING:
        raise no_match(name, arguments)
    function = _FUNCTIONS.get(name)
    if function is None:
        raise unsupported(f"function {describe(name, arguments)}")
    return function(name, arguments)


def aggregate(name: str, argument: Typed, *, distinct: bool) -> Typed:
    """Write `sum`, `avg`, `min`, `max`, `any_value` or `count` of one argument.

    SUM of BIGINT is BIGINT and wraps silently, SUM of LARGEINT is LARGEINT.
    """
    prefix = "DISTINCT " if distinct else ""
    family = argument.type.family
    plain = f"{name}({prefix}{argument.sql})"
    if name == "count":
        return Typed(plain, BIGINT)
    if name in ("min", "max", "any_value"):
        if family == "other" or (family == "binary" and name != "any_value"):
            raise no_match(name, [argument])
        return Typed(plain, argument.type)
    if name == "sum":
        if family in ("boolean", "integer") and argument.type != LARGEINT:
            value = f"CAST({argument.sql} AS TINYINT)" if family == "boolean" else argument.sql
            return Typed(f"standin_wrap(sum({prefix}{value}))", BIGINT)
        if family == "float":
            return Typed(plain, DOUBLE)
        if family == "decimal":
            return Typed(plain, decimal(38, argument.type.scale))
        if argument.type == LARGEINT:
            return Typed(plain, LARGEINT)
    if name == "avg" and family in ("integer", "float"):
        return Typed(plain, DOUBLE)
    raise unsupported(f"{describe(name, [argument])}: write a CAST")


AGGREGATES = ("count", "sum", "avg", "min", "max", "any_value")

Function = Callable[[str, Sequence[Typed]], Typed]


def unify(types: Sequence[ColumnType]) -> ColumnType:
    """The common type of CASE branches, COALESCE arguments or UNION sides."""
    known = [t for t in types if t.family != "null"]
    if not known:
        return types[0]
    families = {t.family for t in known}
    if families == {"integer"}:
        return ColumnType(max((t.name for t in known), key=INTEGERS.index))
    if families <= {"integer", "decimal"}:
        scale = max(t.scale for t in known)
        whole = max(t.precision - t.scale if t.name == "DECIMAL" else 19 for t in known)
        return decimal(whole + scale, scale)
    if families <= {"integer", "decimal", "float"}:
        return DOUBLE
    if families == {"string"}:
        return ColumnType("VARCHAR", max(t.length for t in known))
    if families == {"date", "datetime"}:
        return DATETIME
    if len(families) == 1:
        return known[0]
    raise unsupported(f"mixing {' and '.join(t.described for t in known)}: write a CAST")


def convert(argument: Typed, target: ColumnType) -> Typed:
    """Cast an argument as StarRocks would do implicitly."""
    return Typed(cast(argument.sql, argument.type, target, throw=False), target, argument.literal)


def _template(template: str, result: ColumnType, *parameters: ColumnType) -> Function:
    """A function of fixed parameters; arguments are cast to them."""

    def write(name: str, arguments: Sequence[Typed]) -> Typed:
        if len(arguments) != len(parameters):
            raise no_match(name, arguments)
        given = [
            convert(a, p).sql if a.type.family != p.family else a.sql
            for a, p in zip(arguments, parameters, strict=True)
        ]
        return Typed(template.format(*given), result)

    return write


def _length(name: str, arguments: Sequence[Typed]) -> Typed:
    if len(arguments) == 1 and arguments[0].type.family == "binary":
        return Typed(f"octet_length({arguments[0].sql})", INT)
    return _template("strlen({0})", INT, STRING)(name, arguments)


def _hex(name: str, arguments: Sequence[Typed]) -> Typed:
    (value,) = arguments
    if value.type.family == "integer" and value.type != LARGEINT:
        return Typed(f"hex(CAST({value.sql} AS BIGINT))", STRING)
    if value.type.family in ("string", "binary"):
        return Typed(f"hex({value.sql})", STRING)
    raise unsupported(describe(name, arguments))


def _binary_format(name: str, arguments: Sequence[Typed]) -> Typed:
    value, *formats = arguments
    style = formats[0].literal if formats else "hex"
    table = {
        ("to_binary", "hex"): "standin_hex({0})",
        ("to_binary", "utf8"): "encode({0})",
        ("to_binary", "encode64"): "from_base64({0})",
        ("from_binary", "hex"): "hex({0})",
        ("from_binary", "utf8"): "decode({0})",
        ("from_binary", "encode64"): "to_base64({0})",
    }
    template = table.get((name, str(style).lower()))
    wanted = "string" if name == "to_binary" else "binary"
    if template is None or value.type.family != wanted:
        raise unsupported(f"{describe(name, arguments)} with format {style!r}")
    return Typed(template.format(value.sql), BINARY if name == "to_binary" else STRING)


def _conv(name: str, arguments: Sequence[Typed]) -> Typed:
    bases = tuple(a.literal for a in arguments[1:])
    if bases == (16, 10) and arguments[0].type.family == "string":
        return Typed(f"standin_conv_hex({arguments[0].sql})", STRING)
    if bases == (10, 16) and arguments[0].type.family == "integer":
        return Typed(f"hex(CAST({arguments[0].sql} AS BIGINT))", STRING)
    raise unsupported(f"{describe(name, arguments)} with bases {bases}")


def _substr(name: str, arguments: Sequence[Typed]) -> Typed:
    if not 2 <= len(arguments) <= 3 or arguments[0].type.family not in ("string", "binary"):
        raise no_match(name, arguments)
    if arguments[0].type.family == "binary":
        raise unsupported(describe(name, arguments))
    text, start, *length = (a.sql for a in arguments)
    return Typed(f"standin_substr({text}, {start}, {length[0] if length else 2**31 - 1})", STRING)


def _concat(name: str, arguments: Sequence[Typed]) -> Typed:
    parts = [convert(a, STRING).sql for a in arguments]
    if name == "md5sum":
        return Typed(f"md5(concat({', '.join(parts)}))", STRING)
    return Typed(f"({' || '.join(parts)})", STRING)


def _first_of(name: str, arguments: Sequence[Typed]) -> Typed:
    if name == "if":
        condition, *branches = arguments
        result = unify([b.type for b in branches])
        yes, no = (convert(b, result).sql for b in branches)
        return Typed(f"CASE WHEN {condition.sql} THEN {yes} ELSE {no} END", result)
    result = unify([a.type for a in arguments])
    values = ", ".join(convert(a, result).sql for a in arguments)
    own = {"ifnull": "coalesce", "nvl": "coalesce"}.get(name, name)
    return Typed(f"{own}({values})", result)


def _same_type(name: str, arguments: Sequence[Typed]) -> Typed:
    (value,) = arguments
    if value.type.family not in ("integer", "decimal", "float"):
        raise no_match(name, arguments)
    return Typed(f"{name}({value.sql})", value.type)


def _integers(operator: str) -> Function:
    def write(name: str, arguments: Sequence[Typed]) -> Typed:
        if any(a.type.family != "integer" for a in arguments):
            raise unsupported(describe(name, arguments))
        result = unify([a.type for a in arguments])
        values = [convert(a, result).sql for a in arguments]
        return Typed(operator.format(*values), result)

    return write


def _modulo(name: str, arguments: Sequence[Typed]) -> Typed:
    left, right = arguments
    result = unify([left.type, right.type])
    if result.family not in ("integer", "float"):
        raise unsupported(f"{describe(name, arguments)}: write a CAST")
    sides = [convert(side, result).sql for side in (left, right)]
    return Typed(f"({sides[0]} % nullif({sides[1]}, 0))", result)


_MICROSECONDS = {
    "microsecond": 1,
    "millisecond": 1_000,
    "second": 1_000_000,
    "minute": 60_000_000,
    "hour": 3_600_000_000,
    "day": 86_400_000_000,
}


def difference(unit: str, end: Typed, start: Typed) -> Typed:
    """Whole units between two moments, cut towards zero."""
    size = _MICROSECONDS.get(unit.lower())
    if size is None:
        raise unsupported(f"differences in {unit}")
    later, earlier = convert(end, DATETIME).sql, convert(start, DATETIME).sql
    return Typed(f"((epoch_us({later}) - epoch_us({earlier})) // {size})", BIGINT)


def _date_diff(name: str, arguments: Sequence[Typed]) -> Typed:
    if name == "date_diff":
        unit, end, start = arguments
        return difference(str(unit.literal), end, start)
    return difference(name.removesuffix("s_diff"), *arguments)


_FORMATS = {"Y": "%Y", "m": "%m", "d": "%d", "H": "%H", "i": "%M", "s": "%S", "S": "%S", "f": "%f"}
_FORMATS |= {"T": "%H:%M:%S", "%": "%%", "y": "%y", "j": "%j"}


def _date_format(name: str, arguments: Sequence[Typed]) -> Typed:
    moment, pattern = arguments
    if not isinstance(pattern.literal, str):
        raise unsupported(f"{name} with a format that is not a literal")
    text, at = "", 0
    while at < len(pattern.literal):
        sign = pattern.literal[at]
        if sign != "%":
            text, at = text + sign, at + 1
            continue
        letter = pattern.literal[at + 1 : at + 2]
        if letter not in _FORMATS:
            raise unsupported(f"{name} with %{letter}")
        text, at = text + _FORMATS[letter], at + 2
    quoted = text.replace("'", "''")
    return Typed(f"strftime({convert(moment, DATETIME).sql}, '{quoted}')", STRING)


def _date_trunc(name: str, arguments: Sequence[Typed]) -> Typed:
    unit, moment = arguments
    if str(unit.literal).lower() not in ("second", "minute", "hour", "day", "month", "year"):
        raise unsupported(f"{name} to {unit.literal}")
    target = moment.type if moment.type.family == "date" else DATETIME
    value = convert(moment, target).sql
    return Typed(f"CAST(date_trunc('{unit.literal}', {value}) AS {target.duckdb})", target)


def _sha2(name: str, arguments: Sequence[Typed]) -> Typed:
    if arguments[1].literal != 256:
        raise unsupported(f"{name} of other lengths than 256")
    return Typed(f"sha256({convert(arguments[0], STRING).sql})", STRING)


def _parts(*names: str) -> dict[str, Function]:
    return {name: _template(name + "({0})", INT, DATETIME) for name in names}


_FUNCTIONS: dict[str, Function] = {
    "char_length": _template("length({0})", INT, STRING),
    "character_length": _template("length({0})", INT, STRING),
    "length": _length,
    "hex": _hex,
    "unhex": _template("decode(unhex({0}))", STRING, STRING),
    "to_binary": _binary_format,
    "from_binary": _binary_format,
    "conv": _conv,
    "substr": _substr,
    "substring": _substr,
    "left": _template("CASE WHEN {1} <= 0 THEN '' ELSE left({0}, {1}) END", STRING, STRING, INT),
    "right": _template("CASE WHEN {1} <= 0 THEN '' ELSE right({0}, {1}) END", STRING, STRING, INT),
    "concat": _concat,
    "upper": _template("upper({0})", STRING, STRING),
    "lower": _template("lower({0})", STRING, STRING),
    "trim": _template("trim({0})", STRING, STRING),
    "replace": _template("replace({0}, {1}, {2})", STRING, STRING, STRING, STRING),
    "instr": _template("instr({0}, {1})", INT, STRING, STRING),
    "reverse": _template("reverse({0})", STRING, STRING),
    "repeat": _template("repeat({0}, {1})", STRING, STRING, INT),
    "starts_with": _template("starts_with({0}, {1})", BOOLEAN, STRING, STRING),
    "md5": _template("md5({0})", STRING, STRING),
    "md5sum": _concat,
    "sha2": _sha2,
    "crc32": _template("standin_crc32(encode({0}))", BIGINT, STRING),
    "abs": _same_type,
    "floor": _template("CAST(floor({0}) AS BIGINT)", BIGINT, DOUBLE),
    "ceil": _template("CAST(ceil({0}) AS BIGINT)", BIGINT, DOUBLE),
    "mod": _modulo,
    "bitand": _integers("({0} & {1})"),
    "bitor": _integers("({0} | {1})"),
    "bitxor": _integers("xor({0}, {1})"),
    "bitnot": _integers("(~{0})"),
    "if": _first_of,
    "ifnull": _first_of,
    "nvl": _first_of,
    "coalesce": _first_of,
    "nullif": _first_of,
    "datediff": _template("date_diff('day', {1}, {0})", INT, DATE, DATE),
    "date_diff": _date_diff,
    "milliseconds_diff": _date_diff,
    "seconds_diff": _date_diff,
    "minutes_diff": _date_diff,
    "hours_diff": _date_diff,
    "days_diff": _date_diff,
    "date_format": _date_format,
    "date_trunc": _date_trunc,
    "date": _template("{0}", DATE, DATE),
    "to_date": _template("{0}", DATE, DATE),
    **_parts("year", "quarter", "month", "day", "hour", "minute", "second"),
}

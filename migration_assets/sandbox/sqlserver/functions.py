"""T-SQL scalar functions. A name that is in none of the tables is error 50001 or 195."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sqlglot import exp

from migration_assets.sandbox.sqlserver import (
    code_pages,
    collation,
    comparison,
    dates,
    sql_types,
    variants,
)
from migration_assets.sandbox.sqlserver.aggregates import aggregate, is_aggregate
from migration_assets.sandbox.sqlserver.conversion import (
    Typed,
    byte_or_unit_count,
    convert,
    literal,
    macro,
)
from migration_assets.sandbox.sqlserver.errors import SqlServerError, unsupported
from migration_assets.sandbox.sqlserver.natives import native
from migration_assets.sandbox.sqlserver.sql_types import (
    BIGINT,
    DATETIME,
    INT,
    SqlType,
    common,
    nvarchar,
    varbinary,
    varchar,
)  # fmt: skip

if TYPE_CHECKING:
    from migration_assets.sandbox.sqlserver.expressions import ExpressionTranslator
    from migration_assets.sandbox.sqlserver.scope import Scope

Function = Callable[["ExpressionTranslator", list[Typed]], Typed]
Special = Callable[["ExpressionTranslator", list[exp.Expression], "Scope"], Typed]


def call(translator: ExpressionTranslator, node: exp.Expression, scope: Scope) -> Typed:
    """Translate a function call, an aggregate or a window function.

    Raises:
        SqlServerError: 50001 for a function that the stand-in does not know.
    """
    if isinstance(node, (exp.Window, exp.GroupConcat)) or is_aggregate(node):
        return aggregate(translator, node, scope)
    if isinstance(node, exp.Substring):
        arguments = [node.this, node.args.get("start"), node.args.get("length")]
        node = exp.Anonymous(this="SUBSTRING", expressions=[a for a in arguments if a is not None])
    if isinstance(node, exp.CurrentTimestamp):
        node = exp.Anonymous(this="CURRENT_TIMESTAMP", expressions=[])
    name = str(node.this).upper()
    if name in SPECIAL:
        return SPECIAL[name](translator, list(node.expressions), scope)
    if name in FUNCTIONS:
        least, most, function = FUNCTIONS[name]
        if not least <= len(node.expressions) <= most:
            raise SqlServerError(174, f"The {name.lower()} function requires {least} argument(s).")
        return function(translator, [translator.expression(a, scope) for a in node.expressions])
    if translator.session.has_function(name):
        return translator.session.call_function(
            name, [translator.expression(a, scope) for a in node.expressions]
        )
    raise unsupported(f"function {name}")


def _nullable(arguments: list[Typed]) -> bool:
    return any(argument.nullable for argument in arguments)


def _as_text(value: Typed) -> Typed:
    """The value as string, the way string functions convert their arguments."""
    if value.type.family == "string":
        return value
    kind = varchar(8000) if value.type.family != "null" else varchar(1)
    return replace(value, sql=convert(value, kind), type=kind)


def _text_type(value: Typed, length: int | None = None) -> SqlType:
    """Varchar or nvarchar like the argument."""
    make = nvarchar if value.type.info.unicode else varchar
    wanted = value.type.length if length is None else length
    kind = make(wanted)
    return kind.collated(value.type.collation or kind.collation)


def _safe(value: Typed) -> str:
    """Text for a function that counts characters: beyond the BMP it would count wrongly."""
    return macro("bmp", value.sql) if value.type.info.unicode else value.sql


# -- strings -------------------------------------------------------------------------------------


def _len(_: ExpressionTranslator, arguments: list[Typed]) -> Typed:
    (value,) = arguments
    if value.type.family == "binary":
        return Typed(f"octet_length({value.sql})::INTEGER", INT, value.nullable)
    value = _as_text(value)
    trimmed = f"rtrim({value.sql}, ' ')"
    counted = macro("units", trimmed) if value.type.info.unicode else f"length({trimmed})"
    kind = BIGINT if value.type.length == -1 else INT
    return Typed(f"CAST({counted} AS {kind.duckdb})", kind, value.nullable)


def _datalength(_: ExpressionTranslator, arguments: list[Typed]) -> Typed:
    (value,) = arguments
    kind = value.type
    result = BIGINT if kind.length == -1 else INT
    if kind.family in {"binary", "clr"}:
        sql = f"octet_length({value.sql})"
    elif kind.family == "string":
        sql = byte_or_unit_count(value.sql, kind)
        sql = f"2 * {sql}" if kind.info.unicode else sql
    elif kind.family == "variant":
        sql = variants.data_length(value)
    elif kind.family in sql_types.EXTENDED:
        raise unsupported(f"DATALENGTH of {kind.declaration}")
    else:
        sql = f"CASE WHEN ({value.sql}) IS NULL THEN NULL ELSE {kind.max_length} END"
    return Typed(f"CAST({sql} AS {result.duckdb})", result, value.nullable)


def _substring(translator: ExpressionTranslator, arguments: list[Typed]) -> Typed:
    value, start, length = arguments
    first, count = convert(start, BIGINT), convert(length, BIGINT)
    known = _constant_int(length)
    if value.type.family == "binary":
        sql = macro("blob_part", value.sql, first, count)
        return Typed(sql, varbinary(known or value.type.length), _nullable(arguments))
    value = _as_text(value)
    del translator
    cut = f"substr({_safe(value)}, greatest({first}, 1), greatest({count} + least({first} - 1, 0), 0))"
    return Typed(cut, _text_type(value, known or value.type.length), _nullable(arguments))


def _constant_int(value: Typed) -> int | None:
    digits = value.sql.removeprefix("CAST(").removesuffix(" AS INTEGER)")
    return int(digits) if digits.isdigit() else None


def _left(_: ExpressionTranslator, arguments: list[Typed]) -> Typed:
    value, count = _as_text(arguments[0]), convert(arguments[1], BIGINT)
    kind = _text_type(value, _constant_int(arguments[1]) or value.type.length)
    return Typed(f"left({_safe(value)}, {count})", kind, _nullable(arguments))


def _right(_: ExpressionTranslator, arguments: list[Typed]) -> Typed:
    value, count = _as_text(arguments[0]), convert(arguments[1], BIGINT)
    kind = _text_type(value, _constant_int(arguments[1]) or value.type.length)
    return Typed(f"right({_safe(value)}, {count})", kind, _nullable(arguments))


def _same_text(template: str) -> Function:
    def function(_: ExpressionTranslator, arguments: list[Typed]) -> Typed:
        value = _as_text(arguments[0])
        return Typed(template.format(value.sql), _text_type(value), value.nullable)

    return function


def _replace(_: ExpressionTranslator, arguments: list[Typed]) -> Typed:
    value, old, new = (_as_text(argument) for argument in arguments)
    if collation.ignores_case(value.type.collation) and _has_case(old):
        raise unsupported("REPLACE of letters under a case-insensitive collation")
    longest = -1 if value.type.length == -1 else 4000 if value.type.info.unicode else 8000
    sql = f"CASE WHEN {old.sql} = '' THEN {value.sql} ELSE replace({value.sql}, {old.sql}, {new.sql}) END"
    return Typed(sql, _text_type(value, longest), _nullable(arguments))


def _has_case(value: Typed) -> bool:
    text = value.constant
    return text is None or text.lower() != text.upper()


def _charindex(_: ExpressionTranslator, arguments: list[Typed]) -> Typed:
    what, text = _as_text(arguments[0]), _as_text(arguments[1])
    pieces = [_safe(what), _safe(text)]
    if collation.ignores_case(text.type.collation):
        pieces = [f"lower({piece})" for piece in pieces]
    if len(arguments) == 2:
        sql = f"CASE WHEN {pieces[0]} = '' THEN 0 ELSE strpos({pieces[1]}, {pieces[0]}) END"
    else:
        start = f"greatest({convert(arguments[2], BIGINT)}, 1)"
        found = f"strpos(substr({pieces[1]}, {start}), {pieces[0]})"
        sql = f"CASE WHEN {pieces[0]} = '' OR {found} = 0 THEN 0 ELSE {found} + {start} - 1 END"
    return Typed(f"CAST({sql} AS INTEGER)", INT, _nullable(arguments))


def _concat(_: ExpressionTranslator, arguments: list[Typed]) -> Typed:
    texts = [_as_text(argument) for argument in arguments]
    unicode = any(text.type.info.unicode for text in texts)
    lengths = [text.type.length for text in texts]
    length = -1 if -1 in lengths else min(sum(lengths), 4000 if unicode else 8000)
    sql = " || ".join(f"coalesce({text.sql}, '')" for text in texts)
    return Typed(f"({sql})", nvarchar(length) if unicode else varchar(length), nullable=False)


def _replicate(_: ExpressionTranslator, arguments: list[Typed]) -> Typed:
    value, count = _as_text(arguments[0]), convert(arguments[1], BIGINT)
    longest = -1 if value.type.length == -1 else 4000 if value.type.info.unicode else 8000
    repeated = f"repeat({value.sql}, {count})"
    limit = "" if longest == -1 else f", {longest}"
    sql = f"left({repeated}{limit})" if limit else repeated
    return Typed(sql, _text_type(value, longest), _nullable(arguments))


def _unicode(_: ExpressionTranslator, arguments: list[Typed]) -> Typed:
    value = _as_text(arguments[0])
    number = f"unicode({_safe(value)})"
    # See code_pages.py: a surrogate without its partner.
    sql = f"CASE WHEN {number} >= {0x10F800} THEN {number} - {0x10F800 - 0xD800} ELSE {number} END"
    return Typed(sql, INT, value.nullable)


def _nchar(_: ExpressionTranslator, arguments: list[Typed]) -> Typed:
    number = convert(arguments[0], INT)
    sql = (
        f"CASE WHEN {number} BETWEEN {0xD800} AND {0xDFFF} THEN chr({number} + {0x10F800 - 0xD800}) "
        f"WHEN {number} BETWEEN 0 AND {0xFFFF} THEN chr({number}) END"
    )
    known = _constant_int(arguments[0])
    constant = code_pages.character(known) if known is not None and known <= 0xFFFF else None
    return Typed(f"({sql})", nvarchar(1), constant=constant)


def _char(translator: ExpressionTranslator, arguments: list[Typed]) -> Typed:
    number = convert(arguments[0], INT)
    kind = varchar(1).collated(translator.session.database.collation)
    byte = f"unhex(printf('%02x', {number}))"
    sql = (
        f"CASE WHEN {number} BETWEEN 0 AND 127 THEN chr({number}) WHEN {number} BETWEEN 128 AND 255 "
        f"THEN {native('text', byte, _page(kind))} END"
    )
    return Typed(f"({sql})", kind)


def _page(kind: SqlType) -> str:
    return f"'{collation.codec(kind.collation)}'"


def _ascii(_: ExpressionTranslator, arguments: list[Typed]) -> Typed:
    value = _as_text(arguments[0])
    if value.type.info.unicode:
        raise unsupported("ASCII of nvarchar")
    first = macro("narrow", f"left({value.sql}, 1)", _page(value.type))
    return Typed(f"CAST(('0x' || left(hex({first}), 2))::UHUGEINT AS INTEGER)", INT, value.nullable)


def _space(_: ExpressionTranslator, arguments: list[Typed]) -> Typed:
    count = convert(arguments[0], BIGINT)
    return Typed(f"repeat(' ', greatest({count}, 0))", varchar(8000), arguments[0].nullable)


def _quotename(_: ExpressionTranslator, arguments: list[Typed]) -> Typed:
    if len(arguments) > 1:
        raise unsupported("QUOTENAME with another quote")
    value = _as_text(arguments[0])
    return Typed(f"('[' || replace({value.sql}, ']', ']]') || ']')", nvarchar(258), value.nullable)


# -- conditions and NULL -------------------------------------------------------------------------


def _isnull(_: ExpressionTranslator, arguments: list[Typed]) -> Typed:
    value, other = arguments
    kind = value.type if value.type.family != "null" else other.type
    sql = f"coalesce({convert(value, kind)}, {convert(other, kind)})"
    return Typed(sql, kind, value.nullable and other.nullable)


def _coalesce(_: ExpressionTranslator, arguments: list[Typed]) -> Typed:
    kind = common([argument.type for argument in arguments])
    parts = ", ".join(convert(argument, kind) for argument in arguments)
    return Typed(f"coalesce({parts})", kind, all(argument.nullable for argument in arguments))


def _nullif(translator: ExpressionTranslator, arguments: list[Typed]) -> Typed:
    value, other = arguments
    same = translator.compare("=", value, other)
    return Typed(f"(CASE WHEN {same} THEN NULL ELSE {value.sql} END)", value.type)


def _iif(translator: ExpressionTranslator, arguments: list[exp.Expression], scope: Scope) -> Typed:
    test, yes, no = arguments
    branch = exp.If(this=test, true=yes)
    return translator.expression(exp.Case(ifs=[branch], default=no), scope)


# -- numbers -------------------------------------------------------------------------------------


def _abs(_: ExpressionTranslator, arguments: list[Typed]) -> Typed:
    (value,) = arguments
    if value.type.family not in {"integer", "decimal", "money", "float"}:
        raise unsupported(f"ABS of {value.type.declaration}")
    return Typed(f"CAST(abs({value.sql}) AS {value.type.duckdb})", value.type, value.nullable)


def _sign(_: ExpressionTranslator, arguments: list[Typed]) -> Typed:
    (value,) = arguments
    if value.type.family not in {"integer", "decimal", "money", "float"}:
        raise unsupported(f"SIGN of {value.type.declaration}")
    return Typed(f"CAST(sign({value.sql}) AS {value.type.duckdb})", value.type, value.nullable)


def _round_to_whole(name: str) -> Function:
    def function(_: ExpressionTranslator, arguments: list[Typed]) -> Typed:
        (value,) = arguments
        if value.type.family == "decimal":
            kind = sql_types.decimal(value.type.precision, 0)
        elif value.type.family in {"integer", "float"}:
            kind = value.type
        else:
            raise unsupported(f"{name} of {value.type.declaration}")
        return Typed(f"CAST({name}({value.sql}) AS {kind.duckdb})", kind, value.nullable)

    return function


def _round(_: ExpressionTranslator, arguments: list[Typed]) -> Typed:
    value, digits = arguments[0], _constant_int(arguments[1])
    if digits is None or value.type.family not in {"decimal", "money", "float", "integer"}:
        raise unsupported("ROUND with these arguments")
    name = "round"
    if len(arguments) == 3 and _constant_int(arguments[2]) != 0:
        name = "trunc"
        if digits or value.type.family == "float":
            raise unsupported("ROUND that truncates to digits")
    sql = f"{name}({value.sql})" if name == "trunc" else f"round({value.sql}, {digits})"
    return Typed(f"CAST({sql} AS {value.type.duckdb})", value.type, value.nullable)


def _float(name: str) -> Function:
    def function(_: ExpressionTranslator, arguments: list[Typed]) -> Typed:
        parts = ", ".join(convert(argument, sql_types.FLOAT) for argument in arguments)
        return Typed(f"{name}({parts})", sql_types.FLOAT, _nullable(arguments))

    return function


# -- hashes, ids ---------------------------------------------------------------------------------


def _hashbytes(_: ExpressionTranslator, arguments: list[Typed]) -> Typed:
    algorithm, value = arguments
    name = {"MD5": "md5", "SHA2_256": "sha256", "SHA1": "sha1"}.get(
        (algorithm.constant or "").upper()
    )
    if name is None:
        raise unsupported("HASHBYTES with an algorithm other than MD5, SHA1 and SHA2_256")
    data = value.sql if value.type.family == "binary" else convert(value, varbinary(-1))
    return Typed(f"unhex({name}({data}))", varbinary(8000), value.nullable)


def _checksum(_: ExpressionTranslator, arguments: list[Typed]) -> Typed:
    """CHECKSUM, with other numbers than SQL Server's; what compares equal has one, NULL too."""
    keys = ", ".join(comparison.key(argument) for argument in arguments)
    number = f"CAST(CAST(hash({keys}) % 4294967296 AS BIGINT) - 2147483648 AS INTEGER)"
    return Typed(number, sql_types.INT, nullable=False)


def _newid(_: ExpressionTranslator, _arguments: list[Typed]) -> Typed:
    return Typed("uuid()", sql_types.GUID, nullable=False)


def _now(kind: SqlType) -> Function:
    def function(_: ExpressionTranslator, _arguments: list[Typed]) -> Typed:
        # Not DuckDB's clock, which stands still inside a transaction. The server's zone is UTC.
        moment = literal(f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S.%f}", _MICROSECONDS)
        return Typed(convert(moment, kind), kind, nullable=False)

    return function


_MICROSECONDS = SqlType("datetime2", scale=6)
_DATETIME2 = SqlType("datetime2", scale=7)
_OFFSET = SqlType("datetimeoffset", scale=7)


FUNCTIONS: dict[str, tuple[int, int, Function]] = {
    "LEN": (1, 1, _len),
    "DATALENGTH": (1, 1, _datalength),
    "SUBSTRING": (3, 3, _substring),
    "LEFT": (2, 2, _left),
    "RIGHT": (2, 2, _right),
    "UPPER": (1, 1, _same_text("upper({})")),
    "LOWER": (1, 1, _same_text("lower({})")),
    "LTRIM": (1, 1, _same_text("ltrim({}, ' ')")),
    "RTRIM": (1, 1, _same_text("rtrim({}, ' ')")),
    "TRIM": (1, 1, _same_text("trim({}, ' ')")),
    "REVERSE": (1, 1, _same_text("reverse({})")),
    "REPLACE": (3, 3, _replace),
    "CHARINDEX": (2, 3, _charindex),
    "CONCAT": (2, 254, _concat),
    "REPLICATE": (2, 2, _replicate),
    "UNICODE": (1, 1, _unicode),
    "NCHAR": (1, 1, _nchar),
    "CHAR": (1, 1, _char),
    "ASCII": (1, 1, _ascii),
    "SPACE": (1, 1, _space),
    "SQL_VARIANT_PROPERTY": (2, 2, variants.variant_property),
    "QUOTENAME": (1, 2, _quotename),
    "ISNULL": (2, 2, _isnull),
    "COALESCE": (2, 254, _coalesce),
    "NULLIF": (2, 2, _nullif),
    "ABS": (1, 1, _abs),
    "SIGN": (1, 1, _sign),
    "CEILING": (1, 1, _round_to_whole("ceil")),
    "FLOOR": (1, 1, _round_to_whole("floor")),
    "ROUND": (2, 3, _round),
    "SQRT": (1, 1, _float("sqrt")),
    "EXP": (1, 1, _float("exp")),
    "HASHBYTES": (2, 2, _hashbytes),
    "CHECKSUM": (1, 1024, _checksum),
    "NEWID": (0, 0, _newid),
    "NEWSEQUENTIALID": (0, 0, _newid),
    "GETDATE": (0, 0, _now(DATETIME)),
    "CURRENT_TIMESTAMP": (0, 0, _now(DATETIME)),
    "GETUTCDATE": (0, 0, _now(DATETIME)),
    "SYSDATETIME": (0, 0, _now(_DATETIME2)),
    "SYSUTCDATETIME": (0, 0, _now(_DATETIME2)),
    "SYSDATETIMEOFFSET": (0, 0, _now(_OFFSET)),
}

SPECIAL: dict[str, Special] = {"IIF": _iif, **dates.SPECIAL}

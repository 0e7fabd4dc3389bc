"""Arithmetic with T-SQL's precedence of types, result types and overflow errors."""

from __future__ import annotations

import re
from decimal import Decimal

from migration_assets.sandbox.sqlserver import sql_types
from migration_assets.sandbox.sqlserver.comparison import NUMERIC, collation_of
from migration_assets.sandbox.sqlserver.conversion import Typed, convert
from migration_assets.sandbox.sqlserver.errors import SqlServerError, raising, unsupported
from migration_assets.sandbox.sqlserver.sql_types import EXTENDED, SqlType, common, decimal

DIVIDE_BY_ZERO = raising(8134, "Divide by zero error encountered.")


def arithmetic(operator: str, left: Typed, right: Typed) -> Typed:
    """Apply an operator with T-SQL's rules of precedence and result types.

    Result types: https://learn.microsoft.com/sql/t-sql/data-types/precision-scale-and-length-transact-sql
    """
    nullable = left.nullable or right.nullable
    families = {left.type.family, right.type.family} - {"null"}
    if operator == "+" and families == {"string"}:
        return _concatenation(left, right)
    if operator == "+" and families == {"binary"}:
        length = (
            -1
            if -1 in {left.type.length, right.type.length}
            else left.type.length + right.type.length
        )
        return Typed(f"({left.sql} || {right.sql})", sql_types.varbinary(length), nullable)
    kind = common([left.type, right.type])
    if kind.family == "null":
        return Typed("NULL", sql_types.INT)
    if kind.name in {"datetime", "smalldatetime"} and operator in "+-":
        days = right if right.type.family == "integer" else left if operator == "+" else None
        if days is not None and days.type.family == "integer":
            stamp = left if days is right else right
            return Typed(
                f"({stamp.sql} {operator} to_days(CAST({days.sql} AS INTEGER)))", kind, nullable
            )
    if kind.family in {"date", "time", "datetime", "offset", "guid", "binary", "string", *EXTENDED}:
        raise (
            SqlServerError(
                8117, f"Operand data type {kind.name} is invalid for operator '{operator}'."
            )
            if kind.family != "datetime"
            else unsupported(f"{operator} on {kind.name}")
        )
    if kind.family == "bit":
        kind = sql_types.INT if operator in "+-*/%" else kind
    if operator in {"&", "|", "^"}:
        if kind.family not in {"integer", "bit"}:
            raise SqlServerError(
                402, f"The data types are incompatible in the '{operator}' operator."
            )
        kind = sql_types.TINYINT if kind.family == "bit" else kind
        a, b = convert(left, kind), convert(right, kind)
        sql = f"xor({a}, {b})" if operator == "^" else f"({a} {operator} {b})"
        return Typed(sql, kind, nullable)
    if kind.family == "integer":
        a, b = convert(left, kind), convert(right, kind)
        if operator in "/%":
            b = _nonzero(b, right)
            operator = "//" if operator == "/" else operator
        return Typed(f"({a} {operator} {b})", kind, nullable)
    if kind.family == "float":
        double = sql_types.FLOAT
        a, b = convert(left, double), convert(right, double)
        if operator == "%":
            raise SqlServerError(402, "The data types are incompatible in the modulo operator.")
        b = _nonzero(b, right) if operator == "/" else b
        sql = f"({a} {operator} {b})"
        return Typed(f"CAST({sql} AS {kind.duckdb})", kind, nullable)
    return _decimal_arithmetic(operator, left, right, kind, nullable=nullable)


def number(text: str) -> Typed:
    """A numeric literal with the type T-SQL gives it."""
    lowered = text.lower()
    if "e" in lowered:
        return Typed(f"CAST({text} AS DOUBLE)", sql_types.FLOAT, nullable=False)
    if "." not in text:
        value = int(text)
        if -(1 << 31) <= value < 1 << 31:
            return Typed(f"CAST({value} AS INTEGER)", sql_types.INT, nullable=False)
    digits = Decimal(text).as_tuple()
    scale = max(-int(digits.exponent), 0)
    kind = SqlType("numeric", precision=max(len(digits.digits), scale, 1), scale=scale)
    if kind.precision > 38:
        raise SqlServerError(1007, f"The number '{text}' is out of the range for numeric.", 15)
    return Typed(f"CAST('{text}' AS {kind.duckdb})", kind, nullable=False)


def _concatenation(left: Typed, right: Typed) -> Typed:
    unicode = left.type.info.unicode or right.type.info.unicode
    lengths = [side.type.length for side in (left, right) if side.type.family == "string"]
    length = -1 if -1 in lengths else min(sum(lengths), 4000 if unicode else 8000)
    kind = sql_types.nvarchar(length) if unicode else sql_types.varchar(length)
    kind = kind.collated(collation_of(left, right) or kind.collation)
    nullable = left.nullable or right.nullable
    constant = None
    if left.constant is not None and right.constant is not None:
        constant = left.constant + right.constant
    return Typed(f"({left.sql} || {right.sql})", kind, nullable, constant=constant)


def _nonzero(sql: str, value: Typed) -> str:
    literal = re.fullmatch(r"CAST\('?(-?[\d.]+)'? AS [^)]*\)?\)", value.sql)
    if literal and float(literal[1]) != 0:
        return sql
    return f"(CASE WHEN {sql} = 0 THEN {DIVIDE_BY_ZERO} ELSE {sql} END)"


def _decimal_arithmetic(
    operator: str, left: Typed, right: Typed, kind: SqlType, *, nullable: bool
) -> Typed:
    a, b = (
        sql_types.as_decimal(side.type)
        if side.type.family in NUMERIC
        else sql_types.as_decimal(kind)
        for side in (left, right)
    )
    x, y = convert(left, a), convert(right, b)
    if operator in "+-*" and max(a.precision, b.precision) <= 18:
        # DuckDB keeps an operation on two 64-bit decimals in 64 bits, and overflows there.
        x = f"CAST({x} AS DECIMAL(19,{a.scale}))"
    money = kind.family == "money"
    if operator in "+-":
        scale = max(a.scale, b.scale)
        result = decimal(max(a.precision - a.scale, b.precision - b.scale) + 1 + scale, scale)
        sql = f"({x} {operator} {y})"
    elif operator == "*":
        result = decimal(a.precision + b.precision + 1, a.scale + b.scale)
        sql = f"({x} * {y})"
    elif operator == "/":
        scale = max(6, a.scale + b.precision + 1)
        result = decimal(a.precision - a.scale + b.scale + scale, scale)
        result = kind if money else result
        # Whole numbers in 128 bits: exact, and an error rather than a wrong digit when too long.
        up = result.scale + b.scale - a.scale
        top = f"(CAST({x} * {10**a.scale}::DECIMAL({a.scale + 1},0) AS HUGEINT) * {10 ** max(up, 0)}::HUGEINT)"
        bottom = f"CAST({_nonzero(y, right)} * {10**b.scale}::DECIMAL({b.scale + 1},0) AS HUGEINT)"
        unit = "1" if result.scale == 0 else "0." + "0" * (result.scale - 1) + "1"
        sql = f"(CAST({top} // {bottom} AS DECIMAL(38,0)) * {unit}::DECIMAL({result.scale + 1},{result.scale}))"
        if up < 0:
            raise unsupported("division of decimals of these scales")
    else:
        if a.scale or b.scale:
            raise unsupported("% on decimals with a scale")
        result = decimal(min(a.precision, b.precision), 0)
        sql = f"(CAST({x} AS HUGEINT) % CAST({_nonzero(y, right)} AS HUGEINT))"
    result = kind if money else result
    return Typed(f"CAST({sql} AS {result.duckdb})", result, nullable)

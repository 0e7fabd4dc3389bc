"""T-SQL expressions and conditions to DuckDB, each with its T-SQL type."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING

from sqlglot import exp

from migration_assets.sandbox.sqlserver import collation, sql_types
from migration_assets.sandbox.sqlserver.conversion import Typed, convert, macro
from migration_assets.sandbox.sqlserver.dialect import type_of
from migration_assets.sandbox.sqlserver.errors import SqlServerError, raising, unsupported
from migration_assets.sandbox.sqlserver.scope import Query, Scope
from migration_assets.sandbox.sqlserver.sql_types import SqlType, common, decimal

if TYPE_CHECKING:
    from migration_assets.sandbox.sqlserver.session import Session

_NUMERIC = {"bit", "integer", "decimal", "money", "float"}
_TEMPORAL = {"date", "time", "datetime", "offset"}

_COMPARISONS: dict[type[exp.Expression], str] = {
    exp.EQ: "=", exp.NEQ: "<>", exp.GT: ">", exp.GTE: ">=", exp.LT: "<", exp.LTE: "<=",
}  # fmt: skip
_ARITHMETIC: dict[type[exp.Expression], str] = {
    exp.Add: "+", exp.Sub: "-", exp.Mul: "*", exp.Div: "/", exp.Mod: "%", exp.BitwiseAnd: "&",
    exp.BitwiseOr: "|", exp.BitwiseXor: "^",
}  # fmt: skip

DIVIDE_BY_ZERO = raising(8134, "Divide by zero error encountered.")


def string_literal(text: str) -> str:
    """A DuckDB string literal."""
    return "'" + text.replace("'", "''") + "'"


def key(value: Typed) -> str:
    """What stands for a value where SQL Server orders, groups or compares it."""
    kind = value.type
    if kind.family == "string":
        if collation.is_binary(kind.collation):
            return f"rtrim({value.sql}, ' ')"
        if collation.ignores_case(kind.collation):
            return macro("fold", value.sql)
        return f"rtrim({value.sql}, ' ')"
    if kind.family == "guid":
        return macro("guid_key", value.sql)
    if kind.family == "offset":
        return f"({value.sql}).utc"
    return value.sql


class ExpressionTranslator:
    """Translates expressions; `QueryTranslator` adds the queries inside them."""

    def __init__(self, session: Session) -> None:
        """Translate for a session: its database, variables and options."""
        self.session = session

    def query(self, node: exp.Expression, scope: Scope) -> Query:
        """Translate a nested query."""
        raise NotImplementedError

    def expression(self, node: exp.Expression, scope: Scope) -> Typed:
        """Translate a value.

        Raises:
            SqlServerError: 50001 for what is not known, and SQL Server's own for mistakes.
        """
        if scope.groups is not None:
            grouped = scope.groups.get(group_key(node))
            if grouped is not None:
                return grouped
        kind = type(node)
        if kind in _ARITHMETIC:
            return self._arithmetic(node, scope)
        handler = _HANDLERS.get(kind)
        if handler is None:
            raise unsupported(f"expression {node.sql('tsql')[:120]} ({kind.__name__})")
        return handler(self, node, scope)

    # -- leaves ----------------------------------------------------------------------------------

    def _literal(self, node: exp.Expression, _scope: Scope) -> Typed:
        text = str(node.this)
        if node.args.get("is_string"):
            kind = sql_types.varchar(max(len(text), 1))
            return Typed(string_literal(text), kind, nullable=False, constant=text)
        return number(text)

    def _national(self, node: exp.Expression, _scope: Scope) -> Typed:
        text = str(node.this)
        units = len(text.encode("utf-16-le")) // 2
        kind = sql_types.nvarchar(max(units, 1))
        return Typed(string_literal(text), kind, nullable=False, constant=text)

    def _hex(self, node: exp.Expression, _scope: Scope) -> Typed:
        digits = str(node.this)
        digits = digits if len(digits) % 2 == 0 else "0" + digits
        return Typed(
            f"unhex('{digits}')", sql_types.varbinary(max(len(digits) // 2, 1)), nullable=False
        )

    def _null(self, _node: exp.Expression, _scope: Scope) -> Typed:
        return Typed("NULL", sql_types.NULL)

    def _paren(self, node: exp.Expression, scope: Scope) -> Typed:
        inner = self.expression(node.this, scope)
        return replace(inner, sql=f"({inner.sql})")

    def _column(self, node: exp.Expression, scope: Scope) -> Typed:
        if node.args.get("catalog") or isinstance(node.this, exp.Star):
            raise unsupported(f"column {node.sql('tsql')}")
        name, alias = node.name, node.text("table")
        if name.startswith("$") or alias.startswith("$"):
            raise unsupported("money literals such as $1.5: write CAST(1.5 AS money)")
        if name.lower() == "0x":
            return Typed("unhex('')", sql_types.varbinary(1), nullable=False)  # the empty binary
        if not alias and name.upper() in {
            "CURRENT_TIMESTAMP",
            "SYSTEM_USER",
            "SESSION_USER",
            "CURRENT_USER",
            "USER",
        }:
            return self._function(exp.Anonymous(this=name, expressions=[]), scope)
        return scope.column(name, alias)

    def _parameter(self, node: exp.Expression, _scope: Scope) -> Typed:
        if isinstance(node.this, exp.Parameter):
            return self.session.global_variable(node.this.name)
        return self.session.variable(node.name)

    # -- operators -------------------------------------------------------------------------------

    def _negate(self, node: exp.Expression, scope: Scope) -> Typed:
        if isinstance(node.this, exp.Literal) and not node.this.args.get("is_string"):
            return number("-" + str(node.this.this))
        inner = self.expression(node.this, scope)
        if (
            inner.type.family not in {"integer", "decimal", "money", "float"}
            or inner.type.name == "tinyint"
        ):
            raise unsupported(f"minus before {inner.type.declaration}")
        return Typed(f"(-{inner.sql})", inner.type, inner.nullable)

    def _invert(self, node: exp.Expression, scope: Scope) -> Typed:
        inner = self.expression(node.this, scope)
        if inner.type.family != "integer":
            raise unsupported(f"~ before {inner.type.declaration}")
        return Typed(f"(~{inner.sql})", inner.type, inner.nullable)

    def _arithmetic(self, node: exp.Expression, scope: Scope) -> Typed:
        operator = _ARITHMETIC[type(node)]
        left = self.expression(node.args["this"], scope)
        right = self.expression(node.args["expression"], scope)
        return self.arithmetic(operator, left, right)

    def arithmetic(self, operator: str, left: Typed, right: Typed) -> Typed:
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
        if kind.family in {"date", "time", "datetime", "offset", "guid", "binary", "string"}:
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

    def _case(self, node: exp.Expression, scope: Scope) -> Typed:
        subject = node.args.get("this")
        branches: list[tuple[str, Typed]] = []
        for branch in node.args["ifs"]:
            test = exp.EQ(this=subject.copy(), expression=branch.this) if subject else branch.this
            branches.append(
                (self.condition(test, scope), self.expression(branch.args["true"], scope))
            )
        default = node.args.get("default")
        otherwise = (
            self.expression(default, scope)
            if default is not None
            else Typed("NULL", sql_types.NULL)
        )
        kind = common([value.type for _, value in branches] + [otherwise.type])
        parts = [f"WHEN {test} THEN {convert(value, kind)}" for test, value in branches]
        nullable = otherwise.nullable or any(value.nullable for _, value in branches)
        sql = f"CASE {' '.join(parts)} ELSE {convert(otherwise, kind)} END"
        return Typed(f"({sql})", kind, nullable)

    # -- conversions -----------------------------------------------------------------------------

    def _cast(self, node: exp.Expression, scope: Scope) -> Typed:
        return self._converted(
            node.this, node.args["to"], None, scope, safe=isinstance(node, exp.TryCast)
        )

    def _convert(self, node: exp.Expression, scope: Scope) -> Typed:
        style = node.args.get("style")
        number_of_style: int | None = None
        if style is not None:
            if not isinstance(style, exp.Literal):
                raise unsupported("CONVERT with a style that is not a literal")
            number_of_style = int(style.name)
        safe = bool(node.args.get("safe"))
        return self._converted(
            node.args["expression"], node.this, number_of_style, scope, safe=safe
        )

    def _converted(
        self,
        operand: exp.Expression,
        to: exp.DataType,
        style: int | None,
        scope: Scope,
        *,
        safe: bool,
    ) -> Typed:
        value = self.expression(operand, scope)
        target = type_of(to)
        if target.family == "string" and value.type.family == "string" and value.type.collation:
            target = target.collated(value.type.collation) if target.collation else target
        sql = convert(value, target, style)
        if not safe:
            return Typed(sql, target, value.nullable)
        if "error(" in sql or macro("whole", "")[:-2] in sql:
            # DuckDB's TRY refuses expressions that call error(): fall back on its TRY_CAST.
            if value.type.family == "string" and target.family in {"integer", "bit"}:
                whole = f"CASE WHEN regexp_full_match(trim({value.sql}), '[+-]?[0-9]+') THEN trim({value.sql}) END"
                return Typed(f"TRY_CAST({whole} AS {target.duckdb})", target)
            raise unsupported(f"TRY_CAST of {value.type.declaration} as {target.declaration}")
        return Typed(f"TRY({sql})", target)

    def _collate(self, node: exp.Expression, scope: Scope) -> Typed:
        inner = self.expression(node.this, scope)
        name = node.args["expression"].name
        if name.lower() in {"database_default", "catalog_default"}:
            name = self.session.database.collation
        return replace(inner, type=inner.type.collated(name), name="", constant=None)

    def _at_time_zone(self, node: exp.Expression, scope: Scope) -> Typed:
        zone = node.args["zone"]
        if not isinstance(zone, (exp.Literal, exp.National)) or str(zone.this).upper() != "UTC":
            raise unsupported("AT TIME ZONE other than 'UTC'")
        value = self.expression(node.this, scope)
        kind = SqlType("datetimeoffset", scale=value.type.catalog_scale)
        if value.type.family == "offset":
            return Typed(macro("make_dto", f"({value.sql}).utc", "0"), kind, value.nullable)
        return Typed(convert(value, kind), kind, value.nullable)

    # -- functions and subqueries ----------------------------------------------------------------

    def _function(self, node: exp.Expression, scope: Scope) -> Typed:
        from migration_assets.sandbox.sqlserver.functions import call

        return call(self, node, scope)

    def _subquery(self, node: exp.Expression, scope: Scope) -> Typed:
        inner = self.query(node, scope.child())
        if len(inner.columns) != 1:
            raise SqlServerError(
                116,
                "Only one expression can be specified in the select list when the subquery is "
                "not introduced with EXISTS.",
            )
        return Typed(f"({inner.sql})", inner.columns[0].type)

    # -- conditions ------------------------------------------------------------------------------

    def condition(self, node: exp.Expression, scope: Scope) -> str:
        """Translate a condition.

        Raises:
            SqlServerError: 4145 for a value where a condition is needed, 50001 for unknown ones.
        """
        if isinstance(node, exp.Paren):
            return f"({self.condition(node.this, scope)})"
        if isinstance(node, (exp.And, exp.Or)):
            word = "AND" if isinstance(node, exp.And) else "OR"
            left, right = (
                self.condition(node.args[side], scope) for side in ("this", "expression")
            )
            return f"({left} {word} {right})"
        if isinstance(node, exp.Not):
            return f"(NOT {self.condition(node.this, scope)})"
        if type(node) in _COMPARISONS:
            left_value = self.expression(node.args["this"], scope)
            if isinstance(node.args["expression"], (exp.Any, exp.All)):
                raise unsupported("comparison with ANY or ALL")
            right_value = self.expression(node.args["expression"], scope)
            return self.compare(_COMPARISONS[type(node)], left_value, right_value)
        if isinstance(node, exp.Between):
            value = self.expression(node.this, scope)
            low, high = (self.expression(node.args[end], scope) for end in ("low", "high"))
            return f"({self.compare('>=', value, low)} AND {self.compare('<=', value, high)})"
        if isinstance(node, exp.Is) and isinstance(node.args["expression"], exp.Null):
            return f"({self.expression(node.this, scope).sql} IS NULL)"
        if isinstance(node, exp.In):
            return self._in(node, scope)
        if isinstance(node, (exp.Like, exp.Escape)):
            return self._like(node, scope)
        if isinstance(node, exp.Exists):
            return f"EXISTS ({self.query(node.this, scope.child()).sql})"
        if isinstance(node, exp.NullSafeEQ | exp.NullSafeNEQ):
            left_value = self.expression(node.args["this"], scope)
            right_value = self.expression(node.args["expression"], scope)
            a, b = comparable(left_value, right_value, ordered=False)
            return f"({a} IS {'NOT ' if isinstance(node, exp.NullSafeEQ) else ''}DISTINCT FROM {b})"
        raise SqlServerError(
            4145,
            "An expression of non-boolean type specified in a context where a condition is "
            f"expected, near '{node.sql('tsql')[:60]}'.",
            severity=15,
        )

    def compare(self, operator: str, left: Typed, right: Typed) -> str:
        """Compare as SQL Server would: common type, collation, its order of GUIDs."""
        a, b = comparable(left, right, ordered=operator not in {"=", "<>"})
        return f"({a} {operator} {b})"

    def _in(self, node: exp.In, scope: Scope) -> str:
        value = self.expression(node.this, scope)
        query = node.args.get("query")
        if query is not None:
            inner = self.query(query, scope.child())
            if len(inner.columns) != 1:
                raise SqlServerError(
                    116, "Only one expression can be specified in the select list."
                )
            a, b = comparable(value, inner.columns[0], ordered=False)
            return f"({a} IN (SELECT {b} FROM ({inner.sql})))"
        pairs = [
            comparable(value, self.expression(item, scope), ordered=False)
            for item in node.expressions
        ]
        if len({a for a, _ in pairs}) == 1:
            return f"({pairs[0][0]} IN ({', '.join(b for _, b in pairs)}))"
        return "(" + " OR ".join(f"{a} = {b}" for a, b in pairs) + ")"

    def _like(self, node: exp.Expression, scope: Scope) -> str:
        escape = ""
        if isinstance(node, exp.Escape):
            escape = str(node.args["expression"].this)
            node = node.this
        if not isinstance(node, exp.Like):
            raise unsupported(f"condition {node.sql('tsql')}")
        value = self.expression(node.this, scope)
        pattern = self.expression(node.args["expression"], scope)
        if value.type.family != "string" or pattern.type.family != "string":
            raise unsupported("LIKE on something that is not text")
        folded = collation.ignores_case(_collation_of(value, pattern))
        negate = "NOT " if node.args.get("negate") else ""
        if pattern.constant is None:
            bracket = raising(*_like_error())
            tested = f"CASE WHEN contains({pattern.sql}, '[') THEN {bracket} ELSE {pattern.sql} END"
            return f"({value.sql} {negate}{'ILIKE' if folded else 'LIKE'} {tested})"
        regex = ("(?is)" if folded else "(?s)") + like_regex(pattern.constant, escape)
        return f"({negate}regexp_full_match({value.sql}, {string_literal(regex)}))"


def _like_error() -> tuple[int, str]:
    error = unsupported("LIKE with a pattern that holds '[' and is not a literal")
    return error.number, error.message


def like_regex(pattern: str, escape: str) -> str:
    """A LIKE pattern as regular expression (RE2)."""
    out, position = "", 0
    while position < len(pattern):
        char = pattern[position]
        if escape and char == escape and position + 1 < len(pattern):
            position += 1
            out += re.escape(pattern[position])
        elif char == "%":
            out += ".*"
        elif char == "_":
            out += "."
        elif char == "[" and "]" in pattern[position + 1 :]:
            end = pattern.index("]", position + 1)
            inside = pattern[position + 1 : end].replace("\\", "\\\\").replace("[", "\\[")
            out += f"[{inside}]" if inside else "(?:$.)"
            position = end
        else:
            out += re.escape(char)
        position += 1
    return out


def group_key(node: exp.Expression) -> str:
    """Text by which an expression of the select list is recognised in GROUP BY."""
    return node.sql("tsql").lower()


def _collation_of(left: Typed, right: Typed) -> str:
    """Collation of a comparison: that of the side that is not a literal."""
    first, second = (right, left) if left.constant is not None else (left, right)
    return first.type.collation or second.type.collation


def comparable(left: Typed, right: Typed, *, ordered: bool) -> tuple[str, str]:
    """Both sides of a comparison in one type, as DuckDB compares them rightly."""
    families = {left.type.family, right.type.family}
    if "null" in families:
        return left.sql, right.sql
    if families == {"string"}:
        name = _collation_of(left, right)
        return tuple(key(replace(side, type=side.type.collated(name))) for side in (left, right))  # type: ignore[return-value] # two in, two out
    kind = common([left.type, right.type])
    if families <= _NUMERIC:
        if families == {"bit"}:
            return left.sql, right.sql
        return tuple(  # type: ignore[return-value] # two in, two out
            convert(side, sql_types.INT) if side.type.family == "bit" else side.sql
            for side in (left, right)
        )
    sides = [replace(side, sql=convert(side, kind), type=kind) for side in (left, right)]
    if kind.family == "guid" and not ordered:
        return sides[0].sql, sides[1].sql
    return key(sides[0]), key(sides[1])


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
    if -1 in lengths:
        length = -1
    else:
        length = min(sum(lengths), 4000 if unicode else 8000)
    kind = sql_types.nvarchar(length) if unicode else sql_types.varchar(length)
    kind = kind.collated(_collation_of(left, right) or kind.collation)
    nullable = left.nullable or right.nullable
    return Typed(f"({left.sql} || {right.sql})", kind, nullable)


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
        if side.type.family in _NUMERIC
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


_Handler = Callable[[ExpressionTranslator, exp.Expression, Scope], Typed]
_E = ExpressionTranslator
_HANDLERS: dict[type[exp.Expression], _Handler] = {
    exp.Literal: _E._literal,
    exp.National: _E._national,
    exp.HexString: _E._hex,
    exp.Null: _E._null,
    exp.Paren: _E._paren,
    exp.Column: _E._column,
    exp.Parameter: _E._parameter,
    exp.Neg: _E._negate,
    exp.BitwiseNot: _E._invert,
    exp.Case: _E._case,
    exp.Cast: _E._cast,
    exp.TryCast: _E._cast,
    exp.Convert: _E._convert,
    exp.Collate: _E._collate,
    exp.AtTimeZone: _E._at_time_zone,
    exp.Subquery: _E._subquery,
    exp.Select: _E._subquery,
    exp.Anonymous: _E._function,
    exp.Window: _E._function,
    exp.GroupConcat: _E._function,
    exp.Substring: _E._function,
    exp.CurrentTimestamp: _E._function,
}

"""Compiles one StarRocks expression (a sqlglot tree) to a DuckDB expression with its type.

Every kind of node has its own method here. A kind that has none is refused: sqlglot parses far more
than StarRocks does, and DuckDB answers more than StarRocks would.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from sqlglot import exp

from migration_assets.sandbox.starrocks import functions
from migration_assets.sandbox.starrocks.casts import cast
from migration_assets.sandbox.starrocks.column_types import (
    BIGINT,
    BINARY,
    BOOLEAN,
    DATE,
    DATETIME,
    DOUBLE,
    INTEGERS,
    LARGEINT,
    NULL,
    STRING,
    ColumnType,
    decimal,
    read_type,
)
from migration_assets.sandbox.starrocks.errors import analysis_error, syntax_error, unsupported
from migration_assets.sandbox.starrocks.functions import Typed, convert, unify
from migration_assets.sandbox.starrocks.lexer import Reader

if TYPE_CHECKING:
    from migration_assets.sandbox.starrocks.select import Compiled, Scope

IN_LIST_LIMIT = 9_999


class Environment(Protocol):
    """What an expression may ask its session."""

    @property
    def throw(self) -> bool:
        """Whether ALLOW_THROW_EXCEPTION is set."""

    def information(self, function: str) -> Typed | None:
        """The value of `database()`, `connection_id()`, `now()` ...; None for other functions."""

    def variable(self, name: str) -> Typed:
        """The value of a session variable."""


def literal(value: str) -> str:
    """Quote text for DuckDB."""
    if "\0" in value:
        return "(" + " || chr(0) || ".join(literal(part) for part in value.split("\0")) + ")"
    return "'" + value.replace("'", "''") + "'"


def name(identifier: str) -> str:
    """Quote an identifier for DuckDB."""
    return '"' + identifier.replace('"', '""') + '"'


class ExpressionCompiler:
    """Compiles expressions within one scope (the FROM clause they see)."""

    def __init__(
        self,
        environment: Environment,
        scope: Scope,
        subquery: Callable[[exp.Expr, Scope], Compiled],
    ) -> None:
        """Remember where columns, variables and subqueries are looked up."""
        self._environment = environment
        self._scope = scope
        self._subquery = subquery

    def compile(self, node: exp.Expr) -> Typed:
        """Compile one node with everything below it.

        Raises:
            StarRocksError: StarRocks refuses it, or the stand-in does not know it.
        """
        method = getattr(self, f"_{type(node).__name__.lower()}", None)
        if method is None:
            raise unsupported(f"{type(node).__name__}: {node.sql(dialect='starrocks')[:200]}")
        result: Typed = method(node)
        return result

    def _paren(self, node: exp.Paren) -> Typed:
        inner = self.compile(node.this)
        return Typed(f"({inner.sql})", inner.type, inner.literal)

    def _column(self, node: exp.Column) -> Typed:
        return self._scope.column(node)

    def _literal(self, node: exp.Literal) -> Typed:
        text = node.name
        if node.is_string:
            return Typed(literal(text), ColumnType("VARCHAR", len(text.encode())), text)
        if text.isdigit():
            return _integer(int(text))
        if "e" in text.lower():
            return Typed(f"CAST('{text}' AS DOUBLE)", DOUBLE)
        whole, _, fraction = text.partition(".")
        return Typed(text, decimal(len(whole) + len(fraction), len(fraction)))

    def _neg(self, node: exp.Neg) -> Typed:
        inner = self.compile(node.this)
        if isinstance(inner.literal, int):
            return _integer(-inner.literal)
        if inner.type.family not in ("integer", "decimal", "float"):
            raise unsupported(f"minus of {inner.type.described}")
        return Typed(f"(-{inner.sql})", inner.type)

    def _hexstring(self, node: exp.HexString) -> Typed:
        return Typed(f"unhex('{node.name}')", BINARY)

    def _boolean(self, node: exp.Boolean) -> Typed:
        return Typed("true" if node.this else "false", BOOLEAN)

    def _null(self, _node: exp.Null) -> Typed:
        return Typed("NULL", NULL)

    # Conditions

    def _condition(self, node: exp.Expr) -> str:
        value = self.compile(node)
        if value.type.family not in ("boolean", "null"):
            return cast(value.sql, value.type, BOOLEAN, throw=False)
        return value.sql

    def _and(self, node: exp.And) -> Typed:
        # Long chains of AND are deep trees on the left.
        parts = [self._condition(part) for part in node.flatten(unnest=False)]
        return Typed(f"({' AND '.join(parts)})", BOOLEAN)

    def _or(self, node: exp.Or) -> Typed:
        parts = [self._condition(part) for part in node.flatten(unnest=False)]
        return Typed(f"({' OR '.join(parts)})", BOOLEAN)

    def _not(self, node: exp.Not) -> Typed:
        return Typed(f"(NOT {self._condition(node.this)})", BOOLEAN)

    def _is(self, node: exp.Is) -> Typed:
        value = self.compile(node.this)
        if isinstance(node.expression, exp.Null):
            return Typed(f"({value.sql} IS NULL)", BOOLEAN)
        raise unsupported(f"IS {node.expression.sql()}")

    def _compare(self, node: exp.Binary, operator: str) -> Typed:
        left, right = self._comparable(self.compile(node.left), self.compile(node.right))
        return Typed(f"({left} {operator} {right})", BOOLEAN)

    def _eq(self, node: exp.EQ) -> Typed:
        return self._compare(node, "=")

    def _neq(self, node: exp.NEQ) -> Typed:
        return self._compare(node, "<>")

    def _lt(self, node: exp.LT) -> Typed:
        return self._compare(node, "<")

    def _lte(self, node: exp.LTE) -> Typed:
        return self._compare(node, "<=")

    def _gt(self, node: exp.GT) -> Typed:
        return self._compare(node, ">")

    def _gte(self, node: exp.GTE) -> Typed:
        return self._compare(node, ">=")

    def _nullsafeeq(self, node: exp.NullSafeEQ) -> Typed:
        return self._compare(node, "IS NOT DISTINCT FROM")

    def _comparable(self, left: Typed, right: Typed) -> tuple[str, str]:
        """Bring both sides of a comparison to one type."""
        for one, other in ((left, right), (right, left)):
            if one.type.family in ("date", "datetime") and isinstance(other.literal, str):
                moment = convert(other, DATETIME).sql
                return (left.sql, moment) if one is left else (moment, right.sql)
        families = {left.type.family, right.type.family}
        if families == {"boolean", "integer"}:
            tiny = ColumnType("TINYINT")
            return tuple(  # type: ignore[return-value] # two in, two out
                convert(s, tiny).sql if s.type == BOOLEAN else s.sql for s in (left, right)
            )
        unify([left.type, right.type])  # refuses what StarRocks would cast implicitly
        return left.sql, right.sql

    def _between(self, node: exp.Between) -> Typed:
        value = self.compile(node.this)
        low = self._comparable(value, self.compile(node.args["low"]))[1]
        high = self._comparable(value, self.compile(node.args["high"]))[1]
        return Typed(f"({value.sql} BETWEEN {low} AND {high})", BOOLEAN)

    def _in(self, node: exp.In) -> Typed:
        value = self.compile(node.this)
        if query := node.args.get("query"):
            inner = self._subquery(query.unnest(), self._scope)
            return Typed(f"({value.sql} IN ({inner.sql}))", BOOLEAN)
        if len(node.expressions) >= IN_LIST_LIMIT:
            raise analysis_error(
                "Expression too complex. The stand-in's IN lists end at 9998 values, "
                f"this one has {len(node.expressions)}"
            )
        items = [self._comparable(value, self.compile(item))[1] for item in node.expressions]
        return Typed(f"({value.sql} IN ({', '.join(items)}))", BOOLEAN)

    def _like(self, node: exp.Like) -> Typed:
        left, right = convert(self.compile(node.this), STRING), self.compile(node.expression)
        return Typed(f"({left.sql} LIKE {right.sql} ESCAPE '\\')", BOOLEAN)

    def _exists(self, node: exp.Exists) -> Typed:
        return Typed(f"EXISTS ({self._subquery(node.this, self._scope).sql})", BOOLEAN)

    def _subquery_value(self, node: exp.Expr) -> Typed:
        inner = self._subquery(node, self._scope)
        if len(inner.columns) != 1:
            raise analysis_error("Scalar subquery should output exactly one column")
        return Typed(f"({inner.sql})", inner.columns[0].type)

    def _select(self, node: exp.Select) -> Typed:
        return self._subquery_value(node)

    def _case(self, node: exp.Case) -> Typed:
        subject = self.compile(node.this) if node.this else None
        whens, values = [], []
        for branch in node.args["ifs"]:
            if subject is None:
                whens.append(self._condition(branch.this))
            else:
                whens.append(" = ".join(self._comparable(subject, self.compile(branch.this))))
            values.append(self.compile(branch.args["true"]))
        default = node.args.get("default")
        values.append(self.compile(default) if default else Typed("NULL", NULL))
        result = unify([v.type for v in values])
        *then, otherwise = [convert(v, result).sql for v in values]
        branches = " ".join(f"WHEN {w} THEN {t}" for w, t in zip(whens, then, strict=True))
        return Typed(f"CASE {branches} ELSE {otherwise} END", result)

    def _if(self, node: exp.If) -> Typed:
        branches = [node.args["true"], node.args.get("false") or exp.null()]
        condition = Typed(self._condition(node.this), BOOLEAN)
        return functions.call("if", [condition, *map(self.compile, branches)])

    # Arithmetic

    def _arithmetic(self, node: exp.Binary, operator: str) -> Typed:
        left, right = self.compile(node.left), self.compile(node.right)
        families = {left.type.family, right.type.family}
        if not families <= {"integer", "decimal", "float", "boolean", "null"}:
            raise unsupported(f"{left.type.described} {operator} {right.type.described}")
        if "float" in families:
            result = DOUBLE
        elif "decimal" in families:
            both = [_as_decimal(side) for side in (left, right)]
            scales = [s.type.scale for s in both]
            scale = sum(scales) if operator == "*" else max(scales)
            return Typed(f"({both[0].sql} {operator} {both[1].sql})", decimal(38, scale))
        else:
            result = LARGEINT if LARGEINT in (left.type, right.type) else BIGINT
        sides = [convert(s, result).sql for s in (left, right)]
        return Typed(f"({sides[0]} {operator} {sides[1]})", result)

    def _add(self, node: exp.Add) -> Typed:
        return self._arithmetic(node, "+")

    def _sub(self, node: exp.Sub) -> Typed:
        return self._arithmetic(node, "-")

    def _mul(self, node: exp.Mul) -> Typed:
        return self._arithmetic(node, "*")

    def _div(self, node: exp.Div) -> Typed:
        sides = [self.compile(side) for side in (node.left, node.right)]
        if any(side.type.family not in ("integer", "float") for side in sides):
            raise unsupported("division of DECIMAL: CAST to DOUBLE")
        left, right = (convert(side, DOUBLE).sql for side in sides)
        return Typed(f"({left} / nullif({right}, 0))", DOUBLE)

    def _intdiv(self, node: exp.IntDiv) -> Typed:
        sides = [self.compile(side) for side in (node.left, node.right)]
        if any(side.type.family != "integer" for side in sides):
            raise unsupported("DIV of other types than integers")
        result = LARGEINT if LARGEINT in [side.type for side in sides] else BIGINT
        left, right = (convert(side, result).sql for side in sides)
        return Typed(f"({left} // nullif({right}, 0))", result)

    def _mod(self, node: exp.Mod) -> Typed:
        return self._call("mod", node.left, node.right)

    def _bitwiseand(self, node: exp.BitwiseAnd) -> Typed:
        return self._call("bitand", node.left, node.right)

    def _bitwiseor(self, node: exp.BitwiseOr) -> Typed:
        return self._call("bitor", node.left, node.right)

    def _bitwisexor(self, node: exp.BitwiseXor) -> Typed:
        return self._call("bitxor", node.left, node.right)

    def _bitwisenot(self, node: exp.BitwiseNot) -> Typed:
        return self._call("bitnot", node.this)

    # Functions

    def _call(self, function: str, *arguments: exp.Expr) -> Typed:
        return functions.call(function, [self.compile(a) for a in arguments])

    def _anonymous(self, node: exp.Anonymous) -> Typed:
        function, arguments = node.name.lower(), node.expressions
        if function in functions.AGGREGATES:
            return self._aggregate(function, arguments)
        if function == "timestampdiff":
            unit = arguments[0].name.lower()
            if unit == "microsecond":
                raise functions.no_match("microseconds_diff", [*map(self.compile, arguments[1:])])
            start, end = (self.compile(a) for a in arguments[1:])
            return functions.difference(unit, end, start)
        if not arguments and (known := self._environment.information(function)):
            return known
        return self._call(function, *arguments)

    def _aggregate(self, function: str, arguments: list[exp.Expr]) -> Typed:
        if len(arguments) == 1 and isinstance(arguments[0], exp.Star) and function == "count":
            return Typed("count(*)", BIGINT)
        distinct = len(arguments) == 1 and isinstance(arguments[0], exp.Distinct)
        values = arguments[0].expressions if distinct else arguments
        if len(values) != 1:
            raise unsupported(f"{function} of {len(values)} arguments")
        return functions.aggregate(function, self.compile(values[0]), distinct=distinct)

    def _currenttimestamp(self, _node: exp.CurrentTimestamp) -> Typed:
        return self._environment.information("now") or Typed("NULL", NULL)

    def _substring(self, node: exp.Substring) -> Typed:
        parts = [node.this, node.args["start"], node.args.get("length")]
        return self._call("substr", *[part for part in parts if part])

    def _concat(self, node: exp.Concat) -> Typed:
        return self._call("concat", *node.expressions)

    def _trim(self, node: exp.Trim) -> Typed:
        if node.expression or node.args.get("position"):
            raise unsupported("TRIM with characters or a side")
        return self._call("trim", node.this)

    def _extract(self, node: exp.Extract) -> Typed:
        return self._call(node.this.name.lower(), node.expression)

    def _sessionparameter(self, node: exp.SessionParameter) -> Typed:
        return self._environment.variable(node.name)

    def _cast(self, node: exp.Cast) -> Typed:
        value, target = self.compile(node.this), _cast_target(node.args["to"])
        throw = self._environment.throw and not isinstance(node, exp.TryCast)
        return Typed(cast(value.sql, value.type, target, throw=throw), target)

    _trycast = _cast


_DIGITS = {"BOOLEAN": 1, "TINYINT": 3, "SMALLINT": 5, "INT": 10, "BIGINT": 19, "LARGEINT": 38}


def _as_decimal(value: Typed) -> Typed:
    if value.type.family == "decimal":
        return value
    if isinstance(value.literal, int):
        return convert(value, decimal(len(str(abs(value.literal))), 0))
    return convert(value, decimal(_DIGITS.get(value.type.name, 38), 0))


def _integer(value: int) -> Typed:
    for bits, type_name in zip((8, 16, 32, 64, 128), INTEGERS, strict=True):
        if -(2 ** (bits - 1)) <= value < 2 ** (bits - 1):
            text = f"CAST('{value}' AS HUGEINT)" if bits == 128 else str(value)
            return Typed(text if value >= 0 else f"({text})", ColumnType(type_name), value)
    raise syntax_error(str(value))


_CAST_TYPES = {
    exp.DType.INT128: "LARGEINT",
    exp.DType.TEXT: "STRING",
    exp.DType.BINARY: "VARBINARY",
    **{
        exp.DType[word]: word
        for word in (*INTEGERS[:4], "FLOAT", "DOUBLE", "DECIMAL", "VARCHAR", "CHAR", "VARBINARY")
    },
    **{exp.DType[word]: word for word in ("DATE", "DATETIME", "BOOLEAN")},
}


def _cast_target(node: exp.DataType) -> ColumnType:
    word = _CAST_TYPES.get(node.this)
    if word is None:
        if node.this in (exp.DType.JSON, exp.DType.ARRAY, exp.DType.STRUCT, exp.DType.MAP):
            raise unsupported(f"CAST to {node.sql()}")
        raise syntax_error(node.sql(dialect="starrocks"))
    if word in ("VARCHAR", "CHAR") and not node.expressions:
        return STRING
    sizes = ",".join(size.name for size in node.expressions)
    return read_type(Reader(f"{word}({sizes})" if sizes else word), "a CAST")


__all__ = ["DATE", "Environment", "ExpressionCompiler", "literal", "name"]

"""T-SQL expressions and conditions to DuckDB, each with its T-SQL type."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from sqlglot import exp

from migration_assets.sandbox.sqlserver import code_pages, collation, methods, sql_types
from migration_assets.sandbox.sqlserver.arithmetic import arithmetic, number
from migration_assets.sandbox.sqlserver.comparison import (
    collation_of,
    comparable,
    like_regex,
)  # fmt: skip
from migration_assets.sandbox.sqlserver.conversion import Typed, convert, macro
from migration_assets.sandbox.sqlserver.dialect import type_of
from migration_assets.sandbox.sqlserver.errors import SqlServerError, raising, unsupported
from migration_assets.sandbox.sqlserver.functions import call
from migration_assets.sandbox.sqlserver.scope import Query, Scope
from migration_assets.sandbox.sqlserver.sql_types import SqlType, common
from migration_assets.sandbox.sqlserver.typed import string_literal, unless_null

if TYPE_CHECKING:
    from migration_assets.sandbox.sqlserver.session import Session

_COMPARISONS: dict[type[exp.Expression], str] = {
    exp.EQ: "=", exp.NEQ: "<>", exp.GT: ">", exp.GTE: ">=", exp.LT: "<", exp.LTE: "<=",
}  # fmt: skip
_ARITHMETIC: dict[type[exp.Expression], str] = {
    exp.Add: "+", exp.Sub: "-", exp.Mul: "*", exp.Div: "/", exp.Mod: "%", exp.BitwiseAnd: "&",
    exp.BitwiseOr: "|", exp.BitwiseXor: "^",
}  # fmt: skip


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
        handler = self._HANDLERS.get(kind)
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
        kind = sql_types.nvarchar(max(code_pages.units(text), 1))
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
        is_quoted = bool(node.this.args.get("quoted"))  # [User] is a column, USER a function
        if (
            not alias
            and not is_quoted
            and name.upper()
            in {
                "CURRENT_TIMESTAMP",
                "SYSTEM_USER",
                "SESSION_USER",
                "CURRENT_USER",
                "USER",
            }
        ):
            return self._function(exp.Anonymous(this=name, expressions=[]), scope)
        member = methods.column_property(scope, node) if alias else None
        return member or scope.column(name, alias)

    def _scope_resolution(self, node: exp.Expression, scope: Scope) -> Typed:
        return methods.scope_resolution(self, node, scope)

    def _identifier(self, node: exp.Expression, scope: Scope) -> Typed:
        """A column among the arguments of a call before a method: the parser drops the rest."""
        return self._column(exp.Column(this=node.copy()), scope)

    def _dot(self, node: exp.Expression, scope: Scope) -> Typed:
        return methods.dot(self, node, scope)

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
        return arithmetic(operator, left, right)

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
            at_utc = f"{{'utc': ({value.sql}).utc, 'off': 0::SMALLINT}}"
            return Typed(unless_null(value.sql, at_utc), kind, value.nullable)
        return Typed(convert(value, kind), kind, value.nullable)

    # -- functions and subqueries ----------------------------------------------------------------

    def _function(self, node: exp.Expression, scope: Scope) -> Typed:
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
        folded = collation.ignores_case(collation_of(value, pattern))
        negate = "NOT " if node.args.get("negate") else ""
        if pattern.constant is None:
            bracket = raising(*_like_error())
            tested = f"CASE WHEN contains({pattern.sql}, '[') THEN {bracket} ELSE {pattern.sql} END"
            return f"({value.sql} {negate}{'ILIKE' if folded else 'LIKE'} {tested})"
        regex = ("(?is)" if folded else "(?s)") + like_regex(pattern.constant, escape)
        return f"({negate}regexp_full_match({value.sql}, {string_literal(regex)}))"

    _HANDLERS: ClassVar[
        dict[type[exp.Expression], Callable[[ExpressionTranslator, exp.Expression, Scope], Typed]]
    ] = {
        exp.Literal: _literal,
        exp.National: _national,
        exp.HexString: _hex,
        exp.Null: _null,
        exp.Paren: _paren,
        exp.Column: _column,
        exp.Parameter: _parameter,
        exp.Neg: _negate,
        exp.BitwiseNot: _invert,
        exp.Case: _case,
        exp.Cast: _cast,
        exp.TryCast: _cast,
        exp.Convert: _convert,
        exp.Collate: _collate,
        exp.AtTimeZone: _at_time_zone,
        exp.Subquery: _subquery,
        exp.Select: _subquery,
        exp.ScopeResolution: _scope_resolution,
        exp.Dot: _dot,
        exp.Identifier: _identifier,
        exp.Anonymous: _function,
        exp.Window: _function,
        exp.GroupConcat: _function,
        exp.Substring: _function,
        exp.CurrentTimestamp: _function,
    }


def _like_error() -> tuple[int, str]:
    error = unsupported("LIKE with a pattern that holds '[' and is not a literal")
    return error.number, error.message


def group_key(node: exp.Expression) -> str:
    """Text by which an expression of the select list is recognised in GROUP BY."""
    return node.sql("tsql").lower()

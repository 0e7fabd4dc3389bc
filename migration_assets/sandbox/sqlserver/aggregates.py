"""Aggregates and window functions with T-SQL's result types and overflow errors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlglot import exp

from migration_assets.sandbox.sqlserver import sql_types
from migration_assets.sandbox.sqlserver.comparison import key
from migration_assets.sandbox.sqlserver.conversion import Typed, convert
from migration_assets.sandbox.sqlserver.errors import SqlServerError, unsupported
from migration_assets.sandbox.sqlserver.sql_types import BIGINT, INT, SqlType, decimal

if TYPE_CHECKING:
    from migration_assets.sandbox.sqlserver.expressions import ExpressionTranslator
    from migration_assets.sandbox.sqlserver.scope import Scope


@dataclass(frozen=True)
class _Core:
    """Aggregate calls as DuckDB has them, and what goes around them (and around their OVER)."""

    sqls: tuple[str, ...]
    type: SqlType
    template: str = "{}"
    nullable: bool = True


_AGGREGATES = {
    "COUNT", "COUNT_BIG", "SUM", "AVG", "MIN", "MAX", "STDEV", "STDEVP", "VAR", "VARP",
}  # fmt: skip
_RANKING = {"ROW_NUMBER": BIGINT, "RANK": BIGINT, "DENSE_RANK": BIGINT, "NTILE": BIGINT}
_OFFSETS = {"LAG", "LEAD", "FIRST_VALUE", "LAST_VALUE"}


def is_aggregate(node: exp.Expression) -> bool:
    """Whether a call is one of these."""
    return isinstance(node, exp.Anonymous) and str(node.this).upper() in _AGGREGATES


def aggregate(translator: ExpressionTranslator, node: exp.Expression, scope: Scope) -> Typed:
    """Translate an aggregate, with or without OVER, or a ranking function.

    Raises:
        SqlServerError: 50001 for unknown ones; 8117 for types they do not take.
    """
    if isinstance(node, exp.Window):
        inner = node.this
        core = _window_core(translator, inner, scope)
        over = _over(translator, node, scope)
        windows = [f"{sql} {over}" for sql in core.sqls]
        return Typed(core.template.format(*windows), core.type, core.nullable)
    # Inside an aggregate columns mean the rows, not the groups.
    core = _core(translator, node, scope.ungrouped())
    return Typed(core.template.format(*core.sqls), core.type, core.nullable)


def _core(translator: ExpressionTranslator, node: exp.Expression, scope: Scope) -> _Core:
    if isinstance(node, exp.GroupConcat):
        return _string_agg(translator, node, scope)
    name = str(node.this).upper()
    if len(node.expressions) != 1:
        raise SqlServerError(174, f"The {name.lower()} function requires 1 argument(s).")
    argument = node.expressions[0]
    distinct = ""
    if isinstance(argument, exp.Distinct):
        distinct, argument = "DISTINCT ", argument.expressions[0]
    if name in {"COUNT", "COUNT_BIG"}:
        kind = INT if name == "COUNT" else BIGINT
        template = "CAST({} AS INTEGER)" if name == "COUNT" else "{}"
        if isinstance(argument, exp.Star):
            return _Core(("count(*)",), kind, template, nullable=False)
        counted = translator.expression(argument, scope)
        of = key(counted) if distinct else counted.sql
        return _Core((f"count({distinct}{of})",), kind, template, nullable=False)
    value = translator.expression(argument, scope)
    if name in {"MIN", "MAX"}:
        return _extreme(name, value)
    if value.type.family not in {"integer", "decimal", "money", "float"}:
        raise SqlServerError(
            8117, f"Operand data type {value.type.name} is invalid for {name.lower()} operator."
        )
    if name in {"STDEV", "STDEVP", "VAR", "VARP"}:
        function = {
            "STDEV": "stddev_samp",
            "STDEVP": "stddev_pop",
            "VAR": "var_samp",
            "VARP": "var_pop",
        }
        return _Core((f"{function[name]}({distinct}{value.sql}::DOUBLE)",), sql_types.FLOAT)
    total = _total_type(value.type)
    summed = f"sum({distinct}{value.sql})"
    if name == "SUM":
        return _Core((summed,), total, f"CAST({{}} AS {total.duckdb})")
    return _average(value, distinct, total)


def _total_type(kind: SqlType) -> SqlType:
    if kind.family == "integer":
        return BIGINT if kind.name == "bigint" else INT
    if kind.family == "decimal":
        return decimal(38, kind.scale)
    return sql_types.declared("money", []) if kind.family == "money" else sql_types.FLOAT


def _average(value: Typed, distinct: str, total: SqlType) -> _Core:
    # DuckDB's avg is a double: too short for bigint and decimal. So sum and count, divided exactly.
    if total.family == "float":
        return _Core((f"avg({distinct}{value.sql}::DOUBLE)",), total)
    count = f"count({distinct}{value.sql})"
    if total.family == "integer":
        summed = f"sum({distinct}{value.sql})"
        return _Core((summed, count), total, f"CAST({{0}}::HUGEINT // {{1}} AS {total.duckdb})")
    if total.family != "decimal":
        raise unsupported(f"AVG of {value.type.declaration}")
    result = decimal(38, max(value.type.scale, 6))
    unit = "0." + "0" * (result.scale - 1) + "1"
    scaled = f"CAST({value.sql} * {10**result.scale}::DECIMAL({result.scale + 1},0) AS HUGEINT)"
    whole = "CAST({0}::HUGEINT // {1} AS DECIMAL(38,0))"
    template = (
        f"CAST({whole} * {unit}::DECIMAL({result.scale + 1},{result.scale}) AS {result.duckdb})"
    )
    return _Core((f"sum({distinct}{scaled})", count), result, template)


def _extreme(name: str, value: Typed) -> _Core:
    kind = value.type
    if kind.family == "bit":
        raise SqlServerError(8117, f"Operand data type bit is invalid for {name.lower()} operator.")
    if kind.family in sql_types.EXTENDED - {"hierarchy"} or kind.name == "xml":
        raise SqlServerError(
            8117, f"Operand data type {kind.declaration} is invalid for {name.lower()} operator."
        )
    if kind.family in {"string", "guid", "offset", "hierarchy"}:
        function = "arg_min" if name == "MIN" else "arg_max"
        return _Core((f"{function}({value.sql}, {key(value)})",), kind)
    return _Core((f"{name.lower()}({value.sql})",), kind)


def _string_agg(translator: ExpressionTranslator, node: exp.Expression, scope: Scope) -> _Core:
    inner = node.this
    order = ""
    if isinstance(inner, exp.Order):
        order = " " + _order(translator, inner, scope)
        inner = inner.this
    value = translator.expression(inner, scope)
    if value.type.family != "string":
        value = Typed(convert(value, sql_types.nvarchar(4000)), sql_types.nvarchar(4000))
    separator = translator.expression(node.args["separator"], scope)
    unicode = value.type.info.unicode
    limit = -1 if value.type.length == -1 else 4000 if unicode else 8000
    kind = sql_types.nvarchar(limit) if unicode else sql_types.varchar(limit)
    return _Core((f"string_agg({value.sql}, {separator.sql}{order})",), kind)


def _window_core(translator: ExpressionTranslator, node: exp.Expression, scope: Scope) -> _Core:
    name = str(node.this).upper() if isinstance(node, exp.Anonymous) else ""
    if name in _RANKING:
        arguments = ", ".join(translator.expression(a, scope).sql for a in node.expressions)
        return _Core((f"{name.lower()}({arguments})",), _RANKING[name], nullable=False)
    if name in _OFFSETS:
        values = [translator.expression(a, scope) for a in node.expressions]
        kind = values[0].type
        parts = (
            [values[0].sql] + [v.sql for v in values[1:2]] + [convert(v, kind) for v in values[2:]]
        )
        return _Core((f"{name.lower()}({', '.join(parts)})",), kind)
    if is_aggregate(node):
        return _core(translator, node, scope)
    raise unsupported(f"window function {name or type(node).__name__}")


def _order(translator: ExpressionTranslator, node: exp.Expression, scope: Scope) -> str:
    parts = []
    for item in node.expressions:
        if isinstance(item.this, exp.Subquery):  # ORDER BY (SELECT NULL): no order asked for
            continue
        direction = "DESC NULLS LAST" if item.args.get("desc") else "ASC NULLS FIRST"
        parts.append(f"{key(translator.expression(item.this, scope))} {direction}")
    return f"ORDER BY {', '.join(parts)}" if parts else ""


def _over(translator: ExpressionTranslator, node: exp.Expression, scope: Scope) -> str:
    parts = []
    partitions = node.args.get("partition_by") or []
    if partitions:
        keys = ", ".join(key(translator.expression(item, scope)) for item in partitions)
        parts.append(f"PARTITION BY {keys}")
    order = node.args.get("order")
    if order is not None:
        parts.append(_order(translator, order, scope))
    spec = node.args.get("spec")
    if spec is not None:
        parts.append(spec.sql("duckdb"))
    return f"OVER ({' '.join(part for part in parts if part)})"

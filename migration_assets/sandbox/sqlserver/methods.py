"""Methods and properties of hierarchyid, geometry and geography: `c.ToString()`, `t::Parse(…)`.

https://learn.microsoft.com/sql/t-sql/data-types/hierarchyid-data-type-method-reference
https://learn.microsoft.com/sql/t-sql/spatial-geometry/spatial-types-geometry-transact-sql
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from sqlglot import exp

from migration_assets.sandbox.sqlserver import extended
from migration_assets.sandbox.sqlserver.conversion import Typed, convert
from migration_assets.sandbox.sqlserver.errors import SqlServerError, unsupported
from migration_assets.sandbox.sqlserver.natives import native
from migration_assets.sandbox.sqlserver.sql_types import (
    FLOAT,
    INT,
    SMALLINT,
    SqlType,
    declared,
    nvarchar,
    varbinary,
)
from migration_assets.sandbox.sqlserver.typed import unless_null

if TYPE_CHECKING:
    from migration_assets.sandbox.sqlserver.expressions import ExpressionTranslator
    from migration_assets.sandbox.sqlserver.scope import Scope

_HIERARCHY, _GEOGRAPHY = declared("hierarchyid", []), declared("geography", [])
_OWNERS = {name: declared(name, []) for name in ("hierarchyid", "geometry", "geography")}
_TEXT = nvarchar(-1)


def scope_resolution(translator: ExpressionTranslator, node: exp.Expression, scope: Scope) -> Typed:
    """`type::Method(…)`.

    Raises:
        SqlServerError: 50001 for a method that the stand-in does not know, 243 for a type without.
    """
    owner = node.this
    name = owner.name if isinstance(owner, exp.Identifier) else owner.sql("tsql")
    kind = _OWNERS.get(name.lower())
    method = node.args["expression"]
    if kind is None or not isinstance(method, exp.Anonymous):
        raise unsupported(f"{node.sql('tsql')[:80]}")
    found = _STATICS.get((kind.family, str(method.this)))
    if found is None:
        raise unsupported(f"method {kind.name}::{method.this}")
    count, make = found
    arguments = [translator.expression(argument, scope) for argument in method.expressions]
    if len(arguments) != count:
        raise SqlServerError(174, f"The {method.this} function requires {count} argument(s).")
    return Typed(make(kind, arguments), kind, any(a.nullable for a in arguments))


def dot(translator: ExpressionTranslator, node: exp.Expression, scope: Scope) -> Typed:
    """`value.Method()` and `value.Property` behind anything that is not a plain name."""
    column = _as_value(node)
    if isinstance(column, exp.Column):  # inside the arguments of a call before a method
        return translator.expression(column, scope)
    member = node.args["expression"]
    value = translator.expression(_as_value(node.this), scope)
    if isinstance(member, exp.Anonymous):
        if member.expressions:
            raise unsupported(f"method {value.type.declaration}.{member.this} with arguments")
        return _instance(value, f"{member.this}()")
    return _instance(value, member.name)


def _as_value(node: exp.Expression) -> exp.Expression:
    """The parser's `a.b` before a method is a column."""
    parts: list[exp.Expression] = []
    inner = node
    while isinstance(inner, exp.Dot) and isinstance(inner.args["expression"], exp.Identifier):
        parts.insert(0, inner.args["expression"])
        inner = inner.this
    if isinstance(inner, exp.Identifier):
        parts.insert(0, inner)
        table = parts[-2].copy() if len(parts) > 1 else None
        schema = parts[-3].copy() if len(parts) > 2 else None
        return exp.Column(this=parts[-1].copy(), table=table, db=schema)
    return node


def column_property(scope: Scope, node: exp.Expression) -> Typed | None:
    """`c.STSrid` and `t.c.STSrid`, which the parser takes for columns of `c`."""
    name, column, table = node.name, node.text("table"), node.text("db")
    if ("spatial", name) not in _INSTANCES or (not table and scope.matching(column)):
        return None
    try:
        value = scope.column(column, table)
    except SqlServerError:
        return None
    return _instance(value, name) if value.type.family == "spatial" else None


def _instance(value: Typed, member: str) -> Typed:
    found = _INSTANCES.get((value.type.family, member))
    if found is None:
        raise unsupported(f"{value.type.declaration}.{member}")
    kind, template = found
    if member in {"Lat", "Long"} and value.type.name != "geography":
        raise unsupported(f"{value.type.declaration}.{member}")
    if member in {"STX", "STY"} and value.type.name != "geometry":
        raise unsupported(f"{value.type.declaration}.{member}")
    made = template.format(value.sql)
    return Typed(unless_null(value.sql, made), kind, value.nullable)


def _parse_path(kind: SqlType, arguments: list[Typed]) -> str:
    return convert(arguments[0], kind)


def _from_text(kind: SqlType, arguments: list[Typed]) -> str:
    text = convert(arguments[0], _TEXT)
    shape = native("shape_of_text", text, extended.is_geography(kind))
    return extended.shape(kind, convert(arguments[1], INT), shape)


def _from_bytes(kind: SqlType, arguments: list[Typed]) -> str:
    data = convert(arguments[0], varbinary(-1))
    shape = native("shape_of_bytes", data, extended.is_geography(kind))
    return extended.shape(kind, convert(arguments[1], INT), shape)


def _point(kind: SqlType, arguments: list[Typed]) -> str:
    """Point(X, Y, SRID) of geometry, Point(Lat, Long, SRID) of geography."""
    first, second = (convert(argument, FLOAT) for argument in arguments[:2])
    x, y = (second, first) if kind == _GEOGRAPHY else (first, second)
    shape = native("shape_of_point", x, y, extended.is_geography(kind))
    return extended.shape(kind, convert(arguments[2], INT), shape)


_STATICS: dict[tuple[str, str], tuple[int, Callable[[SqlType, list[Typed]], str]]] = {
    ("hierarchy", "Parse"): (1, _parse_path),
    ("hierarchy", "GetRoot"): (0, lambda _kind, _arguments: "'/'"),
    ("spatial", "Parse"): (1, _parse_path),
    ("spatial", "Point"): (3, _point),
    **{
        ("spatial", name): (2, _from_text)
        for name in ("STGeomFromText", "STPointFromText", "STLineFromText", "STPolyFromText")
    },
    **{
        ("spatial", name): (2, _from_bytes)
        for name in ("STGeomFromWKB", "STPointFromWKB", "STLineFromWKB", "STPolyFromWKB")
    },
}
"""Static methods: count of arguments, and what they make. Names are case-sensitive."""

_BYTES = varbinary(-1)
_TRUE_TEXT, _FLAT_TEXT = (native("shape_text", "({0}).wkb", flag) for flag in ("TRUE", "FALSE"))
_INSTANCES: dict[tuple[str, str], tuple[SqlType, str]] = {
    ("hierarchy", "ToString()"): (nvarchar(4000), "{0}"),
    ("hierarchy", "GetLevel()"): (
        SMALLINT,
        "CAST(length({0}) - length(replace({0}, '/', '')) - 1 AS SMALLINT)",
    ),
    ("spatial", "ToString()"): (_TEXT, _TRUE_TEXT),
    ("spatial", "AsTextZM()"): (_TEXT, _TRUE_TEXT),
    ("spatial", "STAsText()"): (_TEXT, _FLAT_TEXT),
    ("spatial", "AsBinaryZM()"): (_BYTES, "({0}).wkb"),
    ("spatial", "STAsBinary()"): (_BYTES, native("shape_flat", "({0}).wkb")),
    ("spatial", "STSrid"): (INT, "({0}).srid"),
    **{
        ("spatial", name): (FLOAT, native("ordinate", "({0}).wkb", str(place)))
        for name, place in {"STX": 0, "Long": 0, "STY": 1, "Lat": 1, "Z": 2, "M": 3}.items()
    },
}
"""Methods without arguments and properties: type of the result, and its expression."""

"""How SQL Server compares: collations, common types, its order of GUIDs, LIKE patterns."""

from __future__ import annotations

import re
from dataclasses import replace

from migration_assets.sandbox.sqlserver import collation, extended, sql_types
from migration_assets.sandbox.sqlserver.conversion import Typed, convert, macro
from migration_assets.sandbox.sqlserver.errors import SqlServerError, unsupported
from migration_assets.sandbox.sqlserver.sql_types import common

NUMERIC = {"bit", "integer", "decimal", "money", "float"}


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
    if kind.family == "hierarchy":
        return extended.hierarchy_key(value.sql)
    if kind.family == "variant":
        raise unsupported("comparing, ordering or grouping by sql_variant")
    if kind.family in {*sql_types.EXTENDED} or kind.name == "xml":
        raise SqlServerError(
            305,
            f"The {kind.declaration} data type cannot be compared or sorted, except when using the "
            "IS NULL operator.",
        )
    return value.sql


def collation_of(left: Typed, right: Typed) -> str:
    """Collation of a comparison: that of the side that is not a literal."""
    first, second = (right, left) if left.constant is not None else (left, right)
    return first.type.collation or second.type.collation


def comparable(left: Typed, right: Typed, *, ordered: bool) -> tuple[str, str]:
    """Both sides of a comparison in one type, as DuckDB compares them rightly."""
    families = {left.type.family, right.type.family}
    if "null" in families:
        return left.sql, right.sql
    if families == {"string"}:
        name = collation_of(left, right)
        return tuple(key(replace(side, type=side.type.collated(name))) for side in (left, right))  # type: ignore[return-value] # two in, two out
    kind = common([left.type, right.type])
    if families <= NUMERIC:
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

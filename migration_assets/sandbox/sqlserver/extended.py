"""Conversions to and from hierarchyid, geometry, geography, json, vector, xml and CLR types."""

from __future__ import annotations

from migration_assets.sandbox.sqlserver.errors import raising
from migration_assets.sandbox.sqlserver.natives import native
from migration_assets.sandbox.sqlserver.sql_types import SqlType
from migration_assets.sandbox.sqlserver.typed import Typed, refusal, unless_null

_PATH = "/(-?[0-9]+([.]-?[0-9]+)*/)*"
_NOT_A_PATH = raising(
    6522,
    "A .NET Framework error occurred during execution of user-defined routine or aggregate "
    '"hierarchyid": Microsoft.SqlServer.Types.HierarchyIdException: 24001: SqlHierarchyId.Parse '
    "failed because the input string is not a valid string representation of a SqlHierarchyId node.",
)


def to_hierarchy(value: Typed, target: SqlType, style: int | None) -> str:
    """Convert to hierarchyid, which is kept as its path."""
    if value.type.family == "hierarchy":
        return value.sql
    if value.type.family != "string":
        raise refusal(value, target, style)
    path = f"trim({value.sql}, ' ')"
    # Numbers lose their leading zeros.
    plain = f"regexp_replace({path}, '([/.]-?)0+([0-9])', '\\1\\2', 'g')"
    return (
        f"CASE WHEN {value.sql} IS NULL THEN NULL WHEN regexp_full_match({path}, '{_PATH}') "
        f"THEN {plain} ELSE {_NOT_A_PATH} END"
    )


def hierarchy_key(sql: str) -> str:
    """The order of hierarchyid as text: depth first, each level by its numbers.

    The numbers have 20 digits, shifted to be positive; a blank ends a level, which comes before the
    point of a number between two others.
    """
    shifted = f"printf('%020d', CAST(n AS BIGINT) + {1 << 62})"
    level = f"array_to_string(list_transform(string_split(p, '.'), lambda n: {shifted}), '.')"
    levels = f"string_split(substr({sql}, 2, length({sql}) - 2), '/')"
    each = f"lambda p: CASE WHEN p = '' THEN '' ELSE {level} END"
    return f"array_to_string(list_transform({levels}, {each}), ' ')"


def shape(kind: SqlType, srid: str, wkb: str) -> str:
    """A geometry or geography of an SRID and checked WKB; NULL when either is."""
    known = (
        "s BETWEEN 4120 AND 4999 OR s = 104001"
        if kind.name == "geography"
        else "s BETWEEN 0 AND 999999"
    )
    wrong = raising(
        6522,
        "A .NET Framework error occurred during execution of user-defined routine or aggregate "
        f'"{kind.name}": System.ArgumentException: 24204: The spatial reference identifier (SRID) '
        "is not valid.",
    )
    made = f"{{'srid': CAST({srid} AS INTEGER), 'wkb': {wkb}}}"
    checked = known.replace("s ", f"({srid}) ")
    return (
        f"CASE WHEN ({wkb}) IS NULL OR ({srid}) IS NULL THEN NULL "
        f"WHEN NOT ({checked}) THEN {wrong} ELSE {made} END"
    )


def is_geography(kind: SqlType) -> str:
    """The flag that the natives want."""
    return "TRUE" if kind.name == "geography" else "FALSE"


def to_spatial(value: Typed, target: SqlType, style: int | None) -> str:
    """Convert to geometry or geography; text is read as `Parse` does, in SRID 0 or 4326."""
    if value.type.name == target.name:
        return value.sql
    if value.type.family != "string":
        raise refusal(value, target, style)
    srid = "4326" if target.name == "geography" else "0"
    return shape(target, srid, native("shape_of_text", value.sql, is_geography(target)))


def to_json(value: Typed, target: SqlType, style: int | None) -> str:
    """Convert to json."""
    if value.type.family == "json":
        return value.sql
    if value.type.family == "string":
        return native("json", value.sql)
    if value.type.family == "vector":
        return native("vector_text", value.sql)
    raise refusal(value, target, style)


def to_vector(value: Typed, target: SqlType, style: int | None) -> str:
    """Convert to vector(n)."""
    if value.type.family == "vector" and value.type.length == target.length:
        return value.sql
    if value.type.family in {"string", "json"}:
        return native("vector", value.sql, str(target.length))
    raise refusal(value, target, style)


def to_xml(value: Typed, target: SqlType, style: int | None) -> str:
    """Convert text to xml."""
    if value.type.name == "xml":
        return value.sql
    if value.type.family != "string" or style not in {None, 0}:
        raise refusal(value, target, style)
    return native("xml", value.sql, "TRUE" if value.type.info.unicode else "FALSE")


def to_clr(value: Typed, target: SqlType, style: int | None) -> str:
    """Convert to a CLR type: its bytes, which are not looked into."""
    if value.type.family in {"binary", "clr"}:
        return value.sql
    raise refusal(value, target, style)


def text(value: Typed, target: SqlType, style: int | None) -> str:
    """One of these types as text."""
    match value.type.family:
        case "hierarchy" | "json":
            return value.sql
        case "vector":
            return native("vector_text", value.sql)
        case "spatial":
            made = native("shape_text", f"({value.sql}).wkb", "TRUE")
            return unless_null(value.sql, made)
        case _:
            raise refusal(value, target, style)

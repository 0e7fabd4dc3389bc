"""sql_variant: values with their base type, and what SQL_VARIANT_PROPERTY says of them.

https://learn.microsoft.com/sql/t-sql/data-types/sql-variant-transact-sql
A value is kept as the text of its storage in DuckDB, next to its declared type.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from migration_assets.sandbox.sqlserver import sql_types
from migration_assets.sandbox.sqlserver.errors import SqlServerError, raising, unsupported
from migration_assets.sandbox.sqlserver.sql_types import MAX, SqlType
from migration_assets.sandbox.sqlserver.typed import (
    Typed,
    macro,
    refusal,
    string_literal,
    unless_null,
)

if TYPE_CHECKING:
    from migration_assets.sandbox.sqlserver.expressions import ExpressionTranslator

VARIANT = SqlType("sql_variant")
_NOT_INSIDE = {"text", "ntext", "image", "timestamp", "xml", "null"}
_LARGEST = 8000
Convert = Callable[[Typed, SqlType, int | None], str]


def pack(value: Typed, target: SqlType, style: int | None = None) -> str:
    """A value as sql_variant.

    Raises:
        SqlServerError: 206 for a type that sql_variant cannot hold.
    """
    del style
    kind = value.type
    if kind.family == "variant":
        return value.sql
    if kind.name in _NOT_INSIDE or kind.family in sql_types.EXTENDED or kind.length == MAX:
        raise SqlServerError(
            206, f"Operand type clash: {kind.declaration} is incompatible with {target.name}"
        )
    held = {
        "binary": f"hex({value.sql})",
        "decimal": macro("decimal_text", value.sql),
    }.get(kind.family, f"CAST({value.sql} AS VARCHAR)")
    collated = string_literal(kind.collation) if kind.family == "string" else "NULL::VARCHAR"
    fields = {
        "base": f"'{kind.name}'",
        "precision": f"{kind.catalog_precision}::INTEGER",
        "scale": f"{kind.catalog_scale}::INTEGER",
        "bytes": f"{kind.max_length}::INTEGER",
        "collation": collated,
        "text": held,
    }
    made = ", ".join(f"'{name}': {sql}" for name, sql in fields.items())
    return unless_null(value.sql, f"{{{made}}}")


def unpack(value: Typed, target: SqlType, style: int | None, convert: Convert) -> str:
    """A sql_variant as another type: by its base type, value for value."""
    if target.family == "variant":
        return value.sql
    if value.inside is not None:
        return convert(value.inside, target, style)
    base = f"({value.sql}).base"
    whens = []
    for test, inside in _insides(value):
        try:
            made = convert(inside, target, style)
        except SqlServerError as error:
            made = raising(error.number, error.message)
        whens.append(f"WHEN {base} {test} THEN {made}")
    whens.append(
        f"WHEN {base} IN ('decimal', 'numeric') THEN {_from_decimal(value, target, style)}"
    )
    return f"CASE {' '.join(whens)} ELSE CAST(NULL AS {target.duckdb}) END"


def _insides(value: Typed) -> Iterator[tuple[str, Typed]]:
    """Each kind of value but decimals: the test on its base type, and the value in that type.

    DuckDB may evaluate a branch of CASE for rows that are not its own, so none may fail there.
    """
    text = f"({value.sql}).text"
    plain = (
        "bit", "tinyint", "smallint", "int", "bigint", "smallmoney", "money", "real", "float",
        "date", "smalldatetime", "datetime", "uniqueidentifier",
    )  # fmt: skip
    for name in plain:
        kind = sql_types.declared(name, [])
        yield f"= '{name}'", Typed(f"TRY_CAST({text} AS {kind.duckdb})", kind)
    for name in ("time", "datetime2", "datetimeoffset"):
        for scale in range(8):
            kind = SqlType(name, scale=scale)
            test = f"= '{name}' AND ({value.sql}).scale = {scale}"
            yield test, Typed(f"TRY_CAST({text} AS {kind.duckdb})", kind)
    narrow = sql_types.varchar(_LARGEST)
    yield "IN ('char', 'varchar')", Typed(text, narrow)
    yield "IN ('nchar', 'nvarchar')", Typed(text, sql_types.nvarchar(_LARGEST // 2))
    hexadecimal = f"CASE WHEN ({value.sql}).base IN ('binary', 'varbinary') THEN {text} END"
    yield (
        "IN ('binary', 'varbinary')",
        Typed(f"unhex({hexadecimal})", sql_types.varbinary(_LARGEST)),
    )


def _from_decimal(value: Typed, target: SqlType, style: int | None) -> str:
    """Decimals come in too many types for one WHEN each: their text is exact."""
    text = f"({value.sql}).text"
    decimal = f"CASE WHEN ({value.sql}).base IN ('decimal', 'numeric') THEN {text} END"
    if target.family == "string":
        if target.length == MAX:
            return text
        overflow = raising(8115, "Arithmetic overflow error converting sql_variant to text.")
        return f"CASE WHEN length({text}) > {target.length} THEN {overflow} ELSE {text} END"
    if target.family in {"decimal", "money", "float"}:
        return f"CAST({decimal} AS {target.duckdb})"
    if target.family == "integer":
        return f"CAST(split_part({decimal}, '.', 1) AS {target.duckdb})"
    error = refusal(value, target, style)
    return raising(error.number, error.message)


def data_length(value: Typed) -> str:
    """DATALENGTH: bytes of the value, not of what describes it."""
    text, base = f"({value.sql}).text", f"({value.sql}).base"
    return (
        f"CASE WHEN {base} IN ('nchar', 'nvarchar') THEN 2 * {macro('units', text)} "
        f"WHEN {base} IN ('binary', 'varbinary') THEN length({text}) // 2 "
        f"WHEN {base} IN ('char', 'varchar') THEN length({text}) ELSE ({value.sql}).bytes END"
    )


def variant_property(_: ExpressionTranslator, arguments: list[Typed]) -> Typed:
    """SQL_VARIANT_PROPERTY, whose result is a sql_variant itself."""
    value, name = arguments
    wanted = (name.constant or "").lower()
    variant = pack(value, VARIANT)
    found: dict[str, tuple[str, SqlType]] = {
        "basetype": ("base", sql_types.SYSNAME),
        "precision": ("precision", sql_types.INT),
        "scale": ("scale", sql_types.INT),
        "collation": ("collation", sql_types.SYSNAME),
        "maxlength": ("bytes", sql_types.INT),
    }
    if wanted not in found:
        raise unsupported(f"SQL_VARIANT_PROPERTY '{name.constant}'")
    part, kind = found[wanted]
    inside = Typed(f"({variant}).{part}", kind)
    return Typed(pack(inside, VARIANT), VARIANT, inside=inside)

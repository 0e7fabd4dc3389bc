"""A translated expression, and what all translators build expressions with."""

from __future__ import annotations

from dataclasses import dataclass

from migration_assets.sandbox.sqlserver.errors import SqlServerError, unsupported
from migration_assets.sandbox.sqlserver.macros import PREFIX
from migration_assets.sandbox.sqlserver.sql_types import EXTENDED, SqlType


@dataclass(frozen=True)
class Typed:
    """A translated expression.

    Attributes:
        sql: DuckDB expression whose value is in the storage type of `type`.
        type: its T-SQL type.
        nullable: whether the result column is.
        identity: it is a plain identity column.
        computed: it is a plain computed column.
        name: of the column, when it is a plain one.
        constant: the value of a string literal, for arguments that must be literals.
        inside: of a sql_variant whose base type is known before any row is read, the value in it.
    """

    sql: str
    type: SqlType
    nullable: bool = True
    identity: bool = False
    computed: bool = False
    name: str = ""
    constant: str | None = None
    inside: Typed | None = None


def macro(name: str, *arguments: str) -> str:
    """A call of one of the stand-in's macros."""
    return f"{PREFIX}{name}({', '.join(arguments)})"


def string_literal(text: str) -> str:
    """A DuckDB string literal; DuckDB's parser ends at NUL, so that one is called by number."""
    parts = ["'" + part.replace("'", "''") + "'" for part in text.split("\0")]
    return parts[0] if len(parts) == 1 else f"({' || chr(0) || '.join(parts)})"


def literal(text: str | None, kind: SqlType) -> Typed:
    """A value given as DuckDB's text of it (hex digits for binaries) as a literal expression.

    Raises:
        SqlServerError: 50001 for types that have no literals here.
    """
    if text is None:
        return Typed(f"CAST(NULL AS {kind.duckdb})", kind)
    quoted = string_literal(text)
    if kind.family in {"binary", "clr"}:
        return Typed(f"unhex({quoted})", kind, nullable=False)
    if kind.family in {"string", "hierarchy", "json"}:
        constant = text if kind.family == "string" else None
        return Typed(quoted, kind, nullable=False, constant=constant)
    if kind.family in EXTENDED:
        raise unsupported(f"a variable or parameter of type {kind.declaration}")
    return Typed(f"CAST({quoted} AS {kind.duckdb})", kind, nullable=False)


def refusal(value: Typed, target: SqlType, style: int | None = None) -> SqlServerError:
    """The error for a conversion that the stand-in does not know."""
    with_style = "" if style is None else f" with style {style}"
    return unsupported(
        f"conversion of {value.type.declaration} to {target.declaration}{with_style}"
    )


def unless_null(sql: str, made: str) -> str:
    """`made`, or NULL where `sql` is: a struct of NULLs would not be NULL."""
    return f"CASE WHEN ({sql}) IS NULL THEN NULL ELSE {made} END"

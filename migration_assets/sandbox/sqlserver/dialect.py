"""The parser: sqlglot's T-SQL without its own ideas of what functions mean.

sqlglot rewrites many functions into a common form (LEN, ISNULL, DATEDIFF, …) and loses what T-SQL
says about types on the way; here each function call stays a plain name with arguments, and
`functions.py` gives it its meaning or refuses it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, ClassVar

import sqlglot
from sqlglot import exp
from sqlglot.dialects.tsql import TSQL
from sqlglot.errors import ParseError, SqlglotError
from sqlglot.parsers.tsql import TSQLParser
from sqlglot.tokenizer_core import TokenType

from migration_assets.sandbox.sqlserver.errors import SqlServerError, unsupported
from migration_assets.sandbox.sqlserver.sql_types import MAX, SqlType, declared

logging.getLogger("sqlglot").setLevel(logging.ERROR)

_KEPT_FUNCTION_PARSERS = {"CAST", "CONVERT", "TRY_CAST", "TRY_CONVERT", "STRING_AGG"}


class StandInTSQL(TSQL):
    """T-SQL with functions left as they are written, and types told apart."""

    class Tokenizer(TSQL.Tokenizer):
        """`real` and `numeric` keep a token of their own."""

        KEYWORDS: ClassVar[dict[str, TokenType]] = {
            **TSQL.Tokenizer.KEYWORDS,
            "FLOAT": TokenType.DOUBLE,
            "REAL": TokenType.FLOAT,
            "NUMERIC": TokenType.DECIMAL32,
        }

    class Parser(TSQLParser):
        """All functions become `exp.Anonymous`."""

        FUNCTIONS: ClassVar[dict[str, Callable[..., Any]]] = {}
        NO_PAREN_FUNCTIONS: ClassVar[dict[TokenType, Any]] = {}
        FUNCTION_PARSERS: ClassVar[dict[str, Callable[..., Any]]] = {
            name: parser
            for name, parser in TSQLParser.FUNCTION_PARSERS.items()
            if name in _KEPT_FUNCTION_PARSERS
        }


def parse(text: str) -> exp.Expression:
    """Parse one statement.

    Raises:
        SqlServerError: 102 with the parser's complaint.
    """
    try:
        statement = sqlglot.parse_one(text, read=StandInTSQL)
    except SqlglotError as error:
        where = error.errors[0] if isinstance(error, ParseError) and error.errors else {}
        near = where.get("highlight") or text[:40]
        raise SqlServerError(102, f"Incorrect syntax near '{near}'.", severity=15) from error
    if isinstance(statement, exp.Command) or not isinstance(statement, exp.Expression):
        raise unsupported(f"statement {text[:80]!r}")
    return statement


def parse_expression(text: str) -> exp.Expression:
    """Parse an expression on its own, e.g. a default."""
    statement = parse(f"SELECT {text}")
    if not isinstance(statement, exp.Select) or len(statement.expressions) != 1:
        raise unsupported(f"expression {text!r}")
    expression: exp.Expression = statement.expressions[0]
    return expression


def parse_condition(text: str) -> exp.Expression:
    """Parse a condition on its own, e.g. of a CHECK."""
    statement = parse(f"SELECT 1 WHERE {text}")
    where = statement.args.get("where")
    if where is None:
        raise unsupported(f"condition {text!r}")
    condition: exp.Expression = where.this
    return condition


_T = exp.DataType.Type
_NAMES = {
    _T.BIT: "bit", _T.BOOLEAN: "bit", _T.UTINYINT: "tinyint", _T.TINYINT: "tinyint",
    _T.SMALLINT: "smallint", _T.INT: "int", _T.BIGINT: "bigint", _T.DECIMAL: "decimal",
    _T.DECIMAL32: "numeric", _T.MONEY: "money", _T.SMALLMONEY: "smallmoney", _T.FLOAT: "real",
    _T.DOUBLE: "float", _T.DATE: "date", _T.TIME: "time", _T.DATETIME: "datetime",
    _T.SMALLDATETIME: "smalldatetime", _T.DATETIME2: "datetime2",
    _T.TIMESTAMPTZ: "datetimeoffset", _T.CHAR: "char", _T.VARCHAR: "varchar", _T.NCHAR: "nchar",
    _T.NVARCHAR: "nvarchar", _T.TEXT: "text", _T.IMAGE: "image", _T.BINARY: "binary",
    _T.VARBINARY: "varbinary", _T.UUID: "uniqueidentifier", _T.ROWVERSION: "timestamp",
    _T.XML: "xml", _T.VARIANT: "sql_variant", _T.JSON: "json", _T.GEOMETRY: "geometry",
    _T.GEOGRAPHY: "geography", _T.VECTOR: "vector",
}  # fmt: skip


def type_of(node: exp.DataType) -> SqlType:
    """The T-SQL type of a CAST or CONVERT target.

    Raises:
        SqlServerError: for types that are unknown or refused.
    """
    name = _NAMES.get(node.this)
    if name is None:
        kind = node.args.get("kind")
        name = str(kind if isinstance(kind, str) else kind.sql() if kind else node.this.value)
    arguments = [MAX if part.name.upper() == "MAX" else int(part.name) for part in node.expressions]
    name = name.replace("[", "").replace("]", "").replace('"', "").lower().removeprefix("sys.")
    return declared(name, arguments, cast=True)

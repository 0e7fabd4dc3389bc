"""StarRocks' casts as DuckDB expressions.

A cast that fails gives NULL, unless `sql_mode` has ALLOW_THROW_EXCEPTION. DuckDB rounds where
StarRocks cuts (DOUBLE and DECIMAL to integers), and writes several types differently as text, so
each pair of families has its own expression. A pair that is not here is refused.
"""

from __future__ import annotations

from collections.abc import Callable

from migration_assets.sandbox.starrocks.column_types import ColumnType
from migration_assets.sandbox.starrocks.errors import unsupported

_INTEGER_TEXT = r"\s*[+-]?[0-9]+\s*"
_DATETIME_TEXT = (
    r"\s*[0-9]{1,4}-[0-9]{1,2}-[0-9]{1,2}"
    r"([ T][0-9]{1,2}:[0-9]{1,2}:[0-9]{1,2}([.][0-9]{1,6})?)?\s*"
)


def cast(sql: str, source: ColumnType, target: ColumnType, *, throw: bool) -> str:
    """Write the cast of a DuckDB expression.

    Args:
        sql: the expression.
        source: its StarRocks type.
        target: the StarRocks type wanted; a length is not cut to (the sink checks it).
        throw: whether a failing cast is an error; else it is NULL.

    Raises:
        StarRocksError: the stand-in does not know how StarRocks converts this pair.
    """
    if source == target or (
        source.family == target.family and source.family in ("string", "binary")
    ):
        return sql
    if source.family == "null":
        return f"CAST(NULL AS {target.duckdb})"
    convert = _CASTS.get((source.family, target.family))
    if convert is None:
        raise unsupported(f"CAST of {source.described} to {target.described}")
    return convert(sql, target.duckdb, throw)


def datetime_text(sql: str) -> str:
    """The text of a DATETIME: six digits of a second, or none."""
    return (
        f"CASE WHEN epoch_us({sql}) % 1000000 = 0 THEN strftime({sql}, '%Y-%m-%d %H:%M:%S')"
        f" ELSE strftime({sql}, '%Y-%m-%d %H:%M:%S.%f') END"
    )


def _plain(sql: str, target: str, throw: bool) -> str:  # noqa: FBT001 - the table calls it so
    return f"{'CAST' if throw else 'TRY_CAST'}({sql} AS {target})"


def _through(template: str) -> Callable[[str, str, bool], str]:
    return lambda sql, target, throw: _plain(template.format(sql), target, throw)


def _matching(pattern: str) -> Callable[[str, str, bool], str]:
    def convert(sql: str, target: str, throw: bool) -> str:  # noqa: FBT001 - the table calls it so
        otherwise = (
            f" WHEN {sql} IS NOT NULL THEN error('invalid text for {target}')" if throw else ""
        )
        text = f"CASE WHEN regexp_full_match({sql}, '{pattern}') THEN trim({sql}){otherwise} END"
        return _plain(text, target, throw)

    return convert


_NUMBERS = ("integer", "float", "decimal")
_CASTS: dict[tuple[str, str], Callable[[str, str, bool], str]] = {
    ("boolean", "string"): _through("CAST({0} AS TINYINT)"),
    **{("boolean", number): _through("CAST({0} AS TINYINT)") for number in _NUMBERS},
    **{(number, "boolean"): _through("({0} <> 0)") for number in _NUMBERS},
    ("integer", "integer"): _plain,
    ("integer", "float"): _plain,
    ("integer", "decimal"): _plain,
    ("integer", "string"): _plain,
    ("float", "float"): _plain,
    ("float", "integer"): _through("trunc({0})"),
    ("float", "decimal"): _plain,
    ("decimal", "decimal"): _plain,
    ("decimal", "integer"): _through("trunc({0})"),
    ("decimal", "float"): _plain,
    ("decimal", "string"): _plain,
    ("string", "integer"): _matching(_INTEGER_TEXT),
    ("string", "float"): _plain,
    ("string", "decimal"): _plain,
    ("string", "boolean"): _plain,
    ("string", "datetime"): _matching(_DATETIME_TEXT),
    ("string", "date"): lambda sql, _, throw: (
        f"CAST({_matching(_DATETIME_TEXT)(sql, 'TIMESTAMP', throw)} AS DATE)"
    ),
    ("string", "binary"): lambda sql, _target, _throw: f"encode({sql})",
    ("binary", "string"): lambda sql, _target, _throw: f"decode({sql})",
    ("date", "datetime"): _plain,
    ("datetime", "date"): _plain,
    ("date", "string"): _plain,
    ("datetime", "string"): lambda sql, _target, _throw: datetime_text(sql),
    ("date", "integer"): _through("CAST(strftime({0}, '%Y%m%d') AS BIGINT)"),
    ("datetime", "integer"): _through("CAST(strftime({0}, '%Y%m%d%H%M%S') AS BIGINT)"),
}

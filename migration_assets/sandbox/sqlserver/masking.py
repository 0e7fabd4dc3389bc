"""Dynamic data masking: what a login without UNMASK reads in the place of a value.

Functions: https://learn.microsoft.com/sql/relational-databases/security/dynamic-data-masking
"""

from __future__ import annotations

import re

from migration_assets.sandbox.sqlserver.conversion import Typed, convert, literal
from migration_assets.sandbox.sqlserver.errors import unsupported
from migration_assets.sandbox.sqlserver.sql_types import SqlType, varchar

_DEFAULTS = {
    "string": "xxxx",
    "date": "1900-01-01",
    "datetime": "1900-01-01",
    **dict.fromkeys(("bit", "integer", "decimal", "money", "float"), "0"),
}


def checked(function: str, kind: SqlType) -> str:
    """The text of a masking function.

    Raises:
        SqlServerError: 50001 for a function or type that is not known here.
    """
    function = re.sub(r"\s", "", function.lower())
    known = function == "default()" and kind.family in _DEFAULTS
    if not known and not (function == "email()" and kind.family == "string"):
        raise unsupported(f"MASKED WITH (FUNCTION = '{function}') of {kind.declaration}")
    return function


def masked(value: Typed, function: str) -> str:
    """DuckDB expression of the masked value; NULL stays NULL."""
    if function == "email()":
        shown = f"(left({value.sql}, 1) || 'XXX@XXXX.com')"
        shown = convert(Typed(shown, varchar(100)), value.type)
    else:
        shown = convert(literal(_DEFAULTS[value.type.family], varchar(10)), value.type)
    return f"(CASE WHEN {value.sql} IS NOT NULL THEN {shown} END)"

"""Names and string literals in StarRocks' SQL: what can be expressed, and how it is quoted.

Rules: `FeNameFormat.java` and `AstBuilder.java` of StarRocks/starrocks.
"""

from __future__ import annotations

import re
from enum import Enum

from migration_assets.errors import UnsupportedError
from migration_assets.plan import TablePlan

_RENAME = "Give it another name in migration.yaml."
_LONGEST_NAME = 1024
_RESERVED_COLUMNS = {"__op", "__row", "___count___"}
_RESERVED_PREFIX = "__generated_partition_column_"


class Named(Enum):
    """What a name belongs to; the value is what StarRocks accepts, NUL and backtick apart."""

    CATALOG = r"[a-zA-Z]\w{0,63}"
    DATABASE = r"[a-zA-Z][\w\-~!@#$%^&<>=+]{0,255}"
    TABLE = rf"[^\0`]{{1,{_LONGEST_NAME}}}"
    COLUMN = rf"[^\0`*]{{1,{_LONGEST_NAME}}}"


def quote(name: str, named: Named) -> str:
    """Quote a name with backticks.

    A backtick inside cannot be expressed: StarRocks does not take a doubled one for an escape, it
    drops them all and would silently use another name.

    Raises:
        UnsupportedError: StarRocks cannot have such a name.
    """
    kind = named.name.lower()
    if "`" in name:
        raise UnsupportedError(
            f"StarRocks cannot express the {kind} name {name!r}: it holds a backtick.",
            code="MA-SR-103",
            next_step=_RENAME,
        )
    if not re.fullmatch(named.value, name, re.ASCII | re.DOTALL):
        raise UnsupportedError(
            f"StarRocks does not accept the {kind} name {name!r}.",
            code="MA-SR-103",
            next_step=_RENAME,
        )
    lowered = name.lower()
    reserved = lowered in _RESERVED_COLUMNS or lowered.startswith(_RESERVED_PREFIX)
    if named is Named.COLUMN and reserved:
        raise UnsupportedError(
            f"StarRocks keeps the column name {name!r} for itself.",
            code="MA-SR-103",
            next_step=_RENAME,
        )
    return f"`{name}`"


def literal(text: str) -> str:
    """Write a string literal: a backslash escapes, two quotes are one."""
    escaped = text.replace("\\", "\\\\").replace("'", "''")
    return f"'{escaped}'"


def native_table(table: TablePlan) -> str:
    """`database.table` in StarRocks, quoted."""
    database = quote(table.starrocks_database, Named.DATABASE)
    return f"{database}.{quote(table.starrocks_table, Named.TABLE)}"


def iceberg_table(table: TablePlan, catalog: str) -> str:
    """`catalog.namespace.table`: the Iceberg table as StarRocks sees it, quoted."""
    # A namespace lives by the rules of Glue, not by those of StarRocks' own databases.
    parts = (quote(catalog, Named.CATALOG), quote(table.namespace, Named.TABLE))
    return ".".join((*parts, quote(table.iceberg_table, Named.TABLE)))


def subject(table: TablePlan) -> str:
    """How messages name the table: `Table shop.orders`."""
    return f"Table {table.starrocks_database}.{table.starrocks_table}"

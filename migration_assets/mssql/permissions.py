"""What the login may read and see unmasked: a handful of queries, whatever the number of tables.

A column that is masked or denied makes no noise until its rows are read, and a masked one not even
then. So both are asked for when the plan is made.

`HAS_PERMS_BY_NAME` answers 1, 0, or NULL where the server has no such permission (UNMASK of a column
came with SQL Server 2022); its name of a column takes no brackets
(https://learn.microsoft.com/sql/t-sql/functions/has-perms-by-name-transact-sql).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from migration_assets.mssql.catalog import FROM_TABLES, Catalog, CatalogTable, Row, Source

_BATCH = 1000
"""Object ids in one list."""
_FUNCTION = "HAS_PERMS_BY_NAME"
_TABLE = "QUOTENAME(s.name) + N'.' + QUOTENAME(t.name)"
_COLUMNS = f"{FROM_TABLES} JOIN sys.columns AS c ON c.object_id = t.object_id"


@dataclass
class Permissions:
    """What the login may do.

    Attributes:
        sees_definitions: it has VIEW DEFINITION in the database; without it the catalog views hide
            what the login has no permission on, security policies among it.
        unmasks: it sees every masked column as it is.
        unreadable_tables: object ids of tables without SELECT.
        unreadable_columns: object and column ids of columns without SELECT.
        unmasked_columns: those of masked columns that it sees as they are.
    """

    sees_definitions: bool = False
    unmasks: bool = False
    unreadable_tables: set[int] = field(default_factory=set)
    unreadable_columns: set[Row] = field(default_factory=set)
    unmasked_columns: set[Row] = field(default_factory=set)


def read_permissions(
    catalog: Catalog, tables: Sequence[CatalogTable], *, has_masks: bool
) -> Permissions:
    """Ask what the login may do; what cannot be learned is noted, and not taken for denied.

    Args:
        catalog: of the database.
        tables: those with an object id are asked for.
        has_masks: whether there are masked columns; only then UNMASK is asked for.
    """
    found = Permissions()
    # A name with a dot in it needs brackets, others are documented without.
    whole = [
        f"COALESCE({_FUNCTION}(DB_NAME(), 'DATABASE', '{permission}'), "
        f"{_FUNCTION}(QUOTENAME(DB_NAME()), 'DATABASE', '{permission}'))"
        for permission in ("VIEW DEFINITION", "UNMASK")
    ]
    source = Source(_FUNCTION, f"SELECT {', '.join(whole)}")
    answer = catalog.read("Permissions of this login", source)
    if answer:
        found.sees_definitions, found.unmasks = (bool(value) for value in answer[0])
    if has_masks and not found.unmasks:
        found.unmasked_columns = _unmasked_columns(catalog)
    if answer is not None:
        _read_select(catalog, tables, found)
        if not found.sees_definitions:
            catalog.notes.append(
                "This login has no VIEW DEFINITION: row-level security policies, views and "
                "whatever else it has no permission on are not seen."
            )
    return found


def _unmasked_columns(catalog: Catalog) -> set[Row]:
    sql = (
        f"SELECT c.object_id, c.column_id {_COLUMNS} WHERE c.is_masked = 1 "
        f"AND {_FUNCTION}({_TABLE}, 'OBJECT', 'UNMASK', c.name, 'COLUMN') = 1"
    )
    rows = catalog.read("Permission UNMASK on columns", Source(_FUNCTION, sql))
    return {tuple(row) for row in rows or ()}


def _read_select(catalog: Catalog, tables: Sequence[CatalogTable], found: Permissions) -> None:
    sql = f"SELECT t.object_id {FROM_TABLES} WHERE {_FUNCTION}({_TABLE}, 'OBJECT', 'SELECT') = 0"
    rows = catalog.read("Permission SELECT on tables", Source(_FUNCTION, sql))
    not_whole = {row[0] for row in rows or ()}
    denied = _with_denied_columns(catalog) if found.sees_definitions else None
    known = {table.object_id for table in tables if table.object_id is not None}
    asked = known if denied is None else known & (not_whole | denied)
    for batch in _batches(sorted(asked)):
        sql = (
            f"SELECT c.object_id, c.column_id {_COLUMNS} "
            f"WHERE t.object_id IN ({', '.join(map(str, batch))}) "
            f"AND {_FUNCTION}({_TABLE}, 'OBJECT', 'SELECT', c.name, 'COLUMN') = 0"
        )
        columns = catalog.read("Permission SELECT on columns", Source(_FUNCTION, sql))
        if columns is None:  # then a table that is not wholly readable counts as unreadable
            found.unreadable_tables |= not_whole & set(batch)
        found.unreadable_columns |= {tuple(row) for row in columns or ()}


def _with_denied_columns(catalog: Catalog) -> set[int] | None:
    """Tables that have SELECT denied on a column for anybody; None when that cannot be told."""
    sql = (
        "SELECT DISTINCT major_id FROM sys.database_permissions "
        "WHERE class = 1 AND minor_id > 0 AND type = 'SL' AND state = 'D'"
    )
    instead = "the permission on each column"
    rows = catalog.read(
        "Columns with SELECT denied", Source("sys.database_permissions", sql), instead=instead
    )
    return None if rows is None else {row[0] for row in rows}


def _batches(ids: Sequence[int]) -> Iterator[Sequence[int]]:
    for start in range(0, len(ids), _BATCH):
        yield ids[start : start + _BATCH]

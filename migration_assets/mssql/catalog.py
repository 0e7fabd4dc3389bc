"""Reads SQL Server's catalog views with what one login may see on one kind of server.

Essential facts have a second source (`INFORMATION_SCHEMA`); all others may be missing, because the
server is older, compatible only, or the login lacks a permission: then a note says what is not
known, and nothing fails. Columns of a view that came with later versions are asked for apart from
those that were always there. No query is made per table.

Views: https://learn.microsoft.com/sql/relational-databases/system-catalog-views/catalog-views-transact-sql
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from migration_assets.errors import (
    AccessDeniedError,
    ConfigurationError,
    ObjectNotFoundError,
    PermanentError,
    SchemaDriftError,
)
from migration_assets.mssql.client import SqlServer
from migration_assets.schema import MssqlType, SourceIndex, TableKind

Row = tuple[Any, ...]
TableKey = tuple[str, str]
"""Schema and name of a table."""
ColumnKey = tuple[str, str, str]
"""Schema, table and name of a column."""


@dataclass(frozen=True)
class Source:
    """A statement, and what a note calls it."""

    name: str
    sql: str


class Catalog:
    """Asks for facts one after the other and notes what could not be had.

    Attributes:
        notes: sentences for the plan.
    """

    def __init__(self, client: SqlServer) -> None:
        """Ask nothing yet."""
        self._client = client
        self.notes: list[str] = []

    def read(
        self, fact: str, *sources: Source, params: Sequence[Any] = (), instead: str = ""
    ) -> list[Row] | None:
        """Return the rows of the first source that answers, None with a note if none does.

        Args:
            fact: what is asked, the beginning of a note: `Row estimates`.
            sources: the best one first.
            params: values for `%s` in the statements.
            instead: what the caller turns to when none answers, for the note.
        """
        refused: list[str] = []
        for source in sources:
            try:
                rows = self._client.query(source.sql, params, doing=f"Reading {source.name}")
            except ConfigurationError:
                raise
            except PermanentError as error:
                refused.append(f"{source.name} {_reason(error)}")
            else:
                if refused:
                    self.notes.append(
                        f"{fact}: {'; '.join(refused)}; {source.name} was used instead."
                    )
                return rows
        if instead:
            self.notes.append(f"{fact}: {'; '.join(refused)}; {instead} was used instead.")
        else:
            self.notes.append(f"{fact} not known: {'; '.join(refused)}.")
        return None

    def essential(self, source: Source, params: Sequence[Any] = ()) -> list[Row]:
        """Return the rows of a source that there is no doing without; its error is raised."""
        return self._client.query(source.sql, params, doing=f"Reading {source.name}")

    def flags(
        self, view: str, key: Sequence[str], optional: Mapping[str, str]
    ) -> dict[Row, dict[str, Any]]:
        """Read columns of a view that not every server has; only values that are neither 0 nor NULL.

        Args:
            view: `sys.tables`.
            key: its columns that identify a row.
            optional: columns to what remains unseen without them, the end of a note.
        """
        found: dict[Row, dict[str, Any]] = {}
        try:
            self._flags(view, key, list(optional), found)
        except ConfigurationError:
            raise
        except PermanentError:
            found.clear()
            missing = []
            for column in optional:
                try:
                    self._flags(view, key, [column], found)
                except PermanentError:
                    missing.append(column)
            if missing:
                unseen = ", ".join(dict.fromkeys(optional[column] for column in missing))
                self.notes.append(
                    f"{view} has no column {', '.join(missing)} here: {unseen} not seen."
                )
        return found

    def _flags(
        self, view: str, key: Sequence[str], columns: list[str], found: dict[Row, dict[str, Any]]
    ) -> None:
        condition = " OR ".join(f"{column} <> 0" for column in columns)
        sql = f"SELECT {', '.join([*key, *columns])} FROM {view} WHERE {condition}"
        for row in self._client.query(sql, doing=f"Reading {view}"):
            values = zip(columns, row[len(key) :], strict=True)
            present = {column: value for column, value in values if value}
            found.setdefault(row[: len(key)], {}).update(present)


def _reason(error: PermanentError) -> str:
    if isinstance(error, AccessDeniedError):
        return "is not permitted to this login"
    if isinstance(error, (ObjectNotFoundError, SchemaDriftError)):
        return "does not exist here"
    return "was refused by the server"


@dataclass(frozen=True)
class CatalogColumn:
    """A column as the essential views have it; `column_id` None if they do not say."""

    name: str
    type: MssqlType
    nullable: bool
    column_id: int | None = None


@dataclass(frozen=True)
class CatalogTable:
    """A table with its columns in order; `object_id` None where the server has no `sys.tables`."""

    schema: str
    name: str
    object_id: int | None = None
    columns: list[CatalogColumn] = field(default_factory=list)

    @property
    def key(self) -> TableKey:
        """Schema and name."""
        return self.schema, self.name


FROM_TABLES = "FROM sys.tables AS t JOIN sys.schemas AS s ON s.schema_id = t.schema_id"
_COLUMNS = (
    "SELECT s.name, t.name, t.object_id, c.column_id, c.name, c.system_type_id, c.user_type_id, "
    "c.max_length, c.precision, c.scale, c.collation_name, c.is_nullable "
    f"{FROM_TABLES} JOIN sys.columns AS c ON c.object_id = t.object_id"
)
_STANDARD_COLUMNS = (
    "SELECT c.TABLE_SCHEMA, c.TABLE_NAME, c.COLUMN_NAME, c.DATA_TYPE, c.CHARACTER_OCTET_LENGTH, "
    "c.NUMERIC_PRECISION, c.NUMERIC_SCALE, c.DATETIME_PRECISION, c.COLLATION_NAME, c.IS_NULLABLE "
    "FROM INFORMATION_SCHEMA.COLUMNS AS c JOIN INFORMATION_SCHEMA.TABLES AS t "
    "ON t.TABLE_SCHEMA = c.TABLE_SCHEMA AND t.TABLE_NAME = c.TABLE_NAME "
    "WHERE t.TABLE_TYPE = 'BASE TABLE'"
)


def read_tables(
    catalog: Catalog, only: TableKey | None = None, *, kind: TableKind = TableKind.TABLE
) -> list[CatalogTable]:
    """All tables that the login sees, or one, with their columns; sorted by schema and name.

    Args:
        catalog: of the database.
        only: the one that is asked for.
        kind: tables or views.

    Raises:
        MigrationError: neither `sys.columns` nor `INFORMATION_SCHEMA.COLUMNS` answers.
    """
    params = only or ()
    condition = " WHERE s.name = %s AND t.name = %s" if only else ""
    columns = catalog.read(
        "Columns",
        Source(
            "sys.columns",
            f"{_of_kind(_COLUMNS, kind)}{condition} ORDER BY t.object_id, c.column_id",
        ),
        params=params,
        instead="INFORMATION_SCHEMA.COLUMNS",
    )
    types = None
    if columns is not None:
        sql = "SELECT system_type_id, user_type_id, name FROM sys.types"
        source = Source("sys.types", sql)
        types = catalog.read("Types", source, instead="INFORMATION_SCHEMA.COLUMNS")
    if columns is None or types is None:
        tables = _standard_tables(catalog, only, kind)
    else:
        tables = _sys_tables(columns, types)
    return sorted(tables, key=lambda table: table.key)


def _of_kind(sql: str, kind: TableKind) -> str:
    if kind is not TableKind.VIEW:
        return sql
    return sql.replace("FROM sys.tables", "FROM sys.views").replace("'BASE TABLE'", "'VIEW'")


def _sys_tables(columns: list[Row], types: list[Row]) -> list[CatalogTable]:
    names = {(system, user): str(name) for system, user, name in types}
    tables: dict[int, CatalogTable] = {}
    for row in columns:
        schema, name, object_id, column_id, column, system, user, length = row[:8]
        precision, scale, collation, nullable = row[8:]
        mssql_type = MssqlType(
            name=_base_name(names, system, user),
            max_length=length,
            precision=precision,
            scale=scale,
            collation=collation,
            user_type=names.get((system, user)) if user != system else None,
        )
        table = tables.setdefault(object_id, CatalogTable(schema, name, object_id))
        table.columns.append(CatalogColumn(column, mssql_type, bool(nullable), column_id))
    return list(tables.values())


_CLR = 240
_SYSNAME = 256
"""`user_type_id` of the last type that comes with a server, an alias; those below are no aliases,
though some share a `system_type_id` (hierarchyid, geometry, geography; vector has varbinary's)
(https://learn.microsoft.com/sql/relational-databases/system-catalog-views/sys-types-transact-sql)."""


def _base_name(names: dict[tuple[int, int], str], system: int, user: int) -> str:
    """The system type under an alias; `clr` for what an assembly of the user's defines."""
    if user < _SYSNAME and (system, user) in names:
        return names[system, user].lower()
    if system == _CLR:
        return "clr"
    # A type of neither name is unknown to us as well; its number is all that can be shown.
    return (names.get((system, system)) or names.get((system, user)) or f"type {system}").lower()


def _standard_tables(
    catalog: Catalog, only: TableKey | None, kind: TableKind
) -> list[CatalogTable]:
    condition = " AND c.TABLE_SCHEMA = %s AND c.TABLE_NAME = %s" if only else ""
    order = " ORDER BY c.TABLE_SCHEMA, c.TABLE_NAME, c.ORDINAL_POSITION"
    standard = _of_kind(_STANDARD_COLUMNS, kind)
    source = Source("INFORMATION_SCHEMA.COLUMNS", f"{standard}{condition}{order}")
    tables: dict[TableKey, CatalogTable] = {}
    for row in catalog.essential(source, only or ()):
        schema, name, column, type_name, octets, precision, scale, digits, collation, null = row
        type_name = str(type_name).lower()
        is_time = type_name in {"time", "datetime2", "datetimeoffset"}
        mssql_type = MssqlType(
            name=type_name,
            max_length=-1 if type_name == "xml" else int(octets or 0),
            precision=int(precision or 0),
            scale=int((digits if is_time else scale) or 0),
            collation=collation,
        )
        nullable = str(null).strip().upper() != "NO"
        table = tables.setdefault((schema, name), CatalogTable(schema, name))
        table.columns.append(CatalogColumn(column, mssql_type, nullable))
    return list(tables.values())


def read_primary_keys(catalog: Catalog) -> dict[TableKey, tuple[str, ...]]:
    """Columns of each primary key, in key order."""
    rows = catalog.read(
        "Primary keys",
        Source(
            "sys.index_columns",
            f"SELECT s.name, t.name, c.name {FROM_TABLES} "
            "JOIN sys.indexes AS i ON i.object_id = t.object_id "
            "JOIN sys.index_columns AS k ON k.object_id = i.object_id AND k.index_id = i.index_id "
            "JOIN sys.columns AS c ON c.object_id = k.object_id AND c.column_id = k.column_id "
            "WHERE i.is_primary_key = 1 ORDER BY t.object_id, k.key_ordinal",
        ),
        Source(
            "INFORMATION_SCHEMA.KEY_COLUMN_USAGE",
            "SELECT k.TABLE_SCHEMA, k.TABLE_NAME, k.COLUMN_NAME "
            "FROM INFORMATION_SCHEMA.TABLE_CONSTRAINTS AS t "
            "JOIN INFORMATION_SCHEMA.KEY_COLUMN_USAGE AS k "
            "ON k.CONSTRAINT_SCHEMA = t.CONSTRAINT_SCHEMA "
            "AND k.CONSTRAINT_NAME = t.CONSTRAINT_NAME AND k.TABLE_NAME = t.TABLE_NAME "
            "WHERE t.CONSTRAINT_TYPE = 'PRIMARY KEY' "
            "ORDER BY k.TABLE_SCHEMA, k.TABLE_NAME, k.ORDINAL_POSITION",
        ),
    )
    keys: dict[TableKey, tuple[str, ...]] = {}
    for schema, table, column in rows or ():
        keys[schema, table] = (*keys.get((schema, table), ()), column)
    return keys


def read_indexes(catalog: Catalog) -> dict[int, tuple[SourceIndex, ...]]:
    """Rowstore indexes over all rows, by object id; for tables without a primary key of use."""
    rows = catalog.read(
        "Indexes",
        Source(
            "sys.indexes",
            "SELECT i.object_id, i.index_id, i.is_unique, c.name FROM sys.indexes AS i "
            "JOIN sys.index_columns AS k ON k.object_id = i.object_id AND k.index_id = i.index_id "
            "JOIN sys.columns AS c ON c.object_id = k.object_id AND c.column_id = k.column_id "
            "JOIN sys.tables AS t ON t.object_id = i.object_id "
            "WHERE i.type IN (1, 2) AND i.is_disabled = 0 AND i.has_filter = 0 "
            "AND i.is_hypothetical = 0 AND k.key_ordinal > 0 "
            "ORDER BY i.object_id, i.index_id, k.key_ordinal",
        ),
    )
    indexes: dict[tuple[int, int], SourceIndex] = {}
    for object_id, index_id, is_unique, column in rows or ():
        before = indexes.get((object_id, index_id))
        columns = (*before.columns, column) if before else (column,)
        indexes[object_id, index_id] = SourceIndex(index_id, columns, bool(is_unique))
    found: dict[int, tuple[SourceIndex, ...]] = {}
    for (object_id, _), index in indexes.items():
        found[object_id] = (*found.get(object_id, ()), index)
    return found


def read_sizes(catalog: Catalog) -> tuple[dict[int, int], dict[int, int]]:
    """Estimated rows and bytes of each table, by object id; LOBs included, other indexes not."""
    data = "WHERE p.index_id IN (0, 1) GROUP BY p.object_id"
    stats = Source(
        "sys.dm_db_partition_stats",
        "SELECT p.object_id, SUM(p.row_count), SUM(p.used_page_count) "
        f"FROM sys.dm_db_partition_stats AS p {data}",
    )
    partitions = Source(
        "sys.partitions",
        f"SELECT p.object_id, SUM(p.rows), CAST(NULL AS bigint) FROM sys.partitions AS p {data}",
    )
    sizes = catalog.read("Row estimates", stats, partitions) or []
    rows = {object_id: int(count) for object_id, count, _ in sizes if count is not None}
    pages = {object_id: int(used) for object_id, _, used in sizes if used is not None}
    if rows and not pages:
        units = Source(
            "sys.allocation_units",
            "SELECT p.object_id, SUM(a.used_pages) FROM sys.partitions AS p "
            "JOIN sys.allocation_units AS a "
            "ON (a.type IN (1, 3) AND a.container_id = p.hobt_id) "
            f"OR (a.type = 2 AND a.container_id = p.partition_id) {data}",
        )
        used_pages = catalog.read("Sizes in bytes", units) or []
        pages = {object_id: int(used) for object_id, used in used_pages if used is not None}
    return rows, {object_id: used * _PAGE_BYTES for object_id, used in pages.items()}


_PAGE_BYTES = 8192


@dataclass(frozen=True)
class ServerFacts:
    """What the server says about itself and the database."""

    server: str
    database: str
    version: str
    collation: str
    snapshot_isolation: bool
    read_committed_snapshot: bool


def read_server(catalog: Catalog, *, host: str, database: str) -> ServerFacts:
    """Ask the server about itself; the arguments are what was connected to, used as last resort."""

    def text(fact: str, *sources: Source) -> str | None:
        rows = catalog.read(fact, *sources)
        value = rows[0][0] if rows else None
        return None if value is None else " ".join(str(value).split()) or None

    def property_of(name: str) -> Source:
        sql = f"SELECT CONVERT(nvarchar(256), SERVERPROPERTY('{name}'))"
        return Source(f"SERVERPROPERTY('{name}')", sql)

    here = "FROM sys.databases WHERE name = DB_NAME()"
    version = text(
        "Version", property_of("ProductVersion"), Source("@@VERSION", "SELECT @@VERSION")
    )
    level = text(
        "Compatibility level", Source("sys.databases", f"SELECT compatibility_level {here}")
    )
    isolation = catalog.read(
        "Snapshot isolation",
        Source(
            "sys.databases",
            f"SELECT snapshot_isolation_state, is_read_committed_snapshot_on {here}",
        ),
    )
    state, read_committed = isolation[0] if isolation else (0, 0)
    collation = text(
        "Collation",
        Source("sys.databases", f"SELECT collation_name {here}"),
        Source(
            "DATABASEPROPERTYEX",
            "SELECT CONVERT(nvarchar(128), DATABASEPROPERTYEX(DB_NAME(), 'Collation'))",
        ),
    )
    return ServerFacts(
        server=text(
            "Server name",
            property_of("ServerName"),
            Source("@@SERVERNAME", "SELECT @@SERVERNAME"),
        )
        or host,
        database=text("Database name", Source("DB_NAME", "SELECT DB_NAME()")) or database,
        version=(version or "unknown") + (f", compatibility level {level}" if level else ""),
        collation=collation or "unknown",
        snapshot_isolation=state == 1,
        read_committed_snapshot=bool(read_committed),
    )


_STAYS_BEHIND = {
    "views": ("V",),
    "procedures": ("P", "PC", "X", "RF"),
    "functions": ("FN", "IF", "TF", "FS", "FT", "AF"),
    "triggers": ("TR", "TA"),
    "foreign keys": ("F",),
    "check constraints": ("C",),
    "defaults": ("D",),
    "synonyms": ("SN",),
    "sequences": ("SO",),
}
_VIEWS_OF = {
    "views": "sys.views",
    "procedures": "sys.procedures",
    "triggers": "sys.triggers",
    "foreign keys": "sys.foreign_keys",
    "check constraints": "sys.check_constraints",
    "defaults": "sys.default_constraints",
    "synonyms": "sys.synonyms",
}


def read_not_migrated(catalog: Catalog) -> dict[str, int]:
    """How many objects of each kind stay behind; kinds without any are left out."""
    by_type = catalog.read(
        "Objects that stay behind",
        Source(
            "sys.objects",
            "SELECT type, COUNT_BIG(*) FROM sys.objects WHERE is_ms_shipped = 0 GROUP BY type",
        ),
    )
    counts: dict[str, int] = {}
    if by_type is not None:
        found = {str(kind).strip(): int(count) for kind, count in by_type}
        for name, kinds in _STAYS_BEHIND.items():
            counts[name] = sum(found.get(kind, 0) for kind in kinds)
    else:
        for name, view in _VIEWS_OF.items():
            sql = f"SELECT COUNT_BIG(*) FROM {view} WHERE is_ms_shipped = 0"
            rows = catalog.read(f"Number of {name}", Source(view, sql))
            counts[name] = int(rows[0][0]) if rows else 0
    return {name: count for name, count in counts.items() if count}


_OTHERS = {"V": TableKind.VIEW, "SN": TableKind.SYNONYM}


def read_views_and_synonyms(catalog: Catalog) -> list[tuple[str, str, TableKind]]:
    """Schema, name and kind of what reads like a table and is none; sorted."""
    rows = catalog.read(
        "Views and synonyms",
        Source(
            "sys.objects",
            "SELECT s.name, o.name, o.type FROM sys.objects AS o "
            "JOIN sys.schemas AS s ON s.schema_id = o.schema_id "
            "WHERE o.type IN ('V', 'SN') AND o.is_ms_shipped = 0",
        ),
        Source(
            "INFORMATION_SCHEMA.TABLES",
            "SELECT TABLE_SCHEMA, TABLE_NAME, 'V' FROM INFORMATION_SCHEMA.TABLES "
            "WHERE TABLE_TYPE = 'VIEW'",
        ),
    )
    return sorted((schema, name, _OTHERS[kind.strip()]) for schema, name, kind in rows or ())

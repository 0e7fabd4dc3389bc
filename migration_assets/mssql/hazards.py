"""What makes a copy false without any error, and what becomes of it; listed in docs/planning-facts.md.

Masked columns, security policies, Always Encrypted, denied columns, history, generated and hidden
columns, graphs, ledgers and the like: each is refused, left out or warned of, with its reason. All of
it comes from optional catalog views: one that is missing leaves a note, see `catalog.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from migration_assets.mssql.catalog import Catalog, CatalogColumn, CatalogTable, Row, Source
from migration_assets.mssql.permissions import Permissions, read_permissions
from migration_assets.schema import Column, TableKind

_COLUMN_FLAGS = {
    "is_identity": "identity columns are",
    "is_computed": "computed columns are",
    "is_sparse": "sparse columns are",
    "is_column_set": "column sets are",
    "is_filestream": "FILESTREAM columns are",
    "is_hidden": "hidden columns are",
    "generated_always_type": "generated columns are",
    "is_masked": "masked columns, whose masked values would be copied, are",
    "encryption_type": "columns under Always Encrypted are",
    "graph_type": "graph columns are",
    "is_dropped_ledger_column": "columns dropped from ledger tables are",
}
_TABLE_FLAGS = {
    "is_ms_shipped": "Microsoft's own tables are",
    "temporal_type": "temporal history tables are",
    "is_external": "external tables are",
    "is_memory_optimized": "memory-optimized tables are",
    "is_filetable": "FileTables are",
    "is_node": "graph node tables are",
    "is_edge": "graph edge tables are",
    "ledger_type": "ledger history tables are",
    "is_dropped_ledger_table": "dropped ledger tables are",
}
_HISTORY, _SYSTEM_VERSIONED = 1, 2
"""`temporal_type`; `ledger_type` 1 is a history, too."""
_INTERNAL_GRAPH_TYPES = {1, 3, 4, 6, 7}
"""`graph_type` of columns that no query may name; the others are the JSON ids `$node_id` and so on
(https://learn.microsoft.com/sql/relational-databases/graphs/sql-graph-architecture)."""

MASKED = (
    "it is masked and this login has no UNMASK, so masked values would be copied as if they were "
    "data; GRANT UNMASK TO the login (since SQL Server 2022 also ON the table or column) makes it "
    "readable"
)
"""The refusal of a masked column."""
POLICY = "Row-level security policy"
"""Begins the warning about a table that one filters."""
_ENCRYPTED = "it is under Always Encrypted, only its ciphertext can be read"
_DENIED = "this login may not read it, SELECT on the column is denied or not granted"
_TABLE_DENIED = "this login may not read it, SELECT is denied or not granted"


class Hazards:
    """The optional facts about tables and columns of one database."""

    def __init__(self, catalog: Catalog, tables: Sequence[CatalogTable]) -> None:
        """Read them; nothing is asked where the server has no `sys.tables`."""
        self._computed: dict[Row, Row] = {}
        self._columns: dict[Row, dict[str, Any]] = {}
        self._tables: dict[Row, dict[str, Any]] = {}
        self._policies: dict[int, list[str]] = {}
        self._tools: set[int] = set()
        self._permissions = Permissions()
        if any(table.object_id is not None for table in tables):
            self._read(catalog, tables)

    def _read(self, catalog: Catalog, tables: Sequence[CatalogTable]) -> None:
        self._columns = catalog.flags("sys.columns", ("object_id", "column_id"), _COLUMN_FLAGS)
        self._tables = catalog.flags("sys.tables", ("object_id",), _TABLE_FLAGS)
        if self._has("is_computed"):
            self._computed = _read_computed(catalog)
        self._permissions = read_permissions(catalog, tables, has_masks=self._has("is_masked"))
        self._policies = _read_policies(catalog)
        tools = Source(
            "sys.extended_properties",
            "SELECT major_id FROM sys.extended_properties "
            "WHERE class = 1 AND minor_id = 0 AND name = 'microsoft_database_tools_support'",
        )
        self._tools = {row[0] for row in catalog.read("Tables of SQL Server's tools", tools) or ()}

    def _has(self, flag: str) -> bool:
        return any(flag in flags for flags in self._columns.values())

    def _flags(self, table: CatalogTable, column: CatalogColumn) -> dict[str, Any]:
        return self._columns.get((table.object_id, column.column_id), {})

    # -- tables ----------------------------------------------------------------------------------

    def kind(self, table: CatalogTable) -> TableKind:
        """What a table is; all but plain tables stay behind."""
        flags = self._tables.get((table.object_id,), {})
        if flags.get("is_dropped_ledger_table"):
            return TableKind.DROPPED
        if flags.get("temporal_type") == _HISTORY:
            return TableKind.HISTORY
        if flags.get("ledger_type") == _HISTORY:
            return TableKind.LEDGER_HISTORY
        if flags.get("is_external"):
            return TableKind.EXTERNAL
        if flags.get("is_ms_shipped") or table.object_id in self._tools:
            return TableKind.SYSTEM
        return TableKind.TABLE

    def refusal(self, table: CatalogTable) -> str | None:
        """Why a table cannot be migrated at all."""
        denied = self._permissions.unreadable_columns
        every = bool(table.columns) and all(
            (table.object_id, column.column_id) in denied for column in table.columns
        )
        is_denied = every or table.object_id in self._permissions.unreadable_tables
        return _TABLE_DENIED if is_denied else None

    def warnings(self, table: CatalogTable) -> Iterator[str]:
        """What to know about a table, a sentence each."""
        flags = self._tables.get((table.object_id,), {})
        for policy in self._policies.get(table.object_id or 0, ()):
            yield (f"{POLICY} {policy} filters it: only rows that this login sees are copied.")
        if flags.get("is_memory_optimized"):
            yield "It is memory-optimized: SNAPSHOT isolation may be refused for it."
        if flags.get("temporal_type") == _SYSTEM_VERSIONED:
            yield "It is a temporal table: its history is not migrated."
        if flags.get("ledger_type", _HISTORY) != _HISTORY:
            yield "It is a ledger table: neither its history nor the proof of it is migrated."
        if flags.get("is_filetable"):
            yield "It is a FileTable: its files are read as rows."
        if flags.get("is_node") or flags.get("is_edge"):
            yield (
                "It is a graph table: its ids ($node_id, $edge_id, $from_id, $to_id) are copied as "
                "JSON text; the internal columns that they are made of cannot be read, and are left "
                "out."
            )
        for column in table.columns:
            if self._flags(table, column).get("is_column_set"):
                yield (
                    f"Column {column.name} is left out: it is a column set, which repeats the "
                    "sparse columns as XML."
                )
            elif self._flags(table, column).get("is_dropped_ledger_column"):
                yield f"Column {column.name} is left out: it was dropped from the ledger table."

    # -- columns ---------------------------------------------------------------------------------

    def columns(self, table: CatalogTable) -> tuple[Column, ...]:
        """A table's columns in order, without those that hold nothing of their own."""
        return tuple(
            self._column(table, column)
            for column in table.columns
            if not _is_left_out(self._flags(table, column))
        )

    def _column(self, table: CatalogTable, column: CatalogColumn) -> Column:
        key = (table.object_id, column.column_id)
        flags = self._flags(table, column)
        definition, deterministic = self._computed.get(key, (None, None))
        computed = (definition or "(definition not visible)") if flags.get("is_computed") else None
        return Column(
            name=column.name,
            type=column.type,
            nullable=column.nullable,
            identity=bool(flags.get("is_identity")),
            computed=computed,
            warnings=tuple(
                _column_warnings(
                    column.name,
                    flags,
                    # Graph ids are computed by the server itself, and steady.
                    steady=computed is None or bool(deterministic) or "graph_type" in flags,
                )
            ),
            refusal=self._column_refusal(key, flags),
        )

    def _column_refusal(self, key: Row, flags: dict[str, Any]) -> str | None:
        allowed = self._permissions
        if key in allowed.unreadable_columns:
            return _DENIED
        if flags.get("encryption_type"):
            return _ENCRYPTED
        if flags.get("is_masked") and not allowed.unmasks and key not in allowed.unmasked_columns:
            return MASKED
        return None


def _is_left_out(flags: dict[str, Any]) -> bool:
    return bool(
        flags.get("is_column_set")
        or flags.get("is_dropped_ledger_column")
        or flags.get("graph_type") in _INTERNAL_GRAPH_TYPES
    )


def _column_warnings(name: str, flags: dict[str, Any], *, steady: bool) -> Iterator[str]:
    if not steady:
        yield (
            f"{name} is computed and may not be deterministic: each read may give another value, so "
            "source and copy may differ."
        )
    if flags.get("generated_always_type"):
        yield f"{name} is generated by SQL Server."
    if flags.get("is_hidden"):
        yield f"{name} is hidden: SELECT * does not show it, the copy does."
    if flags.get("is_filestream"):
        yield f"{name} is FILESTREAM: its files are read as values."


def _read_computed(catalog: Catalog) -> dict[Row, Row]:
    """Definition, and whether it is known to be deterministic, of each computed column.

    A persisted one is deterministic, or PERSISTED would have been refused.
    """
    view = "sys.computed_columns"
    listed = "SELECT object_id, column_id, definition, "
    rows = catalog.read(
        "Computed columns",
        Source(
            f"COLUMNPROPERTY over {view}",
            f"{listed}COLUMNPROPERTY(object_id, name, 'IsDeterministic') FROM {view}",
        ),
        Source(view, f"{listed}is_persisted FROM {view}"),
    )
    return {tuple(row[:2]): tuple(row[2:]) for row in rows or ()}


def _read_policies(catalog: Catalog) -> dict[int, list[str]]:
    """Enabled security policies that filter reads, by the table they filter."""
    source = Source(
        "sys.security_policies",
        "SELECT f.target_object_id, s.name, p.name FROM sys.security_policies AS p "
        "JOIN sys.schemas AS s ON s.schema_id = p.schema_id "
        "JOIN sys.security_predicates AS f ON f.object_id = p.object_id "
        "WHERE p.is_enabled = 1 AND f.predicate_type = 0",
    )
    policies: dict[int, list[str]] = {}
    for object_id, schema, name in catalog.read("Row-level security", source) or ():
        policies.setdefault(object_id, []).append(f"{schema}.{name}")
    return policies

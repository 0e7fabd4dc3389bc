"""Rows of SQL Server's catalog views, with their columns as data.

Columns: https://learn.microsoft.com/sql/relational-databases/system-catalog-views/ (those that tools
read when they look at tables; types in the notation of `system_views.parse_columns`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from migration_assets.sandbox.sqlserver import (
    database_snapshots,
    partitions,
    statistics,
    user_types,
)
from migration_assets.sandbox.sqlserver.catalog import (
    Column,
    Database,
    Index,
    Table,
    View,
)  # fmt: skip
from migration_assets.sandbox.sqlserver.errors import unsupported
from migration_assets.sandbox.sqlserver.sql_types import TYPES

if TYPE_CHECKING:
    from migration_assets.sandbox.sqlserver.session import Session

Row = tuple[object, ...]


@dataclass(frozen=True)
class SystemView:
    """One catalog view: `name type` pairs, and what makes its rows."""

    columns: str
    rows: Callable[[Session, Database], Iterable[Row]]


_MODIFIED = datetime(2026, 1, 1)  # noqa: DTZ001 - SQL Server's dates have no time zone
_CLR_TYPE_ID = 240
_SYSNAME_ID = 256


def tables_of(database: Database) -> list[Table]:
    """User tables in the order of their ids."""
    return sorted(database.tables.values(), key=lambda table: table.object_id)


def views_of(database: Database) -> list[View]:
    """User views in the order of their ids."""
    return sorted(database.views.values(), key=lambda view: view.object_id)


def schema_id(database: Database, schema: str) -> int:
    """Number of a schema."""
    return database.schemas[schema.lower()][1]


def _schemas(_: Session, database: Database) -> Iterator[Row]:
    for name, number in database.schemas.values():
        yield name, number, number if number < 5 else 1


OBJECT = (
    "name sysname, object_id int, principal_id int?, schema_id int, parent_object_id int, "
    "type char(2), type_desc nvarchar(60)?, create_date datetime, modify_date datetime, "
    "is_ms_shipped bit, is_published bit, is_schema_published bit"
)


def object_row(
    name: str, object_id: int, schema_id: int, parent: int, kind: tuple[str, str]
) -> Row:
    """A row of `sys.objects`."""
    code, text = kind
    dates = (_MODIFIED, _MODIFIED)
    return (
        name,
        object_id,
        None,
        schema_id,
        parent,
        code.ljust(2),
        text,
        *dates,
        False,
        False,
        False,
    )


KINDS = {
    "U": ("U", "USER_TABLE"), "V": ("V", "VIEW"), "PK": ("PK", "PRIMARY_KEY_CONSTRAINT"),
    "UQ": ("UQ", "UNIQUE_CONSTRAINT"), "F": ("F", "FOREIGN_KEY_CONSTRAINT"),
    "C": ("C", "CHECK_CONSTRAINT"), "D": ("D", "DEFAULT_CONSTRAINT"), "SN": ("SN", "SYNONYM"),
    "SP": ("SP", "SECURITY_POLICY"),
}  # fmt: skip


def _table_object(database: Database, table: Table) -> Row:
    return object_row(table.name, table.object_id, schema_id(database, table.schema), 0, KINDS["U"])


def _objects(_: Session, database: Database) -> Iterator[Row]:
    for table in tables_of(database):
        schema = schema_id(database, table.schema)
        yield _table_object(database, table)
        for index in table.indexes:
            if index.kind:
                yield object_row(
                    index.name, index.object_id, schema, table.object_id, KINDS[index.kind]
                )
        for key in table.foreign_keys:
            yield object_row(key.name, key.object_id, schema, table.object_id, KINDS["F"])
        for check in table.checks:
            yield object_row(check.name, check.object_id, schema, table.object_id, KINDS["C"])
        for column in table.columns:
            if column.default is not None:
                number = table.default_ids[column.name]
                yield object_row(column.default_name, number, schema, table.object_id, KINDS["D"])
    yield from _view_objects(database)
    for where, name, object_id, _base in database.synonyms.values():
        yield object_row(name, object_id, schema_id(database, where), 0, KINDS["SN"])
    for policy in database.policies:
        schema = schema_id(database, policy.schema)
        yield object_row(policy.name, policy.object_id, schema, 0, KINDS["SP"])


def _described(row: Row, columns: str, flags: dict[str, object]) -> Row:
    """A row of `sys.tables` or `sys.columns` with the values that a test gave it."""
    if not flags:
        return row
    names = [item.split()[0] for item in columns.split(", ")]
    if unknown := flags.keys() - set(names):
        raise unsupported(f"catalog columns {', '.join(sorted(unknown))}")
    return tuple(
        bool(flags[name]) if name in flags and isinstance(value, bool) else flags.get(name, value)
        for name, value in zip(names, row, strict=True)
    )


def _view_objects(database: Database) -> Iterator[Row]:
    for view in views_of(database):
        yield object_row(view.name, view.object_id, schema_id(database, view.schema), 0, KINDS["V"])


_TABLE_EXTRA = (
    ", lob_data_space_id int, max_column_id_used int, lock_on_bulk_load bit, is_replicated bit?, "
    "has_replication_filter bit?, is_memory_optimized bit?, durability tinyint?, "
    "durability_desc nvarchar(60)?, temporal_type tinyint?, temporal_type_desc nvarchar(60)?, "
    "history_table_id int?, is_external bit, is_filetable bit?, is_node bit, is_edge bit, "
    "ledger_type tinyint?, ledger_type_desc nvarchar(60)?, is_dropped_ledger_table bit?, "
    "is_tracked_by_cdc bit?, is_remote_data_archive_enabled bit?, large_value_types_out_of_row bit?"
)


def _sys_tables(_: Session, database: Database) -> Iterator[Row]:
    for table in tables_of(database):
        last = max((column.column_id for column in table.columns), default=0)
        row = (
            *_table_object(database, table),
            0, last, False, False, False, False, 0, "SCHEMA_AND_DATA", 0, "NON_TEMPORAL_TABLE", None,
            False, False, False, False, 0, "NON_LEDGER_TABLE", False, False, False, False,
        )  # fmt: skip
        yield _described(row, OBJECT + _TABLE_EXTRA, table.flags)


COLUMN = (
    "object_id int, name sysname, column_id int, system_type_id tinyint, user_type_id int, "
    "max_length smallint, precision tinyint, scale tinyint, collation_name sysname?, "
    "is_nullable bit?, is_ansi_padded bit, is_rowguidcol bit, is_identity bit, is_computed bit, "
    "is_filestream bit, is_replicated bit?, is_non_sql_subscribed bit?, is_merge_published bit?, "
    "is_xml_document bit, xml_collection_id int, default_object_id int, rule_object_id int, "
    "is_sparse bit?, is_column_set bit?, generated_always_type tinyint?, "
    "generated_always_type_desc nvarchar(60)?, encryption_type int?, encryption_type_desc nvarchar(64)?, "
    "encryption_algorithm_name sysname?, column_encryption_key_id int?, "
    "column_encryption_key_database_name sysname?, is_hidden bit, is_masked bit, graph_type int?, "
    "graph_type_desc nvarchar(60)?, is_data_deletion_filter_column bit?, ledger_view_column_type int?, "
    "ledger_view_column_type_desc nvarchar(60)?, is_dropped_ledger_column bit?"
)


def column_row(object_id: int, column: Column, default_id: int) -> Row:
    """A row of `sys.columns`."""
    kind = column.type
    type_id = kind.info.system_type_id
    padded = kind.family in {"string", "binary"}
    row = (
        object_id, column.name, column.column_id, type_id, kind.user_type_id, kind.max_length,
        kind.catalog_precision, kind.catalog_scale, kind.collation or None, column.nullable, padded,
        column.rowguidcol, column.identity is not None, column.computed is not None, False, False,
        False, False, False, 0, default_id, 0, False, False, 0, "NOT_APPLICABLE", None, None, None,
        None, None, False, bool(column.masking), None, None, False, None, None, False,
    )  # fmt: skip
    return _described(row, COLUMN, column.flags)


def _columns(_: Session, database: Database) -> Iterator[Row]:
    for table in tables_of(database):
        for column in table.columns:
            default = table.default_ids.get(column.name, 0) if column.default is not None else 0
            yield column_row(table.object_id, column, default)
    for view in views_of(database):
        for column in view.columns:
            yield column_row(view.object_id, column, 0)


def _types(_: Session, database: Database) -> Iterator[Row]:
    for info in TYPES.values():
        if info.name in {"null", "clr"}:
            continue
        collation = database.collation if info.family == "string" and info.name != "xml" else None
        number = info.system_type_id
        yield (info.name, number, info.user_type_id or number, 4, None, info.max_length, info.precision, info.scale,
               collation, True, False, number == _CLR_TYPE_ID, 0, 0, False)  # fmt: skip
    yield from user_types.catalog_rows(database)
    number = TYPES["nvarchar"].system_type_id
    yield ("sysname", number, _SYSNAME_ID, 4, None, 256, 0, 0, database.collation, False, False,
           False, 0, 0, False)  # fmt: skip


def _computed_columns(_: Session, database: Database) -> Iterator[Row]:
    for table in tables_of(database):
        for column in table.columns:
            if column.computed is not None:
                yield (
                    *column_row(table.object_id, column, 0),
                    column.computed,
                    True,
                    column.persisted,
                )


def _identity_columns(_: Session, database: Database) -> Iterator[Row]:
    for table in tables_of(database):
        for column in table.columns:
            if column.identity is not None:
                # The real view has sql_variant here; bigint holds every value of the sample.
                seed, step = column.identity
                yield (
                    *column_row(table.object_id, column, 0),
                    seed,
                    step,
                    table.identity_last,
                    False,
                )


def _key_constraints(_: Session, database: Database) -> Iterator[Row]:
    for table in tables_of(database):
        schema = schema_id(database, table.schema)
        for number, index in indexes_of(table):
            if index is not None and index.kind:
                row = object_row(
                    index.name, index.object_id, schema, table.object_id, KINDS[index.kind]
                )
                yield (*row, number, False, True)


def indexes_of(table: Table) -> Iterator[tuple[int, Index | None]]:
    """Index ids: 1 is clustered, 0 the heap (None), the others count from 2."""
    clustered = next((index for index in table.indexes if index.clustered), None)
    yield (1, clustered) if clustered is not None else (0, None)
    others = [index for index in table.indexes if index is not clustered]
    yield from enumerate(others, start=2)


def _indexes(_: Session, database: Database) -> Iterator[Row]:
    for table in tables_of(database):
        for number, index in indexes_of(table):
            kind = min(number, 2)
            text = ("HEAP", "CLUSTERED", "NONCLUSTERED")[kind]
            name = None if index is None else index.name
            unique = index is not None and index.unique
            primary = index is not None and index.kind == "PK"
            constraint = index is not None and index.kind == "UQ"
            where = index.where if index is not None else ""
            space = partitions.data_space(database, table, index)
            yield (table.object_id, name, number, kind, text, unique, space, False, primary,
                   constraint, 0, False, False, False, True, True, bool(where), where or None)  # fmt: skip


def _index_columns(_: Session, database: Database) -> Iterator[Row]:
    for table in tables_of(database):
        ids = {column.name.lower(): column.column_id for column in table.columns}
        for number, index in indexes_of(table):
            columns = [] if index is None else index.columns
            included = [] if index is None else index.included
            by = partitions.partition_column(table, index)
            position = 0
            for position, (name, descending) in enumerate(columns, start=1):
                yield (
                    table.object_id,
                    number,
                    position,
                    ids[name.lower()],
                    position,
                    int(name.lower() == by),
                    descending,
                    False,
                )
            last = position + len(included)
            for extra, name in enumerate(included, start=position + 1):
                ordinal = int(name.lower() == by)
                yield table.object_id, number, extra, ids[name.lower()], 0, ordinal, False, True
            if by is not None and by not in {name.lower() for name, _ in columns} | {
                name.lower() for name in included
            }:
                yield table.object_id, number, last + 1, ids[by], 0, 1, False, False


def _databases(session: Session, _: Database) -> Iterator[Row]:
    for database in session.engine.databases.values():
        yield (database.name, database.database_id, 160, database.collation, 0, "MULTI_USER", False,
               0, "ONLINE", 1 if database.snapshot else 0, "ON" if database.snapshot else "OFF",
               database.read_committed_snapshot, 3, "SIMPLE", False, False, database.created,
               database.source_id)  # fmt: skip


def _sql_modules(_: Session, database: Database) -> Iterator[Row]:
    for view in views_of(database):
        yield view.object_id, view.definition, True, True, False


def no_rows(_session: Session, _database: Database) -> Iterator[Row]:
    """What is described and never there."""
    return iter(())


VIEWS: dict[str, SystemView] = {
    "sys.schemas": SystemView("name sysname, schema_id int, principal_id int?", _schemas),
    "sys.objects": SystemView(OBJECT, _objects),
    "sys.all_objects": SystemView(OBJECT, _objects),
    "sys.tables": SystemView(OBJECT + _TABLE_EXTRA, _sys_tables),
    "sys.views": SystemView(OBJECT, lambda _, database: _view_objects(database)),
    "sys.all_views": SystemView(OBJECT, lambda _, database: _view_objects(database)),
    "sys.columns": SystemView(COLUMN, _columns),
    "sys.all_columns": SystemView(COLUMN, _columns),
    "sys.types": SystemView(
        "name sysname, system_type_id tinyint, user_type_id int, schema_id int, principal_id int?, "
        "max_length smallint, precision tinyint, scale tinyint, collation_name sysname?, "
        "is_nullable bit?, is_user_defined bit, is_assembly_type bit, default_object_id int, "
        "rule_object_id int, is_table_type bit", _types,
    ),
    "sys.computed_columns": SystemView(
        COLUMN + ", definition nvarchar(max)?, uses_database_collation bit, is_persisted bit",
        _computed_columns,
    ),
    "sys.identity_columns": SystemView(
        COLUMN + ", seed_value bigint?, increment_value bigint?, last_value bigint?, "
        "is_not_for_replication bit?", _identity_columns,
    ),
    "sys.key_constraints": SystemView(
        OBJECT + ", unique_index_id int?, is_system_named bit, is_enforced bit", _key_constraints
    ),
    "sys.indexes": SystemView(
        "object_id int, name sysname?, index_id int, type tinyint, type_desc nvarchar(60)?, "
        "is_unique bit?, data_space_id int, ignore_dup_key bit?, is_primary_key bit?, "
        "is_unique_constraint bit?, fill_factor tinyint, is_padded bit?, is_disabled bit?, "
        "is_hypothetical bit?, allow_row_locks bit?, allow_page_locks bit?, has_filter bit?, "
        "filter_definition nvarchar(max)?", _indexes,
    ),
    "sys.index_columns": SystemView(
        "object_id int, index_id int, index_column_id int, column_id int, key_ordinal tinyint, "
        "partition_ordinal tinyint, is_descending_key bit?, is_included_column bit?", _index_columns,
    ),
    "sys.stats": SystemView(
        "object_id int, name sysname, stats_id int, auto_created bit, user_created bit, "
        "no_recompute bit, has_filter bit, filter_definition nvarchar(max)?, is_temporary bit, "
        "is_incremental bit", statistics.stats_rows,
    ),
    "sys.stats_columns": SystemView(
        "object_id int, stats_id int, stats_column_id int, column_id int",
        statistics.stats_columns,
    ),
    "sys.databases": SystemView(
        "name sysname, database_id int, compatibility_level tinyint, collation_name sysname?, "
        "user_access tinyint?, user_access_desc nvarchar(60)?, is_read_only bit?, state tinyint?, "
        "state_desc nvarchar(60)?, snapshot_isolation_state tinyint?, "
        "snapshot_isolation_state_desc nvarchar(60)?, is_read_committed_snapshot_on bit?, "
        "recovery_model tinyint?, recovery_model_desc nvarchar(60)?, is_cdc_enabled bit, "
        "is_encrypted bit?, create_date datetime, source_database_id int?", _databases,
    ),
    "sys.database_files": SystemView(
        "file_id int, type tinyint, type_desc nvarchar(60)?, data_space_id int, name sysname, "
        "physical_name nvarchar(260)?, state tinyint?, state_desc nvarchar(60)?, size int",
        lambda _, database: database_snapshots.files(database),
    ),
    "sys.sql_modules": SystemView(
        "object_id int, definition nvarchar(max)?, uses_ansi_nulls bit?, "
        "uses_quoted_identifier bit?, is_schema_bound bit?", _sql_modules,
    ),
    "sys.extended_properties": SystemView(
        "class tinyint, class_desc nvarchar(60)?, major_id int, minor_id int, name sysname, "
        "value nvarchar(4000)?", no_rows,
    ),
    "sys.procedures": SystemView(OBJECT, no_rows),
    "sys.triggers": SystemView(
        "name sysname, object_id int, parent_class tinyint, parent_id int, type char(2), "
        "is_ms_shipped bit, is_disabled bit, is_instead_of_trigger bit", no_rows,
    ),
    "sys.sequences": SystemView(OBJECT, no_rows),
    "sys.periods": SystemView(
        "name sysname, period_type tinyint?, object_id int, start_column_id int, end_column_id int",
        no_rows,
    ),
}  # fmt: skip
VIEWS["sys.all_sql_modules"] = VIEWS["sys.sql_modules"]

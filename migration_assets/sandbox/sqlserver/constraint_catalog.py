"""Rows of the catalog views about foreign keys, defaults and checks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from migration_assets.sandbox.sqlserver.catalog import Database
from migration_assets.sandbox.sqlserver.system_catalog import (
    KINDS,
    OBJECT,
    Row,
    SystemView,
    object_row,
    schema_id,
    tables_of,
)  # fmt: skip

if TYPE_CHECKING:
    from migration_assets.sandbox.sqlserver.session import Session

_REFERENTIAL = {"NO_ACTION": 0, "CASCADE": 1, "SET_NULL": 2, "SET_DEFAULT": 3}


def _foreign_keys(_: Session, database: Database) -> Iterator[Row]:
    for table in tables_of(database):
        schema = schema_id(database, table.schema)
        for key in table.foreign_keys:
            target = database.table(*key.target)
            row = object_row(key.name, key.object_id, schema, table.object_id, KINDS["F"])
            yield (*row, target.object_id if target else None, 1, False, False, False,
                   _REFERENTIAL[key.on_delete], key.on_delete, _REFERENTIAL[key.on_update],
                   key.on_update, False)  # fmt: skip


def _foreign_key_columns(_: Session, database: Database) -> Iterator[Row]:
    for table in tables_of(database):
        for key in table.foreign_keys:
            target = database.table(*key.target)
            pairs = zip(key.columns, key.target_columns, strict=True)
            for number, (name, other) in enumerate(pairs, start=1):
                own, their = table.column(name), target.column(other) if target else None
                yield (key.object_id, number, table.object_id, own.column_id if own else 0,
                       target.object_id if target else 0, their.column_id if their else 0)  # fmt: skip


def _default_constraints(_: Session, database: Database) -> Iterator[Row]:
    for table in tables_of(database):
        for column in table.columns:
            if column.default is not None:
                row = object_row(column.default_name, table.default_ids[column.name],
                              schema_id(database, table.schema), table.object_id, KINDS["D"])  # fmt: skip
                yield (*row, column.column_id, column.default, False)


def _check_constraints(_: Session, database: Database) -> Iterator[Row]:
    for table in tables_of(database):
        for check in table.checks:
            row = object_row(check.name, check.object_id, schema_id(database, table.schema),
                          table.object_id, KINDS["C"])  # fmt: skip
            yield (*row, False, False, False, 0, check.condition, False, False)


VIEWS: dict[str, SystemView] = {
    "sys.foreign_keys": SystemView(
        OBJECT + ", referenced_object_id int?, key_index_id int?, is_disabled bit, "
        "is_not_for_replication bit, is_not_trusted bit, delete_referential_action tinyint?, "
        "delete_referential_action_desc nvarchar(60)?, update_referential_action tinyint?, "
        "update_referential_action_desc nvarchar(60)?, is_system_named bit", _foreign_keys,
    ),
    "sys.foreign_key_columns": SystemView(
        "constraint_object_id int, constraint_column_id int, parent_object_id int, "
        "parent_column_id int, referenced_object_id int, referenced_column_id int",
        _foreign_key_columns,
    ),
    "sys.default_constraints": SystemView(
        OBJECT + ", parent_column_id int, definition nvarchar(max)?, is_system_named bit",
        _default_constraints,
    ),
    "sys.check_constraints": SystemView(
        OBJECT + ", is_disabled bit, is_not_for_replication bit, is_not_trusted bit, "
        "parent_column_id int, definition nvarchar(max)?, uses_database_collation bit?, "
        "is_system_named bit", _check_constraints,
    ),
}  # fmt: skip

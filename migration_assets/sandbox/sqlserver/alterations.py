"""ALTER TABLE and sp_rename."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from migration_assets.sandbox.sqlserver import dialect
from migration_assets.sandbox.sqlserver.batch import Reader
from migration_assets.sandbox.sqlserver.catalog import Column, Database, Table, quoted, storage_name
from migration_assets.sandbox.sqlserver.conversion import Typed, convert, store
from migration_assets.sandbox.sqlserver.errors import SqlServerError, unsupported
from migration_assets.sandbox.sqlserver.queries import QueryTranslator
from migration_assets.sandbox.sqlserver.scope import Scope
from migration_assets.sandbox.sqlserver.tables import (
    column_of,
    complete,
    default_text,
    must_be_new,
    read_column,
    read_type,
    storage_ddl,
    table_constraint,
)  # fmt: skip

if TYPE_CHECKING:
    from migration_assets.sandbox.sqlserver.session import Session


def _rebuild(
    session: Session, database: Database, table: Table, old: list[Column], values: dict[str, str]
) -> None:
    """Move the rows into a table of the new shape; `values` gives expressions for its columns."""
    storage = storage_name(database.name, table.schema, table.name)
    session.fetch(f"CREATE OR REPLACE TEMP TABLE ss_rebuild AS SELECT * FROM {storage}")
    session.fetch(f"DROP TABLE {storage}")
    try:
        session.fetch(storage_ddl(session, database, table))
        kept = {column.name for column in old if column.computed is None}
        stored = [c for c in table.columns if c.computed is None]
        listed = [
            values.get(c.name) or (quoted(c.name) if c.name in kept else "NULL") for c in stored
        ]
        names = ", ".join(quoted(c.name) for c in stored)
        session.fetch(f"INSERT INTO {storage} ({names}) SELECT {', '.join(listed)} FROM ss_rebuild")
    finally:
        session.fetch("DROP TABLE IF EXISTS temp.main.ss_rebuild")


def alter_table(session: Session, reader: Reader) -> None:
    """Change a copy first; only when DuckDB took it, it becomes the table."""
    database, table = session.find_table(reader.object_name())
    changed = copy.deepcopy(table)
    values: dict[str, str] = {}
    if reader.accept("WITH"):
        reader.name()  # CHECK or NOCHECK
    if reader.accept("ADD"):
        _alter_add(session, database, changed, reader, values)
    elif reader.accept("DROP"):
        _alter_drop(changed, reader)
    elif reader.accept("ALTER", "COLUMN"):
        column = column_of(changed, reader.name())
        before = Typed(quoted(column.name), column.type)
        column.type = read_type(reader)
        if reader.accept("COLLATE"):
            column.type = column.type.collated(reader.name())
        elif before.type.collation and column.type.collation:
            column.type = column.type.collated(before.type.collation)
        column.nullable = not reader.accept("NOT", "NULL")
        reader.accept("NULL")
        values[column.name] = store(before, column.type, column.name)
    else:
        raise unsupported(f"ALTER TABLE … {reader.peek()}")
    complete(session, changed)
    was_in_transaction = session.transactions > 0
    if not was_in_transaction:
        session.fetch("BEGIN TRANSACTION")
    try:
        _rebuild(session, database, changed, table.columns, values)
    except BaseException:
        if not was_in_transaction:
            session.fetch("ROLLBACK")
        raise
    if not was_in_transaction:
        session.fetch("COMMIT")
    database.tables[table.schema.lower(), table.name.lower()] = changed


def _alter_add(
    session: Session, database: Database, table: Table, reader: Reader, values: dict[str, str]
) -> None:
    while True:
        if not _constraint_or_default(session, database, table, reader):
            number = max(column.column_id for column in table.columns) + 1
            column = read_column(session, database, table, reader)
            column.column_id = number
            with_values = reader.accept("WITH", "VALUES")
            if column.default and (with_values or not column.nullable):
                default = QueryTranslator(session).expression(
                    dialect.parse_expression(column.default), Scope()
                )
                values[column.name] = convert(default, column.type)
            if column.identity:
                seed, step = column.identity
                values[column.name] = f"{seed} + {step} * (row_number() OVER () - 1)"
        if not reader.accept(","):
            return


def _constraint_or_default(
    session: Session, database: Database, table: Table, reader: Reader
) -> bool:
    if reader.peek() == "CONSTRAINT" and reader.peek(2) == "DEFAULT":
        reader.expect("CONSTRAINT")
        name = reader.name()
        reader.expect("DEFAULT")
        text = default_text(reader)
        reader.expect("FOR")
        column = column_of(table, reader.name())
        column.default, column.default_name = text, name
        table.default_ids[column.name] = database.next_id()
        return True
    return table_constraint(session, database, table, reader)


def _drop_constraints(table: Table, reader: Reader) -> None:
    optional = reader.accept("IF", "EXISTS")
    while True:
        name = reader.name().lower()
        known = {index.name.lower() for index in table.indexes if index.kind}
        known |= {key.name.lower() for key in table.foreign_keys}
        known |= {check.name.lower() for check in table.checks}
        known |= {column.default_name.lower() for column in table.columns if column.default}
        if name not in known and not optional:
            raise SqlServerError(3728, f"'{name}' is not a constraint.")
        table.indexes = [index for index in table.indexes if index.name.lower() != name]
        table.foreign_keys = [key for key in table.foreign_keys if key.name.lower() != name]
        table.checks = [check for check in table.checks if check.name.lower() != name]
        for column in table.columns:
            if column.default_name.lower() == name:
                column.default, column.default_name = None, ""
        if not reader.accept(","):
            return


def _alter_drop(table: Table, reader: Reader) -> None:
    if reader.accept("CONSTRAINT"):
        _drop_constraints(table, reader)
        return
    reader.accept("COLUMN")
    optional = reader.accept("IF", "EXISTS")
    while True:
        name = reader.name()
        column = table.column(name)
        if column is None:
            if not optional:
                raise SqlServerError(
                    4924,
                    f"ALTER TABLE DROP COLUMN failed because column '{name}' does not exist in table '{table.name}'.",
                )
        else:
            used = [
                i.name for i in table.indexes if name.lower() in {c.lower() for c, _ in i.columns}
            ]
            if used:
                raise SqlServerError(
                    5074, f"The object '{used[0]}' is dependent on column '{name}'."
                )
            table.columns.remove(column)
        if not reader.accept(","):
            return


def describe(session: Session, reader: Reader) -> None:
    """EXEC sp_stand_in_describe 'table', 'is_external', 1 [, 'column'].

    SQL Server has no such procedure. It gives a column of `sys.tables` (or `sys.columns`, when a
    table's column is named) a value, for what the stand-in cannot be: temporal, graph, ledger,
    external, memory-optimized or encrypted. Rows are read as before.
    """
    names = Reader(reader.string()).object_name()
    reader.expect(",")
    flag = reader.string()
    reader.expect(",")
    value = reader.integer()
    with session.engine.lock:
        _, table = session.find_table(names)
        target = column_of(table, reader.string()) if reader.accept(",") else table
        target.flags[flag.lower()] = value


def rename(session: Session, reader: Reader) -> None:
    """EXEC sp_rename 'table' or 'table.column', with 'COLUMN' for the latter."""
    old = reader.string()
    reader.expect(",")
    new = reader.string()
    kind = reader.string().upper() if reader.accept(",") else "OBJECT"
    parts = [part.strip('[]"') for part in old.split(".")]
    with session.engine.lock:
        if kind == "COLUMN":
            database, table = session.find_table(parts[:-1])
            column = column_of(table, parts[-1])
            storage = storage_name(database.name, table.schema, table.name)
            if column.computed is None:
                session.fetch(
                    f"ALTER TABLE {storage} RENAME COLUMN {quoted(column.name)} TO {quoted(new)}"
                )
            for index in table.indexes:
                index.columns = [
                    (new if c.lower() == column.name.lower() else c, d) for c, d in index.columns
                ]
            column.name = new
        else:
            database, table = session.find_table(parts)
            must_be_new(database, table.schema, new)
            storage = storage_name(database.name, table.schema, table.name)
            session.fetch(f"ALTER TABLE {storage} RENAME TO {quoted(new)}")
            del database.tables[table.schema.lower(), table.name.lower()]
            table.name = new
            database.tables[table.schema.lower(), new.lower()] = table

"""CREATE, ALTER, DROP and TRUNCATE: which is which, and all that is not about tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from migration_assets.sandbox.sqlserver import (
    alterations,
    database_snapshots,
    dialect,
    partitions,
    security,
    tables,
    user_types,
)
from migration_assets.sandbox.sqlserver.answers import Done, Event
from migration_assets.sandbox.sqlserver.batch import Reader, Statement
from migration_assets.sandbox.sqlserver.catalog import Column, Index, View, quoted
from migration_assets.sandbox.sqlserver.errors import SqlServerError, unsupported
from migration_assets.sandbox.sqlserver.queries import QueryTranslator
from migration_assets.sandbox.sqlserver.scope import Scope
from migration_assets.sandbox.sqlserver.tables import column_of, must_be_new, place

if TYPE_CHECKING:
    from migration_assets.sandbox.sqlserver.session import Session


def run(session: Session, statement: Statement) -> Iterator[Event]:
    """Run a statement of data definition.

    Raises:
        SqlServerError: for mistakes, and 50001 for what is not known.
    """
    reader = Reader(statement.text)
    for words, handler in _HANDLERS.items():
        if reader.accept(*words.split()):
            if not words.endswith(" DATABASE"):
                database_snapshots.refuse_writing(session.database)
            handler(session, reader)
            reader.finish()
            yield Done()
            return
    raise unsupported(f"statement {statement.text[:60]!r}")


def _create_index(session: Session, reader: Reader, *, unique: bool = False) -> None:
    clustered = reader.accept("CLUSTERED")
    reader.accept("NONCLUSTERED")
    if reader.peek() in {"COLUMNSTORE", "SPATIAL", "XML"}:
        raise unsupported(f"CREATE {reader.peek()} INDEX")
    reader.expect("INDEX")
    name = reader.name()
    reader.expect("ON")
    database, table = session.find_table(reader.object_name())
    if any(index.name.lower() == name.lower() for index in table.indexes):
        raise SqlServerError(
            1913,
            f"The operation failed because an index or statistics with name '{name}' already exists on table '{table.full_name}'.",
        )
    if clustered and any(index.clustered for index in table.indexes):
        raise SqlServerError(
            1902, f"Cannot create more than one clustered index on table '{table.full_name}'."
        )
    index = Index(name, reader.ordered_names(), unique, clustered)
    for column, _ in index.columns:
        column_of(table, column)
    if reader.accept("INCLUDE"):
        index.included = reader.names()
    if reader.accept("WHERE"):
        index.where = reader.until("WITH", "ON")
    if reader.accept("WITH"):
        reader.parenthesised()
    if reader.accept("ON"):
        index.placed = partitions.placed(database, reader) or ()
    table.indexes.append(index)
    try:
        partitions.check(database, table)
    except SqlServerError:
        table.indexes.remove(index)
        raise


def _drop_index(session: Session, reader: Reader) -> None:
    optional = reader.accept("IF", "EXISTS")
    name = reader.name()
    reader.expect("ON")
    _, table = session.find_table(reader.object_name())
    found = [
        index for index in table.indexes if index.name.lower() == name.lower() and not index.kind
    ]
    if not found and not optional:
        raise SqlServerError(
            3701,
            f"Cannot drop the index '{table.full_name}.{name}', because it does not exist.",
            11,
        )
    table.indexes = [index for index in table.indexes if index not in found]


def _create_view(session: Session, reader: Reader, *, replace: bool = False) -> None:
    database, schema, name = place(session, reader.object_name())
    if not replace or database.table(schema, name):
        must_be_new(database, schema, name)
    names = reader.names() if reader.peek() == "(" else []
    if reader.accept("WITH"):
        reader.until("AS")
    reader.expect("AS")
    text = reader.rest().rstrip("; \n")
    query = QueryTranslator(session).query(dialect.parse(text), Scope())
    names = names or query.names
    if "" in names:
        raise SqlServerError(
            4511,
            f"Create View or Function failed because no column name was specified for column {names.index('') + 1}.",
        )
    columns = [
        Column(shown, typed.type, number, typed.nullable)
        for number, (shown, typed) in enumerate(zip(names, query.columns, strict=True), start=1)
    ]
    view = View(schema, name, database.next_id(), reader.text, text, columns)
    database.views[schema.lower(), name.lower()] = view


def _drop_view(session: Session, reader: Reader) -> None:
    optional = reader.accept("IF", "EXISTS")
    parts = reader.object_name()
    database, schema, name = place(session, parts)
    if database.view(schema, name) is None:
        if optional:
            return
        raise SqlServerError(
            3701, f"Cannot drop the view '{'.'.join(parts)}', because it does not exist.", 11
        )
    del database.views[schema.lower(), name.lower()]


def _create_schema(session: Session, reader: Reader) -> None:
    name = reader.name()
    if reader.accept("AUTHORIZATION"):
        reader.name()
    session.database.add_schema(name)
    session.fetch(f"CREATE SCHEMA IF NOT EXISTS {quoted(session.database.name)}.{quoted(name)}")


def _drop_schema(session: Session, reader: Reader) -> None:
    optional = reader.accept("IF", "EXISTS")
    name = reader.name()
    database = session.database
    if name.lower() not in database.schemas:
        if optional:
            return
        raise SqlServerError(
            15151,
            f"Cannot drop the schema '{name}', because it does not exist or you do not have permission.",
        )
    if any(schema == name.lower() for schema, _ in [*database.tables, *database.views]):
        raise SqlServerError(
            3729, f"Cannot drop schema '{name}' because it is being referenced by an object."
        )
    del database.schemas[name.lower()]
    session.fetch(f"DROP SCHEMA {quoted(database.name)}.{quoted(name)}")


def _create_synonym(session: Session, reader: Reader) -> None:
    database, schema, name = place(session, reader.object_name())
    must_be_new(database, schema, name)
    reader.expect("FOR")
    base = reader.object_name()
    database.synonyms[schema.lower(), name.lower()] = (schema, name, database.next_id(), base)


def _create_database(session: Session, reader: Reader) -> None:
    name = reader.name()
    if session.transactions:
        raise SqlServerError(
            226, "CREATE DATABASE statement not allowed within multi-statement transaction."
        )
    if reader.accept("ON"):
        database_snapshots.create(session, name, reader)
        return
    database = session.engine.create_database(name)
    if reader.accept("COLLATE"):
        database.collation = reader.name()


def _alter_database(session: Session, reader: Reader) -> None:
    if reader.accept("CURRENT"):
        database = session.database
    else:
        database = session.find_database(reader.name())
    reader.expect("SET")
    option = reader.name().upper()
    reader.accept("=")
    value = reader.name().upper()
    if reader.peek() == "(":
        reader.parenthesised()  # CHANGE_RETENTION and the like: nothing here is forgotten
    if reader.accept("WITH"):
        reader.rest()  # ROLLBACK IMMEDIATE and the like: nothing here waits
    if option == "ALLOW_SNAPSHOT_ISOLATION":
        database.snapshot = value == "ON"
    elif option == "READ_COMMITTED_SNAPSHOT":
        database.read_committed_snapshot = value == "ON"
    elif option == "CHANGE_TRACKING":
        database.change_tracking = 0 if value == "ON" else None
    else:
        raise unsupported(f"ALTER DATABASE SET {option}")


def _unique_index(session: Session, reader: Reader) -> None:
    _create_index(session, reader, unique=True)


def _replace_view(session: Session, reader: Reader) -> None:
    _create_view(session, reader, replace=True)


_HANDLERS: dict[str, Callable[[Session, Reader], None]] = {
    "CREATE TABLE": tables.create_table,
    "CREATE OR ALTER VIEW": _replace_view,
    "CREATE VIEW": _create_view,
    "ALTER VIEW": _replace_view,
    "CREATE SCHEMA": _create_schema,
    "CREATE TYPE": user_types.create_type,
    "CREATE SYNONYM": _create_synonym,
    "CREATE FUNCTION": security.create_function,
    "CREATE SECURITY POLICY": security.create_policy,
    "CREATE DATABASE": _create_database,
    "CREATE PARTITION FUNCTION": partitions.create_function,
    "CREATE PARTITION SCHEME": partitions.create_scheme,
    "CREATE UNIQUE": _unique_index,
    "ALTER TABLE": alterations.alter_table,
    "ALTER DATABASE": _alter_database,
    "DROP DATABASE": database_snapshots.drop,
    "DROP TABLE": tables.drop_table,
    "DROP VIEW": _drop_view,
    "DROP SCHEMA": _drop_schema,
    "DROP INDEX": _drop_index,
    "DROP TYPE": user_types.drop_type,
    "TRUNCATE TABLE": tables.truncate,
    "CREATE": _create_index,
}

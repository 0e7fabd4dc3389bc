"""Statements that define things: databases, tables, users, external catalogs."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from migration_assets.sandbox.starrocks import catalogs, privileges
from migration_assets.sandbox.starrocks.column_types import INTEGERS
from migration_assets.sandbox.starrocks.create_table import (
    Definition,
    check_database_name,
    check_names,
    check_table_name,
    define_table,
    read_column,
    read_definition,
)
from migration_assets.sandbox.starrocks.errors import (
    StarRocksError,
    analysis_error,
    table_not_found,
    unknown_table,
    unsupported,
)
from migration_assets.sandbox.starrocks.expressions import literal, name
from migration_assets.sandbox.starrocks.lexer import Reader
from migration_assets.sandbox.starrocks.tables import (
    INTERNAL_CATALOG,
    Alteration,
    Column,
    Database,
    Partition,
    Table,
    storage_name,
)

if TYPE_CHECKING:
    from migration_assets.sandbox.starrocks.session import Session

SCHEMA_CHANGE_SECONDS = 1.0  # MODIFY COLUMN is a job in StarRocks; it is "in progress" this long


def create(session: Session, reader: Reader) -> None:
    """Run CREATE DATABASE, TABLE, USER, ROLE or EXTERNAL CATALOG."""
    if reader.take("DATABASE") or reader.take("SCHEMA"):
        exists = reader.take("IF", "NOT", "EXISTS")
        database = reader.name()
        reader.end()
        _create_database(session, database, exists)
    elif reader.take("TABLE"):
        _create_table(session, read_definition(reader))
    elif reader.take("EXTERNAL", "CATALOG"):
        _create_catalog(session, reader)
    elif reader.take("USER"):
        _create_user(session, reader)
    elif reader.take("ROLE"):
        privileges.create_role(session, reader)
    else:
        raise unsupported(f"CREATE {reader.rest[:100]}")


def _create_database(session: Session, database: str, exists: bool) -> None:  # noqa: FBT001
    check_database_name(database)
    session.require("CREATE DATABASE", "CATALOG", session.catalog)
    metadata = session.server.metadata
    with metadata.lock:
        if database in metadata.databases:
            if exists:
                return
            raise StarRocksError(f"Can't create database '{database}'; database exists", 1007)
        storage = storage_name(database, [d.storage for d in metadata.databases.values()])
        session.cursor.execute(f"CREATE SCHEMA IF NOT EXISTS {name(storage)}")
        metadata.databases[database] = Database(database, storage)


def _create_table(session: Session, read: Definition) -> None:
    database = session.database_of(read.name)
    session.require("CREATE TABLE", "DATABASE", INTERNAL_CATALOG, database)
    metadata = session.server.metadata
    with metadata.lock:
        owner = metadata.database(database)
        table = read.name[-1]
        if table in owner.tables:
            if read.if_not_exists:
                return
            raise StarRocksError(f"Table '{table}' already exists", 1050)
        storage = storage_name(table, [t.storage for t in owner.tables.values()])
        defined = define_table(read, storage)
        columns = ", ".join(f"{name(c.name)} {c.type.duckdb}" for c in defined.columns)
        session.cursor.execute(f"CREATE TABLE {name(owner.storage)}.{name(storage)} ({columns})")
        owner.tables[table] = defined


def _create_catalog(session: Session, reader: Reader) -> None:
    exists = reader.take("IF", "NOT", "EXISTS")
    catalog = reader.name()
    comment = reader.string() if reader.take("COMMENT") else ""
    reader.expect("PROPERTIES")
    properties = reader.properties()
    reader.end()
    catalogs.check_properties(properties)
    session.require("CREATE EXTERNAL CATALOG", "SYSTEM")
    if catalog in session.server.catalogs:
        if exists:
            return
        raise analysis_error(f"Catalog '{catalog}' already exists")
    session.server.catalogs[catalog] = catalogs.ExternalCatalog(catalog, properties, comment)


def _create_user(session: Session, reader: Reader) -> None:
    exists = reader.take("IF", "NOT", "EXISTS")
    user = _user(reader)
    password = reader.string() if reader.take("IDENTIFIED", "BY") else ""
    reader.end()
    session.server.privileges.check_admin(session.user)
    if user in session.server.users:
        if exists:
            return
        raise StarRocksError(f"Operation CREATE USER failed for '{user}'@'%' : user already exists")
    session.server.users.add(user, password)
    session.server.privileges.restricted.add(user)


def _user(reader: Reader) -> str:
    user = reader.name_or_string()
    if reader.take("@"):
        reader.name_or_string()
    return user


def alter(session: Session, reader: Reader) -> None:
    """Run ALTER USER or ALTER TABLE."""
    if reader.take("USER"):
        user = _user(reader)
        reader.expect("SET", "PROPERTIES")
        properties = reader.properties()
        reader.end()
        session.server.users.set_properties(user, properties)
    elif reader.take("TABLE"):
        names = reader.dotted_name()
        owner, table = session.table(names)
        session.require("ALTER", "TABLE", INTERNAL_CATALOG, owner.name, table.name)
        with session.server.metadata.lock:
            _alter_table(session, owner, table, reader)
    else:
        raise unsupported(f"ALTER {reader.rest[:100]}")


def _alter_table(session: Session, owner: Database, table: Table, reader: Reader) -> None:
    stored = f"{name(owner.storage)}.{name(table.storage)}"
    if reader.take("RENAME"):
        new = reader.name()
        reader.end()
        check_table_name(new)
        if new in owner.tables:
            raise StarRocksError(f"Table '{new}' already exists", 1050)
        storage = storage_name(new, [t.storage for t in owner.tables.values()])
        session.cursor.execute(f"ALTER TABLE {stored} RENAME TO {name(storage)}")
        del owner.tables[table.name]
        table.name, table.storage = new, storage
        owner.tables[new] = table
    elif reader.take("SWAP", "WITH"):
        other = session.table([owner.name, reader.name()])[1]
        reader.end()
        _swap(session, owner, table, other)
    elif reader.take("COMMENT"):
        reader.take("=")
        table.comment = reader.string()
        reader.end()
    elif reader.take("DROP", "PARTITION"):
        _drop_partition(session, table, stored, reader)
    else:
        _change_columns(session, table, stored, reader)


def _swap(session: Session, owner: Database, one: Table, other: Table) -> None:
    schema = name(owner.storage)
    for old, new in (
        (one.storage, "standin~swap"),
        (other.storage, one.storage),
        ("standin~swap", other.storage),
    ):
        session.cursor.execute(f"ALTER TABLE {schema}.{name(old)} RENAME TO {name(new)}")
    one.name, other.name = other.name, one.name
    one.storage, other.storage = other.storage, one.storage
    owner.tables |= {one.name: one, other.name: other}


def _drop_partition(session: Session, table: Table, stored: str, reader: Reader) -> None:
    exists = reader.take("IF", "EXISTS")
    partition = reader.name()
    reader.take("FORCE")
    reader.end()
    found = table.partitions.get(partition)
    if found is None:
        if exists:
            return
        raise StarRocksError(f"Error in list of partitions to {partition}", 1507)
    if not table.partition_columns:
        raise StarRocksError(f"Table [{table.name}] is not a partitioned table")
    session.cursor.execute(f"DELETE FROM {stored} WHERE {table.condition(found)}")
    del table.partitions[partition]


def _change_columns(session: Session, table: Table, stored: str, reader: Reader) -> None:
    action = reader.one_of("ADD", "DROP", "MODIFY")
    if not action or not reader.take("COLUMN"):
        raise unsupported(f"ALTER TABLE ... {reader.rest[:100]}")
    if table.overwriting:
        raise StarRocksError(
            f"Table[{table.name}] is doing insert overwrite job, please start schema change "
            "after insert overwrite finished"
        )
    if time.monotonic() < table.altering_until:
        raise StarRocksError(f"A schema change operation is in progress on the table {table.name}")
    if action == "DROP":
        dropped = reader.name()
        reader.end()
        found = table.column(dropped)
        if found is None:
            raise StarRocksError(f"Column does not exists: {dropped}")
        if found.name in (*table.keys, *table.partition_columns, *table.hash_columns):
            raise unsupported("dropping a key, partition or bucket column")
        session.cursor.execute(f"ALTER TABLE {stored} DROP COLUMN {name(found.name)}")
        table.columns.remove(found)
        return
    read = Definition([table.name])
    read_column(reader, read)
    (column,) = read.columns
    if action == "ADD":
        _add_column(session, table, stored, column, reader)
    else:
        reader.end()
        _modify_column(session, table, stored, column)


def _add_column(
    session: Session, table: Table, stored: str, column: Column, reader: Reader
) -> None:
    at = len(table.columns)
    if reader.take("AFTER"):
        after = table.column(reader.name())
        if after is None:
            raise StarRocksError("Column does not exists")
        at = table.columns.index(after) + 1
    reader.end()
    if table.column(column.name):
        raise analysis_error(f"Duplicate column name '{column.name}'", 1060)
    check_names([column])
    if at < len(table.keys):
        raise unsupported("adding a column between key columns")
    if not column.nullable and column.default is None:
        raise unsupported("adding a NOT NULL column without a default")
    default = "" if column.default is None else f" DEFAULT {literal(column.default)}"
    added = f"{name(column.name)} {column.type.duckdb}{default}"
    session.cursor.execute(f"ALTER TABLE {stored} ADD COLUMN {added}")
    table.columns.insert(at, column)
    _note_alteration(table, 0.0)


def _modify_column(session: Session, table: Table, stored: str, column: Column) -> None:
    found = table.column(column.name)
    if found is None:
        raise StarRocksError(f"Column does not exists: {column.name}")
    if found.name in (*table.partition_columns, *table.hash_columns):
        raise unsupported("modifying a partition or bucket column")
    if found.nullable and not column.nullable:
        raise StarRocksError(f"Can not change from nullable to non-nullable: {column.name}")
    old, new = found.type, column.type
    wider = old.family == new.family == "integer" and INTEGERS.index(new.name) >= INTEGERS.index(
        old.name
    )
    if old.name == new.name == "DECIMAL":
        # ColumnType.isSchemaChangeAllowedInvolvingDecimalV3: no digit may be lost on either side.
        whole = (old.precision - old.scale, new.precision - new.scale)
        wider = old.scale <= new.scale and whole[0] <= whole[1]
    if old.name == new.name == "VARCHAR":
        if new.length < old.length:
            raise StarRocksError("Cannot shorten string length")
        wider = True
    if old != new and not wider:
        if old.family != new.family:
            raise unsupported(f"changing {old.described} to {new.described}")
        raise StarRocksError(f"Can not change {old.name} to {new.name}")
    session.cursor.execute(
        f"ALTER TABLE {stored} ALTER COLUMN {name(found.name)} TYPE {new.duckdb}"
    )
    table.columns[table.columns.index(found)] = Column(
        found.name, new, column.nullable, column.default, column.comment
    )
    _note_alteration(table, SCHEMA_CHANGE_SECONDS)


def _note_alteration(table: Table, seconds: float) -> None:
    table.altering_until = time.monotonic() + seconds
    table.alterations.append(Alteration(time.time(), table.altering_until))


def drop(session: Session, reader: Reader) -> None:
    """Run DROP DATABASE, TABLE, USER or CATALOG."""
    kind = reader.one_of("DATABASE", "SCHEMA", "TABLE", "CATALOG", "USER")
    if not kind:
        raise unsupported(f"DROP {reader.rest[:100]}")
    exists = reader.take("IF", "EXISTS")
    if kind == "USER":
        session.server.privileges.check_admin(session.user)
        user = _user(reader)
        session.server.users.drop(user)
        session.server.privileges.forget(user)
        return
    names = reader.dotted_name()
    if kind in ("TABLE", "DATABASE", "SCHEMA"):
        reader.take("FORCE")
    reader.end()
    if kind == "CATALOG":
        if session.server.catalogs.pop(names[0], None) is None and not exists:
            raise analysis_error(f"Catalog '{names[0]}' not found")
    elif kind == "TABLE":
        _drop_table(session, names, exists)
    else:
        _drop_database(session, names[0], exists)


def _drop_table(session: Session, names: list[str], exists: bool) -> None:  # noqa: FBT001
    metadata, database = session.server.metadata, session.database_of(names)
    session.require("DROP", "TABLE", INTERNAL_CATALOG, database, names[-1])
    with metadata.lock:
        found = metadata.find(database, names[-1])
        if found is None:
            if exists:
                return
            raise unknown_table(names[-1])
        owner, table = found
        with table.lock:
            session.cursor.execute(f"DROP TABLE {name(owner.storage)}.{name(table.storage)}")
            del owner.tables[table.name]


def _drop_database(session: Session, database: str, exists: bool) -> None:  # noqa: FBT001
    session.require("DROP", "DATABASE", INTERNAL_CATALOG, database)
    metadata = session.server.metadata
    with metadata.lock:
        if database not in metadata.databases:
            if exists:
                return
            raise StarRocksError(f"Can't drop database '{database}'; database doesn't exist", 1008)
        owner = metadata.databases.pop(database)
        for table in owner.tables.values():
            session.cursor.execute(f"DROP TABLE {name(owner.storage)}.{name(table.storage)}")


def truncate(session: Session, reader: Reader) -> None:
    """Run TRUNCATE TABLE, of all or of some partitions."""
    reader.expect("TABLE")
    names = reader.dotted_name()
    wanted = reader.names() if reader.take("PARTITION") else None
    reader.end()
    owner, table = session.table(names)
    session.require("DELETE", "TABLE", INTERNAL_CATALOG, owner.name, table.name)
    stored = f"{name(owner.storage)}.{name(table.storage)}"
    with table.lock:
        for partition in wanted or list(table.partitions):
            found = table.partitions.get(partition)
            if found is None:
                raise StarRocksError(f"Partition {partition} does not exist")
            if table.partition_columns:
                session.cursor.execute(f"DELETE FROM {stored} WHERE {table.condition(found)}")
            else:
                session.cursor.execute(f"DELETE FROM {stored}")
            table.partitions[partition] = Partition(found.name, found.values)


def refresh(session: Session, reader: Reader) -> None:
    """Run REFRESH EXTERNAL TABLE."""
    reader.expect("EXTERNAL", "TABLE")
    names = reader.dotted_name()
    if reader.at("PARTITION"):
        raise unsupported("REFRESH EXTERNAL TABLE ... PARTITION")
    reader.end()
    catalog, database, table = session.qualified(names)
    if catalog is None:
        raise table_not_found(table)
    session.require("ALTER", "TABLE", catalog.name, database, table)
    catalog.refresh(database, table)

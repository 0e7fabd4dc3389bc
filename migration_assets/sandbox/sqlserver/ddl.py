"""CREATE, ALTER, DROP and TRUNCATE, read from T-SQL's own grammar so that no declaration is lost."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from migration_assets.sandbox.sqlserver import dialect
from migration_assets.sandbox.sqlserver.answers import Done, Event
from migration_assets.sandbox.sqlserver.batch import Reader, Statement
from migration_assets.sandbox.sqlserver.catalog import (
    Check, Column, Database, ForeignKey, Index, Table, View, quoted, storage_name,
)  # fmt: skip
from migration_assets.sandbox.sqlserver.conversion import convert
from migration_assets.sandbox.sqlserver.errors import SqlServerError, unsupported
from migration_assets.sandbox.sqlserver.queries import QueryTranslator
from migration_assets.sandbox.sqlserver.scope import Scope, Source
from migration_assets.sandbox.sqlserver.sql_types import INT, MAX, SqlType, declared

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
            handler(session, reader)
            reader.finish()
            yield Done()
            return
    raise unsupported(f"statement {statement.text[:60]!r}")


def read_type(reader: Reader) -> SqlType:
    """Read a data type with its arguments."""
    name = reader.object_name()[-1]
    if name.lower() in {"national", "double"}:
        name = f"{name} {reader.name()}"
    if reader.accept("VARYING"):
        name = {"character": "varchar", "char": "varchar", "binary": "varbinary"}.get(
            name.lower(), "nvarchar"
        )
    arguments: list[int] = []
    if reader.peek() == "(":
        reader.expect("(")
        while not reader.accept(")"):
            arguments.append(MAX if reader.accept("MAX") else reader.integer())
            reader.accept(",")
    return declared(name, arguments)


# -- tables --------------------------------------------------------------------------------------


def _place(session: Session, parts: list[str]) -> tuple[Database, str, str]:
    catalog, schema, name = ([""] * (3 - len(parts)) + parts)[-3:]
    database = session.find_database(catalog)
    return database, database.schema_name(schema or "dbo"), name


def _must_be_new(database: Database, schema: str, name: str) -> None:
    if database.table(schema, name) or database.view(schema, name):
        raise SqlServerError(2714, f"There is already an object named '{name}' in the database.")


def _create_table(session: Session, reader: Reader) -> None:
    database, schema, name = _place(session, reader.object_name())
    _must_be_new(database, schema, name)
    table = Table(schema, name, database.next_id(), [])
    reader.expect("(")
    while True:
        if not _table_constraint(session, database, table, reader):
            _column(session, database, table, reader)
        if reader.accept(")"):
            break
        reader.expect(",")
        if reader.accept(")"):
            break
    if reader.accept("ON"):
        reader.name()
    if reader.accept("WITH"):
        raise unsupported("CREATE TABLE WITH (…)")
    complete(session, table)
    session.fetch(storage_ddl(session, database, table))
    database.tables[schema.lower(), name.lower()] = table


def complete(session: Session, table: Table) -> None:
    """Settle what needs all columns: ids, key columns NOT NULL, types of computed columns."""
    for number, column in enumerate(table.columns, start=1):
        column.column_id = column.column_id or number
    for index in table.indexes:
        for name, _ in index.columns:
            column_of(table, name)
            if index.kind == "PK":
                column_of(table, name).nullable = False
    stored = [c for c in table.columns if c.computed is None]
    translator = QueryTranslator(session)
    from migration_assets.sandbox.sqlserver.conversion import Typed

    source = Source("", [(c.name, Typed(quoted(c.name), c.type, c.nullable)) for c in stored])
    for column in table.columns:
        if column.computed is not None:
            value = translator.expression(
                dialect.parse_expression(column.computed), Scope([source])
            )
            column.type = INT if value.type.family == "null" else value.type
            if not column.persisted or column.nullable:
                column.nullable = value.nullable


def column_of(table: Table, name: str) -> Column:
    """A column that must exist.

    Raises:
        SqlServerError: 1911.
    """
    found = table.column(name)
    if found is None:
        raise SqlServerError(
            1911, f"Column name '{name}' does not exist in the target table or view."
        )
    return found


def storage_ddl(session: Session, database: Database, table: Table) -> str:
    """CREATE TABLE for DuckDB: computed columns are not stored, foreign keys not enforced."""
    parts = []
    for column in table.columns:
        if column.computed is None:
            null = "" if column.nullable else " NOT NULL"
            parts.append(f"{quoted(column.name)} {column.type.duckdb}{null}")
    for index in table.indexes:
        columns = [column_of(table, name) for name, _ in index.columns]
        plain = all(c.computed is None and c.type.family not in {"offset"} for c in columns)
        if index.kind and plain:
            word = "PRIMARY KEY" if index.kind == "PK" else "UNIQUE"
            parts.append(f"{word} ({', '.join(quoted(c.name) for c in columns)})")
    from migration_assets.sandbox.sqlserver.conversion import Typed

    source = Source(
        table.name,
        [(c.name, Typed(quoted(c.name), c.type)) for c in table.columns if c.computed is None],
    )
    for check in table.checks:
        node = dialect.parse_condition(check.condition)
        parts.append(f"CHECK ({QueryTranslator(session).condition(node, Scope([source]))})")
    return (
        f"CREATE TABLE {storage_name(database.name, table.schema, table.name)} ({', '.join(parts)})"
    )


def _column(session: Session, database: Database, table: Table, reader: Reader) -> Column:
    name = reader.name()
    if table.column(name):
        raise SqlServerError(
            2705,
            f"Column names in each table must be unique. Column name '{name}' is specified more than once.",
        )
    if reader.accept("AS"):
        text = (
            reader.parenthesised() if reader.peek() == "(" else reader.until(",", ")", "PERSISTED")
        )
        column = Column(name, INT, computed=text)
        if reader.accept("PERSISTED"):
            column.persisted = True
            if reader.accept("NOT", "NULL"):
                column.nullable = False
    else:
        if reader.peek() == "TIMESTAMP" and reader.peek(1) in {",", ")"}:
            raise unsupported("a timestamp column without a name")
        column = Column(name, read_type(reader))
        if column.type.name == "timestamp":
            column.nullable = False
    table.columns.append(column)
    while _column_option(session, database, table, column, reader):
        pass
    return column


def _constraint_name(reader: Reader) -> str:
    return reader.name() if reader.accept("CONSTRAINT") else ""


def _generated(prefix: str, table: Table, object_id: int) -> str:
    return f"{prefix}__{table.name[:9]}__{object_id:08X}"


def _column_option(  # noqa: PLR0911, PLR0912 - one option of the grammar a branch
    session: Session, database: Database, table: Table, column: Column, reader: Reader
) -> bool:
    if reader.accept("NOT", "NULL"):
        column.nullable = False
        return True
    if reader.accept("NULL"):
        return True
    if reader.accept("COLLATE"):
        column.type = column.type.collated(reader.name())
        return True
    if reader.accept("ROWGUIDCOL"):
        column.rowguidcol = True
        return True
    if reader.accept("IDENTITY"):
        column.identity = (1, 1)
        column.nullable = False
        if reader.accept("("):
            seed = reader.integer()
            reader.expect(",")
            column.identity = (seed, reader.integer())
            reader.expect(")")
        reader.accept("NOT", "FOR", "REPLICATION")
        return True
    name = _constraint_name(reader)
    if reader.accept("DEFAULT"):
        object_id = database.next_id()
        column.default = _default_text(reader)
        column.default_name = name or _generated("DF", table, object_id)
        table.default_ids[column.name] = object_id
        return True
    if reader.peek() in {"PRIMARY", "UNIQUE"}:
        _key(database, table, name, reader, own=column.name)
        return True
    if reader.accept("CHECK"):
        _check(database, table, name, reader)
        return True
    if reader.accept("FOREIGN", "KEY") or reader.peek() == "REFERENCES":
        _references(session, database, table, name, [column.name], reader)
        return True
    if name:
        raise reader.error()
    if reader.peek() in {
        "SPARSE",
        "MASKED",
        "GENERATED",
        "HIDDEN",
        "ENCRYPTED",
        "INDEX",
        "FILESTREAM",
    }:
        raise unsupported(f"column option {reader.peek()}")
    return False


def _default_text(reader: Reader) -> str:
    if reader.peek() == "(":
        return reader.parenthesised()
    text = "-" if reader.accept("-") else ""
    if reader.peek() == "":
        return f"({_quote(reader.string())})"
    word = reader.name()
    text += word
    if reader.peek() == "(":
        text += reader.parenthesised()
    return f"({text})"


def _quote(text: str) -> str:
    return "N'" + text.replace("'", "''") + "'"


def _table_constraint(session: Session, database: Database, table: Table, reader: Reader) -> bool:
    if reader.peek() not in {"CONSTRAINT", "PRIMARY", "UNIQUE", "FOREIGN", "CHECK", "INDEX"}:
        return False
    name = _constraint_name(reader)
    if reader.accept("FOREIGN", "KEY"):
        _references(session, database, table, name, reader.names(), reader)
    elif reader.accept("CHECK"):
        _check(database, table, name, reader)
    elif reader.peek() in {"PRIMARY", "UNIQUE"}:
        _key(database, table, name, reader)
    else:
        raise unsupported(f"table constraint {reader.peek()}")
    return True


def _key(database: Database, table: Table, name: str, reader: Reader, own: str = "") -> None:
    primary = reader.accept("PRIMARY", "KEY")
    if not primary:
        reader.expect("UNIQUE")
    has_clustered = any(index.clustered for index in table.indexes)
    clustered = primary and not has_clustered
    if reader.accept("NONCLUSTERED"):
        clustered = False
    elif reader.accept("CLUSTERED"):
        clustered = True
    columns = reader.ordered_names() if reader.peek() == "(" else [(own, False)]
    if reader.accept("WITH"):
        reader.parenthesised()
    if reader.peek() == "ON" and reader.peek(1) not in {"DELETE", "UPDATE"}:
        reader.expect("ON")
        reader.name()
    object_id = database.next_id()
    kind = "PK" if primary else "UQ"
    if primary and table.primary_key:
        raise SqlServerError(
            8110, f"Cannot add multiple PRIMARY KEY constraints to table '{table.name}'."
        )
    name = name or _generated(kind, table, object_id)
    for column, _ in columns:
        found = table.column(column)
        if primary and found is not None:
            found.nullable = False
    table.indexes.append(Index(name, columns, True, clustered, kind, object_id=object_id))  # noqa: FBT003 - unique


def _check(database: Database, table: Table, name: str, reader: Reader) -> None:
    object_id = database.next_id()
    table.checks.append(
        Check(name or _generated("CK", table, object_id), reader.parenthesised(), object_id)
    )


def _references(
    session: Session,
    database: Database,
    table: Table,
    name: str,
    columns: list[str],
    reader: Reader,
) -> None:
    reader.expect("REFERENCES")
    parts = reader.object_name()
    _, schema, target_name = _place(session, parts)
    target = (
        table if target_name.lower() == table.name.lower() else database.table(schema, target_name)
    )
    if target is None:
        raise SqlServerError(1767, f"Foreign key references invalid table '{'.'.join(parts)}'.")
    if reader.peek() == "(":
        target_columns = reader.names()
    elif target.primary_key:
        target_columns = [column for column, _ in target.primary_key.columns]
    else:
        raise SqlServerError(
            1773,
            f"Foreign key has implicit reference to object '{target.name}' which does not have a primary key defined on it.",
        )
    object_id = database.next_id()
    key = ForeignKey(
        name or _generated("FK", table, object_id), columns, (target.schema, target.name), target_columns,
        object_id=object_id,
    )  # fmt: skip
    while reader.accept("ON"):
        event = reader.name().upper()
        words = reader.name().upper()
        if words in {"NO", "SET"}:
            words += "_" + reader.name().upper()
        if event == "DELETE":
            key.on_delete = words
        else:
            key.on_update = words
    for column in columns:
        column_of(table, column)
    table.foreign_keys.append(key)


def _drop_table(session: Session, reader: Reader) -> None:
    optional = reader.accept("IF", "EXISTS")
    while True:
        parts = reader.object_name()
        try:
            database, table = session.find_table(parts)
        except SqlServerError:
            if not optional:
                raise SqlServerError(
                    3701,
                    f"Cannot drop the table '{'.'.join(parts)}', because it does not exist or "
                    "you do not have permission.",
                    11,
                ) from None
        else:
            users = [
                (other, key) for other in database.tables.values() for key in other.foreign_keys
                if other is not table and key.target == (table.schema, table.name)
            ]  # fmt: skip
            if users:
                raise SqlServerError(
                    3726,
                    f"Could not drop object '{'.'.join(parts)}' because it is referenced by a FOREIGN KEY constraint.",
                )
            session.fetch(f"DROP TABLE {storage_name(database.name, table.schema, table.name)}")
            del database.tables[table.schema.lower(), table.name.lower()]
        if not reader.accept(","):
            return


def _truncate(session: Session, reader: Reader) -> None:
    database, table = session.find_table(reader.object_name())
    session.fetch(f"DELETE FROM {storage_name(database.name, table.schema, table.name)}")
    table.identity_last = None


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


def _alter_table(session: Session, reader: Reader) -> None:
    """Change a copy first; only when DuckDB took it, it becomes the table."""
    import copy

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
        from migration_assets.sandbox.sqlserver.conversion import Typed, store

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
        if not _table_constraint_or_default(session, database, table, reader):
            number = max(column.column_id for column in table.columns) + 1
            column = _column(session, database, table, reader)
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


def _table_constraint_or_default(
    session: Session, database: Database, table: Table, reader: Reader
) -> bool:
    if reader.peek() == "CONSTRAINT" and reader.peek(2) == "DEFAULT":
        reader.expect("CONSTRAINT")
        name = reader.name()
        reader.expect("DEFAULT")
        text = _default_text(reader)
        reader.expect("FOR")
        column = column_of(table, reader.name())
        column.default, column.default_name = text, name
        table.default_ids[column.name] = database.next_id()
        return True
    return _table_constraint(session, database, table, reader)


def _alter_drop(table: Table, reader: Reader) -> None:
    if reader.accept("CONSTRAINT"):
        optional = reader.accept("IF", "EXISTS")
        while True:
            name = reader.name().lower()
            found = [
                x
                for x in [*table.indexes, *table.foreign_keys, *table.checks]
                if x.name.lower() == name
            ]
            defaults = [c for c in table.columns if c.default_name.lower() == name]
            if not found and not defaults and not optional:
                raise SqlServerError(3728, f"'{name}' is not a constraint.")
            table.indexes = [x for x in table.indexes if x.name.lower() != name]
            table.foreign_keys = [x for x in table.foreign_keys if x.name.lower() != name]
            table.checks = [x for x in table.checks if x.name.lower() != name]
            for column in defaults:
                column.default, column.default_name = None, ""
            if not reader.accept(","):
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


# -- indexes, views, schemas, databases ----------------------------------------------------------


def _create_index(session: Session, reader: Reader, *, unique: bool = False) -> None:
    clustered = reader.accept("CLUSTERED")
    reader.accept("NONCLUSTERED")
    if reader.peek() in {"COLUMNSTORE", "SPATIAL", "XML"}:
        raise unsupported(f"CREATE {reader.peek()} INDEX")
    reader.expect("INDEX")
    name = reader.name()
    reader.expect("ON")
    _, table = session.find_table(reader.object_name())
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
        reader.name()
    table.indexes.append(index)


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
    database, schema, name = _place(session, reader.object_name())
    if not replace or database.table(schema, name):
        _must_be_new(database, schema, name)
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
    database, schema, name = _place(session, parts)
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


def _create_database(session: Session, reader: Reader) -> None:
    name = reader.name()
    if session.transactions:
        raise SqlServerError(
            226, "CREATE DATABASE statement not allowed within multi-statement transaction."
        )
    database = session.engine.create_database(name)
    if reader.accept("COLLATE"):
        database.collation = reader.name()


def _alter_database(session: Session, reader: Reader) -> None:
    if reader.accept("CURRENT"):
        database = session.database
    else:
        database = session.find_database(reader.name())
    reader.expect("SET")
    option, value = reader.name().upper(), reader.name().upper()
    if reader.accept("WITH"):
        reader.rest()  # ROLLBACK IMMEDIATE and the like: nothing here waits
    if option == "ALLOW_SNAPSHOT_ISOLATION":
        database.snapshot = value == "ON"
    elif option == "READ_COMMITTED_SNAPSHOT":
        database.read_committed_snapshot = value == "ON"
    else:
        raise unsupported(f"ALTER DATABASE SET {option}")


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
            _must_be_new(database, table.schema, new)
            storage = storage_name(database.name, table.schema, table.name)
            session.fetch(f"ALTER TABLE {storage} RENAME TO {quoted(new)}")
            del database.tables[table.schema.lower(), table.name.lower()]
            table.name = new
            database.tables[table.schema.lower(), new.lower()] = table
        database.version += 1


def _unique_index(session: Session, reader: Reader) -> None:
    _create_index(session, reader, unique=True)


def _replace_view(session: Session, reader: Reader) -> None:
    _create_view(session, reader, replace=True)


_HANDLERS = {
    "CREATE TABLE": _create_table,
    "CREATE OR ALTER VIEW": _replace_view,
    "CREATE VIEW": _create_view,
    "ALTER VIEW": _replace_view,
    "CREATE SCHEMA": _create_schema,
    "CREATE DATABASE": _create_database,
    "CREATE UNIQUE": _unique_index,
    "ALTER TABLE": _alter_table,
    "ALTER DATABASE": _alter_database,
    "DROP TABLE": _drop_table,
    "DROP VIEW": _drop_view,
    "DROP SCHEMA": _drop_schema,
    "DROP INDEX": _drop_index,
    "TRUNCATE TABLE": _truncate,
    "CREATE": _create_index,
}

"""CREATE TABLE, read from T-SQL's own grammar so that no declaration is lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from migration_assets.sandbox.sqlserver import dialect, masking, partitions
from migration_assets.sandbox.sqlserver.batch import Reader, words_of
from migration_assets.sandbox.sqlserver.catalog import (
    Check,
    Column,
    Database,
    ForeignKey,
    Index,
    Table,
    UserType,
    quoted,
    storage_name,
)  # fmt: skip
from migration_assets.sandbox.sqlserver.conversion import Typed
from migration_assets.sandbox.sqlserver.errors import SqlServerError, unsupported
from migration_assets.sandbox.sqlserver.queries import QueryTranslator
from migration_assets.sandbox.sqlserver.scope import Scope, Source
from migration_assets.sandbox.sqlserver.sql_types import INT, MAX, SqlType, declared

if TYPE_CHECKING:
    from migration_assets.sandbox.sqlserver.session import Session


_NO_KEYS = {"offset", "variant", "spatial"}
"""Families kept as structs, on which DuckDB has no keys."""


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


def place(session: Session, parts: list[str]) -> tuple[Database, str, str]:
    """Database, schema and name that a dotted name means; error 2760 without the schema."""
    catalog, schema, name = ([""] * (3 - len(parts)) + parts)[-3:]
    database = session.find_database(catalog)
    return database, database.schema_name(schema or "dbo"), name


def must_be_new(database: Database, schema: str, name: str) -> None:
    """Refuse a name that is taken (error 2714)."""
    key = (schema.lower(), name.lower())
    if any(key in known for known in (
        database.tables, database.views, database.synonyms, database.functions
    )):  # fmt: skip
        raise SqlServerError(2714, f"There is already an object named '{name}' in the database.")


def create_table(session: Session, reader: Reader) -> None:
    """CREATE TABLE."""
    database, schema, name = place(session, reader.object_name())
    must_be_new(database, schema, name)
    table = Table(schema, name, database.next_id(), [])
    reader.expect("(")
    while True:
        if not table_constraint(session, database, table, reader):
            read_column(session, database, table, reader)
        if reader.accept(")"):
            break
        reader.expect(",")
        if reader.accept(")"):
            break
    if reader.accept("ON"):
        table.placed = partitions.placed(database, reader)
    if reader.accept("WITH"):
        raise unsupported("CREATE TABLE WITH (…)")
    complete(session, table)
    partitions.check(database, table)
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
        plain = all(c.computed is None and c.type.family not in _NO_KEYS for c in columns)
        if index.kind and plain:
            word = "PRIMARY KEY" if index.kind == "PK" else "UNIQUE"
            parts.append(f"{word} ({', '.join(quoted(c.name) for c in columns)})")
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


def read_column(session: Session, database: Database, table: Table, reader: Reader) -> Column:
    """Read a column with its options and add it to the table."""
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
            if not is_deterministic(text):
                raise SqlServerError(
                    4936,
                    f"Computed column '{name}' in table '{table.name}' cannot be persisted because "
                    "the column is non-deterministic.",
                )
            column.persisted = True
            if reader.accept("NOT", "NULL"):
                column.nullable = False
    else:
        if reader.peek() == "TIMESTAMP" and reader.peek(1) in {",", ")"}:
            raise unsupported("a timestamp column without a name")
        declared_as = _user_type(database, reader)
        if declared_as is None:
            column = Column(name, read_type(reader))
        else:
            column = Column(name, declared_as.type, nullable=declared_as.nullable)
        if column.type.collation:
            column.type = column.type.collated(database.collation)
        if column.type.name == "timestamp":
            column.nullable = False
    table.columns.append(column)
    while _column_option(session, database, table, column, reader):
        pass
    return column


_NOT_DETERMINISTIC = {
    "CURRENT_TIMESTAMP", "GETDATE", "GETUTCDATE", "SYSDATETIME", "SYSUTCDATETIME",
    "SYSDATETIMEOFFSET", "NEWID", "RAND", "USER_NAME", "SUSER_SNAME", "HOST_NAME", "APP_NAME",
    "ORIGINAL_LOGIN", "CURRENT_USER", "SESSION_USER", "SYSTEM_USER", "USER",
}  # fmt: skip


def is_deterministic(text: str) -> bool:
    """Whether a computed column's expression gives the same value each time it is read."""
    return not any(word.upper in _NOT_DETERMINISTIC for word in words_of(text))


def _user_type(database: Database, reader: Reader) -> UserType | None:
    """Read the name of an alias or CLR type, if one comes next."""
    qualified = reader.peek(1) == "."
    schema = reader.word(0) if qualified else "dbo"
    key = (schema.lower(), reader.word(2 if qualified else 0).lower())
    found = database.types.get(key)
    if found is not None:
        reader.object_name()
    return found


def _constraint_name(reader: Reader) -> str:
    return reader.name() if reader.accept("CONSTRAINT") else ""


def _generated(prefix: str, table: Table, object_id: int) -> str:
    return f"{prefix}__{table.name[:9]}__{object_id:08X}"


def _column_option(
    session: Session, database: Database, table: Table, column: Column, reader: Reader
) -> bool:
    if reader.accept("NOT", "NULL"):
        column.nullable = False
        return True
    if reader.accept("NULL"):
        if column.type.user_type:
            column.nullable = True  # of an alias type that is NOT NULL by itself
        return True
    if reader.accept("COLLATE"):
        column.type = column.type.collated(reader.name())
        return True
    if reader.accept("MASKED", "WITH"):
        reader.expect("(", "FUNCTION", "=")
        column.masking = masking.checked(reader.string(), column.type)
        reader.expect(")")
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
        column.default = default_text(reader)
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
        _references(session, table, reader, name=name, columns=[column.name])
        return True
    if name:
        raise reader.error()
    if reader.peek() in {
        "SPARSE",
        "GENERATED",
        "HIDDEN",
        "ENCRYPTED",
        "INDEX",
        "FILESTREAM",
    }:
        raise unsupported(f"column option {reader.peek()}")
    return False


def default_text(reader: Reader) -> str:
    """Read the expression behind DEFAULT, in parentheses as SQL Server stores it."""
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


def table_constraint(session: Session, database: Database, table: Table, reader: Reader) -> bool:
    """Read a table constraint if one comes next."""
    if reader.peek() not in {"CONSTRAINT", "PRIMARY", "UNIQUE", "FOREIGN", "CHECK", "INDEX"}:
        return False
    name = _constraint_name(reader)
    if reader.accept("FOREIGN", "KEY"):
        _references(session, table, reader, name=name, columns=reader.names())
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
    at: tuple[str, str] | tuple[()] | None = None
    if reader.peek() == "ON" and reader.peek(1) not in {"DELETE", "UPDATE"}:
        reader.expect("ON")
        at = partitions.placed(database, reader) or ()
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
    made = Index(name, columns, unique=True, clustered=clustered, kind=kind, object_id=object_id)
    made.placed = at
    table.indexes.append(made)


def _check(database: Database, table: Table, name: str, reader: Reader) -> None:
    object_id = database.next_id()
    table.checks.append(
        Check(name or _generated("CK", table, object_id), reader.parenthesised(), object_id)
    )


def _references(
    session: Session, table: Table, reader: Reader, *, name: str, columns: list[str]
) -> None:
    reader.expect("REFERENCES")
    parts = reader.object_name()
    database, schema, target_name = place(session, parts)
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


def drop_table(session: Session, reader: Reader) -> None:
    """DROP TABLE."""
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


def truncate(session: Session, reader: Reader) -> None:
    """TRUNCATE TABLE; identity values start again."""
    database, table = session.find_table(reader.object_name())
    session.fetch(f"DELETE FROM {storage_name(database.name, table.schema, table.name)}")
    table.identity_last = None

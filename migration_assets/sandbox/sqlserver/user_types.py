"""CREATE TYPE and DROP TYPE: alias types, and CLR types whose values are bytes here.

https://learn.microsoft.com/sql/t-sql/statements/create-type-transact-sql
A CLR type needs no assembly here, and has neither methods nor properties: its values come in as
varbinary and go out through CONVERT(varbinary(max), …).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from migration_assets.sandbox.sqlserver import tables
from migration_assets.sandbox.sqlserver.batch import Reader
from migration_assets.sandbox.sqlserver.catalog import Database, UserType
from migration_assets.sandbox.sqlserver.errors import SqlServerError, unsupported
from migration_assets.sandbox.sqlserver.sql_types import EXTENDED, SqlType

if TYPE_CHECKING:
    from migration_assets.sandbox.sqlserver.session import Session


def create_type(session: Session, reader: Reader) -> None:
    """CREATE TYPE … FROM a system type, or … EXTERNAL NAME of a class.

    Raises:
        SqlServerError: 219 for a name that is taken, 50001 for table types.
    """
    database, schema, name = tables.place(session, reader.object_name())
    if (schema.lower(), name.lower()) in database.types:
        raise SqlServerError(219, f"The type '{schema}.{name}' already exists.")
    number = database.next_type_id()
    assembly = ""
    nullable = True
    if reader.accept("FROM"):
        kind = tables.read_type(reader)
        if kind.family in EXTENDED - {"variant"} or kind.name in {"xml", "timestamp"}:
            raise unsupported(f"an alias of {kind.declaration}")
        if reader.accept("NOT", "NULL"):
            nullable = False
        else:
            reader.accept("NULL")
    elif reader.accept("EXTERNAL", "NAME"):
        assembly = ".".join(reader.object_name())
        kind = SqlType("clr")
    else:
        raise unsupported(f"CREATE TYPE … {reader.rest()[:30]}")
    kind = SqlType(
        kind.name, kind.length, kind.precision, kind.scale, kind.collation, user_type=number
    )
    database.types[schema.lower(), name.lower()] = UserType(schema, name, kind, nullable, assembly)


def drop_type(session: Session, reader: Reader) -> None:
    """DROP TYPE.

    Raises:
        SqlServerError: 218 without the type, 3732 while a column has it.
    """
    optional = reader.accept("IF", "EXISTS")
    parts = reader.object_name()
    database, schema, name = tables.place(session, parts)
    found = database.types.get((schema.lower(), name.lower()))
    if found is None:
        if optional:
            return
        raise SqlServerError(218, f"Could not find the type '{'.'.join(parts)}'.")
    number = found.type.user_type
    users = [
        t.name for t in database.tables.values() for c in t.columns if c.type.user_type == number
    ]
    if users:
        raise SqlServerError(
            3732,
            f"Cannot drop type '{schema}.{name}' because it is being referenced by object '{users[0]}'.",
        )
    del database.types[schema.lower(), name.lower()]


def catalog_rows(database: Database) -> Iterator[tuple[object, ...]]:
    """What `sys.types` says of them."""
    for found in database.types.values():
        kind = found.type
        collation = database.collation if kind.family == "string" else None
        yield (
            found.name, kind.info.system_type_id, kind.user_type,
            database.schemas[found.schema.lower()][1], None, kind.max_length,
            kind.catalog_precision, kind.catalog_scale, collation, found.nullable, True,
            bool(found.assembly), 0, 0, False,
        )  # fmt: skip

"""CREATE DATABASE … AS SNAPSHOT OF, DROP DATABASE, and the files that databases say they have.

A snapshot is a copy of the source's tables as DuckDB shows them to one transaction: it costs more
than SQL Server's sparse files, and shows the same.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from migration_assets.sandbox.sqlserver.catalog import SYSTEM_DATABASES, Database, storage_name
from migration_assets.sandbox.sqlserver.errors import SqlServerError

if TYPE_CHECKING:
    from migration_assets.sandbox.sqlserver.batch import Reader
    from migration_assets.sandbox.sqlserver.session import Session

_FOLDER = "/var/opt/mssql/data/"


def create(session: Session, name: str, reader: Reader) -> None:
    """Read the rest of the statement behind ON and make the snapshot.

    Raises:
        SqlServerError: 262 without the permission, 911 without the source, 1801 for a name that is
            taken, 5127 and 1828 when the files are not those of the source.
    """
    files = [_file(reader)]
    while reader.accept(","):
        files.append(_file(reader))
    reader.expect("AS", "SNAPSHOT", "OF")
    source = session.find_database(reader.name())
    if not source.permissions.allows("CREATE DATABASE"):
        raise SqlServerError(262, "CREATE DATABASE permission denied in database 'master'.", 14)
    given = {logical.lower() for logical, _ in files}
    for logical, _ in files:
        if logical.lower() not in {known for known, _ in files_of(source)}:
            raise SqlServerError(
                5127,
                "All files must be specified for database snapshot creation. Missing the file "
                f'"{files_of(source)[0][0]}".',
            )
    for logical, _ in files_of(source):
        if logical not in given:
            raise SqlServerError(
                5127,
                "All files must be specified for database snapshot creation. Missing the file "
                f'"{logical}".',
            )
    _copy(session, source, name, [path for _, path in files])


def _file(reader: Reader) -> tuple[str, str]:
    """One `(NAME = logical, FILENAME = 'path')`."""
    reader.expect("(", "NAME", "=")
    logical = reader.name()
    reader.expect(",", "FILENAME", "=")
    path = reader.string()
    reader.expect(")")
    return logical, path


def _copy(session: Session, source: Database, name: str, paths: list[str]) -> None:
    engine = session.engine
    with engine.lock:
        made = engine.create_database(name)
        snapshot = copy.deepcopy(source)
        snapshot.name, snapshot.database_id = made.name, made.database_id
        snapshot.source_id, snapshot.paths = source.database_id, paths
        snapshot.created = datetime.now(UTC).replace(tzinfo=None)
        # One transaction, so one moment for all tables.
        session.fetch("BEGIN TRANSACTION")
        try:
            for schema, _ in source.schemas.values():
                if schema.lower() not in {"dbo", "sys", "information_schema", "guest"}:
                    session.fetch(f'CREATE SCHEMA IF NOT EXISTS "{made.name}"."{schema}"')
            for table in source.tables.values():
                session.fetch(
                    f"CREATE TABLE {storage_name(made.name, table.schema, table.name)} AS "
                    f"SELECT * FROM {storage_name(source.name, table.schema, table.name)}"
                )
        except BaseException:
            session.fetch("ROLLBACK")
            del engine.databases[name.lower()]
            raise
        session.fetch("COMMIT")
        engine.databases[name.lower()] = snapshot


def drop(session: Session, reader: Reader) -> None:
    """DROP DATABASE.

    Raises:
        SqlServerError: 3701 for one that does not exist, 3702 for the session's own, 3708 for one
            of the system, 3709 for one that has snapshots.
    """
    optional = reader.accept("IF", "EXISTS")
    name = reader.name()
    engine = session.engine
    found = engine.databases.get(name.lower())
    if found is None:
        if optional:
            return
        raise SqlServerError(
            3701,
            f"Cannot drop the database '{name}', because it does not exist or you do not have "
            "permission.",
            11,
        )
    if found.name in SYSTEM_DATABASES:
        raise SqlServerError(
            3708, f"Cannot drop the database '{name}' because it is a system database."
        )
    if found is session.database:
        raise SqlServerError(
            3702, f'Cannot drop database "{name}" because it is currently in use.', 16
        )
    if any(other.source_id == found.database_id for other in engine.databases.values()):
        raise SqlServerError(
            3709, f"Cannot drop the database '{name}' while the database snapshot refers to it."
        )
    for table in found.tables.values():
        session.fetch(f"DROP TABLE {storage_name(found.name, table.schema, table.name)}")
    del engine.databases[name.lower()]
    engine.dropped.add(name.lower())


def refuse_writing(database: Database) -> None:
    """Refuse a change in a snapshot.

    Raises:
        SqlServerError: 3906.
    """
    if database.source_id is not None:
        raise SqlServerError(
            3906,
            f'Failed to update database "{database.name}" because the database is read-only.',
        )


def files_of(database: Database) -> list[tuple[str, str]]:
    """Logical name and path of each data file."""
    return [(database.name.lower(), f"{_FOLDER}{database.name}.mdf")]


def files(database: Database) -> Iterator[tuple[object, ...]]:
    """Rows of sys.database_files; a snapshot has those of its source, elsewhere, and no log."""
    if database.source_id is not None:
        for number, path in enumerate(database.paths, 1):
            yield number, 0, "ROWS", 1, database.name, path, 0, "ONLINE", 1024
        return
    for number, (logical, path) in enumerate(files_of(database), 1):
        yield number, 0, "ROWS", 1, logical, path, 0, "ONLINE", 1024
    yield (
        2, 1, "LOG", 0, f"{database.name.lower()}_log", f"{_FOLDER}{database.name}_log.ldf",
        0, "ONLINE", 1024,
    )  # fmt: skip

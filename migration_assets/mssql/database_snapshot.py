"""Make, find and drop the database snapshot that a plan reads from.

https://learn.microsoft.com/sql/relational-databases/databases/create-a-database-snapshot-transact-sql
The statements were not tried on a SQL Server: who makes one by hand names it in migration.yaml.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

from migration_assets.choices import Consistency
from migration_assets.errors import (
    AccessDeniedError,
    ConfigurationError,
    ExistingObjectError,
    MigrationError,
    PermanentError,
    UnsupportedError,
)
from migration_assets.mssql.client import SqlServer
from migration_assets.mssql.select import quote
from migration_assets.plan import DatabaseSnapshot, MigrationPlan
from migration_assets.setting_choices import ApplicationIntent
from migration_assets.settings import MssqlSettings

_NOT_ON = {
    5: "Azure SQL Database",
    6: "Azure Synapse Analytics",
    8: "Azure SQL Managed Instance",
    9: "Azure SQL Edge",
    11: "Azure Synapse serverless",
    12: "Microsoft Fabric",
}
"""SERVERPROPERTY('EngineEdition') of what has no database snapshots
(https://learn.microsoft.com/sql/t-sql/functions/serverproperty-transact-sql)."""

_ENTERPRISE, _ALL_EDITIONS_FROM = 3, 13
"""Before SQL Server 2016 (13), only the Enterprise engine made database snapshots."""

_OTHERWISE = (
    "Use `consistency: statement` in migration.yaml, or let the application rest while you migrate."
)


@dataclass(frozen=True)
class FoundSnapshot:
    """A database snapshot as the server describes it.

    Attributes:
        source: the database it is of; None when the login may not know.
        created: by the server's clock and in its time zone.
        state: `ONLINE`, or what keeps it from being read.
    """

    name: str
    source: str | None
    created: datetime
    state: str


def reading_settings(settings: MssqlSettings, plan: MigrationPlan) -> MssqlSettings:
    """The settings with the database that rows are read from: the plan's snapshot, if it has one."""
    if plan.consistency is not Consistency.DATABASE_SNAPSHOT or plan.database_snapshot is None:
        return settings
    return settings.model_copy(update={"database": plan.database_snapshot.name})


def refuse_unsupported(client: SqlServer) -> None:
    """Refuse a server that has no database snapshots; one that does not say is given a try.

    Raises:
        UnsupportedError: names what the server is.
        TransientError: it cannot be asked.
    """
    sql = (
        "SELECT CONVERT(int, SERVERPROPERTY('EngineEdition')), "
        "CONVERT(nvarchar(128), SERVERPROPERTY('ProductVersion')), "
        "CONVERT(nvarchar(128), SERVERPROPERTY('Edition'))"
    )
    try:
        ((engine, version, edition),) = client.query(sql, doing="Looking for database snapshots")
    except PermanentError:
        return
    if engine in _NOT_ON:
        raise UnsupportedError(
            f"SQL Server {client.settings.server} is {_NOT_ON[engine]}, which makes no database "
            "snapshots.",
            code="MA-MS-014",
            next_step=_OTHERWISE,
        )
    major = re.match(r"\d+", version or "")
    if major and int(major[0]) < _ALL_EDITIONS_FROM and engine != _ENTERPRISE:
        raise UnsupportedError(
            f"SQL Server {client.settings.server} is a {edition} of version {version}, which makes "
            "no database snapshots: before 2016 only the Enterprise edition does.",
            code="MA-MS-014",
            next_step=_OTHERWISE,
        )


def _refuse_secondary(client: SqlServer, what: str) -> None:
    """Refuse to make or drop something on a server that a listener chose.

    Raises:
        ConfigurationError: the connection asks for any secondary.
    """
    if client.settings.application_intent is ApplicationIntent.READ_ONLY:
        raise ConfigurationError(
            f"With MSSQL_APPLICATION_INTENT=ReadOnly a listener may lead to another secondary each "
            f"time, so there cannot be {what}.",
            code="MA-MS-133",
            next_step="Let MSSQL_HOST name the server that is read from, with "
            "MSSQL_APPLICATION_INTENT=ReadWrite; or make the snapshot there and name it in "
            "migration.yaml.",
        )


def find_snapshot(client: SqlServer, name: str) -> FoundSnapshot | None:
    """Find a database snapshot by name; None when there is no database of that name.

    Args:
        client: connected with the database that is migrated, not with the snapshot.
        name: what to find.

    Raises:
        ExistingObjectError: there is one, and it is no snapshot of the client's database.
        MigrationError: whatever the driver's error means.
    """
    sql = (
        "SELECT d.name, d.source_database_id, DB_NAME(d.source_database_id), d.create_date, "
        "d.state_desc FROM sys.databases AS d WHERE d.name = %s"
    )
    rows = client.query(sql, [name], doing=f"Looking for the database snapshot {name}")
    if not rows:
        return None
    found, source_id, source, created, state = rows[0]
    own = client.settings.database
    if source_id is None or (source is not None and source.casefold() != own.casefold()):
        what = "is no database snapshot" if source_id is None else f"is a snapshot of {source}"
        raise ExistingObjectError(
            f"The database {found} on SQL Server {client.settings.server} {what}; expected was a "
            f"snapshot of {own}.",
            code="MA-MS-107",
            next_step="Give `database_snapshot` in migration.yaml another name.",
        )
    return FoundSnapshot(found, source, created, state or "")


def create_sql(client: SqlServer, snapshot: DatabaseSnapshot) -> str:
    """The statement that makes a snapshot of the client's database: each data file has its own.

    Raises:
        UnsupportedError: the database does not say which files it has.
        MigrationError: whatever the driver's error means.
    """
    rows = client.query(
        "SELECT f.file_id, f.name, f.physical_name FROM sys.database_files AS f "
        "WHERE f.type = 0 ORDER BY f.file_id",
        doing="Looking at the database's files",
    )
    if not rows or any(not path for *_, path in rows):
        raise UnsupportedError(
            f"sys.database_files of {client.settings.database} shows no data files to this login.",
            code="MA-MS-106",
            next_step="Let the server's administrator make the snapshot, and name it in "
            "migration.yaml: `database_snapshot: NAME`.",
        )
    files = ", ".join(
        f"(NAME = {quote(name)}, FILENAME = N'{_path(snapshot, number, path)}')"
        for number, name, path in rows
    )
    return (
        f"CREATE DATABASE {quote(snapshot.name)} ON {files} "
        f"AS SNAPSHOT OF {quote(client.settings.database)}"
    )


def _path(snapshot: DatabaseSnapshot, number: int, path: str) -> str:
    """Path of a snapshot's file, as the server writes paths, for a T-SQL literal."""
    slash = "\\" if "\\" in (snapshot.folder or path) else "/"
    folder = snapshot.folder or path.rpartition(slash)[0]
    file = re.sub(r"[^\w.-]", "_", snapshot.name)
    return f"{folder.rstrip(slash)}{slash}{file}_{number}.ss".replace("'", "''")


def create_snapshot(client: SqlServer, snapshot: DatabaseSnapshot) -> FoundSnapshot:
    """Make the snapshot; one that is there already stays as it is.

    Args:
        client: connected with the database that is migrated.
        snapshot: of the plan.

    Raises:
        UnsupportedError: the server makes none.
        AccessDeniedError: the login may not; the message has the statement for who may.
        MigrationError: whatever the driver's error means.
    """
    found = find_snapshot(client, snapshot.name)
    if found is not None:
        return found
    _refuse_secondary(client, f"the database snapshot {snapshot.name} made")
    refuse_unsupported(client)
    sql = create_sql(client, snapshot)
    doing = f"Making the database snapshot {snapshot.name}"
    try:
        client.query(sql, doing=doing)
    except AccessDeniedError as error:
        raise AccessDeniedError(
            error.found,
            code="MA-MS-109",
            next_step="Grant CREATE ANY DATABASE, or let an administrator run this and name the "
            f"snapshot in migration.yaml (`database_snapshot: {snapshot.name}`): {sql}",
        ) from None
    except MigrationError:
        # Somebody else may have made it at the same time.
        if (found := find_snapshot(client, snapshot.name)) is None:
            raise
        return found
    found = find_snapshot(client, snapshot.name)
    if found is None:
        raise UnsupportedError(
            f"{doing}: the server took the statement, and sys.databases does not show it.",
            code="MA-MS-106",
            next_step="Let the server's administrator make it, and name it in migration.yaml.",
        )
    return found


def drop_snapshot(client: SqlServer, snapshot: DatabaseSnapshot) -> bool:
    """Drop our snapshot; returns whether there was one. Nobody else's is dropped.

    Raises:
        ExistingObjectError: the snapshot is not ours, or no snapshot of this database.
        MigrationError: whatever the driver's error means; 3702 when it is still in use.
    """
    if not snapshot.ours:
        raise ExistingObjectError(
            f"The database snapshot {snapshot.name} is named in migration.yaml: whoever made it "
            "drops it.",
            code="MA-MS-108",
            next_step=f"DROP DATABASE {quote(snapshot.name)}",
        )
    if find_snapshot(client, snapshot.name) is None:
        return False
    _refuse_secondary(client, f"the database snapshot {snapshot.name} dropped")
    client.query(
        f"DROP DATABASE {quote(snapshot.name)}",
        doing=f"Dropping the database snapshot {snapshot.name}",
    )
    return True

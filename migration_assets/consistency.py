"""What the rules wish about points in time, as the plan has it; pure.

SNAPSHOT isolation holds for one transaction, hence for one partition: partitions are read by
several connections, minutes or days apart. Only a database snapshot shows all of them one state:
https://learn.microsoft.com/sql/relational-databases/databases/database-snapshots-sql-server.
A barrier (`mssql/barrier.py`) does it for one table, whose partitions are then extracted together.
"""

from __future__ import annotations

from collections.abc import Sequence

from migration_assets.choices import Consistency, Engine
from migration_assets.errors import ConfigurationError
from migration_assets.naming import bracketed
from migration_assets.plan import DatabaseSnapshot, TablePlan
from migration_assets.rules import Rules
from migration_assets.schema import SourceDatabase, SourceTable, TableKind
from migration_assets.table_rules import MAX_IDENTIFIER, TableRules

SUFFIX = "_migration"
"""Behind the database's name, this makes that of our database snapshot: the same in every plan of the
database, so that planning again does not change the point in time."""


def database_snapshot(database: SourceDatabase, rules: Rules) -> DatabaseSnapshot | None:
    """The database snapshot that the rules ask for; None when they ask for none.

    Raises:
        ConfigurationError: the rules say something of a database snapshot that is not used.
    """
    named, folder = rules.database_snapshot, rules.database_snapshot_folder
    if rules.consistency is not Consistency.DATABASE_SNAPSHOT:
        if named or folder:
            key = "database_snapshot" if named else "database_snapshot_folder"
            raise ConfigurationError(
                f"migration.yaml: {key} has no effect with consistency {rules.consistency.value}.",
                code="MA-CF-015",
                next_step="Add `consistency: database_snapshot`, or take it out.",
            )
        return None
    if named and folder:
        raise ConfigurationError(
            "migration.yaml: database_snapshot_folder has no effect with database_snapshot, which "
            "names one that is there already.",
            code="MA-CF-015",
            next_step="Take one of them out.",
        )
    if named and named.casefold() == database.database.casefold():
        raise ConfigurationError(
            f"migration.yaml: database_snapshot names the database {named} itself.",
            code="MA-CF-014",
            next_step="Name a database snapshot of it, or take the line out.",
        )
    if named:
        return DatabaseSnapshot(name=named, ours=False)
    name = f"{database.database[: MAX_IDENTIFIER - len(SUFFIX)]}{SUFFIX}"
    return DatabaseSnapshot(name=name, folder=folder or "")


def consistency_notes(database: SourceDatabase, rules: Rules) -> list[str]:
    """What the user must know about the points in time that partitions will show."""
    if rules.consistency is Consistency.DATABASE_SNAPSHOT:
        found = database_snapshot(database, rules)
        name = found.name if found is not None else ""
        return [f"All rows are read from the database snapshot {name}: one point in time."]
    apart = (
        "Every partition is read as of its own time: what is written meanwhile may be in one and "
        "not in another. One point in time is shown by `consistency: database_snapshot`, and of a "
        "single table by `consistency: barrier`."
    )
    if rules.consistency is Consistency.NONE:
        return [f"{apart} Rows and their fingerprint are read one after the other."]
    if database.snapshot_isolation:
        return [apart]
    if database.read_committed_snapshot:
        return [
            f"{apart} ALLOW_SNAPSHOT_ISOLATION is OFF, READ_COMMITTED_SNAPSHOT is ON: the rows of a "
            "partition are of one point in time, their fingerprint of a later one."
        ]
    return [
        f"{apart} ALLOW_SNAPSHOT_ISOLATION is OFF: rows and their fingerprint are read one after the "
        "other, so a table that is written to meanwhile may not compare equal."
    ]


def check_barrier(
    source: SourceTable, database: SourceDatabase, wishes: TableRules, *, consistency: Consistency
) -> list[str]:
    """Refuse a barrier that cannot be, before anything is planned on it; returns warnings.

    Args:
        source: the table.
        database: that it is in.
        wishes: about the table.
        consistency: of the plan.

    Raises:
        ConfigurationError: the rules do not go together, or the database allows no SNAPSHOT
            transactions and nobody said that writers may be kept waiting.
    """
    table = source.full_name
    if wishes.consistency is None:
        if wishes.block_writers is not None:
            raise ConfigurationError(
                f"migration.yaml: {table}: block_writers has no effect without a barrier.",
                code="MA-CF-015",
                next_step="Add `consistency: barrier` to the table, or take it out.",
            )
        return []
    if consistency is Consistency.DATABASE_SNAPSHOT:
        raise ConfigurationError(
            f"migration.yaml: {table}: consistency barrier has no effect with consistency "
            "database_snapshot, which shows one point in time of all tables.",
            code="MA-CF-015",
            next_step="Take one of them out.",
        )
    if wishes.engine is Engine.SPARK:
        raise ConfigurationError(
            f"migration.yaml: {table}: a barrier holds for connections of one process, and engine "
            "spark reads from several.",
            code="MA-CF-015",
            next_step="Take out `engine: spark`, or use `consistency: database_snapshot` for the whole "
            "plan, which Spark reads as well.",
        )
    if source.kind is not TableKind.TABLE:
        raise ConfigurationError(
            f"migration.yaml: {table}: a barrier locks a table for a moment, and this is a "
            f"{source.kind.value}.",
            code="MA-CF-015",
            next_step="Take out `consistency: barrier`, or use `consistency: database_snapshot` for "
            "the whole plan.",
        )
    if wishes.window is not None:
        raise ConfigurationError(
            f"migration.yaml: {table}: a barrier has all partitions extracted together, and windows "
            "are there to be migrated one by one.",
            code="MA-CF-015",
            next_step="Take one of them out.",
        )
    if database.snapshot_isolation:
        return []
    if not wishes.block_writers:
        raise no_snapshot_transactions(table, database.database)
    return [
        "Writers of this table wait for as long as its extraction takes: its barrier is a lock, since "
        "ALLOW_SNAPSHOT_ISOLATION is OFF."
    ]


def barrier_notes(tables: Sequence[TablePlan]) -> list[str]:
    """Which tables are extracted behind a barrier."""
    names = ", ".join(table.full_name for table in tables if table.at_barrier)
    return [f"As of one point in time each, behind a barrier: {names}."] if names else []


def no_snapshot_transactions(table: str, database: str) -> ConfigurationError:
    """What to raise where a barrier would have to keep writers waiting, and nobody allowed that."""
    return ConfigurationError(
        f"{table}: database {database} allows no SNAPSHOT transactions (ALLOW_SNAPSHOT_ISOLATION is "
        "OFF), so a barrier must lock the table against writers until all of it is extracted.",
        code="MA-CF-016",
        next_step=f"`ALTER DATABASE {bracketed(database)} SET ALLOW_SNAPSHOT_ISOLATION ON` needs no "
        "restart and makes them wait milliseconds. Or accept the wait with `block_writers: true` for "
        "the table in migration.yaml. Then run `migration-assets plan`.",
    )

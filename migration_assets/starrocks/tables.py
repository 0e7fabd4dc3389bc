"""The target tables: made from the plan, recognized by their comment, never taken by mistake."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from migration_assets.choices import OnExisting
from migration_assets.errors import (
    AccessDeniedError,
    ExistingObjectError,
    ObjectNotFoundError,
    SchemaDriftError,
)
from migration_assets.plan import TablePlan
from migration_assets.protection import refuse_removal
from migration_assets.starrocks import ddl
from migration_assets.starrocks.declaration import compare_declaration, read_declaration
from migration_assets.starrocks.names import literal, native_table, subject

if TYPE_CHECKING:
    from migration_assets.starrocks.resource import StarRocks

_RESET = "`migration-assets reset` recreates the table under the current plan."
_CHOICES = (
    "Set on_existing for it in migration.yaml: `adopt` keeps the table and its rows, `replace` "
    "drops it; or choose another target name."
)
_LET_ALTER = (
    "Let the table's owner alter it, or say in migration.yaml what it is (`model`, `keys`, rules of "
    "columns); `migration-assets plan --report plan.md` shows the statement that makes it."
)


@dataclass(frozen=True)
class ExistingTable:
    """A table that is there.

    Attributes:
        kind: `BASE TABLE`, `VIEW` …
        comment: as the table has it.
    """

    kind: str
    comment: str
    columns: tuple[ddl.ExistingColumn, ...]

    def is_of(self, table: TablePlan) -> bool:
        """Whether a migration of the same source table made it, under this plan or another."""
        return ddl.source_of(self.comment) == ddl.source_name(table)


def find_table(client: StarRocks, table: TablePlan) -> ExistingTable | None:
    """Look the target table up; None when there is none, nor perhaps its database."""
    where = (
        f"WHERE TABLE_SCHEMA = {literal(table.starrocks_database)} "
        f"AND TABLE_NAME = {literal(table.starrocks_table)}"
    )
    with client.connection():
        found = client.query(
            f"SELECT TABLE_TYPE, TABLE_COMMENT FROM information_schema.tables {where}",
            about=subject(table),
        )
        if not found:
            return None
        columns = client.query(
            "SELECT COLUMN_NAME, COLUMN_TYPE, IS_NULLABLE FROM information_schema.columns "
            f"{where} ORDER BY ORDINAL_POSITION",
            about=subject(table),
        )
    kind, comment = found[0]
    return ExistingTable(
        kind=str(kind),
        comment=str(comment or ""),
        columns=tuple(
            ddl.ExistingColumn(str(name), str(type_), nullable=str(nullable).upper() == "YES")
            for name, type_, nullable in columns
        ),
    )


def ensure_table(client: StarRocks, table: TablePlan) -> None:
    """Make the target table, and its database, unless it is there and as planned.

    Runs that do so at the same time are fine: one creates, the others look at what it made.

    Raises:
        SchemaDriftError: the table is ours, but of another plan, or somebody altered it.
        ExistingObjectError: the table is not ours and `on_existing` does not allow to take it.
        ObjectNotFoundError: there is none, and `create: false` leaves making it to somebody else.
        UnsupportedError: StarRocks cannot have such a table.
    """
    with client.connection():
        found = find_table(client, table)
        if not table.create:
            found = _made_by_its_owner(client, table, found)
        elif found is None:
            _create(client, table)
            return
        if ddl.table_id_of(found.comment) == table.table_id:
            _refuse_drift(table, found)
            return
        if found.is_of(table):
            if table.holds(ddl.table_id_of(found.comment) or ""):
                raise SchemaDriftError(
                    f"{subject(table)} has the columns of an earlier plan: its table id is "
                    f"{ddl.table_id_of(found.comment)}, that of the plan is {table.table_id}.",
                    code="MA-SR-111",
                    next_step=f"Run `migration-assets evolve {table.full_name}`: its rows stay.",
                )
            raise SchemaDriftError(
                f"{subject(table)} was made under another plan: its table id is "
                f"{ddl.table_id_of(found.comment)}, that of the plan is {table.table_id}.",
                code="MA-SR-110",
                next_step=_RESET,
            )
        _take(client, table, found)


def check_tables(client: StarRocks, tables: Iterable[TablePlan]) -> None:
    """Compare the tables that somebody else makes (`create: false`); nothing is changed.

    Raises:
        ObjectNotFoundError: one is not there.
        SchemaDriftError: some are not as planned; it says how each differs.
    """
    problems: list[str] = []
    with client.connection():
        for table in tables:
            if table.create:
                continue
            found = find_table(client, table)
            if found is None:
                raise _not_made(table)
            problems += _declared_otherwise(client, table, found)
    if problems:
        raise SchemaDriftError(" ".join(problems), code="MA-SR-141", next_step=_LET_ALTER)


def recreate_table(client: StarRocks, table: TablePlan) -> None:
    """Drop the target table with all its rows, if there is one, and make it anew.

    One that somebody else makes (`create: false`) is emptied instead.

    Raises:
        ExistingObjectError: the table there is not of a migration of this source.
        ConfigurationError: `prevent_reset` protects it.
    """
    refuse_removal([table], doing="reset")
    with client.connection():
        if not table.create:
            _empty(client, table)
            return
        drop_table(client, table)
        _create(client, table)


def drop_table(client: StarRocks, table: TablePlan) -> None:
    """Drop the target table; nothing happens when there is none.

    StarRocks keeps it in its recycle bin for a day (`catalog_trash_expire_second`), since this is
    not DROP … FORCE.

    Raises:
        ExistingObjectError: the table there is not of a migration of this source, and the plan
            does not say `replace`; or it is its owner's (`create: false`).
        ConfigurationError: `prevent_reset` protects it.
    """
    refuse_removal([table], doing="dropped")
    if not table.create:
        raise ExistingObjectError(
            f"{subject(table)} is not dropped: create: false says that somebody else made it.",
            code="MA-SR-142",
            next_step=f"Let its owner drop it, or run `migration-assets reset {table.full_name}`, "
            "which empties it.",
        )
    with client.connection():
        found = find_table(client, table)
        if found is None:
            return
        if not found.is_of(table) and (
            table.on_existing is not OnExisting.REPLACE or found.kind != "BASE TABLE"
        ):
            raise _not_ours(table, found)
        _drop(client, table)


def _made_by_its_owner(
    client: StarRocks, table: TablePlan, found: ExistingTable | None
) -> ExistingTable:
    """A table that somebody else made, which is as planned.

    Raises:
        ObjectNotFoundError: there is none.
        SchemaDriftError: it is not as planned.
    """
    if found is None:
        raise _not_made(table)
    if problems := _declared_otherwise(client, table, found):
        raise SchemaDriftError(" ".join(problems), code="MA-SR-141", next_step=_LET_ALTER)
    return found


def _declared_otherwise(client: StarRocks, table: TablePlan, found: ExistingTable) -> list[str]:
    """How a table that somebody else made differs from the plan, a sentence; empty if it does not."""
    if found.kind != "BASE TABLE":
        return [f"{subject(table)} is a {found.kind.lower()} and no table."]
    answer = client.execute(f"SHOW CREATE TABLE {native_table(table)}", about=subject(table))
    declared = read_declaration(str(answer.rows[0][1]))
    differences = ddl.compare_columns(table, found.columns) + compare_declaration(table, declared)
    if not differences:
        return []
    return [f"{subject(table)} is not as planned: {'; '.join(differences)}."]


def _not_made(table: TablePlan) -> ObjectNotFoundError:
    return ObjectNotFoundError(
        f"{subject(table)} does not exist, and create: false leaves making it to somebody else.",
        code="MA-SR-140",
        next_step="`migration-assets plan --report plan.md` shows the statement that makes it.",
    )


def _empty(client: StarRocks, table: TablePlan) -> None:
    """Remove all rows of a table that somebody else made, and mark it as one of the plan's."""
    found = find_table(client, table)
    if found is None:
        return
    if not found.is_of(table):
        # One that nothing was loaded into yet has no mark, and needs no emptying.
        if ddl.source_of(found.comment) is None and _is_empty(client, table):
            return
        raise _not_ours(table, found)
    client.execute(f"TRUNCATE TABLE {native_table(table)}", about=subject(table))
    mark(client, table)


def mark(client: StarRocks, table: TablePlan) -> None:
    """Write the plan's table id into the table's comment.

    Raises:
        AccessDeniedError: the login may not; it says what the owner of the table has to run.
    """
    statement = ddl.set_comment_sql(table)
    try:
        client.execute(statement, about=subject(table))
    except AccessDeniedError as error:
        if table.create:
            raise
        raise AccessDeniedError(
            error.found,
            code=error.code,
            next_step=f"Let the owner of the table run: {statement}",
        ) from error


def list_tables(client: StarRocks, database: str) -> list[str]:
    """Names of the tables of a database, without views; empty when there is no such database."""
    rows = client.query(
        "SELECT TABLE_NAME FROM information_schema.tables "
        f"WHERE TABLE_SCHEMA = {literal(database)} AND TABLE_TYPE = 'BASE TABLE' "
        "ORDER BY TABLE_NAME",
        about=f"Database {database}",
    )
    return [str(name) for (name,) in rows]


def _create(client: StarRocks, table: TablePlan) -> None:
    statement = ddl.create_table_sql(table, client.settings.replication_num)
    database = table.starrocks_database
    known = client.query(
        "SELECT SCHEMA_NAME FROM information_schema.schemata "
        f"WHERE SCHEMA_NAME = {literal(database)}",
        about=f"Database {database}",
    )
    # Asked first: IF NOT EXISTS wants the privilege to create even where nothing is to create.
    if not known:
        with contextlib.suppress(ExistingObjectError):  # another run was faster
            client.execute(ddl.create_database_sql(database), about=f"Database {database}")
    try:
        client.execute(statement, about=subject(table))
    except ExistingObjectError:
        found = find_table(client, table)
        if found is None or ddl.table_id_of(found.comment) != table.table_id:
            raise
        _refuse_drift(table, found)


def _drop(client: StarRocks, table: TablePlan) -> None:
    client.execute(f"DROP TABLE IF EXISTS {native_table(table)}", about=subject(table))


def _take(client: StarRocks, table: TablePlan, found: ExistingTable) -> None:
    """Do with a table that is not ours what the plan says."""
    if found.kind != "BASE TABLE":
        raise _not_ours(table, found)
    if not table.create and ddl.source_of(found.comment) is None and _is_empty(client, table):
        mark(client, table)
        return
    match table.on_existing:
        case OnExisting.REFUSE:
            raise _not_ours(table, found)
        case OnExisting.ADOPT:
            differences = ddl.compare_columns(table, found.columns)
            if differences:
                raise ExistingObjectError(
                    f"{subject(table)} cannot be adopted: {'; '.join(differences)}.",
                    code="MA-SR-112",
                    next_step="Alter the table, or set on_existing: replace in migration.yaml.",
                )
            mark(client, table)
        case OnExisting.REPLACE:
            # Looked at again: another run may just have replaced it, and have loaded rows.
            now = find_table(client, table)
            if now is not None and not now.is_of(table):
                _drop(client, table)
                now = None
            if now is None:
                _create(client, table)


def _is_empty(client: StarRocks, table: TablePlan) -> bool:
    return not client.query(f"SELECT 1 FROM {native_table(table)} LIMIT 1", about=subject(table))


def _refuse_drift(table: TablePlan, found: ExistingTable) -> None:
    differences = ddl.compare_columns(table, found.columns)
    if differences:
        raise SchemaDriftError(
            f"{subject(table)} was altered since it was made: {'; '.join(differences)}.",
            code="MA-SR-109",
            next_step=f"Undo the change. Or: {_RESET}",
        )


def _not_ours(table: TablePlan, found: ExistingTable) -> ExistingObjectError:
    source = ddl.source_of(found.comment)
    origin = f"it is the copy of {source}" if source else "no migration made it"
    return ExistingObjectError(
        f"{subject(table)} exists already and is not ours: it is a {found.kind.lower()}, {origin}.",
        code="MA-SR-108",
        next_step=_CHOICES,
    )

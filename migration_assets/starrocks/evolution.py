"""A StarRocks table's columns changed in place, one after the other, and its comment at last.

`ALTER TABLE … ADD COLUMN` and `MODIFY COLUMN` start a job that goes on after the answer, and a
table has room for one
(https://docs.starrocks.io/docs/sql-reference/sql-statements/table_bucket_part_index/ALTER_TABLE/).
Every step is decided by the columns that the table has, so that it can be begun again anywhere.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from migration_assets.column_plan import TargetColumn
from migration_assets.errors import (
    CommitConflictError,
    OperationTimeoutError,
    SchemaDriftError,
    StatementError,
)
from migration_assets.evolution import is_wider
from migration_assets.plan import TablePlan
from migration_assets.starrocks import ddl
from migration_assets.starrocks.names import Named, literal, native_table, quote, subject
from migration_assets.starrocks.tables import ExistingTable, find_table, mark

if TYPE_CHECKING:
    from migration_assets.starrocks.resource import StarRocks

ALTER_TIMEOUT_S = 86_400.0
"""How long one change may take: as long as StarRocks gives it (`alter_table_timeout_second`)."""
_POLLS_S = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
_BUSY_TIMEOUT_S = 600.0
"""How long loads and changes of others are waited for before ours can begin."""

_UNFINISHED = ("PENDING", "WAITING_TXN", "RUNNING", "FINISHED_REWRITING")
"""States in SHOW ALTER TABLE COLUMN of a change that is not over
(https://docs.starrocks.io/docs/sql-reference/sql-statements/table_bucket_part_index/SHOW_ALTER/)."""


def check_evolvable(client: StarRocks, table: TablePlan) -> bool:
    """Say whether a StarRocks table has an earlier plan's columns, which can become the plan's.

    Returns:
        False when there is none, or it is as planned.

    Raises:
        SchemaDriftError: it is not ours, of a plan from which no evolution leads to this one, or
            somebody altered it.
    """
    found = find_table(client, table)
    if found is None:
        return False
    table_id = ddl.table_id_of(found.comment) if found.is_of(table) else None
    if table_id is None or not table.holds(table_id):
        raise SchemaDriftError(
            f"{subject(table)} cannot evolve: its table id is {table_id or 'missing'}, and the plan "
            f"(table id {table.table_id}) goes on from "
            f"{', '.join(e.table_id for e in table.evolutions) or 'no other'}.",
            code="MA-SR-113",
            next_step=f"`migration-assets reset {table.full_name}` recreates it for the plan.",
        )
    _changes(table, found)
    return table_id != table.table_id


def evolve_table(
    client: StarRocks, table: TablePlan, *, timeout_s: float = ALTER_TIMEOUT_S
) -> list[str]:
    """Give a StarRocks table the plan's columns and table id, and keep its rows.

    Args:
        client: where; one of its connections is used and given back.
        table: the plan of the table.
        timeout_s: how long each change may take.

    Returns:
        The columns that were added or widened; none when there is no such table.

    Raises:
        SchemaDriftError: as `check_evolvable`.
        OperationTimeoutError: a change goes on longer; run it again to wait on.
        StatementError: StarRocks cancelled a change.
        MigrationError: see `faults.FAULTS`.
    """
    done: list[str] = []
    with client.connection():
        if not check_evolvable(client, table):
            return []
        _await_job(client, table, timeout_s)  # one that an interrupted attempt began
        while True:
            found = find_table(client, table)
            if found is None:
                return done
            changes = _changes(table, found)
            if not changes:
                break
            name, statement = changes[0]
            if not table.create:
                raise SchemaDriftError(
                    f"{subject(table)} is not altered, create: false leaves that to its owner; it "
                    f"needs {'; '.join(sql for _, sql in changes)}.",
                    code="MA-SR-142",
                    next_step="Let its owner run that, then run the command again.",
                )
            _start(client, table, statement)
            _await_job(client, table, timeout_s)
            _expect(client, table, name)
            done.append(name)
        mark(client, table)
    return done


def _changes(table: TablePlan, found: ExistingTable) -> list[tuple[str, str]]:
    """What is left to do: column and statement.

    Raises:
        SchemaDriftError: something that no evolution does.
    """
    existing = {column.name.lower(): column for column in found.columns}
    came = {name for evolution in table.evolutions for name in evolution.added}
    changes, odd = [], []
    for column in table.starrocks_columns:
        there = existing.pop(column.name.lower(), None)
        if there is None:
            if column.name in came:
                changes.append((column.name, _alter(table, "ADD", column)))
            else:
                odd.append(f"column {column.name} is missing")
            continue
        was, wanted = ddl.canonical_type(there.type), ddl.canonical_type(column.starrocks_type)
        if was == wanted and (there.nullable or not column.nullable):
            continue
        if was == wanted or is_wider(was, wanted):
            changes.append((column.name, _alter(table, "MODIFY", column)))
        else:
            odd.append(f"column {column.name} is {there.type}, planned is {column.starrocks_type}")
    odd += [f"column {column.name} is not in the plan" for column in existing.values()]
    if odd:
        raise SchemaDriftError(
            f"{subject(table)} was altered since it was made: {'; '.join(odd)}.",
            code="MA-SR-109",
            next_step=f"Undo the change, or run `migration-assets reset {table.full_name}`.",
        )
    return changes


def _alter(table: TablePlan, action: str, column: TargetColumn) -> str:
    null = "NULL" if column.nullable else "NOT NULL"
    name = quote(column.name, Named.COLUMN)
    kind = ddl.column_type(column)
    return f"ALTER TABLE {native_table(table)} {action} COLUMN {name} {kind} {null}"


def _start(client: StarRocks, table: TablePlan, statement: str) -> None:
    """Begin a change, as soon as no load and no other change holds the table."""
    deadline = time.monotonic() + _BUSY_TIMEOUT_S
    polls = iter(_POLLS_S)
    while True:
        try:
            client.execute(statement, about=subject(table))
        except CommitConflictError:
            if time.monotonic() >= deadline:
                raise
            time.sleep(next(polls, _POLLS_S[-1]))
        else:
            return


def _await_job(client: StarRocks, table: TablePlan, timeout_s: float) -> None:
    """Wait until no change of the table is under way."""
    deadline = time.monotonic() + timeout_s
    polls = iter(_POLLS_S)
    while (job := _newest_job(client, table)) is not None:
        if job["state"].upper() not in _UNFINISHED:
            return
        if time.monotonic() >= deadline:
            raise OperationTimeoutError(
                f"{subject(table)}: its change of columns is {job['state']} for {timeout_s:.0f} s "
                f"({job.get('progress', '')}).",
                code="MA-SR-115",
                next_step="SHOW ALTER TABLE COLUMN shows it; run the command again to wait on.",
            )
        time.sleep(next(polls, _POLLS_S[-1]))


def _newest_job(client: StarRocks, table: TablePlan) -> dict[str, str] | None:
    """The table's last change of columns, as SHOW ALTER TABLE COLUMN lists it; names lower-case."""
    database = quote(table.starrocks_database, Named.DATABASE)
    answer = client.execute(
        f"SHOW ALTER TABLE COLUMN FROM {database} "
        f"WHERE TableName = {literal(table.starrocks_table)}",
        about=subject(table),
    )
    names = [name.lower() for name in answer.columns]
    jobs = [
        {name: str(value) for name, value in zip(names, row, strict=True)} for row in answer.rows
    ]
    return max(jobs, key=lambda job: int(job["jobid"]), default=None)


def _expect(client: StarRocks, table: TablePlan, name: str) -> None:
    """Make sure that a change arrived: a job may be cancelled by StarRocks.

    Raises:
        StatementError: quotes what StarRocks says of it.
    """
    found = find_table(client, table)
    if found is not None and name in dict(_changes(table, found)):
        job = _newest_job(client, table) or {}
        raise StatementError(
            f"{subject(table)}: the change of column {name} did not arrive: StarRocks says "
            f"{job.get('state', 'nothing')} {job.get('msg', '')}".rstrip()
            + ".",
            code="MA-SR-114",
            next_step="Run `migration-assets evolve` again; if it stays, `reset` reloads the table.",
        )

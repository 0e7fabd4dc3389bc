"""Changing a StarRocks table's columns: decided by what is there, waited for, redone."""

from __future__ import annotations

from typing import Any

import pytest

from migration_assets.errors import (
    CommitConflictError,
    OperationTimeoutError,
    SchemaDriftError,
    StatementError,
)
from migration_assets.plan import TablePlan
from migration_assets.schema import Column, MssqlType
from migration_assets.starrocks import ddl, evolution
from migration_assets.starrocks.wire import Answer
from migration_assets_tests.unit.source_tables import ID, TEXT
from migration_assets_tests.unit.test_replanning import made, orders

COUNT, WIDE = (
    Column("n", MssqlType("int", 4, 10), nullable=True),
    Column("n", MssqlType("bigint", 8, 19), nullable=True),
)
OLD = made(orders(ID, COUNT))
NEW = made(orders(ID, WIDE, Column("note", TEXT, nullable=True)), old=OLD).tables[0]
SHOWN = ["JobId", "TableName", "State", "Msg"]


class Server:
    """A StarRocks that has one table; each change of columns is a job of two looks."""

    server = "here:9030"

    def __init__(self, table: TablePlan) -> None:
        self.comment = ddl.table_comment(table)
        self.columns = {c.name: (c.starrocks_type, c.nullable) for c in table.starrocks_columns}
        self.sent: list[str] = []
        self.jobs: list[dict[str, Any]] = []
        self.busy = 0
        self.cancelled = False

    def connection(self) -> Any:
        import contextlib

        return contextlib.nullcontext()

    def query(self, sql: str, **_: Any) -> list[tuple[Any, ...]]:
        if "information_schema.tables" in sql:
            return [("BASE TABLE", self.comment)]
        if "information_schema.columns" in sql:
            return [
                (n, t.lower(), "YES" if null else "NO") for n, (t, null) in self.columns.items()
            ]
        raise AssertionError(sql)

    def execute(self, sql: str, **_: Any) -> Answer:
        if sql.startswith("SHOW ALTER TABLE COLUMN FROM `dbo` WHERE TableName = 'orders'"):
            rows = []
            for job in self.jobs:
                job["looks"] -= 1
                is_over = job["looks"] <= 0
                state = ("CANCELLED" if self.cancelled else "FINISHED") if is_over else "RUNNING"
                if is_over and not self.cancelled:
                    self.columns |= job["change"]
                rows.append((job["id"], "orders", state, "no memory" if self.cancelled else ""))
            return _answer(SHOWN, rows)
        self.sent.append(sql)
        if " COMMENT = " in sql:
            self.comment = sql.partition(" COMMENT = ")[2].strip("'")
            return _answer([], [])
        if self.busy:
            self.busy -= 1
            raise CommitConflictError("A schema change operation is in progress on the table")
        name, kind, null = sql.split(" COLUMN ")[1].split(" ", 2)
        change = {name.strip("`"): (kind, null == "NULL")}
        self.jobs.append({"id": len(self.jobs), "looks": 2, "change": change})
        return _answer([], [])


def _answer(columns: list[str], rows: list[tuple[Any, ...]]) -> Answer:
    return Answer(columns=tuple(columns), rows=tuple(rows), affected_rows=0, info="")


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evolution.time, "sleep", lambda _: None)


def evolve(server: Server, **more: Any) -> list[str]:
    return evolution.evolve_table(server, NEW, **more)  # type: ignore[arg-type] - what it uses of it


def test_columns_change_one_after_the_other_and_the_comment_last() -> None:
    server = Server(OLD.tables[0])
    assert evolve(server) == ["n", "note"]
    assert server.sent == [
        "ALTER TABLE `dbo`.`orders` MODIFY COLUMN `n` BIGINT NULL",
        "ALTER TABLE `dbo`.`orders` ADD COLUMN `note` VARCHAR(150) NULL",
        ddl.set_comment_sql(NEW),
    ]
    assert evolve(server) == []
    assert len(server.sent) == 3


@pytest.mark.parametrize("steps", range(4))
def test_interrupted_after_any_step_it_goes_on(steps: int) -> None:
    server = Server(OLD.tables[0])
    execute, left = server.execute, steps

    def cut(sql: str, **more: Any) -> Answer:
        nonlocal left
        if sql.startswith("ALTER"):
            if not left:
                raise KeyboardInterrupt
            left -= 1
        return execute(sql, **more)

    server.execute = cut  # type: ignore[method-assign] - the connection breaks
    if steps < 3:
        with pytest.raises(KeyboardInterrupt):
            evolve(server)
    server.execute = execute  # type: ignore[method-assign] - and is back
    evolve(server)
    assert len([sql for sql in server.sent if " COLUMN " in sql]) == 2
    assert server.comment == ddl.table_comment(NEW)


def test_a_load_that_holds_the_table_is_waited_for() -> None:
    server = Server(OLD.tables[0])
    server.busy = 3
    assert evolve(server) == ["n", "note"]


def test_a_job_that_does_not_end_in_time_and_one_that_is_cancelled() -> None:
    server = Server(OLD.tables[0])
    with pytest.raises(OperationTimeoutError, match=r"RUNNING for 0 s.*run the command again"):
        evolve(server, timeout_s=0)
    server = Server(OLD.tables[0])
    server.cancelled = True
    with pytest.raises(StatementError, match=r"column n did not arrive.*CANCELLED no memory"):
        evolve(server)
    assert server.comment == ddl.table_comment(OLD.tables[0])


def test_what_somebody_changed_or_another_plan_made_is_refused() -> None:
    server = Server(OLD.tables[0])
    server.columns["mine"] = ("INT", True)
    with pytest.raises(SchemaDriftError, match="column mine is not in the plan"):
        evolve(server)
    server = Server(made(orders(ID)).tables[0])
    with pytest.raises(
        SchemaDriftError, match=r"cannot evolve.*migration-assets reset dbo\.orders"
    ):
        evolve(server)
    assert server.sent == []

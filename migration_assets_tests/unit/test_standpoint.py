"""What a server shows, refuses or lacks when a step looks from where in time it reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest

from migration_assets.choices import Consistency
from migration_assets.errors import (
    AccessDeniedError,
    ConnectionLostError,
    MigrationError,
    ObjectNotFoundError,
    ServerBusyError,
    StatementError,
)
from migration_assets.mssql.client import SqlServer
from migration_assets.mssql.point_in_time import find_standpoint, start_watch
from migration_assets.receipts import Difference
from migration_assets_tests.unit.iceberg_tables import planned_column, planned_table

CREATED = datetime(2026, 1, 2)
LSN = "0x0000002A000001B80004"
Answer = Sequence[tuple[Any, ...]] | MigrationError


class Server:
    """Answers by the first pattern that a statement contains; others are refused."""

    settings = SimpleNamespace(database="shop_migration", server="db")

    def __init__(self, answers: Mapping[str, Answer]) -> None:
        self.answers = answers
        self.asked: list[str] = []

    def query(self, sql: str, *_: Any, **__: Any) -> Sequence[tuple[Any, ...]]:
        self.asked.append(sql)
        found = next((a for pattern, a in self.answers.items() if pattern in sql), None)
        if found is None:
            raise StatementError(f"not known: {sql}")
        if isinstance(found, MigrationError):
            raise found
        return found


def look(consistency: str, answers: Mapping[str, Answer]) -> Any:
    client = cast("SqlServer", Server(answers))
    return find_standpoint(client, Consistency(consistency), "shop")


def state(
    *, source: tuple[Any, Any] = (None, None), word: str = "ONLINE", cdc: bool = False
) -> Any:
    return [(*source, CREATED, word, 1, True, cdc)]


def test_lsn_and_version_where_the_server_has_them() -> None:
    found = look(
        "statement",
        {
            "sys.databases": state(cdc=True),
            "CHANGE_TRACKING": [(42,)],
            "fn_cdc_get_max_lsn": [(LSN,)],
        },
    )
    assert found.snapshot
    assert found.point.named == {"change-tracking-version": "42", "lsn": LSN}


def test_what_is_missing_or_denied_leaves_a_gap() -> None:
    found = look(
        "statement",
        {"sys.databases": state(cdc=True), "CHANGE_TRACKING": AccessDeniedError("no")},
    )
    assert found.snapshot
    assert found.point.named == {}


@pytest.mark.parametrize("answer", [AccessDeniedError("denied"), []])
def test_without_sys_databases_a_snapshot_is_tried_as_wished(answer: Answer) -> None:
    assert look("statement", {"sys.databases": answer}).snapshot
    assert not look("none", {"sys.databases": answer}).snapshot


def test_a_server_that_cannot_be_reached_is_an_error() -> None:
    with pytest.raises(ConnectionLostError):
        look("statement", {"sys.databases": ConnectionLostError("gone")})


def test_a_source_that_the_login_may_not_know_is_believed() -> None:
    found = look("database_snapshot", {"sys.databases": state(source=(5, None))})
    assert found.point.database_snapshot == "shop_migration"
    assert not found.snapshot
    assert not found.watched


def test_a_snapshot_whose_disk_was_full_says_so() -> None:
    with pytest.raises(ServerBusyError, match=r"SUSPECT\. .*migration-assets snapshot drop"):
        look("database_snapshot", {"sys.databases": state(source=(5, "shop"), word="SUSPECT")})


def test_a_snapshot_that_cannot_be_opened_says_so() -> None:
    with pytest.raises(ObjectNotFoundError, match="shop_migration, which the plan reads from"):
        look("database_snapshot", {"sys.databases": ObjectNotFoundError("no such database")})


# -- counters


def watched(answers: Mapping[str, Answer], **other: Any) -> Any:
    table = planned_table("s3://lake", **other)
    return start_watch(cast("SqlServer", Server(answers)), table)


def test_all_counters_are_asked_in_one_statement() -> None:
    server = Server({"sys.partitions": [(3, 10, None)]})
    watch = start_watch(cast("SqlServer", server), planned_table("s3://lake", "o'brien"))
    assert watch is not None
    (sql,) = server.asked
    assert "OBJECT_ID(N'[dbo].[o''brien]')" in sql
    assert watch.moved(lambda _: (3, 14, None)) == (
        Difference(what="modification counter", expected=10, found=14),
    )


def test_a_rowversion_is_a_counter() -> None:
    column = planned_column("v", 1, "binary").model_copy(update={"mssql_type": "timestamp"})
    watch = watched({"@@DBTS": [(1, 1, 1, 2001)]}, columns=(column,), sort_key=())
    assert watch.moved(lambda _: (1, 1, 1, 2002))[0].what == "rowversion of the database"


def test_only_what_the_server_shows_is_asked_again() -> None:
    watch = watched(
        {
            "sys.stats": AccessDeniedError("denied"),
            "CHANGE_TRACKING": StatementError("unknown"),
            "sys.partitions": [(3,)],
        }
    )
    assert watch.names == ("rows by the catalog",)
    assert watched({}) is None


def test_that_it_cannot_be_asked_afterwards_is_no_error() -> None:
    watch = watched({"sys.partitions": [(3, 10, None)]})

    def refused(_: str) -> tuple[Any, ...]:
        raise StatementError("denied meanwhile")

    assert watch.moved(refused) == ()

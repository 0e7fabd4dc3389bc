"""Dagster's SQLite history with kept connections: the same content, with few connections."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine

from migration_assets.assets import history
from migration_assets.assets.history import KEPT_OPEN, speed_up


@pytest.fixture
def undone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Leave Dagster as it was, for the tests that follow in this process."""
    from dagster._core.storage.event_log.sqlite import sqlite_event_log
    from dagster._core.storage.runs.sqlite import sqlite_run_storage

    for storage in (sqlite_event_log, sqlite_run_storage):
        monkeypatch.setattr(storage, "create_engine", storage.create_engine)
    yield
    for engine in history._engines.values():
        type(engine).dispose(engine)
    history._engines.clear()
    history._homes.clear()


@dg.asset
def one() -> int:
    return 1


def run_once(instance: dg.DagsterInstance) -> str:
    result = dg.materialize([one], instance=instance)
    assert result.success
    return result.run_id


def connections_of_a_run(instance: dg.DagsterInstance) -> int:
    opened = []

    def count(*_: object) -> None:
        opened.append(1)

    event.listen(Engine, "connect", count)
    try:
        run_once(instance)
    finally:
        event.remove(Engine, "connect", count)
    return len(opened)


@pytest.mark.usefixtures("undone")
def test_few_connections_and_the_same_history(tmp_path: Path) -> None:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        run_once(instance)
        before = connections_of_a_run(instance)
        speed_up(tmp_path)
        after = connections_of_a_run(instance)
        run_id = run_once(instance)
        assert before > 20
        assert after <= 5
        told = [entry.dagster_event_type for entry in instance.all_logs(run_id)]
        assert told[-1] is dg.DagsterEventType.RUN_SUCCESS
        # Another process, which knows nothing of this, sees all of it at once.
        (path,) = tmp_path.rglob(f"{run_id}.db")
        with sqlite3.connect(path) as other:
            (stored,) = other.execute("SELECT COUNT(*) FROM event_logs").fetchone()
        other.close()
        assert stored == len(told)
        assert instance.get_latest_materialization_event(one.key) is not None


@pytest.mark.usefixtures("undone")
def test_keeps_few_databases_open(tmp_path: Path) -> None:
    speed_up(tmp_path)
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        run_ids = [run_once(instance) for _ in range(KEPT_OPEN + 2)]
        assert len(history._engines) == KEPT_OPEN
        assert all(instance.all_logs(run_id) for run_id in run_ids)
        # A closed database has no write-ahead log any more.
        assert len(list(tmp_path.rglob("*.db-wal"))) <= KEPT_OPEN + 1


@pytest.mark.usefixtures("undone")
def test_other_databases_are_left_alone(tmp_path: Path) -> None:
    speed_up(tmp_path / "elsewhere")
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        run_once(instance)
    assert not history._engines

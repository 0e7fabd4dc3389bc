"""A pool's cap holds in Dagster's SQLite history, however many ask at once, and nobody is forgotten."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.storage.event_log import SqliteEventLogStorage

from migration_assets.assets import pool_slots
from migration_assets.assets.pool_slots import give_slots_singly

STEPS, ROUNDS = 4, 40
ASKS = """
import sys
import dagster as dg
from migration_assets.assets.history import speed_up
from migration_assets.assets.pool_slots import give_slots_singly
from pathlib import Path

speed_up(Path(sys.argv[1]))
give_slots_singly()
with dg.DagsterInstance.get() as instance:
    storage = instance.event_log_storage
    print("ready", flush=True)
    for line in sys.stdin:
        run, step = line.split()
        print(storage.claim_concurrency_slot("iceberg", run, step).is_claimed, flush=True)
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home in which slots are given singly; Dagster is left as it was."""
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    for name in pool_slots._ONE_AT_A_TIME:
        given = getattr(SqliteEventLogStorage, name)
        monkeypatch.setattr(SqliteEventLogStorage, name, getattr(given, "__wrapped__", given))
    give_slots_singly()
    return tmp_path


def test_a_step_that_asks_while_another_ends_is_not_forgotten(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with dg.DagsterInstance.local_temp(str(home)) as instance:
        storage = instance.event_log_storage
        storage.set_concurrency_slots("iceberg", 1)
        assert storage.claim_concurrency_slot("iceberg", "first", "step").is_claimed
        ends = threading.Thread(
            target=storage.free_concurrency_slot_for_step, args=("first", "step")
        )
        looked = SqliteEventLogStorage.has_unassigned_slots

        def looks_before_it_ends(self: Any, key: str) -> bool:
            found = looked(self, key)
            ends.start()
            ends.join(1)  # without the lock it is over by then, and has seen nobody wait
            return found

        with monkeypatch.context() as patched:
            patched.setattr(SqliteEventLogStorage, "has_unassigned_slots", looks_before_it_ends)
            assert not storage.claim_concurrency_slot("iceberg", "second", "step").is_claimed
        ends.join()
        assert storage.claim_concurrency_slot("iceberg", "second", "step").is_claimed


def test_one_of_the_methods_may_call_another(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with dg.DagsterInstance.local_temp(str(home)) as instance:
        storage = instance.event_log_storage

        def looks(self: Any, key: str) -> bool:
            self.set_concurrency_slots(key, 1)
            return True

        monkeypatch.setattr(SqliteEventLogStorage, "has_unassigned_slots", looks)
        assert storage.claim_concurrency_slot("iceberg", "run", "step").is_claimed


def test_steps_that_ask_at_once_are_given_different_slots(tmp_path: Path) -> None:
    environment = {"DAGSTER_HOME": str(tmp_path)}
    (tmp_path / "dagster.yaml").write_text("telemetry: {enabled: false}\n", encoding="utf-8")
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        storage = instance.event_log_storage
        storage.set_concurrency_slots("iceberg", STEPS - 1)
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", ASKS, str(tmp_path)],
                stdin=-1, stdout=-1, text=True, env=environment,
            )
            for _ in range(STEPS)
        ]  # fmt: skip

        def answer(process: subprocess.Popen[str]) -> str:
            assert process.stdout is not None
            return process.stdout.readline().strip()

        assert [answer(process) for process in processes] == ["ready"] * STEPS
        for turn in range(ROUNDS):
            for number, process in enumerate(processes):
                assert process.stdin is not None
                process.stdin.write(f"run{turn} step{number}\n")
                process.stdin.flush()
            claimed = [answer(process) for process in processes].count("True")
            slots = storage.get_concurrency_info("iceberg").active_slot_count
            assert claimed == slots <= STEPS - 1, turn
            storage.free_concurrency_slots_for_run(f"run{turn}")
        for process in processes:
            process.communicate()
    assert [process.returncode for process in processes] == [0] * STEPS

"""Which process lives, told by its lock, and how long a step has been tried, whatever the clock says."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from migration_assets.assets import failures, process_locks
from migration_assets.assets.failures import Retries
from migration_assets.assets.process_locks import is_held, own_lock

HOLD = """
import sys
from pathlib import Path
from migration_assets.assets.process_locks import own_lock
print(own_lock(Path(sys.argv[1])), flush=True)
sys.stdin.read()
"""


def test_a_lock_is_held_as_long_as_its_process_lives(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        name = process.stdout.readline().strip()
        assert is_held(tmp_path, name) is True
        process.kill()
        process.wait(30)
    assert is_held(tmp_path, name) is False
    # The next process clears up, and leaves alone what is held.
    own = own_lock(tmp_path)
    assert own is not None
    assert own_lock(tmp_path) == own
    assert [path.name for path in (tmp_path / "processes").iterdir()] == [own]
    assert is_held(tmp_path, own) is True


def test_without_a_file_the_lock_does_not_tell(tmp_path: Path) -> None:
    assert is_held(tmp_path, "gone.lock") is None
    assert is_held(tmp_path, "../elsewhere") is None


def test_where_files_cannot_be_locked_there_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(process_locks.fcntl, "flock", refuse)
    assert own_lock(tmp_path) is None


def test_a_clock_that_is_set_does_not_end_the_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    def record(failed_at: float) -> Any:
        told = SimpleNamespace(step_key="s", step_retry_data=SimpleNamespace(seconds_to_wait=2.0))
        return SimpleNamespace(
            event_log_entry=SimpleNamespace(dagster_event=told, timestamp=failed_at)
        )

    def step(*failed_at: float) -> Any:
        records = SimpleNamespace(records=[record(at) for at in failed_at])
        return SimpleNamespace(
            previous_attempt_count=len(failed_at),
            instance=SimpleNamespace(get_records_for_run=lambda *_, **__: records),
            run_id="r",
            step=SimpleNamespace(key="s"),
        )

    monkeypatch.setattr(failures, "_first_failed", {})
    now = time.time()
    first = Retries.before(step(now - 86_400))  # the clock went a day ahead meanwhile
    assert 2.0 <= first.since_s < 60
    second = Retries.before(step(now - 86_400, now))
    assert first.since_s <= second.since_s < 60
    # A process that did not see it fail has nothing else to go by.
    monkeypatch.setattr(failures, "_first_failed", {})
    assert Retries.before(step(now - 100, now)).since_s >= 100

"""A pool's cap holds in Dagster's SQLite history, however many ask in the same moment."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import dagster as dg

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

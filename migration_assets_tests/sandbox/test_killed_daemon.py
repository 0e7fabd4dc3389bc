"""Dagster's daemon and its code server are killed while a backfill goes on."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress

import dagster as dg
import pytest

from migration_assets.sandbox.control import Fault
from migration_assets_tests.reliability.soak import command_of, descendants
from migration_assets_tests.sandbox.bench import Bench, running
from migration_assets_tests.sandbox.project import WAIT_S, await_closed, kill, wait_until

MODULE = "migration_assets.definitions"
RULES = "tables: {dbo.Ranged: {partitions: 8}}\n"


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with running(tmp_path_factory.mktemp("daemon"), ["Ranged"], RULES) as made:
        yield made


def start_daemon(bench: Bench) -> subprocess.Popen[str]:
    """Start a daemon; returns when a load of its first run has come, which is held."""
    bench.starrocks.arm(Fault("delay", match="^INSERT OVERWRITE `dbo`.`ranged`", seconds=600))
    script = f'eval "$(migration-assets env)"; exec dagster-daemon run -m {MODULE}'
    daemon = bench.project.start("/bin/bash", "-ec", script)
    wait_until(lambda: bench.starrocks.faults()[0].struck or daemon.poll() is not None, "a load")
    assert daemon.poll() is None, (bench.project.folder / "output").read_text()
    return daemon


def kill_code_server(daemon: subprocess.Popen[str]) -> None:
    """Kill a daemon's code server, then its runs: it would tell of a run that died."""
    found = descendants(daemon.pid) - {daemon.pid}
    for process in sorted(found, key=lambda one: "grpc" not in command_of(one)):
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)


def ends(bench: Bench) -> Counter[str]:
    """How many of the backfill's runs have which status."""
    with bench.project.instance() as instance:
        runs = instance.get_runs(dg.RunsFilter(tags={"killed": "yes"}))
    return Counter(run.status.value for run in runs)


@pytest.mark.timeout(900)  # two daemons are started, also on a busy machine
def test_a_killed_daemon_and_a_killed_code_server_cost_one_retry(bench: Bench) -> None:
    bench.project.shell(
        f"""
        eval "$(migration-assets env)"
        dagster job backfill -m {MODULE} --job migrate_p008 --partitions p000,p001,p002 \\
          --tags '{{"killed": "yes"}}' --noprompt
        """
    ).ok()
    # The daemon alone: its code server ends the run that it has begun.
    daemon = start_daemon(bench)
    daemon.kill()
    daemon.wait(WAIT_S)
    bench.disarm()
    wait_until(lambda: ends(bench) == {"SUCCESS": 1, "QUEUED": 2}, "the end of that run")
    # The code server, with the run in it: a new daemon's monitoring ends that, and goes on.
    daemon = start_daemon(bench)
    kill_code_server(daemon)
    bench.disarm()
    wait_until(lambda: ends(bench) == {"SUCCESS": 2, "FAILURE": 1}, "the end of the backfill")
    kill(daemon)
    failed = bench.project.run("status", "--failed").ok().out
    assert re.search(r"Its process \d+ on .* is gone\.", failed), failed
    bench.project.run("run", "--failed", "--tables", "dbo.Ranged").ok()
    bench.assert_arrived("Ranged")
    assert bench.reads() == {"Ranged": 8}, "each partition was read once"
    assert [await_closed(bench.sandbox, name) for name in ("sqlserver", "starrocks")] == [0, 0]

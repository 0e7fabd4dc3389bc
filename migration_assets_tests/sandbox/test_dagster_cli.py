"""The other ways to start and retry: `dagster` commands in a clean shell, and what the UI sends."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from migration_assets.sandbox.control import Control, Fault
from migration_assets.sandbox.launcher import Sandbox
from migration_assets_tests.reliability.soak import command_of, descendants
from migration_assets_tests.sandbox.project import (
    WAIT_S,
    Project,
    Result,
    Statements,
    await_closed,
    kill,
    starrocks_rows,
    wait_until,
)

MODULE = "migration_assets.definitions"
ROWS = 80
SCRIPT = f"""
CREATE TABLE dbo.Parts (Id int NOT NULL PRIMARY KEY, Name nvarchar(20) NOT NULL);
GO
INSERT INTO dbo.Parts VALUES {", ".join(f"({n}, N'part {n}')" for n in range(ROWS))};
GO
"""
RULES = "tables: {dbo.Parts: {partitions: 8}}\n"
ASSETS = [["mssql", "dbo", "Parts"], ["iceberg", "dbo", "parts"], ["starrocks", "dbo", "parts"]]
BROKEN = ("p003", "p004", "p005", "p006")
LAUNCH = """
mutation Launch($params: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $params) {
    __typename
    ... on LaunchBackfillSuccess { backfillId }
    ... on PythonError { message }
  }
}
"""


@dataclass
class Bench:
    """A project of one table, four of whose eight partitions have failed."""

    project: Project
    log: Statements
    first: Result

    def reads(self) -> Counter[str]:
        """How often the rows of each partition were asked for, from the beginning on."""
        table = self.project.table("dbo.Parts")
        found: Counter[str] = Counter()
        for text in self.log.matching(r"AS \[name\] FROM \[dbo\]\.\[Parts\]"):
            for key_range in table["key_ranges"]:
                lower, upper = key_range["lower"], key_range["upper"]
                if (f">= {lower}" in text) is (lower is not None) and (f"< {upper}" in text) is (
                    upper is not None
                ):
                    found[f"p{key_range['source_partition']:03d}"] += 1
        return found

    def states(self) -> dict[str, str]:
        """The state of each partition in StarRocks."""
        return {key: line["starrocks"] for (_, key), line in self.project.status().items()}

    def loaded(self) -> list[tuple[Any, ...]]:
        """The rows that StarRocks holds."""
        return starrocks_rows(self.project.settings, "SELECT id, name FROM dbo.parts")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("dagster")


@pytest.fixture(scope="module")
def sandbox(folder: Path) -> Iterator[Sandbox]:
    (folder / "tables.sql").write_text(SCRIPT, encoding="utf-8")
    words = {"sqlserver": [f"--script={folder / 'tables.sql'}"]}
    with Sandbox(scale=None, statements_dir=folder, extra_arguments=words) as running:
        yield running


@pytest.fixture(scope="module")
def bench(folder: Path, sandbox: Sandbox) -> Iterator[Bench]:
    (folder / "migration.yaml").write_text(RULES, encoding="utf-8")
    project = Project(folder, sandbox.settings)
    project.run("doctor", "--fix").ok()
    project.run("plan").ok()
    lower = [r["lower"] for r in project.table("dbo.Parts")["key_ranges"]]
    wanted = "|".join(lower[int(key[1:])] for key in BROKEN)
    sandbox.control("sqlserver").arm(
        Fault("error", match=rf"\[Parts\] WHERE \[Id\] >= ({wanted}) ", number=8134)
    )
    first = project.run("run")
    sandbox.control("sqlserver").arm()
    try:
        yield Bench(project, Statements(folder / "sqlserver.jsonl"), first)
    finally:
        project.close()


@pytest.fixture(scope="module")
def dagster(bench: Bench) -> Iterator[str]:
    """The address of a running `dagster dev`: webserver and daemon, as a user starts them."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    script = f'eval "$(migration-assets env)"; exec dagster dev -m {MODULE} -h 127.0.0.1 -p {port}'
    process = bench.project.start("/bin/bash", "-ec", script)
    address = f"http://127.0.0.1:{port}"

    def answers() -> bool:
        assert process.poll() is None, (bench.project.folder / "output").read_text()
        try:
            with urllib.request.urlopen(f"{address}/server_info", timeout=5):
                return True
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return False

    wait_until(answers, "dagster dev")
    yield address
    process.terminate()
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        kill(process)


def graphql(address: str, query: str, **variables: Any) -> Any:
    request = urllib.request.Request(
        f"{address}/graphql",
        json.dumps({"query": query, "variables": variables}).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        found = json.load(answer)
    assert "errors" not in found, found
    return found["data"]


def test_four_partitions_failed_and_four_are_done(bench: Bench) -> None:
    assert bench.first.code == 1, str(bench.first)
    keys = [f"p{number:03d}" for number in range(8)]
    assert bench.states() == {key: "missing" if key in BROKEN else "done" for key in keys}
    failed = {key for (_, key), line in bench.project.status().items() if line["mssql"] == "failed"}
    assert failed == set(BROKEN)
    assert set(bench.reads()) == set(keys)


def test_dagster_asset_materialize_retries_just_one(bench: Bench) -> None:
    before = bench.reads()
    bench.project.shell(
        f"""
        eval "$(migration-assets env)"
        dagster asset materialize -m {MODULE} --select 'key:"mssql/dbo/Parts"+' --partition p003
        """
    ).ok()
    assert bench.reads() - before == {"p003": 1}
    states = bench.states()
    assert states["p003"] == "done"
    assert {states[key] for key in BROKEN[1:]} == {"missing"}


def test_the_ui_s_backfill_and_dagster_job_backfill_retry_just_one_each(
    bench: Bench, dagster: str
) -> None:
    before = bench.reads()
    selected = [
        {"assetKey": {"path": path}, "partitions": {"ranges": [{"start": "p004", "end": "p004"}]}}
        for path in ASSETS
    ]
    launched = graphql(dagster, LAUNCH, params={"partitionsByAssets": selected})
    assert launched["launchPartitionBackfill"]["__typename"] == "LaunchBackfillSuccess", launched
    bench.project.shell(
        f"""
        eval "$(migration-assets env)"
        dagster job backfill -m {MODULE} --job migrate_p008 --partitions p005 --noprompt
        """
    ).ok()
    watched = bench.project.run("status", "--watch")
    assert watched.code == 1, "p006 is still failed"
    assert bench.reads() - before == {"p004": 1, "p005": 1}
    states = bench.states()
    assert {key: states[key] for key in BROKEN} == {
        "p003": "done", "p004": "done", "p005": "done", "p006": "missing",
    }  # fmt: skip


def test_run_failed_makes_the_last_one_and_watch_ends_with_0(bench: Bench) -> None:
    before = bench.reads()
    bench.project.run("run", "--failed").ok()
    assert bench.reads() - before == {"p006": 1}
    bench.project.run("status", "--watch").ok()
    rows = bench.loaded()
    assert len(rows) == ROWS
    assert set(rows) == {(n, f"part {n}") for n in range(ROWS)}


@dataclass
class Held:
    """A daemon that makes the runs of a backfill, one at a time, and the load it waits for."""

    bench: Bench
    starrocks: Control

    def start(self) -> subprocess.Popen[str]:
        """Start a daemon; loads are held from now on."""
        self.starrocks.arm(Fault("delay", match="^INSERT OVERWRITE `dbo`.`parts`", seconds=600))
        script = f'eval "$(migration-assets env)"; exec dagster-daemon run -m {MODULE}'
        return self.bench.project.start("/bin/bash", "-ec", script)

    def await_load(self) -> None:
        """Wait until a load has come and is held."""
        wait_until(lambda: self.starrocks.faults()[0].struck, "a load")

    def ends(self) -> Counter[str]:
        """How many of the backfill's runs have which status."""
        with self.bench.project.instance() as instance:
            runs = instance.get_runs(dg.RunsFilter(tags={"killed": "yes"}))
        return Counter(run.status.value for run in runs)


def kill_code_server(daemon: subprocess.Popen[str]) -> None:
    """Kill a daemon's code server, then its runs: it would tell of a run that died."""
    found = descendants(daemon.pid) - {daemon.pid}
    for process in sorted(found, key=lambda one: "grpc" not in command_of(one)):
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)


@pytest.mark.timeout(900)  # two daemons are started, also on a busy machine
def test_a_killed_daemon_and_a_killed_code_server_cost_one_retry(
    bench: Bench, sandbox: Sandbox
) -> None:
    before = bench.reads()
    bench.project.shell(
        f"""
        eval "$(migration-assets env)"
        dagster job backfill -m {MODULE} --job migrate_p008 --partitions p000,p001,p002 \\
          --tags '{{"killed": "yes"}}' --noprompt
        """
    ).ok()
    held = Held(bench, sandbox.control("starrocks"))
    # The daemon alone: its code server ends the run that it has begun.
    daemon = held.start()
    held.await_load()
    daemon.kill()
    daemon.wait(WAIT_S)
    held.starrocks.arm()
    wait_until(lambda: held.ends() == {"SUCCESS": 1, "QUEUED": 2}, "the end of that run")
    # The code server, with the run in it: a new daemon's monitoring ends that, and goes on.
    daemon = held.start()
    held.await_load()
    kill_code_server(daemon)
    held.starrocks.arm()
    wait_until(lambda: held.ends() == {"SUCCESS": 2, "FAILURE": 1}, "the end of the backfill")
    kill(daemon)
    failed = bench.project.run("status", "--failed").ok().out
    assert re.search(r"Its process \d+ on .* is gone\.", failed), failed
    keys = ("p000", "p001", "p002")
    # Its comparison of whole tables says more than this test is about, where it is run alone.
    bench.project.run("run", "--failed", "--partitions", ",".join(keys))
    assert bench.reads() - before == dict.fromkeys(keys, 1)
    states = bench.states()
    assert {states[key] for key in keys} == {"done"}
    rows = bench.loaded()
    assert len(rows) == len(set(rows))
    assert await_closed(sandbox, "starrocks") == await_closed(sandbox, "sqlserver") == 0


def test_env_is_fit_for_a_shell_and_holds_no_secret(bench: Bench, tmp_path: Path) -> None:
    said = bench.project.run("env").ok().out
    names = [line.split("=")[0].removeprefix("export ") for line in said.splitlines()]
    assert names == ["DAGSTER_HOME", "MIGRATION_PLAN"]
    for name, value in bench.project.settings.items():
        if "PASSWORD" in name or "SECRET" in name:
            assert value not in said

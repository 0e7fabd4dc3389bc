"""A user's project in a folder of its own, driven by the real commands in a clean environment."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import dagster as dg
import pymssql
import pymysql
from pyiceberg.catalog import Catalog, load_catalog

from migration_assets.sandbox.launcher import Sandbox
from migration_assets_tests.sandbox.warm import WarmCommands

BIN = Path(sys.executable).parent
WAIT_S = 600.0
"""Bounds each wait: generous, since a busy machine is not a failure."""


@dataclass(frozen=True)
class Result:
    """How a command ended."""

    code: int
    out: str
    err: str

    def __str__(self) -> str:
        return f"exit code {self.code}\n--- stdout\n{self.out}\n--- stderr\n{self.err}"

    def ok(self) -> Result:
        """Assert success."""
        assert self.code == 0, str(self)
        return self


@dataclass
class Project:
    """A folder with a plan, its Dagster history, and the settings of a sandbox.

    Attributes:
        settings: what the commands find in their environment, beside a bare PATH and HOME.
        processes: what `start` started; ended by `close`.
        said: what each command printed that `execute` ran to its end.
    """

    folder: Path
    settings: Mapping[str, str]
    processes: list[subprocess.Popen[str]] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    def environment(self, **changes: str | None) -> dict[str, str]:
        """A clean environment: nothing of the tests' own gets in; None removes a setting."""
        given: dict[str, str | None] = {
            "PATH": f"{BIN}:/usr/bin:/bin",
            "HOME": str(self.folder),
            "LANG": "C.UTF-8",
            "COLUMNS": "200",
            "MIGRATION_CONCURRENT_RUNS": "1",
            "MIGRATION_RETRIES": "10",
            "MIGRATION_RETRY_FIRST_WAIT_S": "0.2",
            "MIGRATION_RETRY_LONGEST_WAIT_S": "2",
            **self.settings,
            **changes,
        }
        return {name: value for name, value in given.items() if value is not None}

    def run(self, *arguments: str, **changes: str | None) -> Result:
        """Run `migration-assets` to its end, which comes within `WAIT_S`."""
        environment = self.environment(**changes)
        return Result(*_warm().run(arguments, cwd=self.folder, env=environment, timeout=WAIT_S))

    def shell(self, script: str) -> Result:
        """Run what a person types, in a clean shell; it stops at the first error."""
        return self.execute("/bin/bash", "-ec", script)

    def execute(self, *command: str, **changes: str | None) -> Result:
        """Run a command to its end, which comes within `WAIT_S`."""
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment(**changes), capture_output=True,
            text=True, timeout=WAIT_S, check=False,
        )  # fmt: skip
        self.said += [done.stdout, done.stderr]
        return Result(done.returncode, done.stdout, done.stderr)

    def start(self, *command: str, **changes: str | None) -> subprocess.Popen[str]:
        """Start a command in a process group of its own; its output goes to `<folder>/output`."""
        with (self.folder / "output").open("a") as output:
            process = subprocess.Popen(
                command, cwd=self.folder, env=self.environment(**changes), stdout=output,
                stderr=subprocess.STDOUT, text=True, start_new_session=True,
            )  # fmt: skip
        self.processes.append(process)
        return process

    def start_run(self, *arguments: str, **changes: str | None) -> subprocess.Popen[str]:
        """Start `migration-assets run` in the background."""
        return self.start(str(BIN / "migration-assets"), "run", *arguments, **changes)

    def close(self) -> None:
        """Kill what still runs."""
        for process in self.processes:
            kill(process)

    @property
    def plan(self) -> dict[str, Any]:
        """The plan, read as plain JSON."""
        found: dict[str, Any] = json.loads((self.folder / "migration_plan.json").read_text())
        return found

    def table(self, name: str) -> dict[str, Any]:
        """The plan of `schema.table`."""
        return next(
            table for table in self.plan["tables"]
            if f"{table['source_schema']}.{table['source_name']}" == name
        )  # fmt: skip

    @property
    def report(self) -> dict[str, Any]:
        """The `report.json` of the last run, its tables by name."""
        found: dict[str, Any] = json.loads((self.folder / "report.json").read_text())
        return found | {"tables": {table["table"]: table for table in found["tables"]}}

    def status(self, *arguments: str) -> dict[tuple[str, str], dict[str, str]]:
        """`status --json`: table and partition key to what it says."""
        lines = self.run("status", "--json", *arguments).ok().out.splitlines()
        said = [json.loads(line) for line in lines]
        return {(line["table"], line["partition"]): line for line in said}

    @contextmanager
    def instance(self) -> Iterator[dg.DagsterInstance]:
        """The project's Dagster instance."""
        with dg.DagsterInstance.from_config(str(self.folder / ".dagster")) as instance:
            yield instance

    def materializations(self, *path: str) -> dict[str, int]:
        """How often each partition of an asset was materialized."""
        with self.instance() as instance:
            found = instance.fetch_materializations(dg.AssetKey(path), limit=1000).records
        return dict(Counter(str(record.partition_key) for record in found))

    def data_versions(self, *path: str) -> dict[str, str]:
        """The data version of each partition's newest materialization."""
        with self.instance() as instance:
            records = instance.fetch_materializations(dg.AssetKey(path), limit=1000).records
        found: dict[str, str] = {}
        for record in records:  # newest first
            tags = record.asset_materialization.tags if record.asset_materialization else {}
            found.setdefault(str(record.partition_key), tags["dagster/data_version"])
        return found


@cache
def _warm() -> WarmCommands:
    return WarmCommands()


def kill(process: subprocess.Popen[str]) -> None:
    """SIGKILL a process and all of its group, from outside, at once; they are gone afterwards."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    await_end(process)


def await_end(process: subprocess.Popen[str]) -> None:
    """Wait until a process and all of its group are gone."""
    process.wait(WAIT_S)
    wait_until(lambda: not _group(process.pid), "the end of a group of processes")


def _group(leader: int) -> list[str]:
    """The processes of a group that have not ended, by /proc/<pid>/stat.

    A process whose first thread is dead may have others that still die, and hold its sockets.
    """
    found = []
    for file in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, _, group = file.read_text().rpartition(")")[2].split()[:3]
            if group == str(leader):
                threads = list((file.parent / "task").iterdir())
                if state not in {"Z", "X"} or len(threads) > 1:
                    found.append(file.parent.name)
    return found


def wait_until(condition: Callable[[], Any], what: str = "") -> Any:
    """Wait for something to become true, `WAIT_S` at most; returns it."""
    deadline = time.monotonic() + WAIT_S
    while not (found := condition()):
        assert time.monotonic() < deadline, f"waited in vain for {what or condition}"
        time.sleep(0.05)
    return found


@dataclass(frozen=True)
class Statements:
    """What a stand-in received, from its log."""

    path: Path

    def matching(self, pattern: str, outcome: str = "received") -> list[str]:
        """Statements with a certain outcome that a regular expression is found in."""
        return [entry["statement"] for entry in self.entries(pattern, outcome)]

    def entries(self, pattern: str, outcome: str) -> list[dict[str, Any]]:
        """Their whole lines."""
        if not self.path.exists():
            return []
        lines = self.path.read_text().splitlines(keepends=True)
        whole = [line for line in lines if line.endswith("\n")]  # the last may be half written
        found = [json.loads(line) for line in whole if f'"outcome": "{outcome}"' in line]
        return [entry for entry in found if re.search(pattern, entry["statement"], re.DOTALL)]


def await_closed(sandbox: Sandbox, name: str) -> int:
    """How many connections stay open; a server learns of a closed socket a moment later."""
    deadline = time.monotonic() + 10
    while (still := sandbox.control(name).state().open) and time.monotonic() < deadline:
        time.sleep(0.05)
    return still


def run_tsql(settings: Mapping[str, str], *statements: str) -> None:
    """Run T-SQL on the source, each statement by itself."""
    with closing(
        pymssql.connect(
            server=settings["MSSQL_HOST"], port=settings["MSSQL_PORT"],
            user=settings["MSSQL_USER"], password=settings["MSSQL_PASSWORD"],
            database=settings["MSSQL_DATABASE"], autocommit=True,
        )
    ) as connection, connection.cursor() as cursor:  # fmt: skip
        for statement in statements:
            cursor.execute(statement)


def iceberg_catalog(settings: Mapping[str, str]) -> Catalog:
    """The sandbox's Glue catalog, configured here and not by the product."""
    endpoint, region = settings["AWS_ENDPOINT_URL"], settings["AWS_REGION"]
    access, secret = settings["AWS_ACCESS_KEY_ID"], settings["AWS_SECRET_ACCESS_KEY"]
    return load_catalog(
        "tests",
        **{
            "type": "glue", "glue.endpoint": endpoint, "glue.region": region,
            "glue.access-key-id": access, "glue.secret-access-key": secret,
            "s3.endpoint": endpoint, "s3.region": region,
            "s3.access-key-id": access, "s3.secret-access-key": secret,
        },
    )  # fmt: skip


def starrocks_rows(settings: Mapping[str, str], query: str) -> list[tuple[Any, ...]]:
    """Ask the sandbox's StarRocks through pymysql, on a connection that is closed afterwards."""
    connection = pymysql.connect(
        host=settings["STARROCKS_HOST"], port=int(settings["STARROCKS_PORT"]),
        user=settings["STARROCKS_USER"], password=settings["STARROCKS_PASSWORD"],
        autocommit=True, read_timeout=WAIT_S,
    )  # fmt: skip
    try:
        with connection.cursor() as cursor:
            cursor.execute(query)
            return list(cursor.fetchall())
    finally:
        connection.close()

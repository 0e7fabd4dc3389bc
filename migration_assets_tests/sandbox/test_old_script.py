"""What ended the script that this replaces, each defect a test of its own.

It died at table 315 of 342 with `2003 (HY000): Can't connect to MySQL server (111)`: each table that
had failed had left its connections open, until StarRocks refused the next. Started again with
`resume`, it appended what it had already loaded of the table in which it had been broken off. It also
kept what it had read of each table: `test_reader.py` reads forty and looks at its memory, `make soak`
looks at that of all processes.

One database with many tables is migrated as `make soak` does it, and a third of the tables fail.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from migration_assets.sandbox.control import Fault
from migration_assets.sandbox.launcher import Sandbox
from migration_assets_tests.reliability.soak import LIMITS, Size, Soak, sandbox_of, soak
from migration_assets_tests.sandbox.project import (
    Project,
    Statements,
    await_closed,
    iceberg_catalog,
    kill,
    starrocks_rows,
    wait_until,
)

SIZES = (Size(24, 100), Size(1, 10_000))
LARGE = "by_int_10000_000"
"""Eight partitions."""


@dataclass
class Old:
    """What was migrated, and what came of it."""

    folder: Path
    sandbox: Sandbox
    soak: Soak
    connections: dict[str, int]

    @property
    def project(self) -> Project:
        settings = {**self.sandbox.settings, "MIGRATION_RETRIES": "1"}
        return Project(self.folder, settings)


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Old]:
    folder = tmp_path_factory.mktemp("old")
    with sandbox_of(folder, SIZES) as sandbox:
        sandbox.control("sqlserver").arm(
            # While its rows are read, and for good.
            Fault("error", match=r"AS \[note\] FROM \[dbo\]\.\[heap_", number=8134),
            Fault("drop", match=r"AS \[note\] FROM \[dbo\]\.\[by_text_", after_bytes=500),
        )
        sandbox.control("starrocks").arm(
            Fault("error", match="^INSERT OVERWRITE `dbo`.`by_two_", number=1064, message="No.")
        )
        settings = {"MIGRATION_CONCURRENT_RUNS": "1", "MIGRATION_RETRIES": "1"}
        found = soak(folder, sandbox, every=1, settings=settings)
        for name in LIMITS:
            sandbox.control(name).arm()
        opened = {name: sandbox.control(name).state().opened for name in LIMITS}
        yield Old(folder, sandbox, found, opened)


def test_tables_that_fail_leave_no_connection_open(old: Old) -> None:
    assert old.soak.code == 1
    failed = {one["table"] for one in old.soak.report["failures"]}
    kinds = Counter(name.removeprefix("dbo.").rsplit("_", 2)[0] for name in failed)
    assert kinds == {"heap": 4, "by_text": 4, "by_two": 4}
    for server, limit in LIMITS.items():
        counted = old.soak.counters[server]
        assert counted.refused == 0, server
        assert 1 <= counted.max_open <= limit, server
        assert old.soak.still_open[server] == 0, server
        # Had each failure kept one open, the server would have refused the rest.
        assert len(failed) > limit
        assert old.connections[server] > limit
    tables = old.soak.report["tables"]
    assert {name for name, table in tables.items() if table["status"] == "done"} == set(
        tables
    ) - failed


def rows_of(old: Old) -> dict[str, list[int]]:
    """The keys of the large table in both targets, sorted."""
    catalog = iceberg_catalog(old.sandbox.settings)
    table = catalog.load_table(("dbo", LARGE)).scan(selected_fields=("id",)).to_arrow()
    loaded = starrocks_rows(old.sandbox.settings, f"SELECT id FROM dbo.{LARGE}")
    return {
        "iceberg": sorted(table["id"].to_pylist()),
        "starrocks": sorted(int(number) for (number,) in loaded),
    }


BROKEN_AT = {
    "starrocks": (f"^INSERT OVERWRITE `dbo`.`{LARGE}`", 3),
    "aws": (f"AWSGlue.UpdateTable dbo.{LARGE}", 2),
    "sqlserver": (rf"AS \[note\] FROM \[dbo\]\.\[{LARGE}\]", 2),
}
"""By server, the statement at which a run is killed, and which one of them it is."""


def break_off(old: Old, server: str, *words: str) -> None:
    """Kill a run from outside, at a statement that a server receives."""
    pattern, which = BROKEN_AT[server]
    log = Statements(old.folder / "statements" / f"{server}.jsonl")
    control = old.sandbox.control(server)
    enough = len(log.matching(pattern)) + which
    control.arm(Fault("delay", match=pattern, seconds=0.5))
    process = old.project.start_run(*words)
    wait_until(lambda: len(log.matching(pattern)) >= enough or process.poll() is not None, pattern)
    assert process.poll() is None, "it ended before it could be broken off"
    kill(process)
    control.arm()
    still_open = {name: await_closed(old.sandbox, name) for name in LIMITS}
    assert still_open == dict.fromkeys(LIMITS, 0)


def test_resuming_what_was_broken_off_again_and_again_doubles_nothing(old: Old) -> None:
    """The first run over an empty table, and each that goes on from it, is killed."""
    words, whole = ("--tables", f"dbo.{LARGE}"), list(range(10_000))
    old.project.run("reset", f"dbo.{LARGE}", "--yes").ok()
    loaded = 0
    for number, server in enumerate(BROKEN_AT):
        break_off(old, server, *(["--failed"] if number else []), *words)
        found = rows_of(old)
        for system, ids in found.items():
            assert len(ids) == len(set(ids)), (server, system)
            assert set(ids) < set(whole), (server, system)
        assert len(found["starrocks"]) >= loaded > 0 or not number, "what was loaded stays"
        loaded = len(found["starrocks"])
    old.project.run("run", "--failed", *words).ok()
    assert rows_of(old) == {"iceberg": whole, "starrocks": whole}
    old.project.run("validate", *words).ok()

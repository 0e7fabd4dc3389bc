"""SIGKILL at every moment that has a name: nothing is lost or doubled, what is left over is known.

A table for each moment, a worker for each table, all held there at once, and one SIGKILL for all.
At random moments: `make kill-matrix`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import dagster as dg
import pytest

from migration_assets.sandbox.control import Fault
from migration_assets_tests.reliability.copies import Difference, Leftovers, leftovers
from migration_assets_tests.reliability.kill_matrix import SERVERS, differences, remove_orphans
from migration_assets_tests.reliability.kill_points import POINTS, KillPoint, is_reached
from migration_assets_tests.sandbox.bench import Bench, running
from migration_assets_tests.sandbox.project import Result, await_closed, kill, wait_until

pytestmark = pytest.mark.timeout(900)  # eight workers at once, also on a busy machine

TABLES = [point.table for point in POINTS]
RULES = "defaults: {isolated: true}\n"


@dataclass
class Killed:
    """What was there after the kill, after `run --failed`, and after maintenance."""

    before: dict[str, str]
    slots_before: int
    committed: list[str]
    resumed: Result
    after: set[str]
    slots_after: int
    reads: Counter[str]
    reports: dict[str, Any]
    left: Leftovers
    maintained: Leftovers = field(default_factory=Leftovers)
    differences: dict[str, dict[str, Difference]] = field(default_factory=dict)
    still_open: dict[str, int] = field(default_factory=dict)


def slots_taken(instance: dg.DagsterInstance) -> int:
    storage = instance.event_log_storage
    infos = [storage.get_concurrency_info(key) for key in storage.get_concurrency_keys()]
    return sum(info.active_slot_count for info in infos)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with running(tmp_path_factory.mktemp("kills"), TABLES, RULES) as made:
        yield made


@pytest.fixture(scope="module")
def killed(bench: Bench) -> Killed:
    faults: dict[str, list[Fault]] = {}
    for point in POINTS:
        faults.setdefault(point.server, []).append(point.fault)
    for server, armed in faults.items():
        bench.sandbox.control(server).arm(*armed)
    process = bench.project.start_run(MIGRATION_CONCURRENT_RUNS=str(len(POINTS)))

    def is_there(point: KillPoint) -> bool:
        return is_reached(point, bench.sandbox.control(point.server).faults())

    for point in POINTS:
        wait_until(lambda p=point: is_there(p) or process.poll() is not None, point.name)
    assert process.poll() is None, (bench.project.folder / "output").read_text()
    kill(process)
    committed = bench.logs["aws"].matching(r"UpdateTable dbo\.", outcome="ok")
    bench.disarm()
    with bench.project.instance() as instance:
        before = {run.run_id: run.status.value for run in instance.get_runs()}
        slots_before = slots_taken(instance)
    reads = bench.reads()
    resumed = bench.project.run("run", "--failed", MIGRATION_CONCURRENT_RUNS="2")
    with bench.project.instance() as instance:
        found = Killed(
            before,
            slots_before,
            [text.rpartition(".")[2] for text in committed],
            resumed,
            {r.status.value for r in instance.get_runs() if before.get(r.run_id) == "STARTED"},
            slots_taken(instance),
            bench.reads() - reads,
            bench.project.report["tables"],
            leftovers(bench.project.settings),
        )
    remove_orphans(bench.project)
    found.maintained = leftovers(bench.project.settings)
    found.differences = differences(bench.project)
    found.still_open = {name: await_closed(bench.sandbox, name) for name in SERVERS}
    return found


def test_the_kill_came_at_the_moments(killed: Killed) -> None:
    assert Counter(killed.before.values()) == {"STARTED": len(POINTS)}
    assert killed.slots_before == len(POINTS)
    stages = [point.table for point in POINTS]
    swapped = stages[stages.index("Swapped") :]
    assert sorted(killed.committed) == sorted(name.lower() for name in swapped)


@pytest.mark.parametrize("point", POINTS, ids=lambda point: point.table)
def test_after_a_kill_failed_goes_on_without_loss_or_duplicate(
    point: KillPoint, killed: Killed
) -> None:
    killed.resumed.ok()
    assert killed.differences[point.full_name] == {
        "iceberg": Difference(), "starrocks": Difference(),
    }  # fmt: skip
    assert killed.reads[point.table] == point.reads


@pytest.mark.parametrize("point", POINTS, ids=lambda point: point.table)
def test_what_a_kill_leaves_over_is_known(point: KillPoint, bench: Bench, killed: Killed) -> None:
    table = bench.project.table(point.full_name)
    found = {folder: killed.left.of(table, folder) for folder in ("data", "metadata")}
    assert len(found["data"]) == point.data, found
    assert len(found["metadata"]) == point.metadata, found


def test_maintenance_removes_it_and_the_copies_stay_whole(killed: Killed) -> None:
    assert len(killed.left.files) == sum(point.data + point.metadata for point in POINTS)
    assert killed.left.uploads == ()
    assert killed.maintained == Leftovers()
    assert all(report["valid"] for report in killed.reports.values())


def test_dead_runs_are_ended_and_give_back_their_slots(killed: Killed) -> None:
    assert killed.after == {"FAILURE"}
    assert killed.slots_after == 0
    assert set(killed.still_open.values()) == {0}

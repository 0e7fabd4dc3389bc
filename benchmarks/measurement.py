"""What a piece of work costs, measured in a process of its own.

Absolute times say more about the machine than about the program, so the benchmarks alternate their
variants within one run and print ratios of medians.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
_MEBIBYTE = 2**20


@dataclass
class Cost:
    """What a piece of work cost.

    Attributes:
        wall: seconds that passed.
        cpu: seconds of processor time of the process, all its threads.
        peak: highest resident memory of the process in bytes, imports included.
        detail: whatever else a variant has to say.
    """

    wall: float = 0.0
    cpu: float = 0.0
    peak: int = 0
    detail: dict[str, Any] = field(default_factory=dict)


@contextmanager
def measured(cost: Cost) -> Iterator[Cost]:
    """Measure the block; what was imported and opened before it costs nothing."""
    cpu, wall = time.process_time(), time.perf_counter()
    try:
        yield cost
    finally:
        cost.wall += time.perf_counter() - wall
        cost.cpu += time.process_time() - cpu
        cost.peak = peak_memory()


def peak_memory() -> int:
    """Highest resident memory of this process so far, in bytes.

    From /proc where there is one: `ru_maxrss` of a child begins with what its parent had.
    """
    status = Path("/proc/self/status")
    if status.exists():
        line = next(x for x in status.read_text().splitlines() if x.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def in_process(module: str, *arguments: str, settings: Mapping[str, str]) -> Cost:
    """Run `python -m <module> <arguments>`, which ends with `hand_back`, and return its cost.

    Args:
        module: what to run.
        arguments: of its command line.
        settings: environment variables on top of ours.

    Raises:
        RuntimeError: it failed; its stderr is in the message.
    """
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{module} {' '.join(arguments)} failed:\n{done.stderr[-3000:]}")
    return Cost(**json.loads(done.stdout.splitlines()[-1]))


def hand_back(cost: Cost) -> None:
    """Print a cost where `in_process` reads it."""
    print(json.dumps(asdict(cost)))


def alternate(
    variants: Sequence[str], repeats: int, run: Callable[[str], Cost]
) -> dict[str, list[Cost]]:
    """Run all variants, one after the other, `repeats` times: a busy machine slows all alike."""
    costs: dict[str, list[Cost]] = {name: [] for name in variants}
    for _ in range(repeats):
        for name in variants:
            costs[name].append(run(name))
    return costs


def median(costs: Sequence[Cost]) -> Cost:
    """The median of each number; details of the last run."""
    return Cost(
        wall=statistics.median(cost.wall for cost in costs),
        cpu=statistics.median(cost.cpu for cost in costs),
        peak=int(statistics.median(cost.peak for cost in costs)),
        detail=costs[-1].detail,
    )


def print_table(costs: Mapping[str, Sequence[Cost]], *, base: str) -> dict[str, Cost]:
    """Print the medians, and ratios to one of the variants; return the medians."""
    medians = {name: median(runs) for name, runs in costs.items() if runs}
    head = ("variant", "wall s", "cpu s", "wall x", "cpu x", "peak MiB", "runs")
    print("{:<34}{:>9}{:>9}{:>9}{:>9}{:>10}{:>6}".format(*head))
    for name, cost in medians.items():
        wall, cpu = cost.wall / medians[base].wall, cost.cpu / medians[base].cpu
        print(
            f"{name:<34}{cost.wall:>9.2f}{cost.cpu:>9.2f}{wall:>9.2f}{cpu:>9.2f}"
            f"{cost.peak / _MEBIBYTE:>10.0f}{len(costs[name]):>6}"
        )
    return medians


def print_goals(goals: Sequence[tuple[str, float, float, str]]) -> bool:
    """Print goals as (what, found, at most, unit); return whether all are met."""
    for what, found, limit, unit in goals:
        verdict = "met" if found <= limit else "MISSED"
        print(f"{verdict:<7}{what}: {found:.3g} {unit} (goal: at most {limit:g} {unit})")
    return all(found <= limit for _, found, limit, _ in goals)

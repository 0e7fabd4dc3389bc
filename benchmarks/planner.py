"""Balance and time of planning: `python -m benchmarks.planner`.

Three parts, which need no server:

- *Balance*: keys of several distributions, sorted in memory. Cut by MIN/MAX arithmetic as Spark, Sqoop and
  others do it, by a histogram of 200 steps, and by a walk along the index. Rows are counted, so what
  is printed is what the partitions really have: the largest over the mean.
- *Partition functions*: tables that SQL Server itself partitions, with partitions of several sizes, cut at
  the boundaries alone, and with the large ones divided by a histogram. Counted in the same way.
- *Time*: 342 and 5,000 tables of a million rows on a server that answers from a script at once, with
  histograms. What is left is our own time and the number of queries; each costs a round trip.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from benchmarks.measurement import print_goals
from migration_assets.key_distribution import Histogram, KeyPoint, Step, walked_cuts
from migration_assets.mssql.keys import measure_keys
from migration_assets.partition_function import along, by_histogram
from migration_assets.partitioning import cut, cut_ranges
from migration_assets.planner import keys_to_measure
from migration_assets.rules import Rules
from migration_assets.schema import (
    Column,
    KeyCuts,
    MssqlType,
    PartitionFunction,
    SourceDatabase,
    SourceTable,
    TableSchema,
)

BIGINT = MssqlType("bigint", 8, 19)
PARTITIONS = 32
BALANCE_GOAL, QUERIES_GOAL = 2.0, 40
SECONDS_GOALS = {342: 10.0, 5_000: 60.0}
STEPS = 200


def distributions(rows: int) -> dict[str, np.ndarray]:
    """Sorted keys by the name of their distribution; those with equal values are no unique key."""
    chance = np.random.default_rng(6)
    numbers = np.arange(rows, dtype=np.int64)
    keys = {
        "1, 2, 3 ...": numbers,
        "gaps of 10^12": numbers + numbers // (rows // 5) * 10**12,
        "one outlier": np.append(numbers[:-1], 10**15),
        "growing (squares)": numbers * numbers,
        "Zipf values (1.2)": np.minimum(chance.zipf(1.2, rows), 10**15),
        "Zipf gaps": np.cumsum(np.minimum(chance.zipf(1.3, rows), 10**12)),
        "days' rush hours": numbers // 1000 * 86_400
        + chance.normal(43_200, 3_000, rows).astype(int),
        "one value has half": np.where(numbers < rows // 2, 7, numbers),
    }
    return {name: np.sort(values) for name, values in keys.items()}


def arithmetic(keys: np.ndarray) -> list[tuple[int, ...]]:
    """Edges between MIN and MAX."""
    return [(int(edge),) for edge in cut(str(keys[0]), str(keys[-1]), BIGINT, PARTITIONS)]


def by_steps(keys: np.ndarray) -> list[tuple[int, ...]]:
    """Edges from 200 steps."""
    found = histogram(keys)
    return _edges(KeyCuts(("k",), found.cuts(PARTITIONS), found.rows, "histogram"))


def histogram(keys: np.ndarray) -> Histogram:
    """200 steps, as SQL Server's statistics have them."""
    marks = np.unique(keys[np.linspace(0, len(keys) - 1, STEPS).astype(int)])
    low, high = np.searchsorted(keys, marks), np.searchsorted(keys, marks, side="right")
    before = np.concatenate([[0], high[:-1]])
    steps = tuple(
        Step(str(mark), float(first - last), float(end - first))
        for mark, first, end, last in zip(marks, low, high, before, strict=True)
    )
    return Histogram(BIGINT, steps)


def by_walk(keys: np.ndarray) -> list[tuple[int, ...]]:
    """Edges from a walk along an index on the key and, among equals, a number."""
    return _edges(_walked(keys, 2))


def by_walk_alone(keys: np.ndarray) -> list[tuple[int, ...]]:
    """Edges from a walk along an index on the key alone."""
    return _edges(_walked(keys, 1))


def _walked(keys: np.ndarray, width: int) -> KeyCuts:
    places = np.arange(0, len(keys), max(len(keys) // (PARTITIONS * 8), 1))
    first = np.searchsorted(keys, keys[places])
    points = [
        KeyPoint((str(keys[at]), str(at))[:width], (int(low), int(at))[:width])
        for at, low in zip(places, first, strict=True)
    ]
    names = ("k", "n")[:width]
    return KeyCuts(names, walked_cuts(points, (BIGINT, BIGINT)[:width]), len(keys), "walk")


def _edges(found: KeyCuts) -> list[tuple[int, ...]]:
    ranges = cut_ranges(found, PARTITIONS)[0]
    return [(int(r.lower or 0), *map(int, r.more_lower)) for r in ranges[1:]]


def functions(rows: int) -> dict[str, tuple[np.ndarray, PartitionFunction]]:
    """Sorted keys and a partition function over them, by what its partitions are like."""
    numbers = np.arange(rows, dtype=np.int64)
    evenly = {count: [rows * i // count for i in range(1, count)] for count in (12, 36, 60, 1_000)}
    boundaries = {
        "36 partitions": evenly[36],
        "1,000 partitions": evenly[1_000],
        "12 partitions": evenly[12],
        "60, growing": [rows * i * i // 3_600 for i in range(1, 60)],
        "60, half are empty": [*evenly[36], *(2 * rows + i for i in range(24))],
        "archive has half": [rows // 2 + at // 2 for at in [0, *evenly[60]]],
        "2 partitions": [rows // 3],
    }
    made = {}
    for name, bounds in boundaries.items():
        ends = [*np.searchsorted(numbers, bounds).tolist(), rows]
        counts = tuple(int(count) for count in np.diff([0, *ends]))
        texts = tuple(str(bound) for bound in bounds)
        made[name] = (
            numbers,
            PartitionFunction("pf", "k", on_right=True, boundaries=texts, rows=counts),
        )
    return made


def at_boundaries(function: PartitionFunction) -> list[tuple[int, ...]]:
    """Edges at boundaries alone."""
    return _edges(along(function, BIGINT))


def divided(function: PartitionFunction, keys: np.ndarray) -> list[tuple[int, ...]]:
    """Edges at boundaries, and within the large partitions where the histogram says."""
    found = by_histogram(function, histogram(keys), PARTITIONS)
    assert found is not None, "numbers have a line"
    return _edges(found)


def balance(keys: np.ndarray, edges: Sequence[tuple[int, ...]]) -> float:
    """Largest over mean, by counting; the second column of a key is the row's number."""
    starts = [0]
    for edge in edges:
        low = int(np.searchsorted(keys, edge[0]))
        starts.append(max(low, edge[1]) if len(edge) > 1 else low)
    sizes = np.diff([*starts, len(keys)])
    return float(sizes.max() * len(sizes) / len(keys))


class Scripted:
    """A server whose tables all have one histogram; it counts queries."""

    def __init__(self, count: int) -> None:
        """Tables with ids from 1 to `count`."""
        self.count, self.queries = count, 0

    def query(self, sql: str, *_: Any, **__: Any) -> list[tuple[Any, ...]]:
        """Answer what `measure_keys` asks."""
        self.queries += 1
        if "dm_db_stats_properties" in sql:
            ids = re.search(r"IN \(([\d, ]*)\)", sql)
            return [(int(i), 1, "id", 10**6, 10**6, 0) for i in (ids[1] if ids else "").split(",")]
        if "dm_db_stats_histogram" in sql:
            ids = re.findall(r"object_id = (\d+)", sql)
            return [
                (int(i), n, str(n * n * 1000), 4999.0, 1.0)
                for i in ids
                for n in range(1, STEPS + 1)
            ]
        raise AssertionError(sql)


def planning(tables: int) -> tuple[float, int]:
    """Seconds and queries of learning where so many tables can be cut."""
    columns = TableSchema((Column("id", BIGINT, nullable=False),), ("id",))
    found = SourceDatabase(
        server="s",
        database="d",
        version="16",
        collation="c",
        snapshot_isolation=True,
        read_committed_snapshot=True,
        tables=tuple(
            SourceTable("dbo", f"t{i}", columns, 10**6, object_id=i + 1) for i in range(tables)
        ),
    )
    server = Scripted(tables)
    started = time.perf_counter()
    requests = keys_to_measure(found, Rules())
    measured = measure_keys(server, requests)  # type: ignore[arg-type] # asks only
    for request in requests:
        cut_ranges(measured.cuts[request.table.full_name], request.count)
    return time.perf_counter() - started, server.queries


def main() -> int:
    """Print the balance of each way, then the time of planning; 1 when a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    options = parser.parse_args()
    ways: dict[str, Callable[[np.ndarray], list[tuple[int, ...]]]] = {
        "MIN/MAX": arithmetic,
        "histogram": by_steps,
        "walk": by_walk_alone,
        "walk, 2 columns": by_walk,
    }
    print(f"Largest partition over the mean, {options.rows:,} rows in {PARTITIONS} partitions\n")
    print(f"{'key':<22}" + "".join(f"{way:>17}" for way in ways))
    worst = 0.0
    for name, keys in distributions(options.rows).items():
        found = [balance(keys, way(keys)) for way in ways.values()]
        print(f"{name:<22}" + "".join(f"{ratio:>17.2f}" for ratio in found))
        worst = max(worst, min(found[1:]))
    goals = [("largest over mean, worst key, best way", worst, BALANCE_GOAL, "x")]
    print(f"\n{'partition function':<22}{'boundaries':>17}{'and histogram':>17}{'ranges':>17}")
    worst = 0.0
    for name, (keys, function) in functions(options.rows).items():
        edges = [at_boundaries(function), divided(function, keys)]
        found = [balance(keys, one) for one in edges]
        counts = ", ".join(str(len(one) + 1) for one in edges)
        print(f"{name:<22}" + "".join(f"{ratio:>17.2f}" for ratio in found) + f"{counts:>17}")
        # A range must be no more than twice what a partition of all that are wanted should have.
        worst = max(worst, found[1] * PARTITIONS / (len(edges[1]) + 1))
    goals.append(("largest over wanted, worst partition function", worst, BALANCE_GOAL, "x"))
    print()
    for tables, most in SECONDS_GOALS.items():
        seconds, queries = planning(tables)
        print(
            f"{tables:,} tables: {seconds:.2f} s, {queries} queries (MIN/MAX: {-(-tables // 50)})"
        )
        goals.append((f"seconds to plan {tables:,} tables", seconds, most, "s"))
        goals.append((f"queries to plan {tables:,} tables", queries, QUERIES_GOAL, ""))
    return 0 if print_goals(goals) else 1


if __name__ == "__main__":
    sys.exit(main())

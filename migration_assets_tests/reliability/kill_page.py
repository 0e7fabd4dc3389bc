"""What came of a series of kills, and the page of the documentation that shows it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from migration_assets_tests.reliability.kill_points import POINTS

MOST_RUNS = 3
"""After so many `run --failed` a kill counts as not survived."""


class Victim(StrEnum):
    """Who is killed."""

    ALL = "all processes"
    COMMAND = "the command"
    WORKER = "a worker"


@dataclass(frozen=True)
class Kill:
    """One kill and what came of it.

    Attributes:
        after_s: seconds from the start of the run to the kill.
        running: the steps that the killed processes were in.
        runs: how many `run --failed` it took until one ended with 0; more than `MOST_RUNS` for
            none.
        lost: rows that Iceberg or StarRocks had not, in the end; `doubled` that they had besides.
        orphans: files that nothing named after `run --failed`; `uploads` that nobody completed.
        orphans_left: what maintenance left of them.
        open_connections: of SQL Server and StarRocks, in the end.
        valid: the product's own comparison found no difference.
        said: by the last `run --failed` where it failed, and by `status --failed` after it.
    """

    victim: Victim
    after_s: float
    running: tuple[str, ...]
    runs: int
    lost: int
    doubled: int
    orphans: int
    uploads: int
    orphans_left: int
    open_connections: int
    valid: bool
    said: str = ""

    @property
    def survived(self) -> bool:
        """Every row was there once in the end, and nothing was left over."""
        remains = self.lost + self.doubled + self.orphans_left + self.open_connections
        return self.valid and not remains and self.runs <= MOST_RUNS


@dataclass
class KillMatrixResult:
    """All kills of a series.

    Attributes:
        asked: how many kills were wanted; there are fewer where time ran out.
        undisturbed_s: what a run took that nobody killed.
        seconds: what it all took.
    """

    seed: int
    rows: int
    undisturbed_s: float
    asked: int = 0
    seconds: float = 0.0
    each: list[Kill] = field(default_factory=list)

    @property
    def kills(self) -> int:
        """How many there were."""
        return len(self.each)

    @property
    def missing(self) -> bool:
        """Whether time ran out."""
        return self.kills < self.asked

    @property
    def survived(self) -> int:
        """After how many of them all was as it should be."""
        return sum(one.survived for one in self.each)

    @property
    def rows_lost(self) -> int:
        """Over all kills."""
        return sum(one.lost for one in self.each)

    @property
    def rows_doubled(self) -> int:
        """Over all kills."""
        return sum(one.doubled for one in self.each)

    @property
    def orphans_found(self) -> int:
        """Files that nothing named, before maintenance."""
        return sum(one.orphans for one in self.each)

    @property
    def orphans_left(self) -> int:
        """And after it."""
        return sum(one.orphans_left for one in self.each)

    @property
    def open_connections(self) -> int:
        """Connections that stayed open."""
        return sum(one.open_connections for one in self.each)


def summary(result: KillMatrixResult) -> dict[str, int]:
    """The figures of a series, by what they are called."""
    return {
        "kills": result.kills,
        "survived": result.survived,
        "rows lost": result.rows_lost,
        "rows doubled": result.rows_doubled,
        "orphaned files found": result.orphans_found,
        "orphaned files left by maintenance": result.orphans_left,
        "connections left open": result.open_connections,
        "most runs of `run --failed` needed": max((one.runs for one in result.each), default=0),
    }


HEADING = """\
# Kill matrix

SIGKILL leaves a process no moment to tidy up. What a migration makes of it, over the stand-ins: at
each moment that has a name, and at random ones. Afterwards `migration-assets run --failed` goes on,
maintenance removes what was left over, and source, Iceberg and StarRocks are compared row by row,
read without the product.

## Moments that have a name

A stand-in holds the request, so that the process is there and nowhere else
(`migration_assets_tests/reliability/kill_points.py`; `sandbox/test_kill_matrix.py` is among the
tests). Orphans are files that no snapshot, no metadata and no receipt names, counted after
`run --failed`; maintenance removes them all.

| Killed | Source read again | Orphaned data files | Orphaned metadata files |
| --- | --- | --- | --- |
"""

RANDOM = """
Nothing is on disk of a file that was on its way: it is one request up to 16 MiB. A larger one goes in
parts; what was sent of it when its process was killed is no object, so maintenance does not see it. Let
a lifecycle rule of the bucket (`AbortIncompleteMultipartUpload`) remove it.

| Killed | What happens | Test |
| --- | --- | --- |
| a worker of `run` | its run fails with that cause, the rest goes on | `sandbox/test_resumption.py` |
| the command `run` | its workers end themselves; `run --failed` goes on | `unit/test_workers.py` |
| a worker between the making of a Dagster run and its start | `run --failed` ends that run, which is NOT_STARTED, and makes what it was to make | `unit/test_dead_runs.py` |
| Dagster's daemon | the run under way ends by itself; the next daemon makes those that are queued | `sandbox/test_killed_daemon.py` |
| the code server with a run in it | the daemon's monitoring fails that run within 10 s, starts another code server and goes on; `run --failed` makes the rest | `sandbox/test_killed_daemon.py` |
| the JVM of Spark | the partitions are extracted again in another one | `spark/test_ranges.py` |
| an executor of Spark | Spark starts another one and repeats the tasks that it had begun, within the run | `spark/test_cluster.py` |

The daemon retries a run by itself where it has the tag `dagster/max_retries`, but none of `dagster job
backfill`: Dagster counts such a backfill as over once its runs are queued.

## Random moments

`make kill-matrix` migrates four tables ({rows:,} rows; eight partitions by an integer, one each with a
key of two columns, of text, and none) with two workers, again and again: `reset`, a change of every row
of the source, `run`, the kill, `run --failed`, comparison, maintenance. Killed are the command, a
worker, or all processes; moments are drawn uniformly over the time that the run takes when nobody kills
it, its start included. Where no step is named, none had begun, or none was under way. All files that
nothing names are counted, so from a table's hundredth commit on presumably also metadata files that
Iceberg's log, of a hundred by default, has dropped; they were not told apart.

The last series, seed {seed}: {kills} kills{of_asked} in {minutes:.0f} minutes; an undisturbed run took
{undisturbed:.1f} s.

| | |
| --- | --- |
"""

EACH = """
| # | after | killed | in the middle of | `run --failed` | orphans | lost | doubled |
| --- | --- | --- | --- | --- | --- | --- | --- |
"""


def points_table() -> str:
    """Rows of the table of the moments that have a name."""
    return "".join(f"| {p.name} | {p.reads or '-'} | {p.data} | {p.metadata} |\n" for p in POINTS)


def page(result: KillMatrixResult) -> str:
    """The page of the documentation."""
    parts = [HEADING, points_table()]
    parts.append(
        RANDOM.format(
            rows=result.rows,
            undisturbed=result.undisturbed_s,
            seed=result.seed,
            kills=result.kills,
            of_asked=f" of {result.asked}, then time was over," if result.missing else "",
            minutes=result.seconds / 60,
        )
    )  # fmt: skip
    parts += [f"| {name} | {value} |\n" for name, value in summary(result).items()]
    parts.append(EACH)
    parts += [
        f"| {number} | {one.after_s:.2f} s | {one.victim.value} | {', '.join(one.running) or '-'} "
        f"| {one.runs} | {one.orphans} | {one.lost} | {one.doubled} |\n"
        for number, one in enumerate(result.each, start=1)
    ]
    return "".join(parts)

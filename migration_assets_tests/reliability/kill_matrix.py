"""SIGKILL at random moments of a migration, and what `run --failed` and maintenance make of it.

```sh
python -m migration_assets_tests.reliability.kill_matrix --kills 100 --seed 7
```

Four tables of different keys are migrated again and again, after a `reset` and with changed values,
so that rows left by an earlier round are found as wrong ones. Each time the command, one of its
worker processes, or all of them are killed (workers die with the command); the moments are uniform over the time that an
undisturbed run takes. Afterwards the three systems are read without the product.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import random
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import dagster as dg

from migration_assets.assets.maintenance import (
    MaintenanceConfig,
    PyIcebergEngine,
    maintain_table,
)
from migration_assets.sandbox.launcher import Sandbox
from migration_assets_tests.reliability.copies import (
    Difference,
    difference,
    leftovers,
    rows_in,
)
from migration_assets_tests.reliability.kill_page import (
    MOST_RUNS,
    Kill,
    KillMatrixResult,
    Victim,
    page,
    summary,
)
from migration_assets_tests.reliability.soak import Size, descendants, schema_sql
from migration_assets_tests.sandbox.project import (
    WAIT_S,
    Project,
    await_closed,
    await_end,
    kill,
    run_tsql,
)
from migration_assets_tests.sandbox.upkeep import TRANSLATOR, lake_of, plan_of

SIZE = Size(6, 1_000)
RULES = """
exclude: ["dbo.by_bigint_*", "dbo.by_decimal_*"]
tables: {dbo.by_int_*: {partitions: 8}}
"""
WORKERS = "2"

SERVERS = ("sqlserver", "starrocks")
"""Those whose connections the product has to close; S3's belong to pools."""


def run(
    kills: int,
    seed: int,
    folder: Path,
    show: Callable[[int, Kill], None] = lambda *_: None,
    *,
    within_s: float = math.inf,
) -> KillMatrixResult:
    """Start stand-ins, and kill that often.

    Args:
        kills: how many; runs that ended before their moment do not count.
        seed: of moments and victims.
        folder: of the project; empty.
        show: gets each kill and its number, from 1 on.
        within_s: no further kill after so many seconds.
    """
    started = time.monotonic()
    script = folder / "tables.sql"
    script.write_text(schema_sql([SIZE]), encoding="utf-8")
    (folder / "migration.yaml").write_text(RULES, encoding="utf-8")
    dice = random.Random(seed)
    with Sandbox(
        scale=None, extra_arguments={"sqlserver": [f"--script={script}"]}
    ) as sandbox:  # fmt: skip
        project = Project(folder, sandbox.settings)
        try:
            project.run("doctor", "--fix").ok()
            project.run("plan").ok()
            series = _Series(sandbox, project, dice)
            rows = SIZE.rows * len(project.plan["tables"])
            result = KillMatrixResult(seed, rows, series.undisturbed(), kills)
            while result.kills < kills and time.monotonic() - started < within_s:
                one = series.kill(result.undisturbed_s)
                if one is not None:
                    result.each.append(one)
                    show(result.kills, one)
        finally:
            project.close()
    result.seconds = time.monotonic() - started
    return result


@dataclass
class _Series:
    sandbox: Sandbox
    project: Project
    dice: random.Random
    round: int = 0

    def undisturbed(self) -> float:
        """Migrate once; how many seconds it took. The files of a first run are cached then."""
        self._start().wait(WAIT_S)
        self._begin()
        started = time.monotonic()
        assert self._start().wait(WAIT_S) == 0, (self.project.folder / "output").read_text()
        return time.monotonic() - started

    def kill(self, within_s: float) -> Kill | None:
        """One round; None when the run was over before its moment came."""
        self._begin()
        moment, victim = self.dice.uniform(0, within_s), self.dice.choice(list(Victim))
        lot = self.dice.random()
        process = self._start()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(moment)
        if process.poll() is not None:
            return None
        victim = self._strike(process, victim, lot)
        running = self._running()
        runs = 1
        process.wait(WAIT_S)
        while (last := self.project.run("run", "--failed")).code:
            runs += 1
            if runs > MOST_RUNS:
                break
        open_ones = self.project.run("status", "--failed") if last.code else None
        await_end(process)  # workers that outlived the command
        valid = all(table["valid"] for table in self.project.report["tables"].values())
        left = leftovers(self.project.settings)
        remove_orphans(self.project)
        found = [one for systems in differences(self.project).values() for one in systems.values()]
        return Kill(
            victim=victim,
            after_s=moment,
            running=running,
            runs=runs,
            lost=sum(one.lost for one in found),
            doubled=sum(one.doubled for one in found),
            orphans=len(left.files),
            uploads=len(left.uploads),
            orphans_left=len(leftovers(self.project.settings).files),
            open_connections=sum(await_closed(self.sandbox, name) for name in SERVERS),
            valid=valid,
            said=f"{last}\n{open_ones}" if last.code else "",
        )

    def _start(self) -> subprocess.Popen[str]:
        return self.project.start_run(MIGRATION_CONCURRENT_RUNS=WORKERS)

    def _begin(self) -> None:
        """Empty the targets, forget what was done, and change every row of the source."""
        self.round += 1
        names = [f"{t['source_schema']}.{t['source_name']}" for t in self.project.plan["tables"]]
        self.project.run("reset", *names, "--yes").ok()
        changes = [f"UPDATE {name} SET note = 'round {self.round}'" for name in names]
        run_tsql(self.project.settings, *changes)

    def _strike(self, process: subprocess.Popen[str], victim: Victim, lot: float) -> Victim:
        """Kill; returns who it was: a command that has no worker yet dies in its place."""
        if victim is Victim.WORKER:
            logs = (self.project.folder / ".dagster" / "workers").glob("*.log")
            workers = sorted(descendants(process.pid) & {int(log.stem) for log in logs})
            if workers:
                os.kill(workers[int(lot * len(workers))], signal.SIGKILL)
                return victim
            victim = Victim.COMMAND
        if victim is Victim.COMMAND:
            process.kill()
        else:
            kill(process)
        return victim

    def _running(self) -> tuple[str, ...]:
        """The steps that have begun and not ended, by Dagster's events, and runs not yet started."""
        found: list[str] = []
        with self.project.instance() as instance:
            made = dg.DagsterRunStatus.NOT_STARTED
            unended = dg.RunsFilter(statuses=[made, dg.DagsterRunStatus.STARTED])
            for one in instance.get_runs(unended):
                key = one.tags.get("dagster/partition", "")
                if one.status is made:
                    found.append(f"the making of a run {key}".strip())
                found += [
                    f"{step.step_key.replace('__', '/')} {key}".strip()
                    for step in instance.get_run_step_stats(one.run_id)
                    if step.start_time is not None and step.end_time is None
                ]
        return tuple(sorted(found))


def differences(project: Project) -> dict[str, dict[str, Difference]]:
    """How each table's copies differ from the source by value: table, system, difference."""
    found = {}
    for table in project.plan["tables"]:
        rows = rows_in(project.settings, table)
        source = rows.pop("mssql")
        name = f"{table['source_schema']}.{table['source_name']}"
        found[name] = {system: difference(source, held) for system, held in rows.items()}
    return found


def remove_orphans(project: Project) -> None:
    """Maintain all tables as the `maintenance` job does, whatever the age of the orphans.

    In this process: the job's own would cost as much as the run before it.
    """
    config = MaintenanceConfig(orphan_age_hours=0, no_extraction_is_running=True)
    config.check()
    with lake_of(project) as lake:
        for table in plan_of(project).tables:
            done = maintain_table(PyIcebergEngine(lake), lake, table, config, translator=TRANSLATOR)
            assert not done.error, done.error


def main() -> int:
    """Kill as often as asked, and write the page; returns 1 if something was not survived."""
    parser = argparse.ArgumentParser(
        prog="python -m migration_assets_tests.reliability.kill_matrix"
    )
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--minutes", type=float, default=math.inf, help="no kill after so many")
    parser.add_argument("--page", type=Path, help="where the Markdown goes; none if not given")
    options = parser.parse_args()
    print(f"{options.kills} kills, seed {options.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="kills") as folder:
        result = run(
            options.kills, options.seed, Path(folder), _show, within_s=60 * options.minutes
        )
    print("\n" + "\n".join(f"{value:>8} {name}" for name, value in summary(result).items()))
    if options.page is not None:
        options.page.write_text(page(result), encoding="utf-8")
    return 0 if result.survived == result.kills else 1


def _show(number: int, one: Kill) -> None:
    print(
        f"{number:>4}  {one.after_s:6.2f} s  {one.victim.value:<14} {', '.join(one.running) or '-'}: "
        f"{one.runs} run(s) --failed, {one.orphans} orphans, {one.orphans_left} left, "
        f"{one.lost} lost, {one.doubled} doubled, {one.open_connections} open"
        f"{'' if one.survived else '  NOT SURVIVED'}"
        f"{textwrap.indent(chr(10) + one.said, '      ')}",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())

"""How far it is with what goes on in Dagster, whoever started it: for `status --watch`."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from migration_assets.assets.shares import STEP_ROWS, partition_rows
from migration_assets.assets.translator import STAGES, MigrationTranslator
from migration_assets.operations.run_states import unfinished_runs
from migration_assets.operations.status import PartitionStatus, State
from migration_assets.operations.time_left import TimeLeft
from migration_assets.operations.workers import RANGE_TAGS

if TYPE_CHECKING:
    import dagster as dg

PARTITION_NAME_TAG = "dagster/partition"
"""Dagster's tag of a run of one partition."""

AssetPartition = tuple[tuple[str, ...], str]
"""Path of an asset key, and partition key."""


def outstanding(
    instance: dg.DagsterInstance, partition_keys: Mapping[tuple[str, ...], Sequence[str]]
) -> set[AssetPartition]:
    """Asset partitions that unfinished backfills and runs of Dagster's have still to make.

    Those of a backfill that its finished runs have made are not among them; of a run that goes on
    all are that it was to make and has not.

    Args:
        instance: Dagster's.
        partition_keys: those of each asset by the path of its key, in their order: a run of several
            partitions names the first and the last one.
    """
    import dagster as dg
    from dagster._core.execution.backfill import BulkActionStatus

    found: set[AssetPartition] = set()
    for backfill in instance.get_backfills(status=BulkActionStatus.REQUESTED):
        data = backfill.asset_backfill_data
        if data is None:
            continue  # of a job: its runs are there
        over = data.materialized_subset | data.failed_and_downstream_subset
        for one in (data.target_subset - over).iterate_asset_partitions():
            if one.partition_key is not None:
                found.add((tuple(one.asset_key.path), one.partition_key))
    for run in unfinished_runs(instance):
        made = {
            (tuple(event.asset_key.path), event.partition)
            for record in instance.all_logs(
                run.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION
            )
            if (event := record.asset_materialization) is not None
        }
        to_make = set(_of_run(run, partition_keys))
        # A backfill learns what its runs have made only when they are over.
        found = (found | to_make) - made
    return found


def _of_run(
    run: dg.DagsterRun, partition_keys: Mapping[tuple[str, ...], Sequence[str]]
) -> Iterator[AssetPartition]:
    key = run.tags.get(PARTITION_NAME_TAG)
    first, last = (run.tags.get(tag) for tag in RANGE_TAGS)
    for asset_key in run.asset_selection or ():
        path = tuple(asset_key.path)
        known = list(partition_keys.get(path, ()))
        if key is not None:
            yield path, key
        elif first in known and last in known:
            for one in known[known.index(first) : known.index(last) + 1]:
                yield path, one


class Watcher:
    """Sees work disappear, and reckons from that how long the rest will take.

    What is still to do is what is neither done nor given up, and what Dagster is asked to make
    again although it is done.
    """

    def __init__(self, translator: MigrationTranslator) -> None:
        """Begin to watch with the first look."""
        self._translator = translator
        self._before: dict[AssetPartition, tuple[str, int]] = {}
        self._began: float | None = None
        self._time_left = TimeLeft()

    def look(
        self,
        statuses: Sequence[PartitionStatus],
        asked: Collection[AssetPartition],
        now: float,
    ) -> float | None:
        """Seconds left; None while too little is known.

        Args:
            statuses: of all partitions that are watched.
            asked: see `outstanding`.
            now: of a clock that nobody sets.
        """
        self._began = now if self._began is None else self._began
        open_now, failed = self._open(statuses, asked)
        for place in open_now.keys() - self._before.keys():
            self._time_left.plan(*open_now[place])
        for place in self._before.keys() - open_now.keys():
            self._time_left.end(*self._before[place], made=place not in failed)
        self._before = open_now
        return self._time_left.estimate(now - self._began)

    def _open(
        self, statuses: Sequence[PartitionStatus], asked: Collection[AssetPartition]
    ) -> tuple[dict[AssetPartition, tuple[str, int]], set[AssetPartition]]:
        found: dict[AssetPartition, tuple[str, int]] = {}
        failed: set[AssetPartition] = set()
        paths: dict[str, dict[str, tuple[str, ...]]] = {}
        rows: dict[str, dict[str, int]] = {}
        for status in statuses:
            table, key = status.table, status.partition_key
            if table.full_name not in paths:
                rows[table.full_name] = partition_rows(table)
                paths[table.full_name] = {
                    stage: tuple(self._translator.asset_key(stage, table).path) for stage in STAGES
                }
            given_up = False
            for stage in STAGES:
                place = (paths[table.full_name][stage], key)
                state = status.states[stage]
                given_up = given_up or state in {State.FAILED, State.CHECK_FAILED}
                if place in asked or (state is not State.DONE and not given_up):
                    found[place] = (stage.value, rows[table.full_name][key] + STEP_ROWS)
                elif state is not State.DONE:
                    failed.add(place)
        return found, failed

"""Which Dagster runs make the selected asset partitions, and which of them wait for others."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from migration_assets.assets.loaded_rows import REPLACES_TAG
from migration_assets.assets.translator import STAGES, MigrationTranslator, Stage
from migration_assets.choices import Engine
from migration_assets.jobs import job_of
from migration_assets.operations.workers import PLAN_TAG, Batch, PartitionMade, StepEnded
from migration_assets.plan import MigrationPlan, TablePlan

ROWS_PER_BATCH = 200_000
STEPS_PER_BATCH = 60
"""A run takes tables until one of the two is reached: small tables share, large ones stand alone."""


@dataclass(frozen=True)
class Work:
    """The stages of one partition that have to be made.

    Attributes:
        replaces_foreign: rows of somebody else, which were told of, are replaced.
    """

    table: TablePlan
    partition_key: str
    stages: tuple[Stage, ...]
    replaces_foreign: bool = False

    @property
    def step_weight(self) -> int:
        """Rows that one stage moves, and what a step costs anyway in rows."""
        return self.table.rows // len(self.table.partition_keys) + 1000

    @property
    def weight(self) -> int:
        """Of all its stages."""
        return self.step_weight * len(self.stages)

    @property
    def is_ranged(self) -> bool:
        """Whether many partitions are extracted in a step: by Spark, or at a barrier."""
        is_together = self.table.engine is Engine.SPARK or self.table.at_barrier
        return is_together and Stage.MSSQL in self.stages


def stages_between(first: Stage, last: Stage) -> tuple[Stage, ...]:
    """The stages from one to another, both included."""
    return STAGES[STAGES.index(first) : STAGES.index(last) + 1]


class Schedule:
    """The runs of one call of `run`.

    Tables of the arrow engine go through all stages in a run per partition key, small tables
    together. Tables of Spark are extracted first, all neighbouring partitions of all such tables in
    one run; what of it was made then goes on partition by partition like the others. So are tables
    at a barrier, all of whose partitions go on or none.

    Later time windows wait until those that have got an end since they were migrated are over.
    """

    def __init__(
        self,
        plan: MigrationPlan,
        work: Sequence[Work],
        translator: MigrationTranslator,
        narrowed: Mapping[str, Collection[str]] | None = None,
        *,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Take over what is to be made.

        Args:
            plan: of all tables.
            work: what is to be made.
            translator: gives the asset keys.
            narrowed: table to the keys of its time windows that have got an end.
            tags: of every run, beside the plan's.
        """
        self._tags = {PLAN_TAG: plan.plan_id, **(tags or {})}
        self._plan = plan
        self._work = work
        self._ready, self._waiting, self._awaited = _parted(work, narrowed or {})
        self._translator = translator
        self._owners = {
            (self._path(stage, item.table), item.partition_key): item
            for item in work
            for stage in STAGES
        }
        self._ranged: dict[str, list[Work]] = {}
        self._made: dict[str, set[Work]] = defaultdict(set)

    def first(self) -> list[Batch]:
        """The runs that wait for nothing."""
        return self._all_batches(self._ready)

    def after(self, batch: Batch) -> list[Batch]:
        """The runs that can begin once another has ended."""
        made = self._made.pop(batch.run_id, set())
        ranged = self._ranged.pop(batch.run_id, [])
        # What a process did not live to note is not known to be of the same point in time.
        torn = {
            item.table.full_name for item in ranged if item not in made and item.table.at_barrier
        }
        going_on = [
            item
            for item in ranged
            if item in made and item.table.full_name not in torn and len(item.stages) > 1
        ]
        items = ranged or self._items(batch)
        released = self._released([item for item in items if item not in going_on])
        return [
            *self._batches(replace(item, stages=item.stages[1:]) for item in going_on),
            *self._all_batches(released),
        ]

    def _items(self, batch: Batch) -> list[Work]:
        """What a run of one partition key was to make."""
        key = batch.partition_key or ""
        return [
            self._owners[path, key] for path in batch.asset_paths if (path, key) in self._owners
        ]

    def _released(self, over: Iterable[Work]) -> list[Work]:
        """The windows that need not wait any more, as other work is over, whatever came of it."""
        released = []
        for item in over:
            awaited = self._awaited.get(item.table.full_name, set())
            awaited.discard(item.partition_key)
            if not awaited:
                released += self._waiting.pop(item.table.full_name, [])
        return released

    def _all_batches(self, work: Sequence[Work]) -> list[Batch]:
        return [
            *self._batches(item for item in work if not item.is_ranged),
            *self._ranged_batches([item for item in work if item.is_ranged]),
        ]

    def items(self, event: StepEnded) -> list[Work]:
        """What a step was to make; nothing for a step of another kind."""
        ranged = self._ranged.get(event.batch.run_id)
        if ranged is not None:
            paths = {item: self._path(Stage.MSSQL, item.table) for item in ranged}
            return [item for item, path in paths.items() if path == event.asset_path]
        item = self._owners.get((event.asset_path, event.batch.partition_key or ""))
        return [] if item is None else [item]

    def stage(self, event: StepEnded, item: Work) -> Stage:
        """The stage of a step that makes an item."""
        paths = {self._path(stage, item.table): stage for stage in STAGES}
        return paths[event.asset_path]

    def made(self, event: PartitionMade) -> Work:
        """Note that a step of many partitions has made one of them; returns which."""
        item = self._owners[event.asset_path, event.partition_key]
        self._made[event.batch.run_id].add(item)
        return item

    def is_made(self, event: StepEnded, item: Work) -> bool:
        """Whether a step of many partitions has made this one."""
        return item in self._made[event.batch.run_id]

    def _path(self, stage: Stage, table: TablePlan) -> tuple[str, ...]:
        return tuple(self._translator.asset_key(stage, table).path)

    def _batches(self, work: Iterable[Work]) -> Iterator[Batch]:
        """Gather work into runs: one job and one partition key each, small tables together.

        What only has to be committed or loaded stays apart: extractions may have to wait.
        """
        groups: dict[tuple[str, str, bool], list[Work]] = defaultdict(list)
        for item in work:
            extracts = Stage.MSSQL in item.stages
            groups[job_of(item.table, self._plan), item.partition_key, extracts].append(item)
        for (job, partition_key, extracts), items in groups.items():
            chosen: list[Work] = []
            for item in sorted(items, key=lambda item: item.weight):
                rows = sum(one.weight for one in chosen) + item.weight
                steps = sum(len(one.stages) for one in chosen)
                if chosen and (rows > ROWS_PER_BATCH * len(STAGES) or steps >= STEPS_PER_BATCH):
                    yield self._batch(job, partition_key, chosen, extracts=extracts)
                    chosen = []
                chosen.append(item)
            yield self._batch(job, partition_key, chosen, extracts=extracts)

    def _batch(
        self, job: str, partition_key: str, items: Sequence[Work], *, extracts: bool
    ) -> Batch:
        return Batch(
            job=job,
            partition_key=partition_key,
            asset_paths=tuple(
                self._path(stage, item.table) for item in items for stage in item.stages
            ),
            weight=sum(item.weight for item in items),
            tags={**self._tags, **_replacing(items)},
            extracts=extracts,
        )

    def _ranged_batches(self, work: Sequence[Work]) -> Iterator[Batch]:
        """One run for all tables that have the same neighbouring partitions to be extracted."""
        tables: dict[str, list[Work]] = defaultdict(list)
        for item in work:
            tables[item.table.full_name].append(item)
        groups: dict[tuple[str, tuple[str, ...]], list[Work]] = defaultdict(list)
        for items in tables.values():
            for neighbours in _neighbours(items):
                keys = tuple(item.partition_key for item in neighbours)
                groups[job_of(items[0].table, self._plan), keys] += neighbours
        for (job, keys), items in groups.items():
            paths = dict.fromkeys(self._path(Stage.MSSQL, item.table) for item in items)
            batch = Batch(
                job=job,
                partition_key=None,
                partition_range=(keys[0], keys[-1]),
                asset_paths=tuple(paths),
                # What follows can only begin when it is done: it goes before all others.
                weight=sum(item.weight for item in self._work),
                tags=self._tags,
                extracts=True,
            )
            self._ranged[batch.run_id] = items
            yield batch


def _replacing(items: Iterable[Work]) -> dict[str, str]:
    """The tag that lets rows of somebody else be replaced, where they were told of."""
    tables = [item.table.full_name for item in items if item.replaces_foreign]
    return {REPLACES_TAG: json.dumps(tables)} if tables else {}


def _parted(
    work: Sequence[Work], narrowed: Mapping[str, Collection[str]]
) -> tuple[list[Work], dict[str, list[Work]], dict[str, set[str]]]:
    """The work that can begin; by table, what must wait, and the partition keys it waits for."""
    awaited: dict[str, set[str]] = defaultdict(set)
    for item in work:
        if item.partition_key in narrowed.get(item.table.full_name, ()):
            awaited[item.table.full_name].add(item.partition_key)
    ready: list[Work] = []
    waiting: dict[str, list[Work]] = defaultdict(list)
    for item in work:
        name, keys = item.table.full_name, item.table.partition_keys
        own = awaited.get(name, set())
        is_later = any(keys.index(item.partition_key) > keys.index(key) for key in own)
        (waiting[name] if is_later and item.partition_key not in own else ready).append(item)
    return ready, waiting, awaited


def _neighbours(items: Sequence[Work]) -> Iterator[list[Work]]:
    """Part a table's work where a partition key is missing: a run takes a range of keys."""
    keys = items[0].table.partition_keys
    places = {key: place for place, key in enumerate(keys)}
    chosen: list[Work] = []
    for item in sorted(items, key=lambda item: places[item.partition_key]):
        if chosen and places[item.partition_key] != places[chosen[-1].partition_key] + 1:
            yield chosen
            chosen = []
        chosen.append(item)
    yield chosen

"""What is on the page, as plain values; how it looks is the business of `html.py` and `markdown.py`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from migration_assets.inventory import Inventory, Kind, LeftBehind
from migration_assets.inventory_page.balance import (
    UNEVEN,
    Balance,
    balances,
    known_rows,
    partition_sizes,
)
from migration_assets.inventory_page.estimate import SPREAD, Assumptions, Estimate, estimate
from migration_assets.inventory_page.table_design import TableDesign, table_design
from migration_assets.inventory_page.wording import counted, duration, sentence, size, visible
from migration_assets.losses import TableLoss, is_concerned, table_losses
from migration_assets.naming import full_name
from migration_assets.plan import MigrationPlan, TablePlan

_T = TypeVar("_T")
_K = TypeVar("_K")

MOST_BARS = 15
MOST_PLOTS = 24
MOST_NAMES = 2_000
"""Names of one kind beyond these are counted only: a browser has to open the page."""


@dataclass(frozen=True)
class Fact:
    """A number at the top of the page."""

    label: str
    value: str
    note: str


@dataclass(frozen=True)
class Bar:
    """A bar of a bar chart; `share` is its length, 0 to 1."""

    label: str
    share: float
    text: str


@dataclass(frozen=True)
class TableRow:
    """A table in the list of all."""

    name: str
    rows: str
    size: str
    partitions: int
    engine: str
    target: str
    seconds: str
    warnings: int


@dataclass(frozen=True)
class SchemaRow:
    """The tables of one schema together."""

    name: str
    tables: int
    rows: str
    size: str
    partitions: int


@dataclass(frozen=True)
class LossGroup:
    """One kind of loss, and where it occurs."""

    what: str
    places: tuple[tuple[str, TableLoss, int], ...]

    @property
    def columns(self) -> int:
        """Columns concerned."""
        return sum(len(loss.columns) for _, loss, _ in self.places)


@dataclass(frozen=True)
class NameGroup:
    """Names that share a reason or a warning."""

    reason: str
    names: tuple[str, ...]


@dataclass(frozen=True)
class KindGroup:
    """What stays behind of one kind; `count` is None when it could not be asked for."""

    kind: str
    count: int | None
    by_schema: tuple[tuple[str, tuple[LeftBehind, ...]], ...]
    hidden: int
    """Objects beyond `MOST_NAMES`."""
    advice: str


@dataclass(frozen=True)
class Page:
    """All of it."""

    server: str
    database: str
    plan_id: str
    made_at: str
    facts: tuple[Fact, ...]
    decisions: tuple[str, ...]
    biggest: tuple[Bar, ...]
    biggest_by: str
    schemas: tuple[SchemaRow, ...]
    tables: tuple[TableRow, ...]
    partition_sizes: tuple[Bar, ...]
    balances: tuple[Balance, ...]
    balance_notes: tuple[str, ...]
    estimate: Estimate
    assumptions: tuple[tuple[str, str, str, str], ...]
    slowest: tuple[Bar, ...]
    losses: tuple[LossGroup, ...]
    skipped: tuple[NameGroup, ...]
    warnings: tuple[NameGroup, ...]
    left_behind: tuple[KindGroup, ...]
    designs: tuple[tuple[str, tuple[TableDesign, ...]], ...]
    notes: tuple[str, ...]
    inventory_notes: tuple[str, ...]


def page(
    plan: MigrationPlan,
    inventory: Inventory,
    *,
    assumptions: Assumptions,
    replication_num: int,
    made_at: datetime,
    partition_rows: Mapping[str, Sequence[int]] | None = None,
    partition_notes: Sequence[str] = (),
) -> Page:
    """Put the page together.

    Args:
        plan: what is migrated.
        inventory: what is not.
        assumptions: what the duration is estimated from.
        replication_num: copies of each StarRocks tablet.
        made_at: stands at the top.
        partition_rows: counted rows of each partition, by the table's full name; else the plan's
            estimates count.
        partition_notes: what could not be counted.
    """
    plotted = balances(plan, partition_rows or {})
    known = {name: one.rows for name, one in known_rows(plan, partition_rows or {}).items()}
    expected = estimate(plan, assumptions, known)
    cut = sum(len(table.key_ranges) > 1 for table in plan.tables)
    by_bytes = any(table.bytes for table in plan.tables)
    weight: Callable[[TablePlan], int] = lambda t: (t.bytes or 0) if by_bytes else t.rows  # noqa: E731 - short
    return Page(
        server=visible(plan.server),
        database=visible(plan.database),
        plan_id=plan.plan_id,
        made_at=made_at.strftime("%Y-%m-%d %H:%M UTC"),
        facts=_facts(plan, inventory, expected, replication_num),
        decisions=_decisions(plan, inventory, plotted),
        biggest=_bars(
            sorted(plan.tables, key=lambda t: (-weight(t), t.full_name))[:MOST_BARS],
            lambda t: t.full_name,
            weight,
            lambda t: f"{size(t.bytes)}, {counted(t.rows, 'row')}",
        ),
        biggest_by="bytes" if by_bytes else "rows",
        schemas=_schemas(plan),
        tables=tuple(_row(table, expected) for table in plan.tables),
        partition_sizes=_bars(
            partition_sizes(plan, known),
            lambda pair: pair[0],
            lambda pair: pair[1],
            lambda pair: counted(pair[1], "partition"),
        ),
        balances=plotted,
        balance_notes=tuple(map(visible, (*_balance_notes(plotted, cut), *partition_notes))),
        estimate=expected,
        assumptions=tuple(
            (name, f"{value:,g}" if value < 1e6 else f"{value:,.0f}", unit, source)
            for name, value, unit, source in assumptions.listed()
        ),
        slowest=_bars(
            sorted(expected.tables.items(), key=lambda item: -item[1])[:MOST_BARS],
            lambda item: item[0],
            lambda item: item[1],
            lambda item: duration(item[1]),
        ),
        losses=_losses(plan),
        skipped=_named(
            (skipped.reason, full_name(skipped.source_schema, skipped.source_name))
            for skipped in plan.skipped
        ),
        warnings=_named(
            (warning, table.full_name) for table in plan.tables for warning in table.warnings
        ),
        left_behind=tuple(_kind(kind, inventory) for kind in Kind),
        designs=_grouped(
            plan.tables,
            lambda table: visible(table.starrocks_database),
            lambda table: table_design(table, replication_num),
        ),
        notes=tuple(map(visible, plan.notes)),
        inventory_notes=tuple(map(visible, inventory.notes)),
    )


def _facts(
    plan: MigrationPlan, inventory: Inventory, expected: Estimate, replication_num: int
) -> tuple[Fact, ...]:
    tables = plan.tables
    partitions = sum(len(table.key_ranges) for table in tables)
    tablets = replication_num * sum(len(table.key_ranges) * table.buckets for table in tables)
    columns = [column for table in tables for column in table.columns]
    concerned = sum(map(is_concerned, columns))
    unknown = sum(table.bytes is None for table in tables)
    unasked = len(inventory.unknown)
    return (
        Fact(
            "Tables to migrate",
            f"{len(tables):,}",
            f"{counted(len(plan.skipped), 'object')} left out" if plan.skipped else "none left out",
        ),
        Fact("Rows", f"{sum(table.rows for table in tables):,}", "as SQL Server estimates them"),
        Fact(
            "Size",
            size(sum(table.bytes or 0 for table in tables)) if unknown < len(tables) else "unknown",
            f"without {counted(unknown, 'table')} of unknown size"
            if unknown
            else "in SQL Server, without its indexes",
        ),
        Fact(
            "Partitions",
            f"{partitions:,}",
            f"{tablets:,} tablets in StarRocks, {counted(replication_num, 'replica')}",
        ),
        Fact(
            "Estimated duration",
            duration(expected.seconds),
            f"{duration(expected.fastest)} to {duration(expected.slowest)}; an estimate",
        ),
        Fact(
            "Columns that change",
            f"{concerned:,}",
            f"of {len(columns):,}, or may stop a load",
        ),
        Fact(
            "Tables with warnings",
            f"{sum(bool(table.warnings) for table in tables):,}",
            f"{sum(not table.primary_key for table in tables):,} without a primary key",
        ),
        Fact(
            "Objects left behind",
            f"{inventory.count:,}",
            f"{counted(unasked, 'kind')} could not be asked for"
            if unasked
            else "views, keys, code",
        ),
    )


def _decisions(
    plan: MigrationPlan, inventory: Inventory, plotted: Sequence[Balance]
) -> tuple[str, ...]:
    """What somebody has to make up his mind about; nothing where there is nothing."""
    said = []
    remediable = [loss for table in plan.tables for loss in table_losses(table) if loss.remedy]
    if remediable:
        count = sum(len(loss.columns) for loss in remediable)
        said.append(
            "What to keep: migration.yaml can keep more of "
            f"{counted(count, 'column')} that lose something or may stop a load (What changes on "
            "the way)."
        )
    tables = [s for s in plan.skipped if not s.reason.startswith(("it is a view", "it is a syn"))]
    if tables:
        said.append(
            f"Whether the reasons for leaving out {counted(len(tables), 'table')} can be mended "
            "(Left out)."
        )
    keyless = sum(not table.primary_key for table in plan.tables)
    if keyless:
        said.append(
            f"What becomes of {counted(keyless, 'table')} without a primary key: duplicate rows "
            "cannot be told apart (Warnings)."
        )
    large = [t for t in plan.tables if t.isolated and len(t.key_ranges) == 1]
    if large:
        said.append(
            f"Another partition_column for {counted(len(large), 'large table')} in one partition, "
            "which takes long and starts over when it fails: "
            f"{', '.join(visible(table.full_name) for table in large[:5])}."
        )
    uneven = [one for one in plotted if one.ratio > UNEVEN]
    if uneven:
        said.append(
            f"Another partition_column for {counted(len(uneven), 'table')} with a partition above "
            f"{UNEVEN:g} times the mean (Partitions)."
        )
    code = sum(
        len(inventory.objects.get(kind, ()))
        for kind in (Kind.VIEW, Kind.PROCEDURE, Kind.FUNCTION, Kind.TRIGGER, Kind.JOB)
    )
    if code:
        said.append(
            "Who rewrites or drops what is written in T-SQL: "
            f"{code:,} of views, procedures, functions, triggers and jobs (Not migrated)."
        )
    if not plan.snapshot_isolation:
        said.append(
            "Whether SNAPSHOT isolation can be allowed while it runs: without it, a table that is "
            "written to is not read as of one moment."
        )
    return tuple(said)


def _schemas(plan: MigrationPlan) -> tuple[SchemaRow, ...]:
    groups: dict[str, list[TablePlan]] = defaultdict(list)
    for table in plan.tables:
        groups[table.source_schema].append(table)
    return tuple(
        SchemaRow(
            name=visible(schema),
            tables=len(tables),
            rows=f"{sum(table.rows for table in tables):,}",
            size=size(sum(t.bytes or 0 for t in tables) if any(t.bytes for t in tables) else None),
            partitions=sum(len(table.key_ranges) for table in tables),
        )
        for schema, tables in groups.items()
    )


def _row(table: TablePlan, expected: Estimate) -> TableRow:
    iceberg = f"{table.namespace}.{table.iceberg_table}"
    starrocks = f"{table.starrocks_database}.{table.starrocks_table}"
    return TableRow(
        name=visible(table.full_name),
        rows=f"{table.rows:,}",
        size=size(table.bytes),
        partitions=len(table.key_ranges),
        engine=table.engine.value,
        target=visible(iceberg if iceberg == starrocks else f"{iceberg}, StarRocks {starrocks}"),
        seconds=duration(expected.tables[table.full_name]),
        warnings=len(table.warnings),
    )


def _bars(
    items: Iterable[_T],
    label: Callable[[_T], str],
    value: Callable[[_T], float],
    text: Callable[[_T], str],
) -> tuple[Bar, ...]:
    kept = list(items)
    largest = max(map(value, kept), default=0)
    return tuple(
        Bar(visible(label(item)), value(item) / largest if largest else 0.0, text(item))
        for item in kept
    )


def _balance_notes(plotted: Sequence[Balance], cut: int) -> tuple[str, ...]:
    if not cut:
        return ("No table is cut into ranges.",)
    notes = []
    count = "migration-assets plan --measure --report FILE counts them, at the cost of a scan."
    estimated = sum(one.estimated for one in plotted)
    if estimated:
        tables = counted(estimated, "table") if estimated < len(plotted) else "the tables below"
        notes.append(
            f"Rows of the partitions of {tables} are estimated: by the statistics, the index or the "
            f"partitions of SQL Server that they were cut by, as of then. {count}"
        )
    unknown = cut - len(plotted)
    if unknown:
        tables = counted(unknown, "table") if plotted else "the tables"
        notes.append(
            f"How rows divide among the ranges is not known for {tables} cut into ranges: their "
            f"partitions count as equal shares. {'' if estimated else count}".rstrip()
        )
    return tuple(notes)


def _losses(plan: MigrationPlan) -> tuple[LossGroup, ...]:
    groups: dict[str, list[tuple[str, TableLoss, int]]] = defaultdict(list)
    for table in plan.tables:
        for loss in table_losses(table):
            groups[loss.what].append((visible(table.full_name), loss, table.rows))
    return tuple(LossGroup(sentence(what), tuple(places)) for what, places in groups.items())


def _named(pairs: Iterable[tuple[str, str]]) -> tuple[NameGroup, ...]:
    """Names by what is said of them; what concerns most comes first."""
    groups: dict[str, list[str]] = defaultdict(list)
    for reason, name in pairs:
        groups[sentence(visible(reason))].append(visible(name))
    ordered = sorted(groups.items(), key=lambda item: -len(item[1]))
    return tuple(NameGroup(reason, tuple(names)) for reason, names in ordered)


_ADVICE = {
    Kind.VIEW: "StarRocks has views and materialized views; their SQL has to be rewritten.",
    Kind.PROCEDURE: "StarRocks has no stored procedures: their work moves into jobs or programs.",
    Kind.FUNCTION: "StarRocks has functions written in Java, Python or SQL, none in T-SQL.",
    Kind.TRIGGER: "StarRocks has no triggers.",
    Kind.FOREIGN_KEY: "StarRocks enforces none; it can be told of them to plan queries.",
    Kind.UNIQUE: "Not enforced in the copy.",
    Kind.CHECK: "Not enforced in the copy.",
    Kind.DEFAULT: "Rows arrive with their values; new rows in StarRocks get none.",
    Kind.IDENTITY: "The numbers arrive as they are; StarRocks does not count on from them.",
    Kind.COMPUTED: "The columns arrive as values; their formulas do not.",
    Kind.INDEX: "StarRocks sorts by the sort key and has indexes of its own.",
    Kind.SEQUENCE: "StarRocks has no sequences.",
    Kind.SYNONYM: "StarRocks has no synonyms.",
    Kind.TYPE: "Columns get the type beneath an alias.",
    Kind.POLICY: "Row-level rules have to be made anew in StarRocks.",
    Kind.USER: "Users and roles have to be made anew in StarRocks.",
    Kind.MEMBERSHIP: "To be granted anew in StarRocks.",
    Kind.PERMISSION: "To be granted anew in StarRocks.",
    Kind.JOB: "Those that fill or read the migrated tables need another scheduler.",
}


def _kind(kind: Kind, inventory: Inventory) -> KindGroup:
    objects = inventory.objects.get(kind)
    shown = (objects or ())[:MOST_NAMES]
    return KindGroup(
        kind=f"{kind[0].upper()}{kind[1:]}",
        count=None if objects is None else len(objects),
        by_schema=_grouped(shown, lambda one: visible(one.schema), _visible_object),
        hidden=len(objects or ()) - len(shown),
        advice=_ADVICE[kind],
    )


def _visible_object(one: LeftBehind) -> LeftBehind:
    return LeftBehind(*map(visible, (one.schema, one.name, one.of, one.detail)))


def _grouped(
    items: Iterable[_T], key: Callable[[_T], str], value: Callable[[_T], _K]
) -> tuple[tuple[str, tuple[_K, ...]], ...]:
    groups: dict[str, list[_K]] = defaultdict(list)
    for item in items:
        groups[key(item)].append(value(item))
    return tuple((name, tuple(found)) for name, found in groups.items())


SPREAD_NOTE = f"if everything goes {SPREAD:g} times as fast, or as slowly"
"""What the range of the estimate means."""

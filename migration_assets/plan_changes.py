"""What differs between two plans; pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from migration_assets.column_plan import ColumnPlan
from migration_assets.evolution import obstacles, rearranged, source_of
from migration_assets.key_range import KeyRange
from migration_assets.partitioning import predicate
from migration_assets.plan import MigrationPlan, TablePlan
from migration_assets.windows import extension


class Kind(StrEnum):
    """What became of something."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"


class Remedy(StrEnum):
    """What a table needs before it can be migrated on under the new plan."""

    NONE = "none"
    EVOLVE = "evolve"
    RESET = "reset"
    RUN = "run"
    """Its partitions have other keys in Dagster, so all of them count as missing; or they must show
    one point in time from now on, and are stale."""
    WINDOWS = "windows"
    """Time windows followed: the one that was open has got an end and is migrated again."""


class Area(StrEnum):
    """What of a table changes."""

    SOURCE = "source"
    COLUMNS = "columns"
    RANGES = "ranges"
    TARGETS = "targets"
    SETTINGS = "settings"
    WARNINGS = "warnings"


@dataclass(frozen=True)
class Change:
    """One thing that differs.

    Attributes:
        name: what: `column note`, `location`.
        old: as it was; empty for what is added.
        new: as it will be; empty for what is removed.
    """

    area: Area
    kind: Kind
    name: str
    old: str = ""
    new: str = ""


@dataclass(frozen=True)
class TableChange:
    """One table that differs.

    Attributes:
        table: its full name.
        rows: estimated, in the plan that has the table, the new one if both do.
        partitions: likewise.
        changes: of a table that both plans have.
        remedy: what must be done before it can be migrated on.
        reasons: why its rows cannot stay, where the remedy is `reset`.
        has_windows: where the remedy is `evolve`, whether that of `windows` follows it.
    """

    table: str
    kind: Kind
    rows: int
    partitions: int
    changes: tuple[Change, ...] = ()
    remedy: Remedy = Remedy.NONE
    reasons: tuple[str, ...] = ()
    has_windows: bool = False


@dataclass(frozen=True)
class PlanChanges:
    """All that differs; estimates (rows, bytes) do not count.

    Attributes:
        plan: what is not of one table: database, isolation, what is left out, notes.
    """

    tables: tuple[TableChange, ...] = ()
    plan: tuple[Change, ...] = ()

    def __bool__(self) -> bool:
        """Whether anything differs."""
        return bool(self.tables or self.plan)

    def needing(self, remedy: Remedy) -> list[TableChange]:
        """The tables that need something before they can be migrated on."""
        return [
            table
            for table in self.tables
            if table.remedy is remedy or (remedy is Remedy.WINDOWS and table.has_windows)
        ]

    @property
    def is_to_be_accepted(self) -> bool:
        """Whether what was migrated of a table is not valid any more, or must be made valid."""
        return any(table.remedy is not Remedy.NONE for table in self.tables)

    def count(self, kind: Kind) -> int:
        """How many tables were added, removed or changed."""
        return Counter(table.kind for table in self.tables)[kind]


def compare_plans(old: MigrationPlan, new: MigrationPlan) -> PlanChanges:
    """Say what differs between two plans of a database."""
    before = {table.full_name: table for table in old.tables}
    after = {table.full_name: table for table in new.tables}
    tables = []
    for table in new.tables:
        was = before.get(table.full_name)
        if was is None:
            tables.append(_whole(table, Kind.ADDED))
        elif (changed := _compare(was, table)) is not None:
            tables.append(changed)
    tables += [_whole(t, Kind.REMOVED) for t in old.tables if t.full_name not in after]
    return PlanChanges(tuple(tables), tuple(_of_the_plan(old, new)))


def _whole(table: TablePlan, kind: Kind) -> TableChange:
    return TableChange(table.full_name, kind, table.rows, len(table.key_ranges))


def _compare(old: TablePlan, new: TablePlan) -> TableChange | None:
    changes = (
        *_changed(Area.SOURCE, "table", _dotted(source_of(old)), _dotted(source_of(new))),
        *_changed(Area.SOURCE, "query", _one_line(old.query), _one_line(new.query)),
        *_changed(Area.SOURCE, "where", _one_line(old.where), _one_line(new.where)),
        *_columns(old, new),
        *_ranges(old, new),
        *_targets(old, new),
        *_settings(old, new),
        *_listed(Area.WARNINGS, "", old.warnings, new.warnings),
    )
    remedy, reasons = _remedy(old, new)
    if not changes and remedy is Remedy.NONE:
        return None
    return TableChange(
        new.full_name,
        Kind.CHANGED,
        new.rows,
        len(new.key_ranges),
        changes,
        remedy,
        reasons,
        has_windows=remedy is Remedy.EVOLVE and extension(old, new) is not None,
    )


def _remedy(old: TablePlan, new: TablePlan) -> tuple[Remedy, tuple[str, ...]]:
    if old.table_id != new.table_id:
        if new.holds(old.table_id):
            return Remedy.EVOLVE, ()
        return Remedy.RESET, tuple(obstacles(old, new)) or ("the order of columns changes",)
    if reasons := rearranged(old, new):
        return Remedy.RESET, tuple(reasons)
    if {r.source_partition for r in old.key_ranges} - {r.source_partition for r in new.key_ranges}:
        # The one that is last now takes all later rows, which those that go have, too.
        return Remedy.RESET, ("its last windows go",)
    if extension(old, new) is not None:
        return Remedy.WINDOWS, ()
    if old.partition_keys != new.partition_keys:
        return Remedy.RUN, ("the partitions have other keys",)
    if new.at_barrier and not old.at_barrier and len(new.partition_keys) > 1:
        return Remedy.RUN, ("the partitions must show one point in time",)
    return Remedy.NONE, ()


def _columns(old: TablePlan, new: TablePlan) -> Iterator[Change]:
    # By name and not by field id: a column that is another one now has another id.
    before = {column.name: column for column in old.columns}
    after = {column.name: column for column in new.columns}
    for name, column in after.items():
        was = before.get(name)
        if was is None:
            yield Change(Area.COLUMNS, Kind.ADDED, name, new=_described(column))
        elif _described(was) != _described(column) or was.field_id != column.field_id:
            yield Change(Area.COLUMNS, Kind.CHANGED, name, _described(was), _described(column))
    for name, column in before.items():
        if name not in after:
            yield Change(Area.COLUMNS, Kind.REMOVED, name, old=_described(column))


def _described(column: ColumnPlan) -> str:
    """A column's way in one line, without what is only told of it."""
    null = "" if column.nullable else " NOT NULL"
    targets = f"{column.iceberg_type}, {column.starrocks_type or 'not in StarRocks'}"
    plain = f"[{column.source_name.replace(']', ']]')}]"
    read = "" if column.select_expression == plain else f" as {column.select_expression}"
    if column.mask == "hash":  # its text is long, and the salt's digest is told by itself
        read = " masked by hash"
    renamed = "" if column.name == column.source_name else f"{column.source_name} "
    return f"{renamed}{column.mssql_type}{null}{read} -> {targets}"


def _ranges(old: TablePlan, new: TablePlan) -> Iterator[Change]:
    extended = extension(old, new)
    if extended is not None:
        for key in extended.narrowed:
            was, now = (_rows(table.key_range(key)) for table in (old, new))
            yield Change(Area.RANGES, Kind.CHANGED, f"window {key}", was, now)
        first, last = extended.added[0], extended.added[-1]
        added = first if first == last else f"{first} to {last}"
        yield Change(Area.RANGES, Kind.ADDED, "windows", new=added)
    elif old.key_ranges != new.key_ranges:
        was, now = _cuts(old.key_ranges), _cuts(new.key_ranges)
        if was == now:
            now = f"{now}, other bounds"
        yield Change(Area.RANGES, Kind.CHANGED, "partitions", was, now)
    elif old.partition_keys != new.partition_keys:
        yield Change(
            Area.RANGES,
            Kind.CHANGED,
            "partition keys",
            f"{old.partition_keys[0]}, ...",
            f"{new.partition_keys[0]}, ...",
        )


def _rows(key_range: KeyRange) -> str:
    return predicate(key_range) or "all rows"


def _cuts(ranges: tuple[KeyRange, ...]) -> str:
    """`8 of id, up to 1000`: how many ranges, of what, and where the last begins."""
    last = ranges[-1]
    if not last.key_columns:
        return str(len(ranges))
    bound = ", ".join(filter(None, (last.lower, *(last.more_lower or ()))))
    return f"{len(ranges)} of {', '.join(last.key_columns)}, the last from {bound}"


def _targets(old: TablePlan, new: TablePlan) -> Iterator[Change]:
    was, now = _target_texts(old), _target_texts(new)
    for name, text in was.items():
        yield from _changed(Area.TARGETS, name, text, now[name])


def _target_texts(table: TablePlan) -> dict[str, str]:
    return {
        "Iceberg table": f"{table.namespace}.{table.iceberg_table}",
        "location": table.location,
        "StarRocks table": f"{table.starrocks_database}.{table.starrocks_table}",
        "model": table.model.value,
        "sort key": ", ".join(table.sort_key),
        "distributed by": ", ".join(table.distributed_by),
        "buckets": str(table.buckets),
        "properties": ", ".join(f"{name} = {value}" for name, value in table.properties.items()),
        "audit columns": ", ".join(
            f"{column.name} (field {column.field_id})" for column in table.audit_columns
        ),
    }


_COMPARED = frozenset(
    {
        *("columns", "audit_columns", "key_ranges", "warnings", "sort_key", "buckets"),
        *("model", "distributed_by", "properties"),
        *("namespace", "iceberg_table", "location", "starrocks_database", "starrocks_table"),
        *("source_server", "source_database", "source_schema", "source_name", "query"),
        *("where",),
    }
)
_NO_CHANGES = frozenset(
    {
        *("rows", "bytes", "cut_rows", "range_rows"),  # estimates
        *("isolated",),  # shown as partition keys
        *("evolutions", "last_field_id", "cut_rules", "target_rules"),  # follow from others
    }
)


def _settings(old: TablePlan, new: TablePlan) -> Iterator[Change]:
    """Whatever else a table has, so that no later addition to the plan goes unseen."""
    for name in TablePlan.model_fields:
        if name not in _COMPARED | _NO_CHANGES:
            was, now = getattr(old, name), getattr(new, name)
            yield from _changed(Area.SETTINGS, name.replace("_", " "), _text(was), _text(now))
    for column in new.columns:
        was_column = next((c for c in old.columns if c.field_id == column.field_id), None)
        if was_column is None:
            continue
        collations = was_column.collation or "", column.collation or ""
        yield from _changed(Area.SETTINGS, f"collation of {column.name}", *collations)
        if column.affected != was_column.affected:
            name = f"rows of {column.name} that lose something"
            yield Change(
                Area.SETTINGS,
                Kind.CHANGED,
                name,
                _text(was_column.affected) or "not counted",
                _text(column.affected) or "not counted",
            )


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, tuple):
        return ", ".join(str(item) for item in value)
    return str(value)


def _changed(area: Area, name: str, old: str, new: str) -> Iterator[Change]:
    if old != new:
        kind = Kind.ADDED if not old else Kind.CHANGED if new else Kind.REMOVED
        yield Change(area, kind, name, old, new)


def _listed(area: Area, name: str, old: tuple[str, ...], new: tuple[str, ...]) -> Iterator[Change]:
    for text in new:
        if text not in old:
            yield Change(area, Kind.ADDED, name, new=text)
    for text in old:
        if text not in new:
            yield Change(area, Kind.REMOVED, name, old=text)


def _one_line(query: str) -> str:
    return query.replace("\n", "\\n")


def _dotted(parts: tuple[str, ...]) -> str:
    return ".".join(parts)


def _of_the_plan(old: MigrationPlan, new: MigrationPlan) -> Iterator[Change]:
    for name in MigrationPlan.model_fields:
        if name not in ("tables", "skipped", "notes"):
            was, now = _text(getattr(old, name)), _text(getattr(new, name))
            yield from _changed(Area.SETTINGS, name.replace("_", " "), was, now)
    yield from _listed(Area.SETTINGS, "left out", _left_out(old), _left_out(new))
    yield from _listed(Area.WARNINGS, "", old.notes, new.notes)


def _left_out(plan: MigrationPlan) -> tuple[str, ...]:
    return tuple(f"{s.source_schema}.{s.source_name}: {s.reason}" for s in plan.skipped)

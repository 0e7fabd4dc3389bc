"""From what introspection found and what the rules wish to the plan; pure and deterministic.

Names: the Iceberg namespace of a table is its SQL Server schema, made legal by `naming.py`; the
StarRocks database has the namespace's name, the StarRocks table that of the Iceberg table. Names
are settled over all tables of the database, so including one more changes no other name.

Nothing is lost silently: a table with a column that cannot be migrated is skipped with its reason,
unless the rules leave the column out, which is a warning.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

from migration_assets.choices import Engine, OnExisting, VerificationLevel
from migration_assets.column_planner import plan_columns
from migration_assets.consistency import (
    barrier_notes,
    check_barrier,
    consistency_notes,
    database_snapshot,
)
from migration_assets.errors import ConfigurationError, UnsupportedError
from migration_assets.key_range import KeyRange
from migration_assets.masking import cuttable, refuse_masks_of_nothing, refuse_misplaced
from migration_assets.naming import (
    Claim,
    NameKind,
    asset_names,
    claim,
    distinct_names,
    framed_name,
    is_template,
    legal_name,
    templated_name,
)
from migration_assets.partitioning import (
    TARGET_BYTES,
    TARGET_ROWS,
)
from migration_assets.plan import (
    MigrationPlan,
    SkippedTable,
    TablePlan,
)
from migration_assets.range_planner import choose, count_partitions, plan_ranges
from migration_assets.rules import Rules
from migration_assets.schema import (
    MssqlType,
    PartitionFunction,
    SourceDatabase,
    SourceTable,
    TableKind,
)
from migration_assets.table_model import table_model
from migration_assets.table_rules import Split, TableRules
from migration_assets.type_mapping import audit_columns
from migration_assets.windows import WindowRequest, window_request

_T = TypeVar("_T")

TABLET_BYTES = 10 << 30
"""StarRocks advises about 10 GB of raw data a tablet
(https://docs.starrocks.io/docs/table_design/data_distribution/)."""


def plan(
    database: SourceDatabase,
    rules: Rules,
    *,
    warehouse: str,
    has_cluster: bool = False,
    mask_key: str = "",
) -> MigrationPlan:
    """Plan the migration of a database.

    Args:
        database: what introspection found, with `key_cuts` or `key_bounds` for `keys_to_measure`; a
            key that was not measured leaves its table one partition, with a warning.
        rules: the user's wishes.
        warehouse: URI under which tables lie, without a trailing slash.
        has_cluster: whether there is a Spark cluster, to which large tables go by rule.
        mask_key: digest of the salt of masks by hash; empty where there is none.

    Returns:
        The plan, tables in the order of schema and name. The same input gives the same plan id.

    Raises:
        ConfigurationError: the rules name a key column that cannot be one, mask what cannot be
            masked, or send two tables to the same place.
    """
    refuse_masks_of_nothing(rules, database.tables)
    tables, skipped = _select(database, rules)
    targets = _targets(database, rules, warehouse)
    _refuse_shared_targets([(table, targets[table.full_name]) for table in tables])
    planned = []
    for table in tables:
        wishes = rules.for_table(table.full_name)
        warnings = check_barrier(table, database, wishes, consistency=rules.consistency)
        try:
            made = _plan_table(database, table, wishes, targets[table.full_name], mask_key)
        except UnsupportedError as error:
            skipped.append(_skip(table, error.message))
        else:
            has_workers = has_cluster and wishes.consistency is None
            engine = _chosen(wishes.engine, _engine(table, rules, has_cluster=has_workers))
            how = {
                "engine": engine,
                "consistency": wishes.consistency,
                "block_writers": bool(wishes.block_writers),
                "warnings": (*made.warnings, *warnings),
            }
            planned.append(made.model_copy(update=how))
    return MigrationPlan(
        server=database.server,
        database=database.database,
        snapshot_isolation=database.snapshot_isolation,
        read_committed_snapshot=database.read_committed_snapshot,
        consistency=rules.consistency,
        database_snapshot=database_snapshot(database, rules),
        tables=tuple(planned),
        skipped=tuple(sorted(skipped, key=lambda s: _order(s.source_schema, s.source_name))),
        notes=(*database.notes, *_notes(database, rules), *barrier_notes(planned)),
    )


@dataclass(frozen=True)
class KeyRequest:
    """A key that must be known before its table can be cut.

    Attributes:
        columns: exact names, first column first.
        count: number of partitions wanted.
        along_function: a rule asks that it be cut along its partition function.
    """

    table: SourceTable
    columns: tuple[str, ...]
    count: int
    along_function: bool = False

    @property
    def types(self) -> tuple[MssqlType, ...]:
        """Of the columns."""
        return tuple(self.table.columns.column(name).type for name in self.columns)

    @property
    def function(self) -> PartitionFunction | None:
        """The table's partition function, if it is one of the key's first column."""
        function = self.table.partitioned
        if function is None or function.unusable or function.column != self.columns[0]:
            return None
        return function


def keys_to_measure(database: SourceDatabase, rules: Rules) -> list[KeyRequest]:
    """Name the keys of which `plan` needs to know where they can be cut, one of a table at most.

    The caller puts what it learns into `SourceTable.key_cuts` or `key_bounds`.

    Raises:
        ConfigurationError: the rules name a key column that cannot be one.
    """
    keys = []
    for table in _select(database, rules)[0]:
        wishes = rules.for_table(table.full_name)
        refuse_misplaced(table, wishes)
        table = cuttable(table, wishes)  # noqa: PLW2901 - no value of a masked column is asked for
        count = count_partitions(table, wishes)
        if count > 1 and wishes.split is not Split.HASH and wishes.window is None:
            choice, is_along = choose(table, wishes)
            if choice.columns:
                keys.append(KeyRequest(table, choice.columns, count, is_along))
    return keys


def windows_to_measure(database: SourceDatabase, rules: Rules) -> list[WindowRequest]:
    """Name the tables that rules want partitioned by windows of time.

    The caller puts what it learns into `SourceTable.window_span` and `window_notes`.

    Raises:
        ConfigurationError: a rule names a column that the table does not have or that has no dates.
    """
    wished = [(t, rules.for_table(t.full_name)) for t in _select(database, rules)[0]]
    for table, wishes in wished:
        refuse_misplaced(table, wishes)
    return [
        window_request(cuttable(table, wishes), wishes.window)
        for table, wishes in wished
        if wishes.window is not None
    ]


def _select(database: SourceDatabase, rules: Rules) -> tuple[list[SourceTable], list[SkippedTable]]:
    """Part what is to be migrated from what is not, in the order of schema and name."""
    chosen: dict[str, SourceTable] = {}
    skipped = []
    for table in sorted(database.tables, key=lambda t: _order(t.schema, t.name)):
        if not table.is_candidate:
            article = "an" if table.kind.value[0] in "aeiou" else "a"
            skipped.append(_skip(table, f"it is {article} {table.kind.value}"))
        elif reason := _exclusion(table, rules) or table.refusal:
            skipped.append(_skip(table, reason))
        else:
            chosen[table.full_name] = table
    return list(chosen.values()), skipped


def _exclusion(table: SourceTable, rules: Rules) -> str | None:
    """Why the rules leave a table out; `include` is not about views and queries."""
    whole = table.kind is TableKind.TABLE
    return rules.exclusion(table.full_name) if whole else rules.removal(table.full_name)


def _order(schema: str, name: str) -> tuple[str, ...]:
    """Sort by name as a reader looks it up; the exact names settle what differs by case alone."""
    return schema.casefold(), name.casefold(), schema, name


def _skip(table: SourceTable, reason: str) -> SkippedTable:
    return SkippedTable(source_schema=table.schema, source_name=table.name, reason=reason)


def _notes(database: SourceDatabase, rules: Rules) -> list[str]:
    notes = rules.without_effect(database.tables)
    left = {name: count for name, count in sorted(database.not_migrated.items()) if count}
    if left:
        counts = ", ".join(f"{count} {name}" for name, count in left.items())
        notes.append(f"Not migrated: {counts}.")
    return [*notes, *consistency_notes(database, rules)]


def _plan_table(
    database: SourceDatabase,
    table: SourceTable,
    wishes: TableRules,
    target: _Target,
    mask_key: str,
) -> TablePlan:
    refuse_misplaced(table, wishes)
    columns, column_warnings = plan_columns(table, wishes, mask_key)
    cut = plan_ranges(cuttable(table, wishes), wishes)
    ranges = cut.ranges
    names = {column.source_name: column.name for column in columns}
    key = table.columns.primary_key
    is_key_whole = all(name in names for name in key)
    key_warnings = []
    if not key:
        missing = "primary key" if table.kind is TableKind.TABLE else "key"
        key_warnings.append(f"No {missing}: duplicate rows cannot be told apart.")
    elif not is_key_whole:
        key_warnings.append(
            "The primary key lost a column that the rules leave out: it is not used."
        )
        key = ()
    if wishes.key and table.kind is TableKind.TABLE:
        key_warnings.append("key has no effect: it is for views and queries.")
    made_as = table_model(table, wishes, columns, key)
    return TablePlan(
        source_server=database.server,
        source_database=database.database,
        source_schema=table.schema,
        source_name=table.name,
        kind=table.kind,
        query=table.query,
        where=wishes.where or "",
        mask_key=mask_key if any(column.mask == "hash" for column in columns) else "",
        rows=table.rows,
        bytes=table.bytes,
        columns=columns,
        audit_columns=audit_columns(len(columns) + 1),
        primary_key=key,
        key_ranges=ranges,
        cut_by=cut.cut_by,
        window=cut.window,
        range_rows=cut.rows,
        isolated=_chosen(wishes.isolated, _is_long(table, ranges)),
        verification=_chosen(wishes.verification, VerificationLevel.FULL),
        on_existing=_chosen(wishes.on_existing, OnExisting.REFUSE),
        namespace=target.namespace,
        iceberg_table=target.iceberg_table,
        location=target.location,
        starrocks_database=target.starrocks_database,
        starrocks_table=target.starrocks_table,
        model=made_as.model,
        sort_key=made_as.sort_key,
        distributed_by=made_as.distributed_by,
        buckets=_chosen(wishes.buckets, _buckets(table.bytes, len(ranges))),
        properties=dict(sorted(wishes.properties.items())),
        create=_chosen(wishes.create, default=True),
        owners=wishes.owners,
        prevent_reset=bool(wishes.prevent_reset),
        warnings=(
            *table.warnings,
            *([left_out_by(wishes.where)] if wishes.where else []),
            *key_warnings,
            *made_as.warnings,
            *_of_its_owner(wishes),
            *cut.warnings,
            *target.warnings,
            *column_warnings,
        ),
    )


def _of_its_owner(wishes: TableRules) -> list[str]:
    """What rules say of making a StarRocks table that somebody else makes."""
    given = [name for name in ("buckets", "distributed_by", "properties") if getattr(wishes, name)]
    if wishes.create is not False or not given:
        return []
    verb = "has" if len(given) == 1 else "have"
    return [f"{', '.join(given)} {verb} no effect: create: false leaves that to the table's owner."]


def left_out_by(where: str, counted: str = "") -> str:
    """What the plan says of a condition.

    Args:
        where: the condition.
        counted: what is known of the rows that it leaves out, the end of a sentence.
    """
    return f"Rows are left out{counted}: only those are migrated where {' '.join(where.split())}"


def _engine(table: SourceTable, rules: Rules, *, has_cluster: bool) -> Engine:
    """Spark pays where one machine would be too slow, never on one machine."""
    is_large = table.rows >= rules.spark_from.rows or (table.bytes or 0) >= rules.spark_from.bytes
    return Engine.SPARK if has_cluster and is_large else Engine.ARROW


def _chosen(wish: _T | None, default: _T) -> _T:
    return default if wish is None else wish


def _is_long(table: SourceTable, ranges: tuple[KeyRange, ...]) -> bool:
    """A big table in one piece: with keys of its own it does not hold up the small ones."""
    return len(ranges) == 1 and (table.rows > TARGET_ROWS or (table.bytes or 0) > TARGET_BYTES)


def _buckets(size: int | None, partitions: int) -> int:
    """Buckets of a partition: 1 below 1 GiB, then at least 2 and one for each 10 GiB."""
    partition_bytes = (size or 0) / partitions
    if partition_bytes < TARGET_BYTES:
        return 1
    return max(2, -int(-partition_bytes // TABLET_BYTES))


@dataclass(frozen=True)
class _Target:
    """Where a table goes."""

    namespace: str
    iceberg_table: str
    location: str
    starrocks_database: str
    starrocks_table: str
    warnings: tuple[str, ...]


def _targets(database: SourceDatabase, rules: Rules, warehouse: str) -> dict[str, _Target]:
    """Settle the names of all tables of the database, by full name."""
    tables = [table for table in database.tables if table.is_candidate]
    wishes = {table.full_name: rules.for_table(table.full_name) for table in tables}
    namespaces, databases = {}, {}
    for table in tables:
        wish, of_schema = wishes[table.full_name], rules.for_schema(table.schema)
        made = legal_name(table.schema, NameKind.NAMESPACE)
        namespaces[table.full_name] = (
            wish.namespace
            or of_schema.namespace
            or framed_name(rules.namespace_prefix, made, rules.namespace_suffix)
        )
        databases[table.full_name] = (
            wish.starrocks_database
            or of_schema.database
            or wish.namespace
            or of_schema.namespace
            or framed_name(rules.namespace_prefix, made, "")
        )

    def iceberg_wish(table: SourceTable) -> tuple[str, Claim]:
        given = wishes[table.full_name].iceberg_table
        return _wished_name(table, given, legal_name(table.name, NameKind.TABLE))

    iceberg = _settle(tables, namespaces, iceberg_wish)

    def starrocks_wish(table: SourceTable) -> tuple[str, Claim]:
        given = wishes[table.full_name].starrocks_table
        return _wished_name(table, given, iceberg[table.full_name])

    starrocks = _settle(tables, databases, starrocks_wish)
    targets = {}
    for table in tables:
        name = table.full_name
        plain = iceberg_wish(table)[0]
        warnings = []
        if iceberg[name] != plain:
            warnings.append(f"Named {iceberg[name]} in Iceberg: other tables want {plain} too.")
        if starrocks[name] != starrocks_wish(table)[0]:
            warnings.append(
                f"Named {starrocks[name]} in StarRocks: other tables want "
                f"{starrocks_wish(table)[0]} too."
            )
        given = wishes[name].location
        targets[name] = _Target(
            namespace=namespaces[name],
            iceberg_table=iceberg[name],
            location=given.rstrip("/")
            if given
            else f"{warehouse}/{namespaces[name]}/{iceberg[name]}",
            starrocks_database=databases[name],
            starrocks_table=starrocks[name],
            warnings=tuple(warnings),
        )
    return targets


def _wished_name(table: SourceTable, given: str | None, default: str) -> tuple[str, Claim]:
    """The name that a table wants, by a rule or without one."""
    if given is None:
        return default, claim(table.name, default)
    if is_template(given):
        return templated_name(given, table.schema, table.name)
    return given, Claim.FIXED


def _settle(
    tables: Iterable[SourceTable],
    scopes: dict[str, str],
    wish: Callable[[SourceTable], tuple[str, Claim]],
) -> dict[str, str]:
    """Make names distinct within each scope (a namespace or a database)."""
    wanted: dict[str, dict[str, tuple[str, Claim]]] = defaultdict(dict)
    for table in tables:
        wanted[scopes[table.full_name]][table.full_name] = wish(table)
    return {
        source: name for group in wanted.values() for source, name in distinct_names(group).items()
    }


def _asset_key(table: SourceTable, target: _Target) -> str:
    names = asset_names(table.schema, table.name, target.namespace, target.iceberg_table)
    return "/".join(("mssql", *names))


def _refuse_shared_targets(placed: list[tuple[SourceTable, _Target]]) -> None:
    """Refuse rules that send two tables to one place, or one's data under another's.

    Raises:
        ConfigurationError: names both tables.
    """
    places: dict[tuple[str, str], str] = {}
    for table, target in placed:
        for place in (
            ("Iceberg table", f"{target.namespace}.{target.iceberg_table}"),
            ("StarRocks table", f"{target.starrocks_database}.{target.starrocks_table}"),
            ("location", target.location),
            ("Dagster asset", _asset_key(table, target)),
        ):
            other = places.setdefault(place, table.full_name)
            if other != table.full_name:
                raise ConfigurationError(
                    f"migration.yaml sends {other} and {table.full_name} to the same {place[0]}, "
                    f"{place[1]}.",
                    code="MA-CF-022",
                    next_step="Give each a name of its own, in a pattern that matches only it.",
                )
    locations = {target.location: table.full_name for table, target in placed}
    for location, name in locations.items():
        parent = location
        while "/" in (parent := parent.rpartition("/")[0]):
            if parent in locations:
                raise ConfigurationError(
                    f"The location of {name}, {location}, lies within that of "
                    f"{locations[parent]}: cleaning up one would delete data of the other.",
                    code="MA-CF-023",
                    next_step="Change `location` in migration.yaml.",
                )

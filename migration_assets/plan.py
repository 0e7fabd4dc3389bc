"""The plan: what will be migrated and how, frozen, as one JSON file.

`migration-assets plan` makes it; Dagster's definitions are made from it without touching a server.
Nothing here knows a driver, Dagster or Iceberg.
"""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
)

from migration_assets import naming
from migration_assets.choices import (
    Consistency,
    Engine,
    OnExisting,
    StarRocksModel,
    TableConsistency,
    VerificationLevel,
)
from migration_assets.column_plan import ColumnPlan, TargetColumn
from migration_assets.errors import PlanError
from migration_assets.frozen_model import FrozenModel, content_hash
from migration_assets.key_range import KeyRange, Window
from migration_assets.plan_contradictions import contradiction
from migration_assets.schema import TableKind

PLAN_VERSION = 1
"""Version of the file's format; a plan of another version is refused, never guessed at."""

REMEDY = "Run `migration-assets plan --fresh` to write a new one."


class Evolution(FrozenModel):
    """A change of a table's columns that keeps its rows, as `migration-assets evolve` makes it.

    Attributes:
        table_id: the table's id before the change; what was made under it stays valid.
        added: target columns that came: NULL in partitions that were extracted before.
        widened: target columns whose type became wider.
    """

    table_id: str
    added: tuple[str, ...] = ()
    widened: tuple[str, ...] = ()


class TablePlan(FrozenModel):
    """One table's way through the three systems.

    Attributes:
        source_schema: SQL Server schema; `source_name` is the table there.
        kind: a table, a view or a query.
        query: the text of a query, which stands in parentheses where a table has its name.
        where: a condition of the rules that rows must fulfil; empty for all rows.
        mask_key: digest of the salt under which columns are masked by hash; empty without such.
        rows: estimated rows when planned, those that `where` leaves out too; `bytes` likewise, None if
            unknown.
        primary_key: source names of the key's columns, in key order; of a view or query those that
            rules name, which may be NULL and need not be unique.
        sort_key: target names of the StarRocks sort key, in order; they come first in its table.
        model: what the StarRocks table does with rows of one key; unless it keeps all of them, the
            key is the sort key and ends with `source_partition`.
        distributed_by: target names of the columns by whose hash StarRocks spreads rows over the
            buckets; empty for those of the sort key.
        properties: of the StarRocks table, beside those of the settings.
        create: the StarRocks table is made by the migration; else by somebody else.
        owners: of the assets, as Dagster has them.
        prevent_reset: rows that were migrated are not removed by any command.
        namespace: Iceberg namespace (Glue database); `iceberg_table` is the table in it.
        location: data location, an URI without a trailing slash, fixed for good.
        isolated: partition keys of its own, so that its runs are not shared with other tables.
        cut_by: where the ranges come from: `histogram`, `walk` over an index, `arithmetic` over a
            key whose histogram is even, `bounds` (arithmetic without a histogram),
            `partition_function` (SQL Server's own partitions), `window` or `hash`; empty for a
            table in one piece.
        window: what the ranges follow from where they are windows of time: more may come at the
            end while the table id stays.
        range_rows: estimated rows of each range when they were cut; empty where nothing is known
            of them.
        warnings: what the user must know before data moves.
        evolutions: changes of columns since the rows that are there may have been made, oldest
            first.
        left_out: source columns that rules leave out; None in a plan that does not say.
        cut_rows: estimated rows when the key ranges were cut; 0 for `rows`.
        last_field_id: the highest field id ever given to a column, where no column has it any
            more; else 0.
        cut_rules: hash of the rules that the key ranges follow from; `target_rules` likewise of
            names and locations; empty in a plan that does not say.
        consistency: instead of the plan's; None for that.
        block_writers: its barrier may keep writers waiting for as long as the extraction takes,
            where the database allows no SNAPSHOT transactions.
        trial_rows: it is a trial of so many rows, as `trial.py` makes it; 0 for the table itself.
    """

    source_server: str
    source_database: str
    source_schema: str
    source_name: str
    kind: TableKind = TableKind.TABLE
    query: str = ""
    where: str = ""
    mask_key: str = ""
    rows: int
    bytes: int | None = None
    columns: tuple[ColumnPlan, ...]
    audit_columns: tuple[TargetColumn, ...]
    primary_key: tuple[str, ...] = ()
    key_ranges: tuple[KeyRange, ...]
    cut_by: str = ""
    window: Window | None = None
    range_rows: tuple[int, ...] = ()
    isolated: bool = False
    engine: Engine = Engine.ARROW
    verification: VerificationLevel = VerificationLevel.FULL
    on_existing: OnExisting = OnExisting.REFUSE
    namespace: str
    iceberg_table: str
    location: str
    starrocks_database: str
    starrocks_table: str
    sort_key: tuple[str, ...]
    buckets: int = 1
    warnings: tuple[str, ...] = ()
    evolutions: tuple[Evolution, ...] = ()
    left_out: tuple[str, ...] | None = None
    cut_rows: int = 0
    last_field_id: int = 0
    cut_rules: str = ""
    target_rules: str = ""
    consistency: TableConsistency | None = None
    block_writers: bool = False
    model: StarRocksModel = StarRocksModel.DUPLICATE
    distributed_by: tuple[str, ...] = ()
    properties: dict[str, str] = Field(default_factory=dict)
    create: bool = True
    owners: tuple[str, ...] = ()
    prevent_reset: bool = False
    trial_rows: int = 0

    @model_serializer(mode="wrap")
    def _without_empty(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what older plans do not have, so that they keep their id."""
        content: dict[str, Any] = handler(self)
        if self.kind is TableKind.TABLE:
            content.pop("kind", None)
        if self.model is StarRocksModel.DUPLICATE:
            content.pop("model", None)
        if self.create:
            content.pop("create", None)
        return {k: v for k, v in content.items() if v or k not in _LATER_TABLE_FIELDS}

    def __hash__(self) -> int:
        """By its names: `properties` has no hash of its own."""
        return hash((self.full_name, self.starrocks_database, self.starrocks_table))

    @property
    def full_name(self) -> str:
        """`schema.table` in SQL Server, for messages; a part with a dot stands in brackets."""
        return naming.full_name(self.source_schema, self.source_name)

    @property
    def target_columns(self) -> tuple[TargetColumn, ...]:
        """All columns of the target tables: the source's in their order, then the audit columns."""
        return (*self.columns, *self.audit_columns)

    @property
    def starrocks_columns(self) -> tuple[TargetColumn, ...]:
        """The target columns that StarRocks gets."""
        return tuple(column for column in self.target_columns if column.starrocks_type)

    @property
    def at_barrier(self) -> bool:
        """Whether all partitions are extracted together, as of one point in time."""
        return self.consistency is TableConsistency.BARRIER

    @property
    def by_source(self) -> dict[str, ColumnPlan]:
        """The column that holds the value of each source column, by the source's name."""
        return {column.source_name: column for column in self.columns if not column.added}

    @cached_property
    def partition_keys(self) -> tuple[str, ...]:
        """Dagster's partition keys in range order: `p000`, `p001`, ... or `2024-01`, ..."""
        prefix = f"{self.namespace}-{self.iceberg_table}-" if self.isolated else ""
        if self.window is not None:
            numbers = (key_range.source_partition for key_range in self.key_ranges)
            return tuple(f"{prefix}{self.window.key(number)}" for number in numbers)
        return tuple(f"{prefix}p{key_range.source_partition:03d}" for key_range in self.key_ranges)

    @cached_property
    def _ranges(self) -> dict[str, KeyRange]:
        return dict(zip(self.partition_keys, self.key_ranges, strict=True))

    def key_range(self, partition_key: str) -> KeyRange:
        """Return the range of a partition key.

        Raises:
            PlanError: the table has no such partition.
        """
        try:
            return self._ranges[partition_key]
        except KeyError:
            raise PlanError(
                f"{self.full_name} has no partition {partition_key!r}: it has "
                f"{self.partition_keys[0]} to {self.partition_keys[-1]}.",
                code="MA-PL-009",
                next_step="Use a partition key that `migration-assets status` lists.",
            ) from None

    def range_id(self, partition_key: str) -> str:
        """Hash of a range that may change while the table id stays: of time windows; else empty.

        Raises:
            PlanError: the table has no such partition.
        """
        if self.window is None:
            return ""
        return content_hash(self.key_range(partition_key).identity)[:8]

    def replaced(self, **values: Any) -> TablePlan:
        """A copy with other values; unlike `model_copy` it takes no cached id along."""
        return TablePlan(**{name: getattr(self, name) for name in TablePlan.model_fields} | values)

    def holds(self, table_id: str) -> bool:
        """Whether what was made under a table id is valid under this plan of the table."""
        return table_id == self.table_id or any(e.table_id == table_id for e in self.evolutions)

    def evolved_since(self, table_id: str) -> tuple[Evolution, ...]:
        """The changes of columns that came after something was made under a table id."""
        ids = [evolution.table_id for evolution in self.evolutions]
        return self.evolutions[ids.index(table_id) :] if table_id in ids else ()

    def added_since(self, table_id: str) -> frozenset[str]:
        """Target columns that rows extracted under a table id do not have: NULL there."""
        return frozenset(name for e in self.evolved_since(table_id) for name in e.added)

    @property
    def generation(self) -> str:
        """The table id since which no partition had to be made again."""
        return self.evolutions[0].table_id if self.evolutions else self.table_id

    @property
    def cut(self) -> list[Any]:
        """What makes it cut otherwise: its ranges, or what windows of time follow from."""
        if self.window is not None:
            return ["window", *self.window.model_dump(mode="json").values()]
        return [key_range.identity for key_range in self.key_ranges]

    @cached_property
    def table_id(self) -> str:
        """Hash that changes exactly when the tables are others than before.

        What was made under another id is valid only if `evolutions` lists it. Estimates, warnings,
        notes and how rows are verified or extracted are no part of it.
        """
        identity = {
            "source": [
                self.source_server,
                self.source_database,
                self.source_schema,
                self.source_name,
            ],
            "columns": [[c.source_name, c.mssql_type, c.select_expression] for c in self.columns],
            "target_columns": [
                [c.name, c.field_id, c.iceberg_type, c.starrocks_type, c.nullable]
                for c in self.target_columns
            ],
            "targets": [
                self.namespace,
                self.iceberg_table,
                self.location,
                self.starrocks_database,
                self.starrocks_table,
                *self.sort_key,
            ],
            "ranges": self.cut,
            **({"query": self.query} if self.query else {}),
            **({} if self.model is StarRocksModel.DUPLICATE else {"model": self.model.value}),
            **({"where": self.where} if self.where else {}),
            # A hash's expression names its salt's digest, too: two salts never meet in one table.
            **({"mask_key": self.mask_key} if self.mask_key else {}),
        }
        return content_hash(identity)


_LATER_TABLE_FIELDS = frozenset(
    {
        *("cut_by", "range_rows", "consistency", "block_writers", "query", "window"),
        *("where", "mask_key"),
        *("distributed_by", "properties", "owners", "prevent_reset", "trial_rows"),
    }
)


class DatabaseSnapshot(FrozenModel):
    """The SQL Server database snapshot that all rows are read from.

    Attributes:
        name: its name on the server.
        ours: we make and drop it; else it is somebody else's, named in migration.yaml.
        folder: where its files are made, on the server; empty for beside those of the database.
    """

    name: str
    ours: bool = True
    folder: str = ""


class SkippedTable(FrozenModel):
    """A source object that the plan leaves out, with the reason."""

    source_schema: str
    source_name: str
    reason: str


class MigrationPlan(FrozenModel):
    """The whole plan.

    Attributes:
        server: the SQL Server's own name; `database` the database on it.
        skipped: what was left out and why.
        notes: what introspection had to do without.
        snapshot_isolation: `ALLOW_SNAPSHOT_ISOLATION` was ON when the plan was made.
        consistency: which rows are read as of one point in time.
        database_snapshot: where all rows are read, at consistency `database_snapshot`.
    """

    version: Literal[1] = 1
    server: str
    database: str
    snapshot_isolation: bool = False
    read_committed_snapshot: bool = False
    consistency: Consistency = Consistency.STATEMENT
    database_snapshot: DatabaseSnapshot | None = None
    tables: tuple[TablePlan, ...]
    skipped: tuple[SkippedTable, ...] = ()
    notes: tuple[str, ...] = ()

    @cached_property
    def plan_id(self) -> str:
        """Hash of everything in the plan."""
        return content_hash(self.model_dump(mode="json"))

    @cached_property
    def _tables(self) -> dict[str, TablePlan]:
        return {table.full_name: table for table in self.tables}

    def table(self, full_name: str) -> TablePlan:
        """Return a table by `schema.table`.

        Raises:
            PlanError: the plan has no such table.
        """
        try:
            return self._tables[full_name]
        except KeyError:
            raise PlanError(
                f"The plan has no table {full_name}.",
                code="MA-PL-009",
                next_step="`migration-assets status` lists the tables of the plan.",
            ) from None

    def to_json(self) -> str:
        """Serialize; `from_json` is the inverse."""
        body = {"plan_id": self.plan_id, **self.model_dump(mode="json")}
        return json.dumps(body, indent=1, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str, *, origin: str) -> MigrationPlan:
        """Parse and check a plan.

        Args:
            text: content of the file.
            origin: where it came from, for messages.

        Raises:
            PlanError: not JSON, of another version, not what its plan id says, or contradictory.
        """
        try:
            body = json.loads(text)
            stored_id = body.pop("plan_id", None) if isinstance(body, dict) else None
            # Of the text, not of the parsed plan: a later release's has more keys, with defaults.
            content_id = content_hash(body)
        except (ValueError, RecursionError) as error:
            raise PlanError(
                f"{origin} is not valid JSON: {error}.", code="MA-PL-003", next_step=REMEDY
            ) from None
        if not isinstance(body, dict) or "version" not in body:
            raise PlanError(
                f"{origin} is not a migration plan.", code="MA-PL-003", next_step=REMEDY
            )
        if body["version"] != PLAN_VERSION:
            raise PlanError(
                f"{origin} has format version {body['version']!r}, this release reads version "
                f"{PLAN_VERSION}.",
                code="MA-PL-004",
                next_step=REMEDY,
            )
        try:
            plan = cls.model_validate(body)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            is_later = first["type"] == "extra_forbidden"
            problem = ", or of a later release: this one knows no such key" if is_later else ""
            found = f"{origin} is corrupt at {where}{problem or ': ' + first['msg']}."
            raise PlanError(found, code="MA-PL-003", next_step=REMEDY) from None
        if content_id != stored_id:
            raise PlanError(
                f"{origin} was changed by hand: its content does not match its plan_id.",
                code="MA-PL-005",
                next_step=f"Put wishes into migration.yaml. {REMEDY}",
            )
        if found := contradiction(plan):
            raise PlanError(
                f"{origin} contradicts itself: {found}.", code="MA-PL-006", next_step=REMEDY
            )
        return plan

    @classmethod
    def load(cls, path: Path) -> MigrationPlan:
        """Read a plan from a file.

        Raises:
            PlanError: missing, unreadable or not a plan.
        """
        try:
            text = path.read_text(encoding="utf-8-sig")
        except FileNotFoundError:
            raise PlanError(
                f"There is no plan at {path}.",
                code="MA-PL-001",
                next_step="Run `migration-assets plan`, or set MIGRATION_PLAN.",
            ) from None
        except UnicodeDecodeError:
            raise PlanError(
                f"{path} cannot be read: it is no UTF-8 text.", code="MA-PL-002", next_step=REMEDY
            ) from None
        except OSError as error:
            raise PlanError(f"{path} cannot be read: {error.strerror}.", code="MA-PL-002") from None
        return cls.from_json(text, origin=str(path))

"""`migration.yaml`: what the user wishes about the plan.

```yaml
include: ["*"]                 # patterns of schema.table; default: everything
exclude: ["dbo.tmp*"]          # taken out again
namespace_prefix: shop_        # before every name made from a schema (Glue is shared by an account)
namespace_suffix: _glue        # after the namespaces made from a schema, not after databases
iceberg_table: "{schema}_{table}"   # names of target tables; also in defaults and tables
schemas:
  dbo: core                    # Iceberg namespace and StarRocks database of a schema
  hr: {namespace: people, database: hr}
consistency: statement         # none | statement | database_snapshot: see docs/consistency.md
spark_from: {rows: 20000000}   # larger tables go through Spark when SPARK_MASTER names a cluster
defaults:                      # of every table
  verification: full           # rows | full | count | none
  fractions: column            # of datetime2(7) and datetimeoffset(7): cut | column | text
  offsets: column              # of datetimeoffset: drop | column | text
  long_values: stop            # above 1 MiB in StarRocks: stop | cut | iceberg
  invalid_text: stop           # unpaired surrogates in nvarchar: stop | replace
views: ["sales.v_open*"]       # views to migrate as tables; default: none
queries:                       # queries to migrate as tables, see docs/views.md
  sales.order_totals:
    select: SELECT OrderId, SUM(Price) AS Total FROM sales.OrderLines GROUP BY OrderId
    key: [OrderId]
tables:
  "sales.*":                   # later patterns win, key by key
    partitions: 64
  sales.Orders:
    exclude_columns: [Shape]
    model: primary             # duplicate | primary | unique
    properties: {compression: ZSTD}
    owners: [team:sales, ann@example.com]
    prevent_reset: true
    window: {column: PlacedAt, by: month}   # day | month | year, from:, until: docs/windows.md
    where: Status <> 'draft'
    columns:
      PlacedAt: {fractions: text}
      Email: {mask: hash}      # hash | null | {fixed: x} | {partial: {last: 4}}: docs/masking.md
      CustomerName: {name: customer}
```

Patterns are shell patterns (`*`, `?`, `[ab]`) over `schema.table` without quotes, compared without
case, as most SQL Server databases do. In YAML a pattern that begins with `*` needs quotes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
)

from migration_assets.choices import (
    Consistency,
    Engine,
    OnExisting,
    StarRocksModel,
    TableConsistency,
    VerificationLevel,
)
from migration_assets.conversions import (
    Conversions,
    Fractions,
    InvalidText,
    LongValues,
    Offsets,
)
from migration_assets.frozen_model import FrozenModel
from migration_assets.key_range import Period
from migration_assets.mask_rules import ColumnName, MaskChoice
from migration_assets.naming import (
    ICEBERG_TEMPLATE_PATTERN,
    NAMESPACE_PATTERN,
    RESERVED_DATABASES,
    STARROCKS_DATABASE_PATTERN,
    STARROCKS_TEMPLATE_PATTERN,
)
from migration_assets.schema import SourceTable, TableKind
from migration_assets.source_query import single_condition, single_select
from migration_assets.table_properties import Owners, Properties

MAX_IDENTIFIER = 128
"""SQL Server's limit of a name's length in characters."""
MAX_PARTITIONS = 4096
MAX_BUCKETS = 1024
"""StarRocks' limit of buckets in one partition
(https://docs.starrocks.io/docs/table_design/data_distribution/)."""


def _as_list(value: object) -> object:
    """Take `include: "sales.*"` as a list of one."""
    return [value] if isinstance(value, str) else value


def _not_reserved(name: str) -> str:
    if name in RESERVED_DATABASES:
        raise ValueError(f"StarRocks has a database {name} of its own")
    return name


def _of_a_plan(consistency: object) -> object:
    if consistency == TableConsistency.BARRIER.value:
        raise ValueError(
            "a barrier is of one table, each at its own time; write it there: `tables: {dbo.accounts: "
            "{consistency: barrier}}` (docs/consistency.md)"
        )
    return consistency


def _of_a_table(consistency: object) -> object:
    if consistency in {known.value for known in Consistency}:
        raise ValueError(
            f"{consistency} is of all tables; write it at the top: `consistency: {consistency}`. A "
            "table of its own has only barrier"
        )
    return consistency


def _distinct_names(queries: dict[str, QueryRules]) -> dict[str, QueryRules]:
    """Refuse a query's name that is not `schema.name`, or another's but for case."""
    seen: set[str] = set()
    for name in queries:
        if not _QUERY_NAME.fullmatch(name):
            raise ValueError(f"{name} is not of the form schema.name")
        if name.casefold() in seen:
            raise ValueError(f"{name} is there twice")
        seen.add(name.casefold())
    return queries


_QUERY_NAME = re.compile(r"[^\s.\[\]](?:[^.\[\]]*[^\s.\[\]])?\.[^\s.\[\]](?:[^.\[\]]*[^\s.\[\]])?")


def _condition(text: str | None) -> str | None:
    return None if text is None else single_condition(text)


def _new_names(columns: dict[str, ColumnRules]) -> dict[str, ColumnRules]:
    """Refuse a new name for all columns that a pattern matches."""
    for name, wishes in columns.items():
        if wishes.name is not None and ("*" in name or "?" in name):
            raise ValueError(f"{name} is a pattern, and a new name belongs to one column")
    return columns


def _no_switch(value: object) -> object:
    if isinstance(value, bool):
        # Python takes yes for 1.
        raise ValueError("a number belongs there")  # noqa: TRY004 - pydantic wants a ValueError
    return value


def _of_many_tables(template: str | None) -> str | None:
    if template is not None and "{table}" not in template:
        raise ValueError(
            "all tables would have this name; put {table} into it, as in '{schema}_{table}', or "
            "write the name of one table under `tables`"
        )
    return template


Number = Annotated[int, BeforeValidator(_no_switch)]
Patterns = Annotated[
    tuple[str, ...], BeforeValidator(_as_list, json_schema_input_type=str | list[str])
]
IcebergTemplate = Annotated[str, Field(pattern=ICEBERG_TEMPLATE_PATTERN)]
StarRocksTemplate = Annotated[str, Field(pattern=STARROCKS_TEMPLATE_PATTERN)]
_FOR_MANY = {"pattern": r"\{table\}"}
"""What `_of_many_tables` asks for, in the JSON schema's words."""
IcebergTemplateOfMany = Annotated[
    IcebergTemplate | None, AfterValidator(_of_many_tables), Field(json_schema_extra=_FOR_MANY)
]
StarRocksTemplateOfMany = Annotated[
    StarRocksTemplate | None, AfterValidator(_of_many_tables), Field(json_schema_extra=_FOR_MANY)
]
Namespace = Annotated[str, Field(pattern=NAMESPACE_PATTERN), AfterValidator(_not_reserved)]
Database = Annotated[str, Field(pattern=STARROCKS_DATABASE_PATTERN), AfterValidator(_not_reserved)]


class SchemaRules(FrozenModel):
    """Where the tables of a SQL Server schema go.

    Attributes:
        namespace: Iceberg namespace; default: the schema's name, made legal.
        database: StarRocks database; default: as the namespace.
    """

    namespace: Namespace | None = None
    database: Database | None = None


def _as_schema_rules(value: object) -> object:
    """Take `dbo: core` as both names."""
    return {"namespace": value, "database": value} if isinstance(value, str) else value


class Split(StrEnum):
    """How a table is divided other than along its key as the planner chooses it."""

    HASH = "hash"
    PARTITION_FUNCTION = "partition_function"


class DefaultRules(FrozenModel):
    """Wishes that make sense for many tables at once; None leaves the choice to the planner.

    Attributes:
        namespace: Iceberg namespace.
        starrocks_database: StarRocks database; default: that of the schema, else as the namespace.
        partitions: number of key ranges, rounded up to one of 1, 8, 16, 32, 64 ... so that tables
            share runs; default: by rows and bytes.
        target_rows: most rows of a partition, of which the number of partitions follows, rounded
            up as well; default: up to 2 million.
        target_bytes: most bytes of a partition, likewise; default: 1 GiB.
        split: `hash` divides a table without a usable key by a checksum over its columns; each
            partition then reads the whole table. `partition_function` cuts a table that SQL Server
            itself partitions at its boundaries.
        isolated: partition keys of its own, so that no other table waits for its runs; default:
            `true` for big tables of one partition.
        verification: how much of each partition is compared: `rows`, `full`, `count` or `none`
            (docs/verification.md); default: `full`.
        on_existing: what to do with a target object that is not ours: `refuse`, `adopt`, `replace`;
            default: `refuse`.
        engine: who extracts: `arrow` (in the run's process) or `spark`; default: `spark` for the
            tables above `spark_from` when SPARK_MASTER names a cluster, else `arrow`.
        include_columns: the only columns that are migrated, by name or pattern without case;
            default: all.
        exclude_columns: columns left out of those, by name or pattern without case; the only way to
            migrate a table that has a column of a refused type.
        iceberg_table: names of the Iceberg tables, in which `{schema}` and `{table}` stand for the
            source's names, made legal; default: `{table}`.
        starrocks_table: names of the StarRocks tables, written the same way; default: those in
            Iceberg.
        model: `duplicate` keeps every row as it is; `primary` and `unique` are StarRocks' tables of
            one row for each key, for tables whose rows the source keeps distinct by it; default:
            `duplicate`.
        buckets: StarRocks buckets of each partition; default: by bytes.
        properties: of the StarRocks table, as its documentation names them; merged name by name.
        create: `false` leaves making the StarRocks table to somebody else: it is compared with the
            plan before rows are read, never altered but for its comment, and never dropped;
            default: `true`.
        owners: email addresses or `team:name`, shown as owners of the assets.
        prevent_reset: rows that were migrated are not removed, by `reset` nor by anything else,
            as long as this stands here; default: `false`.
        fractions: what becomes of 100 ns digits: `cut` drops the seventh one, `column` puts it into
            an integer column beside, `text` keeps the value as text; default: `cut`.
        offsets: what becomes of the offset of a datetimeoffset: `drop` keeps the instant, `column`
            puts minutes into a column beside, `text` keeps the value as text; default: `drop`.
        long_values: what becomes of values above 1 MiB, which StarRocks does not take: `stop` the
            load, `cut` texts there, leave the column to `iceberg`; default: `stop`.
        invalid_text: what becomes of unpaired surrogates in nvarchar: `stop` the extraction, or
            `replace` them by another character; default: `stop`.
    """

    namespace: Namespace | None = None
    starrocks_database: Database | None = None
    partitions: Number | None = Field(None, ge=1, le=MAX_PARTITIONS)
    target_rows: Number | None = Field(None, ge=1)
    target_bytes: Number | None = Field(None, ge=1)
    split: Split | None = None
    isolated: bool | None = None
    verification: VerificationLevel | None = None
    on_existing: OnExisting | None = None
    engine: Engine | None = None
    include_columns: Patterns = ()
    exclude_columns: Patterns = ()
    iceberg_table: IcebergTemplateOfMany = None
    starrocks_table: StarRocksTemplateOfMany = None
    model: StarRocksModel | None = None
    buckets: Number | None = Field(None, ge=1, le=MAX_BUCKETS)
    properties: Properties = Field(default_factory=dict)
    create: bool | None = None
    owners: Owners = ()
    prevent_reset: bool | None = None
    fractions: Fractions | None = None
    offsets: Offsets | None = None
    long_values: LongValues | None = None
    invalid_text: InvalidText | None = None


class ColumnRules(FrozenModel):
    """Wishes about one column, which go before those about its table.

    Attributes:
        name: its name in Iceberg and StarRocks, whose change makes the table be migrated anew;
            default: the column's own, made legal.
        mask: what is read instead of its values, in SQL Server itself: `hash` (64 hexadecimal digits
            of a keyed SHA-256, the key is MIGRATION_MASK_SALT), `null`, `{fixed: value}` (one value
            of the column's type), `{partial: {first: 1, last: 2}}` (the ends of a text, `***`
            between), or `off` against an earlier pattern. Not for columns of a primary key, nor for
            those that the table is cut by. Changing it makes the table be migrated anew.
        fractions: what becomes of 100 ns digits; default: that of the table.
        offsets: what becomes of the offsets of datetimeoffset; default: that of the table.
        long_values: what becomes of values that are too long for StarRocks; default: that of the table.
        invalid_text: what becomes of unpaired surrogates in nvarchar; default: that of the table.
    """

    name: ColumnName | None = None
    mask: MaskChoice = None
    fractions: Fractions | None = None
    offsets: Offsets | None = None
    long_values: LongValues | None = None
    invalid_text: InvalidText | None = None


_DAY = re.compile(r"(\d{4})(?:-(\d{2}))?(?:-(\d{2}))?", re.ASCII)


def _as_day(value: object) -> object:
    """Take 2023 and `2023-01` as their first day."""
    found = _DAY.fullmatch(str(value)) if isinstance(value, int | str) else None
    if found is None:
        return value
    try:
        return date(int(found[1]), int(found[2] or 1), int(found[3] or 1))
    except ValueError:
        return value


Day = Annotated[
    date,
    BeforeValidator(
        _as_day,
        json_schema_input_type=int | Annotated[str, Field(pattern=rf"^{_DAY.pattern}$")],
    ),
]


class WindowRules(FrozenModel):
    """Partition a table by windows of time; goes before all other rules about partitions.

    Attributes:
        column: a column of type date, datetime, datetime2, smalldatetime or datetimeoffset (whose
            instants count in UTC), without case.
        by: `day`, `month` or `year`.
        first: the first window has this day, month or year (`from`); default: the first period
            with rows.
        last: the last window has this day, month or year, and all that is later (`until`); default: the current
            period by SQL Server's clock.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", serialize_by_alias=True)

    column: str = Field(min_length=1)
    by: Period
    first: Day | None = Field(None, alias="from")
    last: Day | None = Field(None, alias="until")


class TableRules(DefaultRules):
    """Wishes about the tables of a pattern; also what holds for one table, all patterns merged.

    Attributes:
        iceberg_table: name of the Iceberg table, in which `{schema}` and `{table}` stand for the
            source's names, made legal; default: `{table}`.
        starrocks_table: name of the StarRocks table, written the same way; default: that in
            Iceberg.
        keys: source columns of StarRocks' key, in order; default: the primary key, of which a table
            of model `duplicate` takes the first ones.
        distributed_by: source columns by whose hash rows are spread over the buckets; default:
            those of the key.
        partition_column: column that is cut into key ranges; default: the primary key's first.
        window: partition by day, month or year of a column instead (docs/windows.md).
        key: columns that identify a row of a view or query, by which it is cut and compared.
        location: URI of the data; default: `<warehouse>/<namespace>/<iceberg_table>`.
        where: a T-SQL condition that rows must fulfil to be migrated, over the columns of the source
            (`Status <> 'draft' AND PlacedAt >= '2020-01-01'`); subqueries may stand in it, clocks and
            random numbers may not, since it must choose the same rows each time. Changing it makes
            the table be migrated anew.
        columns: source column, or a pattern (without case), to wishes about it alone; later ones
            win, key by key.
        consistency: `barrier`: all partitions show one point in time (docs/consistency.md);
            default: that of the plan.
        block_writers: a barrier may keep writers waiting until the table is extracted, where the
            database allows no SNAPSHOT transactions; default: `false`, such a barrier is refused.
    """

    iceberg_table: IcebergTemplate | None = None
    starrocks_table: StarRocksTemplate | None = None
    keys: Patterns = ()
    distributed_by: Patterns = ()
    partition_column: str | None = Field(None, min_length=1)
    window: WindowRules | None = None
    key: Patterns = ()
    location: str | None = Field(None, pattern=r"^[a-z][a-z0-9+.-]*://.*[^/]/*$")
    where: Annotated[str | None, AfterValidator(_condition)] = None
    columns: Annotated[dict[str, ColumnRules], AfterValidator(_new_names)] = Field(
        default_factory=dict
    )
    consistency: Annotated[TableConsistency | None, BeforeValidator(_of_a_table)] = None
    block_writers: bool | None = None

    def takes_column(self, column: str) -> bool:
        """Whether a source column is migrated, by `include_columns` and `exclude_columns`."""
        included = not self.include_columns or any(matches(p, column) for p in self.include_columns)
        return included and not any(matches(p, column) for p in self.exclude_columns)

    def column(self, column: str) -> ColumnRules:
        """What is wished about a source column alone; later patterns win, key by key."""
        merged: dict[str, Any] = {}
        for pattern, wishes in self.columns.items():
            if matches(pattern, column):
                merged |= wishes.model_dump(exclude_unset=True)
        return ColumnRules.model_validate(merged)

    def conversions(self, column: str) -> Conversions:
        """What is chosen for a source column: its own wishes, else the table's, else the default."""
        own = self.column(column)
        wishes = {
            choice: getattr(own, choice) or getattr(self, choice)
            for choice in Conversions.model_fields
        }
        return Conversions.model_validate({c: w for c, w in wishes.items() if w is not None})


class QueryRules(FrozenModel):
    """A query that is migrated as if it were a table.

    Attributes:
        select: one SELECT whose columns all have names.
        key: columns that identify a row, as `key` of `tables`, before which it goes.
    """

    select: Annotated[str, AfterValidator(single_select)]
    key: Patterns = ()


class SparkFrom(FrozenModel):
    """Above which size a table is one for Spark, where there is a cluster.

    Attributes:
        rows: estimated rows; default: 20,000,000.
        bytes: estimated bytes; default: 5,000,000,000.
    """

    rows: Number = Field(20_000_000, ge=1)
    bytes: Number = Field(5_000_000_000, ge=1)


class Rules(FrozenModel):
    """The whole of migration.yaml; all of it may be missing.

    Attributes:
        include: patterns of `schema.table`: the tables to migrate; default: `*`, all.
        exclude: patterns of tables to leave out of those.
        namespace_prefix: put before each namespace and database that is made from a schema's name,
            not before one that a rule names.
        namespace_suffix: put after each namespace (Glue database) that is made from a schema's
            name, not after StarRocks databases nor after a name that a rule gives.
        iceberg_table: names of the Iceberg tables, in which `{schema}` and `{table}` stand for the
            source's names, made legal (that in `defaults` and `tables` goes before); default:
            `{table}`.
        starrocks_table: names of the StarRocks tables, written the same way; default: those in
            Iceberg.
        spark_from: size above which a table goes through Spark, when SPARK_MASTER names a cluster.
        consistency: which rows are read as of one point in time: `none`, `statement` (those of a
            partition, where the database allows it) or `database_snapshot` (all of all tables), and
            a table may have `barrier` instead (docs/consistency.md); default: `statement`.
        database_snapshot: name of a database snapshot that somebody else has made, where
            `consistency` asks for one; default: one is made.
        database_snapshot_folder: folder on the server for the files of the one that is made;
            default: beside those of the database.
        schemas: SQL Server schema (without case) to one name for its Iceberg namespace and
            StarRocks database, or to `{namespace: ..., database: ...}`.
        views: patterns of views to migrate as if they were tables (docs/views.md); `exclude` takes
            out again.
        queries: `schema.name`, which no table has, to a query that is migrated under it
            (docs/views.md).
        defaults: wishes for all tables.
        tables: pattern to wishes for the tables it matches; later patterns win, key by key.
    """

    include: Patterns = ("*",)
    exclude: Patterns = ()
    namespace_prefix: str = Field("", pattern=r"^([a-z][a-z0-9_]{0,50})?$")
    namespace_suffix: str = Field("", pattern=r"^[a-z0-9_]{0,50}$")
    iceberg_table: IcebergTemplateOfMany = None
    starrocks_table: StarRocksTemplateOfMany = None
    schemas: dict[str, Annotated[SchemaRules, BeforeValidator(_as_schema_rules)]] = Field(
        default_factory=dict
    )
    consistency: Annotated[Consistency, BeforeValidator(_of_a_plan)] = Consistency.STATEMENT
    database_snapshot: str | None = Field(None, min_length=1, max_length=MAX_IDENTIFIER)
    database_snapshot_folder: str | None = Field(None, min_length=1)
    spark_from: SparkFrom = SparkFrom()
    views: Patterns = ()
    queries: Annotated[dict[str, QueryRules], AfterValidator(_distinct_names)] = Field(
        default_factory=dict
    )
    defaults: DefaultRules = DefaultRules()
    tables: dict[str, TableRules] = Field(default_factory=dict)

    def exclusion(self, full_name: str) -> str | None:
        """Return why a table is left out, or None when it is to be migrated."""
        if not any(matches(pattern, full_name) for pattern in self.include):
            return "no include pattern of migration.yaml matches it"
        return self.removal(full_name)

    def takes_view(self, full_name: str) -> bool:
        """Whether a view is to be migrated."""
        return any(matches(pattern, full_name) for pattern in self.views) and (
            self.removal(full_name) is None
        )

    def removal(self, full_name: str) -> str | None:
        """Return why `exclude` takes out what something else takes in; None when it does not."""
        for pattern in self.exclude:
            if matches(pattern, full_name):
                return f"excluded by the pattern {pattern} in migration.yaml"
        return None

    def for_table(self, full_name: str) -> TableRules:
        """Merge what holds for one table: defaults, then each matching pattern in file order.

        Args:
            full_name: `schema.table`.
        """
        templates = {"iceberg_table": self.iceberg_table, "starrocks_table": self.starrocks_table}
        merged: dict[str, Any] = {name: text for name, text in templates.items() if text}
        merged |= self.defaults.model_dump(exclude_unset=True)
        properties: dict[str, str] = dict(merged.pop("properties", {}))
        columns: dict[str, dict[str, Any]] = {}
        for pattern, wishes in self.tables.items():
            if matches(pattern, full_name):
                given = wishes.model_dump(exclude_unset=True)
                for name, of_column in given.pop("columns", {}).items():
                    # The last one written goes before the patterns ahead of it.
                    earlier = columns.pop(name.casefold(), {})
                    columns[name.casefold()] = {**earlier, **of_column}
                properties |= given.pop("properties", {})
                merged |= given
        for name, query in self.queries.items():
            if query.key and name.casefold() == full_name.casefold():
                merged["key"] = query.key
        if properties:
            merged["properties"] = properties
        return TableRules.model_validate({**merged, "columns": columns})

    def for_schema(self, schema: str) -> SchemaRules:
        """Return where a schema's tables go, compared without case."""
        by_folded_name = {name.casefold(): wishes for name, wishes in self.schemas.items()}
        return by_folded_name.get(schema.casefold(), SchemaRules())

    def without_effect(self, tables: Sequence[SourceTable]) -> list[str]:
        """Name the patterns and schemas that match none of the tables, a sentence each."""
        names = [table.full_name for table in tables]
        views = [table.full_name for table in tables if table.kind is TableKind.VIEW]
        schemas = {table.schema.casefold() for table in tables}
        given = {"include": self.include, "exclude": self.exclude, "tables": tuple(self.tables)}
        if self.include == ("*",):
            del given["include"]  # an empty database is no mistake in the rules
        return (
            [
                f"migration.yaml: {key}: {pattern} matches no table."
                for key, patterns in given.items()
                for pattern in patterns
                if not any(matches(pattern, name) for name in names)
            ]
            + [
                f"migration.yaml: views: {pattern} matches no view."
                for pattern in self.views
                if not any(matches(pattern, name) for name in views)
            ]
            + [
                f"migration.yaml: schemas: {name} is no schema with tables."
                for name in self.schemas
                if name.casefold() not in schemas
            ]
        )


def matches(pattern: str, full_name: str) -> bool:
    """Say whether a shell pattern matches `schema.table`, or is it, without case."""
    name, pattern = full_name.casefold(), pattern.casefold()
    return name == pattern or fnmatchcase(name, pattern)  # a name may hold brackets

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
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field

from migration_assets.choices import Consistency, TableConsistency
from migration_assets.frozen_model import FrozenModel
from migration_assets.mask_rules import FixedMask, Kept, PartialMask
from migration_assets.rule_values import (
    Database,
    IcebergTemplateOfMany,
    Namespace,
    Number,
    Patterns,
    StarRocksTemplateOfMany,
    matches,
)
from migration_assets.schema import SourceTable, TableKind
from migration_assets.source_query import single_select
from migration_assets.table_rules import (
    MAX_IDENTIFIER,
    ColumnRules,
    DefaultRules,
    TableRules,
    WindowRules,
)


def _of_a_plan(consistency: object) -> object:
    if consistency == TableConsistency.BARRIER.value:
        raise ValueError(
            "a barrier is of one table, each at its own time; write it there: `tables: {dbo.accounts: "
            "{consistency: barrier}}` (docs/consistency.md)"
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


RULE_MODELS: tuple[type[BaseModel], ...] = (
    Rules,
    DefaultRules,
    TableRules,
    ColumnRules,
    WindowRules,
    SchemaRules,
    QueryRules,
    SparkFrom,
    FixedMask,
    PartialMask,
    Kept,
)
"""All parts of the file."""

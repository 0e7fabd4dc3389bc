"""What migration.yaml may wish about tables and their columns: `defaults` and `tables` of it."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field

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
from migration_assets.rule_values import (
    Database,
    Day,
    IcebergTemplate,
    IcebergTemplateOfMany,
    Namespace,
    Number,
    Patterns,
    StarRocksTemplate,
    StarRocksTemplateOfMany,
    matches,
)
from migration_assets.source_query import single_condition
from migration_assets.table_properties import Owners, Properties

MAX_IDENTIFIER = 128
"""SQL Server's limit of a name's length in characters."""
MAX_PARTITIONS = 4096
MAX_BUCKETS = 1024
"""StarRocks' limit of buckets in one partition
(https://docs.starrocks.io/docs/table_design/data_distribution/)."""


def _of_a_table(consistency: object) -> object:
    if consistency in {known.value for known in Consistency}:
        raise ValueError(
            f"{consistency} is of all tables; write it at the top: `consistency: {consistency}`. A "
            "table of its own has only barrier"
        )
    return consistency


def _condition(text: str | None) -> str | None:
    return None if text is None else single_condition(text)


def _new_names(columns: dict[str, ColumnRules]) -> dict[str, ColumnRules]:
    """Refuse a new name for all columns that a pattern matches."""
    for name, wishes in columns.items():
        if wishes.name is not None and ("*" in name or "?" in name):
            raise ValueError(f"{name} is a pattern, and a new name belongs to one column")
    return columns


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

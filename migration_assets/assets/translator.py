"""From a planned table to Dagster's words: the one place to customise names, groups and tags."""

from __future__ import annotations

import re
from enum import StrEnum
from functools import cache
from typing import Any

import dagster as dg

from migration_assets.assets.directions import asset_directions
from migration_assets.choices import Engine, StarRocksModel
from migration_assets.column_plan import ColumnPlan, TargetColumn
from migration_assets.losses import table_losses
from migration_assets.naming import asset_names
from migration_assets.partitioning import predicate
from migration_assets.plan import TablePlan
from migration_assets.schema import TableKind


class Stage(StrEnum):
    """The system an asset lives in; in flow order. Also the name of its concurrency pool."""

    MSSQL = "mssql"
    ICEBERG = "iceberg"
    STARROCKS = "starrocks"


STAGES = tuple(Stage)


class MigrationTranslator:
    """Makes the `AssetSpec` of a table's asset in one system.

    Subclass it and pass the instance to `build_definitions` to change keys, groups, owners, tags
    or metadata.
    """

    def asset_key(self, stage: Stage, table: TablePlan) -> dg.AssetKey:
        """`mssql/<schema>/<table>`, `iceberg/<namespace>/<table>`, `starrocks/<database>/<table>`.

        A name of SQL Server that Dagster cannot take (letters, digits and underscores only, once
        it has checks) appears as its Iceberg name, which is legal and unique. A trial's keys begin
        with `trial`: receipts lie under them too, and those of the tables themselves must stay.
        """
        source = (table.source_schema, table.source_name)
        names = {
            Stage.MSSQL: asset_names(*source, table.namespace, table.iceberg_table),
            Stage.ICEBERG: (table.namespace, table.iceberg_table),
            Stage.STARROCKS: (table.starrocks_database, table.starrocks_table),
        }
        trial = ["trial"] if table.trial_rows else []
        return dg.AssetKey([*trial, stage.value, *names[stage]])

    def asset_spec(self, stage: Stage, table: TablePlan) -> dg.AssetSpec:
        """Return key, partitions, group, kinds, owners, code version and metadata of an asset."""
        upstream = None if stage is Stage.MSSQL else STAGES[STAGES.index(stage) - 1]
        return dg.AssetSpec(
            key=self.asset_key(stage, table),
            deps=[] if upstream is None else [self.asset_key(upstream, table)],
            description=_description(stage, table),
            group_name=dagster_name(table.source_schema),
            kinds=_kinds(stage, table),
            owners=list(table.owners),
            # That of the rows: an evolved table is not to be made again.
            code_version=table.generation,
            partitions_def=partitions_definition(table.partition_keys),
            tags={"migration/table_id": table.table_id},
            metadata={
                **_location(stage, table),
                **_facts(stage, table),
                **asset_directions(table),
                "dagster/column_schema": _column_schema(stage, table),
                **(
                    {}
                    if upstream is None
                    else {"dagster/column_lineage": self._lineage(upstream, table)}
                ),
            },
        )

    def _lineage(self, upstream: Stage, table: TablePlan) -> dg.TableColumnLineage:
        key = self.asset_key(upstream, table)

        def source(column: ColumnPlan) -> str:
            return column.source_name if upstream is Stage.MSSQL else column.name

        return dg.TableColumnLineage(
            {
                column.name: [dg.TableColumnDep(asset_key=key, column_name=source(column))]
                for column in table.columns
            }
        )


@cache
def partitions_definition(partition_keys: tuple[str, ...]) -> dg.StaticPartitionsDefinition:
    """One definition for all tables with the same keys: backfills merge them into shared runs."""
    return dg.StaticPartitionsDefinition(list(partition_keys))


def dagster_name(text: str) -> str:
    """Make a legal Dagster name (letters, digits, underscore) of any text."""
    return re.sub(r"[^A-Za-z0-9_]", "_", text) or "_"


def _kinds(stage: Stage, table: TablePlan) -> set[str]:
    if stage is Stage.MSSQL:
        return {"sqlserver", "spark" if table.engine is Engine.SPARK else "parquet"}
    return {stage.value}


def _description(stage: Stage, table: TablePlan) -> str:
    keys, source = table.partition_keys, f"`{table.full_name}`"
    iceberg = f"`{table.namespace}.{table.iceberg_table}`"
    title = {
        Stage.MSSQL: f"Rows of SQL Server's {source}, written to S3 as Parquet files.",
        Stage.ICEBERG: f"Iceberg table {iceberg}: the files of {source} become its current "
        "content, one commit a partition.",
        Stage.STARROCKS: f"StarRocks table `{table.starrocks_database}.{table.starrocks_table}`, "
        f"loaded from the Iceberg table {iceberg}.",
    }[stage]
    key_range = table.key_ranges[-1]
    if len(keys) > 1 and key_range.key_columns:
        kind = "a hash" if key_range.hash_of else "ranges"
        if table.window is not None:
            kind = f"windows by {table.window.by.value}"
        columns = ", ".join(f"`{name}`" for name in key_range.key_columns)
        title += f" Partitions {keys[0]} to {keys[-1]} are {kind} of {columns}."
    known = [*table.warnings, *(loss.sentence for loss in table_losses(table))]
    warnings = "".join(f"\n- {warning}" for warning in known)
    return title + (f"\n\nKnow before you rely on it:{warnings}" if warnings else "")


def _location(stage: Stage, table: TablePlan) -> dict[str, str]:
    names = {
        Stage.MSSQL: f"{table.source_database}.{table.full_name}",
        Stage.ICEBERG: f"{table.namespace}.{table.iceberg_table}",
        Stage.STARROCKS: f"{table.starrocks_database}.{table.starrocks_table}",
    }
    kinds = {Stage.MSSQL: "sqlserver", Stage.ICEBERG: "iceberg", Stage.STARROCKS: "starrocks"}
    metadata = {"dagster/table_name": names[stage], "dagster/storage_kind": kinds[stage]}
    if stage is not Stage.STARROCKS:
        metadata["dagster/uri"] = table.location
    return metadata


def _facts(stage: Stage, table: TablePlan) -> dict[str, Any]:
    """What an operator looks up in the plan."""
    facts: dict[str, Any] = {}
    if table.owners:
        facts["owners"] = ", ".join(table.owners)
    if table.prevent_reset:
        facts["prevent_reset"] = "its rows are not removed by any command"
    match stage:
        case Stage.MSSQL:
            if table.kind is not TableKind.TABLE:
                facts["source"] = f"a {table.kind.value}"
            facts["rows when planned"] = table.rows
            facts["primary key"] = ", ".join(table.primary_key) or "none"
            if len(table.key_ranges) > 1:
                facts["key ranges"] = dg.MetadataValue.table(
                    [
                        dg.TableRecord({"partition": key, "rows": predicate(key_range) or "all"})
                        for key, key_range in zip(
                            table.partition_keys, table.key_ranges, strict=True
                        )
                    ]
                )
        case Stage.ICEBERG:
            facts["partitioned by"] = "source_partition"
        case Stage.STARROCKS:
            if table.model is not StarRocksModel.DUPLICATE:
                facts["model"] = table.model.value
            facts["sort key"] = ", ".join(table.sort_key)
            if table.create:
                facts["buckets per partition"] = table.buckets
            else:
                facts["made by"] = "its owner in StarRocks (create: false)"
    came = dict.fromkeys(name for evolution in table.evolutions for name in evolution.added)
    if came:
        facts["columns that came later"] = (
            f"{', '.join(came)}: NULL in partitions that were extracted before"
        )
    return facts


def _column_schema(stage: Stage, table: TablePlan) -> dg.TableSchema:
    def column(planned: TargetColumn) -> dg.TableColumn:
        name, kind = planned.name, planned.starrocks_type
        description, tags, other = "Added by the migration.", {"migration/audit": ""}, []
        if stage is Stage.ICEBERG:
            kind = planned.iceberg_type
        if isinstance(planned, ColumnPlan):
            description, tags = _origin(stage, planned), {}
            if stage is Stage.MSSQL:
                name, kind = planned.source_name, planned.mssql_type
            if planned.source_name in table.primary_key:
                other = ["primary key"]
        return dg.TableColumn(
            name=name,
            type=kind,
            description=description or None,
            constraints=dg.TableColumnConstraints(nullable=planned.nullable, other=other),
            tags=tags,
        )

    columns = {
        Stage.MSSQL: table.columns,
        Stage.ICEBERG: table.target_columns,
        Stage.STARROCKS: table.starrocks_columns,
    }[stage]
    return dg.TableSchema(columns=[column(planned) for planned in columns])


def _origin(stage: Stage, column: ColumnPlan) -> str:
    """What became of a column, or what it comes from: `TransactionID int`, and what to know."""
    note = column.note[:1].upper() + column.note[1:]
    note += "." if note and not note.endswith(".") else ""
    if stage is Stage.MSSQL:
        return note
    return f"From {column.source_name}, {column.mssql_type}. {note}".strip()

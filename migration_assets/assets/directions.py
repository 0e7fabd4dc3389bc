"""What an operator wants next, as metadata: where the object is, SQL to look at it, commands; pure.

Each asset, and each materialization of a partition, carries a statement for every system, so that
the same rows can be looked at side by side.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import Any

import dagster as dg

from migration_assets.errors import UnsupportedError
from migration_assets.mssql.select import source_sql
from migration_assets.partitioning import predicate
from migration_assets.plan import TablePlan
from migration_assets.starrocks.names import native_table

REPORT_TAG = "migration/report"
"""Tag of a run that `migration-assets run` made: the file that its report is written to."""


def code(language: str, text: str) -> dg.MarkdownMetadataValue:
    """Text that the UI shows as code, to be copied."""
    return dg.MetadataValue.md(f"```{language}\n{text}\n```")


def queries(
    table: TablePlan, partition_key: str | None = None, snapshot_id: int | None = None
) -> dict[str, str]:
    """A SELECT for each system by its stage: of a whole table, or of one partition.

    That of Iceberg is understood by Athena, Trino and Spark 3.3 and later. A system that cannot
    have the table's name is left out.

    Args:
        table: the plan of the table.
        partition_key: which partition; None for all rows.
        snapshot_id: Iceberg's snapshot that holds it; None for the current one.
    """
    where, in_targets = "", ""
    if partition_key is not None:
        key_range = table.key_range(partition_key)
        condition = predicate(key_range)
        where = "" if condition is None else f"\nWHERE {condition}"
        in_targets = f"\nWHERE source_partition = {key_range.source_partition}"
    version = "" if snapshot_id is None else f" FOR VERSION AS OF {snapshot_id}"
    iceberg = f"{_plain(table.namespace)}.{_plain(table.iceberg_table)}"
    made = {
        "mssql": f"SELECT *\nFROM {source_sql(table)}{where}",
        "iceberg": f"SELECT *\nFROM {iceberg}{version}{in_targets}",
    }
    try:
        made["starrocks"] = f"SELECT *\nFROM {native_table(table)}{in_targets}"
    except UnsupportedError:
        return made
    return made


def _plain(name: str) -> str:
    """A name as Athena and Spark both take it; quoted as Athena has it where it needs quotes."""
    return name if re.fullmatch(r"[a-z_][a-z0-9_]*", name) else '"' + name.replace('"', '""') + '"'


_SYSTEMS = {
    "mssql": "query in SQL Server",
    "iceberg": "query in Athena, Trino, Spark",
    "starrocks": "query in StarRocks",
}


def run_command(table: TablePlan, partition_key: str | None = None) -> str:
    """The command that makes a table, or one partition of it, again in all systems.

    A table at a barrier is extracted whole.
    """
    is_whole = partition_key is None or table.at_barrier
    partitions = "" if is_whole else f" --partitions {partition_key}"
    return f"migration-assets run --tables {shlex.quote(table.full_name)}{partitions}"


def report_command(table: TablePlan) -> str:
    """The command that writes the evidence for a table."""
    return f"migration-assets report --tables {shlex.quote(table.full_name)} --html report.html"


def asset_directions(table: TablePlan) -> dict[str, Any]:
    """Metadata of an asset."""
    return {
        **{_SYSTEMS[stage]: code("sql", text) for stage, text in queries(table).items()},
        "Glue table": f"{table.namespace}.{table.iceberg_table}",
        "data in": table.location,
        "StarRocks table": f"{table.starrocks_database}.{table.starrocks_table}",
        "migrate again": code("sh", run_command(table)),
        "evidence": code("sh", report_command(table)),
    }


def partition_directions(
    stage: str,
    table: TablePlan,
    partition_key: str,
    tags: Mapping[str, str],
    *,
    snapshot_id: int | None = None,
) -> dict[str, Any]:
    """Metadata of a materialized partition.

    Args:
        stage: whose partition it is: that system's statement is `query`.
        table: the plan of the table.
        partition_key: which partition.
        tags: of the run that made it.
        snapshot_id: Iceberg's snapshot that holds it, where it is known.
    """
    made = queries(table, partition_key, snapshot_id)
    named = {("query" if of == stage else _SYSTEMS[of]): text for of, text in made.items()}
    path = tags.get(REPORT_TAG)
    report = code("sh", report_command(table)) if path is None else dg.MetadataValue.path(path)
    return {
        **{name: code("sql", text) for name, text in named.items()},
        "migrate again": code("sh", run_command(table, partition_key)),
        ("evidence" if path is None else "report of the run"): report,
    }

"""What the three assets of a table have in common."""

from __future__ import annotations

from typing import Any

import dagster as dg

from migration_assets.assets.checks import check_specs
from migration_assets.assets.translator import STAGES, Stage
from migration_assets.choices import VerificationLevel
from migration_assets.frozen_model import content_hash
from migration_assets.memory import MemoryLimit
from migration_assets.plan import TablePlan
from migration_assets.receipts import PointInTime, Receipt
from migration_assets.settings import ProjectSettings

DATA_VERSION_TAG = "dagster/data_version"
"""Dagster's own tag of a materialization, the one that can be queried by partition."""


POINT_IN_TIME_TAG = "migration/point-in-time"
"""Tag of an extraction: the database snapshot it was read from, or the barrier."""

NO_POINT = "none"
"""Value of that tag for rows that share their point in time with no other partition."""


def point_tag(point: PointInTime | None) -> str:
    """Value of that tag."""
    if point is not None and point.barrier:
        return point.barrier
    if point is None or not point.database_snapshot or point.created is None:
        return NO_POINT
    # A tag's value may hold no colons, blanks and the like; names do.
    return content_hash([point.database_snapshot, point.created.isoformat()])


def data_version(receipt: Receipt) -> dg.DataVersion:
    """The extraction that a materialization goes back to, and the plan it was made under.

    The three assets of a partition are in step when their data versions are equal, which is also
    what Dagster's UI goes by.
    """
    range_id = f".{receipt.range_id}" if receipt.range_id else ""
    return dg.DataVersion(f"{receipt.table_id}{range_id}-{receipt.attempt}")


def is_valid(version: str, table: TablePlan, partition_key: str) -> bool:
    """Whether what has a data version was made under the plan of the table, and of this range."""
    table_id, _, range_id = version.partition("-")[0].partition(".")
    return table.holds(table_id) and range_id == table.range_id(partition_key)


class VerificationConfig(dg.Config):
    """Knobs of a single run; editable in the Launchpad.

    Attributes:
        verification: `none`, `count`, `full` or `rows`; empty for the table's planned level.
    """

    verification: str = ""

    def level(self, table: TablePlan) -> VerificationLevel:
        """What this run measures: at `rows` all that `full` does, see `compares_rows`."""
        level = VerificationLevel(self.verification or table.verification)
        return VerificationLevel.FULL if level is VerificationLevel.ROWS else level

    def compares_rows(self, table: TablePlan) -> bool:
        """Whether this run compares StarRocks' rows one by one."""
        return VerificationLevel(self.verification or table.verification) is VerificationLevel.ROWS


class ExtractConfig(VerificationConfig):
    """Knobs of an extraction.

    Attributes:
        batch_rows: rows per Arrow batch; 0 for `MSSQL_BATCH_ROWS`.
    """

    batch_rows: int = 0


def memory_limit() -> MemoryLimit:
    """What the rows of one extraction may take, by `MIGRATION_MEMORY_MB`."""
    return MemoryLimit(ProjectSettings.load().memory_mb * 2**20)


def asset_arguments(spec: dg.AssetSpec, stage: Stage, table: TablePlan) -> dict[str, Any]:
    """Arguments of `@dagster.asset` that follow from the spec and the stage.

    The priority makes each table run depth-first within a run; the pool bounds the steps that use
    a system at once, over all runs.
    """
    return {
        "key": spec.key,
        "partitions_def": spec.partitions_def,
        "group_name": spec.group_name,
        "description": spec.description,
        "metadata": spec.metadata,
        "tags": {key: value for key, value in spec.tags.items() if "dagster/kind" not in key},
        "kinds": spec.kinds,
        "owners": spec.owners,
        "code_version": spec.code_version,
        "check_specs": check_specs(spec, stage, table),
        "io_manager_key": "receipts",
        "pool": stage.value,
        "op_tags": {"dagster/priority": str(STAGES.index(stage))},
    }

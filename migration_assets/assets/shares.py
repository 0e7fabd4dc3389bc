"""How much of a table is there when one of its partitions has been made, and what the rest takes."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import dagster as dg

from migration_assets.assets.build import DATA_VERSION_TAG, is_valid
from migration_assets.inventory_page.wording import duration
from migration_assets.plan import TablePlan
from migration_assets.receipts import Receipt

STEP_ROWS = 1000
"""What a step costs anyway, in rows."""


def partition_rows(table: TablePlan) -> dict[str, int]:
    """Estimated rows of each partition: as it was cut, else equal shares."""
    keys = table.partition_keys
    if len(table.range_rows) == len(keys):
        return dict(zip(keys, table.range_rows, strict=True))
    return dict.fromkeys(keys, table.rows // len(keys))


def pace_metadata(
    instance: dg.DagsterInstance,
    asset_key: dg.AssetKey,
    table: TablePlan,
    receipt: Receipt,
) -> dict[str, Any]:
    """Metadata of a materialization: its pace, the share of the table, an estimate for the rest.

    Args:
        instance: whose history tells which partitions are there.
        asset_key: of the asset.
        table: the plan of it.
        receipt: of the partition that has just been made.
    """
    rows, seconds = receipt.rows, receipt.seconds
    pace = {"seconds": round(seconds, 3), "rows per second": int(rows / max(seconds, 1e-6))}
    if len(table.partition_keys) == 1:
        return pace
    tags = instance.event_log_storage.get_latest_tags_by_partition(
        asset_key, dg.DagsterEventType.ASSET_MATERIALIZATION, [DATA_VERSION_TAG]
    )
    there = {
        key
        for key in table.partition_keys
        if is_valid(tags.get(key, {}).get(DATA_VERSION_TAG, ""), table, key)
    } | {receipt.partition_key}
    return {**pace, **share(table, there, rows=rows, seconds=seconds)}


def share(
    table: TablePlan, there: Collection[str], *, rows: int, seconds: float
) -> dict[str, str | float]:
    """What `pace_metadata` says of the table; pure.

    Args:
        table: the plan of it.
        there: partition keys that are made.
        rows: of a partition that was made in so many `seconds`.
        seconds: likewise.
    """
    weights = {key: of + STEP_ROWS for key, of in partition_rows(table).items()}
    left = sum(weight for key, weight in weights.items() if key not in there)
    said: dict[str, str | float] = {
        "table done (%)": round(100 * (1 - left / sum(weights.values())), 1),
        "partitions done": f"{len(there)} of {len(weights)}",
    }
    if left:
        rest = duration(seconds * left / (rows + STEP_ROWS))
        said["rest of the table"] = f"about {rest}, if one partition follows the other at this pace"
    return said

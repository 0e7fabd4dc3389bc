"""Times of commits that never go back, whatever the clock of this machine does.

Iceberg's Java library, with which StarRocks and Spark read, refuses a table whose log goes back by
more than a minute: "[BUG] Expected sorted snapshot log entries." (the constructor of
https://github.com/apache/iceberg/blob/main/core/src/main/java/org/apache/iceberg/TableMetadata.java).
pyiceberg writes whatever time it is. So one commit by a clock that was set back, or the next one after
a clock that was ahead, would make the table unreadable.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog
    from pyiceberg.table import StagedTable, Table
    from pyiceberg.table.update import TableUpdate


def keep_times_in_order(catalog: Catalog) -> None:
    """Have a catalog give a commit the time of the one before it, where the clock says an earlier one.

    A REST catalog writes the metadata itself, by its own clock: there it changes nothing.
    """
    from pyiceberg.catalog import MetastoreCatalog

    if not isinstance(catalog, MetastoreCatalog):
        return
    stage = catalog._update_and_stage_table  # noqa: SLF001 - where the catalogs of pyiceberg meet

    def staged(
        current: Table | None,
        identifier: Any,
        requirements: Any,
        updates: tuple[TableUpdate, ...],
    ) -> StagedTable:
        if current is None:
            return stage(current, identifier, requirements, updates)
        earliest = current.metadata.last_updated_ms
        updates = tuple(_not_before(update, earliest) for update in updates)
        made = stage(current, identifier, requirements, updates)
        if made.metadata.last_updated_ms < earliest:
            made.metadata = made.metadata.model_copy(update={"last_updated_ms": earliest})
        return made

    catalog._update_and_stage_table = staged  # type: ignore[assignment, method-assign] # noqa: SLF001 - likewise


def _not_before(update: TableUpdate, earliest: int) -> TableUpdate:
    """The update, its snapshot no older than the table."""
    from pyiceberg.table.update import AddSnapshotUpdate

    if not isinstance(update, AddSnapshotUpdate) or update.snapshot.timestamp_ms >= earliest:
        return update
    snapshot = update.snapshot.model_copy(update={"timestamp_ms": earliest})
    return update.model_copy(update={"snapshot": snapshot})

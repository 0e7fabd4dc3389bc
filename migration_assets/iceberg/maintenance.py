"""Upkeep of tables: old snapshots and files that nothing refers to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from migration_assets.iceberg.driver_errors import translate_errors
from migration_assets.iceberg.lake import Lake
from migration_assets.iceberg.tables import load_table, table_name
from migration_assets.plan import TablePlan

if TYPE_CHECKING:
    from pyiceberg.manifest import ManifestFile
    from pyiceberg.table import Table

SNAPSHOT_LIMIT = 200
"""Above so many snapshots a commit expires old ones."""

SNAPSHOTS_KEPT = 100
SNAPSHOT_AGE = timedelta(hours=1)
"""What expiry leaves alone: so many of the newest, and everything younger. The base of a commit
that is under way must stay, or that commit fails."""


def expire_snapshots(table: Table) -> int:
    """Remove snapshots that are beyond the newest `SNAPSHOTS_KEPT` and older than `SNAPSHOT_AGE`.

    Metadata only: files that no snapshot has any more are removed by `remove_orphans`.

    Args:
        table: with its full metadata.

    Returns:
        How many were removed; 0 also when another writer was first: the next one tries again.
    """
    from pyiceberg.exceptions import CommitFailedException

    oldest = (datetime.now(UTC) - SNAPSHOT_AGE).timestamp() * 1000
    newest_first = sorted(
        table.metadata.snapshots, key=lambda s: (s.timestamp_ms, s.sequence_number or 0)
    )[::-1]
    heads = {ref.snapshot_id for ref in table.metadata.refs.values()}
    expired = [
        snapshot.snapshot_id
        for snapshot in newest_first[SNAPSHOTS_KEPT:]
        if snapshot.timestamp_ms < oldest and snapshot.snapshot_id not in heads
    ]
    if not expired:
        return 0
    with translate_errors(f"Iceberg table {'.'.join(table.name())}"):
        try:
            table.maintenance.expire_snapshots().by_ids(expired).commit()
        except (CommitFailedException, ValueError):
            # ValueError: pyiceberg found one of them expired by somebody else meanwhile.
            return 0
    return len(expired)


def remove_orphans(
    lake: Lake, tables: Sequence[TablePlan], live: set[str], older_than: datetime
) -> list[str]:
    """Remove files below the tables' locations that nothing refers to.

    Referred to is what any listed snapshot or metadata file of the table names, and what `live`
    names.

    Args:
        lake: where the tables are.
        tables: whose locations are searched; no other table may lie below them.
        live: URIs of the files of all stored receipts, kept whatever their age: a receipt that has
            not been committed yet is all that points to its files.
        older_than: files changed since then are kept; must lie before the beginning of every
            extraction that is under way, so a day ago or earlier.

    Returns:
        The URIs removed.
    """
    removed = []
    for table in tables:
        # Listed first: what a commit adds later is not in the list, so cannot be removed.
        old = [
            file.uri
            for file in lake.store.list(table.location)
            if file.modified < older_than and file.uri not in live
        ]
        if not old:
            continue
        found = load_table(lake, table)
        named: set[str] = set()
        if found is not None:
            with translate_errors(table_name(table)):
                named = set(_referred(found))
        orphans = [uri for uri in old if uri not in named]
        lake.store.delete(orphans)
        removed += orphans
    return removed


def _referred(table: Table) -> Iterator[str]:
    """Every file that a table's metadata names."""
    yield table.metadata_location
    metadata = table.metadata
    yield from (entry.metadata_file for entry in metadata.metadata_log)
    yield from (file.statistics_path for file in metadata.statistics)
    yield from (file.statistics_path for file in metadata.partition_statistics)
    manifests: dict[str, ManifestFile] = {}
    for snapshot in metadata.snapshots:
        yield snapshot.manifest_list
        manifests |= {m.manifest_path: m for m in snapshot.manifests(table.io)}
    for path, manifest in manifests.items():
        yield path
        for entry in manifest.fetch_manifest_entry(table.io, discard_deleted=True):
            yield entry.data_file.file_path

"""Upkeep of tables: old snapshots, files that nothing refers to, receipts after a compaction."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from migration_assets.iceberg.driver_errors import translate_errors
from migration_assets.iceberg.lake import Lake
from migration_assets.iceberg.partitions import read_partitions, touched_partitions
from migration_assets.iceberg.tables import load_table, table_name
from migration_assets.plan import TablePlan
from migration_assets.receipts import CommitReceipt, DataFile, ExtractReceipt, LoadReceipt

if TYPE_CHECKING:
    from pyiceberg.manifest import ManifestFile
    from pyiceberg.table import Table
    from pyiceberg.table.metadata import TableMetadata
    from pyiceberg.table.snapshots import Snapshot

SNAPSHOT_LIMIT = 200
"""Above so many snapshots a commit expires old ones."""

SNAPSHOTS_KEPT = 100
SNAPSHOT_AGE = timedelta(hours=1)
"""What expiry leaves alone: so many of the newest, and everything younger. The base of a commit
that is under way must stay, or that commit fails."""


@dataclass(frozen=True)
class StoredReceipts:
    """The newest receipts of a partition, each None where there is none."""

    extracted: ExtractReceipt | None
    committed: CommitReceipt | None
    loaded: LoadReceipt | None


def needed_snapshots(
    receipts: Iterable[StoredReceipts], committed_in: Mapping[str, int], *, loads: bool
) -> set[int]:
    """Return the snapshots that a commit or load to come still has to find.

    When the files of a partition were rewritten (compaction), the snapshot that committed them is
    all that shows that the new files hold the same rows.

    Args:
        receipts: of each partition of one table.
        committed_in: attempts to the snapshots that committed them, of `committed_attempts`.
        loads: whether anything is loaded at all; else a commit that no load follows needs nothing.
    """
    needed = set()
    for stored in receipts:
        extracted, committed, loaded = stored.extracted, stored.committed, stored.loaded
        if (
            extracted is not None
            and (committed is None or committed.attempt != extracted.attempt)
            and extracted.attempt in committed_in
        ):
            # It landed, and was killed before its receipt was stored: it will be asked for again.
            needed.add(committed_in[extracted.attempt])
        if (
            loads
            and committed is not None
            and (loaded is None or loaded.attempt != committed.attempt)
        ):
            needed.add(committed.snapshot_id)
    return needed


def expirable_snapshots(
    metadata: TableMetadata, *, now: datetime, needed: Collection[int] = ()
) -> list[int]:
    """Return the snapshots that may go, newest first.

    Those beyond the newest `SNAPSHOTS_KEPT` that are older than `SNAPSHOT_AGE`, that no branch or
    tag points to, and that are older than each that is needed.

    Args:
        metadata: the table's, with all snapshots.
        now: the time.
        needed: snapshots that must stay with all that follow them; those not listed do not count.
    """
    oldest = (now - SNAPSHOT_AGE).timestamp() * 1000
    newest_first = sorted(
        # Times may go back where a clock was set; snapshots of format 1 have no numbers.
        metadata.snapshots,
        key=lambda s: (s.sequence_number or 0, s.timestamp_ms),
    )[::-1]
    heads = {ref.snapshot_id for ref in metadata.refs.values()}
    needed_from = min(
        (s.sequence_number or 0 for s in newest_first if s.snapshot_id in needed), default=None
    )
    return [
        snapshot.snapshot_id
        for snapshot in newest_first[SNAPSHOTS_KEPT:]
        if snapshot.timestamp_ms < oldest
        and snapshot.snapshot_id not in heads
        and (needed_from is None or (snapshot.sequence_number or 0) < needed_from)
    ]


def expire_snapshots(table: Table, needed: Collection[int] = ()) -> int:
    """Remove the snapshots that may go (`expirable_snapshots`).

    Metadata only: files that no snapshot has any more are removed by `remove_orphans`.

    A commit expires without asking what is needed: that takes all receipts of the table, and would
    keep every snapshot of a migration that is loaded later, which makes commits ten times as slow.
    No load misses them, since its files are current. Only after a compaction would it, and
    `renewed_receipts` makes loads independent of the snapshots before one.

    Args:
        table: with its full metadata.
        needed: of `needed_snapshots`.

    Returns:
        How many were removed; 0 also when another writer was first: the next one tries again.
    """
    from pyiceberg.exceptions import CommitFailedException

    expired = expirable_snapshots(table.metadata, now=datetime.now(UTC), needed=needed)
    if not expired:
        return 0
    with translate_errors(f"Iceberg table {'.'.join(table.name())}"):
        try:
            table.maintenance.expire_snapshots().by_ids(expired).commit()
        except (CommitFailedException, ValueError):
            # ValueError: pyiceberg found one of them expired by somebody else meanwhile.
            return 0
    return len(expired)


def renewed_receipts(table: Table, receipts: Sequence[CommitReceipt]) -> list[CommitReceipt]:
    """Return the receipts that no longer say where their rows are, as they must be now.

    - The files were rewritten, by `replace` snapshots alone and with as many rows: the receipt gets
      the new files and the current snapshot. From then on a load finds its files current, whatever
      expires.
    - The files are current, but the snapshot has expired: the receipt gets the current one, which
      holds the same files, so that a rewrite to come can be recognised.

    A receipt whose partition holds something else is left as it is: its load must fail.

    Args:
        table: as loaded.
        receipts: of its partitions, one each.
    """
    from pyiceberg.table.snapshots import Operation

    current = table.current_snapshot()
    if current is None:
        return []
    by_id = {snapshot.snapshot_id: snapshot for snapshot in table.metadata.snapshots}
    with translate_errors(f"Iceberg table {'.'.join(table.name())}"):
        held = read_partitions(table, [receipt.source_partition for receipt in receipts])
        renewed = []
        replaced: dict[int, list[CommitReceipt]] = defaultdict(list)
        for receipt in receipts:
            if not held[receipt.source_partition].are(receipt.files):
                replaced[receipt.snapshot_id].append(receipt)
            elif receipt.snapshot_id not in by_id:
                renewed.append(receipt.model_copy(update={"snapshot_id": current.snapshot_id}))
        # Back from now: what a receipt's partition went through since its snapshot is then known.
        touched: set[int] = set()
        snapshot: Snapshot | None = current
        while snapshot is not None and replaced:
            for receipt in replaced.pop(snapshot.snapshot_id, ()):
                now = held[receipt.source_partition]
                same = receipt.source_partition not in touched and now.rows == receipt.rows
                if same and not now.has_deletes:
                    files = tuple(
                        DataFile(path=f.file_path, bytes=f.file_size_in_bytes, rows=f.record_count)
                        for f in now.files
                    )
                    update = {"snapshot_id": current.snapshot_id, "files": files}
                    renewed.append(receipt.model_copy(update=update))
            if snapshot.summary is None or snapshot.summary.operation != Operation.REPLACE:
                touched |= touched_partitions(table, snapshot)
            parent = snapshot.parent_snapshot_id
            snapshot = by_id.get(parent) if parent is not None else None
    return renewed


def store_time(lake: Lake) -> datetime:
    """The time by which the object store dates files, as late as it can be, from a file written now.

    S3 dates objects by its own clock, in whole seconds. Ages reckoned by ours would make the files
    of a running extraction old when ours is ahead.
    """
    folder = f"{lake.settings.warehouse}/.migration/clock"
    uri = f"{folder}/{uuid.uuid4().hex}"
    lake.store.write(uri, b"")
    try:
        (written,) = (file for file in lake.store.list(folder) if file.uri == uri)
    finally:
        lake.store.delete([uri])
    return written.modified + timedelta(seconds=1)


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

"""What an Iceberg table holds of each partition, by metadata alone."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Any

from migration_assets.column_plan import SOURCE_PARTITION
from migration_assets.errors import ObjectNotFoundError, SupersededError, UnsupportedError
from migration_assets.iceberg.driver_errors import translate_errors
from migration_assets.iceberg.lake import Lake
from migration_assets.iceberg.tables import open_own_table, table_name
from migration_assets.plan import TablePlan
from migration_assets.receipts import CommitReceipt, DataFile

if TYPE_CHECKING:
    from pyiceberg.expressions import BooleanExpression
    from pyiceberg.manifest import DataFile as IcebergFile
    from pyiceberg.manifest import ManifestEntry, ManifestFile
    from pyiceberg.table import Table
    from pyiceberg.table.snapshots import Snapshot

ATTEMPTS_PROPERTY = "migration.attempts"
"""Snapshot property: the attempts of the receipts that it committed, separated by spaces."""


DATA = 0
"""`DataFileContent.DATA`: a file of rows, not of deletes."""

THREADS = 16


@dataclass
class PartitionFiles:
    """What a snapshot holds of one partition.

    Attributes:
        files: its data files.
        has_deletes: files with row-level deletes apply to it; we never write such.
        added_by: ids of the snapshots that added its files, those of deletes included.
    """

    files: list[IcebergFile] = field(default_factory=list)
    has_deletes: bool = False
    added_by: set[int] = field(default_factory=set)

    @property
    def rows(self) -> int:
        """Rows of the data files, before row-level deletes."""
        return sum(file.record_count for file in self.files)

    def are(self, files: Sequence[DataFile]) -> bool:
        """Whether it is exactly these files, and none of their rows was deleted since."""
        paths = {file.file_path for file in self.files}
        return not self.has_deletes and paths == {file.path for file in files}


def partition_rows(
    lake: Lake, table: TablePlan, partition_keys: Sequence[str] | None = None
) -> dict[int, int]:
    """Count the rows of partitions by metadata.

    Args:
        lake: where the table is.
        table: the table; it must be ours and of this plan.
        partition_keys: which; None for all of the plan.

    Returns:
        `source_partition` to rows, 0 for one without files and where there is no table.

    Raises:
        PlanError, ExistingObjectError, SchemaDriftError: the table is not the planned one.
    """
    keys = table.partition_keys if partition_keys is None else partition_keys
    numbers = [table.key_range(key).source_partition for key in keys]
    found = open_own_table(lake, table)
    if found is None:
        return dict.fromkeys(numbers, 0)
    with translate_errors(table_name(table)):
        held = read_partitions(found, numbers)
        return {number: _rows(found, number, held[number]) for number in numbers}


def table_rows(lake: Lake, table: TablePlan) -> int:
    """Count all rows of a table by metadata, also of partitions that the plan does not know.

    Returns:
        Rows; 0 where there is no table.

    Raises:
        PlanError, ExistingObjectError, SchemaDriftError: the table is not the planned one.
    """
    found = open_own_table(lake, table)
    if found is None:
        return 0
    current = found.current_snapshot()
    if current is None:
        return 0
    with translate_errors(table_name(table)):
        totals = current.summary.additional_properties if current.summary is not None else {}
        if "total-records" in totals and totals.get("total-delete-files") == "0":
            return int(totals["total-records"])
        return found.scan().count()


def snapshot_holding(lake: Lake, table: TablePlan, receipt: CommitReceipt) -> int:
    """Return the table's current snapshot, which holds exactly the receipt's files.

    Files may also have been rewritten meanwhile (compaction), as long as only snapshots with the
    operation `replace` touched the partition and its rows are as many. Commits of other partitions
    do not matter.

    Raises:
        SupersededError: the partition has other files now.
        ObjectNotFoundError: the table is gone.
        PlanError, ExistingObjectError, SchemaDriftError: the table is not the planned one.
    """
    found = open_own_table(lake, table)
    if found is None:
        raise ObjectNotFoundError(
            f"{table_name(table)} is gone.",
            code="MA-IC-109",
            next_step="Extract and commit again: re-materialize the mssql asset of the partition "
            "and what follows it.",
        )
    current = found.current_snapshot()
    with translate_errors(table_name(table)):
        number = receipt.source_partition
        held = read_partitions(found, [number])[number]
        if current is not None and (
            held.are(receipt.files) or _compacted(found, current, receipt, held)
        ):
            return current.snapshot_id
    raise SupersededError(
        f"{table_name(table)}: partition {receipt.partition_key} no longer holds the files of "
        f"attempt {receipt.attempt}; somebody committed it again since snapshot "
        f"{receipt.snapshot_id}.",
        next_step="When the other run has ended, `migration-assets run --failed` loads what is there.",
    )


def was_committed_since(lake: Lake, table: TablePlan, receipt: CommitReceipt) -> bool:
    """Whether the newest rows of a partition are of a later commit of ours than the receipt's.

    Of a table that is gone, or was rolled back to before that commit, they are not.
    """
    found = open_own_table(lake, table)
    if found is None:
        return False
    with translate_errors(table_name(table)):
        newest: Snapshot | None = None
        for snapshot in _back_from_current(found):
            if snapshot.snapshot_id == receipt.snapshot_id:
                return newest is not None and _names_attempts(newest)
            if newest is None and not _is_compaction(snapshot):
                touched = touched_partitions(found, snapshot)
                newest = snapshot if receipt.source_partition in touched else None
    return False


def read_partitions(table: Table, numbers: Collection[int]) -> dict[int, PartitionFiles]:
    """Return what the current snapshot holds of partitions, with an entry for each number.

    Only manifests whose partition summary fits are read. pyiceberg's own scan does this too, but
    works out for each file what remains of the filter, which took 8 s for 1,000 partitions.

    Raises:
        UnsupportedError: the table has files of another partition spec.
    """
    found = {number: PartitionFiles() for number in numbers}
    current = table.current_snapshot()
    if not found or current is None:
        return found
    wanted = sorted(found)
    manifests = [m for m in current.manifests(table.io) if _may_hold(table, m, wanted)]
    if len(manifests) == 1:
        entries = [_live_files(table, manifests[0])]
    else:
        with ThreadPoolExecutor(THREADS, thread_name_prefix="manifest") as threads:
            entries = list(threads.map(lambda manifest: _live_files(table, manifest), manifests))
    for entry in chain.from_iterable(entries):
        file = entry.data_file
        partition = found.get(file.partition[0])
        if partition is None:
            continue
        if entry.snapshot_id is not None:
            partition.added_by.add(entry.snapshot_id)
        if file.content == DATA:
            partition.files.append(file)
        else:
            partition.has_deletes = True
    return found


def partition_filter(numbers: Collection[int]) -> BooleanExpression:
    """The rows of some partitions, as a filter of pyiceberg."""
    from pyiceberg.expressions import In

    build: Any = In  # mypy's pydantic plugin misreads its constructor
    expression: BooleanExpression = build(SOURCE_PARTITION, set(numbers))
    return expression


def holds_rewritten_files(
    table: Table,
    partition: PartitionFiles,
    *,
    source_partition: int,
    rows: int,
    since: int,
) -> bool:
    """Whether since a snapshot only compaction touched a partition, and its rows are as many.

    Args:
        table: as loaded; `partition` is its current content.
        partition: what it holds of the partition.
        source_partition: the partition.
        rows: how many rows there must be.
        since: id of the snapshot that committed the partition.
    """
    if partition.has_deletes or partition.rows != rows:
        return False
    for snapshot in _back_from_current(table):
        if snapshot.snapshot_id == since:
            return True
        if not _is_compaction(snapshot) and source_partition in touched_partitions(table, snapshot):
            return False
    return False


def _back_from_current(table: Table) -> Iterator[Snapshot]:
    """The current snapshot, the one it was made from, and so on, as far as they are known."""
    by_id = {snapshot.snapshot_id: snapshot for snapshot in table.metadata.snapshots}
    snapshot = table.current_snapshot()
    while snapshot is not None:
        yield snapshot
        parent = snapshot.parent_snapshot_id
        snapshot = by_id.get(parent) if parent is not None else None


def _is_compaction(snapshot: Snapshot) -> bool:
    """Whether a snapshot says that it replaced files by equal ones."""
    from pyiceberg.table.snapshots import Operation

    return snapshot.summary is not None and snapshot.summary.operation == Operation.REPLACE


def _names_attempts(snapshot: Snapshot) -> bool:
    """Whether a snapshot is of a commit of ours."""
    summary = snapshot.summary
    return summary is not None and ATTEMPTS_PROPERTY in summary.additional_properties


def touched_partitions(table: Table, snapshot: Snapshot) -> set[int]:
    """Partitions of which a snapshot itself added or removed files, delete files included."""
    from pyiceberg.manifest import ManifestEntryStatus

    return {
        entry.data_file.partition[0]
        for manifest in snapshot.manifests(table.io)
        if manifest.added_snapshot_id == snapshot.snapshot_id
        for entry in manifest.fetch_manifest_entry(table.io, discard_deleted=False)
        if entry.status != ManifestEntryStatus.EXISTING
    }


def foreign_snapshots(table: Table, partition: PartitionFiles) -> list[Snapshot]:
    """Return the snapshots of somebody else that added files to a partition, by time.

    A snapshot of ours names attempts, and a compaction says that it replaced files by equal ones. Of
    a snapshot that has expired nothing is known: its files count as ours.
    """
    return [
        snapshot
        for snapshot in table.metadata.snapshots
        if snapshot.snapshot_id in partition.added_by
        and not _is_compaction(snapshot)
        and not _names_attempts(snapshot)
    ]


def committed_attempts(table: Table) -> Mapping[str, int]:
    """Return the attempts that the table's listed snapshots committed, each to its snapshot id."""
    attempts: dict[str, int] = {}
    for snapshot in table.metadata.snapshots:
        summary = snapshot.summary
        if summary is not None and (listed := summary.additional_properties.get(ATTEMPTS_PROPERTY)):
            # A commit that replaces files makes two snapshots, the last of them is the result.
            attempts |= dict.fromkeys(listed.split(), snapshot.snapshot_id)
    return attempts


def _compacted(
    table: Table, current: Snapshot, receipt: CommitReceipt, held: PartitionFiles
) -> bool:
    return current.snapshot_id != receipt.snapshot_id and holds_rewritten_files(
        table,
        held,
        source_partition=receipt.source_partition,
        rows=receipt.rows,
        since=receipt.snapshot_id,
    )


def _may_hold(table: Table, manifest: ManifestFile, wanted: Sequence[int]) -> bool:
    """Whether a manifest may name files of any of some partitions, given in ascending order."""
    if manifest.partition_spec_id != table.metadata.default_spec_id:
        raise UnsupportedError(
            f"Iceberg table {'.'.join(table.name())} has files of another partition spec "
            f"(id {manifest.partition_spec_id}).",
            code="MA-IC-110",
            next_step="Rewrite them with the current spec, or reset the table.",
        )
    summary = manifest.partitions[0] if manifest.partitions else None
    if summary is None or summary.lower_bound is None or summary.upper_bound is None:
        return True
    # The single-value form of an int: 4 bytes, little endian
    # (https://iceberg.apache.org/spec/#binary-single-value-serialization).
    lower = int.from_bytes(summary.lower_bound, "little", signed=True)
    upper = int.from_bytes(summary.upper_bound, "little", signed=True)
    position = bisect_left(wanted, lower)
    return position < len(wanted) and wanted[position] <= upper


def _live_files(table: Table, manifest: ManifestFile) -> list[ManifestEntry]:
    return manifest.fetch_manifest_entry(table.io, discard_deleted=True)


def _rows(table: Table, number: int, partition: PartitionFiles) -> int:
    if partition.has_deletes:
        # Row-level deletes of somebody else: only reading tells how many rows are left.
        return table.scan(row_filter=partition_filter([number])).count()
    return partition.rows

"""Receipts of extractions to one snapshot of the Iceberg table: metadata only, all or nothing.

A commit asks the table, never an answer that did not come: every attempt loads it anew and looks
at its files and snapshots. The order within an attempt is

1. load, make or take over the table, and compare it with the plan;
2. receipts whose files are current are done;
3. receipts that may have been committed before, and are not current, are spent;
4. compare the files with the receipts;
5. store the intent;
6. swap: one transaction that expects the very snapshot that 1. saw.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from tenacity import retry, retry_if_exception, stop_after_attempt, wait_random_exponential

from migration_assets import events
from migration_assets.choices import OnExisting
from migration_assets.errors import (
    CommitConflictError,
    EarlierWindowError,
    ForeignRowsError,
    MigrationError,
    PlanError,
    ReceiptError,
    TransientError,
)
from migration_assets.iceberg.conflicts import retry_conflicts
from migration_assets.iceberg.driver_errors import translate_errors
from migration_assets.iceberg.footers import EXTRACT_AGAIN, check_files
from migration_assets.iceberg.intents import Intent, IntentStore
from migration_assets.iceberg.lake import Lake
from migration_assets.iceberg.maintenance import SNAPSHOT_LIMIT, expire_snapshots
from migration_assets.iceberg.partitions import (
    ATTEMPTS_PROPERTY,
    PartitionFiles,
    committed_attempts,
    foreign_snapshots,
    holds_rewritten_files,
    partition_filter,
    partition_rows,
    read_partitions,
    snapshot_holding,
    table_rows,
)
from migration_assets.iceberg.tables import (
    TABLE_ID_PROPERTY,
    last_sequence_number,
    open_table,
    reset_table,
    table_name,
)
from migration_assets.iceberg.windows import window_properties
from migration_assets.plan import TablePlan
from migration_assets.receipts import CommitReceipt, ExtractReceipt
from migration_assets.windows import check_range

if TYPE_CHECKING:
    import pyiceberg.manifest
    from pyiceberg.catalog import Catalog
    from pyiceberg.table import CommitTableResponse, Table

__all__ = ["commit", "partition_rows", "reset_table", "snapshot_holding", "table_rows"]

RUN_ID_PROPERTY = "migration.run-id"
PLAN_ID_PROPERTY = "migration.plan-id"
"""Snapshot properties, beside the table id and the attempts."""

POINT_PREFIX = "migration.source."
"""Before the snapshot properties that say which state of SQL Server's database was read."""

logger = logging.getLogger(__name__)

_retry_unreachable = retry(
    retry=retry_if_exception(
        lambda error: (
            isinstance(error, TransientError)
            and not isinstance(error, CommitConflictError | EarlierWindowError)
        )
    ),
    stop=stop_after_attempt(3),
    wait=wait_random_exponential(multiplier=0.5, max=10),
    before_sleep=events.before_sleep("commit"),
    reraise=True,
)


def commit(
    lake: Lake,
    table: TablePlan,
    receipts: Sequence[ExtractReceipt],
    *,
    run_id: str,
    plan_id: str,
    intents: IntentStore,
    replaces_foreign: bool = False,
) -> tuple[CommitReceipt, ...]:
    """Make the receipts' files the content of their partitions, in one transaction.

    A receipt whose files are current already is done: committing it again changes nothing.

    Args:
        lake: where the table is.
        table: the table; it is made when it is missing.
        receipts: one per partition.
        run_id: Dagster run, for the snapshot's properties and the receipts.
        plan_id: likewise.
        intents: where what is about to be committed is written down.
        replaces_foreign: rows that somebody else wrote into the partitions may be replaced.

    Returns:
        One receipt for each given, in their order.

    Raises:
        PlanError: a receipt or the table is of another plan.
        ReceiptError: a receipt is spent, does not fit the files it names, or is of a time window
            that has another end now.
        EarlierWindowError: an earlier time window still holds rows of this one.
        ExistingObjectError: the table is not ours, and the plan says to refuse such a table.
        SchemaDriftError: schema, partition spec or location of the table are not the planned ones.
        ForeignRowsError: somebody else wrote rows into a partition.
        CommitConflictError: other writers were first, time and again.
        MigrationError: the catalog or the object store refused or could not be reached.
    """
    started = time.monotonic()
    _check_receipts(table, receipts)
    if not receipts:
        return ()
    may_replace = replaces_foreign or table.on_existing is not OnExisting.REFUSE
    work = _Commit(lake, table, receipts, run_id, plan_id, intents, may_replace)
    snapshots = work.land()
    return tuple(
        CommitReceipt(
            table_id=receipt.table_id,
            partition_key=receipt.partition_key,
            source_partition=receipt.source_partition,
            attempt=receipt.attempt,
            range_id=receipt.range_id,
            run_id=run_id,
            rows=receipt.rows,
            seconds=time.monotonic() - started,
            snapshot_id=snapshots[receipt.attempt],
            files=receipt.files,
            fingerprint=receipt.fingerprint,
        )
        for receipt in receipts
    )


def _check_receipts(table: TablePlan, receipts: Sequence[ExtractReceipt]) -> None:
    """Check what needs no server: plan, partitions, locations and sums."""
    seen: set[int] = set()
    for receipt in receipts:
        name = f"The receipt of {table.full_name}, partition {receipt.partition_key},"
        if not table.holds(receipt.table_id):
            raise PlanError(
                f"{name} was made under another plan (table id {receipt.table_id}, the plan says "
                f"{table.table_id}).",
                code="MA-RC-002",
                next_step=EXTRACT_AGAIN,
            )
        number = table.key_range(receipt.partition_key).source_partition
        check_range(receipt, table)
        if receipt.source_partition != number:
            raise ReceiptError(
                f"{name} is of source_partition {receipt.source_partition}, not {number}.",
                code="MA-RC-003",
                next_step=EXTRACT_AGAIN,
            )
        if number in seen:
            raise ReceiptError(
                f"{name} is one of two of this partition.",
                code="MA-RC-003",
                next_step="Commit the newest only.",
            )
        seen.add(number)
        for file in receipt.files:
            if not file.path.startswith(f"{table.location}/"):
                raise ReceiptError(
                    f"{name} names {file.path}, which is outside {table.location}.",
                    code="MA-RC-004",
                    next_step=EXTRACT_AGAIN,
                )
        if len({file.path for file in receipt.files}) != len(receipt.files):
            raise ReceiptError(
                f"{name} names a file twice.", code="MA-RC-003", next_step=EXTRACT_AGAIN
            )
        if sum(file.rows for file in receipt.files) != receipt.rows:
            raise ReceiptError(
                f"{name} says {receipt.rows} rows, its files have "
                f"{sum(file.rows for file in receipt.files)}.",
                code="MA-RC-003",
                next_step=EXTRACT_AGAIN,
            )


@dataclass
class _Commit:
    """One call of `commit`, over all its attempts.

    Attributes:
        may_replace: rows that somebody else wrote may be replaced.
        checked: files that were compared with their receipts, by path; they never change.
    """

    lake: Lake
    table: TablePlan
    receipts: Sequence[ExtractReceipt]
    run_id: str
    plan_id: str
    intents: IntentStore
    may_replace: bool
    checked: dict[str, pyiceberg.manifest.DataFile] = field(default_factory=dict)

    def land(self) -> Mapping[str, int]:
        """Try until it has landed; return each attempt's snapshot id."""
        return retry_conflicts(_retry_unreachable(self._attempt))()

    def _attempt(self) -> Mapping[str, int]:
        found = open_table(self.lake, self.table)
        with translate_errors(table_name(self.table)):
            held = read_partitions(found, [r.source_partition for r in self.receipts])
            committed = committed_attempts(found)
            current = found.current_snapshot()
            snapshots: dict[str, int] = {}
            if current is not None:
                snapshots = {
                    receipt.attempt: committed.get(receipt.attempt, current.snapshot_id)
                    for receipt in self.receipts
                    if _is_current(found, receipt, held[receipt.source_partition], committed)
                }
        todo = [receipt for receipt in self.receipts if receipt.attempt not in snapshots]
        if todo:
            for receipt in todo:
                self._refuse_foreign(found, receipt, held[receipt.source_partition])
            self._prepare(found, todo, committed)
            filled = [r.source_partition for r in todo if held[r.source_partition].files]
            snapshot_id = self._swap(found, todo, filled)
            snapshots |= {receipt.attempt: snapshot_id for receipt in todo}
        return snapshots

    def _refuse_foreign(self, found: Table, receipt: ExtractReceipt, held: PartitionFiles) -> None:
        """Leave a partition alone that somebody else wrote rows into, unless it was told before."""
        foreign = foreign_snapshots(found, held)
        if not foreign:
            return
        ids = ", ".join(str(snapshot.snapshot_id) for snapshot in foreign[-3:])
        what = (
            f"{table_name(self.table)}, partition {receipt.partition_key}: it holds files that "
            f"snapshot {ids} added, which no run of ours made."
        )
        if not self.may_replace:
            raise ForeignRowsError(what)
        events.event("foreign rows replaced", level=logging.WARNING, found=what)

    def _prepare(
        self, found: Table, todo: Sequence[ExtractReceipt], committed: Mapping[str, int]
    ) -> None:
        """Refuse spent receipts and files that are not as receipts say, then store the intents."""
        for receipt in todo:
            if receipt.attempt in committed:
                raise _spent(self.table, receipt, f"snapshot {committed[receipt.attempt]}")
        self._window_properties(found, todo)
        metadata = found.metadata
        current = found.current_snapshot()
        intent_of = {
            receipt.partition_key: Intent(
                attempt=receipt.attempt,
                table_uuid=str(metadata.table_uuid),
                base_snapshot_id=current.snapshot_id if current is not None else None,
                base_sequence_number=last_sequence_number(found),
            )
            for receipt in todo
        }
        if len(metadata.snapshots) < last_sequence_number(found):
            # Some snapshots have expired, so the listed ones alone do not tell.
            stored = self.intents.load(list(intent_of))
            for receipt in todo:
                intents = stored.get(receipt.partition_key, ())
                if any(_may_have_landed(intent, receipt, found) for intent in intents):
                    raise _spent(self.table, receipt, "a snapshot that has expired")
        unchecked = [r for r in todo if any(f.path not in self.checked for f in r.files)]
        for checked in check_files(self.table, unchecked, metadata, self.lake.store):
            self.checked[checked.file_path] = checked
        self.intents.save(intent_of)

    def _window_properties(self, found: Table, todo: Sequence[ExtractReceipt]) -> dict[str, str]:
        numbers = [receipt.source_partition for receipt in todo]
        return window_properties(self.table, found.properties, numbers)

    def _swap(self, found: Table, todo: Sequence[ExtractReceipt], filled: Sequence[int]) -> int:
        """Replace the files of partitions; return the snapshot's id.

        Args:
            found: the table as the attempt loaded it.
            todo: what to commit.
            filled: partitions among them that have files now; pyiceberg warns when a delete finds
                nothing.

        Raises:
            CommitConflictError: the table has another current snapshot by now.
        """
        properties = {
            RUN_ID_PROPERTY: self.run_id,
            PLAN_ID_PROPERTY: self.plan_id,
            TABLE_ID_PROPERTY: self.table.table_id,
            ATTEMPTS_PROPERTY: " ".join(receipt.attempt for receipt in todo),
            **_point_properties(todo),
        }
        of_windows = self._window_properties(found, todo)
        with translate_errors(table_name(self.table)):
            view = _transaction_view(found)
            with view.transaction() as transaction:
                if of_windows:
                    transaction.set_properties(of_windows)
                if filled:
                    transaction.delete(partition_filter(filled), snapshot_properties=properties)
                # Also without a file: the load of an empty partition needs a snapshot, too.
                with transaction.update_snapshot(properties).fast_append() as append:
                    for receipt in todo:
                        for file in receipt.files:
                            append.append_data_file(self.checked[file.path])
            found.metadata, found.metadata_location = view.metadata, view.metadata_location
        if len(found.metadata.snapshots) > SNAPSHOT_LIMIT:
            _expire(found)
        return append.snapshot_id


def _point_properties(receipts: Sequence[ExtractReceipt]) -> dict[str, str]:
    """Which state of the source the rows show; of several states all, in order."""
    values: dict[str, set[str]] = {"consistency": {receipt.consistency for receipt in receipts}}
    for receipt in receipts:
        if receipt.point_in_time is not None:
            for name, value in receipt.point_in_time.named.items():
                values.setdefault(name, set()).add(value)
    return {f"{POINT_PREFIX}{name}": " ".join(sorted(found)) for name, found in values.items()}


class _NoCleanup:
    """A catalog whose conflicts pyiceberg does not take for proof that a commit did not land.

    On `CommitFailedException` pyiceberg deletes the manifests it wrote. But boto3 repeats a request
    whose answer was lost, and then Glue reports a conflict with the very commit that has landed: its
    manifests would be gone. Manifests of real conflicts are left to `maintenance.remove_orphans`.
    """

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def __getattr__(self, name: str) -> Any:
        return getattr(self._catalog, name)

    def commit_table(self, *arguments: Any) -> CommitTableResponse:
        from pyiceberg.exceptions import CommitFailedException

        try:
            return self._catalog.commit_table(*arguments)
        except CommitFailedException as error:
            raise CommitConflictError(
                f"Another writer was first: {error}", code="MA-IC-012", next_step="Try again."
            ) from error


def _transaction_view(found: Table) -> Table:
    """Return the table for one transaction: with its current snapshot alone, and never retrying.

    pyiceberg copies all metadata deeply some 30 times in a transaction, which made a commit on 200
    snapshots four times as slow. What is committed is computed by the catalog, from the metadata it
    loads itself. And pyiceberg's own retries, which only a `CommitFailedException` starts, would
    rebuild the snapshot on whatever the table has become, without our comparisons: a conflict must
    come back to us.
    """
    from pyiceberg.table import Table

    current = found.current_snapshot()
    slim = found.metadata.model_copy(
        update={
            "snapshots": [current] if current is not None else [],
            "snapshot_log": [],
            "metadata_log": [],
        }
    )
    catalog = cast("Catalog", _NoCleanup(found.catalog))
    return Table(found.name(), slim, found.metadata_location, found.io, catalog)


def _is_current(
    found: Table,
    receipt: ExtractReceipt,
    held: PartitionFiles,
    committed: Mapping[str, int],
) -> bool:
    """Whether a partition holds what its receipt says, as it was committed or compacted since."""
    snapshot_id = committed.get(receipt.attempt)
    if held.are(receipt.files):
        # An empty partition alone does not say that the empty receipt was ever committed.
        return bool(receipt.files) or snapshot_id is not None
    return snapshot_id is not None and holds_rewritten_files(
        found,
        held,
        source_partition=receipt.source_partition,
        rows=receipt.rows,
        since=snapshot_id,
    )


def _may_have_landed(intent: Intent, receipt: ExtractReceipt, found: Table) -> bool:
    """Whether an earlier attempt on this receipt may have landed in a snapshot no longer listed."""
    metadata = found.metadata
    if not receipt.files:
        return False  # nothing that could have been removed
    if intent.attempt != receipt.attempt or intent.table_uuid != str(metadata.table_uuid):
        return False
    # Every snapshot has its own sequence number, so a gap is a snapshot that has expired.
    since = {
        snapshot.sequence_number
        for snapshot in metadata.snapshots
        if (snapshot.sequence_number or 0) > intent.base_sequence_number
    }
    return len(since) < last_sequence_number(found) - intent.base_sequence_number


def _spent(table: TablePlan, receipt: ExtractReceipt, where: str) -> ReceiptError:
    return ReceiptError(
        f"{table_name(table)}, partition {receipt.partition_key}: the receipt of attempt "
        f"{receipt.attempt} is spent: it was or may have been committed in {where} and replaced "
        "since, so its files may be gone any time.",
        code="MA-RC-007",
        next_step=EXTRACT_AGAIN,
    )


def _expire(table: Table) -> None:
    """Expire snapshots after a commit that has landed: that this fails must not undo its success."""
    try:
        expire_snapshots(table)
    except MigrationError as error:
        logger.warning("Snapshots were not expired, the next commit tries again: %s", error)

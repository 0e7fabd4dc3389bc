"""Upkeep of the Iceberg tables within a Dagster run, by pyiceberg or by Spark.

What may go is decided here, whoever does it: snapshots that a load still needs stay, and so do the
files of all stored receipts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Protocol, TypeVar

import dagster as dg

from migration_assets.assets.failures import plain_failure
from migration_assets.assets.receipt_store import THREADS, AnyReceipt, ReceiptStore
from migration_assets.assets.translator import MigrationTranslator, Stage
from migration_assets.assets.validation import select_tables
from migration_assets.errors import (
    ConfigurationError,
    MigrationError,
    UnsupportedError,
    code_of,
    coded,
)
from migration_assets.plan import MigrationPlan, TablePlan
from migration_assets.receipts import CommitReceipt, ExtractReceipt, LoadReceipt

if TYPE_CHECKING:
    from pyiceberg.table import Table
    from pyspark.sql import SparkSession

    from migration_assets.iceberg.lake import Lake
    from migration_assets.iceberg.maintenance import StoredReceipts
    from migration_assets.spark.maintenance import SparkTable
    from migration_assets.spark.resource import SparkResource

T = TypeVar("T")

MAINTENANCE_JOB = "maintenance"
MAINTENANCE_OP = "maintain_tables"

PYICEBERG, SPARK = ENGINES = ("pyiceberg", "spark")

MINIMUM_ORPHAN_AGE_HOURS = 24


class MaintenanceConfig(dg.Config):
    """What a maintenance run does.

    Attributes:
        tables: patterns of `schema.table`; empty for all.
        engine: `pyiceberg`, or `spark`, which needs Java and can compact.
        compact: rewrite small data files of a partition into fewer; Spark only.
        expire: remove snapshots older than an hour and beyond the newest 100.
        remove_orphans: remove files that neither the table nor a receipt names.
        until: `iceberg` where no load follows the commits: they then keep no snapshot.
        orphan_age_hours: files younger than this stay; an extraction that takes longer would lose
            files, so not below 24.
        no_extraction_is_running: a promise, by which `orphan_age_hours` may be less.
        target_file_mb: size of compacted files.
        min_input_files: partitions with fewer small files are not compacted.
    """

    tables: list[str] = []  # noqa: RUF012 - a config schema's default, never mutated
    engine: str = PYICEBERG
    compact: bool = False
    expire: bool = True
    remove_orphans: bool = True
    until: str = Stage.STARROCKS.value
    orphan_age_hours: int = 72
    no_extraction_is_running: bool = False
    target_file_mb: int = 512
    min_input_files: int = 5

    def check(self) -> None:
        """Refuse what no run can do.

        Raises:
            ConfigurationError: says which field is wrong.
        """
        if self.engine not in ENGINES:
            raise ConfigurationError(
                f"There is no engine {self.engine!r} for maintenance.",
                code="MA-CF-025",
                next_step=f"Choose among {', '.join(ENGINES)}.",
            )
        if self.until not in {Stage.ICEBERG.value, Stage.STARROCKS.value}:
            raise ConfigurationError(
                f"until is {self.until!r}.",
                code="MA-CF-025",
                next_step="It must be iceberg or starrocks.",
            )
        if self.compact and self.engine != SPARK:
            raise ConfigurationError(
                "pyiceberg cannot compact tables.",
                code="MA-SP-020",
                next_step="Use engine spark for it.",
            )
        if min(self.target_file_mb, self.min_input_files) < 1 or self.orphan_age_hours < 0:
            raise ConfigurationError(
                "target_file_mb and min_input_files must be at least 1, orphan_age_hours 0.",
                code="MA-CF-025",
            )
        if self.orphan_age_hours >= MINIMUM_ORPHAN_AGE_HOURS or not self.remove_orphans:
            return
        if self.engine == SPARK:
            raise ConfigurationError(
                f"orphan_age_hours is {self.orphan_age_hours}: Iceberg's procedure for Spark "
                "refuses less than 24.",
                code="MA-CF-025",
                next_step="Use engine pyiceberg for younger orphans.",
            )
        if not self.no_extraction_is_running:
            raise ConfigurationError(
                f"orphan_age_hours is {self.orphan_age_hours}: files of an extraction that runs "
                "look like orphans, so at least 24 is wanted.",
                code="MA-CF-025",
                next_step="Raise it; or, with all extractions stopped, set "
                "no_extraction_is_running.",
            )


@dataclass
class Upkeep:
    """What was done to one table.

    Attributes:
        files_rewritten: small data files that a compaction replaced, by `files_added`.
        receipts_renewed: commit receipts that now name the compacted files.
        snapshots_expired: how many went; `snapshots_left` how many are listed now.
        snapshots_needed: how many of them loads or commits to come wait for.
        files_removed: orphans.
        error: why the rest was not done; empty when all was.
    """

    table: TablePlan
    files_rewritten: int = 0
    files_added: int = 0
    receipts_renewed: int = 0
    snapshots_expired: int = 0
    snapshots_left: int = 0
    snapshots_needed: int = 0
    files_removed: int = 0
    error: str = ""

    def describe(self) -> str:
        """One line for logs."""
        counts = {
            f"{self.files_rewritten} files compacted to {self.files_added}": self.files_rewritten,
            f"{self.receipts_renewed} receipts renewed": self.receipts_renewed,
            f"{self.snapshots_expired} snapshots expired": self.snapshots_expired,
            f"{self.files_removed} orphans removed": self.files_removed,
        }
        done = ", ".join(text for text, count in counts.items() if count) or "nothing to do"
        left = f"{done} ({self.snapshots_left} snapshots, {self.snapshots_needed} awaited by loads)"
        return f"{left}; then failed: {self.error}" if self.error else left

    def observation(self, translator: MigrationTranslator) -> dg.AssetObservation:
        """What the iceberg asset's page shows, and `maintain` prints."""
        return dg.AssetObservation(
            asset_key=translator.asset_key(Stage.ICEBERG, self.table),
            description=f"maintenance: {self.describe()}",
            metadata={
                "table": self.table.full_name,
                "snapshots expired": self.snapshots_expired,
                "snapshots left": self.snapshots_left,
                "snapshots awaited by loads": self.snapshots_needed,
                "files compacted": self.files_rewritten,
                "files after compaction": self.files_added,
                "files removed": self.files_removed,
                **({"error": self.error} if self.error else {}),
            },
        )


class MaintenanceEngine(Protocol):
    """Does what `maintain_table` decides."""

    def compact(self, table: TablePlan, config: MaintenanceConfig) -> tuple[int, int]:
        """Compact; return how many files were rewritten, and into how many."""

    def expire(self, table: TablePlan, found: Table, needed: set[int]) -> int:
        """Expire snapshots but those needed; return how many."""

    def remove_orphans(self, table: TablePlan, live: set[str], older_than: datetime) -> int:
        """Remove old files that neither the table nor `live` names; return how many."""


class PyIcebergEngine:
    """Upkeep without Java."""

    def __init__(self, lake: Lake) -> None:
        """Work on the tables of a lake."""
        self._lake = lake

    def compact(self, table: TablePlan, config: MaintenanceConfig) -> tuple[int, int]:
        """See `MaintenanceEngine.compact`.

        Raises:
            UnsupportedError: always; `MaintenanceConfig.check` says so earlier.
        """
        raise UnsupportedError(
            f"{table.full_name}: {config.engine} cannot compact.",
            code="MA-SP-020",
            next_step="Use engine spark.",
        )

    def expire(self, table: TablePlan, found: Table, needed: set[int]) -> int:
        """See `MaintenanceEngine.expire`. Metadata only: the files become orphans."""
        from migration_assets.iceberg.maintenance import expire_snapshots

        del table
        return expire_snapshots(found, needed)

    def remove_orphans(self, table: TablePlan, live: set[str], older_than: datetime) -> int:
        """See `MaintenanceEngine.remove_orphans`."""
        from migration_assets.iceberg.maintenance import remove_orphans

        return len(remove_orphans(self._lake, [table], live, older_than))


class SparkEngine:
    """Upkeep by Iceberg's procedures."""

    def __init__(self, lake: Lake, spark: SparkResource) -> None:
        """Work on the tables of a lake; the caller stops Spark."""
        self._lake = lake
        self._spark = spark

    def compact(self, table: TablePlan, config: MaintenanceConfig) -> tuple[int, int]:
        """See `MaintenanceEngine.compact`."""
        from migration_assets.spark.maintenance import compact

        work = partial(
            compact,
            table=self._name(table),
            target_bytes=config.target_file_mb * 2**20,
            min_input_files=config.min_input_files,
        )
        done = self._run(f"Compacting {table.full_name}", work)
        return done.rewritten, done.added

    def expire(self, table: TablePlan, found: Table, needed: set[int]) -> int:
        """See `MaintenanceEngine.expire`. Removes the files that only those snapshots had."""
        from migration_assets.iceberg.maintenance import expirable_snapshots
        from migration_assets.spark.maintenance import expire

        ids = expirable_snapshots(found.metadata, now=datetime.now(UTC), needed=needed)
        if ids:
            work = partial(expire, table=self._name(table), snapshot_ids=ids)
            self._run(f"Expiring snapshots of {table.full_name}", work)
        return len(ids)

    def remove_orphans(self, table: TablePlan, live: set[str], older_than: datetime) -> int:
        """See `MaintenanceEngine.remove_orphans`. Spark only finds them: it knows no receipts."""
        from migration_assets.spark.maintenance import find_orphans

        work = partial(find_orphans, table=self._name(table), older_than=older_than)
        found = self._run(f"Looking for orphans of {table.full_name}", work)
        orphans = [uri for uri in found if uri not in live and uri.startswith(f"{table.location}/")]
        self._lake.store.delete(orphans)
        return len(orphans)

    def _run(self, doing: str, work: Callable[[SparkSession], T]) -> T:
        from migration_assets.iceberg.lake import CATALOG_NAME
        from migration_assets.spark.catalog import attach_catalog

        def with_catalog(session: SparkSession) -> T:
            attach_catalog(session, CATALOG_NAME, self._lake.settings)
            return work(session)

        return self._spark.run(doing, with_catalog)

    def _name(self, table: TablePlan) -> SparkTable:
        from migration_assets.iceberg.lake import CATALOG_NAME
        from migration_assets.spark.maintenance import SparkTable

        return SparkTable(CATALOG_NAME, table.namespace, table.iceberg_table)


def maintain_table(
    engine: MaintenanceEngine,
    lake: Lake,
    table: TablePlan,
    config: MaintenanceConfig,
    *,
    translator: MigrationTranslator,
) -> Upkeep:
    """Do what the configuration asks for to one table; what went wrong is in the result.

    Args:
        engine: does it.
        lake: where table and receipts are.
        table: a table that is missing yet may have orphans.
        config: what to do.
        translator: gives the asset keys whose receipts are looked at.
    """
    done = Upkeep(table)
    try:
        _maintain(_Tended(engine, lake, table, config, translator), done)
    except MigrationError as error:
        done.error = str(error)
    return done


@dataclass
class _Tended:
    """A table and what is needed to look after it."""

    engine: MaintenanceEngine
    lake: Lake
    table: TablePlan
    config: MaintenanceConfig
    translator: MigrationTranslator

    @property
    def store(self) -> ReceiptStore:
        return ReceiptStore(self.lake, self.table.source_database)

    def path(self, stage: Stage) -> Sequence[str]:
        return self.translator.asset_key(stage, self.table).path

    def load(self) -> Table | None:
        """The table as it is now, checked to be ours and of this plan."""
        from migration_assets.iceberg.tables import open_own_table

        return open_own_table(self.lake, self.table)

    def receipts(self) -> list[StoredReceipts]:
        """The receipts of each partition; those of another plan count as none."""
        from migration_assets.iceberg.maintenance import StoredReceipts

        def read(partition_key: str) -> StoredReceipts:
            return StoredReceipts(
                self._find(ExtractReceipt, Stage.MSSQL, partition_key),
                self._find(CommitReceipt, Stage.ICEBERG, partition_key),
                self._find(LoadReceipt, Stage.STARROCKS, partition_key),
            )

        with ThreadPoolExecutor(THREADS, thread_name_prefix="receipts") as threads:
            return list(threads.map(read, self.table.partition_keys))

    def _find(self, kind: type[AnyReceipt], stage: Stage, partition_key: str) -> AnyReceipt | None:
        found = self.store.find(kind, self.path(stage), partition_key)
        return found if found is not None and self.table.holds(found.table_id) else None

    def renew_receipts(self, found: Table) -> int:
        """Make commit receipts name the files that a compaction put in place of theirs."""
        from migration_assets.iceberg.maintenance import renewed_receipts

        stored = [one.committed for one in self.receipts() if one.committed is not None]
        earlier = {receipt.partition_key: receipt for receipt in stored}
        renewed, path = renewed_receipts(found, stored), self.path(Stage.ICEBERG)
        for receipt in renewed:
            # A commit may have come in between. One that comes just now has its receipt replaced
            # by an older one; its load then fails, and asks for that commit's asset to be made.
            current = self.store.find(CommitReceipt, path, receipt.partition_key)
            if current == earlier[receipt.partition_key]:
                self.store.save(path, receipt)
        return len(renewed)


def _maintain(tended: _Tended, done: Upkeep) -> None:
    from migration_assets.iceberg.maintenance import needed_snapshots, store_time
    from migration_assets.iceberg.partitions import committed_attempts

    config, table = tended.config, tended.table
    found = tended.load()
    if found is not None:
        # Before a compaction, so that it can be recognised; after it, so that loads need no
        # snapshot from before. Also without one here: others compact, and runs are killed.
        done.receipts_renewed = tended.renew_receipts(found)
        if config.compact:
            done.files_rewritten, done.files_added = tended.engine.compact(table, config)
            if done.files_rewritten and (found := tended.load()) is not None:
                done.receipts_renewed += tended.renew_receipts(found)
    if found is not None:
        needed = needed_snapshots(
            tended.receipts(),
            committed_attempts(found),
            loads=config.until == Stage.STARROCKS.value,
        )
        listed = {snapshot.snapshot_id for snapshot in found.metadata.snapshots}
        done.snapshots_needed = len(needed & listed)
        done.snapshots_left = len(listed)
        if config.expire:
            done.snapshots_expired = tended.engine.expire(table, found, needed)
            done.snapshots_left -= done.snapshots_expired
    if config.remove_orphans:
        # Read before anything is listed: what is extracted later is too young to be taken.
        live = tended.store.live_files(tended.path(Stage.MSSQL))
        for receipts in tended.receipts():
            if receipts.committed is not None:
                live |= {file.path for file in receipts.committed.files}
        # Spark finds no orphans of a table that is not there.
        engine = tended.engine if found is not None else PyIcebergEngine(tended.lake)
        now = min(datetime.now(UTC), store_time(tended.lake))
        older_than = now - timedelta(hours=config.orphan_age_hours)
        done.files_removed = engine.remove_orphans(table, live, older_than)


@contextmanager
def _open_engine(config: MaintenanceConfig, lake: Lake) -> Iterator[MaintenanceEngine]:
    """The engine of a run; its JVM, if it has one, ends here."""
    if config.engine == PYICEBERG:
        yield PyIcebergEngine(lake)
        return
    # Not a resource of the job: it would import PySpark whenever definitions are loaded.
    from migration_assets.spark.resource import SparkResource

    spark = SparkResource()
    try:
        yield SparkEngine(lake, spark)
    finally:
        spark.stop()


def maintain_in_run(
    context: dg.OpExecutionContext,
    config: MaintenanceConfig,
    plan: MigrationPlan,
    translator: MigrationTranslator,
    lake: Lake,
) -> None:
    """Look after tables within a Dagster run, one after the other.

    Raises:
        dagster.Failure: the configuration is wrong; or some table failed, after all had their turn.
    """
    try:
        config.check()
        tables = select_tables(plan, config.tables)
    except MigrationError as error:
        raise plain_failure(error, MAINTENANCE_JOB) from error
    failed = []
    with _open_engine(config, lake) as engine:
        for table in tables:
            done = maintain_table(engine, lake, table, config, translator=translator)
            context.log_event(done.observation(translator))
            log = context.log.error if done.error else context.log.info
            log("%s: %s", table.full_name, done.describe())
            if done.error:
                failed.append(done)
    if failed:
        listed = "; ".join(f"{one.table.full_name}: {one.error}" for one in failed[:10])
        raise dg.Failure(
            coded(
                code_of(failed[0].error),
                f"Maintenance of {len(failed)} of {len(tables)} tables failed. {listed}",
            ),
            allow_retries=False,
        )

"""Receipts as JSON beside the warehouse's tables: they outlive processes and runs.

One receipt per asset partition, the last one wins. They lie outside of every table's location
(`<warehouse>/.migration/receipts/<database>/<asset key>/<partition key>.json`), so no cleanup of a
table can take them.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import quote

import dagster as dg
from pydantic import PrivateAttr, ValidationError

from migration_assets.assets.failures import Retries, plain_failure, retry_or_fail
from migration_assets.assets.history import speed_up
from migration_assets.assets.pool_slots import give_slots_singly
from migration_assets.assets.process_locks import process_tags
from migration_assets.errors import MigrationError, ObjectNotFoundError, ReceiptError
from migration_assets.plan import TablePlan
from migration_assets.receipts import CommitReceipt, ExtractReceipt, Receipt, to_json
from migration_assets.windows import check_range

if TYPE_CHECKING:
    from migration_assets.iceberg.intents import StoredIntents
    from migration_assets.iceberg.lake import Lake

AnyReceipt = TypeVar("AnyReceipt", bound=Receipt)

THREADS = 16
"""Receipts read at once."""


class ReceiptStore:
    """Receipts of one source database's tables, by asset key and partition key."""

    def __init__(self, lake: Lake, database: str) -> None:
        """Keep receipts in the lake's object store; the caller closes the lake."""
        self._lake = lake
        self._root = f"{lake.settings.warehouse}/.migration/receipts/{quote(database, safe='')}"

    def find(
        self, kind: type[AnyReceipt], asset_path: Sequence[str], partition_key: str
    ) -> AnyReceipt | None:
        """Read the newest receipt of an asset partition; None when there is none.

        Raises:
            ReceiptError: the stored text is not such a receipt, or is one of another partition.
        """
        uri = self._uri(asset_path, partition_key)
        if not self._lake.store.exists(uri):
            return None
        found = self._read(kind, uri)
        if found.partition_key != partition_key:
            raise ReceiptError(
                f"The receipt of {'/'.join(asset_path)} {partition_key} is one of "
                f"{found.partition_key}.",
                code="MA-RC-003",
                next_step="Materialize that asset partition again.",
            )
        return found

    def load(
        self, kind: type[AnyReceipt], asset_path: Sequence[str], partition_key: str
    ) -> AnyReceipt:
        """Read the newest receipt of an asset partition.

        Raises:
            ReceiptError: there is none, or it is corrupt.
        """
        found = self.find(kind, asset_path, partition_key)
        if found is None:
            raise ReceiptError(
                f"{'/'.join(asset_path)} {partition_key} has no receipt.",
                code="MA-RC-001",
                next_step="Materialize that asset partition first.",
            )
        return found

    def save(self, asset_path: Sequence[str], receipt: Receipt) -> None:
        """Store a receipt; it replaces the partition's earlier one."""
        uri = self._uri(asset_path, receipt.partition_key)
        self._lake.store.write(uri, to_json(receipt).encode())

    def intents(self, asset_path: Sequence[str]) -> StoredIntents:
        """The commit intents of an Iceberg asset, beside its receipts."""
        from migration_assets.iceberg.intents import StoredIntents

        return StoredIntents(self._lake.store, self._folder(asset_path))

    def note(self, asset_path: Sequence[str], name: str) -> str | None:
        """Read a note beside the receipts of an asset; None when there is none."""
        try:
            return self._lake.store.read(f"{self._folder(asset_path)}/{name}").decode()
        except ObjectNotFoundError:
            return None

    def set_note(self, asset_path: Sequence[str], name: str, text: str | None) -> None:
        """Keep a note beside the receipts of an asset; None removes it."""
        uri = f"{self._folder(asset_path)}/{name}"
        if text is None:
            self._lake.store.delete([uri])
        else:
            self._lake.store.write(uri, text.encode())

    def listed(self, asset_path: Sequence[str]) -> list[str]:
        """URIs of all receipts, intents and notes of an asset."""
        return [entry.uri for entry in self._lake.store.list(self._folder(asset_path) + "/")]

    def delete(self, asset_path: Sequence[str]) -> int:
        """Remove all receipts and intents of an asset; returns how many."""
        uris = self.listed(asset_path)
        self._lake.store.delete(uris)
        return len(uris)

    def live_files(self, asset_path: Sequence[str]) -> set[str]:
        """Every data file that a stored extract receipt names: no cleanup may take them.

        Receipts of partitions that the plan no longer has are among them.

        Raises:
            ReceiptError: a stored text is not such a receipt.
        """
        uris = [file.uri for file in self._lake.store.list(self._folder(asset_path) + "/")]
        with ThreadPoolExecutor(THREADS, thread_name_prefix="receipt") as threads:
            receipts = threads.map(partial(self._read, ExtractReceipt), uris)
            return {file.path for receipt in receipts for file in receipt.files}

    def _read(self, kind: type[AnyReceipt], uri: str) -> AnyReceipt:
        try:
            return kind.model_validate_json(self._lake.store.read(uri))
        except ValidationError:
            partition = uri.removeprefix(f"{self._root}/").removesuffix(".json")
            raise ReceiptError(
                f"The receipt of {' '.join(partition.rsplit('/', 1))} is corrupt.",
                code="MA-RC-005",
                next_step="Materialize that asset partition again.",
            ) from None

    def _folder(self, asset_path: Sequence[str]) -> str:
        return "/".join([self._root, *(quote(part, safe="") for part in asset_path)])

    def _uri(self, asset_path: Sequence[str], partition_key: str) -> str:
        return f"{self._folder(asset_path)}/{quote(partition_key, safe='')}.json"


def check_receipt(receipt: ExtractReceipt | CommitReceipt, table: TablePlan) -> None:
    """Refuse a receipt that is not valid under the plan of the table, or contradicts itself.

    Raises:
        ReceiptError: names both table ids, or both numbers of rows, or the time window that has
            another end now.
    """
    if not table.holds(receipt.table_id):
        raise ReceiptError(
            f"The receipt of {table.full_name} {receipt.partition_key} was made under table id "
            f"{receipt.table_id}, the plan has {table.table_id}.",
            code="MA-RC-002",
            next_step="Materialize the upstream asset of this partition again.",
        )
    check_range(receipt, table)
    in_files = sum(file.rows for file in receipt.files)
    if not receipt.rows == receipt.fingerprint.rows == in_files:
        raise ReceiptError(
            f"The receipt of {table.full_name} {receipt.partition_key} says {receipt.rows} rows, its "
            f"files have {in_files} and its fingerprint {receipt.fingerprint.rows}.",
            code="MA-RC-003",
            next_step="Materialize the upstream asset of this partition again.",
        )


class ReceiptIOManager(dg.ConfigurableIOManager):
    """Passes receipts from stage to stage through a `ReceiptStore`.

    Every run of ours has it, so it also notes on the run which process executes it.
    """

    database: str
    _store: ReceiptStore | None = PrivateAttr(default=None)

    def setup_for_execution(self, context: dg.InitResourceContext) -> None:
        """Tag the run with its host and process, and make its events cheap to store."""
        if context.instance is not None and context.run is not None:
            home = Path(os.environ["DAGSTER_HOME"]) if "DAGSTER_HOME" in os.environ else None
            if home is not None:
                speed_up(home)
                give_slots_singly()
            context.instance.add_run_tags(context.run.run_id, process_tags(home))

    @property
    def store(self) -> ReceiptStore:
        """The store, in the lake that the environment names."""
        from migration_assets.iceberg.lake import shared_lake
        from migration_assets.settings import LakeSettings

        if self._store is None:
            self._store = ReceiptStore(shared_lake(LakeSettings.load()), self.database)
        return self._store

    def handle_output(self, context: dg.OutputContext, obj: Receipt) -> None:
        """Store the receipt that an asset returned.

        Raises:
            dagster.RetryRequested: it could not be stored for now.
            dagster.Failure: it could not be stored.
        """
        try:
            self.store.save(context.asset_key.path, obj)
        except MigrationError as error:
            raise _failure(error, context) from error

    def load_input(self, context: dg.InputContext) -> Receipt:
        """Read the upstream asset's receipt of the same partition.

        Raises:
            dagster.RetryRequested: it cannot be read for now.
            dagster.Failure: there is none, or it cannot be read.
        """
        kind: type[Receipt] = context.dagster_type.typing_type
        try:
            return self.store.load(kind, context.asset_key.path, context.partition_key)
        except MigrationError as error:
            raise _failure(error, context) from error


def _failure(
    error: MigrationError, context: dg.InputContext | dg.OutputContext
) -> dg.Failure | dg.RetryRequested:
    about = f"{'/'.join(context.asset_key.path)} {context.partition_key}"
    retries = Retries.before(context.step_context)
    return retry_or_fail(plain_failure(error, about), retries, at_least_s=error.wait_s)

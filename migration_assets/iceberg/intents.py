"""What a commit was about to do: stored before it does it, so that a later attempt can decide."""

from __future__ import annotations

from typing import Protocol

from pydantic import ValidationError

from migration_assets.errors import ObjectNotFoundError, ReceiptError
from migration_assets.iceberg.file_store import FileStore
from migration_assets.plan import FrozenModel


class Intent(FrozenModel):
    """A commit that was begun.

    Attributes:
        attempt: attempt of the receipt that was to be committed.
        table_uuid: Iceberg's id of the table; a table that was dropped and made again has another.
        base_snapshot_id: the table's current snapshot then, None when it had none.
        base_sequence_number: the table's last sequence number then. They count every snapshot, so
            they tell whether all snapshots since then are still listed
            (https://iceberg.apache.org/spec/#sequence-numbers).
    """

    attempt: str
    table_uuid: str
    base_snapshot_id: int | None
    base_sequence_number: int


class IntentStore(Protocol):
    """Where the last intent of each partition of one table is kept. Used from several threads."""

    def load(self, partition_key: str) -> Intent | None:
        """Return the last intent of a partition, None when there is none."""

    def save(self, partition_key: str, intent: Intent) -> None:
        """Replace the intent of a partition, durably."""

    def clear(self, partition_key: str) -> None:
        """Forget the intent of a partition; it may have none."""


class StoredIntents:
    """Intents as `<root>/<partition key>.intent.json` in a file store."""

    def __init__(self, store: FileStore, root: str) -> None:
        """Touch nothing yet.

        Args:
            store: where they are kept; the caller closes it.
            root: URI of the folder of one table's receipts, outside every table location.
        """
        self._store = store
        self._root = root.rstrip("/")

    def _uri(self, partition_key: str) -> str:
        return f"{self._root}/{partition_key}.intent.json"

    def load(self, partition_key: str) -> Intent | None:
        """See `IntentStore.load`.

        Raises:
            ReceiptError: the stored intent cannot be read.
        """
        uri = self._uri(partition_key)
        try:
            return Intent.model_validate_json(self._store.read(uri))
        except ObjectNotFoundError:
            return None
        except ValidationError:
            raise ReceiptError(
                f"{uri} is no intent of a commit.",
                next_step="Extract again: re-materialize the mssql asset of this partition, "
                "after removing that file.",
            ) from None

    def save(self, partition_key: str, intent: Intent) -> None:
        """See `IntentStore.save`."""
        self._store.write(self._uri(partition_key), intent.model_dump_json(indent=1).encode())

    def clear(self, partition_key: str) -> None:
        """See `IntentStore.clear`."""
        self._store.delete([self._uri(partition_key)])

"""What a commit was about to do: stored before it does it, so that a later attempt can decide."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from pydantic import TypeAdapter, ValidationError

from migration_assets.errors import ObjectNotFoundError, ReceiptError
from migration_assets.frozen_model import FrozenModel, content_hash
from migration_assets.iceberg.file_store import FileStore

THREADS = 16


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
    """Where the intents of one table's partitions are kept. Used from several threads."""

    def load(self, partition_keys: Sequence[str]) -> Mapping[str, Sequence[Intent]]:
        """Return, by partition, the intents that it may have been committed with, if any."""

    def save(self, intents: Mapping[str, Intent]) -> None:
        """Keep one commit's intents, by partition key, durably."""

    def clear(self, partition_key: str) -> None:
        """Forget the intent that a partition had of its own; it may have none."""


class StoredIntents:
    """Intents in a file store, one object a commit.

    `<root>/<partition key>.intent.json` for a commit of one partition, which its next one replaces.
    A commit of many writes `<root>/intents/<hash of its keys>.json`, replaced by the next commit of
    the same ones. So a partition may have an old intent beside its last one: of another attempt,
    which does no harm.
    """

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

    def load(self, partition_keys: Sequence[str]) -> Mapping[str, Sequence[Intent]]:
        """See `IntentStore.load`.

        Raises:
            ReceiptError: a stored intent cannot be read.
        """
        uris = [self._uri(key) for key in partition_keys]
        uris += [file.uri for file in self._store.list(f"{self._root}/{_MANY}")]
        with ThreadPoolExecutor(THREADS, thread_name_prefix="intent") as threads:
            commits = list(threads.map(self._read, uris))
        return {key: [c[key] for c in commits if key in c] for key in partition_keys}

    def save(self, intents: Mapping[str, Intent]) -> None:
        """See `IntentStore.save`."""
        if len(intents) == 1:
            uri = self._uri(*intents)
        else:
            uri = f"{self._root}/{_MANY}/{content_hash(sorted(intents))}.json"
        self._store.write(uri, _INTENTS.dump_json(dict(intents), indent=1))

    def clear(self, partition_key: str) -> None:
        """See `IntentStore.clear`."""
        self._store.delete([self._uri(partition_key)])

    def _read(self, uri: str) -> Mapping[str, Intent]:
        try:
            return _INTENTS.validate_json(self._store.read(uri))
        except ObjectNotFoundError:
            return {}
        except ValidationError:
            raise ReceiptError(
                f"{uri} is no intent of a commit.",
                code="MA-RC-006",
                next_step="Extract again: re-materialize the mssql asset of this partition, "
                "after removing that file.",
            ) from None


_MANY = "intents"
_INTENTS = TypeAdapter(dict[str, Intent])

"""Whose rows a StarRocks partition holds when a load is about to replace them.

Before each load the fingerprint of its rows is noted beside the receipts: of a load that is killed
nothing else would tell. What the partition holds when the next load comes must be one of the newest of
these, or somebody has changed it: then the load is refused, once, so that nothing is overwritten unseen.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING
from urllib.parse import quote

from pydantic import TypeAdapter, ValidationError

from migration_assets import events
from migration_assets.assets.checks import comparable, describe_moved
from migration_assets.choices import OnExisting, VerificationLevel
from migration_assets.errors import ForeignRowsError, ReceiptError
from migration_assets.frozen_model import FrozenModel
from migration_assets.plan import TablePlan
from migration_assets.receipts import CommitReceipt, Fingerprint, LoadReceipt

if TYPE_CHECKING:
    from migration_assets.assets.receipt_store import ReceiptStore
    from migration_assets.starrocks.resource import StarRocks

REPLACES_TAG = "migration/replaces-foreign-rows"
"""Tag of a run: the tables, as a JSON list of `schema.table`, where rows of somebody else, which a
failure or a check has told of, are replaced."""

STATES_KEPT = 5
"""Loads whose rows may be there: two runs at once, killed at any moment, leave those of either."""


class LoadedState(FrozenModel):
    """What a load was about to leave in a partition.

    Attributes:
        table_id: under which the rows were extracted.
        fingerprint: of them.
    """

    table_id: str
    fingerprint: Fingerprint


_STATES = TypeAdapter(list[LoadedState])


def replaces_foreign_rows(tags: Mapping[str, str], table: TablePlan) -> bool:
    """Whether a run with these tags, or the plan, lets rows of somebody else be replaced."""
    if table.on_existing is not OnExisting.REFUSE:
        return True
    try:
        return table.full_name in json.loads(tags.get(REPLACES_TAG, "[]"))
    except (ValueError, TypeError):
        return False


class LoadedRows:
    """What loads have left in one StarRocks partition, as noted beside its receipts."""

    def __init__(
        self,
        store: ReceiptStore,
        asset_path: Sequence[str],
        table: TablePlan,
        committed: CommitReceipt,
    ) -> None:
        """Look at nothing yet.

        Args:
            store: where the notes are.
            asset_path: of the starrocks asset.
            table: what is loaded.
            committed: what is about to be loaded.
        """
        self._store = store
        self._path = asset_path
        self._table = table
        self._committed = committed
        self._name = f"{quote(committed.partition_key, safe='')}.loaded.json"

    def refuse_foreign(
        self, client: StarRocks, level: VerificationLevel, *, may_replace: bool
    ) -> str:
        """Compare what the partition holds with what loads of ours have left there.

        Args:
            client: of StarRocks; the table must exist.
            level: how much is measured, the number of rows at least.
            may_replace: rows of somebody else are told of, and not refused.

        Returns:
            What is about to be replaced although no load of ours left it; empty when nothing is.

        Raises:
            ForeignRowsError: somebody changed the rows since they were loaded.
        """
        from migration_assets.starrocks.load import measure

        table, committed = self._table, self._committed
        key_range = table.key_range(committed.partition_key)
        level = VerificationLevel.COUNT if level is VerificationLevel.NONE else level
        # Before the note is read: a load that runs at the same time writes its note before its rows.
        found = measure(client, table, key_range, level)
        if found.rows == 0:
            return ""
        states = self._read()
        if not states and self._store.find(LoadReceipt, self._path, committed.partition_key):
            return ""  # loaded by a release that kept no notes
        own = LoadedState(table_id=committed.table_id, fingerprint=committed.fingerprint)
        known = [
            comparable(state.fingerprint, table, state.table_id)
            for state in (own, *states)
            if table.holds(state.table_id)
        ]
        differences = [state.differences(found) for state in known]
        if not all(differences):
            return ""
        what = (
            f"StarRocks table {table.starrocks_database}.{table.starrocks_table}, partition "
            f"{committed.partition_key}: it holds {found.rows:,} rows that are not as a load left "
            f"them: {describe_moved(differences[-1])}."
        )
        if not may_replace:
            raise ForeignRowsError(what)
        events.event("foreign rows replaced", level=logging.WARNING, found=what)
        return what

    def expect(self) -> None:
        """Note what the load leaves: before it, and after it, as another may have noted meanwhile."""
        self._note(self._committed.fingerprint)

    def looked_at(self, found: Fingerprint) -> Fingerprint:
        """Note what the load has left where it differs: its check tells of that, so it is not unseen.

        Without the note the next load, which the check asks for, would take it for somebody else's.
        Returns what was given.
        """
        expected = comparable(self._committed.fingerprint, self._table, self._committed.table_id)
        if expected.differences(found):
            self._note(found)
        return found

    def _note(self, fingerprint: Fingerprint) -> None:
        own = LoadedState(table_id=self._committed.table_id, fingerprint=fingerprint)
        states = self._read()
        if own not in states:
            kept = [*states, own][-STATES_KEPT:]
            self._store.set_note(self._path, self._name, _STATES.dump_json(kept).decode())

    def _read(self) -> list[LoadedState]:
        text = self._store.note(self._path, self._name)
        try:
            return [] if text is None else _STATES.validate_json(text)
        except ValidationError:
            raise ReceiptError(
                f"The note {self._name} beside the receipts of {'/'.join(self._path)} is corrupt.",
                code="MA-RC-006",
                next_step="Remove it; what the partition holds is then not compared.",
            ) from None

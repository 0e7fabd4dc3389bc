"""In which order StarRocks may load time windows, so that it has no row in two of them.

A window that is loaded while it is the last one has rows that will belong to later ones. A note
beside the receipts says so: written before such a load, removed once the window was loaded with an
end. While it is there, later windows wait. `iceberg/windows.py` is the same for commits.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from migration_assets.assets.receipt_store import ReceiptStore
from migration_assets.errors import EarlierWindowError
from migration_assets.plan import TablePlan

OPEN_WINDOW = "open-window"
"""Name of the note; its text is the number of the window."""


@contextmanager
def loading_window(
    store: ReceiptStore, asset_path: Sequence[str], table: TablePlan, partition_key: str
) -> Iterator[None]:
    """Load a partition within this, and have it verified there.

    Args:
        store: where the notes are.
        asset_path: of the starrocks asset.
        table: what is loaded; without time windows nothing is looked at.
        partition_key: likewise.

    Raises:
        EarlierWindowError: an earlier window still has rows of this one.
    """
    if table.window is None:
        yield
        return
    key_range = table.key_range(partition_key)
    noted = store.note(asset_path, OPEN_WINDOW)
    open_window = None if noted is None else int(noted)
    if open_window is not None and open_window < key_range.source_partition:
        earlier = table.window.key(open_window)
        raise EarlierWindowError(
            f"{table.starrocks_database}.{table.starrocks_table}: window {earlier} was loaded when "
            f"it was the last one, so it still has the rows of {partition_key}, too.",
            next_step=f"Migrate {earlier} again, then this one: `migration-assets run --failed "
            f"--tables {shlex.quote(table.full_name)}` does both.",
        )
    is_open = key_range.upper is None
    if is_open and noted is None:
        store.set_note(asset_path, OPEN_WINDOW, str(key_range.source_partition))
    yield
    if not is_open and open_window == key_range.source_partition:
        store.set_note(asset_path, OPEN_WINDOW, None)

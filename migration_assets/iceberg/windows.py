"""In which order time windows may be committed: no row may be in two of them.

The last window is open above: it has rows that will belong to windows which follow later. So the
table says in a property which is the last window that was ever committed, and whether that was open.
It changes together with the files, in one transaction, so it is never wrong.
"""

from __future__ import annotations

import shlex
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from migration_assets.errors import EarlierWindowError, PlanError
from migration_assets.plan import TablePlan

LAST_WINDOW_PROPERTY = "migration.last-window"
"""Table property: `202403`, or `202403 open` while all later rows are in it, too."""


@dataclass(frozen=True)
class _LastWindow:
    number: int
    is_open: bool

    @classmethod
    def of(cls, properties: Mapping[str, str]) -> _LastWindow | None:
        """None before any window was committed."""
        found = properties.get(LAST_WINDOW_PROPERTY)
        if not found:
            return None
        number, _, state = found.partition(" ")
        return cls(int(number), state == "open")

    @property
    def properties(self) -> dict[str, str]:
        return {LAST_WINDOW_PROPERTY: f"{self.number}{' open' if self.is_open else ''}"}


def window_properties(
    table: TablePlan, properties: Mapping[str, str], numbers: Collection[int]
) -> dict[str, str]:
    """Refuse a commit after which rows were in two windows; else say what it changes.

    Args:
        table: the table's plan.
        properties: those that the table has.
        numbers: windows that are about to be committed, of the plan's ranges.

    Returns:
        The properties to set with the commit; empty where nothing changes.

    Raises:
        EarlierWindowError: an earlier window was committed while it was the last, and holds rows of
            these.
        PlanError: a window is open above by the plan, but later ones were committed.
    """
    if table.window is None:
        return {}
    name = f"{table.namespace}.{table.iceberg_table}"
    keys = dict(
        zip((r.source_partition for r in table.key_ranges), table.partition_keys, strict=True)
    )
    open_now = {r.source_partition for r in table.key_ranges if r.upper is None} & set(numbers)
    last, highest = _LastWindow.of(properties), max(numbers)
    if last is None:
        return _LastWindow(highest, highest in open_now).properties
    if last.is_open and last.number not in numbers and highest > last.number:
        earlier = keys.get(last.number, str(last.number))
        raise EarlierWindowError(
            f"{name}: window {earlier} was migrated when it was the last one, so it still holds "
            f"the rows of {keys[highest]}, too.",
            next_step=f"Migrate {earlier} again, then this one: `migration-assets run --failed "
            f"--tables {shlex.quote(table.full_name)}` does both.",
        )
    if any(number < last.number for number in open_now):
        raise PlanError(
            f"{name} has the window {table.window.key(last.number)}, but by this plan "
            f"{keys[max(open_now)]} is the last one and has all that is later: rows would be twice.",
            code="MA-PL-014",
            next_step="The plan was replaced meanwhile: reload the code location, or run the "
            f"command again. If the plan is to have fewer windows: `migration-assets reset "
            f"{table.full_name}`.",
        )
    is_open = bool(open_now) or (last.is_open and last.number not in numbers)
    now = _LastWindow(max(highest, last.number), is_open)
    return {} if now == last else now.properties

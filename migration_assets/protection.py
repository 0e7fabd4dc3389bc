"""Tables whose migrated rows no command removes: `prevent_reset` of migration.yaml."""

from __future__ import annotations

from collections.abc import Iterable

from migration_assets.errors import ConfigurationError
from migration_assets.plan import TablePlan


def refuse_removal(tables: Iterable[TablePlan], *, doing: str) -> None:
    """Refuse to remove rows of tables that are protected; to be asked before the first one goes.

    Args:
        tables: of the plan.
        doing: what would happen to them, as a verb: `reset`, `removed`.

    Raises:
        ConfigurationError: names those that are protected.
    """
    protected = [table.full_name for table in tables if table.prevent_reset]
    if protected:
        verb = "is" if len(protected) == 1 else "are"
        raise ConfigurationError(
            f"{', '.join(protected)} {verb} not {doing}: prevent_reset of migration.yaml protects "
            f"{'it' if len(protected) == 1 else 'them'}.",
            code="MA-CF-061",
            next_step="To do it all the same, take prevent_reset out of migration.yaml and run "
            "`migration-assets plan`.",
        )

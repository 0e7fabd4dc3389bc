"""Write the page for whoever decides about a migration: `migration-assets plan --report FILE`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from migration_assets.errors import ConfigurationError
from migration_assets.inventory import Inventory
from migration_assets.inventory_page.content import page
from migration_assets.inventory_page.estimate import Assumptions
from migration_assets.inventory_page.html import html
from migration_assets.inventory_page.markdown import markdown
from migration_assets.mssql.client import SqlServer
from migration_assets.mssql.left_behind import read_inventory
from migration_assets.mssql.partition_counts import partition_counts
from migration_assets.plan import MigrationPlan
from migration_assets.settings import MssqlSettings, ProjectSettings

FORMATS = {".html": html, ".md": markdown}
"""The ending of the file's name chooses."""


def check_report(path: Path, assume: Sequence[str]) -> None:
    """Refuse a file or an assumption that the report could not be made with, before any work.

    Raises:
        ConfigurationError: another ending than those of `FORMATS`, no local file, or an unknown
            assumption.
    """
    if path.suffix.lower() not in FORMATS:
        raise ConfigurationError(
            f"--report {path}: the report is written as {' or '.join(FORMATS)}, by its ending.",
            code="MA-CF-028",
            next_step="Name a file that ends in one of them.",
        )
    if str(path).startswith("s3:/"):
        raise ConfigurationError(
            f"--report {path}: the report is written to a local file.", code="MA-CF-028"
        )
    assumptions(assume)


def assumptions(assume: Sequence[str]) -> Assumptions:
    """What the duration is estimated from: the defaults, with what was given in their place.

    Raises:
        ConfigurationError: an unknown name, or a value that is no number above zero.
    """
    slots = ProjectSettings.load().run_slots
    return Assumptions(concurrent_runs=slots).changed(assume)


def inventory_of(plan: MigrationPlan, mssql: MssqlSettings) -> Inventory:
    """Ask SQL Server what stays behind.

    Raises:
        MigrationError: it cannot be reached.
    """
    with SqlServer(mssql) as client:
        return _left_behind(plan, client)


def _left_behind(plan: MigrationPlan, client: SqlServer) -> Inventory:
    migrated = {(t.source_schema, t.source_name) for t in plan.tables}
    return read_inventory(client).without_views(migrated)


def write_report(
    plan: MigrationPlan,
    path: Path,
    mssql: MssqlSettings,
    *,
    replication_num: int,
    assume: Sequence[str] = (),
    measure: bool = False,
) -> Inventory:
    """Ask SQL Server what stays behind, and write the page in one step.

    Args:
        plan: what is migrated.
        path: a file that ends in `.html` or `.md`.
        mssql: the source.
        replication_num: copies of each StarRocks tablet.
        assume: assumptions of the estimate, `extract_rows_per_s=100000`.
        measure: count the rows of every partition, a scan of each table that is cut.

    Returns:
        What stays behind.

    Raises:
        ConfigurationError: as `check_report` says, or the file cannot be written.
        MigrationError: SQL Server cannot be reached.
    """
    check_report(path, assume)
    counts: dict[str, tuple[int, ...]] = {}
    notes: list[str] = []
    with SqlServer(mssql) as client:
        inventory = _left_behind(plan, client)
        if measure:
            counts, notes = partition_counts(client, plan.tables)
    made = page(
        plan,
        inventory,
        assumptions=assumptions(assume),
        replication_num=replication_num,
        made_at=datetime.now(UTC),
        partition_rows=counts,
        partition_notes=notes,
    )
    document = FORMATS[path.suffix.lower()](made)
    partial = path.with_name(path.name + ".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(document, encoding="utf-8", errors="replace")
        partial.replace(path)
    except OSError as error:
        raise ConfigurationError(
            f"--report {path} cannot be written: {error}.", code="MA-CF-028"
        ) from None
    return inventory

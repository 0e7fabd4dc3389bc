"""The database snapshot of a plan: made before the first run, kept over all, dropped by hand.

It is never dropped by a run: what failed is extracted later from the same state. And none is made
silently while partitions of an earlier state are there.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from migration_assets.assets.build import DATA_VERSION_TAG, POINT_IN_TIME_TAG, is_valid, point_tag
from migration_assets.assets.translator import MigrationTranslator, Stage
from migration_assets.assets.validation import select_tables
from migration_assets.errors import ConfigurationError, ObjectNotFoundError, PlanError
from migration_assets.mssql.client import SqlServer
from migration_assets.mssql.database_snapshot import (
    FoundSnapshot,
    create_snapshot,
    drop_snapshot,
    find_snapshot,
)
from migration_assets.operations.status import latest_tags
from migration_assets.plan import DatabaseSnapshot, MigrationPlan
from migration_assets.receipts import PointInTime
from migration_assets.settings import MssqlSettings

if TYPE_CHECKING:
    from collections.abc import Iterator

    import dagster as dg

    from migration_assets.operations.run import Selection


def ensure_snapshot(
    plan: MigrationPlan, instance: dg.DagsterInstance, selection: Selection
) -> None:
    """See that the plan's database snapshot is there before a run; make it where it may be.

    Args:
        plan: one that reads from no database snapshot needs nothing.
        instance: knows from which state partitions were extracted.
        selection: what the run makes anew.

    Raises:
        ObjectNotFoundError: it is not there, and is somebody else's to make.
        PlanError: it is not there, and what the run leaves was extracted from another state.
        MigrationError: SQL Server makes none, or cannot be reached.
    """
    wanted = plan.database_snapshot
    if wanted is None:
        return
    with SqlServer(MssqlSettings.load()) as client:
        found = find_snapshot(client, wanted.name)
        others = list(_of_another_state(plan, instance, found, selection))
        if found is not None:
            if others:
                warnings.warn(
                    f"{_counted(others)} not extracted from the database snapshot {_of(found)}, and "
                    "show another state.",
                    UserWarning,
                    stacklevel=2,
                )
            return
        if not wanted.ours:
            raise ObjectNotFoundError(
                f"SQL Server {client.settings.server} has no database snapshot {wanted.name}, which "
                "migration.yaml names.",
                code="MA-MS-110",
                next_step="Make it, or take `database_snapshot` out of migration.yaml and plan again: "
                "then the tool makes one.",
            )
        if others:
            raise _mixed(wanted, others)
        create_snapshot(client, wanted)


def create(plan: MigrationPlan, instance: dg.DagsterInstance, *, mixed: bool = False) -> str:
    """Make the plan's database snapshot; one that is there stays. Returns what to tell.

    Args:
        plan: of consistency `database_snapshot`.
        instance: knows from which state partitions were extracted.
        mixed: also when partitions of another state are there.

    Raises:
        ConfigurationError: the plan reads from none, or from somebody else's.
        PlanError: partitions of another state are there.
        MigrationError: SQL Server makes none, or cannot be reached.
    """
    wanted = _wanted(plan)
    if not wanted.ours:
        raise ConfigurationError(
            f"migration.yaml names the database snapshot {wanted.name}: whoever named it makes it.",
            code="MA-MS-108",
            next_step="Take `database_snapshot` out of migration.yaml and plan again.",
        )
    with SqlServer(MssqlSettings.load()) as client:
        found = find_snapshot(client, wanted.name)
        if found is not None:
            return f"There already is {_of(found)}."
        others = list(_of_another_state(plan, instance, None, None))
        if others and not mixed:
            raise _mixed(wanted, others)
        return f"Made {_of(create_snapshot(client, wanted))}."


def drop(plan: MigrationPlan) -> str:
    """Drop the plan's database snapshot, if it is ours. Returns what to tell.

    Raises:
        ConfigurationError: the plan reads from none.
        MigrationError: it is somebody else's or in use, or SQL Server cannot be reached.
    """
    wanted = _wanted(plan)
    with SqlServer(MssqlSettings.load()) as client:
        done = drop_snapshot(client, wanted)
    return f"Dropped {wanted.name}." if done else f"There is no {wanted.name}."


def show(plan: MigrationPlan) -> str:
    """Describe the plan's database snapshot; empty when it is not there.

    Raises:
        ConfigurationError: the plan reads from none.
        MigrationError: SQL Server cannot be reached.
    """
    wanted = _wanted(plan)
    with SqlServer(MssqlSettings.load()) as client:
        found = find_snapshot(client, wanted.name)
    return "" if found is None else f"{_of(found)}, {found.state}"


def _wanted(plan: MigrationPlan) -> DatabaseSnapshot:
    if plan.database_snapshot is None:
        raise ConfigurationError(
            f"The plan has consistency {plan.consistency.value}: it reads from no database snapshot.",
            code="MA-MS-112",
            next_step="Write `consistency: database_snapshot` into migration.yaml and run "
            "`migration-assets plan`.",
        )
    return plan.database_snapshot


def _of_another_state(
    plan: MigrationPlan,
    instance: dg.DagsterInstance,
    found: FoundSnapshot | None,
    selection: Selection | None,
) -> Iterator[str]:
    """Name partitions that were extracted under this plan, from another state than `found`.

    Those that the selection extracts again are not among them.
    """
    point = None
    if found is not None:
        point = point_tag(PointInTime(database_snapshot=found.name, created=found.created))
    again: set[str] = set()
    if selection is not None and not selection.only_failed:
        again = {table.full_name for table in select_tables(plan, selection.tables)}
    keys = set(selection.partition_keys) if selection is not None else set()
    translator = MigrationTranslator()
    for table in plan.tables:
        latest = latest_tags(instance, translator.asset_key(Stage.MSSQL, table))
        for key in table.partition_keys:
            tags = latest.get(key, {})
            version = tags.get(DATA_VERSION_TAG, "")
            is_current = version.startswith(table.table_id) and is_valid(version, table, key)
            is_made_again = table.full_name in again and (not keys or key in keys)
            if is_current and not is_made_again and (tags.get(POINT_IN_TIME_TAG) != point):
                yield f"{table.full_name} {key}"


def _mixed(wanted: DatabaseSnapshot, others: list[str]) -> PlanError:
    return PlanError(
        f"The database snapshot {wanted.name} does not exist. {_counted(others)} extracted before: "
        "from a new one the rest would show another point in time.",
        code="MA-MS-110",
        next_step="`migration-assets run`, without --failed, extracts all again from a new one; "
        "`migration-assets snapshot create --yes` takes the mixture.",
    )


def _counted(others: list[str]) -> str:
    shown = ", ".join(others[:3]) + (", …" if len(others) > 3 else "")
    verb = "was" if len(others) == 1 else "were"
    return f"{len(others):,} partition{'' if len(others) == 1 else 's'} ({shown}) {verb}"


def _of(found: FoundSnapshot) -> str:
    return f"{found.name}, made {found.created:%Y-%m-%d %H:%M:%S} by the server's clock"

"""An Iceberg table's columns changed in place: schema and table id in one commit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from migration_assets.errors import SchemaDriftError
from migration_assets.iceberg.conflicts import retry_conflicts
from migration_assets.iceberg.driver_errors import translate_errors
from migration_assets.iceberg.lake import Lake
from migration_assets.iceberg.schema import iceberg_schema
from migration_assets.iceberg.tables import (
    TABLE_ID_PROPERTY,
    check_table,
    load_table,
    schema_differences,
    table_name,
    table_properties,
)
from migration_assets.plan import TablePlan

if TYPE_CHECKING:
    from pyiceberg.table import Table
    from pyiceberg.table.update import TableUpdate


def check_evolvable(lake: Lake, table: TablePlan) -> bool:
    """Say whether an Iceberg table has an earlier plan's columns, which can become the plan's.

    Returns:
        False when there is none, or it is as planned.

    Raises:
        SchemaDriftError: it is not ours, holds rows of a plan from which no evolution leads to this
            one, or somebody changed its columns.
        PlanError: as `check_table`.
    """
    found = load_table(lake, table)
    return found is not None and _is_to_evolve(table, found)


def evolve_table(lake: Lake, table: TablePlan) -> bool:
    """Give an Iceberg table the plan's columns and table id, and keep its rows.

    Old data files lack columns that came, which Iceberg reads as NULL, and have narrower types,
    which it reads as the wider ones (https://iceberg.apache.org/spec/#schema-evolution).

    Returns:
        Whether it was changed; not when there is none, or it is as planned.

    Raises:
        SchemaDriftError, PlanError: as `check_evolvable`.
        CommitConflictError: other writers were first, time and again.
    """

    @retry_conflicts
    def attempt() -> bool:
        found = load_table(lake, table)
        if found is None or not _is_to_evolve(table, found):
            return False
        _commit(table, found)
        return True

    return attempt()


def _is_to_evolve(table: TablePlan, found: Table) -> bool:
    table_id = found.properties.get(TABLE_ID_PROPERTY)
    if table_id is None or not table.holds(table_id):
        raise SchemaDriftError(
            f"{table_name(table)} cannot evolve: its table id is {table_id or 'missing'}, and the "
            f"plan (table id {table.table_id}) goes on from "
            f"{', '.join(e.table_id for e in table.evolutions) or 'no other'}.",
            code="MA-IC-107",
            next_step=f"`migration-assets reset {table.full_name}` empties it for the plan.",
        )
    if table_id == table.table_id:
        check_table(table, found)
        return False
    came = table.added_since(table_id)
    ids = [column.field_id for column in table.columns if column.name in came]
    differing = schema_differences(iceberg_schema(table), found.schema(), ids, True)  # noqa: FBT003
    if differing:
        raise SchemaDriftError(
            f"{table_name(table)} is not as its earlier plan had it, somebody changed it: "
            f"{'; '.join(differing)}.",
            code="MA-IC-104",
            next_step=f"Undo the change, or run `migration-assets reset {table.full_name}`.",
        )
    return True


def _commit(table: TablePlan, found: Table) -> None:
    """Swap schema and properties at once.

    Made of single updates, because pyiceberg's schema update gives out field ids of its own.
    """
    from pyiceberg.table.update import (
        AddSchemaUpdate,
        AssertCurrentSchemaId,
        AssertTableUUID,
        SetCurrentSchemaUpdate,
        SetPropertiesUpdate,
    )

    metadata = found.metadata
    updates: list[TableUpdate] = []
    wanted = iceberg_schema(table)
    if schema_differences(wanted, found.schema()):
        schema_id = max(schema.schema_id for schema in metadata.schemas) + 1
        schema = wanted.model_copy(update={"schema_id": schema_id})
        updates += [AddSchemaUpdate(schema_=schema), SetCurrentSchemaUpdate(schema_id=schema_id)]
    updates.append(SetPropertiesUpdate(updates=table_properties(table)))
    requirements = (
        AssertTableUUID(uuid=metadata.table_uuid),
        AssertCurrentSchemaId(current_schema_id=metadata.current_schema_id),
    )
    with translate_errors(table_name(table)):
        found.catalog.commit_table(found, requirements, tuple(updates))

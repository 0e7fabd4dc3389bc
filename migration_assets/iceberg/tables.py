"""The Iceberg tables themselves: make, recognise, refuse, take over and reset them."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from migration_assets.choices import OnExisting
from migration_assets.column_plan import SOURCE_PARTITION
from migration_assets.errors import (
    ExistingObjectError,
    PlanError,
    SchemaDriftError,
    UnsupportedError,
)
from migration_assets.evolution import is_wider
from migration_assets.iceberg.conflicts import retry_conflicts
from migration_assets.iceberg.driver_errors import translate_errors
from migration_assets.iceberg.lake import Lake
from migration_assets.iceberg.schema import iceberg_schema, partition_spec
from migration_assets.iceberg.windows import LAST_WINDOW_PROPERTY
from migration_assets.plan import TablePlan
from migration_assets.protection import refuse_removal

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog
    from pyiceberg.schema import Schema
    from pyiceberg.table import Table
    from pyiceberg.table.update import TableUpdate

TABLE_ID_PROPERTY = "migration.table-id"
"""Table property that says whose table it is, and under which plan its rows are valid."""


TRIAL_PROPERTY = "migration.trial-rows"
"""Table property of a trial's table, and of no other: how many rows it is of."""

RESET_ID_PROPERTY = "migration.reset-id"
"""Table property: unique id of the last reset."""


def table_name(table: TablePlan) -> str:
    """The table for messages: `Iceberg table ns.t`."""
    return f"Iceberg table {table.namespace}.{table.iceberg_table}"


def table_properties(table: TablePlan) -> dict[str, str]:
    """Return the table properties that we set.

    - Retries are for other writers (Spark, compaction): pyiceberg's and Spark's default of 4 loses
      commits when several write at once. Ours are retried by `conflicts.retry_conflicts`.
    - Without bounds of `source_partition` a partition could not be deleted by metadata alone;
      Spark keeps bounds of the first 100 columns only, and ours is among the last.
    """
    return {
        TABLE_ID_PROPERTY: table.table_id,
        "schema.name-mapping.default": iceberg_schema(table).name_mapping.model_dump_json(),
        "write.parquet.compression-codec": "zstd",
        f"write.metadata.metrics.column.{SOURCE_PARTITION}": "full",
        "commit.retry.num-retries": "100",
        "commit.retry.min-wait-ms": "50",
        "commit.retry.max-wait-ms": "2000",
        **({TRIAL_PROPERTY: str(table.trial_rows)} if table.trial_rows else {}),
    }


def load_table(lake: Lake, table: TablePlan) -> Table | None:
    """Load a table as it is now, None when there is none; whose it is is not looked at."""
    from pyiceberg.exceptions import NoSuchIcebergTableError, NoSuchTableError

    with translate_errors(f"{table_name(table)} in the {lake.name}"):
        try:
            return lake.catalog.load_table((table.namespace, table.iceberg_table))
        except NoSuchIcebergTableError:
            raise  # something is there, and it is no Iceberg table
        except NoSuchTableError:
            return None


def open_table(lake: Lake, table: TablePlan) -> Table:
    """Load a table to write to it; make it, with its namespace, when it is missing.

    Raises:
        PlanError: it is ours, but of another plan.
        ExistingObjectError: it is not ours, and the plan says to refuse such a table.
        SchemaDriftError: schema, partition spec or location are not the planned ones.
        CommitConflictError: somebody else changed it while it was taken over.
    """
    found = load_table(lake, table)
    if found is None:
        found = _create(lake, table)
    if TABLE_ID_PROPERTY not in found.properties:
        found = _take_over(lake, table, found)
    found = _with_planned_ids(lake, table, found)
    check_table(table, found)
    return found


def _with_planned_ids(lake: Lake, table: TablePlan, found: Table) -> Table:
    """Give a table that was only just made the plan's field ids.

    Catalogs number fields afresh, in order, when they create a table; those of a plan that goes on
    from another are in no order. A table without any snapshot yet can lose nothing by it.
    """
    is_new = last_sequence_number(found) == 0
    is_ours = found.properties.get(TABLE_ID_PROPERTY) == table.table_id
    if not (is_new and is_ours and _differences(table, found)):
        return found
    _empty(table, found, {})
    return load_table(lake, table) or found


def open_own_table(lake: Lake, table: TablePlan) -> Table | None:
    """Load a table to read it, checked; None when there is none.

    Raises:
        PlanError: it is ours, but of another plan.
        ExistingObjectError: it is not ours.
        SchemaDriftError: schema, partition spec or location are not the planned ones.
    """
    found = load_table(lake, table)
    if found is not None:
        if TABLE_ID_PROPERTY not in found.properties:
            raise _not_ours(table)
        check_table(table, found)
    return found


def check_table(table: TablePlan, found: Table) -> None:
    """Compare a table of ours with the plan.

    Raises:
        PlanError: its table id is another one.
        SchemaDriftError: its table id is right, but schema, partition spec or location are not.
    """
    name, differing = table_name(table), _differences(table, found)
    table_id = found.properties.get(TABLE_ID_PROPERTY)
    if table_id != table.table_id:
        if table_id is not None and table.holds(table_id):
            raise PlanError(
                f"{name} has the columns of an earlier plan (table id {table_id}, the plan says "
                f"{table.table_id}): {'; '.join(differing) or 'its types became wider'}.",
                code="MA-IC-106",
                next_step=f"Run `migration-assets evolve {table.full_name}`: its rows stay.",
            )
        why = "; ".join(differing) or "its source, key ranges or StarRocks table changed"
        raise PlanError(
            f"{name} holds rows of another plan (table id {table_id}, the plan says "
            f"{table.table_id}): {why}.",
            code="MA-IC-103",
            next_step=f"Run `migration-assets reset {table.full_name}` to empty it for the new "
            "plan, or go back to the old plan.",
        )
    if differing:
        raise SchemaDriftError(
            f"{name} is not as planned, somebody changed it: {'; '.join(differing)}.",
            code="MA-IC-104",
            next_step=f"Undo the change, or run `migration-assets reset {table.full_name}`.",
        )


def reset_table(lake: Lake, table: TablePlan) -> bool:
    """Delete all rows of a table of ours and make it fit the plan, in one commit.

    Its snapshots stay readable by their ids until they expire; its files go by orphan cleanup.

    Returns:
        Whether there was a table.

    Raises:
        ExistingObjectError: it is not ours (`on_existing: replace` allows it).
        ConfigurationError: `prevent_reset` protects it.
        CommitConflictError: other writers were first, time and again.
    """
    refuse_removal([table], doing="reset")
    reset_id = str(uuid.uuid4())

    @retry_conflicts
    def attempt() -> bool:
        found = load_table(lake, table)
        if found is None:
            return False
        if found.properties.get(RESET_ID_PROPERTY) == reset_id:
            # The conflict was with this very reset, whose answer was lost. Rows that somebody has
            # committed since must stay.
            return True
        if TABLE_ID_PROPERTY not in found.properties and table.on_existing != OnExisting.REPLACE:
            raise _not_ours(table)
        _empty(table, found, {RESET_ID_PROPERTY: reset_id})
        return True

    return attempt()


def last_sequence_number(found: Table) -> int:
    """The sequence number of the table's newest snapshot ever, 0 when it never had one."""
    from pyiceberg.table.metadata import TableMetadataV1

    metadata = found.metadata
    return 0 if isinstance(metadata, TableMetadataV1) else metadata.last_sequence_number


def _create(lake: Lake, table: TablePlan) -> Table:
    from pyiceberg.exceptions import NamespaceAlreadyExistsError, TableAlreadyExistsError
    from sqlalchemy.exc import IntegrityError

    catalog = lake.catalog
    with translate_errors(f"Namespace {table.namespace} in the {lake.name}"):
        # Looked up first: a login that may make tables need not be allowed to make namespaces.
        if not _has_namespace(catalog, table.namespace):
            # Another process may have made it just now; SQL catalogs tell that by a violated key.
            with contextlib.suppress(NamespaceAlreadyExistsError, IntegrityError):
                catalog.create_namespace(table.namespace)
    with translate_errors(f"{table_name(table)} in the {lake.name}"):
        try:
            return catalog.create_table(
                (table.namespace, table.iceberg_table),
                schema=iceberg_schema(table),
                location=table.location,
                partition_spec=partition_spec(table),
                properties={"format-version": "2", **table_properties(table)},
            )
        except TableAlreadyExistsError:
            return catalog.load_table((table.namespace, table.iceberg_table))


def _has_namespace(catalog: Catalog, namespace: str) -> bool:
    from pyiceberg.exceptions import NoSuchNamespaceError

    try:
        catalog.load_namespace_properties(namespace)
    except NoSuchNamespaceError:
        return False
    return True


def _take_over(lake: Lake, table: TablePlan, found: Table) -> Table:
    """Make a table ours that was there before, if the plan allows it."""
    match table.on_existing:
        case OnExisting.REFUSE:
            raise _not_ours(table)
        case OnExisting.ADOPT:
            if differing := _differences(table, found):
                raise SchemaDriftError(
                    f"{table_name(table)} cannot be adopted, it is not as planned: "
                    f"{'; '.join(differing)}.",
                    code="MA-IC-105",
                    next_step="Use `on_existing: replace`, or another target name.",
                )
            with translate_errors(table_name(table)), found.transaction() as transaction:
                transaction.set_properties(table_properties(table))
        case OnExisting.REPLACE:
            _empty(table, found, {})
    loaded = load_table(lake, table)
    return loaded if loaded is not None else _create(lake, table)


def _not_ours(table: TablePlan) -> ExistingObjectError:
    return ExistingObjectError(
        f"{table_name(table)} was there before and is not ours: it has no property "
        f"{TABLE_ID_PROPERTY}.",
        code="MA-IC-101",
        next_step="Set `on_existing` of the table to adopt or replace in migration.yaml, or give "
        "it another target name.",
    )


def _empty(table: TablePlan, found: Table, properties: Mapping[str, str]) -> None:
    """Commit: no current snapshot, and schema, partition spec, location and properties of the plan.

    Made of single updates, because pyiceberg's schema update gives out field ids of its own.
    """
    from pyiceberg.table.refs import MAIN_BRANCH
    from pyiceberg.table.sorting import UNSORTED_SORT_ORDER
    from pyiceberg.table.update import (
        AddPartitionSpecUpdate,
        AddSchemaUpdate,
        AddSortOrderUpdate,
        AssertRefSnapshotId,
        AssertTableUUID,
        RemovePropertiesUpdate,
        RemoveSnapshotRefUpdate,
        SetCurrentSchemaUpdate,
        SetDefaultSortOrderUpdate,
        SetDefaultSpecUpdate,
        SetLocationUpdate,
        SetPropertiesUpdate,
    )

    metadata = found.metadata
    if metadata.format_version != 2:
        raise _wrong_format(table, found)
    current = metadata.current_snapshot()
    updates: list[TableUpdate] = []
    if current is not None:
        updates.append(RemoveSnapshotRefUpdate(ref_name=MAIN_BRANCH))
    if _fields(found.schema()) != _fields(iceberg_schema(table)):
        schema_id = max(schema.schema_id for schema in metadata.schemas) + 1
        schema = iceberg_schema(table).model_copy(update={"schema_id": schema_id})
        updates += [AddSchemaUpdate(schema_=schema), SetCurrentSchemaUpdate(schema_id=schema_id)]
    if metadata.default_sort_order_id != UNSORTED_SORT_ORDER.order_id:
        if metadata.sort_order_by_id(UNSORTED_SORT_ORDER.order_id) is None:
            updates.append(AddSortOrderUpdate(sort_order=UNSORTED_SORT_ORDER))
        updates.append(SetDefaultSortOrderUpdate(sort_order_id=UNSORTED_SORT_ORDER.order_id))
    if found.spec().fields != partition_spec(table).fields:
        spec_id = max(spec.spec_id for spec in metadata.partition_specs) + 1
        spec = partition_spec(table, spec_id=spec_id)
        updates += [AddPartitionSpecUpdate(spec=spec), SetDefaultSpecUpdate(spec_id=spec_id)]
    if found.location().rstrip("/") != table.location:
        updates.append(SetLocationUpdate(location=table.location))
    if LAST_WINDOW_PROPERTY in found.properties:
        updates.append(RemovePropertiesUpdate(removals=[LAST_WINDOW_PROPERTY]))
    updates.append(SetPropertiesUpdate(updates={**table_properties(table), **properties}))
    requirements = (
        AssertTableUUID(uuid=metadata.table_uuid),
        AssertRefSnapshotId(ref=MAIN_BRANCH, snapshot_id=current.snapshot_id if current else None),
    )
    with translate_errors(table_name(table)):
        found.catalog.commit_table(found, requirements, tuple(updates))


def _wrong_format(table: TablePlan, found: Table) -> UnsupportedError:
    return UnsupportedError(
        f"{table_name(table)} has format version {found.metadata.format_version}, only 2 is "
        "supported.",
        code="MA-IC-102",
        next_step="Drop the table, or give it another target name.",
    )


def _differences(table: TablePlan, found: Table) -> list[str]:
    """What differs from the plan, each as half a sentence; empty when nothing does."""
    if found.metadata.format_version != 2:
        raise _wrong_format(table, found)
    differing = schema_differences(iceberg_schema(table), found.schema())
    planned, actual = partition_spec(table).fields, found.spec().fields
    if [(f.source_id, str(f.transform)) for f in planned] != [
        (f.source_id, str(f.transform)) for f in actual
    ]:
        spec = ", ".join(f"{f.transform} of field {f.source_id}" for f in actual)
        differing.append(f"it is partitioned by {spec or 'nothing'}")
    if found.location().rstrip("/") != table.location:
        differing.append(f"its location is {found.location()}, planned is {table.location}")
    return differing


def schema_differences(
    planned: Schema,
    actual: Schema,
    may_miss: Collection[int] = (),
    allow_narrower: bool = False,  # noqa: FBT001, FBT002 - goes with the one before
) -> list[str]:
    """Compare two schemas by field id, name and type; each difference as half a sentence.

    Args:
        planned: what is wanted.
        actual: what is there.
        may_miss: field ids that need not be there.
        allow_narrower: types may be such as Iceberg reads as the planned ones.
    """
    wanted, there = _fields(planned), _fields(actual)
    differing = []
    for field_id, column in wanted.items():
        if field_id not in there:
            if field_id in may_miss:
                continue
            differing.append(f"field {field_id} ({' '.join(column)}) is missing")
        elif there[field_id] != column and not (
            allow_narrower
            and there[field_id][0] == column[0]
            and is_wider(there[field_id][1], column[1])
        ):
            differing.append(
                f"field {field_id} is {' '.join(there[field_id])}, planned is {' '.join(column)}"
            )
    extra = there.keys() - wanted.keys()
    return differing + [f"field {f} ({' '.join(there[f])}) is not planned" for f in sorted(extra)]


def _fields(schema: Schema) -> dict[int, tuple[str, str]]:
    return {field.field_id: (field.name, str(field.field_type)) for field in schema.fields}

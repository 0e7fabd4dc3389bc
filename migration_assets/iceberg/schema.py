"""Iceberg's schema and partition spec of a planned table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from migration_assets.column_plan import SOURCE_PARTITION
from migration_assets.errors import PlanError
from migration_assets.plan import TablePlan

if TYPE_CHECKING:
    from pyiceberg.partitioning import PartitionSpec
    from pyiceberg.schema import Schema

PARTITION_FIELD_ID = 1000
"""Field id of the partition spec's only field: where Iceberg starts to count them
(https://iceberg.apache.org/spec/#partition-specs)."""


def iceberg_schema(table: TablePlan) -> Schema:
    """Return the Iceberg schema: all target columns in order, with the plan's field ids.

    Every field is optional, also where the source says NOT NULL: whether NULL may occur is said by
    StarRocks' table, and a required field would make files written by others (compaction, Spark's
    reader, whose fields are all nullable) unreadable or refused.

    Raises:
        PlanError: the plan names a type that Iceberg does not have.
    """
    from pydantic import ValidationError
    from pyiceberg.schema import Schema
    from pyiceberg.types import NestedField

    fields = []
    for column in table.target_columns:
        try:
            field = NestedField.model_validate(
                {
                    "id": column.field_id,
                    "name": column.name,
                    "type": column.iceberg_type,
                    "required": False,
                }
            )
        except (ValidationError, ValueError):
            raise PlanError(
                f"{table.full_name}: column {column.name} has the Iceberg type "
                f"{column.iceberg_type!r}, which Iceberg does not have.",
                code="MA-PL-006",
                next_step="Run `migration-assets plan` to write a new plan.",
            ) from None
        fields.append(field)
    return Schema(*fields)


def partition_spec(table: TablePlan, *, spec_id: int = 0) -> PartitionSpec:
    """Return the partition spec: identity of `source_partition`, as field `PARTITION_FIELD_ID`."""
    from pyiceberg.partitioning import PartitionField, PartitionSpec
    from pyiceberg.transforms import IdentityTransform

    source = next(c for c in table.target_columns if c.name == SOURCE_PARTITION)
    field = PartitionField(
        source_id=source.field_id,
        field_id=PARTITION_FIELD_ID,
        transform=IdentityTransform(),
        name=SOURCE_PARTITION,
    )
    return PartitionSpec(field, spec_id=spec_id)

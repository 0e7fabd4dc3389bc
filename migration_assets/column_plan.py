"""What the plan says of columns: those of the source, and the audit columns."""

from __future__ import annotations

from typing import Any

from pydantic import SerializerFunctionWrapHandler, model_serializer

from migration_assets import naming
from migration_assets.choices import Fidelity
from migration_assets.conversions import Loss
from migration_assets.frozen_model import FrozenModel

SOURCE_PARTITION = "source_partition"
MIGRATED_AT = "migrated_at"
SOURCE_SCHEMA = "source_schema"
AUDIT_COLUMNS = (MIGRATED_AT, SOURCE_SCHEMA, SOURCE_PARTITION)
"""Columns appended to every target table, in this order."""


class TargetColumn(FrozenModel):
    """A column as Iceberg and StarRocks have it.

    Attributes:
        name: its name in both.
        field_id: Iceberg field id, fixed here and never reused.
        iceberg_type: as Iceberg writes types: `decimal(18, 4)`, `timestamptz`, `string`.
        starrocks_type: as StarRocks' DDL writes types: `VARCHAR(150)`; empty when StarRocks does
            not get the column.
        nullable: whether NULL may occur.
    """

    name: str
    field_id: int
    iceberg_type: str
    starrocks_type: str
    nullable: bool = True


class ColumnPlan(TargetColumn):
    """A source column and what it becomes.

    Attributes:
        source_name: its name in SQL Server.
        mssql_type: declared type: `decimal(18,4)`.
        collation: SQL Server collation of text, else None.
        select_expression: T-SQL that reads it, names quoted.
        measure: how a fingerprint sees it; a kind of `fingerprint.py`.
        fidelity: exact or lossy (a refused column is not in the plan).
        note: what is lost or changed, empty for exact ones.
        distinct: most values differ (a key), so dictionary encoding does not pay.
        added: it stands beside the first column of the same source column.
        loses: what is lost, or may stop a load, as long as the user chooses nothing else.
        cut: StarRocks gets the beginning of texts that are too long for it.
        utf16: its text may be no valid UTF-16, which is not accepted.
        affected: rows whose value that changes, counted by `plan --measure`; None if not counted.
        mask: how its values are masked: `hash`, `null`, `fixed` or `partial, first 1, last 2`; empty
            when they are not.
        masked_type: of a masked column, the T-SQL type of what is read.
        named: its name is a rule's.
    """

    source_name: str
    mssql_type: str
    collation: str | None = None
    select_expression: str
    measure: str
    fidelity: Fidelity = Fidelity.EXACT
    note: str = ""
    distinct: bool = False
    added: bool = False
    loses: tuple[Loss, ...] = ()
    cut: bool = False
    utf16: bool = False
    affected: int | None = None
    mask: str = ""
    masked_type: str = ""
    named: bool = False

    @model_serializer(mode="wrap")
    def _without_empty(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what older plans do not have, so that they keep their id."""
        content: dict[str, Any] = handler(self)
        return {k: v for k, v in content.items() if v or k not in _LATER_COLUMN_FIELDS}

    @property
    def read_type(self) -> str:
        """T-SQL type of what is read: the column's own, or that of its mask."""
        return self.masked_type or self.mssql_type

    @property
    def expression(self) -> str:
        """T-SQL over the rows that statements read: masks stand there already, worked out once."""
        return naming.bracketed(self.source_name) if self.mask else self.select_expression


_LATER_COLUMN_FIELDS = frozenset({"mask", "masked_type", "named"})

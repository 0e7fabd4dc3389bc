"""What changes on the way, for people to read before data moves; from the plan's columns, pure."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from migration_assets.plan import ColumnPlan, Fidelity, TablePlan
from migration_assets.type_mapping import remedy


@dataclass(frozen=True)
class TableLoss:
    """One kind of loss in a table.

    Attributes:
        columns: source names.
        mssql_types: their declared types.
        what: what is lost, or when a load may stop.
        remedy: what `migration.yaml` would have to say to keep it; empty when there is nothing.
        affected: values concerned, of all the columns; None unless all of them were counted.
        countable: whether SQL Server can tell which values it concerns.
    """

    columns: tuple[str, ...]
    mssql_types: tuple[str, ...]
    what: str
    remedy: str
    affected: int | None
    countable: bool

    @property
    def sentence(self) -> str:
        """All of it."""
        rows = "" if self.affected is None else f", in {self.affected:,} values"
        remedy = f" To keep it: {self.remedy}." if self.remedy else ""
        types = ", ".join(self.mssql_types)
        return f"{', '.join(self.columns)} of type {types}: {self.what}{rows}.{remedy}"


def table_losses(table: TablePlan) -> tuple[TableLoss, ...]:
    """The losses of a table; columns that lose the same stand together, in their order."""
    alike: dict[str, list[ColumnPlan]] = defaultdict(list)
    for column in table.columns:
        if is_concerned(column):
            alike[column.note].append(column)
    return tuple(_loss(columns) for columns in alike.values())


def is_concerned(column: ColumnPlan) -> bool:
    """Whether a column's values may change, stop a load, or do not reach StarRocks."""
    return column.fidelity is Fidelity.LOSSY or bool(column.loses) or not column.starrocks_type


def _loss(columns: list[ColumnPlan]) -> TableLoss:
    first = columns[0]
    counts = [column.affected for column in columns if column.affected is not None]
    remedies = dict.fromkeys(remedy(loss, c.iceberg_type) for c in columns for loss in c.loses)
    chosen = first.cut or not first.starrocks_type
    return TableLoss(
        columns=tuple(column.source_name for column in columns),
        mssql_types=tuple(dict.fromkeys(column.mssql_type for column in columns)),
        what=first.note,
        remedy="" if chosen else "; ".join(remedies),
        affected=sum(counts) if len(counts) == len(columns) else None,
        countable=any(column.loses for column in columns),
    )

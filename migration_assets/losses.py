"""What changes on the way: said before data moves, counted, and how to keep it; pure."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from migration_assets.choices import Fidelity
from migration_assets.column_plan import ColumnPlan
from migration_assets.conversions import Loss
from migration_assets.naming import bracketed
from migration_assets.plan import TablePlan
from migration_assets.type_mapping import MAX_STARROCKS_BYTES

_AFFECTED = {
    Loss.FRACTIONS: "DATEPART(nanosecond, {c}) / 100 % 10 <> 0",
    Loss.OFFSETS: "DATEPART(tzoffset, {c}) <> 0",
}


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


def remedy(loss: Loss, iceberg_type: str) -> str:
    """What keeps it, as `migration.yaml` has it."""
    if loss is not Loss.LONG_VALUES:
        return f"{loss.value}: column or text"
    return "long_values: cut or iceberg" if iceberg_type == "string" else "long_values: iceberg"


def affected_sql(column: ColumnPlan) -> str | None:
    """T-SQL that is true of the rows whose value would change; None where there are none.

    For values that may be too long it is true of those that may be: SQL Server before 2019 cannot
    tell how many bytes of UTF-8 a text has.
    """
    c = bracketed(column.source_name)
    conditions = [_AFFECTED[loss].replace("{c}", c) for loss in column.loses if loss in _AFFECTED]
    if Loss.LONG_VALUES in column.loses:
        limit = MAX_STARROCKS_BYTES
        value, factor = column.select_expression, 1
        if column.measure == "text":
            value, factor = f"CAST({value} AS nvarchar(max))", 2
            limit = MAX_STARROCKS_BYTES // 3
        conditions.append(f"DATALENGTH({value}) > {factor * limit}")
    return " OR ".join(conditions) or None

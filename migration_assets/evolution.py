"""Which changes of a table's columns keep its rows; pure.

A change keeps them when old rows are right under the new columns: a column came that takes NULL,
or a type became wider in a way that Iceberg and StarRocks carry out in place.

- Iceberg: int to long, decimal(P, S) to decimal(P', S)
  (https://iceberg.apache.org/spec/#schema-evolution).
- StarRocks: integers to wider ones, VARCHAR to a longer one, DECIMAL to more digits, NOT NULL to
  NULL; nothing of it in key columns
  (https://docs.starrocks.io/docs/sql-reference/sql-statements/table_bucket_part_index/ALTER_TABLE/;
  `ColumnType.isSchemaChangeAllowed` of StarRocks/starrocks).
"""

from __future__ import annotations

import re

from migration_assets.column_plan import ColumnPlan
from migration_assets.plan import Evolution, TablePlan

_INTEGERS = ("tinyint", "smallint", "int", "bigint")
_TYPE = re.compile(r"([a-z0-9_ ]+?)\s*(?:\((\w+)(?:,\s*(\d+))?\))?")
_LENGTHS = ("varchar", "nvarchar")
"""Not varbinary: versions of StarRocks differ in whether they show, and keep to, its length."""


def is_wider(before: str, now: str) -> bool:
    """Whether every value of one declared type is the same value in another one.

    Of integers, decimals of one scale, and texts of varying length; types as SQL Server, Iceberg or
    StarRocks write them.

    Args:
        before: `varchar(10)`.
        now: `varchar(20)`.
    """
    if before == now:
        return True
    old, new = (_TYPE.fullmatch(text.lower()) for text in (before, now))
    if old is None or new is None:
        return False
    integers = ("int", "long") if new[1] == "long" else _INTEGERS
    if old[1] in integers and new[1] in integers:
        return integers.index(old[1]) <= integers.index(new[1])
    if old[1] != new[1]:
        return False
    if old[1] in _LENGTHS:
        return _length(old[2]) <= _length(new[2])
    if old[1] in ("decimal", "numeric"):
        return (old[3] or "0") == (new[3] or "0") and int(old[2] or 18) <= int(new[2] or 18)
    return False


def _length(text: str | None) -> float:
    return float("inf") if text == "max" else int(text or 1)


def evolution(old: TablePlan, new: TablePlan) -> Evolution | None:
    """What led from one plan of a table to another, when the rows can stay; None when they cannot.

    `obstacles` says why they cannot.
    """
    if old.table_id == new.table_id or obstacles(old, new):
        return None
    before = {column.field_id: column for column in old.columns}
    kept = [column for column in new.columns if column.field_id in before]
    return Evolution(
        table_id=old.table_id,
        added=tuple(column.name for column in new.columns if column.field_id not in before),
        widened=tuple(c.name for c in kept if _stored(c) != _stored(before[c.field_id])),
    )


def obstacles(old: TablePlan, new: TablePlan) -> list[str]:
    """Why rows made under an old plan are not valid under a new one, each as half a sentence."""
    found = []
    for name, (was, now) in {
        "the source is another one": (source_of(old), source_of(new)),
        "its query changes": (old.query, new.query),
        "its condition changes": (old.where, new.where),
        "its targets change": (targets_of(old), targets_of(new)),
        "its key ranges change": (old.cut, new.cut),
        "the sort key changes": (old.sort_key, new.sort_key),
        "the StarRocks model changes": (old.model, new.model),
        "the audit columns change": (old.audit_columns, new.audit_columns),
    }.items():
        if was != now:
            found.append(name)
    by_id = {column.field_id: column for column in new.columns}
    for column in old.columns:
        now_column = by_id.pop(column.field_id, None)
        if now_column is None:
            found.append(f"column {column.name} goes or becomes another one")
        elif why := _obstacle(old, column, now_column):
            found.append(f"column {column.name} {why}")
    found += rearranged(old, new)
    highest = highest_field_id(old)
    for column in by_id.values():
        if not column.nullable:
            found.append(f"the new column {column.name} does not take NULL")
        elif column.field_id <= highest:
            found.append(f"field id {column.field_id} of {column.name} was in use before")
    return found


def rearranged(old: TablePlan, new: TablePlan) -> list[str]:
    """Why rows may lie in other key ranges now although these stay, each as half a sentence.

    Texts compare in the order of their column's collation, and the same value of another type or
    collation has another hash
    (https://learn.microsoft.com/sql/t-sql/functions/checksum-transact-sql).
    """
    now = new.by_source
    cut = {name for key_range in old.key_ranges for name in key_range.key_columns}
    hashed = {name for key_range in old.key_ranges for name in key_range.hash_columns}
    found = []
    for name, column in old.by_source.items():
        if name not in cut or name not in now:
            continue
        collations = column.collation, now[name].collation
        if all(collations) and len(set(collations)) > 1:
            found.append(f"the collation of {name}, by which it is cut, changes")
        if name in hashed and column.mssql_type != now[name].mssql_type:
            found.append(f"the type of {name}, by whose hash it is split, changes")
    return found


def _obstacle(table: TablePlan, old: ColumnPlan, new: ColumnPlan) -> str:
    if (old.name, old.source_name, old.added) != (new.name, new.source_name, new.added):
        return f"is {new.name} from then on"
    measures = {old.measure, new.measure}
    # Both kinds of integers measure the same numbers.
    is_measured_alike = len(measures) == 1 or measures == {"integer", "bigint"}
    if old.select_expression != new.select_expression or not is_measured_alike:
        return "is read in another way"
    if old.nullable and not new.nullable:
        return "takes NULL no more"
    if (old.starrocks_type == "") != (new.starrocks_type == ""):
        return "comes to StarRocks or goes from there"
    for was, now in (
        (old.mssql_type, new.mssql_type),
        (old.iceberg_type, new.iceberg_type),
        (old.starrocks_type, new.starrocks_type),
    ):
        if was != now and not is_wider(was, now):
            return f"changes from {was} to {now}"
    in_key = old.name in table.sort_key or old.source_name in table.primary_key
    if in_key and _stored(old) != _stored(new):
        return "is part of the key"
    return ""


def _stored(column: ColumnPlan) -> tuple[str, str, bool]:
    return column.iceberg_type, column.starrocks_type, column.nullable


def source_of(table: TablePlan) -> tuple[str, ...]:
    """Where the rows come from."""
    return (
        table.source_server,
        table.source_database,
        table.source_schema,
        table.source_name,
    )


def targets_of(table: TablePlan) -> tuple[str, ...]:
    """Where the rows go."""
    return (
        table.namespace,
        table.iceberg_table,
        table.location,
        table.starrocks_database,
        table.starrocks_table,
    )


def highest_field_id(table: TablePlan) -> int:
    """The highest field id that any column of the table ever had."""
    return max(table.last_field_id, *(column.field_id for column in table.target_columns))

"""A table as SHOW CREATE TABLE declares it, compared with the plan: for tables that others make.

https://docs.starrocks.io/docs/sql-reference/sql-statements/table_bucket_part_index/SHOW_CREATE_TABLE/
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from migration_assets.column_plan import SOURCE_PARTITION
from migration_assets.plan import TablePlan
from migration_assets.starrocks.ddl import key_columns

_KEY = re.compile(r"^(DUPLICATE|PRIMARY|UNIQUE|AGGREGATE) KEY ?\((.*)\)\s*$", re.MULTILINE)
_PARTITION = re.compile(r"^PARTITION BY (.*)$", re.MULTILINE)
_NAME = re.compile(r"`([^`]+)`|([^\s,()`]+)")


@dataclass(frozen=True)
class Declaration:
    """What matters of a table beside its columns.

    Attributes:
        model: `duplicate`, `primary`, `unique` or `aggregate`; empty where none is shown.
        key: the key's columns, in order.
        partitioning: what follows PARTITION BY in its line; empty where nothing does.
    """

    model: str
    key: tuple[str, ...]
    partitioning: str


def read_declaration(text: str) -> Declaration:
    """Read the answer of SHOW CREATE TABLE."""
    # What stands before ENGINE are columns, whose comments may look like anything.
    clauses = text.rpartition(") ENGINE=")[2]
    key, partition = _KEY.search(clauses), _PARTITION.search(clauses)
    return Declaration(
        model=key[1].lower() if key else "",
        key=_names(key[2]) if key else (),
        partitioning=partition[1].strip().rstrip(";") if partition else "",
    )


def compare_declaration(table: TablePlan, found: Declaration) -> list[str]:
    """What keeps a table from taking the plan's rows, one phrase each; empty when nothing does.

    Buckets, distribution and properties are its owner's.

    Raises:
        PlanError: the plan's own key is none.
        UnsupportedError: likewise.
    """
    differences = []
    planned = tuple(column.name for column in key_columns(table))
    wanted = f"{table.model.value.upper()} KEY ({', '.join(planned)})"
    there = f"{found.model.upper()} KEY ({', '.join(found.key)})"
    same_key = [n.lower() for n in found.key] == [n.lower() for n in planned]
    if found.model != table.model.value or not same_key:
        differences.append(f"it has {there if found.model else 'no key'}, planned is {wanted}")
    by_value = f"PARTITION BY ({SOURCE_PARTITION})"
    # A function or LIST before the parenthesis is another kind of partitioning: LIST knows no
    # partition that is not there yet ("No partition specified in partition lists").
    is_by_value = found.partitioning.startswith("(") and (
        [name.lower() for name in _names(found.partitioning)] == [SOURCE_PARTITION]
    )
    if not is_by_value:
        shown = (
            f"has PARTITION BY {found.partitioning}" if found.partitioning else "has no partitions"
        )
        differences.append(f"it {shown}, planned is {by_value}")
    return differences


def _names(text: str) -> tuple[str, ...]:
    return tuple(quoted or plain for quoted, plain in _NAME.findall(text))

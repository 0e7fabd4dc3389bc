"""Which rows a sample takes: conditions that choose the same ones in SQL Server and StarRocks.

They go by the numbers of the key that fingerprints use too (`fingerprint.py`), which both servers
work out alike, so that neither has to send the rows that are not looked at.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from migration_assets.column_plan import ColumnPlan
from migration_assets.fingerprint import (
    SWAP_MODULUS,
    Kind,
    key_columns,
    starrocks_kind,
    tsql_kind,
)
from migration_assets.plan import TablePlan

MOST_LEFT_OUT = 3_000
"""Of so many rows at least one is taken: keys count modulo `SWAP_MODULUS`, and a tenth of that still
spreads them evenly."""


@dataclass(frozen=True)
class Sample:
    """Conditions on rows, in T-SQL over the source's columns and in StarRocks' SQL."""

    mssql: str
    starrocks: str


def sample_of(table: TablePlan, rows: int, wanted: int) -> Sample | None:
    """Choose about so many rows of a table by their keys.

    Args:
        table: its plan.
        rows: how many it has.
        wanted: how many to take.

    Returns:
        None for all rows: there are not twice as many, or the primary key has no column of numbers,
        dates, times or GUIDs to choose by.
    """
    keys = key_columns(table)
    every = min(rows // max(wanted, 1), MOST_LEFT_OUT)
    if every < 2 or not keys or not all(column.starrocks_type for column in keys):
        return None
    mssql = [
        f"CAST(({_number(column, tsql_kind, column.select_expression)}) % {SWAP_MODULUS} AS bigint)"
        for column in keys
    ]
    starrocks = [
        f"mod(CAST({_number(column, starrocks_kind, f'`{column.name}`')} AS LARGEINT), "
        f"{SWAP_MODULUS})"
        for column in keys
    ]
    return Sample(
        mssql=f"({' + '.join(mssql)}) % {every} = 0",
        starrocks=f"mod({' + '.join(starrocks)}, {every}) = 0",
    )


def _number(column: ColumnPlan, kind: Callable[[ColumnPlan], Kind], expression: str) -> str:
    """The SQL expression of the number that a key column has in a dialect."""
    return next(iter(kind(column).numbers.values())).replace("{e}", expression)

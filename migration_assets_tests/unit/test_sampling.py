"""Conditions that choose the same rows in two servers."""

from __future__ import annotations

import pytest

from migration_assets.plan import TablePlan
from migration_assets.sampling import MOST_LEFT_OUT, Sample, sample_of
from migration_assets.schema import MssqlType
from migration_assets_tests.unit.tables import BIGINT, INT, nvarchar, table_plan

KEYED = table_plan([("id", BIGINT), ("line", INT), ("name", nvarchar(5))], key=["id", "line"])


def test_all_numbers_of_the_key_choose() -> None:
    assert sample_of(KEYED, 1000, 100) == Sample(
        mssql="(CAST(([id]) % 32749 AS bigint) + CAST(([line]) % 32749 AS bigint)) % 10 = 0",
        starrocks="mod(mod(CAST(CAST(`id` AS LARGEINT) AS LARGEINT), 32749) + "
        "mod(CAST(CAST(`line` AS LARGEINT) AS LARGEINT), 32749), 10) = 0",
    )


def test_of_a_huge_table_a_share_is_always_taken() -> None:
    found = sample_of(KEYED, 10**12, 1)
    assert found is not None
    assert found.mssql.endswith(f"% {MOST_LEFT_OUT} = 0")


@pytest.mark.parametrize(
    ("table", "rows"),
    [
        (KEYED, 150),
        (table_plan([("id", INT)]), 10**6),
        (table_plan([("name", nvarchar(5))], key=["name"]), 10**6),
        (table_plan([("id", MssqlType("float", 8, 53, 0))], key=["id"]), 10**6),
    ],
    ids=["few rows", "no key", "text", "float"],
)
def test_otherwise_all_rows_are_taken(table: TablePlan, rows: int) -> None:
    assert sample_of(table, rows, 100) is None


def test_a_key_that_starrocks_does_not_have_chooses_nothing() -> None:
    column = KEYED.columns[0].model_copy(update={"starrocks_type": ""})
    table = KEYED.model_copy(update={"columns": (column, *KEYED.columns[1:])})
    assert sample_of(table, 1000, 10) is None

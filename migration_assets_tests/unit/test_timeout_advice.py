"""What an error says where a partition was too large for a timeout."""

from __future__ import annotations

import pytest

from migration_assets.errors import OperationTimeoutError
from migration_assets.key_range import KeyRange, Window
from migration_assets.plan import TablePlan
from migration_assets.timeout_advice import Timeout, explained
from migration_assets_tests.unit.tables import INT, table_plan

SLOW = OperationTimeoutError("No answer in time.", next_step="Wait.", wait_s=3)
HOUR = Timeout("MSSQL_QUERY_TIMEOUT_S", 3600, 2_147_483)


def table(*range_rows: int, **changes: object) -> TablePlan:
    cuts = [str(number) for number in range(1, len(range_rows))]
    made = table_plan([("id", INT)], key=["id"], cuts=cuts)
    rows = sum(range_rows)
    return made.replaced(
        **{"rows": rows, "bytes": rows * 1024, "range_rows": range_rows, **changes}
    )


def test_the_partition_its_size_and_what_to_set_to_what() -> None:
    plan = table(1_000_000, 3_000_000)
    error = explained(SLOW, plan, plan.key_ranges[1], HOUR)
    assert error.found == (
        "No answer in time. Partition p001 of dbo.t has about 3,000,000 rows (2,929 MiB)."
    )
    assert error.next_step == (
        "If nothing blocks it or slows it down, set MSSQL_QUERY_TIMEOUT_S to 7200 (it is 3600), or "
        "`target_rows: 1500000` for the table in migration.yaml, then `migration-assets plan`."
    )
    assert error.wait_s == 3


def test_how_far_it_got_says_how_large_a_partition_may_be() -> None:
    plan = table(1_000_000, 3_000_000)
    error = explained(SLOW, plan, plan.key_ranges[0], HOUR, done=123_456)
    assert "1,000,000 rows (976 MiB), 123,456 of which had come." in error.found
    assert "`target_rows: 120000`" in error.next_step


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "`partition_column` or `split: hash` beside it"),
        (
            {"window": Window(column="d", by="year", first="2024-01-01")},
            "`by: month` in the table's",
        ),
        ({"window": Window(column="d", by="day", first="2024-01-01")}, "no `window` for the table"),
    ],
)
def test_how_a_table_is_cut_decides_what_makes_it_smaller(
    changes: dict[str, object], said: str
) -> None:
    plan = table(50_000, **changes)
    assert said in explained(SLOW, plan, plan.key_ranges[0], HOUR).next_step


def test_a_small_partition_is_not_to_be_cut_and_a_range_of_no_plan_has_a_number() -> None:
    plan = table(9, 9)
    error = explained(SLOW, plan, KeyRange(source_partition=5), HOUR)
    assert error.found.endswith("Partition 5 of dbo.t has about 9 rows (1 MiB).")
    assert "target_rows" not in error.next_step
    at_most = Timeout("STARROCKS_INSERT_TIMEOUT_S", 259_200, 259_200)
    # Nothing can be raised or cut: what the fault's table says stands.
    assert explained(SLOW, plan, plan.key_ranges[0], at_most).next_step == "Wait."

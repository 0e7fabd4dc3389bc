"""The page of kills counts what was survived, and shows the moments that the tests have."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from migration_assets_tests.reliability.kill_page import (
    MOST_RUNS,
    Kill,
    KillMatrixResult,
    Victim,
    page,
    points_table,
    summary,
)

PAGE = Path(__file__).parents[2] / "docs" / "kill-matrix.md"
GOOD = Kill(
    victim=Victim.WORKER, after_s=1.5, running=("mssql/dbo/t p000",), runs=1, lost=0, doubled=0,
    orphans=3, uploads=0, orphans_left=0, open_connections=0, valid=True,
)  # fmt: skip


def test_the_page_has_the_moments_of_the_tests() -> None:
    assert points_table() in PAGE.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "bad",
    [{"lost": 1}, {"doubled": 1}, {"orphans_left": 1}, {"open_connections": 1}, {"valid": False},
     {"runs": MOST_RUNS + 1}],
    ids=lambda bad: next(iter(bad)),
)  # fmt: skip
def test_a_kill_is_survived_only_if_nothing_is_wrong_afterwards(bad: dict[str, int]) -> None:
    result = KillMatrixResult(seed=1, rows=4_000, undisturbed_s=9.0, each=[GOOD])
    assert (result.kills, result.survived) == (1, 1)
    result.each.append(replace(GOOD, **bad))  # type: ignore[arg-type]
    assert (result.kills, result.survived) == (2, 1)
    assert summary(result)["survived"] == 1
    assert summary(result)["orphaned files found"] == 6
    assert "| 2 | 1.50 s | a worker | mssql/dbo/t p000 |" in page(result)

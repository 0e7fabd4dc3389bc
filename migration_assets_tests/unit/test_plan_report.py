"""The plan in a terminal: nothing cut off, nothing read as markup, totals that add up."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from migration_assets.choices import Engine
from migration_assets.key_range import KeyRange
from migration_assets.plan import MigrationPlan, SkippedTable, TablePlan
from migration_assets.plan_report import render
from migration_assets_tests.unit.test_plan import changed


def table(name: str, **values: object) -> TablePlan:
    names = {"source_name": name, "iceberg_table": name, "starrocks_table": name}
    return changed(**{**names, **values})


def show(plan: MigrationPlan, width: int = 120, **options: int) -> str:
    options = {"replication_num": 3, **options}
    stream = io.StringIO()
    Console(file=stream, width=width, color_system=None).print(render(plan, width, **options))
    return stream.getvalue()


def plan_of(*tables: TablePlan, **values: object) -> MigrationPlan:
    return MigrationPlan.model_validate(
        {"server": "SQL1", "database": "shop", "tables": tables, **values}
    )


RANGES = tuple(KeyRange(source_partition=i) for i in range(8))


def test_a_row_says_what_becomes_of_a_table() -> None:
    text = show(
        plan_of(
            table(
                "orders",
                rows=1_234_567,
                bytes=2_500_000_000,
                key_ranges=RANGES,
                warnings=("a.", "b."),
            ),
            table("log", bytes=None, engine=Engine.SPARK, starrocks_database="DW"),
        )
    )
    lines = [re.split(r" {2,}", line.strip()) for line in text.splitlines()]
    assert lines[0] == [
        "SQL Server table",
        "Rows",
        "Size",
        "Partitions",
        "Engine",
        "Target",
        "Warnings",
    ]
    assert lines[1] == ["dbo.orders", "1,234,567", "2.5 GB", "8", "arrow", "dbo.orders", "2"]
    assert lines[2] == ["dbo.log", "20", "?", "2", "spark", "dbo.log"]
    assert lines[3] == ["DW.log (StarRocks)"]


@pytest.mark.parametrize("width", [80, 120])
def test_342_tables_fit_the_width_and_nothing_is_cut(width: int) -> None:
    tables = [
        table(
            f"customer_account_history_{i:03d}", rows=10**9 + i, bytes=10**12, warnings=(f"W{i}.",)
        )
        for i in range(342)
    ]
    text = show(plan_of(*tables), width)
    assert max(len(line) for line in text.splitlines()) <= width
    assert "…" not in text
    squeezed = re.sub(r"\s", "", text)
    for i in range(342):
        assert f"{10**9 + i:,}" in text
        assert f"-W{i}." in squeezed
        assert f"dbo.customer_account_history_{i:03d}-W{i}." in squeezed


def test_a_narrow_terminal_shows_the_engine_only_where_it_differs() -> None:
    same = plan_of(table("a"), table("b"))
    mixed = plan_of(table("a"), table("b", engine=Engine.SPARK))
    assert "Engine" not in show(same, 80)
    assert "extracted by arrow" in show(same, 80)
    assert "Engine" in show(same, 120)
    assert "Engine" in show(mixed, 80)


def test_warnings_are_listed_in_full_and_equal_ones_stand_together() -> None:
    text = show(
        plan_of(
            table("a", warnings=("Lossy [red]one[/red].",)),
            table("b"),
            table("c", warnings=("Lossy [red]one[/red].",)),
            table("[d]", warnings=("Other.",)),
        )
    )
    warnings = text[text.index("\nWarnings\n") :]
    assert re.search(r"dbo\.a, dbo\.c\s+- Lossy \[red\]one\[/red\]\.", warnings)
    assert re.search(r"dbo\.\[d\]\s+- Other\.", warnings)
    assert "dbo.b" not in warnings


def test_left_out_tables_are_grouped_by_reason() -> None:
    skipped = [
        SkippedTable(source_schema="dbo", source_name=name, reason=reason)
        for name, reason in (
            ("v", "it is a view"),
            ("g", "Column g is refused."),
            ("w", "it is a view"),
        )
    ]
    text = show(plan_of(table("a"), skipped=tuple(skipped)))
    assert "Left out: 3 objects" in text
    assert re.search(r"It is a view\.\s+dbo\.v, dbo\.w\s", text)
    assert re.search(r"Column g is refused\.\s+dbo\.g\s", text)


def test_of_thousands_of_views_the_first_are_named() -> None:
    views = tuple(
        SkippedTable(source_schema="dbo", source_name=f"v{i:04d}", reason="it is a view")
        for i in range(1200)
    )
    text = " ".join(show(plan_of(skipped=views)).split())
    assert "dbo.v0099 and 1,100 more, listed in the plan" in text
    assert "dbo.v0100" not in text


def test_notes_are_shown() -> None:
    assert re.search(
        r"Notes\s+- sys\.x \[was\] denied\.", show(plan_of(notes=("sys.x [was] denied.",)))
    )


def test_totals_add_up() -> None:
    text = show(
        plan_of(
            table("a", rows=1_000_000, bytes=999_960_000, key_ranges=RANGES, buckets=4),
            table("b", rows=5, bytes=None, warnings=("w",)),
        ),
        replication_num=2,
    )
    total = text[text.index("Total\n") :]
    assert re.search(r"Tables +2 +1 with warnings", total)
    assert re.search(r"Rows +1,000,005", total)
    assert re.search(r"Size +1\.0 GB +without 1 table of unknown size", total)
    assert re.search(r"Partitions +10 ", total)
    assert re.search(r"Tablets +68 .*2 replicas", total)  # (8 x 4 + 2 x 1) x 2


def test_an_empty_plan_is_no_error() -> None:
    assert re.search(r"Tables +0", show(plan_of()))

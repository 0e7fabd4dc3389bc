"""The page and the sums of the report: they count right, stay bounded and fetch nothing."""

from __future__ import annotations

import io
import re
from datetime import timedelta
from typing import Any

import pytest

from migration_assets.evidence import model, page
from migration_assets.evidence.page import EvidencePage, headline
from migration_assets.evidence.sums import Sums
from migration_assets.evidence.throughput import BINS, PAUSE_S, Timeline
from migration_assets_tests.unit.evidence_tables import BEGAN, HEAD, many, table, tail
from migration_assets_tests.unit.test_inventory_page import HOSTILE, read


def sums_of(*tables: model.Table) -> Sums:
    sums = Sums()
    for one in tables:
        sums.add(one)
    return sums


def page_of(*tables: model.Table, failures: int = 1) -> str:
    made, out = EvidencePage(), io.StringIO()
    for one in tables:
        made.add(one)
    sums = sums_of(*tables)
    end = tail(totals=sums.totals(), success=sums.is_complete, failures=failures)
    made.write(out, HEAD, end)
    return out.getvalue()


def test_sums_are_those_of_all_tables() -> None:
    one, other = (
        table("a", [10, 20], retried=True),
        table("b", [5], began=BEGAN - timedelta(hours=1)),
    )
    totals = sums_of(one, other).totals()
    assert (totals.tables, totals.tables_done, totals.partitions_done) == (2, 2, 3)
    assert totals.rows == model.Rows(mssql=35, iceberg=35, starrocks=35)
    assert totals.attempts == 3 * 3 + 1
    assert totals.checks == totals.checks_passed == 3 * 5
    assert totals.started_at == BEGAN - timedelta(hours=1)
    assert totals.ended_at == one.ended_at


def test_rows_that_one_table_lacks_are_not_known_of_all() -> None:
    sums = sums_of(table("a", [10]), table("b", [5, 6], state="failed"))
    assert sums.totals().rows == model.Rows(mssql=21, iceberg=21, starrocks=None)
    assert not sums.is_complete
    assert sums.totals().partitions_done == 2


def test_nothing_is_not_complete() -> None:
    assert not Sums().is_complete


@pytest.mark.parametrize(
    ("changes", "success", "expected"),
    [
        ({}, True, (True, "All partitions of 1 table are migrated")),
        ({"valid": None}, True, (None, "1 table not compared as a whole")),
        ({"valid": False}, False, (False, "Not finished: not equal")),
        ({"status": "failed"}, False, (False, "Not finished: 1 table not complete")),
    ],
)
def test_the_headline_promises_nothing(
    changes: dict[str, Any], *, success: bool, expected: tuple[bool | None, str]
) -> None:
    sums = sums_of(table("a", [10]).model_copy(update=changes))
    is_good, said = headline(tail(totals=sums.totals(), success=success))
    assert is_good is expected[0]
    assert expected[1] in said


def test_the_page_says_what_an_auditor_asks() -> None:
    loss = model.Loss(columns=("at",), types=("datetime2(7)",), what="digits are cut off", values=7,
                      to_keep_it="fractions: column")  # fmt: skip
    text = read(
        page_of(
            table("a", [10, 20_000], retried=True, losses=(loss,)), table("b", [5], state="failed")
        )
    ).text
    for expected in (
        "Not finished: 1 table not complete", "20,010", "Grant INSERT", "Digits are cut off",
        "--partitions p000", "dbo.Import", "sales.v_two", "59d2f1c0a7b34e66", "dagster 1.13.27",
        "starrocks:9030", "Losses accepted", "0 of 1 done", "8043162279816537102",
    ):  # fmt: skip
        assert expected in text, expected


def test_the_page_fetches_nothing_and_runs_nothing() -> None:
    hostile = table("a", [10]).model_copy(update={"table": HOSTILE, "note": HOSTILE, "valid": None})
    document = page_of(hostile)
    seen = read(document)
    assert "script" not in seen.tags
    assert "img" not in seen.tags
    assert "link" not in seen.tags
    assert not {"src", "href", "srcset"} & {
        n for n, v in seen.attributes if not str(v).startswith("#")
    }
    assert "<img" not in document
    assert "onerror" in seen.text
    style = document[document.index("<style>") : document.index("</style>")]
    assert not re.search(r"url\(|@import|//", style)
    assert "default-src 'none'" in document


def test_342_tables_make_a_page_that_opens() -> None:
    tables = many(342)
    document = page_of(*tables)
    assert sum(one.partitions for one in tables) > page.MOST_OF_A_TABLE
    assert document.count('<details class="list"') >= 342
    assert len(document) < 4_000_000


def test_a_table_of_many_partitions_lists_those_that_gave_trouble() -> None:
    big = table("big", [10] * (page.MOST_OF_A_TABLE + 1), retried=True, state="failed")
    text = read(page_of(big)).text
    assert f"And {page.MOST_OF_A_TABLE - 1:,} more, in the JSON report" in text
    assert "p000" in text  # retried
    assert f"p{page.MOST_OF_A_TABLE:03d}" in text  # failed
    assert "p001" not in text


def test_throughput_adds_up_to_the_rows_and_pauses_part_it() -> None:
    line = Timeline()
    line.add("mssql", 100.0, 100.0, 1_000)
    line.add("mssql", 60.0, 10.0, 500)
    line.add("starrocks", 110.0, 5.0, 1_500)
    line.add("mssql", 110.0 + PAUSE_S + 21.0, 20.0, 300)
    first, second = line.sessions()
    assert (first.began, first.ended, first.rows) == (0.0, 110.0, 1_500)
    width = 110.0 / BINS
    assert sum(first.rates["mssql"]) * width == pytest.approx(1_500)
    assert sum(first.rates["starrocks"]) * width == pytest.approx(1_500)
    busiest = first.rates["mssql"].index(max(first.rates["mssql"])) * width
    assert 49 <= busiest <= 60
    assert (second.rows, second.ended - second.began) == (300, pytest.approx(20.0))


def test_no_time_at_all_is_no_error() -> None:
    line = Timeline()
    line.add("mssql", 5.0, 0.0, 0)
    (session,) = line.sessions()
    assert session.rows == 0
    assert Timeline().sessions() == []

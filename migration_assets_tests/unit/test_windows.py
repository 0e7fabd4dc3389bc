"""Time windows: every moment is in one of them, before and after more follow; rules; what is stale."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from migration_assets.assets.translator import MigrationTranslator
from migration_assets.errors import (
    ConfigurationError,
    OperationTimeoutError,
)
from migration_assets.jobs import class_job_name
from migration_assets.key_range import KeyRange, Period, Window
from migration_assets.mssql.windows import measure_windows
from migration_assets.partitioning import predicate
from migration_assets.plan import MigrationPlan
from migration_assets.plan_changes import Remedy, compare_plans
from migration_assets.planner import windows_to_measure
from migration_assets.rules import Rules
from migration_assets.schema import Column, MssqlType, SourceDatabase, SourceTable
from migration_assets.table_rules import MAX_PARTITIONS, WindowRules
from migration_assets.windows import make_windows
from migration_assets_tests.unit.source_tables import ID, TEXT, source
from migration_assets_tests.unit.test_replanning import made, text_of

TRANSLATOR = MigrationTranslator()
DATE = MssqlType("date", 3, 10)
TYPES = {
    "date": DATE,
    "datetime": MssqlType("datetime", 8, 23, 3),
    "smalldatetime": MssqlType("smalldatetime", 4, 16),
    "datetime2": MssqlType("datetime2", 8, 27, 7),
    "datetimeoffset": MssqlType("datetimeoffset", 10, 34, 7),
}


def orders(kind: str = "date", first: str = "", last: str = "", **more: Any) -> SourceTable:
    span = (dt.date.fromisoformat(first), dt.date.fromisoformat(last)) if first else None
    return source("orders", ID, Column("At", TYPES[kind]), window_span=span, **more)


def rules(by: str = "month", **more: Any) -> dict[str, Any]:
    return {"tables": {"dbo.orders": {"window": {"column": "at", "by": by, **more}}}}


def ranges(kind: str, by: Period, first: dt.date, last: dt.date) -> tuple[KeyRange, ...]:
    table = replace(orders(kind), window_span=(first, last))
    return make_windows(table, WindowRules(column="At", by=by))[1]


# -- every moment is in exactly one window ---------------------------------------------------------


def instant(literal: str) -> dt.datetime:
    return dt.datetime.fromisoformat(literal.strip("'").removesuffix("+00:00"))


class Cut:
    """Ranges as SQL compares their literals with a value."""

    def __init__(self, cut: tuple[KeyRange, ...]) -> None:
        self.ranges = cut
        self.bounds = [tuple(x and instant(x) for x in (r.lower, r.upper)) for r in cut]
        self.takes_null = ["IS NULL" in str(predicate(r)) for r in cut]

    def place(self, moment: dt.datetime | None) -> int:
        """Where a value is, which is in one range only."""
        if moment is None:
            found = [i for i, takes in enumerate(self.takes_null) if takes]
        else:
            found = [
                i
                for i, (lower, upper) in enumerate(self.bounds)
                if (lower is None or moment >= lower) and (upper is None or moment < upper)
            ]
        assert len(found) == 1
        return found[0]


_DAYS = st.dates(dt.date(1990, 1, 1), dt.date(2030, 12, 31))
_MOMENTS = st.none() | st.datetimes(dt.datetime(1, 1, 1), dt.datetime.max)


@given(
    st.sampled_from(sorted(TYPES)), st.sampled_from(Period), _DAYS, st.integers(0, 14),
    st.integers(0, 14), st.lists(_MOMENTS, max_size=20),
)  # fmt: skip
@example("datetime", Period.MONTH, dt.date(2024, 2, 29), 0, 1, [dt.datetime(2024, 2, 29, 23, 59)])
@example("date", Period.DAY, dt.date(2023, 12, 31), 1, 60, [dt.datetime(2024, 2, 29), None])
@example("datetime2", Period.YEAR, dt.date(1999, 12, 31), 1, 1, [dt.datetime(1, 1, 1)])
def test_every_moment_is_in_one_window_before_and_after_more_follow(  # noqa: PLR0917 - drawn values
    kind: str, by: Period, first: dt.date, length: int, more: int, moments: list[Any]
) -> None:
    step = {Period.DAY: 1, Period.MONTH: 31, Period.YEAR: 366}[by]
    last = first + dt.timedelta(step * length)
    before = ranges(kind, by, first, last)
    after = ranges(kind, by, first, last + dt.timedelta(step * more))
    old, new = Cut(before), Cut(after)
    edges = [upper for _, upper in new.bounds if upper is not None]
    around = [edge - dt.timedelta(microseconds=1) for edge in edges]
    for moment in (None, dt.datetime.min, dt.datetime.max, *moments, *edges, *around):
        # Only from the window that was open does a row go elsewhere, and only to a later one.
        was, now = old.place(moment), new.place(moment)
        assert now == was or (was == len(before) - 1 and now > was)
    assert after[: len(before) - 1] == before[:-1]
    numbers = [key_range.source_partition for key_range in after]
    assert numbers == sorted(set(numbers))


@pytest.mark.parametrize(
    ("kind", "by", "keys", "numbers", "lower"),
    [
        ("date", "day", ["2024-02-28", "2024-02-29", "2024-03-01"], 20240229, "'2024-02-29'"),
        ("datetime", "month", ["2023-12", "2024-01", "2024-02"], 202401, "'2024-01-01T00:00:00'"),
        ("datetimeoffset", "year", ["2023", "2024", "2025"], 2024, "'2024-01-01T00:00:00+00:00'"),
    ],
)
def test_keys_are_readable_and_numbers_are_the_period(
    kind: str, by: str, keys: list[str], numbers: int, lower: str
) -> None:
    span = [(key + "-01-01")[:10] for key in keys]
    (table,) = made(orders(kind, span[0], span[2]), rules=rules(by)).tables
    assert table.partition_keys == ("earlier", *keys)
    assert [r.source_partition for r in table.key_ranges][::2] == [0, numbers]
    middle = table.key_range(keys[1])
    assert (middle.lower, middle.column) == (lower, "At")
    assert predicate(table.key_ranges[0]) == f"([At] < {table.key_ranges[0].upper} OR [At] IS NULL)"
    assert predicate(table.key_ranges[-1]) == f"[At] >= {table.key_ranges[-1].lower}"
    isolated = table.replaced(isolated=True)
    assert isolated.partition_keys[1] == f"dbo-orders-{keys[0]}"
    assert class_job_name(table.partition_keys) == f"migrate_{keys[0]}_to_{keys[-1]}".replace(
        "-", "_"
    )


# -- rules -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "wish", "said"),
    [
        ("date", {"column": "When"}, "names the column When, which it does not have"),
        ("date", {"column": "id"}, "names id, which is int: no date"),
        ("date", {"column": "at", "by": "day", "from": "2010"}, r"5,\d\d\d windows, by day of At"),
        ("datetime", {"column": "at", "from": "1700"}, "`from` 1700-01-01: At is datetime, which"),
        ("smalldatetime", {"column": "at", "until": "2080"}, "`until` 2080-01-01: At is smalldate"),
        ("date", {"column": "at", "from": "2024-02", "until": "2024-01"}, "which is before `from`"),
    ],
)
def test_rules_that_do_not_fit_are_refused(kind: str, wish: dict[str, Any], said: str) -> None:
    wishes = {"tables": {"dbo.orders": {"window": {"by": "month", **wish}}}}
    table = orders(kind, wish.get("from", "2024")[:4] + "-01-01", "2024-06-01")
    with pytest.raises(ConfigurationError, match=said) as raised:
        made(table, rules=wishes)
    assert raised.value.next_step


def test_as_many_windows_as_partitions_are_taken() -> None:
    first = dt.date(2000, 1, 1)
    last = first + dt.timedelta(MAX_PARTITIONS - 2)
    assert len(ranges("date", Period.DAY, first, last)) == MAX_PARTITIONS
    with pytest.raises(ConfigurationError, match="4,096 windows"):
        ranges("date", Period.DAY, first, last + dt.timedelta(1))


def test_days_may_be_written_short_and_later_patterns_win() -> None:
    wishes = Rules.model_validate(
        {
            "tables": {
                "*": {"window": {"column": "a", "by": "day", "from": 2023, "until": "2024-02"}},
                "dbo.plain": {"window": None},
            }
        }
    )
    window = wishes.for_table("dbo.orders").window
    assert window is not None
    assert (window.first, window.last) == (dt.date(2023, 1, 1), dt.date(2024, 2, 1))
    assert wishes.for_table("dbo.plain").window is None


# -- what is measured ------------------------------------------------------------------------------


class Server:
    """Answers the clock, then the lowest dates."""

    def __init__(self, *answers: Any) -> None:
        self.answers, self.asked = [[("2024-06-30", "2024-07-01")], *answers], []

    def query(self, sql: str, **_: str) -> Any:
        self.asked.append(sql)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def measured(server: Server, kind: str = "datetime", old: Any = None, **more: Any) -> Any:
    database = SourceDatabase("s", "shop", "16.0", "C", False, False, (orders(kind),))
    requests = windows_to_measure(database, Rules.model_validate(rules(**more)))
    found = measure_windows(server, requests, {"dbo.orders": old} if old else {})  # type: ignore[arg-type]
    first, last = found.spans["dbo.orders"]
    return first.isoformat(), last.isoformat(), found.notes["dbo.orders"]


def test_windows_go_from_the_first_row_to_the_server_s_day() -> None:
    server = Server([("2023-03-15T01:02:03", "2023-03-15T01:02:03")])
    assert measured(server) == ("2023-03-15", "2024-06-30", ())
    assert "FROM [dbo].[orders] WHERE [At] >= '2004-07-01T00:00:00')" in server.asked[1]
    assert measured(Server([(None, None)]), "datetimeoffset") == ("2024-07-01", "2024-07-01", ())


def test_a_date_of_long_ago_makes_no_windows_and_is_told() -> None:
    first, _, (told,) = measured(Server([("1753-01-01T00:00:00", "2019-02-03T00:00:00")]))
    assert first == "2019-02-03"
    assert told.startswith("Time windows begin with 2019-02-01: what is before, from 1753-01-01 on")
    first, _, (told,) = measured(Server(OperationTimeoutError("It took too long.")))
    assert (first, "It took too long" in told) == ("2004-07-01", True)


def test_what_is_known_or_given_is_not_asked_for() -> None:
    server = Server()
    given = {"from": "2023-01", "until": "2023-06"}
    assert measured(server, **given) == ("2023-01-01", "2023-06-01", ())
    assert measured(Server(), **{"from": "2025-01"})[:2] == ("2025-01-01", "2025-01-01")
    window = Window(column="At", by=Period.MONTH, first=dt.date(2020, 5, 1))
    (old,) = made(orders("datetime", "2020-05-01", "2024-05-01"), rules=rules()).tables
    old = old.replaced(window=window, warnings=("Time windows begin with x.", "Other."))
    assert measured(Server(), old=old) == (
        "2020-05-01", "2024-06-30", ("Time windows begin with x.",),
    )  # fmt: skip
    server = Server([("2024-03-15T00:00:00", "2024-03-15T00:00:00")])
    assert measured(server, old=old, by="day")[0] == "2024-03-15", "another unit begins anew"


# -- planning again --------------------------------------------------------------------------------


def extended(last: str = "2024-05-31", **more: Any) -> tuple[MigrationPlan, MigrationPlan]:
    old = made(orders("date", "2024-01-01", "2024-03-01"), rules=rules(), **more)
    rows = orders("date", "2024-01-01", last, rows=100_000)
    return old, made(rows, rules=rules(), old=old)


def test_windows_that_follow_keep_the_table_id_and_name_the_one_that_is_stale() -> None:
    old, new = extended()
    before, after = old.tables[0], new.tables[0]
    assert after.table_id == before.table_id
    assert after.partition_keys == (*before.partition_keys, "2024-04", "2024-05")
    changed = [k for k in before.partition_keys if before.range_id(k) != after.range_id(k)]
    assert changed == ["2024-03"]
    changes = compare_plans(old, new)
    assert changes.tables[0].remedy is Remedy.WINDOWS
    assert changes.is_to_be_accepted, "what lies in the window that was open is to be made again"
    text = text_of(changes)
    assert "~ window 2024-03: [At] >= '2024-03-01'" in text
    assert "+ windows: 2024-04 to 2024-05" in text
    assert "migration-assets run --failed --tables dbo.orders" in text
    assert MigrationPlan.from_json(new.to_json(), origin="x") == new
    assert not compare_plans(new, made(orders("date", "2024-01-01", "2024-05-01"), rules=rules(),
                                       old=new))  # fmt: skip


def test_windows_never_become_fewer() -> None:
    old, same = extended("2024-02-01")
    assert not compare_plans(old, same)


@pytest.mark.parametrize(
    ("first", "by"), [("2023-12-01", "month"), ("2024-02-01", "month"), ("2024-01-01", "year")]
)
def test_other_windows_are_another_table(first: str, by: str) -> None:
    old, _ = extended()
    new = made(orders("date", first, "2024-03-01"), rules=rules(by), old=old)
    (changed,) = compare_plans(old, new).tables
    assert changed.remedy is Remedy.RESET
    assert "its key ranges change" in changed.reasons


def test_columns_may_come_together_with_windows() -> None:
    old, _ = extended()
    wider = source("orders", ID, Column("At", DATE), Column("note", TEXT),
                   window_span=(dt.date(2024, 1, 1), dt.date(2024, 4, 1)))  # fmt: skip
    new = made(wider, rules=rules(), old=old)
    changes = compare_plans(old, new)
    assert changes.tables[0].remedy is Remedy.EVOLVE
    assert new.tables[0].holds(old.tables[0].table_id)
    text = text_of(changes)
    commands = ("migration-assets evolve dbo.orders", "run --failed --tables dbo.orders")
    assert 0 < text.index(commands[0]) < text.index(commands[1]), "first columns, then windows"


def test_fewer_windows_of_a_fresh_plan_are_reset() -> None:
    """The last one takes all later rows, which the windows that are gone have, too."""
    old, _ = extended()
    new = made(orders("date", "2024-01-01", "2024-02-01"), rules=rules())
    (changed,) = compare_plans(old, new).tables
    assert changed.remedy is Remedy.RESET
    assert changed.reasons == ("its last windows go",)

"""The vectorised fingerprint equals a plain one, row by row, and no change goes unseen."""

from __future__ import annotations

import datetime as dt
import uuid
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from migration_assets.arrow_fingerprint import ArrowFingerprint
from migration_assets.choices import VerificationLevel
from migration_assets.fingerprint import SWAP_MODULUS, starrocks_query, tsql_query
from migration_assets.plan import TablePlan
from migration_assets.receipts import Fingerprint
from migration_assets.schema import MssqlType
from migration_assets.type_mapping import arrow_schema
from migration_assets_tests.unit.tables import BIGINT, INT, decimal, nvarchar, table_plan

TABLE = table_plan(
    [
        ("id", BIGINT),
        ("part", INT),
        ("flag", MssqlType("bit", 1)),
        ("small", decimal(9, 2)),
        ("medium", decimal(26, 10)),
        ("deep", decimal(20, 18)),
        ("wide", decimal(38, 10)),
        ("day", MssqlType("date", 3)),
        ("at", MssqlType("datetime2", 8, 26, 6)),
        ("clock", MssqlType("time", 5, 16, 7)),
        ("clock0", MssqlType("time", 3, 8, 0)),
        ("guid", MssqlType("uniqueidentifier", 16)),
        ("name", nvarchar(50)),
        ("blob", MssqlType("varbinary", 50)),
        ("ratio", MssqlType("float", 8, 53)),
    ],
    key=("id", "part"),
)


def _decimals(precision: int, scale: int) -> st.SearchStrategy[Decimal]:
    limit = 10**precision - 1
    return st.integers(-limit, limit).map(
        lambda n: Decimal((int(n < 0), tuple(map(int, str(abs(n)))), -scale))
    )


def _time_text(value: dt.time, digit: int) -> str:
    return f"{value:%H:%M:%S.%f}{digit}"


def _optional(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | strategy


ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "id": st.integers(-(2**63), 2**63 - 1),
            "part": st.integers(-(2**31), 2**31 - 1),
            "flag": _optional(st.booleans()),
            "small": _optional(_decimals(9, 2)),
            "medium": _optional(_decimals(26, 10)),
            "deep": _optional(_decimals(20, 18)),
            "wide": _optional(_decimals(38, 10)),
            "day": _optional(st.dates()),
            "at": _optional(st.datetimes()),
            "clock": _optional(st.builds(_time_text, st.times(), st.integers(0, 9))),
            "clock0": _optional(st.times().map(lambda t: f"{t:%H:%M:%S}")),
            "guid": _optional(st.uuids().map(lambda u: str(u).upper())),
            "name": _optional(st.text(st.characters(exclude_categories=["Cs"]), max_size=20)),
            "blob": _optional(st.binary(max_size=20)),
            "ratio": _optional(st.floats(allow_nan=False)),
        }
    ),
    max_size=12,
)


def batch_of(table: TablePlan, rows: list[dict[str, Any]]) -> pa.RecordBatch:
    schema = arrow_schema(table)
    fields = [schema.field(column.name) for column in table.columns]
    arrays = [pa.array([row[f.name] for row in rows], type=f.type) for f in fields]
    return pa.record_batch(arrays, schema=pa.schema(fields))


def fingerprint(table: TablePlan, *batches: pa.RecordBatch) -> Fingerprint:
    measured = ArrowFingerprint(table, VerificationLevel.FULL)
    for batch in batches:
        measured.update(batch)
    return measured.result()


def _remainder(number: int) -> int:
    return -(-number % SWAP_MODULUS) if number < 0 else number % SWAP_MODULUS


def _unscaled(value: Decimal, scale: int) -> int:
    sign, digits, exponent = value.as_tuple()
    assert exponent == -scale
    return int("".join(map(str, digits))) * (-1 if sign else 1)


def _plain(name: str, value: Any) -> tuple[dict[str, int], dict[str, int]]:
    """Sums and numbers of one value, written down as the documentation says them."""
    if name in {"id", "part", "flag"}:
        return {"sum": int(value)}, {"swap": int(value)}
    if name in {"small", "medium", "deep", "wide"}:
        scale = {"small": 2, "medium": 10, "deep": 18, "wide": 10}[name]
        number = _unscaled(value, scale)
        low = abs(number) % 10**19 * (1 if number >= 0 else -1)
        return {"sum": number}, {"swap": low if name in {"deep", "wide"} else number}
    if name == "day":
        days = value.toordinal() - 1
        return {"sum": days}, {"swap": days}
    if name == "at":
        seconds = (value.toordinal() - 1) * 86400
        seconds += value.hour * 3600 + value.minute * 60 + value.second
        total = seconds * 10**6 + value.microsecond
        return {"sum": total}, {"swap": seconds + value.microsecond}
    if name in {"clock", "clock0"}:
        hours, minutes, rest = value.split(":")
        seconds = int(hours) * 3600 + int(minutes) * 60 + int(rest[:2])
        fraction = int(rest[3:] or 0)
        return {"sum": seconds * 10**7 + fraction}, {"swap": seconds + fraction}
    if name == "guid":
        number = uuid.UUID(value).int
        return {"sum": number}, {"swap": (number >> 96) + (number & 0xFFFFFFFF)}
    if name == "name":
        units, size = len(value.encode("utf-16-le")) // 2, len(value.encode())
        return {"utf16": units, "bytes": size}, {"utf16_swap": units, "bytes_swap": size}
    if name == "blob":
        return {"bytes": len(value)}, {"bytes_swap": len(value)}
    return {}, {}


def plain_fingerprint(rows: list[dict[str, Any]]) -> Fingerprint:
    values: dict[str, int] = dict.fromkeys(fingerprint(TABLE, batch_of(TABLE, [])).values, 0)
    for row in rows:
        key = _remainder(row["id"]) + _remainder(row["part"])
        for column in TABLE.columns:
            value = row[column.name]
            if value is None:
                continue
            sums, numbers = _plain(column.name, value)
            values[f"{column.name}.count"] += 1
            for name, number in sums.items():
                values[f"{column.name}.{name}"] += number
            for name, number in numbers.items():
                values[f"{column.name}.{name}"] += key * _remainder(number)
    return Fingerprint(rows=len(rows), values=values)


@settings(max_examples=150, deadline=None)
@given(ROWS)
def test_equals_a_plain_fingerprint(rows: list[dict[str, Any]]) -> None:
    assert fingerprint(TABLE, batch_of(TABLE, rows)) == plain_fingerprint(rows)


@settings(max_examples=50, deadline=None)
@given(ROWS, st.randoms())
def test_order_batches_and_slices_do_not_matter(rows: list[dict[str, Any]], random: Any) -> None:
    whole = batch_of(TABLE, rows)
    cut = random.randint(0, len(rows))
    shuffled = list(rows)
    random.shuffle(shuffled)
    assert fingerprint(TABLE, whole.slice(cut), whole.slice(0, cut)) == fingerprint(TABLE, whole)
    assert fingerprint(TABLE, batch_of(TABLE, shuffled)) == fingerprint(TABLE, whole)


ROW: dict[str, Any] = {
    "id": 1,
    "part": 2,
    "flag": True,
    "small": Decimal("1.00"),
    "medium": Decimal("1.0000000000"),
    "deep": Decimal("1.000000000000000000"),
    "wide": Decimal("1.0000000000"),
    "day": dt.date(2024, 1, 1),
    "at": dt.datetime(2024, 1, 1),
    "clock": "10:00:00.0000000",
    "clock0": "10:00:00",
    "guid": "6F9619FF-8B86-D011-B42D-00C04FC964FF",
    "name": "Zoë",
    "blob": b"\x00",
    "ratio": 1.0,
}
CHANGES: list[tuple[str, Any]] = [
    ("id", 3),
    ("flag", False),
    ("small", Decimal("1.01")),
    ("medium", Decimal("1.0000000001")),
    ("deep", Decimal("1.000000000000000001")),
    ("wide", Decimal("1.0000000001")),
    ("day", dt.date(2024, 1, 2)),
    ("at", dt.datetime(2024, 1, 1, 0, 0, 0, 1)),
    ("clock", "10:00:00.0000001"),
    ("clock0", "10:00:01"),
    ("guid", "6F9619FF-8B86-D011-B42D-00C04FC964FE"),
    ("name", "Zoë "),
    ("blob", b""),
    *[(name, None) for name in ROW if name not in {"id", "part"}],
]


@pytest.mark.parametrize(("column", "value"), CHANGES)
def test_one_changed_value_names_its_column(column: str, value: Any) -> None:
    before = fingerprint(TABLE, batch_of(TABLE, [ROW]))
    after = fingerprint(TABLE, batch_of(TABLE, [{**ROW, column: value}]))
    assert column in {difference.what.split(".")[0] for difference in before.differences(after)}


@pytest.mark.parametrize(
    "column", ["small", "medium", "deep", "wide", "day", "at", "clock", "guid"]
)
def test_swapped_values_are_seen(column: str) -> None:
    other = {**ROW, "id": 5, **dict(CHANGES[1:13])}
    assert other[column] != ROW[column]
    before = fingerprint(TABLE, batch_of(TABLE, [ROW, other]))
    swapped = [{**ROW, column: other[column]}, {**other, column: ROW[column]}]
    after = fingerprint(TABLE, batch_of(TABLE, swapped))
    assert [difference.what for difference in before.differences(after)] == [f"{column}.swap"]


def test_servers_measure_what_arrow_measures() -> None:
    names = set(fingerprint(TABLE, batch_of(TABLE, [])).values)
    for query in (tsql_query, starrocks_query):
        built = query(TABLE, VerificationLevel.FULL)
        measured = built.decode([7] + [None] * (len(built.expressions) - 1))
        assert measured.rows == 7
        assert set(measured.values) <= names
        assert all("{" not in expression for expression in built.expressions)
    assert tsql_query(TABLE, VerificationLevel.COUNT).expressions == ("COUNT_BIG(*)",)


def test_a_table_without_a_numeric_key_has_no_swap_measure() -> None:
    table = table_plan([("name", nvarchar(10)), ("n", INT)], key=("name",))
    batch = batch_of(table, [{"name": "a", "n": 1}])
    assert set(fingerprint(table, batch).values) == {
        "name.count",
        "name.utf16",
        "name.bytes",
        "n.count",
        "n.sum",
    }

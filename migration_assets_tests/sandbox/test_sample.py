"""The sample database: what it must contain, and that its rows fit what `schema.sql` declares."""

import re
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from migration_assets.sandbox.launcher import Sandbox
from migration_assets.sandbox.sample import (
    DeclaredColumn,
    SampleTable,
    declared_tables,
    expected,
    schema_sql,
    tables,
)
from migration_assets.sandbox.sample.draw import Draw, padded

SCALE = 0.01
SAMPLE = {(table.schema, table.name): table.data for table in tables(SCALE)}
EXPECTED = {(table.schema, table.name): table.data for table in expected(SCALE)}
NAMES = sorted(SAMPLE)

ARROW = {
    "bit": pa.bool_(),
    "tinyint": pa.uint8(),
    "smallint": pa.int16(),
    "int": pa.int32(),
    "bigint": pa.int64(),
    "money": pa.decimal128(19, 4),
    "smallmoney": pa.decimal128(10, 4),
    "real": pa.float32(),
    "float": pa.float64(),
    "date": pa.date32(),
    "time": pa.time64("us"),
    "datetime": pa.timestamp("us"),
    "smalldatetime": pa.timestamp("us"),
    "datetime2": pa.timestamp("us"),
    "datetimeoffset": pa.struct(
        [("utc", pa.timestamp("us", "UTC")), ("offset_minutes", pa.int16())]
    ),
    "rowversion": pa.binary(8),
    "varbinary": pa.binary(),
    "image": pa.binary(),
    "uniqueidentifier": pa.string(),
    **dict.fromkeys(["char", "varchar", "text", "nchar", "nvarchar", "ntext", "xml"], pa.string()),
}


def arrow_type(column: DeclaredColumn) -> pa.DataType:
    if column.type in {"decimal", "numeric"}:
        return pa.decimal128(*column.arguments)
    if column.type == "binary":
        return pa.binary(column.arguments[0])
    return ARROW[column.type]


def by_type(*types: str) -> list[tuple[DeclaredColumn, pa.ChunkedArray]]:
    return [
        (column, SAMPLE[name][column.name])
        for name, columns in declared_tables().items()
        for column in columns
        if column.type in types and not column.computed
    ]


def test_it_is_a_shop_of_about_20_tables_in_three_schemas() -> None:
    assert {schema for schema, _ in NAMES} == {"dbo", "sales", "hr"}
    assert 18 <= len(NAMES) <= 24
    assert list(SAMPLE) == list(declared_tables())


def test_every_common_type_is_there() -> None:
    found = Counter(column.type for columns in declared_tables().values() for column in columns)
    assert set(found) == {*ARROW, "decimal", "numeric", "binary"}
    flat = [column for columns in declared_tables().values() for column in columns]
    scales = {kind: {c.arguments for c in flat if c.type == kind} for kind in found}
    assert (38, 10) in scales["decimal"]
    assert scales["time"] == {(0,), (3,), (7,)}
    assert scales["datetime2"] == {(0,), (3,), (6,), (7,)}
    assert (-1,) in scales["varchar"] & scales["nvarchar"] & scales["varbinary"]


def test_the_sizes_asked_for_are_there() -> None:
    full = {(table.schema, table.name): table.data for table in tables(1.0)}
    assert full["sales", "Transactions"].num_rows == 1_000_000
    assert full["sales", "Measurements"].shape == (50_000, 50)
    assert full["dbo", "Archived Orders"].num_rows == 0
    assert sum(10_000 <= data.num_rows <= 200_000 for data in full.values()) >= 5
    assert sum(data.num_rows < 1_000 for data in full.values()) >= 5
    assert SAMPLE["sales", "Transactions"].num_rows == 10_000


def test_the_same_seed_gives_the_same_rows_and_another_one_does_not() -> None:
    again = {(table.schema, table.name): table.data for table in tables(SCALE)}
    other = {(table.schema, table.name): table.data for table in tables(SCALE, seed=7)}
    assert all(again[name].equals(SAMPLE[name]) for name in NAMES)
    assert not other["sales", "Transactions"].equals(SAMPLE["sales", "Transactions"])


def test_one_drawn_value_is_known() -> None:
    """Other machines and versions draw the same: splitmix64 in whole numbers of Python."""
    import hashlib

    mask = 2**64 - 1
    key = int.from_bytes(hashlib.sha256(b"1/a.b/c").digest()[:8], "little")
    bits = (3 * 0x9E3779B97F4A7C15 + key) & mask
    bits = ((bits ^ (bits >> 30)) * 0xBF58476D1CE4E5B9) & mask
    bits = ((bits ^ (bits >> 27)) * 0x94D049BB133111EB) & mask
    bits ^= bits >> 31
    draw = Draw(1, "a.b", 3)
    assert draw.bits("c")[2].as_py() == bits
    assert draw.integers("c", -5, 1000)[2].as_py() == bits % 1006 - 5
    assert draw.fractions("c")[2].as_py() == (bits >> 11) / 2**53


@pytest.mark.parametrize("name", NAMES, ids=".".join)
def test_rows_are_what_the_columns_hold_exactly(name: tuple[str, str]) -> None:
    data = SAMPLE[name]
    data.validate(full=True)
    stored = [column for column in declared_tables()[name] if not column.computed]
    assert data.column_names == [column.name for column in stored]
    for column in stored:
        values = data[column.name]
        assert values.type == arrow_type(column), column
        assert column.nullable or values.null_count == 0, column
        misfit = next((v for v in values.to_pylist() if not fits(v, column)), None)
        assert misfit is None, column


def fits(value: Any, column: DeclaredColumn) -> bool:
    """Whether SQL Server stores the value without changing it."""
    length = column.arguments[0] if column.arguments else -1
    if value is None:
        return True
    match column.type:
        case "char" | "varchar" | "text":
            size = len(value.encode("cp1252"))
            return size == length if column.type == "char" else length < 0 or size <= length
        case "nchar" | "nvarchar":
            size = len(value.encode("utf-16-le")) // 2
            return size == length if column.type == "nchar" else length < 0 or size <= length
        case "varbinary":
            return length < 0 or len(value) <= length
        case "uniqueidentifier":
            return re.fullmatch(r"[0-9A-F]{8}(-[0-9A-F]{4}){3}-[0-9A-F]{12}", value) is not None
        case "datetime":
            ticks = value.microsecond * 300 / 1_000_000
            digits = int(round(ticks) / 300 * 1000 + 0.5) * 1000
            return value.year >= 1753 and value.microsecond == digits
        case "smalldatetime":
            return 1900 <= value.year < 2080 and value.second == value.microsecond == 0
        case "time" | "datetime2":
            return value.microsecond % 10 ** (6 - min(length, 6)) == 0
        case "datetimeoffset":
            unit = 10 ** (6 - min(length, 6))
            return value["utc"].microsecond % unit == 0 and abs(value["offset_minutes"]) <= 840
        case _:
            return True


def keys_of(pattern: str) -> list[tuple[tuple[str, str], list[str], str]]:
    """Table, columns and the rest of the line, for each constraint of a kind."""
    found = []
    for statement in re.split(r"^GO$", schema_sql(), flags=re.MULTILINE):
        table = re.search(r"CREATE TABLE \[(\w+)\]\.\[([^\]]+)\]", statement)
        for columns, rest in re.findall(pattern + r" \(([^)]*)\)(.*)", statement):
            names = re.findall(r"\[([^\]]+)\]", columns)
            found.append(((table[1], table[2]), names, rest))
    return found


def comparable(value: Any) -> Any:
    """A key as the default collation compares it: without case and trailing spaces."""
    return value.rstrip(" ").casefold() if isinstance(value, str) else value


def test_primary_keys_are_unique_and_only_the_heap_has_none() -> None:
    keys = keys_of(r"PRIMARY KEY (?:NON)?CLUSTERED")
    assert set(NAMES) - {name for name, _, _ in keys} == {("dbo", "EventLog")}
    for name, columns, _ in keys:
        rows = zip(*(SAMPLE[name][column].to_pylist() for column in columns), strict=True)
        found = [tuple(map(comparable, row)) for row in rows]
        assert len(set(found)) == SAMPLE[name].num_rows, name
        assert not any(None in row for row in found), name


def test_foreign_keys_hold() -> None:
    keys = keys_of(r"FOREIGN KEY")
    assert len(keys) >= 10
    for name, (column,), rest in keys:
        schema, table, target = re.findall(r"\[([^\]]+)\]", rest)
        parents = set(SAMPLE[schema, table][target].to_pylist()) | {None}
        assert set(SAMPLE[name][column].to_pylist()) <= parents, (name, column)


def test_keys_of_all_kinds_are_there() -> None:
    kinds = {name: [SAMPLE[name][c].type for c in cols] for name, cols, _ in keys_of(r"CLUSTERED")}
    assert kinds["dbo", "Order Details"] == [pa.int64(), pa.int16()]
    assert kinds["sales", "DailyPrices"] == [pa.date32(), pa.int32()]
    assert kinds["sales", "Ledger"] == [pa.decimal128(20, 0)]
    assert kinds["dbo", "Settings"] == kinds["sales", "Coupons"] == [pa.string()]
    orders = SAMPLE["sales", "Orders"]["OrderID"]
    gaps = pc.unique(pc.pairwise_diff(orders.combine_chunks())).to_pylist()
    assert pc.min(orders).as_py() < 0 < 2**41 < pc.max(orders).as_py()
    assert len(gaps) > 20
    ledger = SAMPLE["sales", "Ledger"]["EntryNo"]
    assert pc.min(ledger).as_py() < 0 < 2**63 < pc.max(ledger).as_py()


def test_the_heap_has_equal_rows() -> None:
    rows = Counter(map(str, SAMPLE["dbo", "EventLog"].to_pylist()))
    assert max(rows.values()) == 2
    assert sum(count == 2 for count in rows.values()) == SAMPLE["dbo", "EventLog"].num_rows // 10


def test_values_that_break_careless_copies_are_there() -> None:
    def values(*types: str) -> set[Any]:
        return {value for _, array in by_type(*types) for value in array.to_pylist()}

    wide = values("nvarchar", "ntext", "nchar")
    assert any(max(text, default="") > "\uffff" for text in wide if text)
    for text in ({""}, {"NULL"}, {"tab\tnew\nline\r\nreturn\r"}, {"back\\slash \\N \\n \\0 \\"}):
        assert text <= values("varchar") & wide
    assert any(re.search("[\x01-\x08]", text) for text in values("varchar") if text)
    assert any(text.endswith("  ") for text in values("varchar") if text)
    assert not any("\0" in text for text in wide | values("varchar", "char", "text", "xml") if text)
    for kind in ("nvarchar", "varchar", "text", "ntext", "varbinary", "image"):
        assert max(len(value.encode("utf-16-le") if isinstance(value, str) else value)
                   for value in values(kind) if value) >= 100 * 1024, kind  # fmt: skip
    assert {5e-324, 1.7976931348623157e308, -1.7976931348623157e308} <= values("float")
    assert {date(1, 1, 1), date(9999, 12, 31)} <= values("date")
    assert {
        datetime(1, 1, 1),
        datetime(9999, 12, 31, 23, 59, 59, 999_999),
        datetime(1969, 12, 31, 23, 59, 59, 999_999),
    } <= values("datetime2")
    assert datetime(9999, 12, 31, 23, 59, 59, 997_000) in values("datetime")
    assert {Decimal(10**38 - 1), Decimal(1 - 10**38)} <= values("decimal")
    assert Decimal("-922337203685477.5808") in values("money")
    assert {-(2**63), 2**63 - 1} <= values("bigint")
    for column, array in by_type("varchar", "nvarchar"):
        if column.name in {"VarChar100", "NVarChar100"}:
            assert array.null_count
            assert "" in array.to_pylist()


def test_a_number_that_is_not_positive_is_no_scale() -> None:
    with pytest.raises(ValueError, match="positive"):
        next(tables(0))


def test_padding_counts_utf16_units() -> None:
    filled = padded(pa.array(["", "ab", "😀", "a😀", None]), 4).to_pylist()
    assert filled == ["    ", "ab  ", "😀  ", "a😀 ", None]


def test_expected_has_all_columns_with_the_types_they_arrive_with() -> None:
    for name, columns in declared_tables().items():
        data = EXPECTED[name]
        assert data.column_names == [column.name for column in columns]
        assert data.num_rows == SAMPLE[name].num_rows
        for column in columns:
            found = data.schema.field(column.name).type
            arrived = {
                **dict.fromkeys(["tinyint", "smallint", "int"], pa.int32()),
                "time": pa.string(),
                "datetimeoffset": pa.timestamp("us", "UTC"),
            }
            assert found == arrived.get(column.type, arrow_type(column)), (name, column)


def test_expected_times_show_the_digits_of_their_scale() -> None:
    source, arrived = SAMPLE["dbo", "AllTypes"], EXPECTED["dbo", "AllTypes"]
    for column, form in [("Time0", "%H:%M:%S"), ("Time3", "%H:%M:%S.%f"), ("Time7", "%H:%M:%S.%f")]:
        for value, text in zip(
            source[column].to_pylist(), arrived[column].to_pylist(), strict=True
        ):
            if value is None:
                assert text is None
            else:
                shown = value.strftime(form)
                assert text == {"Time0": shown, "Time3": shown[:-3], "Time7": shown + "0"}[column]
    assert source["Time7"][3].as_py() == time(23, 59, 59, 999_999)
    assert arrived["Time7"][3].as_py() == "23:59:59.9999990"


def test_expected_computed_columns_are_what_their_expressions_say() -> None:
    products = EXPECTED["dbo", "Products"].to_pylist()
    assert all(row["PriceWithTax"] == row["Price"] * Decimal("1.19") for row in products)
    lines = EXPECTED["dbo", "Order Details"].to_pylist()
    assert all(row["Line Total"] == row["Unit Price"] * row["Quantity"] for row in lines)
    people = EXPECTED["hr", "Employees"].to_pylist()
    assert all(row["FullName"] == f"{row['FirstName']} {row['LastName']}" for row in people)


def test_expected_differs_from_the_source_in_nothing_else() -> None:
    for name, columns in declared_tables().items():
        for column in columns:
            if column.computed or column.type in {"time", "datetimeoffset"}:
                continue
            source, arrived = SAMPLE[name][column.name], EXPECTED[name][column.name]
            assert source.to_pylist() == arrived.to_pylist(), (name, column)


@pytest.fixture(scope="module")
def loaded() -> Iterator[Sandbox]:
    """The SQL Server stand-in with the sample in it."""
    with Sandbox(["sqlserver"], scale=SCALE) as sandbox:
        yield sandbox


@pytest.fixture
def connection(loaded: Sandbox) -> Iterator[Any]:
    """An ODBC connection of its own to it."""
    import mssql_python

    mssql_python.pooling(enabled=False)
    settings = loaded.settings
    opened = mssql_python.connect(
        f"Server={settings['MSSQL_HOST']},{settings['MSSQL_PORT']};Encrypt=no;"
        f"Database={settings['MSSQL_DATABASE']};UID=sa;PWD={settings['MSSQL_PASSWORD']}",
        autocommit=True,
    )
    yield opened
    opened.close()


def rows(data: pa.Table, columns: tuple[DeclaredColumn, ...]) -> Counter[str]:
    """Rows as the product must see them, whatever their order: a heap has none."""
    shown = [
        [clock(value, column) for value in values.to_pylist()]
        for values, column in zip(data.columns, columns, strict=True)
    ]
    return Counter(repr(row) for row in zip(*shown, strict=True))


def clock(value: Any, column: DeclaredColumn) -> Any:
    """A time read as such, as text with the digits of its scale; UTC under one name."""
    if isinstance(value, datetime) and value.tzinfo:
        return value.astimezone(UTC)
    if isinstance(value, time):
        digits = value.strftime("%H:%M:%S.%f") + "0"
        return digits[:8] if column.arguments == (0,) else digits[: 9 + column.arguments[0]]
    return value


@pytest.mark.parametrize("name", NAMES, ids=".".join)
def test_a_driver_reads_what_is_expected(connection: Any, name: tuple[str, str]) -> None:
    """Through DuckDB, T-SQL and TDS the values come out as they went in, bit by bit."""
    cursor = connection.cursor()
    cursor.execute(f"SELECT * FROM [{name[0]}].[{name[1]}]")
    read = cursor.arrow()
    columns = declared_tables()[name]
    assert read.column_names == [column.name for column in columns]
    found, wanted = rows(read, columns), rows(EXPECTED[name], columns)
    assert sum(found.values()) == sum(wanted.values())
    assert sorted(found - wanted)[:1] == sorted(wanted - found)[:1]


def test_the_view_is_there(connection: Any) -> None:
    cursor = connection.cursor()
    cursor.execute("SELECT COUNT_BIG(*), SUM([Lines]) FROM [sales].[OrderTotals]")
    orders, lines = cursor.fetchone()
    assert (orders, lines) == (
        SAMPLE["sales", "Orders"].num_rows,
        SAMPLE["dbo", "Order Details"].num_rows,
    )


def test_sample_tables_are_given_one_by_one() -> None:
    first = next(iter(tables(SCALE)))
    assert isinstance(first, SampleTable)
    assert (first.schema, first.name) == ("dbo", "Currencies")

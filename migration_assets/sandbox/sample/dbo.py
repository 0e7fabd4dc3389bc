"""Tables of the schema `dbo`, in the order of `schema.sql`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from migration_assets.sandbox.sample import words
from migration_assets.sandbox.sample.draw import Draw, numbered, padded
from migration_assets.sandbox.sample.edge_cases import DECIMALS, OFFSET, edge_cases
from migration_assets.sandbox.sample.sales import order_ids
from migration_assets.sandbox.sample.sizes import (
    CATEGORIES,
    CURRENCIES,
    DAY_2020,
    DAY_2025,
    PRODUCTS,
    Sizes,
)

MILLISECOND = 1_000
SECOND = 1_000_000
ALL_TYPES = 1_000
DOCUMENTS = 200
ROWVERSION_ALL_TYPES = 100_000
"""First rowversion of dbo.AllTypes: the numbers of all tables with one differ."""
MOST_LINES = 4
"""Of an order."""


def currencies(_seed: int, _sizes: Sizes) -> pa.Table:
    """dbo.Currencies: a text key, of the fixed length 3."""
    names = ["Franken", "人民币", "Koruna", "Krone", "Euro", "Pound", "Forint", "円", "Złoty", "Krona",
             "Dollar"]  # fmt: skip
    symbols = ["Fr", "¥", "Kč", "kr", "€", "£", "Ft", "🪙", "zł", None, "$"]
    rates = ["0.9412", "8.2001", "24.8000", "7.4604", "1.0000", "0.8333", "405.5000", "169.1234",
             "4.2345", "11.0000", "1.1700"]  # fmt: skip
    return pa.table(
        {
            "Code": pa.array(CURRENCIES),
            "Name": pa.array(names),
            "Symbol": padded(pa.array(symbols), 2),
            "UnitsPerEuro": pa.array(list(map(Decimal, rates)), pa.decimal128(10, 4)),
            "IsActive": pa.array([name != "Forint" for name in names]),
        }
    )


def categories(_seed: int, _sizes: Sizes) -> pa.Table:
    """dbo.Categories: refers to itself."""
    keys = range(1, CATEGORIES + 1)
    parents = [None if key <= 4 else key // 4 for key in keys]
    names = [f"{words.COLOURS[key % 8]} {words.THINGS[key % 11]}s" for key in keys]
    texts = [None, "", *words.TRICKY_UNICODE, *words.TRICKY[:8]]
    return pa.table(
        {
            "CategoryID": pa.array(keys, pa.uint8()),
            "ParentID": pa.array(parents, pa.uint8()),
            "Name": pa.array(names),
            "Description": pa.array(texts),
        }
    )


def products(seed: int, _sizes: Sizes) -> pa.Table:
    """dbo.Products: xml, and a persisted computed column that is not in here."""
    draw = Draw(seed, "dbo.Products", PRODUCTS)
    keys = pa.arange(1, PRODUCTS + 1)
    colour = draw.choice("colour", words.COLOURS)
    name = pc.binary_join_element_wise(colour, draw.choice("thing", words.THINGS), " ")
    width = draw.integers("width", 1, 300).cast(pa.string())
    specification = pc.binary_join_element_wise(
        '<spec colour="', colour, '"><width unit="cm">', width, "</width><notes/></spec>", ""
    )
    return pa.table(
        {
            "ProductID": keys.cast(pa.int32()),
            "Sku": numbered("SKU-", keys, 6),
            "Name": name,
            "CategoryID": draw.nullable(
                "CategoryID", 5, draw.integers("CategoryID", 1, CATEGORIES, pa.uint8())
            ),
            "Price": draw.decimals("Price", 0, 99_999_99, 10, 2),
            "WeightKg": draw.nullable(
                "WeightKg", 10, draw.fractions("WeightKg").cast(pa.float32())
            ),
            "Margin": draw.nullable("Margin", 10, pc.subtract(draw.fractions("Margin"), 0.5)),
            "Specification": draw.nullable("Specification", 20, specification),
            "Discontinued": draw.booleans("Discontinued", 10),
        }
    )


def customers(seed: int, sizes: Sizes) -> pa.Table:
    """dbo.Customers: an identity key, names of many scripts, money that may be negative."""
    rows = sizes.customers
    draw = Draw(seed, "dbo.Customers", rows)
    keys = pa.arange(1, rows + 1)
    first, last = (
        draw.choice("first", words.FIRST_NAMES),
        draw.choice("last", words.LAST_NAMES),
    )
    email = pc.binary_join_element_wise("customer", keys.cast(pa.string()), "@example.com", "")
    return pa.table(
        {
            "CustomerID": keys.cast(pa.int32()),
            "RowGuid": draw.guids("RowGuid"),
            "Name": pc.binary_join_element_wise(first, last, " "),
            "Email": draw.nullable("Email", 15, email),
            "City": draw.choice("City", words.CITIES),
            "Country": draw.choice("Country", words.COUNTRIES),
            "CreditLimit": draw.nullable(
                "CreditLimit", 10, draw.decimals("CreditLimit", -(10**9), 10**11, 19, 4)
            ),
            "Rating": draw.nullable("Rating", 10, draw.integers("Rating", -5, 5, pa.int16())),
            "CreatedAt": draw.timestamps("CreatedAt", DAY_2020, DAY_2025, MILLISECOND),
            "ModifiedAt": draw.nullable(
                "ModifiedAt", 30, draw.datetimes("ModifiedAt", 0, DAY_2025)
            ),
            "IsActive": draw.booleans("IsActive", 90),
        }
    )


def settings(seed: int, _sizes: Sizes) -> pa.Table:
    """dbo.Settings: a text key that is all of Unicode, values that are hard to quote."""
    odd = [
        "größe",
        "Ünïcode",
        "emoji 😀",
        "日本語",
        "it's",
        "back\\slash",
        "a b",
        "trailing ",
        "100%",
    ]
    values = [None, *words.TRICKY, *words.TRICKY_LATIN, *words.TRICKY_UNICODE]
    keys = odd + [f"setting.{number:02}" for number in range(len(values) - len(odd))]
    draw = Draw(seed, "dbo.Settings", len(values))
    return pa.table(
        {
            "Key": pa.array(keys),
            "Value": pa.array(values),
            "Changed": draw.datetimes("Changed", DAY_2020, DAY_2025),
        }
    )


def reserved_words(_seed: int, _sizes: Sizes) -> pa.Table:
    """dbo.[select]: names that need quoting."""
    return pa.table(
        {
            "from": pa.array([-1, 0, 1, 2, 3], pa.int32()),
            "Where": pa.array(["here", None, "", "so\twhere", "🌍"]),
            "ORDER": pa.array([5, 4, None, 2, 1], pa.int32()),
            "group by": pa.array(["a", "b ", None, "", "c"]),
            "User": pa.array(["sa", "dbo", "guest", None, "домен\\имя"]),
            "NULL": pa.array([None, True, False, None, True]),
            "odd ] bracket": pa.array([1, 2, 3, 4, None], pa.int32()),
            'it\'s "quoted"': pa.array(["'", '"', "`", "]", None]),
            "100 %": pa.array(
                [Decimal("100.00"), Decimal("-0.01"), None, 0, 1], pa.decimal128(5, 2)
            ),
        }
    )


def documents(seed: int, _sizes: Sizes) -> pa.Table:
    """dbo.Documents: a GUID key and all large types, with values of 100 KB."""
    rows = DOCUMENTS
    draw = Draw(seed, "dbo.Documents", rows)
    kilobytes = 100 * 1024
    # A character of four UTF-8 bytes at each odd place: no block boundary can be safe.
    wide = ("x😀" * kilobytes)[: kilobytes // 2]
    latin = ("Größe € " * kilobytes)[:kilobytes]
    raw = bytes(range(256)) * (kilobytes // 256)
    wide_texts: list[str | None] = [wide, "", None, *words.TRICKY_UNICODE, *words.NOTES]
    latin_texts: list[str | None] = [latin, "", None, *words.TRICKY, *words.TRICKY_LATIN]
    blobs: list[bytes | None] = [raw, b"", None, b"\x00", b"\xff\xfe", raw[:5000]]
    xml = [
        f"<doc>{'<p>é😀</p>' * 8_000}</doc>",
        "<doc/>",
        None,
        "<doc><a>&amp;</a></doc>",
        "<t>1</t>",
    ]

    def first_then_any(name: str, values: list[Any], kind: Any) -> Any:
        """Each value once, then small ones at random: the 100 KB come once."""
        rest = draw.choice(name, values[1:], kind).slice(len(values))
        return pa.concat_arrays([pa.array(values, kind), rest])

    moment = datetime(2024, 2, 29, 23, 59, 59, 999_999, tzinfo=UTC)
    first = {"utc": moment + timedelta(hours=3), "offset_minutes": -840}
    created = draw.offsets("CreatedAt", DAY_2020, DAY_2025).slice(1)
    return pa.table(
        {
            "DocumentID": draw.guids("DocumentID"),
            "Title": draw.choice("Title", [*words.TRICKY_UNICODE, *words.TRICKY]),
            "Language": padded(draw.choice("Language", ["de", "en-GB", "日本", "😀", "", None]), 5),
            "Digest": draw.nullable("Digest", 10, draw.binaries("Digest", 16)),
            "CreatedAt": pa.concat_arrays([pa.array([first], OFFSET), created]),
            "Body": first_then_any("Body", wide_texts, pa.string()),
            "Plain": first_then_any("Plain", latin_texts, pa.string()),
            "Legacy": first_then_any("Legacy", latin_texts, pa.string()),
            "LegacyUnicode": first_then_any("LegacyUnicode", wide_texts, pa.string()),
            "Content": first_then_any("Content", blobs, pa.binary()),
            "Thumbnail": first_then_any("Thumbnail", blobs, pa.binary()),
            "Properties": first_then_any("Properties", xml, pa.string()),
        }
    )


def all_types(seed: int, _sizes: Sizes) -> pa.Table:
    """dbo.AllTypes: the edge cases, then random rows."""
    edges = edge_cases()
    rows = ALL_TYPES - edges.num_rows
    draw = Draw(seed, "dbo.AllTypes", rows)
    latin = [*words.TRICKY, *words.TRICKY_LATIN]
    wide = [*words.TRICKY, *words.TRICKY_UNICODE]
    columns: dict[str, Any] = {
        "Bit": draw.booleans("Bit"),
        "TinyInt": draw.integers("TinyInt", 0, 255, pa.uint8()),
        "SmallInt": draw.integers("SmallInt", -(2**15), 2**15 - 1, pa.int16()),
        "Int": draw.integers("Int", -(2**31), 2**31 - 1, pa.int32()),
        "BigInt": draw.bigints("BigInt"),
        "Money": draw.bigints("Money").cast(pa.decimal128(19, 0)).view(pa.decimal128(19, 4)),
        "SmallMoney": draw.decimals("SmallMoney", -(2**31), 2**31 - 1, 10, 4),
        "Real": pc.multiply(draw.fractions("Real"), 1e6).cast(pa.float32()),
        "Float": pc.multiply(pc.subtract(draw.fractions("Float"), 0.5), 1e300),
        "Date": draw.dates("Date", -719_162, 2_932_896),
        "Time0": draw.times("Time0", SECOND),
        "Time3": draw.times("Time3", MILLISECOND),
        "Time7": draw.times("Time7"),
        "DateTime": draw.datetimes("DateTime", 0, DAY_2025),
        "SmallDateTime": draw.timestamps("SmallDateTime", -25_567, 39_970, 60 * SECOND),
        "DateTime2_0": draw.timestamps("DateTime2_0", -700_000, 2_900_000, SECOND),
        "DateTime2_3": draw.timestamps("DateTime2_3", -700_000, 2_900_000, MILLISECOND),
        "DateTime2_6": draw.timestamps("DateTime2_6", -700_000, 2_900_000),
        "DateTime2_7": draw.timestamps("DateTime2_7", -700_000, 2_900_000),
        "DateTimeOffset0": draw.offsets("DateTimeOffset0", -700_000, 2_900_000, SECOND),
        "DateTimeOffset3": draw.offsets("DateTimeOffset3", -700_000, 2_900_000, MILLISECOND),
        "DateTimeOffset7": draw.offsets("DateTimeOffset7", -700_000, 2_900_000),
        "Char10": padded(draw.choice("Char10", ["", "a", "Müller", " x", "tab\there"]), 10),
        "VarChar100": draw.choice("VarChar100", latin),
        "VarCharMax": draw.choice("VarCharMax", latin),
        "Text": draw.choice("Text", latin),
        "NChar10": padded(draw.choice("NChar10", ["", "a", "日本", "😀😀", "\U0001d518x"]), 10),
        "NVarChar100": draw.choice("NVarChar100", wide),
        "NVarCharMax": draw.choice("NVarCharMax", wide),
        "NText": draw.choice("NText", wide),
        "Binary8": draw.binaries("Binary8", 8),
        "VarBinary100": draw.binaries("VarBinary100", 96).cast(pa.binary()),
        "VarBinaryMax": draw.binaries("VarBinaryMax", 256).cast(pa.binary()),
        "Image": draw.binaries("Image", 64).cast(pa.binary()),
        "UniqueIdentifier": draw.guids("UniqueIdentifier"),
        "Xml": draw.choice("Xml", ["<a/>", "<a>1</a>", '<a b="ü"/>', "<é>😀</é>"]),
    }
    for precision, scale in DECIMALS:
        name = f"{'Numeric' if precision == 18 else 'Decimal'}{precision}_{scale}"
        if precision >= 20:
            columns[name] = draw.wide_decimals(name, precision, scale)
        else:
            most = min(10**precision, 2**62) - 1
            columns[name] = draw.decimals(name, -most, most, precision, scale)
    random_rows = {
        name: draw.nullable(name, 5, columns[name]) if name != "Xml" else columns[name]
        for name in edges.column_names
    }
    both = pa.concat_tables([edges, pa.table(random_rows, schema=edges.schema)]).combine_chunks()
    versions = Draw(seed, "dbo.AllTypes", ALL_TYPES).rowversions(ROWVERSION_ALL_TYPES)
    ids = pa.arange(1, ALL_TYPES + 1).cast(pa.int32())
    xml = both.column_names.index("Xml")
    return both.add_column(xml, "RowVersion", versions).add_column(0, "Id", ids)


def event_log(seed: int, sizes: Sizes) -> pa.Table:
    """dbo.EventLog: a heap, whose last tenth repeats the first."""
    repeated = sizes.events // 10
    rows = sizes.events - repeated
    draw = Draw(seed, "dbo.EventLog", rows)
    once = pa.table(
        {
            "OccurredAt": draw.timestamps("OccurredAt", DAY_2020, DAY_2025),
            "Severity": draw.choice("Severity", ["debug", "info", "warning", "ERROR"]),
            "Source": draw.choice("Source", ["web", "büro", "склад", "倉庫"]),
            "Message": draw.choice("Message", [*words.NOTES, *words.TRICKY_UNICODE, None]),
            "DurationMs": draw.nullable(
                "DurationMs", 10, pc.multiply(draw.fractions("DurationMs"), 1e4).cast(pa.float32())
            ),
            "UserID": draw.nullable("UserID", 40, draw.integers("UserID", 1, 999, pa.int32())),
        }
    )
    return pa.concat_tables([once, once.slice(0, repeated)]).combine_chunks()


def archived_orders(_seed: int, _sizes: Sizes) -> pa.Table:
    """dbo.[Archived Orders]: empty."""
    kinds = {
        "OrderID": pa.int64(),
        "ArchivedAt": pa.timestamp("us"),
        "Payload": pa.string(),
        "Total": pa.decimal128(19, 4),
    }
    return pa.table({name: pa.array([], kind) for name, kind in kinds.items()})


def order_details(seed: int, sizes: Sizes) -> pa.Table:
    """dbo.[Order Details]: a composite key, 1 to 4 lines an order; a computed column apart."""
    orders = order_ids(seed, sizes)
    counts = Draw(seed, "dbo.Order Details/orders", len(orders)).integers("lines", 1, MOST_LINES)
    starts = pc.subtract(pc.cumulative_sum(counts), counts)
    rows = pc.sum(counts).as_py()
    number = pa.arange(0, rows)
    ends = pa.concat_arrays([starts, pa.array([rows])]).cast(pa.int32())
    order = pc.list_parent_indices(pa.ListArray.from_arrays(ends, number))
    draw = Draw(seed, "dbo.Order Details", rows)
    return pa.table(
        {
            "OrderID": orders.take(order),
            "Line No": pc.add(pc.subtract(number, starts.take(order)), 1).cast(pa.int16()),
            "Product ID": draw.integers("Product ID", 1, PRODUCTS, pa.int32()),
            "Unit Price": draw.decimals("Unit Price", 0, 99_999_9999, 10, 4),
            "Quantity": draw.integers("Quantity", -5, 500, pa.int16()),
            "Discount": draw.choice("Discount", [0.0, 0.05, 0.1, 0.15, 0.25], pa.float32()),
            "Größe in cm": draw.nullable(
                "Größe in cm", 20, draw.decimals("Größe in cm", 1, 9_999_9, 6, 1)
            ),
            "Gewicht (kg)": draw.nullable("Gewicht (kg)", 20, draw.fractions("Gewicht (kg)")),
        }
    )

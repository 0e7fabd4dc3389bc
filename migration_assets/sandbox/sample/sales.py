"""Tables of the schema `sales`, in the order of `schema.sql`."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from migration_assets.sandbox.sample import words
from migration_assets.sandbox.sample.draw import Draw, numbered
from migration_assets.sandbox.sample.sizes import (
    CURRENCIES,
    DAY_2020,
    DAY_2025,
    EMPLOYEES,
    PRICED_PRODUCTS,
    Sizes,
)

MILLISECOND = 1_000
SECOND = 1_000_000
MINUTE = 60 * SECOND
ROWVERSION_ORDERS = 1_000_000
"""First rowversion of sales.Orders: the numbers of all tables with one differ."""


def coupon_codes(sizes: Sizes) -> Any:
    """Keys of sales.Coupons: a few odd ones, then numbered ones."""
    odd = ["10% OFF", "don't-stop", "ÉTÉ", "two words", "a/b\\c", "[x]"]
    rest = numbered("SAVE-", pa.arange(0, sizes.coupons - len(odd)), 6)
    return pa.concat_arrays([pa.array(odd), rest])


@lru_cache(maxsize=2)
def order_ids(seed: int, sizes: Sizes) -> Any:
    """Keys of sales.Orders: ascending, with gaps, a tenth negative, a tenth beyond 2^41."""
    rows = sizes.orders
    gaps = Draw(seed, "sales.Orders", rows).integers("OrderID", 1, 40)
    ids = pc.subtract(pc.cumulative_sum(gaps), 2 * rows)
    late = pc.greater_equal(pa.arange(0, rows), rows - rows // 10)
    return pc.if_else(late, pc.add(ids, 2**41), ids)


def coupons(seed: int, sizes: Sizes) -> pa.Table:
    """sales.Coupons: a text key."""
    draw = Draw(seed, "sales.Coupons", sizes.coupons)
    return pa.table(
        {
            "Code": coupon_codes(sizes),
            "Percent": draw.decimals("Percent", 0, 100_00, 5, 2),
            "ValidFrom": draw.timestamps("ValidFrom", DAY_2020, DAY_2025, MINUTE),
            "ValidTo": draw.nullable(
                "ValidTo", 20, draw.timestamps("ValidTo", DAY_2025, DAY_2025 + 700, MINUTE)
            ),
            "MaxUses": draw.nullable(
                "MaxUses", 50, draw.integers("MaxUses", 1, 32_767, pa.int16())
            ),
            "Description": draw.choice("Description", [*words.NOTES, None]),
        }
    )


def orders(seed: int, sizes: Sizes) -> pa.Table:
    """sales.Orders: a bigint key with gaps and negatives, datetimeoffset, rowversion."""
    draw = Draw(seed, "sales.Orders", sizes.orders)
    codes = coupon_codes(sizes)
    return pa.table(
        {
            "OrderID": order_ids(seed, sizes),
            "CustomerID": draw.integers("CustomerID", 1, sizes.customers, pa.int32()),
            "EmployeeID": draw.nullable(
                "EmployeeID", 15, draw.integers("EmployeeID", 1, EMPLOYEES, pa.int16())
            ),
            "PlacedAt": draw.offsets("PlacedAt", DAY_2020, DAY_2025, MILLISECOND),
            "ShippedOn": draw.nullable(
                "ShippedOn", 10, draw.dates("ShippedOn", DAY_2020, DAY_2025)
            ),
            "Status": draw.choice("Status", ["new", "paid", "shipped", "returned", "cancelled"]),
            "CurrencyCode": draw.choice("CurrencyCode", CURRENCIES),
            "Freight": draw.nullable("Freight", 5, draw.decimals("Freight", 0, 500_0000, 19, 4)),
            "CouponCode": draw.nullable("CouponCode", 80, draw.choice("CouponCode", codes)),
            "Comment": draw.nullable("Comment", 60, draw.choice("Comment", words.NOTES)),
            "Version": draw.rowversions(ROWVERSION_ORDERS),
        }
    )


def transactions(seed: int, sizes: Sizes) -> pa.Table:
    """sales.Transactions: the big one, with an identity key."""
    rows = sizes.transactions
    draw = Draw(seed, "sales.Transactions", rows)
    keys = pa.arange(1, rows + 1)
    return pa.table(
        {
            "TransactionID": keys.cast(pa.int32()),
            "CustomerID": draw.integers("CustomerID", 1, sizes.customers, pa.int32()),
            "CurrencyCode": draw.choice("CurrencyCode", CURRENCIES),
            "Amount": draw.decimals("Amount", -50_000_00, 9_999_999_99, 12, 2),
            "Fee": draw.nullable("Fee", 10, draw.decimals("Fee", -5_0000, 200_0000, 10, 4)),
            "BookedAt": draw.timestamps("BookedAt", DAY_2020, DAY_2025, MILLISECOND),
            "ValueDate": draw.dates("ValueDate", DAY_2020, DAY_2025),
            "Kind": draw.integers("Kind", 0, 255, pa.uint8()),
            "IsReversed": draw.booleans("IsReversed", 2),
            "Reference": numbered("TX-", keys, 10),
            "Note": draw.nullable("Note", 70, draw.choice("Note", words.NOTES)),
        }
    )


def ledger(seed: int, sizes: Sizes) -> pa.Table:
    """sales.Ledger: a decimal key, the upper half of it beyond bigint; decimals of 38 digits."""
    rows = sizes.ledger
    draw = Draw(seed, "sales.Ledger", rows)
    low = pc.subtract(pc.multiply(pa.arange(0, rows), 7), 500).cast(pa.decimal128(19, 0))
    high = pc.add(low, pa.scalar(10**19, pa.decimal128(20, 0)))
    upper = pc.greater_equal(pa.arange(0, rows), rows // 2)
    return pa.table(
        {
            "EntryNo": pc.if_else(upper, high, low.cast(high.type)).cast(pa.decimal128(20, 0)),
            "Account": numbered("Konto ", draw.integers("Account", 1, 9_999), 4),
            "PostedOn": draw.dates("PostedOn", DAY_2020, DAY_2025),
            "Amount": draw.wide_decimals("Amount", 38, 10),
            "Balance": draw.nullable("Balance", 10, draw.wide_decimals("Balance", 38, 0)),
            "Rate": draw.nullable("Rate", 5, draw.decimals("Rate", -(10**9) + 1, 10**9 - 1, 9, 8)),
            "Memo": draw.nullable("Memo", 40, draw.choice("Memo", words.NOTES)),
        }
    )


def daily_prices(seed: int, sizes: Sizes) -> pa.Table:
    """sales.DailyPrices: a composite key that begins with a date."""
    rows = sizes.price_days * PRICED_PRODUCTS
    draw = Draw(seed, "sales.DailyPrices", rows)
    number = pa.arange(0, rows)
    day = pc.divide(number, PRICED_PRODUCTS)
    product = pc.add(pc.subtract(number, pc.multiply(day, PRICED_PRODUCTS)), 1)
    return pa.table(
        {
            "PriceDate": pc.add(day, DAY_2020).cast(pa.int32()).cast(pa.date32()),
            "ProductID": product.cast(pa.int32()),
            "Open": draw.decimals("Open", 1, 10**15, 18, 6),
            "Close": draw.nullable("Close", 3, draw.decimals("Close", 1, 10**15, 18, 6)),
            "Volume": draw.nullable("Volume", 3, draw.integers("Volume", 0, 10**12)),
            "Average": draw.nullable("Average", 3, pc.multiply(draw.fractions("Average"), 1e6)),
        }
    )


def sessions(seed: int, sizes: Sizes) -> pa.Table:
    """sales.Sessions: a GUID key."""
    draw = Draw(seed, "sales.Sessions", sizes.sessions)
    address = draw.binaries("Address", 16).cast(pa.binary())
    agents = ["Mozilla/5.0 (X11; Linux)", "curl/8.5", "Ünï-Agent", "", None]
    return pa.table(
        {
            "SessionID": draw.guids("SessionID"),
            "CustomerID": draw.nullable(
                "CustomerID", 30, draw.integers("CustomerID", 1, sizes.customers, pa.int32())
            ),
            "StartedAt": draw.timestamps("StartedAt", DAY_2020, DAY_2025),
            "EndedAt": draw.nullable("EndedAt", 25, draw.timestamps("EndedAt", DAY_2020, DAY_2025)),
            "UserAgent": draw.choice("UserAgent", agents),
            # IPv4 has 4 bytes, IPv6 has 16.
            "Address": pc.if_else(draw.booleans("v4"), pc.binary_slice(address, 0, 4), address),
            "Score": draw.nullable("Score", 10, draw.fractions("Score").cast(pa.float32())),
        }
    )


def measurements(seed: int, sizes: Sizes) -> pa.Table:
    """sales.Measurements: 50 columns. The later ones of each kind take NULL, as declared."""
    rows = sizes.measurements
    draw = Draw(seed, "sales.Measurements", rows)
    columns: dict[str, Any] = {
        "MeasurementID": pa.arange(1, rows + 1).cast(pa.int32()),
        "Sensor": draw.guids("Sensor"),
        "TakenAt": draw.timestamps("TakenAt", DAY_2020, DAY_2025, SECOND),
    }

    def add(name: str, array: Any, *, nullable: bool) -> None:
        columns[name] = draw.nullable(name, 8, array) if nullable else array

    for number in range(1, 13):
        name = f"Count{number:02}"
        add(name, draw.integers(name, -(10**9), 10**9, pa.int32()), nullable=number > 6)
    for number in range(1, 13):
        name = f"Level{number:02}"
        add(name, draw.decimals(name, -(10**9) + 1, 10**9 - 1, 9, 3), nullable=number > 6)
    for number in range(1, 13):
        name = f"Signal{number:02}"
        signal = pc.multiply(pc.subtract(draw.fractions(name), 0.5), 10.0**number)
        add(name, signal, nullable=number > 6)
    for number in range(1, 5):
        add(f"Flag{number:02}", draw.booleans(f"Flag{number:02}"), nullable=False)
    for number in range(1, 5):
        name = f"Label{number:02}"
        add(name, draw.choice(name, words.COLOURS), nullable=number > 2)
    for number in range(1, 4):
        name = f"Day{number:02}"
        add(name, draw.dates(name, DAY_2020, DAY_2025), nullable=number > 1)
    return pa.table(columns)

"""How the sample's values must arrive in Iceberg and StarRocks, said without the product's code."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from migration_assets.sandbox.sample.data import SEED, SampleTable, tables
from migration_assets.sandbox.sample.declared import DeclaredColumn, declared_tables

_TAX = 119
"""Percent of the price that dbo.Products.PriceWithTax is."""


def expected(scale: float = 1.0, seed: int = SEED) -> Iterator[SampleTable]:
    """Make the tables as they must arrive, computed columns included, names as in SQL Server.

    Of the types in `data` these differ: integers below bigint are int32; `time` is text with the
    digits of its scale (`12:34:56.1234560` for time(7)); `datetimeoffset` is its UTC timestamp.

    Args:
        scale: see `data.tables`.
        seed: see `data.tables`.

    Yields:
        The tables of `data.tables`, in the same order and with the same order of rows.
    """
    for table in tables(scale, seed):
        columns = {}
        for column in declared_tables()[table.schema, table.name]:
            if column.computed:
                columns[column.name] = _computed(table, column)
            else:
                columns[column.name] = _arrived(table.data[column.name], column)
        yield SampleTable(table.schema, table.name, pa.table(columns))


def _arrived(values: Any, column: DeclaredColumn) -> Any:
    match column.type:
        case "tinyint" | "smallint" | "int":
            return values.cast(pa.int32())
        case "time":
            return _time_text(values, column.arguments[0])
        case "datetimeoffset":
            return pc.struct_field(values, "utc")
        case _:
            return values


def _time_text(values: Any, scale: int) -> Any:
    """`HH:MM:SS` and as many digits as the scale has; Arrow's own text has six."""
    text = values.cast(pa.string())
    if scale == 7:
        return pc.binary_join_element_wise(text, "0", "")
    return pc.utf8_slice_codeunits(text, 0, 8 if scale == 0 else 9 + scale)


def _computed(table: SampleTable, column: DeclaredColumn) -> Any:
    """The values of a computed column; `schema.sql` has its expression."""
    data = table.data
    match (table.name, column.name):
        case ("Products", "PriceWithTax"):
            # In whole numbers: the price's cents times 119 are ten-thousandths.
            rate = pa.scalar(_TAX, pa.decimal128(3, 0))
            cents = data["Price"].combine_chunks().view(pa.decimal128(10, 0))
            return pc.multiply(cents, rate).view(pa.decimal128(14, 4))
        case ("Order Details", "Line Total"):
            price = data["Unit Price"].combine_chunks().view(pa.decimal128(10, 0))
            quantity = data["Quantity"].combine_chunks().cast(pa.decimal128(8, 0))
            return pc.multiply(price, quantity).view(pa.decimal128(19, 4))
        case ("Employees", "FullName"):
            return pc.binary_join_element_wise(data["FirstName"], data["LastName"], " ")
        case _:
            raise ValueError(f"no values for the computed column {table.name}.{column.name}")

"""The rows of the sample database, the same for the same scale and seed.

Each value is one that its column holds exactly: char and binary are filled up, `datetime` is on its
300ths of a second, times have no more digits than their scale. So loading converts nothing. They
are Arrow arrays of the type that comes closest:

| SQL Server | Arrow |
|---|---|
| tinyint, smallint, int, bigint | uint8, int16, int32, int64 |
| decimal, numeric, money, smallmoney | decimal128; money (19, 4), smallmoney (10, 4) |
| real, float | float32, float64 |
| date, time | date32, time64[us] |
| datetime, smalldatetime, datetime2 | timestamp[us] |
| datetimeoffset | struct<utc: timestamp[us, UTC], offset_minutes: int16> |
| texts, xml | string |
| uniqueidentifier | string, upper case |
| binary, rowversion | fixed-size binary |
| varbinary, image | binary |

Computed columns have no values here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import pyarrow as pa
import pyarrow.compute as pc

from migration_assets.sandbox.sample import dbo, hr, sales
from migration_assets.sandbox.sample.declared import declared_tables, schema_sql
from migration_assets.sandbox.sample.edge_cases import OFFSET
from migration_assets.sandbox.sample.sizes import Sizes

SEED = 20260101


@dataclass(frozen=True)
class SampleTable:
    """Rows of one table.

    Attributes:
        schema: SQL Server's schema.
        name: of the table.
        data: its columns but the computed ones, in the order of `schema.sql`.
    """

    schema: str
    name: str
    data: pa.Table


class ArrowLoader(Protocol):
    """What the sample can be loaded into."""

    def execute_script(self, text: str, /) -> object:
        """Execute T-SQL batches separated by GO."""

    def load_arrow(self, schema: str, table: str, rows: pa.Table, /) -> object:
        """Append rows to a table; datetimeoffset as struct<utc: timestamp[us], off: int16>."""


_BUILDERS: dict[tuple[str, str], Callable[[int, Sizes], pa.Table]] = {
    ("dbo", "Currencies"): dbo.currencies,
    ("dbo", "Categories"): dbo.categories,
    ("dbo", "Products"): dbo.products,
    ("dbo", "Customers"): dbo.customers,
    ("dbo", "Settings"): dbo.settings,
    ("dbo", "select"): dbo.reserved_words,
    ("dbo", "Documents"): dbo.documents,
    ("dbo", "AllTypes"): dbo.all_types,
    ("dbo", "EventLog"): dbo.event_log,
    ("dbo", "Archived Orders"): dbo.archived_orders,
    ("hr", "Departments"): hr.departments,
    ("hr", "Employees"): hr.employees,
    ("hr", "Salaries"): hr.salaries,
    ("hr", "Timesheets"): hr.timesheets,
    ("sales", "Coupons"): sales.coupons,
    ("sales", "Orders"): sales.orders,
    ("dbo", "Order Details"): dbo.order_details,
    ("sales", "Transactions"): sales.transactions,
    ("sales", "Ledger"): sales.ledger,
    ("sales", "DailyPrices"): sales.daily_prices,
    ("sales", "Sessions"): sales.sessions,
    ("sales", "Measurements"): sales.measurements,
}


def tables(scale: float = 1.0, seed: int = SEED) -> Iterator[SampleTable]:
    """Make the tables one after the other, in the order of `schema.sql`.

    Args:
        scale: 1.0 gives 1,000,000 transactions; small tables have the same rows at any scale.
        seed: of all values.

    Yields:
        Each table, referred ones before those that refer to them.

    Raises:
        ValueError: the scale is not positive.
    """
    if scale <= 0:
        raise ValueError(f"the sample's scale must be positive, it is {scale}")
    sizes = Sizes(scale)
    for schema, name in declared_tables():
        yield SampleTable(schema, name, _BUILDERS[schema, name](seed, sizes))


def load_into(stand_in: ArrowLoader, scale: float = 1.0, seed: int = SEED) -> None:
    """Create the sample's objects in an empty database and fill its tables.

    Args:
        stand_in: the SQL Server stand-in, from inside its process.
        scale: see `tables`.
        seed: see `tables`.
    """
    stand_in.execute_script(schema_sql())
    for table in tables(scale, seed):
        stand_in.load_arrow(table.schema, table.name, _stored(table.data))


def _stored(data: pa.Table) -> pa.Table:
    """The rows with datetimeoffset the way `ArrowLoader` takes it."""
    for place, field in enumerate(data.schema):
        if field.type == OFFSET:
            values = data[field.name].combine_chunks()
            utc = pc.struct_field(values, "utc").cast(pa.timestamp("us"))
            minutes = pc.struct_field(values, "offset_minutes")
            parts = pa.StructArray.from_arrays(
                [utc, minutes], ["utc", "off"], mask=pc.is_null(values)
            )
            data = data.set_column(place, field.name, parts)
    return data

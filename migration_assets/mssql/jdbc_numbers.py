"""How dates and times cross JDBC unharmed: as numbers.

Spark reads them through `java.sql.Date` and `java.sql.Timestamp`, which know the JVM's time zone and,
before 1582-10-15, the Julian calendar. With mssql-jdbc 13.6.2, Spark 4.1.4 and `preferTimestampNTZ`
every datetime2 was off by the JVM's offset from UTC; in UTC too, one of the year 1500 came 9 days
late, and the date 1582-10-10 became the 20th. None was an error (`test_mssql_jdbc.py` shows it). So
the server counts days or microseconds since 1970, and Arrow takes the numbers for what they count:
exact, whatever the zones of JVM and session.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from migration_assets.column_plan import ColumnPlan
from migration_assets.plan import TablePlan
from migration_assets.type_mapping import arrow_type

if TYPE_CHECKING:
    import pyarrow as pa

_EPOCH = "'1970-01-01'"
_NUMBERED = {
    "date": f"DATEDIFF(day, {_EPOCH}, {{c}})",
    "timestamp": f"DATEDIFF_BIG(microsecond, {_EPOCH}, {{c}})",
    # Its instant first: what DATEDIFF_BIG makes of an offset should not matter.
    "timestamptz": f"DATEDIFF_BIG(microsecond, {_EPOCH}, "
    "CAST(SWITCHOFFSET({c}, '+00:00') AS datetime2(7)))",
}
"""Iceberg type to the T-SQL that numbers its values. Both functions count crossed boundaries
(https://learn.microsoft.com/sql/t-sql/functions/datediff-big-transact-sql), so a seventh digit is
cut off as Arrow cuts it, before 1970 too."""


def numbered(column: ColumnPlan) -> str:
    """The T-SQL that selects a column for JDBC, without its alias.

    Returns:
        The planned expression; for `date` its int of days, for `timestamp` and `timestamptz` its
        bigint of microseconds since 1970-01-01 (UTC for the latter).
    """
    form = _NUMBERED.get(column.iceberg_type)
    expression = column.expression
    return expression if form is None else form.replace("{c}", expression)


def from_numbers(batch: pa.RecordBatch, table: TablePlan) -> pa.RecordBatch:
    """Turn the numbers of `numbered` back into dates and moments; copies no data.

    Args:
        batch: planned columns of the table, under their target names; no others.
        table: the table's plan.

    Returns:
        The batch with date32, timestamp[us] and timestamp[us, UTC]; other columns as they came.

    Raises:
        pyarrow.ArrowInvalid: a column did not come as int32 or int64, as numbered.
    """
    import pyarrow as pa

    types = {column.name: column.iceberg_type for column in table.columns}
    arrays = []
    for name, values in zip(batch.schema.names, batch.columns, strict=True):
        kind = types[name]
        if kind not in _NUMBERED:
            arrays.append(values)
            continue
        target = arrow_type(kind)
        if values.type != (pa.int32() if kind == "date" else pa.int64()):
            raise pa.ArrowInvalid(f"column {name} came as {values.type}, not as numbers")
        arrays.append(values.view(target))
    return pa.RecordBatch.from_arrays(arrays, names=batch.schema.names)

"""Reads loaded rows back from StarRocks as Arrow batches, each value exactly as it is stored.

StarRocks answers in the MySQL protocol's text form (`mysql_row_buffer.cpp` of StarRocks/starrocks),
and each type is asked for in a form that loses nothing:

- DOUBLE is printed by Ryu, the shortest digits that give the same number back. FLOAT was printed
  with too few digits by older versions, so it is widened to DOUBLE, which changes no value.
- Whether VARBINARY comes raw or encoded depends on the version and its options; `hex` does not
  (https://docs.starrocks.io/docs/sql-reference/sql-functions/string-functions/hex/).
- BOOLEAN is 0 or 1, DECIMAL has all digits of its scale, years have four digits, and DATETIME six
  digits of a second or none (`TimestampValue::to_string`).
- Text comes as it is stored, whatever is no UTF-8 included.
"""

from __future__ import annotations

from binascii import unhexlify
from collections.abc import Generator, Sequence
from contextlib import closing
from typing import TYPE_CHECKING

from migration_assets.column_plan import SOURCE_PARTITION, ColumnPlan
from migration_assets.errors import StatementError
from migration_assets.key_range import KeyRange
from migration_assets.plan import TablePlan
from migration_assets.starrocks.names import Named, native_table, quote, subject

if TYPE_CHECKING:
    import pyarrow as pa

    from migration_assets.starrocks.resource import StarRocks


def read_back(
    client: StarRocks, table: TablePlan, key_range: KeyRange, condition: str = ""
) -> Generator[pa.RecordBatch, None, None]:
    """Yield the loaded rows of one partition: the source's columns, in their Arrow types.

    The query may take as long as a load: StarRocks waits for whoever reads.

    Args:
        client: where; one connection is kept until the end, or until the iterator is closed.
        table: the plan of the table.
        key_range: which partition.
        condition: SQL that rows must also fulfil; empty for all rows.

    Raises:
        ObjectNotFoundError: the table does not exist.
        StatementError: a value is none of its column's planned type.
        MigrationError: see `faults.FAULTS`.
    """
    import pyarrow as pa

    from migration_assets.type_mapping import arrow_type

    columns = _loaded_columns(table)
    schema = pa.schema([(column.name, arrow_type(column.iceberg_type)) for column in columns])
    sql = select_sql(table, key_range, condition)
    timeout_s = client.settings.insert_timeout_s
    about = f"{subject(table)}, source_partition {key_range.source_partition}"
    with closing(client.stream(sql, about=about, timeout_s=timeout_s)) as batches:
        for rows in batches:
            arrays = []
            for column, texts in zip(columns, zip(*rows, strict=True), strict=True):
                try:
                    arrays.append(_decoded(texts, column, schema.field(column.name).type))
                except (pa.ArrowInvalid, ValueError) as error:
                    raise StatementError(
                        f"{about}: a value of column {column.name} is no {column.starrocks_type} "
                        f"({error}).",
                        code="MA-SR-119",
                        next_step="Compare the type of the column in StarRocks with the plan.",
                    ) from error
            yield pa.RecordBatch.from_arrays(arrays, schema=schema)


def select_sql(table: TablePlan, key_range: KeyRange, condition: str = "") -> str:
    """The query whose rows are one loaded partition, the source's columns in the plan's order."""
    columns = ", ".join(_exact(column) for column in _loaded_columns(table))
    return (
        f"SELECT {columns} FROM {native_table(table)} "
        f"WHERE {quote(SOURCE_PARTITION, Named.COLUMN)} = {key_range.source_partition}"
        + (f" AND {condition}" if condition else "")
    )


def _loaded_columns(table: TablePlan) -> tuple[ColumnPlan, ...]:
    return tuple(column for column in table.columns if column.starrocks_type)


def _exact(column: ColumnPlan) -> str:
    name = quote(column.name, Named.COLUMN)
    if column.starrocks_type == "FLOAT":
        return f"CAST({name} AS DOUBLE)"
    if column.starrocks_type.startswith("VARBINARY"):
        return f"hex({name})"
    return name


def _decoded(texts: Sequence[bytes | None], column: ColumnPlan, target: pa.DataType) -> pa.Array:
    import pyarrow as pa

    if column.starrocks_type.startswith("VARBINARY"):
        raw = [None if digits is None else unhexlify(digits) for digits in texts]
        return pa.array(raw, pa.large_binary()).cast(target)
    values = pa.array(texts, pa.large_binary()).cast(pa.large_string(), safe=False)
    if target == pa.bool_():
        return values.cast(pa.int8()).cast(target)
    if pa.types.is_timestamp(target):
        # A text without a zone is no moment of a type with one; both are in UTC here.
        return values.cast(pa.timestamp("us")).cast(target)
    if pa.types.is_float32(target):
        return values.cast(pa.float64()).cast(target)
    return values if target == values.type else values.cast(target)

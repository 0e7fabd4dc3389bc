"""What lies under a NULL, and what lies beside a slice, is not measured."""

import datetime as dt
from decimal import Decimal

import numpy as np
import pyarrow as pa

from migration_assets.arrow_fingerprint import ArrowFingerprint
from migration_assets.choices import VerificationLevel
from migration_assets.receipts import Fingerprint
from migration_assets.schema import MssqlType
from migration_assets.type_mapping import arrow_schema
from migration_assets_tests.unit.tables import BIGINT, decimal, nvarchar, table_plan

TABLE = table_plan(
    [
        ("id", BIGINT),
        ("amount", decimal(30, 2)),
        ("day", MssqlType("date", 3)),
        ("at", MssqlType("datetime2", 8, 26, 6)),
        ("clock", MssqlType("time", 5, 16, 7)),
        ("guid", MssqlType("uniqueidentifier", 16)),
        ("name", nvarchar(50)),
        ("blob", MssqlType("varbinary", 50)),
    ],
    key=("id",),
)
ROW = {
    "amount": Decimal("-12345678901234567890.25"),
    "day": dt.date(2024, 2, 29),
    "at": dt.datetime(2024, 2, 29, 1, 2, 3, 456789),
    "clock": "23:59:59.1234567",
    "guid": "6F9619FF-8B86-D011-B42D-00CF4FC964FF",
    "name": "Łódź 𝄞",
    "blob": b"\x80\xff",
}
COUNT = 9


def rows(*, nulls: bool) -> pa.RecordBatch:
    """Rows of which every third has NULLs, or a value there all the same."""
    columns = arrow_schema(TABLE).names[: len(ROW) + 1]
    values = [{"id": 10**12 + n, **({} if nulls and n % 3 == 0 else ROW)} for n in range(COUNT)]
    schema = pa.schema([arrow_schema(TABLE).field(name) for name in columns])
    return pa.RecordBatch.from_pylist(values, schema=schema)


def measured(*batches: pa.RecordBatch) -> Fingerprint:
    fingerprint = ArrowFingerprint(TABLE, VerificationLevel.FULL)
    for batch in batches:
        fingerprint.update(batch)
    return fingerprint.result()


def hidden(full: pa.Array, clean: pa.Array) -> pa.Array:
    """The values of one array with the NULLs of another: anything may lie under a NULL."""
    if not clean.null_count:
        return full
    valid = clean.is_valid().to_numpy(zero_copy_only=False)
    bits = pa.py_buffer(np.packbits(valid, bitorder="little").tobytes())
    return pa.Array.from_buffers(full.type, len(full), [bits, *full.buffers()[1:]])


def test_nothing_under_a_null_counts() -> None:
    clean, full = rows(nulls=True), rows(nulls=False)
    # uuid and time keep the values' width, so a driver puts nothing under their NULLs.
    arrays = [
        clean.column(name)
        if name in {"clock", "guid"}
        else hidden(full.column(name), clean.column(name))
        for name in clean.schema.names
    ]
    dirty = pa.RecordBatch.from_arrays(arrays, schema=clean.schema)
    assert dirty.column("amount").null_count == clean.column("amount").null_count == COUNT // 3
    assert measured(dirty) == measured(clean)


def test_slices_add_up() -> None:
    whole = rows(nulls=True)
    assert measured(whole.slice(0, 4), whole.slice(4, 3), whole.slice(7)) == measured(whole)
    padded = pa.concat_batches([rows(nulls=False), whole, rows(nulls=False)])
    assert measured(padded.slice(COUNT, COUNT)) == measured(whole)


def test_sums_beyond_64_bits_are_exact() -> None:
    ids = [2**63 - 1 - n for n in range(COUNT)]
    batch = rows(nulls=True).set_column(0, "id", pa.array(ids))
    assert measured(batch).values["id.sum"] == sum(ids)

"""SQL Server's stand-in with one big table: `python -m benchmarks.source`, ends with its stdin."""

from __future__ import annotations

import argparse
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from benchmarks import server
from migration_assets.sandbox.sqlserver.server import SqlServerStandIn

TABLE = "dbo.Movements"
SCRIPT = """
CREATE TABLE dbo.Movements (
    movement_id bigint NOT NULL PRIMARY KEY,
    customer_id int NOT NULL,
    region smallint NOT NULL,
    is_open bit NOT NULL,
    amount decimal(12, 2) NOT NULL,
    price money NULL,
    ratio float NULL,
    booked_on date NOT NULL,
    created_at datetime2(3) NOT NULL,
    changed_at datetime NULL,
    customer nvarchar(60) NOT NULL,
    city varchar(30) NULL,
    code char(8) NOT NULL,
    row_guid uniqueidentifier NOT NULL,
    remark nvarchar(200) NULL
)
"""
_CITIES = ("Berlin", "Köln", "Łódź", "São Paulo", "Zürich", "New York", "東京", "Oslo")
_FIRST = ("Ada", "Björn", "Chloë", "Dmitri", "Edith", "Françoise", "Grace", "Håkon")
_LAST = ("Lovelace", "Nyström", "Dupont", "Iwanow", "Clarke", "Sagan", "Hopper", "Aas")
_REMARKS = ("paid", "to be checked with the customer", "delivered late", "returned, see the letter")


def rows(count: int, seed: int = 7) -> pa.Table:
    """Make the table's rows, the same for the same count and seed."""
    dice = np.random.default_rng(seed)

    def some(values: pa.Array, percent: int) -> pa.Array:
        missing = pa.array(dice.integers(0, 100, count) < percent)
        return pa.compute.if_else(missing, pa.scalar(None, values.type), values)

    def pick(words: tuple[str, ...]) -> pa.Array:
        return pa.array(words).take(pa.array(dice.integers(0, len(words), count)))

    def decimal(precision: int, scale: int, above: int) -> pa.Array:
        words = np.zeros((count, 2), dtype=np.int64)
        words[:, 0] = dice.integers(0, above, count)
        return pa.Array.from_buffers(
            pa.decimal128(precision, scale), count, [None, pa.py_buffer(words)]
        )

    seconds = 1_600_000_000 + np.sort(dice.integers(0, 10**8, count))
    thousandths = seconds * 1000 + dice.integers(0, 1000, count)
    full_names = pa.compute.binary_join_element_wise(pick(_FIRST), pick(_LAST), " ")
    codes = _digits(dice.integers(0, 10_000, count), "C", 8)
    remarks = pa.compute.binary_join_element_wise(
        pick(_REMARKS), _digits(dice.integers(0, 10**6, count), "no ", 9), ", "
    )
    columns = {
        "movement_id": pa.array(np.arange(1, count + 1)),
        "customer_id": pa.array(dice.integers(1, 200_000, count), pa.int32()),
        "region": pa.array(dice.integers(1, 40, count), pa.int16()),
        "is_open": pa.array(dice.integers(0, 10, count) == 0),
        "amount": decimal(12, 2, 10**7),
        "price": some(decimal(19, 4, 10**8), 5),
        "ratio": some(pa.array(dice.random(count)), 10),
        "booked_on": pa.array((seconds // 86_400).astype(np.int32)).cast(pa.date32()),
        "created_at": pa.array(thousandths * 1000).cast(pa.timestamp("us")),
        "changed_at": some(pa.array(seconds * 10**6).cast(pa.timestamp("us")), 20),
        "customer": full_names,
        "city": some(pick(_CITIES[:5]), 5),
        "code": codes,
        "row_guid": _guids(dice, count),
        "remark": some(remarks, 50),
    }
    return pa.table(columns)


def _strings(characters: npt.NDArray[np.uint8]) -> pa.Array:
    """Texts of one width from a matrix of ASCII characters."""
    count, width = characters.shape
    offsets = np.arange(0, (count + 1) * width, width, dtype=np.int32)
    data = pa.py_buffer(np.ascontiguousarray(characters))
    return pa.StringArray.from_buffers(count, pa.py_buffer(offsets), data)


def _digits(numbers: npt.NDArray[np.int64], prefix: str, width: int) -> pa.Array:
    characters = np.empty((len(numbers), width), dtype=np.uint8)
    characters[:, : len(prefix)] = np.frombuffer(prefix.encode(), dtype=np.uint8)
    for place in range(width - 1, len(prefix) - 1, -1):
        characters[:, place] = 48 + numbers % 10
        numbers = numbers // 10
    return _strings(characters)


def _guids(dice: np.random.Generator, count: int) -> pa.Array:
    digits = np.frombuffer(b"0123456789ABCDEF", dtype=np.uint8)
    characters = digits[dice.integers(0, 16, (count, 36), dtype=np.uint8)]
    characters[:, [8, 13, 18, 23]] = ord("-")
    return _strings(characters)


@contextmanager
def running(count: int, replay: str | None) -> Iterator[dict[str, str]]:
    """Start the stand-in in a process of its own and yield its settings.

    Args:
        count: rows of the table.
        replay: as `SqlServerStandIn` has it.
    """
    words = ["--rows", str(count)]
    words += [] if replay is None else ["--replay", replay]
    password = secrets.token_urlsafe(18)
    with server.running("benchmarks.source", *words, BENCHMARK_PASSWORD=password) as port:
        yield {
            "MSSQL_HOST": "127.0.0.1",
            "MSSQL_PORT": str(port),
            "MSSQL_USER": "sa",
            "MSSQL_PASSWORD": password,
            "MSSQL_DATABASE": "shop",
            "MSSQL_ENCRYPT": "no",
        }


def main() -> None:
    """Serve until stdin ends."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, required=True)
    parser.add_argument("--replay")
    options = parser.parse_args()
    stand_in = SqlServerStandIn(password=os.environ["BENCHMARK_PASSWORD"], replay=options.replay)
    stand_in.execute_script(SCRIPT)
    schema, table = TABLE.split(".")
    stand_in.load_arrow(schema, table, rows(options.rows))
    with stand_in:
        server.serve(stand_in.port)


if __name__ == "__main__":
    main()

"""Functions in Python that translated SQL calls inside DuckDB: what SQL has no words for.

They run value by value and hold Python's lock, so only rare types and characters come here.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Callable
from typing import Any

import duckdb
from duckdb.func import DEFAULT, SPECIAL

from migration_assets.sandbox.sqlserver import code_pages, documents, spatial
from migration_assets.sandbox.sqlserver.errors import SqlServerError

PREFIX = "ss_native_"


def _shape_of_text(text: str, geography: bool) -> bytes:  # noqa: FBT001 - called by DuckDB
    return spatial.parse(text).check(geography=geography).wkb()


def _shape_of_bytes(data: bytes, geography: bool) -> bytes:  # noqa: FBT001 - called by DuckDB
    return spatial.from_wkb(data).check(geography=geography).wkb()


def _shape_of_point(x: float, y: float, geography: bool) -> bytes:  # noqa: FBT001 - called by DuckDB
    return spatial.Shape("POINT", [[(x, y, None, None)]]).check(geography=geography).wkb()


def _shape_text(wkb: bytes, zm: bool) -> str:  # noqa: FBT001 - called by DuckDB
    return spatial.from_wkb(wkb).text(zm=zm)


def _shape_flat(wkb: bytes) -> bytes:
    return spatial.from_wkb(wkb).wkb(zm=False)


def _ordinate(wkb: bytes | None, place: int) -> float | None:
    if wkb is None:
        return None
    shape = spatial.from_wkb(wkb)
    return shape.rings[0][0][place] if shape.kind == "POINT" else None


def _vector_text(packed: bytes) -> str:
    """SQL Server's form: eight digits, three of the exponent."""
    out = []
    for (number,) in struct.iter_unpack("<f", packed):
        digits, exponent = f"{number:.7e}".split("e")
        out.append(f"{digits}e{exponent[0]}{int(exponent[1:]):03d}")
    return f"[{','.join(out)}]"


def _vector(text: str, dimensions: int) -> bytes:
    numbers = documents.vector(text, dimensions)
    try:
        return struct.pack(f"<{len(numbers)}f", *numbers)
    except OverflowError:
        raise SqlServerError(
            8115, "Arithmetic overflow error converting to data type vector."
        ) from None


def _raising(function: Callable[..., Any]) -> Callable[..., Any]:
    """Errors as `errors.from_duckdb` reads them back."""

    @functools.wraps(function)  # DuckDB counts the parameters
    def called(*arguments: Any) -> Any:
        try:
            return function(*arguments)
        except SqlServerError as error:
            raise ValueError(f"tds:{error.number}:{error.message}") from None

    return called


_FUNCTIONS: list[tuple[str, Callable[..., Any], list[Any], str]] = [
    ("bytes", code_pages.encoded, ["VARCHAR", "VARCHAR"], "BLOB"),
    ("text", code_pages.decoded, ["BLOB", "VARCHAR"], "VARCHAR"),
    ("kept", code_pages.kept, ["VARCHAR", "VARCHAR"], "VARCHAR"),
    ("cut", code_pages.cut, ["VARCHAR", "VARCHAR", "BIGINT"], "VARCHAR"),
    ("shape_of_text", _shape_of_text, ["VARCHAR", "BOOLEAN"], "BLOB"),
    ("shape_of_bytes", _shape_of_bytes, ["BLOB", "BOOLEAN"], "BLOB"),
    ("shape_of_point", _shape_of_point, ["DOUBLE", "DOUBLE", "BOOLEAN"], "BLOB"),
    ("shape_text", _shape_text, ["BLOB", "BOOLEAN"], "VARCHAR"),
    ("shape_flat", _shape_flat, ["BLOB"], "BLOB"),
    ("ordinate", _ordinate, ["BLOB", "INTEGER"], "DOUBLE"),
    ("xml", documents.xml, ["VARCHAR", "BOOLEAN"], "VARCHAR"),
    ("json", documents.json_text, ["VARCHAR"], "VARCHAR"),
    ("vector", _vector, ["VARCHAR", "INTEGER"], "BLOB"),
    ("vector_text", _vector_text, ["BLOB"], "VARCHAR"),
]


def register(connection: duckdb.DuckDBPyConnection) -> None:
    """Make the functions known to DuckDB; all its cursors see them."""
    for name, function, parameters, result in _FUNCTIONS:
        # `ordinate` may answer NULL for a value; no function is asked about NULL.
        handling = SPECIAL if name == "ordinate" else DEFAULT
        connection.create_function(
            PREFIX + name, _raising(function), parameters, result, null_handling=handling
        )


def native(name: str, *arguments: str) -> str:
    """A call of one of them."""
    return f"{PREFIX}{name}({', '.join(arguments)})"

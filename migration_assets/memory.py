"""How much memory the rows of an extraction may take, and how many are fetched at a time; pure.

A fetch must be sized before its rows are seen. Where the columns' types bound a row, so many rows are
fetched as would fit if all were as wide as their types allow. Where they do not ((max) columns, xml),
a fetch begins with few rows and follows the width of those that came.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from migration_assets.column_plan import ColumnPlan
from migration_assets.plan import TablePlan
from migration_assets.setting_values import DEFAULT_MEMORY_MB
from migration_assets.type_mapping import MAX_STARROCKS_BYTES

UPLOAD_BYTES = 64 * 2**20
"""What an upload takes, whatever the limit: `iceberg/output_files.py` has four parts of 16 MiB, one
filled, one joined, and two on their way."""
LEAST_FOR_ROWS = 16 * 2**20

FIRST_ROWS = 64
"""Rows of the first fetch where nothing bounds their width."""
FIXED_BYTES = 16
"""The widest value that is neither text nor bytes: a decimal."""

_SIZE = re.compile(r"VAR(?:CHAR|BINARY)\((\d+)\)")


@dataclass(frozen=True)
class MemoryLimit:
    """What one extraction may keep of its rows, beside what Python and its libraries take.

    Beside the upload about six batches exist at once (fetched, waiting, converted, measured) and two
    row groups (collected and encoded), with some room for what cannot be foreseen.

    Attributes:
        total_bytes: all of it together.
    """

    total_bytes: int = DEFAULT_MEMORY_MB * 2**20

    @property
    def batch_bytes(self) -> int:
        """Bytes of one record batch."""
        return self._for_rows // 14

    @property
    def row_group_bytes(self) -> int:
        """Arrow bytes collected for one row group of a Parquet file."""
        return self._for_rows // 7

    @property
    def unbounded_rows(self) -> int:
        """Rows of a fetch, at most, where nothing bounds their width.

        So many that they take a quarter of all if each suddenly has 1 MiB.
        """
        return max(self._for_rows // 4 // 2**20, 1)

    @property
    def _for_rows(self) -> int:
        return max(self.total_bytes - UPLOAD_BYTES, LEAST_FOR_ROWS)

    def shared(self, extractions: int) -> MemoryLimit:
        """The limit of each of several extractions that one process makes at once."""
        return MemoryLimit(self.total_bytes // extractions)


class FetchSize:
    """How many rows the next fetch takes.

    Attributes:
        rows: of the next fetch; at least 1, whatever its bytes.
    """

    def __init__(self, table: TablePlan, memory: MemoryLimit, most_rows: int) -> None:
        """Start from what the types say.

        Args:
            table: whose rows are fetched.
            memory: a fetch stays under its `batch_bytes` as far as that can be foreseen.
            most_rows: of a fetch, whatever their width.
        """
        width = declared_width(table)
        self._bytes = memory.batch_bytes
        if width is None:
            self._most = min(most_rows, memory.unbounded_rows)
            self.rows = min(self._most, FIRST_ROWS)
        else:
            self._most = self.rows = min(most_rows, max(self._bytes // width, 1))

    def saw(self, rows: int, size: int) -> None:
        """Take note of what a fetch brought: the next grows at most to twice that.

        Args:
            rows: how many; 0 says nothing.
            size: their bytes.
        """
        if rows:
            fitting = self._bytes * rows // max(size, 1)
            self.rows = max(min(fitting, 2 * self.rows, self._most), 1)


def declared_width(table: TablePlan) -> int | None:
    """Bytes of the widest row that the types of a table's columns allow; None for no bound."""
    widths = [_declared_width(column) for column in table.columns]
    return None if None in widths else sum(width or 0 for width in widths)


def _declared_width(column: ColumnPlan) -> int | None:
    if column.iceberg_type not in {"string", "binary"}:
        return FIXED_BYTES
    # StarRocks counts the bytes of texts, too: its type holds every value that the source's can.
    size = _SIZE.fullmatch(column.starrocks_type)
    if size is None or int(size[1]) >= MAX_STARROCKS_BYTES:
        return None
    return int(size[1])

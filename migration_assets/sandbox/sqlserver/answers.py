"""What a session answers to a batch, one event after the other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa

from migration_assets.sandbox.sqlserver.errors import SqlServerError
from migration_assets.sandbox.sqlserver.tokens import ResultColumn

SELECT = 0xC1
INSERT = 0xC3
DELETE = 0xC4
UPDATE = 0xC5
OTHER = 0xFD


@dataclass(frozen=True)
class Rows:
    """A result set; `batches` is read once, while it is sent."""

    columns: list[ResultColumn]
    batches: Iterator[pa.RecordBatch]
    counted: bool = True


@dataclass(frozen=True)
class Done:
    """A statement without result set ended; `rows` is None where SQL Server gives no count."""

    command: int = OTHER
    rows: int | None = None


@dataclass(frozen=True)
class Notice:
    """A message that is no error."""

    error: SqlServerError


@dataclass(frozen=True)
class Change:
    """An ENVCHANGE token."""

    token: bytes


Event = Rows | Done | Notice | Change

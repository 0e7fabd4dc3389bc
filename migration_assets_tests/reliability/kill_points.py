"""The moments between two steps of a migration at which a process can be killed, as data.

Each is a request that a stand-in holds: while it does, the process is exactly there.
"""

from __future__ import annotations

from dataclasses import dataclass

from migration_assets.sandbox.control import Fault

HELD_S = 600.0
_RECEIPT = "^PUT /lake/warehouse/.migration/receipts/shop/"


@dataclass(frozen=True)
class KillPoint:
    """A moment, and what a kill leaves there.

    Attributes:
        name: where the process is.
        table: in `dbo`, migrated by one run in one partition; each point has its own.
        server: the stand-in that holds the request; `request` is the pattern of it, in which
            `{table}` stands for the table in lower case, `{Table}` for its own name.
        done: held after it was done, before it is answered; else before it is done.
        reads: how often `run --failed` reads the rows from SQL Server again.
        data, metadata: files that nothing names when `run --failed` is through.
    """

    name: str
    table: str
    server: str
    request: str
    done: bool = False
    reads: int = 0
    data: int = 0
    metadata: int = 0

    @property
    def full_name(self) -> str:
        """`schema.table`."""
        return f"dbo.{self.table}"

    @property
    def fault(self) -> Fault:
        """What holds the request, and those that clients send in its place when they lose patience."""
        pattern = self.request.replace("{Table}", self.table).replace("{table}", self.table.lower())
        return Fault("withhold" if self.done else "delay", match=pattern, seconds=HELD_S)


POINTS = (
    KillPoint(
        "mid-file: the rows are read, their file is on its way to S3",
        "MidFile", "aws", r"^PUT /lake/warehouse/dbo/{table}/data/.*\.parquet", reads=1,
    ),
    KillPoint(
        "between files and receipt",
        "FilesOnly", "aws", _RECEIPT + r"mssql/dbo/{Table}/[a-z0-9-]+\.json$", reads=1, data=1,
    ),
    KillPoint(
        "between receipt and commit",
        "Uncommitted", "aws", _RECEIPT + r"iceberg/dbo/{table}/[a-z0-9-]+\.intent\.json$",
    ),
    KillPoint(
        "during the commit, before the catalog swap",
        "Unswapped", "aws", "AWSGlue.UpdateTable dbo.{table}$", metadata=3,
    ),
    KillPoint(
        "during the commit, after the catalog swap",
        "Swapped", "aws", "AWSGlue.UpdateTable dbo.{table}$", done=True,
    ),
    KillPoint(
        "during INSERT OVERWRITE, before StarRocks has done it",
        "Inserting", "starrocks", "^INSERT OVERWRITE `dbo`.`{table}`",
    ),
    KillPoint(
        "during INSERT OVERWRITE, after StarRocks has done it",
        "Inserted", "starrocks", "^INSERT OVERWRITE `dbo`.`{table}`", done=True,
    ),
    KillPoint(
        "between load and Dagster's event",
        "LoadedOnly", "aws", _RECEIPT + r"starrocks/dbo/{table}/[a-z0-9-]+\.json$", done=True,
    ),
)  # fmt: skip


def is_reached(point: KillPoint, armed: list[Fault]) -> bool:
    """Whether the request has come and is held, by what a stand-in says of its faults."""
    wanted = point.fault
    return any(one.struck and (one.kind, one.match) == (wanted.kind, wanted.match) for one in armed)

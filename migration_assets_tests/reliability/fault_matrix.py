"""The fault matrix over real sockets: each row strikes one stage of one tiny table.

A row arms a fault, runs its stage and looks at what became of it; then the same stage succeeds
without the fault. The tests run each row, `benchmarks/reliability.py` counts them by outcome. What
errors mean is tested row by row in `unit/test_faults.py`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from migration_assets.assets.extractor import Extraction
from migration_assets.assets.receipt_store import ReceiptStore
from migration_assets.choices import VerificationLevel
from migration_assets.errors import (
    AccessDeniedError,
    ConnectionLimitError,
    ConnectionLostError,
    MigrationError,
    ObjectNotFoundError,
    OperationTimeoutError,
    ServerBusyError,
    StatementError,
    TransientError,
)
from migration_assets.iceberg.commit import commit
from migration_assets.iceberg.lake import Lake
from migration_assets.mssql.client import SqlServer
from migration_assets.mssql.introspection import introspect
from migration_assets.mssql.point_in_time import Standpoint
from migration_assets.plan import TablePlan
from migration_assets.receipts import ExtractReceipt
from migration_assets.sandbox.control import Control, Fault
from migration_assets.sandbox.launcher import Sandbox
from migration_assets.settings import LakeSettings, MssqlSettings, StarRocksSettings
from migration_assets.starrocks import catalog
from migration_assets.starrocks.load import load_partition
from migration_assets.starrocks.resource import StarRocks
from migration_assets.starrocks.tables import ensure_table
from migration_assets_tests.sandbox import sources
from migration_assets_tests.sandbox.project import await_closed, starrocks_rows

ROWS = [(1, "one"), (2, "two"), (3, "three")]
SCRIPT = """
CREATE TABLE dbo.Tiny (Id int NOT NULL PRIMARY KEY, Name nvarchar(40) NOT NULL);
GO
INSERT INTO dbo.Tiny VALUES (1, N'one'), (2, N'two'), (3, N'three');
GO
"""
READ = r"AS \[name\] FROM \[dbo\]\.\[Tiny\]"


@dataclass
class Bench:
    """The three systems, and a tiny table on its way through them.

    Attributes:
        log: what StarRocks received.
        extracted: receipts of its extracts, the newest last.
    """

    sandbox: Sandbox
    table: TablePlan
    lake: Lake
    log: Path
    extracted: list[ExtractReceipt] = field(default_factory=list)

    def control(self, name: str) -> Control:
        return self.sandbox.control(name)

    def sqlserver(self, **changes: Any) -> SqlServer:
        return SqlServer(MssqlSettings.load(**changes))

    def ask(self, **changes: Any) -> None:
        """A small query, through pymssql."""
        with self.sqlserver(**changes) as client:
            rows = client.query("SELECT [Id], [Name] AS [name] FROM [dbo].[Tiny] ORDER BY [Id]")
        assert rows == ROWS

    def extract(self, *, lake: Lake | None = None, **changes: Any) -> None:
        """The stage mssql, through ODBC."""
        extraction = Extraction(
            table=self.table,
            run_id="matrix",
            level=VerificationLevel.COUNT,
            standpoint=Standpoint(snapshot=False),
            batch_rows=1000,
        )
        with self.sqlserver(**changes) as client:
            receipt = extraction.read(client, lake or self.lake, "p000")
        assert receipt.rows == len(ROWS)
        self.extracted.append(receipt)

    def extract_elsewhere(self, **changes: Any) -> None:
        """The same, with a lake of its own."""
        with Lake(LakeSettings.load(**changes)) as lake:
            self.extract(lake=lake)

    def commit(self, **changes: Any) -> None:
        """The stage iceberg, of a fresh extract."""
        self.extract()
        store = ReceiptStore(self.lake, "shop")
        with Lake(LakeSettings.load(**changes)) as lake:
            (receipt,) = commit(
                lake, self.table, [self.extracted[-1]], run_id="matrix", plan_id="plan",
                intents=store.intents(["mssql", "dbo", "tiny"]),
            )  # fmt: skip
        found = self.lake.catalog.load_table((self.table.namespace, self.table.iceberg_table))
        attempt = self.extracted[-1].attempt
        landed = [
            snapshot for snapshot in found.metadata.snapshots
            if snapshot.summary and attempt in str(snapshot.summary.additional_properties)
        ]  # fmt: skip
        # A replacement is two snapshots in one commit; had it landed twice, they would be four.
        assert len(landed) <= 2
        assert landed[-1].snapshot_id == receipt.snapshot_id
        assert found.scan().to_arrow().num_rows == len(ROWS)

    def load(self, **changes: Any) -> None:
        """The stage starrocks, of the current snapshot."""
        found = self.lake.catalog.load_table((self.table.namespace, self.table.iceberg_table))
        snapshot = found.current_snapshot()
        assert snapshot is not None
        with StarRocks(StarRocksSettings.load(**changes)) as client, client.connection():
            ensure_table(client, self.table)
            load_partition(client, self.table, "p000", snapshot.snapshot_id, run_id="matrix")
        assert self.loaded() == ROWS

    def loaded(self) -> list[tuple[Any, ...]]:
        return starrocks_rows(
            self.sandbox.settings, "SELECT id, name FROM `shop`.`tiny` ORDER BY id"
        )

    def disarm(self) -> None:
        for name in self.sandbox.names:
            self.control(name).arm()


@contextlib.contextmanager
def bench_in(folder: Path) -> Iterator[Bench]:
    """Stand-ins with the table, which has made its way once; for this process's environment."""
    script = folder / "tables.sql"
    script.write_text(SCRIPT, encoding="utf-8")
    words = {"sqlserver": [f"--script={script}"]}
    with (
        Sandbox(scale=None, extra_arguments=words, statements_dir=folder / "statements") as sandbox,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.chdir(folder)
        for name, value in sandbox.settings.items():
            patch.setenv(name, value)
        patch.setenv("S3_MAX_ATTEMPTS", "2")
        patch.setenv("MIGRATION_RETRY_FIRST_WAIT_S", "0.02")
        patch.setenv("MIGRATION_RETRY_LONGEST_WAIT_S", "0.05")
        with SqlServer(MssqlSettings.load()) as client:
            (found,) = introspect(client).tables
        with Lake(LakeSettings.load()) as lake:
            log = folder / "statements" / "starrocks.jsonl"
            made = Bench(sandbox, sources.plan_of(found), lake, log)
            with StarRocks(StarRocksSettings.load()) as starrocks:
                catalog.create_catalog(starrocks, lake.settings)
            made.commit()
            made.load()
            yield made


# --- the matrix


def error(number: int, message: str, match: str) -> Fault:
    return Fault("error", number=number, message=message, match=match, times=1)


def sqlserver(number: int, message: str, kind: type[MigrationError], match: str = READ) -> Any:
    return error(number, message, match), kind


# A login is refused until the fault is gone: where pymssql has no words for it (after a connection
# limit, in this process), ODBC is asked, which would get in.
SQLSERVER = {
    "deadlock victim": sqlserver(1205, "", ServerBusyError),
    "snapshot conflict": sqlserver(3960, "Snapshot isolation transaction aborted due to update conflict.", ServerBusyError),
    "version store full": sqlserver(3958, "Transaction aborted when accessing versioned row. Your tempdb is probably out of space.", ServerBusyError),
    "tempdb full": sqlserver(1105, "Could not allocate space for object 'x' in database 'tempdb' because the 'PRIMARY' filegroup is full.", ServerBusyError),
    "Azure: throttled": sqlserver(40501, "The service is currently busy. Retry the request after 10 seconds.", ServerBusyError),
    "Azure: resource limit": sqlserver(10928, "Resource ID: 1. The request limit for the database is 60 and has been reached.", ServerBusyError),
    "Azure: moved": sqlserver(40197, "The service has encountered an error processing your request. Please try again.", ServerBusyError),
    "Azure: login while failing over": (Fault("error", number=40613, message="Database 'shop' on server 'x' is not currently available. Please retry the connection later.", match="^LOGIN"), ServerBusyError),
    "no permission": sqlserver(229, "The SELECT permission was denied on the object 'Tiny'.", AccessDeniedError),
    "dropped": sqlserver(208, "Invalid object name 'dbo.Tiny'.", ObjectNotFoundError),
    "reset before the answer": (Fault("drop", match=READ, after_bytes=0, times=1), ConnectionLostError),
    "reset mid-stream": (Fault("drop", match=READ, after_bytes=60, times=1), ConnectionLostError),
    "connection limit": (Fault("refuse", above=0), ConnectionLimitError),
}  # fmt: skip

S3 = {
    "503 SlowDown": (Fault("unavailable", match="^PUT .*/data/"), ServerBusyError),
    "500": (Fault("error", match="^PUT .*/data/", number=500, message="InternalError: x"), ServerBusyError),
    "expired token": (Fault("error", match="^PUT .*/data/", number=400, message="ExpiredToken: The provided token has expired."), AccessDeniedError),
    "denied": (Fault("error", match="^PUT .*/data/", number=403, message="AccessDenied: Access Denied"), AccessDeniedError),
    "reset": (Fault("drop", match="^PUT .*/data/", after_bytes=0), ConnectionLostError),
}  # fmt: skip

GLUE = {
    "expired token": (Fault("error", match="UpdateTable", number=400, message="ExpiredTokenException: The security token included in the request is expired"), AccessDeniedError),
}  # fmt: skip

INSERT = "^INSERT OVERWRITE"
LIMIT = "Reach user-level(qualifiedUser: u) connection limit, currentUserMaxConn=1, connectionMap.size=2, connByUser.totConn=2, user.currConn=1, node=x"
STARROCKS = {
    "connection limit of the user": (error(1064, LIMIT, "^LOGIN"), ConnectionLimitError),
    "connection limit of the cluster": (Fault("refuse", above=0), ConnectionLimitError),
    "leader change": (error(1064, "The transaction is possibly lost due to FE leader switch", INSERT), ServerBusyError),
    "too many versions": (error(5609, "too many versions. tablet_id: 10087, version_count: 1001, limit: 1000", INSERT), ServerBusyError),
    "too many transactions": (error(1064, "current running txns on db 10005 is 1000, larger than limit 1000", INSERT), ServerBusyError),
    "label in use": (error(1064, "Getting analyzing error. Detail message: fail to begin transaction. Label [x] has already been used..", INSERT), ServerBusyError),
    "backend down": (error(1064, "No alive backends", INSERT), ServerBusyError),
    "backend crashed": (error(5077, "Query cancelled by crash of backends or RpcException", INSERT), ServerBusyError),
    "timeout of the load": (error(5024, "Insert reached its timeout of 2 seconds, please increase the 'insert_timeout' session variable", INSERT), OperationTimeoutError),
    "S3 throttles it": (error(1064, "Please reduce your request rate. (Service: S3, Status Code: 503)", INSERT), ServerBusyError),
    "filtered rows": (error(1064, "Insert has filtered data, txn_id = 3, tracking sql = select 1", INSERT), StatementError),
    "no privilege": (error(5203, "Access denied; you need (at least one of) the INSERT privilege(s) on TABLE tiny for this operation.", INSERT), AccessDeniedError),
    "reset after it was done": (Fault("drop", match=INSERT, after_bytes=0, times=1), ConnectionLostError),
}  # fmt: skip

Row = tuple[Fault, type[MigrationError]]


def strikes(
    bench: Bench, system: str, row: Row, stage: Callable[..., None], **changes: Any
) -> None:
    """The stage fails as the row says, in one line, and succeeds when the fault is gone."""
    fault, kind = row
    bench.control(system).arm(fault)
    try:
        with pytest.raises(kind) as raised:
            stage(**changes)
    finally:
        bench.disarm()
    assert isinstance(raised.value, MigrationError)
    assert "\n" not in str(raised.value)
    assert raised.value.next_step or not isinstance(raised.value, TransientError)
    if system != "aws":  # the lake keeps its connections, which hold no session
        assert await_closed(bench.sandbox, system) == 0
    stage()


MATRIX = (
    *(
        ("sqlserver", name, way, row)
        for name, row in SQLSERVER.items()
        for way in ("ask", "extract")
    ),
    *(("aws", name, "extract", row) for name, row in S3.items()),
    *(("aws", name, "commit", row) for name, row in GLUE.items()),
    *(("starrocks", name, "load", row) for name, row in STARROCKS.items()),
)
"""System, name, stage (a method of `Bench`) and row of each case."""


@dataclass(frozen=True)
class Outcome:
    """What became of one case.

    Attributes:
        transient: whether its error is one that is tried again.
        fault: what went otherwise than the row says; empty where all is as it should be.
    """

    system: str
    name: str
    stage: str
    transient: bool
    fault: str = ""


def outcomes(folder: Path) -> list[Outcome]:
    """Run every case in an empty folder, over servers of its own."""
    found = []
    with bench_in(folder) as bench:
        for system, name, stage, row in MATRIX:
            fault = ""
            try:
                strikes(bench, system, row, getattr(bench, stage))
            except (Exception, pytest.fail.Exception) as error:  # noqa: BLE001 - it is counted
                fault = f"{type(error).__name__}: {error}"
            found.append(Outcome(system, name, stage, issubclass(row[1], TransientError), fault))
    return found

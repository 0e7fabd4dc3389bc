"""The fault matrix over real sockets: each row strikes one stage of one tiny table.

A row arms a fault, runs its stage and looks at what became of it; then the same stage succeeds
without the fault. One run in Dagster meets several faults in every stage. What errors mean is
tested row by row in `unit/test_faults.py`.
"""

from __future__ import annotations

import json
import logging
import socket
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

pytest.importorskip("duckdb", reason="needs the extra sandbox")

from migration_assets import events
from migration_assets.assets.extractor import Extraction
from migration_assets.assets.receipt_store import ReceiptStore
from migration_assets.assets.translator import MigrationTranslator
from migration_assets.choices import VerificationLevel
from migration_assets.definitions import build_resources, table_assets
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
from migration_assets.plan import MigrationPlan, TablePlan
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


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    folder = tmp_path_factory.mktemp("matrix")
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


def closed_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


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


@pytest.mark.parametrize("way", ["ask", "extract"])
@pytest.mark.parametrize("row", SQLSERVER.values(), ids=SQLSERVER)
def test_sql_server(bench: Bench, row: Row, way: str) -> None:
    strikes(bench, "sqlserver", row, getattr(bench, way))


@pytest.mark.parametrize("row", S3.values(), ids=S3)
def test_s3(bench: Bench, row: Row) -> None:
    strikes(bench, "aws", row, bench.extract)


@pytest.mark.parametrize("row", GLUE.values(), ids=GLUE)
def test_glue(bench: Bench, row: Row) -> None:
    strikes(bench, "aws", row, bench.commit)


@pytest.mark.parametrize("row", STARROCKS.values(), ids=STARROCKS)
def test_starrocks(bench: Bench, row: Row) -> None:
    strikes(bench, "starrocks", row, bench.load)


@pytest.mark.parametrize("way", ["ask", "extract", "extract_elsewhere", "load"])
def test_nobody_listens(bench: Bench, way: str) -> None:
    port = closed_port()
    changes: dict[str, Any] = {"port": port}
    if way == "extract_elsewhere":
        changes = {"endpoint_url": f"http://127.0.0.1:{port}"}
    with pytest.raises(ConnectionLostError) as raised:
        getattr(bench, way)(**changes)
    assert raised.value.next_step


@pytest.mark.parametrize(
    ("system", "way", "setting"),
    [
        ("sqlserver", "ask", "login_timeout_s"),
        ("sqlserver", "extract", "login_timeout_s"),
        ("starrocks", "load", "connect_timeout_s"),
    ],
)
def test_a_login_that_is_not_answered_ends(
    bench: Bench, system: str, way: str, setting: str
) -> None:
    began = time.monotonic()
    row = (Fault("delay", match="^LOGIN", seconds=60), TransientError)
    strikes(bench, system, row, getattr(bench, way), **{setting: 1})
    assert time.monotonic() - began < 30


@pytest.mark.parametrize("way", ["ask", "extract"])
def test_a_query_that_is_not_answered_ends(bench: Bench, way: str) -> None:
    row = (Fault("delay", match=READ, seconds=60), OperationTimeoutError)
    strikes(bench, "sqlserver", row, getattr(bench, way), query_timeout_s=1)


# --- what is healed within a stage


def test_requests_are_repeated_within_a_stage_and_counted(bench: Bench) -> None:
    conflict = "ConcurrentModificationException: Update table failed"
    busy = "ThrottlingException: Rate exceeded"
    bench.control("aws").arm(
        Fault("unavailable", match="^PUT .*/data/", times=1),
        Fault("error", match="UpdateTable", number=400, message=conflict, times=1),
        Fault("error", match="GetTable", number=400, message=busy, times=1),
    )
    with events.place(table="dbo.Tiny") as tally:
        bench.commit()
    bench.disarm()
    assert tally.retries == 3


def test_a_commit_whose_outcome_is_unknown_lands_once(bench: Bench) -> None:
    bench.control("aws").arm(Fault("drop", match="UpdateTable", after_bytes=0, times=1))
    bench.commit()  # looks that there is one snapshot of this attempt
    assert bench.control("aws").faults()[0].times == 0
    bench.disarm()


def test_a_load_that_becomes_visible_late_is_waited_for_and_not_sent_again(bench: Bench) -> None:
    before = bench.log.read_text().count("INSERT OVERWRITE `shop`.`tiny`")
    bench.control("starrocks").arm(Fault("late", seconds=0.7, times=1))
    began = time.monotonic()
    bench.load()
    assert time.monotonic() - began >= 0.7
    bench.disarm()
    bench.load()
    loads = bench.log.read_text().count("INSERT OVERWRITE `shop`.`tiny`") - before
    assert loads == 2 * 2  # each is logged when it comes and when it ends


# --- in Dagster


def materialize(bench: Bench, instance: dg.DagsterInstance) -> dg.ExecuteInProcessResult:
    plan = MigrationPlan(server="stand-in", database="shop", tables=(bench.table,))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.PreviewWarning)
        assets = table_assets(bench.table, plan, MigrationTranslator())
        return dg.materialize(
            assets, resources=build_resources(plan), partition_key="p000", instance=instance,
            raise_on_error=False,
        )  # fmt: skip


def test_a_run_meets_a_fault_in_every_stage_and_says_what_it_did(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "migration_assets")
    bench.control("sqlserver").arm(SQLSERVER["deadlock victim"][0], SQLSERVER["tempdb full"][0])
    bench.control("aws").arm(
        Fault("unavailable", match="^PUT .*/data/", times=1),
        Fault("error", match="UpdateTable", number=400, message="ConcurrentModificationException: x", times=1),
    )  # fmt: skip
    bench.control("starrocks").arm(STARROCKS["too many versions"][0], Fault("late", seconds=0.1))
    with dg.DagsterInstance.ephemeral() as instance:
        result = materialize(bench, instance)
        bench.disarm()
        assert result.success
        made = {
            event.asset_key.path[-3]: event.materialization.metadata
            for event in result.get_asset_materialization_events()
            if event.asset_key is not None
        }
        bench.control("aws").arm(S3["expired token"][0])
        failed = materialize(bench, instance)
        bench.disarm()
    assert bench.loaded() == ROWS
    retries = {stage: metadata["retries"].value for stage, metadata in made.items()}
    assert retries == {"mssql": 2, "iceberg": 0, "starrocks": 1}
    assert made["mssql"]["requests repeated"].value == 1
    assert made["iceberg"]["requests repeated"].value == 1
    assert 0 < float(str(made["starrocks"]["retry waits (s)"].value)) <= 0.05

    (step,) = [event for event in failed.all_events if event.is_step_failure]
    described = step.step_failure_data.user_failure_data.description
    assert described.startswith("dbo.Tiny p000: s3://lake/")
    assert "the AWS credentials have expired" in described
    assert described.endswith(
        "Renew them (`aws sso login`, or a new AWS_SESSION_TOKEN) and try again."
    )
    assert "\n" not in described

    formatter = events.Lines(as_json=True)
    lines = [json.loads(formatter.format(r)) for r in caplog.records if hasattr(r, "fields")]
    told = [(line["stage"], line["attempt"], line["event"]) for line in lines]
    assert told == [
        ("mssql", 1, "started"), ("mssql", 1, "retry"), ("mssql", 2, "started"),
        ("mssql", 2, "retry"), ("mssql", 3, "started"), ("mssql", 3, "repeated"),
        ("mssql", 3, "done"),
        ("iceberg", 1, "started"), ("iceberg", 1, "repeated"), ("iceberg", 1, "done"),
        ("starrocks", 1, "started"), ("starrocks", 1, "retry"), ("starrocks", 2, "started"),
        ("starrocks", 2, "not visible yet"), ("starrocks", 2, "done"),
        ("mssql", 1, "started"), ("mssql", 1, "failed"),
    ]  # fmt: skip
    assert {(line["table"], line["partition"]) for line in lines} == {("dbo.Tiny", "p000")}

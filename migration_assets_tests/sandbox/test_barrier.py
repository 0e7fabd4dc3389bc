"""A barrier over real sockets: several connections, one state, while a bank's transfers run."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pymssql
import pytest

from migration_assets.assets.barrier_extraction import extract_at_barrier
from migration_assets.assets.extractor import Extraction
from migration_assets.choices import TableConsistency, VerificationLevel
from migration_assets.errors import (
    ConfigurationError,
    ConnectionLostError,
    ServerBusyError,
    StatementError,
    TransientError,
)
from migration_assets.key_range import KeyRange
from migration_assets.mssql import barrier as barrier_module
from migration_assets.mssql.barrier import Transaction, open_barrier
from migration_assets.mssql.introspection import introspect
from migration_assets.mssql.point_in_time import Standpoint
from migration_assets.sandbox.control import Fault
from migration_assets_tests.sandbox import bank, sources
from migration_assets_tests.sandbox.project import Statements, wait_until
from migration_assets_tests.sandbox.test_point_in_time import RANGES, total
from migration_assets_tests.unit.iceberg_tables import local_lake

READS = r"AS \[balance\] FROM"
"""What a partition is read with."""


@pytest.fixture(scope="module")
def logs(tmp_path_factory):
    return tmp_path_factory.mktemp("statements")


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory, logs):
    script = bank.SCRIPT + "GO\nCREATE TABLE dbo.empty (id int NOT NULL PRIMARY KEY);\n"
    with sources.running(script, tmp_path_factory.mktemp("sql"), statements_dir=logs) as running:
        yield running


@pytest.fixture(scope="module")
def statements(sandbox, logs):
    return Statements(logs / "sqlserver.jsonl")


@pytest.fixture
def client(sandbox):
    """Three readers and the lock; at the end nobody may be connected any more."""
    with sources.client(sandbox, pool_size=4, lock_timeout_s=1) as made:
        yield made
        sandbox.control("sqlserver").arm()
        made.query("ALTER DATABASE shop SET ALLOW_SNAPSHOT_ISOLATION ON")
        made.query("ALTER DATABASE shop SET CHANGE_TRACKING = OFF")
    wait_until(lambda: sandbox.control("sqlserver").state().open == 0, "closed connections")


@pytest.fixture
def lake(tmp_path):
    with local_lake(tmp_path) as made:
        yield made


def planned(client, lake, name="accounts", ranges=RANGES, **changes):
    (found,) = [table for table in introspect(client).tables if table.name == name]
    changes["location"] = f"{lake.settings.warehouse}/shop/{name}"
    table = sources.plan_of(found, *ranges)
    return table.replaced(consistency=TableConsistency.BARRIER, **changes)


@pytest.fixture
def table(client, lake):
    return planned(client, lake)


def extracted(client, lake, table):
    extraction = Extraction(
        table=table,
        run_id="r1",
        level=VerificationLevel.FULL,
        standpoint=Standpoint(snapshot=False),
        batch_rows=64,
    )
    return list(extract_at_barrier(client, lake, extraction, table.partition_keys).values())


def slowly(sandbox, client, lake, table, statements, *, while_reading):
    """Extract, with rows that do not come before something has happened."""
    control, before = sandbox.control("sqlserver"), len(statements.matching(READS))
    control.arm(Fault("delay", match=READS, seconds=60))
    with ThreadPoolExecutor(1) as threads:
        future = threads.submit(extracted, client, lake, table)
        try:
            wait_until(
                lambda: future.done() or len(statements.matching(READS)) == before + 3,
                "three readers behind the barrier",
            )
            while_reading()
        finally:
            control.arm()
        return future.result(60)


def assert_one_set(receipts, word):
    assert {receipt.consistency for receipt in receipts} == {word}
    (point,) = {receipt.point_in_time for receipt in receipts}
    assert point.barrier
    assert point.created is not None
    for receipt in receipts:
        assert receipt.source_fingerprint.differences(receipt.fingerprint) == []
    return point


def test_partitions_that_are_read_slowly_show_one_state(sandbox, client, lake, table, statements):
    client.query("ALTER DATABASE shop SET CHANGE_TRACKING = ON")
    locks = len(statements.matching("TABLOCK, HOLDLOCK"))
    with sources.client(sandbox) as teller, bank.transfers(teller) as transfers:
        transfers.await_more()
        receipts = slowly(
            sandbox, client, lake, table, statements, while_reading=transfers.await_more
        )
    assert total(receipts) == bank.TOTAL
    point = assert_one_set(receipts, "barrier")
    # Of two changes a transfer: behind the lock there is no transfer's middle.
    assert point.change_tracking_version % 2 == 0
    assert point.change_tracking_version > 0
    assert len(statements.matching("TABLOCK, HOLDLOCK")) == locks + 1


def test_without_the_row_that_each_reads_at_the_barrier_they_show_several(
    sandbox, client, table, monkeypatch
):
    """So that the test above can fail: a SNAPSHOT transaction shows what it reads first."""

    def summed():
        totals = []
        with sources.client(sandbox, pool_size=5) as other, open_barrier(other, table) as barrier:
            for reader, key_range in zip(barrier.readers, table.key_ranges, strict=True):
                where = f"id >= {key_range.lower or 0} AND id < {key_range.upper or bank.ACCOUNTS}"
                totals += reader.run(f"SELECT SUM(balance) FROM dbo.accounts WHERE {where}")
                bank.transfer(client.query, bank.ACCOUNTS - 1, 0, 10)
        return sum(totals)

    try:
        assert summed() == bank.TOTAL
        monkeypatch.setattr(Transaction, "fix", lambda _: None)
        assert summed() == bank.TOTAL - 30
    finally:
        bank.transfer(client.query, 0, bank.ACCOUNTS - 1, 80)


def test_a_table_that_is_empty_at_the_barrier_stays_so(client, lake):
    table = planned(client, lake, "empty", [KeyRange(source_partition=n) for n in range(2)])
    try:
        with open_barrier(client, table) as barrier:
            client.query("INSERT INTO dbo.empty VALUES (1)")
            assert [r.run("SELECT COUNT(*) FROM dbo.empty") for r in barrier.readers] == [(0,)] * 2
    finally:
        client.query("DELETE FROM dbo.empty")


def test_one_transaction_needs_no_lock(sandbox, lake, table, statements):
    locks = len(statements.matching("TABLOCK, HOLDLOCK"))
    with sources.client(sandbox, pool_size=1) as alone:
        receipts = extracted(alone, lake, table)
    assert_one_set(receipts, "barrier")
    assert len(statements.matching("TABLOCK, HOLDLOCK")) == locks


# -- a database without SNAPSHOT transactions -------------------------------------------------------


def test_writers_are_kept_waiting_only_where_that_is_allowed(client, lake, table, statements):
    client.query("ALTER DATABASE shop SET ALLOW_SNAPSHOT_ISOLATION OFF")
    before = len(statements.matching("BEGIN TRANSACTION"))
    with pytest.raises(ConfigurationError, match=r"ALLOW_SNAPSHOT_ISOLATION ON.*block_writers"):
        extracted(client, lake, table)
    assert len(statements.matching("BEGIN TRANSACTION")) == before


@pytest.mark.parametrize("pool_size", [4, 1])
def test_they_wait_until_all_is_read(sandbox, lake, client, pool_size):
    table = planned(client, lake, block_writers=True)
    client.query("ALTER DATABASE shop SET ALLOW_SNAPSHOT_ISOLATION OFF")
    with sources.client(sandbox) as teller, bank.transfers(teller) as transfers:
        transfers.await_more()
        with (
            sources.client(sandbox, pool_size=pool_size) as reader,
            open_barrier(reader, table) as barrier,
        ):
            assert barrier.consistency == "table lock"
            sums = [r.run("SELECT SUM(balance) FROM dbo.accounts") for r in barrier.readers]
            assert sums == [(bank.TOTAL,)] * len(barrier.readers)
            for one in barrier.readers:
                barrier.check(one)
            with client.connection() as writer, writer.cursor() as cursor:
                cursor.execute("SET LOCK_TIMEOUT 10")
                with pytest.raises(pymssql.Error, match="1222"):
                    cursor.execute("UPDATE dbo.accounts SET balance = balance")
        transfers.await_more()
        assert_one_set(extracted(client, lake, table), "table lock")


def test_a_lock_that_is_lost_voids_what_was_read(sandbox, client, lake, tmp_path):
    table = planned(client, lake, block_writers=True)
    client.query("ALTER DATABASE shop SET ALLOW_SNAPSHOT_ISOLATION OFF")
    with open_barrier(client, table) as barrier:
        barrier._lock.run("ROLLBACK TRANSACTION")
        with pytest.raises(ConnectionLostError, match="ended a transaction of the barrier"):
            barrier.check(barrier.readers[0])


# -- void sets --------------------------------------------------------------------------------------


def test_an_error_that_ends_a_transaction_is_worth_another_try(client, table, monkeypatch):
    """Also where its words are in a language that nobody here knows."""

    def versions_are_gone(*_, **__):
        raise StatementError("Die Transaktion wurde zurückgesetzt.")

    monkeypatch.setattr(barrier_module, "read_within", versions_are_gone)
    given = {"batch_rows": 1, "level": VerificationLevel.NONE, "consistency": "barrier"}
    with open_barrier(client, table) as barrier:
        reader = barrier.readers[0]
        with pytest.raises(StatementError), reader.partition(table.key_ranges[0], **given):
            pass
        reader.run("ROLLBACK TRANSACTION")
        with (
            pytest.raises(ConnectionLostError, match=r"ended a transaction.*\(Die Trans"),
            reader.partition(table.key_ranges[0], **given),
        ):
            pass


def test_who_writes_for_long_is_not_waited_for_without_end(sandbox, client, lake, table):
    with sources.client(sandbox) as other, other.connection() as writer, writer.cursor() as cursor:
        cursor.execute("BEGIN TRANSACTION")
        cursor.execute("UPDATE dbo.accounts SET balance = 0 WHERE id = 7")
        with pytest.raises(ServerBusyError, match=r"within 1 s.*MSSQL_LOCK_TIMEOUT_S"):
            extracted(client, lake, table)
        cursor.execute("ROLLBACK TRANSACTION")
    assert total(extracted(client, lake, table)) == bank.TOTAL


LATE = r"AS \[balance\] FROM .*>= 300"
"""The last partition, which the second round of three readers reads."""


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Fault("error", match=LATE, number=3966, message="version store", times=1), TransientError),
        (Fault("error", match=LATE, number=3960, message="Snapshot isolation transaction aborted "
               "due to update conflict.", times=1), TransientError),
        (Fault("drop", match=LATE, times=1), ConnectionLostError),
        (Fault("drop", match="@@TRANCOUNT", times=1), ConnectionLostError),
        (Fault("drop", match="TABLOCK", times=1), ConnectionLostError),
        (Fault("error", match=LATE, number=8134, message="Divide by zero.", times=1), StatementError),
    ],
    ids=["no versions", "conflict", "reader lost", "lost at the end", "lock lost", "refused"],
)  # fmt: skip
def test_a_partition_that_fails_takes_the_others_with_it(  # noqa: PLR0917 - by name
    sandbox, client, lake, table, tmp_path, fault, kind
):
    sandbox.control("sqlserver").arm(fault)
    with pytest.raises(kind):
        extracted(client, lake, table)
    assert not list(tmp_path.rglob("*.parquet"))
    assert_one_set(extracted(client, lake, table), "barrier")

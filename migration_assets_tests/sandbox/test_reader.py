"""Reading over real sockets: values, limits, consistency, and what happens when it breaks."""

import contextlib
import datetime
import decimal
import os
import socket
import sys
import threading
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from migration_assets.assets.extractor import Extraction
from migration_assets.choices import VerificationLevel
from migration_assets.errors import (
    ConnectionLimitError,
    ConnectionLostError,
    ObjectNotFoundError,
    OperationTimeoutError,
    ServerBusyError,
)
from migration_assets.iceberg.lake import Lake
from migration_assets.iceberg.rows import read_files
from migration_assets.key_range import KeyRange
from migration_assets.memory import FetchSize, MemoryLimit
from migration_assets.mssql.introspection import introspect
from migration_assets.mssql.point_in_time import Standpoint
from migration_assets.mssql.reader import measure_partition, open_partition
from migration_assets.sandbox.control import Fault
from migration_assets.settings import LakeSettings
from migration_assets_tests.sandbox import sources

ROWS = 20_000
SCRIPT = """
CREATE TABLE dbo.kinds (
    id int NOT NULL PRIMARY KEY,
    flag bit NULL, tiny tinyint NULL, small smallint NULL, big bigint NULL,
    price decimal(18, 4) NULL, wide decimal(38, 0) NULL, cash money NULL,
    ratio float NULL, thin real NULL,
    day date NULL, clock time(7) NULL, old datetime NULL, minute smalldatetime NULL,
    stamp datetime2(6) NULL, fine datetime2(7) NULL, zoned datetimeoffset(3) NULL,
    fixed char(5) NULL, word varchar(20) NULL, text nvarchar(40) NULL, long nvarchar(max) NULL,
    raw varbinary(8) NULL, guid uniqueidentifier NULL
);
GO
INSERT INTO dbo.kinds VALUES (1, 1, 255, -32768, 9223372036854775807, -12.5000,
    99999999999999999999999999999999999999, 922337203685477.5807, 1.5, 0.25,
    '0001-01-01', '23:59:59.999999', '2024-01-31T10:00:00.997', '2024-01-31T10:30:00',
    '9999-12-31T23:59:59.999999', '2024-01-31T10:00:00.1234567',
    '2024-01-31T10:00:00.123+02:00',
    'ab', 'word', N'Łuk 😀', N'long', 0x00ff10, '6f9619ff-8b86-d011-b42d-00c04fc964ff');
INSERT INTO dbo.kinds (id) VALUES (2);
GO
CREATE TABLE dbo.many (id int NOT NULL PRIMARY KEY, amount int NOT NULL, note varchar(60) NULL);
GO
CREATE TABLE dbo.digits (d int NOT NULL PRIMARY KEY);
GO
INSERT INTO dbo.digits VALUES (0), (1), (2), (3), (4), (5), (6), (7), (8), (9);
INSERT INTO dbo.many (id, amount, note)
SELECT a.d * 10000 + b.d * 1000 + c.d * 100 + e.d * 10 + f.d, e.d * 10 + f.d,
    'a note that makes the row somewhat longer'
FROM dbo.digits AS a CROSS JOIN dbo.digits AS b CROSS JOIN dbo.digits AS c
CROSS JOIN dbo.digits AS e CROSS JOIN dbo.digits AS f WHERE a.d < 2;
GO
CREATE TABLE dbo.documents (id int NOT NULL PRIMARY KEY, body varchar(max) NULL);
GO
INSERT INTO dbo.documents SELECT a.d * 100 + b.d * 10 + c.d,
    REPLICATE(CAST('abcdefgh' AS varchar(max)), 131072)
FROM dbo.digits AS a CROSS JOIN dbo.digits AS b CROSS JOIN dbo.digits AS c WHERE a.d < 2;
"""
SUM_OF_AMOUNTS = sum(i % 100 for i in range(ROWS))


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory):
    with sources.running(SCRIPT, tmp_path_factory.mktemp("sqlserver")) as running:
        yield running


@pytest.fixture(scope="module")
def tables(sandbox):
    with sources.client(sandbox) as client:
        return {table.name: table for table in introspect(client).tables}


@pytest.fixture
def control(sandbox):
    control = sandbox.control("sqlserver")
    yield control
    control.arm()
    assert sources.open_connections(control) == 0


@pytest.fixture
def client(sandbox, control):
    with sources.client(sandbox) as made:
        yield made


@contextlib.contextmanager
def reading(client, plan, key_range=None, *, batch_rows=1000, level="full", snapshot=True):
    with open_partition(
        client,
        plan,
        key_range or plan.key_ranges[0],
        batch_rows=batch_rows,
        level=VerificationLevel(level),
        snapshot=snapshot,
    ) as read:
        yield read


def test_values_through_arrow(client, tables):
    with reading(client, sources.plan_of(tables["kinds"])) as read:
        first, second = pa.Table.from_batches(list(read.batches())).to_pylist()
    utc = datetime.UTC
    stamp = datetime.datetime
    assert first == {
        "id": 1,
        "flag": True,
        "tiny": 255,
        "small": -32768,
        "big": 9223372036854775807,
        "price": decimal.Decimal("-12.5000"),
        "wide": decimal.Decimal(10**38 - 1),
        "cash": decimal.Decimal("922337203685477.5807"),
        "ratio": 1.5,
        "thin": 0.25,
        "day": datetime.date(1, 1, 1),
        "clock": "23:59:59.9999990",
        "old": stamp(2024, 1, 31, 10, 0, 0, 997000),
        "minute": stamp(2024, 1, 31, 10, 30),
        "stamp": stamp(9999, 12, 31, 23, 59, 59, 999999),
        "fine": stamp(2024, 1, 31, 10, 0, 0, 123456),
        "zoned": stamp(2024, 1, 31, 8, 0, 0, 123000, tzinfo=utc),
        "fixed": "ab   ",
        "word": "word",
        "text": "Łuk 😀",
        "long": "long",
        "raw": b"\x00\xff\x10",
        "guid": "6F9619FF-8B86-D011-B42D-00C04FC964FF",
    }
    assert second == {"id": 2} | dict.fromkeys(list(first)[1:])


def test_batches_are_no_larger_than_asked_and_the_server_measures_the_same_rows(client, tables):
    with reading(client, sources.plan_of(tables["many"]), batch_rows=3000) as read:
        batches = list(read.batches())
        fingerprint = read.fingerprint()
    assert [batch.num_rows for batch in batches] == [3000] * 6 + [2000]
    assert fingerprint.rows == ROWS
    assert fingerprint.values["amount.sum"] == SUM_OF_AMOUNTS
    assert read.consistency == "snapshot"


def test_a_key_range_is_read_and_measured(client, tables):
    ranges = (
        KeyRange(source_partition=0, column="id", upper="10"),
        KeyRange(source_partition=1, column="id", lower="10", upper="30"),
        KeyRange(source_partition=2, column="id", lower="30"),
    )
    plan = sources.plan_of(tables["many"], *ranges)
    found = []
    for key_range in ranges:
        with reading(client, plan, key_range) as read:
            ids = [i for batch in read.batches() for i in batch.column("id").to_pylist()]
            fingerprint = read.fingerprint()
        assert fingerprint == measure_partition(client, plan, key_range, VerificationLevel.FULL)
        found.append((min(ids), max(ids), len(ids), fingerprint.rows))
    assert found == [(0, 9, 10, 10), (10, 29, 20, 20), (30, ROWS - 1, ROWS - 30, ROWS - 30)]


def test_an_empty_range_has_no_rows_and_a_fingerprint(client, tables):
    empty = KeyRange(source_partition=0, column="id", lower="-20", upper="-10")
    with reading(client, sources.plan_of(tables["many"], empty)) as read:
        assert sum(batch.num_rows for batch in read.batches()) == 0
        assert read.fingerprint().rows == 0


@pytest.mark.parametrize(("level", "measures"), [("none", None), ("count", 0), ("full", 8)])
def test_the_level_decides_what_is_measured(client, tables, level, measures):
    with reading(client, sources.plan_of(tables["many"]), level=level) as read:
        list(read.batches())
        fingerprint = read.fingerprint()
    if measures is None:
        assert fingerprint is None
    else:
        assert fingerprint.rows == ROWS
        assert (len(fingerprint.values) > 0) == (measures > 0)


def change_amount(sandbox, by):
    with sources.client(sandbox) as other:
        other.query(f"UPDATE dbo.many SET amount = amount + {by} WHERE id = 5")


def test_a_change_between_rows_and_fingerprint_is_not_seen_in_a_snapshot(sandbox, client, tables):
    with reading(client, sources.plan_of(tables["many"])) as read:
        rows = sum(batch.num_rows for batch in read.batches())
        change_amount(sandbox, 1000)
        fingerprint = read.fingerprint()
    change_amount(sandbox, -1000)
    assert (rows, fingerprint.values["amount.sum"]) == (ROWS, SUM_OF_AMOUNTS)


def test_a_change_between_rows_and_fingerprint_is_seen_without(sandbox, client, tables):
    with reading(client, sources.plan_of(tables["many"]), snapshot=False) as read:
        for _ in read.batches():
            pass
        change_amount(sandbox, 1000)
        fingerprint = read.fingerprint()
    change_amount(sandbox, -1000)
    assert fingerprint.values["amount.sum"] == SUM_OF_AMOUNTS + 1000
    assert read.consistency == "read committed"


def test_a_snapshot_that_is_not_allowed_is_read_committed(control, client, tables):
    words = "Snapshot isolation transaction failed accessing database 'shop' because snapshot "
    words += "isolation is not allowed in this database."
    control.arm(Fault("error", match=r"SELECT .*dbo", number=3952, message=words, times=1))
    with reading(client, sources.plan_of(tables["many"])) as read:
        rows = sum(batch.num_rows for batch in read.batches())
    assert (rows, read.consistency) == (ROWS, "read committed")


def test_a_table_that_is_gone(client, tables):
    plan = sources.plan_of(tables["many"]).model_copy(update={"source_name": "gone"})
    with pytest.raises(ObjectNotFoundError, match=r"dbo\.gone"), reading(client, plan):
        pass


def test_a_deadlock_is_transient(control, client, tables):
    control.arm(
        Fault("error", match=r"FROM \[dbo\]", number=1205, message="You are the deadlock victim.")
    )
    with (
        pytest.raises(ServerBusyError, match=r"Reading dbo\.many, partition 0"),
        reading(client, sources.plan_of(tables["many"])),
    ):
        pass


def read_into(sizes, client, plan, *, batch_rows):
    with reading(client, plan, batch_rows=batch_rows) as read:
        for batch in read.batches():
            sizes.append(batch.num_rows)


def test_a_socket_that_drops_before_the_first_row(control, client, tables):
    control.arm(Fault("drop", match=r"FROM \[dbo\]\.\[many\]", after_bytes=1))
    sizes = []
    with pytest.raises(ConnectionLostError, match=r"dbo\.many"):
        read_into(sizes, client, sources.plan_of(tables["many"]), batch_rows=500)
    assert sizes == []


def test_a_socket_that_drops_in_the_middle(control, client, tables):
    control.arm(Fault("drop", match=r"FROM \[dbo\]\.\[many\]", after_bytes=200_000))
    sizes = []
    with pytest.raises(ConnectionLostError, match=r"dbo\.many"):
        read_into(sizes, client, sources.plan_of(tables["many"]), batch_rows=500)
    assert 0 < sum(sizes) < ROWS


def test_an_error_of_the_consumer_closes_the_connection(control, client, tables):
    def consume():
        with reading(client, sources.plan_of(tables["many"])) as read:
            next(read.batches())
            assert control.state().open == 1
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        consume()
    assert sources.open_connections(control) == 0


def test_stopping_early_closes_the_connection(control, client, tables):
    with reading(client, sources.plan_of(tables["many"]), batch_rows=10) as read:
        assert next(read.batches()).num_rows == 10
    assert sources.open_connections(control) == 0


def test_eight_threads_never_have_more_than_two_connections(sandbox, control, tables):
    most = []
    rows = []
    with sources.client(sandbox, pool_size=2) as client:
        plan = sources.plan_of(tables["many"])

        def work(number):
            if number % 2:
                client.query("SELECT COUNT_BIG(*) FROM dbo.many")
            with reading(client, plan, level="none") as read:
                rows.extend(batch.num_rows for batch in read.batches())
                most.append(control.state().open)

        threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
    assert sum(rows) == 8 * ROWS
    assert max(most) <= 2


def test_waiting_for_a_connection_ends(sandbox, control, tables):
    with (
        sources.client(sandbox, pool_size=1, pool_timeout_s=1) as client,
        reading(client, sources.plan_of(tables["many"])),
        pytest.raises(ConnectionLimitError, match="MSSQL_POOL_SIZE"),
    ):
        client.query("SELECT 1")


def test_an_answer_that_takes_too_long(sandbox, control, tables):
    control.arm(Fault("delay", match=r"FROM \[dbo\]\.\[many\]", seconds=6))
    with sources.client(sandbox, query_timeout_s=1) as client:
        with (
            pytest.raises(OperationTimeoutError) as slow,
            reading(client, sources.plan_of(tables["many"])),
        ):
            pass
        assert "Partition p000 of dbo.many has about 20,000 rows" in slow.value.found
        assert "set MSSQL_QUERY_TIMEOUT_S to 2 (it is 1)" in slow.value.next_step
        assert "`target_rows: 10000` for the table" in slow.value.next_step
        with pytest.raises(OperationTimeoutError):
            client.query("SELECT COUNT_BIG(*) FROM [dbo].[many]")


ATTENTION = 6
"""Packet type by which a client cancels a statement (MS-TDS 2.2.1.7)."""


@contextlib.contextmanager
def stalling_proxy(port, *, after_bytes):
    """Passes bytes on to the server, but its answer stalls until the client cancels."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = socket.create_connection(("127.0.0.1", port))
        cancelled = threading.Event()
        client = None

        def ask():
            nonlocal client
            client, _ = listener.accept()
            threading.Thread(target=answer, daemon=True).start()
            with contextlib.suppress(OSError):  # either side has closed
                while data := client.recv(4096):
                    if data[0] == ATTENTION:
                        cancelled.set()
                    server.sendall(data)

        def answer():
            passed = 0
            with contextlib.suppress(OSError):  # either side has closed
                while data := server.recv(4096):
                    passed += len(data)
                    if passed > after_bytes:
                        cancelled.wait(30)
                    client.sendall(data)

        threading.Thread(target=ask, daemon=True).start()
        try:
            yield listener.getsockname()[1]
        finally:
            for end in (client, server):
                with contextlib.suppress(OSError):  # closed by its other end
                    end.shutdown(socket.SHUT_RDWR)
                end.close()


def test_rows_that_stop_coming_are_not_waited_for_without_end(sandbox, control, tables):
    sizes = []
    with (
        stalling_proxy(sandbox.port("sqlserver"), after_bytes=300_000) as port,
        # Behind TLS the proxy could not see that the client cancels.
        sources.client(sandbox, port=port, query_timeout_s=3, encrypt="no") as client,
        pytest.raises(OperationTimeoutError, match=r"dbo\.many.*sent no rows for 3 s") as stalled,
    ):
        read_into(sizes, client, sources.plan_of(tables["many"]), batch_rows=500)
    assert 0 < sum(sizes) < ROWS
    assert f"{sum(sizes):,} of which had come" in stalled.value.found


MIB = 2**20


def kibibytes(name):
    """A line of what Linux tells of this process' memory."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith(f"{name}:")))


def test_rows_of_1_mib_do_not_multiply(client, tables, tmp_path, monkeypatch):
    table = sources.plan_of(tables["documents"])
    table = table.replaced(location=f"file://{tmp_path}/documents")
    fetches = []
    saw = FetchSize.saw

    def counted(size, rows, count):
        fetches.append((rows, count))
        saw(size, rows, count)

    monkeypatch.setattr(FetchSize, "saw", counted)
    memory = MemoryLimit(128 * MIB)
    extraction = Extraction(
        table=table, run_id="r", level=VerificationLevel.FULL,
        standpoint=Standpoint(snapshot=False), batch_rows=65_536, memory=memory,
    )  # fmt: skip
    lake = Lake(LakeSettings(_env_file=None, catalog_type="sql", warehouse_path=str(tmp_path)))
    is_measured = sys.platform == "linux" and os.access("/proc/self/clear_refs", os.W_OK)
    if is_measured:
        Path("/proc/self/clear_refs").write_text("5")  # forgets the peak
        before = kibibytes("VmRSS")
    receipt = extraction.read(client, lake, "p000")
    if is_measured:
        # 200 MiB are read; in one batch they took 500 and more.
        assert (kibibytes("VmHWM") - before) / 1024 < 270
    assert receipt.rows == receipt.source_fingerprint.rows == 200
    # The first fetch is made before anything is known, with a guess that has room for such rows.
    assert fetches[0][0] == memory.unbounded_rows
    assert {rows for rows, _ in fetches[1:]} <= {1, 2, 3, 4}
    assert all(count <= memory.batch_bytes for _, count in fetches[1:])
    (file,) = receipt.files
    with lake.store.open_input(file.path) as stream:
        found = pq.ParquetFile(stream).metadata
        rows = [found.row_group(number).num_rows for number in range(found.num_row_groups)]
    assert sum(rows) == 200
    most = (memory.row_group_bytes + memory.batch_bytes) // MIB
    assert max(rows[1:]) <= most
    # Nor when they are read again, whatever rows a batch may have.
    again = [batch.num_rows for batch in read_files(lake, table, [file.path])]
    assert sum(again) == 200
    assert max(again) == max(rows)


def test_memory_does_not_grow_with_the_number_of_tables(client, tables, tmp_path):
    """The script that this replaces kept what it had read of each table."""
    lake = Lake(LakeSettings(_env_file=None, catalog_type="sql", warehouse_path=str(tmp_path)))
    plan = sources.plan_of(tables["many"])
    arrow_bytes, resident = [], []
    for number in range(40):
        table = plan.replaced(
            location=f"file://{tmp_path}/many{number}", iceberg_table=f"many_{number}"
        )
        extraction = Extraction(
            table=table, run_id="r", level=VerificationLevel.FULL,
            standpoint=Standpoint(snapshot=False), batch_rows=4096, memory=MemoryLimit(128 * MIB),
        )  # fmt: skip
        assert extraction.read(client, lake, "p000").rows == ROWS
        arrow_bytes.append(pa.total_allocated_bytes())
        resident.append(kibibytes("VmRSS") if sys.platform == "linux" else 0)
    kept = ROWS * (4 + 4 + 41)
    """Bytes of one table's rows."""
    assert max(arrow_bytes[10:]) - arrow_bytes[9] < kept / 2
    # Thirty tables were read since the tenth, forty megabytes in all.
    assert (resident[-1] - resident[9]) * 1024 < 10 * kept

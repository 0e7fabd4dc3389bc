"""Load over real sockets: Iceberg tables in the S3 and Glue stand-in, read by that of StarRocks.

What arrived is read back through a bare pymysql connection, not through the product.
"""

from __future__ import annotations

import socket
import threading
import time
from contextlib import closing
from decimal import Decimal

import pytest

pytest.importorskip("duckdb", reason="needs the extra sandbox")

from pydantic import SecretStr

from migration_assets.choices import OnExisting, VerificationLevel
from migration_assets.errors import (
    AccessDeniedError,
    ConnectionLimitError,
    ConnectionLostError,
    ExistingObjectError,
    ObjectNotFoundError,
    OperationTimeoutError,
    SchemaDriftError,
    ServerBusyError,
    StatementError,
    TransientError,
)
from migration_assets.plan import TablePlan
from migration_assets.sandbox.control import Fault
from migration_assets.sandbox.launcher import Sandbox
from migration_assets.schema import MssqlType
from migration_assets.starrocks import catalog, dml, load, resource, tables
from migration_assets.starrocks.resource import StarRocks
from migration_assets_tests.sandbox import targets
from migration_assets_tests.sandbox.targets import NOW, as_read, plan, row, settings_of
from migration_assets_tests.unit.tables import INT, table_plan


@pytest.fixture(scope="module")
def bench():
    with targets.running() as bench:
        yield bench


@pytest.fixture
def client(bench):
    with StarRocks(bench.settings) as client:
        yield client
    bench.control.arm()
    assert bench.await_closed() == 0


@pytest.fixture
def table(bench, request):
    """An Iceberg table of its own for each test, and its table in StarRocks."""
    made = plan(request.node.name.removeprefix("test_").split("[")[0][:60])
    bench.create(made)
    return made


@pytest.fixture
def loaded(bench, client, table):
    """Two partitions loaded; the third is empty so far."""
    tables.ensure_table(client, table)
    first = [row(number, 0) for number in (1, 2, 3)]
    second = [row(number, 1) for number in (100, 101)]
    for number, rows in enumerate((first, second)):
        snapshot = bench.commit(table, number, rows)
        key = table.partition_keys[number]
        assert load.load_partition(client, table, key, snapshot, run_id="r") == len(rows)
    return [as_read(values) for values in first + second]


def test_every_value_arrives(bench, client, table, loaded):
    assert bench.rows(table) == loaded
    assert load.partition_rows(client, table) == {0: 3, 1: 2}


def test_a_second_load_changes_nothing(bench, client, table, loaded):
    snapshot = bench.catalog.load_table(f"dbo.{table.iceberg_table}").current_snapshot()
    tables.ensure_table(client, table)
    for key in ("p000", "p001"):
        load.load_partition(client, table, key, snapshot.snapshot_id, run_id="again")
    assert bench.rows(table) == loaded


def test_only_its_own_partition_is_replaced_and_vanished_rows_go(bench, client, table, loaded):
    snapshot = bench.commit(table, 0, [row(2, 0, note="new")])
    assert load.load_partition(client, table, "p000", snapshot, run_id="r") == 1
    assert bench.rows(table) == [as_read(row(2, 0, note="new")), *loaded[3:]]


def test_a_partition_that_became_empty_is_emptied(bench, client, table, loaded):
    snapshot = bench.commit(table, 0, [])
    assert load.load_partition(client, table, "p000", snapshot, run_id="r") == 0
    assert bench.rows(table) == loaded[3:]


def test_a_partition_that_never_had_rows_can_be_loaded(bench, client, table, loaded):
    snapshot = bench.catalog.load_table(f"dbo.{table.iceberg_table}").current_snapshot()
    assert load.load_partition(client, table, "p002", snapshot.snapshot_id, run_id="r") == 0
    assert bench.rows(table) == loaded


def test_the_snapshot_is_pinned(bench, client, table, loaded):
    old = bench.catalog.load_table(f"dbo.{table.iceberg_table}").current_snapshot()
    bench.commit(table, 1, [])
    load.load_partition(client, table, "p001", old.snapshot_id, run_id="r")
    assert bench.rows(table) == loaded


def test_new_snapshots_are_unknown_until_the_refresh_that_load_does(bench, client, table, loaded):
    snapshot = bench.commit(table, 0, [row(1, 0)])
    sql = dml.insert_overwrite_sql(
        table, catalog="lake", source_partition=0, snapshot_id=snapshot, label="bare"
    )
    with pytest.raises(TransientError, match="does not know the Iceberg snapshot"):
        client.execute(sql)
    assert bench.rows(table) == loaded
    assert load.load_partition(client, table, "p000", snapshot, run_id="r") == 1


def test_a_new_snapshot_is_read_at_the_first_attempt(bench, client, table, loaded, monkeypatch):
    monkeypatch.setattr(load, "SNAPSHOT_WAITS_S", ())
    snapshot = bench.commit(table, 0, [row(1, 0)])
    assert load.load_partition(client, table, "p000", snapshot, run_id="r") == 1


def test_a_snapshot_that_does_not_exist(bench, client, table, loaded, monkeypatch):
    monkeypatch.setattr(load, "SNAPSHOT_WAITS_S", (0.0,))
    with pytest.raises(TransientError, match=rf"dbo\.{table.starrocks_table}.*4611686018427387904"):
        load.load_partition(client, table, "p000", 2**62, run_id="r")
    assert bench.rows(table) == loaded


def test_the_fingerprint_counts_and_sums(bench, client, table, loaded):
    key_range = table.key_ranges[0]
    before = load.measure(client, table, key_range, VerificationLevel.FULL)
    assert before.rows == 3
    assert before.values["id.sum"] == 1 + 2 + 3
    assert before.values["day.count"] == 2
    assert before.values["big.sum"] == -3 * 10**37 - 6
    assert before.values["note.bytes"] == 3 * len("Grüße 😀".encode())
    counted = load.measure(client, table, key_range, VerificationLevel.COUNT)
    assert (counted.rows, counted.values) == (3, {})
    snapshot = bench.commit(table, 0, [row(1, 0), row(2, 0), {**row(3, 0), "price": Decimal(9)}])
    load.load_partition(client, table, "p000", snapshot, run_id="r")
    after = load.measure(client, table, key_range, VerificationLevel.FULL)
    assert {d.what for d in before.differences(after)} == {"price.sum", "price.swap"}


def test_rows_that_do_not_fit_fail_the_load_and_leave_the_old_ones(bench, client, table, loaded):
    long = "ß" * 16  # 32 bytes, VARCHAR(30)
    snapshot = bench.commit(table, 0, [row(1, 0), row(2, 0, note=long)])
    with pytest.raises(StatementError, match=r"p000.*filtered.*load_tracking_logs"):
        load.load_partition(client, table, "p000", snapshot, run_id="r")
    assert bench.rows(table) == loaded


def test_a_number_that_does_not_fit_its_type_is_an_error_not_null(bench, client):
    """Iceberg has no 16-bit type: a smallint comes as int, and is cast back."""
    table = table_plan([("id", INT), ("small", MssqlType("smallint", 2, 5))], name="narrow")
    table = TablePlan.model_validate({**table.model_dump(), "location": "s3://lake/narrow"})
    bench.create(table)
    tables.ensure_table(client, table)
    audit = {"migrated_at": NOW, "source_schema": "dbo", "source_partition": 0}
    snapshot = bench.commit(table, 0, [{"id": 1, "small": 32_768, **audit}])
    with pytest.raises(StatementError, match=r"dbo\.narrow, partition p000"):
        load.load_partition(client, table, "p000", snapshot, run_id="r")
    assert bench.rows(table) == []


def test_the_load_can_be_found_by_its_run(bench, client, table):
    tables.ensure_table(client, table)
    snapshot = bench.commit(table, 0, [row(1, 0)])
    load.load_partition(client, table, "p000", snapshot, run_id="0f1e-run")
    found = bench.read(
        "SELECT STATE FROM information_schema.loads "
        f"WHERE LABEL LIKE 'migration_{table.table_id}_0_0f1e-run_%'"
    )
    assert found == [("FINISHED",)]


def in_threads(count, work):
    """Run `work(number)` in threads; return what they raised."""
    failures = []

    def guarded(number):
        try:
            work(number)
        except BaseException as error:  # noqa: BLE001 - goes to the caller
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return failures


def test_different_partitions_load_at_once(bench, table):
    with StarRocks(settings_of(bench.sandbox, pool_size=3)) as client:
        tables.ensure_table(client, table)
        rows = {number: [row(100 * number + i, number) for i in range(5)] for number in range(3)}
        snapshots = [bench.commit(table, number, rows[number]) for number in range(3)]
        failures = in_threads(
            3,
            lambda number: load.load_partition(
                client, table, f"p00{number}", snapshots[-1], run_id="r"
            ),
        )
    assert failures == []
    assert bench.rows(table) == [as_read(r) for number in range(3) for r in rows[number]]


def test_runs_that_create_the_table_at_once_all_succeed(bench, table):
    fresh = plan("created_at_once", starrocks_database="created_at_once")
    with StarRocks(settings_of(bench.sandbox, pool_size=6)) as client:
        assert in_threads(6, lambda _: tables.ensure_table(client, fresh)) == []
        assert tables.list_tables(client, "created_at_once") == ["created_at_once"]
    assert bench.await_closed() == 0


def test_a_connection_that_drops_during_the_insert(bench, client, table, loaded):
    snapshot = bench.commit(table, 0, [row(1, 0)])
    bench.control.arm(Fault("drop", match="^INSERT OVERWRITE", times=1))
    with pytest.raises(ConnectionLostError, match=r"p000.*127\.0\.0\.1"):
        load.load_partition(client, table, "p000", snapshot, run_id="r")
    assert bench.await_closed() == 0
    assert load.load_partition(client, table, "p000", snapshot, run_id="r") == 1
    assert bench.rows(table) == [as_read(row(1, 0)), *loaded[3:]]


def test_a_load_that_still_runs_is_not_raced(bench, client, table, loaded):
    snapshot = bench.commit(table, 0, [row(1, 0)])
    bench.control.arm(Fault("delay", match="^INSERT OVERWRITE", seconds=4, times=1))
    started = bench.control.state().statements

    def first(_):
        load.load_partition(client, table, "p000", snapshot, run_id="first")

    thread = threading.Thread(target=in_threads, args=(1, first))
    thread.start()
    deadline = time.monotonic() + 10
    while bench.control.faults()[0].times and time.monotonic() < deadline:
        time.sleep(0.05)
    assert bench.control.state().statements > started
    with StarRocks(bench.settings) as other, pytest.raises(ServerBusyError, match="KILL"):
        load.load_partition(other, table, "p000", snapshot, run_id="second")
    thread.join(30)
    assert bench.rows(table) == [as_read(row(1, 0)), *loaded[3:]]


def test_a_server_that_is_too_slow(bench, table, loaded):
    snapshot = bench.commit(table, 0, [row(1, 0)])
    bench.control.arm(Fault("delay", match="^INSERT OVERWRITE", seconds=20, times=1))
    with StarRocks(settings_of(bench.sandbox, insert_timeout_s=1)) as client:
        begun = time.monotonic()
        with pytest.raises(OperationTimeoutError) as slow:
            load.load_partition(client, table, "p000", snapshot, run_id="r")
        assert "Partition p000 of" in slow.value.found
        assert "set STARROCKS_INSERT_TIMEOUT_S to 2 (it is 1)" in slow.value.next_step
        assert time.monotonic() - begun < 10
    assert bench.rows(table) == loaded


def test_an_insert_that_we_gave_up_on_is_ended(bench, table, loaded, monkeypatch):
    snapshot = bench.commit(table, 0, [row(1, 0)])
    bench.control.arm(Fault("delay", match="^INSERT OVERWRITE", seconds=30, times=1))
    monkeypatch.setattr(resource, "_GRACE_S", -19)  # we lose patience long before the server does
    with StarRocks(settings_of(bench.sandbox, insert_timeout_s=20)) as client:
        with pytest.raises(OperationTimeoutError, match="p000"):
            load.load_partition(client, table, "p000", snapshot, run_id="r")
        assert load.load_partition(client, table, "p000", snapshot, run_id="r") == 1
    assert bench.rows(table) == [as_read(row(1, 0)), *loaded[3:]]


def test_refused_connections_are_a_limit(bench, client):
    bench.control.arm(Fault("refuse", above=0))
    with pytest.raises(ConnectionLimitError, match=r"127\.0\.0\.1:.*STARROCKS_POOL_SIZE"):
        client.query("SELECT 1")
    bench.control.arm()
    assert client.query("SELECT 1") == [(1,)]


def test_the_cap_holds_with_more_threads_than_connections():
    with Sandbox(["starrocks"], limits={"starrocks": 2}) as sandbox:
        with StarRocks(settings_of(sandbox, pool_size=2)) as client:

            def work(number):
                for _ in range(5):
                    assert client.query(f"SELECT {number}") == [(number,)]

            assert in_threads(8, work) == []
        state = sandbox.control("starrocks").state()
        assert (state.max_open, state.refused) == (2, 0)
        assert state.opened == 40


@pytest.mark.parametrize(
    ("changed", "kind", "words"),
    [
        ({"password": SecretStr("wr0ng")}, AccessDeniedError, "STARROCKS_PASSWORD"),
        ({"user": "nobody"}, AccessDeniedError, "nobody"),
        ({"port": 1}, ConnectionLostError, "127.0.0.1:1 "),
        ({"host": "no-such-host.invalid"}, ConnectionLostError, "STARROCKS_HOST"),
    ],
)
def test_wrong_settings_give_one_clear_sentence(bench, changed, kind, words):
    with StarRocks(settings_of(bench.sandbox, **changed)) as client, pytest.raises(kind) as caught:
        client.query("SELECT 1")
    assert words in str(caught.value)
    assert "wr0ng" not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert bench.await_closed() == 0


def test_a_server_that_accepts_and_says_nothing_does_not_hang_us(bench):
    with closing(socket.create_server(("127.0.0.1", 0))) as mute:
        settings = settings_of(bench.sandbox, port=mute.getsockname()[1], connect_timeout_s=1)
        begun = time.monotonic()
        with StarRocks(settings) as client, pytest.raises(TransientError):
            client.query("SELECT 1")
        assert time.monotonic() - begun < 5


def test_a_missing_catalog_or_table_is_named(bench, client, table):
    tables.ensure_table(client, table)
    with StarRocks(settings_of(bench.sandbox, catalog="nowhere")) as other:
        with pytest.raises(ObjectNotFoundError, match="doctor --fix"):
            catalog.check_catalog(other)
        with pytest.raises(ObjectNotFoundError, match="nowhere"):
            load.load_partition(other, table, "p000", 2**62, run_id="r")
    missing = plan("not_in_glue")
    tables.ensure_table(client, missing)
    with pytest.raises(ObjectNotFoundError, match=r"dbo\.not_in_glue through catalog lake"):
        load.load_partition(client, missing, "p000", 2**62, run_id="r")
    with pytest.raises(ObjectNotFoundError, match="not there yet"):
        load.measure(client, plan("not there yet"), table.key_ranges[0], VerificationLevel.COUNT)


def test_the_catalog_can_be_created_twice_and_reads_a_row(bench, client, table):
    catalog.check_catalog(client)
    catalog.create_catalog(client, bench.lake)
    assert catalog.read_one_row(client, table) is None
    bench.commit(table, 0, [row(5, 0)])
    found = catalog.read_one_row(client, table)
    assert found is not None
    assert found[:2] == (5, "Grüße 😀")
    assert catalog.server_version(client)


def test_a_table_of_another_plan_wants_a_reset(bench, client, table, loaded):
    changed = plan(table.starrocks_table, key_ranges=table.model_dump()["key_ranges"][:1])
    with pytest.raises(SchemaDriftError, match=f"{table.table_id}.*{changed.table_id}"):
        tables.ensure_table(client, changed)
    assert bench.rows(table) == loaded
    tables.recreate_table(client, changed)
    tables.ensure_table(client, changed)
    assert bench.rows(table) == []


def test_an_altered_table_is_noticed(bench, client, table):
    tables.ensure_table(client, table)
    bench.read(f"ALTER TABLE dbo.`{table.starrocks_table}` ADD COLUMN extra INT NULL")
    with pytest.raises(SchemaDriftError, match="column extra is not in the plan"):
        tables.ensure_table(client, table)


@pytest.fixture
def foreign(bench, client, table):
    """The target table, made by somebody else, with a row."""
    tables.ensure_table(client, plan("unrelated"))  # makes the database
    columns = "id INT NOT NULL, note VARCHAR(30)"
    bench.read(
        f"CREATE TABLE dbo.`{table.starrocks_table}` ({columns}) DUPLICATE KEY(id) "
        'DISTRIBUTED BY HASH(id) BUCKETS 1 PROPERTIES("replication_num"="1")'
    )
    bench.read(f"INSERT INTO dbo.`{table.starrocks_table}` VALUES (1, 'theirs')")
    return table


def test_a_foreign_table_is_refused(bench, client, foreign):
    with pytest.raises(ExistingObjectError, match="on_existing"):
        tables.ensure_table(client, foreign)
    with pytest.raises(ExistingObjectError):
        tables.recreate_table(client, foreign)
    assert bench.rows(foreign) == [(1, "theirs")]


def test_a_foreign_table_that_does_not_fit_is_not_adopted(bench, client, foreign):
    adopting = plan(foreign.starrocks_table, on_existing=OnExisting.ADOPT)
    with pytest.raises(ExistingObjectError, match="column price is missing"):
        tables.ensure_table(client, adopting)
    assert bench.rows(foreign) == [(1, "theirs")]


def test_a_foreign_table_is_replaced_when_the_plan_says_so(bench, client, foreign):
    replacing = plan(foreign.starrocks_table, on_existing=OnExisting.REPLACE)
    tables.ensure_table(client, replacing)
    assert bench.rows(foreign) == []
    snapshot = bench.commit(replacing, 0, [row(1, 0)])
    load.load_partition(client, replacing, "p000", snapshot, run_id="r")
    tables.ensure_table(client, replacing)
    assert bench.rows(foreign) == [as_read(row(1, 0))]

"""Points in time over real sockets, while a bank's transfers run."""

from __future__ import annotations

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from migration_assets.assets.checks import source_verdicts
from migration_assets.assets.extractor import Extraction
from migration_assets.choices import Consistency, VerificationLevel
from migration_assets.errors import (
    AccessDeniedError,
    ConfigurationError,
    ExistingObjectError,
    ObjectNotFoundError,
    ServerBusyError,
    StatementError,
    UnsupportedError,
)
from migration_assets.key_range import KeyRange
from migration_assets.mssql.client import SqlServer
from migration_assets.mssql.database_snapshot import (
    create_snapshot,
    create_sql,
    drop_snapshot,
    find_snapshot,
    refuse_unsupported,
)
from migration_assets.mssql.introspection import introspect
from migration_assets.mssql.point_in_time import find_standpoint, start_watch
from migration_assets.plan import DatabaseSnapshot
from migration_assets.receipts import Difference
from migration_assets.sandbox.control import Fault
from migration_assets_tests.sandbox import bank, sources
from migration_assets_tests.sandbox.project import Statements
from migration_assets_tests.unit.iceberg_tables import local_lake

SNAPSHOT = DatabaseSnapshot(name="shop_migration")
QUARTER = bank.ACCOUNTS // bank.PARTITIONS
RANGES = tuple(
    KeyRange(
        source_partition=n,
        column="id",
        lower=str(n * QUARTER) if n else None,
        upper=str((n + 1) * QUARTER) if n < bank.PARTITIONS - 1 else None,
    )
    for n in range(bank.PARTITIONS)
)


@pytest.fixture(scope="module")
def logs(tmp_path_factory):
    return tmp_path_factory.mktemp("statements")


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory, logs):
    folder = tmp_path_factory.mktemp("sqlserver")
    with sources.running(bank.SCRIPT, folder, statements_dir=logs) as running:
        yield running


@pytest.fixture(scope="module")
def statements(sandbox, logs):
    return Statements(logs / "sqlserver.jsonl")


@pytest.fixture
def client(sandbox):
    with sources.client(sandbox) as made:
        yield made
        sandbox.control("sqlserver").arm()
        for statement in (
            "GRANT CREATE DATABASE TO sa",
            "DROP DATABASE IF EXISTS shop_migration",
            "ALTER DATABASE shop SET ALLOW_SNAPSHOT_ISOLATION ON",
            "ALTER DATABASE shop SET READ_COMMITTED_SNAPSHOT OFF",
            "ALTER DATABASE shop SET CHANGE_TRACKING = OFF",
        ):
            made.query(statement)


@pytest.fixture
def lake(tmp_path):
    with local_lake(tmp_path) as made:
        yield made


@pytest.fixture
def table(client, lake):
    (found,) = introspect(client).tables
    location = f"{lake.settings.warehouse}/shop/accounts"
    return sources.plan_of(found, *RANGES).model_copy(update={"location": location})


def extraction(client, table, consistency):
    return Extraction(
        table=table,
        run_id="r1",
        level=VerificationLevel.FULL,
        standpoint=find_standpoint(client, consistency, "shop"),
        batch_rows=64,
    )


def extracted(sandbox, lake, table, consistency, *, between=lambda: None):
    """Extract partition by partition, each on connections of its own, something in between."""
    database = SNAPSHOT.name if consistency is Consistency.DATABASE_SNAPSHOT else "shop"
    receipts = []
    for key in table.partition_keys:
        with sources.client(sandbox, database=database) as reader:
            receipts.append(extraction(reader, table, consistency).read(reader, lake, key))
        between()
    return receipts


def total(receipts):
    """What lies in the data files."""
    paths = [file.path.removeprefix("file://") for r in receipts for file in r.files]
    return sum(pc.sum(pq.read_table(path)["balance"]).as_py() for path in paths)


def arrived(sandbox, client, lake, table, consistency):
    with sources.client(sandbox) as teller, bank.transfers(teller) as transfers:
        transfers.await_more()
        if consistency is Consistency.DATABASE_SNAPSHOT:
            create_snapshot(client, SNAPSHOT)
        return extracted(sandbox, lake, table, consistency, between=transfers.await_more)


def test_partitions_of_a_database_snapshot_show_one_state(sandbox, client, lake, table):
    receipts = arrived(sandbox, client, lake, table, Consistency.DATABASE_SNAPSHOT)
    assert total(receipts) == bank.TOTAL
    assert {receipt.consistency for receipt in receipts} == {"database snapshot"}
    (point,) = {receipt.point_in_time for receipt in receipts}
    found = find_snapshot(client, SNAPSHOT.name)
    assert (point.database_snapshot, point.created) == ("shop_migration", found.created)
    for receipt in receipts:
        assert receipt.source_fingerprint.differences(receipt.fingerprint) == []
        assert receipt.moved == ()


@pytest.mark.parametrize("consistency", [Consistency.NONE, Consistency.STATEMENT])
def test_partitions_without_one_state_lose_money(sandbox, client, lake, table, consistency):
    """So that the test above can fail: each transfer that was read half is missing."""
    receipts = arrived(sandbox, client, lake, table, consistency)
    assert total(receipts) < bank.TOTAL


@pytest.mark.parametrize(
    ("setting", "word"),
    [
        ("ALLOW_SNAPSHOT_ISOLATION ON", "snapshot"),
        ("ALLOW_SNAPSHOT_ISOLATION OFF", "read committed"),
        ("READ_COMMITTED_SNAPSHOT ON", "read committed snapshot"),
    ],
)
def test_what_the_database_allows_is_looked_up_and_no_more_is_tried(  # noqa: PLR0917 - by name
    sandbox, client, lake, table, statements, setting, word
):
    if word != "snapshot":
        client.query("ALTER DATABASE shop SET ALLOW_SNAPSHOT_ISOLATION OFF")
    client.query(f"ALTER DATABASE shop SET {setting}")
    before = statements.matching("ISOLATION LEVEL SNAPSHOT")
    receipts = extracted(sandbox, lake, table, Consistency.STATEMENT)
    assert {receipt.consistency for receipt in receipts} == {word}
    tried = statements.matching("ISOLATION LEVEL SNAPSHOT")[len(before) :]
    assert bool(tried) is (word == "snapshot")


def test_none_reads_what_is_committed_whatever_the_database_allows(sandbox, client, lake, table):
    receipts = extracted(sandbox, lake, table, Consistency.NONE)
    assert {receipt.consistency for receipt in receipts} == {"read committed"}


def test_a_receipt_has_the_change_tracking_version(sandbox, client, lake, table):
    client.query("ALTER DATABASE shop SET CHANGE_TRACKING = ON")
    bank.transfer(client.query, 1, 2)
    (version,) = client.query("SELECT CHANGE_TRACKING_CURRENT_VERSION()")[0]
    (first, *_) = extracted(sandbox, lake, table, Consistency.STATEMENT)
    assert first.point_in_time.named == {"change-tracking-version": str(version)}
    assert version == 2


def test_the_version_in_a_database_snapshot_is_that_of_its_making(sandbox, client, lake, table):
    client.query("ALTER DATABASE shop SET CHANGE_TRACKING = ON")
    create_snapshot(client, SNAPSHOT)
    bank.transfer(client.query, 1, 2)
    (first, *_) = extracted(sandbox, lake, table, Consistency.DATABASE_SNAPSHOT)
    assert first.point_in_time.change_tracking_version == 0


# -- a source that moves ---------------------------------------------------------------------------


def read_while(client, lake, table, act, monkeypatch):
    """Extract the first partition, with something done between its first and its last row."""
    from migration_assets import extraction as module

    real = module.read_ahead

    def read_ahead(items, depth=2):
        for number, item in enumerate(real(items, depth)):
            if number == 0:
                act()
            yield item

    monkeypatch.setattr(module, "read_ahead", read_ahead)
    return extraction(client, table, Consistency.NONE).read(client, lake, "p000")


def test_a_source_that_moved_says_by_what(client, sandbox, lake, table, monkeypatch):
    client.query("ALTER DATABASE shop SET CHANGE_TRACKING = ON")

    def insert():
        with sources.client(sandbox) as other:
            other.query("INSERT INTO dbo.accounts VALUES (-1, 7)")

    try:
        receipt = read_while(client, lake, table, insert, monkeypatch)
    finally:
        client.query("DELETE FROM dbo.accounts WHERE id = -1")
    for counter in (
        Difference(what="rows by the catalog", expected=400, found=401),
        Difference(what="Change Tracking version of the database", expected=0, found=1),
    ):
        assert counter in receipt.moved
    verdicts = source_verdicts(receipt, lambda: receipt.source_fingerprint)
    for verdict in verdicts:
        assert not verdict.equal
        assert not verdict.failed
        assert "rows by the catalog went from 400 to 401" in verdict.describe()


def test_what_other_tables_may_have_moved_excuses_no_difference(client, lake, table):
    (receipt,) = [extraction(client, table, Consistency.NONE).read(client, lake, "p000")]
    wrong = receipt.fingerprint.model_copy(update={"rows": 1})
    of_the_database = Difference(
        what="Change Tracking version of the database", expected=0, found=1
    )
    moved = receipt.model_copy(update={"fingerprint": wrong, "moved": (of_the_database,)})
    assert any(v.failed for v in source_verdicts(moved, lambda: receipt.source_fingerprint))


def test_in_a_database_snapshot_nothing_excuses_a_difference(sandbox, client, lake, table):
    create_snapshot(client, SNAPSHOT)
    (receipt, *_) = extracted(sandbox, lake, table, Consistency.DATABASE_SNAPSHOT)
    wrong = receipt.fingerprint.model_copy(update={"rows": 1})
    broken = receipt.model_copy(update={"fingerprint": wrong})
    assert any(v.failed for v in source_verdicts(broken, lambda: wrong))


def test_counters_that_the_server_does_not_show_are_left_out(client, table):
    watch = start_watch(client, table)
    assert "modification counter" not in watch.names or "sys.stats" in watch.sql
    assert "rows by the catalog" in watch.names
    assert watch.moved(lambda sql: client.query(sql)[0]) == ()


# -- making, finding, dropping ----------------------------------------------------------------------


def test_a_database_snapshot_is_made_once_and_dropped(client):
    made = create_snapshot(client, SNAPSHOT)
    assert (made.name, made.source, made.state) == ("shop_migration", "shop", "ONLINE")
    assert create_snapshot(client, SNAPSHOT) == made
    assert drop_snapshot(client, SNAPSHOT)
    assert not drop_snapshot(client, SNAPSHOT)
    assert find_snapshot(client, SNAPSHOT.name) is None


def test_none_is_made_where_a_listener_leads_elsewhere_each_time(sandbox, client):
    with sources.client(sandbox, application_intent="ReadOnly") as secondary:
        with pytest.raises(ConfigurationError, match=r"ReadOnly.* cannot be .*shop_migration made"):
            create_snapshot(secondary, SNAPSHOT)
        made = create_snapshot(client, SNAPSHOT)
        assert create_snapshot(secondary, SNAPSHOT) == made
        with pytest.raises(ConfigurationError, match="shop_migration dropped"):
            drop_snapshot(secondary, SNAPSHOT)


def test_files_are_made_beside_those_of_the_database_or_in_a_folder(client):
    assert create_sql(client, SNAPSHOT) == (
        "CREATE DATABASE [shop_migration] ON (NAME = [shop], FILENAME = "
        "N'/var/opt/mssql/data/shop_migration_1.ss') AS SNAPSHOT OF [shop]"
    )
    elsewhere = SNAPSHOT.model_copy(update={"folder": "D:\\snap's\\"})
    assert "FILENAME = N'D:\\snap''s\\shop_migration_1.ss'" in create_sql(client, elsewhere)


def test_without_the_right_the_message_has_the_statement_for_who_has_it(client):
    client.query("DENY CREATE DATABASE TO sa")
    with pytest.raises(AccessDeniedError, match=r"CREATE ANY DATABASE.*AS SNAPSHOT OF \[shop\]"):
        create_snapshot(client, SNAPSHOT)


def test_nobody_else_s_database_is_taken_or_dropped(client):
    with pytest.raises(ExistingObjectError, match=r"tempdb on SQL Server .* is no database snap"):
        create_snapshot(client, DatabaseSnapshot(name="tempdb"))
    with pytest.raises(ExistingObjectError, match="is no database snapshot"):
        drop_snapshot(client, DatabaseSnapshot(name="tempdb"))
    with pytest.raises(ExistingObjectError, match="whoever made it"):
        drop_snapshot(client, DatabaseSnapshot(name="shop_migration", ours=False))


@pytest.mark.parametrize(
    ("row", "needle"),
    [
        ((5, "12.0.2000.8", "SQL Azure"), "Azure SQL Database"),
        ((8, "12.0.2000.8", "SQL Azure"), "Managed Instance"),
        ((2, "12.0.5000.0", "Standard Edition (64-bit)"), "before 2016"),
    ],
)
def test_a_server_without_database_snapshots_is_refused(client, monkeypatch, row, needle):
    monkeypatch.setattr(SqlServer, "query", lambda *_, **__: [row])
    with pytest.raises(UnsupportedError, match=needle):
        refuse_unsupported(client)


@pytest.mark.parametrize(
    "row",
    [(3, "16.0.1000.6", "Developer"), (2, "13.0.4001.0", "Standard"), (None, None, None)],
)
def test_a_server_that_may_have_them_is_not(client, monkeypatch, row):
    monkeypatch.setattr(SqlServer, "query", lambda *_, **__: [row])
    refuse_unsupported(client)


def test_a_refusal_by_edition_is_told(client, sandbox):
    sandbox.control("sqlserver").arm(
        Fault(
            "error",
            match="AS SNAPSHOT OF",
            number=1844,
            message="Database Snapshot is not supported on Express Edition.",
        )
    )
    with pytest.raises(UnsupportedError, match="consistency: statement"):
        create_snapshot(client, SNAPSHOT)


def test_files_that_cannot_be_made_name_the_folder_s_rule(client, sandbox):
    message = "CREATE FILE encountered operating system error 112 (There is not enough space)."
    sandbox.control("sqlserver").arm(
        Fault("error", match="AS SNAPSHOT OF", number=5123, message=message)
    )
    with pytest.raises(StatementError, match="database_snapshot_folder"):
        create_snapshot(client, SNAPSHOT)


# -- lost -----------------------------------------------------------------------------------------


def test_a_snapshot_that_is_gone_says_what_to_do_and_can_be_made_again(
    sandbox, client, lake, table
):
    create_snapshot(client, SNAPSHOT)
    extracted(sandbox, lake, table, Consistency.DATABASE_SNAPSHOT)
    drop_snapshot(client, SNAPSHOT)
    with pytest.raises(ObjectNotFoundError, match=r"shop_migration.*migration-assets snapshot cr"):
        extracted(sandbox, lake, table, Consistency.DATABASE_SNAPSHOT)
    create_snapshot(client, SNAPSHOT)
    assert total(extracted(sandbox, lake, table, Consistency.DATABASE_SNAPSHOT)) == bank.TOTAL


def test_the_database_itself_is_not_taken_for_its_snapshot(client):
    with pytest.raises(ObjectNotFoundError, match=r"shop, .* is no database snapshot"):
        find_standpoint(client, Consistency.DATABASE_SNAPSHOT, "shop")


def test_a_snapshot_of_another_database_is_refused(sandbox, client):
    create_snapshot(client, SNAPSHOT)
    with (
        sources.client(sandbox, database=SNAPSHOT.name) as reader,
        pytest.raises(ObjectNotFoundError, match="snapshot of shop, not of bank"),
    ):
        find_standpoint(reader, Consistency.DATABASE_SNAPSHOT, "bank")


@pytest.mark.parametrize(
    ("number", "message", "needle"),
    [
        (3966, "Transaction is rolled back when accessing version store.", "row versions"),
        (3958, "Transaction aborted: version not found in the version store.", "row versions"),
        (945, "Database 'x' cannot be opened due to inaccessible files.", "snapshot drop"),
    ],
)
def test_what_is_lost_while_reading_leaves_no_file_and_is_read_again(  # noqa: PLR0917 - by name
    sandbox, client, lake, table, tmp_path, number, message, needle
):
    sandbox.control("sqlserver").arm(
        Fault("error", match=r"AS \[balance\] FROM", number=number, message=message, times=1)
    )
    with pytest.raises(ServerBusyError, match=needle):
        extracted(sandbox, lake, table, Consistency.STATEMENT)
    assert not list(tmp_path.rglob("*.parquet"))
    assert total(extracted(sandbox, lake, table, Consistency.STATEMENT)) == bank.TOTAL

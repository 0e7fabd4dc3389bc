"""INSERT INTO and INSERT OVERWRITE of the StarRocks stand-in, through pymysql alone."""

from __future__ import annotations

import contextlib
import datetime as dt
import re
import threading
from collections.abc import Iterator
from decimal import Decimal

import pymysql
import pytest

from migration_assets.sandbox.control import Control, Fault
from migration_assets.sandbox.starrocks import StarRocksStandIn
from migration_assets_tests.sandbox.starrocks_client import AE, Client, wait_until

COLUMNS = "id INT NOT NULL, v VARCHAR(5), source_partition INT NOT NULL"
AUTOMATIC = "DUPLICATE KEY(id) PARTITION BY (source_partition) DISTRIBUTED BY HASH(id) BUCKETS 1"
LISTED = (
    "DUPLICATE KEY(id) PARTITION BY LIST (source_partition) "
    "(PARTITION p1 VALUES IN ('1'), PARTITION p23 VALUES IN ('2', '3'))"
)
ONE = "INSERT OVERWRITE t PARTITION(source_partition=1) (id, v, source_partition) "


@pytest.fixture(scope="module")
def server() -> Iterator[StarRocksStandIn]:
    with StarRocksStandIn() as running:
        yield running


@pytest.fixture
def sr(server: StarRocksStandIn) -> Iterator[Client]:
    client = Client(server.port)
    client("CREATE DATABASE d")
    client("USE d")
    client(f"CREATE TABLE t ({COLUMNS}) {AUTOMATIC} PROPERTIES('replication_num'='1')")
    client(f"CREATE TABLE listed ({COLUMNS}) {LISTED}")
    yield client
    client.connection.close()
    with contextlib.closing(Client(server.port).connection) as cleaner, cleaner.cursor() as cursor:
        cursor.execute("DROP DATABASE IF EXISTS d FORCE")


def partitions(sr: Client, table: str = "t") -> dict[str, int]:
    return {row[1]: int(row[-1]) for row in sr(f"SHOW PARTITIONS FROM {table}")}


class TestOverwriteOfOnePartition:
    def test_it_creates_replaces_and_empties(self, sr: Client) -> None:
        assert partitions(sr) == {}
        sr(ONE + "SELECT 1, 'a', 1 UNION ALL SELECT 2, 'b', 1")
        assert sr.affected == 2
        assert re.fullmatch(
            r"\{'label':'insert_[0-9a-f-]{36}', 'status':'VISIBLE', 'txnId':'\d+'\}", sr.info
        )
        sr("INSERT OVERWRITE t PARTITION(source_partition=7) SELECT 9, 'z', 7")
        assert partitions(sr) == {"p1": 2, "p7": 1}
        sr(ONE + "SELECT 3, 'c', 1")
        assert sr("SELECT id FROM t ORDER BY id") == [(3,), (9,)]
        sr(ONE + "SELECT 3, 'c', 1 WHERE 1 = 0")
        assert sr.affected == 0
        assert "'status':'VISIBLE'" in sr.info
        assert partitions(sr) == {"p1": 0, "p7": 1}
        assert sr(
            "SELECT PARTITION_NAME, ROW_COUNT FROM information_schema.partitions_meta "
            "WHERE TABLE_NAME = 't' ORDER BY 1"
        ) == [("p1", 0), ("p7", 1)]

    def test_an_explicit_list_table_takes_no_values(self, sr: Client) -> None:
        statement = (
            "INSERT OVERWRITE listed PARTITION(source_partition=1) (id, v, source_partition) "
            "SELECT 1, 'a', 1"
        )
        assert sr(f"EXPLAIN {statement}")
        expected = f"{AE}No partition specified in partition lists."
        assert sr.refused(statement) == (1064, expected)

    def test_the_partition_column_is_in_the_list_and_in_the_select(self, sr: Client) -> None:
        assert sr.refused(ONE + "SELECT 1, 'a'") == (
            5604,
            f"{AE}Inserted target column count: 3 doesn't match select/value column count: 2.",
        )
        number, text = sr.refused(
            "INSERT OVERWRITE t PARTITION(source_partition=1) (id, v) SELECT 1, 'a'"
        )
        assert number == 1064
        expected = "'source_partition' must be explicitly mentioned in column permutation: "
        assert text.startswith(AE + expected)

    @pytest.mark.parametrize(
        "statement",
        [
            "INSERT OVERWRITE t PARTITION(source_partition=-1) SELECT 1, 'a', -1",
            "INSERT OVERWRITE TABLE t SELECT 1, 'a', 1",
            "INSERT INTO t VALUES (1, 'a', 1) ON DUPLICATE KEY UPDATE v = 'b'",
            "INSERT INTO t PROPERTIES('strict_mode'='true') (id, v, source_partition) SELECT 1, 'a', 1",
            "INSERT INTO t (id, v, source_partition) WITH LABEL l SELECT 1, 'a', 1",
            "INSERT t VALUES (1, 'a', 1)",
        ],
    )
    def test_what_is_no_syntax(self, sr: Client, statement: str) -> None:
        number, text = sr.refused(statement)
        assert number == 1064
        assert text.startswith("Getting syntax error")

    def test_by_name(self, sr: Client) -> None:
        assert sr.refused("INSERT OVERWRITE t PARTITION(p9) SELECT 1, 'a', 9") == (
            1064,
            f"{AE}Unknown partition 'p9' in table 't'.",
        )
        sr(ONE + "SELECT 1, 'a', 1")
        sr("INSERT OVERWRITE t PARTITION(p1) SELECT 2, 'b', 1")
        assert sr("SELECT id FROM t") == [(2,)]
        sr("INSERT OVERWRITE listed PARTITION(p23) SELECT 2, 'b', 2")
        assert partitions(sr, "listed") == {"p1": 0, "p23": 1}

    def test_into_takes_no_values(self, sr: Client) -> None:
        number, text = sr.refused("INSERT INTO t PARTITION(source_partition=1) SELECT 1, 'a', 1")
        assert number == 1064
        assert text.startswith("Required field 'partitions' was not present! ")

    def test_rows_of_other_partitions_fail_it_and_leave_the_old_ones(self, sr: Client) -> None:
        sr(ONE + "SELECT 1, 'old', 1")
        number, text = sr.refused(ONE + "SELECT 2, 'new', 1 UNION ALL SELECT 3, 'new', 2")
        assert number == 1064
        match = re.fullmatch(
            r"Insert has filtered data, txn_id = \d+, tracking sql = (select tracking_log from "
            r"information_schema.load_tracking_logs where job_id=\d+)",
            text,
        )
        assert match
        assert sr(match[1]) == [("1 rows: the row is out of partition ranges",)]
        assert sr("SELECT id, v FROM t") == [(1, "old")]

    def test_the_whole_table(self, sr: Client) -> None:
        sr("INSERT INTO t VALUES (1, 'a', 1), (2, 'b', 2)")
        sr("INSERT OVERWRITE t SELECT 3, 'c', 3")
        assert partitions(sr) == {"p1": 0, "p2": 0, "p3": 1}
        sr("SET dynamic_overwrite = true")
        assert "not supported" in sr.refused("INSERT OVERWRITE t SELECT 4, 'c', 3")[1]
        sr(ONE + "SELECT 5, 'e', 1")  # a named partition is not dynamic


class TestAtOnce:
    def test_of_the_same_partition_some_fail_and_one_is_there(
        self, server: StarRocksStandIn, sr: Client
    ) -> None:
        Control(server.control_url).arm(Fault("delay", match="INSERT OVERWRITE", seconds=0.2))
        outcomes = run_at_once(server, [ONE + f"SELECT {i}, '{i}', 1" for i in range(6)])
        Control(server.control_url).arm()
        failed = [text for text in outcomes if text]
        for text in failed:
            assert re.search(
                r"create partition failed because src partitions changed|"
                r"partition id:\d+ does not exist in table id:\d+",
                text,
            )
        assert len(failed) < 6
        ((winner,),) = sr("SELECT id FROM t")
        assert outcomes[winner] == ""

    def test_a_swap_that_comes_second_fails(self, server: StarRocksStandIn, sr: Client) -> None:
        """Deterministic: the first one is analysed, then waits for rows that take long to make."""
        sr(ONE + "SELECT 0, 'old', 1")
        slow = ONE + "SELECT MOD(SUM(a.id * b.id + c.id), 5), 'slow', 1 FROM big a, big b, big c"
        sr("CREATE TABLE big (id INT) DUPLICATE KEY(id)")
        Control(server.control_url).sql('INSERT INTO "d"."big" SELECT i FROM range(1200) r(i)')
        first = Client(server.port, database="d")
        outcome: list[str] = []

        def run() -> None:
            try:
                first(slow)
            except pymysql.err.MySQLError as error:
                outcome.append(error.args[1])

        thread = threading.Thread(target=run)
        thread.start()
        # The trailing ", y" keeps this ALTER from ever succeeding while we wait for the overwrite.
        wait_until(lambda: any("'slow'" in str(row) for row in sr("SHOW FULL PROCESSLIST")))
        wait_until(
            lambda: "insert overwrite job" in sr.refused("ALTER TABLE t ADD COLUMN x INT, y")[1]
        )
        number, text = sr.refused("ALTER TABLE t ADD COLUMN x INT")
        assert (number, text) == (
            1064,
            "Table[t] is doing insert overwrite job, please start schema change after insert "
            "overwrite finished",
        )
        sr(ONE + "SELECT 1, 'quick', 1")
        thread.join(60)
        assert not thread.is_alive()
        assert re.fullmatch(r"partition id:\d+ does not exist in table id:\d+", outcome[0])
        assert sr("SELECT v FROM t") == [("quick",)]
        sr("ALTER TABLE t ADD COLUMN x INT")
        first.connection.close()

    def test_of_different_partitions_all_succeed(
        self, server: StarRocksStandIn, sr: Client
    ) -> None:
        statements = [
            f"INSERT OVERWRITE t PARTITION(source_partition={i}) SELECT {i}, 'x', {i}"
            for i in range(8)
        ]
        assert run_at_once(server, statements) == [""] * 8
        assert sr("SELECT COUNT(*), SUM(id) FROM t") == [(8, 28)]


def run_at_once(server: StarRocksStandIn, statements: list[str]) -> list[str]:
    """Run each statement on a connection of its own; their errors, "" for none."""
    clients = [Client(server.port, database="d") for _ in statements]
    outcomes = [""] * len(statements)

    def run(i: int) -> None:
        try:
            clients[i](statements[i])
        except pymysql.err.MySQLError as error:
            outcomes[i] = str(error.args[1])

    threads = [threading.Thread(target=run, args=[i]) for i in range(len(statements))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for client in clients:
        client.connection.close()
    return outcomes


class TestSink:
    @pytest.mark.parametrize(
        ("column", "good", "bad"),
        [
            ("VARCHAR(5)", "'abcde'", "'abcdef'"),
            ("VARCHAR(5)", "'aéé'", "'aééé'"),
            ("CHAR(4)", "'😀'", "'😀a'"),
            ("VARBINARY(2)", "x'0001'", "x'000102'"),
            ("DECIMAL(4,2)", "99.99", "CAST(100 AS DECIMAL(10,2))"),
            ("INT NOT NULL", "1", "NULL"),
        ],
    )
    def test_what_does_not_fit_fails_the_load(
        self, sr: Client, column: str, good: str, bad: str
    ) -> None:
        sr(f"CREATE TABLE s (id INT, v {column}) DUPLICATE KEY(id)")
        sr(f"INSERT INTO s SELECT 1, {good}")
        number, text = sr.refused(f"INSERT INTO s SELECT 2, {good} UNION ALL SELECT 3, {bad}")
        assert number == 1064
        assert text.startswith("Insert has filtered data, txn_id = ")
        assert sr("SELECT id FROM s") == [(1,)]

    def test_a_ratio_lets_bad_rows_go(self, sr: Client) -> None:
        rows = "SELECT 1, 'abc', 1 UNION ALL SELECT 2, 'toolong', 1"
        sr("SET insert_max_filter_ratio = 0.5")
        sr(f"INSERT INTO t {rows}")
        assert sr.affected == 1
        assert "filtered" not in sr.info
        sr("SET insert_max_filter_ratio = 0")
        assert "filtered" in sr.refused(f"INSERT INTO t {rows}")[1]
        sr(f"INSERT INTO t (id, v, source_partition) PROPERTIES('max_filter_ratio'='0.5') {rows}")
        assert sr("SELECT id FROM t") == [(1,), (1,)]

    def test_without_strictness_bad_values_become_null(self, sr: Client) -> None:
        sr("SET enable_insert_strict = false")
        sr("INSERT INTO t SELECT 1, 'toolong', 1 UNION ALL SELECT 2, 'ok', NULL")
        assert sr("SELECT id, v FROM t") == [(1, None)]

    def test_implicit_casts_give_null_without_a_word(self, sr: Client) -> None:
        sr("CREATE TABLE s (id INT, n SMALLINT, d DATE, w VARCHAR(9)) DUPLICATE KEY(id)")
        sr("INSERT INTO s SELECT 1, 70000, 'no date', 12")
        assert sr("SELECT * FROM s") == [(1, None, None, "12")]
        sr("SET sql_mode = 'ONLY_FULL_GROUP_BY,ALLOW_THROW_EXCEPTION'")
        assert sr.refused("INSERT INTO s SELECT 2, 70000, NULL, NULL")[0] == 1064
        assert sr("SELECT COUNT(*) FROM s") == [(1,)]

    def test_all_types_come_back_as_they_went_in(self, sr: Client) -> None:
        sr(
            "CREATE TABLE s (id BIGINT, b BOOLEAN, l LARGEINT, f FLOAT, d DOUBLE, n DECIMAL(38,10), "
            "v STRING, x VARBINARY(10), e DATE, t DATETIME) DUPLICATE KEY(id)"
        )
        sr(
            "INSERT INTO s VALUES (-9223372036854775808, true, -170141183460469231731687303715884105727, "
            "1.5, 0.1, 1234567890123456789012345678.0123456789, 'a\\0''\\\\é😀', x'00FF', '9999-12-31', "
            "'0001-01-01 00:00:00.000001'), (1, false, 0, 0, 0, 0, '', x'', '0001-01-01', "
            "'9999-12-31 23:59:59.999999'), (2, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)"
        )
        assert sr("SELECT * FROM s ORDER BY id") == [
            (
                -(2**63), 1, str(-(2**127) + 1), 1.5, 0.1,
                Decimal("1234567890123456789012345678.0123456789"), "a\0'\\é😀", b"\x00\xff",
                dt.date(9999, 12, 31), dt.datetime(1, 1, 1, 0, 0, 0, 1),
            ),
            (1, 0, "0", 0.0, 0.0, Decimal(0), "", b"", dt.date(1, 1, 1),
             dt.datetime(9999, 12, 31, 23, 59, 59, 999999)),
            (2, *[None] * 9),
        ]  # fmt: skip

    def test_primary_keys_replace_rows(self, sr: Client) -> None:
        sr("CREATE TABLE k (id INT, v VARCHAR(200)) PRIMARY KEY(id)")
        sr("INSERT INTO k VALUES (1, 'a'), (2, 'b'), (2, 'c')")
        sr("INSERT INTO k VALUES (1, 'd')")
        assert sr("SELECT * FROM k ORDER BY id") == [(1, "d"), (2, "c")]
        sr("CREATE TABLE w (v VARCHAR(200)) PRIMARY KEY(v)")
        sr(f"INSERT INTO w VALUES ('{'x' * 128}')")
        assert (
            "primary key size exceed the limit"
            in sr.refused(f"INSERT INTO w VALUES ('{'x' * 129}')")[1]
        )

    def test_unique_keys_replace_rows_too_also_long_ones_and_null(self, sr: Client) -> None:
        sr("CREATE TABLE u (k VARCHAR(200), v INT) UNIQUE KEY(k) DISTRIBUTED BY HASH(k)")
        sr(f"INSERT INTO u VALUES ('{'x' * 200}', 1), (NULL, 1)")
        sr(f"INSERT INTO u VALUES ('{'x' * 200}', 2), (NULL, 2)")
        assert sorted(sr("SELECT length(k), v FROM u"), key=str) == [(200, 2), (None, 2)]

    @pytest.mark.parametrize("model", ["PRIMARY", "UNIQUE"])
    def test_a_partition_of_a_table_with_keys_is_replaced_as_a_whole(
        self, sr: Client, model: str
    ) -> None:
        name = f"o_{model.lower()}"
        sr(
            f"CREATE TABLE {name} (id INT NOT NULL, p INT NOT NULL, v INT) {model} KEY(id, p) "
            "PARTITION BY (p) DISTRIBUTED BY HASH(id)"
        )
        sr(f"INSERT OVERWRITE {name} PARTITION(p=1) (id, p, v) SELECT 1, 1, 10")
        sr(f"INSERT OVERWRITE {name} PARTITION(p=2) (id, p, v) SELECT 1, 2, 20")
        sr(f"INSERT OVERWRITE {name} PARTITION(p=1) (id, p, v) SELECT 3, 1, 30")
        assert sr(f"SELECT * FROM {name} ORDER BY id, p") == [(1, 2, 20), (3, 1, 30)]
        elsewhere = f"INSERT OVERWRITE {name} PARTITION(p=1) (id, p, v) SELECT 3, 2, 30"
        assert "filtered" in sr.refused(elsewhere)[1]


class TestStatement:
    def test_labels(self, sr: Client) -> None:
        sr("INSERT INTO t WITH LABEL lab1 (id, v, source_partition) VALUES (1, 'a', 1)")
        assert sr.info.startswith("{'label':'lab1', 'status':'VISIBLE', 'txnId':'")
        expected = f"{AE}fail to begin transaction. Label [lab1] has already been used."
        assert sr.refused("INSERT INTO t WITH LABEL lab1 VALUES (2, 'a', 1)") == (1064, expected)
        # A label whose load failed can be used again.
        sr.refused("INSERT INTO t WITH LABEL lab2 VALUES (2, 'toolong', 1)")
        sr("INSERT INTO t WITH LABEL lab2 VALUES (2, 'a', 1)")
        assert sr(
            "SELECT STATE, SINK_ROWS FROM information_schema.loads WHERE LABEL = 'lab2' ORDER BY JOB_ID"
        ) == [("CANCELLED", 0), ("FINISHED", 1)]
        assert [row[1:3] for row in sr("SHOW LOAD WHERE LABEL = 'lab1'")] == [("lab1", "FINISHED")]

    def test_columns(self, sr: Client) -> None:
        assert "must be explicitly mentioned" in sr.refused("INSERT INTO t (v) VALUES ('a')")[1]
        assert sr.refused("INSERT INTO t (id, zz) VALUES (1, 2)")[0] == 5509
        assert sr.refused("INSERT INTO t (id, ID) VALUES (1, 2)")[0] == 1110
        assert sr.refused("INSERT INTO t VALUES (1, 'a')")[0] == 5604
        sr("INSERT INTO t (source_partition, ID) VALUES (4, 1)")
        assert sr("SELECT * FROM t") == [(1, None, 4)]

    def test_automatic_partitions(self, sr: Client) -> None:
        sr("INSERT INTO t VALUES (1, 'a', 5), (2, 'b', -6), (3, 'c', 5)")
        assert partitions(sr) == {"p5": 2, "p_6": 1}
        sr("TRUNCATE TABLE t PARTITION(p5)")
        assert partitions(sr) == {"p5": 0, "p_6": 1}
        sr("ALTER TABLE t DROP PARTITION p_6")
        assert partitions(sr) == {"p5": 0}

    def test_list_partitions(self, sr: Client) -> None:
        sr("INSERT INTO listed VALUES (1, 'a', 1), (2, 'b', 3)")
        assert partitions(sr, "listed") == {"p1": 1, "p23": 1}
        assert "filtered" in sr.refused("INSERT INTO listed VALUES (1, 'a', 4)")[1]

    def test_at_most_10000_rows_of_values(self, sr: Client) -> None:
        rows = ", ".join(["(1, 'a', 1)"] * 10_001)
        number, text = sr.refused(f"INSERT INTO t VALUES {rows}")
        assert number == 1064
        assert "10001" in text

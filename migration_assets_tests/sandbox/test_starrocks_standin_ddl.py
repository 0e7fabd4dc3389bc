"""Databases and tables of the StarRocks stand-in, through pymysql alone."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from migration_assets.sandbox.control import Control
from migration_assets.sandbox.starrocks import StarRocksStandIn
from migration_assets_tests.sandbox.starrocks_client import AE, Client, create


@pytest.fixture(scope="module")
def server() -> Iterator[StarRocksStandIn]:
    with StarRocksStandIn() as running:
        yield running


@pytest.fixture
def sr(server: StarRocksStandIn) -> Iterator[Client]:
    client = Client(server.port)
    client("CREATE DATABASE IF NOT EXISTS d")
    client("USE d")
    yield client
    client.connection.close()
    with contextlib.closing(Client(server.port).connection) as cleaner, cleaner.cursor() as cursor:
        cursor.execute("DROP DATABASE IF EXISTS d FORCE")


class TestDatabases:
    def test_names(self, sr: Client) -> None:
        for bad in ("1a", "a b", "a.b", "ä", "-a", ""):
            assert sr.refused(f"CREATE DATABASE `{bad}`")[0] == 1102, bad
        sr("CREATE DATABASE `a-1`")
        sr("DROP DATABASE `a-1`")

    def test_existing_and_missing(self, sr: Client) -> None:
        assert sr.refused("CREATE DATABASE d")[0] == 1007
        sr("CREATE DATABASE IF NOT EXISTS d")
        assert sr.refused("USE nowhere") == (5501, "Unknown database 'nowhere'")
        assert sr.refused("SELECT * FROM nowhere.t")[0] == 5501
        sr("DROP DATABASE IF EXISTS nowhere")

    def test_names_are_case_sensitive(self, server: StarRocksStandIn, sr: Client) -> None:
        sr("CREATE DATABASE D")
        create(sr, "id INT", table="d.t")
        create(sr, "id INT", table="d.T")
        create(sr, "id INT", table="D.t")
        sr("INSERT INTO d.t VALUES (1)")
        sr("INSERT INTO d.T VALUES (2)")
        sr("INSERT INTO D.t VALUES (3)")
        assert [sr(f"SELECT id FROM {t}") for t in ("d.t", "d.T", "D.t")] == [
            [(1,)],
            [(2,)],
            [(3,)],
        ]
        assert sr.refused("SELECT * FROM D.T")[0] == 5502
        # The first comer keeps its name in DuckDB.
        assert Control(server.control_url).sql('SELECT id FROM "d"."t"') == [[1]]
        sr("DROP DATABASE D")


class TestTables:
    @pytest.mark.parametrize(
        ("column", "described", "column_type"),
        [
            ("BOOLEAN", "boolean", "tinyint(1)"),
            ("TINYINT", "tinyint", "tinyint(4)"),
            ("SMALLINT", "smallint", "smallint(6)"),
            ("INT", "int", "int(11)"),
            ("BIGINT", "bigint", "bigint(20)"),
            ("LARGEINT", "largeint", "bigint(20) unsigned"),
            ("FLOAT", "float", "float"),
            ("DOUBLE", "double", "double"),
            ("DECIMAL", "decimal(10,0)", "decimal(10, 0)"),
            ("DECIMAL(38,10)", "decimal(38,10)", "decimal(38, 10)"),
            ("VARCHAR", "varchar(1)", "varchar(1)"),
            ("VARCHAR(1048576)", "varchar(1048576)", "varchar(1048576)"),
            ("STRING", "varchar(65533)", "varchar(65533)"),
            ("CHAR(255)", "char(255)", "char(255)"),
            ("VARBINARY(1048576)", "varbinary(1048576)", "varbinary(1048576)"),
            ("DATE", "date", "date"),
            ("DATETIME", "datetime", "datetime"),
        ],
    )
    def test_types(self, sr: Client, column: str, described: str, column_type: str) -> None:
        create(sr, f"id INT NOT NULL, v {column}")
        assert sr("DESC t")[1] == ("v", described, "YES", "false", None, "")
        assert sr(
            "SELECT COLUMN_NAME, COLUMN_TYPE, IS_NULLABLE, COLUMN_KEY FROM "
            "information_schema.columns WHERE TABLE_SCHEMA = 'd' AND TABLE_NAME = 't' "
            "ORDER BY ORDINAL_POSITION"
        ) == [("id", "int(11)", "NO", "DUP"), ("v", column_type, "YES", "")]

    @pytest.mark.parametrize(
        ("column", "text"),
        [
            ("VARCHAR(1048577)", "Varchar size must be <= 1048576: 1048577."),
            ("CHAR(256)", "Char size must be <= 255: 256."),
            ("VARBINARY(1048577)", "Varbinary size must be <= 1048576: 1048577."),
            ("TIME", "Type:TIME of column:v does not support."),
            ("DECIMAL(77,0)", "DECIMAL's precision should range from 1 to 76: 77."),
        ],
    )
    def test_refused_types(self, sr: Client, column: str, text: str) -> None:
        refused = sr.refused(f"CREATE TABLE t (id INT, v {column}) DUPLICATE KEY(id)")
        assert refused == (1064, AE + text)

    @pytest.mark.parametrize(
        "column",
        [
            "DATETIME(6)",
            "TIMESTAMP",
            "UUID",
            "BLOB",
            "INT UNSIGNED",
            "REAL",
            "ENUM('a')",
            "TEXT(5)",
        ],
    )
    def test_types_that_are_no_syntax(self, sr: Client, column: str) -> None:
        number, text = sr.refused(f"CREATE TABLE t (id INT, v {column}) DUPLICATE KEY(id)")
        assert number == 1064
        assert text.startswith("Getting syntax error at line 1, column ")

    def test_what_duckdb_cannot_store_is_said(self, sr: Client) -> None:
        for column in ("DECIMAL(39,0)", "ARRAY<INT>"):
            text = sr.refused(f"CREATE TABLE t (id INT, v {column}) DUPLICATE KEY(id)")[1]
            assert text.startswith("stand-in: not supported: ")

    @pytest.mark.parametrize(
        ("definition", "text"),
        [
            ("(a INT, b INT) DUPLICATE KEY(b)", "Key columns must be the first few columns"),
            ("(a INT, b INT) DUPLICATE KEY(b, a)", "Key columns must be the first few columns"),
            ("(a INT, b INT) PRIMARY KEY(b)", "Key columns must be the first few columns"),
            ("(a DOUBLE, b INT) DUPLICATE KEY(a)", "Invalid data type of key column 'a'"),
            ("(a FLOAT, b INT) DUPLICATE KEY(a)", "Invalid data type of key column 'a'"),
            ("(a JSON, b INT) DUPLICATE KEY(a)", "Invalid data type of key column 'a'"),
            ("(a DOUBLE, b INT)", "Data type of first column cannot be DOUBLE"),
            ("(a JSON, b INT)", "Data type of first column cannot be JSON"),
            ("(a ARRAY<INT>, b INT)", "Data type of first column cannot be ARRAY"),
            *[
                (f"(a {kind}, b INT) PRIMARY KEY(a)", "primary key column[a] type not supported")
                for kind in ("DECIMAL(9,0)", "DOUBLE", "JSON", "VARBINARY(8)", "CHAR(3)")
            ],
            (
                "(a INT, p INT) PRIMARY KEY(a) PARTITION BY (p) DISTRIBUTED BY HASH(a)",
                "The partition column must be part of the primary key",
            ),
            ("(a INT NULL) PRIMARY KEY(a)", "primary key column[a] cannot be nullable"),
            ("(a INT) PRIMARY KEY(a) DISTRIBUTED BY RANDOM", "PRIMARY KEY must use hash"),
            ("(a INT, p DOUBLE) DUPLICATE KEY(a) PARTITION BY (p)", "Invalid partition column"),
            (
                "(a INT, h DOUBLE) DUPLICATE KEY(a) DISTRIBUTED BY HASH(h)",
                "double column can not be",
            ),
            ("(a INT) DUPLICATE KEY(x)", "Column x does not exist"),
        ],
    )
    def test_key_rules(self, sr: Client, definition: str, text: str) -> None:
        number, message = sr.refused(f"CREATE TABLE t {definition}")
        assert number == 1064
        assert message.startswith(AE + text)

    def test_primary_keys_become_not_null(self, sr: Client) -> None:
        create(sr, "id INT, v VARCHAR(5)", "PRIMARY KEY(id)")
        assert sr("DESC t")[0] == ("id", "int", "NO", "true", None, "")
        assert "DISTRIBUTED BY HASH(`id`)" in sr("SHOW CREATE TABLE t")[0][1]

    def test_the_clauses_have_an_order(self, sr: Client) -> None:
        for rest in (
            "COMMENT 'c' DUPLICATE KEY(id)",
            "DISTRIBUTED BY RANDOM DUPLICATE KEY(id)",
            "DUPLICATE KEY(id) DISTRIBUTED BY RANDOM PARTITION BY (id)",
            "DUPLICATE KEY(id) ORDER BY (id) DISTRIBUTED BY RANDOM",
            "DUPLICATE KEY(id) PROPERTIES('replication_num'='1') COMMENT 'c'",
        ):
            assert "Getting syntax error" in sr.refused(f"CREATE TABLE t (id INT) {rest}")[1], rest

    def test_everything_defined_is_shown(self, sr: Client) -> None:
        sr(
            "CREATE TABLE t (`id` BIGINT NOT NULL COMMENT 'key', `select` VARCHAR(7) DEFAULT 'x', "
            "p INT NOT NULL) ENGINE=OLAP DUPLICATE KEY(`id`) COMMENT 'it''s \\\\ \"ours\"' "
            "PARTITION BY (p) DISTRIBUTED BY HASH(`id`) BUCKETS 4 ORDER BY (`id`) "
            "PROPERTIES('replication_num'='1', 'compression'='ZSTD')"
        )
        comment = 'it\'s \\ "ours"'
        assert sr(
            "SELECT TABLE_TYPE, TABLE_COMMENT FROM information_schema.tables "
            "WHERE TABLE_SCHEMA='d' AND TABLE_NAME='t'"
        ) == [("BASE TABLE", comment)]
        (name, text), *_ = sr("SHOW CREATE TABLE t")
        assert name == "t"
        assert text == (
            "CREATE TABLE `t` (\n"
            '  `id` bigint(20) NOT NULL COMMENT "key",\n'
            '  `select` varchar(7) NULL DEFAULT "x" COMMENT "",\n'
            '  `p` int(11) NOT NULL COMMENT ""\n'
            ") ENGINE=OLAP \nDUPLICATE KEY(`id`)\n"
            'COMMENT "it\'s \\\\ \\"ours\\""\n'
            "PARTITION BY (`p`)\nDISTRIBUTED BY HASH(`id`) BUCKETS 4 \nORDER BY(`id`)\n"
            'PROPERTIES (\n"compression" = "ZSTD",\n"replication_num" = "1"\n);'
        )
        # What it shows can be run.
        sr("DROP TABLE t")
        sr(text.rstrip(";"))
        assert sr("SHOW CREATE TABLE t")[0][1] == text
        sr("ALTER TABLE t COMMENT = 'other'")
        assert sr("SELECT TABLE_COMMENT FROM information_schema.tables") == [("other",)]
        assert sr(
            "SELECT TABLE_MODEL, PARTITION_KEY, DISTRIBUTE_BUCKET FROM information_schema.tables_config"
        ) == [("DUP_KEYS", "`p`", 4)]
        assert ("d",) in sr("SELECT SCHEMA_NAME FROM information_schema.schemata")

    def test_names(self, sr: Client) -> None:
        create(sr, "id INT, `a b=c<d>é!` INT, `a``b` INT", table="`any % table.name €`")
        described = sr("DESC `any % table.name €`")
        assert [row[0] for row in described] == ["id", "a b=c<d>é!", "ab"]
        create(sr, f"id INT, `{'x' * 1024}` INT")
        assert sr("SELECT * FROM t") == []
        for bad in ("a*b", "__op", "", "x" * 1025):
            assert sr.refused(f"CREATE TABLE u (id INT, `{bad}` INT) DUPLICATE KEY(id)")[0] == 1166
        assert sr.refused("CREATE TABLE u (id INT, ID INT) DUPLICATE KEY(id)")[0] == 1060

    def test_at_most_10000_columns(self, sr: Client) -> None:
        columns = ", ".join(f"c{i} INT" for i in range(10_001))
        assert sr.refused(f"CREATE TABLE t ({columns}) DUPLICATE KEY(c0)")[0] == 1117

    def test_existing_and_missing(self, sr: Client) -> None:
        create(sr, "id INT")
        assert sr.refused("CREATE TABLE t (id INT) DUPLICATE KEY(id)")[0] == 1050
        sr("CREATE TABLE IF NOT EXISTS t (id INT) DUPLICATE KEY(id)")
        for statement in ("SELECT * FROM x", "DESC x", "DROP TABLE x"):
            assert sr.refused(statement) == (5502, f"{AE}Unknown table 'x'."), statement
        for statement in (
            "INSERT INTO x VALUES (1)",
            "SHOW PARTITIONS FROM x",
            "SHOW CREATE TABLE x",
            "TRUNCATE TABLE x",
        ):
            assert sr.refused(statement) == (1064, f"{AE}Table x is not found."), statement
        sr("DROP TABLE IF EXISTS x")

    def test_properties(self, sr: Client) -> None:
        number, text = sr.refused(
            "CREATE TABLE t (id INT) DUPLICATE KEY(id) PROPERTIES('replication_num'='9')"
        )
        assert number == 1064
        assert text.startswith("Table replication num should be less than of equal to the number")
        assert (
            "Unknown properties"
            in sr.refused("CREATE TABLE t (id INT) DUPLICATE KEY(id) PROPERTIES('nonsense'='9')")[1]
        )

    def test_modify_keeps_every_digit_and_null(self, sr: Client) -> None:
        create(sr, "id INT, d DECIMAL(10,2)")
        refused = sr.refused
        assert refused("ALTER TABLE t MODIFY COLUMN d DECIMAL(11,4)")[0] == 1064
        assert refused("ALTER TABLE t MODIFY COLUMN d DECIMAL(12,2) NOT NULL")[0] == 1064
        sr("ALTER TABLE t MODIFY COLUMN d DECIMAL(12,2) NULL")
        assert ("d", "decimal(12,2)") in [row[:2] for row in sr("DESC t")]

    def test_alter(self, sr: Client) -> None:
        create(sr, "id INT, v VARCHAR(5), n BIGINT")
        sr("INSERT INTO t VALUES (1, 'a', 2)")
        sr("ALTER TABLE t ADD COLUMN w VARCHAR(3) DEFAULT 'x' AFTER v")
        assert sr("SELECT * FROM t") == [(1, "a", "x", 2)]
        assert sr.refused("ALTER TABLE t ADD COLUMN W INT")[0] == 1060
        assert (
            sr.refused("ALTER TABLE t MODIFY COLUMN v VARCHAR(4)")[1]
            == "Cannot shorten string length"
        )
        assert (
            sr.refused("ALTER TABLE t MODIFY COLUMN n SMALLINT")[1]
            == "Can not change BIGINT to SMALLINT"
        )
        sr("ALTER TABLE t MODIFY COLUMN v VARCHAR(9)")
        number, text = sr.refused("ALTER TABLE t MODIFY COLUMN v VARCHAR(10)")
        assert number == 1064
        assert text.startswith("A schema change operation is in progress on the table t")
        jobs = sr("SHOW ALTER TABLE COLUMN FROM d WHERE TableName = 't'")
        assert [row[9] for row in jobs] == ["FINISHED", "RUNNING"]
        sr("ALTER TABLE t RENAME u")
        create(sr, "id INT")
        sr("ALTER TABLE t SWAP WITH u")
        assert sr("SELECT * FROM t") == [(1, "a", "x", 2)]
        assert sr("SELECT * FROM u") == []
        sr("TRUNCATE TABLE t")
        assert sr("SELECT * FROM t") == []
        assert sr("SHOW TABLES") == [("t",), ("u",)]
        assert sr("SHOW TABLES FROM d LIKE 'u%'") == [("u",)]

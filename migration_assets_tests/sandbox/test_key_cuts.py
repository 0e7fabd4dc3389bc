"""Keys of every type, cut where the stand-in's statistics and a walk along an index say.

What is asked of each: every row is in exactly one range, also NULL and what arrives later, and no
range is twice the mean.
"""

from __future__ import annotations

import dataclasses

import pytest

from migration_assets.mssql import keys
from migration_assets.mssql.introspection import introspect
from migration_assets.mssql.keys import measure_keys
from migration_assets.operations.planning import with_keys
from migration_assets.partitioning import predicate
from migration_assets.planner import keys_to_measure, plan
from migration_assets.rules import Rules
from migration_assets.schema import SourceDatabase
from migration_assets_tests.sandbox import sources

ROWS = 4096
NUMBERS = (
    "SELECT a.n + 16 * b.n + 256 * c.n AS n FROM dbo.sixteen AS a CROSS JOIN dbo.sixteen AS b "
    "CROSS JOIN dbo.sixteen AS c"
)
KEYS = {
    "ints": ("int", "n"),
    "gaps": ("bigint", "n + (n / 1024) * CAST(1000000000000 AS bigint)"),
    "zipf": ("bigint", "CAST(1000000000000 AS bigint) / (n + 1)"),
    "decimals": ("decimal(20,4)", "CAST(n * n AS decimal(20,4)) / 7"),
    "moneys": ("money", "CAST(n AS money) / 4 - 100"),
    "small_moneys": ("smallmoney", "CAST(n AS smallmoney) / 4 - 100"),
    "days": ("date", "DATEADD(day, n, '2001-01-01')"),
    "moments": ("datetime", "DATEADD(ms, n * 10, '2024-01-01T00:00:00')"),
    "exact_moments": ("datetime2(7)", "DATEADD(second, n * n, CAST('2024-01-01' AS datetime2(7)))"),
    "small_moments": ("smalldatetime", "DATEADD(minute, n, '2024-01-01T00:00:00')"),
    "zoned": (
        "datetimeoffset(3)",
        "DATEADD(hour, n, CAST('2024-01-01T00:00:00+02:00' AS datetimeoffset(3)))",
    ),
    "clocks": ("time(3)", "DATEADD(second, n * 5, CAST('00:00:00' AS time(3)))"),
    "guids": (
        "uniqueidentifier",
        "CAST(HASHBYTES('MD5', CONVERT(varchar(20), n)) AS uniqueidentifier)",
    ),
    "hashes": ("binary(16)", "HASHBYTES('MD5', CONVERT(varchar(20), n))"),
    "bytes": ("varbinary(20)", "HASHBYTES('SHA1', CONVERT(varchar(20), n))"),
    "folded": (
        "nvarchar(40) COLLATE Latin1_General_CI_AS",
        "CONCAT(CASE n % 2 WHEN 0 THEN N'It''s ' ELSE N'iT''S ' END, NCHAR(945 + n % 24), n)",
    ),
    "ordered": (
        "nvarchar(40) COLLATE Latin1_General_BIN2",
        "CONCAT(NCHAR(97 + n % 26), N'é', n)",
    ),
    "narrow": ("varchar(40) COLLATE Latin1_General_CS_AS", "CONCAT(CHAR(192 + n % 60), n)"),
    "fixed": ("char(12) COLLATE Latin1_General_BIN2", "CONVERT(char(12), n)"),
    "controls": ("nvarchar(20) COLLATE Latin1_General_BIN2", "CONCAT(N'\\', NCHAR(10), n)"),
}


def script() -> str:
    parts = [
        "CREATE TABLE dbo.sixteen (n int NOT NULL PRIMARY KEY)",
        f"INSERT INTO dbo.sixteen VALUES {', '.join(f'({n})' for n in range(16))}",
    ]
    for name, (kind, expression) in KEYS.items():
        parts += [
            f"CREATE TABLE dbo.{name} (k {kind} NOT NULL PRIMARY KEY, n int NOT NULL)",
            f"INSERT INTO dbo.{name} SELECT {expression}, n FROM ({NUMBERS}) AS numbers",
        ]
    parts += [
        # Half the rows have one value of the first column.
        "CREATE TABLE dbo.composite (a int NOT NULL, b nvarchar(20) COLLATE Latin1_General_BIN2 "
        "NOT NULL, c int NOT NULL, CONSTRAINT pk_composite PRIMARY KEY (a DESC, b, c))",
        "INSERT INTO dbo.composite SELECT CASE WHEN n < 2048 THEN 7 ELSE n END, "
        f"CONCAT(N'x', n / 1024), n FROM ({NUMBERS}) AS numbers",
        "CREATE TABLE dbo.nulls (k int NULL, n int NOT NULL)",
        "CREATE UNIQUE INDEX ix_nulls_n ON dbo.nulls (k) WHERE k IS NOT NULL",
        "CREATE CLUSTERED INDEX ix_nulls ON dbo.nulls (k)",
        "INSERT INTO dbo.nulls SELECT CASE WHEN n < 100 THEN NULL ELSE n END, n "
        f"FROM ({NUMBERS}) AS numbers",
        "CREATE TABLE dbo.heavy (k int NOT NULL, n int NOT NULL)",
        "CREATE CLUSTERED INDEX ix_heavy ON dbo.heavy (k)",
        "INSERT INTO dbo.heavy SELECT CASE WHEN n < 2048 THEN 7 ELSE n END, n "
        f"FROM ({NUMBERS}) AS numbers",
        "CREATE TABLE dbo.versions (v rowversion NOT NULL, n int NOT NULL, "
        "CONSTRAINT uq_versions UNIQUE (v))",
        f"INSERT INTO dbo.versions (n) SELECT n FROM ({NUMBERS}) AS numbers",
        "CREATE TABLE dbo.computed (n int NOT NULL, k AS (n * 3) PERSISTED NOT NULL PRIMARY KEY)",
        f"INSERT INTO dbo.computed (n) SELECT n FROM ({NUMBERS}) AS numbers",
        "CREATE TABLE dbo.heap (a int NULL, b nvarchar(20) NULL, c float NULL)",
        "INSERT INTO dbo.heap SELECT CASE WHEN n % 3 = 0 THEN NULL ELSE n END, "
        "CASE WHEN n % 5 = 0 THEN NULL ELSE CONCAT(N'x', n) END, n "
        f"FROM ({NUMBERS}) AS numbers",
    ]
    return ";\n".join(parts) + ";\n"


RULES = Rules.model_validate(
    {
        "exclude": ["dbo.sixteen"],
        "defaults": {"partitions": 16},
        "tables": {"dbo.heap": {"split": "hash"}},
    }
)
ALL = [*KEYS, "composite", "nulls", "heavy", "versions", "computed", "heap"]


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory):
    with sources.running(script(), tmp_path_factory.mktemp("keys")) as running:
        yield running


@pytest.fixture(scope="module")
def client(sandbox):
    with sources.client(sandbox) as client:
        yield client


@pytest.fixture(scope="module")
def database(client) -> SourceDatabase:
    return introspect(client)


def plans(client, database):
    found = plan(with_keys(client, database, RULES), RULES, warehouse="s3://lake/w")
    assert found.skipped == () or {s.source_name for s in found.skipped} == {"sixteen"}
    return {table.source_name: table for table in found.tables}


@pytest.fixture(scope="module")
def by_histogram(client, database):
    return plans(client, database)


@pytest.fixture(scope="module")
def by_walk(client, database):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keys, "_histograms", lambda *_: {})
        return plans(client, database)


def counts(client, table) -> tuple[list[int], int]:
    """Rows of each range, and the rows that are not in exactly one of them."""
    flags = [f"CASE WHEN {predicate(r)} THEN 1 ELSE 0 END AS p{i}" for i, r in ranges(table)]
    names = [f"p{i}" for i, _ in ranges(table)]
    sums = [f"SUM({name})" for name in names]
    wrong = f"SUM(CASE WHEN {' + '.join(names)} <> 1 THEN 1 ELSE 0 END)"
    inner = f"SELECT {', '.join(flags)} FROM dbo.{table.source_name}"
    ((*found, strays),) = client.query(
        f"SELECT {', '.join([*sums, wrong])} FROM ({inner}) AS rows_in"
    )
    return list(found), strays


def ranges(table):
    return enumerate(table.key_ranges)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("how", ["by_histogram", "by_walk"])
def test_every_row_is_in_one_range_and_ranges_are_even(name, how, client, request):
    table = request.getfixturevalue(how)[name]
    assert len(table.key_ranges) == 16, table.warnings
    found, strays = counts(client, table)
    assert (sum(found), strays) == (ROWS, 0)
    if name != "heavy":
        assert max(found) <= 2 * ROWS / 16


def test_the_method_is_recorded(by_histogram, by_walk):
    how = {name: table.cut_by for name, table in by_histogram.items()}
    assert how["ints"] == how["guids"] == how["hashes"] == "arithmetic"
    assert how["gaps"] == how["zipf"] == how["folded"] == "histogram"
    assert how["composite"] == "walk"
    assert how["heap"] == "hash"
    assert {t.cut_by for name, t in by_walk.items() if name != "heap"} == {"walk"}


def test_a_value_that_nothing_divides_is_told(by_histogram, by_walk):
    for found in (by_histogram, by_walk):
        (warning,) = [w for w in found["heavy"].warnings if "largest partition" in w]
        assert "50% of the rows, 8.0 times the mean: they have one value of k" in warning


def test_a_hash_split_says_what_it_costs(by_histogram):
    assert any("reads the whole table" in w for w in by_histogram["heap"].warnings)


def test_rows_that_come_later_have_a_range(client, by_histogram):
    client.query("CREATE TABLE dbo.later (k int NULL, n int NOT NULL)")
    try:
        for value in ("NULL", "-2147483648", "0", "2147483647"):
            client.query(f"INSERT INTO dbo.later VALUES ({value}, 1)")
        later = by_histogram["nulls"].model_copy(update={"source_name": "later"})
        found, strays = counts(client, later)
        assert (sum(found), strays) == (4, 0)
        assert (found[0], found[-1]) == (3, 1)
    finally:
        client.query("DROP TABLE dbo.later")


def test_stale_statistics_are_not_used(client):
    rules = Rules.model_validate({"include": "dbo.growing", "defaults": {"partitions": 16}})

    def how() -> str:
        database = with_keys(client, introspect(client), rules)
        return plan(database, rules, warehouse="s3://lake/w").tables[0].cut_by

    client.query("CREATE TABLE dbo.growing (k int NOT NULL PRIMARY KEY)")
    try:
        client.query(f"INSERT INTO dbo.growing SELECT n FROM ({NUMBERS}) AS numbers")
        assert how() == "arithmetic"
        client.query(f"INSERT INTO dbo.growing SELECT n + 10000 FROM ({NUMBERS}) AS numbers")
        assert how() == "walk"
        client.query("UPDATE STATISTICS dbo.growing")
        assert how() == "histogram"
    finally:
        client.query("DROP TABLE dbo.growing")


@pytest.mark.parametrize(
    "argument",
    [
        "--without=sys.dm_db_stats_histogram",
        "--deny=sys.dm_db_stats_properties",
        "--without=sys.stats",
        "--without=sys.indexes",
    ],
)
def test_without_statistics_an_index_is_walked(argument, tmp_path):
    small = ";\n".join(script().split(";\n")[:4]) + ";\n"
    with sources.running(small, tmp_path, argument) as running, sources.client(running) as client:
        database = introspect(client)
        found = plan(with_keys(client, database, RULES), RULES, warehouse="s3://lake/w")
    (table,) = found.tables
    assert len(table.key_ranges) == 16
    assert table.cut_by == ("arithmetic" if "indexes" in argument else "walk")
    view = argument.partition("=")[2]
    assert any(view in note or "sys.stats" in view for note in found.notes), found.notes


def test_a_walk_that_fails_leaves_arithmetic(client, database, monkeypatch):
    def refuse(*_):
        raise keys.OperationTimeoutError("It took too long.")

    monkeypatch.setattr(keys, "walk", refuse)
    monkeypatch.setattr(keys, "_histograms", lambda *_: {})
    few = dataclasses.replace(
        database, tables=tuple(t for t in database.tables if t.name in {"ints", "folded"})
    )
    measured = measure_keys(client, keys_to_measure(few, RULES))
    assert measured.bounds == {"dbo.ints": ("0", "4095")}
    assert [note.split(": ")[0] for note in measured.notes] == [
        "dbo.folded could not be walked along its key",
        "dbo.ints could not be walked along its key",
    ]
    found = plan(with_keys(client, few, RULES), RULES, warehouse="s3://lake/w")
    assert [(t.source_name, len(t.key_ranges), t.cut_by) for t in found.tables] == [
        ("folded", 1, ""),
        ("ints", 16, "bounds"),
    ]

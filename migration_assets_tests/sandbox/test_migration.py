"""The whole sample database arrives, twice, through servers that admit very few connections.

What is compared comes from the sample's seed and is read with pyiceberg and pymysql: nothing of the
product takes part but its commands, which run as a user would run them. Tables and columns are
found by their position in the plan's text.
"""

from __future__ import annotations

import re
import struct
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from migration_assets.sandbox import sample
from migration_assets.sandbox.control import Counters
from migration_assets.sandbox.launcher import Sandbox
from migration_assets_tests.sandbox.project import (
    Project,
    Statements,
    await_closed,
    iceberg_catalog,
    starrocks_rows,
)

SCALE = 0.01
AUDIT_COLUMNS = 3
LIMITS = {"sqlserver": 2, "starrocks": 3}
TABLES = list(sample.declared_tables())

Rows = list[tuple[Any, ...]]


@dataclass
class Copy:
    """All rows of a table in both targets, and the names of its data files."""

    iceberg: pa.Table
    starrocks: Rows
    files: set[str]


@dataclass
class Run:
    """One whole run, and what it left behind."""

    started: datetime
    ended: datetime
    report: dict[str, Any]
    copies: dict[tuple[str, str], Copy]
    counters: dict[str, Counters]
    still_open: dict[str, int]
    data_versions: dict[str, dict[str, dict[str, str]]]
    received: dict[str, list[str]]


@pytest.fixture(scope="module")
def statements(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("statements")


@pytest.fixture(scope="module")
def sandbox(statements: Path) -> Iterator[Sandbox]:
    with Sandbox(scale=SCALE, limits=LIMITS, statements_dir=statements) as running:
        yield running


@pytest.fixture(scope="module")
def project(sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Project:
    made = Project(
        tmp_path_factory.mktemp("shop"), {**sandbox.settings, "MIGRATION_CONCURRENT_RUNS": "2"}
    )
    made.run("doctor", "--fix").ok()
    made.run("plan").ok()
    return made


@pytest.fixture(scope="module")
def first(project: Project, sandbox: Sandbox, statements: Path) -> Run:
    return migrate(project, sandbox, statements)


@pytest.fixture(scope="module")
def second(first: Run, project: Project, sandbox: Sandbox, statements: Path) -> Run:
    return migrate(project, sandbox, statements)


@pytest.fixture(scope="module")
def expected() -> dict[tuple[str, str], pa.Table]:
    return {(table.schema, table.name): table.data for table in sample.expected(SCALE)}


def migrate(project: Project, sandbox: Sandbox, statements: Path) -> Run:
    logs = {name: Statements(statements / f"{name}.jsonl") for name in LIMITS}
    before = {name: len(log.matching("")) for name, log in logs.items()}
    started = datetime.now(UTC)
    project.run("run").ok()
    ended = datetime.now(UTC)
    received = {name: log.matching("")[before[name] :] for name, log in logs.items()}
    still_open = {name: await_closed(sandbox, name) for name in LIMITS}
    counters = {name: sandbox.control(name).state() for name in LIMITS}
    copies, versions = {}, {}
    catalog = iceberg_catalog(project.settings)
    for schema, name in TABLES:
        planned = project.table(f"{schema}.{name}")
        table = catalog.load_table((planned["namespace"], planned["iceberg_table"]))
        target = f"`{planned['starrocks_database']}`.`{planned['starrocks_table']}`"
        names = [c["name"] for c in (*planned["columns"], *planned["audit_columns"])]
        columns = ", ".join("`" + name.replace("`", "``") + "`" for name in names)
        copies[schema, name] = Copy(
            iceberg=table.scan().to_arrow(),
            starrocks=starrocks_rows(project.settings, f"SELECT {columns} FROM {target}"),
            files={task.file.file_path for task in table.scan().plan_files()},
        )
        versions[f"{schema}.{name}"] = {
            stage: project.data_versions(*path) for stage, path in asset_paths(planned).items()
        }
    return Run(started, ended, project.report, copies, counters, still_open, versions, received)


def asset_paths(planned: dict[str, Any]) -> dict[str, tuple[str, str, str]]:
    def legal(name: str, other: str) -> str:
        return name if re.fullmatch(r"\w+", name, re.ASCII) else other

    return {
        "mssql": (
            "mssql", legal(planned["source_schema"], planned["namespace"]),
            legal(planned["source_name"], planned["iceberg_table"]),
        ),
        "iceberg": ("iceberg", planned["namespace"], planned["iceberg_table"]),
        "starrocks": ("starrocks", planned["starrocks_database"], planned["starrocks_table"]),
    }  # fmt: skip


def canonical(value: Any, kind: pa.DataType) -> Any:
    """A value in a form that is equal exactly when the values are."""
    if value is None:
        return None
    if pa.types.is_floating(kind):
        return struct.pack("<f" if kind == pa.float32() else "<d", value)
    if pa.types.is_boolean(kind):
        assert value in {0, 1}
        return bool(value)
    if isinstance(value, datetime):
        return value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value
    return value


def as_rows(columns: list[list[Any]], kinds: list[pa.DataType]) -> Counter[tuple[Any, ...]]:
    made = [
        [canonical(value, kind) for value in column]
        for column, kind in zip(columns, kinds, strict=True)
    ]
    return Counter(zip(*made, strict=True))


def assert_equal(found: Counter[Any], wanted: Counter[Any]) -> None:
    missing, surplus = wanted - found, found - wanted
    assert not missing, f"{missing.total()} rows missing, as {next(iter(missing))}"
    assert not surplus, f"{surplus.total()} rows too many, as {next(iter(surplus))}"


def plain(kind: pa.DataType) -> pa.DataType:
    """Iceberg has one text and one binary type; pyiceberg reads them as Arrow's large ones."""
    if pa.types.is_large_string(kind):
        return pa.string()
    if pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind):
        return pa.binary()
    return kind


def test_the_plan_has_every_table_and_column(
    project: Project, expected: dict[tuple[str, str], pa.Table]
) -> None:
    assert len(TABLES) >= 20
    assert {(t["source_schema"], t["source_name"]) for t in project.plan["tables"]} == set(TABLES)
    for key, data in expected.items():
        planned = project.table(".".join(key))
        assert [c["source_name"] for c in planned["columns"]] == data.column_names
    partitions = {len(table["key_ranges"]) for table in project.plan["tables"]}
    assert partitions == {1, 8}


@pytest.mark.parametrize("key", TABLES, ids=".".join)
def test_iceberg_holds_every_value(
    key: tuple[str, str], first: Run, expected: dict[tuple[str, str], pa.Table]
) -> None:
    found, wanted = first.copies[key].iceberg, expected[key]
    found = found.select(range(found.num_columns - AUDIT_COLUMNS))
    kinds = [plain(field.type) for field in wanted.schema]
    assert [plain(field.type) for field in found.schema] == kinds
    assert_equal(
        as_rows([column.to_pylist() for column in found.columns], kinds),
        as_rows([column.to_pylist() for column in wanted.columns], kinds),
    )


@pytest.mark.parametrize("key", TABLES, ids=".".join)
def test_starrocks_holds_every_value(
    key: tuple[str, str], first: Run, expected: dict[tuple[str, str], pa.Table]
) -> None:
    wanted = expected[key]
    kinds = [plain(field.type) for field in wanted.schema]
    rows = first.copies[key].starrocks
    columns = [[row[place] for row in rows] for place in range(wanted.num_columns)]
    assert {len(row) for row in rows} <= {wanted.num_columns + AUDIT_COLUMNS}
    assert_equal(
        as_rows(columns, kinds),
        as_rows([column.to_pylist() for column in wanted.columns], kinds),
    )


@pytest.mark.parametrize("key", TABLES, ids=".".join)
def test_the_audit_columns_are_right_in_both(
    key: tuple[str, str], first: Run, project: Project
) -> None:
    planned, copy = project.table(".".join(key)), first.copies[key]
    names = [column["name"] for column in planned["audit_columns"]]
    assert names == ["migrated_at", "source_schema", "source_partition"]
    ranges = {r["source_partition"]: r for r in planned["key_ranges"]}
    cut = next(iter(ranges.values()))["column"]
    places = [column["source_name"] for column in planned["columns"]]
    place = places.index(cut) if cut else None
    iceberg = [tuple(row.values()) for row in copy.iceberg.to_pylist()]
    for rows in (iceberg, copy.starrocks):
        moments: dict[int, set[datetime]] = {}
        for row in rows:
            moment, schema, number = row[-AUDIT_COLUMNS:]
            assert schema == key[0]
            moments.setdefault(number, set()).add(moment.replace(tzinfo=UTC))
            if place is not None:
                lower, upper = ranges[number]["lower"], ranges[number]["upper"]
                assert lower is None or row[place] >= int(lower)
                assert upper is None or row[place] < int(upper)
        assert set(moments) <= set(ranges)
        for of_partition in moments.values():
            assert len(of_partition) == 1, "one extraction, one moment"
            assert first.started <= of_partition.pop() <= first.ended
    assert sorted(row[-AUDIT_COLUMNS:-1] for row in copy.starrocks) == sorted(
        (row[-3].replace(tzinfo=None), row[-2]) for row in iceberg
    )


def test_the_report_says_what_arrived(
    first: Run, expected: dict[tuple[str, str], pa.Table]
) -> None:
    assert first.report["success"] is True
    assert first.report["failures"] == []
    for key, data in expected.items():
        table = first.report["tables"][".".join(key)]
        assert table["rows"] == dict.fromkeys(("mssql", "iceberg", "starrocks"), data.num_rows)
        assert table["valid"] is True
        assert table["done"] == table["partitions"]


@pytest.mark.parametrize("server", LIMITS)
def test_two_runs_at_once_never_ask_for_a_connection_too_many(
    server: str, first: Run, second: Run
) -> None:
    for run in (first, second):
        assert run.counters[server].refused == 0
        assert run.still_open[server] == 0
        assert 2 <= run.counters[server].max_open <= LIMITS[server]


def test_each_range_is_read_once_and_loaded_once_from_a_pinned_snapshot(
    first: Run, project: Project
) -> None:
    for planned in project.plan["tables"]:
        ranges = len(planned["key_ranges"])
        source = f"[{planned['source_schema']}].[{planned['source_name'].replace(']', ']]')}]"
        column = f" AS [{planned['columns'][-1]['name'].replace(']', ']]')}] FROM {source}"
        assert sum(column in text for text in first.received["sqlserver"]) == ranges
        target = f"`{planned['starrocks_database']}`.`{planned['starrocks_table']}`"
        start = f"INSERT OVERWRITE {target}"
        inserts = [text for text in first.received["starrocks"] if text.startswith(start)]
        assert len(inserts) == ranges
        assert all("FOR VERSION AS OF" in insert for insert in inserts)


def test_nothing_is_written_to_sql_server(first: Run) -> None:
    received = first.received["sqlserver"]
    assert any(text.startswith("SELECT") for text in received)
    writes = re.compile(r"\b(INSERT|UPDATE|DELETE|MERGE|TRUNCATE|DROP|ALTER|CREATE|GRANT|INTO)\b")
    assert [text for text in received if writes.search(text)] == []


@pytest.mark.parametrize("key", TABLES, ids=".".join)
def test_a_second_run_changes_no_row(key: tuple[str, str], first: Run, second: Run) -> None:
    before, after = first.copies[key], second.copies[key]
    assert_equal(rows_but_moment(after.starrocks), rows_but_moment(before.starrocks))
    iceberg = [
        [tuple(row.values()) for row in copy.iceberg.to_pylist()] for copy in (before, after)
    ]
    assert_equal(rows_but_moment(iceberg[1]), rows_but_moment(iceberg[0]))


def rows_but_moment(rows: Rows) -> Counter[Any]:
    return Counter(repr((*row[:-AUDIT_COLUMNS], *row[-2:])) for row in rows)


@pytest.mark.parametrize("key", TABLES, ids=".".join)
def test_a_second_run_writes_files_of_its_own(
    key: tuple[str, str], first: Run, second: Run
) -> None:
    before, after = first.copies[key], second.copies[key]
    assert before.files.isdisjoint(after.files)
    assert len(after.files) == len(before.files)
    assert bool(after.files) == bool(after.starrocks)


def test_after_each_run_the_three_assets_go_back_to_one_extraction(
    first: Run, second: Run, project: Project
) -> None:
    for name, before in first.data_versions.items():
        after = second.data_versions[name]
        for run in (before, after):
            assert run["mssql"] == run["iceberg"] == run["starrocks"]
            assert len(run["mssql"]) == len(project.table(name)["key_ranges"])
        assert set(before["mssql"].values()).isdisjoint(after["mssql"].values())


def test_what_two_runs_left_is_valid_value_by_value(second: Run, project: Project) -> None:
    result = project.run("validate").ok()
    assert f"{len(TABLES)} of {len(TABLES)} tables are equal." in result.out

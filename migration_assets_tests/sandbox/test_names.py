"""Horrible names, all the way: planned, migrated by the real commands, compared value by value."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from migration_assets.naming import full_name
from migration_assets.plan import MigrationPlan
from migration_assets.sandbox.launcher import Sandbox
from migration_assets_tests.sandbox.project import Project, iceberg_catalog, starrocks_rows

TABLES = [
    # schema, table
    ("dbo", "Order Details"),
    ("dbo", "order_details"),
    ("dbo", "order-details"),
    ("dbo", "Ordér Details"),
    ("dbo", "a.b"),
    ("dbo.a", "b"),
    ("dbo_a", "b"),
    ("dbo", "we]ird [name]"),
    ("dbo", 'quote\'d "twice" `tick`'),
    ("dbo", "path/to\\table"),
    ("dbo", "100% of $1 {e} {c} {0} ?"),
    ("dbo", "😀" * 64),
    ("dbo", "注文"),
    ("dbo", "select"),
    ("dbo", "1st"),
    ("dbo", "semi;colon -- comment /* x */"),
    ("dbo", "tab\tand\nline"),
    ("dbo", "x" * 128),
    ("dbo", "%s %(name)s %%"),
    ("dbo", "*"),
    ("sys tem", "information_schema"),
    ("Ünï cödé", "Straße"),
]
COLUMNS = [
    "id",
    "select",
    "group by",
    "a.b",
    "a`b",
    "a'b",
    'a"b',
    "a]b",
    "[a]",
    "a/b\\c",
    "é",
    "e",
    "\u0131",  # an i without its dot, which Java takes for an i
    "i",
    "注文",
    "顧客",
    "😀",
    "1",
    "%s",
    "{c}",
    "{e}",
    "?",
    ":x",
    "@x",
    "migrated_at",
    "source_schema",
    "source_partition",
    "__op",
    "__generated_partition_column_1",
    "_file",
    "migration_assets_key",
    "tab\tline\nend",
    "-- x",
    "/* x */",
    ";",
    " lead",
    "字" * 128,
    "字" * 127 + "x",
    "ß",
    "ss",
]
ROWS = 3


def quoted(name: str) -> str:
    return "[" + name.replace("]", "]]") + "]"


def value(table: int, column: int, row: int) -> int:
    return table * 100_000 + column * 100 + row


def script() -> str:
    parts = [f"CREATE SCHEMA {quoted(s)};\nGO" for s in dict(TABLES) if s != "dbo"]
    for number, (schema, name) in enumerate(TABLES):
        key = COLUMNS[number % len(COLUMNS)]  # each table is cut at another column
        columns = ", ".join(
            f"{quoted(c)} int {'NOT NULL PRIMARY KEY' if c == key else 'NULL'}" for c in COLUMNS
        )
        rows = ", ".join(
            "(" + ", ".join(str(value(number, i, row)) for i in range(len(COLUMNS))) + ")"
            for row in range(ROWS)
        )
        table = f"{quoted(schema)}.{quoted(name)}"
        parts.append(
            f"CREATE TABLE {table} ({columns});\nGO\nINSERT INTO {table} VALUES {rows};\nGO"
        )
    return "\n".join(parts)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    folder: Path = tmp_path_factory.mktemp("names")
    (folder / "tables.sql").write_text(script(), encoding="utf-8")
    (folder / "migration.yaml").write_text("tables:\n  'dbo.a*': {partitions: 8}\n")
    words = {"sqlserver": [f"--script={folder / 'tables.sql'}"]}
    with Sandbox(scale=None, extra_arguments=words) as sandbox:
        made = Project(folder, sandbox.settings)
        made.run("doctor", "--fix").ok()
        made.run("plan").ok()
        made.run("run").ok()
        yield made


def planned(project: Project) -> MigrationPlan:
    return MigrationPlan.load(project.folder / "migration_plan.json")


def expected(number: int) -> set[tuple[int, ...]]:
    return {tuple(value(number, i, row) for i in range(len(COLUMNS))) for row in range(ROWS)}


def test_every_table_and_column_is_planned_and_found_by_its_source_name(project: Project) -> None:
    plan = planned(project)
    assert [(s.source_schema, s.source_name) for s in plan.skipped] == []
    assert {(t.source_schema, t.source_name) for t in plan.tables} == set(TABLES)
    for schema, name in TABLES:
        table = plan.table(full_name(schema, name))
        assert [column.source_name for column in table.columns] == COLUMNS
        targets = [column.name for column in table.target_columns]
        assert len({target.casefold() for target in targets}) == len(targets)
    assert len(plan.table("dbo.[a.b]").key_ranges) > 0


def test_iceberg_has_every_value_under_the_planned_name(project: Project) -> None:
    plan, catalog = planned(project), iceberg_catalog(project.settings)
    for number, (schema, name) in enumerate(TABLES):
        table = plan.table(full_name(schema, name))
        stored = catalog.load_table((table.namespace, table.iceberg_table))
        assert stored.location() == table.location
        assert re.fullmatch(r"s3://[ -~]+", table.location)
        rows = stored.scan().to_arrow().select([c.name for c in table.columns]).to_pylist()
        assert {tuple(row.values()) for row in rows} == expected(number)
        assert len(rows) == ROWS


def test_starrocks_has_every_value_under_the_planned_name(project: Project) -> None:
    plan = planned(project)
    for number, (schema, name) in enumerate(TABLES):
        table = plan.table(full_name(schema, name))
        columns = ", ".join(f"`{column.name}`" for column in table.columns)
        where = f"`{table.starrocks_database}`.`{table.starrocks_table}`"
        found: list[tuple[Any, ...]] = starrocks_rows(
            project.settings, f"SELECT {columns} FROM {where}"
        )
        assert len(found) == ROWS
        assert set(found) == expected(number)


def test_dagster_has_an_asset_of_each_and_its_checks(project: Project) -> None:
    with project.instance() as instance:
        records = {tuple(key.path) for key in instance.all_asset_keys()}
        assert len(records) == 3 * len(TABLES)
        for path in records:
            assert all(re.fullmatch("[A-Za-z0-9_]+", part) for part in path[1:]), path
            key = dg.AssetKey(path)
            assert instance.get_latest_materialization_event(key) is not None


def test_single_tables_can_be_named_on_the_command_line(project: Project) -> None:
    wanted = {full_name(*table) for table in TABLES} - {"dbo.*"}  # which is all, by intent
    said = project.status(*(word for name in sorted(wanted) for word in ("--tables", name)))
    assert {table for table, _ in said} == wanted

"""One value of each type changed at each hop: the comparison fails, and names the columns.

Row 0 of each table of `fidelity/values.py` becomes a copy of row 1, so that each column has another
value, of its own type: in SQL Server after the copy, in a data file before StarRocks reads it, in
StarRocks' table. What level `full` must see of that is worked out from the values, `rows` sees all.
"""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator
from typing import Any

import boto3
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from migration_assets.sandbox.launcher import Sandbox
from migration_assets_tests.fidelity import suite
from migration_assets_tests.fidelity.cases import (
    RULES,
    WORDS,
    catalog_of,
    mssql,
    starrocks,
    write,
)
from migration_assets_tests.fidelity.values import TYPES
from migration_assets_tests.sandbox.project import Project

SHOWN = 5
"""Differences that level `rows` names."""
TABLES = ("numbers", "moments", "texts", "binaries", "documents", "shapes")
DATABASE = "plain_fidelity"
UNMEASURED = {kind.column for kind in TYPES if kind.declaration.startswith(("real", "float"))}
"""Columns of which level `full` counts the NULLs alone."""
VALIDATE = """
import json, sys
from migration_assets.operations.validate import validate
from migration_assets.plan import VerificationLevel
found = {}
for one in validate(tables=["fidelity.*"], level=VerificationLevel(sys.argv[1])):
    found[one.table.source_name] = one.describe()
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """All tables, migrated."""
    folder = tmp_path_factory.mktemp("mutations")
    with Sandbox(scale=None) as sandbox:
        write(sandbox.settings, suite.NEWEST)
        made = Project(folder, sandbox.settings)
        made.run("doctor", "--fix").ok()
        fractions, offsets = WORDS[""]
        rules = RULES.format(
            prefix="plain_", fractions=fractions, offsets=offsets, engine="arrow"
        ).replace('["fidelity.*"]', json.dumps([f"fidelity.{name}" for name in TABLES]))
        (folder / "migration.yaml").write_text(rules, encoding="utf-8")
        made.run("plan").ok()
        made.run("run").ok()
        yield made


def said(project: Project, level: str) -> dict[str, str]:
    """What `validate` says of each table."""
    result = project.execute(sys.executable, "-c", VALIDATE, level).ok()
    found: dict[str, str] = json.loads(result.out.splitlines()[-1])
    return found


def changed(name: str, encoding: str) -> tuple[set[str], set[str]]:
    """Columns in which row 0 differs from row 1: all of them, and those that `full` must see.

    Args:
        name: of the table.
        encoding: in which the system that was changed counts a text's length.
    """
    first, second = (suite.expected(suite.tables()[name])[n] for n in (0, 1))
    differ = {column for column in first if column != "id" and first[column] != second[column]}
    return differ, {c for c in differ if _is_seen(c, first[c], second[c], encoding)}


def _is_seen(column: str, before: Any, after: Any, encoding: str) -> bool:
    if before is None or after is None:
        return True
    if column in UNMEASURED:
        return False
    if column.startswith(("time", "uniqueidentifier")):
        return True
    if isinstance(before, str):
        return len(before.encode(encoding)) != len(after.encode(encoding))
    if isinstance(before, bytes):
        return len(before) != len(after)
    return True


def assert_named(found: dict[str, str], level: str, encoding: str = "utf-8") -> None:
    """At `full` all columns that it can see, at `rows` the first few of all."""
    for name in TABLES:
        differ, seen = changed(name, encoding)
        wanted = seen if level == "full" else differ
        missed = sorted(column for column in wanted if f"{column}." not in _words(found[name]))
        named = len(wanted) - len(missed)
        assert named >= (min(SHOWN, len(wanted)) if level == "rows" else len(wanted)), (
            missed, found[name],
        )  # fmt: skip
        assert differ


def _words(text: str) -> str:
    """With a dot behind each name, whether an aggregate (`c.sum`) or a value (`c:`) follows."""
    text += "."
    for mark in (":", ",", " ", ";"):
        text = text.replace(mark, ".")
    return text


@pytest.fixture
def changed_source(project: Project) -> Iterator[None]:
    with mssql(project.settings) as connection, connection.cursor() as cursor:
        for name in TABLES:
            copy_row(cursor, name)
        yield
        for name in TABLES:
            cursor.execute(f"DELETE FROM fidelity.{name} WHERE id = 0")
        for statement in suite.ddl():
            if any(
                f"INTO fidelity.{n} " in statement and "VALUES (0," in statement for n in TABLES
            ):
                cursor.execute(statement)


def copy_row(cursor: Any, name: str) -> None:
    kinds = suite.tables()[name]
    cursor.execute(f"DELETE FROM fidelity.{name} WHERE id = 0")
    columns = ", ".join(kind.column for kind in kinds)
    cursor.execute(
        f"INSERT INTO fidelity.{name} (id, {columns}) "
        f"SELECT 0, {columns} FROM fidelity.{name} WHERE id = 1"
    )


@pytest.fixture
def changed_target(project: Project) -> Iterator[None]:
    with starrocks(project.settings) as connection, connection.cursor() as cursor:
        for name in TABLES:
            table = f"`{DATABASE}`.`{name}`"
            cursor.execute(f"SELECT * FROM {table} WHERE id = 1")
            columns = [f"`{column[0]}`" for column in cursor.description]
            others = ", ".join(column for column in columns if column != "`id`")
            cursor.execute(f"DELETE FROM {table} WHERE id = 0")
            cursor.execute(
                f"INSERT INTO {table} (`id`, {others}) SELECT 0, {others} FROM {table} WHERE id = 1"
            )
    yield
    refused = project.run("run", "--from", "starrocks")
    assert "rows that are not as a load left them" in refused.out
    project.run("run", "--failed").ok()


def test_nothing_changed_is_equal(project: Project) -> None:
    assert set(said(project, "rows").values()) == {""}


@pytest.mark.parametrize("level", ["full", "rows"])
def test_a_change_in_the_source_is_named(
    project: Project, changed_source: None, level: str
) -> None:
    assert_named(said(project, level), level, "utf-16-le")


@pytest.mark.parametrize("level", ["full", "rows"])
def test_a_change_in_starrocks_is_named(project: Project, changed_target: None, level: str) -> None:
    assert_named(said(project, level), level)


def test_a_change_in_a_data_file_is_named(project: Project) -> None:
    """The last test: it leaves the files changed."""
    for name in TABLES:
        change_file(project, name)
    result = project.run("run", "--from", "starrocks")
    assert result.code == 1
    status = project.status("--tables", "fidelity.*")
    found = {table.split(".")[1]: json.dumps(line) for (table, _), line in status.items()}
    assert_named(found, "full")


def change_file(project: Project, name: str) -> None:
    table = catalog_of(project.settings).load_table((DATABASE, name))
    (path,) = table.inspect.files()["file_path"].to_pylist()
    bucket, _, key = path.removeprefix("s3://").partition("/")
    given = project.settings
    s3 = boto3.client(
        "s3",
        endpoint_url=given["AWS_ENDPOINT_URL"],
        region_name=given["AWS_REGION"],
        aws_access_key_id=given["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=given["AWS_SECRET_ACCESS_KEY"],
    )
    rows = pq.read_table(io.BytesIO(s3.get_object(Bucket=bucket, Key=key)["Body"].read()))
    ids = rows.column("id").to_pylist()
    order = list(range(len(ids)))
    order[ids.index(0)] = ids.index(1)
    copied = rows.take(pa.array(order)).set_column(
        rows.schema.get_field_index("id"), rows.schema.field("id"), rows.column("id")
    )
    buffer = io.BytesIO()
    pq.write_table(copied, buffer)
    s3.put_object(Bucket=bucket, Key=key, Body=buffer.getvalue())

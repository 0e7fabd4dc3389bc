"""Level `rows`: the sample's values read back through real sockets, and changes named by key.

What is changed in StarRocks is changed with pymysql, beside the product.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import dagster as dg
import numpy as np
import pymysql
import pytest

from migration_assets.errors import ConnectionLostError
from migration_assets.sandbox.control import Fault
from migration_assets.sandbox.launcher import Sandbox
from migration_assets.starrocks.resource import StarRocks
from migration_assets_tests.sandbox.project import Project, await_closed, starrocks_rows
from migration_assets_tests.sandbox.targets import settings_of

RULES = """
tables:
  dbo.AllTypes: {verification: rows}
  dbo.EventLog: {verification: rows}
  sales.Coupons: {verification: rows}
"""
KEPT = [
    "dbo.AllTypes", "dbo.EventLog", "dbo.Settings", "sales.Sessions", "dbo.Order Details",
    "hr.Salaries",
]  # fmt: skip


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(scale=0.01) as running:
        yield running


@pytest.fixture(scope="module")
def project(sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    folder = tmp_path_factory.mktemp("rows")
    (folder / "migration.yaml").write_text(RULES, encoding="utf-8")
    made = Project(folder, sandbox.settings)
    made.run("doctor", "--fix").ok()
    made.run("plan").ok()
    made.run("run", *chosen(*KEPT)).ok()
    yield made
    made.close()


def chosen(*names: str) -> list[str]:
    return [word for name in names for word in ("--tables", name)]


def validated(project: Project, *names: str, code: int = 0) -> dict[str, str]:
    """What `validate --level rows` says of each table."""
    result = project.run("validate", "--level", "rows", *chosen(*names))
    assert result.code == code, str(result)
    lines = [line.partition(": ") for line in result.out.splitlines() if ": " in line]
    return {name: said for name, _, said in lines}


def check(project: Project, path: str, name: str) -> dg.AssetCheckEvaluation:
    """The newest evaluation of a check."""
    key = dg.AssetCheckKey(dg.AssetKey(path.split("/")), name)
    with project.instance() as instance:
        (record,) = instance.event_log_storage.get_asset_check_execution_history(key, limit=1)
    assert record.evaluation is not None
    return record.evaluation


class Loaded:
    """A loaded table, changed from the side."""

    def __init__(self, project: Project, name: str) -> None:
        self.project, planned = project, project.table(name)
        self.table = f"`{planned['starrocks_database']}`.`{planned['starrocks_table']}`"
        self.columns = [c["name"] for c in (*planned["columns"], *planned["audit_columns"])]

    def first(self, column: str, where: str = "1 = 1") -> Any:
        sql = f"SELECT {column} FROM {self.table} WHERE {where} ORDER BY 1 LIMIT 1"
        ((value,),) = starrocks_rows(self.project.settings, sql)
        return value

    def double(self, where: str, **changed: str) -> None:
        """Insert a row once more, some of its columns changed to an expression."""
        names = ", ".join(f"`{name}`" for name in self.columns)
        values = ", ".join(changed.get(name, f"`{name}`") for name in self.columns)
        sql = f"INSERT INTO {self.table} ({names}) SELECT {values} FROM {self.table} WHERE {where}"
        assert self._execute(sql) == 1

    def lose(self, where: str) -> None:
        assert self._execute(f"DELETE FROM {self.table} WHERE {where}") >= 1

    def change(self, where: str, **changed: str) -> None:
        """Put another row in a row's place; an audit column, which is not compared, marks it."""
        self.double(where, source_schema="'changed'", **changed)
        self.lose(f"{where} AND source_schema <> 'changed'")

    def _execute(self, sql: str) -> int:
        settings = self.project.settings
        connection = pymysql.connect(
            host=settings["STARROCKS_HOST"], port=int(settings["STARROCKS_PORT"]),
            user=settings["STARROCKS_USER"], password=settings["STARROCKS_PASSWORD"],
            autocommit=True, read_timeout=60,
        )  # fmt: skip
        with closing(connection), connection.cursor() as cursor:
            return int(cursor.execute(sql))


def test_the_sample_is_equal_whatever_its_types_and_keys(project: Project) -> None:
    said = validated(project, *KEPT)
    assert all(line.startswith("equal") for line in said.values()), said
    assert len(said) == len(KEPT)


def test_the_asset_s_own_check_compared_the_rows(project: Project) -> None:
    for table, rows in (("alltypes", "1,000"), ("eventlog", "300")):
        found = check(project, f"starrocks/dbo/{table}", "rows")
        assert found.passed
        assert found.description in {
            f"Equal: iceberg {rows}, starrocks {rows}.",  # of the load
            "validate: equal",
        }


def test_without_starrocks_iceberg_s_values_are_compared(project: Project) -> None:
    result = project.run("validate", "--level", "rows", "--until", "iceberg", *chosen(*KEPT)).ok()
    assert f"{len(KEPT)} of {len(KEPT)} tables are equal." in result.out
    assert "starrocks" not in result.out


def test_a_sample_is_of_about_as_many_rows_the_same_on_both_sides(project: Project) -> None:
    keyed = ["dbo.AllTypes", "sales.Sessions", "dbo.Order Details", "hr.Salaries"]
    arguments = ["--level", "rows", "--sample", "10", *chosen(*KEPT)]
    said = project.run("validate", *arguments).ok().out
    assert f"{len(KEPT)} of {len(KEPT)} tables are equal." in said
    found = re.findall(r"A sample of ([\d,]+) of ([\d,]+) rows was compared value by value", said)
    # Tables without a key of numbers are compared whole.
    assert len(found) == len(keyed), said
    for rows, total in found:
        assert 2 <= int(rows.replace(",", "")) <= 30, (rows, total)
    assert project.run("validate", "--sample", "100").code == 2


def test_each_change_is_named_with_its_key_and_both_values(project: Project) -> None:
    """Tables keyed by text, a GUID and several columns, and one without a key."""
    settings = Loaded(project, "dbo.Settings")
    key = settings.first("`key`", "length(`value`) > 3 AND length(`value`) < 60")
    value = settings.first("`value`", f"`key` = '{key}'")
    changed = "concat(left(`value`, char_length(`value`) - 1), '~')"
    settings.change(f"`key` = '{key}'", value=changed)

    sessions = Loaded(project, "sales.Sessions")
    guid = sessions.first("sessionid", "score IS NOT NULL")
    score = sessions.first("CAST(score AS DOUBLE)", f"sessionid = '{guid}'")
    nearest = float(np.nextafter(np.float32(score), np.float32(np.inf)))
    sessions.change(f"sessionid = '{guid}'", score=f"CAST(CAST('{nearest!r}' AS DOUBLE) AS FLOAT)")

    details = Loaded(project, "dbo.Order Details")
    order = details.first("orderid", "line_no = 2 AND `gewicht__kg_` IS NOT NULL")
    line = f"orderid = {order} AND line_no = 2"
    weight = details.first("`gewicht__kg_`", line)
    heavier = math.nextafter(weight, math.inf)
    details.change(line, gewicht__kg_=f"CAST('{heavier!r}' AS DOUBLE)")

    salaries = Loaded(project, "hr.Salaries")
    since = salaries.first("validfrom", "employeeid = 1")
    salaries.double(f"employeeid = 1 AND validfrom = '{since}'")
    lost = salaries.first("validfrom", "employeeid = 2")
    salaries.lose(f"employeeid = 2 AND validfrom = '{lost}'")

    heap = Loaded(project, "dbo.EventLog")
    occurred = heap.first("occurredat")
    heap.lose(f"occurredat = '{occurred}'")

    said = validated(project, *KEPT, code=1)
    assert said["dbo.AllTypes"].startswith("equal")
    shown = {
        "dbo.Settings": f"key '{key}': value is {value[:-1] + '~'!r}, expected {value!r}",
        "sales.Sessions": f"sessionid '{guid}': score is {np.float32(nearest)!s}, "
        f"expected {np.float32(score)!s}",
        "dbo.Order Details": f"orderid {order}, line_no 2: gewicht__kg_ is {heavier}, "
        f"expected {weight}",
        "dbo.EventLog": f"occurredat {occurred}",
    }
    for name, words in shown.items():
        assert words in said[name], said[name]
        assert "at least 1 row differs" in said[name] or name == "dbo.EventLog"
    assert ": the row is missing" in said["dbo.EventLog"]
    assert f"employeeid 1, validfrom {since}: the row is there 2 times" in said["hr.Salaries"]
    assert f"employeeid 2, validfrom {lost}: the row is missing" in said["hr.Salaries"]

    # Where a table has no check of its rows, the fingerprint's tells `--failed`.
    assert not check(project, "starrocks/dbo/eventlog", "rows").passed
    assert not check(project, "starrocks/dbo/settings", "fingerprint").passed
    project.run("run", "--failed", *chosen("dbo.Settings", "dbo.EventLog")).ok()
    said = validated(project, "dbo.Settings", "dbo.EventLog")
    assert all(line.startswith("equal") for line in said.values()), said


def test_a_load_that_changes_a_text_fails_its_check(project: Project, sandbox: Sandbox) -> None:
    control = sandbox.control("starrocks")
    sql = 'UPDATE "sales"."coupons" SET code = reverse(code) WHERE code = (SELECT min(code) FROM "sales"."coupons")'
    control.arm(Fault("then", match="^INSERT OVERWRITE `sales`.`coupons`", sql=sql, times=1))
    failed = project.run("run", "--tables", "sales.Coupons")
    control.arm()
    assert failed.code == 1
    found = check(project, "starrocks/sales/coupons", "rows")
    assert not found.passed
    assert re.search(r"at least 2 rows differ: .*the row is missing", found.description or "")
    assert "the row is not in the source" in (found.description or "")
    assert check(project, "starrocks/sales/coupons", "fingerprint").passed
    project.run("run", "--failed", "--tables", "sales.Coupons").ok()
    assert check(project, "starrocks/sales/coupons", "rows").passed


def test_texts_of_every_length_and_null_come_back_as_they_are(sandbox: Sandbox) -> None:
    """Lengths take 1, 3 or 4 bytes in the protocol; no value of a table takes more."""
    lengths = [0, 250, 251, 65_535, 65_536, 2_097_152]
    texts = ", ".join(f"repeat('x', {length})" for length in lengths)
    with StarRocks(settings_of(sandbox)) as client:
        (batch,) = client.stream(f"SELECT {texts}, NULL, 'ü'", timeout_s=60)
    assert batch == [[b"x" * length for length in lengths] + [None, "ü".encode()]]


def test_a_stream_that_is_given_up_closes_its_connection(sandbox: Sandbox) -> None:
    before = sandbox.control("starrocks").state().opened
    sql = "SELECT a.id FROM (SELECT 1 AS id UNION ALL SELECT 2) a"
    with StarRocks(settings_of(sandbox)) as client, client.connection():
        with closing(client.stream(sql, timeout_s=60)) as batches:
            assert [row for batch in batches for row in batch] == [[b"1"], [b"2"]]
        # Read to its end, the connection goes on.
        assert client.query("SELECT 3") == [(3,)]
        assert client.query("SELECT @@query_timeout") == [(client.settings.query_timeout_s,)]
        assert sandbox.control("starrocks").state().opened == before + 1


def test_a_server_that_goes_away_while_it_sends_is_an_error_of_ours(sandbox: Sandbox) -> None:
    control = sandbox.control("starrocks")
    control.arm(Fault("drop", match="repeat", after_queries=0, after_bytes=50_000, times=1))
    with StarRocks(settings_of(sandbox)) as client, pytest.raises(ConnectionLostError):
        list(client.stream("SELECT repeat('x', 100000)", timeout_s=60))
    control.arm()
    assert await_closed(sandbox, "starrocks") == 0

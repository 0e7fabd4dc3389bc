"""The other ways to start and retry: `dagster` commands in a clean shell, and what the UI sends."""

from __future__ import annotations

import json
import socket
import subprocess
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from migration_assets.sandbox.control import Fault
from migration_assets.sandbox.launcher import Sandbox
from migration_assets_tests.documents import PAGES, blocks
from migration_assets_tests.sandbox.project import (
    Project,
    Result,
    Statements,
    kill,
    starrocks_rows,
    wait_until,
)

MODULE = "migration_assets.definitions"
ROWS = 80
SCRIPT = f"""
CREATE TABLE dbo.Parts (Id int NOT NULL PRIMARY KEY, Name nvarchar(20) NOT NULL);
GO
INSERT INTO dbo.Parts VALUES {", ".join(f"({n}, N'part {n}')" for n in range(ROWS))};
GO
CREATE SCHEMA sales;
GO
CREATE SCHEMA hr;
GO
""" + "".join(
    f"CREATE TABLE {name} (Id int NOT NULL PRIMARY KEY);\nGO\nINSERT INTO {name} VALUES (7);\nGO\n"
    for name in ("sales.Coupons", "sales.Regions", "hr.Departments", "hr.Jobs")
)
RULES = "tables: {dbo.Parts: {partitions: 8}}\n"
ASSETS = [["mssql", "dbo", "Parts"], ["iceberg", "dbo", "parts"], ["starrocks", "dbo", "parts"]]
BROKEN = ("p003", "p004", "p005", "p006")
LAUNCH = """
mutation Launch($params: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $params) {
    __typename
    ... on LaunchBackfillSuccess { backfillId }
    ... on PythonError { message }
  }
}
"""
BACKFILL = """
query Backfill($id: String!) {
  partitionBackfillOrError(backfillId: $id) { ... on PartitionBackfill { status } }
}
"""


@dataclass
class Bench:
    """A project, four of the eight partitions of whose dbo.Parts have failed."""

    project: Project
    log: Statements
    first: Result

    def reads(self) -> Counter[str]:
        """How often the rows of each partition were asked for, from the beginning on."""
        table = self.project.table("dbo.Parts")
        found: Counter[str] = Counter()
        for text in self.log.matching(r"AS \[name\] FROM \[dbo\]\.\[Parts\]"):
            for key_range in table["key_ranges"]:
                lower, upper = key_range["lower"], key_range["upper"]
                if (f">= {lower}" in text) is (lower is not None) and (f"< {upper}" in text) is (
                    upper is not None
                ):
                    found[f"p{key_range['source_partition']:03d}"] += 1
        return found

    def loads(self) -> Counter[str]:
        """How often partitions of each table were loaded, from the beginning on."""
        log = Statements(self.log.path.with_name("starrocks.jsonl"))
        found = log.matching("^INSERT OVERWRITE")
        return Counter(".".join(text.split("`")[1:4:2]) for text in found)

    def states(self) -> dict[str, str]:
        """The state of each partition in StarRocks."""
        found = self.project.status("--tables", "dbo.Parts")
        return {key: line["starrocks"] for (_, key), line in found.items()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("dagster")


@pytest.fixture(scope="module")
def sandbox(folder: Path) -> Iterator[Sandbox]:
    (folder / "tables.sql").write_text(SCRIPT, encoding="utf-8")
    (folder / "migration.yaml").write_text(RULES, encoding="utf-8")
    words = {"sqlserver": [f"--script={folder / 'tables.sql'}"]}
    with Sandbox(scale=None, statements_dir=folder, extra_arguments=words) as running:
        yield running


@pytest.fixture(scope="module")
def bench(folder: Path, sandbox: Sandbox) -> Iterator[Bench]:
    # More than one, or the daemon starts none beside a run of the command line.
    project = Project(folder, {**sandbox.settings, "MIGRATION_CONCURRENT_RUNS": "2"})
    project.run("doctor", "--fix").ok()
    project.run("plan").ok()
    lower = [r["lower"] for r in project.table("dbo.Parts")["key_ranges"]]
    wanted = "|".join(lower[int(key[1:])] for key in BROKEN)
    sandbox.control("sqlserver").arm(
        Fault("error", match=rf"\[Parts\] WHERE \[Id\] >= ({wanted}) ", number=8134)
    )
    first = project.run("run")
    sandbox.control("sqlserver").arm()
    try:
        yield Bench(project, Statements(folder / "sqlserver.jsonl"), first)
    finally:
        project.close()


@pytest.fixture(scope="module")
def dagster(bench: Bench) -> Iterator[str]:
    """The address of a running `dagster dev`: webserver and daemon, as a user starts them."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    script = f'eval "$(migration-assets env)"; exec dagster dev -m {MODULE} -h 127.0.0.1 -p {port}'
    process = bench.project.start("/bin/bash", "-ec", script)
    address = f"http://127.0.0.1:{port}"

    def answers() -> bool:
        assert process.poll() is None, (bench.project.folder / "output").read_text()
        try:
            with urllib.request.urlopen(f"{address}/server_info", timeout=5):
                return True
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return False

    wait_until(answers, "dagster dev")
    yield address
    process.terminate()
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        kill(process)


def graphql(address: str, query: str, **variables: Any) -> Any:
    request = urllib.request.Request(
        f"{address}/graphql",
        json.dumps({"query": query, "variables": variables}).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        found = json.load(answer)
    assert "errors" not in found, found
    return found["data"]


def test_four_partitions_failed_and_four_are_done(bench: Bench) -> None:
    assert bench.first.code == 1, str(bench.first)
    keys = [f"p{number:03d}" for number in range(8)]
    assert bench.states() == {key: "missing" if key in BROKEN else "done" for key in keys}
    failed = {key for (_, key), line in bench.project.status().items() if line["mssql"] == "failed"}
    assert failed == set(BROKEN)
    assert set(bench.reads()) == set(keys)


def test_dagster_asset_materialize_retries_just_one(bench: Bench) -> None:
    before = bench.reads()
    bench.project.shell(
        f"""
        eval "$(migration-assets env)"
        dagster asset materialize -m {MODULE} --select 'key:"mssql/dbo/Parts"+' --partition p003
        """
    ).ok()
    assert bench.reads() - before == {"p003": 1}
    states = bench.states()
    assert states["p003"] == "done"
    assert {states[key] for key in BROKEN[1:]} == {"missing"}


def test_the_ui_s_backfill_and_dagster_job_backfill_retry_just_one_each(
    bench: Bench, dagster: str
) -> None:
    before = bench.reads()
    selected = [
        {"assetKey": {"path": path}, "partitions": {"ranges": [{"start": "p004", "end": "p004"}]}}
        for path in ASSETS
    ]
    launched = graphql(dagster, LAUNCH, params={"partitionsByAssets": selected})
    assert launched["launchPartitionBackfill"]["__typename"] == "LaunchBackfillSuccess", launched
    bench.project.shell(
        f"""
        eval "$(migration-assets env)"
        dagster job backfill -m {MODULE} --job migrate_p008 --partitions p005 --noprompt
        """
    ).ok()
    watched = bench.project.run("status", "--watch")
    assert watched.code == 1, "p006 is still failed"
    assert bench.reads() - before == {"p004": 1, "p005": 1}
    states = bench.states()
    assert {key: states[key] for key in BROKEN} == {
        "p003": "done", "p004": "done", "p005": "done", "p006": "missing",
    }  # fmt: skip


def test_run_failed_makes_the_last_one_and_watch_ends_with_0(bench: Bench) -> None:
    before = bench.reads()
    bench.project.run("run", "--failed").ok()
    assert bench.reads() - before == {"p006": 1}
    bench.project.run("status", "--watch").ok()
    rows = starrocks_rows(bench.project.settings, "SELECT id, name FROM dbo.parts")
    assert len(rows) == ROWS
    assert set(rows) == {(n, f"part {n}") for n in range(ROWS)}


def test_the_ui_and_the_command_line_at_once_double_nothing(
    bench: Bench, sandbox: Sandbox, dagster: str
) -> None:
    """The UI commits a partition while StarRocks still loads what the command line committed of it."""
    insert, words = "^INSERT OVERWRITE `dbo`.`parts`", ("--partitions", "p001")
    log = Statements(bench.log.path.with_name("starrocks.jsonl"))
    before = len(log.matching(insert))
    sandbox.control("starrocks").arm(Fault("delay", match=insert, seconds=600, times=1))
    typed = bench.project.start_run(*words, "--report", "typed.json")
    wait_until(lambda: len(log.matching(insert)) > before or typed.poll() is not None, insert)
    with bench.project.instance() as instance:
        (run,) = instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED]))
    committed = bench.project.materializations(*ASSETS[1])["p001"]
    selected = [
        {"assetKey": {"path": path}, "partitions": {"ranges": [{"start": "p001", "end": "p001"}]}}
        for path in ASSETS
    ]
    launched = graphql(dagster, LAUNCH, params={"partitionsByAssets": selected})
    assert launched["launchPartitionBackfill"]["__typename"] == "LaunchBackfillSuccess", launched
    wait_until(lambda: bench.project.materializations(*ASSETS[1])["p001"] > committed, "its commit")
    assert typed.poll() is None, "the UI must not end a run that lives"
    sandbox.control("starrocks").arm()
    assert typed.wait(240) == 0, (bench.project.folder / "output").read_text()
    with bench.project.instance() as instance:
        retried = instance.all_logs(run.run_id, of_type=dg.DagsterEventType.STEP_UP_FOR_RETRY)
    assert "somebody committed it again" in str(retried)
    bench.project.run("status", "--watch")
    assert bench.states()["p001"] == "done"
    rows = starrocks_rows(
        bench.project.settings, "SELECT id FROM dbo.parts WHERE source_partition = 1"
    )
    assert sorted(number for (number,) in rows) == list(range(10, 20))


@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if any(block.place == "webserver" for block in blocks([page]))],
    ids=lambda page: page.stem,
)
def test_what_a_page_sends_to_the_webserver_works(bench: Bench, dagster: str, page: Path) -> None:
    """The blocks of a page are one script, as somebody types them into one terminal."""
    typed = [block.text for block in blocks([page]) if block.place == "webserver"]
    if set(bench.states().values()) != {"done"}:
        bench.project.run("run", "--failed").ok()
    script = "\n".join(["set -o pipefail", 'eval "$(migration-assets env)"', *typed])
    before = bench.loads()
    done = bench.project.shell(script.replace("http://127.0.0.1:3000", dagster)).ok()
    assert "errors" not in done.out, done
    bench.project.run("status", "--watch").ok()
    expected = {
        "dagster": {"dbo.parts": 4, "sales.coupons": 1},
        "from-the-old-script": {
            "sales.coupons": 1, "sales.regions": 1, "hr.departments": 1, "hr.jobs": 1,
        },
    }  # fmt: skip
    assert bench.loads() - before == expected[page.stem]
    if page.stem == "from-the-old-script":
        assert_answers_are_those_it_speaks_of(bench.project, dagster)


def assert_answers_are_those_it_speaks_of(project: Project, address: str) -> None:
    def answer(name: str) -> Any:
        return json.loads((project.folder / f"{name}.json").read_text())["data"]

    for name in ("table", "schema"):
        launched = answer(name)["launchPartitionBackfill"]
        found = graphql(address, BACKFILL, id=launched["backfillId"])["partitionBackfillOrError"]
        assert found == {"status": "COMPLETED_SUCCESS"}
    asked = answer("backfill_status")["partitionBackfillOrError"]
    lines = asked["assetBackfillData"]["assetBackfillStatuses"]
    paths = {"/".join(line["assetKey"]["path"]) for line in lines}
    assert paths == {"mssql/sales/Coupons", "iceberg/sales/coupons", "starrocks/sales/coupons"}
    assert {line["numPartitionsTargeted"] for line in lines} == {1}
    assert answer("run_status")["runOrError"]["__typename"] == "Run"
    with project.instance() as instance:
        run = instance.get_run_by_id(answer("run")["launchRun"]["run"]["runId"])
    assert run is not None
    assert run.status is dg.DagsterRunStatus.SUCCESS


def test_env_is_fit_for_a_shell_and_holds_no_secret(bench: Bench, tmp_path: Path) -> None:
    said = bench.project.run("env").ok().out
    names = [line.split("=")[0].removeprefix("export ") for line in said.splitlines()]
    assert names == ["DAGSTER_HOME", "MIGRATION_PLAN"]
    for name, value in bench.project.settings.items():
        if "PASSWORD" in name or "SECRET" in name:
            assert value not in said

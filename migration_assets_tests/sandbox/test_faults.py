"""What goes wrong on the way, over real sockets: falsified values, failures, limits, kills.

Each scenario runs once, on tables of its own in one small database, and several tests look at what
it left. Only commands and what the servers received and hold are looked at.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import boto3
import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from migration_assets.sandbox.control import Control, Fault
from migration_assets.sandbox.launcher import Sandbox
from migration_assets_tests.sandbox.project import (
    Project,
    Result,
    Statements,
    await_closed,
    iceberg_catalog,
    kill,
    starrocks_rows,
    wait_until,
)

ROWS = 200
TABLES = [
    "Altered", "Ranged", "Loaded", "Fine", "Changed", "Replaced", "Swapped",
    "KilledA", "KilledB", "KilledC", "Raced", "Victim", "Cut",
]  # fmt: skip
RULES = """
tables:
  dbo.Ranged: {partitions: 8}
  dbo.Killed?: {isolated: true}
"""
VALUES = {(n, f"row {n}", Decimal(n) / 4) for n in range(ROWS)}
DONE = {"mssql": "done", "iceberg": "done", "starrocks": "done"}


def script() -> str:
    rows = ", ".join(f"({n}, N'row {n}', {n / 4})" for n in range(ROWS))
    columns = "(Id int NOT NULL PRIMARY KEY, Name nvarchar(40) NOT NULL, Amount decimal(10, 2))"
    made = [f"CREATE TABLE dbo.{name} {columns};\nGO" for name in [*TABLES, "Empty"]]
    filled = [f"INSERT INTO dbo.{name} VALUES {rows};\nGO" for name in TABLES]
    return "\n".join(made + filled)


@dataclass
class Bench:
    """Three stand-ins with a database of ours, and a project planned on it."""

    sandbox: Sandbox
    project: Project
    logs: dict[str, Statements]

    @property
    def sqlserver(self) -> Control:
        return self.sandbox.control("sqlserver")

    @property
    def aws(self) -> Control:
        return self.sandbox.control("aws")

    @property
    def starrocks(self) -> Control:
        return self.sandbox.control("starrocks")

    def disarm(self) -> None:
        for name in self.sandbox.names:
            self.sandbox.control(name).arm()

    def reads(self) -> Counter[str]:
        """How often the rows of each table were asked for, from the beginning on."""
        found: Counter[str] = Counter()
        for text in self.logs["sqlserver"].matching(r"AS \[amount\] FROM \[dbo\]"):
            found[text.split("[dbo].[")[1].split("]")[0]] += 1
        return found

    def loads(self) -> Counter[str]:
        """How often StarRocks was asked to load each table."""
        found = self.logs["starrocks"].matching("^INSERT OVERWRITE `dbo`")
        return Counter(text.split("`")[3] for text in found)

    def iceberg(self, name: str) -> list[tuple[Any, ...]]:
        table = iceberg_catalog(self.project.settings).load_table(("dbo", name.lower()))
        rows = table.scan(selected_fields=("id", "name", "amount")).to_arrow()
        return [tuple(row.values()) for row in rows.to_pylist()]

    def loaded(self, name: str) -> list[tuple[Any, ...]]:
        return starrocks_rows(
            self.project.settings, f"SELECT id, name, amount FROM dbo.{name.lower()}"
        )

    def assert_arrived(self, *names: str) -> None:
        """Both targets hold each row of the source exactly once."""
        for name in names:
            for rows in (self.iceberg(name), self.loaded(name)):
                assert len(rows) == ROWS, name
                assert set(rows) == VALUES, name

    def states(self, *names: str) -> dict[tuple[str, str], dict[str, str]]:
        """The state of each partition in each system."""
        said = self.project.status(*(word for name in names for word in ("--tables", name)))
        return {key: {stage: line[stage] for stage in DONE} for key, line in said.items()}


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    folder = tmp_path_factory.mktemp("faults")
    (folder / "tables.sql").write_text(script(), encoding="utf-8")
    (folder / "migration.yaml").write_text(RULES, encoding="utf-8")
    logs = folder / "statements"
    words = {"sqlserver": [f"--script={folder / 'tables.sql'}"]}
    with Sandbox(scale=None, statements_dir=logs, extra_arguments=words) as sandbox:
        project = Project(folder, sandbox.settings)
        # The first command writes dagster.yaml: three steps may use a system at a time.
        project.run("env", MIGRATION_CONCURRENT_RUNS="3").ok()
        project.run("doctor", "--fix").ok()
        project.run("plan").ok()
        try:
            statements = {name: Statements(logs / f"{name}.jsonl") for name in sandbox.names}
            yield Bench(sandbox, project, statements)
        finally:
            project.close()


# -- a value falsified, a partition that fails ------------------------------------------------------


@dataclass
class Red:
    """The first run, with faults in three of six tables."""

    result: Result
    report: dict[str, Any]
    states: dict[tuple[str, str], dict[str, str]]
    failed: Result
    checks: dict[str, str]
    untouched: dict[str, list[Any]]


@pytest.fixture(scope="module")
def red(bench: Bench) -> Red:
    p003 = bench.project.table("dbo.Ranged")["key_ranges"][3]
    broken = rf"AS \[amount\] FROM \[dbo\]\.\[Ranged\] WHERE \[Id\] >= {p003['lower']} "
    bench.sqlserver.arm(
        Fault("alter", match=r"AS \[amount\] FROM \[dbo\]\.\[Altered\]", column="amount"),
        Fault("error", match=broken, number=8134, message="Divide by zero error encountered."),
    )
    bench.starrocks.arm(
        Fault(
            "then",
            match="^INSERT OVERWRITE `dbo`.`loaded`",
            sql='UPDATE "dbo"."loaded" SET amount = 99 WHERE id = 7',
        )
    )
    names = ["Altered", "Ranged", "Loaded", "Fine", "Changed", "Empty"]
    patterns = [word for name in names for word in ("--tables", f"dbo.{name}")]
    result = bench.project.run("run", *patterns)
    bench.disarm()
    failed = bench.project.run("status", "--failed", *patterns)
    checks = {}
    with bench.project.instance() as instance:
        for path, check in (
            ("mssql/dbo/Altered", "fingerprint"),
            ("starrocks/dbo/loaded", "fingerprint"),
        ):
            key = dg.AssetCheckKey(dg.AssetKey(path.split("/")), check)
            (record,) = instance.event_log_storage.get_asset_check_execution_history(key, limit=1)
            evaluation = record.evaluation
            assert evaluation is not None
            assert not evaluation.passed
            checks[path] = evaluation.description or ""
    return Red(
        result=result,
        report=bench.project.report,
        states=bench.states(*(f"dbo.{name}" for name in names)),
        failed=failed,
        checks=checks,
        untouched={
            "Fine": bench.loaded("Fine"),
            "Empty": bench.loaded("Empty"),
            "Empty in Iceberg": bench.iceberg("Empty"),
            "Ranged": bench.loaded("Ranged"),
        },
    )


def test_a_run_with_failures_ends_with_exit_code_1_and_reports_each(red: Red) -> None:
    assert red.result.code == 1, str(red.result)
    assert red.report["success"] is False
    failures = {(f["table"], f["partition"], f["stage"]) for f in red.report["failures"]}
    assert failures == {
        ("dbo.Altered", "p000", "mssql"),
        ("dbo.Ranged", "p003", "mssql"),
        ("dbo.Loaded", "p000", "starrocks"),
    }
    assert "Traceback" not in red.result.out + red.result.err


def test_a_value_altered_on_the_way_from_sql_server_is_found_by_the_source_check(red: Red) -> None:
    assert red.states["dbo.Altered", "p000"] == {
        "mssql": "failed", "iceberg": "failed", "starrocks": "failed",
    }  # fmt: skip
    total = sum(range(ROWS)) * 25  # hundredths
    description = red.checks["mssql/dbo/Altered"]
    assert "amount." in description
    assert f"expected {total:,}, found {total + 100:,}" in description


def test_a_value_altered_in_starrocks_is_found_by_the_target_check(red: Red) -> None:
    assert red.states["dbo.Loaded", "p000"] == {
        "mssql": "done", "iceberg": "done", "starrocks": "failed",
    }  # fmt: skip
    total = sum(range(ROWS)) * 25
    description = red.checks["starrocks/dbo/loaded"]
    assert "amount." in description
    assert f"expected {total:,}, found {total - 175 + 9900:,}" in description


def test_one_failing_partition_leaves_all_others_materialized(red: Red) -> None:
    keys = [f"p{number:03d}" for number in range(8)]
    for key in keys:
        wanted = DONE if key != "p003" else {
            "mssql": "failed", "iceberg": "failed", "starrocks": "failed",
        }  # fmt: skip
        assert red.states["dbo.Ranged", key] == wanted
    assert set(red.untouched["Ranged"]) < VALUES
    assert len(red.untouched["Ranged"]) == ROWS * 7 // 8
    assert red.states["dbo.Fine", "p000"] == DONE
    assert set(red.untouched["Fine"]) == VALUES


def test_an_empty_table_is_there_in_both_targets(red: Red) -> None:
    assert red.states["dbo.Empty", "p000"] == DONE
    assert red.untouched["Empty"] == red.untouched["Empty in Iceberg"] == []
    assert red.report["tables"]["dbo.Empty"]["valid"] is True


def test_status_names_cause_and_command(red: Red) -> None:
    text = red.failed.ok().out
    assert "Divide by zero error encountered." in text
    assert "migration-assets run --failed --tables dbo.Ranged --partitions p003" in text
    assert "amount." in text


@dataclass
class Healed:
    """What `run --failed` did after the faults were gone."""

    result: Result
    reads: Counter[str]
    loads: Counter[str]
    materialized: dict[str, int]


@pytest.fixture(scope="module")
def healed(bench: Bench, red: Red) -> Healed:
    reads, loads = bench.reads(), bench.loads()
    patterns = [f"dbo.{name}" for name in ("Altered", "Ranged", "Loaded", "Fine", "Empty")]
    words = [word for pattern in patterns for word in ("--tables", pattern)]
    result = bench.project.run("run", "--failed", *words)
    return Healed(
        result,
        bench.reads() - reads,
        bench.loads() - loads,
        bench.project.materializations("starrocks", "dbo", "ranged"),
    )


def test_failed_remakes_what_failed_and_nothing_else(bench: Bench, healed: Healed) -> None:
    healed.result.ok()
    assert healed.reads == {"Altered": 1, "Ranged": 1, "Loaded": 1}
    assert healed.loads == {"altered": 1, "ranged": 1, "loaded": 1}
    assert healed.materialized == {f"p{number:03d}": 1 for number in range(8)}
    bench.assert_arrived("Altered", "Ranged", "Loaded", "Fine")


# -- later changes ---------------------------------------------------------------------------------


@dataclass
class Later:
    """Rows changed in StarRocks after the fact, and an extract made alone."""

    red: Result
    states: dict[tuple[str, str], dict[str, str]]
    failed: Result
    reads: Counter[str]
    loads: Counter[str]
    green: Result


@pytest.fixture(scope="module")
def later(bench: Bench, healed: Healed) -> Later:
    project = bench.project
    bench.starrocks.sql('UPDATE "dbo"."loaded" SET amount = 98 WHERE id = 7')
    bench.starrocks.sql('UPDATE "dbo"."ranged" SET amount = 98 WHERE id = 130')
    patterns = ["--tables", "dbo.Loaded", "--tables", "dbo.Ranged", "--tables", "dbo.Fine"]
    red = project.run("validate", *patterns)
    project.run("run", "--until", "mssql", "--tables", "dbo.Fine").ok()
    project.run("run", "--from", "starrocks", "--tables", "dbo.Ranged", "--partitions", "p001").ok()
    states = bench.states("dbo.Loaded", "dbo.Ranged", "dbo.Fine")
    reads, loads = bench.reads(), bench.loads()
    failed = project.run("run", "--failed", *patterns)
    return Later(
        red,
        states,
        failed,
        bench.reads() - reads,
        bench.loads() - loads,
        project.run("validate", *patterns),
    )


def test_validate_finds_what_changed_in_starrocks(later: Later) -> None:
    assert later.red.code == 1
    lines = {line.split(":")[0]: line for line in later.red.out.splitlines()}
    assert "differs" in lines["dbo.Loaded"]
    assert "p000 amount." in lines["dbo.Loaded"]
    assert "differs" in lines["dbo.Ranged"]
    assert "p005 amount." in lines["dbo.Ranged"]
    assert "equal" in lines["dbo.Fine"]


def test_a_comparison_of_counts_does_not_turn_a_red_fingerprint_green(later: Later) -> None:
    assert later.states["dbo.Ranged", "p005"]["starrocks"] == "check failed"
    assert later.states["dbo.Ranged", "p001"] == DONE
    assert later.states["dbo.Loaded", "p000"]["starrocks"] == "check failed"


def test_an_extract_made_alone_leaves_its_downstream_stale(later: Later) -> None:
    assert later.states["dbo.Fine", "p000"] == {
        "mssql": "done", "iceberg": "stale", "starrocks": "stale",
    }  # fmt: skip


def test_failed_repairs_both_and_validate_is_green_again(bench: Bench, later: Later) -> None:
    later.failed.ok()
    assert later.reads == {"Loaded": 1, "Ranged": 1}
    assert later.loads == {"loaded": 1, "ranged": 1, "fine": 1}
    later.green.ok()
    bench.assert_arrived("Loaded", "Ranged", "Fine")


# -- Parquet files replaced ------------------------------------------------------------------------


def replace_file(bench: Bench, table: str, change: Any) -> None:
    """Write a table's only data file anew under its own name."""
    settings = bench.project.settings
    s3 = boto3.client(
        "s3", endpoint_url=settings["AWS_ENDPOINT_URL"], region_name=settings["AWS_REGION"],
        aws_access_key_id=settings["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=settings["AWS_SECRET_ACCESS_KEY"],
    )  # fmt: skip
    bucket, prefix = settings["S3_BUCKET"], f"warehouse/dbo/{table}/data/"
    (found,) = s3.list_objects_v2(Bucket=bucket, Prefix=prefix)["Contents"]
    content = s3.get_object(Bucket=bucket, Key=found["Key"])["Body"].read()
    changed = io.BytesIO()
    pq.write_table(change(pq.read_table(io.BytesIO(content))), changed, compression="zstd")
    s3.put_object(Bucket=bucket, Key=found["Key"], Body=changed.getvalue())
    s3.close()


def other_value(rows: pa.Table) -> pa.Table:
    place = rows.column_names.index("amount")
    amounts = rows["amount"].to_pylist()
    amounts[7] += 1
    return rows.set_column(
        place, rows.schema.field(place), pa.array(amounts, rows.schema.field(place).type)
    )


@dataclass
class Replaced:
    """Runs around the replacement of two files."""

    commit: Result
    after_commit: dict[tuple[str, str], dict[str, str]]
    load: Result
    after_load: dict[tuple[str, str], dict[str, str]]
    healed: Result


@pytest.fixture(scope="module")
def replaced(bench: Bench) -> Replaced:
    names, project = ("dbo.Replaced", "dbo.Swapped"), bench.project
    words = [word for name in names for word in ("--tables", name)]
    project.run("run", "--until", "mssql", *words).ok()
    replace_file(bench, "replaced", lambda rows: rows.slice(1))
    commit = project.run("run", "--from", "iceberg", "--until", "iceberg", *words)
    after_commit = bench.states(*names)
    replace_file(bench, "swapped", other_value)
    load = project.run("run", "--failed", *words)
    after_load = bench.states(*names)
    return Replaced(commit, after_commit, load, after_load, project.run("run", "--failed", *words))


def test_a_file_that_is_not_as_its_receipt_says_is_not_committed(replaced: Replaced) -> None:
    assert replaced.commit.code == 1
    assert replaced.after_commit["dbo.Replaced", "p000"] == {
        "mssql": "done", "iceberg": "failed", "starrocks": "missing",
    }  # fmt: skip
    assert replaced.after_commit["dbo.Swapped", "p000"]["iceberg"] == "done"
    said = replaced.commit.out
    assert "dbo.Replaced p000 (iceberg)" in said
    assert ".parquet" in said
    assert "rows" in said or "bytes" in said


def test_a_value_changed_in_a_committed_file_is_found_in_starrocks(
    bench: Bench, replaced: Replaced
) -> None:
    assert replaced.load.code == 1
    assert replaced.after_load["dbo.Replaced", "p000"] == DONE
    assert replaced.after_load["dbo.Swapped", "p000"] == {
        "mssql": "done", "iceberg": "done", "starrocks": "failed",
    }  # fmt: skip
    assert "amount." in replaced.load.out
    replaced.healed.ok()
    bench.assert_arrived("Replaced", "Swapped")


# -- killed from outside ---------------------------------------------------------------------------


@dataclass
class Killed:
    """Three tables, each held at another moment, and one SIGKILL for all."""

    before: dict[str, str]
    slots_before: int
    committed: list[str]
    resumed: Result
    after: set[str]
    slots_after: int
    reads: Counter[str]
    still_open: dict[str, int]


def slots_taken(instance: dg.DagsterInstance) -> int:
    storage = instance.event_log_storage
    infos = [storage.get_concurrency_info(key) for key in storage.get_concurrency_keys()]
    return sum(info.active_slot_count for info in infos)


@pytest.fixture(scope="module")
def killed(bench: Bench) -> Killed:
    """A between files and commit, B between commit and its receipt, C between commit and load."""
    held = {
        "aws": [
            "AWSGlue.UpdateTable dbo.killeda",
            "PUT /lake/warehouse/.migration/receipts/shop/iceberg/dbo/killedb/[a-z0-9-]+\\.json",
        ],
        "starrocks": ["^INSERT OVERWRITE `dbo`.`killedc`"],
    }
    for name, patterns in held.items():
        bench.sandbox.control(name).arm(
            *(Fault("delay", match=pattern, seconds=600) for pattern in patterns)
        )
    words = ("--tables", "dbo.Killed?")
    process = bench.project.start_run(*words, MIGRATION_CONCURRENT_RUNS="3")
    for name, patterns in held.items():
        for pattern in patterns:
            wait_until(
                lambda name=name, pattern=pattern: (
                    bench.logs[name].matching(pattern) or process.poll() is not None
                ),
                pattern,
            )
    assert process.poll() is None, (bench.project.folder / "output").read_text()
    kill(process)
    committed = bench.logs["aws"].matching("UpdateTable dbo.killed", outcome="ok")
    bench.disarm()
    with bench.project.instance() as instance:
        before = {run.run_id: run.status.value for run in instance.get_runs()}
        slots_before = slots_taken(instance)
    reads = bench.reads()
    resumed = bench.project.run("run", "--failed", *words)
    with bench.project.instance() as instance:
        after = {
            run.status.value for run in instance.get_runs() if before.get(run.run_id) == "STARTED"
        }
        slots_after = slots_taken(instance)
    return Killed(
        before,
        slots_before,
        [text.rpartition(".")[2] for text in committed],
        resumed,
        after,
        slots_after,
        bench.reads() - reads,
        {name: await_closed(bench.sandbox, name) for name in ("sqlserver", "starrocks")},
    )


def test_the_kill_came_at_the_three_moments(killed: Killed) -> None:
    assert Counter(killed.before.values())["STARTED"] == 3
    assert killed.slots_before == 3
    assert killed.committed.count("killeda") == 0
    assert killed.committed.count("killedb") == 1
    assert killed.committed.count("killedc") == 1


def test_after_a_kill_failed_goes_on_without_loss_or_duplicate(
    bench: Bench, killed: Killed
) -> None:
    killed.resumed.ok()
    bench.assert_arrived("KilledA", "KilledB", "KilledC")
    for name in ("killeda", "killedb", "killedc"):
        assert bench.project.report["tables"][f"dbo.{name.capitalize()[:-1]}{name[-1].upper()}"][
            "valid"
        ]


def test_after_a_kill_nothing_is_read_from_the_source_again(killed: Killed) -> None:
    assert killed.reads == {}


def test_dead_runs_are_ended_and_give_back_their_slots(killed: Killed) -> None:
    assert killed.after == {"FAILURE"}
    assert killed.slots_after == 0
    assert set(killed.still_open.values()) == {0}


# -- overtaken -------------------------------------------------------------------------------------


def test_a_load_overtaken_by_a_newer_commit_fails_and_is_made_again(bench: Bench) -> None:
    insert, words = "^INSERT OVERWRITE `dbo`.`raced`", ("--tables", "dbo.Raced")
    bench.starrocks.arm(Fault("delay", match=insert, seconds=600, times=1))
    slow = bench.project.start_run(*words, "--report", "slow.json", MIGRATION_CONCURRENT_RUNS="2")
    wait_until(lambda: bench.logs["starrocks"].matching(insert) or slow.poll() is not None, insert)
    bench.project.run("run", "--until", "iceberg", *words).ok()
    assert slow.poll() is None, "the newer run must not end a run that lives"
    bench.disarm()
    assert slow.wait(240) == 1
    said = (bench.project.folder / "slow.json").read_text()
    assert "somebody committed it again" in said
    assert bench.states("dbo.Raced")["dbo.Raced", "p000"]["starrocks"] == "failed"
    reads = bench.reads()
    bench.project.run("run", "--failed", *words).ok()
    assert bench.reads() == reads
    bench.assert_arrived("Raced")


# -- transient faults ------------------------------------------------------------------------------


def test_transient_faults_are_retried_and_end_green(bench: Bench) -> None:
    insert = "^INSERT OVERWRITE `dbo`.`cut`"
    bench.sqlserver.arm(
        Fault("error", match=r"COUNT_BIG.*FROM \[dbo\]\.\[Victim\]", number=1205, times=1),
        Fault("drop", match=r"AS \[amount\] FROM \[dbo\]\.\[Cut\]", after_bytes=2000, times=1),
    )
    bench.aws.arm(Fault("unavailable", match="/lake/", percent=10))
    bench.starrocks.arm(Fault("drop", match=insert, times=1))
    refused = bench.starrocks.state().refused
    words = ("--tables", "dbo.Victim", "--tables", "dbo.Cut")
    process = bench.project.start_run(*words)
    wait_until(lambda: bench.starrocks.faults()[0].times == 0 or process.poll() is not None)
    bench.starrocks.arm(Fault("refuse", above=0))
    wait_until(lambda: bench.starrocks.state().refused > refused or process.poll() is not None)
    bench.starrocks.arm()
    struck = {fault.kind: fault.times for fault in bench.sqlserver.faults()}
    output = bench.project.folder / "output"
    assert process.wait(240) == 0, output.read_text()
    bench.disarm()
    assert struck == {"error": 0, "drop": 0}
    assert bench.starrocks.state().refused > refused
    answers = bench.logs["aws"].entries("/lake/", "error")
    assert any(answer.get("status") == 503 for answer in answers), "no request was refused"
    assert bench.project.report["tables"]["dbo.Victim"]["attempts"] > 3
    assert bench.project.report["tables"]["dbo.Cut"]["attempts"] > 4
    bench.assert_arrived("Victim", "Cut")


# -- another plan ----------------------------------------------------------------------------------


@dataclass
class Changed:
    """A table planned anew with other key ranges."""

    old_id: str
    run: Result
    states: dict[tuple[str, str], dict[str, str]]
    load: Result
    rows: list[Any]
    declined: Result
    after_decline: list[Any]
    reset: Result
    emptied: list[Any]
    again: Result


@pytest.fixture(scope="module")
def changed(bench: Bench, red: Red, tmp_path_factory: pytest.TempPathFactory) -> Changed:
    project, words = bench.project, ("--tables", "dbo.Changed")
    before = project.plan
    rules = project.folder / "migration.yaml"
    rules.write_text(RULES + "  dbo.Changed: {partitions: 8}\n", encoding="utf-8")
    project.run("plan").ok()
    assert len(project.table("dbo.Changed")["key_ranges"]) == 8
    run = project.run("run", "--until", "iceberg", *words)
    states = bench.states("dbo.Changed")
    load = project.run("run", "--from", "starrocks", *words, "--partitions", "p000")
    rows = bench.loaded("Changed")
    declined = project.run("reset", "dbo.Changed")  # nobody answers the question
    after_decline = bench.loaded("Changed")
    reset = project.run("reset", "dbo.Changed", "--yes")
    emptied = [*bench.loaded("Changed"), *bench.iceberg("Changed")]
    return Changed(
        before["plan_id"],
        run,
        states,
        load,
        rows,
        declined,
        after_decline,
        reset,
        emptied,
        project.run("run", "--failed", *words),
    )


def test_a_changed_plan_is_refused_by_commit_and_load(changed: Changed) -> None:
    assert changed.run.code == 1
    assert "holds rows of another plan" in changed.run.out
    assert "migration-assets reset dbo.Changed" in changed.run.out
    assert {state["iceberg"] for state in changed.states.values()} == {"failed"}
    assert changed.load.code == 1
    assert set(changed.rows) == VALUES, "nothing was dropped or loaded"


def test_reset_asks_and_then_makes_it_valid(bench: Bench, changed: Changed) -> None:
    assert changed.declined.code == 130
    assert set(changed.after_decline) == VALUES
    changed.reset.ok()
    assert changed.emptied == []
    changed.again.ok()
    bench.assert_arrived("Changed")
    assert len(set(bench.project.data_versions("starrocks", "dbo", "changed").values())) == 8

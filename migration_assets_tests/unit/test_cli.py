"""The command line: exit codes, and one sentence instead of a stack trace."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from migration_assets import cli as module
from migration_assets.assets.translator import STAGES
from migration_assets.cli import cli
from migration_assets.commands import migration
from migration_assets.commands.arguments import FAILED, INTERRUPTED, OK, WRONG_USE, one_by_one
from migration_assets.errors import (
    AccessDeniedError,
    ConfigurationError,
    ConnectionLostError,
    MigrationError,
    PlanError,
)
from migration_assets.operations import run_states
from migration_assets.operations import status as operations_status
from migration_assets.operations.status import PartitionStatus, State
from migration_assets.plan import MigrationPlan, TablePlan
from migration_assets_tests.unit.tables import INT, table_plan

NEEDS_PLAN = [["status"], ["validate"], ["run"], ["reset", "dbo.t", "--yes"]]


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    err: str


def start(folder: Path, *arguments: str, **settings: str) -> Ended:
    """Run the command as a person does, in a folder and an environment of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "migration_assets", *arguments],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "HOME": str(folder), **settings},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return Ended(done.returncode, done.stdout, done.stderr)


Call = Callable[..., Ended]


@pytest.fixture
def call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Call:
    """Run the command within this process: for what ends before Dagster is needed."""
    for name in list(os.environ):
        if name.startswith(("MSSQL_", "AWS_", "S3_", "STARROCKS_", "MIGRATION_")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> Ended:
        monkeypatch.setattr(sys, "argv", ["migration-assets", *arguments])
        with pytest.raises(SystemExit) as ended:
            module.main()
        assert isinstance(ended.value.code, int)
        said = capsys.readouterr()
        return Ended(ended.value.code, said.out, said.err)

    return run


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["run", "--nonsense"],
        ["run", "--until", "nowhere"],
        ["reset"],
        ["sandbox", "start", "oracle"],
        ["validate", "--level", "all"],
        ["clean"],
        ["run", "--limit", "0"],
        ["run", "--limit", "5", "--failed"],
        ["run", "--limit", "5", "--partitions", "p000"],
        ["plan", "--tables", "dbo.t"],
        ["plan", "--show-sql", "--yes"],
    ],
)
def test_wrong_use_is_2_without_a_stack_trace(call: Call, arguments: list[str]) -> None:
    ended = call(*arguments)
    assert ended.code == WRONG_USE
    assert "Error: " in ended.err
    assert "Traceback" not in ended.out + ended.err


@pytest.mark.parametrize("arguments", NEEDS_PLAN, ids=" ".join)
def test_without_a_plan_it_is_2_and_says_what_to_run(call: Call, arguments: list[str]) -> None:
    ended = call(*arguments)
    assert ended.code == WRONG_USE
    assert ended.err.strip() == (
        "Error: MA-PL-001: There is no plan at migration_plan.json. "
        "Run `migration-assets plan`, or set MIGRATION_PLAN."
    )


def test_without_settings_plan_is_2_and_names_each_variable(call: Call) -> None:
    ended = call("plan")
    assert ended.code == WRONG_USE
    for name in ("MSSQL_HOST", "MSSQL_USER", "MSSQL_PASSWORD", "MSSQL_DATABASE"):
        assert f"{name} is not set" in ended.err
    assert len(ended.err.splitlines()) == 1


def test_a_broken_rule_file_is_2_and_names_the_line(call: Call, tmp_path: Path) -> None:
    (tmp_path / "migration.yaml").write_text("exclude: [a]\nincludes: [b]\n", encoding="utf-8")
    ended = call("plan")
    assert ended.code == WRONG_USE
    assert "migration.yaml, line 2: includes is not a known key; did you mean include?" in ended.err


def test_a_corrupt_plan_is_2(call: Call, tmp_path: Path) -> None:
    (tmp_path / "migration_plan.json").write_text("{", encoding="utf-8")
    ended = call("status")
    assert ended.code == WRONG_USE
    assert "migration_plan.json is not valid JSON" in ended.err
    assert "Traceback" not in ended.err


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        (["--tables", "a", "b", "c"], ["--tables", "a", "--tables", "b", "--tables", "c"]),
        (["--tables", "a", "--failed"], ["--tables", "a", "--failed"]),
        (["--failed", "--tables", "a", "b", "--partitions", "p000"],
         ["--failed", "--tables", "a", "--tables", "b", "--partitions", "p000"]),
        (["--tables", "a", "--tables", "b"], ["--tables", "a", "--tables", "b"]),
        (["--partitions", "p000", "x"], ["--partitions", "p000", "x"]),
        (["dbo.t", "dbo.u"], ["dbo.t", "dbo.u"]),
    ],
)  # fmt: skip
def test_several_patterns_after_one_option(given: list[str], taken: list[str]) -> None:
    assert list(one_by_one(given)) == taken


def test_a_pattern_that_matches_nothing_is_2(call: Call, tmp_path: Path) -> None:
    write_plan(tmp_path)
    ended = call("status", "--tables", "hr.*")
    assert ended.code == WRONG_USE
    assert "No table of the plan matches 'hr.*'" in ended.err


def test_stages_in_the_wrong_order_are_2(call: Call, tmp_path: Path) -> None:
    write_plan(tmp_path)
    ended = call("run", "--from", "starrocks", "--until", "mssql")
    assert ended.code == WRONG_USE
    assert "no stage from starrocks to mssql" in ended.err


def test_an_old_setting_is_warned_of_once(tmp_path: Path) -> None:
    ended = start(tmp_path, "env", BATCH_SIZE="5")
    assert ended.code == OK
    assert ended.err.strip() == "Warning: BATCH_SIZE has no effect any more; use MSSQL_BATCH_ROWS."


def test_env_prints_what_a_shell_can_read(tmp_path: Path) -> None:
    folder = tmp_path / "a b'c"
    folder.mkdir()
    said = start(folder, "env").out
    shown = subprocess.run(
        ["/bin/sh", "-c", f'{said}\nprintf "%s|%s" "$DAGSTER_HOME" "$MIGRATION_PLAN"'],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert shown == f"{folder}/.dagster|{folder}/migration_plan.json"


def test_status_of_a_fresh_plan_has_a_json_object_per_partition(tmp_path: Path) -> None:
    write_plan(tmp_path)
    ended = start(tmp_path, "status", "--json")
    assert ended.code == OK
    assert [json.loads(line) for line in ended.out.splitlines()] == [
        {"table": "dbo.t", "partition": key} | dict.fromkeys(("mssql", "iceberg", "starrocks"), "missing")
        for key in ("p000", "p001")
    ]  # fmt: skip


def test_another_plan_is_gone_by_and_dagster_s_home_stays(tmp_path: Path) -> None:
    """Also where the plan of the settings is not there."""
    reviewed = tmp_path / "reviewed"
    reviewed.mkdir()
    write_plan(reviewed)
    ended = start(tmp_path, "status", "--json", "--plan", "reviewed/migration_plan.json")
    assert ended.code == OK, ended
    assert len(ended.out.splitlines()) == 2
    assert (tmp_path / ".dagster").is_dir()
    assert not (reviewed / ".dagster").exists()
    missing = start(tmp_path, "run", "--plan", "reviewed/other.json")
    assert missing.code == WRONG_USE
    assert "There is no plan at reviewed/other.json." in missing.err


def test_sql_is_shown_without_any_server_and_nothing_is_written(call: Call, tmp_path: Path) -> None:
    write_plan(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    ended = call("plan", "--show-sql", "--tables", "DBO.T")
    assert ended.code == OK, ended
    assert "SELECT [id] AS [id]" in ended.out
    assert "INSERT OVERWRITE `dbo`.`t`" in ended.out
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_watch_ends_with_1_when_nothing_runs_and_not_all_is_done(tmp_path: Path) -> None:
    write_plan(tmp_path)
    assert start(tmp_path, "status", "--watch").code == FAILED
    assert start(tmp_path, "status").code == OK


@dataclass
class Clock:
    """Time that passes only while somebody sleeps."""

    now: float = 1000.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_watch_prints_what_changed_and_once_a_minute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For 150 s something runs; after 35 s the first of two partitions is done."""
    write_plan(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("MIGRATION_PLAN", raising=False)
    clock = Clock()
    monkeypatch.setattr(migration, "time", clock)
    monkeypatch.setattr(run_states, "is_busy", lambda _: clock.now < 1150)

    def statuses(_: object, tables: list[TablePlan], __: object) -> Iterator[PartitionStatus]:
        for key in tables[0].partition_keys:
            state = State.DONE if key == "p000" and clock.now >= 1035 else State.MISSING
            yield PartitionStatus(tables[0], key, dict.fromkeys(STAGES, state))

    monkeypatch.setattr(operations_status, "partition_statuses", statuses)
    said: list[tuple[float, str]] = []
    monkeypatch.setattr(
        "migration_assets.terminal.console.print",
        lambda text, **_: said.append((clock.now, text)),
    )
    assert cli.main(["status", "--watch"], standalone_mode=False) == FAILED
    lines = [(at, text) for at, text in said if isinstance(text, str)]
    assert lines == [
        (1000.0, "0/2 partitions done, estimating the time left"),
        (1035.0, "1/2 partitions done, estimating the time left"),
        (1095.0, "1/2 partitions done, about 1 min 35 s left"),
    ]


def test_plan_counts_tablets_for_the_replicas_of_the_setting(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_plan(tmp_path)
    made = MigrationPlan.load(tmp_path / "migration_plan.json")
    monkeypatch.setattr("migration_assets.commands.plan_again.make_plan", lambda *_, **__: made)
    for name in ("HOST", "USER", "PASSWORD", "DATABASE"):
        monkeypatch.setenv(f"MSSQL_{name}", "x")
    monkeypatch.setenv("STARROCKS_REPLICATION_NUM", "1")
    ended = call("plan")
    assert ended.code == OK, ended.err
    assert re.search(r"Tablets +2 +in StarRocks: .* 1 replica\b", ended.out)


def test_reset_asks_and_no_is_an_interruption(tmp_path: Path) -> None:
    write_plan(tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "migration_assets", "reset", "dbo.t"],
        cwd=tmp_path, env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)}, input="n\n",
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == INTERRUPTED
    assert "Delete all migrated rows of dbo.t in Iceberg and StarRocks?" in done.stdout


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigurationError("Wrong setting."), WRONG_USE),
        (PlanError("Wrong plan."), WRONG_USE),
        (AccessDeniedError("Wrong password."), FAILED),
        (ConnectionLostError("Wrong host."), FAILED),
        (MigrationError("Wrong.", next_step="Mend it."), FAILED),
        (KeyboardInterrupt(), INTERRUPTED),
    ],
    ids=lambda value: type(value).__name__,
)
def test_each_kind_of_error_has_its_exit_code(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    code: int,
) -> None:
    def fail(**_: object) -> None:
        raise error

    monkeypatch.setattr(cli, "main", fail)
    with pytest.raises(SystemExit) as ended:
        module.main()
    assert ended.value.code == code
    said = capsys.readouterr().err
    assert str(error) in said if isinstance(error, MigrationError) else "Interrupted." in said


def write_plan(folder: Path) -> None:
    table = table_plan([("id", INT)], key=["id"], cuts=["10"])
    plan = MigrationPlan(server="s", database="shop", tables=(table,))
    (folder / "migration_plan.json").write_text(plan.to_json(), encoding="utf-8")


@pytest.fixture
def replan(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[Ended, bool]]:
    """`plan` over a plan of `dbo.t` with the columns given; and whether the file was written."""
    for name in ("HOST", "USER", "PASSWORD", "DATABASE"):
        monkeypatch.setenv(f"MSSQL_{name}", "x")

    def run(*arguments: str, columns: list[Any] | None = None, **values: Any) -> tuple[Ended, bool]:
        write_plan(tmp_path)
        path = tmp_path / "migration_plan.json"
        before = path.read_bytes()
        table = table_plan(columns or [("id", INT)], key=["id"], cuts=["10"])
        made = MigrationPlan(server="s", database="shop", tables=(table.replaced(**values),))
        monkeypatch.setattr("migration_assets.commands.plan_again.make_plan", lambda *_, **__: made)
        return call("plan", *arguments), path.read_bytes() != before

    return run


@pytest.mark.parametrize(
    ("arguments", "values", "code", "is_written"),
    [
        ([], {}, OK, False),
        (["--detailed-exitcode"], {"rows": 12345}, OK, False),
        ([], {"verification": "count"}, OK, True),
        (["--detailed-exitcode"], {"verification": "count"}, 2, True),
        (["--detailed-exitcode", "--dry-run"], {"verification": "count"}, 2, False),
        (["--dry-run"], {"verification": "count"}, OK, False),
        ([], {"namespace": "other"}, FAILED, False),
        (["--detailed-exitcode"], {"namespace": "other"}, FAILED, False),
        (["--yes"], {"namespace": "other"}, OK, True),
        (["--yes", "--detailed-exitcode"], {"namespace": "other"}, 2, True),
        (["--detailed-exitcode", "--dry-run"], {"namespace": "other"}, 2, False),
        (["--dry-run", "--yes"], {"namespace": "other"}, OK, False),
    ],
)
def test_what_plan_writes_and_how_it_ends(
    replan: Callable[..., tuple[Ended, bool]],
    arguments: list[str],
    values: dict[str, Any],
    code: int,
    *,
    is_written: bool,
) -> None:
    ended, was_written = replan(*arguments, **values)
    assert (ended.code, was_written) == (code, is_written), ended
    if "namespace" in values:
        assert "migration-assets reset dbo.t" in ended.out


def test_a_terminal_is_asked(
    replan: Callable[..., tuple[Ended, bool]], monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter([False, True])
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("click.confirm", lambda *_, **__: next(answers))
    ended, was_written = replan(namespace="other")
    assert (ended.code, was_written) == (FAILED, False)
    ended, was_written = replan(namespace="other")
    assert (ended.code, was_written) == (OK, True)


def test_a_plan_that_cannot_be_read_is_replaced_only_when_accepted(
    replan: Callable[..., tuple[Ended, bool]], call: Call, tmp_path: Path
) -> None:
    replan()
    path = tmp_path / "migration_plan.json"
    for arguments, code in (([], WRONG_USE), (["--fresh"], FAILED), (["--fresh", "--yes"], OK)):
        path.write_text("{", encoding="utf-8")
        assert call("plan", *arguments).code == code
        assert (path.read_text(encoding="utf-8") == "{") is (code != OK)


def test_with_detailed_exitcode_every_error_is_1(call: Call) -> None:
    assert call("plan").code == WRONG_USE
    assert call("plan", "--detailed-exitcode").code == FAILED


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (["--report", "plan.pdf"], "--report plan.pdf: the report is written as .html or .md"),
        (["--report", "r.html", "--assume", "speed=3"], "--assume knows no 'speed'"),
        (["--report", "s3://bucket/r.html"], "is written to a local file"),
        (["--assume", "load_rows_per_s=3"], "--assume goes with --report"),
    ],
)
def test_a_report_that_cannot_be_made_is_refused_before_any_server_is_asked(
    call: Call, arguments: list[str], found: str
) -> None:
    ended = call("plan", *arguments)
    assert ended.code == WRONG_USE
    assert found in ended.err

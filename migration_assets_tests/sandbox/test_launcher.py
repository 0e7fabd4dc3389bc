"""Starting and stopping stand-ins. What each of them does has tests of its own."""

import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from migration_assets.errors import ConfigurationError, PermanentError
from migration_assets.sandbox import launcher
from migration_assets.sandbox.launcher import Sandbox, write_env_file
from migration_assets.settings import LakeSettings, MssqlSettings, StarRocksSettings


def listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(2)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def runs(process_id: int) -> bool:
    """Whether the process exists and is not a zombie that nobody has waited for yet."""
    try:
        status = Path(f"/proc/{process_id}/stat").read_text()
    except FileNotFoundError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def wait_until(condition: Callable[[], bool], seconds: float = 60) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.05)
    return False


def test_a_stand_in_runs_inside_the_context_and_not_after_it() -> None:
    with Sandbox(["aws"]) as sandbox:
        process_id, port = sandbox.process_id("aws"), sandbox.port("aws")
        assert listens(port)
        assert sandbox.settings["AWS_ENDPOINT_URL"] == f"http://127.0.0.1:{port}"
        assert sandbox.settings["S3_BUCKET"] == "lake"
        assert sandbox.control("aws").state().opened >= 0
        assert sandbox.exited() == []
    assert not runs(process_id)
    assert not listens(port)


def test_stop_leaves_no_process_after_an_error_inside() -> None:
    sandbox = Sandbox(["aws"])
    process_ids = []

    def fail_inside() -> None:
        with sandbox:
            process_ids.append(sandbox.process_id("aws"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_inside()
    assert [runs(process_id) for process_id in process_ids] == [False]
    sandbox.stop()  # idempotent


def test_a_stand_in_that_dies_shows_its_last_words() -> None:
    sandbox = Sandbox(["aws"], extra_arguments={"aws": ["--no-such-option"]})
    with pytest.raises(
        PermanentError, match=r"(?s)aws ended with exit code 2.*--no-such-option"
    ) as died:
        sandbox.start()
    assert "usage:" in str(died.value)


def test_a_stand_in_that_is_not_ready_in_time_is_stopped() -> None:
    before = children()
    with pytest.raises(PermanentError, match="aws was not ready in time"):
        Sandbox(["aws"], timeout_s=0.01).start()
    assert children() == before


def children() -> set[str]:
    """Ids of this process's children that are not zombies."""
    found = set()
    for task in Path("/proc/self/task").iterdir():
        found |= set((task / "children").read_text().split())
    return {process_id for process_id in found if runs(int(process_id))}


def test_unknown_names_and_a_limit_for_s3_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="no stand-in called 'oracle'"):
        Sandbox(["oracle"])
    with pytest.raises(ConfigurationError, match="no stand-in called 'aw5'"):
        Sandbox(["aws"], extra_arguments={"aw5": []})
    with pytest.raises(ConfigurationError, match="no connection limit"):
        Sandbox(["aws"], limits={"aws": 2})


def test_secrets_are_generated_unless_given() -> None:
    with Sandbox(["aws"]) as first, Sandbox(["aws"], passwords={"aws": "given"}) as second:
        assert len(first.settings["AWS_SECRET_ACCESS_KEY"]) >= 20
        assert second.settings["AWS_SECRET_ACCESS_KEY"] == "given"


PARENT = """
import os, sys, time
from migration_assets.sandbox.launcher import Sandbox
sandbox = Sandbox(["aws"])
sandbox.start()
fork = os.fork() if "fork" in sys.argv else 1
if fork == 0:
    time.sleep(60)
    os._exit(0)
print(sandbox.process_id("aws"), sandbox.port("aws"), fork, flush=True)
time.sleep(60)
"""


@contextmanager
def python(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_a_killed_parent_takes_its_stand_ins_along() -> None:
    with python("-c", PARENT) as parent:
        process_id, port, _ = map(int, parent.stdout.readline().split())
        assert listens(port)
        parent.send_signal(signal.SIGKILL)
        assert wait_until(lambda: not runs(process_id) and not listens(port))


def test_a_killed_parent_takes_its_stand_ins_along_although_a_fork_of_it_lives() -> None:
    """The fork holds the pipe open, so its closing cannot be what ends the stand-in."""
    with python("-c", PARENT, "fork") as parent:
        process_id, _, fork = map(int, parent.stdout.readline().split())
        try:
            parent.send_signal(signal.SIGKILL)
            assert wait_until(lambda: not runs(process_id))
            assert runs(fork)
        finally:
            os.kill(fork, signal.SIGKILL)


FOREGROUND = """
import sys
from pathlib import Path
from migration_assets.sandbox.launcher import start_in_foreground
directory = Path(sys.argv[1])
sys.exit(start_in_foreground(
    ["aws"], env_file=directory / "sandbox.env", statements_dir=directory / "statements"))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_foreground_writes_the_settings_and_stops_on_a_signal(
    tmp_path: Path, number: signal.Signals
) -> None:
    with python("-c", FOREGROUND, str(tmp_path)) as process:
        line = process.stdout.readline()
        assert line.startswith("S3 and Glue")
        assert "stand-in for development, demo and tests" in line
        settings = read_env_file(tmp_path / "sandbox.env")
        port = int(settings["AWS_ENDPOINT_URL"].rpartition(":")[2])
        assert f"127.0.0.1:{port} " in line
        assert listens(port)
        process.send_signal(number)
        _, errors = process.communicate(timeout=15)
        assert (process.returncode, errors) == (0, "")
    assert not listens(port)
    assert not [name for name in settings if name.startswith(("MSSQL", "STARROCKS"))]
    assert (tmp_path / "statements" / "aws.jsonl").exists()


def test_foreground_ends_when_a_stand_in_ends_by_itself(tmp_path: Path) -> None:
    with python("-c", FOREGROUND, str(tmp_path)) as process:
        process.stdout.readline()
        victim = int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text())
        os.kill(victim, signal.SIGKILL)
        _, errors = process.communicate(timeout=15)
        assert process.returncode != 0
        assert "The stand-in aws ended by itself" in errors


def read_env_file(path: Path) -> dict[str, str]:
    lines = path.read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if not line.startswith("#"))


def test_the_env_file_is_private_and_replaced_but_never_somebody_elses(tmp_path: Path) -> None:
    path = tmp_path / "new" / "sandbox.env"
    write_env_file(path, {"A": "1"})
    write_env_file(path, {"A": "2", "B": "x=y"})
    assert read_env_file(path) == {"A": "2", "B": "x=y"}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(path.parent.iterdir()) == [path]

    own = tmp_path / ".env"
    own.write_text("MSSQL_PASSWORD=precious\n")
    with pytest.raises(ConfigurationError, match="not of a sandbox"):
        write_env_file(own, {"A": "1"})
    assert own.read_text() == "MSSQL_PASSWORD=precious\n"


def test_all_stand_ins_run_together_and_their_settings_load(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with Sandbox(scale=None, statements_dir=tmp_path, limits={"starrocks": 3}) as sandbox:
        for name, value in sandbox.settings.items():
            monkeypatch.setenv(name, value)
        assert MssqlSettings.load().port == sandbox.port("sqlserver")
        assert LakeSettings.load().warehouse == "s3://lake/warehouse"
        starrocks = StarRocksSettings.load()
        assert starrocks.aws_endpoint_url == sandbox.settings["AWS_ENDPOINT_URL"]
        assert starrocks.replication_num == 1
        ids = [sandbox.process_id(name) for name in sandbox.names]
        for name in sandbox.names:
            assert listens(sandbox.port(name)), name
            json.dumps(sandbox.control(name).state().opened)
    assert not any(runs(process_id) for process_id in ids)


def test_without_their_packages_there_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launcher, "_PACKAGES", ("duckdb", "not_installed_here"))
    with pytest.raises(ConfigurationError, match="not installed: not_installed_here") as raised:
        Sandbox().start()
    assert "[sandbox]" in raised.value.next_step


def test_their_packages_are_those_of_their_extra() -> None:
    text = (Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8")
    wanted = tomllib.loads(text)["project"]["optional-dependencies"]["sandbox"]
    names = {re.split(r"[\[>=<]", one)[0].replace("-", "_") for one in wanted}
    assert names == set(launcher._PACKAGES)

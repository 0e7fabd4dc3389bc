"""`.dagster/dagster.yaml` follows the settings until somebody edits it."""

from __future__ import annotations

import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
import yaml

from migration_assets.operations import home as module
from migration_assets.operations.home import ensure_home
from migration_assets.settings import ProjectSettings


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home of the test's own, in which nothing was warned of yet."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    module._warn_once.cache_clear()
    yield tmp_path / "home" / "dagster.yaml"
    module._warn_once.cache_clear()


def ensure(runs: int | None = None) -> None:
    ensure_home(ProjectSettings.load(concurrent_runs=runs))


def limits(home: Path) -> tuple[int, int]:
    found = yaml.safe_load(home.read_text(encoding="utf-8"))["concurrency"]
    return found["runs"]["max_concurrent_runs"], found["pools"]["default_limit"]


def edit(home: Path, old: str, new: str) -> str:
    text = home.read_text(encoding="utf-8")
    assert old in text
    home.write_text(text.replace(old, new), encoding="utf-8")
    return home.read_text(encoding="utf-8")


def test_the_limits_follow_the_setting(home: Path) -> None:
    for runs in (3, 7, 7, 1):
        ensure(runs)
        assert limits(home) == (runs, runs)
    assert [path.name for path in home.parent.iterdir()] == ["dagster.yaml"]


def test_dagster_takes_the_file(home: Path) -> None:
    ensure(5)
    with dg.DagsterInstance.from_config(str(home.parent)) as instance:
        assert instance.get_concurrency_config().pool_config.default_pool_limit == 5


OPENS = """
import sys
import dagster
from migration_assets.operations.home import {imported}
from migration_assets.settings import ProjectSettings
print("ready", flush=True)
sys.stdin.readline()
{does}
"""


def test_a_new_history_is_made_once_however_many_open_it_at_once(home: Path) -> None:
    opens = OPENS.format(
        imported="open_instance", does="with open_instance(ProjectSettings.load()): pass"
    )
    shows = OPENS.format(imported="environment", does="environment(ProjectSettings.load())")
    started = [
        subprocess.Popen([sys.executable, "-c", script], stdin=-1, stdout=-1, stderr=-1, text=True)
        for script in (opens, shows) * 4
    ]
    for process in started:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in started:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    ended = [(process.communicate()[1], process.returncode) for process in started]
    assert [code for _, code in ended] == [0] * len(started), ended
    with dg.DagsterInstance.from_config(str(home.parent)) as instance:
        assert instance.get_runs() == []


def test_a_file_that_is_right_is_not_written_again(home: Path) -> None:
    ensure(3)
    before = home.stat()
    ensure(3)
    assert (home.stat().st_ino, home.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_a_file_of_an_older_release_follows_too(home: Path) -> None:
    """What counts is that nobody changed it since, not that this release would write it so."""
    ensure(3)
    head, marker, body = home.read_text(encoding="utf-8").partition("# Facts")
    older = f"{marker}{body}".replace("dequeue_num_workers: 4", "dequeue_num_workers: 2")
    digest = module._digest(older)
    head = f"{head.rpartition('written: ')[0]}written: {digest}\n"
    home.write_text(head + older, encoding="utf-8")
    ensure(3)
    assert "dequeue_num_workers: 4" in home.read_text(encoding="utf-8")


def test_an_edited_file_is_left_alone_and_what_contradicts_is_told_once(home: Path) -> None:
    ensure(3)
    edited = edit(
        home, "enabled: false                # no news", "enabled: true                # no news"
    )
    numbers = {
        name: number
        for number, line in enumerate(edited.splitlines(), start=1)
        for name in ("max_concurrent_runs", "default_limit")
        if line.strip().startswith(name)
    }
    ensure(3)  # they agree: nothing to say
    with pytest.warns(UserWarning, match="was edited by hand") as caught:
        [ensure(8) for _ in range(2)]
    assert home.read_text(encoding="utf-8") == edited
    (warning,) = caught
    assert str(warning.message) == (
        f"MIGRATION_CONCURRENT_RUNS is 8, but in {home}, which was edited by hand and is left "
        f"alone, line {numbers['max_concurrent_runs']} says max_concurrent_runs: 3 and line "
        f"{numbers['default_limit']} says default_limit: 3."
    )


def test_only_the_line_that_differs_is_named(home: Path) -> None:
    ensure(3)
    edit(home, "default_limit: 3", "default_limit: 2")
    with pytest.warns(UserWarning, match=r"alone, line \d+ says default_limit: 2\.$"):
        ensure(3)


def test_without_the_setting_the_edited_file_is_what_was_wished(home: Path) -> None:
    ensure(3)
    edited = edit(home, "max_concurrent_runs: 3", "max_concurrent_runs: 999")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ensure(None)
    assert home.read_text(encoding="utf-8") == edited


def test_a_file_that_was_there_before_is_not_ours(home: Path) -> None:
    home.parent.mkdir()
    home.write_text("telemetry:\n  enabled: false\n", encoding="utf-8")
    ensure(8)
    assert home.read_text(encoding="utf-8") == "telemetry:\n  enabled: false\n"

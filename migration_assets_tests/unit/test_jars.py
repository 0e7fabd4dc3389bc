"""Jars: the lock, what a folder has, and fetching them from a repository that misbehaves."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from migration_assets.cli import main as main_command
from migration_assets.commands.arguments import FAILED, OK, WRONG_USE
from migration_assets.errors import (
    AccessDeniedError,
    ConfigurationError,
    ConnectionLostError,
    ObjectNotFoundError,
    OperationTimeoutError,
    PermanentError,
    ServerBusyError,
    TransientError,
    VerificationError,
)
from migration_assets.settings import ProjectSettings
from migration_assets.spark.jars import (
    LOCK_NAME,
    Jar,
    JarState,
    Limits,
    examine_jars,
    fetch_jars,
    find_lock,
    jars_folder,
    read_lock,
    require_jars,
)
from migration_assets_tests.unit.maven_repository import (
    CONTENT,
    FIRST,
    HASTE,
    SECOND,
    Answer,
    Repository,
    corrupt,
    longer,
    moved,
    silent,
    status,
    trickling,
    truncated,
)

ROOT = Path(__file__).parents[2]
SECRET = "pa55-w0rd-nobody-may-see"


@pytest.fixture
def repository() -> Iterator[Repository]:
    with Repository() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a lock and no jar yet."""
    made = tmp_path / "jars"
    made.mkdir()
    lines = [f"{jar.coordinate} {jar.sha256} {jar.size}" for jar in (FIRST, SECOND)]
    (made / LOCK_NAME).write_text("# a comment\n\n" + "\n".join(lines) + "\n", encoding="utf-8")
    return made


def fill(folder: Path) -> None:
    for jar in (FIRST, SECOND):
        (folder / jar.file_name).write_bytes(CONTENT[jar.coordinate])


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {LOCK_NAME}


ALL_NAMES = {"first-1.0.jar", "second-4.1_2.13-1.12.0.jar"}


# -- the lock -------------------------------------------------------------------------------------


def test_the_project_s_lock_names_the_three_jars_of_one_iceberg_version() -> None:
    jars = {jar.artifact: jar for jar in read_lock(ROOT / "jars" / LOCK_NAME)}
    assert set(jars) == {"iceberg-spark-runtime-4.1_2.13", "iceberg-aws-bundle", "mssql-jdbc"}
    iceberg = [jar.version for jar in jars.values() if jar.group == "org.apache.iceberg"]
    assert len(set(iceberg)) == 1
    assert jars["mssql-jdbc"].repository_path == (
        "com/microsoft/sqlserver/mssql-jdbc/13.6.2.jre11/mssql-jdbc-13.6.2.jre11.jar"
    )


def test_the_jars_are_for_the_pyspark_that_is_installed() -> None:
    import importlib.metadata

    minor = ".".join(importlib.metadata.version("pyspark").split(".")[:2])
    jars = [jar.artifact for jar in read_lock(ROOT / "jars" / LOCK_NAME)]
    assert f"iceberg-spark-runtime-{minor}_2.13" in jars


def test_comments_and_empty_lines_are_left_out(folder: Path) -> None:
    assert read_lock(folder / LOCK_NAME) == (FIRST, SECOND)


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("org.one:first:1.0", "line 1 is not"),
        (f"org.one:first {'0' * 64} 12", "line 1 is not"),
        (f"org.one:first:1.0 {'0' * 63} 12", "line 1 is not"),
        (f"org.one:first:1.0 {'0' * 64} 0", "line 1 is not"),
        (f"org.one:../first:1.0 {'0' * 64} 12", "line 1 is not"),
        (f"a:b:1 {'0' * 64} 12\nc:b:1 {'0' * 64} 12", "one jar twice"),
        ("# nothing", "no jar"),
    ],
)
def test_a_malformed_lock_is_refused(tmp_path: Path, line: str, named: str) -> None:
    (tmp_path / LOCK_NAME).write_text(line, encoding="utf-8")
    with pytest.raises(ConfigurationError, match=named):
        read_lock(tmp_path / LOCK_NAME)


def test_a_folder_s_own_lock_goes_before_the_project_s(folder: Path, tmp_path: Path) -> None:
    assert find_lock(folder) == folder / LOCK_NAME
    assert find_lock(tmp_path) == ROOT / "jars" / LOCK_NAME


def test_without_any_lock_every_place_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from migration_assets.spark import jars

    monkeypatch.setattr(jars, "_PROJECT_LOCK", tmp_path / "a" / LOCK_NAME)
    with pytest.raises(ConfigurationError, match="MIGRATION_JARS") as raised:
        find_lock(tmp_path)
    for path in (tmp_path, tmp_path / "a"):
        assert str(path / LOCK_NAME) in str(raised.value)


def test_an_installed_package_has_its_jars_in_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from migration_assets.spark import jars

    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MIGRATION_JARS", raising=False)
    assert jars_folder(ProjectSettings.load()) == ROOT / "jars"
    monkeypatch.setattr(jars, "_PROJECT_LOCK", tmp_path / "site-packages" / "jars" / LOCK_NAME)
    assert jars_folder(ProjectSettings.load()) == tmp_path / "jars"
    monkeypatch.setenv("MIGRATION_JARS", "mine")
    assert jars_folder(ProjectSettings.load()) == tmp_path / "mine"


# -- what a folder has ----------------------------------------------------------------------------


def test_each_jar_is_present_missing_or_corrupt(folder: Path) -> None:
    assert set(examine_jars(folder).values()) == {JarState.MISSING}
    fill(folder)
    assert set(examine_jars(folder).values()) == {JarState.PRESENT}
    (folder / FIRST.file_name).write_bytes(CONTENT[FIRST.coordinate][:-1])
    (folder / SECOND.file_name).write_bytes(CONTENT[SECOND.coordinate][:-1] + b"?")
    assert set(examine_jars(folder).values()) == {JarState.CORRUPT}


def test_jars_that_are_all_there_are_given_in_the_lock_s_order(folder: Path) -> None:
    fill(folder)
    assert require_jars(folder) == [folder / FIRST.file_name, folder / SECOND.file_name]


def test_each_jar_that_is_not_there_is_named_with_the_command(folder: Path) -> None:
    fill(folder)
    (folder / FIRST.file_name).unlink()
    (folder / SECOND.file_name).write_bytes(b"half")
    with pytest.raises(ConfigurationError) as raised:
        require_jars(folder)
    for words in (f"{FIRST.coordinate} is missing", f"{SECOND.coordinate} is corrupt",
                  str(folder), "Run `migration-assets jars`"):  # fmt: skip
        assert words in str(raised.value)


# -- fetching -------------------------------------------------------------------------------------


def test_what_is_missing_or_corrupt_is_fetched_and_nothing_else(
    folder: Path, repository: Repository
) -> None:
    fill(folder)
    (folder / SECOND.file_name).write_bytes(b"half")
    assert fetch_jars(folder, repository.url) == [SECOND]
    assert require_jars(folder)
    assert repository.requests == {f"/maven2/{SECOND.repository_path}": 1}
    assert fetch_jars(folder, repository.url) == []
    assert repository.requests.total() == 1


def test_a_folder_that_is_not_there_is_made(
    folder: Path, repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from migration_assets.spark import jars

    monkeypatch.setattr(jars, "_PROJECT_LOCK", folder / LOCK_NAME)
    made = tmp_path / "deep" / "cache"
    fetch_jars(made, repository.url + "/")
    assert names(made) == ALL_NAMES
    umask = os.umask(0)
    os.umask(umask)
    assert (made / FIRST.file_name).stat().st_mode & 0o777 == 0o666 & ~umask


def test_progress_ends_with_every_byte(folder: Path, repository: Repository) -> None:
    said: list[tuple[Jar, int]] = []
    fetch_jars(folder, repository.url, report=lambda jar, arrived: said.append((jar, arrived)))
    assert {jar for jar, _ in said} == {FIRST, SECOND}
    for jar in (FIRST, SECOND):
        counts = [arrived for one, arrived in said if one == jar]
        assert counts == sorted(counts)
        assert counts[-1] == jar.size


def test_a_redirect_is_followed(folder: Path, repository: Repository) -> None:
    repository.answers[FIRST] = [moved]
    fetch_jars(folder, repository.url, limits=HASTE)
    assert repository.requests[f"/elsewhere/maven2/{FIRST.repository_path}"] == 1
    assert names(folder) == ALL_NAMES


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (truncated, ConnectionLostError),
        (silent, OperationTimeoutError),
        (status(503), ServerBusyError),
        (status(500), ServerBusyError),
        (status(429), ServerBusyError),
    ],
    ids=["truncated", "silent", "503", "500", "429"],
)
def test_what_may_pass_is_tried_again(
    folder: Path, repository: Repository, answer: Answer, kind: type[TransientError]
) -> None:
    repository.answers[FIRST] = [answer] * (HASTE.attempts - 1)
    fetch_jars(folder, repository.url, limits=HASTE)
    assert names(folder) == ALL_NAMES
    assert repository.requests[f"/maven2/{FIRST.repository_path}"] == HASTE.attempts

    (folder / FIRST.file_name).unlink()
    repository.answers[FIRST] = [answer] * HASTE.attempts
    with pytest.raises(kind, match=FIRST.coordinate):
        fetch_jars(folder, repository.url, limits=HASTE)
    assert repository.requests[f"/maven2/{FIRST.repository_path}"] == 2 * HASTE.attempts
    assert names(folder) == {SECOND.file_name}


@pytest.mark.parametrize(
    ("answer", "kind", "named"),
    [
        (corrupt, VerificationError, "its SHA-256 is another"),
        (longer, VerificationError, "its SHA-256 is another"),
        (status(404), ObjectNotFoundError, "HTTP 404.*MIGRATION_MAVEN_URL"),
        (status(401), AccessDeniedError, "HTTP 401"),
        (status(403), AccessDeniedError, "HTTP 403"),
        (status(400), ConfigurationError, "HTTP 400"),
    ],
    ids=["corrupt", "longer", "404", "401", "403", "400"],
)
def test_what_will_not_pass_is_asked_for_once(
    folder: Path,
    repository: Repository,
    answer: Answer,
    kind: type[PermanentError],
    named: str,
) -> None:
    repository.answers[FIRST] = [answer]
    with pytest.raises(kind, match=named) as raised:
        fetch_jars(folder, repository.url, limits=HASTE)
    assert FIRST.coordinate in str(raised.value)
    assert repository.requests.total() == 1
    assert names(folder) == set()


def test_an_attempt_ends_even_if_bytes_go_on_trickling(
    folder: Path, repository: Repository
) -> None:
    repository.answers[FIRST] = [trickling]
    limits = Limits(silence_s=5, total_s=0.3, attempts=1)
    begun = time.monotonic()
    with pytest.raises(OperationTimeoutError, match=r"takes longer than 0\.3 s"):
        fetch_jars(folder, repository.url, limits=limits)
    assert time.monotonic() - begun < 10
    assert names(folder) == set()


def test_a_repository_that_cannot_be_reached_is_tried_again_and_named(folder: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/maven2"
        with pytest.raises(ConnectionLostError, match="refused") as raised:
            fetch_jars(folder, url, limits=HASTE)
    assert url in str(raised.value)


@pytest.mark.parametrize("url", ["", "maven", "file:///tmp", "ftp://host/x", "http://", "http://["])
def test_an_address_that_is_no_repository_is_refused(folder: Path, url: str) -> None:
    with pytest.raises(ConfigurationError, match="MIGRATION_MAVEN_URL is not"):
        fetch_jars(folder, url)


def test_a_password_in_the_address_is_refused_and_not_shown(folder: Path) -> None:
    with pytest.raises(ConfigurationError, match="has a user name or password") as raised:
        fetch_jars(folder, f"https://me:{SECRET}@host/maven2")
    assert SECRET not in str(raised.value)


def test_a_folder_that_cannot_be_written_is_named(folder: Path, repository: Repository) -> None:
    (folder / FIRST.file_name).mkdir()
    with pytest.raises(ConfigurationError, match=r"cannot be written.*MIGRATION_JARS") as raised:
        fetch_jars(folder, repository.url)
    assert str(folder) in str(raised.value)
    assert names(folder) == {FIRST.file_name}


def test_a_folder_that_is_none_is_named(
    folder: Path, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    from migration_assets.spark import jars

    monkeypatch.setattr(jars, "_PROJECT_LOCK", folder / LOCK_NAME)
    (folder / "file").write_text("in the way")
    with pytest.raises(ConfigurationError, match=r"file/.*Not a directory"):
        fetch_jars(folder / "file", repository.url)


def test_runs_at_the_same_time_do_each_other_no_harm(folder: Path, repository: Repository) -> None:
    with ThreadPoolExecutor(4) as pool:
        runs = [pool.submit(fetch_jars, folder, repository.url, limits=HASTE) for _ in range(8)]
        for run in runs:
            run.result(timeout=30)
    assert names(folder) == ALL_NAMES
    assert require_jars(folder)


def test_what_a_killed_download_left_is_removed_and_a_running_one_s_is_not(
    folder: Path, repository: Repository
) -> None:
    (folder / ".first-1.0.jar.aaaa.part").write_bytes(b"old")
    os.utime(folder / ".first-1.0.jar.aaaa.part", (0, 0))
    (folder / ".first-1.0.jar.bbbb.part").write_bytes(b"running")
    fetch_jars(folder, repository.url)
    assert names(folder) == {*ALL_NAMES, ".first-1.0.jar.bbbb.part"}


def test_a_download_that_gets_its_name_while_we_look_for_abandoned_ones_is_no_failure(
    folder: Path, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another run finishes between our listing of the folder and our look at the file's age."""
    finishing, abandoned = (folder / f".first-1.0.jar.{name}.part" for name in ("aaaa", "bbbb"))
    for path in (finishing, abandoned):
        path.write_bytes(CONTENT[FIRST.coordinate])
        os.utime(path, (0, 0))
    listed = Path.glob

    def glob(self: Path, pattern: str) -> Iterator[Path]:
        found = sorted(listed(self, pattern))
        assert found == [finishing, abandoned]
        finishing.replace(folder / FIRST.file_name)
        yield from found

    monkeypatch.setattr(Path, "glob", glob)
    fetch_jars(folder, repository.url)
    assert names(folder) == ALL_NAMES


def test_an_interrupted_download_leaves_nothing(folder: Path, repository: Repository) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch_jars(folder, repository.url, report=interrupt)
    assert names(folder) == set()


# -- the command ----------------------------------------------------------------------------------


@pytest.fixture
def command(
    folder: Path,
    repository: Repository,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Callable[..., tuple[int, str]]:
    """Run `migration-assets` on the folder; its exit code and all that it printed."""
    monkeypatch.chdir(folder.parent)
    monkeypatch.setenv("MIGRATION_JARS", str(folder))
    monkeypatch.setenv("MIGRATION_MAVEN_URL", repository.url)

    def run(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr("sys.argv", ["migration-assets", *arguments])
        with pytest.raises(SystemExit) as ended:
            main_command()
        assert isinstance(ended.value.code, int)
        said = capsys.readouterr()
        return ended.value.code, said.out + said.err

    return run


def test_the_command_fetches_and_check_tells(
    command: Callable[..., tuple[int, str]], folder: Path, repository: Repository
) -> None:
    code, said = command("jars", "--check")
    assert code == FAILED
    assert f"missing {FIRST.coordinate}" in said
    assert "`migration-assets jars`" in said
    assert not repository.requests

    code, said = command("jars")
    assert code == OK
    assert said.count("fetching") == len(CONTENT)
    assert names(folder) == ALL_NAMES

    code, said = command("jars", "--check")
    assert code == OK
    assert f"present {SECOND.coordinate}" in said


def test_the_command_fails_with_1_where_the_repository_has_no_such_jar(
    command: Callable[..., tuple[int, str]], repository: Repository
) -> None:
    repository.answers[FIRST] = [status(404)]
    code, said = command("jars")
    assert code == FAILED
    assert "HTTP 404" in said
    assert "Traceback" not in said


def test_the_command_refuses_a_wrong_setting_with_2(
    command: Callable[..., tuple[int, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIGRATION_MAVEN_URL", "nowhere")
    code, said = command("jars")
    assert code == WRONG_USE
    assert "MIGRATION_MAVEN_URL is not" in said

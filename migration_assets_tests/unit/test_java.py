"""Which Java PySpark would start, and what is said of one that will not do."""

from __future__ import annotations

from pathlib import Path

import pytest

from migration_assets.errors import ConfigurationError
from migration_assets.spark.java import INSTALL_COMMANDS, require_java


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Java home without a Java yet; nothing else is on the PATH but a shell."""
    made = tmp_path / "jvm"
    (made / "bin").mkdir(parents=True)
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(made / "bin"))
    return made


def install(home: Path, script: str) -> None:
    java = home / "bin" / "java"
    java.write_text(f"#!/bin/sh\n{script}\n")
    java.chmod(0o755)


def saying(version: str) -> str:
    return f"""echo 'openjdk version "{version}" 2025-04-15' >&2"""


@pytest.mark.parametrize(
    ("said", "number"), [("17.0.15", 17), ("17", 17), ("21.0.2", 21), ("17-ea", 17)]
)
def test_java_of_the_path_is_found(home: Path, said: str, number: int) -> None:
    install(home, saying(said))
    found = require_java()
    assert (found.home, found.version) == (home, number)


def test_a_link_leads_to_the_real_home(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As /usr/bin/java does: JAVA_HOME=/usr would be no home."""
    install(home, saying("17.0.1"))
    (tmp_path / "usr").mkdir()
    (tmp_path / "usr" / "java").symlink_to(home / "bin" / "java")
    monkeypatch.setenv("PATH", str(tmp_path / "usr"))
    assert require_java().home == home


def test_java_home_goes_before_the_path(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(home, saying("11.0.2"))
    other = tmp_path / "other"
    (other / "bin").mkdir(parents=True)
    install(other, saying("21.0.2"))
    monkeypatch.setenv("JAVA_HOME", str(other))
    assert require_java().home == other


def test_no_java_is_an_error_with_the_commands(home: Path) -> None:
    with pytest.raises(ConfigurationError, match="there is no java in PATH") as raised:
        require_java()
    for command in INSTALL_COMMANDS.values():
        assert command in str(raised.value)


def test_a_java_home_without_java_is_named(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(home, saying("17.0.1"))
    monkeypatch.setenv("JAVA_HOME", str(home / "nowhere"))
    with pytest.raises(ConfigurationError, match=r"no java in JAVA_HOME \(.*nowhere\)"):
        require_java()


@pytest.mark.parametrize("said", ["1.8.0_392", "11.0.2", "25.0.1"])
def test_a_version_that_spark_does_not_support_is_named(home: Path, said: str) -> None:
    install(home, saying(said))
    with pytest.raises(ConfigurationError, match=f"needs Java 17 or 21.*{said}"):
        require_java()


@pytest.mark.parametrize(
    ("script", "named"),
    [
        ("echo broken; exit 1", "does not tell its version: 'broken'"),
        ("exit 0", "does not tell its version"),
    ],
)
def test_a_java_that_does_not_work_is_named(home: Path, script: str, named: str) -> None:
    install(home, script)
    with pytest.raises(ConfigurationError, match=named):
        require_java()


def test_a_file_that_is_no_program_is_named(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "bin" / "java").write_text("#!/bin/sh\n")
    monkeypatch.setenv("JAVA_HOME", str(home))
    with pytest.raises(ConfigurationError, match="does not start"):
        require_java()

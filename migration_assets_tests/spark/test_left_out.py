"""Without Java or the jars the Spark tests are left out, and the end of the output says so."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from migration_assets.spark.jars import LOCK_NAME, read_lock

ROOT = Path(__file__).parents[2]
TESTS = "migration_assets_tests/spark/test_mssql_jdbc.py"


def run_tests(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the JDBC tests in an environment of their own."""
    kept = ("PATH", "HOME", "LANG")
    return subprocess.run(
        [sys.executable, "-m", "pytest", TESTS, "-q", "-p", "no:cacheprovider", *arguments],
        cwd=ROOT,
        env={name: os.environ[name] for name in kept if name in os.environ} | variables,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture
def java_home(tmp_path: Path) -> Path:
    """A Java home whose Java says that it is one that will do, and does nothing else."""
    (tmp_path / "jvm" / "bin").mkdir(parents=True)
    java = tmp_path / "jvm" / "bin" / "java"
    java.write_text("""#!/bin/sh\necho 'openjdk version "17.0.1"' >&2\n""")
    java.chmod(0o755)
    return tmp_path / "jvm"


@pytest.mark.parametrize("workers", [(), ("-n", "1")], ids=["alone", "xdist"])
def test_without_java_they_are_left_out_with_reason_and_commands(
    tmp_path: Path, workers: tuple[str, ...]
) -> None:
    done = run_tests(*workers, JAVA_HOME=str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    end = done.stdout.split("left out: tests of the Spark engine")[1]
    for said in (
        f"{TESTS}: ",
        f"there is no java in JAVA_HOME ({tmp_path})",
        "apt-get install -y openjdk-17-jre-headless",
        "make test",
    ):
        assert said in end


def test_without_the_jars_they_are_left_out_with_the_command(
    tmp_path: Path, java_home: Path
) -> None:
    done = run_tests(JAVA_HOME=str(java_home), MIGRATION_JARS=str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    end = done.stdout.split("left out: tests of the Spark engine")[1]
    for jar in read_lock(ROOT / "jars" / LOCK_NAME):
        assert f"{jar.coordinate} is missing" in end
    assert "Run `migration-assets jars`" in end


def test_all_that_is_missing_is_said_at_once(tmp_path: Path) -> None:
    done = run_tests(JAVA_HOME=str(tmp_path), MIGRATION_JARS=str(tmp_path))
    end = done.stdout.split("left out: tests of the Spark engine")[1]
    assert "openjdk-17-jre-headless" in end
    assert "Run `migration-assets jars`" in end


def test_ci_leaves_none_out(tmp_path: Path, java_home: Path) -> None:
    for variables in (
        {"JAVA_HOME": str(tmp_path)},
        {"JAVA_HOME": str(java_home), "MIGRATION_JARS": str(tmp_path)},
    ):
        done = run_tests(CI="true", **variables)
        assert done.returncode == 1, done.stdout + done.stderr
        assert "CI leaves no test out." in done.stdout
        assert "skipped" not in done.stdout

"""The Java that PySpark starts, and whether it is one that Spark works with."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from migration_assets.errors import ConfigurationError

VERSIONS = (17, 21)
"""What Spark 4.1 runs on: https://spark.apache.org/docs/4.1.0/#downloading."""
INSTALL_COMMANDS = {
    "Debian, Ubuntu": "apt-get install -y openjdk-17-jre-headless",
    "RHEL, Fedora": "dnf install -y java-17-openjdk-headless",
    "macOS": "brew install openjdk@17",
}
_TIMEOUT_S = 60


@dataclass(frozen=True)
class Java:
    """A Java that works.

    Attributes:
        home: what JAVA_HOME must be for this Java.
        version: 17 or 21.
    """

    home: Path
    version: int


def require_java() -> Java:
    """The Java that PySpark would start: of JAVA_HOME where that is set, else of PATH.

    Raises:
        ConfigurationError: there is none, it does not start, or Spark does not support it.
    """
    home = os.environ.get("JAVA_HOME")
    found = str(Path(home) / "bin" / "java") if home else shutil.which("java")
    where = f"JAVA_HOME ({home})" if home else "PATH"
    if found is None or not Path(found).is_file():
        raise _error(f"The Spark engine needs Java 17, and there is no java in {where}.")
    try:
        done = subprocess.run(  # noqa: S603 - the user's own Java, no shell
            [found, "-version"], capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _error(f"Java of {where} does not start: {error}.") from None
    said = done.stderr + done.stdout
    version = re.search(r'version "((\d+)[^"]*)"', said)
    if done.returncode or version is None:
        raise _error(f"Java of {where} does not tell its version: {said.strip()[:200]!r}.")
    number = int(version[2])
    if number not in VERSIONS:  # Java 8 and earlier call themselves 1.8
        raise _error(f"Spark 4.1 needs Java 17 or 21; that of {where} is {version[1]}.")
    return Java(Path(found).resolve().parents[1], number)


def _error(found: str) -> ConfigurationError:
    commands = "; ".join(f"{system}: {command}" for system, command in INSTALL_COMMANDS.items())
    return ConfigurationError(
        found, code="MA-SP-016", next_step=f"Install it ({commands}), or set JAVA_HOME."
    )

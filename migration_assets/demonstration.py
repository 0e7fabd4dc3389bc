"""The demo and the playground: the whole sandbox, planned and migrated by the ordinary commands.

Every step is a process of its own with settings in its environment, as a user would run it: nothing
here reaches into the product.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from migration_assets.errors import ConfigurationError
from migration_assets.mssql.odbc import require_odbc_libraries
from migration_assets.operations.home import ensure_home
from migration_assets.settings import ProjectSettings

if TYPE_CHECKING:
    from migration_assets.sandbox.launcher import Sandbox

_WORKSPACE = """\
load_from:
  - python_module:
      module_name: migration_assets.definitions
      location_name: migration_assets
"""


def demonstrate(*, scale: float, keep: Path | None) -> bool:
    """Plan, migrate and compare the sample database; True when every table arrived equal.

    Args:
        scale: size of the sample; 1.0 has a table of a million rows.
        keep: folder for plan, history and report; None for a temporary one.

    Raises:
        ConfigurationError: a system library or the extra `sandbox` is missing.
    """
    with tempfile.TemporaryDirectory(prefix="migration-demo-") as temporary:
        folder = keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        _say("Starting stand-ins for SQL Server, S3, Glue and StarRocks")
        with _sandbox(scale) as sandbox:
            environment = _environment(sandbox.settings, folder)
            for title, arguments in (
                ("Trying every connection", ["doctor", "--fix"]),
                ("Planning", ["plan", "--yes"]),
                ("Migrating through Dagster", ["run"]),
                ("Comparing every table once more, row counts and fingerprints", ["validate"]),
            ):
                _say(title)
                if _command(arguments, environment, folder) != 0:
                    _say(f"`migration-assets {' '.join(arguments)}` failed.")
                    return False
    _say("Every table arrived equal.")
    return True


def develop(*, port: int, scale: float, folder: Path = Path(".sandbox")) -> int:
    """Start the sandbox and `dagster dev` on a plan of it, until Ctrl-C; returns its exit code.

    Raises:
        ConfigurationError: a system library or the extra `sandbox` is missing, or planning failed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with _sandbox(scale) as sandbox:
        environment = _environment(sandbox.settings, folder)
        os.environ.update(_project(folder))
        ensure_home(ProjectSettings.load())
        for arguments in (["doctor", "--fix"], ["plan", "--yes"]):
            if _command(arguments, environment, folder) != 0:
                raise ConfigurationError(
                    f"`migration-assets {arguments[0]}` failed, see above.", code="MA-SB-004"
                )
        from migration_assets.sandbox.launcher import write_env_file

        write_env_file(folder / "sandbox.env", {**sandbox.settings, **_project(folder)})
        _say(f"Settings of this sandbox are in {folder / 'sandbox.env'}")
        _say(f"Dagster: http://127.0.0.1:{port}")
        command = [sys.executable, "-m", "dagster", "dev", "-h", "127.0.0.1", "-p", str(port)]
        workspace = folder.resolve() / "workspace.yaml"
        workspace.write_text(_WORKSPACE, encoding="utf-8")
        command += ["-w", str(workspace)]
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        # In a session of its own: it gets one SIGINT, from here, however this process is stopped.
        with subprocess.Popen(  # noqa: S603
            command, env=environment, cwd=folder, start_new_session=True
        ) as process:
            try:
                return process.wait()
            except KeyboardInterrupt:
                process.send_signal(signal.SIGINT)
                return process.wait(60)


@contextmanager
def _sandbox(scale: float) -> Iterator[Sandbox]:
    require_odbc_libraries()
    try:
        from migration_assets.sandbox.launcher import STAND_INS, Sandbox
    except ImportError as error:
        raise ConfigurationError(
            f"The sandbox needs {error.name}.",
            code="MA-CF-029",
            next_step="Install the extra: pip install 'migration-assets[sandbox]'.",
        ) from None
    with Sandbox(STAND_INS, scale=scale) as sandbox:
        yield sandbox


def _project(folder: Path) -> dict[str, str]:
    return {
        "MIGRATION_PLAN": str((folder / "migration_plan.json").resolve()),
        "DAGSTER_HOME": str((folder / ".dagster").resolve()),
    }


def _environment(settings: Mapping[str, str], folder: Path) -> dict[str, str]:
    return {**os.environ, **settings, **_project(folder)}


def _command(arguments: list[str], environment: Mapping[str, str], folder: Path) -> int:
    command = [sys.executable, "-m", "migration_assets", *arguments]
    return subprocess.run(command, env=dict(environment), cwd=folder, check=False).returncode  # noqa: S603


def _say(text: str) -> None:
    sys.stdout.write(f"\n==> {text}\n")
    sys.stdout.flush()

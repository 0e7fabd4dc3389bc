"""Starts stand-ins as child processes on free loopback ports, and stops them again.

```python
with Sandbox(["sqlserver", "aws"], scale=0.01) as sandbox:
    os.environ.update(sandbox.settings)
    sandbox.control("aws").arm(Fault("unavailable", percent=10))
```

No child outlives its parent: each one holds the read end of a pipe whose write end only the parent
has, and stops when it closes, which the kernel sees to even after a SIGKILL.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import queue
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import click

from migration_assets.errors import ConfigurationError, PermanentError
from migration_assets.sandbox.control import PASSWORD_VARIABLE, Control

STAND_INS = ("sqlserver", "aws", "starrocks")
"""The names of the stand-ins, in the order in which they are shown."""

TITLES = {"sqlserver": "SQL Server", "aws": "S3 and Glue", "starrocks": "StarRocks"}
SQLSERVER_DATABASE = "shop"
BUCKET = "lake"
STOP_TIMEOUT_S = 10.0
_STDERR_TAIL_BYTES = 4000
_ENV_FILE_HEADER = "# Settings of a running sandbox; its stand-ins listen on loopback only.\n"


_PACKAGES = ("cryptography", "duckdb", "moto", "mysql_mimic", "sqlglot")
"""Modules of the extra `sandbox`."""


def _check_packages() -> None:
    missing = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigurationError(
            f"The stand-ins need packages that are not installed: {', '.join(missing)}.",
            code="MA-SB-005",
            next_step="Install migration_assets with its extra `sandbox`: "
            "pip install '.[sandbox]' in a clone.",
        )


class Sandbox:
    """Any subset of the stand-ins, running.

    Starting is done by `start` or by entering the context; `stop`, or leaving it, ends them all.

    Attributes:
        names: which stand-ins, in the order of `STAND_INS`.
        settings: what a client must set to reach them, as environment variables; filled by
            `start`. It holds the secrets of the stand-ins.
    """

    def __init__(
        self,
        names: Iterable[str] = STAND_INS,
        *,
        scale: float | None = 1.0,
        statements_dir: Path | None = None,
        limits: Mapping[str, int] | None = None,
        passwords: Mapping[str, str] | None = None,
        extra_arguments: Mapping[str, Sequence[str]] | None = None,
        timeout_s: float = 180.0,
    ) -> None:
        """Choose what will be started; starts nothing yet.

        Args:
            names: stand-ins to start.
            scale: of the sample database; None leaves SQL Server's database empty.
            statements_dir: where each stand-in logs what it receives; None logs nothing.
            limits: stand-in to its connection limit (not for `aws`).
            passwords: stand-in to its password, or AWS secret key; others are generated.
            extra_arguments: stand-in to further command line arguments of it.
            timeout_s: how long starting all of them may take.

        Raises:
            ConfigurationError: a name that is no stand-in, or a limit for `aws`.
        """
        chosen = set(names)
        self._limits = dict(limits or {})
        self._extra = {name: list(words) for name, words in (extra_arguments or {}).items()}
        given = dict(passwords or {})
        for name in chosen | set(self._limits) | set(self._extra) | set(given):
            if name not in STAND_INS:
                raise ConfigurationError(
                    f"There is no stand-in called {name!r}.",
                    code="MA-SB-001",
                    next_step=f"Choose among {', '.join(STAND_INS)}.",
                )
        if "aws" in self._limits:
            raise ConfigurationError(
                "The stand-in aws has no connection limit: S3 has none.",
                code="MA-SB-001",
                next_step="Arm a fault of the kind 'unavailable' instead.",
            )
        self.names = tuple(name for name in STAND_INS if name in chosen)
        self.settings: dict[str, str] = {}
        self._scale = scale
        self._statements_dir = statements_dir
        self._timeout_s = timeout_s
        self._passwords = {name: given.get(name) or secrets.token_urlsafe(18) for name in STAND_INS}
        self._children: dict[str, _Child] = {}

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop, whatever happened inside."""
        self.stop()

    def start(self) -> None:
        """Start all stand-ins at once and wait until each is ready.

        Raises:
            ConfigurationError: the packages of the extra `sandbox` are not installed.
            PermanentError: one of them ended or was not ready in time; the others are stopped.
        """
        _check_packages()
        deadline = time.monotonic() + self._timeout_s
        try:
            for name in self.names:
                password = self._passwords[name]
                self._children[name] = _Child.start(name, self._arguments(name), password)
            for child in self._children.values():
                child.await_ready(deadline)
        except BaseException:
            self.stop()
            raise
        self.settings = self._make_settings()

    def stop(self) -> None:
        """Stop all stand-ins: SIGTERM, then SIGKILL after `STOP_TIMEOUT_S` seconds. Idempotent."""
        for child in self._children.values():
            child.process.terminate()
        deadline = time.monotonic() + STOP_TIMEOUT_S
        for child in self._children.values():
            child.end(deadline)
        self._children.clear()

    def control(self, name: str) -> Control:
        """The fault switches, counters and backdoor of a running stand-in."""
        return Control(self._children[name].control_url)

    def port(self, name: str) -> int:
        """The loopback port of a running stand-in."""
        return self._children[name].port

    def process_id(self, name: str) -> int:
        """The process id of a running stand-in."""
        return self._children[name].process.pid

    def exited(self) -> list[str]:
        """Which stand-ins have ended although nobody stopped them."""
        return [name for name, child in self._children.items() if child.process.poll() is not None]

    def _arguments(self, name: str) -> list[str]:
        words = ["--port=0"]
        match name:
            case "sqlserver":
                words.append(f"--database={SQLSERVER_DATABASE}")
                words += [] if self._scale is None else [f"--sample={self._scale}"]
            case "aws":
                words += [f"--bucket={BUCKET}"]
            case _:
                words.append("--user=root")
        if self._statements_dir is not None:
            words.append(f"--statements={self._statements_dir.resolve()}")
        if name in self._limits:
            words.append(f"--limit={self._limits[name]}")
        return [*words, *self._extra.get(name, []), "--exit-with-parent"]

    def _make_settings(self) -> dict[str, str]:
        settings: dict[str, str] = {}
        if "sqlserver" in self.names:
            settings |= {
                "MSSQL_HOST": "127.0.0.1",
                "MSSQL_PORT": str(self.port("sqlserver")),
                "MSSQL_USER": "sa",
                "MSSQL_PASSWORD": self._passwords["sqlserver"],
                "MSSQL_DATABASE": SQLSERVER_DATABASE,
                # As by default, but for the certificate, which nobody signed.
                "MSSQL_ENCRYPT": "yes",
                "MSSQL_TRUST_SERVER_CERTIFICATE": "yes",
            }
        aws = {}
        if "aws" in self.names:
            aws = {
                "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.port('aws')}",
                "AWS_ACCESS_KEY_ID": "sandbox",
                "AWS_SECRET_ACCESS_KEY": self._passwords["aws"],
            }
            settings |= aws
            settings |= {
                "AWS_REGION": "us-east-1",
                "S3_BUCKET": BUCKET,
                "S3_WAREHOUSE_PATH": "warehouse",
                "ICEBERG_CATALOG_TYPE": "glue",
            }
        if "starrocks" in self.names:
            settings |= {
                "STARROCKS_HOST": "127.0.0.1",
                "STARROCKS_PORT": str(self.port("starrocks")),
                "STARROCKS_USER": "root",
                "STARROCKS_PASSWORD": self._passwords["starrocks"],
                "STARROCKS_CATALOG": "lake",
                "STARROCKS_REPLICATION_NUM": "1",
            }
            # How StarRocks itself reaches Glue and S3.
            settings |= {f"STARROCKS_{name}": value for name, value in aws.items()}
        return settings


@dataclass
class _Child:
    """One stand-in's process. Its stderr goes to a file that has no name and so needs no cleanup.

    Attributes:
        lines: what it printed on stdout; None marks the end. Read by a thread, so that a child
            that prints more than it should never blocks on a full pipe.
    """

    name: str
    process: subprocess.Popen[str]
    stderr: IO[bytes]
    lines: queue.SimpleQueue[str | None] = field(default_factory=queue.SimpleQueue)
    port: int = 0
    control_url: str = ""

    @classmethod
    def start(cls, name: str, arguments: Sequence[str], password: str) -> _Child:
        stderr = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `end`
        # In a session of its own: Ctrl-C in the terminal is for the parent, which may still need
        # the stand-ins to drain what it has begun, and then stops them.
        process = subprocess.Popen(  # noqa: S603 - our own modules
            [sys.executable, "-m", f"migration_assets.sandbox.{name}", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            start_new_session=True,
            # Not an argument: everybody on this machine can see those.
            env={**os.environ, PASSWORD_VARIABLE: password},
        )
        child = cls(name, process, stderr)
        threading.Thread(target=child._pump, name=f"stdout of {name}", daemon=True).start()
        return child

    def _pump(self) -> None:
        assert self.process.stdout is not None  # noqa: S101 - it was started with a pipe
        with self.process.stdout as lines:
            for line in lines:
                self.lines.put(line)
        self.lines.put(None)

    def await_ready(self, deadline: float) -> None:
        """Read the ready line, until `deadline` (monotonic seconds) at most."""
        try:
            line = self.lines.get(timeout=max(deadline - time.monotonic(), 0.001))
        except queue.Empty:
            raise self._failure("was not ready in time") from None
        if line is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(timeout=5)
            raise self._failure(f"ended with exit code {self.process.poll()}")
        try:
            ready: dict[str, Any] = json.loads(line)
            self.port, self.control_url = int(ready["port"]), str(ready["control"])
        except (ValueError, KeyError, TypeError):
            raise self._failure(f"printed {line!r} where its ready line belongs") from None

    def _failure(self, what: str) -> PermanentError:
        written = os.fstat(self.stderr.fileno()).st_size
        # pread: the child writes at the offset that both share, which must not be moved.
        start = max(written - _STDERR_TAIL_BYTES, 0)
        tail = os.pread(self.stderr.fileno(), _STDERR_TAIL_BYTES, start).decode(errors="replace")
        return PermanentError(
            f"The stand-in {self.name} {what}. Its stderr ends with:\n{tail.strip() or '(nothing)'}",
            code="MA-SB-002",
        )

    def end(self, deadline: float) -> None:
        """Wait until the terminated process is gone; kill it at `deadline`."""
        try:
            self.process.wait(timeout=max(deadline - time.monotonic(), 0.001))
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self.process.stdin is not None:
            self.process.stdin.close()
        self.stderr.close()


def start_in_foreground(
    names: Iterable[str] = (),
    *,
    env_file: Path | None = None,
    statements_dir: Path | None = None,
    scale: float | None = 1.0,
    limits: Mapping[str, int] | None = None,
) -> int:
    """Run stand-ins until SIGINT or SIGTERM: what `migration-assets sandbox start` does.

    Args:
        names: stand-ins to start; none means all.
        env_file: where the settings of the started ones are written, readable by the owner only.
            It stays when they stop; the next start replaces it.
        statements_dir: where each stand-in logs what it receives.
        scale: of the sample database; None for an empty database.
        limits: stand-in to its connection limit.

    Returns:
        The exit code: 0 after a signal.

    Raises:
        ConfigurationError: an unknown name, or `env_file` exists and was not written by this.
        PermanentError: a stand-in did not start, or ended by itself.
    """
    stop = threading.Event()
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, lambda *_: stop.set()) for number in numbers}
    sandbox = Sandbox(
        list(names) or STAND_INS, scale=scale, statements_dir=statements_dir, limits=limits
    )
    try:
        with sandbox:
            if env_file is not None:
                write_env_file(env_file, sandbox.settings)
            for name in sandbox.names:
                address = f"127.0.0.1:{sandbox.port(name)}"
                control = sandbox.control(name).url
                click.echo(
                    f"{TITLES[name]:<12} {address:<16} control {control}  "
                    "stand-in for development, demo and tests"
                )
            if env_file is not None:
                click.echo(f"settings     {env_file}")
            while not stop.wait(0.5):
                if exited := sandbox.exited():
                    raise PermanentError(
                        f"The stand-in {exited[0]} ended by itself.", code="MA-SB-002"
                    )
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return 0


def write_env_file(path: Path, settings: Mapping[str, str]) -> None:
    """Write settings as an env file, as one step and readable by its owner only.

    Args:
        path: the file; replaced when an earlier call has written it.
        settings: names and values. Values must not contain quotes or line breaks.

    Raises:
        ConfigurationError: the file exists and is not of a sandbox; it is left alone.
    """
    path = path.resolve()
    if path.exists() and not path.read_text(encoding="utf-8").startswith(_ENV_FILE_HEADER):
        raise ConfigurationError(
            f"{path} holds settings that are not of a sandbox; it was left as it is.",
            code="MA-SB-003",
            next_step="Choose another name for the env file, or remove it first.",
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    # mkstemp makes the file with mode 0600, so the secrets are never readable by others.
    number, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(number, "w", encoding="utf-8") as file:
            file.write(_ENV_FILE_HEADER)
            file.writelines(f"{name}={value}\n" for name, value in settings.items())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise

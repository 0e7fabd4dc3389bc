"""Commands as forks of a process that has imported the libraries already.

Importing Dagster, Arrow and the drivers is half of what a small command costs, and the tests type
hundreds. A fork has the imports and nothing else: none of the product's modules is imported before
it, its environment, folder and output are its own. The processes that a command spawns for its runs
come from one more such process, where each command would have to start one. What is started in the
background, and what is typed in a shell, is the real executable, which starts its own.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from multiprocessing import forkserver
from pathlib import Path

LIBRARIES = (
    "boto3",
    "click",
    "dagster",
    "dagster_aws.s3",
    "jinja2",
    "pyarrow.compute",
    "pyarrow.parquet",
    "pydantic_settings",
    "pyiceberg.catalog.glue",
    "pyiceberg.io.pyarrow",
    "pymysql",
    "rich.console",
    "rich.progress",
    "rich.table",
    "yaml",
)
_COMMAND = Path(sys.executable).parent / "migration-assets"


class WarmCommands:
    """`migration-assets` in forks of one process, which ends with this one."""

    def __init__(self) -> None:
        """Start the process; it imports while the caller goes on."""
        self._folder = tempfile.TemporaryDirectory(prefix="warm")
        self._path = str(Path(self._folder.name) / "socket")
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(self._path)
            listener.listen()
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__, str(listener.fileno())],
                pass_fds=[listener.fileno()], stdin=subprocess.PIPE,
                env={"PATH": os.environ["PATH"], "LANG": "C.UTF-8"}, cwd=Path(__file__).parents[2],
            )  # fmt: skip
        atexit.register(self.close)

    def run(
        self, arguments: Sequence[str], *, cwd: Path, env: Mapping[str, str], timeout: float
    ) -> tuple[int, str, str]:
        """Run a command to its end; returns exit code, stdout and stderr.

        Raises:
            TimeoutError: it did not end in time; it was killed.
        """
        with (
            tempfile.TemporaryFile(dir=self._folder.name) as out,
            tempfile.TemporaryFile(dir=self._folder.name) as err,
            socket.socket(socket.AF_UNIX) as connection,
        ):
            connection.connect(self._path)
            request = json.dumps({"arguments": list(arguments), "cwd": str(cwd), "env": dict(env)})
            socket.send_fds(connection, [b"x"], [out.fileno(), err.fileno()])
            connection.sendall(request.encode() + b"\n")
            connection.settimeout(timeout)
            with connection.makefile("r") as answers:
                process = int(answers.readline())
                try:
                    code = int(answers.readline())
                except TimeoutError:
                    os.killpg(process, signal.SIGKILL)
                    raise
            texts = []
            for file in (out, err):
                file.seek(0)
                texts.append(file.read().decode())
        return code, texts[0], texts[1]

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()
        self._folder.cleanup()


def _serve(listener: socket.socket) -> None:
    """Fork for each connection; returns in the fork that is to become the command."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        connection, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            _, (out, err), *_ = socket.recv_fds(connection, 1, 2)
            with connection.makefile("r") as requests:
                request = json.loads(requests.readline())
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            command = os.fork()
            if command == 0:
                connection.close()
                _become(request, out, err)
                return
            connection.sendall(f"{command}\n".encode())
            _, status = os.waitpid(command, 0)
            connection.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())
            os._exit(0)
        connection.close()


def _become(request: dict[str, object], out: int, err: int) -> None:
    os.setsid()
    with Path(os.devnull).open() as nothing:
        os.dup2(nothing.fileno(), 0)
    for given, number in ((out, 1), (err, 2)):
        os.dup2(given, number)
        os.close(given)
    os.chdir(str(request["cwd"]))
    os.environ.clear()
    os.environ.update(request["env"])  # type: ignore[call-overload]
    time.tzset()
    sys.argv = [str(_COMMAND), *request["arguments"]]  # type: ignore[misc]
    # Processes that this one spawns import the command, as they do under the real executable.
    main = sys.modules["__main__"]
    main.__file__, main.__spec__ = str(_COMMAND), None
    sys.path[0] = str(_COMMAND.parent)
    # It is no child of the command, which would start another one in its place.
    forkserver._forkserver.ensure_running = _is_running  # type: ignore[attr-defined]


def _is_running() -> None:
    """Do nothing: the server of the forks was started before the command was."""


if __name__ == "__main__":
    for library in LIBRARIES:
        importlib.import_module(library)
    forkserver.set_forkserver_preload(list(LIBRARIES))
    forkserver.ensure_running()
    gc.freeze()
    _serve(socket.socket(fileno=int(sys.argv[1])))
    from migration_assets.cli import main as command

    command()

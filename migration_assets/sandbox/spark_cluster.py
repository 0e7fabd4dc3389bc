"""A standalone Spark cluster on this machine: a master and workers, each a process, on loopback.

It stands in for a cluster of several machines in tests and benchmarks. The daemons begin with an
empty environment, and executors get a Python that has this project's dependencies but not the
project: what they need beside them has to come from the driver, as on a real cluster.
"""

from __future__ import annotations

import re
import site
import subprocess
import time
import venv
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from migration_assets.errors import OperationTimeoutError

T = TypeVar("T")

WAIT_S = 180.0
_STOP_S = 30.0


class SparkCluster:
    """Master and workers; use as a context manager, leaving it ends them.

    Attributes:
        folder: logs, and a folder per worker with what its executors wrote.
        master: its address, `spark://127.0.0.1:<port>`.
        python: what executors are started with, for SPARK_PYTHON.
        workers: the workers' folders.
        logs: what the daemons wrote.
    """

    def __init__(self, folder: Path, java_home: Path, *, workers: int = 2, cores: int = 2) -> None:
        """Start nothing yet.

        Args:
            folder: an empty folder.
            java_home: of the daemons and executors.
            workers: how many.
            cores: of each worker.
        """
        self.folder = folder
        self.master = ""
        self.python = folder / "python" / "bin" / "python"
        self.workers = [folder / f"worker{number}" for number in range(workers)]
        self.logs: list[Path] = []
        self._java_home = java_home
        self._cores = cores
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        """Start the daemons and wait until all workers are registered.

        Raises:
            OperationTimeoutError: they are not within three minutes.
        """
        with ExitStack() as stack:
            make_foreign_python(self.folder / "python")
            log = self._start(
                stack, "master", "org.apache.spark.deploy.master.Master", "--port", "0"
            )
            pattern = r"Starting Spark master at (spark://\S+)"
            self.master = _await(lambda: re.search(pattern, log.read_text()), "the master")[1]
            for folder in self.workers:
                self._start(
                    stack, folder.name, "org.apache.spark.deploy.worker.Worker",
                    "--cores", str(self._cores), "--memory", "1g", "--work-dir", str(folder),
                    self.master,
                )  # fmt: skip
            registered = len(self.workers)
            _await(lambda: log.read_text().count("Registering worker") >= registered, "workers")
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the daemons and their executors."""
        self._stack.close()

    def executors(self) -> list[int]:
        """How many executors each worker has started so far."""
        return [
            len([path for path in folder.glob("app-*/*") if path.name.isdigit()])
            for folder in self.workers
        ]

    def _start(self, stack: ExitStack, name: str, *arguments: str) -> Path:
        import pyspark

        log = self.folder / f"{name}.log"
        self.logs.append(log)
        home = Path(pyspark.__file__).parent
        kind, *options = arguments
        with log.open("wb") as output:
            process = subprocess.Popen(  # noqa: S603 - fixed words, no shell
                [
                    "/usr/bin/env", "-i", f"JAVA_HOME={self._java_home}", "SPARK_DAEMON_MEMORY=256m",
                    "JAVA_TOOL_OPTIONS=-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
                    "/bin/bash", f"{home}/bin/spark-class", kind,
                    "--host", "127.0.0.1", "--webui-port", "0", *options,
                ],
                stdout=output, stderr=subprocess.STDOUT, cwd=self.folder,
            )  # fmt: skip
        stack.callback(_end, process)
        return log


def make_foreign_python(folder: Path) -> None:
    """Make a Python that finds this project's dependencies, and not the project.

    Its `.pth` names our site-packages. Python heeds no `.pth` in a folder that is named so, and the
    editable install of this project is one.
    """
    venv.create(folder, with_pip=False)
    (packages,) = folder.glob("lib/python*/site-packages")
    (packages / "dependencies.pth").write_text("\n".join(site.getsitepackages()) + "\n")


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _await(condition: Callable[[], T | None], what: str) -> T:
    deadline = time.monotonic() + WAIT_S
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise OperationTimeoutError(
                f"The Spark cluster: waited {WAIT_S:.0f} s for {what}.", code="MA-SB-002"
            )
        time.sleep(0.1)
    return found

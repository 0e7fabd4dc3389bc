"""The Spark session as a Dagster resource: one per run, ended with it, replaced when it breaks.

Importing this imports PySpark, so it happens only where the plan has a table for Spark.
"""

from __future__ import annotations

import contextlib
import importlib.resources
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import dagster as dg
from dagster_pyspark import LazyPySparkResource
from pydantic import Field, PrivateAttr
from pyspark import SparkContext
from pyspark.sql import SparkSession

from migration_assets.errors import ConfigurationError
from migration_assets.settings import ProjectSettings, SparkSettings
from migration_assets.spark.catalog import EXTENSIONS, RUNTIME_JAR
from migration_assets.spark.failures import is_crash, translate
from migration_assets.spark.jars import JarState, examine_jars, jars_folder
from migration_assets.spark.java import require_java
from migration_assets.spark.master import require_master

T = TypeVar("T")

POOL = "spark"
"""Concurrency pool of the steps that use a session."""

PACKAGE = "migration_assets"
CONF_FOLDER = Path(__file__).resolve().parents[2] / "spark_conf"
"""`spark_conf/` of the checkout; SPARK_CONF_DIR goes before it."""

STOP_TIMEOUT_S = 10.0
EXIT_TIMEOUT_S = 5.0
CANCEL_TIMEOUT_S = 5.0
_LOOK_EVERY_S = 5.0
"""How long a session may take to stop, its JVM to exit, cancelled jobs to end. A task that hangs in
a driver ends with none of these, but with its JVM, which is killed then."""


class SparkResource(LazyPySparkResource):
    """A Spark session, made at first use and stopped when the run ends, also after a failure.

    `LazyPySparkResource` starts it late but never stops it, and knows no crash. Settings come from
    the environment (`SPARK_MASTER`, `SPARK_DRIVER_MEMORY` ...), then `spark_config` of this
    resource, then `spark_conf/spark-defaults.conf`.

    Attributes:
        spark_config: any further Spark property.
    """

    spark_config: dict[str, Any] = Field(default_factory=dict)

    _settings: SparkSettings | None = PrivateAttr(default=None)
    _folder: tempfile.TemporaryDirectory[str] | None = PrivateAttr(default=None)
    _jobs: int = PrivateAttr(default=0)

    @property
    def settings(self) -> SparkSettings:
        """The settings, read at first use.

        Raises:
            ConfigurationError: one is malformed.
        """
        if self._settings is None:
            self._settings = SparkSettings.load()
        return self._settings

    def setup_for_execution(self, context: dg.InitResourceContext) -> None:
        """Make the pool hold one step at a time, unless somebody set its limit.

        A step takes as many connections to SQL Server as SPARK_MSSQL_CONNECTIONS allows, so two of
        them at once would take twice as many. dagster.yaml knows no limit of a single pool.
        """
        if context.instance is None:
            return
        storage = context.instance.event_log_storage
        given = {limit.name for limit in storage.get_pool_limits() if not limit.from_default}
        if POOL not in given:
            storage.set_concurrency_slots(POOL, 1)

    def _init_session(self) -> None:
        if self._spark_session is None:
            self._folder = tempfile.TemporaryDirectory(prefix="migration-assets-spark-")
            self._spark_session = start_session(
                self.settings, Path(self._folder.name), self.spark_config
            )

    def run(self, doing: str, action: Callable[[SparkSession], T]) -> T:
        """Run something on the session; call it from the run's main thread.

        After `SPARK_RECYCLE_TABLES` calls the next one gets a fresh JVM. When the caller is
        interrupted, the session's jobs are cancelled: PySpark itself would wait for them.

        Args:
            doing: what for, for messages.
            action: gets the session.

        Raises:
            ConnectionLostError: the JVM died; the next call starts another.
        ConfigurationError: the cluster starts no task within `SPARK_START_TIMEOUT_S`.
            MigrationError: whatever else PySpark's exception means.
        """
        if self._jobs >= self.settings.recycle_tables:
            self.stop()
        self._jobs += 1
        try:
            return _cancellable(self.spark_session, action, self.settings.start_timeout_s)
        except Exception as error:
            if is_crash(error):
                self.stop()
            raise translate(error, doing) from error

    def stop(self) -> None:
        """Stop session and JVM; the next use starts new ones. Idempotent."""
        session, self._spark_session, self._jobs = self._spark_session, None, 0
        folder, self._folder = self._folder, None
        if session is not None:
            stop_session(session)
        if folder is not None:
            folder.cleanup()

    def teardown_after_execution(self, context: dg.InitResourceContext) -> None:
        """Stop the session that the run used."""
        del context
        self.stop()


def start_session(
    settings: SparkSettings, folder: Path, further: dict[str, Any] | None = None
) -> SparkSession:
    """Start a JVM with a session on it; `stop_session` ends both.

    This package is sent to the executors, so they need only its dependencies.

    Args:
        settings: master, memory and so on.
        folder: for what is sent to the executors; it must stay until the session has ended.
        further: Spark properties that go before ours.

    Raises:
        ConfigurationError: there is no usable Java.
        ConnectionLostError: no standalone master answers.
    """
    java = require_java()
    require_master(settings.master)
    os.environ.setdefault("JAVA_HOME", str(java.home))
    if CONF_FOLDER.is_dir():
        os.environ.setdefault("SPARK_CONF_DIR", str(CONF_FOLDER))
    # PySpark asks for it in no other way when the session is made by a Python process. Without one
    # it takes the first python3 of the PATH.
    python = settings.python or (sys.executable if settings.local else None)
    if python is not None:
        os.environ["PYSPARK_PYTHON"] = python
    conf = session_conf(settings, jars_folder(ProjectSettings.load())) | (further or {})
    builder = SparkSession.builder.master(settings.master).appName(PACKAGE)
    with _handlers_kept():
        session: SparkSession = builder.config(map=conf).getOrCreate()
    try:
        session.sparkContext.addPyFile(str(_package_archive(folder)))
    except BaseException:
        stop_session(session)
        raise
    return session


@contextlib.contextmanager
def _handlers_kept() -> Iterator[None]:
    """Keep the handler of Ctrl-C, for which PySpark puts one of its own.

    Dagster's raises what ends a step for good; the KeyboardInterrupt of PySpark's would be retried.
    """
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, before)


def session_conf(settings: SparkSettings, jars: Path) -> dict[str, str]:
    """Properties of a session; no secret among them, since they stand in the process list.

    Args:
        settings: what users set.
        jars: folder of the jars; those that are there and unharmed are used.
    """
    present = [
        str(jars / jar.file_name)
        for jar, state in examine_jars(jars).items()
        if state is JarState.PRESENT
    ]
    conf = {
        "spark.driver.memory": settings.driver_memory,
        "spark.executor.memory": settings.executor_memory,
        "spark.sql.shuffle.partitions": str(settings.sql_shuffle_partitions),
        "spark.sql.session.timeZone": "UTC",
    }
    if present:
        conf["spark.jars"] = ",".join(present)
    if any(Path(path).name.startswith(RUNTIME_JAR) for path in present):
        conf["spark.sql.extensions"] = EXTENSIONS
    if settings.local:
        conf |= {"spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1"}
    return conf


def stop_session(session: SparkSession) -> None:
    """Stop a session and end its JVM, which may be dead already."""
    # A JVM that died answers nothing; what matters is below.
    stopping = threading.Thread(target=_stop_quietly, args=(session,), daemon=True)
    stopping.start()
    stopping.join(STOP_TIMEOUT_S)
    gateway = SparkContext._gateway  # noqa: SLF001 - PySpark has no public way to end its JVM
    with contextlib.suppress(Exception):
        if gateway is not None:
            gateway.shutdown()
    SparkContext._gateway = SparkContext._jvm = None  # noqa: SLF001 - see above
    SparkContext._active_spark_context = None  # noqa: SLF001 - see above
    SparkSession._instantiatedSession = None  # noqa: SLF001 - see above
    process: subprocess.Popen[bytes] | None = getattr(gateway, "proc", None)
    if process is None:
        return
    # The JVM lives as long as its standard input.
    if process.stdin is not None:
        with contextlib.suppress(OSError):
            process.stdin.close()
    try:
        process.wait(EXIT_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _stop_quietly(session: SparkSession) -> None:
    with contextlib.suppress(Exception):
        session.stop()


def _package_archive(folder: Path) -> Path:
    """This package as a zip that Python can import from, without the sandbox."""
    root = Path(str(importlib.resources.files(PACKAGE)))
    path = folder / f"{PACKAGE}.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(root.rglob("*.py")):
            name = file.relative_to(root)
            if name.parts[0] != "sandbox":
                archive.write(file, str(Path(PACKAGE) / name))
    return path


def _cancellable(
    session: SparkSession, action: Callable[[SparkSession], T], start_timeout_s: int
) -> T:
    """Run an action in a thread of its own; cancel its jobs when this thread is interrupted.

    An interrupt in the thread that waits for a job leaves PySpark blocked on the busy connection
    to its JVM.

    Raises:
        ConfigurationError: the cluster has started no task of a job for so many seconds.
    """
    outcome: list[T] = []
    failure: list[BaseException] = []
    done = threading.Event()

    def work() -> None:
        try:
            outcome.append(action(session))
        except BaseException as error:  # noqa: BLE001 - raised again by the caller
            failure.append(error)
        finally:
            done.set()

    thread = threading.Thread(target=work, name="spark-action", daemon=True)
    thread.start()
    looked = waited = time.monotonic()
    try:
        while not done.wait(0.5):
            now = time.monotonic()
            if now - looked < _LOOK_EVERY_S:
                continue
            looked = now
            if not _is_waiting(session):
                waited = now
            elif now - waited > start_timeout_s:
                raise ConfigurationError(
                    f"Spark has started no task for {start_timeout_s} s.",
                    code="MA-SP-018",
                    next_step="Give the cluster room for an executor (SPARK_EXECUTOR_MEMORY, cores), "
                    "or raise SPARK_START_TIMEOUT_S.",
                )
    except BaseException:
        with contextlib.suppress(Exception):
            session.sparkContext.cancelAllJobs()
        thread.join(CANCEL_TIMEOUT_S)
        raise
    if failure:
        raise failure[0]
    return outcome[0]


def _is_waiting(session: SparkSession) -> bool:
    """Whether there are stages of which no task has been started yet."""
    tracker = session.sparkContext.statusTracker()
    stages = [tracker.getStageInfo(number) for number in tracker.getActiveStageIds()]
    return bool(stages) and not any(
        stage is not None and (stage.numActiveTasks or stage.numCompletedTasks) for stage in stages
    )

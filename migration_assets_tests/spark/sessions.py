"""A Spark session in a JVM of its own, which is gone afterwards."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from migration_assets.spark.java import Java
from migration_assets_tests.spark.processes import QUICK_JVM

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

STOP_TIMEOUT_S = 30


@contextmanager
def open_session(
    java: Java,
    jars: Sequence[Path],
    conf: Mapping[str, str] | None = None,
    *,
    master: str = "local[2]",
    driver_memory: str = "1g",
) -> Iterator[SparkSession]:
    """Start a JVM and a session on it; on leaving both are stopped.

    Args:
        java: which Java.
        jars: what is put on the class path of driver and executors.
        conf: further Spark settings; they go before those given here.
        master: Spark's master.
        driver_memory: heap of the JVM.
    """
    from pyspark import SparkContext
    from pyspark.sql import SparkSession

    assert SparkContext._gateway is None, "another test left a JVM running"
    # Spark's workers take `python3` of the PATH otherwise, which has no pyarrow.
    wanted = {
        "JAVA_HOME": str(java.home),
        "JAVA_TOOL_OPTIONS": QUICK_JVM,
        "PYSPARK_PYTHON": sys.executable,
        "PYSPARK_DRIVER_PYTHON": sys.executable,
        "SPARK_LOCAL_IP": "127.0.0.1",
    }
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    settings = {
        "spark.jars": ",".join(map(str, jars)),
        "spark.driver.memory": driver_memory,
        "spark.driver.host": "127.0.0.1",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.shuffle.partitions": "2",
        **(conf or {}),
    }
    builder = SparkSession.builder.master(master).appName("migration_assets tests")
    try:
        session = builder.config(map=settings).getOrCreate()
        try:
            yield session
        finally:
            session.stop()
    finally:
        end_jvm()
        # Sockets that PySpark left open are closed now, and not in the middle of another test.
        gc.collect()
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def end_jvm() -> None:
    """End the JVM that PySpark started in this process, if it did; the next session gets a new one."""
    from pyspark import SparkContext

    gateway = SparkContext._gateway
    if gateway is None:
        return
    SparkContext._gateway = SparkContext._jvm = None
    gateway.shutdown()
    process: subprocess.Popen[bytes] = gateway.proc
    # The JVM lives as long as its standard input.
    if process.stdin is not None:
        process.stdin.close()
    try:
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()

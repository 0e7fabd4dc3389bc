"""A Spark session of the product's in this process, whose JVM is gone afterwards."""

from __future__ import annotations

import gc
import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import urlopen

import pytest

from migration_assets.settings import SparkSettings

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

QUICK_JVM = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
"""For JAVA_TOOL_OPTIONS: JVMs of tests end before the better compiler has paid for itself."""


WITH_UI = {"spark.ui.enabled": "true", "spark.ui.port": "0"}
"""Properties of a session whose UI somebody switched on."""

LOOPBACK = {"SPARK_LOCAL_IP": "127.0.0.1"}
"""For the environment: the UI would listen on all interfaces."""


@contextmanager
def environment(settings: Mapping[str, str]) -> Iterator[None]:
    """The environment with these settings; what a session puts there is taken back afterwards."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("SPARK_CONF_DIR", "PYSPARK_PYTHON"):  # a session sets them
            patch.setenv(name, "")
            patch.delenv(name)
        for name, value in settings.items():
            patch.setenv(name, value)
        yield


@contextmanager
def open_session(
    settings: Mapping[str, str], conf: Mapping[str, str] | None = None
) -> Iterator[SparkSession]:
    """Start a JVM and a session on it, as a run does; on leaving both are stopped.

    Args:
        settings: as in the environment of a run.
        conf: Spark properties that go before the product's.
    """
    from pyspark import SparkContext

    from migration_assets.spark.resource import start_session, stop_session

    assert SparkContext._gateway is None, "another test left a JVM running"
    with environment(settings), tempfile.TemporaryDirectory() as folder:
        session = start_session(SparkSettings(_env_file=None), Path(folder), dict(conf or {}))
        try:
            yield session
        finally:
            stop_session(session)
            # Sockets that PySpark left open are closed now, and not in the middle of another test.
            gc.collect()


def shown_by(session: SparkSession) -> dict[str, bytes]:
    """What the UI of a session shows and its REST interface gives, by path.

    Of each SQL statement, its page and all that is said of its plan, too.
    """
    address = session.sparkContext.uiWebUrl
    assert address is not None
    port = urlsplit(address).port
    api = f"/api/v1/applications/{session.sparkContext.applicationId}"
    statements = f"{api}/sql?details=true&planDescription=true&length=1000"
    paths = [
        *("/environment/", "/jobs/", "/stages/", "/executors/", "/SQL/"),
        *(f"{api}/environment", f"{api}/jobs", f"{api}/stages?details=true", statements),
    ]
    found = {}
    for path in paths:
        with urlopen(f"http://127.0.0.1:{port}{path}", timeout=60) as answer:
            found[path] = answer.read()
    for statement in json.loads(found[statements])[-3:]:
        path = f"/SQL/execution/?id={statement['id']}"
        with urlopen(f"http://127.0.0.1:{port}{path}", timeout=60) as answer:
            found[path] = answer.read()
    return found

"""Java, the jars and settings of Spark for the tests; without them the tests are left out, aloud.

In CI (`CI=true`) nothing may be left out: there what is missing is a failure.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from migration_assets.errors import ConfigurationError
from migration_assets.settings import ProjectSettings
from migration_assets.spark.jars import jars_folder, require_jars
from migration_assets.spark.java import Java, require_java
from migration_assets_tests.spark.sessions import QUICK_JVM


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """PySpark closes the sockets of its results when they are collected as garbage, and not before."""
    here = Path(__file__).parent
    left_open = (
        r"ignore:Exception ignored in. <socket\.socket:pytest.PytestUnraisableExceptionWarning"
    )
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings(left_open))


@pytest.fixture(scope="session")
def equipment() -> tuple[Java, list[Path]]:
    """Java and the jars; without either, all that is missing is said at once, with the commands."""
    missing = []
    try:
        java = require_java()
    except ConfigurationError as error:
        missing.append(str(error))
    try:
        jars = require_jars(jars_folder(ProjectSettings.load()))
    except ConfigurationError as error:
        missing.append(str(error))
    if missing and os.environ.get("CI") == "true":
        pytest.fail(f"CI leaves no test out. {' '.join(missing)}", pytrace=False)
    if missing:
        pytest.skip(" ".join(missing))
    return java, jars


@pytest.fixture(scope="session")
def java(equipment: tuple[Java, list[Path]]) -> Java:
    """A Java that Spark runs on."""
    return equipment[0]


@pytest.fixture(scope="session")
def jars(equipment: tuple[Java, list[Path]]) -> list[Path]:
    """The paths of all jars of the lock."""
    return equipment[1]


@pytest.fixture(scope="session")
def spark_settings(java: Java, jars: list[Path]) -> dict[str, str]:
    """What a project's environment has for a small session of Spark's on this machine."""
    return {
        "JAVA_HOME": str(java.home),
        "JAVA_TOOL_OPTIONS": QUICK_JVM,
        "MIGRATION_JARS": str(jars[0].parent),
        "SPARK_MASTER": "local[2]",
        "SPARK_DRIVER_MEMORY": "1g",
        "SPARK_EXECUTOR_MEMORY": "512m",
        # A task per shuffled partition, of tables that have a few hundred rows.
        "SPARK_SQL_SHUFFLE_PARTITIONS": "2",
    }

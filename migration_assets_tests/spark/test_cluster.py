"""A standalone cluster of two workers, on this machine: what a distributed master needs, and gets.

The workers have an empty environment, and a Python that has this project's dependencies but not the
project itself: it can only come from the driver.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import venv
from collections.abc import Iterator
from pathlib import Path

import pytest

from migration_assets.sandbox.control import Fault
from migration_assets.sandbox.launcher import Sandbox
from migration_assets.sandbox.spark_cluster import SparkCluster
from migration_assets.spark.java import Java
from migration_assets_tests.sandbox.project import Project, iceberg_catalog, kill, wait_until
from migration_assets_tests.spark.sessions import QUICK_JVM

ROWS = 400
CONNECTIONS = 3
CANARY = "canary-S3cret-42"
SCRIPT = f"""
CREATE TABLE dbo.Wide (Id int NOT NULL PRIMARY KEY, Name nvarchar(40) NOT NULL);
GO
INSERT INTO dbo.Wide VALUES {", ".join(f"({n}, N'row {n}')" for n in range(ROWS))};
GO
"""
RULES = "defaults: {engine: spark, partitions: 16}\n"


@pytest.fixture(scope="module")
def cluster(java: Java, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkCluster]:
    with SparkCluster(tmp_path_factory.mktemp("cluster"), java.home) as running:
        tried = subprocess.run(
            ["env", "-i", running.python, "-c", "import pyarrow, mssql_python, migration_assets.plan"],
            cwd=running.folder, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert "No module named 'migration_assets" in tried.stderr
        yield running


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    script = tmp_path_factory.mktemp("script") / "tables.sql"
    script.write_text(SCRIPT, encoding="utf-8")
    with Sandbox(
        names=("sqlserver", "aws"),
        scale=None,
        passwords={"sqlserver": CANARY},
        extra_arguments={"sqlserver": [f"--script={script}"]},
    ) as running:
        yield running


def project_in(
    folder: Path,
    cluster: SparkCluster,
    sandbox: Sandbox,
    equipment: tuple[Java, list[Path]],
    **settings: str,
) -> Project:
    """A project whose Spark tables go to the cluster, every event of it logged."""
    java, jars = equipment
    folder.mkdir()
    conf = folder / "conf"
    conf.mkdir()
    ours = Path(__file__).parents[2] / "spark_conf"
    defaults = (ours / "spark-defaults.conf").read_text(encoding="utf-8")
    (folder / "events").mkdir()
    (conf / "spark-defaults.conf").write_text(
        f"{defaults}\nspark.eventLog.enabled true\nspark.eventLog.compress false\nspark.eventLog.dir {folder / 'events'}\n"
        "spark.driver.host 127.0.0.1\nspark.executor.cores 2\n"
    )
    (conf / "log4j2.properties").write_text((ours / "log4j2.properties").read_text())
    (folder / "migration.yaml").write_text(RULES)
    made = Project(
        folder,
        {
            **sandbox.settings,
            "S3_WAREHOUSE_PATH": folder.name,
            "SPARK_MASTER": cluster.master,
            "SPARK_PYTHON": str(cluster.python),
            "SPARK_CONF_DIR": str(conf),
            "SPARK_DRIVER_MEMORY": "1g",
            "SPARK_EXECUTOR_MEMORY": "1g",
            "SPARK_MSSQL_CONNECTIONS": str(CONNECTIONS),
            "JAVA_HOME": str(java.home),
            "JAVA_TOOL_OPTIONS": QUICK_JVM,
            "MIGRATION_JARS": str(jars[0].parent),
            **settings,
        },
    )
    made.run("plan").ok()
    return made


@pytest.mark.parametrize("reader", ["arrow", "jdbc"])
def test_both_workers_extract_and_the_cap_holds(
    reader: str,
    cluster: SparkCluster,
    sandbox: Sandbox,
    equipment: tuple[Java, list[Path]],
    tmp_path: Path,
) -> None:
    project = project_in(
        tmp_path / f"by_{reader}",
        cluster,
        sandbox,
        equipment,
        SPARK_READER=reader,
    )
    before = cluster.executors()
    project.run("run", "--until", "iceberg").ok()
    assert [now - then for now, then in zip(cluster.executors(), before, strict=True)] == [1, 1]
    table = iceberg_catalog(project.settings).load_table(("dbo", "wide"))
    rows = table.scan().to_arrow().select(["id", "name"]).to_pylist()
    assert len(rows) == ROWS
    assert {(row["id"], row["name"]) for row in rows} == {(n, f"row {n}") for n in range(ROWS)}
    hosts = task_hosts(project)
    assert len(hosts) == 2, "both executors had tasks"
    # Four cores in the cluster, but no more readers than allowed; the run itself has one or two.
    counters = sandbox.control("sqlserver").state()
    assert counters.max_open <= CONNECTIONS + 2
    assert counters.refused == 0
    wait_until(lambda: sandbox.control("sqlserver").state().open == 0, "closed connections")
    assert_no_secret(project, cluster)
    catalog = iceberg_catalog(project.settings)
    catalog.drop_table(("dbo", "wide"))


def test_an_executor_that_is_killed_costs_its_tasks(
    cluster: SparkCluster,
    sandbox: Sandbox,
    equipment: tuple[Java, list[Path]],
    tmp_path: Path,
) -> None:
    """Spark starts another one and repeats what the dead one had begun: no retry of ours."""
    project = project_in(tmp_path / "killed", cluster, sandbox, equipment)
    server = sandbox.control("sqlserver")
    server.arm(
        Fault("delay", match=r"AS \[name\] FROM \[dbo\]\.\[Wide\]", seconds=120, times=CONNECTIONS)
    )
    before = cluster.executors()
    process = project.start_run("--until", "iceberg")
    try:
        wait_until(lambda: server.faults()[0].times == 0, "as many tasks that read as may")
        victim, *others = executors_of(cluster)
        assert len(others) == 1
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda: sum(cluster.executors()) == sum(before) + 3, "another executor")
        server.arm()
        assert process.wait(120) == 0, (project.folder / "output").read_text()
    finally:
        server.arm()
        kill(process)
    assert "retrying" not in (project.folder / "output").read_text()
    rows = iceberg_catalog(project.settings).load_table(("dbo", "wide")).scan().to_arrow()
    assert sorted(rows["id"].to_pylist()) == list(range(ROWS))
    iceberg_catalog(project.settings).drop_table(("dbo", "wide"))


def executors_of(cluster: SparkCluster) -> list[int]:
    """The processes of the cluster's executors."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            words = path.read_bytes().decode(errors="replace")
            is_ours = (path.parent / "cwd").readlink().is_relative_to(cluster.folder)
            if "CoarseGrainedExecutorBackend" in words and is_ours:
                found.append(int(path.parent.name))
    return found


def task_hosts(project: Project) -> set[str]:
    """The executors that had a task of the extraction, from Spark's event log."""
    found: set[str] = set()
    for log in (project.folder / "events").rglob("*"):
        if log.is_file():
            text = log.read_text(encoding="utf-8", errors="replace")
            for line in text.splitlines():
                if '"Event":"SparkListenerTaskEnd"' in line:
                    found |= set(re.findall(r'"Executor ID":"(\w+)"', line))
    return found


def assert_no_secret(project: Project, cluster: SparkCluster) -> None:
    """Neither Spark's event log nor any log of the cluster or of our own has a password."""
    secrets = [CANARY, project.settings["AWS_SECRET_ACCESS_KEY"]]
    folders = [project.folder / "events", project.folder / ".dagster", *cluster.workers]
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    searched = 0
    for path in [*files, *cluster.logs]:
        if path.suffix in {".jar", ".zip"}:
            continue
        content = path.read_bytes()
        searched += 1
        for secret in secrets:
            assert secret.encode() not in content, path
    assert searched > 3


def test_an_executor_without_the_dependencies_is_told_plainly(
    cluster: SparkCluster,
    sandbox: Sandbox,
    equipment: tuple[Java, list[Path]],
    tmp_path: Path,
) -> None:
    bare = tmp_path / "bare"
    venv.create(bare, with_pip=False)
    project = project_in(
        tmp_path / "bare_python",
        cluster,
        sandbox,
        equipment,
        SPARK_PYTHON=str(bare / "bin" / "python"),
    )
    result = project.run("run", "--until", "mssql")
    assert result.code == 1
    said = result.out + result.err
    assert "the Python of Spark's executors has no module" in said
    assert "SPARK_PYTHON" in said
    assert "Traceback" not in said


def test_a_cluster_without_room_is_no_endless_wait(
    cluster: SparkCluster,
    sandbox: Sandbox,
    equipment: tuple[Java, list[Path]],
    tmp_path: Path,
) -> None:
    project = project_in(
        tmp_path / "no_room",
        cluster,
        sandbox,
        equipment,
        SPARK_EXECUTOR_MEMORY="64g",
        SPARK_START_TIMEOUT_S="1",
    )
    result = project.run("run", "--until", "mssql")
    assert result.code == 1
    assert "Spark has started no task for 1 s." in result.out + result.err
    assert "SPARK_EXECUTOR_MEMORY" in result.out + result.err

"""The deployment's dagster.yaml and sample tables, run: Postgres itself, and the stand-ins.

What the containers of deploy/compose/ would do, without containers: no engine runs here.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import boto3
import psycopg2
import pytest

from migration_assets.sandbox.launcher import BUCKET, SQLSERVER_DATABASE, Sandbox
from migration_assets_tests.sandbox.project import Project, wait_until

DEPLOY = Path(__file__).parents[2] / "deploy"
FOUND = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
POSTGRES = FOUND[-1].parent if FOUND else None


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a Postgres server with an empty database."""
    if POSTGRES is None:
        assert not os.environ.get("CI"), "install the package postgresql"
        pytest.skip("no Postgres here: install the package postgresql")
    folder = tmp_path_factory.mktemp("postgres")
    # It does not start as root, whose temporary folders nobody else may enter.
    user = "postgres" if os.geteuid() == 0 else None
    data = Path("/var/tmp") / f"postgres-{os.getpid()}-{folder.name}"
    data.mkdir(mode=0o700)
    if user:
        shutil.chown(data, user)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    try:
        subprocess.run(
            [POSTGRES / "initdb", "-D", data / "db", "-U", "dagster", "-A", "trust", "--no-sync"],
            user=user, cwd="/", check=True, capture_output=True, timeout=120,
        )  # fmt: skip
        server = subprocess.Popen(
            [POSTGRES / "postgres", "-D", data / "db", "-p", str(port), "-k", "", "-F",
             "-c", "listen_addresses=127.0.0.1"],
            user=user, cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            url = f"postgresql+psycopg2://dagster@127.0.0.1:{port}/postgres"
            wait_until(lambda: answers(url, server), "Postgres")
            yield url
        finally:
            server.terminate()  # ends its sessions as they are asked for: no client is left
            server.wait(60)
    finally:
        shutil.rmtree(data, ignore_errors=True)


def connect(url: str) -> Any:
    return psycopg2.connect(url.replace("+psycopg2", ""))


def answers(url: str, server: subprocess.Popen[bytes]) -> bool:
    assert server.poll() is None, "Postgres has ended"
    try:
        connect(url).close()
    except psycopg2.OperationalError:
        return False
    return True


def test_a_migration_with_its_history_in_postgres(
    postgres: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("try")
    seed = (DEPLOY / "compose" / "seed" / "tables.sql").read_text("utf-8")
    (folder / "seed.sql").write_text(seed.replace("$(DATABASE)", SQLSERVER_DATABASE), "utf-8")
    home = folder / ".dagster"
    home.mkdir()
    shutil.copy(DEPLOY / "dagster.yaml", home)
    words = {"sqlserver": [f"--script={folder / 'seed.sql'}"]}
    with Sandbox(scale=None, extra_arguments=words) as sandbox:
        project = Project(
            folder,
            {**sandbox.settings, "DAGSTER_HOME": str(home), "DAGSTER_PG_URL": postgres,
             "MIGRATION_CONCURRENT_RUNS": "2", "MIGRATION_MEMORY_MB": "512"},
        )  # fmt: skip
        project.run("doctor", "--fix").ok()
        project.run("plan").ok()
        done = project.run("run").ok()
        assert "Warning" not in done.err, "MIGRATION_CONCURRENT_RUNS is that of the file"
        rows = {name: table["rows"] for name, table in project.report["tables"].items()}
        assert rows == {
            name: dict.fromkeys(("mssql", "iceberg", "starrocks"), count)
            for name, count in
            (("sales.Customers", 4), ("sales.Orders", 30_000), ("dbo.Measurements", 3))
        }  # fmt: skip
        states = {state for line in project.status().values() for state in line.values()}
        assert "done" in states
        assert not {"missing", "failed", "stale"} & states

        # As the daemon's container does: a run of Dagster's own, what it prints goes to S3.
        module = "migration_assets.definitions"
        select = ("--select", 'key:"mssql/sales/Customers"', "--partition", "p000")
        made = project.execute("dagster", "asset", "materialize", "-m", module, *select)
        made.ok()
        info = project.execute("dagster", "instance", "info").ok().out
        assert "LocalRunLauncher" in info
        assert "max_concurrent_runs: 2" in info
        with closing(connect(postgres)) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT status, count(*) FROM runs GROUP BY status")
            assert dict(cursor.fetchall()).keys() == {"SUCCESS"}
        assert not list(home.rglob("*.db")), "nothing of the history is in SQLite"
        with closing(
            boto3.client(
                "s3",
                endpoint_url=sandbox.settings["AWS_ENDPOINT_URL"],
                region_name=sandbox.settings["AWS_REGION"],
                aws_access_key_id=sandbox.settings["AWS_ACCESS_KEY_ID"],
                aws_secret_access_key=sandbox.settings["AWS_SECRET_ACCESS_KEY"],
            )
        ) as s3:
            logs = s3.list_objects_v2(Bucket=BUCKET, Prefix="dagster-logs/")
        assert logs["KeyCount"] > 0
        project.close()

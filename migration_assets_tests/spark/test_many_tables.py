"""Two dozen tables in one run: a fresh JVM every eight, and memory that does not grow with them."""

from __future__ import annotations

import time
from pathlib import Path

import dagster as dg

from migration_assets.sandbox.launcher import Sandbox
from migration_assets_tests.sandbox.project import WAIT_S, Project, kill
from migration_assets_tests.spark.processes import jvms_of, memory_of

TABLES = 24
RECYCLE = 8
ROWS = 50
JVM_BYTES = 1024 * 2**20
"""512 MiB of heap, and what a JVM needs beside it."""


def script() -> str:
    rows = ", ".join(f"({n}, N'row {n}')" for n in range(ROWS))
    return "\n".join(
        f"CREATE TABLE dbo.T{n:02d} (Id int NOT NULL PRIMARY KEY, Name nvarchar(20) NULL);\nGO\n"
        f"INSERT INTO dbo.T{n:02d} VALUES {rows};\nGO"
        for n in range(TABLES)
    )


def test_two_dozen_tables_in_one_run_with_three_jvms(
    spark_settings: dict[str, str], tmp_path: Path
) -> None:
    sql = tmp_path / "tables.sql"
    sql.write_text(script(), encoding="utf-8")
    (tmp_path / "migration.yaml").write_text("defaults: {engine: spark}\n")
    with Sandbox(
        names=("sqlserver", "aws"), scale=None, extra_arguments={"sqlserver": [f"--script={sql}"]}
    ) as sandbox:
        project = Project(
            tmp_path,
            {
                **sandbox.settings,
                **spark_settings,
                "SPARK_DRIVER_MEMORY": "512m",
                "SPARK_RECYCLE_TABLES": str(RECYCLE),
            },
        )
        project.run("plan").ok()
        process = project.start_run("--until", "mssql")
        peaks: dict[int, int] = {}
        deadline = time.monotonic() + 2 * WAIT_S
        try:
            while process.poll() is None:
                assert time.monotonic() < deadline, (tmp_path / "output").read_text()
                for jvm in jvms_of(process.pid):
                    peaks[jvm] = max(peaks.get(jvm, 0), memory_of(jvm))
                time.sleep(0.2)
        finally:
            kill(process)
        assert process.returncode == 0, (tmp_path / "output").read_text()
        # A process called java may be seen before it is the JVM that stays.
        lasting = {jvm: peak for jvm, peak in peaks.items() if peak > 100 * 2**20}
        assert len(lasting) == TABLES // RECYCLE, peaks
        assert max(lasting.values()) < JVM_BYTES
        with project.instance() as instance:
            records = [
                instance.fetch_materializations(
                    dg.AssetKey(["mssql", "dbo", f"T{n:02d}"]), limit=2
                ).records
                for n in range(TABLES)
            ]
        assert all(len(found) == 1 for found in records)
        assert len({found[0].run_id for found in records}) == 1

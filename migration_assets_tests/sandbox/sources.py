"""A SQL Server stand-in with tables of our own, and plans of them, for the tests of `mssql/`."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from migration_assets.key_range import KeyRange
from migration_assets.mssql.client import SqlServer
from migration_assets.plan import TablePlan
from migration_assets.sandbox.control import Control
from migration_assets.sandbox.launcher import Sandbox
from migration_assets.schema import SourceTable
from migration_assets.settings import MssqlSettings
from migration_assets.type_mapping import audit_columns, map_column


@contextmanager
def running(script: str, folder: Path, *arguments: str, **options) -> Iterator[Sandbox]:
    """Start SQL Server's stand-in with the tables of a T-SQL script."""
    path = folder / "tables.sql"
    path.write_text(script, encoding="utf-8")
    words = {"sqlserver": [f"--script={path}", *arguments]}
    with Sandbox(["sqlserver"], scale=None, extra_arguments=words, **options) as sandbox:
        yield sandbox


def settings(sandbox: Sandbox, **changes) -> MssqlSettings:
    """Settings of a running stand-in; nothing comes from the environment of the tests."""
    given = {k.removeprefix("MSSQL_").lower(): v for k, v in sandbox.settings.items()}
    return MssqlSettings(_env_file=None, **(given | changes))


def client(sandbox: Sandbox, **changes) -> SqlServer:
    return SqlServer(settings(sandbox, **changes))


def open_connections(control: Control) -> int:
    """How many connections stay open; a server learns of a closed socket a moment later."""
    deadline = time.monotonic() + 5
    while (still := control.state().open) and time.monotonic() < deadline:
        time.sleep(0.02)
    return still


def plan_of(table: SourceTable, *key_ranges: KeyRange) -> TablePlan:
    """Plan every column of an introspected table under its own name in lower case."""
    columns = tuple(
        map_column(column, name=column.name.lower(), field_id=number)
        for number, column in enumerate(table.columns.columns, 1)
    )
    return TablePlan(
        source_server="stand-in",
        source_database="shop",
        source_schema=table.schema,
        source_name=table.name,
        rows=table.rows,
        columns=columns,
        audit_columns=audit_columns(len(columns) + 1),
        primary_key=table.columns.primary_key,
        key_ranges=key_ranges or (KeyRange(source_partition=0),),
        namespace="shop",
        iceberg_table=table.name.lower(),
        location=f"s3://lake/shop/{table.name.lower()}",
        starrocks_database="shop",
        starrocks_table=table.name.lower(),
        sort_key=(),
    )

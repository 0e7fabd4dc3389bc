"""Make the plan: introspect SQL Server, apply the rules."""

from __future__ import annotations

import dataclasses
import warnings
from pathlib import Path

from migration_assets.choices import Consistency
from migration_assets.errors import ConfigurationError
from migration_assets.iceberg.lake import Lake
from migration_assets.mssql.affected import with_affected
from migration_assets.mssql.client import SqlServer
from migration_assets.mssql.conditions import with_conditions, with_left_out
from migration_assets.mssql.costs import QueryCosts
from migration_assets.mssql.database_snapshot import refuse_unsupported
from migration_assets.mssql.introspection import introspect
from migration_assets.mssql.keys import measure_keys
from migration_assets.mssql.mask_salt import salt_digest
from migration_assets.mssql.views import with_views
from migration_assets.mssql.windows import measure_windows
from migration_assets.plan import MigrationPlan
from migration_assets.planner import keys_to_measure, plan, windows_to_measure
from migration_assets.replanning import stamped, take_over
from migration_assets.rules import Rules
from migration_assets.schema import SourceDatabase
from migration_assets.settings import LakeSettings, MssqlSettings, SparkSettings, StarRocksSettings


def make_plan(
    mssql: MssqlSettings,
    lake: LakeSettings,
    rules: Rules,
    *,
    measure: bool = False,
    costs: QueryCosts | None = None,
    old: MigrationPlan | None = None,
) -> MigrationPlan:
    """Introspect the source and plan its migration; nothing is written anywhere.

    Args:
        mssql: the source.
        lake: where the tables go.
        rules: the user's wishes.
        measure: count the rows that lossy conversions concern and conditions leave out; a scan of each
            table with some.
        costs: gets what each query cost.
        old: the plan in force, of which what still holds is taken over; None to plan from nothing.

    Raises:
        MigrationError: SQL Server cannot be reached or asked, or the rules do not fit it.
    """
    with SqlServer(mssql) as client:
        if rules.consistency is Consistency.DATABASE_SNAPSHOT:
            refuse_unsupported(client)
        client.costs = costs
        database = with_views(client, introspect(client), rules)
        database = with_conditions(client, database, rules)
        database = with_keys(client, database, rules)
        database = with_windows(client, database, rules, old)
        made = plan(
            database,
            rules,
            warehouse=lake.warehouse,
            has_cluster=not SparkSettings.load().local,
            mask_key=salt_digest(mssql),
        )
        made = stamped(made, database, rules, warehouse=lake.warehouse)
        if old is not None:
            made = take_over(made, old, rules)
        if not measure:
            return made
        tables = tuple(with_left_out(client, with_affected(client, table)) for table in made.tables)
    return MigrationPlan(**{**dict(made), "tables": tables})


def with_keys(client: SqlServer, database: SourceDatabase, rules: Rules) -> SourceDatabase:
    """Fill in where the keys that will be cut can be cut."""
    requests = keys_to_measure(database, rules)
    measured = measure_keys(client, requests)
    columns = {request.table.full_name: request.columns[0] for request in requests}
    tables = tuple(
        dataclasses.replace(
            table,
            key_cuts=measured.cuts.get(table.full_name),
            key_is_even=table.full_name in measured.even,
            even_rows=measured.even.get(table.full_name, ()),
            key_bounds={columns[table.full_name]: measured.bounds[table.full_name]}
            if table.full_name in measured.bounds
            else {},
        )
        for table in database.tables
    )
    return dataclasses.replace(database, tables=tables, notes=(*database.notes, *measured.notes))


def with_windows(
    client: SqlServer, database: SourceDatabase, rules: Rules, old: MigrationPlan | None
) -> SourceDatabase:
    """Fill in where the time windows of tables begin and end."""
    known = {table.full_name: table for table in old.tables} if old is not None else {}
    measured = measure_windows(client, windows_to_measure(database, rules), known)
    tables = tuple(
        dataclasses.replace(
            table,
            window_span=measured.spans.get(table.full_name),
            window_notes=measured.notes.get(table.full_name, ()),
        )
        for table in database.tables
    )
    return dataclasses.replace(database, tables=tables)


def replication_num() -> int:
    """Copies of each StarRocks tablet, as `STARROCKS_REPLICATION_NUM` says.

    It only sizes the plan's total of tablets, and a plan can be made before there is a StarRocks:
    so no other of its settings is needed, and a malformed one is a warning.
    """
    try:
        # A password that is given keeps one in Secrets Manager from being fetched.
        settings = StarRocksSettings.load(host="-", user="-", password="-")  # noqa: S106 - none
    except ConfigurationError as error:
        default: int = StarRocksSettings.model_fields["replication_num"].default
        warnings.warn(f"{error.found} Tablets are counted for {default} replicas.", stacklevel=1)
        return default
    return settings.replication_num


def write_plan(made: MigrationPlan, output: str) -> None:
    """Write the plan in one step: a reader sees the old one or the new one.

    Args:
        made: the plan.
        output: a path, or an `s3://` URI that the lake's credentials may write.

    Raises:
        MigrationError: it cannot be written there.
    """
    if output.startswith("s3://"):
        with Lake(LakeSettings.load()) as lake:
            lake.store.write(output, made.to_json().encode())
        return
    path = Path(output)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(path.name + ".partial")
        partial.write_text(made.to_json(), encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        raise ConfigurationError(
            f"The plan cannot be written to {path}: {error.strerror}.",
            code="MA-PL-008",
            next_step="Name another file by MIGRATION_PLAN or --output.",
        ) from None

"""Try each setting and connection, and say in one line what to do about what fails."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from migration_assets.choices import VerificationLevel
from migration_assets.errors import MigrationError, PermanentError, coded
from migration_assets.iceberg.lake import Lake
from migration_assets.iceberg.output_files import local_path
from migration_assets.key_range import KeyRange
from migration_assets.mssql.client import SqlServer
from migration_assets.mssql.odbc import missing_odbc_libraries
from migration_assets.plan import TablePlan
from migration_assets.receipts import ExtractReceipt, Fingerprint
from migration_assets.schema import Column, MssqlType
from migration_assets.setting_choices import ApplicationIntent, EncryptMode, TlsMode
from migration_assets.settings import (
    LakeSettings,
    MssqlSettings,
    ProjectSettings,
    SparkSettings,
    StarRocksSettings,
)
from migration_assets.starrocks.catalog import (
    check_catalog,
    create_catalog,
    read_one_row,
    server_version,
)
from migration_assets.starrocks.resource import StarRocks
from migration_assets.type_mapping import audit_columns, map_column

PROBE = "migration_assets_probe"
"""Namespace, table and StarRocks database of the doctor's own table; removed when it is done."""


@dataclass(frozen=True)
class Finding:
    """One line of the doctor.

    Attributes:
        ok: None when it was not tried because something before it failed.
        remedy: what to do; empty when nothing.
    """

    system: str
    check: str
    ok: bool | None
    found: str
    remedy: str = ""


def examine(*, fix: bool = False, until_iceberg: bool = False) -> Iterator[Finding]:
    """Yield the findings in the order of the flow, each as it is made.

    Args:
        fix: create StarRocks' external catalog when it is missing.
        until_iceberg: leave StarRocks out.
    """
    yield from _examine_mssql()
    lake_is_fine = True
    for finding in _examine_lake():
        lake_is_fine = lake_is_fine and bool(finding.ok)
        yield finding
    if not until_iceberg:
        yield from _examine_starrocks(fix=fix, lake_is_fine=lake_is_fine)
    yield from _examine_spark()


def _examine_spark() -> Iterator[Finding]:
    """What Spark needs here, for those who set SPARK_MASTER; of the executors it knows nothing."""
    from migration_assets.spark.jars import jars_folder, require_jars
    from migration_assets.spark.java import require_java
    from migration_assets.spark.master import require_master

    system = "Spark"
    try:
        settings, project = SparkSettings.load(), ProjectSettings.load()
    except MigrationError as error:
        yield _refused(system, "settings", error)
        return
    if "master" not in settings.model_fields_set:
        return

    def master() -> str:
        require_master(settings.master)
        return settings.master

    yield _try(system, "Java", lambda: require_java().version)
    yield _try(system, "jars", lambda: f"{len(require_jars(jars_folder(project)))} verified")
    yield _try(system, "master", master)


def _refused(system: str, check: str, error: MigrationError) -> Finding:
    found = coded(error.code, error.found)
    return Finding(system, check, ok=False, found=found, remedy=error.next_step)


def _try(system: str, check: str, action: Callable[[], object]) -> Finding:
    try:
        found = action()
    except MigrationError as error:
        return _refused(system, check, error)
    return Finding(system, check, ok=True, found="" if found is None else str(found))


def _chain(system: str, steps: list[tuple[str, Callable[[], object]]]) -> Iterator[Finding]:
    """Try steps that build on each other; after one fails the rest is not tried."""
    is_fine: bool | None = True
    for check, action in steps:
        if not is_fine:
            yield Finding(system, check, ok=None, found="not tried")
            continue
        finding = _try(system, check, action)
        is_fine = finding.ok
        yield finding


def _examine_mssql() -> Iterator[Finding]:
    system = "SQL Server"

    def libraries() -> str:
        from migration_assets.mssql.odbc import require_odbc_libraries

        require_odbc_libraries()
        return "found" if not missing_odbc_libraries() else "incomplete"

    try:
        client = SqlServer(MssqlSettings.load())
    except MigrationError as error:
        yield _refused(system, "settings", error)
        return

    def permissions() -> str:
        rows = client.query(
            "SELECT permission_name FROM fn_my_permissions(NULL, 'DATABASE')",
            doing="Reading own permissions",
        )
        names = {str(row[0]) for row in rows}
        missing = [name for name in ("SELECT", "VIEW DEFINITION") if name not in names]
        if not missing:
            return "SELECT and VIEW DEFINITION on the database"
        return f"no {' and no '.join(missing)} on the whole database: grants on objects may do"

    def intent() -> str:
        if client.settings.application_intent is ApplicationIntent.READ_WRITE:
            return "ReadWrite: the primary, or whatever MSSQL_HOST is"
        sql = "SELECT CONVERT(nvarchar(128), DATABASEPROPERTYEX(DB_NAME(), 'Updateability'))"
        ((found,),) = client.query(sql, doing="Looking at the state of the database")
        if found == "READ_ONLY":
            return "ReadOnly: a readable secondary"
        if found is None:
            return "ReadOnly"
        return (
            "ReadOnly was asked for, but the database can be written: nothing routes to a secondary"
        )

    def arrow() -> str:
        with client.arrow_connection("Reading one row through ODBC") as connection:
            cursor = connection.cursor()
            cursor.execute("SELECT 1 AS one")
            cursor.fetchall()
        return "one row read"

    with client:
        yield Finding(system, "settings", ok=True, found=client.settings.server)
        yield _try(system, "ODBC libraries", libraries)
        yield from _chain(
            system,
            [
                ("connection", lambda: _first_line(client.query("SELECT @@VERSION")[0][0])),
                ("encryption", partial(_mssql_encryption, client)),
                ("permissions", permissions),
                ("intent", intent),
                ("reading through ODBC", arrow),
            ],
        )


def _mssql_encryption(client: SqlServer) -> str:
    """Whether connections to SQL Server are encrypted and its certificate is checked.

    SQL Server tells of a connection only who has VIEW SERVER STATE (2022: VIEW SERVER SECURITY
    STATE; Azure SQL: VIEW DATABASE STATE); else we know what was demanded.
    https://learn.microsoft.com/sql/relational-databases/system-dynamic-management-views/sys-dm-exec-connections-transact-sql
    """
    settings = client.settings
    if settings.verifies:
        checked = "certificate checked"
    else:
        checked = "certificate not checked (MSSQL_TRUST_SERVER_CERTIFICATE)"
    try:
        rows = client.query(
            "SELECT encrypt_option FROM sys.dm_exec_connections WHERE session_id = @@SPID",
            doing="Reading the encryption of this connection",
        )
    except PermanentError:
        rows = []
    if rows and str(rows[0][0]).upper() == "TRUE":
        return (
            f"encrypted, {checked if settings.encrypt is not EncryptMode.NO else 'by the server'}"
        )
    if settings.encrypt is not EncryptMode.NO:
        # The drivers refuse a server that does not; a proxy in front of it may have ended it.
        end = "but not where SQL Server sees it: a proxy ends it" if rows else checked
        return f"encrypted, {end}"
    return "not encrypted but for the login (MSSQL_ENCRYPT=no)"


def _starrocks_encryption(client: StarRocks) -> str:
    """What our own end of the connection knows: StarRocks has no Ssl_cipher in SHOW STATUS."""
    settings = client.settings
    with client.connection() as wire:
        cipher = wire.cipher
    if not cipher:
        return f"not encrypted (STARROCKS_TLS={settings.tls.value})"
    is_checked = settings.tls is TlsMode.YES and not settings.tls_trust_server_certificate
    return f"{cipher}, certificate {'' if is_checked else 'not '}checked"


def _lake_encryption(settings: LakeSettings) -> str:
    if settings.local:
        return "local files"
    if (settings.endpoint_url or "https:").startswith("https:"):
        return f"HTTPS, certificate checked{' by AWS_CA_BUNDLE' if settings.ca_bundle else ''}"
    return "not encrypted (AWS_ENDPOINT_URL is http:)"


def _first_line(text: object) -> str:
    return str(text).splitlines()[0].strip()


def _examine_lake() -> Iterator[Finding]:
    system = "Lake"
    try:
        settings = LakeSettings.load()
        warehouse = settings.warehouse
        lake = Lake(settings)
    except MigrationError as error:
        yield _refused(system, "settings", error)
        return
    uri = f"{warehouse}/.migration/doctor-{uuid.uuid4().hex}"
    with lake:
        yield Finding(system, "settings", ok=True, found=f"{lake.name}, {warehouse}")
        yield Finding(system, "encryption", ok=True, found=_lake_encryption(settings))
        yield from _chain(
            system,
            [
                ("put object", lambda: lake.store.write(uri, b"probe")),
                ("get object", lambda: lake.store.read(uri) and None),
                ("delete object", lambda: lake.store.delete([uri])),
                ("create table and commit", partial(_commit_probe, lake)),
                ("drop table", partial(_drop_probe, lake)),
            ],
        )


def _examine_starrocks(*, fix: bool, lake_is_fine: bool) -> Iterator[Finding]:
    system = "StarRocks"
    try:
        client = StarRocks(StarRocksSettings.load())
    except MigrationError as error:
        yield _refused(system, "settings", error)
        return
    lake_settings = LakeSettings.load()

    def catalog() -> str:
        if fix:
            create_catalog(client, lake_settings)
        check_catalog(client)
        return client.settings.catalog

    def read() -> str:
        with Lake(lake_settings) as lake:
            _commit_probe(lake)
            try:
                row = read_one_row(client, _probe(lake))
            finally:
                _drop_probe(lake)
        return "one row read" if row else "the table came out empty"

    def create() -> str:
        from migration_assets.starrocks.tables import drop_table, recreate_table

        with Lake(lake_settings) as lake:
            recreate_table(client, _probe(lake))
            drop_table(client, _probe(lake))
        return "database and table created and dropped"

    try:
        yield Finding(system, "settings", ok=True, found=client.server)
        steps: list[tuple[str, Callable[[], object]]] = [
            ("connection", partial(server_version, client)),
            ("encryption", partial(_starrocks_encryption, client)),
            ("create and drop a table", create),
            ("external catalog", catalog),
        ]
        if lake_is_fine:
            steps.append(("reading Iceberg through the catalog", read))
        yield from _chain(system, steps)
        if not lake_is_fine:
            yield Finding(system, "reading Iceberg through the catalog", ok=None, found="not tried")
    finally:
        client.close()


def _probe(lake: Lake) -> TablePlan:
    """A table of one column and one row."""
    column = map_column(Column("n", MssqlType("int"), nullable=False), name="n", field_id=1)
    return TablePlan(
        source_server="doctor",
        source_database="doctor",
        source_schema=PROBE,
        source_name=PROBE,
        rows=1,
        columns=(column,),
        audit_columns=audit_columns(2),
        primary_key=("n",),
        key_ranges=(KeyRange(source_partition=0),),
        namespace=PROBE,
        iceberg_table=PROBE,
        location=f"{lake.settings.warehouse}/{PROBE}/{PROBE}",
        starrocks_database=PROBE,
        starrocks_table=PROBE,
        sort_key=("n",),
    )


def _commit_probe(lake: Lake) -> str:
    import pyarrow as pa

    from migration_assets.iceberg.commit import commit
    from migration_assets.iceberg.data_files import write_data_files
    from migration_assets.iceberg.intents import StoredIntents
    from migration_assets.type_mapping import arrow_schema

    table, now, attempt = _probe(lake), datetime.now(UTC), uuid.uuid4().hex
    schema = arrow_schema(table)
    arrays = [
        pa.array([value], type=field.type)
        for value, field in zip((1, now, PROBE, 0), schema, strict=True)
    ]
    batch = pa.RecordBatch.from_arrays(arrays, schema=schema)
    files = write_data_files([batch], table, 0, attempt, lake.store)
    receipt = ExtractReceipt(
        table_id=table.table_id,
        partition_key=table.partition_keys[0],
        source_partition=0,
        attempt=attempt,
        run_id="doctor",
        rows=1,
        seconds=0,
        files=files,
        fingerprint=Fingerprint(rows=1),
        source_fingerprint=None,
        consistency=VerificationLevel.NONE.value,
        extracted_at=now,
    )
    intents = StoredIntents(lake.store, f"{lake.settings.warehouse}/.migration/doctor")
    commit(lake, table, [receipt], run_id="doctor", plan_id="doctor", intents=intents)
    intents.clear(receipt.partition_key)
    return f"{PROBE}.{PROBE}"


def _drop_probe(lake: Lake) -> None:
    from migration_assets.iceberg.driver_errors import translate_errors

    table = _probe(lake)
    with translate_errors(f"{PROBE}.{PROBE}"):
        lake.catalog.drop_table((PROBE, PROBE))
        lake.catalog.drop_namespace(PROBE)
    lake.store.delete([entry[0] for entry in lake.store.list(table.location + "/")])
    if lake.settings.local:
        warehouse = local_path(lake.settings.warehouse)
        _remove_empty_folders(warehouse / PROBE)
        _remove_empty_folders(warehouse / ".migration" / "doctor")


def _remove_empty_folders(root: Path) -> None:
    """Remove a folder, those in it and the one it is in, where they hold no file."""
    folders = sorted((path for path in root.rglob("*") if path.is_dir()), reverse=True)
    for folder in [*folders, root, root.parent]:
        with contextlib.suppress(OSError):  # not empty, or never made
            folder.rmdir()

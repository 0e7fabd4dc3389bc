"""What Microsoft's JDBC driver, and Spark's reader on top of it, need to read key ranges; pure.

Addresses and options: https://learn.microsoft.com/sql/connect/jdbc/setting-the-connection-properties
"""

from __future__ import annotations

from collections.abc import Sequence

from migration_assets import partitioning
from migration_assets.errors import UnsupportedError
from migration_assets.mssql.jdbc_numbers import numbered
from migration_assets.mssql.select import GIVE_WAY, masked_sql, quote
from migration_assets.plan import TablePlan
from migration_assets.setting_choices import Authentication, EncryptMode
from migration_assets.settings import MssqlSettings

DRIVER = "com.microsoft.sqlserver.jdbc.SQLServerDriver"
KEY_ALIAS = "migration_assets_key"
"""Name under which the key stands in the derived table, where predicates find it."""

_ENCRYPT = {EncryptMode.NO: "false", EncryptMode.YES: "true", EncryptMode.STRICT: "strict"}


def jdbc_url(settings: MssqlSettings) -> str:
    """The connection URL, without user and password.

    Values are braced, as `;` and `=` would end them. A named instance gets no port: the driver asks
    the server's browser service, and a port would go before the name.
    """
    host, _, instance = settings.host.partition("\\")
    server = f"{host}\\{instance}" if instance else f"{host}:{settings.port}"
    options = {
        "databaseName": settings.database,
        "encrypt": _ENCRYPT[settings.encrypt],
        "trustServerCertificate": "true" if settings.trust_server_certificate else "false",
        "loginTimeout": str(settings.login_timeout_s),
        # A server that falls silent must not hold a task for ever.
        "socketTimeout": str(settings.query_timeout_s * 1000),
        "applicationIntent": settings.application_intent.value,
        "applicationName": "migration_assets",
    }
    if settings.host_name_in_certificate:
        options["hostNameInCertificate"] = settings.host_name_in_certificate
    return f"jdbc:sqlserver://{server};" + ";".join(
        f"{name}={{{value.replace('}', '}}')}}}" for name, value in options.items()
    )


def jdbc_options(
    settings: MssqlSettings, *, snapshot: bool, fetch_size: int | None = None
) -> dict[str, str]:
    """Spark's options of a read, the password among them: not to be shown.

    Args:
        settings: of the server.
        snapshot: read each range in a SNAPSHOT transaction.
        fetch_size: rows a round trip; only a server cursor heeds it, which is not the default.

    Raises:
        UnsupportedError: the driver would need libraries to sign in that Spark does not have.
    """
    if settings.authentication is not Authentication.SQL_PASSWORD:
        raise UnsupportedError(
            f"SPARK_READER=jdbc signs in by SQL logins only, not by {settings.authentication.value}.",
            code="MA-MS-132",
            next_step="Use SPARK_READER=arrow.",
        )
    options = {
        "driver": DRIVER,
        "user": settings.user,
        "password": settings.password.get_secret_value(),
        "queryTimeout": str(settings.query_timeout_s),
    }
    statements = [GIVE_WAY, *(["SET TRANSACTION ISOLATION LEVEL SNAPSHOT"] if snapshot else [])]
    options["sessionInitStatement"] = "; ".join(statements)
    if fetch_size is not None:
        options["fetchsize"] = str(fetch_size)
    return options


def jdbc_table(table: TablePlan) -> str:
    """The derived table that Spark selects from: planned expressions under their target names.

    Dates and times are numbers in it, see `jdbc_numbers`. The raw key stands beside them, so that a predicate on it can still use an index.

    Raises:
        UnsupportedError: columns are masked by hash: this reader has no parameters, and the salt must
            not stand in the text, which Spark shows in its UI.
    """
    if table.mask_key:
        hashed = [column.source_name for column in table.columns if column.mask == "hash"]
        raise UnsupportedError(
            f"{table.full_name}: {', '.join(hashed)} masked by hash cannot be read by Spark's JDBC "
            "reader: the salt would stand in its statements.",
            code="MA-SP-050",
            next_step="Set SPARK_READER=arrow, or `engine: arrow` for the table.",
        )
    columns = [f"{numbered(column)} AS {quote(column.name)}" for column in table.columns]
    columns += [f"{quote(key)} AS {quote(alias)}" for key, alias in _key_aliases(table).items()]
    return f"(SELECT {', '.join(columns)} FROM {masked_sql(table)}) AS source"


def jdbc_predicates(table: TablePlan, partition_keys: Sequence[str]) -> list[str]:
    """One condition over the derived table per partition, in order."""
    predicates = []
    for partition_key in partition_keys:
        key_range = table.key_range(partition_key)
        renamed = key_range.renamed(_key_aliases(table))
        predicates.append(partitioning.predicate(renamed) or "1 = 1")
    return predicates


def _key_aliases(table: TablePlan) -> dict[str, str]:
    """Names of the key's columns in the derived table, by their source names."""
    names = table.key_ranges[-1].key_columns
    return {name: f"{KEY_ALIAS}{f'_{i}' if i else ''}" for i, name in enumerate(names)}

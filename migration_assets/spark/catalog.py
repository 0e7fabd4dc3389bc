"""The lake's Iceberg catalog as a catalog of Spark SQL.

Nothing of it stands in the properties that a session is started with: those are in the process
list. All are set on the running session instead, the keys only until the catalog is made from them.
Executors need no properties of their own: a table that is sent to them carries those of its files'
store along, keys included.

Properties: https://iceberg.apache.org/docs/1.12.0/spark-configuration/ and
https://iceberg.apache.org/docs/1.12.0/aws/.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from migration_assets.errors import ConfigurationError, UnsupportedError
from migration_assets.setting_choices import CatalogType
from migration_assets.settings import SET_IT, LakeSettings

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

EXTENSIONS = "org.apache.iceberg.spark.extensions.IcebergSparkSessionExtensions"
"""`spark.sql.extensions` of a session that shall know Iceberg's statements."""

RUNTIME_JAR = "iceberg-spark-runtime"
"""How the file name of the jar that has `EXTENSIONS` begins."""


def attach_catalog(session: SparkSession, name: str, settings: LakeSettings) -> None:
    """Make a session know the lake's catalog. Idempotent; what a second call changes is ignored.

    Args:
        session: with Iceberg's jars.
        name: what SQL calls the catalog.
        settings: where the lake is, and with which keys; without keys the JVM finds its own, in
            the same places as boto3: environment, AWS_PROFILE, container or instance role.

    Raises:
        UnsupportedError: Spark has no such catalog.
        ConfigurationError: a setting is missing.
    """
    properties, secrets = catalog_properties(name, settings), secret_properties(name, settings)
    jvm: Any = session.sparkContext._jvm  # noqa: SLF001 - PySpark has no public way to these
    java_session: Any = session._jsparkSession  # noqa: SLF001 - likewise
    for key, value in (properties | secrets).items():
        session.conf.set(key, value)
    # Iceberg's Glue client takes no keys by properties of the catalog. It lives in the driver only.
    for key, value in java_properties(settings).items():
        jvm.java.lang.System.setProperty(key, value)
    # Now the catalog is made, and keeps its keys. They must leave the session at once: Spark writes
    # a session's properties into its event log with each job, and redacts only those that the
    # session was started with (`EventLoggingListener.redactProperties`).
    jvm.org.apache.spark.sql.classic.SparkSession.setActiveSession(java_session)
    try:
        java_session.sessionState().catalogManager().catalog(name)
    finally:
        for key in secrets:
            session.conf.unset(key)


def catalog_properties(name: str, settings: LakeSettings) -> dict[str, str]:
    """The properties of the catalog that anybody may see.

    Args:
        name: what SQL calls the catalog.
        settings: where the lake is.

    Raises:
        UnsupportedError: the catalog is a SQL one.
        ConfigurationError: a setting is missing.
    """
    properties = {"warehouse": settings.warehouse, **_files(settings)}
    match settings.catalog_type:
        case CatalogType.GLUE:
            properties |= {
                "catalog-impl": "org.apache.iceberg.aws.glue.GlueCatalog",
                "glue.skip-archive": "true",
            }
            if settings.endpoint_url is not None:
                properties["glue.endpoint"] = settings.endpoint_url
        case CatalogType.REST:
            if settings.catalog_uri is None:
                raise ConfigurationError(
                    "Settings: ICEBERG_CATALOG_TYPE=rest needs ICEBERG_CATALOG_URI, which is not "
                    "set.",
                    code="MA-CF-001",
                    next_step=SET_IT,
                )
            properties |= {"type": "rest", "uri": settings.catalog_uri}
        case CatalogType.SQL:
            raise UnsupportedError(
                "Spark cannot open the Iceberg catalog of ICEBERG_CATALOG_TYPE=sql: it would need "
                "that database's JDBC driver, which is not among our jars.",
                code="MA-SP-019",
                next_step="Use engine pyiceberg, or ICEBERG_CATALOG_TYPE=glue or rest.",
            )
    prefix = f"spark.sql.catalog.{name}"
    return {
        prefix: "org.apache.iceberg.spark.SparkCatalog",
        # Tables are changed by others, too: Spark must look each time.
        f"{prefix}.cache-enabled": "false",
        **{f"{prefix}.{key}": value for key, value in properties.items()},
    }


def secret_properties(name: str, settings: LakeSettings) -> dict[str, str]:
    """The keys of the files' store; empty without keys. No session keeps them."""
    if settings.access_key_id is None or settings.secret_access_key is None:
        return {}
    prefix = f"spark.sql.catalog.{name}"
    keys = {
        f"{prefix}.s3.access-key-id": settings.access_key_id,
        f"{prefix}.s3.secret-access-key": settings.secret_access_key.get_secret_value(),
    }
    if settings.session_token is not None:
        keys[f"{prefix}.s3.session-token"] = settings.session_token.get_secret_value()
    return keys


def java_properties(settings: LakeSettings) -> dict[str, str]:
    """Where the AWS SDK of the driver's JVM looks first for keys, else for a profile's name."""
    if settings.access_key_id is None or settings.secret_access_key is None:
        return {} if settings.profile is None else {"aws.profile": settings.profile}
    keys = {
        "aws.accessKeyId": settings.access_key_id,
        "aws.secretAccessKey": settings.secret_access_key.get_secret_value(),
    }
    if settings.session_token is not None:
        keys["aws.sessionToken"] = settings.session_token.get_secret_value()
    return keys


def _files(settings: LakeSettings) -> dict[str, str]:
    """Properties of the store of the tables' files; a local folder needs none."""
    if not settings.warehouse.startswith("s3:"):
        return {}
    properties = {
        "io-impl": "org.apache.iceberg.aws.s3.S3FileIO",
        "client.region": settings.region,
        "http-client.apache.connection-timeout-ms": str(settings.connect_timeout_s * 1000),
        "http-client.apache.socket-timeout-ms": str(settings.request_timeout_s * 1000),
    }
    if settings.endpoint_url is not None:
        properties |= {"s3.endpoint": settings.endpoint_url, "s3.path-style-access": "true"}
    return properties

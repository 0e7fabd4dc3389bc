"""The variables of the old script that no longer do anything."""

from __future__ import annotations

import os
import warnings

RENAMED = {
    "MSSQL_DRIVER": "nothing: the ODBC driver comes with mssql-python",
    "MSSQL_SCHEMA": "`include` in migration.yaml",
    "STARROCKS_JDBC_PORT": "STARROCKS_PORT",
    "STARROCKS_HTTP_PORT": "nothing: StarRocks reads Iceberg by itself",
    "STARROCKS_DATABASE": "`starrocks_database` in migration.yaml",
    "GLUE_DATABASE": "`namespace` in migration.yaml",
    "TARGET_SCHEMA_SUFFIX": "`namespace_suffix` in migration.yaml",
    "SPARK_APP_NAME": "nothing: the name is chosen",
    "SPARK_EXECUTOR_CORES": "`spark.executor.cores` in spark_conf/spark-defaults.conf",
    "SPARK_JDBC_NUM_PARTITIONS": "`partitions` in migration.yaml",
    "JDBC_NUM_PARTITIONS": "`partitions` in migration.yaml",
    "JDBC_PARTITION_COLUMN": "`partition_column` in migration.yaml",
    "JDBC_LOWER_BOUND": "nothing: the plan finds where rows lie",
    "JDBC_UPPER_BOUND": "nothing: the plan finds where rows lie",
    "BATCH_SIZE": "MSSQL_BATCH_ROWS",
    "MAX_RETRY_ATTEMPTS": "MIGRATION_RETRIES",
    "RETRY_DELAY_SECONDS": "MIGRATION_RETRY_FIRST_WAIT_S",
    "PROCESS_TIMEOUT_SECONDS": "MSSQL_QUERY_TIMEOUT_S and STARROCKS_INSERT_TIMEOUT_S",
    **{
        f"MYSQL_SOURCE_{name}": "nothing: SQL Server is the only source"
        for name in ("HOST", "PORT", "USER", "PASSWORD", "DATABASE", "CHARSET")
    },
}
"""Variables of the old script that no longer do anything, and what took their place."""


def warn_of_renamed_settings() -> None:
    """Give one warning for each variable of the old script that no longer does anything."""
    for old, new in RENAMED.items():
        if os.environ.get(old):
            reason = new.removeprefix("nothing")
            instead = f"; use {new}" if reason == new else reason
            warnings.warn(f"{old} has no effect any more{instead}.", UserWarning, stacklevel=2)

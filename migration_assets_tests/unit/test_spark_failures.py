"""What PySpark's exceptions become."""

from __future__ import annotations

import socket

import pytest
from py4j.protocol import Py4JNetworkError

from migration_assets.errors import (
    ConfigurationError,
    ConnectionLostError,
    MigrationError,
    OperationTimeoutError,
    ReceiptError,
    ServerBusyError,
    StatementError,
)
from migration_assets.spark.failures import is_crash, translate
from migration_assets.spark.master import require_master

DOING = "Extracting dbo.Orders with Spark"


@pytest.mark.parametrize(
    ("error", "kind", "said"),
    [
        (Py4JNetworkError("Answer from Java side is empty"), ConnectionLostError, "JVM ended"),
        (ConnectionRefusedError(111, "Connection refused"), ConnectionLostError, "JVM ended"),
        (Exception("java.lang.OutOfMemoryError: Java heap space"), ConnectionLostError, "heap"),
        (
            Exception("Job aborted: ExecutorLostFailure (executor 3 exited)"),
            ConnectionLostError,
            "lost executors",
        ),
        (
            Exception("Traceback\nModuleNotFoundError: No module named 'pyarrow'\n"),
            ConfigurationError,
            "has no module pyarrow",
        ),
        (
            Exception('java.io.IOException: Cannot run program "/x/python": error=2'),
            ConfigurationError,
            "cannot start Python",
        ),
        (
            Exception(
                'SQLServerException: "encrypt" property is set to "true" and "trustServerCertificate" '
                'property is set to "false" but the driver could not establish a secure connection to '
                "SQL Server by using Secure Sockets Layer (SSL) encryption: Error: PKIX path building "
                "failed: sun.security.provider.certpath.SunCertPathBuilderException: unable to find "
                "valid certification path to requested target."
            ),
            ConfigurationError,
            "MSSQL_TRUST_SERVER_CERTIFICATE",
        ),
        (
            Exception("x\nCaused by: SQLServerException: The query has timed out.\n"),
            OperationTimeoutError,
            "The query has timed out.",
        ),
        (
            Exception("SQLServerException: Transaction was deadlocked on lock resources"),
            ServerBusyError,
            "deadlocked",
        ),
        (
            Exception("x\nCaused by: SQLServerException: Invalid column name 'a'.\n"),
            StatementError,
            "SQLServerException: Invalid column name 'a'.",
        ),
    ],
)
def test_kinds(error: Exception, kind: type[MigrationError], said: str) -> None:
    found = translate(error, DOING)
    assert type(found) is kind
    assert found.found.startswith(f"{DOING}: ")
    assert said in str(found)


def test_ours_stay_as_they_are() -> None:
    error = ReceiptError("no")
    assert translate(error, DOING) is error


def test_a_failed_job_is_no_crash() -> None:
    assert not is_crash(Exception("Job aborted due to stage failure"))
    assert is_crash(EOFError())


def test_a_standalone_master_is_looked_for() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        require_master(f"spark://127.0.0.1:{port}")
        require_master(f"spark://127.0.0.1:1,127.0.0.1:{port}")
    with pytest.raises(ConnectionLostError, match=f"spark://127.0.0.1:{port}"):
        require_master(f"spark://127.0.0.1:{port}")
    for master in ("local[*]", "yarn", "k8s://https://nowhere:6443"):
        require_master(master)

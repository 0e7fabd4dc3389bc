"""What an exception out of PySpark means: the JVM is gone, an executor was lost, or a job failed."""

from __future__ import annotations

import re

from migration_assets.errors import (
    ConfigurationError,
    ConnectionLostError,
    MigrationError,
    OperationTimeoutError,
    ServerBusyError,
    StatementError,
)

_CRASHES = (
    "Answer from Java side is empty",
    "java.lang.OutOfMemoryError",
    "An error occurred while trying to connect to the Java server",
    "Error while sending or receiving",
    "Connection refused",
    "SparkContext was shut down",
    "stopped SparkContext",
)
"""What is said when the JVM died, ran out of memory or ended its context."""

_UNTRUSTED = (
    "PKIX path",
    "Failed to validate the server name",
    "could not establish a secure connection",
    "SSLHandshakeException",
)
_LOST = ("ExecutorLostFailure", "FetchFailed", "Lost executor", "Worker exited unexpectedly")
_TOO_LONG = "query has timed out"
"""What mssql-jdbc says when its `queryTimeout` is over
(https://learn.microsoft.com/sql/connect/jdbc/setting-the-connection-properties)."""
_BUSY = ("deadlock", "Connection reset", "The connection is closed", "timed out", "TCP/IP")


def is_crash(error: BaseException) -> bool:
    """Whether a session can no longer be used after the error."""
    from py4j.protocol import Py4JNetworkError

    if isinstance(error, (Py4JNetworkError, ConnectionError, EOFError)):
        return True
    text = f"{type(error).__name__}: {error}"
    return any(sign in text for sign in _CRASHES)


def translate(error: BaseException, doing: str) -> MigrationError:
    """What an exception of a Spark call becomes.

    Args:
        error: as PySpark raised it.
        doing: what for: `Extracting dbo.Orders with Spark`.
    """
    if isinstance(error, MigrationError):
        return error
    text = str(error)
    if is_crash(error):
        return ConnectionLostError(
            f"{doing}: Spark's JVM ended or ran out of memory ({_gist(text)}).",
            code="MA-SP-001",
            next_step="It is tried again on a new one; raise SPARK_DRIVER_MEMORY or "
            "SPARK_EXECUTOR_MEMORY if that goes on.",
        )
    missing = re.search(r"ModuleNotFoundError: No module named '([^']+)'", text)
    if missing:
        return ConfigurationError(
            f"{doing}: the Python of Spark's executors has no module {missing[1]}.",
            code="MA-SP-002",
            next_step="Give them an environment with this project's dependencies: SPARK_PYTHON, or "
            "spark.archives in spark_conf/spark-defaults.conf (see docs/spark.md).",
        )
    if any(sign in text for sign in _UNTRUSTED):
        return ConfigurationError(
            f"{doing}: Java does not trust the other side's certificate, or there is no TLS "
            f"({_gist(text)}).",
            code="MA-SP-003",
            next_step="Import the authority into Java's trust store with keytool on every executor; "
            "for SQL Server (SPARK_READER=jdbc) see MSSQL_ENCRYPT, MSSQL_TRUST_SERVER_CERTIFICATE "
            "and MSSQL_HOST_NAME_IN_CERTIFICATE in docs/security.md.",
        )
    if "Cannot run program" in text:
        return ConfigurationError(
            f"{doing}: Spark's executors cannot start Python ({_gist(text)}).",
            code="MA-SP-004",
            next_step="Set SPARK_PYTHON to a Python that every executor has.",
        )
    if any(sign in text for sign in _LOST):
        return ConnectionLostError(
            f"{doing}: Spark lost executors ({_gist(text)}).", code="MA-SP-005"
        )
    if _TOO_LONG in text:
        return OperationTimeoutError(f"{doing}: {_gist(text)}.", code="MA-MS-026")
    if any(sign in text for sign in _BUSY):
        return ServerBusyError(f"{doing}: {_gist(text)}.", code="MA-SP-006")
    return StatementError(f"{doing}: the Spark job failed: {_gist(text)}.", code="MA-SP-007")


def _gist(text: str) -> str:
    """The line that says most: the last cause of Java's, else the last line of Python's trace."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    causes = [
        line
        for line in lines
        if ("Exception: " in line or "Error: " in line) and not line.startswith("Suppressed: ")
    ]
    chosen = (causes or lines or ["no message"])[-1]
    return chosen.removeprefix("Caused by: ").lstrip(": ").rstrip(".")[:500]

"""The map from drivers' errors to ours, on errors as the drivers raise them."""

from typing import Any

import botocore.exceptions as boto
import pyiceberg.exceptions as iceberg
import pytest
import sqlalchemy.exc
from pyarrow import ArrowInvalid

from migration_assets.errors import (
    AccessDeniedError,
    CommitConflictError,
    ConfigurationError,
    ConnectionLostError,
    ExistingObjectError,
    MigrationError,
    ObjectNotFoundError,
    OperationTimeoutError,
    PermanentError,
    ServerBusyError,
    StatementError,
    TransientError,
)
from migration_assets.iceberg.driver_errors import translate_errors, translated


def answer(code: str, status: int = 400) -> boto.ClientError:
    response: Any = {
        "Error": {"Code": code, "Message": "Timeout of NoSuchBucket"},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    return boto.ClientError(response, "GetObject")


def arrow(text: str) -> OSError:
    return OSError(f"When reading information for key 'Timeouts/SlowDown' in bucket 'b': {text}")


def locked() -> Exception:
    error = Exception("database is locked")
    return sqlalchemy.exc.OperationalError("UPDATE secret_table", {"p": "s3cret"}, error)


CASES = [
    (answer("AccessDenied", 403), AccessDeniedError),
    (answer("InvalidAccessKeyId", 403), AccessDeniedError),
    (answer("SignatureDoesNotMatch", 403), AccessDeniedError),
    (answer("UnrecognizedClientException"), AccessDeniedError),
    (answer("403", 403), AccessDeniedError),
    (answer("ExpiredToken"), AccessDeniedError),
    (answer("ExpiredTokenException"), AccessDeniedError),
    (answer("NoSuchBucket", 404), ObjectNotFoundError),
    (
        boto.SSLError(
            endpoint_url="https://s3",
            error="[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed",
        ),
        ConfigurationError,
    ),
    (
        OSError(
            "When reading key 'k' in bucket 'b': AWS Error NETWORK_CONNECTION during GetObject operation: curlCode: 60, SSL peer certificate or SSH remote key was not OK"
        ),
        ConfigurationError,
    ),
    (answer("NoSuchKey", 404), ObjectNotFoundError),
    (answer("404", 404), ObjectNotFoundError),
    (answer("EntityNotFoundException"), ObjectNotFoundError),
    (answer("PermanentRedirect", 301), ConfigurationError),
    (answer("AuthorizationHeaderMalformed"), ConfigurationError),
    (answer("RequestTimeTooSkewed", 403), ConfigurationError),
    (answer("KMS.DisabledException"), AccessDeniedError),
    (sqlalchemy.exc.ArgumentError("Could not parse SQLAlchemy URL"), ConfigurationError),
    (
        boto.SSLError(endpoint_url="https://s3", error="[SSL: WRONG_VERSION_NUMBER] wrong version"),
        ConfigurationError,
    ),
    (answer("SlowDown", 503), ServerBusyError),
    (answer("ThrottlingException"), ServerBusyError),
    (answer("InternalError", 500), ServerBusyError),
    (answer("", 502), ServerBusyError),
    (answer("RequestTimeout"), OperationTimeoutError),
    (answer("ConcurrentModificationException"), CommitConflictError),
    (answer("ResourceNumberLimitExceededException"), StatementError),
    (boto.NoCredentialsError(), AccessDeniedError),
    (boto.ProfileNotFound(profile="dev"), ConfigurationError),
    (boto.UnauthorizedSSOTokenError(), AccessDeniedError),
    (boto.EndpointConnectionError(endpoint_url="http://x"), ConnectionLostError),
    (boto.ConnectionClosedError(endpoint_url="http://x"), ConnectionLostError),
    (boto.SSLError(endpoint_url="https://x", error="bad"), ConnectionLostError),
    (boto.IncompleteReadError(actual_bytes=1, expected_bytes=2), ConnectionLostError),
    (boto.ConnectTimeoutError(endpoint_url="http://x"), OperationTimeoutError),
    (boto.ReadTimeoutError(endpoint_url="http://x"), OperationTimeoutError),
    (ValueError("Invalid endpoint: nonsense"), ConfigurationError),
    (arrow("AWS Error ACCESS_DENIED during HeadObject operation: none"), AccessDeniedError),
    (arrow("AWS Error UNKNOWN (HTTP status 403) during HeadObject operation"), AccessDeniedError),
    (arrow("AWS Error NO_SUCH_BUCKET during PutObject operation: none"), ObjectNotFoundError),
    (arrow("AWS Error SLOW_DOWN during PutObject operation: none"), ServerBusyError),
    (arrow("AWS Error UNKNOWN (HTTP status 503) during PutObject"), ServerBusyError),
    (
        arrow("AWS Error NETWORK_CONNECTION during GetObject: curlCode: 7, Couldn't connect"),
        ConnectionLostError,
    ),
    (
        arrow("AWS Error NETWORK_CONNECTION during GetObject: curlCode: 28, Timeout was reached"),
        OperationTimeoutError,
    ),
    (arrow("AWS Error MALFORMED_QUERY_STRING during GetObject"), StatementError),
    (FileNotFoundError(2, "No such file or directory", "/Timeouts/x"), ObjectNotFoundError),
    (PermissionError(13, "Permission denied", "/x"), AccessDeniedError),
    (OSError(28, "No space left on device"), ConfigurationError),
    (ConnectionResetError(104, "Connection reset by peer"), ConnectionLostError),
    (TimeoutError("timed out"), OperationTimeoutError),
    (iceberg.CommitFailedException("x"), CommitConflictError),
    (iceberg.CommitStateUnknownException("x"), ConnectionLostError),
    (iceberg.NoSuchIcebergTableError("x"), ExistingObjectError),
    (iceberg.NoSuchTableError("x"), ObjectNotFoundError),
    (iceberg.ForbiddenError("x"), AccessDeniedError),
    (iceberg.UnauthorizedError("x"), AccessDeniedError),
    (iceberg.AuthorizationExpiredError("x"), AccessDeniedError),
    (iceberg.ServiceUnavailableError("x"), ServerBusyError),
    (iceberg.BadRequestError("x"), StatementError),
    (locked(), ServerBusyError),
    (ArrowInvalid("Could not open Parquet input source"), StatementError),
]


@pytest.mark.parametrize(("error", "ours"), CASES, ids=lambda value: repr(value)[:60])
def test_each_error(error: Exception, ours: type[MigrationError]) -> None:
    found = translated(error, "Bucket lake")
    assert type(found) is ours
    assert isinstance(found, MigrationError)
    assert found.found.startswith("Bucket lake: ")
    assert found.next_step.endswith(".")
    assert isinstance(found, PermanentError) != isinstance(found, TransientError)


def test_the_driver_error_is_the_cause() -> None:
    error = answer("SlowDown", 503)
    with pytest.raises(ServerBusyError) as raised, translate_errors("Bucket lake"):
        raise error
    assert raised.value.__cause__ is error


@pytest.mark.parametrize("error", [KeyError("x"), ValueError("x"), StatementError("x")])
def test_other_errors_pass(error: Exception) -> None:
    with pytest.raises(type(error)) as raised, translate_errors("Bucket lake"):
        raise error
    assert raised.value is error


def test_no_parameters_and_no_novel() -> None:
    assert "s3cret" not in str(translated(locked(), "x"))
    long = translated(iceberg.ServerError("y" * 5000), "x")
    assert len(str(long)) < 500

"""The one map from what boto3, pyarrow, pyiceberg and SQLAlchemy raise to our own errors.

It goes by names and error codes, so that no driver is imported to look at its errors. Codes of S3:
https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html#ErrorCodeList, of Glue:
https://docs.aws.amazon.com/glue/latest/dg/aws-glue-api-exceptions.html.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from migration_assets.errors import (
    AccessDeniedError,
    CommitConflictError,
    ConfigurationError,
    ConnectionLostError,
    ExistingObjectError,
    MigrationError,
    ObjectNotFoundError,
    OperationTimeoutError,
    ServerBusyError,
    StatementError,
)


@dataclass(frozen=True)
class _Rule:
    """What a symptom means. `symptom` is searched in what `_symptom` returns."""

    symptom: str
    error: type[MigrationError]
    meaning: str
    next_step: str


# fmt: off
_RULES = (
    _Rule(r"ExpiredToken|EXPIRED_TOKEN|RequestExpired|TokenRefreshRequired|AuthorizationExpired|SSOToken",
          AccessDeniedError, "the AWS credentials have expired",
          "Renew them (`aws sso login`, or a new AWS_SESSION_TOKEN) and try again."),
    _Rule(r"ProfileNotFound", ConfigurationError, "AWS_PROFILE names a profile that is not there",
          "Correct AWS_PROFILE, or add the profile to ~/.aws/config."),
    _Rule(r"NoCredentials|PartialCredentials|CredentialRetrieval",
          AccessDeniedError, "no AWS credentials were found",
          "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or run with a role."),
    _Rule(r"RequestTimeTooSkewed|REQUEST_TIME_TOO_SKEWED", ConfigurationError,
          "this machine's clock differs from AWS's", "Set the clock, and let NTP keep it."),
    _Rule(r"KMS|GlueEncryption", AccessDeniedError, "the encryption key (KMS) cannot be used",
          "Grant kms:Decrypt and kms:GenerateDataKey on it, and see that it is enabled."),
    _Rule(r"AccessDenied|ACCESS_DENIED|InvalidAccessKeyId|INVALID_ACCESS_KEY_ID|SignatureDoesNotMatch"
          r"|INVALID_SIGNATURE|UnrecognizedClient|InvalidClientToken|AuthFailure|MISSING_AUTHENTICATION"
          r"|Forbidden|Unauthorized|OAuthError|PermissionError|HTTP (?:status )?40[13]",
          AccessDeniedError, "access was denied",
          "Check the credentials and their permissions; `migration-assets doctor` tries each one."),
    _Rule(r"NoSuchBucket|NO_SUCH_BUCKET", ObjectNotFoundError, "there is no such bucket",
          "Create the bucket, or correct S3_BUCKET."),
    _Rule(r"PermanentRedirect|AuthorizationHeaderMalformed|IllegalLocationConstraint|HTTP (?:status )?301",
          ConfigurationError, "the bucket is in another region", "Correct AWS_REGION."),
    _Rule(r"MissingSchema|InvalidSchema|InvalidURL|ArgumentError|NoSuchModule", ConfigurationError,
          "the catalog's address is not valid", "Correct ICEBERG_CATALOG_URI."),
    _Rule(r"InvalidEndpoint|Invalid endpoint|UnknownEndpoint|InvalidRegion|NoRegion|EndpointResolution",
          ConfigurationError, "the endpoint or region is not valid",
          "Correct AWS_ENDPOINT_URL and AWS_REGION."),
    _Rule(r"CommitFailedException|ConcurrentModification", CommitConflictError,
          "another writer was first", "Try again."),
    _Rule(r"SlowDown|SLOW_DOWN|Throttl|THROTTL|TooManyRequests|RequestLimitExceeded|ServiceUnavailable"
          r"|SERVICE_UNAVAILABLE|InternalError|InternalFailure|INTERNAL_FAILURE|InternalService"
          r"|OperationTimeoutException|HTTP (?:status )?5\d\d|ServerError|database is locked",
          ServerBusyError, "the service is busy or failed for now", "Try again later."),
    _Rule(r"Timeout|timed out|TIMEOUT|curlCode: 28", OperationTimeoutError, "no answer came in time",
          "Check that the endpoint is reachable from here, or raise S3_REQUEST_TIMEOUT_S."),
    _Rule(r"SSLError.*WRONG_VERSION_NUMBER", ConfigurationError, "the endpoint does not speak TLS",
          "Write http:// into AWS_ENDPOINT_URL if that is meant, else correct its port."),
    _Rule(r"SSLError.*(CERTIFICATE|doesn't match|No such file|Is a directory)", ConfigurationError,
          "the endpoint's certificate is not trusted here",
          "Let AWS_CA_BUNDLE name the PEM file of the authority that signed it, or correct the host "
          "in AWS_ENDPOINT_URL."),
    _Rule(r"EndpointConnection|ConnectionError|ConnectionClosed|ConnectionReset|ConnectionRefused"
          r"|ConnectionAborted|NETWORK_CONNECTION|curlCode|BrokenPipe|IncompleteRead|ProtocolError"
          r"|ResponseStreaming|CommitStateUnknown|SSLError|HTTPClientError",
          ConnectionLostError, "the endpoint could not be reached, or the connection broke",
          "Check AWS_ENDPOINT_URL, AWS_REGION and the network."),
    _Rule(r"NoSuchIcebergTable|NoSuchPropertyException", ExistingObjectError,
          "the catalog has something of this name that is no Iceberg table",
          "Rename or remove it, or give the table another name in migration.yaml."),
    _Rule(r"NoSuchKey|NO_SUCH_KEY|NoSuchTable|NoSuchNamespace|EntityNotFound|FileNotFound"
          r"|RESOURCE_NOT_FOUND|NoSuchUpload|HTTP (?:status )?404",
          ObjectNotFoundError, "it is not there", "Check its name, and whether it was removed."),
    _Rule(r"No space left|quota exceeded|Read-only file system|unable to open database file",
          ConfigurationError, "nothing can be written there",
          "Free space, or correct S3_WAREHOUSE_PATH."),
)
# fmt: on

_DRIVERS = {"botocore", "boto3", "pyiceberg", "sqlalchemy", "requests", "urllib3", "pyarrow"}
_LONGEST_DETAIL = 300


@contextmanager
def translate_errors(target: str) -> Iterator[None]:
    """Turn driver errors raised inside into ours.

    Args:
        target: what is being touched, as the beginning of a sentence: `Iceberg table ns.t`.

    Raises:
        MigrationError: one of ours, with the driver's as its cause. Errors that no driver raised
            (defects, `KeyboardInterrupt`) pass through as they are.
    """
    try:
        yield
    except Exception as error:
        ours = translated(error, target)
        if ours is error:
            raise
        raise ours from error


def translated(error: Exception, target: str) -> Exception:
    """Return our error for a driver's; errors of ours or of no driver are returned as they are."""
    if isinstance(error, MigrationError) or not _of_driver(error):
        return error
    symptom = _symptom(error)
    detail = " ".join(_text(error).split())
    if len(detail) > _LONGEST_DETAIL:
        detail = f"{detail[:_LONGEST_DETAIL]}…"
    for rule in _RULES:
        if re.search(rule.symptom, symptom):
            return rule.error(f"{target}: {rule.meaning} ({detail}).", next_step=rule.next_step)
    return StatementError(
        f"{target}: refused ({detail}).", next_step="See what the service says about this error."
    )


def _of_driver(error: Exception) -> bool:
    if isinstance(error, OSError) or str(error).startswith("Invalid endpoint"):
        return True
    return any(base.__module__.split(".")[0] in _DRIVERS for base in type(error).__mro__)


def _symptom(error: Exception) -> str:
    """What says which error it is, and nothing that names an object: a table may be `Timeouts`."""
    response = getattr(error, "response", None)
    if isinstance(response, dict) and "Error" in response:
        status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", "")
        return f"{response['Error'].get('Code', '')} HTTP {status}"
    names = " ".join(base.__name__ for base in type(error).__mro__ if base is not object)
    text = str(error)
    if "SSLError" in names:  # botocore's are OSErrors, too; what comes first is an address
        found = re.search(r"(\[(SSL|X509|Errno)|hostname ).*", text)
        return f"{names} {found[0] if found else ''}"
    if isinstance(error, OSError):
        # pyarrow: "When reading key 'k' in bucket 'b': AWS Error SLOW_DOWN during …".
        return f"{names.replace('OSError', '')} {error.strerror or text[text.find('AWS Error') :]}"
    return f"{names} {text}"


def _text(error: Exception) -> str:
    """The driver's own words; of SQLAlchemy's errors without statement and parameters."""
    original = getattr(error, "orig", None)
    return f"{type(error).__name__}: {original or error}"

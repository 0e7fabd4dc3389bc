"""Faults of S3, Glue, other catalogs and the disk, as data.

A symptom is searched in names of exceptions and error codes, never in what names an object.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from migration_assets.errors import (
    AccessDeniedError,
    CommitConflictError,
    ConfigurationError,
    ConnectionLostError,
    ExistingObjectError,
    ObjectNotFoundError,
    OperationTimeoutError,
    ServerBusyError,
    StatementError,
)
from migration_assets.faults import FaultRule

_AWS = "https://docs.aws.amazon.com/"
_S3 = f"{_AWS}AmazonS3/latest/API/ErrorResponses.html"
_GLUE = f"{_AWS}glue/latest/dg/aws-glue-api-exceptions.html"
_BOTO = "https://boto3.amazonaws.com/v1/documentation/api/latest/guide/error-handling.html"
_PYICEBERG = "https://py.iceberg.apache.org/reference/pyiceberg/exceptions/"
_ERRNO = "https://man7.org/linux/man-pages/man3/errno.3.html"


@dataclass(frozen=True, kw_only=True)
class IcebergFault(FaultRule):
    """One kind of fault.

    Attributes:
        symptom: regular expression, case-sensitive; empty for anything.
    """

    symptom: str = ""

    @property
    def signs(self) -> tuple[str, ...]:
        """The symptom."""
        return (f"/{self.symptom}/",) if self.symptom else ()


# The first rule that applies counts.
FAULTS: tuple[IcebergFault, ...] = (
    IcebergFault(
        code="MA-IC-001",
        error=AccessDeniedError,
        meaning="the AWS credentials have expired",
        symptom=r"ExpiredToken|EXPIRED_TOKEN|RequestExpired|TokenRefreshRequired"
        r"|AuthorizationExpired|SSOToken",
        next_step="Renew them (`aws sso login`, or a new AWS_SESSION_TOKEN) and try again.",
        source=_S3,
    ),
    IcebergFault(
        code="MA-IC-002",
        error=ConfigurationError,
        meaning="AWS_PROFILE names a profile that is not there",
        symptom=r"ProfileNotFound",
        next_step="Correct AWS_PROFILE, or add the profile to ~/.aws/config.",
        source=_BOTO,
    ),
    IcebergFault(
        code="MA-IC-003",
        error=AccessDeniedError,
        meaning="no AWS credentials were found",
        symptom=r"NoCredentials|PartialCredentials|CredentialRetrieval",
        next_step="Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or run with "
        "a role.",
        source=_BOTO,
    ),
    IcebergFault(
        code="MA-IC-004",
        error=ConfigurationError,
        meaning="this machine's clock differs from AWS's",
        symptom=r"RequestTimeTooSkewed|REQUEST_TIME_TOO_SKEWED",
        next_step="Set the clock, and let NTP keep it.",
        source=_S3,
    ),
    IcebergFault(
        code="MA-IC-005",
        error=AccessDeniedError,
        meaning="the encryption key (KMS) cannot be used",
        symptom=r"KMS|GlueEncryption",
        next_step="Grant kms:Decrypt and kms:GenerateDataKey on it, and see that it is enabled.",
        source=_GLUE,
    ),
    IcebergFault(
        code="MA-IC-006",
        error=AccessDeniedError,
        meaning="access was denied",
        symptom=r"AccessDenied|ACCESS_DENIED|InvalidAccessKeyId|INVALID_ACCESS_KEY_ID"
        r"|SignatureDoesNotMatch|INVALID_SIGNATURE|UnrecognizedClient|InvalidClientToken"
        r"|AuthFailure|MISSING_AUTHENTICATION|Forbidden|Unauthorized|OAuthError"
        r"|PermissionError|HTTP (?:status )?40[13]",
        next_step="Check the credentials and their permissions; `migration-assets doctor` tries "
        "each one.",
        source=_S3,
    ),
    IcebergFault(
        code="MA-IC-007",
        error=ObjectNotFoundError,
        meaning="there is no such bucket",
        symptom=r"NoSuchBucket|NO_SUCH_BUCKET",
        next_step="Create the bucket, or correct S3_BUCKET.",
        source=_S3,
    ),
    IcebergFault(
        code="MA-IC-008",
        error=ConfigurationError,
        meaning="the bucket is in another region",
        symptom=r"PermanentRedirect|AuthorizationHeaderMalformed|IllegalLocationConstraint"
        r"|HTTP (?:status )?301",
        next_step="Correct AWS_REGION.",
        source=_S3,
    ),
    IcebergFault(
        code="MA-IC-009",
        error=ConfigurationError,
        meaning="the catalog's address is not valid",
        symptom=r"MissingSchema|InvalidSchema|InvalidURL|ArgumentError|NoSuchModule",
        next_step="Correct ICEBERG_CATALOG_URI.",
        source=_PYICEBERG,
    ),
    IcebergFault(
        code="MA-IC-010",
        error=ConfigurationError,
        meaning="the endpoint or region is not valid",
        symptom=r"InvalidEndpoint|Invalid endpoint|UnknownEndpoint|InvalidRegion|NoRegion"
        r"|EndpointResolution",
        next_step="Correct AWS_ENDPOINT_URL and AWS_REGION.",
        source=_BOTO,
    ),
    IcebergFault(
        code="MA-IC-011",
        error=ConnectionLostError,
        meaning="whether the commit landed is unknown",
        symptom=r"CommitStateUnknown",
        next_step="It is looked up in the table's snapshots by itself, before anything is "
        "committed again.",
        source=_PYICEBERG,
    ),
    IcebergFault(
        code="MA-IC-012",
        error=CommitConflictError,
        meaning="another writer was first",
        symptom=r"CommitFailedException|ConcurrentModification",
        next_step="It is tried again by itself, on the table as it is then.",
        source=_GLUE,
    ),
    IcebergFault(
        code="MA-IC-013",
        error=ServerBusyError,
        meaning="the service is busy or failed for now",
        symptom=r"SlowDown|SLOW_DOWN|Throttl|THROTTL|TooManyRequests|RequestLimitExceeded"
        r"|ServiceUnavailable|SERVICE_UNAVAILABLE|InternalError|InternalFailure"
        r"|INTERNAL_FAILURE|InternalService|OperationTimeoutException|HTTP (?:status )?5\d\d"
        r"|ServerError|database is locked",
        next_step="It is tried again by itself; if it lasts, lower MIGRATION_CONCURRENT_RUNS.",
        wait_s=2,
        source=_S3,
    ),
    IcebergFault(
        code="MA-IC-014",
        error=OperationTimeoutError,
        meaning="no answer came in time",
        symptom=r"Timeout|timed out|TIMEOUT|curlCode: 28",
        next_step="Check that the endpoint is reachable from here, or raise S3_REQUEST_TIMEOUT_S.",
        source=_BOTO,
    ),
    IcebergFault(
        code="MA-IC-015",
        error=ConfigurationError,
        meaning="the endpoint does not speak TLS",
        symptom=r"SSLError.*WRONG_VERSION_NUMBER",
        next_step="Write http:// into AWS_ENDPOINT_URL if that is meant, else correct its port.",
        source=_BOTO,
    ),
    IcebergFault(
        code="MA-IC-016",
        error=ConfigurationError,
        meaning="the endpoint's certificate is not trusted here",
        symptom=r"SSLError.*(?:CERTIFICATE|doesn't match|No such file|Is a directory)"
        r"|curlCode: (?:60|77)",
        next_step="Let AWS_CA_BUNDLE name the PEM file of the authority that signed it, or correct "
        "the host in AWS_ENDPOINT_URL.",
        source=_BOTO,
    ),
    IcebergFault(
        code="MA-IC-017",
        error=ConnectionLostError,
        meaning="the endpoint could not be reached, or the connection broke",
        symptom=r"EndpointConnection|ConnectionError|ConnectionClosed|ConnectionReset"
        r"|ConnectionRefused|ConnectionAborted|NETWORK_CONNECTION|curlCode|BrokenPipe"
        r"|IncompleteRead|ProtocolError|ResponseStreaming|SSLError|HTTPClientError",
        next_step="Check AWS_ENDPOINT_URL, AWS_REGION and the network.",
        source=_BOTO,
    ),
    IcebergFault(
        code="MA-IC-018",
        error=ExistingObjectError,
        meaning="the catalog has something of this name that is no Iceberg table",
        symptom=r"NoSuchIcebergTable|NoSuchPropertyException",
        next_step="Rename or remove it, or give the table another name in migration.yaml.",
        source=_PYICEBERG,
    ),
    IcebergFault(
        code="MA-IC-019",
        error=ObjectNotFoundError,
        meaning="it is not there",
        symptom=r"NoSuchKey|NO_SUCH_KEY|NoSuchTable|NoSuchNamespace|EntityNotFound|FileNotFound"
        r"|RESOURCE_NOT_FOUND|NoSuchUpload|HTTP (?:status )?404",
        next_step="Check its name, and whether it was removed.",
        source=_S3,
    ),
    IcebergFault(
        code="MA-IC-020",
        error=ConfigurationError,
        meaning="the disk is full, or nothing can be written there",
        symptom=r"No space left|quota exceeded|File too large|Read-only file system"
        r"|unable to open database file|database or disk is full",
        next_step="Free space, or correct S3_WAREHOUSE_PATH.",
        source=_ERRNO,
    ),
    IcebergFault(
        code="MA-IC-021",
        error=StatementError,
        meaning="refused",
        next_step="See what the service says about this error.",
        source=_S3,
    ),
)
"""The last one is what no other rule knows."""


def fault_of(symptom: str) -> IcebergFault:
    """Find the rule of an error, by the names and codes that it has."""
    return next(fault for fault in FAULTS if re.search(fault.symptom, symptom))

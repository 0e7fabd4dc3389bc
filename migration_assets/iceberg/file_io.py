"""pyiceberg's file access, with connections that last and small files written in one request."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from pyarrow.fs import AwsStandardS3RetryStrategy, S3FileSystem
from pyiceberg.io.pyarrow import PyArrowFileIO

MAX_ATTEMPTS = "s3.max-attempts"
"""Property beside pyiceberg's own (https://py.iceberg.apache.org/configuration/#s3)."""


class LakeFileIO(PyArrowFileIO):
    """PyArrowFileIO, except for how its S3 file system is made.

    pyiceberg makes a FileIO for each table it loads, and each makes a file system with connections
    of its own; and it leaves pyarrow's defaults: 3 attempts, too few for a bucket that throttles,
    and a multipart upload of three requests for each little manifest. pyiceberg finds this class by
    its name, in the property `py-io-impl`.
    """

    def _initialize_s3_fs(self, netloc: str | None) -> Any:  # noqa: ARG002 - pyiceberg's signature
        return s3_filesystem(
            **{
                name.removeprefix("s3.").replace("-", "_"): str(value)
                for name, value in self.properties.items()
                if name.startswith("s3.")
            }
        )


@lru_cache(maxsize=4)
def s3_filesystem(
    *,
    region: str,
    connect_timeout: str,
    request_timeout: str,
    max_attempts: str,
    endpoint: str | None = None,
    access_key_id: str | None = None,
    secret_access_key: str | None = None,
    session_token: str | None = None,
) -> Any:
    """Return the `pyarrow.fs.S3FileSystem` of these settings, one per process; nobody closes it.

    Args:
        region: AWS region; without one each use would ask S3 for the bucket's.
        connect_timeout: seconds; `request_timeout` likewise.
        request_timeout: see above.
        max_attempts: how often a request is sent at most.
        endpoint: URL of another service than AWS' own.
        access_key_id: key; without one the ambient credentials are used, and renewed.
        secret_access_key: its secret.
        session_token: of temporary credentials.
    """
    return S3FileSystem(
        access_key=access_key_id,
        secret_key=secret_access_key,
        session_token=session_token,
        region=region,
        endpoint_override=endpoint,
        connect_timeout=float(connect_timeout),
        request_timeout=float(request_timeout),
        retry_strategy=AwsStandardS3RetryStrategy(max_attempts=int(max_attempts)),
        # A file below one part goes as one PutObject when it is closed.
        allow_delayed_open=True,
    )

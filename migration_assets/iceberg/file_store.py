"""Files by URI, the same way in S3 and in a local folder.

What is written appears whole or not at all: S3 shows an object when its upload is completed, and
locally a temporary file is renamed. URIs are `s3://bucket/key` or `file:///path`, taken literally
(no percent-decoding), as pyiceberg takes them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import cached_property
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from migration_assets import events
from migration_assets.errors import (
    ObjectNotFoundError,
    TransientError,
)
from migration_assets.iceberg.driver_errors import translate_errors
from migration_assets.iceberg.output_files import (
    PARTS_IN_FLIGHT,
    LocalOutput,
    OutputFile,
    S3Output,
    bucket_and_key,
    local_path,
)

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

DELETE_LIMIT = 1000
"""Objects in one DeleteObjects request
(https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObjects.html)."""

# A body that breaks off is not retried by botocore; asking again is harmless.
_retry_reads = retry(
    retry=retry_if_exception_type(TransientError),
    stop=stop_after_attempt(3),
    wait=wait_random_exponential(multiplier=0.2, max=5),
    before_sleep=events.before_sleep("S3 read"),
    reraise=True,
)


class StoredFile(NamedTuple):
    """A file in the listing of a prefix: its URI, size in bytes, time of last change (UTC)."""

    uri: str
    size: int
    modified: datetime


class FileStore(ABC):
    """Files by URI. Safe to use from many threads. Whoever made it closes it."""

    @abstractmethod
    def open_output(self, uri: str) -> OutputFile:
        """Begin a file of any size; nothing is visible before its `close`."""

    @abstractmethod
    def open_input(self, uri: str) -> IO[bytes]:
        """Open a file for random reads; the caller closes it.

        Raises:
            ObjectNotFoundError: there is no such file.
        """

    @abstractmethod
    def read(self, uri: str) -> bytes:
        """Return the whole content.

        Raises:
            ObjectNotFoundError: there is no such file.
        """

    @abstractmethod
    def read_tail(self, uri: str, count: int) -> tuple[bytes, int]:
        """Return the last `count` bytes (all of a smaller file) and the file's size, in one request.

        Raises:
            ObjectNotFoundError: there is no such file.
        """

    @abstractmethod
    def write(self, uri: str, data: bytes) -> None:
        """Create or replace a small file in one step."""

    @abstractmethod
    def delete(self, uris: Iterable[str]) -> None:
        """Remove files; those that are not there do not matter."""

    @abstractmethod
    def list(self, prefix: str) -> Iterator[StoredFile]:
        """Yield the files whose URI begins with `prefix` and a slash, at any depth."""

    @abstractmethod
    def size(self, uri: str) -> int | None:
        """Return the size in bytes, None when there is no such file."""

    def exists(self, uri: str) -> bool:
        """Return whether there is such a file."""
        return self.size(uri) is not None

    def close(self) -> None:  # noqa: B027 - a local store holds nothing open
        """Let go of connections. Idempotent."""


class LocalFileStore(FileStore):
    """Files in local folders, which are made as needed."""

    def open_output(self, uri: str) -> OutputFile:
        """See `FileStore.open_output`."""
        with translate_errors(uri):
            return LocalOutput(uri, local_path(uri))

    def open_input(self, uri: str) -> IO[bytes]:
        """See `FileStore.open_input`."""
        with translate_errors(uri):
            return local_path(uri).open("rb")

    def read(self, uri: str) -> bytes:
        """See `FileStore.read`."""
        with translate_errors(uri):
            return local_path(uri).read_bytes()

    def read_tail(self, uri: str, count: int) -> tuple[bytes, int]:
        """See `FileStore.read_tail`."""
        with translate_errors(uri), local_path(uri).open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(size - count, 0))
            return file.read(), size

    def write(self, uri: str, data: bytes) -> None:
        """See `FileStore.write`."""
        with self.open_output(uri) as file:
            file.write(data)

    def delete(self, uris: Iterable[str]) -> None:
        """See `FileStore.delete`."""
        for uri in uris:
            with translate_errors(uri):
                local_path(uri).unlink(missing_ok=True)

    def list(self, prefix: str) -> Iterator[StoredFile]:
        """See `FileStore.list`."""
        prefix = prefix.rstrip("/")
        root = local_path(prefix)
        with translate_errors(prefix):
            paths = sorted(path for path in root.rglob("*") if path.is_file())
        for path in paths:
            try:
                status = path.stat()
            except FileNotFoundError:
                continue  # removed since it was listed
            yield StoredFile(
                f"{prefix}/{path.relative_to(root).as_posix()}",
                status.st_size,
                datetime.fromtimestamp(status.st_mtime, UTC),
            )

    def size(self, uri: str) -> int | None:
        """See `FileStore.size`."""
        with translate_errors(uri):
            try:
                return local_path(uri).stat().st_size
            except FileNotFoundError:
                return None


class S3FileStore(FileStore):
    """Files in S3, or in anything that speaks its protocol."""

    def __init__(
        self, make_client: Callable[[], S3Client], make_filesystem: Callable[[], Any]
    ) -> None:
        """Connect to nothing yet.

        Args:
            make_client: called once, at the first request; the client is closed by `close`.
            make_filesystem: likewise, for `open_input`: a `pyarrow.fs.S3FileSystem`.
        """
        self._make_client = make_client
        self._make_filesystem = make_filesystem

    @cached_property
    def client(self) -> S3Client:
        """The boto3 client."""
        return self._make_client()

    @cached_property
    def _filesystem(self) -> Any:
        return self._make_filesystem()

    @cached_property
    def _uploads(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(4 * PARTS_IN_FLIGHT, thread_name_prefix="upload")

    def close(self) -> None:
        """Close the client and end the upload threads."""
        if "_uploads" in self.__dict__:
            self._uploads.shutdown()
            del self.__dict__["_uploads"]
        if "client" in self.__dict__:
            self.client.close()
            del self.__dict__["client"]

    def open_output(self, uri: str) -> OutputFile:
        """See `FileStore.open_output`."""
        return S3Output(uri, self.client, self._uploads)

    def open_input(self, uri: str) -> IO[bytes]:
        """See `FileStore.open_input`."""
        with translate_errors(uri):
            file: IO[bytes] = self._filesystem.open_input_file("/".join(bucket_and_key(uri)))
            return file

    @_retry_reads
    def read(self, uri: str) -> bytes:
        """See `FileStore.read`."""
        bucket, key = bucket_and_key(uri)
        with translate_errors(uri):
            return self.client.get_object(Bucket=bucket, Key=key)["Body"].read()

    @_retry_reads
    def read_tail(self, uri: str, count: int) -> tuple[bytes, int]:
        """See `FileStore.read_tail`."""
        bucket, key = bucket_and_key(uri)
        with translate_errors(uri):
            answer = self.client.get_object(Bucket=bucket, Key=key, Range=f"bytes=-{count}")
            data = answer["Body"].read()
        content_range = answer.get("ContentRange", "")  # "bytes 100-199/200"
        return data, int(content_range.rpartition("/")[2]) if content_range else len(data)

    def write(self, uri: str, data: bytes) -> None:
        """See `FileStore.write`."""
        bucket, key = bucket_and_key(uri)
        with translate_errors(uri):
            self.client.put_object(Bucket=bucket, Key=key, Body=data)

    def delete(self, uris: Iterable[str]) -> None:
        """See `FileStore.delete`."""
        by_bucket: dict[str, list[str]] = {}
        for uri in uris:
            bucket, key = bucket_and_key(uri)
            by_bucket.setdefault(bucket, []).append(key)
        for bucket, keys in by_bucket.items():
            for start in range(0, len(keys), DELETE_LIMIT):
                self._delete_some(bucket, keys[start : start + DELETE_LIMIT])

    def _delete_some(self, bucket: str, keys: list[str]) -> None:
        from botocore.exceptions import ClientError

        target = f"s3://{bucket}/{keys[0]}"
        with translate_errors(target):
            answer = self.client.delete_objects(
                Bucket=bucket, Delete={"Objects": [{"Key": key} for key in keys], "Quiet": True}
            )
            for failure in answer.get("Errors", []):
                target = f"s3://{bucket}/{failure.get('Key', '')}"
                raise ClientError(
                    {"Error": {"Code": failure.get("Code", ""), "Message": target}},
                    "DeleteObjects",
                )

    def list(self, prefix: str) -> Iterator[StoredFile]:
        """See `FileStore.list`."""
        bucket, key = bucket_and_key(f"{prefix.rstrip('/')}/")
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=key)
        with translate_errors(prefix):
            for page in pages:
                for found in page.get("Contents", []):
                    yield StoredFile(
                        f"s3://{bucket}/{found['Key']}", found["Size"], found["LastModified"]
                    )

    def size(self, uri: str) -> int | None:
        """See `FileStore.size`."""
        bucket, key = bucket_and_key(uri)
        try:
            with translate_errors(uri):
                return self.client.head_object(Bucket=bucket, Key=key)["ContentLength"]
        except ObjectNotFoundError:
            return None

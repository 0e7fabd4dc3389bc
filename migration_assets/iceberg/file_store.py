"""Files by URI, the same way in S3 and in a local folder.

What is written appears whole or not at all: S3 shows an object when its upload is completed, and
locally a temporary file is renamed. URIs are `s3://bucket/key` or `file:///path`, taken literally
(no percent-decoding), as pyiceberg takes them.
"""

from __future__ import annotations

import base64
import contextlib
import uuid
import zlib
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, NamedTuple, Self

from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from migration_assets.errors import (
    ConfigurationError,
    MigrationError,
    ObjectNotFoundError,
    TransientError,
)
from migration_assets.iceberg.driver_errors import translate_errors

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

PART_BYTES = 16 * 2**20
"""Bytes of one part of a multipart upload; S3 takes 10,000 parts, so a file has at most 156 GiB."""

PARTS_IN_FLIGHT = 2
"""Parts uploaded while the next is filled; with `PART_BYTES` it bounds an upload's memory."""

DELETE_LIMIT = 1000
"""Objects in one DeleteObjects request
(https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObjects.html)."""

# A body that breaks off is not retried by botocore; asking again is harmless.
_retry_reads = retry(
    retry=retry_if_exception_type(TransientError),
    stop=stop_after_attempt(3),
    wait=wait_random_exponential(multiplier=0.2, max=5),
    reraise=True,
)


class StoredFile(NamedTuple):
    """A file in the listing of a prefix: its URI, size in bytes, time of last change (UTC)."""

    uri: str
    size: int
    modified: datetime


class OutputFile(ABC):
    """A file being written: `close` makes it visible, `abort` leaves no trace of it.

    As a context manager it is closed at the end and aborted on an error. Has what `pyarrow` wants
    of a file object.

    Attributes:
        size: bytes written so far.
    """

    mode = "wb"

    def __init__(self, uri: str) -> None:
        """Make the file; nothing is visible yet."""
        self.uri = uri
        self.size = 0
        self.closed = False
        self._aborted = False

    def __enter__(self) -> Self:
        """Return the file itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close; abort on an error."""
        if kind is None:
            self.close()
        else:
            self.abort()

    def writable(self) -> bool:
        """Whether it can be written to."""
        return not self.closed

    def tell(self) -> int:
        """Position of the next byte."""
        return self.size

    def flush(self) -> None:  # noqa: B027 - there is nothing to do
        """Do nothing: bytes are sent when a part of them is complete, and seen after `close`."""

    def write(self, data: bytes) -> int:
        """Append bytes, which may be kept and must not change; return how many.

        After `abort` they are dropped: pyarrow's writers hand over what they still hold when they
        are let go of.

        Raises:
            ValueError: the file was closed.
        """
        if self._aborted:
            return len(data)
        if self.closed:
            raise ValueError(f"{self.uri} is closed")
        with translate_errors(self.uri):
            self._append(data)
        self.size += len(data)
        return len(data)

    def close(self) -> None:
        """Make the file visible. Idempotent.

        Raises:
            MigrationError: it could not be completed; it is aborted then.
        """
        if self.closed:
            return
        try:
            with translate_errors(self.uri):
                self._publish()
        except BaseException:
            self.abort()
            raise
        self.closed = True

    def abort(self) -> None:
        """Throw away what was written. Idempotent; does nothing after `close`.

        That this fails is no error of its own: the one that led here is, and what is left of an
        upload is invisible until the bucket's lifecycle rule removes it.
        """
        if not self.closed:
            self.closed = self._aborted = True
            with contextlib.suppress(MigrationError), translate_errors(self.uri):
                self._discard()

    @abstractmethod
    def _append(self, data: bytes) -> None: ...

    @abstractmethod
    def _publish(self) -> None: ...

    @abstractmethod
    def _discard(self) -> None: ...


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
            return _LocalOutput(uri, local_path(uri))

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
        return _S3Output(uri, self.client, self._uploads)

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


class _LocalOutput(OutputFile):
    def __init__(self, uri: str, path: Path) -> None:
        super().__init__(uri)
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
        self._file = self._temporary.open("xb")

    def _append(self, data: bytes) -> None:
        self._file.write(data)

    def _publish(self) -> None:
        self._file.close()
        self._temporary.replace(self._path)

    def _discard(self) -> None:
        self._file.close()
        self._temporary.unlink(missing_ok=True)


class _S3Output(OutputFile):
    """Sends parts as they fill up; a file below one part goes as a single PutObject.

    pyarrow's own output streams complete the upload also when they are dropped after an error, so
    a half written object would appear: hence this one.
    """

    def __init__(self, uri: str, client: S3Client, threads: ThreadPoolExecutor) -> None:
        super().__init__(uri)
        self._bucket, self._key = bucket_and_key(uri)
        self._client = client
        self._threads = threads
        self._pieces: list[memoryview] = []
        self._filled = 0
        self._upload_id: str | None = None
        self._etags: list[str] = []
        self._pending: deque[Future[str]] = deque()
        self._parts = 0

    def _append(self, data: bytes) -> None:
        rest = memoryview(data)
        while self._filled + len(rest) >= PART_BYTES:
            missing = PART_BYTES - self._filled
            self._pieces.append(rest[:missing])
            rest = rest[missing:]
            self._send(self._take())
        self._pieces.append(rest)
        self._filled += len(rest)

    def _take(self) -> bytes:
        """What was collected, copied once."""
        part = b"".join(self._pieces)
        self._pieces, self._filled = [], 0
        return part

    def _send(self, part: bytes) -> None:
        if self._upload_id is None:
            made = self._client.create_multipart_upload(Bucket=self._bucket, Key=self._key)
            self._upload_id = made["UploadId"]
        if len(self._pending) >= PARTS_IN_FLIGHT:
            self._etags.append(self._pending.popleft().result())
        self._parts += 1
        self._pending.append(self._threads.submit(self._upload, self._upload_id, self._parts, part))

    def _upload(self, upload_id: str, number: int, part: bytes) -> str:
        return self._client.upload_part(
            Bucket=self._bucket,
            Key=self._key,
            UploadId=upload_id,
            PartNumber=number,
            Body=part,
            ChecksumCRC32=_checksum(part),
        )["ETag"]

    def _publish(self) -> None:
        if self._upload_id is None:
            data = self._take()
            self._client.put_object(
                Bucket=self._bucket, Key=self._key, Body=data, ChecksumCRC32=_checksum(data)
            )
            return
        if self._filled:
            self._send(self._take())
        self._etags += [pending.result() for pending in self._pending]
        self._client.complete_multipart_upload(
            Bucket=self._bucket,
            Key=self._key,
            UploadId=self._upload_id,
            MultipartUpload={
                "Parts": [
                    {"PartNumber": number, "ETag": etag}
                    for number, etag in enumerate(self._etags, start=1)
                ]
            },
        )

    def _discard(self) -> None:
        self._take()
        # A part that lands after the abort would be billed for ever: wait for those on their way.
        for pending in self._pending:
            pending.exception()
        if self._upload_id is not None:
            self._client.abort_multipart_upload(
                Bucket=self._bucket, Key=self._key, UploadId=self._upload_id
            )


def _checksum(data: bytes) -> str:
    """CRC-32 as S3 wants it, which refuses a body that does not have it.

    botocore would add the same, but over TLS as a trailer after a body that it cuts into pieces in
    Python: ten times the CPU
    (https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity-upload.html).
    """
    return base64.b64encode(zlib.crc32(data).to_bytes(4, "big")).decode()


def bucket_and_key(uri: str) -> tuple[str, str]:
    """Split `s3://bucket/key`.

    Raises:
        ConfigurationError: it is no such URI.
    """
    scheme, _, rest = uri.partition("://")
    bucket, _, key = rest.partition("/")
    if scheme not in {"s3", "s3a", "s3n"} or not bucket:
        raise ConfigurationError(
            f"{uri} is not in S3, but the warehouse is.",
            next_step="Use a URI of the form s3://bucket/key.",
        )
    return bucket, key


def local_path(uri: str) -> Path:
    """Return the path of `file:///path`.

    Raises:
        ConfigurationError: it is no such URI.
    """
    if not uri.startswith("file:///"):
        raise ConfigurationError(
            f"{uri} is not a local file, but the warehouse is a local folder.",
            next_step="Use a URI of the form file:///path.",
        )
    return Path(uri.removeprefix("file://"))

"""Files that are being written: they appear whole or not at all."""

from __future__ import annotations

import base64
import contextlib
import uuid
import zlib
from abc import ABC, abstractmethod
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from migration_assets.errors import ConfigurationError, MigrationError
from migration_assets.iceberg.driver_errors import translate_errors

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

PART_BYTES = 16 * 2**20
"""Bytes of one part of a multipart upload; S3 takes 10,000 parts, so a file has at most 156 GiB."""

PARTS_IN_FLIGHT = 2
"""Parts uploaded while the next is filled; with `PART_BYTES` it bounds an upload's memory."""


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


class LocalOutput(OutputFile):
    """A file in a local folder: written under another name, then renamed."""

    def __init__(self, uri: str, path: Path) -> None:
        """Make the folders and the file under its other name."""
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
        try:
            self._file.close()  # writes what is buffered, which a full disk refuses again
        finally:
            self._temporary.unlink(missing_ok=True)


class S3Output(OutputFile):
    """Sends parts as they fill up; a file below one part goes as a single PutObject.

    pyarrow's own output streams complete the upload also when they are dropped after an error, so
    a half written object would appear: hence this one.
    """

    def __init__(self, uri: str, client: S3Client, threads: ThreadPoolExecutor) -> None:
        """Send nothing yet; client and threads are the store's."""
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
        # In our context: what a thread tries again is counted for our step.
        send = partial(copy_context().run, self._upload, self._upload_id, self._parts, part)
        self._pending.append(self._threads.submit(send))

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
            code="MA-IC-108",
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
            code="MA-IC-108",
            next_step="Use a URI of the form file:///path.",
        )
    return Path(uri.removeprefix("file://"))

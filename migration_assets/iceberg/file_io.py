"""pyiceberg's file access: connections that last, small files in one request, metadata read once."""

from __future__ import annotations

import io
import threading
from functools import lru_cache
from typing import Any

from cachetools import LRUCache
from pyarrow.fs import AwsStandardS3RetryStrategy, S3FileSystem
from pyiceberg.io.pyarrow import PyArrowFile, PyArrowFileIO

METADATA_CACHE_BYTES = 64 * 2**20
METADATA_FOLDER = "/metadata/"
"""Part of the path of every file that `_MetadataFile` may keep."""

MAX_ATTEMPTS = "s3.max-attempts"
"""Property beside pyiceberg's own (https://py.iceberg.apache.org/configuration/#s3)."""


class LakeFileIO(PyArrowFileIO):
    """PyArrowFileIO, except for how its S3 file system is made.

    pyiceberg makes a FileIO for each table it loads, and each makes a file system with connections
    of its own; and it leaves pyarrow's defaults: 3 attempts, too few for a bucket that throttles,
    and a multipart upload of three requests for each little manifest. pyiceberg finds this class by
    its name, in the property `py-io-impl`.

    Metadata files of S3 are kept in memory, as they were read or written: they never change once
    they are written (https://iceberg.apache.org/spec/#file-system-operations), and two thirds of
    all requests of a commit and a load were for one that this process had seen.
    """

    def new_input(self, location: str) -> PyArrowFile:
        """Return the file of a location, for reading."""
        return self._kept(super().new_input(location))

    def new_output(self, location: str) -> PyArrowFile:
        """Return the file of a location, for writing."""
        return self._kept(super().new_output(location))

    def _kept(self, file: PyArrowFile) -> PyArrowFile:
        if METADATA_FOLDER in file.location and file.location.startswith("s3"):
            path = self.parse_location(file.location, self.properties)[2]
            return _MetadataFile(file.location, path, s3_filesystem(**self._s3_settings()))
        return file

    def _initialize_s3_fs(self, netloc: str | None) -> Any:  # noqa: ARG002 - pyiceberg's signature
        return s3_filesystem(**self._s3_settings())

    def _s3_settings(self) -> dict[str, str]:
        return {
            name.removeprefix("s3.").replace("-", "_"): str(value)
            for name, value in self.properties.items()
            if name.startswith("s3.")
        }


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
    ca_bundle: str | None = None,
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
        ca_bundle: file of authorities; without one those of the system.
    """
    # Only where it is set: the oldest pyarrow that we take has no such argument.
    tls = {"tls_ca_file_path": ca_bundle} if ca_bundle else {}
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
        **tls,
    )


class _MetadataCache:
    """Contents of metadata files by location, the least recently used going first."""

    def __init__(self, limit: int) -> None:
        self._contents: LRUCache[str, bytes] = LRUCache(limit, getsizeof=len)
        self._lock = threading.Lock()

    def find(self, location: str) -> bytes | None:
        with self._lock:
            return self._contents.get(location)

    def keep(self, location: str, content: bytes) -> None:
        with self._lock:
            if len(content) <= self._contents.maxsize:
                self._contents[location] = content


_cache = _MetadataCache(METADATA_CACHE_BYTES)


class _MetadataFile(PyArrowFile):
    """A file that is read once in a process, or not at all when this process wrote it."""

    def __len__(self) -> int:
        content = _cache.find(self.location)
        return super().__len__() if content is None else len(content)

    def open(self, seekable: bool = True) -> Any:  # noqa: FBT001, FBT002 - pyiceberg's signature
        content = _cache.find(self.location)
        if content is None:
            with super().open(seekable) as stream:
                content = stream.read()
            _cache.keep(self.location, content)
        return io.BytesIO(content)

    def create(self, overwrite: bool = False) -> Any:  # noqa: FBT001, FBT002 - pyiceberg's signature
        return _Recorder(super().create(overwrite), self.location)


class _Recorder(io.RawIOBase):
    """Passes bytes on to a file that is being written, and keeps them once it is complete."""

    def __init__(self, stream: Any, location: str) -> None:
        self._stream = stream
        self._location = location
        self._written = io.BytesIO()

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._written.tell()

    def write(self, data: Any) -> int:
        self._stream.write(data)
        return self._written.write(data)

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if kind is not None:
            # Closed without being kept: what was written is not what was meant.
            self._location = ""
        super().__exit__(kind, error, trace)

    def close(self) -> None:
        if self.closed:
            return
        self._stream.close()
        if self._location:
            _cache.keep(self._location, self._written.getvalue())
        super().close()

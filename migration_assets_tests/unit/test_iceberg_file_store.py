"""Files by URI in a local folder; `sandbox/test_commit.py` does the same over S3."""

import base64
import random
import resource
import zlib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest

from migration_assets.errors import AccessDeniedError, ConfigurationError, ObjectNotFoundError
from migration_assets.iceberg.file_store import LocalFileStore, S3FileStore
from migration_assets.iceberg.output_files import PART_BYTES, bucket_and_key, local_path

STORE = LocalFileStore()


def test_write_read_size_delete(tmp_path: Path) -> None:
    uri = f"file://{tmp_path}/a/b.json"
    assert not STORE.exists(uri)
    assert STORE.size(uri) is None
    STORE.write(uri, b"one")
    STORE.write(uri, b"three")
    assert STORE.read(uri) == b"three"
    assert (STORE.size(uri), STORE.exists(uri)) == (5, True)
    assert STORE.read_tail(uri, 2) == (b"ee", 5)
    assert STORE.read_tail(uri, 99) == (b"three", 5)
    with STORE.open_input(uri) as file:
        file.seek(1)
        assert file.read(2) == b"hr"
    STORE.delete([uri, uri, f"file://{tmp_path}/none"])
    assert not STORE.exists(uri)


def test_missing_files(tmp_path: Path) -> None:
    uri = f"file://{tmp_path}/none"
    for read in (STORE.read, STORE.open_input, lambda u: STORE.read_tail(u, 1)):
        with pytest.raises(ObjectNotFoundError, match="none"):
            read(uri)


def test_list(tmp_path: Path) -> None:
    began = datetime.now(UTC).timestamp() - 2
    for name in ("x/1", "x/y/2 %20", "xx/3"):
        STORE.write(f"file://{tmp_path}/{name}", name.encode())
    for prefix in ("x", "x/"):
        found = list(STORE.list(f"file://{tmp_path}/{prefix}"))
        names = [f"file://{tmp_path}/x/1", f"file://{tmp_path}/x/y/2 %20"]
        assert [file.uri for file in found] == names
        assert [file.size for file in found] == [3, 9]
        assert all(file.modified.timestamp() >= began for file in found)
        assert STORE.read(found[1].uri) == b"x/y/2 %20"
    assert list(STORE.list(f"file://{tmp_path}/none")) == []


def test_output_is_invisible_until_closed(tmp_path: Path) -> None:
    uri = f"file://{tmp_path}/a"
    with STORE.open_output(uri) as file:
        file.write(b"12")
        assert (file.size, file.tell()) == (2, 2)
        assert not STORE.exists(uri)
    assert STORE.read(uri) == b"12"
    file.close()
    file.abort()
    assert STORE.read(uri) == b"12"


def write_and_fail(uri: str) -> None:
    with STORE.open_output(uri) as file:
        file.write(b"12")
        raise ZeroDivisionError


def test_aborted_output_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        write_and_fail(f"file://{tmp_path}/a")
    assert list(tmp_path.iterdir()) == []


def test_what_is_written_after_the_end(tmp_path: Path) -> None:
    uri = f"file://{tmp_path}/a"
    file = STORE.open_output(uri)
    file.abort()
    assert file.write(b"12") == 2  # as pyarrow's writers do when they are let go of
    file.close()
    assert list(tmp_path.iterdir()) == []
    with STORE.open_output(uri) as file:
        file.write(b"12")
    with pytest.raises(ValueError, match="closed"):
        file.write(b"34")


class S3ClientStub:
    """Remembers the parts; what S3 itself does is tested in `sandbox/test_commit.py`."""

    def __init__(self) -> None:
        self.parts: dict[int, bytes] = {}
        self.checksums: dict[int, str] = {}
        self.aborted = False

    def create_multipart_upload(self, **_: str) -> dict[str, str]:
        return {"UploadId": "u"}

    def upload_part(self, **given: Any) -> dict[str, str]:
        number = given["PartNumber"]
        self.parts[number] = given["Body"]
        self.checksums[number] = given["ChecksumCRC32"]
        return {"ETag": str(number)}

    def complete_multipart_upload(self, **_: object) -> None:
        assert not self.aborted

    def abort_multipart_upload(self, **_: str) -> None:
        self.aborted = True

    def close(self) -> None:
        pass


@pytest.mark.parametrize("piece", [1000, PART_BYTES - 1, PART_BYTES, PART_BYTES + 1, 40_000_000])
def test_parts_are_whole_however_they_are_written(piece: int) -> None:
    client = S3ClientStub()
    store = S3FileStore(lambda: cast("Any", client), lambda: None)
    data = random.Random(7).randbytes(2 * PART_BYTES + 17)
    with closing(store), store.open_output("s3://b/k") as file:
        for start in range(0, len(data), piece):
            file.write(data[start : start + piece])
    parts = [client.parts[number] for number in (1, 2, 3)]
    assert [len(part) for part in parts] == [PART_BYTES, PART_BYTES, 17]
    assert b"".join(parts) == data
    crc = base64.b64encode(zlib.crc32(parts[1]).to_bytes(4, "big")).decode()
    assert client.checksums[2] == crc


def test_nothing_is_sent_after_abort() -> None:
    client = S3ClientStub()
    store = S3FileStore(lambda: cast("Any", client), lambda: None)
    with closing(store):
        file = store.open_output("s3://b/k")
        file.write(bytes(PART_BYTES + 1))
        file.abort()
        file.write(bytes(3 * PART_BYTES))
        file.close()
    assert client.aborted
    assert list(client.parts) == [1]


def test_replacing_fails_as_a_whole(tmp_path: Path) -> None:
    uri = f"file://{tmp_path}/a"
    STORE.write(uri, b"old")
    with pytest.raises(ZeroDivisionError):
        write_and_fail(uri)
    assert STORE.read(uri) == b"old"


def test_a_folder_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"")
    with pytest.raises(Exception, match="a/b"):
        STORE.write(f"file://{tmp_path}/a/b", b"")


def test_refusing_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(self: Path, *_: object, **__: object) -> bytes:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(AccessDeniedError):
        STORE.read(f"file://{tmp_path}/a")


@pytest.mark.parametrize("uri", ["s3://b/k", "relative", "file:x", "file://host/x"])
def test_not_local(uri: str) -> None:
    with pytest.raises(ConfigurationError, match="not a local file"):
        local_path(uri)


@pytest.mark.parametrize("uri", ["file:///x", "s3:///k", "b/k", "http://b/k"])
def test_not_in_s3(uri: str) -> None:
    with pytest.raises(ConfigurationError, match="not in S3"):
        bucket_and_key(uri)


def test_bucket_and_key() -> None:
    assert bucket_and_key("s3://b/k/1 %20") == ("b", "k/1 %20")
    assert bucket_and_key("s3a://b") == ("b", "")


@contextmanager
def files_limited_to(size: int) -> Iterator[None]:
    """Let this process write no file beyond a size, as a full disk lets it write none."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def write_pieces(uri: str, pieces: list[bytes]) -> None:
    with STORE.open_output(uri) as file:
        for piece in pieces:
            file.write(piece)


@pytest.mark.parametrize("piece", [2**22, 1000])
def test_a_full_disk_stops_the_file_for_good_and_leaves_nothing(tmp_path: Path, piece: int) -> None:
    uri, data = f"file://{tmp_path}/data/x.parquet", b"x" * piece
    with files_limited_to(2**21), pytest.raises(ConfigurationError) as raised:
        write_pieces(uri, [data] * (2**22 // piece + 1))
    assert f"{uri}: the disk is full, or nothing can be written there" in raised.value.found
    assert "Free space" in raised.value.next_step
    assert list((tmp_path / "data").iterdir()) == []

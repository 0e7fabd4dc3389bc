"""Files by URI in a local folder; `sandbox/test_commit.py` does the same over S3."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from migration_assets.errors import AccessDeniedError, ConfigurationError, ObjectNotFoundError
from migration_assets.iceberg.file_store import LocalFileStore, bucket_and_key, local_path

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

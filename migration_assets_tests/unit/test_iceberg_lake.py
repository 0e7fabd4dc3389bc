"""The client and the Dagster resource: what they open, and with which settings."""

import base64
import hashlib
import io
import subprocess
import sys
import zlib
from pathlib import Path

import dagster as dg
import pytest
import urllib3
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from pydantic import SecretStr

from migration_assets.errors import ConfigurationError
from migration_assets.iceberg.file_store import LocalFileStore, S3FileStore
from migration_assets.iceberg.lake import Lake
from migration_assets.iceberg.output_files import local_path
from migration_assets.iceberg.resource import LakeResource
from migration_assets.setting_choices import CatalogType
from migration_assets.settings import LakeSettings
from migration_assets_tests.unit.iceberg_tables import local_lake, local_settings

SECRET = "s3cr3t-key"


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("S3_BUCKET", "S3_WAREHOUSE_PATH", "ICEBERG_CATALOG_TYPE", "ICEBERG_CATALOG_URI"):
        monkeypatch.delenv(name, raising=False)
    for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN", "PROFILE", "ENDPOINT_URL"):
        monkeypatch.delenv(f"AWS_{name}", raising=False)


def test_local_catalog_lies_in_the_warehouse(tmp_path: Path) -> None:
    with local_lake(tmp_path / "my lake") as lake:
        lake.catalog.create_namespace("x")
        assert (local_path(lake.settings.warehouse) / "catalog.db").exists()
        assert isinstance(lake.store, LocalFileStore)
        assert lake.catalog is lake.catalog


def test_closed_lake_opens_again(tmp_path: Path) -> None:
    lake = local_lake(tmp_path)
    lake.catalog.create_namespace("x")
    lake.close()
    lake.close()
    assert lake.catalog.list_namespaces() == [("x",)]
    lake.close()


def test_sqlite_waits_for_other_writers(tmp_path: Path) -> None:
    with local_lake(tmp_path) as lake:
        assert lake.catalog.properties["uri"].endswith("catalog.db?timeout=60")
    settings = local_settings(tmp_path).model_copy(
        update={"catalog_uri": f"sqlite:///{tmp_path}/own.db?timeout=5"}
    )
    with Lake(settings) as lake:
        assert lake.catalog.properties["uri"].endswith("own.db?timeout=5")


@pytest.mark.parametrize("catalog_type", [CatalogType.REST, CatalogType.SQL])
def test_catalog_uri_is_missing(catalog_type: CatalogType) -> None:
    settings = LakeSettings(catalog_type=catalog_type, bucket="b")
    with pytest.raises(ConfigurationError, match="ICEBERG_CATALOG_URI"), Lake(settings) as lake:
        _ = lake.catalog


def test_bucket_is_missing() -> None:
    with pytest.raises(ConfigurationError, match="S3_BUCKET"):
        _ = Lake(LakeSettings(catalog_type=CatalogType.GLUE)).catalog


def test_half_a_pair_of_keys() -> None:
    with pytest.raises(ConfigurationError, match="belong together"):
        Lake(LakeSettings(bucket="b", access_key_id="k"))


def test_keys_region_endpoint_and_timeouts_reach_every_client() -> None:
    settings = LakeSettings(
        bucket="b",
        region="eu-central-1",
        access_key_id="AKIA",
        secret_access_key=SecretStr(SECRET),
        session_token=SecretStr("token"),
        endpoint_url="http://127.0.0.1:9",
        connect_timeout_s=3,
        request_timeout_s=7,
        max_attempts=2,
    )
    lake = Lake(settings)
    catalog, store = lake.catalog, lake.store
    assert isinstance(store, S3FileStore)
    for client in (catalog.glue, store.client):  # type: ignore[attr-defined]
        assert client.meta.region_name == "eu-central-1"
        assert client.meta.endpoint_url == "http://127.0.0.1:9"
        assert client.meta.config.connect_timeout == 3
        assert client.meta.config.read_timeout == 7
        keys = client._request_signer._credentials
        assert (keys.access_key, keys.secret_key, keys.token) == ("AKIA", SECRET, "token")
    properties = catalog.properties
    assert properties["s3.session-token"] == "token"
    assert properties["s3.region"] == "eu-central-1"
    assert properties["s3.connect-timeout"] == "3"
    filesystem = store._filesystem
    assert filesystem.region == "eu-central-1"
    assert SECRET not in repr(lake) + lake.name + repr(settings)
    lake.close()


def test_ambient_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without keys nothing is passed on, so that each client finds and renews them by itself."""
    lake = Lake(LakeSettings(bucket="b"))
    assert not any("key" in name for name in lake._file_io_properties())
    assert not any("key" in name for name in lake._glue_properties())

    profiles = tmp_path / "credentials"
    profiles.write_text(f"[dev]\naws_access_key_id = AKIADEV\naws_secret_access_key = {SECRET}\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(profiles))
    lake = Lake(LakeSettings(bucket="b", profile="dev"))
    assert lake._glue_properties()["glue.profile-name"] == "dev"
    assert lake._file_io_properties()["s3.access-key-id"] == "AKIADEV"
    store = lake.store
    assert isinstance(store, S3FileStore)
    assert store.client._request_signer._credentials.access_key == "AKIADEV"  # type: ignore[attr-defined]
    lake.close()


def test_missing_profile() -> None:
    with pytest.raises(ConfigurationError, match="AWS_PROFILE"):
        _ = Lake(LakeSettings(bucket="b", profile="nobody")).catalog


@pytest.mark.parametrize(("scheme", "is_signed"), [("https", False), ("http", True)])
def test_uploads_have_a_checksum_and_over_plain_http_a_signature(
    scheme: str, is_signed: bool
) -> None:
    settings = LakeSettings(
        bucket="b",
        endpoint_url=f"{scheme}://s3.test",
        access_key_id="key",
        secret_access_key=SecretStr(SECRET),
    )
    data = b"abc" * 1000
    found: list[AWSPreparedRequest] = []

    def answer(request: AWSPreparedRequest, **_: object) -> AWSResponse:
        found.append(request)
        return AWSResponse(
            request.url, 200, {}, urllib3.HTTPResponse(io.BytesIO(), preload_content=False)
        )

    with Lake(settings) as lake:
        store = lake.store
        assert isinstance(store, S3FileStore)
        store.client.meta.events.register("before-send.s3.PutObject", answer)
        with store.open_output("s3://b/key") as file:
            file.write(data)
    (request,) = found
    header = {
        name.lower(): value.decode() if isinstance(value, bytes) else value
        for name, value in request.headers.items()
    }
    crc = base64.b64encode(zlib.crc32(data).to_bytes(4, "big")).decode()
    sha256 = hashlib.sha256(data).hexdigest()
    assert header["x-amz-checksum-crc32"] == crc
    assert "x-amz-checksum-crc32" in header["authorization"]
    assert header["x-amz-content-sha256"] == (sha256 if is_signed else "UNSIGNED-PAYLOAD")
    assert "transfer-encoding" not in header


def test_timeouts_are_not_left_behind() -> None:
    import boto3

    lake = Lake(LakeSettings(bucket="b", connect_timeout_s=3))
    store = lake.store
    assert isinstance(store, S3FileStore)
    assert store.client.meta.config.connect_timeout == 3
    other = boto3.Session().client("s3", region_name="us-east-1")
    assert other.meta.config.connect_timeout == 60
    other.close()
    lake.close()


def test_resource_opens_nothing_and_is_shared_in_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ICEBERG_CATALOG_TYPE", "sql")
    monkeypatch.setenv("S3_WAREHOUSE_PATH", str(tmp_path / "from environment"))
    resource = LakeResource(warehouse_path=str(tmp_path / "lake"))
    used = []

    @dg.asset
    def one(lake: LakeResource) -> None:
        assert not (tmp_path / "lake").exists()
        lake.lake.catalog.create_namespace("x")
        used.append(lake.lake)

    result = dg.materialize([one], resources={"lake": resource})
    assert result.success
    assert used[0].settings.warehouse == (tmp_path / "lake").as_uri()
    assert LakeResource(warehouse_path=str(tmp_path / "lake")).lake is used[0]
    assert LakeResource().lake is not used[0]
    used[0].close()


def test_resource_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("S3_CONNECT_TIMEOUT_S", "soon")
    with pytest.raises(ConfigurationError, match="S3_CONNECT_TIMEOUT_S"):
        _ = LakeResource().lake


def test_importing_the_resource_loads_no_driver() -> None:
    code = (
        "import sys, migration_assets.iceberg.resource; "
        "print([m for m in ('pyiceberg', 'boto3', 'botocore', 'pyarrow.fs', 'dagster_aws') "
        "if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

"""The lake as a catalog of Spark: properties that anybody may see, and keys that nobody may."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from migration_assets.errors import ConfigurationError, UnsupportedError
from migration_assets.setting_choices import CatalogType
from migration_assets.settings import LakeSettings
from migration_assets.spark.catalog import (
    RUNTIME_JAR,
    catalog_properties,
    java_properties,
    secret_properties,
)
from migration_assets.spark.jars import LOCK_NAME, read_lock
from migration_assets.spark.maintenance import SparkTable

SECRETS = ("the-secret", "the-token")


def lake(**given: Any) -> LakeSettings:
    """Settings that come from nowhere else."""
    plain: dict[str, Any] = {
        "region": "eu-west-3", "access_key_id": None, "secret_access_key": None,
        "session_token": None, "profile": None, "endpoint_url": None, "bucket": "lake",
        "warehouse_path": "warehouse", "catalog_type": CatalogType.GLUE, "catalog_uri": None,
        "connect_timeout_s": 7, "request_timeout_s": 8,
    }  # fmt: skip
    return LakeSettings(_env_file=None, **(plain | given))


def with_keys(**given: Any) -> LakeSettings:
    keys = {"access_key_id": "AKIA", "secret_access_key": "the-secret"}
    return lake(**(keys | given))


def test_glue() -> None:
    assert catalog_properties("lake", lake()) == {
        "spark.sql.catalog.lake": "org.apache.iceberg.spark.SparkCatalog",
        "spark.sql.catalog.lake.cache-enabled": "false",
        "spark.sql.catalog.lake.warehouse": "s3://lake/warehouse",
        "spark.sql.catalog.lake.io-impl": "org.apache.iceberg.aws.s3.S3FileIO",
        "spark.sql.catalog.lake.client.region": "eu-west-3",
        "spark.sql.catalog.lake.http-client.apache.connection-timeout-ms": "7000",
        "spark.sql.catalog.lake.http-client.apache.socket-timeout-ms": "8000",
        "spark.sql.catalog.lake.catalog-impl": "org.apache.iceberg.aws.glue.GlueCatalog",
        "spark.sql.catalog.lake.glue.skip-archive": "true",
    }


def test_an_endpoint_of_one_s_own_is_used_for_both_and_by_path() -> None:
    plain = catalog_properties("lake", lake())
    more = catalog_properties("lake", lake(endpoint_url="http://moto:5000"))
    assert dict(more.items() - plain.items()) == {
        "spark.sql.catalog.lake.glue.endpoint": "http://moto:5000",
        "spark.sql.catalog.lake.s3.endpoint": "http://moto:5000",
        "spark.sql.catalog.lake.s3.path-style-access": "true",
    }


def test_rest() -> None:
    found = catalog_properties("l", lake(catalog_type=CatalogType.REST, catalog_uri="http://c"))
    assert found["spark.sql.catalog.l.type"] == "rest"
    assert found["spark.sql.catalog.l.uri"] == "http://c"
    assert found["spark.sql.catalog.l.io-impl"] == "org.apache.iceberg.aws.s3.S3FileIO"
    assert "spark.sql.catalog.l.catalog-impl" not in found


def test_rest_without_its_uri_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="ICEBERG_CATALOG_URI"):
        catalog_properties("lake", lake(catalog_type=CatalogType.REST))


@pytest.mark.parametrize("bucket", ["lake", None])
def test_a_sql_catalog_is_refused_with_the_way_out(bucket: str | None) -> None:
    with pytest.raises(UnsupportedError, match="engine pyiceberg"):
        catalog_properties("lake", lake(catalog_type=CatalogType.SQL, bucket=bucket))


def test_without_keys_the_jvm_looks_for_its_own() -> None:
    assert secret_properties("lake", lake()) == {}
    assert java_properties(lake()) == {}
    assert java_properties(lake(profile="work")) == {"aws.profile": "work"}


def test_keys_go_to_both_clients_before_a_profile() -> None:
    given = with_keys(session_token="the-token", profile="work")
    assert secret_properties("lake", given) == {
        "spark.sql.catalog.lake.s3.access-key-id": "AKIA",
        "spark.sql.catalog.lake.s3.secret-access-key": "the-secret",
        "spark.sql.catalog.lake.s3.session-token": "the-token",
    }
    assert java_properties(given) == {
        "aws.accessKeyId": "AKIA",
        "aws.secretAccessKey": "the-secret",
        "aws.sessionToken": "the-token",
    }


def test_what_anybody_may_see_holds_no_secret() -> None:
    shown = str(catalog_properties("lake", with_keys(session_token="the-token")))
    assert not any(secret in shown for secret in SECRETS)


def test_the_extensions_jar_is_in_the_lock() -> None:
    lock = read_lock(Path(__file__).parents[2] / "jars" / LOCK_NAME)
    assert [jar.file_name for jar in lock if jar.file_name.startswith(RUNTIME_JAR)]


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("orders", "CALL `lake`.system.f(table => '`lake`.`dbo`.`orders`', a => 1)"),
        ("o`r'd.er\\s", "CALL `lake`.system.f(table => '`lake`.`dbo`.`o``r\\'d.er\\\\s`', a => 1)"),
    ],
)
def test_a_call_names_the_table_literally(name: str, call: str) -> None:
    assert SparkTable("lake", "dbo", name).call("f", a="1") == call

"""Settings: where values come from, what errors name, and that secrets stay secret."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from migration_assets.errors import ConfigurationError
from migration_assets.renamed_settings import RENAMED, warn_of_renamed_settings
from migration_assets.setting_choices import ApplicationIntent, CatalogType, EncryptMode
from migration_assets.settings import (
    LakeSettings,
    MssqlSettings,
    ProjectSettings,
    SparkSettings,
    StarRocksSettings,
    export_env_file,
)

SECRET = "pa55-w0rd-nobody-may-see"
MSSQL = {"HOST": "db", "USER": "sa", "PASSWORD": SECRET, "DATABASE": "shop"}


@pytest.fixture(autouse=True)
def _clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty folder, and none of the machine's own variables."""
    import os

    prefixes = ("MSSQL_", "AWS_", "S3_", "ICEBERG_", "STARROCKS_", "SPARK_", "MIGRATION_")
    for name in [*os.environ, *RENAMED]:
        if name.startswith(prefixes) or name in RENAMED:
            monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def mssql(monkeypatch: pytest.MonkeyPatch) -> Callable[..., MssqlSettings]:
    """Load the settings of SQL Server with these variables beside the required ones."""

    def load(**given: str) -> MssqlSettings:
        for name, value in (MSSQL | given).items():
            monkeypatch.setenv(f"MSSQL_{name}", value)
        return MssqlSettings.load()

    return load


def dotenv(*lines: str) -> None:
    Path(".env").write_text("\n".join(lines) + "\n", encoding="utf-8")


def test_the_environment_goes_before_the_file_and_an_argument_before_both(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dotenv("AWS_REGION=eu-north-1")
    assert LakeSettings.load().region == "eu-north-1"
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    assert LakeSettings.load().region == "eu-west-1"
    assert LakeSettings.load(region="eu-central-1").region == "eu-central-1"


def test_an_empty_value_counts_as_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    dotenv("AWS_REGION=eu-north-1", "S3_BUCKET=", "AWS_ACCESS_KEY_ID=")
    monkeypatch.setenv("AWS_REGION", "")
    found = LakeSettings.load()
    assert found.region == "eu-north-1"
    assert found.bucket is None
    assert found.access_key_id is None


def test_blanks_around_a_value_are_cut_off_but_not_those_of_a_password(
    mssql: Callable[..., MssqlSettings],
) -> None:
    found = mssql(HOST=" db ", USER="sa\n", PASSWORD=" p w ")
    assert (found.host, found.user, found.password.get_secret_value()) == ("db", "sa", " p w ")


def test_variables_that_are_not_ours_are_left_alone() -> None:
    dotenv("SOMETHING_ELSE=1", "MIGRATION_PLAN=other.json")
    assert ProjectSettings.load().plan == "other.json"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("yes", EncryptMode.YES), ("true", EncryptMode.YES), ("True", EncryptMode.YES),
        ("1", EncryptMode.YES), ("mandatory", EncryptMode.YES), (" YES ", EncryptMode.YES),
        ("no", EncryptMode.NO), ("false", EncryptMode.NO), ("0", EncryptMode.NO),
        ("optional", EncryptMode.NO), ("strict", EncryptMode.STRICT),
    ],
)  # fmt: skip
def test_encryption_has_the_names_that_drivers_use(
    mssql: Callable[..., MssqlSettings], given: str, expected: EncryptMode
) -> None:
    assert mssql(ENCRYPT=given).encrypt is expected


def test_what_sql_server_s_settings_mean_when_nothing_is_said(
    mssql: Callable[..., MssqlSettings],
) -> None:
    found = mssql()
    assert (found.encrypt, found.trust_server_certificate) == (EncryptMode.YES, False)
    assert found.application_intent is ApplicationIntent.READ_WRITE
    assert found.server == "db,1433"


def test_a_named_instance_finds_its_own_port(mssql: Callable[..., MssqlSettings]) -> None:
    assert mssql(HOST="db\\sales", PORT="1434").server == "db\\sales"


@pytest.mark.parametrize(
    ("load", "named"),
    [
        (MssqlSettings.load, ["MSSQL_HOST", "MSSQL_USER", "MSSQL_PASSWORD", "MSSQL_DATABASE"]),
        (StarRocksSettings.load, ["STARROCKS_HOST", "STARROCKS_USER"]),
    ],
)
def test_each_missing_variable_is_named(load: Callable[[], object], named: list[str]) -> None:
    with pytest.raises(ConfigurationError, match="migration-assets init") as raised:
        load()
    for name in named:
        assert f"{name} is not set" in str(raised.value)


@pytest.mark.parametrize(
    ("name", "value", "load"),
    [
        ("MSSQL_PORT", "many", MssqlSettings.load),
        ("MSSQL_PORT", "70000", MssqlSettings.load),
        ("MSSQL_ENCRYPT", "maybe", MssqlSettings.load),
        ("MSSQL_APPLICATION_INTENT", "Sometimes", MssqlSettings.load),
        ("STARROCKS_INSERT_TIMEOUT_S", "0", StarRocksSettings.load),
        ("ICEBERG_CATALOG_TYPE", "hadoop", LakeSettings.load),
        ("S3_MAX_ATTEMPTS", "-1", LakeSettings.load),
        ("SPARK_SQL_SHUFFLE_PARTITIONS", "x", SparkSettings.load),
        ("MIGRATION_CONCURRENT_RUNS", "0", ProjectSettings.load),
    ],
)
def test_a_malformed_variable_is_named_with_what_is_expected(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, load: Callable[[], object]
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match=rf"{name}: input should be"):
        load()


def test_a_file_that_cannot_be_read_is_named() -> None:
    Path(".env").write_bytes(b"MSSQL_HOST=\xff\xfe\n")
    with pytest.raises(ConfigurationError, match=r"\.env cannot be read"):
        MssqlSettings.load()


@pytest.mark.parametrize("line", ["MSSQL_PORT:1434", "[mssql]", "---", "MSSQL_PORT;1434"])
def test_a_line_that_would_be_a_name_without_a_value_but_is_none_is_refused(line: str) -> None:
    dotenv("# a variable that the environment may have", "S3_BUCKET", line)
    with pytest.raises(ConfigurationError, match=r"\.env, line 3: not understood"):
        ProjectSettings.load()


def test_secrets_are_in_no_text_of_the_settings(
    mssql: Callable[..., MssqlSettings], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "STARROCKS_PASSWORD",
                 "STARROCKS_AWS_SECRET_ACCESS_KEY"):  # fmt: skip
        monkeypatch.setenv(name, SECRET)
    monkeypatch.setenv("STARROCKS_HOST", "sr")
    monkeypatch.setenv("STARROCKS_USER", "root")
    for found in (mssql(), LakeSettings.load(), StarRocksSettings.load()):
        texts = [repr(found), str(found), found.model_dump_json(), json.dumps(str(vars(found)))]
        assert not [text for text in texts if SECRET in text]
    assert mssql().password.get_secret_value() == SECRET


def test_secrets_are_in_no_error(mssql: Callable[..., MssqlSettings]) -> None:
    with pytest.raises(ConfigurationError) as raised:
        mssql(PORT=SECRET, USER="", ENCRYPT=SECRET)
    shown: list[Any] = [raised.value, raised.value.__cause__, raised.value.__context__]
    assert SECRET not in str(raised.value)
    assert raised.value.__suppress_context__
    assert not [text for text in map(str, shown) if SECRET in text]


def test_a_setting_of_the_old_script_gives_one_warning_with_its_replacement(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("BATCH_SIZE", "1000")
    monkeypatch.setenv("GLUE_DATABASE", "")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warn_of_renamed_settings()
    assert [str(one.message) for one in caught] == [
        "BATCH_SIZE has no effect any more; use MSSQL_BATCH_ROWS."
    ]


def test_the_file_is_exported_for_what_reads_the_environment_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dotenv("MSSQL_HOST=file", "MSSQL_USER=file", "MSSQL_PORT=", "BATCH_SIZE=5")
    monkeypatch.setattr("os.environ", {"MSSQL_USER": "mine", "MSSQL_HOST": ""})
    export_env_file()
    import os

    assert os.environ == {"MSSQL_HOST": "file", "MSSQL_USER": "mine", "BATCH_SIZE": "5"}
    with pytest.warns(UserWarning, match="BATCH_SIZE has no effect"):
        warn_of_renamed_settings()


def test_a_name_in_small_letters_is_exported_as_it_is_looked_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dotenv("mssql_host=file", "Aws_Region=eu-north-1", "MSSQL_USER=big", "mssql_user=small",
           "mssql_database=small", "http_proxy=left")  # fmt: skip
    assert LakeSettings.load().region == "eu-north-1"
    monkeypatch.setattr("os.environ", {"MSSQL_DATABASE": "mine"})
    export_env_file()
    import os

    assert os.environ["MSSQL_HOST"] == "file"
    assert os.environ["AWS_REGION"] == "eu-north-1"
    assert os.environ["MSSQL_DATABASE"] == "mine"
    assert os.environ["http_proxy"] == "left"
    assert "HTTP_PROXY" not in os.environ


def test_no_renamed_setting_is_one_that_is_read() -> None:
    prefixes = {"MSSQL_": MssqlSettings, "STARROCKS_": StarRocksSettings, "SPARK_": SparkSettings}
    for name in RENAMED:
        for prefix, cls in prefixes.items():
            assert name.removeprefix(prefix).lower() not in cls.model_fields


def test_the_warehouse_is_in_the_bucket() -> None:
    assert LakeSettings.load(bucket="lake").warehouse == "s3://lake/warehouse"
    assert LakeSettings.load(bucket="lake", warehouse_path="/a/b/").warehouse == "s3://lake/a/b"
    assert LakeSettings.load(bucket="lake", warehouse_path="/").warehouse == "s3://lake"


def test_an_address_is_no_path_in_the_bucket(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would be `s3://lake/s3://lake/warehouse`, and nobody would look for tables there."""
    monkeypatch.setenv("S3_WAREHOUSE_PATH", "s3://lake/warehouse")
    with pytest.raises(ConfigurationError, match="S3_WAREHOUSE_PATH: a path is needed"):
        LakeSettings.load(bucket="lake")


def test_without_a_bucket_only_a_local_catalog_has_a_warehouse(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="S3_BUCKET is not set"):
        _ = LakeSettings.load().warehouse
    local = LakeSettings.load(catalog_type=CatalogType.SQL)
    assert local.local
    assert local.warehouse == f"file://{tmp_path}/warehouse"
    assert not LakeSettings.load(catalog_type=CatalogType.SQL, bucket="lake").local


def test_as_many_runs_as_cores_unless_said(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    assert ProjectSettings.load().run_slots == os.cpu_count()
    monkeypatch.setenv("MIGRATION_CONCURRENT_RUNS", "7")
    assert ProjectSettings.load().run_slots == 7

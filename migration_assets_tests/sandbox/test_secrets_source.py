"""Passwords from Secrets Manager, over moto's server in the aws stand-in."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest

from migration_assets.errors import (
    ConfigurationError,
    ConnectionLostError,
    MigrationError,
    ObjectNotFoundError,
)
from migration_assets.sandbox.launcher import Sandbox
from migration_assets.secrets_source import read_password
from migration_assets.settings import LakeSettings, MssqlSettings, StarRocksSettings

PASSWORD = "fr0m-the-vault"
SECRETS = {
    "plain": PASSWORD,
    "rds": json.dumps({"username": "sa", "password": PASSWORD}),
    "digits": "12345",
    "no-password": json.dumps({"username": "sa"}),
    "not-text": json.dumps({"password": 5}),
}


@pytest.fixture(scope="module")
def aws() -> Iterator[dict[str, str]]:
    """Settings of a running stand-in that has the secrets."""
    with Sandbox(["aws"]) as sandbox:
        client = boto3.client(
            "secretsmanager",
            endpoint_url=sandbox.settings["AWS_ENDPOINT_URL"],
            aws_access_key_id=sandbox.settings["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=sandbox.settings["AWS_SECRET_ACCESS_KEY"],
            region_name=sandbox.settings["AWS_REGION"],
        )
        for name, text in SECRETS.items():
            client.create_secret(Name=name, SecretString=text)
        client.create_secret(Name="bytes", SecretBinary=b"\x00")
        client.close()
        yield sandbox.settings


@pytest.fixture(autouse=True)
def _environment(aws: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("MSSQL_PASSWORD", "STARROCKS_PASSWORD", "AWS_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    for name, value in aws.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize(("name", "expected"), [("plain", PASSWORD), ("rds", PASSWORD),
                                                ("digits", "12345")])  # fmt: skip
def test_a_password_is_the_secret_or_its_password_key(name: str, expected: str) -> None:
    found = read_password(name, LakeSettings.load())
    assert found.get_secret_value() == expected
    assert expected not in repr(found)


@pytest.mark.parametrize(
    ("name", "kind", "said"),
    [
        ("missing", ObjectNotFoundError, "Secret missing in us-east-1 does not exist"),
        ("no-password", ConfigurationError, "no-password is a JSON object without"),
        ("not-text", ConfigurationError, "not-text is a JSON object without"),
        ("bytes", ConfigurationError, "bytes holds no text"),
    ],
)
def test_a_secret_without_a_password_is_an_error_that_names_it(
    name: str, kind: type[MigrationError], said: str
) -> None:
    with pytest.raises(kind, match=said) as raised:
        read_password(name, LakeSettings.load())
    assert raised.value.next_step


def test_a_service_that_is_not_there_may_be_tried_again() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        closed = probe.getsockname()[1]
    with pytest.raises(ConnectionLostError, match="cannot be reached"):
        read_password("plain", LakeSettings.load(endpoint_url=f"http://127.0.0.1:{closed}"))


def test_sql_server_s_password_comes_from_the_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"HOST": "db", "USER": "sa", "DATABASE": "shop"}.items():
        monkeypatch.setenv(f"MSSQL_{name}", value)
    monkeypatch.setenv("MSSQL_PASSWORD_SECRET_ID", "rds")
    found = MssqlSettings.load()
    assert found.password.get_secret_value() == PASSWORD
    assert PASSWORD not in repr(found)


def test_a_password_that_is_given_goes_before_the_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STARROCKS_HOST", "sr")
    monkeypatch.setenv("STARROCKS_USER", "root")
    monkeypatch.setenv("STARROCKS_PASSWORD_SECRET_ID", "plain")
    assert StarRocksSettings.load().password.get_secret_value() == PASSWORD
    monkeypatch.setenv("STARROCKS_PASSWORD", "given")
    monkeypatch.setenv("STARROCKS_PASSWORD_SECRET_ID", "missing")
    assert StarRocksSettings.load().password.get_secret_value() == "given"


def test_a_secret_that_is_not_there_is_an_error_of_the_settings(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MSSQL_PASSWORD_SECRET_ID", "missing")
    with pytest.raises(ObjectNotFoundError, match="missing"):
        MssqlSettings.load(host="db", user="sa", database="shop")

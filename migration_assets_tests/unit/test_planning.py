"""What a plan needs of settings that are not SQL Server's."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import pytest

from migration_assets.operations.planning import replication_num


@pytest.fixture(autouse=True)
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting of StarRocks, and no `.env`."""
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith("STARROCKS_"):
            monkeypatch.delenv(name)


@pytest.mark.parametrize(("value", "expected"), [(None, 3), ("", 3), ("1", 1), ("2", 2)])
def test_replicas_need_no_other_setting(
    monkeypatch: pytest.MonkeyPatch, value: str | None, expected: int
) -> None:
    if value is not None:
        monkeypatch.setenv("STARROCKS_REPLICATION_NUM", value)
    # A password in Secrets Manager must not be fetched to print a plan.
    monkeypatch.setenv("STARROCKS_PASSWORD_SECRET_ID", "nobody/knows")
    monkeypatch.setattr("migration_assets.secrets_source.read_password", _refuse)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert replication_num() == expected


def test_replicas_are_read_from_env_file(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("STARROCKS_REPLICATION_NUM=1\n", encoding="utf-8")
    assert replication_num() == 1


def test_a_malformed_number_is_told_and_the_plan_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STARROCKS_REPLICATION_NUM", "many")
    with pytest.warns(UserWarning, match=r"STARROCKS_REPLICATION_NUM.*counted for 3 replicas\."):
        assert replication_num() == 3


def _refuse(*_: object) -> str:
    raise AssertionError("asked AWS for a password")

"""What is bound, unpickled, checked and put into drivers' configurations; without any server."""

from __future__ import annotations

import ast
import os
import threading
from pathlib import Path

import pytest

import migration_assets
from migration_assets.errors import ConfigurationError
from migration_assets.mssql import freetds
from migration_assets.mssql.jdbc import jdbc_url
from migration_assets.mssql.odbc import connection_string
from migration_assets.settings import MssqlSettings

PACKAGE = Path(migration_assets.__file__).parent


def settings(**changes: object) -> MssqlSettings:
    given = {"host": "db", "user": "u", "password": "p", "database": "shop"}
    return MssqlSettings(_env_file=None, **given | changes)  # type: ignore[arg-type] # by name


def importers(*names: str) -> set[str]:
    """The modules of the package that import one of these."""
    found = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            imported = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            imported += [str(node.module)] if isinstance(node, ast.ImportFrom) else []
            if set(names) & {name.split(".")[0] for name in imported}:
                found.add(path.relative_to(PACKAGE).as_posix())
    return found


def test_nothing_is_unpickled_but_what_spark_s_tasks_give_their_driver() -> None:
    assert importers("pickle", "cloudpickle", "dill", "marshal", "shelve") == {"spark/extract.py"}


def test_dagster_s_ui_is_bound_to_loopback_by_default() -> None:
    from dagster._cli.dev import dev_command
    from dagster_webserver.cli import dagster_webserver

    # `dagster dev` hands its own host on only where one was given.
    hosts = {
        command.name: next(option.default for option in command.params if option.name == "host")
        for command in (dev_command, dagster_webserver)
    }
    assert hosts["dagster-webserver"] == "127.0.0.1"
    assert hosts["dev"] not in {"0.0.0.0", "::"}


@pytest.mark.parametrize(
    ("changes", "verifies"),
    [
        ({}, True),
        ({"trust_server_certificate": "yes"}, False),
        ({"encrypt": "strict"}, True),
        ({"encrypt": "strict", "trust_server_certificate": "yes"}, True),
        ({"encrypt": "no"}, False),
    ],
)
def test_freetds_checks_certificates_exactly_where_odbc_does(
    changes: dict[str, str], verifies: bool, tmp_path: Path
) -> None:
    authorities = tmp_path / "authorities.pem"
    authorities.touch()
    given = settings(**changes, ca_file=str(authorities), host_name_in_certificate="db.example")
    text = freetds.configuration(given)
    assert given.verifies is verifies
    assert bool(text) is verifies
    if verifies:
        assert f"ca file = {authorities}\ncheck certificate hostname = yes\n" in text
        assert "certificate hostname = db.example\n" in text
    assert ("encryption = strict" in text) is (changes.get("encrypt") == "strict")


def test_without_a_file_of_authorities_nothing_is_connected_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(freetds, "AUTHORITIES", ("/no/such/file",))
    monkeypatch.setenv("SSL_CERT_FILE", "/no/such/file")
    with pytest.raises(ConfigurationError, match=r"db,1433 cannot be checked.*SSL_CERT_FILE"):
        freetds.configuration(settings(ca_file=None))
    assert freetds.configuration(settings(encrypt="no")) == ""


def test_a_name_in_the_certificate_reaches_each_driver_and_cannot_end_its_value() -> None:
    given = settings(host_name_in_certificate="db.example")
    assert ";HostNameInCertificate={db.example};" in connection_string(given)
    assert ";hostNameInCertificate={db.example}" in jdbc_url(given)
    assert "HostNameInCertificate" not in connection_string(settings())
    for name in ("a b", "a;Encrypt=no", "a}b", "a\nencryption = off"):
        with pytest.raises(ConfigurationError, match="MSSQL_HOST_NAME_IN_CERTIFICATE"):
            MssqlSettings.load(
                _env_file=None, host="db", user="u", password="p", database="shop",
                host_name_in_certificate=name,
            )  # fmt: skip


def test_connections_that_want_another_configuration_wait(tmp_path: Path) -> None:
    authorities = tmp_path / "authorities.pem"
    authorities.touch()
    checking, trusting = settings(ca_file=str(authorities)), settings(encrypt="no")
    with freetds.configured(trusting):
        before = os.environ.get(freetds.VARIABLE)
    seen: list[str | None] = []

    def trust() -> None:
        with freetds.configured(trusting):
            seen.append(os.environ.get(freetds.VARIABLE))

    other = threading.Thread(target=trust)
    with freetds.configured(checking), freetds.configured(checking):
        named = os.environ[freetds.VARIABLE]
        assert Path(named).read_text() == freetds.configuration(checking)
        other.start()
        other.join(0.2)
        assert other.is_alive()
        assert os.environ[freetds.VARIABLE] == named
    other.join(10)
    assert seen == [before]


def test_a_configuration_that_somebody_cleaned_up_is_written_again(tmp_path: Path) -> None:
    """Without its file FreeTDS checks no certificate, and says nothing of it."""
    authorities = tmp_path / "authorities.pem"
    authorities.touch()
    checking = settings(ca_file=str(authorities))
    for _ in range(2):
        with freetds.configured(checking):
            named = Path(os.environ[freetds.VARIABLE])
            assert named.read_text() == freetds.configuration(checking)
            assert named.stat().st_mode & 0o077 == 0
        named.unlink()
    with freetds.configured(settings(encrypt="no")):  # as other tests expect it
        pass

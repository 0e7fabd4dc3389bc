"""TLS to SQL Server's stand-in with both drivers: what is encrypted, who is believed, what is said."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from migration_assets.errors import (
    AccessDeniedError,
    ConfigurationError,
    ConnectionLimitError,
    ConnectionLostError,
    MigrationError,
    ServerBusyError,
)
from migration_assets.iceberg.lake import Lake
from migration_assets.mssql.client import SqlServer
from migration_assets.sandbox.control import Fault
from migration_assets.sandbox.launcher import Sandbox
from migration_assets.settings import LakeSettings, StarRocksSettings
from migration_assets.starrocks.resource import StarRocks
from migration_assets_tests.sandbox import sources

ENCRYPTED = "SELECT encrypt_option FROM sys.dm_exec_connections WHERE session_id = @@SPID"


def by_freetds(client: SqlServer) -> str:
    return str(client.query(ENCRYPTED)[0][0])


def by_odbc(client: SqlServer) -> str:
    with client.arrow_connection() as connection, connection.cursor() as cursor:
        cursor.execute(ENCRYPTED)
        return str(cursor.fetchall()[0][0])


both_drivers = pytest.mark.parametrize("ask", [by_freetds, by_odbc])


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("certificate") / "own.pem"


@pytest.fixture(scope="module")
def sandbox(certificate: Path) -> Iterator[Sandbox]:
    """The server as it is by default: it encrypts for who wants it, with its own certificate."""
    with sources.running("", certificate.parent, f"--certificate={certificate}") as started:
        yield started


@pytest.fixture(autouse=True)
def no_authorities_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test exports is taken back."""
    monkeypatch.setenv("SSL_CERT_FILE", "taken back")
    del os.environ["SSL_CERT_FILE"]


def refusal(ask: Callable[[SqlServer], str], sandbox: Sandbox, **changes: object) -> MigrationError:
    with sources.client(sandbox, **changes) as client, pytest.raises(MigrationError) as caught:
        ask(client)
    return caught.value


@both_drivers
@pytest.mark.parametrize("encrypt", ["yes", "strict"])
def test_a_certificate_that_nobody_signed_is_refused(
    sandbox: Sandbox, ask: Callable[[SqlServer], str], encrypt: str
) -> None:
    # `strict` does not heed what is trusted; `yes` is told not to.
    trust = encrypt == "strict"
    error = refusal(ask, sandbox, encrypt=encrypt, trust_server_certificate=trust)
    assert isinstance(error, ConfigurationError)
    assert f"SQL Server 127.0.0.1,{sandbox.port('sqlserver')} is not trusted here" in error.found
    assert "self-signed certificate" in error.found
    assert "MSSQL_TRUST_SERVER_CERTIFICATE=yes" in error.next_step
    assert "SSL_CERT_FILE" in error.next_step


@both_drivers
def test_everything_is_encrypted_unless_the_setting_is_no(
    sandbox: Sandbox, ask: Callable[[SqlServer], str]
) -> None:
    with sources.client(sandbox) as client:  # as the sandbox's own settings are
        assert ask(client) == "TRUE"
    with sources.client(sandbox, encrypt="no", trust_server_certificate="no") as client:
        assert ask(client) == "FALSE"


@both_drivers
def test_one_that_an_authority_signed_is_believed_for_its_own_names(
    sandbox: Sandbox, certificate: Path, ask: Callable[[SqlServer], str]
) -> None:
    known = {"trust_server_certificate": "no", "ca_file": str(certificate)}
    for changes in (
        {"host": "localhost"},
        {"host": "localhost", "encrypt": "strict"},
        {"host_name_in_certificate": "localhost"},
    ):
        with sources.client(sandbox, **known | changes) as client:
            assert ask(client) == "TRUE"
    error = refusal(ask, sandbox, **known, host_name_in_certificate="db.example")
    assert isinstance(error, ConfigurationError)
    assert "is for another host" in error.found
    assert "MSSQL_HOST_NAME_IN_CERTIFICATE" in error.next_step


def test_a_file_of_authorities_that_is_not_there(sandbox: Sandbox) -> None:
    error = refusal(by_freetds, sandbox, trust_server_certificate="no", ca_file="/no/such.pem")
    assert isinstance(error, ConfigurationError)
    assert "SSL_CERT_FILE names /no/such.pem, which cannot be read" in error.found


def test_a_server_without_tls_where_it_is_demanded(tmp_path: Path) -> None:
    with sources.running("", tmp_path, "--encryption=none") as plain:
        for ask in (by_freetds, by_odbc):
            error = refusal(ask, plain)
            assert isinstance(error, ConfigurationError)
            assert "agree on no encryption" in error.found
            assert "MSSQL_ENCRYPT=no" in error.next_step
            # One before 2022 hangs up at the first packet, as a broken connection does.
            error = refusal(ask, plain, encrypt="strict")
            assert isinstance(error, ConnectionLostError)
            assert "MSSQL_ENCRYPT=strict needs SQL Server 2022" in error.next_step
            with sources.client(plain, encrypt="no") as client:
                assert ask(client) == "FALSE"


def test_a_server_that_demands_it_and_one_that_gives_few_connections(tmp_path: Path) -> None:
    words = ["--encryption=required"]
    with (
        sources.running("", tmp_path, *words, limits={"sqlserver": 1}) as forced,
        sources.client(forced, encrypt="no") as client,
    ):

        def ask_alone(ask: Callable[[SqlServer], str]) -> str:
            found = ask(client)
            client.close()
            assert sources.open_connections(forced.control("sqlserver")) == 0
            return found

        assert ask_alone(by_freetds) == "TRUE"
        assert ask_alone(by_odbc) == "TRUE"
        with client.connection():
            # The second time pymssql has no words for it, and ODBC is asked.
            for ask in (by_freetds, by_freetds, by_odbc):
                error = refusal(ask, forced)
                assert isinstance(error, ConnectionLimitError)
                assert "maximum number of '1' user connections" in error.found
        client.close()
        assert sources.open_connections(forced.control("sqlserver")) == 0
        # pymssql goes on saying 17809, though the server says 18456.
        assert isinstance(refusal(by_freetds, forced, password="wrong"), AccessDeniedError)
        # Nor is it taken at that word when there is no other by the time ODBC asks.
        once = Fault("error", number=40613, message="not available", match="^LOGIN", times=1)
        forced.control("sqlserver").arm(once)
        error = refusal(by_freetds, forced)
        assert isinstance(error, ServerBusyError)
        assert "for a reason that the driver does not pass on" in error.found
        assert ask_alone(by_freetds) == "TRUE"


# -- StarRocks -------------------------------------------------------------------------------------


def starrocks(sandbox: Sandbox, **changes: object) -> StarRocks:
    given = {k.removeprefix("STARROCKS_").lower(): v for k, v in sandbox.settings.items()}
    return StarRocks(StarRocksSettings(_env_file=None, **given | changes))


def cipher(client: StarRocks) -> str:
    with client, client.connection() as wire:
        assert client.query("SELECT 1") == [(1,)]
        return wire.cipher


def test_starrocks_over_tls_by_setting(tmp_path: Path) -> None:
    own = tmp_path / "own.pem"
    words = {"starrocks": [f"--certificate={own}"]}
    with Sandbox(["starrocks"], extra_arguments=words) as sandbox:
        known = {"tls": "yes", "tls_ca_file": str(own)}
        for _ in range(20):  # the first record may arrive with the request for TLS, or after it
            assert cipher(starrocks(sandbox, **known)).startswith("TLSv1.3 ")
        assert cipher(starrocks(sandbox)).startswith("TLSv1.3 ")
        assert cipher(starrocks(sandbox, tls="no")) == ""
        trusting = starrocks(sandbox, tls="yes", tls_trust_server_certificate=True)
        assert cipher(trusting).startswith("TLSv1.3 ")
        with pytest.raises(ConfigurationError) as refused:
            cipher(starrocks(sandbox, tls="yes"))
        assert f"127.0.0.1:{sandbox.port('starrocks')}" in refused.value.found
        assert "self-signed certificate" in refused.value.found
        assert "STARROCKS_TLS_CA_FILE" in refused.value.next_step
        with pytest.raises(ConfigurationError, match="STARROCKS_TLS_CA_FILE names /no/such"):
            cipher(starrocks(sandbox, tls="yes", tls_ca_file="/no/such"))
    with Sandbox(["starrocks"]) as plain:
        assert cipher(starrocks(plain)) == ""
        with pytest.raises(ConfigurationError, match="offers no TLS, which STARROCKS_TLS=yes"):
            cipher(starrocks(plain, tls="yes"))


# -- S3 and Glue -----------------------------------------------------------------------------------


def test_s3_and_glue_over_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = tmp_path / "own.pem"
    with Sandbox(["aws"], extra_arguments={"aws": [f"--certificate={own}"]}) as sandbox:
        for name, value in sandbox.settings.items():
            monkeypatch.setenv(name, value.replace("http://", "https://"))
        monkeypatch.setenv("S3_MAX_ATTEMPTS", "2")
        with Lake(LakeSettings.load(_env_file=None)) as lake:
            for touch in (
                lambda: list(lake.store.list("s3://lake/")),  # boto3
                lambda: lake.store.open_input("s3://lake/probe").read(),  # pyarrow
            ):
                with pytest.raises(ConfigurationError, match="AWS_CA_BUNDLE"):
                    touch()
        monkeypatch.setenv("AWS_CA_BUNDLE", str(own))
        with Lake(LakeSettings.load(_env_file=None)) as lake:
            lake.catalog.create_namespace("made")
            assert lake.catalog.list_namespaces() == [("made",)]
            lake.store.write("s3://lake/probe", b"x")
            with lake.store.open_input("s3://lake/probe") as file:
                assert file.read() == b"x"

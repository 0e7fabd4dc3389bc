"""What Microsoft's ODBC driver, which comes inside mssql-python's wheels, needs around it."""

from __future__ import annotations

import ctypes
import re
import sys
from collections.abc import Sequence
from typing import Any

from migration_assets.errors import (
    AccessDeniedError,
    ConfigurationError,
    ConnectionLostError,
    MigrationError,
)
from migration_assets.setting_choices import Authentication
from migration_assets.settings import MssqlSettings

LIBRARIES = ("libltdl.so.7", "libkrb5.so.3", "libgssapi_krb5.so.2")
"""System libraries that the driver is linked against and that its wheels do not bring."""

INSTALL_COMMANDS = {
    "Debian, Ubuntu": "apt-get install -y libltdl7 libkrb5-3 libgssapi-krb5-2",
    "RHEL, Fedora": "dnf install -y libtool-ltdl krb5-libs",
    "SUSE": "zypper install -y libltdl7 libkrb5-3 libgssapi-krb5-2",
    "Alpine": "apk add libltdl krb5-libs",
    "macOS": "brew install openssl libtool krb5",
}


def missing_odbc_libraries() -> list[str]:
    """Names of the system libraries that the ODBC driver needs and the loader does not find.

    Looks on Linux only: elsewhere the driver's own load error tells, see `odbc_error`.
    """
    if not sys.platform.startswith("linux"):
        return []
    return [name for name in LIBRARIES if not _loads(name)]


def odbc_error(found: str) -> ConfigurationError:
    """The error for an ODBC driver that cannot be loaded, with the commands that mend it."""
    commands = "; ".join(f"{system}: {command}" for system, command in INSTALL_COMMANDS.items())
    return ConfigurationError(
        found, code="MA-CF-030", next_step=f"Install what it needs ({commands})."
    )


def require_odbc_libraries() -> None:
    """Check before the driver is loaded, whose own message is a linker's.

    Raises:
        ConfigurationError: names each missing library and the command that installs it.
    """
    missing = missing_odbc_libraries()
    if missing:
        raise odbc_error(f"The ODBC driver for SQL Server needs {', '.join(missing)}.")


def connection_string(settings: MssqlSettings) -> str:
    """The ODBC connection string; it contains the password, so it must not be shown.

    Every value that a user chose is braced, because `;`, `=` and spaces would end it otherwise
    (https://learn.microsoft.com/openspecs/sql_server_protocols/ms-odbcstr). `ConnectRetryCount=0`:
    a connection that broke must be an error, never silently another session.
    """
    parts = {
        "Server": _braced(settings.server),
        **({"Database": _braced(settings.database)} if settings.database else {}),
        **_signing_in(settings),
        "Encrypt": settings.encrypt.value,
        "TrustServerCertificate": "yes" if settings.trust_server_certificate else "no",
        **(
            {"HostNameInCertificate": _braced(settings.host_name_in_certificate)}
            if settings.host_name_in_certificate
            else {}
        ),
        "ApplicationIntent": settings.application_intent.value,
        "ConnectRetryCount": "0",
    }
    return ";".join(f"{key}={value}" for key, value in parts.items())


def run_through_odbc(cursor: Any, sql: str, params: Sequence[Any]) -> list[tuple[Any, ...]]:
    """Run a statement written for pymssql on a cursor of mssql-python, and fetch all its rows.

    Args:
        cursor: of mssql-python; the caller closes it.
        sql: T-SQL; with `params`, `%s` marks each and `%%` is a percent sign.
        params: values.
    """
    if params:
        cursor.execute(re.sub("%[s%]", lambda m: {"%s": "?", "%%": "%"}[m[0]], sql), tuple(params))
    else:
        cursor.execute(sql)
    # pymssql passes over the statements of a batch that have no result by itself.
    while cursor.description is None and cursor.nextset():
        pass
    return [] if cursor.description is None else [tuple(row) for row in cursor.fetchall()]


_NO_TOKEN = "Failed to acquire an Entra ID access token"  # noqa: S105 - words
_UNREACHABLE = {"ServiceRequestError", "ServiceResponseError", "ServiceRequestTimeoutError"}
"""What azure-core calls it when there is no answer."""


def token_error(error: BaseException, settings: MssqlSettings) -> MigrationError | None:
    """What it means that Entra ID gave no token; None for any other error.

    What azure-identity says names what it tried and why that failed, and no secret.
    """
    said = str(getattr(error, "driver_error", ""))
    if not said.startswith(_NO_TOKEN):
        return None
    causes, cause = set(), error.__cause__
    while cause is not None:
        causes.add(type(cause).__name__)
        cause = cause.__cause__ or cause.__context__
    detail = " ".join(str(getattr(error, "ddbc_error", "") or said).split())[:_LONGEST]
    found = (
        f"Entra ID gave no token for SQL Server {settings.server} "
        f"({settings.authentication.value}): {detail.rstrip('.')}."
    )
    if causes & _UNREACHABLE:
        return ConnectionLostError(
            found, code="MA-MS-131", next_step="Check the way to Entra ID, and proxies."
        )
    return AccessDeniedError(
        found, code="MA-MS-130", next_step="See docs/signing-in.md for what each way needs."
    )


_LONGEST = 400


def _signing_in(settings: MssqlSettings) -> dict[str, str]:
    """Who we are, and how it is proved."""
    way = settings.authentication
    named = way.has_password or way is Authentication.MANAGED_IDENTITY
    return {
        **({"UID": _braced(settings.user)} if named and settings.user else {}),
        **({"PWD": _braced(settings.password.get_secret_value())} if way.has_password else {}),
        **({"Authentication": way.value} if way.is_entra else {}),
        # The driver asks for a ticket of the Kerberos cache.
        **({"Trusted_Connection": "yes"} if way is Authentication.KERBEROS else {}),
    }


def _braced(value: str) -> str:
    return "{" + value.replace("}", "}}") + "}"


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True

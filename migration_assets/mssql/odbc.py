"""What Microsoft's ODBC driver, which comes inside mssql-python's wheels, needs around it."""

from __future__ import annotations

import ctypes
import sys

from migration_assets.errors import ConfigurationError
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
        "Database": _braced(settings.database),
        "UID": _braced(settings.user),
        "PWD": _braced(settings.password.get_secret_value()),
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


def _braced(value: str) -> str:
    return "{" + value.replace("}", "}}") + "}"


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True

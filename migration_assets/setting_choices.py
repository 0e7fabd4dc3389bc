"""What a setting may choose from, and other words that are taken for it; pure."""

from __future__ import annotations

from enum import StrEnum


class EncryptMode(StrEnum):
    """ODBC's `Encrypt`."""

    NO = "no"
    YES = "yes"
    STRICT = "strict"


_SWITCHES = {
    **dict.fromkeys(("true", "1", "mandatory", "required"), "yes"),
    **dict.fromkeys(("false", "0", "optional"), "no"),
    "preferred": "prefer",
}


def encryption_mode(value: object) -> object:
    """Accept what the various drivers call a mode of encryption."""
    text = str(value).strip().lower()
    return _SWITCHES.get(text, text)


class TlsMode(StrEnum):
    """Whether connections to StarRocks are encrypted."""

    NO = "no"
    PREFER = "prefer"
    """Where the server offers it, and without a look at its certificate."""
    YES = "yes"


class CatalogType(StrEnum):
    """Which Iceberg catalog holds the tables."""

    GLUE = "glue"
    REST = "rest"
    SQL = "sql"


class ApplicationIntent(StrEnum):
    """SQL Server's `ApplicationIntent`."""

    READ_WRITE = "ReadWrite"
    READ_ONLY = "ReadOnly"


class Authentication(StrEnum):
    """How we sign in to SQL Server: by its own logins, Entra ID, or a Kerberos ticket.

    Entra ID's are mssql-python's `Authentication`
    (https://learn.microsoft.com/sql/connect/odbc/using-azure-active-directory).
    """

    SQL_PASSWORD = "SqlPassword"  # noqa: S105 - a name
    ENTRA_PASSWORD = "ActiveDirectoryPassword"  # noqa: S105 - likewise
    SERVICE_PRINCIPAL = "ActiveDirectoryServicePrincipal"
    MANAGED_IDENTITY = "ActiveDirectoryMSI"
    ENTRA_DEFAULT = "ActiveDirectoryDefault"
    KERBEROS = "Kerberos"

    @property
    def has_password(self) -> bool:
        """Whether a name and a password are sent."""
        return self in {
            Authentication.SQL_PASSWORD,
            Authentication.ENTRA_PASSWORD,
            Authentication.SERVICE_PRINCIPAL,
        }

    @property
    def is_entra(self) -> bool:
        """Whether Entra ID is asked."""
        return self.value.startswith("ActiveDirectory")


def authentication_mode(value: object) -> object:
    """Accept any case, and say why what asks a person is none."""
    text = str(value).strip()
    if text.lower() in {"activedirectoryinteractive", "activedirectorydevicecode"}:
        raise ValueError(
            f"{text} would ask a person in each process of a run; sign in with `az login` and use "
            "ActiveDirectoryDefault"
        )
    return {one.value.lower(): one.value for one in Authentication}.get(text.lower(), text)


class Reader(StrEnum):
    """How the Spark engine reads rows."""

    ARROW = "arrow"
    JDBC = "jdbc"


class AlertFormat(StrEnum):
    """What a webhook understands."""

    JSON = "json"
    SLACK = "slack"
    TEAMS = "teams"


class LogFormat(StrEnum):
    """How log lines look."""

    TEXT = "text"
    JSON = "json"

"""FreeTDS, the library inside pymssql, made to check certificates as strictly as ODBC does.

By itself it checks none: `ca file` in its configuration file is what makes it, and pymssql has no
argument for that. So we write such a file and name it in FREETDSCONF
(https://www.freetds.org/userguide/freetdsconf.html).
"""

from __future__ import annotations

import atexit
import os
import ssl
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from migration_assets.errors import ConfigurationError
from migration_assets.setting_choices import EncryptMode
from migration_assets.settings import MssqlSettings

VARIABLE = "FREETDSCONF"
AUTHORITIES = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Ubuntu, Alpine
    "/etc/pki/tls/certs/ca-bundle.crt",  # RHEL, Fedora
    "/etc/ssl/ca-bundle.pem",  # SUSE
    "/etc/ssl/cert.pem",  # macOS
)
"""Where systems keep the authorities that they trust; FreeTDS takes a file only, no folder."""


def encryption(settings: MssqlSettings) -> str | None:
    """`encryption` of `pymssql.connect`; None leaves it to the configuration.

    FreeTDS encrypts the login even with `request`, like ODBC's `no`. pymssql does not offer
    `strict`, FreeTDS' configuration does.
    """
    return {EncryptMode.NO: "request", EncryptMode.YES: "require"}.get(settings.encrypt)


def configuration(settings: MssqlSettings) -> str:
    """Text of the configuration file; empty where no certificate is checked.

    Raises:
        ConfigurationError: the authorities to check against cannot be found or read.
    """
    if not settings.verifies:
        return ""
    lines = ["[global]", f"ca file = {_authorities(settings)}", "check certificate hostname = yes"]
    if settings.host_name_in_certificate:
        lines.append(f"certificate hostname = {settings.host_name_in_certificate}")
    if settings.encrypt is EncryptMode.STRICT:
        lines.append("encryption = strict")
    return "\n".join(lines) + "\n"


def export_authorities(settings: MssqlSettings) -> None:
    """Let Microsoft's ODBC driver see SSL_CERT_FILE: OpenSSL in it reads the environment alone."""
    if settings.ca_file and not os.environ.get("SSL_CERT_FILE"):
        os.environ["SSL_CERT_FILE"] = settings.ca_file


@contextmanager
def configured(settings: MssqlSettings) -> Iterator[None]:
    """Connections made inside are made with the configuration of these settings.

    FreeTDS reads it at each connection, and the variable is the whole process's: threads that want
    the same share it, others wait. Afterwards it stays, so that it is hardly ever changed.

    Raises:
        ConfigurationError: see `configuration`.
    """
    text = configuration(settings)
    with _changed:
        _changed.wait_for(lambda: _state.users == 0 or _state.text == text)
        _state.use(text)
        _state.users += 1
    try:
        yield
    finally:
        with _changed:
            _state.users -= 1
            _changed.notify_all()


class _State:
    """What FREETDSCONF names at the moment."""

    def __init__(self) -> None:
        self.users = 0
        self.text: str | None = None
        self._given = os.environ.get(VARIABLE)
        self._files: dict[str, Path] = {}

    def use(self, text: str) -> None:
        if text:
            os.environ[VARIABLE] = self._path(text)
        elif text == self.text:
            return
        elif self._given is not None:
            os.environ[VARIABLE] = self._given
        else:
            os.environ.pop(VARIABLE, None)
        self.text = text

    def _path(self, text: str) -> str:
        path = self._files.get(text)
        # Something cleans up /tmp, or a fork of this process ended: FreeTDS takes a file that is not
        # there for an empty one, and checks no certificate.
        if path is None or not path.exists():
            handle, name = tempfile.mkstemp(prefix="migration_assets.", suffix=".freetds")
            with os.fdopen(handle, "w") as file:
                file.write(text)
            path = self._files[text] = Path(name)
            atexit.register(path.unlink, missing_ok=True)
        return str(path)


_changed = threading.Condition()
_state = _State()


def _authorities(settings: MssqlSettings) -> str:
    if settings.ca_file:
        try:
            Path(settings.ca_file).open("rb").close()
        except OSError as error:
            raise ConfigurationError(
                f"Settings: SSL_CERT_FILE names {settings.ca_file}, which cannot be read: "
                f"{error.strerror}.",
                code="MA-CF-005",
                next_step="Let it name a file of trusted authorities in PEM format, or unset it.",
            ) from None
        return settings.ca_file
    known = (ssl.get_default_verify_paths().cafile, *AUTHORITIES)
    for path in known:
        if path and Path(path).is_file():
            return path
    raise ConfigurationError(
        f"The certificate of SQL Server {settings.server} cannot be checked: this machine has no "
        f"file of trusted authorities ({', '.join(AUTHORITIES)}).",
        code="MA-CF-005",
        next_step="Install the package ca-certificates, or let SSL_CERT_FILE name such a file.",
    )

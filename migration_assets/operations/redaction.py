"""What must not leave the machine is taken out of texts: secrets by value, and by how they stand.

By value: what the settings and the environment have as secrets, in the forms in which messages quote
them. By form: what stands as user and password in an address, or behind `password=` and the like.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, get_args
from urllib.parse import quote, quote_plus

from pydantic import SecretStr
from pydantic_settings import BaseSettings

from migration_assets import settings
from migration_assets.errors import MigrationError

MASK = "***"
_SECRET_NAME = re.compile(
    r"PASSWORD|PASSWD|\w_PWD$|SECRET|TOKEN|CREDENTIAL|SALT|WEBHOOK|(API|PRIVATE|ACCESS)_?KEY$",
    re.IGNORECASE,
)
_NO_SECRET_NAME = re.compile(r"_SECRET_ID$|_TOKEN_FILE$", re.IGNORECASE)
_USER_INFO = re.compile(r"(\w+://)[^\s\"'<>]*@")
_ASSIGNED = re.compile(
    r"\b(\w*(?:password|passwd|secret|token|signature|credential)|pwd)(\s*=\s*)"
    r"(\{(?:[^}]|\}\})*\}|[^\s;&,\"']+)",
    re.IGNORECASE,
)
_LEAST = 8
"""Characters that a value in somebody else's variable has at least to be taken for a secret."""


def is_secret_name(name: str) -> bool:
    """Whether what has this name is to be masked, whatever it is."""
    return bool(_SECRET_NAME.search(name)) and not _NO_SECRET_NAME.search(name)


def settings_classes() -> list[type[BaseSettings]]:
    """All classes of settings that we read."""
    return [
        value
        for name, value in vars(settings).items()
        if isinstance(value, type) and issubclass(value, BaseSettings) and name[0] != "_"
        and value is not BaseSettings
    ]  # fmt: skip


def variables(cls: type[BaseSettings]) -> Iterator[tuple[str, bool]]:
    """Each environment variable of a class of settings, and whether it holds a secret."""
    prefix = cls.model_config.get("env_prefix", "")
    for field, known in cls.model_fields.items():
        alias = known.validation_alias
        name = alias if isinstance(alias, str) else f"{prefix}{field}".upper()
        kind = known.annotation
        yield name, SecretStr in {kind, *get_args(kind)} or is_secret_name(name)


class Redaction:
    """Masks what it knows as secret in texts and in what JSON is made of."""

    def __init__(self, secrets: Iterable[str]) -> None:
        """Take the values that must not appear; empty ones do not count."""
        forms = {form for secret in secrets if secret for form in _forms(secret)}
        # A secret that contains another goes first, or its end would stay.
        self._forms = sorted(forms, key=len, reverse=True)

    def text(self, text: str) -> str:
        """The text without secrets."""
        for form in self._forms:
            text = text.replace(form, MASK)
        text = _USER_INFO.sub(rf"\1{MASK}@", text)
        return _ASSIGNED.sub(rf"\1\2{MASK}", text)

    def data(self, value: Any) -> Any:
        """The same structure without secrets: what is masked is no longer JSON's syntax."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {
                self.text(str(key)): MASK
                if isinstance(inner, str) and inner and is_secret_name(str(key))
                else self.data(inner)
                for key, inner in value.items()
            }
        if isinstance(value, list | tuple):
            return [self.data(inner) for inner in value]
        return value


def known_secrets() -> set[str]:
    """The secrets of this process: of the environment, and passwords that a secret's id stands for."""
    own = {name for cls in settings_classes() for name, is_secret in variables(cls) if is_secret}
    found = {os.environ[name] for name in own if os.environ.get(name)}
    found |= {
        value
        for name, value in os.environ.items()
        if is_secret_name(name) and len(value) >= _LEAST and name not in own
    }
    for cls in settings_classes():
        try:
            loaded = cls.load()  # type: ignore[attr-defined]
        except MigrationError:  # which the doctor tells
            continue
        values = (getattr(loaded, field) for field in cls.model_fields)
        found |= {v.get_secret_value() for v in values if isinstance(v, SecretStr)}
    return found - {""}


def _forms(secret: str) -> set[str]:
    """How a secret may be quoted: in SQL, JSON, Python, connection strings, addresses and XML."""
    plain = {secret, secret.strip()}
    return {
        form
        for one in plain if one
        for form in (
            one, quote(one), quote(one, safe=""), quote_plus(one), repr(one)[1:-1],
            json.dumps(one)[1:-1], json.dumps(one, ensure_ascii=False)[1:-1],
            one.replace("}", "}}"), one.replace("'", "''"), one.replace("&", "&amp;"),
        )
    }  # fmt: skip

"""What the values of settings must look like, as types; pure.

What a validator's `ValueError` says follows the variable's name.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr

from migration_assets.extraction_hours import ExtractionHours, time_zone

MAX_SECONDS = 2_147_483
"""Timeouts reach drivers as milliseconds in 32 bits; this is 24 days."""

MAX_STARROCKS_SECONDS = 259_200
"""Three days, the most that StarRocks takes for a timeout
(https://docs.starrocks.io/docs/sql-reference/System_variable/)."""

Seconds = Annotated[int, Field(ge=1, le=MAX_SECONDS)]

DEFAULT_MEMORY_MB, LEAST_MEMORY_MB = 512, 128
"""MiB that the rows of one extraction may take; of the least, half is the upload's."""

_PORT = "the port has a variable of its own"
_MAX_NAME, _MAX_LABEL = 253, 63
"""Limits of a host name and of each part of it, in bytes
(https://www.rfc-editor.org/rfc/rfc1035#section-2.3.4)."""


def _host(value: str) -> str:
    """A host's name or address, of IPv4 or IPv6, and nothing else."""
    if not value:
        raise ValueError("a host name is needed")
    if "://" in value or value.lower().startswith(("jdbc:", "tcp:")):
        raise ValueError("a host name is needed, without what stands before it in an address")
    if found := re.search(r"[\s/?#@;,\"']", value):
        raise ValueError(f"a host name is needed, there must be no {found[0]!r} in it; {_PORT}")
    if value.count(":") == 1:
        raise ValueError(f"a host name is needed, without a port; {_PORT}")
    labels = value.split(".")
    if len(value) > _MAX_NAME or any(len(label) > _MAX_LABEL for label in labels):
        raise ValueError(
            f"a host name has at most {_MAX_NAME} characters, and {_MAX_LABEL} between two dots"
        )
    return value


def _mssql_host(value: str) -> str:
    r"""A host, or `host\\instance`; no IPv6 address, which pymssql takes for a host and a port."""
    name, backslash, instance = value.partition("\\")
    _host(name)
    if ":" in name:
        raise ValueError(
            "no IPv6 address can be used here, give the server a name (DNS, /etc/hosts)"
        )
    if backslash and "," in instance:
        raise ValueError(
            "a named instance finds its own port; leave either the instance or the port away"
        )
    if backslash and not re.fullmatch(r"[^\s\\/:;,]{1,16}", instance):
        raise ValueError(r"after the \ stands the name of an instance, of at most 16 characters")
    return value


def _bucket(value: str) -> str:
    """The bare name of a bucket."""
    if re.fullmatch(r"[A-Za-z0-9._-]{1,255}", value) is None:
        raise ValueError(
            "the bare name of a bucket is needed: letters, digits, dots and hyphens, without s3:// "
            "and without a path, which is S3_WAREHOUSE_PATH"
        )
    return value


def _path(value: str) -> str:
    """A path, of a bucket or a folder, and no address."""
    if found := re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", value):
        raise ValueError(f"a path is needed, without {found[0]}; the bucket is S3_BUCKET")
    return value


def _file_location(value: str) -> str:
    """A path (`~` is the home folder), or `s3://bucket/key`."""
    if not value:
        raise ValueError("a path or s3://bucket/key is needed")
    if value.startswith("s3://"):
        name, _, key = value.removeprefix("s3://").partition("/")
        if not name or not key or key.endswith("/"):
            raise ValueError("an S3 address is s3://bucket/key, with both parts")
        return value
    if scheme := re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", value):
        raise ValueError(f"a path or s3://bucket/key is needed, not {scheme[0]}")
    return str(Path(value).expanduser()) if value.startswith("~") else value


def _secret_url(value: SecretStr) -> SecretStr:
    """An address of a web service, of which no error may show more."""
    text = value.get_secret_value().strip()
    try:
        parts = urlsplit(text)
        is_address = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_address = False
    if not is_address or re.search(r"\s", text) or not text.isascii():
        raise ValueError("an address is needed that begins with https:// or http://")
    return SecretStr(text)


def _hours(value: str) -> str:
    """Hours of the day."""
    ExtractionHours.parse(value)
    return value


def _time_zone(value: str) -> str:
    """The name of a time zone."""
    time_zone(value)
    return value


Host = Annotated[str, AfterValidator(_host)]
MssqlHost = Annotated[str, AfterValidator(_mssql_host)]
Bucket = Annotated[str, AfterValidator(_bucket)]
WarehousePath = Annotated[str, AfterValidator(_path)]
FileLocation = Annotated[str, AfterValidator(_file_location)]
Hours = Annotated[str, AfterValidator(_hours)]
TimeZone = Annotated[str, AfterValidator(_time_zone)]
SecretUrl = Annotated[SecretStr, AfterValidator(_secret_url)]

"""Secrets that are recognised wherever they turn up, and the search for them.

The bench's stand-ins and project have no others, so all of its scenarios plant them.
"""

from __future__ import annotations

import base64
import gzip
import json
import sqlite3
import time
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from io import BytesIO
from pathlib import Path
from urllib.parse import quote, quote_plus

import boto3
import pyarrow.parquet as pq

PASSWORDS = {
    "sqlserver": "Canary mssql/7Kq}+é=x;y%41",
    "aws": "CanaryAws/9f3Zt+Qe8Lm2Vb6Nc4Xd1Rg5Hj0W",
    "starrocks": "Canary'starrocks\"/5Tg&u+8%20",
}
"""With what ends a value in connection strings, URLs, SQL and JSON."""

SETTINGS = {"AWS_SESSION_TOKEN": "CanaryToken//IQoJb3JpZ2luX2VjEAoaCXVzLWVhc3QtMSJHMEUCIQ+Zk3=="}
WRONG = {
    "MSSQL_PASSWORD": "CanaryWrong mssql/3Hd}+;z",
    "STARROCKS_PASSWORD": "CanaryWrong'starrocks/6Wn&",
}
"""Of logins that are refused: a password mistyped is one, too."""

SECRETS = [*PASSWORDS.values(), *SETTINGS.values(), *WRONG.values()]


def forms(secret: str) -> set[bytes]:
    """How a secret may be written, whole."""
    plain = secret.encode()
    found = {
        plain, secret.encode("utf-16-le"), plain.hex().encode(),
        quote(secret).encode(), quote(secret, safe="").encode(), quote_plus(secret).encode(),
        json.dumps(secret)[1:-1].encode(), json.dumps(secret, ensure_ascii=False)[1:-1].encode(),
        json.dumps(json.dumps(secret))[3:-3].encode(), repr(secret)[1:-1].encode(),
        secret.replace("}", "}}").encode(), secret.replace("'", "''").encode(),
        secret.replace("&", "&amp;").encode(),
    }  # fmt: skip
    for shift in range(3):
        # Whatever stood before and after it, the middle of its base64 is the same.
        encoded = base64.b64encode(b"\0" * shift + plain)
        middle = encoded[4 if shift else 0 : len(encoded) // 4 * 4 - 4]
        found |= {middle, middle.replace(b"+", b"-").replace(b"/", b"_")}
    return found


Needles = Mapping[bytes, str]
"""Each form of each secret, to the secret."""


def needles_of(secrets: Iterable[str]) -> Needles:
    """All forms of some secrets."""
    return {form: secret for secret in secrets for form in forms(secret)}


NEEDLES = needles_of(SECRETS)


def secrets_in(data: bytes, needles: Needles = NEEDLES) -> set[str]:
    """The secrets that occur in some bytes, in whatever form, also when they are compressed."""
    found = {secret for form, secret in needles.items() if form in data}
    for expand in (zlib.decompress, gzip.decompress):
        try:
            found |= {secret for form, secret in needles.items() if form in expand(data)}
        except (OSError, zlib.error, EOFError):
            continue
    return found


def places_in(folder: Path, needles: Needles = NEEDLES) -> Iterator[tuple[str, set[str]]]:
    """Each file of a folder, and each value of its SQLite databases and archives, with the secrets in it."""
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        data = path.read_bytes()
        yield str(path.relative_to(folder)), secrets_in(data, needles)
        if data.startswith(b"SQLite format 3"):
            yield from _values(path, needles)
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                for name in archive.namelist():
                    yield f"{path.name}:{name}", secrets_in(archive.read(name), needles)


def places_in_aws(
    settings: Mapping[str, str], database: str, needles: Needles = NEEDLES
) -> Iterator[tuple[str, set[str]]]:
    """Each object of the sandbox's bucket, and the tables of a Glue database, with the secrets in it.

    The values of Parquet files are compressed, so they are read as well.
    """
    keys = {
        "endpoint_url": settings["AWS_ENDPOINT_URL"], "region_name": settings["AWS_REGION"],
        "aws_access_key_id": "tests", "aws_secret_access_key": "tests",
    }  # fmt: skip
    with closing(boto3.client("s3", **keys)) as s3, closing(boto3.client("glue", **keys)) as glue:
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=settings["S3_BUCKET"]):
            for entry in page["Contents"]:
                answer = s3.get_object(Bucket=settings["S3_BUCKET"], Key=entry["Key"])
                data = answer["Body"].read()
                found = secrets_in(data, needles)
                if data.startswith(b"PAR1"):
                    rows = pq.read_table(BytesIO(data)).to_pylist()
                    found |= secrets_in(repr(rows).encode(), needles)
                yield f"s3 {entry['Key']}", found
        tables = glue.get_tables(DatabaseName=database)["TableList"]
        yield "glue", secrets_in(json.dumps(tables, default=str).encode(), needles)


def _values(path: Path, needles: Needles) -> Iterator[tuple[str, set[str]]]:
    """Read through SQLite: long values lie in pieces, and Dagster compresses some."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        tables = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        for (table,) in tables:
            for row in database.execute(f'SELECT * FROM "{table}"'):
                for value in row:
                    if isinstance(value, (str, bytes)):
                        data = value.encode() if isinstance(value, str) else value
                        yield f"{path.name}:{table}", secrets_in(data, needles)


def command_lines(seconds: float, until: object) -> set[bytes]:
    """Command lines of all processes of this machine, looked at again and again.

    Args:
        seconds: how long at most.
        until: a process; when it has ended, so does this.
    """
    found: set[bytes] = set()
    deadline = time.monotonic() + seconds
    while until.poll() is None and time.monotonic() < deadline:  # type: ignore[attr-defined]
        for entry in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                found.add(entry.read_bytes())
            except OSError:  # it has ended
                continue
        time.sleep(0.1)
    return found

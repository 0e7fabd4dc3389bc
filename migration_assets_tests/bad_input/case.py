"""What a case of bad input is, and the ways in which a good file is spoilt."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from migration_assets.assets.translator import Stage
from migration_assets.frozen_model import content_hash

FORBIDDEN = (
    "Traceback", "DB-Lib", "pymssql", "pydantic", "validation error for", "object at 0x", "(b'",
    "errors.pydantic.dev", "<class ",
)  # fmt: skip
"""What no sentence contains: stack traces, tuples of drivers, libraries' words for developers."""


class Kind(StrEnum):
    """What is bad."""

    SETTINGS = "settings"
    ENV_FILE = ".env"
    RULES = "migration.yaml"
    PLAN = "corrupt plan"
    RECEIPT = "corrupt receipt"
    ARGUMENT = "CLI argument"
    PARTITION_KEY = "partition key"
    HOST = "host"
    PORT = "port"
    CERTIFICATE = "certificate"
    MSSQL_PERMISSION = "permission on SQL Server"
    LAKE_PERMISSION = "permission on S3 and Glue"
    STARROCKS_PERMISSION = "permission on StarRocks"
    READ_ONLY = "read-only or unavailable database"
    NAME = "name"
    PARQUET = "truncated Parquet"


@dataclass(frozen=True)
class Spoilt:
    """A good file, spoilt.

    Attributes:
        keep: the share of its bytes that is kept, from the beginning.
        cut: bytes that its end loses.
        flipped: first and last position of bytes that are inverted; negative from the end.
        swap: texts that are exchanged, once each.
        before: bytes put before it, `after` behind it.
        encoding: what its text is written in.
    """

    keep: float = 1.0
    cut: int = 0
    flipped: tuple[int, int] | None = None
    swap: tuple[tuple[str, str], ...] = ()
    before: bytes = b""
    after: bytes = b""
    encoding: str = ""

    def apply(self, good: bytes) -> bytes:
        """The spoilt content.

        Raises:
            AssertionError: the good one has not what is to be exchanged, so the case is moot.
        """
        content = good
        for old, new in self.swap:
            assert old.encode() in content, f"{old!r} is not in the good file"
            content = content.replace(old.encode(), new.encode(), 1)
        if self.encoding:
            content = content.decode().encode(self.encoding)
        content = content[: round(len(content) * self.keep) - self.cut]
        if self.flipped is not None:
            first, last, _ = slice(*self.flipped).indices(len(content))
            middle = bytes(byte ^ 0xFF for byte in content[first:last])
            content = content[:first] + middle + content[last:]
        return self.before + content + self.after


@dataclass(frozen=True)
class Edited:
    """A good JSON file with a value changed; `signed` mends the id of a plan as well.

    Attributes:
        path: keys and positions, the last of which gets `value`; it is removed for `REMOVED`.
    """

    path: tuple[str | int, ...]
    value: Any
    signed: bool = True

    def apply(self, good: bytes) -> bytes:
        """The edited content."""
        body = json.loads(good)
        inner = body
        for key in self.path[:-1]:
            inner = inner[key]
        if self.value == REMOVED:
            del inner[self.path[-1]]
        else:
            inner[self.path[-1]] = (
                self.value(inner[self.path[-1]]) if callable(self.value) else self.value
            )
        if self.signed and "plan_id" in body:
            del body["plan_id"]
            body = {"plan_id": content_hash(body), **body}
        return json.dumps(body, ensure_ascii=False).encode()


REMOVED = "(removed)"
FOLDER = "(a folder)"

Content = str | bytes | Spoilt | Edited


def spoil(content: Content, good: bytes) -> bytes:
    """What a case puts in the place of a good content."""
    if isinstance(content, Spoilt | Edited):
        return content.apply(good)
    return content.encode() if isinstance(content, str) else content


@dataclass(frozen=True)
class Case:
    """One bad input and how it must end.

    Attributes:
        name: what is bad, in a few words; the test's id.
        said: fragments of the one sentence; of standard output where the exit code is 0.
        command: what is typed after `migration-assets`, one word each.
        code: the exit code.
        env: settings that differ from the sandbox's; None removes one. `{closed}` is a port on
            which nobody listens, `{silent}` one that accepts connections and says nothing.
        files: path in the project's folder to its content, or how the good one is spoilt.
        sql: T-SQL on the source before, and after the case.
        faults: stand-in and fields of the `Fault`s to arm there.
        lines: how many lines standard error has; the command line's own errors take some for usage.
    """

    kind: Kind
    name: str
    said: tuple[str, ...]
    command: tuple[str, ...] = ("plan", "--dry-run")
    code: int = 2
    env: Mapping[str, str | None] = field(default_factory=dict)
    files: Mapping[str, Content] = field(default_factory=dict)
    sql: tuple[str, str] = ("", "")
    faults: tuple[tuple[str, Mapping[str, Any]], ...] = ()
    lines: int = 1

    @property
    def identity(self) -> str:
        """All but the name, as text: no two cases may share it."""
        return repr(
            (
                self.command,
                sorted(self.env.items(), key=str),
                sorted(self.files.items(), key=str),
                self.sql,
                self.faults,
            )
        )


@dataclass(frozen=True)
class StoredCase:
    """Something in S3 that was spoilt, and how the asset that reads it must end.

    Attributes:
        name: what is bad, in a few words; the test's id.
        said: fragments of the failure's description, which the UI and `status` show.
        spoilt: what is put in the place of the good content; None removes it.
        reader: the asset that must fail. A file is spoilt after the asset before it was made.
        other: take the content of another table's partition instead, of the same kind.
    """

    kind: Kind
    name: str
    said: tuple[str, ...]
    spoilt: Content | None = None
    reader: Stage = Stage.ICEBERG
    other: str = ""

    @property
    def identity(self) -> str:
        """All but the name, as text: no two cases may share it."""
        return repr((self.kind, self.spoilt, self.reader, self.other))

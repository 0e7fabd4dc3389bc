"""The jars that Spark needs beside PySpark: which ones, whether they are there, fetching them.

`jars.lock` names each jar by its Maven coordinate, with SHA-256 and size. Where a jar lies in a
repository follows from its coordinate
(https://maven.apache.org/repository/layout.html). A file counts as there only if its checksum is
the lock's; so does one that was just fetched, before it gets its name.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import re
import ssl
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from urllib.parse import urlsplit

from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from migration_assets.errors import (
    AccessDeniedError,
    ConfigurationError,
    ConnectionLostError,
    MigrationError,
    ObjectNotFoundError,
    OperationTimeoutError,
    ServerBusyError,
    TransientError,
    VerificationError,
)
from migration_assets.settings import ProjectSettings

LOCK_NAME = "jars.lock"
COMMAND = "migration-assets jars"
_CHUNK_BYTES = 1 << 18
_ABANDONED_AFTER_S = 3600.0
"""A download that was not written to for so long belongs to a process that was killed."""
_LINE = re.compile(r"([\w.-]+):([\w.-]+):([\w.-]+)\s+([0-9a-f]{64})\s+([1-9]\d*)")
_PROJECT_LOCK = Path(__file__).parents[2] / "jars" / LOCK_NAME


@dataclass(frozen=True)
class Jar:
    """One line of the lock.

    Attributes:
        sha256: in lower-case hexadecimal digits.
        size: in bytes.
    """

    group: str
    artifact: str
    version: str
    sha256: str
    size: int

    @property
    def coordinate(self) -> str:
        """`group:artifact:version`."""
        return f"{self.group}:{self.artifact}:{self.version}"

    @property
    def file_name(self) -> str:
        """Its name in a repository and in our folder."""
        return f"{self.artifact}-{self.version}.jar"

    @property
    def repository_path(self) -> str:
        """Where it lies below the root of a Maven repository."""
        folders = [*self.group.split("."), self.artifact, self.version]
        return "/".join([*folders, self.file_name])


class JarState(StrEnum):
    """What a folder has of a jar."""

    PRESENT = "present"
    MISSING = "missing"
    CORRUPT = "corrupt"


Report = Callable[[Jar, int], None]
"""Called with a jar and the bytes of it that have arrived in this attempt."""


@dataclass(frozen=True)
class Limits:
    """How long a download may take, in seconds, and how often it is tried.

    Attributes:
        silence_s: without a byte, connecting included.
        total_s: of one attempt at one jar.
        attempts: of one jar, the first included; only transient errors are tried again.
        longest_wait_s: between two of them; it grows from half a second.
    """

    silence_s: float = 30.0
    total_s: float = 1800.0
    attempts: int = 5
    longest_wait_s: float = 15.0


def jars_folder(settings: ProjectSettings) -> Path:
    """Where the jars are: MIGRATION_JARS, else `jars/` of this project's checkout, else `./jars`.

    Returns:
        An absolute path; the folder need not exist.
    """
    if settings.jars is not None:
        return Path(settings.jars).expanduser().resolve()
    return (_PROJECT_LOCK.parent if _PROJECT_LOCK.is_file() else Path("jars")).resolve()


def find_lock(folder: Path) -> Path:
    """The lock for a folder of jars: its own, else the checkout's.

    Raises:
        ConfigurationError: there is none.
    """
    candidates = (folder / LOCK_NAME, _PROJECT_LOCK)
    for path in candidates:
        if path.is_file():
            return path
    raise ConfigurationError(
        f"There is no {LOCK_NAME}: looked at {', '.join(map(str, candidates))}.",
        code="MA-SP-008",
        next_step=f"Copy jars/{LOCK_NAME} of the project into {folder}, or set MIGRATION_JARS.",
    )


def read_lock(path: Path) -> tuple[Jar, ...]:
    """Read a lock.

    Raises:
        ConfigurationError: it cannot be read, a line of it is malformed, or it names no jar.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}.", code="MA-SP-008") from None
    jars = []
    for number, line in enumerate(lines, 1):
        text = line.partition("#")[0].strip()
        if not text:
            continue
        match = _LINE.fullmatch(text)
        if match is None:
            raise ConfigurationError(
                f"{path}, line {number} is not `group:artifact:version sha256 bytes`.",
                code="MA-SP-008",
                next_step="Restore the file, or mend the line.",
            )
        jars.append(Jar(match[1], match[2], match[3], match[4], int(match[5])))
    names = [jar.file_name for jar in jars]
    if not jars or len(set(names)) < len(names):
        found = "no jar" if not jars else "one jar twice"
        raise ConfigurationError(
            f"{path} names {found}.", code="MA-SP-008", next_step="Restore the file."
        )
    return tuple(jars)


def examine_jars(folder: Path) -> dict[Jar, JarState]:
    """What the folder has of each jar of its lock, in the lock's order; reads every file in full.

    Raises:
        ConfigurationError: there is no lock, it is malformed, or a jar cannot be read.
    """
    return {jar: _state(folder / jar.file_name, jar) for jar in read_lock(find_lock(folder))}


def require_jars(folder: Path) -> list[Path]:
    """The paths of all jars, each with the checksum of the lock, in its order.

    Raises:
        ConfigurationError: names each jar that is missing or corrupt.
    """
    states = examine_jars(folder)
    wrong = [f"{jar.coordinate} is {state}" for jar, state in states.items() if _is_wrong(state)]
    if wrong:
        raise ConfigurationError(
            f"The Spark engine needs jars in {folder}: {', '.join(wrong)}.",
            code="MA-SP-009",
            next_step=f"Run `{COMMAND}`.",
        )
    return [folder / jar.file_name for jar in states]


def fetch_jars(
    folder: Path,
    maven_url: str,
    *,
    report: Report | None = None,
    limits: Limits | None = None,
) -> list[Jar]:
    """Fetch what is missing or corrupt; runs at the same time do each other no harm.

    Args:
        folder: where the jars go; it is made when missing.
        maven_url: root of a Maven repository, http or https.
        report: told of the progress.
        limits: of time and attempts.

    Returns:
        The jars that were fetched; nothing when all were there.

    Raises:
        ConfigurationError: the lock, the folder or `maven_url` is wrong, or the repository's
            certificate is not trusted.
        ObjectNotFoundError: the repository does not have the jar.
        AccessDeniedError: the repository refuses it.
        VerificationError: the repository's file is not the one of the lock.
        TransientError: the last attempt failed: lost, busy or too slow.
    """
    limits = limits or Limits()
    root = _repository(maven_url)
    missing = [jar for jar, state in examine_jars(folder).items() if _is_wrong(state)]
    if not missing:
        return []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(folder)
    except OSError as error:
        raise _cannot_write(folder, error) from None
    for jar in missing:
        attempts = Retrying(
            retry=retry_if_exception_type(TransientError),
            stop=stop_after_attempt(limits.attempts),
            wait=wait_random_exponential(multiplier=0.5, max=limits.longest_wait_s),
            reraise=True,
        )
        attempts(_fetch, jar, root, folder, report or (lambda *_: None), limits)
    return missing


def _is_wrong(state: JarState) -> bool:
    return state is not JarState.PRESENT


def _state(path: Path, jar: Jar) -> JarState:
    try:
        if path.stat().st_size != jar.size:
            return JarState.CORRUPT
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return JarState.MISSING
    except OSError as error:
        raise ConfigurationError(
            f"{path} cannot be read: {error.strerror}.", code="MA-SP-010"
        ) from None
    return JarState.PRESENT if found == jar.sha256 else JarState.CORRUPT


def _repository(maven_url: str) -> str:
    """The root of a repository without a slash at its end; never shown if it holds a password."""
    try:
        parts = urlsplit(maven_url)
        is_usable = parts.scheme in {"http", "https"} and bool(parts.hostname)
        has_login = parts.username is not None or parts.password is not None
    except ValueError:
        is_usable = has_login = False
    if has_login:
        raise ConfigurationError(
            "MIGRATION_MAVEN_URL has a user name or password in it.",
            code="MA-SP-011",
            next_step="Fetch the jars with your own Maven client, and copy them into the folder.",
        )
    if not is_usable:
        raise ConfigurationError(
            "MIGRATION_MAVEN_URL is not the http or https address of a Maven repository.",
            code="MA-SP-011",
        )
    return maven_url.rstrip("/")


def _remove_abandoned(folder: Path) -> None:
    for path in folder.glob(".*.part"):
        # Another run may have finished with it since it was listed.
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_mtime < time.time() - _ABANDONED_AFTER_S:
                path.unlink()


def _cannot_write(folder: Path, error: OSError) -> ConfigurationError:
    return ConfigurationError(
        f"The folder of the jars, {folder}, cannot be written: {error.strerror}.",
        code="MA-SP-010",
        next_step="Make it writable, or set MIGRATION_JARS to another folder.",
    )


def _fetch(jar: Jar, root: str, folder: Path, report: Report, limits: Limits) -> None:
    """One attempt: a file of its own, which gets the jar's name once its checksum is right."""
    url = f"{root}/{jar.repository_path}"
    part = folder / f".{jar.file_name}.{uuid.uuid4().hex}.part"
    try:
        # Not tempfile: its files are readable by their owner only.
        with part.open("xb") as file:
            _verified(jar, url, file.write, report, limits)
        part.replace(folder / jar.file_name)
    except OSError as error:
        raise _cannot_write(folder, error) from None
    finally:
        part.unlink(missing_ok=True)


def _verified(
    jar: Jar, url: str, write: Callable[[bytes], object], report: Report, limits: Limits
) -> None:
    digest, arrived = hashlib.sha256(), 0
    for chunk in _chunks(jar, url, limits):
        write(chunk)
        digest.update(chunk)
        arrived += len(chunk)
        report(jar, arrived)
        if arrived > jar.size:
            break
    if arrived < jar.size:
        raise ConnectionLostError(
            f"{jar.coordinate}: {url} gave {arrived} of {jar.size} bytes.",
            code="MA-SP-013",
            next_step="Try again.",
        )
    if digest.hexdigest() != jar.sha256:
        raise VerificationError(
            f"{jar.coordinate}: {url} is not the file of {LOCK_NAME}: its SHA-256 is another.",
            code="MA-SP-014",
            next_step="Check MIGRATION_MAVEN_URL; a proxy's page in place of the file, perhaps?",
        )


def _chunks(jar: Jar, url: str, limits: Limits) -> Iterator[bytes]:
    """What the server sends, as it comes; errors of the network become ours."""
    deadline = time.monotonic() + limits.total_s
    with (
        _translated(jar, url),
        urllib.request.urlopen(url, timeout=limits.silence_s) as answer,  # noqa: S310 - http(s)
    ):
        # read1 gives what has come: read would wait for a whole chunk, past any deadline.
        while chunk := answer.read1(_CHUNK_BYTES):
            yield chunk
            if time.monotonic() > deadline:
                raise OperationTimeoutError(
                    f"{jar.coordinate}: {url} takes longer than {limits.total_s:g} s.",
                    code="MA-SP-013",
                )


@contextmanager
def _translated(jar: Jar, url: str) -> Iterator[None]:
    try:
        yield
    except urllib.error.HTTPError as error:
        with error:
            raise _answer_error(jar, url, error.code) from None
    except (OSError, http.client.HTTPException) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        raise _network_error(jar, url, reason) from None


def _answer_error(jar: Jar, url: str, code: int) -> MigrationError:
    said = f"{jar.coordinate}: {url} answers HTTP {code}."
    if code in {404, 410}:
        return ObjectNotFoundError(
            said,
            code="MA-SP-012",
            next_step="Set MIGRATION_MAVEN_URL to a repository that has this jar.",
        )
    if code in {401, 403, 407}:
        return AccessDeniedError(
            said,
            code="MA-SP-012",
            next_step="Set MIGRATION_MAVEN_URL to a repository that needs no login.",
        )
    if code in {408, 425, 429} or code >= 500:
        return ServerBusyError(said, code="MA-SP-013", next_step="Try again later.")
    return ConfigurationError(said, code="MA-SP-012", next_step="Check MIGRATION_MAVEN_URL.")


def _network_error(jar: Jar, url: str, reason: object) -> MigrationError:
    if isinstance(reason, TimeoutError):
        return OperationTimeoutError(
            f"{jar.coordinate}: {url} sent nothing in time.",
            code="MA-SP-013",
            next_step="Try again later.",
        )
    if isinstance(reason, ssl.SSLCertVerificationError):
        return ConfigurationError(
            f"{jar.coordinate}: the certificate of {url} is not trusted: {reason.verify_message}.",
            code="MA-SP-015",
            next_step="Name the certificates to trust in SSL_CERT_FILE.",
        )
    said = str(reason) or type(reason).__name__
    return ConnectionLostError(
        f"{jar.coordinate}: {url} cannot be read: {said}.",
        code="MA-SP-013",
        next_step="Check the network, HTTPS_PROXY and MIGRATION_MAVEN_URL.",
    )

"""Locks of files: whether the process of a run still lives, and who goes on alone.

A process's number means nothing in another PID namespace (two containers may share host name and
history), and a dead process's is given to another one. A lock of a file beside the history is let go
by the kernel when its process ends, however that ends:
https://man7.org/linux/man-pages/man2/flock.2.html.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

HOST_TAG = "migration/host"
PID_TAG = "migration/pid"
"""Tags of a run that say which process executes it, so that a dead one can be told."""

LOCK_TAG = "migration/lock"
"""Tag of a run: name of the file that the process which executes it has locked."""

_FOLDER = "processes"
_held: dict[Path, str] = {}
_guard = threading.Lock()


def process_tags(home: Path | None) -> dict[str, str]:
    """Tags by which others can tell whether this process, which executes a run, still lives.

    Args:
        home: `DAGSTER_HOME`; None where there is none, and so no lock.
    """
    tags = {HOST_TAG: socket.gethostname(), PID_TAG: str(os.getpid())}
    if home is not None and (lock := own_lock(home)):
        tags[LOCK_TAG] = lock
    return tags


def own_lock(home: Path) -> str | None:
    """Lock a file for as long as this process lives; at the first call only.

    Args:
        home: `DAGSTER_HOME`.

    Returns:
        Its name; None where files cannot be locked.
    """
    folder = home.resolve() / _FOLDER
    with _guard:
        if folder not in _held:
            try:
                folder.mkdir(parents=True, exist_ok=True)
                _remove_abandoned(folder)
                name = f"{uuid.uuid4().hex}.lock"
                # Never closed: the lock goes with the process.
                file = os.open(folder / name, os.O_CREAT | os.O_RDWR, 0o600)
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                return None
            _held[folder] = name
        return _held[folder]


@contextlib.contextmanager
def alone(path: Path) -> Iterator[None]:
    """Hold the lock of a file: of all processes and threads that do so only one goes on at a time.

    Where files cannot be locked, or the folder is not there, all go on.

    Args:
        path: of the file, which is made and never removed.
    """
    try:
        file = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    except OSError:
        yield
        return
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
    finally:
        os.close(file)


def is_held(home: Path, name: str) -> bool | None:
    """Whether the process that locked a file lives; None where the file does not tell."""
    if Path(name).name != name:
        return None
    try:
        file = os.open(home.resolve() / _FOLDER / name, os.O_RDWR)
    except OSError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return None
    finally:
        os.close(file)
    return False


def _remove_abandoned(folder: Path) -> None:
    """Remove the files of processes that have ended: without one, the number must tell."""
    for path in folder.glob("*.lock"):
        if is_held(folder.parent, path.name) is False:
            with contextlib.suppress(OSError):
                path.unlink()

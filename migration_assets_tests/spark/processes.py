"""What /proc says of the processes that a command started."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path


def jvms_of(process_id: int) -> set[int]:
    """Processes called java among the descendants of a process."""
    parents: dict[int, list[tuple[int, str]]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            name, rest = (folder / "stat").read_text().split("(", 1)[1].rsplit(")", 1)
            parents.setdefault(int(rest.split()[1]), []).append((int(folder.name), name))
    found, todo = set(), [process_id]
    while todo:
        for child, name in parents.get(todo.pop(), []):
            todo.append(child)
            if name == "java":
                found.add(child)
    return found


def memory_of(process_id: int) -> int:
    """Bytes of memory that a process has; 0 when it is gone."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{process_id}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
    return 0


def is_gone(process_id: int) -> Callable[[], bool]:
    """Whether a process has ended; a zombie has."""
    return lambda: memory_of(process_id) == 0

"""A server in a process of its own: it prints its port as JSON, and ends with its stdin."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.measurement import ROOT


@contextmanager
def running(module: str, *arguments: str, **environment: str) -> Iterator[int]:
    """Start `python -m module` and yield its port; the process has ended when this returns.

    Args:
        module: of this package; it calls `serve`.
        arguments: of its command line.
        environment: variables beside those of this process.

    Raises:
        RuntimeError: the process ended before it listened.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        if not line:
            raise RuntimeError(f"{module} ended with exit code {process.wait()}")
        yield json.loads(line)["port"]
    finally:
        process.stdin.close()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def serve(port: int) -> None:
    """In the process: tell the port, and return when stdin ends."""
    print(json.dumps({"port": port}), flush=True)
    sys.stdin.read()

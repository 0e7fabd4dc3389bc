"""Runs the stand-in in the foreground: `python -m migration_assets.sandbox.starrocks`."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
from pathlib import Path

from migration_assets.sandbox.control import PASSWORD_VARIABLE
from migration_assets.sandbox.starrocks.server import StarRocksStandIn


def main() -> None:
    """Start, print one JSON line with port and control URL, wait for a signal, stop."""
    parser = argparse.ArgumentParser(description="A stand-in for StarRocks. It is not StarRocks.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--user", default="root")
    parser.add_argument(
        "--password", default=os.environ.get(PASSWORD_VARIABLE, ""),
        help=f"visible to everybody on this machine, unlike {PASSWORD_VARIABLE}",
    )  # fmt: skip
    parser.add_argument("--limit", type=int, help="max_user_connections of every user")
    parser.add_argument("--statements", type=Path, help="directory for the statement log")
    parser.add_argument(
        "--certificate", type=Path, metavar="FILE", help="offer TLS; where to write the certificate"
    )
    parser.add_argument("--exit-with-parent", action="store_true", help="stop when stdin ends")
    given = parser.parse_args()
    server = StarRocksStandIn(
        given.port,
        user=given.user,
        password=given.password,
        limit=given.limit,
        statements=given.statements,
        certificate=given.certificate,
    )
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    server.start()
    ready = json.dumps({"port": server.port, "control": server.control_url})
    print(ready, flush=True)  # noqa: T201 - the contract with whoever started it
    if given.exit_with_parent:
        threading.Thread(target=_wait_for_parent, args=[stop], daemon=True).start()
    stop.wait()
    server.stop()


def _wait_for_parent(stop: threading.Event) -> None:
    sys.stdin.read()
    stop.set()


if __name__ == "__main__":
    main()

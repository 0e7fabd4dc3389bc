"""`python -m migration_assets.sandbox.aws`: serve the stand-in until SIGTERM, SIGINT or EOF.

When ready it prints one JSON line on stdout: `{"port": 40123, "control": "http://127.0.0.1:40124"}`.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import signal
import sys
import threading
from pathlib import Path

from migration_assets.sandbox.aws.server import AwsStandIn, serve_in_thread
from migration_assets.sandbox.control import ControlServer, StatementLog, Switchboard

BANNER = "S3, Glue and Secrets Manager: a stand-in for development, demo and tests, not AWS"


def main() -> int:
    """Serve until told to stop; returns the exit code."""
    options = _options()
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    if options.exit_with_parent:
        threading.Thread(target=_await_parent, args=(stop,), daemon=True).start()

    board = Switchboard()
    log = StatementLog(options.statements, "aws")
    stand_in = AwsStandIn(options.port, options.bucket, board, log, options.certificate)
    control = ControlServer(board)
    serving = serve_in_thread(stand_in)
    sys.stderr.write(f"{BANNER}; http://127.0.0.1:{stand_in.port}\n")
    sys.stdout.write(json.dumps({"port": stand_in.port, "control": control.url}) + "\n")
    sys.stdout.flush()

    stop.wait()
    control.close()
    stand_in.close()
    serving.join(timeout=5)
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="migration_assets.sandbox.aws", description=BANNER)
    parser.add_argument("--port", type=int, default=0, help="loopback port; 0: a free one")
    parser.add_argument("--bucket", default="lake", help="the bucket that is there from the start")
    parser.add_argument("--statements", type=Path, help="directory for the log of all requests")
    parser.add_argument(
        "--certificate", type=Path, metavar="FILE", help="HTTPS; where to write the certificate"
    )
    parser.add_argument(
        "--exit-with-parent", action="store_true", help="stop when stdin closes or the parent dies"
    )
    return parser.parse_args()


def _await_parent(stop: threading.Event) -> None:
    """Set `stop` when stdin closes, or when the parent dies while a fork of it keeps stdin open."""
    parent = os.getppid()
    while os.getppid() == parent:
        readable, _, _ = select.select([sys.stdin], [], [], 0.5)
        if readable and not os.read(sys.stdin.fileno(), 4096):
            break
    stop.set()


if __name__ == "__main__":
    sys.exit(main())

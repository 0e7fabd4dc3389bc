"""Run the stand-in as a process: `python -m migration_assets.sandbox.sqlserver`."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
from pathlib import Path

from migration_assets.sandbox.control import PASSWORD_VARIABLE
from migration_assets.sandbox.sqlserver.encryption import Offer
from migration_assets.sandbox.sqlserver.server import FAKE_PASSWORD, SqlServerStandIn


def main() -> None:
    """Start, print one JSON line with port and control address, and serve until told to stop."""
    options = _arguments()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    stand_in = SqlServerStandIn(
        port=options.port, password=options.password, database=options.database,
        statements=options.statements, limit=options.limit, without=tuple(options.without),
        deny=tuple(options.deny), replay=options.replay,
        encryption=options.encryption, certificate=options.certificate,
    )  # fmt: skip
    for script in options.script:
        stand_in.execute_script(script.read_text(encoding="utf-8"))
    if options.sample is not None:
        from migration_assets.sandbox import sample

        sample.load_into(stand_in, options.sample)
    with stand_in:
        sys.stderr.write("stand-in, not SQL Server: a T-SQL subset on DuckDB, in memory\n")
        sys.stderr.flush()
        ready = {"port": stand_in.port, "control": stand_in.control_url}
        sys.stdout.write(json.dumps(ready) + "\n")
        sys.stdout.flush()
        if options.exit_with_parent:
            threading.Thread(target=_wait_for_end_of_input, args=(stop,), daemon=True).start()
        while not stop.wait(timeout=60):
            pass


def _wait_for_end_of_input(stop: threading.Event) -> None:
    # Not sys.stdin: its lock would be held by this thread when the interpreter ends.
    while os.read(0, 4096):
        pass
    stop.set()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m migration_assets.sandbox.sqlserver")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument(
        "--password", default=os.environ.get(PASSWORD_VARIABLE, FAKE_PASSWORD),
        help=f"of the login sa; visible to everybody on this machine, unlike {PASSWORD_VARIABLE}",
    )  # fmt: skip
    parser.add_argument("--database", default="shop")
    parser.add_argument("--statements", type=Path, help="directory of the statement log")
    parser.add_argument("--limit", type=int, help="refuse connections above this many")
    parser.add_argument("--sample", type=float, metavar="SCALE", help="load the sample database")
    parser.add_argument(
        "--script", type=Path, action="append", default=[], help="T-SQL to run first"
    )
    parser.add_argument(
        "--without", action="append", default=[], metavar="VIEW", help="answers 208"
    )
    parser.add_argument("--deny", action="append", default=[], metavar="VIEW", help="answers 371")
    parser.add_argument("--replay", metavar="REGEX", help="encode such answers once, then replay")
    parser.add_argument(
        "--encryption", type=Offer, choices=list(Offer), default=Offer.OFFERED,
        help="none: no TLS; required: Force Encryption",
    )  # fmt: skip
    parser.add_argument(
        "--certificate", type=Path, metavar="FILE", help="where to write the own certificate"
    )
    parser.add_argument("--exit-with-parent", action="store_true", help="stop at the end of stdin")
    return parser.parse_args()


if __name__ == "__main__":
    main()

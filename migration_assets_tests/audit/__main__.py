"""`make audit`: look for known vulnerabilities of the locked dependencies (https://osv.dev).

Reads requirements (`name==version` lines) from standard input. Ends with 0 when there is no
vulnerability but those of `accepted.toml`, or when the database cannot be reached: "not audited" is
said then, since a network that is down is no fault of a change. Ends with 1 when there is one, and with
2 when the audit itself fails.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

ACCEPTED = Path(__file__).with_name("accepted.toml")
TIMEOUT_S, LIMIT_S = 15, 600
"""Of one request, and of all."""
_UNREACHABLE = ("requests.exceptions.", "urllib3.exceptions.", "Could not connect to OSV")


@dataclass(frozen=True)
class Accepted:
    """A vulnerability that does not fail the audit before a day."""

    id: str
    package: str
    reason: str
    until: date


def load_accepted(path: Path, today: date) -> dict[tuple[str, str], Accepted]:
    """Those that are still accepted, by package and id."""
    entries = tomllib.loads(path.read_text(encoding="utf-8")).get("accepted", [])
    listed = [Accepted(**entry) for entry in entries]
    return {(entry.package, entry.id): entry for entry in listed if today < entry.until}


def audit(requirements: str, accepted: Path, osv_url: str | None) -> int:
    """Audit requirements and say what was found; returns the exit code."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "requirements.txt"
        path.write_text(requirements, encoding="utf-8")
        # No pip and no registry: what is locked is all there is to know.
        command = [
            *(sys.executable, "-m", "pip_audit", "--requirement", str(path)),
            *("--no-deps", "--disable-pip", "--vulnerability-service", "osv", "--format", "json"),
            *("--progress-spinner", "off", "--timeout", str(TIMEOUT_S)),
            *(("--osv-url", osv_url) if osv_url else ()),
        ]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=LIMIT_S, check=False
            )
        except subprocess.TimeoutExpired:
            return _not_audited(f"no result after {LIMIT_S} s")
    try:
        found = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        last = done.stderr.strip().splitlines()[-1:] or ["no output"]
        if any(sign in done.stderr for sign in _UNREACHABLE):
            return _not_audited(last[0])
        print(done.stderr, file=sys.stderr)
        return 2
    return _verdict(found, load_accepted(accepted, datetime.now(UTC).date()))


def _not_audited(why: str) -> int:
    print(f"not audited: the database of vulnerabilities is unreachable ({why[:300]})")
    return 0


def _verdict(
    dependencies: Sequence[dict[str, Any]], accepted: dict[tuple[str, str], Accepted]
) -> int:
    bad = 0
    for dependency in dependencies:
        name = dependency["name"]
        if "skip_reason" in dependency:
            print(f"not audited: {name}: {dependency['skip_reason']}")
            continue
        for vulnerability in dependency["vulns"]:
            ids = [vulnerability["id"], *vulnerability["aliases"]]
            known = next((accepted[name, i] for i in ids if (name, i) in accepted), None)
            fixed = ", ".join(vulnerability["fix_versions"]) or "no version yet"
            said = f"{name} {dependency['version']}: {vulnerability['id']}, mended in {fixed}"
            if known is not None:
                print(f"accepted until {known.until}: {said} ({known.reason})")
                continue
            print(f"VULNERABLE: {said}")
            bad += 1
    print(f"audited: {len(dependencies)} dependencies, {bad} vulnerabilities")
    return 1 if bad else 0


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--accepted", type=Path, default=ACCEPTED)
    parser.add_argument("--osv-url", help="another database that speaks OSV's protocol")
    given = parser.parse_args()
    return audit(sys.stdin.read(), given.accepted, given.osv_url)


if __name__ == "__main__":
    sys.exit(main())

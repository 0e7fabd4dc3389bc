"""`make audit` over a database of vulnerabilities of our own."""

import json
import threading
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from migration_assets_tests.audit.__main__ import ACCEPTED, audit, load_accepted

REQUIREMENTS = "good==1.0\nbad==2.0 ; python_full_version >= '3.11'\n"
VULNERABILITY = {
    "id": "GHSA-1",
    "aliases": ["CVE-2026-1"],
    "summary": "It leaks.",
    "details": "It leaks.",
    "modified": "2026-01-01T00:00:00Z",
    "affected": [
        {
            "package": {"name": "bad", "ecosystem": "PyPI"},
            "ranges": [
                {"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "2.1"}]}
            ],
        }
    ],
}  # fmt: skip


class Osv(BaseHTTPRequestHandler):
    """Knows one vulnerability, of one package."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        is_bad = asked["package"]["name"] == "bad"
        body = json.dumps({"vulns": [VULNERABILITY]} if is_bad else {}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Osv) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/v1/query"
        server.shutdown()
        thread.join()


@pytest.fixture
def accepting(tmp_path: Path) -> Callable[[str], Path]:
    def write(until: str) -> Path:
        path = tmp_path / "accepted.toml"
        entry = f'id = "CVE-2026-1"\npackage = "bad"\nreason = "Unused."\nuntil = {until}\n'
        path.write_text(f"[[accepted]]\n{entry}")
        return path

    return write


def test_a_vulnerability_fails_unless_it_is_accepted_and_no_longer_than_that(
    url: str, accepting: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert audit(REQUIREMENTS, ACCEPTED, url) == 1
    said = capsys.readouterr().out
    assert "VULNERABLE: bad 2.0: CVE-2026-1, mended in 2.1" in said
    assert "audited: 2 dependencies, 1 vulnerabilities" in said
    assert audit(REQUIREMENTS, accepting("9999-01-01"), url) == 0
    assert "accepted until 9999-01-01: bad 2.0" in capsys.readouterr().out
    until = date(2026, 5, 1)
    assert load_accepted(accepting("2026-05-01"), until - timedelta(days=1))
    assert not load_accepted(accepting("2026-05-01"), until)


def test_what_cannot_be_asked_is_told_and_is_no_failure(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert audit("good==1.0\n", ACCEPTED, "http://127.0.0.1:9/v1/query") == 0
    assert "not audited: the database of vulnerabilities is unreachable" in capsys.readouterr().out


def test_an_audit_that_fails_by_itself_is_no_success(capsys: pytest.CaptureFixture[str]) -> None:
    assert audit("no requirement at all !\n", ACCEPTED, "http://127.0.0.1:9/v1/query") == 2
    assert capsys.readouterr().err


def test_what_is_accepted_has_a_reason() -> None:
    assert all(entry.reason for entry in load_accepted(ACCEPTED, date.min).values())

"""docs/ as a site: every page has its place, every link and anchor leads somewhere, no warning."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from migration_assets_tests.documents import PAGES, ROOT


def build(configuration: Path, target: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--config-file", str(configuration),
         "--site-dir", str(target)],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    done = build(ROOT / "mkdocs.yml", tmp_path / "site")
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr, done.stderr
    for page in PAGES[1:]:
        text = (tmp_path / "site" / f"{page.stem}.html").read_text(encoding="utf-8")
        assert not re.search(r'<(?:script|img|link)[^>]+(?:src|href)="https?:', text), page
        assert "<!-- not run" in text or "<!-- not run" not in page.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[away](gone.md)", "gone.md"),
        ("[there](index.md#nothing)", "nothing"),
        ("![picture](gone.png)", "gone.png"),
    ],
)
def test_a_link_that_leads_nowhere_fails_the_build(tmp_path: Path, text: str, named: str) -> None:
    configuration = re.sub(
        r"\nnav:.*", "", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), flags=re.DOTALL
    )
    (tmp_path / "mkdocs.yml").write_text(configuration, encoding="utf-8")
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text(f"# Page\n\n{text}\n", encoding="utf-8")
    done = build(tmp_path / "mkdocs.yml", tmp_path / "site")
    assert done.returncode == 1
    assert named in done.stderr


def test_links_to_other_sites_are_well_formed() -> None:
    found = [
        (page.name, link)
        for page in PAGES
        for link in re.findall(r"\]\((\w+:[^)]*)\)|<(https?:[^>]*)>", page.read_text("utf-8"))
    ]
    assert len(found) > 20
    for page, link in found:
        parts = urlsplit("".join(link))
        assert parts.scheme in {"http", "https"}, (page, link)
        assert re.fullmatch(r"[\w.-]+\.\w+(:\d+)?", parts.netloc), (page, link)
        assert not re.search(r"\s", "".join(link)), (page, link)

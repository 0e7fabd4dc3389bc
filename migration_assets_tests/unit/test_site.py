"""docs/ as a site: every page has its place, every link and anchor leads somewhere, no warning."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

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


def test_links_that_lead_nowhere_fail_the_build(tmp_path: Path) -> None:
    configuration = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").split("\nnav:")[0]
    (tmp_path / "mkdocs.yml").write_text(
        configuration.replace("docs/site_links.py", str(ROOT / "docs" / "site_links.py")),
        encoding="utf-8",
    )
    (tmp_path / "docs").mkdir()
    links = (
        "[a](gone.md), [b](index.md#nothing), ![c](gone.png), [d](../gone.py), [e](../README.md)"
    )
    (tmp_path / "docs" / "index.md").write_text(f"# Page\n\n{links}\n", encoding="utf-8")
    done = build(tmp_path / "mkdocs.yml", tmp_path / "site")
    assert done.returncode == 1
    for gone in ("'gone.md'", "'index.md#nothing'", "'gone.png'", "'../gone.py'"):
        assert gone in done.stderr
    assert "README" not in done.stderr, "the hook makes it text: the repository has it"


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

"""The commands that README and docs/ show, and what is to be done with each in a test.

A fenced `sh` block is typed into a project over the sandbox, page by page from top to bottom, unless
a comment before it says otherwise:

    <!-- not run: needs Kubernetes -->      why no test can type it
    <!-- run in: local -->                  the name of another place, one of `PLACES`
    <!-- exits: 0 2 -->                     codes with which its commands may end; without it 0

Whoever adds a block has nothing to write down elsewhere: it is run, or it says why not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PLACES = {
    "sandbox": "all three stand-ins; sandbox/test_documents.py",
    "local": "only SQL Server's stand-in, and a local warehouse; sandbox/test_documents.py",
    "windows": "a project whose sales.Orders has a window a month; sandbox/test_documents.py",
    "database snapshot": "consistency: database_snapshot; sandbox/test_documents.py",
    "webserver": "a running `dagster dev`; sandbox/test_dagster_cli.py",
}
_BLOCK = re.compile(
    r"(?P<marks>(?:^[ ]*<!--[^\n]*-->\n)*)(?:^[ ]*\n)?"
    r"^(?P<indent>[ ]*)```(?P<language>\w*)[^\n]*\n(?P<text>.*?)^(?P=indent)```",
    re.MULTILINE | re.DOTALL,
)
_BARE = re.compile(r"""^((?:'[^']*'|"[^"]*"|[^'"#]|(?<=\S)#)*)#.*$""")
"""A line of a shell with a comment, and what stands before it."""
_MARK = re.compile(r"<!-- ([a-z ]+?)(?:: (.*?))? -->")
_SHELL = re.compile(r"[;|&$<>`(){}\\]|^\w+=")


@dataclass(frozen=True)
class Block:
    """A fenced block of commands.

    Attributes:
        line: of the file, where its fence is.
        marks: what the comments before it say.
    """

    path: Path
    line: int
    text: str
    language: str = "sh"
    marks: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"{self.path.relative_to(ROOT)}:{self.line}"

    @property
    def not_run(self) -> str | None:
        return self.marks.get("not run")

    @property
    def place(self) -> str:
        return self.marks.get("run in", "sandbox")

    @property
    def exits(self) -> set[int]:
        return {int(code) for code in self.marks.get("exits", "0").split()}

    @property
    def commands(self) -> list[str]:
        """Its commands without comments, one a line; a block that needs a shell is one.

        Of a `console` block those behind a `$`: the rest is what they print.
        """
        lines = self.text.splitlines()
        if self.language == "console":
            lines = [line[2:] for line in lines if line.startswith("$ ")]
        bare = [_BARE.sub(r"\1", line).strip() for line in lines]
        if any(_SHELL.search(line) for line in bare):
            return ["".join(f"{line}\n" for line in lines)]
        return [line for line in bare if line]


def blocks(pages: Sequence[Path] = PAGES) -> list[Block]:
    """Every block of commands of the pages, in their order."""
    return [block for path in pages for block in _of(path, path.read_text(encoding="utf-8"))]


def _of(path: Path, text: str) -> Iterator[Block]:
    for found in _BLOCK.finditer(text):
        if found["language"] in {"sh", "bash", "shell", "console"}:
            indent = len(found["indent"])
            yield Block(
                path,
                text[: found.start("indent")].count("\n") + 1,
                "".join(line[indent:] for line in found["text"].splitlines(keepends=True)),
                found["language"],
                {name: value.strip() for name, value in _MARK.findall(found["marks"])},
            )

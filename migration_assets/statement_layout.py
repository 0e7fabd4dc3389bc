"""Lays out a SQL statement for a person who reads it at 80 columns; pure.

Only blanks between words change: what is quoted, and comments, stay as they are. So the statement that
is shown is the one that is sent, and can be pasted into a client.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

WIDTH = 80
_INDENT = 2
_TOKEN = re.compile(
    r"(?P<blank>\s+)"
    r"|(?P<comment>--[^\n]*|/\*.*?\*/)"
    r"|(?P<quoted>'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|\[(?:[^\]]|\]\])*\]|`[^`]*`)"
    r"|(?P<word>\w[\w@$#.]*)"
    r"|(?P<sign>.)",
    re.DOTALL,
)
_CLAUSES = frozenset(
    {
        *(
            "SELECT",
            "FROM",
            "WHERE",
            "GROUP",
            "ORDER",
            "UNION",
            "DUPLICATE",
            "COMMENT",
            "PARTITION",
        ),
        *("DISTRIBUTED", "PROPERTIES", "WITH", "AND", "OR", "FOR"),
    }
)
"""Words that begin a line where they stand outside of all parentheses."""
_INNER_CLAUSES = frozenset({"SELECT", "FROM", "WHERE", "GROUP", "ORDER", "UNION"})
"""Words that do so in a query in parentheses as well."""


@dataclass(frozen=True)
class _Piece:
    """What is never divided: a word, a quoted part, a sign; with what stood before it.

    Attributes:
        depth: of parentheses around it.
        spaced: a blank stood before it.
        indent: blanks before it, where it began a line; else None.
    """

    text: str
    kind: str
    depth: int
    spaced: bool
    indent: int | None = None


def laid_out(sql: str, width: int = WIDTH) -> str:
    """The statement in lines of at most `width`, as far as no quoted part or name is longer.

    Clauses and the items of a list begin lines of their own; what is still too long goes on below,
    further to the right.
    """
    lines: list[str] = []
    for number, line in enumerate(_lines(list(_pieces(sql)))):
        begins = number == 0 or line[0].text.upper() in {*_CLAUSES, ")"}
        lines += _folded(line, 0 if begins else _INDENT, width)
    return "\n".join(lines)


def folded(sql: str, width: int = WIDTH) -> str:
    """The statement in its own lines, of which those that are too long go on below."""
    lines: list[str] = []
    line: list[_Piece] = []
    for piece in _pieces(sql):
        if piece.indent is not None and line:
            lines += _folded(line, line[0].indent or 0, width)
            line = []
        line.append(piece)
    lines += _folded(line, line[0].indent or 0, width) if line else []
    return "\n".join(lines)


def _pieces(sql: str) -> Iterator[_Piece]:
    depth, spaced = 0, False
    indent: int | None = None
    for found in _TOKEN.finditer(sql):
        kind, text = str(found.lastgroup), found[0]
        if kind == "blank":
            spaced = True
            indent = len(text) - text.rfind("\n") - 1 if "\n" in text else None
            continue
        if text == ")":
            depth = max(depth - 1, 0)
        yield _Piece(text, kind, depth, spaced, indent)
        if text == "(":
            depth += 1
        spaced, indent = False, None


def _lines(pieces: Sequence[_Piece]) -> Iterator[list[_Piece]]:
    """Divide at clauses, and at the commas of the outermost lists."""
    line: list[_Piece] = []
    queries = [0]
    """Depths at which a query stands: the statement itself, and those in parentheses."""
    for position, piece in enumerate(pieces):
        word = piece.text.upper() if piece.kind == "word" else ""
        before = pieces[position - 1] if position else None
        if piece.text == ")" and len(queries) > 1 and queries[-1] > piece.depth:
            queries.pop()
            if line:
                yield line
            line = []
        if word == "SELECT" and before is not None and before.text == "(":
            queries.append(piece.depth)
        clauses = _CLAUSES if len(queries) == 1 else _INNER_CLAUSES
        begins = piece.depth == queries[-1] and word in clauses and piece.spaced
        begins |= word == "SELECT" and piece.depth == queries[-1]
        begins |= piece.kind == "comment" or (before is not None and before.kind == "comment")
        if line and begins:
            yield line
            line = []
        line.append(piece)
        if piece.text == "," and piece.depth == queries[-1]:
            yield line
            line = []
    if line:
        yield line


def _folded(pieces: Sequence[_Piece], base: int, width: int) -> Iterator[str]:
    """One line as text, folded between pieces that a blank, a comma or a parenthesis divides."""
    line = ""
    for atom, spaced in _atoms(pieces):
        joined = f"{line}{' ' if spaced else ''}{atom}" if line else " " * base + atom
        if line and (len(joined) > width or line.lstrip().startswith("--")):
            yield line
            line = " " * (base + _INDENT) + atom
        else:
            line = joined
    yield line


def _atoms(pieces: Sequence[_Piece]) -> Iterator[tuple[str, bool]]:
    """What cannot be divided, and whether a blank stands before it."""
    atom, spaced = pieces[0].text, False
    for before, piece in pairwise(pieces):
        if piece.spaced or (before.text in {"(", ","} and before.kind == "sign"):
            yield atom, spaced
            atom, spaced = piece.text, piece.spaced
        else:
            atom += piece.text
    yield atom, spaced


def commented(text: str, width: int = WIDTH) -> str:
    """Text as a SQL comment, its lines folded at blanks and its indents kept."""
    import textwrap

    lines: list[str] = []
    for line in text.splitlines():
        indent = " " * (len(line) - len(line.lstrip()) + 2)
        folded = textwrap.wrap(
            line, width - 3, subsequent_indent=indent, break_long_words=False,
            break_on_hyphens=False, replace_whitespace=False,
        )  # fmt: skip
        lines += folded or [""]
    return "\n".join(f"-- {line}".rstrip() for line in lines)

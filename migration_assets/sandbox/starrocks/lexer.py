"""Words of a StarRocks statement, for everything that is not a query.

Queries go to sqlglot. Definitions and loads are read here instead, because sqlglot accepts clauses
in any order, and knows neither `WITH LABEL` nor external catalogs.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from migration_assets.sandbox.starrocks.errors import StarRocksError, syntax_error, unsupported

TokenKind = Literal["string", "name", "number", "word", "operator", "end"]

_PATTERN = re.compile(
    r"""(?P<space>\s+|--[^\n]*|\#[^\n]*|/\*(?!\+).*?\*/)
      | (?P<string>'(?:[^'\\]|\\.|'')*'|"(?:[^"\\]|\\.|"")*")
      | (?P<name>`(?:[^`]|``)*`)
      | (?P<number>\d+(?:\.\d+)?(?:[eE][+-]?\d+)?(?![\w])|\.\d+)
      | (?P<word>[\w$]+)
      | (?P<operator>@@|<=>|<=|>=|<>|!=|\|\||&&|/\*\+|.)""",
    re.DOTALL | re.VERBOSE,
)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "0": "\0", "b": "\b", "Z": "\x1a"}


@dataclass(frozen=True)
class Token:
    """One word of a statement; `text` is unquoted, `start` its offset in the statement."""

    kind: TokenKind
    text: str
    start: int


def clean(statement: str) -> str:
    """Remove doubled backquotes inside names: StarRocks drops them, they are not an escape."""

    def name(match: re.Match[str]) -> str:
        text = match.group()
        return f"`{text[1:-1].replace('`', '')}`" if match.lastgroup == "name" else text

    return _PATTERN.sub(name, statement)


_SECRET = re.compile(
    r"""((?:access_key|secret_key|session_token|credential|token|password)["'`]?\s*=\s*
        |IDENTIFIED\s+BY\s+)("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')""",
    re.IGNORECASE | re.VERBOSE,
)


def masked(statement: str) -> str:
    """The statement with its secrets starred out, for the log and the process list."""
    return _SECRET.sub(r"\1'***'", statement)


def split(statements: str) -> list[str]:
    """Split at semicolons outside strings and names; empty statements are dropped."""
    parts, begin = [], 0
    for match in _PATTERN.finditer(statements):
        if match.lastgroup == "operator" and match.group() == ";":
            parts.append(statements[begin : match.start()])
            begin = match.end()
    parts.append(statements[begin:])
    return [part.strip() for part in parts if tokens(part)[0].kind != "end"]


def tokens(statement: str) -> list[Token]:
    """Cut a statement into words, with one `end` token behind the last."""
    found = []
    for match in _PATTERN.finditer(statement):
        kind, text = match.lastgroup, match.group()
        if kind == "space":
            continue
        if text == "/*+":
            raise unsupported("hints (/*+ ... */)")
        if kind == "string":
            text = _unquote(text)
        elif kind == "name":
            text = text[1:-1].replace("`", "")
        found.append(Token(kind, text, match.start()))  # type: ignore[arg-type] # a group's name
    return [*found, Token("end", "", len(statement))]


def _unquote(literal: str) -> str:
    quote, body = literal[0], literal[1:-1].replace(literal[0] * 2, literal[0])
    del quote
    return re.sub(r"\\(.)", lambda m: _ESCAPES.get(m[1], m[1]), body, flags=re.DOTALL)


class Reader:
    """Reads a statement word by word; keywords are compared without case."""

    def __init__(self, statement: str) -> None:
        """Cut `statement` into words."""
        self.statement = statement
        self._tokens = tokens(statement)
        self._at = 0

    @property
    def next(self) -> Token:
        """The word that comes next."""
        return self._tokens[self._at]

    @property
    def rest(self) -> str:
        """The text from the next word on."""
        return self.statement[self.next.start :]

    def at(self, *words: str, ahead: int = 0) -> bool:
        """Whether the next words are these keywords or operators."""
        for i, word in enumerate(words):
            token = self._tokens[min(self._at + ahead + i, len(self._tokens) - 1)]
            if token.kind not in ("word", "operator") or token.text.upper() != word:
                return False
        return True

    def take(self, *words: str) -> bool:
        """Skip these words if they come next."""
        if not self.at(*words):
            return False
        self._at += len(words)
        return True

    def expect(self, *words: str) -> None:
        """Skip these words; a syntax error when something else comes."""
        for word in words:
            if not self.take(word):
                raise self.error()

    def one_of(self, *words: str) -> str:
        """Skip one of these keywords and return it; "" when none comes next."""
        for word in words:
            if self.take(word):
                return word
        return ""

    def name(self) -> str:
        """Read an identifier, quoted or not."""
        token = self.next
        if token.kind not in ("name", "word"):
            raise self.error()
        self._at += 1
        return token.text

    def names(self) -> list[str]:
        """Read `(a, b, ...)`."""
        self.expect("(")
        found = [self.name()]
        while self.take(","):
            found.append(self.name())
        self.expect(")")
        return found

    def dotted_name(self) -> list[str]:
        """Read `a`, `a.b` or `a.b.c`."""
        parts = [self.name()]
        while self.take("."):
            parts.append(self.name())
        return parts

    def string(self) -> str:
        """Read a string literal."""
        return self._literal("string")

    def integer(self) -> int:
        """Read a number without sign or fraction."""
        text = self._literal("number")
        if not text.isdigit():
            raise syntax_error(text)
        return int(text)

    def name_or_string(self) -> str:
        """Read an identifier or a string literal (users, labels)."""
        return self.string() if self.next.kind == "string" else self.name()

    def value(self) -> str:
        """Read a literal or a bare word as its text, with a sign where there is one."""
        sign = "-" if self.take("-") else ""
        token = self.next
        if token.kind not in ("string", "number", "word", "name"):
            raise self.error()
        self._at += 1
        return sign + token.text

    def properties(self) -> dict[str, str]:
        """Read `("key" = "value", ...)`."""
        self.expect("(")
        found = {}
        while True:
            key = self.name_or_string()
            self.expect("=")
            found[key] = self.value()
            if not self.take(","):
                self.expect(")")
                return found

    def end(self) -> None:
        """A syntax error unless the statement is at its end."""
        if self.next.kind != "end":
            raise self.error()

    def error(self) -> StarRocksError:
        """A syntax error at the next word."""
        before = self.statement[: self.next.start]
        line = before.count("\n") + 1
        text = self.next.text or "<EOF>"
        return syntax_error(text, line, len(before) - before.rfind("\n") - 1)

    def _literal(self, kind: TokenKind) -> str:
        token = self.next
        if token.kind != kind:
            raise self.error()
        self._at += 1
        return token.text

"""A T-SQL batch cut into statements, which T-SQL does not separate by semicolons; and GO scripts."""

from __future__ import annotations

import re
from dataclasses import dataclass

from sqlglot.errors import SqlglotError
from sqlglot.tokenizer_core import TokenType

from migration_assets.sandbox.sqlserver.dialect import StandInTSQL
from migration_assets.sandbox.sqlserver.errors import SqlServerError, unsupported

_STARTS = {
    "SELECT", "INSERT", "UPDATE", "DELETE", "CREATE", "DROP", "ALTER", "TRUNCATE", "SET", "USE",
    "BEGIN", "COMMIT", "ROLLBACK", "SAVE", "EXEC", "EXECUTE", "DECLARE", "IF", "PRINT", "WITH",
    "MERGE", "GRANT", "DENY", "REVOKE", "RAISERROR", "THROW", "WAITFOR", "WHILE", "DBCC",
}  # fmt: skip
_WHOLE_BATCH = {"VIEW", "PROCEDURE", "PROC", "TRIGGER", "FUNCTION"}
"""What CREATE takes to the end of the batch."""
_SET_OPERATORS = {"UNION", "ALL", "EXCEPT", "INTERSECT"}
_NAMED = {TokenType.IDENTIFIER, TokenType.STRING, TokenType.NATIONAL_STRING}


@dataclass(frozen=True)
class Word:
    """One token.

    Attributes:
        text: as written; without quotes for names and strings.
        quoted: it is a quoted name or a string, so never a keyword.
        string: it is a string.
        start: where it starts in the text.
        end: behind its last character.
        line: counted from 1.
    """

    text: str
    quoted: bool
    string: bool
    start: int
    end: int
    line: int

    @property
    def upper(self) -> str:
        """The keyword it may be; empty when quoted."""
        return "" if self.quoted else self.text.upper()


@dataclass(frozen=True)
class Statement:
    """One statement of a batch: its text, its first word in upper case, its line from 1."""

    text: str
    keyword: str
    line: int


def words_of(text: str) -> list[Word]:
    """Tokenize T-SQL; what sqlglot takes as one token, such as PRIMARY KEY, is cut into words.

    Raises:
        SqlServerError: 105 for an unclosed quote and the like.
    """
    try:
        tokens = StandInTSQL().tokenize(text)
    except SqlglotError as error:
        raise SqlServerError(105, f"Unclosed quotation mark or bad token: {error}", 15) from error
    words = []
    for token in tokens:
        if token.token_type in _NAMED:
            string = token.token_type != TokenType.IDENTIFIER
            words.append(Word(token.text, True, string, token.start, token.end + 1, token.line))  # noqa: FBT003
            continue
        for part in re.finditer(r"\S+", text[token.start : token.end + 1]):
            start = token.start + part.start()
            words.append(Word(part[0], False, False, start, start + len(part[0]), token.line))  # noqa: FBT003
    return words


def split(text: str) -> list[Statement]:
    """Cut a batch into its statements."""
    words = words_of(text)
    starts: list[int] = []
    state = _State()
    for position, word in enumerate(words):
        if state.begins(words, position):
            starts.append(position)
        state.advance(word)
    statements = []
    for index, start in enumerate(starts):
        end = starts[index + 1] - 1 if index + 1 < len(starts) else len(words) - 1
        while end > start and words[end].upper == ";":
            end -= 1
        first = words[start]
        if first.upper != ";":
            piece = text[first.start : words[end].end]
            statements.append(Statement(piece, first.upper, first.line))
    return statements


class _State:
    """What is known of the statement that is being read."""

    def __init__(self) -> None:
        self.depth = 0
        self.keyword = ""
        self.open = True  # the next statement keyword belongs to the current statement
        self.previous = ";"

    def begins(self, words: list[Word], position: int) -> bool:
        word = words[position].upper
        if self.previous == ";":
            self.keyword = "" if word == ";" else word
            self.open = word in {"WITH", "IF", "INSERT"}
            return True
        if self.depth or word not in _STARTS or self.previous == ".":
            return False
        following = words[position + 1].upper if position + 1 < len(words) else ""
        if self._belongs(word, following):
            return False
        self.keyword, self.open = word, word in {"IF", "INSERT"}
        return True

    def _belongs(self, word: str, following: str) -> bool:
        if word == "WITH" or self.keyword in {"GRANT", "DENY", "REVOKE", "CREATE VIEW"}:
            return True
        if self.keyword == "IF" and self.open:
            self.keyword, self.open = word, word == "INSERT"
            return True
        if self.previous == "ELSE":
            self.keyword, self.open = word, word == "INSERT"
            return True
        if word == "SELECT" and (self.open or self.previous in _SET_OPERATORS):
            self.open = False
            return True
        if self.keyword == "WITH" and self.open:
            self.keyword, self.open = word, word == "INSERT"
            return True
        if word == "SET" and self.keyword in {"UPDATE", "ALTER"}:
            return True
        if self.keyword == "ALTER" and word in {"DROP", "ALTER"}:
            return following in {"COLUMN", "CONSTRAINT"}
        if self.keyword == "DECLARE" and word == "SELECT":
            return False
        if word == "IF":
            return following == "EXISTS"
        return self.previous in {"ON", "FOR", "THEN"} and word in {"UPDATE", "DELETE", "INSERT"}

    def advance(self, word: Word) -> None:
        before, self.previous = self.previous, word.upper
        is_whole = self.previous in _WHOLE_BATCH and before != "PARTITION"
        if self.keyword == "CREATE" and not self.depth and is_whole:
            self.keyword = "CREATE VIEW"
        self.depth += {"(": 1, ")": -1}.get(self.previous, 0)


def scripts(text: str) -> list[str]:
    """Cut a script into its batches at the lines that say GO."""
    parts = re.split(r"^[ \t]*GO[ \t]*;?[ \t]*$", text, flags=re.IGNORECASE | re.MULTILINE)
    return [part for part in parts if part.strip()]


class Reader:
    """Reads the tokens of one statement from left to right."""

    def __init__(self, text: str) -> None:
        """Read `text`."""
        self.text = text
        self._words = words_of(text)
        self._at = 0

    def peek(self, ahead: int = 0) -> str:
        """Upper-case text of a token; empty for a quoted name and after the end."""
        word = self._word(ahead)
        return "" if word is None else word.upper

    def word(self, ahead: int = 0) -> str:
        """Text of a token as written, without quotes; empty after the end."""
        word = self._word(ahead)
        return "" if word is None else word.text

    def _word(self, ahead: int = 0) -> Word | None:
        at = self._at + ahead
        return self._words[at] if at < len(self._words) else None

    @property
    def done(self) -> bool:
        """Whether nothing but semicolons is left."""
        return all(word.upper == ";" for word in self._words[self._at :])

    def accept(self, *words: str) -> bool:
        """Read these words if they come next."""
        if all(self.peek(i) == word for i, word in enumerate(words)):
            self._at += len(words)
            return True
        return False

    def expect(self, *words: str) -> None:
        """Read these words.

        Raises:
            SqlServerError: 102 when something else comes.
        """
        if not self.accept(*words):
            raise self.error()

    def error(self) -> SqlServerError:
        """Error 102 at the next token."""
        word = self._word()
        return SqlServerError(102, f"Incorrect syntax near '{word.text if word else ''}'.", 15)

    def name(self) -> str:
        """Read one identifier, quoted or not."""
        word = self._word()
        if word is None or word.upper in {"(", ")", ",", ".", "="}:
            raise self.error()
        self._at += 1
        return word.text

    def object_name(self) -> list[str]:
        """Read a dotted name."""
        parts = [self.name()]
        while self.accept("."):
            parts.append(self.name())
        return parts

    def string(self) -> str:
        """Read a string literal."""
        word = self._word()
        if word is None or not word.string:
            raise self.error()
        self._at += 1
        return word.text

    def integer(self) -> int:
        """Read a whole number with an optional sign."""
        sign = -1 if self.accept("-") else 1
        word = self._word()
        if word is None or not word.text.isdigit():
            raise self.error()
        self._at += 1
        return sign * int(word.text)

    def names(self) -> list[str]:
        """Read a list of names in parentheses."""
        return [name for name, _ in self.ordered_names()]

    def ordered_names(self) -> list[tuple[str, bool]]:
        """Read a list of names in parentheses, each with True for DESC."""
        self.expect("(")
        names = []
        while True:
            name = self.name()
            names.append((name, self.accept("DESC")))
            self.accept("ASC")
            if self.accept(")"):
                return names
            self.expect(",")

    def parenthesised(self) -> str:
        """Read a balanced pair of parentheses; returns its text with them."""
        start = self._word()
        if start is None or start.upper != "(":
            raise self.error()
        depth = 0
        while True:
            word = self._word()
            if word is None:
                raise self.error()
            self._at += 1
            depth += {"(": 1, ")": -1}.get(word.upper, 0)
            if depth == 0:
                return self.text[start.start : word.end]

    def until(self, *words: str) -> str:
        """Read up to one of these words at depth 0, or to the end; returns the text."""
        start = self._word()
        if start is None:
            return ""
        end = start.start
        while (word := self._word()) is not None and self.peek() not in words:
            if word.upper == "(":
                self.parenthesised()
            else:
                self._at += 1
            end = self._words[self._at - 1].end
        return self.text[start.start : end].rstrip("; \n")

    def rest(self) -> str:
        """Everything that is left."""
        word = self._word()
        self._at = len(self._words)
        return "" if word is None else self.text[word.start :]

    def finish(self) -> None:
        """Require that nothing is left.

        Raises:
            SqlServerError: 50001 naming what is left.
        """
        if not self.done:
            raise unsupported(f"'{self.rest()[:60]}'")

"""A query of the user's as a table: what text is taken for one, and how it stands in FROM; pure.

The query is wrapped as a derived table, so it must be what T-SQL allows there: one SELECT without
WITH before it, and no ORDER BY without TOP, OFFSET or FOR XML
(https://learn.microsoft.com/sql/t-sql/queries/from-transact-sql,
https://learn.microsoft.com/sql/t-sql/queries/select-order-by-clause-transact-sql). SQL Server says
the rest when the plan is made; here it is made sure that the text cannot reach beyond the parentheses
around it, and that the commonest mistakes are told before a server is asked.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

ALIAS = "[q]"
"""Name of the derived table; nothing refers to it."""

_MAKE_A_VIEW = "create a view of it in SQL Server and name that under `views`"
_TOKEN = re.compile(
    r"(?P<blank>\s+|--[^\n]*)"
    r"|(?P<comment>/\*)"
    r"|(?P<quoted>'(?:[^']|'')*+'|\"(?:[^\"]|\"\")*+\"|\[(?:[^\]]|\]\])*+\])"
    r"|(?P<word>[^\W\d][\w@$#]*|[@#][\w@$#]*|\d[\w.]*)"
    r"|(?P<sign>.)",
    re.DOTALL,
)
_COMMENT_EDGE = re.compile(r"/\*|\*/")

_OTHER_STATEMENTS = frozenset(
    {
        *("ALTER", "BACKUP", "BEGIN", "CREATE", "DECLARE", "DELETE", "DENY", "DROP", "EXEC"),
        *("EXECUTE", "GRANT", "IF", "INSERT", "KILL", "RESTORE", "RETURN", "REVOKE", "SET"),
        *("SHUTDOWN", "TRUNCATE", "UPDATE", "WAITFOR", "WHILE"),
    }
)
"""Reserved words, so no column has one without quotes
(https://learn.microsoft.com/sql/t-sql/language-elements/reserved-keywords-transact-sql)."""


class _Token(NamedTuple):
    """A word in capitals, or a sign; and where it stands."""

    text: str
    start: int
    depth: int


def single_select(text: str) -> str:
    """Check the text of a query, and return it without blanks around it and semicolons behind it.

    Args:
        text: T-SQL, as `select` in migration.yaml has it.

    Raises:
        ValueError: it is not one SELECT that can stand in FROM; says what was found.
    """
    if re.search(r"\r(?!\n)|[\0\x85\u2028\u2029]", text):
        raise ValueError("it has a control character that servers read differently")
    tokens = list(_tokens(text))
    while tokens and tokens[-1].text == ";":
        end = tokens.pop().start
        text = f"{text[:end]} {text[end + 1 :]}"
    if not tokens:
        raise ValueError("it holds no query")
    _refuse_other_starts(tokens[0])
    for before, token in zip([None, *tokens], tokens, strict=False):
        _refuse(token, None if before is None else before.text)
    if tokens[-1].depth + (tokens[-1].text == "(") - (tokens[-1].text == ")"):
        raise ValueError("a parenthesis is not closed")
    _refuse_order({token.text for token in tokens if token.depth == 0})
    return text.strip()


def single_condition(text: str) -> str:
    """Check the text of a condition, and return it without blanks around it.

    Args:
        text: T-SQL, as `where` in migration.yaml has it.

    Raises:
        ValueError: it is not one condition that can stand in parentheses after WHERE, or chooses
            other rows each time; says what was found.
    """
    if re.search(r"\r(?!\n)|[\0\x85\u2028\u2029]", text):
        raise ValueError("it has a control character that servers read differently")
    tokens = list(_tokens(text))
    if not tokens:
        raise ValueError("it holds no condition")
    if tokens[0].text == "WHERE":
        raise ValueError("it begins with WHERE, which is put before it anyway")
    for before, token in zip([None, *tokens], tokens, strict=False):
        if token.text == ";":
            raise ValueError("it holds a semicolon, and only one condition is taken")
        if token.text in _NO_PART_OF_A_CONDITION and token.depth == 0:
            raise ValueError(f"it holds {token.text}, and only one condition is taken")
        if token.text.startswith("@"):
            raise ValueError(f"it holds the variable {token.text}, which nobody sets")
        _refuse_unsteady(token, before)
        _refuse(token, "(" if before is None else before.text)
    if tokens[-1].depth + (tokens[-1].text == "(") - (tokens[-1].text == ")"):
        raise ValueError("a parenthesis is not closed")
    return text.strip()


_NO_PART_OF_A_CONDITION = frozenset(
    {"SELECT", "UNION", "EXCEPT", "INTERSECT", "ORDER", "GROUP", "HAVING", "OPTION"}
)
_UNSTEADY = frozenset(
    {
        *("GETDATE", "GETUTCDATE", "SYSDATETIME", "SYSUTCDATETIME", "SYSDATETIMEOFFSET"),
        *("CURRENT_TIMESTAMP", "CURRENT_DATE", "NEWID", "NEWSEQUENTIALID", "RAND"),
        "CRYPT_GEN_RANDOM",
    }
)


def _refuse_unsteady(token: _Token, before: _Token | None) -> None:
    """Refuse clocks and random numbers: rows and their fingerprint are read one after the other."""
    if token.text in _UNSTEADY and (before is None or before.text != "."):
        raise ValueError(
            f"it holds {token.text}, so it would choose other rows each time; write a fixed value"
        )


def filtered(source: str, columns: Sequence[str], condition: str, alias: str) -> str:
    """The FROM item of the rows of another one that fulfil a checked condition.

    Args:
        source: a quoted name, or another derived table.
        columns: quoted names, or expressions with names; not `*`, which hidden columns are no part of.
        condition: empty for all rows, else as `single_condition` gives it; a comment at its end does not swallow the
            parenthesis.
        alias: quoted name of the result.
    """
    where = f" WHERE (\n{condition}\n)" if condition else ""
    return f"(SELECT {', '.join(columns)} FROM {source}{where}) AS {alias}"


def derived_table(query: str) -> str:
    """The FROM item of a checked query; a comment at its end does not swallow the parenthesis."""
    return f"(\n{query}\n) AS {ALIAS}"


def _tokens(text: str) -> Iterator[_Token]:
    """What counts of a text: no blanks, comments or quoted parts.

    Raises:
        ValueError: a comment, a quote or a parenthesis is not closed, or one is closed too often.
    """
    position, depth = 0, 0
    while (found := _TOKEN.match(text, position)) is not None:  # any character is a sign at least
        start, position = position, found.end()
        if found.lastgroup == "comment":
            position = _comment_end(text, start)
        elif found.lastgroup == "quoted":
            yield _Token("''", start, depth)
        elif found.lastgroup in {"word", "sign"}:
            sign = found[0]
            if sign in {"'", '"', "["}:
                raise ValueError(f"what {sign} begins has no end")
            if sign == ")":
                depth -= 1
                if depth < 0:
                    raise ValueError("it has a ) too many")
                yield _Token(sign, start, depth + 1)
                continue
            yield _Token(sign.upper(), start, depth)
            depth += sign == "("


def _comment_end(text: str, start: int) -> int:
    """Where a comment ends; T-SQL's lie within one another.

    https://learn.microsoft.com/sql/t-sql/language-elements/slash-star-comment-transact-sql
    """
    depth = 0
    for edge in _COMMENT_EDGE.finditer(text, start):
        depth += 1 if edge[0] == "/*" else -1
        if depth == 0:
            return edge.end()
    raise ValueError("a comment has no end")


def _refuse_other_starts(first: _Token) -> None:
    if first.text == "WITH":
        raise ValueError(f"WITH cannot stand in a derived table: {_MAKE_A_VIEW}")
    if first.text != "SELECT":
        raise ValueError(f"it begins with {first.text}, and only one SELECT is taken")


def _refuse(token: _Token, before: str | None) -> None:
    """Refuse what makes it more, or something else, than one SELECT."""
    if token.text == ";":
        raise ValueError("it holds a semicolon, and only one SELECT is taken")
    if token.text == "INTO":
        raise ValueError("SELECT INTO makes a table, and only rows are read here")
    if token.text in _OTHER_STATEMENTS:
        raise ValueError(f"it holds {token.text}, and only one SELECT is taken")
    is_first_of_its_own = before in {None, "(", "UNION", "ALL", "EXCEPT", "INTERSECT"}
    if token.text == "SELECT" and not is_first_of_its_own:
        raise ValueError("it holds a second SELECT that no UNION, EXCEPT or INTERSECT joins")


def _refuse_order(outside: set[str]) -> None:
    """Refuse what SQL Server does not take in a derived table, of the words outside parentheses."""
    if "OPTION" in outside:
        raise ValueError("OPTION cannot stand in a derived table")
    if "ORDER" in outside and not outside & {"TOP", "OFFSET", "XML"}:
        raise ValueError(
            "ORDER BY cannot stand in a derived table without TOP, and partitions have no order: "
            "take it out"
        )

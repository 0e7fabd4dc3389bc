"""Which text is one SELECT, and that nothing of it reaches beyond the parentheses around it."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from migration_assets.source_query import derived_table, single_select


@pytest.mark.parametrize(
    ("text", "taken"),
    [
        ("SELECT a FROM t", "SELECT a FROM t"),
        ("\n  select 1 AS a ;\n; ", "select 1 AS a"),
        ("SELECT a FROM t; -- the end", "SELECT a FROM t  -- the end"),
        ("/* WITH */ -- INTO\nSELECT a FROM t", "/* WITH */ -- INTO\nSELECT a FROM t"),
        ("SELECT a FROM t WITH (NOLOCK)", None),
        ("SELECT a FROM t UNION ALL SELECT b FROM u EXCEPT SELECT 1", None),
        ("SELECT a FROM t WHERE a > ALL (SELECT b FROM u) AND EXISTS (SELECT 1)", None),
        ('SELECT \'DELETE; )\' AS a, [INTO;] AS "WITH""(" FROM [t]]--]', None),
        ("SELECT TOP (5) a FROM t ORDER BY a", None),
        ("SELECT a FROM t ORDER BY a OFFSET 1 ROWS", None),
        ("SELECT ROW_NUMBER() OVER (ORDER BY a) AS n FROM t", None),
        ("SELECT a FROM t INNER MERGE JOIN u ON t.a = u.a", None),
        ("SELECT a /* one /* two */ ; ) */ FROM t", None),
        ("SELECT N'it''s' AS a, 0xFF AS b, 1.5e3 AS c, @@SPID AS d", None),
    ],
)
def test_one_select_is_taken(text: str, taken: str | None) -> None:
    assert single_select(text) == (text if taken is None else taken)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no query"),
        (" -- nothing\n;", "no query"),
        ("WITH x AS (SELECT 1 AS a) SELECT a FROM x", "create a view of it"),
        ("(SELECT 1 AS a)", "begins with ("),
        ("DELETE FROM t", "begins with DELETE"),
        ("EXEC p", "begins with EXEC"),
        ("[SELECT] a", "begins with"),
        ("SELECT a FROM t; DROP TABLE t", "a semicolon"),
        ("SELECT a FROM t;;SELECT 1", "a semicolon"),
        ("SELECT a FROM t DROP TABLE t", "holds DROP"),
        ("SELECT a FROM t SELECT b FROM u", "a second SELECT"),
        ("SELECT a INTO #x FROM t", "SELECT INTO"),
        ("SELECT a FROM (DELETE t OUTPUT deleted.a) AS d", "holds DELETE"),
        ("SELECT a FROM t ORDER BY a", "ORDER BY cannot stand"),
        ("SELECT a FROM t OPTION (RECOMPILE)", "OPTION cannot stand"),
        ("SELECT 1 AS a) AS q; DROP TABLE t --", "a ) too many"),
        ("SELECT (1 AS a", "not closed"),
        ("SELECT 'a", "' begins has no end"),
        ("SELECT [a", "[ begins has no end"),
        ('SELECT "a', '" begins has no end'),
        ("SELECT 1 AS a /* /* */", "a comment has no end"),
        ("SELECT 1 AS a --\r) AS q", "control character"),
        ("SELECT 1 AS a --\u2028) AS q", "control character"),
    ],
)
def test_anything_else_is_refused_with_its_reason(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=re.escape(why)):
        single_select(text)


def test_a_comment_at_the_end_swallows_nothing() -> None:
    query = single_select("SELECT a FROM t -- all of it")
    assert derived_table(query) == "(\nSELECT a FROM t -- all of it\n) AS [q]"


PIECES = st.sampled_from(
    ["SELECT ", "a", " ", "\n", "\r\n", "--", "-", "/", "*", "/*", "*/", "'", "''", '"', '""', "[", "]",
     "]]", "(", ")", ";", ", ", " FROM t", " UNION ", " ORDER BY a", " INTO ", "N'x'", "-- it's\n",
     "/* ' ( */", "[a]]b]", "é", "\t", "@x", " AS [q]", "\\"]
)  # fmt: skip


def code_of(sql: str) -> list[tuple[int, str]]:
    """Signs of T-SQL that are code, with their places: character by character, as documented."""
    found, position, comments = [], 0, 0
    closing = {"'": "'", '"': '"', "[": "]"}
    while position < len(sql):
        two, one = sql[position : position + 2], sql[position]
        if two in {"/*", "*/"} and (comments or two == "/*"):
            comments += 1 if two == "/*" else -1
            position += 2
        elif comments:
            position += 1
        elif two == "--":
            end = sql.find("\n", position)
            position = len(sql) if end < 0 else end
        elif one in closing:
            position += 1
            while sql[position] != closing[one] or sql[position : position + 2] == closing[one] * 2:
                position += 2 if sql[position] == closing[one] else 1
            position += 1
        else:
            found.append((position, one))
            position += 1
    assert comments == 0
    return found


@given(st.lists(PIECES, max_size=12).map(lambda pieces: "SELECT 1 AS a " + "".join(pieces)))
@example("SELECT 1 AS a /*/**/*/ --")
@example("SELECT 1 AS a '[' ; -- ;")
@example("SELECT 1 AS a *//**/")
@example("SELECT 1 AS a [a]]b]]")
@example("SELECT 1 AS a []]")
def test_what_is_taken_stays_within_its_parentheses(text: str) -> None:
    try:
        taken = single_select(text)
    except ValueError:
        return
    sql = f"SELECT * FROM {derived_table(taken)} WHERE 1 = 1"
    depth, closed = 0, []
    for place, sign in code_of(sql):
        assert sign != ";"
        depth += (sign == "(") - (sign == ")")
        if sign == ")" and depth == 0:
            closed.append(place)
    assert closed == [len(sql) - len(") AS [q] WHERE 1 = 1")]

"""What each kind of statement does in a session; definitions and changes have their own modules."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import duckdb
from sqlglot import exp

from migration_assets.sandbox.sqlserver import (
    alterations,
    answers,
    batch,
    ddl,
    dialect,
    dml,
    permissions,
    sql_types,
    statistics,
    tables,
    tokens,
)  # fmt: skip
from migration_assets.sandbox.sqlserver.answers import Change, Done, Event, Notice
from migration_assets.sandbox.sqlserver.batch import Reader, Statement
from migration_assets.sandbox.sqlserver.conversion import Typed, convert, literal
from migration_assets.sandbox.sqlserver.errors import SqlServerError, unsupported
from migration_assets.sandbox.sqlserver.queries import QueryTranslator
from migration_assets.sandbox.sqlserver.scope import Scope

if TYPE_CHECKING:
    from migration_assets.sandbox.sqlserver.session import Session

_ISOLATION = {
    "READ UNCOMMITTED", "READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE", "SNAPSHOT",
}  # fmt: skip


def run(session: Session, statement: Statement) -> Iterator[Event]:
    """Run one statement.

    Raises:
        SqlServerError: of the statement, with its line; 50001 for a kind that is not known.
    """
    handler = _STATEMENTS.get(statement.keyword)
    if handler is None:
        raise unsupported(f"statement {statement.text[:60]!r}")
    try:
        yield from handler(session, statement)
    except SqlServerError as error:
        error.line = max(error.line, statement.line)
        raise


def _select(session: Session, statement: Statement) -> Iterator[Event]:
    """SELECT, or WITH … SELECT."""
    node = dialect.parse(statement.text)
    if isinstance(node, (exp.Insert, exp.Update, exp.Delete, exp.Merge)):
        yield from dml.run(session, node)
        return
    yield from session.begin_implicitly()
    session.enter(writes=False)
    query = QueryTranslator(session).query(node, Scope())
    targets = _assigned(node)
    if targets is None:
        yield session.rows(query)
        return
    listed = ", ".join(
        f"hex({o})" if c.type.family == "binary" else f"CAST({o} AS VARCHAR)"
        for o, c in zip(query.outputs, query.columns, strict=True)
    )
    found = session.fetch(f"SELECT {listed} FROM ({query.sql})")
    for name, text, column in zip(targets, found[-1] if found else (), query.columns, strict=False):
        _assign(session, name, literal(text, column.type))
    yield Done(answers.SELECT, len(found))


def _assign(session: Session, name: str, value: Typed) -> None:
    kind = session.variable(name).type
    session.variables[name.lower()] = session.value(Typed(convert(value, kind), kind))


def _set_option(session: Session, statement: Statement) -> Iterator[Event]:
    """SET of an option, the isolation level or a variable."""
    reader = Reader(statement.text)
    reader.expect("SET")
    if reader.peek().startswith("@"):
        name = reader.name().lstrip("@") or reader.name()
        reader.expect("=")
        typed = QueryTranslator(session).expression(
            dialect.parse_expression(reader.rest()), Scope()
        )
        _assign(session, name, typed)
    elif reader.accept("TRANSACTION", "ISOLATION", "LEVEL"):
        level = reader.rest().rstrip("; ").upper()
        if level not in _ISOLATION:
            raise SqlServerError(102, f"Incorrect syntax near '{level}'.", severity=15)
        if (
            session.transactions
            and session.in_duckdb
            and (level == "SNAPSHOT") != (session.isolation == "SNAPSHOT")
        ):
            raise SqlServerError(
                3951,
                "Transaction failed because this session tried to change to SNAPSHOT "
                "isolation inside a transaction.",
            )
        session.isolation = level
    elif reader.accept("IDENTITY_INSERT"):
        _, table = session.find_table(reader.object_name())
        session.identity_insert = table if reader.name().upper() == "ON" else None
    else:
        _plain_option(session, reader)
    yield Done()


def _plain_option(session: Session, reader: Reader) -> None:
    names = [reader.name().upper()]
    while reader.accept(","):
        names.append(reader.name().upper())
    value = reader.rest().rstrip("; ").upper().strip("'")
    for name in names:
        if name == "NOCOUNT":
            session.nocount = value == "ON"
        elif name == "IMPLICIT_TRANSACTIONS":
            session.implicit = value == "ON"
        elif name == "LOCK_TIMEOUT":
            session.lock_timeout_ms = int(value)
        elif name not in _SETTINGS:
            raise unsupported(f"SET {name}")
        elif _SETTINGS[name] and value not in _SETTINGS[name]:
            raise unsupported(f"SET {name} {value}")


def _use(session: Session, statement: Statement) -> Iterator[Event]:
    """USE."""
    reader = Reader(statement.text)
    reader.expect("USE")
    name = reader.name()
    reader.finish()
    old = session.database.name
    session.database = session.find_database(name)
    yield Change(tokens.env_text(1, session.database.name, old))
    yield Notice(
        SqlServerError(5701, f"Changed database context to '{session.database.name}'.", 0, 2)
    )
    yield Done()


def _transaction(session: Session, statement: Statement) -> Iterator[Event]:
    """BEGIN TRAN, COMMIT, ROLLBACK; SAVE and blocks are refused."""
    words = statement.text.upper().rstrip("; ").split()
    if words[0] == "BEGIN" and (len(words) < 2 or not words[1].startswith("TRAN")):
        raise unsupported(f"BEGIN {' '.join(words[1:3])}")
    step = {"BEGIN": session.begin, "COMMIT": session.commit, "ROLLBACK": session.rollback}
    if words[0] not in step:
        raise unsupported(words[0])
    yield from step[words[0]]()
    yield Done()


def _declare(session: Session, statement: Statement) -> Iterator[Event]:
    """DECLARE @x type [= value], and more of these."""
    reader = Reader(statement.text)
    reader.expect("DECLARE")
    while True:
        name = reader.name().lstrip("@") or reader.name()
        reader.accept("AS")
        if reader.peek() in {"TABLE", "CURSOR"}:
            raise unsupported(f"DECLARE {reader.peek()}")
        kind = tables.read_type(reader)
        session.variables[name.lower()] = literal(None, kind)
        if reader.accept("="):
            text = reader.until(",")
            _assign(
                session,
                name,
                QueryTranslator(session).expression(dialect.parse_expression(text), Scope()),
            )
        if not reader.accept(","):
            reader.finish()
            break
    yield Done()


def _branch(session: Session, statement: Statement) -> Iterator[Event]:
    """IF condition statement [ELSE statement]."""
    reader = Reader(statement.text)
    reader.expect("IF")
    condition = reader.until(*_STATEMENTS)
    first = reader.until("ELSE")
    other = reader.rest() if reader.accept("ELSE") else ""
    session.enter(writes=False)
    chosen = first if session.truth(condition) else other
    for inner in batch.split(chosen):
        yield from run(session, inner)


def _print_text(session: Session, statement: Statement) -> Iterator[Event]:
    """PRINT."""
    node = dialect.parse_expression(statement.text[len("PRINT") :])
    typed = QueryTranslator(session).expression(node, Scope())
    (text,) = session.fetch(f"SELECT {convert(typed, sql_types.nvarchar(4000))}")[0]
    yield Notice(SqlServerError(0, text or " ", 0))
    yield Done()


def _raise_error(_session: Session, statement: Statement) -> Iterator[Event]:
    """RAISERROR and THROW with literal arguments."""
    reader = Reader(statement.text)
    throw = reader.accept("THROW")
    if throw:
        number = reader.integer()
        reader.expect(",")
        raise SqlServerError(number, reader.string(), 16)
    reader.expect("RAISERROR", "(")
    text = reader.string()
    reader.expect(",")
    error = SqlServerError(50000, text, reader.integer())
    if error.severity > 10:
        raise error
    yield Notice(error)
    yield Done()


def _wait(session: Session, statement: Statement) -> Iterator[Event]:
    """WAITFOR DELAY 'hh:mm:ss', which a cancel ends early."""
    reader = Reader(statement.text)
    reader.expect("WAITFOR", "DELAY")
    hours, minutes, seconds = reader.string().split(":")
    deadline = time.monotonic() + int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    session.cancelled.wait(max(deadline - time.monotonic(), 0))
    if session.cancelled.is_set():
        raise duckdb.InterruptException("interrupted")
    yield Done()


def _execute(session: Session, statement: Statement) -> Iterator[Event]:
    """EXEC of a string, of sp_executesql without parameters, of sp_rename or `describe`."""
    reader = Reader(statement.text)
    reader.name()
    if reader.accept("("):
        text = reader.string()
        reader.expect(")")
        reader.finish()
        yield from _nested(session, text)
        return
    name = reader.object_name()[-1].lower()
    if name == "sp_executesql":
        text = reader.string()
        reader.finish()
        yield from _nested(session, text)
    elif name == "sp_rename":
        session.enter(writes=True, defines=True)
        alterations.rename(session, reader)
        yield Done()
    elif name == "sp_stand_in_describe":
        alterations.describe(session, reader)
        yield Done()
    else:
        raise SqlServerError(2812, f"Could not find stored procedure '{name}'.")


def _nested(session: Session, text: str) -> Iterator[Event]:
    outer = session.variables
    session.variables = {}
    for inner in batch.split(text):
        yield from run(session, inner)
    session.variables = outer


def _define(session: Session, statement: Statement) -> Iterator[Event]:
    """CREATE, ALTER, DROP, TRUNCATE."""
    yield from session.begin_implicitly()
    with session.engine.lock:
        session.enter(writes=True, defines=True)
        events = list(ddl.run(session, statement))
    yield from events


def _permit(session: Session, statement: Statement) -> Iterator[Event]:
    """GRANT, DENY, REVOKE."""
    reader = Reader(statement.text)
    word = reader.name().upper()
    with session.engine.lock:
        permissions.run(session, word, reader)
    reader.finish()
    yield Done()


def _change(session: Session, statement: Statement) -> Iterator[Event]:
    """INSERT, UPDATE, DELETE."""
    yield from session.begin_implicitly()
    yield from dml.run(session, dialect.parse(statement.text))


def _assigned(node: exp.Expression) -> list[str] | None:
    """Variables of SELECT @a = …, or None for a plain SELECT."""
    if not isinstance(node, exp.Select):
        return None
    names: list[str] = []
    for item in node.expressions:
        if not (isinstance(item, exp.EQ) and isinstance(item.this, exp.Parameter)):
            if names:
                raise SqlServerError(
                    141,
                    "A SELECT statement that assigns a value to a variable must not be combined "
                    "with data-retrieval operations.",
                    15,
                )
            continue
        names.append(item.this.name)
    return names or None


_ON, _OFF = frozenset({"ON"}), frozenset({"OFF"})
_ANY: frozenset[str] = frozenset()
_SETTINGS: dict[str, frozenset[str]] = {
    "ANSI_DEFAULTS": _ON, "ANSI_NULLS": _ON, "ANSI_NULL_DFLT_ON": _ON, "ANSI_PADDING": _ON,
    "ANSI_WARNINGS": _ANY, "ARITHABORT": _ANY, "ARITHIGNORE": _OFF, "CONCAT_NULL_YIELDS_NULL": _ON,
    "CURSOR_CLOSE_ON_COMMIT": _ANY, "DATEFIRST": frozenset({"7"}), "DATEFORMAT": frozenset({"MDY", "YMD"}),
    "DEADLOCK_PRIORITY": _ANY, "FMTONLY": _OFF, "LANGUAGE": frozenset({"US_ENGLISH", "ENGLISH"}),
    "NUMERIC_ROUNDABORT": _OFF, "NO_BROWSETABLE": _ANY, "QUOTED_IDENTIFIER": _ON,
    "ROWCOUNT": frozenset({"0"}), "TEXTSIZE": frozenset({"-1", "2147483647"}), "XACT_ABORT": _ANY,
    "QUERY_GOVERNOR_COST_LIMIT": _ANY, "STATISTICS": _OFF, "NOEXEC": _OFF, "PARSEONLY": _OFF,
}  # fmt: skip
"""Options whose listed values change nothing here (none listed: no value does)."""


def _update(session: Session, statement: Statement) -> Iterator[Event]:
    """UPDATE, or UPDATE STATISTICS of a table."""
    reader = Reader(statement.text)
    if not reader.accept("UPDATE", "STATISTICS"):
        yield from _change(session, statement)
        return
    # An unquoted name of two parts is one word.
    parts = [part for name in reader.object_name() for part in name.split(".")]
    statistics.update(session, session.find_table(parts)[1])
    yield Done()


_STATEMENTS: dict[str, Callable[[Session, Statement], Iterator[Event]]] = {
    "SELECT": _select,
    "WITH": _select,
    "SET": _set_option,
    "USE": _use,
    "BEGIN": _transaction,
    "COMMIT": _transaction,
    "ROLLBACK": _transaction,
    "SAVE": _transaction,
    "DECLARE": _declare,
    "IF": _branch,
    "PRINT": _print_text,
    "RAISERROR": _raise_error,
    "THROW": _raise_error,
    "WAITFOR": _wait,
    "EXEC": _execute,
    "EXECUTE": _execute,
    "CREATE": _define,
    "ALTER": _define,
    "DROP": _define,
    "TRUNCATE": _define,
    "GRANT": _permit,
    "DENY": _permit,
    "REVOKE": _permit,
    "INSERT": _change,
    "UPDATE": _update,
    "DELETE": _change,
    "MERGE": _change,
}

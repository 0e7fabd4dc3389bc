"""Functions and `@@` variables that depend on the session or the catalog."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from migration_assets.sandbox.sqlserver import sql_types
from migration_assets.sandbox.sqlserver.catalog import Database, Table, View
from migration_assets.sandbox.sqlserver.conversion import Typed, convert, literal
from migration_assets.sandbox.sqlserver.engine import VERSION_TEXT
from migration_assets.sandbox.sqlserver.errors import unsupported
from migration_assets.sandbox.sqlserver.sql_types import INT, SYSNAME, TYPES, SqlType, nvarchar
from migration_assets.sandbox.sqlserver.tables import is_deterministic

if TYPE_CHECKING:
    from migration_assets.sandbox.sqlserver.session import Session

Function = Callable[["Session", list[Typed]], Typed]
_TEXT = nvarchar(300)


def _value(value: object, kind: SqlType) -> Typed:
    return literal(None if value is None else str(value), kind)


def global_variable(session: Session, name: str) -> Typed:
    """A `@@NAME`.

    Raises:
        SqlServerError: 50001 for one the stand-in does not know.
    """
    values: dict[str, tuple[object, SqlType]] = {
        "VERSION": (VERSION_TEXT, _TEXT),
        "TRANCOUNT": (session.transactions, INT),
        "SPID": (session.spid, sql_types.SMALLINT),
        "SERVERNAME": ("stand-in", SYSNAME),
        "SERVICENAME": ("MSSQLSERVER", SYSNAME),
        "ROWCOUNT": (session.rowcount, INT),
        "ERROR": (0, INT),
        "IDENTITY": (session.scope_identity, sql_types.decimal(38, 0)),
        "LANGUAGE": ("us_english", SYSNAME),
        "DATEFIRST": (7, sql_types.TINYINT),
        "MAX_PRECISION": (38, sql_types.TINYINT),
        "MICROSOFTVERSION": (0x10000000, INT),
        "OPTIONS": (5496, INT),
        "LOCK_TIMEOUT": (session.lock_timeout_ms, INT),
        "NESTLEVEL": (0, INT),
    }
    if name.upper() not in values:
        raise unsupported(f"@@{name}")
    return _value(*values[name.upper()])


def _constant(name: str, argument: Typed) -> str:
    if argument.constant is None:
        raise unsupported(f"{name} with an argument that is not a literal")
    return argument.constant


def _fixed(make: Callable[[Session], object], kind: SqlType = SYSNAME) -> Function:
    def function(session: Session, _arguments: list[Typed]) -> Typed:
        return _value(make(session), kind)

    return function


def _lookup(argument: Typed, values: Mapping[int, str]) -> Typed:
    """Names of ids, for an id that may be a column of a catalog view."""
    whens = " ".join(
        f"WHEN {number} THEN {_value(name, SYSNAME).sql}" for number, name in values.items()
    )
    number = convert(argument, INT)
    return Typed(f"(CASE {number} {whens} END)" if whens else "NULL::VARCHAR", SYSNAME)


def _id_of(argument: Typed, values: Mapping[str, int]) -> Typed:
    """Ids of names in lower case, quotes left out."""
    whens = " ".join(
        f"WHEN {_value(name, SYSNAME).sql} THEN {number}" for name, number in values.items()
    )
    text = convert(argument, nvarchar(4000))
    plain = f"lower(replace(replace(replace({text}, '[', ''), ']', ''), '\"', ''))"
    return Typed(f"CAST((CASE {plain} {whens} END) AS INTEGER)" if whens else "NULL::INTEGER", INT)


def _objects(database: Database) -> dict[int, tuple[str, str]]:
    tables: list[Table | View] = [*database.tables.values(), *database.views.values()]
    return {table.object_id: (table.schema, table.name) for table in tables}


def _db_name(session: Session, arguments: list[Typed]) -> Typed:
    if not arguments:
        return _value(session.database.name, SYSNAME)
    return _lookup(arguments[0], {d.database_id: d.name for d in session.engine.databases.values()})


def _db_id(session: Session, arguments: list[Typed]) -> Typed:
    if not arguments:
        return _value(session.database.database_id, INT)
    return _id_of(
        arguments[0], {d.name.lower(): d.database_id for d in session.engine.databases.values()}
    )


def _schema_name(session: Session, arguments: list[Typed]) -> Typed:
    if not arguments:
        return _value("dbo", SYSNAME)
    return _lookup(
        arguments[0], {number: name for name, number in session.database.schemas.values()}
    )


def _schema_id(session: Session, arguments: list[Typed]) -> Typed:
    if not arguments:
        return _value(1, INT)
    return _id_of(
        arguments[0], {name.lower(): number for name, number in session.database.schemas.values()}
    )


def _object_id(session: Session, arguments: list[Typed]) -> Typed:
    values: dict[str, int] = {}
    for number, (schema, name) in _objects(session.database).items():
        values[f"{schema}.{name}".lower()] = number
        values[f"{session.database.name}.{schema}.{name}".lower()] = number
        if schema.lower() == "dbo":
            values[name.lower()] = number
    return _id_of(arguments[0], values)


def _object_name(session: Session, arguments: list[Typed]) -> Typed:
    return _lookup(arguments[0], {n: name for n, (_, name) in _objects(session.database).items()})


def _object_schema_name(session: Session, arguments: list[Typed]) -> Typed:
    return _lookup(
        arguments[0], {n: schema for n, (schema, _) in _objects(session.database).items()}
    )


def _type_name(_: Session, arguments: list[Typed]) -> Typed:
    names = {info.system_type_id: name for name, info in TYPES.items() if name != "null"}
    return _lookup(arguments[0], {**names, 256: "sysname"})


def _server_property(session: Session, arguments: list[Typed]) -> Typed:
    name = _constant("SERVERPROPERTY", arguments[0]).lower()
    texts: dict[str, object] = {
        "productversion": "16.0.1000.6", "productlevel": "RTM", "edition": "Developer Edition (64-bit)",
        "servername": "stand-in", "machinename": "stand-in", "instancename": None,
        "collation": session.database.collation, "resourceversion": "16.00.1000",
        "productmajorversion": "16", "productminorversion": "0", "productupdatelevel": None,
    }  # fmt: skip
    numbers = {"engineedition": 3, "editionid": -2117995310, "isclustered": 0, "ishadrenabled": 0,
               "isintegratedsecurityonly": 0, "issingleuser": 0, "lcid": 1033, "processid": 1}  # fmt: skip
    if name in numbers:
        return _value(numbers[name], INT)
    return _value(texts.get(name), nvarchar(128))


def _database_property(session: Session, arguments: list[Typed]) -> Typed:
    database = session.engine.databases.get(_constant("DATABASEPROPERTYEX", arguments[0]).lower())
    name = _constant("DATABASEPROPERTYEX", arguments[1]).lower()
    if database is None:
        return _value(None, nvarchar(128))
    values: dict[str, object] = {
        "collation": database.collation, "status": "ONLINE", "updateability": "READ_WRITE",
        "useraccess": "MULTI_USER", "recovery": "SIMPLE",
    }  # fmt: skip
    if name == "version":
        return _value(957, INT)
    return _value(values.get(name), nvarchar(128))


def _has_perms_by_name(session: Session, arguments: list[Typed]) -> Typed:
    """HAS_PERMS_BY_NAME over tables and columns, which may be named by columns of catalog views."""
    kind = _constant("HAS_PERMS_BY_NAME", arguments[1]).upper()
    permission = _constant("HAS_PERMS_BY_NAME", arguments[2]).upper()
    permissions = session.database.permissions
    if kind != "OBJECT":
        state = permissions.allows(permission)
        return _has_perms(session, arguments) if state else _value(0, INT)
    securable = f"lower({convert(arguments[0], nvarchar(4000))})"
    column = f"lower({convert(arguments[3], nvarchar(4000))})" if len(arguments) > 3 else ""
    whens = []
    for table in session.database.tables.values():
        parts = (table.schema, table.name)
        spelled = (".".join(parts), ".".join(f"[{part.replace(']', ']]')}]" for part in parts))
        is_table = f"{securable} IN ({', '.join(_lowered(text) for text in spelled)})"
        whole = permissions.allows(permission, table.full_name)
        if column:
            other = [
                _lowered(c.name)
                for c in table.columns
                if permissions.allows(permission, table.full_name, c.name) != whole
            ]
            if other:
                is_other = f"{is_table} AND {column} IN ({', '.join(other)})"
                whens.append(f"WHEN {is_other} THEN {int(not whole)}")
        whens.append(f"WHEN {is_table} THEN {int(whole)}")
    return Typed(
        f"CAST((CASE {' '.join(whens)} END) AS INTEGER)" if whens else "NULL::INTEGER", INT
    )


def _lowered(text: str) -> str:
    return f"lower({literal(text, nvarchar(4000)).sql})"


def _column_property(session: Session, arguments: list[Typed]) -> Typed:
    """COLUMNPROPERTY(id, column, 'IsDeterministic'); NULL for columns that are not computed."""
    if _constant("COLUMNPROPERTY", arguments[2]).lower() != "isdeterministic":
        raise unsupported(f"COLUMNPROPERTY {arguments[2].constant}")
    number = convert(arguments[0], INT)
    name = f"lower({convert(arguments[1], nvarchar(4000))})"
    whens = [
        f"WHEN {number} = {table.object_id} AND {name} = {_lowered(column.name)} "
        f"THEN {int(is_deterministic(column.computed))}"
        for table in session.database.tables.values()
        for column in table.columns
        if column.computed is not None
    ]
    return Typed(
        f"CAST((CASE {' '.join(whens)} END) AS INTEGER)" if whens else "NULL::INTEGER", INT
    )


def _has_perms(session: Session, arguments: list[Typed]) -> Typed:
    # The one login may do everything, except see the catalog views that --deny names.
    asked = {(argument.constant or "").upper() for argument in arguments}
    states = {"VIEW DATABASE STATE", "VIEW SERVER STATE", "VIEW DATABASE PERFORMANCE STATE"}
    denied = any(name.startswith("sys.dm_") for name in session.engine.denied)
    return _value(0 if denied and asked & states else 1, INT)


def _change_tracking_version(session: Session, _arguments: list[Typed]) -> Typed:
    database: Database = session.database
    return _value(database.change_tracking, sql_types.BIGINT)


def _ident_current(session: Session, arguments: list[Typed]) -> Typed:
    parts = [p.strip('[]"') for p in _constant("IDENT_CURRENT", arguments[0]).split(".")]
    _, table = session.find_table(parts)
    last = table.identity_last
    if last is None and table.identity and table.identity.identity:
        last = table.identity.identity[0]
    return _value(last, sql_types.decimal(38, 0))


_SUBJECT: Callable[[Session], object] = lambda session: session.engine.user  # noqa: E731 - used in a table

FUNCTIONS: dict[str, Function] = {
    "DB_NAME": _db_name,
    "DB_ID": _db_id,
    "SCHEMA_NAME": _schema_name,
    "SCHEMA_ID": _schema_id,
    "OBJECT_ID": _object_id,
    "OBJECT_NAME": _object_name,
    "OBJECT_SCHEMA_NAME": _object_schema_name,
    "TYPE_NAME": _type_name,
    "SERVERPROPERTY": _server_property,
    "DATABASEPROPERTYEX": _database_property,
    "HAS_PERMS_BY_NAME": _has_perms_by_name,
    "COLUMNPROPERTY": _column_property,
    "HAS_DBACCESS": _has_perms,
    "IS_SRVROLEMEMBER": _has_perms,
    "IS_MEMBER": _has_perms,
    "IS_ROLEMEMBER": _has_perms,
    "CHANGE_TRACKING_CURRENT_VERSION": _change_tracking_version,
    "IDENT_CURRENT": _ident_current,
    "SCOPE_IDENTITY": _fixed(lambda s: s.scope_identity, sql_types.decimal(38, 0)),
    "ROWCOUNT_BIG": _fixed(lambda s: s.rowcount, sql_types.BIGINT),
    "XACT_STATE": _fixed(lambda s: 1 if s.transactions else 0, sql_types.SMALLINT),
    "ORIGINAL_LOGIN": _fixed(_SUBJECT),
    "SUSER_SNAME": _fixed(_SUBJECT),
    "SUSER_NAME": _fixed(_SUBJECT),
    "SYSTEM_USER": _fixed(_SUBJECT),
    "USER_NAME": _fixed(lambda _: "dbo"),
    "CURRENT_USER": _fixed(lambda _: "dbo"),
    "SESSION_USER": _fixed(lambda _: "dbo"),
    "USER": _fixed(lambda _: "dbo"),
    "APP_NAME": _fixed(lambda s: s.program, nvarchar(128)),
    "HOST_NAME": _fixed(lambda s: s.host, nvarchar(128)),
}

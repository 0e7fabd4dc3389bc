"""A client of SQL Server that answers from a script, and the catalog of a small database."""

import re

from migration_assets.errors import AccessDeniedError, ObjectNotFoundError, SchemaDriftError

MISSING = ObjectNotFoundError("Invalid object name.")
DENIED = AccessDeniedError("The permission was denied.")


class ScriptedServer:
    """Answers statements by the first pattern that they contain; anything else has no rows."""

    def __init__(self, answers):
        self.answers = answers
        self.asked = []
        self.settings = type("Settings", (), {"host": "db.example", "database": "shop"})()

    def query(self, sql, params=(), **_):
        self.asked.append(sql)
        for pattern, answer in self.answers.items():
            if re.search(pattern, sql):
                if isinstance(answer, Exception):
                    raise answer
                return answer(sql, params) if callable(answer) else answer
        return []


INT = (56, 56, 4, 10, 0, None)
NAME = (231, 256, 256, 0, 0, "Latin1_General_CI_AS")
GEO = (240, 130, -1, 0, 0, None)
TYPES = [(56, 56, "int"), (231, 231, "nvarchar"), (231, 256, "sysname"), (240, 130, "geography")]


def columns_of(*tables):
    rows = []
    for object_id, (schema, table, columns) in enumerate(tables, 1):
        for column_id, (name, kind) in enumerate(columns, 1):
            rows.append((schema, table, object_id, column_id, name, *kind, column_id > 1))
    return rows


SHOP = columns_of(
    ("dbo", "orders", [("id", INT), ("who", NAME), ("spot", GEO)]),
    ("dbo", "orders_history", [("id", INT)]),
)


def flags(**by_column):
    """Answers a query for columns of `sys.columns` or `sys.tables` that not every server has."""

    def answer(sql, _):
        asked = re.match(r"SELECT (.*) FROM", sql)[1].split(", ")
        keys = [c for c in asked if c in {"object_id", "column_id"}]
        for column in asked:
            if by_column.get(column) is MISSING:
                raise SchemaDriftError("Invalid column name.")
        rows = {}
        for column in asked[len(keys) :]:
            for key, value in by_column.get(column, {}).items():
                rows.setdefault(key, dict.fromkeys(asked[len(keys) :]))[column] = value
        return [(*key, *row.values()) for key, row in rows.items()]

    return answer


def shop(columns=None, tables=None, **others):
    usual = {
        r"FROM sys\.columns WHERE": columns or flags(),
        r"FROM sys\.tables WHERE": tables or flags(),
        r"JOIN sys\.columns AS c ON c\.object_id = t\.object_id": SHOP,
        r"sys\.types": TYPES,
        r"is_primary_key": [("dbo", "orders", "who"), ("dbo", "orders", "id")],
        r"sys\.dm_db_partition_stats": [(1, 1000, 25), (2, 7, 1)],
        r"'VIEW DEFINITION'": [(1, 1)],
    }
    return ScriptedServer(others | {k: v for k, v in usual.items() if k not in others})


def table_of(found, name="orders"):
    return next(table for table in found.tables if table.name == name)

"""Names what a migration leaves behind: a dozen catalog queries, whatever the number of objects.

All of it is for people to read, so nothing here fails a plan: what is missing on a server, or denied
to the login, becomes a note. Catalog views show a login without VIEW DEFINITION only the objects on
which it has some permission
(https://learn.microsoft.com/sql/relational-databases/security/metadata-visibility-configuration).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from migration_assets.errors import TransientError
from migration_assets.inventory import Inventory, Kind, LeftBehind
from migration_assets.mssql.catalog import Catalog, Row, Source
from migration_assets.mssql.client import SqlServer

_OBJECT_TYPES: dict[Kind, tuple[str, ...]] = {
    Kind.VIEW: ("V",),
    Kind.PROCEDURE: ("P", "PC", "X", "RF"),
    Kind.FUNCTION: ("FN", "IF", "TF", "FS", "FT", "AF"),
    Kind.TRIGGER: ("TR", "TA"),
    Kind.FOREIGN_KEY: ("F",),
    Kind.UNIQUE: ("UQ",),
    Kind.CHECK: ("C",),
    Kind.DEFAULT: ("D",),
    Kind.SEQUENCE: ("SO",),
    Kind.SYNONYM: ("SN",),
    Kind.POLICY: ("SP",),
}
"""`sys.objects.type`
(https://learn.microsoft.com/sql/relational-databases/system-catalog-views/sys-objects-transact-sql)."""

_KIND_OF = {code: kind for kind, codes in _OBJECT_TYPES.items() for code in codes}

_PARENTS = (
    "JOIN sys.schemas AS s ON s.schema_id = o.schema_id "
    "LEFT JOIN sys.objects AS p ON p.object_id = o.parent_object_id "
    "WHERE o.is_ms_shipped = 0"
)
_OF_TABLES = (
    "JOIN sys.tables AS t ON t.object_id = o.object_id "
    "JOIN sys.schemas AS s ON s.schema_id = t.schema_id WHERE t.is_ms_shipped = 0"
)


def _of(view: str) -> Source:
    """A view whose rows are objects of one kind."""
    return Source(view, f"SELECT s.name, o.name, p.name, '' FROM {view} AS o {_PARENTS}")


def _standard_constraints(kind: str) -> Source:
    return Source(
        "INFORMATION_SCHEMA.TABLE_CONSTRAINTS",
        "SELECT TABLE_SCHEMA, CONSTRAINT_NAME, TABLE_NAME, '' "
        f"FROM INFORMATION_SCHEMA.TABLE_CONSTRAINTS WHERE CONSTRAINT_TYPE = '{kind}'",
    )


def _standard_routines(kind: str) -> Source:
    return Source(
        "INFORMATION_SCHEMA.ROUTINES",
        "SELECT ROUTINE_SCHEMA, ROUTINE_NAME, '', '' FROM INFORMATION_SCHEMA.ROUTINES "
        f"WHERE ROUTINE_TYPE = '{kind}'",
    )


_ONE_BY_ONE: dict[Kind, tuple[Source, ...]] = {
    Kind.VIEW: (
        _of("sys.views"),
        Source(
            "INFORMATION_SCHEMA.VIEWS",
            "SELECT TABLE_SCHEMA, TABLE_NAME, '', '' FROM INFORMATION_SCHEMA.VIEWS",
        ),
    ),
    Kind.PROCEDURE: (_of("sys.procedures"), _standard_routines("PROCEDURE")),
    Kind.FUNCTION: (_standard_routines("FUNCTION"),),
    Kind.TRIGGER: (
        Source(
            "sys.triggers",
            "SELECT s.name, o.name, p.name, '' FROM sys.triggers AS o "
            "JOIN sys.tables AS p ON p.object_id = o.parent_id "
            "JOIN sys.schemas AS s ON s.schema_id = p.schema_id",
        ),
    ),
    Kind.FOREIGN_KEY: (_of("sys.foreign_keys"), _standard_constraints("FOREIGN KEY")),
    Kind.UNIQUE: (
        Source("sys.key_constraints", f"{_of('sys.key_constraints').sql} AND o.type = 'UQ'"),
        _standard_constraints("UNIQUE"),
    ),
    Kind.CHECK: (_of("sys.check_constraints"), _standard_constraints("CHECK")),
    Kind.DEFAULT: (
        _of("sys.default_constraints"),
        Source(
            "INFORMATION_SCHEMA.COLUMNS",
            "SELECT TABLE_SCHEMA, COLUMN_NAME, TABLE_NAME, '' FROM INFORMATION_SCHEMA.COLUMNS "
            "WHERE COLUMN_DEFAULT IS NOT NULL",
        ),
    ),
    Kind.SEQUENCE: (_of("sys.sequences"),),
    Kind.SYNONYM: (_of("sys.synonyms"),),
    Kind.POLICY: (_of("sys.security_policies"),),
}
_TABLE_PARTS: dict[Kind, tuple[Source, ...]] = {
    Kind.IDENTITY: (
        Source(
            "sys.identity_columns",
            f"SELECT s.name, o.name, t.name, '' FROM sys.identity_columns AS o {_OF_TABLES}",
        ),
        Source(
            "sys.columns",
            f"SELECT s.name, o.name, t.name, '' FROM sys.columns AS o {_OF_TABLES} "
            "AND o.is_identity = 1",
        ),
    ),
    Kind.COMPUTED: (
        Source(
            "sys.computed_columns",
            "SELECT s.name, o.name, t.name, o.definition "
            f"FROM sys.computed_columns AS o {_OF_TABLES}",
        ),
    ),
    # 1 and 2 are the rowstore's, the others columnstore, XML, spatial and hash indexes.
    Kind.INDEX: (
        Source(
            "sys.indexes",
            "SELECT s.name, o.name, t.name, LOWER(o.type_desc) "
            f"FROM sys.indexes AS o {_OF_TABLES} "
            "AND o.type > 0 AND o.is_primary_key = 0 AND o.is_unique_constraint = 0",
        ),
    ),
}

_DATABASE_TRIGGERS = Source(
    "sys.triggers",
    "SELECT '', name, 'the database', CASE WHEN is_disabled = 1 THEN 'disabled' ELSE '' END "
    "FROM sys.triggers WHERE parent_class = 0 AND is_ms_shipped = 0",
)
_REFERENCES = Source(
    "sys.foreign_keys",
    "SELECT s.name, k.name, r.name, rs.name FROM sys.foreign_keys AS k "
    "JOIN sys.schemas AS s ON s.schema_id = k.schema_id "
    "JOIN sys.tables AS r ON r.object_id = k.referenced_object_id "
    "JOIN sys.schemas AS rs ON rs.schema_id = r.schema_id",
)

_DATABASE_PARTS: dict[Kind, tuple[Source, ...]] = {
    Kind.TYPE: (
        Source(
            "sys.types",
            "SELECT s.name, o.name, '', CASE WHEN o.is_table_type = 1 THEN 'table type' "
            "WHEN o.is_assembly_type = 1 THEN 'CLR type' ELSE 'alias' END FROM sys.types AS o "
            "JOIN sys.schemas AS s ON s.schema_id = o.schema_id WHERE o.is_user_defined = 1",
        ),
    ),
    # 1 to 4 are dbo, guest, INFORMATION_SCHEMA and sys; 0 is public.
    Kind.USER: (
        Source(
            "sys.database_principals",
            "SELECT '', name, '', LOWER(REPLACE(type_desc, '_', ' ')) "
            "FROM sys.database_principals WHERE is_fixed_role = 0 AND principal_id > 4",
        ),
    ),
    Kind.MEMBERSHIP: (
        Source(
            "sys.database_role_members",
            "SELECT '', m.name, r.name, '' FROM sys.database_role_members AS rm "
            "JOIN sys.database_principals AS m ON m.principal_id = rm.member_principal_id "
            "JOIN sys.database_principals AS r ON r.principal_id = rm.role_principal_id",
        ),
    ),
    # Negative ids are SQL Server's own objects; CONNECT is what every user has.
    Kind.PERMISSION: (
        Source(
            "sys.database_permissions",
            "SELECT CASE p.class WHEN 1 THEN OBJECT_SCHEMA_NAME(p.major_id) "
            "WHEN 3 THEN SCHEMA_NAME(p.major_id) ELSE '' END, "
            "p.state_desc + N' ' + p.permission_name, "
            "CASE p.class WHEN 1 THEN OBJECT_NAME(p.major_id) ELSE '' END, "
            "N'to ' + USER_NAME(p.grantee_principal_id) + "
            "CASE WHEN p.class = 1 AND p.minor_id > 0 THEN N', one column' ELSE N'' END "
            "FROM sys.database_permissions AS p "
            "WHERE p.major_id >= 0 AND p.permission_name <> 'CONNECT'",
        ),
        Source(
            "INFORMATION_SCHEMA.TABLE_PRIVILEGES",
            "SELECT TABLE_SCHEMA, PRIVILEGE_TYPE, TABLE_NAME, N'to ' + GRANTEE "
            "FROM INFORMATION_SCHEMA.TABLE_PRIVILEGES",
        ),
    ),
    Kind.JOB: (
        Source(
            "msdb.dbo.sysjobs",
            "SELECT DISTINCT '', j.name, '', "
            "CASE WHEN j.enabled = 0 THEN 'disabled' ELSE '' END FROM msdb.dbo.sysjobs AS j "
            "JOIN msdb.dbo.sysjobsteps AS s ON s.job_id = j.job_id "
            "WHERE s.database_name = DB_NAME()",
        ),
        # What the Agent's own database roles may read; steps, and so databases, are not in it.
        Source(
            "msdb.dbo.sysjobs_view, which has jobs of all databases,",
            "SELECT '', name, '', CASE WHEN enabled = 0 THEN 'disabled' ELSE '' END "
            "FROM msdb.dbo.sysjobs_view",
        ),
    ),
}


def read_inventory(client: SqlServer) -> Inventory:
    """Name every object that the login sees and a migration leaves behind.

    Raises:
        ConfigurationError: SQL Server cannot be connected to at all.
        PermanentError: likewise.
    """
    reader = _Reader(client)
    found = reader.objects()
    for kind, sources in {**_TABLE_PARTS, **_DATABASE_PARTS}.items():
        rows = reader.ask(kind, sources)
        if rows is not None:
            found[kind] = [_left(row) for row in rows]
    return Inventory(
        objects={kind: tuple(sorted(set(found[kind]))) for kind in Kind if kind in found},
        notes=tuple(dict.fromkeys(reader.notes)),
    )


class _Reader:
    """Asks, and goes on without an answer."""

    def __init__(self, client: SqlServer) -> None:
        self._catalog = Catalog(client)
        self._late: list[str] = []

    @property
    def notes(self) -> list[str]:
        return [*self._catalog.notes, *self._late]

    def ask(self, kind: str, sources: Sequence[Source]) -> list[Row] | None:
        """The rows of the first source that answers; None, with a note, if none does."""
        fact = kind[0].upper() + kind[1:]
        try:
            return self._catalog.read(fact, *sources)
        except TransientError as error:
            # Nobody waits for a report's list of jobs; the plan itself is made.
            self._late.append(f"{fact} not known: {error.found}")
            return None

    def objects(self) -> dict[Kind, list[LeftBehind]]:
        """What lies in schemas, or belongs to what does; by its kind."""
        codes = ", ".join(f"'{code}'" for code in _KIND_OF)
        every = Source(
            "sys.objects",
            "SELECT s.name, o.name, p.name, '', o.type FROM sys.objects AS o "
            f"{_PARENTS} AND o.type IN ({codes})",
        )
        rows = self.ask("objects of all kinds", [every])
        found: dict[Kind, list[LeftBehind]] = defaultdict(list)
        if rows is None:
            for kind, sources in _ONE_BY_ONE.items():
                answer = self.ask(kind, sources)
                if answer is not None:
                    found[kind] = [_left(row) for row in answer]
        else:
            found |= {kind: [] for kind in _OBJECT_TYPES}
            for row in rows:
                found[_KIND_OF[str(row[4]).strip()]].append(_left(row[:4]))
        rows = self.ask("triggers of the database", [_DATABASE_TRIGGERS])
        if rows:
            found[Kind.TRIGGER] = [*found[Kind.TRIGGER], *map(_left, rows)]
        if found.get(Kind.FOREIGN_KEY):
            found[Kind.FOREIGN_KEY] = self._with_references(found[Kind.FOREIGN_KEY])
        return dict(found)

    def _with_references(self, keys: list[LeftBehind]) -> list[LeftBehind]:
        rows = self.ask("tables that foreign keys refer to", [_REFERENCES]) or ()
        names = {(schema, key): f"{other}.{table}" for schema, key, table, other in rows}
        return [
            LeftBehind(key.schema, key.name, key.of, f"to {names[key.schema, key.name]}")
            if (key.schema, key.name) in names
            else key
            for key in keys
        ]


def _left(row: Row) -> LeftBehind:
    schema, name, of, detail = ("" if value is None else str(value) for value in row)
    return LeftBehind(schema, name, of, " ".join(detail.split()))

"""GRANT, REVOKE and roles: what a user who was made with CREATE USER may do.

The stand-in's own user is root and may do everything; nobody else may do anything that was not
granted. Which privileges there are, and on what:
https://docs.starrocks.io/docs/administration/user_privs/authorization/privilege_item/. Granting is
root's alone. Known in part: `information_schema` shows everybody everything, and a role counts only
where it is a user's default role.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from migration_assets.sandbox.starrocks.errors import StarRocksError, analysis_error, unsupported
from migration_assets.sandbox.starrocks.tables import INTERNAL_CATALOG

if TYPE_CHECKING:
    from migration_assets.sandbox.starrocks.lexer import Reader
    from migration_assets.sandbox.starrocks.session import Session

PRIVILEGES = {
    "SYSTEM": ("CREATE EXTERNAL CATALOG", "CREATE RESOURCE GROUP", "OPERATE", "FILE", "REPOSITORY"),
    "CATALOG": ("USAGE", "CREATE DATABASE", "DROP"),
    "DATABASE": ("ALTER", "DROP", "CREATE TABLE", "CREATE VIEW", "CREATE MATERIALIZED VIEW"),
    "TABLE": ("ALTER", "DROP", "SELECT", "INSERT", "UPDATE", "EXPORT", "DELETE"),
}
"""Kind of object to the privileges that it has."""
ALL = "*"


@dataclass(frozen=True)
class Grant:
    """One privilege on one object, or on all of a kind: then names are `*`."""

    privilege: str
    kind: str
    names: tuple[str, ...] = ()

    def covers(self, wanted: Grant) -> bool:
        """Whether whoever has this has `wanted`."""
        return (self.privilege, self.kind) == (wanted.privilege, wanted.kind) and all(
            own in (ALL, name) for own, name in zip(self.names, wanted.names, strict=True)
        )


@dataclass
class Privileges:
    """What was granted to whom. Whoever is not `restricted` may do everything."""

    restricted: set[str] = field(default_factory=set)
    roles: set[str] = field(default_factory=set)
    _direct: dict[tuple[str, str], set[Grant]] = field(default_factory=dict)
    _roles_of: dict[str, set[str]] = field(default_factory=dict)
    _defaults: dict[str, set[str]] = field(default_factory=dict)

    def check(self, user: str, privilege: str, kind: str, *names: str) -> None:
        """Let a user who has a privilege pass.

        Raises:
            StarRocksError: 5203 for whoever has not.
        """
        wanted = Grant(privilege, kind, names)
        if user in self.restricted and not any(g.covers(wanted) for g in self._effective(user)):
            what = f"{kind} {names[-1]}" if names else kind
            raise StarRocksError(
                f"Access denied; you need (at least one of) the {privilege} privilege(s) on {what} "
                "for this operation. Please ask the admin to grant permission(s) or try activating "
                "existing roles using <set [default] role>. Current role(s): "
                f"{sorted(self._defaults.get(user, ()))}.",
                5203,
            )

    def check_admin(self, user: str) -> None:
        """Let root pass: users, roles and grants are nobody else's here.

        Raises:
            StarRocksError: 5203 for anybody else.
        """
        self.check(user, "GRANT", "SYSTEM")

    def _effective(self, user: str) -> Iterator[Grant]:
        yield from self._direct.get(("USER", user), ())
        for role in self._defaults.get(user, ()):
            yield from self._direct.get(("ROLE", role), ())

    def forget(self, user: str) -> None:
        """Drop what a user had, who is dropped."""
        self.restricted.discard(user)
        self._direct.pop(("USER", user), None)
        self._roles_of.pop(user, None)
        self._defaults.pop(user, None)

    def create_role(self, role: str, *, exists: bool) -> None:
        """Run CREATE ROLE."""
        if role in self.roles and not exists:
            raise StarRocksError(f"Operation CREATE ROLE failed for {role} : role already exists")
        self.roles.add(role)

    def set_default(self, roles: set[str] | None, user: str) -> None:
        """Run SET DEFAULT ROLE; None means ALL that the user has."""
        own = self._roles_of.get(user, set())
        if roles is not None and roles - own:
            raise StarRocksError(f"Role {min(roles - own)} is not granted to '{user}'@'%'")
        self._defaults[user] = own if roles is None else roles

    def change(self, session: Session, reader: Reader, *, grant: bool) -> None:
        """Run the rest of GRANT or REVOKE."""
        self.check_admin(session.user)
        words = [_words(reader)]
        while reader.take(","):
            words.append(_words(reader))
        if not reader.take("ON"):
            self._change_roles(session, {" ".join(w).lower() for w in words}, reader, grant=grant)
            return
        kind, names = _object(session, reader)
        holder = self._holder(session, reader, grant=grant)
        held = self._direct.setdefault(holder, set())
        for privilege in (" ".join(w) for w in words):
            if privilege not in PRIVILEGES[kind]:
                raise analysis_error(f"Cant grant {privilege} to {kind}")
            one = Grant(privilege, kind, names)
            (held.add if grant else held.discard)(one)

    def _change_roles(
        self, session: Session, roles: set[str], reader: Reader, *, grant: bool
    ) -> None:
        if missing := roles - self.roles:
            raise StarRocksError(f"Cannot find role {min(missing)}")
        kind, name = self._holder(session, reader, grant=grant)
        if kind != "USER":
            raise unsupported("roles of roles")
        held = self._roles_of.setdefault(name, set())
        held.update(roles) if grant else held.difference_update(roles)

    def _holder(self, session: Session, reader: Reader, *, grant: bool) -> tuple[str, str]:
        reader.expect("TO" if grant else "FROM")
        kind = "ROLE" if reader.take("ROLE") else "USER"
        reader.take("USER")
        name = reader.name_or_string()
        if reader.take("@"):
            reader.name_or_string()
        reader.end()
        if kind == "ROLE" and name not in self.roles:
            raise StarRocksError(f"Cannot find role {name}")
        if kind == "USER" and name not in session.server.users:
            raise StarRocksError(f"cannot find user '{name}'@'%'")
        return kind, name


def _words(reader: Reader) -> list[str]:
    words = [reader.name_or_string().upper()]
    while not any(reader.at(end) for end in (",", "ON", "TO", "FROM")):
        words.append(reader.name().upper())
    return words


def _object(session: Session, reader: Reader) -> tuple[str, tuple[str, ...]]:
    """Read what a privilege is on; names without a catalog are of the session's."""
    if reader.take("SYSTEM"):
        return "SYSTEM", ()
    if reader.take("CATALOG"):
        name = reader.name()
        if name != INTERNAL_CATALOG:
            session.external(name)
        return "CATALOG", (name,)
    if reader.take("DATABASE"):
        return "DATABASE", (session.catalog, _database(session, reader))
    if reader.take("ALL", "DATABASES"):
        return "DATABASE", (session.catalog, ALL)
    if reader.take("ALL", "TABLES", "IN"):
        if reader.take("ALL", "DATABASES"):
            return "TABLE", (session.catalog, ALL, ALL)
        reader.expect("DATABASE")
        return "TABLE", (session.catalog, _database(session, reader), ALL)
    reader.take("TABLE")
    *around, table = reader.dotted_name()
    database = around[-1] if around else session.database
    if database is None:
        raise StarRocksError("No database selected", 1046)
    return "TABLE", (session.catalog, database, table)


def _database(session: Session, reader: Reader) -> str:
    """A database's name; in an external catalog it is not looked up, in StarRocks it is."""
    found = reader.name()
    if session.catalog == INTERNAL_CATALOG and found not in session.server.metadata.databases:
        raise StarRocksError(f"cannot find db: {found}")
    return found


def grant(session: Session, reader: Reader) -> None:
    """Run GRANT."""
    session.server.privileges.change(session, reader, grant=True)


def revoke(session: Session, reader: Reader) -> None:
    """Run REVOKE."""
    session.server.privileges.change(session, reader, grant=False)


def create_role(session: Session, reader: Reader) -> None:
    """Run the rest of CREATE ROLE."""
    privileges = session.server.privileges
    privileges.check_admin(session.user)
    exists = reader.take("IF", "NOT", "EXISTS")
    role = reader.name_or_string()
    reader.end()
    privileges.create_role(role, exists=exists)


def set_default_role(session: Session, reader: Reader) -> None:
    """Run the rest of SET DEFAULT ROLE."""
    privileges = session.server.privileges
    privileges.check_admin(session.user)
    roles: set[str] | None = None
    if not reader.take("ALL"):
        roles = {reader.name_or_string()}
        while reader.take(","):
            roles.add(reader.name_or_string())
    reader.expect("TO")
    user = reader.name_or_string()
    reader.end()
    privileges.set_default(roles, user)

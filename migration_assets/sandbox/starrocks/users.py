"""Users: passwords and how many connections each may hold; `privileges.py` has what they may do."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha1

from migration_assets.sandbox.starrocks.errors import StarRocksError

DEFAULT_MAX_USER_CONNECTIONS = 1024
MAX_USER_CONNECTIONS = 10_000


@dataclass
class User:
    """A user; `password_hash` is SHA1(SHA1(password)) in hex, "" for no password."""

    name: str
    password_hash: str
    max_connections: int


class Users:
    """All users of the stand-in."""

    def __init__(self, limit: int | None = None) -> None:
        """Start empty; `limit` is the `max_user_connections` of new users."""
        self._limit = limit or DEFAULT_MAX_USER_CONNECTIONS
        self._users: dict[str, User] = {}

    def __contains__(self, user: str) -> bool:
        """Whether there is a user of this name."""
        return user in self._users

    def get(self, user: str) -> User | None:
        """Find a user."""
        return self._users.get(user)

    def add(self, user: str, password: str) -> None:
        """Create a user."""
        self._users[user] = User(user, _hash(password), self._limit)

    def drop(self, user: str) -> None:
        """Remove a user."""
        if self._users.pop(user, None) is None:
            raise StarRocksError(f"Operation DROP USER failed for '{user}'@'%' : user not exists")

    def set_properties(self, user: str, properties: dict[str, str]) -> None:
        """Run ALTER USER ... SET PROPERTIES; only `max_user_connections` is known."""
        found = self._users.get(user)
        if found is None:
            raise StarRocksError(f"Operation ALTER USER failed for '{user}'@'%' : user not exists")
        for key, value in properties.items():
            if key != "max_user_connections":
                raise StarRocksError(f"Unknown user property({key})")
            if not value.isdigit() or not 1 <= int(value) <= MAX_USER_CONNECTIONS:
                raise StarRocksError(
                    f"max_user_connections must be between 1 and {MAX_USER_CONNECTIONS}: {value}"
                )
            found.max_connections = int(value)


def _hash(password: str) -> str:
    # What mysql_native_password is built on; a choice of the protocol, not ours.
    return sha1(sha1(password.encode()).digest()).hexdigest() if password else ""  # noqa: S324

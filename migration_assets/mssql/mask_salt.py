"""The salt of masks by hash on its way to SQL Server: as parameters, never as text of a statement.

A statement that reads a hash names two variables (`masking.salt_variables`), HMAC's keys. Here they
are declared before it, and their values are parameters of the call, so that no log of statements,
plan cache or error message has them. pymssql puts parameters into the text by itself, and Spark's
JDBC reader has none: such statements go through mssql-python alone.
"""

from __future__ import annotations

import hashlib
import hmac

from migration_assets.errors import ConfigurationError
from migration_assets.masking import SALT_MISSING, SALT_VARIABLE, salt_variables
from migration_assets.settings import MssqlSettings

_BLOCK = 64
"""Bytes that SHA-256 takes at a time; HMAC fills its key up to so many (RFC 2104)."""


def salt_digest(settings: MssqlSettings) -> str:
    """16 hexadecimal digits that tell one salt from another, for the plan; empty without a salt.

    They are an HMAC under the salt themselves, so they tell no more of it than the masked values.
    """
    salt = _salt(settings)
    if salt is None:
        return ""
    return hmac.new(salt, b"migration-assets: which salt", hashlib.sha256).hexdigest()[:16]


def with_salt(sql: str, settings: MssqlSettings) -> tuple[str, tuple[bytes, ...]]:
    """A statement and its parameters for mssql-python's `execute`; as it is when it needs no salt.

    Raises:
        ConfigurationError: there is no salt, or not the one that the plan was made with.
    """
    wanted = SALT_VARIABLE.search(sql)
    if wanted is None:
        return sql, ()
    salt, found = _salt(settings), salt_digest(settings)
    if salt is None:
        raise ConfigurationError(
            "Columns are masked by hash, and there is no salt.",
            code="MA-CF-053",
            next_step=SALT_MISSING,
        )
    if found != wanted[1]:
        raise ConfigurationError(
            f"The plan masks columns under the salt {wanted[1]}, and the one that is set has the digest "
            f"{found}: one value would get two hashes.",
            code="MA-CF-054",
            next_step="Set MIGRATION_MASK_SALT as it was, or run `migration-assets plan` again, which "
            "says what has to be migrated anew.",
        )
    key = hashlib.sha256(salt).digest() if len(salt) > _BLOCK else salt
    block = key.ljust(_BLOCK, b"\0")
    pads = (bytes(byte ^ pad for byte in block) for pad in (0x36, 0x5C))
    inner, outer = salt_variables(found)
    declared = f"DECLARE {inner} binary({_BLOCK}) = ?, {outer} binary({_BLOCK}) = ?;\n{sql}"
    return declared, tuple(pads)


def needs_salt(sql: str) -> bool:
    """Whether a statement reads a hash."""
    return SALT_VARIABLE.search(sql) is not None


def _salt(settings: MssqlSettings) -> bytes | None:
    return None if settings.mask_salt is None else settings.mask_salt.get_secret_value().encode()

"""What a migration leaves behind, by name: frozen values that no driver owns.

It stands apart from the plan: a procedure more or less makes no partition invalid, so it must not
change the plan's id, and thousands of names do not belong into a file that Dagster loads.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from enum import StrEnum


class Kind(StrEnum):
    """What stays behind, in the order in which a reader wants it."""

    VIEW = "views"
    PROCEDURE = "procedures"
    FUNCTION = "functions"
    TRIGGER = "triggers"
    FOREIGN_KEY = "foreign keys"
    UNIQUE = "unique constraints"
    CHECK = "check constraints"
    DEFAULT = "defaults"
    IDENTITY = "identity columns"
    COMPUTED = "formulas of computed columns"
    INDEX = "indexes"
    SEQUENCE = "sequences"
    SYNONYM = "synonyms"
    TYPE = "user-defined types"
    POLICY = "security policies"
    USER = "users and roles"
    MEMBERSHIP = "role memberships"
    PERMISSION = "permissions"
    JOB = "SQL Server Agent jobs"


@dataclass(frozen=True, order=True)
class LeftBehind:
    """One object that is not migrated.

    Attributes:
        schema: its SQL Server schema, that of its table if it has one; empty for what is in none.
        name: its name; of a column, the column's.
        of: the table or view it belongs to; empty when to none.
        detail: what else a reader wants to know: `disabled`, the table that a key references.
    """

    schema: str
    name: str
    of: str = ""
    detail: str = ""


@dataclass(frozen=True)
class Inventory:
    """What stays behind, as far as the login may see it.

    Attributes:
        objects: sorted objects of each kind; a kind that could not be asked for is not a key, one
            that has none is empty.
        notes: what could not be learned, and what was asked instead; sentences.
    """

    objects: dict[Kind, tuple[LeftBehind, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def without_views(self, migrated: Collection[tuple[str, str]]) -> Inventory:
        """The same without views that are migrated after all, given by schema and name."""
        objects = dict(self.objects)
        if Kind.VIEW in objects:
            views = objects[Kind.VIEW]
            objects[Kind.VIEW] = tuple(v for v in views if (v.schema, v.name) not in migrated)
        return Inventory(objects, self.notes)

    @property
    def count(self) -> int:
        """Objects of all kinds."""
        return sum(map(len, self.objects.values()))

    @property
    def unknown(self) -> tuple[Kind, ...]:
        """Kinds that no catalog view told anything of."""
        return tuple(kind for kind in Kind if kind not in self.objects)

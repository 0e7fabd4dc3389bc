"""What can happen at the one step of a commit that counts: the catalog's swap of the metadata."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest


class Interruption(BaseException):
    """Stands for SIGKILL: nothing in the product may catch it."""


Swap = Callable[[Callable[[], Any]], Any]


def planned_swaps(monkeypatch: pytest.MonkeyPatch) -> list[Swap]:
    """Take the swaps of local catalogs from a list, in turn; where it is empty, the real one."""
    from pyiceberg.catalog.sql import SqlCatalog

    planned: list[Swap] = []
    real = SqlCatalog.commit_table

    def commit_table(self: SqlCatalog, *arguments: Any) -> Any:
        if planned:
            return planned.pop(0)(lambda: real(self, *arguments))
        return real(self, *arguments)

    monkeypatch.setattr(SqlCatalog, "commit_table", commit_table)
    return planned


def killed_before(swap: Callable[[], Any]) -> Any:
    raise Interruption


def killed_after(swap: Callable[[], Any]) -> Any:
    swap()
    raise Interruption


def lost_request(swap: Callable[[], Any]) -> Any:
    raise ConnectionResetError("Connection reset by peer")


def lost_answer(swap: Callable[[], Any]) -> Any:
    swap()
    raise ConnectionResetError("Connection reset by peer")


def conflict_with_itself(swap: Callable[[], Any]) -> Any:
    """A lost answer, the request repeated by boto3, which Glue then reports as a conflict."""
    from pyiceberg.exceptions import CommitFailedException

    swap()
    raise CommitFailedException("Cannot commit: the table has been updated by another process")

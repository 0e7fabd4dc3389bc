"""Glue's optimistic lock, which moto 5.2.5 leaves out.

Iceberg's Glue catalogs commit by `UpdateTable` with the `VersionId` they have read; Glue refuses it
with `ConcurrentModificationException` when the table has moved on since. moto ignores the field,
so that of two concurrent commits one is lost and both are reported as done.
https://docs.aws.amazon.com/glue/latest/webapi/API_UpdateTable.html
"""

from __future__ import annotations

import threading

from moto.core.responses import ActionResult
from moto.glue import urls
from moto.glue.exceptions import GlueClientError
from moto.glue.responses import GlueResponse

# One lock for all tables: an update takes microseconds, and moto's own dicts are not locked either.
_updates = threading.Lock()


class ConcurrentModificationError(GlueClientError):
    """Glue's answer to an `UpdateTable` whose `VersionId` is no longer the table's."""

    def __init__(self, table: str, wanted: str, found: str) -> None:
        """Say which version was wanted and which one is there."""
        super().__init__(
            "ConcurrentModificationException",
            f"Update table failed due to concurrent modifications: version {wanted} of {table} was "
            f"to be replaced, its version is {found}.",
        )


class VersionedGlueResponse(GlueResponse):
    """moto's Glue whose `UpdateTable` compares `VersionId` and writes as one step."""

    def update_table(self) -> ActionResult:
        """Replace the table's definition if its version is the one the caller has read.

        Raises:
            ConcurrentModificationError: it is not.
        """
        database = self.parameters["DatabaseName"]
        table = self.parameters["TableInput"]["Name"]
        wanted = self.parameters.get("VersionId")
        with _updates:
            if wanted is not None:
                stored = self.glue_backend.get_table(database, table)
                found = str(stored.as_dict()["VersionId"])
                if str(wanted) != found:
                    raise ConcurrentModificationError(f"{database}.{table}", str(wanted), found)
            return super().update_table()


def lock_updates() -> None:
    """Let this process's moto answer Glue requests with `VersionedGlueResponse`.

    Call it before moto builds its Glue application: that is when the paths are read.
    """
    urls.url_paths["{0}/$"] = VersionedGlueResponse.dispatch

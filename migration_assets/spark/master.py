"""Whether a Spark master can be reached, without starting Spark."""

from __future__ import annotations

import contextlib
import socket

from migration_assets.errors import ConnectionLostError

TIMEOUT_S = 10.0


def require_master(master: str) -> None:
    """Look for a standalone master: Spark itself looks for a minute, and says little then.

    Other masters (`local`, `k8s://`, `yarn`) are not looked for.

    Args:
        master: as SPARK_MASTER has it; several addresses of one cluster are separated by commas.

    Raises:
        ConnectionLostError: none of its addresses answers.
    """
    if not master.startswith("spark://"):
        return
    for address in master.removeprefix("spark://").split(","):
        host, _, port = address.rpartition(":")
        with contextlib.suppress(OSError, ValueError):
            socket.create_connection((host, int(port)), TIMEOUT_S).close()
            return
    raise ConnectionLostError(
        f"No Spark master of {master} can be reached.",
        code="MA-SP-017",
        next_step="Check SPARK_MASTER, and that the master runs.",
    )

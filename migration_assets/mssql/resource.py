"""SQL Server as a Dagster resource. Importing it loads no driver."""

from __future__ import annotations

import threading
from typing import Any

import dagster as dg
from pydantic import Field, PrivateAttr

from migration_assets.mssql.client import SqlServer
from migration_assets.settings import MssqlSettings


class MssqlResource(dg.ConfigurableResource[SqlServer]):
    """SQL Server for assets: `definitions.py` gives the fields as `EnvVar`s.

    Everything else (port, encryption, timeouts, pool) comes from the environment at first use.
    Opens nothing before `client` is asked for something, and closes all when the run's step ends.
    """

    host: str
    user: str = ""
    password: str = Field(default="", repr=False)
    database: str
    database_snapshot: str = ""
    """Read from this database snapshot instead of the database."""

    _client: SqlServer | None = PrivateAttr(default=None)
    _client_lock: Any = PrivateAttr(default_factory=threading.Lock)

    @property
    def client(self) -> SqlServer:
        """The client, made at first use.

        Raises:
            ConfigurationError: an optional setting is malformed.
        """
        with self._client_lock:
            if self._client is None:
                given = {"host": self.host, "database": self.database}
                # Not every way to sign in has both; the settings know, or the secret that holds it.
                given |= {"user": self.user} if self.user else {}
                given |= {"password": self.password} if self.password else {}
                settings = MssqlSettings.load(**given)
                if self.database_snapshot:
                    settings = settings.model_copy(update={"database": self.database_snapshot})
                self._client = SqlServer(settings)
            return self._client

    def teardown_after_execution(self, context: dg.InitResourceContext) -> None:
        """Close the client's connections."""
        del context
        with self._client_lock:
            client, self._client = self._client, None
        if client is not None:
            client.close()

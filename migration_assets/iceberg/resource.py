"""The lake as a Dagster resource. Importing it loads no driver."""

from __future__ import annotations

from typing import Any

import dagster as dg
from pydantic import Field, PrivateAttr

from migration_assets.iceberg.lake import Lake, shared_lake
from migration_assets.settings import LakeSettings


class LakeResource(dg.ConfigurableResource[Lake]):
    """Iceberg catalog and object store.

    Each field overrides the environment variable it names; all others, secrets among them, come
    from the environment or `.env` when the lake is first used. Nothing is opened before.
    """

    bucket: str | None = Field(default=None, description="S3_BUCKET; none for a local warehouse.")
    warehouse_path: str | None = Field(default=None, description="S3_WAREHOUSE_PATH.")
    region: str | None = Field(default=None, description="AWS_REGION.")
    endpoint_url: str | None = Field(default=None, description="AWS_ENDPOINT_URL.")
    catalog_type: str | None = Field(
        default=None, description="ICEBERG_CATALOG_TYPE: glue, rest or sql."
    )

    _lake: Lake | None = PrivateAttr(default=None)

    @property
    def lake(self) -> Lake:
        """The client, shared within the process.

        Raises:
            ConfigurationError: a setting is missing or malformed.
        """
        given: dict[str, Any] = {
            "bucket": self.bucket,
            "warehouse_path": self.warehouse_path,
            "region": self.region,
            "endpoint_url": self.endpoint_url,
            "catalog_type": self.catalog_type,
        }
        if self._lake is None:
            overrides = {name: value for name, value in given.items() if value is not None}
            self._lake = shared_lake(LakeSettings.load(**overrides))
        return self._lake

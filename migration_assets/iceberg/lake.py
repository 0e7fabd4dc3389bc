"""Catalog and file store of the lake: the plain client, without Dagster."""

from __future__ import annotations

import atexit
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote

from pydantic import SecretStr

from migration_assets import events
from migration_assets.errors import ConfigurationError
from migration_assets.frozen_model import content_hash
from migration_assets.iceberg.commit_times import keep_times_in_order
from migration_assets.iceberg.driver_errors import translate_errors
from migration_assets.iceberg.file_store import FileStore, LocalFileStore, S3FileStore
from migration_assets.iceberg.output_files import local_path
from migration_assets.setting_choices import CatalogType
from migration_assets.settings import SET_IT, LakeSettings

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from pyiceberg.catalog import Catalog

CATALOG_NAME = "lake"
"""Name of the pyiceberg catalog; SQL catalogs store it in each row, so it never changes."""

SQLITE_TIMEOUT_S = 60
"""How long a SQLite catalog waits for another writer; pyiceberg does not retry `database is
locked`."""


class Lake:
    """Iceberg catalog and file store, opened at first use. Safe to use from many threads.

    Whoever makes it closes it, or uses it as a context manager.
    """

    def __init__(self, settings: LakeSettings) -> None:
        """Open nothing yet.

        Args:
            settings: where the lake is. Without keys the ambient credentials are used: environment,
                `AWS_PROFILE`, container or instance role.

        Raises:
            ConfigurationError: only one of the two AWS keys is set.
        """
        if (settings.access_key_id is None) != (settings.secret_access_key is None):
            raise ConfigurationError(
                "Settings: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY belong together, only one "
                "of them is set.",
                code="MA-CF-002",
                next_step="Set both, or neither to use the ambient credentials.",
            )
        self.settings = settings
        self._lock = threading.RLock()
        self._catalog: Catalog | None = None
        self._store: FileStore | None = None

    def __enter__(self) -> Self:
        """Return the lake itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close."""
        self.close()

    def close(self) -> None:
        """Close all connections. Idempotent; the next use opens them again."""
        with self._lock:
            if self._catalog is not None:
                self._catalog.close()
                self._catalog = None
            if self._store is not None:
                self._store.close()
                self._store = None

    @property
    def name(self) -> str:
        """The catalog for messages: `glue catalog in us-east-1`; never a secret."""
        settings = self.settings
        if settings.catalog_type is CatalogType.GLUE:
            where = settings.endpoint_url or settings.region
            return f"glue catalog in {where}"
        return f"{settings.catalog_type.value} catalog of {settings.warehouse}"

    @property
    def catalog(self) -> Catalog:
        """The Iceberg catalog.

        Raises:
            MigrationError: it cannot be opened.
        """
        with self._lock:
            if self._catalog is None:
                try:
                    with translate_errors(f"The {self.name}"):
                        self._catalog = self._open_catalog()
                        keep_times_in_order(self._catalog)
                except ImportError as error:  # of SQLAlchemy's or pyiceberg's optional drivers
                    raise ConfigurationError(
                        f"The {self.name} needs a Python package that is not installed: "
                        f"{error.name or error}.",
                        code="MA-CF-029",
                        next_step="Install it, or correct ICEBERG_CATALOG_URI.",
                    ) from None
            return self._catalog

    @property
    def store(self) -> FileStore:
        """The files of the warehouse."""
        with self._lock:
            if self._store is None:
                is_local = self.settings.warehouse.startswith("file:")
                self._store = (
                    LocalFileStore()
                    if is_local
                    else S3FileStore(self._make_s3_client, self._make_filesystem)
                )
            return self._store

    def _open_catalog(self) -> Catalog:
        # The classes directly: `load_catalog` would mix in ~/.pyiceberg.yaml and PYICEBERG_* variables.
        settings = self.settings
        properties = {**self._file_io_properties(), "warehouse": settings.warehouse}
        match settings.catalog_type:
            case CatalogType.GLUE:
                from pyiceberg.catalog.glue import GlueCatalog

                with _boto_defaults(settings):
                    glue = GlueCatalog(CATALOG_NAME, **properties, **self._glue_properties())
                events.watch_retries(glue.glue, "Glue")
                return glue
            case CatalogType.REST:
                from pyiceberg.catalog.rest import RestCatalog

                return RestCatalog(CATALOG_NAME, **properties, uri=self._catalog_uri())
            case CatalogType.SQL:
                from pyiceberg.catalog.sql import SqlCatalog

                uri = self._catalog_uri()
                return SqlCatalog(CATALOG_NAME, **properties, uri=uri, schema_version="v1")

    def _catalog_uri(self) -> str:
        settings = self.settings
        if settings.catalog_uri is not None:
            uri = settings.catalog_uri
        elif settings.local:
            folder = local_path(settings.warehouse)
            with translate_errors(str(folder)):
                folder.mkdir(parents=True, exist_ok=True)
            # SQLAlchemy decodes percent signs of its URLs, so a path has to be encoded.
            uri = f"sqlite:///{quote(str(folder / 'catalog.db'))}"
        else:
            raise ConfigurationError(
                f"Settings: ICEBERG_CATALOG_TYPE={settings.catalog_type.value} needs "
                "ICEBERG_CATALOG_URI, which is not set.",
                code="MA-CF-001",
                next_step=SET_IT,
            )
        if uri.startswith("sqlite:") and "timeout=" not in uri:
            uri += f"{'&' if '?' in uri else '?'}timeout={SQLITE_TIMEOUT_S}"
        return uri

    def _keys(self) -> tuple[str, str, str | None] | None:
        """Key id, secret and session token as set, None for the ambient ones."""
        settings = self.settings
        if settings.access_key_id is None or settings.secret_access_key is None:
            return None
        token = settings.session_token
        return (
            settings.access_key_id,
            settings.secret_access_key.get_secret_value(),
            token.get_secret_value() if token is not None else None,
        )

    def _keys_for_arrow(self) -> tuple[str, str, str | None] | None:
        """Keys for pyarrow: it does not know AWS_PROFILE's ways (SSO, processes, roles), boto3 does.

        Without a profile pyarrow finds, and renews, the ambient credentials by itself.
        """
        if (keys := self._keys()) is not None or self.settings.profile is None:
            return keys
        import boto3

        found = boto3.Session(profile_name=self.settings.profile).get_credentials()
        if found is None:
            return None
        frozen = found.get_frozen_credentials()
        if frozen.access_key is None or frozen.secret_key is None:
            return None
        return frozen.access_key, frozen.secret_key, frozen.token

    def _file_io_properties(self) -> dict[str, Any]:
        """What `file_io.LakeFileIO` wants; see `file_io.s3_filesystem`."""
        settings = self.settings
        properties: dict[str, Any] = {"py-io-impl": "migration_assets.iceberg.file_io.LakeFileIO"}
        if settings.warehouse.startswith("file:"):
            return properties
        properties |= {
            "s3.region": settings.region,
            "s3.connect-timeout": str(settings.connect_timeout_s),
            "s3.request-timeout": str(settings.request_timeout_s),
            "s3.max-attempts": str(settings.max_attempts),
        }
        if settings.endpoint_url is not None:
            properties["s3.endpoint"] = settings.endpoint_url
        if settings.ca_bundle is not None:
            properties["s3.ca-bundle"] = settings.ca_bundle
        if (keys := self._keys_for_arrow()) is not None:
            properties |= {"s3.access-key-id": keys[0], "s3.secret-access-key": keys[1]}
            if keys[2] is not None:
                properties["s3.session-token"] = keys[2]
        return properties

    def _glue_properties(self) -> dict[str, Any]:
        settings = self.settings
        properties: dict[str, Any] = {
            "glue.region": settings.region,
            "glue.max-retries": settings.max_attempts,
        }
        if settings.endpoint_url is not None:
            properties["glue.endpoint"] = settings.endpoint_url
        if (keys := self._keys()) is not None:
            properties |= {"glue.access-key-id": keys[0], "glue.secret-access-key": keys[1]}
            if keys[2] is not None:
                properties["glue.session-token"] = keys[2]
        elif settings.profile is not None:
            properties["glue.profile-name"] = settings.profile
        return properties

    def _make_s3_client(self) -> S3Client:
        from dagster_aws.s3 import S3Resource

        settings = self.settings
        key_id, secret, token = self._keys() or (None, None, None)
        resource = S3Resource(
            region_name=settings.region,
            endpoint_url=settings.endpoint_url,
            max_attempts=settings.max_attempts,
            profile_name=settings.profile if key_id is None else None,
            aws_access_key_id=key_id,
            aws_secret_access_key=secret,
            aws_session_token=token,
        )
        with translate_errors(f"S3 at {settings.endpoint_url or settings.region}"):
            with _boto_defaults(settings):
                client: S3Client = resource.get_client()
            events.watch_retries(client, "S3")
            return client

    def _make_filesystem(self) -> Any:
        from migration_assets.iceberg.file_io import LakeFileIO

        return LakeFileIO(self._file_io_properties()).fs_by_scheme("s3", None)


@contextmanager
def _boto_defaults(settings: LakeSettings) -> Iterator[None]:
    """Give the boto3 clients made inside our timeouts, and no SHA-256 of bodies over TLS.

    TLS and the CRC-32 of each upload protect a body already; botocore decides the same for uploads
    that it computes the checksum of. Over plain HTTP the signature keeps covering the body.

    Neither dagster-aws nor pyiceberg passes such settings on, so they are made the defaults of the
    botocore session that both make
    (https://botocore.amazonaws.com/v1/documentation/api/latest/reference/config.html).
    """
    import botocore
    from botocore.config import Config
    from botocore.session import Session

    is_tls = (settings.endpoint_url or "https:").startswith("https:")

    def set_defaults(session: Session) -> None:
        session.set_default_client_config(
            Config(
                connect_timeout=settings.connect_timeout_s,
                read_timeout=settings.request_timeout_s,
                max_pool_connections=32,
                s3={"payload_signing_enabled": False} if is_tls else None,
            )
        )

    botocore.register_initializer(set_defaults)
    try:
        yield
    finally:
        botocore.unregister_initializer(set_defaults)


_shared: dict[str, Lake] = {}
_shared_lock = threading.Lock()


def shared_lake(settings: LakeSettings) -> Lake:
    """Return this process's lake for the settings; all runs and resources in it share one.

    Making boto3 and catalog clients costs a fifth of a second of CPU each, more than a small
    partition does, and they hold no session on any server. They are closed when the process ends.
    """
    key = content_hash(
        {name: _plain(value) for name, value in settings.model_dump(mode="python").items()}
    )
    with _shared_lock:
        if key not in _shared:
            lake = Lake(settings)
            atexit.register(lake.close)
            _shared[key] = lake
        return _shared[key]


def _plain(value: object) -> str:
    return value.get_secret_value() if isinstance(value, SecretStr) else str(value)

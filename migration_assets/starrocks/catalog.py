"""The external catalog: StarRocks' own way to the Iceberg tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from migration_assets.errors import (
    ConfigurationError,
    ExistingObjectError,
    ObjectNotFoundError,
)
from migration_assets.plan import TablePlan
from migration_assets.settings import LakeSettings
from migration_assets.starrocks import dml
from migration_assets.starrocks.ddl import create_catalog_sql, ordered_columns
from migration_assets.starrocks.names import Named, iceberg_table, quote

if TYPE_CHECKING:
    from migration_assets.starrocks.resource import StarRocks


def check_catalog(client: StarRocks) -> None:
    """Look whether the external catalog of the settings exists and is an Iceberg one.

    StarRocks connects to nothing when a catalog is created, so this says nothing about
    credentials: `read_one_row` does.

    Raises:
        ObjectNotFoundError: there is none.
        ConfigurationError: it is a catalog of another type.
    """
    name = client.settings.catalog
    types = {str(row[0]): str(row[1]) for row in client.query("SHOW CATALOGS", about="Catalogs")}
    if name not in types:
        raise ObjectNotFoundError(
            f"StarRocks at {client.server} has no external catalog {name}.",
            code="MA-SR-014",
            next_step="`migration-assets doctor --fix` creates it, or set STARROCKS_CATALOG.",
        )
    if types[name].lower() != "iceberg":
        raise ConfigurationError(
            f"Catalog {name} of StarRocks at {client.server} is of type {types[name]}, not Iceberg.",
            code="MA-SR-102",
            next_step="Set STARROCKS_CATALOG to an Iceberg catalog, or to a name not in use.",
        )


def create_catalog(client: StarRocks, lake: LakeSettings) -> None:
    """Create the external catalog of the settings; one that is there already is looked at.

    Raises:
        ConfigurationError: StarRocks has no credentials of its own, or a catalog of that name is
            of another type.
        UnsupportedError: StarRocks cannot read that kind of Iceberg catalog.
        AccessDeniedError: CREATE EXTERNAL CATALOG is not granted.
    """
    sql = create_catalog_sql(client.settings, lake)
    try:
        client.execute(sql, about=f"Catalog {client.settings.catalog}")
    except ExistingObjectError:
        check_catalog(client)


def read_one_row(client: StarRocks, table: TablePlan) -> tuple[Any, ...] | None:
    """Read one row of an Iceberg table through the external catalog; None when it is empty.

    Proves that StarRocks itself reaches the catalog and the object store.

    Raises:
        ObjectNotFoundError: no such catalog or table.
        AccessDeniedError: Glue, S3 or StarRocks refused.
    """
    catalog = client.settings.catalog
    about = f"Iceberg table {table.namespace}.{table.iceberg_table} through catalog {catalog}"
    columns = ", ".join(quote(column.name, Named.COLUMN) for column in ordered_columns(table))
    with client.connection():
        client.execute(dml.refresh_sql(table, catalog), about=about)
        rows = client.query(
            f"SELECT {columns} FROM {iceberg_table(table, catalog)} LIMIT 1", about=about
        )
    return rows[0] if rows else None


def server_version(client: StarRocks) -> str:
    """StarRocks' own version; the one in its greeting is MySQL's."""
    ((version,),) = client.query("SELECT current_version()", about="Version")
    return str(version)

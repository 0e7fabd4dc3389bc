"""Definitions in StarRocks' SQL, made from the plan; pure text, nothing is sent here."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from migration_assets.choices import StarRocksModel
from migration_assets.column_plan import SOURCE_PARTITION, TargetColumn
from migration_assets.errors import ConfigurationError, PlanError, UnsupportedError
from migration_assets.naming import bracketed
from migration_assets.plan import TablePlan
from migration_assets.setting_choices import CatalogType
from migration_assets.settings import SET_IT, LakeSettings, StarRocksSettings
from migration_assets.starrocks.names import Named, literal, native_table, quote
from migration_assets.table_model import key_type_refusal

_MASK = "***"
_PLAN_AGAIN = "Run `migration-assets plan` to write a new plan."

_TYPE = re.compile(r"([A-Z]+)(?:\((\d+)(?:, ?(\d+))?\))?")
_LIMITS = {
    # https://docs.starrocks.io/docs/sql-reference/data-types/ : lengths are bytes.
    "VARCHAR": 1_048_576,
    "CHAR": 255,
    "VARBINARY": 1_048_576,
    "DECIMAL": 38,
}
_WITHOUT_LENGTH = (
    *("BOOLEAN", "TINYINT", "SMALLINT", "INT", "BIGINT", "LARGEINT", "FLOAT", "DOUBLE"),
    *("DATE", "DATETIME", "STRING", "JSON"),
)


def create_database_sql(database: str) -> str:
    """The statement that creates a database; another run may be creating it as well."""
    return f"CREATE DATABASE IF NOT EXISTS {quote(database, Named.DATABASE)}"


def create_table_sql(table: TablePlan, replication_num: int) -> str:
    """The statement that creates a target table.

    Args:
        table: what is created.
        replication_num: replicas of each tablet; a cluster with fewer backends refuses the table.

    Raises:
        UnsupportedError: a name or type that StarRocks cannot have.
        PlanError: the sort key or `source_partition` are not what a load needs.
    """
    key = key_columns(table)
    columns = ",\n  ".join(_column_sql(column) for column in ordered_columns(table))
    quoted_key = ", ".join(quote(column.name, Named.COLUMN) for column in key)
    hashed = ", ".join(quote(name, Named.COLUMN) for name in hash_columns(table))
    spread = f"HASH({hashed})" if hashed else "RANDOM"
    properties = {"replication_num": str(replication_num), **table.properties}
    listed = ", ".join(f'"{name}" = "{value}"' for name, value in properties.items())
    # The order of these clauses is the grammar's (StarRocks.g4). Why each:
    #   … KEY          without it StarRocks takes the first columns, whatever their types.
    #   PARTITION BY   by value: a LIST table refuses an overwrite of a partition that is not there
    #                  yet ("No partition specified in partition lists").
    #   BUCKETS        left out, StarRocks chooses by the number of backends, for each partition.
    return (
        f"CREATE TABLE {native_table(table)} (\n  {columns}\n)\n"
        f"{table.model.value.upper()} KEY ({quoted_key})\n"
        f"COMMENT {literal(table_comment(table))}\n"
        f"PARTITION BY ({quote(SOURCE_PARTITION, Named.COLUMN)})\n"
        f"DISTRIBUTED BY {spread} BUCKETS {table.buckets}\n"
        f"PROPERTIES ({listed})"
    )


def hash_columns(table: TablePlan) -> tuple[str, ...]:
    """Columns by whose hash rows are spread over the buckets; empty for at random.

    A heap has nothing worth hashing, and `source_partition` has one value in a partition: all its
    rows would lie in one bucket.

    Raises:
        PlanError: as `key_columns`.
        UnsupportedError: likewise.
    """
    if table.distributed_by:
        return table.distributed_by
    return tuple(c.name for c in key_columns(table) if c.name != SOURCE_PARTITION)


def key_columns(table: TablePlan) -> tuple[TargetColumn, ...]:
    """Columns of the sort key in order; `source_partition` when the plan has none.

    Raises:
        PlanError: a name that is no column, or `source_partition` is not INT NOT NULL.
        UnsupportedError: a type that cannot be in a sort key.
    """
    by_name = {column.name: column for column in table.starrocks_columns}
    partition = by_name.get(SOURCE_PARTITION)
    if partition is None or partition.starrocks_type != "INT" or partition.nullable:
        raise PlanError(
            f"Table {table.full_name} has no column {SOURCE_PARTITION} INT NOT NULL in the plan.",
            code="MA-PL-006",
            next_step=_PLAN_AGAIN,
        )
    key = []
    for name in table.sort_key or (SOURCE_PARTITION,):
        if name not in by_name:
            raise PlanError(
                f"Table {table.full_name}: the sort key names {name!r}, which is no column.",
                code="MA-PL-006",
                next_step=_PLAN_AGAIN,
            )
        column = by_name[name]
        if reason := key_type_refusal(table.model, column.starrocks_type):
            raise UnsupportedError(
                f"Table {table.full_name}: column {name} of type {column.starrocks_type} cannot be "
                f"in a StarRocks sort key: {reason}.",
                code="MA-SR-105",
                next_step="Choose other `keys` in migration.yaml.",
            )
        if column.nullable and table.model is StarRocksModel.PRIMARY:
            raise UnsupportedError(
                f"Table {table.full_name}: column {name} takes NULL, which a StarRocks primary key "
                "does not.",
                code="MA-SR-105",
                next_step="Choose other `keys` in migration.yaml, or run "
                "`migration-assets plan --fresh` where it takes no NULL any more.",
            )
        key.append(column)
    if table.model is not StarRocksModel.DUPLICATE and partition not in key:
        raise PlanError(
            f"Table {table.full_name}: the key of a table of model {table.model.value} must have "
            f"{SOURCE_PARTITION}, by which it is partitioned.",
            code="MA-PL-006",
            next_step=_PLAN_AGAIN,
        )
    return tuple(key)


def ordered_columns(table: TablePlan) -> tuple[TargetColumn, ...]:
    """All columns as the StarRocks table has them: sort key, the rest, audit columns.

    "Key columns must be the first few columns of the schema", in the key's order.

    Raises:
        UnsupportedError: two names that differ in nothing but case; StarRocks takes them for one.
    """
    seen: dict[str, str] = {}
    for column in table.starrocks_columns:
        other = seen.setdefault(column.name.lower(), column.name)
        if other is not column.name:
            raise UnsupportedError(
                f"Table {table.full_name}: columns {other!r} and {column.name!r} have the same "
                "name in StarRocks.",
                code="MA-SR-103",
                next_step="Give one of them another name in migration.yaml.",
            )
    key = key_columns(table)
    names = {column.name for column in key}
    return (*key, *(column for column in table.starrocks_columns if column.name not in names))


def _column_sql(column: TargetColumn) -> str:
    null = "NULL" if column.nullable else "NOT NULL"
    return f"{quote(column.name, Named.COLUMN)} {column_type(column)} {null}"


def column_type(column: TargetColumn) -> str:
    """The column's type, checked.

    Raises:
        UnsupportedError: not a type that a StarRocks table can have.
    """
    match = _TYPE.fullmatch(column.starrocks_type)
    name, size = (match[1], int(match[2] or 0)) if match else ("", 0)
    limit = _LIMITS.get(name, 0)
    plain = name in _WITHOUT_LENGTH and match is not None and match[2] is None
    if not plain and not 1 <= size <= limit:
        raise UnsupportedError(
            f"Column {column.name}: StarRocks has no column type {column.starrocks_type}.",
            code="MA-SR-104",
            next_step="Leave the column out in migration.yaml (exclude_columns).",
        )
    return column.starrocks_type


_COMMENT = re.compile(
    r"migration_assets table_id=(?P<table_id>[0-9a-f]+) source=(?P<source>.+)", re.DOTALL
)


def table_comment(table: TablePlan) -> str:
    """What marks a table as ours: its id in the plan, and where its rows come from."""
    return f"migration_assets table_id={table.table_id} source={source_name(table)}"


def source_name(table: TablePlan) -> str:
    """The source, unambiguous: `[server].[database].[schema].[table]`; of a trial with that word."""
    parts = (table.source_server, table.source_database, table.source_schema, table.source_name)
    name = ".".join(bracketed(part) for part in parts)
    return f"{name} (trial)" if table.trial_rows else name


def table_id_of(comment: str) -> str | None:
    """The table id in a table's comment; None when the table is not ours."""
    match = _COMMENT.fullmatch(comment)
    return match["table_id"] if match else None


def source_of(comment: str) -> str | None:
    """The source in a table's comment, as `source_name` writes it; None when it is not ours."""
    match = _COMMENT.fullmatch(comment)
    return match["source"] if match else None


def set_comment_sql(table: TablePlan) -> str:
    """The statement that marks an existing table as ours."""
    return f"ALTER TABLE {native_table(table)} COMMENT = {literal(table_comment(table))}"


@dataclass(frozen=True)
class ExistingColumn:
    """A column of an existing table, as `information_schema.columns` has it.

    Attributes:
        type: `COLUMN_TYPE`: `varchar(150)`, `bigint(20)`, `decimal(18, 4)`.
    """

    name: str
    type: str
    nullable: bool


def compare_columns(table: TablePlan, existing: Sequence[ExistingColumn]) -> list[str]:
    """What differs between the plan and an existing table, one phrase each; empty when nothing.

    Order does not count, a load names its columns. A column that accepts NULL although the plan
    has NOT NULL does no harm either.
    """
    found = {column.name.lower(): column for column in existing}
    differences = []
    for planned in table.starrocks_columns:
        column = found.pop(planned.name.lower(), None)
        if column is None:
            differences.append(f"column {planned.name} is missing")
            continue
        if canonical_type(column.type) != canonical_type(planned.starrocks_type):
            differences.append(
                f"column {planned.name} is {column.type}, planned is {planned.starrocks_type}"
            )
        if planned.nullable and not column.nullable:
            differences.append(f"column {planned.name} is NOT NULL, planned is NULL")
    differences.extend(f"column {column.name} is not in the plan" for column in found.values())
    return differences


_CANONICAL = (
    # information_schema shows MySQL's names: `Type.toMysqlColumnTypeString` of StarRocks/starrocks.
    (r"(?:bool|tinyint\(1\))", "boolean"),
    (r"(?:largeint(?:\(\d+\))?|bigint(?:\(\d+\))?unsigned)", "largeint"),
    (r"(tinyint|smallint|int|bigint)\(\d+\)", r"\1"),
    (r"integer(?:\(\d+\))?", "int"),
    (r"decimal(?:v3|32|64|128|256)?(\(.+\))", r"decimal\1"),
    (r"string", "varchar(65533)"),
    # Some versions show no length for binary columns, so it is not compared.
    (r"(?:var)?binary(?:\(\d+\))?", "varbinary"),
)


def canonical_type(text: str) -> str:
    """One spelling for each type, whether from the plan, DESC or information_schema."""
    text = re.sub(r"\s", "", text.lower())
    for pattern, replacement in _CANONICAL:
        match = re.fullmatch(pattern, text)
        if match:
            return match.expand(replacement)
    return text


def create_catalog_sql(
    settings: StarRocksSettings, lake: LakeSettings, *, mask_secrets: bool = False
) -> str:
    """The statement that creates the external catalog through which StarRocks reads Iceberg.

    Properties: https://docs.starrocks.io/docs/data_source/catalog/iceberg/iceberg_catalog/. The
    credentials are StarRocks' own (`STARROCKS_AWS_…`), never those that we use ourselves.

    Args:
        settings: name of the catalog and StarRocks' credentials.
        lake: which Iceberg catalog it is.
        mask_secrets: put `***` in the place of secrets, for logs and messages.

    Raises:
        UnsupportedError: StarRocks cannot read such an Iceberg catalog.
        ConfigurationError: there is nothing to authenticate with.
    """
    properties = {"type": "iceberg"}
    match lake.catalog_type:
        case CatalogType.GLUE:
            properties["iceberg.catalog.type"] = "glue"
            services: tuple[str, ...] = ("glue", "s3")
        case CatalogType.REST:
            if lake.catalog_uri is None:
                raise ConfigurationError(
                    "Settings: ICEBERG_CATALOG_URI is not set.",
                    code="MA-CF-001",
                    next_step=SET_IT,
                )
            properties["iceberg.catalog.type"] = "rest"
            properties["iceberg.catalog.uri"] = lake.catalog_uri
            properties["iceberg.catalog.warehouse"] = lake.warehouse
            services = ("s3",)
        case CatalogType.SQL:
            raise UnsupportedError(
                "StarRocks cannot read Iceberg tables from a local SQL catalog.",
                code="MA-SR-106",
                next_step="Set ICEBERG_CATALOG_TYPE to glue or rest, or stop with --until iceberg.",
            )
    endpoint = settings.aws_endpoint_url or lake.endpoint_url
    for service in services:
        properties |= _credentials(settings, service, mask_secrets=mask_secrets)
        properties[f"aws.{service}.region"] = settings.aws_region or lake.region
        if endpoint is not None:
            properties[f"aws.{service}.endpoint"] = endpoint
    if endpoint is not None:
        # Other stores than AWS's answer to http://host/bucket, not to http://bucket.host.
        properties["aws.s3.enable_path_style_access"] = "true"
        properties["aws.s3.enable_ssl"] = str(endpoint.startswith("https")).lower()
    listed = ",\n  ".join(f"{literal(k)} = {literal(v)}" for k, v in properties.items())
    name = quote(settings.catalog, Named.CATALOG)
    return f"CREATE EXTERNAL CATALOG {name} PROPERTIES (\n  {listed}\n)"


def _credentials(
    settings: StarRocksSettings, service: str, *, mask_secrets: bool
) -> dict[str, str]:
    credentials = {}
    key, secret = settings.aws_access_key_id, settings.aws_secret_access_key
    if (key is None) != (secret is None):
        raise ConfigurationError(
            "Settings: only one of STARROCKS_AWS_ACCESS_KEY_ID and STARROCKS_AWS_SECRET_ACCESS_KEY "
            "is set.",
            code="MA-CF-002",
            next_step="Set both, or neither to use a role.",
        )
    if key is not None and secret is not None:
        shown = _MASK if mask_secrets else secret.get_secret_value()
        credentials[f"aws.{service}.access_key"] = key
        credentials[f"aws.{service}.secret_key"] = shown
    elif settings.aws_use_instance_profile:
        credentials[f"aws.{service}.use_instance_profile"] = "true"
    if settings.aws_role_arn is not None:
        credentials[f"aws.{service}.iam_role_arn"] = settings.aws_role_arn
    if not credentials:
        raise ConfigurationError(
            "Settings: StarRocks has nothing to authenticate with at Glue and S3.",
            code="MA-CF-003",
            next_step="Set STARROCKS_AWS_ROLE_ARN, STARROCKS_AWS_USE_INSTANCE_PROFILE, or both "
            "STARROCKS_AWS_ACCESS_KEY_ID and STARROCKS_AWS_SECRET_ACCESS_KEY.",
        )
    return credentials

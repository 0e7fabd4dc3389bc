"""Names, CREATE TABLE, CREATE CATALOG and the comparison with an existing table."""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from migration_assets.column_plan import SOURCE_PARTITION, TargetColumn
from migration_assets.errors import ConfigurationError, PlanError, UnsupportedError
from migration_assets.schema import MssqlType
from migration_assets.setting_choices import CatalogType
from migration_assets.settings import LakeSettings, StarRocksSettings
from migration_assets.starrocks import ddl
from migration_assets.starrocks.names import Named, literal, quote
from migration_assets_tests.unit.tables import BIGINT, INT, decimal, nvarchar, table_plan

FLOAT = MssqlType("float", 8, 53, 0)
BINARY = MssqlType("varbinary", 16)


def existing(table):
    return [
        ddl.ExistingColumn(column.name, column.starrocks_type.lower(), nullable=column.nullable)
        for column in table.target_columns
    ]


def settings(**values):
    return StarRocksSettings(host="sr", user="u", _env_file=None, **values)


def lake(**values):
    return LakeSettings(_env_file=None, **{"bucket": "b", "region": "eu-west-1", **values})


@pytest.fixture(autouse=True)
def no_environment(monkeypatch):
    import os

    for name in list(os.environ):
        if name.startswith(("AWS_", "S3_", "STARROCKS_", "ICEBERG_")):
            monkeypatch.delenv(name)


@pytest.mark.parametrize(
    ("name", "named"),
    [
        ("order details", Named.TABLE),
        ("Größe 😀", Named.COLUMN),
        ("a.b", Named.TABLE),
        ("select", Named.COLUMN),
        ("x" * 1024, Named.COLUMN),
        ("a-b", Named.DATABASE),
    ],
)
def test_expressible_names_are_quoted(name, named):
    assert quote(name, named) == f"`{name}`"


@pytest.mark.parametrize(
    ("name", "named"),
    [
        ("a`b", Named.TABLE),
        ("a``b", Named.COLUMN),
        ("", Named.TABLE),
        ("x" * 1025, Named.TABLE),
        ("a*", Named.COLUMN),
        ("a\0", Named.COLUMN),
        ("__op", Named.COLUMN),
        ("__ROW", Named.COLUMN),
        ("__generated_partition_column_7", Named.COLUMN),
        ("1db", Named.DATABASE),
        ("my db", Named.DATABASE),
        ("dötabase", Named.DATABASE),
        ("a.b", Named.CATALOG),
        ("db\n", Named.DATABASE),
    ],
)
def test_names_that_starrocks_cannot_have_are_refused(name, named):
    with pytest.raises(UnsupportedError, match="StarRocks"):
        quote(name, named)


def test_literals_escape_quotes_and_backslashes():
    assert literal('it\'s a \\ "x"') == "'it''s a \\\\ \"x\"'"


def test_create_table():
    table = table_plan(
        [
            ("name", nvarchar(50)),
            ("b", BIGINT),
            ("a", INT),
            ("price", decimal(18, 4)),
        ],
        key=["a", "b"],
        name="orders",
    ).model_copy(update={"buckets": 2})
    assert ddl.create_table_sql(table, 3) == (
        "CREATE TABLE `dbo`.`orders` (\n"
        "  `a` INT NOT NULL,\n"
        "  `b` BIGINT NOT NULL,\n"
        "  `name` VARCHAR(150) NULL,\n"
        "  `price` DECIMAL(18,4) NULL,\n"
        "  `migrated_at` DATETIME NOT NULL,\n"
        "  `source_schema` VARCHAR(384) NOT NULL,\n"
        "  `source_partition` INT NOT NULL\n"
        ")\n"
        "DUPLICATE KEY (`a`, `b`)\n"
        f"COMMENT 'migration_assets table_id={table.table_id} "
        "source=[server].[shop].[dbo].[orders]'\n"
        "PARTITION BY (`source_partition`)\n"
        "DISTRIBUTED BY HASH(`a`, `b`) BUCKETS 2\n"
        'PROPERTIES ("replication_num" = "3")'
    )


@pytest.mark.parametrize("sort_key", [(), (SOURCE_PARTITION,)])
def test_a_heap_is_sorted_by_its_partition_and_spread_at_random(sort_key):
    table = table_plan([("f", FLOAT), ("a", INT)]).model_copy(update={"sort_key": sort_key})
    lines = ddl.create_table_sql(table, 1).splitlines()
    assert lines[1] == "  `source_partition` INT NOT NULL,"
    assert "DUPLICATE KEY (`source_partition`)" in lines
    # Hashed by its only value, a partition would lie in one bucket.
    assert "DISTRIBUTED BY RANDOM BUCKETS 1" in lines


@pytest.mark.parametrize(("kind", "type_name"), [(FLOAT, "DOUBLE"), (BINARY, "VARBINARY")])
def test_types_that_cannot_be_in_a_sort_key_are_refused(kind, type_name):
    table = table_plan([("k", kind)], key=["k"])
    with pytest.raises(UnsupportedError, match=rf"dbo\.t: column k of type {type_name}"):
        ddl.create_table_sql(table, 1)


def test_a_sort_key_of_unknown_columns_is_a_plan_error():
    table = table_plan([("a", INT)]).model_copy(update={"sort_key": ("zz",)})
    with pytest.raises(PlanError, match="'zz'"):
        ddl.create_table_sql(table, 1)


def test_the_partition_column_must_be_int_not_null():
    table = table_plan([("a", INT)])
    audit = tuple(c.model_copy(update={"nullable": True}) for c in table.audit_columns)
    with pytest.raises(PlanError, match="source_partition INT NOT NULL"):
        ddl.create_table_sql(table.model_copy(update={"audit_columns": audit}), 1)


def test_names_that_differ_in_case_only_are_refused():
    table = table_plan([("Id", INT), ("ID", INT)])
    with pytest.raises(UnsupportedError, match="'Id' and 'ID'"):
        ddl.create_table_sql(table, 1)


@pytest.mark.parametrize(
    "type_name",
    [
        "TIME",
        "DATETIME(6)",
        "VARCHAR(1048577)",
        "VARCHAR",
        "CHAR(256)",
        "DECIMAL(39,0)",
        "INT, `x` INT",
        "",
    ],
)
def test_types_that_a_table_cannot_have_are_refused(type_name):
    column = TargetColumn(name="c", field_id=1, iceberg_type="string", starrocks_type=type_name)
    with pytest.raises(UnsupportedError, match="Column c"):
        ddl.column_type(column)


def test_every_mapped_type_can_be_created_and_parses():
    sqlglot = pytest.importorskip("sqlglot")
    from migration_assets.choices import Fidelity
    from migration_assets.type_mapping import TYPE_MAPPINGS

    columns = []
    for row in TYPE_MAPPINGS:
        if row.fidelity is Fidelity.REFUSED:
            continue
        name, _, argument = row.mssql.partition("(")
        length = -1 if argument == "max)" else 20
        columns.append(
            (f"c_{len(columns)}", MssqlType(name, length, 18, 7, "Latin1_General_CI_AS"))
        )
    table = table_plan([("order id", INT), *columns], key=["order id"])
    statement = ddl.create_table_sql(table, 1)
    parsed = sqlglot.parse_one(statement, dialect="starrocks")
    assert isinstance(parsed, sqlglot.exp.Create)
    names = [column.name for column in parsed.find_all(sqlglot.exp.ColumnDef)]
    assert names == [column.name for column in ddl.ordered_columns(table)]
    assert parsed.find(sqlglot.exp.DistributedByProperty).args["buckets"].this == "1"


def test_the_comment_carries_table_id_and_source():
    table = table_plan([("a", INT)], name="it's ] odd\n\\")
    comment = ddl.table_comment(table)
    assert ddl.table_id_of(comment) == table.table_id
    assert ddl.source_of(comment) == "[server].[shop].[dbo].[it's ]] odd\n\\]"


@pytest.mark.parametrize(
    "comment", ["", "OLAP", "my table", "x migration_assets table_id=ab source=s"]
)
def test_comments_of_others_have_no_table_id(comment):
    assert ddl.table_id_of(comment) is None
    assert ddl.source_of(comment) is None


def test_equal_columns_have_no_differences():
    table = table_plan([("a", INT), ("s", nvarchar(10)), ("d", decimal(18, 4))], key=["a"])
    assert ddl.compare_columns(table, existing(table)[::-1]) == []


@pytest.mark.parametrize(
    ("planned", "shown"),
    [
        ("BOOLEAN", "tinyint(1)"),
        ("LARGEINT", "bigint(20) unsigned"),
        ("BIGINT", "bigint(20)"),
        ("INT", "int(11)"),
        ("SMALLINT", "smallint(6)"),
        ("DECIMAL(18,4)", "decimal(18, 4)"),
        ("DECIMAL(18,4)", "decimal64(18, 4)"),
        ("STRING", "varchar(65533)"),
        ("VARBINARY(16)", "varbinary"),
        ("DATETIME", "datetime"),
    ],
)
def test_types_as_information_schema_shows_them_are_recognized(planned, shown):
    assert ddl.canonical_type(planned) == ddl.canonical_type(shown)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("BOOLEAN", "tinyint(4)"),
        ("BIGINT", "bigint(20) unsigned"),
        ("VARCHAR(10)", "varchar(11)"),
        ("DECIMAL(18,4)", "decimal(18, 3)"),
        ("INT", "bigint(20)"),
    ],
)
def test_different_types_stay_different(one, other):
    assert ddl.canonical_type(one) != ddl.canonical_type(other)


def test_differences_are_named():
    table = table_plan([("a", INT), ("s", nvarchar(10)), ("n", INT)], key=["a"])
    columns = [c for c in existing(table) if c.name != "n"]
    columns[1] = ddl.ExistingColumn("S", "varchar(29)", nullable=False)
    columns.append(ddl.ExistingColumn("extra", "int(11)", nullable=True))
    assert ddl.compare_columns(table, columns) == [
        "column s is varchar(29), planned is VARCHAR(30)",
        "column s is NOT NULL, planned is NULL",
        "column n is missing",
        "column extra is not in the plan",
    ]


def test_a_catalog_uses_starrocks_own_role_by_default():
    ours = lake(access_key_id="OURS", secret_access_key=SecretStr("OUR-SECRET"))
    assert ddl.create_catalog_sql(settings(aws_role_arn="arn:role"), ours) == (
        "CREATE EXTERNAL CATALOG `lake` PROPERTIES (\n"
        "  'type' = 'iceberg',\n"
        "  'iceberg.catalog.type' = 'glue',\n"
        "  'aws.glue.use_instance_profile' = 'true',\n"
        "  'aws.glue.iam_role_arn' = 'arn:role',\n"
        "  'aws.glue.region' = 'eu-west-1',\n"
        "  'aws.s3.use_instance_profile' = 'true',\n"
        "  'aws.s3.iam_role_arn' = 'arn:role',\n"
        "  'aws.s3.region' = 'eu-west-1'\n"
        ")"
    )


def test_a_catalog_with_keys_and_endpoint_can_be_shown_without_the_secret():
    own = settings(
        aws_access_key_id="ID",
        aws_secret_access_key=SecretStr("se'cret"),
        aws_endpoint_url="http://minio:9000",
    )
    sent = ddl.create_catalog_sql(own, lake())
    assert "'aws.s3.secret_key' = 'se''cret'" in sent
    assert "use_instance_profile" not in sent
    assert "'aws.glue.endpoint' = 'http://minio:9000'" in sent
    assert "'aws.s3.enable_path_style_access' = 'true'" in sent
    assert "'aws.s3.enable_ssl' = 'false'" in sent
    shown = ddl.create_catalog_sql(own, lake(), mask_secrets=True)
    assert "cret'" not in shown
    assert shown == sent.replace("se''cret", "***")


def test_a_rest_catalog_names_its_uri():
    sent = ddl.create_catalog_sql(
        settings(), lake(catalog_type=CatalogType.REST, catalog_uri="http://rest:8181")
    )
    assert "'iceberg.catalog.uri' = 'http://rest:8181'" in sent
    assert "'iceberg.catalog.warehouse' = 's3://b/warehouse'" in sent
    assert "aws.glue" not in sent


@pytest.mark.parametrize(
    "values",
    [
        {"aws_access_key_id": "ID"},
        {"aws_secret_access_key": SecretStr("s")},
        {"aws_use_instance_profile": False},
    ],
)
def test_incomplete_credentials_are_refused(values):
    with pytest.raises(ConfigurationError, match="STARROCKS_AWS_ACCESS_KEY_ID"):
        ddl.create_catalog_sql(settings(**values), lake())


def test_a_local_sql_catalog_is_refused():
    with pytest.raises(UnsupportedError, match="local SQL catalog"):
        ddl.create_catalog_sql(settings(), lake(catalog_type=CatalogType.SQL))

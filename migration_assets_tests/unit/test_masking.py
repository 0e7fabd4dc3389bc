"""Masks: what the plan and its statements make of them."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

import pytest

from migration_assets.choices import Fidelity, VerificationLevel
from migration_assets.errors import ConfigurationError, UnsupportedError
from migration_assets.evolution import obstacles
from migration_assets.losses import table_losses
from migration_assets.mask_rules import MaskWord
from migration_assets.mssql.jdbc import jdbc_table
from migration_assets.mssql.mask_salt import salt_digest, with_salt
from migration_assets.mssql.select import (
    fingerprint_sql,
    invalid_text_sql,
    range_count_sql,
    select_sql,
)
from migration_assets.plan_changes import compare_plans
from migration_assets.planner import keys_to_measure, plan
from migration_assets.replanning import take_over
from migration_assets.rules import Rules
from migration_assets.schema import (
    Column,
    KeyCuts,
    PartitionFunction,
    SourceIndex,
    SourceTable,
    TableSchema,
)
from migration_assets.schema import Cut as SourceCut
from migration_assets.settings import MssqlSettings
from migration_assets_tests.unit.people import (
    DIGEST,
    ID,
    KINDS,
    SALT,
    TEXT,
    database,
    made,
    only,
    people,
    refused,
)


def masked(name: str, mask: Any, **more: Any) -> Any:
    return only({name: {"mask": mask}}, **more).by_source[name]


def test_hash_is_an_hmac_whose_keys_are_variables():
    column = masked("Email", "hash")
    assert column.select_expression == (
        "LOWER(CONVERT(nchar(64), HASHBYTES('SHA2_256', @mask_outer_0123456789abcdef + "
        "HASHBYTES('SHA2_256', @mask_inner_0123456789abcdef + "
        "CONVERT(varbinary(max), CONVERT(nvarchar(max), [Email])))), 2))"
    )
    assert (column.iceberg_type, column.starrocks_type) == ("string", "VARCHAR(64)")
    assert (column.measure, column.mask, column.nullable) == ("text", "hash", True)
    assert column.fidelity is Fidelity.LOSSY
    assert column.mssql_type == "nvarchar(50)"  # what drift is told by


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("Code", "RTRIM(CONVERT(nvarchar(max), [Code]))"),
        ("Small", "CONVERT(nvarchar(40), [Small])"),
        ("Cash", "CONVERT(nvarchar(41), CAST([Cash] AS decimal(19,4)))"),
        ("Seen", "CONVERT(nvarchar(40), [Seen], 121)"),
        ("Clock", "CONVERT(nvarchar(max), CONVERT(varchar(16), [Clock]))"),
        ("Guid", "CONVERT(nvarchar(40), [Guid])"),
        ("Raw", "[Raw]"),
        ("Document", "CONVERT(nvarchar(max), CONVERT(nvarchar(max), [Document]))"),
    ],
)
def test_what_is_hashed_of_each_type(name: str, text: str):
    assert f"CONVERT(varbinary(max), {text})" in masked(name, "hash").select_expression


@pytest.mark.parametrize("name", list(KINDS))
def test_null_keeps_the_type_and_reads_nothing(name: str):
    plain, column = only().by_source[name], masked(name, None)  # `mask: null`, as YAML has it
    assert column.select_expression.startswith("CAST(NULL AS ")
    assert name not in column.select_expression
    assert (column.iceberg_type, column.starrocks_type) == (
        plain.iceberg_type,
        plain.starrocks_type,
    )


def test_null_takes_not_null_away_and_says_so():
    columns = (ID, Column("Email", TEXT, nullable=False))
    table = SourceTable("dbo", "People", TableSchema(columns, ("Id",)), 10)
    result = only({"Email": {"mask": "null"}}, table)
    assert result.by_source["Email"].nullable
    assert any("NOT NULL in SQL Server" in warning for warning in result.warnings)


@pytest.mark.parametrize(
    ("name", "value", "expression"),
    [
        ("Email", "it's", "CAST(N'it''s' AS nvarchar(4))"),
        ("Email", "", "CAST(N'' AS nvarchar(1))"),
        ("Flag", True, "CAST(1 AS bit)"),
        ("Small", 255, "CAST(255 AS int)"),
        ("Big", -1, "CAST(-1 AS bigint)"),
        ("Price", "0.50", "CAST(0.50 AS decimal(10,2))"),
        ("Ratio", 1.5, "CAST(1.5 AS float)"),
        ("Born", "1900-01-01", "CAST('1900-01-01' AS date)"),
        ("Clock", "10:20:30.5", "CAST('10:20:30.500' AS varchar(16))"),
        ("Seen", "1900-01-01", "CAST('1900-01-01T00:00:00' AS datetime2(6))"),
        (
            "Zoned",
            "1900-01-01T01:00:00+01:00",
            "CAST('1900-01-01T00:00:00+00:00' AS datetimeoffset(6))",
        ),
        ("Raw", "0x00ff", "CAST(0x00ff AS varbinary(2))"),
    ],
)
def test_a_fixed_value_is_a_constant_of_the_type(name: str, value: Any, expression: str):
    assert masked(name, {"fixed": value}).select_expression == expression


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("Email", "x" * 51, "longer than 50"),
        ("Email", "a\0b", "control character"),
        ("Flag", 2, "a bit is 0 or 1"),
        ("Small", 256, "from 0 to 255"),
        ("Big", "many", "no value of that type"),
        ("Price", "123456789", "more than 8 digits before the point"),
        ("Price", "0.001", "more than 2 digits after the point"),
        ("Ratio", "inf", "finite"),
        ("Born", "1900-02-30", "no value of that type"),
        ("Clock", "10:20:30.5555", "more than 3 digits"),
        ("Zoned", "1900-01-01", "needs an offset"),
        ("Raw", "0xabc", "bytes are written as"),
        ("Raw", "0x0011223344", "longer than 4 bytes"),
        ("Document", "x", "that type takes none"),
    ],
)
def test_a_fixed_value_that_does_not_fit(name: str, value: Any, why: str):
    found = refused({name: {"mask": {"fixed": value}}})
    assert why in found
    assert name in found


def test_partial_keeps_ends_of_whole_characters():
    column = masked("Email", {"partial": {"first": 1, "last": 2}})
    text = "RTRIM(CONVERT(nvarchar(max), [Email])) COLLATE Latin1_General_100_CI_AS_SC"
    assert column.select_expression == (
        f"CAST(CASE WHEN LEN({text}) > 3 THEN LEFT({text}, 1) + N'***' + RIGHT({text}, 2) "
        "WHEN [Email] IS NOT NULL THEN N'***' END AS nvarchar(9))"
    )
    assert (column.read_type, column.starrocks_type) == ("nvarchar(9)", "VARCHAR(27)")
    assert "LEFT" not in masked("Email", {"partial": {"last": 2}}).select_expression


@pytest.mark.parametrize(
    ("name", "mask", "why"),
    [
        ("Ratio", "hash", "float"),
        ("Big", {"partial": {"last": 2}}, "only texts"),
        ("Document", {"partial": {"last": 2}}, "only texts"),
    ],
)
def test_types_that_a_mask_does_not_go_with(name: str, mask: Any, why: str):
    assert why in refused({name: {"mask": mask}})


def test_nothing_stands_beside_a_masked_value():
    result = only({"Zoned": {"mask": "hash", "offsets": "column"}}, fractions="column")
    assert {c.source_name for c in result.columns if c.added} == {"Seen"}


def test_masks_are_told_as_losses_and_in_plan_changes():
    before, after = made(), made({"Email": {"mask": "hash"}})
    (loss,) = [loss for loss in table_losses(after.tables[0]) if "Email" in loss.columns]
    assert "masked" in loss.what
    assert not loss.countable
    (change,) = compare_plans(before, after).tables
    assert change.remedy.value == "reset"
    assert any("masked by hash" in one.new for one in change.changes)


# -- what must not be masked ---------------------------------------------------------------------


def test_a_primary_key_is_not_masked():
    assert "part of its primary key" in refused({"id": {"mask": "hash"}})


@pytest.mark.parametrize(
    ("wishes", "why"),
    [
        ({"partition_column": "born", "partitions": 8}, "partition_column"),
        ({"window": {"column": "born", "by": "year"}}, "window"),
    ],
)
def test_what_the_table_is_cut_by_is_not_masked(wishes: dict[str, Any], why: str):
    assert why in refused({"Born": {"mask": "null"}}, **wishes)


def test_a_partition_function_of_a_masked_column():
    function = PartitionFunction("pf", "Born", boundaries=("2000-01-01",), rows=(5, 5))
    table = people(partitioned=function)
    wishes = {"split": "partition_function", "partitions": 8}
    assert "partition function" in refused({"Born": {"mask": "null"}}, table, **wishes)
    rules = Rules.model_validate(
        {"tables": {"*": {"partitions": 8, "columns": {"Born": {"mask": "null"}}}}}
    )
    (request,) = keys_to_measure(database(table), rules)
    assert request.function is None


def test_no_index_of_a_masked_column_is_looked_at():
    columns = (Column("Ssn", TEXT, nullable=False), Column("Big", KINDS["Big"], nullable=False))
    indexes = (SourceIndex(1, ("Ssn",), unique=True), SourceIndex(2, ("Big",), unique=True))
    table = SourceTable("dbo", "People", TableSchema(columns), 10, indexes=indexes)

    def asked(mask: str) -> list[tuple[str, ...]]:
        wishes = {"partitions": 8, "columns": {"Ssn": {"mask": mask}}}
        rules = Rules.model_validate({"tables": {"dbo.People": wishes}})
        return [request.columns for request in keys_to_measure(database(table), rules)]

    assert asked("off") == [("Ssn",)]
    assert asked("hash") == [("Big",)]


def test_a_split_by_hash_does_without_masked_columns():
    table = only({"Email": {"mask": "null"}}, split="hash", partitions=8)
    assert "Big" in table.key_ranges[0].hash_columns
    assert "Email" not in table.key_ranges[0].hash_columns


@pytest.mark.parametrize("definition", ["([Email]+'x')", "(definition not visible)"])
def test_a_computed_column_that_would_tell_a_masked_one(definition: str):
    domain = Column("Domain", TEXT, computed=definition)
    table = SourceTable(
        "dbo", "People", TableSchema((ID, Column("email", TEXT), domain), ("Id",)), 10
    )
    masks: dict[str, Any] = {"Email": {"mask": "hash"}}
    assert "Domain is computed from email" in refused(masks, table)
    only(masks, table, exclude_columns=["Domain"])
    only(masks | {"Domain": {"mask": "null"}}, table)


def test_cuts_of_an_older_plan_do_not_tell_what_is_masked_now():
    columns = (Column("Ssn", TEXT, nullable=False), Column("Note", TEXT))
    index = SourceIndex(1, ("Ssn",), unique=True)
    cuts = KeyCuts(
        ("Ssn",), tuple(SourceCut((f"N'{i}'",), 10.0 * i) for i in range(1, 8)), 80, "walk"
    )
    table = SourceTable("dbo", "People", TableSchema(columns), 80, indexes=(index,), key_cuts=cuts)
    old = made({}, table, partitions=8)
    assert "N'3'" in old.to_json()
    rules = Rules.model_validate(
        {"tables": {"dbo.People": {"partitions": 8, "columns": {"Ssn": {"mask": "hash"}}}}}
    )
    new = plan(database(table), rules, warehouse="s3://l/w", mask_key=DIGEST)
    assert "N'3'" not in take_over(new, old, rules).to_json()


def test_a_mask_of_no_column_is_refused():
    assert "no table that dbo.People matches has such a column" in refused(
        {"Emial": {"mask": "hash"}}
    )
    assert "dbo.Poeple matches no table" in refused(
        {"Email": {"mask": "hash"}}, pattern="dbo.Poeple"
    )
    other = SourceTable("dbo", "Other", TableSchema((ID,), ("Id",)), 10)
    assert len(made({"E*l": {"mask": "hash"}}, people(), other, pattern="*").tables) == 2


# -- the salt ------------------------------------------------------------------------------------


def settings(salt: str | None = SALT) -> MssqlSettings:
    given = {"MIGRATION_MASK_SALT": salt} if salt is not None else {}
    return MssqlSettings(_env_file=None, host="h", user="u", password="p", database="d", **given)  # type: ignore[call-arg]


def test_a_hash_without_a_salt_is_refused():
    assert "there is no salt" in refused({"Email": {"mask": "hash"}}, mask_key="")
    assert made({"Email": {"mask": "null"}}, mask_key="").tables[0].mask_key == ""


def test_the_salt_is_a_parameter_and_hmacs():
    digest = salt_digest(settings())
    column = masked("Email", "hash", mask_key=digest)
    sql, (inner, outer) = with_salt(f"SELECT {column.select_expression}", settings())
    assert sql.startswith(f"DECLARE @mask_inner_{digest} binary(64) = ?, @mask_outer_{digest} ")
    assert SALT not in sql
    value = "bob@example.org".encode("utf-16-le")
    found = hashlib.sha256(outer + hashlib.sha256(inner + value).digest()).hexdigest()
    assert found == hmac.new(SALT.encode(), value, hashlib.sha256).hexdigest()
    assert with_salt("SELECT 1", settings(None)) == ("SELECT 1", ())


@pytest.mark.parametrize(("salt", "why"), [(None, "there is no salt"), ("x" * 99, "two hashes")])
def test_another_salt_is_refused_before_anything_is_read(salt: str | None, why: str):
    column = masked("Email", "hash", mask_key=salt_digest(settings()))
    with pytest.raises(ConfigurationError, match=why) as raised:
        with_salt(f"SELECT {column.select_expression}", settings(salt))
    assert "x" * 99 not in str(raised.value)


def test_two_salts_make_two_tables():
    one, two = (only({"Email": {"mask": "hash"}}, mask_key=key) for key in ("a" * 16, "b" * 16))
    assert one.table_id != two.table_id
    assert obstacles(one, two) == ["column email is read in another way"]
    assert only(mask_key="a" * 16).table_id == only(mask_key="b" * 16).table_id  # nothing hashed


def test_sparks_jdbc_reader_refuses_hashes_and_reads_other_masks():
    with pytest.raises(UnsupportedError, match="Email masked by hash"):
        jdbc_table(only({"Email": {"mask": "hash"}}))
    sql = jdbc_table(only({"Born": {"mask": None}}, where="[Big] > 5"))
    assert "DATEDIFF(day, '1970-01-01', [Born]) AS [born]" in sql
    assert "CAST(NULL AS date) AS [Born] FROM [dbo].[People]" in sql
    assert "WHERE (\n[Big] > 5\n)) AS [People]" in sql
    assert sql.count("[Born]") == 2


def test_a_mask_stands_once_in_each_statement_and_its_column_nowhere_else():
    masks = {"Email": {"mask": "hash"}, "Code": {"mask": {"partial": {"first": 1}}}}
    table = only(masks, verification="rows")
    (whole,) = table.key_ranges
    for sql in (
        select_sql(table, whole),
        *fingerprint_sql(table, whole, VerificationLevel.FULL),
        invalid_text_sql(table, whole, ["email"]),
    ):
        read, _, source = sql.partition(" FROM (SELECT ")
        for name in ("Email", "Code"):
            mask = table.by_source[name].select_expression
            assert source.count(f"{mask} AS [{name}]") == 1
            assert f"[{name}]" not in source.replace(f"{mask} AS [{name}]", "")
        assert "HASHBYTES" not in read
    assert "HASHBYTES" not in range_count_sql(table, whole)  # pymssql asks it


def test_later_patterns_win_and_off_takes_a_mask_away():
    rules = Rules.model_validate(
        {
            "tables": {
                "*": {"columns": {"*mail*": {"mask": "hash"}, "Phone": {"mask": None}}},
                "dbo.*": {"columns": {"phone": {"name": "telephone"}}},
                "dbo.Public*": {"columns": {"Email": {"mask": False}}},
            }
        }
    )
    public, people = (rules.for_table(name) for name in ("dbo.PublicPeople", "dbo.People"))
    assert people.column("EMAIL").mask is MaskWord.HASH
    assert public.column("EMAIL").mask is MaskWord.OFF
    assert public.column("SecondMail").mask is MaskWord.HASH
    assert (people.column("Phone").mask, people.column("Phone").name) == (
        MaskWord.NULL,
        "telephone",
    )

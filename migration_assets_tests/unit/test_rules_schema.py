"""The JSON schema and the page of migration.yaml: made from the models, and true of them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from pydantic import ValidationError

from migration_assets import rules_report
from migration_assets.rules import RULE_MODELS, Rules
from migration_assets.rules_schema import SCHEMA_PATH, descriptions, schema, schema_text

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
WRITE = "run `python -m migration_assets.rules_report`"


class _Editor(yaml.SafeLoader):
    """As editors read YAML: a date is text."""


_Editor.yaml_implicit_resolvers = {
    first: [(tag, regex) for tag, regex in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def problems(text: str) -> list[str]:
    """What the schema has against a file."""
    content = yaml.load(text, Loader=_Editor)
    return [error.message for error in Draft202012Validator(schema()).iter_errors(content)]


def documented() -> list[tuple[str, str]]:
    """Every migration.yaml in the documents: page and text."""
    found = []
    for path in DOCUMENTS:
        for block in re.findall(r"```yaml\n(.*?)```", path.read_text("utf-8"), re.DOTALL):
            content = yaml.safe_load(block)
            if isinstance(content, dict) and content.keys() <= Rules.model_fields.keys():
                found.append((path.name, block))
    return found


def test_the_committed_schema_is_that_of_the_models() -> None:
    assert SCHEMA_PATH.read_text(encoding="utf-8") == schema_text(), WRITE
    Draft202012Validator.check_schema(json.loads(schema_text()))


def test_the_page_is_that_of_the_models() -> None:
    assert (ROOT / rules_report.PAGE_PATH).read_text(encoding="utf-8") == rules_report.page(), WRITE


def test_the_report_writes_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules_report, "SCHEMA_PATH", tmp_path / "s.json")
    rules_report.main([str(tmp_path / "page.md")])
    assert (tmp_path / "page.md").read_text(encoding="utf-8") == rules_report.page()
    assert json.loads((tmp_path / "s.json").read_text(encoding="utf-8")) == schema()


def test_every_key_has_a_line_in_the_page_and_a_description_in_the_schema() -> None:
    page, parts = rules_report.page(), schema()
    for model in RULE_MODELS:
        part = parts if model is Rules else parts["$defs"][model.__name__]
        assert part["additionalProperties"] is False
        assert set(part["properties"]) == set(descriptions(model))
        for key, text in descriptions(model).items():
            assert part["properties"][key]["description"] == text
            assert f"| `{key}` |" in page, key


def test_all_documented_files_are_valid_by_rules_and_schema() -> None:
    found = documented()
    assert len(found) > 8
    assert {name for name, _ in found} >= {"migration-yaml.md", "windows.md"}
    for name, text in found:
        Rules.model_validate(yaml.safe_load(text))
        assert problems(text) == [], (name, text)


@pytest.mark.parametrize(
    "text",
    [
        "inclde: [a]",
        "include: 7",
        "include: [[a]]",
        "namespace_prefix: 'My Prefix'",
        "namespace_suffix: -glue",
        "iceberg_table: same",
        "iceberg_table: '{database}_{table}'",
        "starrocks_table: 'a-{table}'",
        "defaults: {starrocks_table: same}",
        "defaults: {verification: all}",
        "defaults: {location: 's3://a/b'}",
        "defaults: {keys: [Id]}",
        "tables: [dbo.Items]",
        "tables: {a: {partitions: 0}}",
        "tables: {a: {partitions: 5000}}",
        "tables: {a: {partitions: 8.5}}",
        "tables: {a: {partition: 8}}",
        "tables: {a: {model: aggregate}}",
        "tables: {a: {buckets: 2000}}",
        "tables: {a: {create: maybe}}",
        "tables: {a: {owners: [Ann]}}",
        "tables: {a: {owners: 'team:'}}",
        "tables: {a: {owners: ann@example}}",
        "tables: {a: {properties: [a]}}",
        "tables: {a: {properties: {replication_num: 3}}}",
        "tables: {a: {properties: {dynamic_partition.enable: true}}}",
        "tables: {a: {properties: {partition_live_number: 3}}}",
        "tables: {a: {properties: {'a b': x}}}",
        "tables: {a: {properties: {compression: 'Z\"'}}}",
        "tables: {a: {properties: {compression: [LZ4]}}}",
        "tables: {a: {iceberg_table: 'Items!'}}",
        "tables: {a: {location: /data}}",
        "tables: {a: {window: {column: x}}}",
        "tables: {a: {window: {column: x, by: hour}}}",
        "tables: {a: {window: {column: x, by: day, from: soon}}}",
        "tables: {a: {columns: {x: {fractions: round}}}}",
        "schemas: {dbo: 'Core DB'}",
        "schemas: {dbo: {namespac: x}}",
        "queries: {a.b: {key: [x]}}",
        "consistency: barrier",
        "spark_from: {row: 1}",
    ],
)
def test_what_rules_refuse_the_schema_refuses_too(text: str) -> None:
    with pytest.raises(ValidationError):
        Rules.model_validate(yaml.safe_load(text))
    assert problems(text)


def test_a_key_without_a_description_is_not_overlooked() -> None:
    class Undescribed(Rules):
        another: int = 0

    with pytest.raises(LookupError, match="another"):
        descriptions(Undescribed)


def test_numbers_and_switches_are_properties_as_starrocks_writes_them() -> None:
    text = "tables: {a: {properties: {bucket_size: 1024, replicated_storage: false}}}"
    assert problems(text) == []
    found: dict[str, Any] = Rules.model_validate(yaml.safe_load(text)).for_table("a").properties
    assert found == {"bucket_size": "1024", "replicated_storage": "false"}

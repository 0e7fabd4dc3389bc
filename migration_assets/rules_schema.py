"""The JSON schema of migration.yaml, made from `rules.py`: editors complete and check by it.

Its text is kept in `migration.schema.json` beside this module, which a test compares with the
models; `python -m migration_assets.rules_report` writes it anew.
"""

from __future__ import annotations

import inspect
import json
import re
import textwrap
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from migration_assets.rules import RULE_MODELS, Rules

SCHEMA_PATH = Path(__file__).with_name("migration.schema.json")
"""Where the schema is, in a checkout and in an installed package."""

_NULL_IS_A_VALUE = frozenset({"mask"})
"""Keys that may be left empty, or have null written behind them."""

_ENTRY = re.compile(r"^    (\w+): (.*(?:\n {8,}.*)*)", re.MULTILINE)


def schema_text() -> str:
    """The JSON schema of migration.yaml (draft 2020-12), as text that ends with a newline.

    A file that begins with `# yaml-language-server: $schema=migration.schema.json` is completed and
    checked by editors (https://github.com/redhat-developer/yaml-language-server).
    """
    return json.dumps(schema(), indent=1, ensure_ascii=False) + "\n"


def schema() -> dict[str, Any]:
    """The JSON schema of migration.yaml, with the description of each key."""
    made = Rules.model_json_schema()
    parts = made.get("$defs", {})
    for name, part in parts.items():
        part.pop("title", None)
        part["description"] = part.get("description", name).split("\n\n")[0]
    for model in RULE_MODELS:
        _describe(made if model is Rules else parts[model.__name__], model)
    _allow_names(parts["SchemaRules"], made["properties"]["schemas"])
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **made,
        "title": "migration.yaml of migration_assets",
        "description": "What is wished about the plan; see docs/migration-yaml.md.",
    }


@cache
def descriptions(model: type[BaseModel]) -> dict[str, str]:
    """What each key of a part of the file means, by the key as it is written there.

    It is what `Attributes:` of the docstrings says, of a class or of those that it is based on.
    """
    found: dict[str, str] = {}
    for base in reversed(model.__mro__):
        if not issubclass(base, BaseModel):
            continue
        listed = inspect.cleandoc(base.__doc__ or "").partition("Attributes:\n")[2]
        for name, text in _ENTRY.findall(listed):
            found[name] = " ".join(textwrap.dedent(text).split())
    return {
        (field.alias or name): _likewise(name, found, model)
        for name, field in model.model_fields.items()
    }


def _likewise(name: str, found: dict[str, str], model: type[BaseModel]) -> str:
    if name not in found:
        raise LookupError(f"{model.__name__}.{name} has no description in its docstring")
    return found[name][:1].upper() + found[name][1:].rstrip(".") + "."


def _describe(part: dict[str, Any], model: type[BaseModel]) -> None:
    """Put descriptions into a part of the schema, and drop what editors show in their place."""
    summary = inspect.cleandoc(model.__doc__ or "").split("\n\n")[0]
    part["description"] = " ".join(summary.split())
    part.pop("title", None)
    for key, text in descriptions(model).items():
        entry = part["properties"][key]
        entry.pop("title", None)
        entry["description"] = text
        default = entry.get("default")
        if not default or isinstance(default, dict):
            entry.pop("default", None)  # nothing is wished, or each key has its own
        if key not in _NULL_IS_A_VALUE:
            _without_null(entry)
        for ours, theirs in {"ge": "minimum", "le": "maximum"}.items():
            # Pydantic does not translate the bounds of a field that a validator comes before.
            if ours in entry:
                entry[theirs] = entry.pop(ours)


def _without_null(entry: dict[str, Any]) -> None:
    """Drop null, which Python has for a key that is not there: no key may be left empty."""
    kinds = [kind for kind in entry.get("anyOf", []) if kind != {"type": "null"}]
    if len(kinds) == 1:
        del entry["anyOf"]
        for key, value in kinds[0].items():
            # A pattern of the key itself asks for more than that of its kind.
            if key in entry:
                entry["allOf"] = [{key: entry.pop(key)}]
            entry[key] = value
    elif kinds:
        entry["anyOf"] = kinds


def _allow_names(of_schema: dict[str, Any], schemas: dict[str, Any]) -> None:
    """A schema may have one name for both of its targets."""
    name = of_schema["properties"]["namespace"]
    short = {"type": "string", "pattern": name["pattern"]}
    schemas["additionalProperties"] = {"anyOf": [short, schemas["additionalProperties"]]}

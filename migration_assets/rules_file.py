"""Reads migration.yaml; what is wrong in it is told with its line and key."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from migration_assets.errors import ConfigurationError
from migration_assets.rules import Rules


def load_rules(path: Path, *, must_exist: bool = False) -> Rules:
    """Read migration.yaml; a file that is not there means no wishes.

    Args:
        path: the file.
        must_exist: somebody named it, so no wishes would be a mistake.

    Raises:
        ConfigurationError: missing, unreadable, not YAML, or a key or value that is not known; the
            message names the file and, where it can, line and key.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        if not must_exist:
            return Rules()
        raise ConfigurationError(
            f"There is no {path}, which MIGRATION_RULES names.",
            code="MA-CF-011",
            next_step="Correct MIGRATION_RULES (a local file), or remove it to have no rules.",
        ) from None
    except UnicodeDecodeError:
        raise ConfigurationError(
            f"{path} cannot be read: it is no UTF-8 text.",
            code="MA-CF-011",
            next_step="Save it as UTF-8.",
        ) from None
    except OSError as error:
        raise ConfigurationError(
            f"{path} cannot be read: {error.strerror}.", code="MA-CF-011"
        ) from None
    try:
        root = yaml.compose(text, Loader=_Loader)
        content = yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader, see _Loader
    except yaml.YAMLError as error:
        raise _syntax_error(path, error) from None
    except (ValueError, RecursionError) as error:  # a number of 5,000 digits, a date of month 13
        raise ConfigurationError(f"{path} is not valid YAML: {error}.", code="MA-CF-012") from None
    if content is None:
        return Rules()
    if not isinstance(content, dict):
        raise ConfigurationError(
            f"{path}: the file holds no `key: value` lines.",
            code="MA-CF-012",
            next_step=_known(Rules),
        )
    try:
        return Rules.model_validate(content)
    except ValidationError as error:
        # A key that is not known is often why another one is missing.
        first = min(error.errors(), key=lambda entry: entry["type"] != "extra_forbidden")
        raise _content_error(path, root, dict(first)) from None


class _Loader(yaml.SafeLoader):
    """A SafeLoader that refuses a key given twice: the first one would be lost silently."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002 - PyYAML's signature
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value} is given twice", key.start_mark
                )
            seen.add(key.value if isinstance(key, yaml.ScalarNode) else id(key))
        return super().construct_mapping(node, deep=deep)


def _syntax_error(path: Path, error: yaml.YAMLError) -> ConfigurationError:
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return ConfigurationError(
            f"{path} is not valid YAML: {' '.join(str(error).split())}.", code="MA-CF-012"
        )
    is_star = "alias" in f"{error.context} {error.problem}"
    return ConfigurationError(
        f"{path}, line {error.problem_mark.line + 1}: not valid YAML: {error.problem}.",
        code="MA-CF-012",
        next_step='Put quotes around a pattern that begins with *: "*.orders".' if is_star else "",
    )


def _content_error(path: Path, root: yaml.Node | None, entry: dict[str, Any]) -> ConfigurationError:
    loc: tuple[str | int, ...] = entry["loc"]
    line = _line(root, loc)
    where = f"{path}, line {line}" if line else str(path)
    key = ".".join(str(part) for part in loc)
    if entry["type"] == "invalid_key" or (loc[-1] == "[key]" and entry["type"] == "string_type"):
        return ConfigurationError(
            f"{where}: the key {entry['input']} is no text.",
            code="MA-CF-014",
            next_step="Put quotes around it.",
        )
    if entry["type"] != "extra_forbidden":
        return ConfigurationError(
            f"{where}: {key} {_shown(entry['input'])}: {_wanted(entry)}.", code="MA-CF-014"
        )
    model = _model_at(loc)
    near = difflib.get_close_matches(str(loc[-1]).lower(), _keys(model), n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]}?" if near else "."
    return ConfigurationError(
        f"{where}: {key} is not a known key{hint}",
        code="MA-CF-013",
        next_step="" if near else _known(model),
    )


def _shown(value: object) -> str:
    """What stands there, as YAML calls it."""
    if value is None:
        return "is empty"
    if isinstance(value, bool):
        return (
            f"is {'yes' if value else 'no'} (in YAML also {'on, true' if value else 'off, false'})"
        )
    text = repr(value)
    return f"is {text if len(text) <= _LONGEST_SHOWN else f'{text[:_LONGEST_SHOWN]}…'}"


def _wanted(entry: dict[str, Any]) -> str:
    if entry["type"] == "value_error":
        return str(entry["msg"]).removeprefix("Value error, ")
    if entry["type"] in _WANTED:
        return _WANTED[entry["type"]]
    return f"{entry['msg'][0].lower()}{entry['msg'][1:]}"


_LONGEST_SHOWN = 80
_WANTED = {
    **dict.fromkeys(
        ("dict_type", "model_type", "model_attributes_type"), "`key: value` lines belong there"
    ),
    "tuple_type": "a list belongs there, as [a, b]",
    "string_type": "text belongs there, in quotes if it looks like something else",
}
"""Pydantic's words are for programmers."""


def _model_at(loc: tuple[str | int, ...]) -> type[BaseModel]:
    """The model in which an unknown key stood."""
    model: type[BaseModel] = Rules
    for part in loc[:-1]:
        field = next(
            (f for name, f in model.model_fields.items() if (f.alias or name) == part), None
        )
        if field is not None:  # else the part is a name or a pattern below the field before it
            model = _part_of(field.annotation) or model
    return model


def _part_of(annotation: Any) -> type[BaseModel] | None:
    """The model that a field holds, by itself or one for each name."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_part_of, get_args(annotation))), None)


def _keys(model: type[BaseModel]) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items()]


def _known(model: type[BaseModel]) -> str:
    return f"Known keys are {', '.join(_keys(model))}."


def _line(node: yaml.Node | None, loc: tuple[str | int, ...]) -> int | None:
    """The line, from 1, of the deepest part of a path that the file has."""
    line = None
    for part in loc:
        if isinstance(node, yaml.MappingNode):
            found = next(((k, v) for k, v in node.value if k.value == str(part)), None)
            if found is None:
                break
            line, node = found[0].start_mark.line + 1, found[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int):
            node = node.value[part]
            line = node.start_mark.line + 1
    return line

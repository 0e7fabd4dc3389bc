"""Stable codes: every error of ours has one, each is explained, and none changes its meaning."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from migration_assets import errors
from migration_assets.error_codes.answers import ANSWERS
from migration_assets.error_codes.registry import AREAS, CODES
from migration_assets.error_report import document
from migration_assets.errors import MigrationError, code_of
from migration_assets.fault_report import SYSTEMS

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "migration_assets"
PINNED = Path(__file__).with_name("error_codes.tsv")
CODE = re.compile(r"\bMA-[A-Z]{2}-\d{3}\b")

KINDS = {
    name: kind
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, MigrationError)
}


@cache
def modules() -> dict[Path, ast.Module]:
    return {path: ast.parse(path.read_text("utf-8")) for path in sorted(PACKAGE.rglob("*.py"))}


def name_of(node: ast.expr) -> str:
    """The last part of a dotted name; empty for any other expression."""
    return (
        ast.unparse(node).rpartition(".")[2] if isinstance(node, ast.Name | ast.Attribute) else ""
    )


def without_code(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and text of each error that is made without saying which cause it has.

    `code=` is a code, or that of another error; a class whose cause is always the same has its own.
    """
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or name_of(node.func) not in KINDS:
            continue
        given = next((one.value for one in node.keywords if one.arg == "code"), None)
        if given is None and KINDS[name_of(node.func)].code:
            continue
        is_code = isinstance(given, ast.Constant) and given.value in CODES
        if not (is_code or (given is not None and name_of(given) in {"code", "code_of"})):
            yield node.lineno, ast.unparse(node)[:80]


def test_every_error_is_made_with_a_code() -> None:
    bare = [
        f"{path.relative_to(ROOT)}:{line}: {text}"
        for path, tree in modules().items()
        for line, text in without_code(tree)
    ]
    assert bare == [], "give them `code=`; see CONTRIBUTING.md, Error codes"


@pytest.mark.parametrize(
    ("line", "is_bare"),
    [
        ('raise PlanError("no")', True),
        ('raise errors.PlanError("no")', True),
        ('raise PlanError("no", code="MA-PL-999")', True),
        ('raise PlanError("no", code=chosen)', True),
        ('raise PlanError("no", code="MA-PL-001")', False),
        ("raise PlanError(error.found, code=error.code)", False),
        ('raise ForeignRowsError("always the same cause")', False),
        ('raise ValueError("none of ours")', False),
    ],
)
def test_an_error_without_a_code_is_found(line: str, is_bare: bool) -> None:
    assert bool(list(without_code(ast.parse(line)))) is is_bare


def test_an_error_class_outside_of_the_tree_would_escape_the_test_above() -> None:
    for path, tree in modules().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef) and path.name != "errors.py":
                assert not {name_of(base) for base in node.bases} & KINDS.keys(), path


def used() -> set[str]:
    """All codes that stand in the product, outside of the registry's own entries."""
    return {
        code
        for path, tree in modules().items()
        if path.parent.name != "error_codes"
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        for code in CODE.findall(node.value)
    }


def test_every_code_that_is_registered_is_used_and_the_other_way_round() -> None:
    examples = {"MA-SR-003", "MA-SR-014"}  # in docstrings
    assert CODES.keys() - used() == set(), "registered, and no error has it"
    assert used() - examples - CODES.keys() == set(), "used, and not registered"


def test_every_row_of_the_fault_tables_has_the_code_of_its_meaning() -> None:
    area = {"mssql": "MS", "iceberg": "IC", "starrocks": "SR"}
    for system, rules in SYSTEMS.items():
        by_code: dict[str, tuple[str, type[MigrationError]]] = {}
        for rule in rules:
            assert re.fullmatch(rf"MA-{area[system]}-0\d\d", rule.code)
            meant = (rule.meaning, rule.error)
            assert by_code.setdefault(rule.code, meant) == meant, "one code, one cause"
            assert rule.raised("It is so.").code == rule.code
        assert len(set(by_code.values())) == len(by_code), "one cause, one code"


def test_answers_are_explained_that_there_are() -> None:
    assert ANSWERS.keys() == {rule.code for rules in SYSTEMS.values() for rule in rules}


def test_an_entry_says_all_that_it_has_to() -> None:
    for code, entry in CODES.items():
        assert CODE.fullmatch(code)
        assert code[3:5] in AREAS
        assert entry.title
        assert not entry.title.endswith("."), code
        assert entry.see, code
        for text in (entry.cause, entry.remedy):
            assert text[0] in "`/" or text[0].isupper(), (code, text)
            assert text.endswith((".", ")")), (code, text)


def pinned() -> dict[str, str]:
    lines = PINNED.read_text("utf-8").splitlines()
    return dict(line.split("\t") for line in lines)


def test_no_code_has_changed_its_meaning_or_gone() -> None:
    """A code that is no longer raised stays in the file, so that nobody gives it to another cause."""
    kept = pinned()
    assert list(kept) == sorted(kept)
    told = {code: entry.title for code, entry in CODES.items()}
    assert told.items() <= kept.items(), "a new code? Add its line to unit/error_codes.tsv"


def test_the_page_has_an_entry_for_each_code() -> None:
    text = (ROOT / "docs" / "errors.md").read_text("utf-8")
    assert text == document().rstrip("\n") + "\n", "run `python -m migration_assets.error_report`"
    assert re.findall(r"^### (.*)$", text, re.MULTILINE) == list(CODES)


def test_a_message_begins_with_its_code() -> None:
    error = MigrationError("There is no plan.", code="MA-PL-001", next_step="Make one.")
    assert str(error) == "MA-PL-001: There is no plan. Make one."
    assert (error.found, error.message) == ("There is no plan.", "There is no plan. Make one.")
    assert code_of(str(error)) == "MA-PL-001"
    assert code_of("dbo.t: MA-PL-001: elsewhere") == ""
    assert errors.ForeignRowsError("Rows.").code == "MA-VE-003"

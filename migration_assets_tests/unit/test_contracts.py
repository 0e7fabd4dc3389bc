"""The list of contracts fits the code. That the tests notice is shown by `make contracts`."""

from __future__ import annotations

import ast

import pytest

from migration_assets_tests.contracts.rules import PAGE, ROOT, Rule, load_rules, page

RULES = load_rules()


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_the_code_that_keeps_a_rule_is_there_and_can_be_taken_out(rule: Rule) -> None:
    text = (ROOT / "migration_assets" / rule.file).read_text(encoding="utf-8")
    without = rule.without(text)
    assert without != text
    ast.parse(without)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_its_tests_exist(rule: Rule) -> None:
    assert rule.tests
    for test in rule.tests:
        file, *names = test.split("::")
        found: ast.AST = ast.parse((ROOT / "migration_assets_tests" / file).read_text())
        for name in names:
            found = next(
                node for node in ast.iter_child_nodes(found) if getattr(node, "name", "") == name
            )


def test_names_differ() -> None:
    assert len({rule.name for rule in RULES}) == len(RULES)


def test_the_page_is_made_from_the_list() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), (
        "Run python -m migration_assets_tests.contracts.rules"
    )

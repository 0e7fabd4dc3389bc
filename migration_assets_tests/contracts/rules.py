"""The rules as values, and the page of the documentation that lists them."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "contracts.md"

HEADING = """\
# Contracts

The rules that keep rows from being lost, doubled or changed unseen (section 3 of the architecture),
what happens without each, and the test that notices. `make contracts` takes the rules out of a copy
of the code, one at a time, and shows that the test fails. Made from
`migration_assets_tests/contracts/rules.toml`.

| rule | without it | where | shown by |
|---|---|---|---|
"""


@dataclass(frozen=True)
class Rule:
    """One rule.

    Attributes:
        name: for `make contracts RULES=name`.
        rule: what holds.
        otherwise: what happens without it.
        file: the module that keeps it, below `migration_assets/`.
        old: the text in it that does, once.
        new: what stands there when the rule is taken out.
        tests: that fail then, each by itself; below `migration_assets_tests/`.
    """

    name: str
    rule: str
    otherwise: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    def without(self, text: str) -> str:
        """The module's text without the rule.

        Raises:
            ValueError: the text that keeps the rule is not there exactly once.
        """
        if text.count(self.old) != 1:
            raise ValueError(
                f"{self.name}: its text stands {text.count(self.old)} times in {self.file}"
            )
        return text.replace(self.old, self.new)


def load_rules() -> list[Rule]:
    """All rules, in the order of the stages."""
    text = (Path(__file__).parent / "rules.toml").read_text(encoding="utf-8")
    return [
        Rule(**{**given, "tests": tuple(given["tests"])}) for given in tomllib.loads(text)["rule"]
    ]


def page() -> str:
    """The text of `docs/contracts.md`."""
    lines = [
        f"| {rule.rule} | {rule.otherwise} | `{rule.file}` | "
        f"{', '.join(f'`{test}`' for test in rule.tests)} |\n"
        for rule in load_rules()
    ]
    return HEADING + "".join(lines)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")

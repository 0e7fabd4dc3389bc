"""Every case of bad input gives correct data, or one clear sentence and a non-zero exit."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import click
import pytest

from migration_assets.cli import cli
from migration_assets.error_codes.registry import CODES
from migration_assets.errors import code_of
from migration_assets.terminal import _UNBROKEN
from migration_assets_tests.bad_input import (
    access_cases,
    command_cases,
    plan_cases,
    rule_cases,
    setting_cases,
    stored_cases,
)
from migration_assets_tests.bad_input.asset_runner import ROWS, Assets, assets
from migration_assets_tests.bad_input.case import FORBIDDEN, Case, Kind, StoredCase
from migration_assets_tests.bad_input.runner import Bench, Ended, running, typed_in_a_shell

MODULES = (access_cases, command_cases, plan_cases, rule_cases, setting_cases)
CASES: list[Case] = [case for module in MODULES for case in module.CASES]
STORED: list[StoredCase] = stored_cases.CASES
OWN_WORDS = ("Wr0ng", "hunter2")
"""Passwords that cases bring along."""


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with running(tmp_path_factory.mktemp("good")) as made:
        yield made


@pytest.fixture(scope="module")
def made(bench: Bench) -> Iterator[Assets]:
    with assets(bench) as found:
        yield found


def assert_clean(text: str, bench: Bench) -> None:
    for word in (*FORBIDDEN, *OWN_WORDS, *bench.secrets):
        assert word not in text, text


def assert_ended(case: Case, ended: Ended, bench: Bench) -> None:
    assert ended.code == case.code, str(ended)
    assert_clean(ended.out + ended.err, bench)
    lines = ended.err.strip().splitlines()
    if case.code == 0 or not lines:
        spoken = re.sub(r"\s+", " ", ended.out)
    else:
        spoken = lines[-1] if case.lines < 2 else ended.err
        assert re.match(r"Error: |Interrupted\.|Nothing was written", lines[-1]), str(ended)
        assert case.lines in {0, len(lines)}, str(ended)
        of_click = "Usage: " in ended.err or lines[-1].startswith("Error: Option '")
        of_ours = lines[-1].startswith("Error: ") and not of_click
        assert not of_ours or code_of(lines[-1].removeprefix("Error: ")) in CODES, str(ended)
    for word in case.said:
        assert word in spoken, str(ended)


@pytest.mark.timeout(120, func_only=True)
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.kind}: {case.name}")
def test_typed(case: Case, bench: Bench, tmp_path: Path) -> None:
    assert_ended(case, bench.enter(case, tmp_path), bench)


@pytest.mark.timeout(120, func_only=True)
@pytest.mark.parametrize(
    "name",
    [
        "MSSQL_PASSWORD 'Wr0ng;}{'", "UTF-16, as PowerShell writes it", "self-signed",
    ],
)  # fmt: skip
def test_typed_in_a_shell(name: str, bench: Bench, tmp_path: Path) -> None:
    (case,) = [case for case in CASES if case.name == name]
    assert_ended(case, typed_in_a_shell(bench, case, tmp_path), bench)


@pytest.mark.timeout(120, func_only=True)
@pytest.mark.parametrize("case", STORED, ids=lambda case: f"{case.kind}: {case.name}")
def test_stored(case: StoredCase, made: Assets) -> None:
    said = made.meet(case)
    assert_clean(said, made.bench)
    for word in case.said:
        assert word in said, said or "it succeeded"
    if "copy differs" in said:  # it is known to be wrong: the next run makes it good
        assert made.make_all() == ""
    assert made.rows() == (ROWS, ROWS)


@pytest.mark.timeout(120, func_only=True)
@pytest.mark.parametrize(
    "name", ["the first 50.0%", "a newer version", "a table twice", "another id"]
)
def test_a_corrupt_plan_is_an_error_of_the_code_location(
    name: str, bench: Bench, tmp_path: Path
) -> None:
    (case,) = [case for case in plan_cases.CASES if case.name == name]
    said = bench.loading_definitions(case, tmp_path)
    assert_clean(said, bench)
    for word in case.said:
        assert word in said


def test_there_are_enough_cases_of_each_kind_and_no_two_alike() -> None:
    every: list[Case | StoredCase] = [*CASES, *STORED]
    assert len(every) >= 200
    counts = Counter(case.kind for case in every)
    assert {kind: counts[kind] for kind in Kind if counts[kind] < 8} == {}
    for label in ("identity", "name"):
        labels = Counter((case.kind, getattr(case, label)) for case in every)
        assert [found for found, number in labels.items() if number > 1] == []
    assert [case.name for case in every if not case.said and getattr(case, "code", 1)] == []


def misuses() -> Iterator[tuple[str, ...]]:
    """A word that no command knows, after each command there is, those of groups included."""

    def below(group: click.Group, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
        for name, command in group.commands.items():
            if isinstance(command, click.Group):
                yield from below(command, (*path, name))
            yield (*path, name, "--nonsense")

    yield from below(cli, ())


def test_no_failure_is_wider_than_a_terminal_of_80_columns(bench: Bench, tmp_path: Path) -> None:
    """Each command's usual mistakes, and some of every other kind of case, as a person sees them."""
    in_terminal = {"TTY_COMPATIBLE": "1", "COLUMNS": "80", "NO_COLOR": "1"}
    mistakes = [Case(Kind.ARGUMENT, " ".join(words), (), words) for words in misuses()]
    assert len(mistakes) > 15
    by_kind: dict[Kind, list[Case]] = {}
    for case in CASES:
        is_quick = case.code and not case.faults and "{silent}" not in str(case.env)
        if is_quick and case.kind not in {Kind.HOST, Kind.PORT, Kind.CERTIFICATE}:
            by_kind.setdefault(case.kind, []).append(case)
    some = [case for cases in by_kind.values() for case in cases[:: max(1, len(cases) // 12)]]
    wide = []
    for number, case in enumerate([*mistakes, *some]):
        folder = tmp_path / str(number)
        folder.mkdir()
        ended = bench.enter(replace(case, env={**case.env, **in_terminal}), folder)
        assert ended.code == case.code, str(ended)
        assert_clean(ended.out + ended.err, bench)
        lines = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", ended.out + ended.err).splitlines()
        assert lines
        # A path or a command that is longer has a line of its own, so that it can be copied.
        wide += [line for line in lines if len(line) > 80 and len(_UNBROKEN.findall(line)) > 1]
    assert wide == []

"""`make contracts`: take each rule out of a copy of the code, and see its tests fail.

Arguments are names of rules; all unless given. Ends with 1 when a test passes without its rule, or
fails with it.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Sequence
from pathlib import Path

from migration_assets_tests.contracts.rules import ROOT, Rule, load_rules

COPIED = ("migration_assets", "migration_assets_tests", "pyproject.toml", "README.md", "docs")
FAILED = 1
"""pytest's exit code when tests ran and some failed; an error of collection has another."""


class Copy:
    """A copy of the tree with a Python environment that finds the package there.

    The commands that tests start find it, too: they run with an interpreter of the copy's own, whose
    path leads to the copy and then to the libraries of this one.
    """

    def __init__(self, folder: Path) -> None:
        """Copy the tree into an empty folder."""
        self.tree = folder / "tree"
        self.tree.mkdir()
        for name in COPIED:
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, self.tree / name, ignore=shutil.ignore_patterns("*.pyc"))
            else:
                shutil.copy(source, self.tree)
        environment = folder / "environment"
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        packages = environment / "lib" / version / "site-packages"
        (packages / "copy.pth").write_text(f"{self.tree}\n{sysconfig.get_path('purelib')}\n")
        self._bin = environment / "bin"
        for name in ("migration-assets", "dagster"):
            script = (Path(sys.executable).parent / name).read_text().splitlines()
            script[0] = f"#!{self._bin / 'python'}"
            (self._bin / name).write_text("\n".join(script))
            (self._bin / name).chmod(0o755)

    def test(self, tests: Sequence[str]) -> int:
        """Run tests of the copy; returns pytest's exit code."""
        command = [self._bin / "python", "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"]
        nodes = [f"migration_assets_tests/{test}" for test in tests]
        done = subprocess.run(
            [*command, *nodes], cwd=self.tree, check=False, capture_output=True, text=True
        )
        return done.returncode


def try_rule(rule: Rule, copy: Copy) -> str:
    """Take a rule out of the copy, run its tests, put it back; returns what is wrong, if anything.

    Each test must fail by itself: one that would not notice is no proof.
    """
    file = copy.tree / "migration_assets" / rule.file
    whole = file.read_text(encoding="utf-8")
    file.write_text(rule.without(whole), encoding="utf-8")
    try:
        passed = [test for test in rule.tests if copy.test([test]) != FAILED]
    finally:
        file.write_text(whole, encoding="utf-8")
    return f"without it no failure in {', '.join(passed)}" if passed else ""


def main(names: Sequence[str]) -> int:
    """Try rules; returns the exit code."""
    rules = [rule for rule in load_rules() if not names or rule.name in names]
    wrong = 0
    with tempfile.TemporaryDirectory(prefix="contracts") as folder:
        copy = Copy(Path(folder))
        tests = [test for rule in rules for test in rule.tests]
        if copy.test(tests) != 0:
            print("The tests do not pass with all rules in place: nothing can be shown.")
            return 1
        for rule in rules:
            found = try_rule(rule, copy)
            wrong += bool(found)
            print(
                f"{'FAILED' if found else 'shown':7} {rule.name}: {found or rule.rule}", flush=True
            )
    print(
        f"{len(rules) - wrong} of {len(rules)} rules are shown by a test that fails without them."
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""The command `explain`: what an error's code means."""

from __future__ import annotations

import re

import click

from migration_assets.commands.arguments import OK, Command

_LINK = re.compile(r"\[([^\]]+)\]\((https://[^)\s]+)\)")
"""Of Markdown, in which the page has the entries."""


@click.command(cls=Command)
@click.argument("code", required=False)
def explain(*, code: str | None) -> int:
    """Say what an error's CODE means and what to do. Without one, list all codes."""
    from rich.text import Text

    from migration_assets.error_codes.registry import CODES
    from migration_assets.terminal import console

    if code is None:
        for entry in CODES.values():
            console.print(f"{entry.code}  {entry.title}", markup=False)
        return OK
    wanted = CODES.get(code.strip().rstrip(":").upper())
    if wanted is None:
        raise click.UsageError(
            f"There is no code {code!r}: they look like MA-SR-014, and without one all are listed."
        )
    console.print(Text(wanted.code, style="bold") + Text(f" {wanted.title}"))
    for name, text in (
        ("Cause", wanted.cause), ("How to see it", wanted.see), ("What to do", wanted.remedy),
    ):  # fmt: skip
        console.print(Text(f"\n{name}: ", style="bold") + Text(_LINK.sub(r"\1: \2", text)))
    return OK

"""For mkdocs: a link to a file outside of docs/, which a repository shows and the site has not, becomes its path."""

import re
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).parents[1]
_OUTSIDE = re.compile(r"\[([^\]]*)\]\(\.\./([^)#\s]+)\)")


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replace `[text](../path)` by the text and the path, where the path exists.

    One that does not is left to mkdocs, which warns of it.
    """
    return _OUTSIDE.sub(_shown, markdown)


def _shown(link: re.Match[str]) -> str:
    text, path = link.groups()
    if not (_ROOT / path).exists():
        return link[0]
    return f"`{path}`" if text.strip("`") == path else f"{text} (`{path}`)"

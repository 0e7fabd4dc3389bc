"""XML and JSON as SQL Server keeps them: checked, and without what it does not keep.

https://learn.microsoft.com/sql/relational-databases/xml/xml-data-type-and-columns-sql-server
"""

from __future__ import annotations

import json
import re
from xml.parsers import expat

from migration_assets.sandbox.sqlserver.errors import SqlServerError

_DECLARATION = re.compile(r"\s*<\?xml\s[^?]*\?>")
_ENCODING = re.compile(r"encoding\s*=\s*[\"']([^\"']*)[\"']", re.IGNORECASE)
_ROOT = "stand-in"


def xml(text: str, unicode: bool) -> str:  # noqa: FBT001 - called by DuckDB
    """An xml value: declaration, DTD-free, white space between elements and CDATA marks gone.

    Args:
        text: a document or a fragment.
        unicode: it comes from nvarchar, whose encoding a declaration cannot change.

    Raises:
        SqlServerError: 9400 and up, for text that is not well-formed.
    """
    declaration = _DECLARATION.match(text)
    if declaration:
        encoding = _ENCODING.search(declaration[0])
        named = encoding[1].lower() if encoding else ""
        is_wide = named in {"utf-16", "ucs-2"}
        if named and is_wide != unicode:
            raise SqlServerError(
                9402, "XML parsing: line 1, character 1, unable to switch the encoding"
            )
        text = text[declaration.end() :]
    if re.search(r"<!DOCTYPE", text):
        raise SqlServerError(
            6359,
            "Parsing XML with internal subset DTDs not allowed. Use CONVERT with style option 2 to "
            "enable limited internal subset DTD support.",
        )
    writer = _XmlWriter()
    parser = expat.ParserCreate(encoding="utf-8")
    parser.buffer_text = True
    parser.ordered_attributes = True
    parser.StartElementHandler = writer.start
    parser.EndElementHandler = writer.end
    parser.CharacterDataHandler = writer.characters
    parser.CommentHandler = writer.comment
    parser.ProcessingInstructionHandler = writer.instruction
    try:
        parser.Parse(f"<{_ROOT}>{text}</{_ROOT}>", True)  # noqa: FBT003 - it is the last piece
    except expat.ExpatError as error:
        raise SqlServerError(
            9400,
            f"XML parsing: line {error.lineno}, character {error.offset}, {expat.ErrorString(error.code)}",
        ) from None
    return "".join(writer.out)


class _XmlWriter:
    """Writes what it is told as SQL Server does: `"` around attributes, `<a/>` for an empty one."""

    def __init__(self) -> None:
        self.out: list[str] = []
        self.depth = 0
        self.preserving = [False]
        self.open = False

    def _close_tag(self) -> None:
        if self.open:
            self.out.append(">")
            self.open = False

    def start(self, name: str, attributes: list[str]) -> None:
        self.depth += 1
        if self.depth == 1:
            return
        self._close_tag()
        pairs = dict(zip(attributes[::2], attributes[1::2], strict=True))
        space = pairs.get("xml:space")
        self.preserving.append(self.preserving[-1] if space is None else space == "preserve")
        written = "".join(
            f' {key}="{_escaped(value, attribute=True)}"' for key, value in pairs.items()
        )
        self.out.append(f"<{name}{written}")
        self.open = True

    def end(self, name: str) -> None:
        self.depth -= 1
        if self.depth == 0:
            return
        self.preserving.pop()
        self.out.append("/>" if self.open else f"</{name}>")
        self.open = False

    def characters(self, text: str) -> None:
        if text.strip(" \t\r\n") or self.preserving[-1]:
            self._close_tag()
            self.out.append(_escaped(text, attribute=False))

    def comment(self, text: str) -> None:
        self._close_tag()
        self.out.append(f"<!--{text}-->")

    def instruction(self, target: str, data: str) -> None:
        self._close_tag()
        self.out.append(f"<?{target} {data}?>" if data else f"<?{target}?>")


def _escaped(text: str, *, attribute: bool) -> str:
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    text = text.replace("\r", "&#x0D;")
    if attribute:
        text = text.replace('"', "&quot;").replace("\t", "&#x09;").replace("\n", "&#x0A;")
    return text


def json_text(text: str) -> str:
    """A json value: checked, white space outside of strings gone; numbers stay as written.

    Raises:
        SqlServerError: 13609 for text that is not JSON.
    """
    try:
        json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        place = getattr(error, "pos", 0)
        raise SqlServerError(
            13609,
            "JSON text is not properly formatted. Unexpected character "
            f"'{text[place : place + 1] or '.'}' is found at position {place}.",
        ) from None
    strings = re.compile(r'("(?:[^"\\]|\\.)*")|\s+', re.DOTALL)
    return strings.sub(lambda found: found[1] or "", text)


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def vector(text: str, dimensions: int) -> list[float]:
    """The numbers of a vector's JSON array.

    Raises:
        SqlServerError: 42204 for another number of dimensions; 13609 for what is not such an array.
    """
    found = json.loads(json_text(text))
    numeric = isinstance(found, list) and all(
        isinstance(number, (int, float)) and not isinstance(number, bool) for number in found
    )
    if not numeric:
        raise SqlServerError(
            13609, "JSON text is not properly formatted: an array of numbers is expected."
        )
    if len(found) != dimensions:
        raise SqlServerError(
            42204, f"The vector dimensions {dimensions} and {len(found)} do not match."
        )
    return [float(number) for number in found]

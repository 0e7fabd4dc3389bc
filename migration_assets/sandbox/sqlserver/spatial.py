"""Well-known text and binary of points, linestrings and polygons, with SQL Server's checks.

https://learn.microsoft.com/sql/relational-databases/spatial/spatial-data-types-overview
WKB is little-endian; Z adds 1000 to the type, M 2000 (as `AsBinaryZM` answers).
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from migration_assets.sandbox.sqlserver.errors import SqlServerError, unsupported

_NAMES = {1: "POINT", 2: "LINESTRING", 3: "POLYGON"}
_TYPES = {name: number for number, name in _NAMES.items()}
_TOKEN = re.compile(r"\s*([A-Za-z]+|[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|[(),])")

Point = tuple[float, float, float | None, float | None]


@dataclass(frozen=True)
class Shape:
    """A point (one ring of one point), a linestring (one ring) or a polygon (its rings)."""

    kind: str
    rings: list[list[Point]]

    @property
    def _has(self) -> tuple[bool, bool]:
        points = [point for ring in self.rings for point in ring]
        return any(p[2] is not None for p in points), any(p[3] is not None for p in points)

    def wkb(self, *, zm: bool = True) -> bytes:
        """Little-endian WKB, without Z and M where these are not wanted."""
        has_z, has_m = self._has if zm else (False, False)
        number = _TYPES[self.kind] + (1000 if has_z else 0) + (2000 if has_m else 0)
        out = struct.pack("<BI", 1, number)
        if self.kind == "POLYGON":
            out += struct.pack("<I", len(self.rings))
        for ring in self.rings:
            if self.kind != "POINT":
                out += struct.pack("<I", len(ring))
            for x, y, z, m in ring:
                extra = [v for v, has in ((z, has_z), (m, has_m)) if has]
                out += struct.pack("<2d", x, y)
                out += b"".join(struct.pack("<d", float("nan") if v is None else v) for v in extra)
        return out

    def text(self, *, zm: bool = True) -> str:
        """WKT as SQL Server writes it."""
        has_z, has_m = self._has if zm else (False, False)
        rings = []
        for ring in self.rings:
            points = []
            for x, y, z, m in ring:
                parts = [_number(x), _number(y)]
                if has_z or has_m:
                    parts.append("NULL" if z is None else _number(z))
                if has_m:
                    parts.append("NULL" if m is None else _number(m))
                points.append(" ".join(parts))
            rings.append(", ".join(points))
        inside = ", ".join(f"({ring})" for ring in rings) if self.kind == "POLYGON" else rings[0]
        return f"{self.kind} ({inside})"

    def check(self, *, geography: bool) -> Shape:
        """The shape itself, once SQL Server would take it.

        Raises:
            SqlServerError: 6522 with the text of the check that failed.
        """
        for ring in self.rings:
            if self.kind == "LINESTRING" and len(ring) < 2:
                raise _invalid(
                    "24117: The LineString input is not valid because it does not have enough points."
                )
            if self.kind == "POLYGON" and len(ring) < 4:
                raise _invalid(
                    "24120: The Polygon input is not valid because a ring does not have enough points."
                )
            if self.kind == "POLYGON" and ring[0][:2] != ring[-1][:2]:
                raise _invalid(
                    "24119: The Polygon input is not valid because the start and end points of a ring are not the same."
                )
            if geography and any(abs(y) > 90 for _, y, _, _ in ring):
                raise _invalid("24201: Latitude values must be between -90 and 90 degrees.")
            if geography and any(abs(x) > 15069 for x, _, _, _ in ring):
                raise _invalid("24202: Longitude values must be between -15069 and 15069 degrees.")
        return self


def _invalid(text: str) -> SqlServerError:
    return SqlServerError(
        6522,
        "A .NET Framework error occurred during execution of user-defined routine or aggregate: "
        f"System.FormatException: {text}",
    )


def _number(value: float) -> str:
    if value == int(value) and abs(value) < 1e15:
        return str(int(value))
    return repr(value).replace("e", "E")


# -- reading text --------------------------------------------------------------------------------


def parse(text: str) -> Shape:
    """Read WKT with two to four numbers a point.

    Raises:
        SqlServerError: 6522 for what is not WKT; 50001 for other shapes than these three.
    """
    tokens = _tokens(text)
    kind = next(tokens, "").upper()
    if kind not in _TYPES:
        if kind.isalpha():
            raise unsupported(f"the shape {kind}: only POINT, LINESTRING and POLYGON")
        raise _invalid(f"24114: The label {kind} in the input well-known text (WKT) is not valid.")
    rest = list(tokens)
    if rest and rest[0].upper() == "EMPTY":
        raise unsupported(f"{kind} EMPTY")
    reader = _Words(rest)
    reader.expect("(")
    rings = []
    if kind == "POLYGON":
        rings = [reader.ring(opened=False)]
        while reader.accept(","):
            rings.append(reader.ring(opened=False))
        reader.expect(")")
    else:
        rings = [reader.ring(opened=True)]
    if reader.words[reader.at :] or (kind == "POINT" and len(rings[0]) != 1):
        raise _invalid("24142: Unexpected text after a shape in the well-known text (WKT).")
    return Shape(kind, rings)


def _tokens(text: str) -> Iterator[str]:
    at = 0
    text = text.rstrip()
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            raise _invalid(f"24142: Unexpected character at position {at} in the input.")
        yield found[1]
        at = found.end()


@dataclass
class _Words:
    words: list[str]
    at: int = 0

    def accept(self, word: str) -> bool:
        if self.at < len(self.words) and self.words[self.at] == word:
            self.at += 1
            return True
        return False

    def expect(self, word: str) -> None:
        if not self.accept(word):
            found = self.words[self.at] if self.at < len(self.words) else ""
            raise _invalid(
                f'24142: Expected "{word}" at position {self.at}. The input has "{found}".'
            )

    def ring(self, *, opened: bool) -> list[Point]:
        if not opened:
            self.expect("(")
        points = [self.point()]
        while self.accept(","):
            points.append(self.point())
        self.expect(")")
        return points

    def point(self) -> Point:
        numbers: list[float | None] = []
        while self.at < len(self.words) and self.words[self.at] not in {"(", ")", ","}:
            word = self.words[self.at]
            self.at += 1
            try:
                numbers.append(None if word.upper() == "NULL" else float(word))
            except ValueError:
                raise _invalid(f"24141: A number is expected, not {word}.") from None
        if not 2 <= len(numbers) <= 4 or numbers[0] is None or numbers[1] is None:
            raise _invalid("24141: A number is expected in the input.")
        z, m = [*numbers[2:], None, None][:2]
        return numbers[0], numbers[1], z, m


# -- reading bytes -------------------------------------------------------------------------------


def from_wkb(data: bytes) -> Shape:
    """Read WKB of either byte order.

    Raises:
        SqlServerError: 6522 for what is not WKB; 50001 for other shapes than these three.
    """
    try:
        order = "<" if data[0] == 1 else ">"
        (number,) = struct.unpack_from(order + "I", data, 1)
        extra, number = divmod(number, 1000)
        if number not in _NAMES or extra > 3:
            raise unsupported(f"WKB of type {number + 1000 * extra}")
        reader = _Binary(data, order, bool(extra & 1), bool(extra & 2), 5)
        rings_count = reader.count() if number == 3 else 1
        rings = [
            [reader.point() for _ in range(1 if number == 1 else reader.count())]
            for _ in range(rings_count)
        ]
    except (struct.error, IndexError):
        raise _invalid("24210: Invalid WKB: unexpected end of the input.") from None
    if reader.at != len(data):
        raise _invalid("24210: Invalid WKB: more bytes than the shape has.")
    return Shape(_NAMES[number], rings)


@dataclass
class _Binary:
    data: bytes
    order: str
    has_z: bool
    has_m: bool
    at: int

    def count(self) -> int:
        (number,) = struct.unpack_from(self.order + "I", self.data, self.at)
        self.at += 4
        return int(number)

    def number(self) -> float:
        (value,) = struct.unpack_from(self.order + "d", self.data, self.at)
        self.at += 8
        return float(value)

    def point(self) -> Point:
        x, y = self.number(), self.number()
        z = self.number() if self.has_z else None
        m = self.number() if self.has_m else None
        # A NaN stands for a missing number of a shape in which others have one.
        return x, y, None if z != z else z, None if m != m else m  # noqa: PLR0124 - NaN

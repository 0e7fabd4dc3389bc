"""Numbers and names as the page writes them."""

from __future__ import annotations

import re
import unicodedata


def visible(text: str) -> str:
    """A name with what nobody can see made visible, so that no two names look alike.

    SQL Server takes line ends, zeros and marks that turn the direction of writing as parts of names.
    """
    return "".join(map(_visible, text))


_HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def _visible(character: str) -> str:
    if unicodedata.category(character) not in _HIDDEN:
        return character
    return f"\\u{ord(character):04x}" if ord(character) < 0x10000 else f"\\U{ord(character):08x}"


def counted(count: int, noun: str) -> str:
    """`1 table`, `1,234 tables`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def size(value: float | None) -> str:
    """Bytes in the largest decimal unit: `1.2 GB`; `unknown` for None."""
    if value is None:
        return "unknown"
    for unit in ("B", "kB", "MB", "GB"):
        if round(value, 1) < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:,.1f} TB"


def duration(seconds: float) -> str:
    """Two units are as exact as an estimate is: `45 s`, `12 min`, `3 h 20 min`, `2 d 4 h`."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(hours + (minutes >= 30), 24)
    return f"{days} d {hours} h" if hours else f"{days} d"


def sentence(text: str) -> str:
    """With a capital, unless it begins with the name of a file, and a full stop."""
    text = text.strip() or "No reason was given."
    if not re.match(r"\w+\.\w", text):
        text = text[0].upper() + text[1:]
    return text if text.endswith((".", "!", "?")) else f"{text}."

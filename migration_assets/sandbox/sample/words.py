"""Words that the sample's texts are made of, and texts that break careless copies."""

from __future__ import annotations

FIRST_NAMES = [
    "Anna", "Björn", "Chloé", "Dmitri", "Élodie", "Fatima", "Güneş", "Hana", "Ioannis", "José",
    "Karl", "Łukasz", "Minh", "Nguyễn", "Олена", "Павел", "Qiáng", "Ρένα", "Søren", "太郎",
    "Uğur", "Véronique", "Wei", "Ximena", "Yael", "Zoë", "محمد", "שרה", "प्रिया", "민준",
]  # fmt: skip
LAST_NAMES = [
    "Andersson", "Brontë", "Čapek", "D'Angelo", "Évrard", "Fischer", "García-Márquez", "Horváth",
    "Ivanov", "Jørgensen", "Kowalska", "Lindqvist", "Müller", "Nakamura", "O'Brien", "Петров",
    "Quispe", "Rossi", "Şahin", "田中", "Úbeda", "van der Berg", "Weiß", "Żukowski", "العلي", "김",
]  # fmt: skip
CITIES = [
    "Aachen", "København", "Göteborg", "Kraków", "Łódź", "München", "Nuuk", "Reykjavík", "São Paulo",
    "Tórshavn", "Zürich", "Київ", "東京", "القاهرة", "Θεσσαλονίκη", "İstanbul", "'s-Hertogenbosch", "",
    None,
]  # fmt: skip
COUNTRIES = [
    "AT",
    "BR",
    "CH",
    "CZ",
    "DE",
    "DK",
    "EG",
    "FR",
    "GR",
    "IS",
    "JP",
    "PL",
    "SE",
    "UA",
    "US",
]
COLOURS = ["amber", "black", "blau", "café", "grün", "ivory", "red", "teal"]
THINGS = ["bolt", "bowl", "box", "chair", "clip", "desk", "jug", "lamp", "rack", "shelf", "tray"]
NOTES = [
    "ok", "delivered to the neighbour", "geliefert an Müller & Söhne", "rappel envoyé", "折り返し電話",
    "customer says: \"don't call\"", r"path C:\shop\new", "50 % off", "a,b;c|d", "semi; colon -- dash",
    "shipped 📦", "thank you 🙏🏽", "tab\there", "two\nlines", "",
]  # fmt: skip

TRICKY = [
    "",
    " ",
    "leading and trailing  ",
    "  both  ",
    'it\'s "quoted" with `ticks`',
    "back\\slash \\N \\n \\0 \\",
    "tab\tnew\nline\r\nreturn\r",
    "control \x01\x02\x08\x0b\x0c\x1b\x1f\x7f",
    "NULL",
    "null",
    "\\N",
    "comma,semicolon;pipe|",
    "'; DROP TABLE [Orders]; --",
    "${HOME} $1 %s %(x)s {0} {{x}}",
    '<a href="x">&amp;</a>',
    "0x41",
    "1e5",
    "true",
]
"""ASCII texts, of at most 40 characters, for char, varchar and nvarchar alike."""

TRICKY_LATIN = [
    "Müller & Söhne",
    "€ 5,\u2013",
    "naïve café",
    "ÿ ß æ ø Å",
    "“curly” \u2018quotes\u2019…",
]
"""Texts of code page 1252, the one of the default collation."""

TRICKY_UNICODE = [
    "😀",
    "👩‍👩‍👧‍👦 family",
    "🇩🇪🏴󠁧󠁢󠁳󠁣󠁴󠁿",
    "\U0001d518\U0001d52b\U0001d526 𠜎𠜱",
    "e\u0301 is not \u00e9",
    "עברית and العربية",
    "日本語 한국어 ไทย",
    "zero\u200bwidth \u2028 line \ufeff bom",
    "İıſßẞ ǅ",
    "\ufffd replacement",
]
"""Texts for nvarchar alone, of at most 40 UTF-16 units."""

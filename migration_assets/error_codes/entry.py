"""One entry: what a code stands for."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ErrorCode:
    """What one code stands for.

    Attributes:
        code: `MA-<area>-<number>`.
        title: the cause in a few words.
        cause: how it comes about.
        see: where or by which command or query a person sees it.
        remedy: what to do.
    """

    code: str
    title: str
    cause: str
    see: str
    remedy: str

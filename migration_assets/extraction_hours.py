"""The hours of the day in which extractions may begin, by a clock of some time zone; pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_TIME = r"(\d{1,2}:\d{2}(?::\d{2})?)"
_HOURS = re.compile(rf"{_TIME}\s*-\s*{_TIME}")
_NEEDED = "a beginning and an end are needed, as 20:00-06:00"


@dataclass(frozen=True)
class ExtractionHours:
    """From when to when extractions may begin; past midnight where the end is the earlier one.

    Attributes:
        opens: by the clock of the zone; included.
        closes: likewise; not included.
        zone: whose clock it is.
    """

    opens: time
    closes: time
    zone: tzinfo

    @classmethod
    def parse(cls, text: str, zone: str = "UTC") -> ExtractionHours:
        """Read `20:00-06:00`; 24:00 is midnight as well.

        Raises:
            ValueError: it is not that, is empty, or the zone is not known; says so.
        """
        found = _HOURS.fullmatch(text.strip())
        if found is None:
            raise ValueError(f"{_NEEDED}, not {text!r}")
        opens, closes = _time(found[1]), _time(found[2])
        if opens == closes:
            raise ValueError(f"{text} begins when it ends; {_NEEDED}")
        return cls(opens, closes, time_zone(zone))

    def opening(self, now: datetime) -> datetime | None:
        """When they begin next, by their own clock; None while they are.

        Args:
            now: with its time zone.
        """
        local = now.astimezone(self.zone)
        clock = local.time()
        if self.opens < self.closes:
            is_open = self.opens <= clock < self.closes
        else:
            is_open = clock >= self.opens or clock < self.closes
        if is_open:
            return None
        # Times of one zone are compared by the clock's hands: as instants only in UTC.
        today = datetime.combine(local.date(), self.opens, self.zone)
        if today.astimezone(UTC) > now.astimezone(UTC):
            return today
        return datetime.combine(local.date() + timedelta(days=1), self.opens, self.zone)

    def __str__(self) -> str:
        """`20:00-06:00 Europe/Berlin`."""
        return f"{_shown(self.opens)}-{_shown(self.closes)} {self.zone}"


def time_zone(name: str) -> tzinfo:
    """The time zone of an IANA name (https://data.iana.org/time-zones/tz-link.html).

    Raises:
        ValueError: there is none of that name.
    """
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(
            f"there is no time zone {name!r}; it is named like UTC or Europe/Berlin"
        ) from None


def waits_until(hours: ExtractionHours, opening: datetime) -> str:
    """What to tell while extractions wait."""
    return f"extraction waits until {opening:%Y-%m-%d %H:%M} {hours.zone} (window {hours})"


def _time(text: str) -> time:
    if re.fullmatch(r"24:00(:00)?", text):
        return time()
    try:
        return time.fromisoformat(text.rjust(len("00:00") if text.count(":") == 1 else 8, "0"))
    except ValueError:
        raise ValueError(f"{text} is no time of day; {_NEEDED}") from None


def _shown(clock: time) -> str:
    return f"{clock:%H:%M:%S}" if clock.second else f"{clock:%H:%M}"

"""Alerts, and how they are sent to a webhook: Slack's, Microsoft Teams', or anybody's as plain JSON.

Formats: https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks and
https://support.microsoft.com/office/create-incoming-webhooks-with-workflows-for-microsoft-teams-8ae491c7-0394-4861-ba59-055e33f75498
The address is a secret: whoever has it may post. No error has more of it than the host.
"""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from migration_assets.errors import ConfigurationError, ConnectionLostError
from migration_assets.setting_choices import AlertFormat

if TYPE_CHECKING:
    from migration_assets.settings import AlertSettings

MOST_PROBLEMS = 10
"""Problems that one alert lists; the rest is a number."""
_LONGEST_CAUSE = 600
"""Characters: all services bound a message, the least at some thousand."""


@dataclass(frozen=True)
class Problem:
    """One thing that went wrong.

    Attributes:
        table: `schema.table`; empty where it is about no single one.
        partition: its partition key; empty where it is about several.
        stage: which asset of the table.
        cause: what happened.
        next_step: what to do first; may be empty.
        retry: the command that makes it good.
    """

    table: str
    partition: str
    stage: str
    cause: str
    next_step: str
    retry: str


@dataclass(frozen=True)
class Alert:
    """What a run has to tell.

    Attributes:
        event: `run failed` or `check failed`.
        run_id: Dagster's, by which a receiver can tell that one comes twice.
        job: Dagster's job.
        problems: at least one.
    """

    event: str
    run_id: str
    job: str
    problems: Sequence[Problem]

    @property
    def text(self) -> str:
        """The message, for people; lines of Markdown as Slack and Teams both know it."""
        lines = [f"{self.event[0].upper()}{self.event[1:]}: job {self.job}, run {self.run_id}"]
        for problem in self.problems[:MOST_PROBLEMS]:
            where = " ".join(filter(None, [problem.table, problem.partition]))
            stage = f" ({problem.stage})" if problem.stage else ""
            cause = shortened(problem.cause)
            if problem.table and not problem.partition and f"{problem.table}: " in cause:
                where = stage = ""
            lines.append(f"- {f'{where}{stage}: ' if where else ''}{cause}")
            if problem.next_step and problem.next_step not in cause:
                lines.append(f"  {problem.next_step}")
            lines.append(f"  `{problem.retry}`")
        if (more := len(self.problems) - MOST_PROBLEMS) > 0:
            lines.append(f"and {more} more: `migration-assets status --failed`")
        return "\n".join(lines)


def body(alert: Alert, format_: AlertFormat) -> dict[str, Any]:
    """What is sent, as JSON."""
    if format_ is AlertFormat.SLACK:
        # https://docs.slack.dev/messaging/formatting-message-text#escaping
        escaped = alert.text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        return {"text": escaped}
    if format_ is AlertFormat.TEAMS:
        lines = [{"type": "TextBlock", "text": line.strip(), "wrap": True} for line in
                 alert.text.splitlines()]  # fmt: skip
        card = {
            "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
            "type": "AdaptiveCard",
            "version": "1.4",
            "body": lines,
        }
        kind = "application/vnd.microsoft.card.adaptive"
        return {"type": "message", "attachments": [{"contentType": kind, "content": card}]}
    problems = [
        {**asdict(problem), "cause": shortened(problem.cause)}
        for problem in alert.problems[:MOST_PROBLEMS]
    ]
    return {
        "event": alert.event,
        "run_id": alert.run_id,
        "job": alert.job,
        "text": alert.text,
        "problems": problems,
        "more_problems": max(0, len(alert.problems) - MOST_PROBLEMS),
    }


def shortened(text: str) -> str:
    """One line, cut where it is longer than a message may be."""
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST_CAUSE else f"{line[:_LONGEST_CAUSE]}…"


class _StayHere(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: the alert would become a GET without a word."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def send(alert: Alert, settings: AlertSettings) -> None:
    """Post an alert.

    Raises:
        ConfigurationError: MIGRATION_ALERT_WEBHOOK_URL is not set.
        ConnectionLostError: the webhook did not take it: it may be sent again.
    """
    if settings.webhook_url is None:
        raise ConfigurationError("MIGRATION_ALERT_WEBHOOK_URL is not set.", code="MA-CF-001")
    address = settings.webhook_url.get_secret_value()
    request = urllib.request.Request(  # noqa: S310 - the setting takes http and https only
        address,
        data=json.dumps(body(alert, settings.format), ensure_ascii=False).encode(),
        headers={"Content-Type": "application/json", "User-Agent": "migration-assets"},
        method="POST",
    )
    host = urlsplit(address).hostname
    try:
        opener = urllib.request.build_opener(_StayHere)
        with opener.open(request, timeout=settings.timeout_s) as answer:
            answer.read(1024)
    except urllib.error.HTTPError as error:
        with error:
            said = f"answered {error.code}"
    except urllib.error.URLError as error:
        said = f"cannot be reached: {_reason(error.reason)}"
    except (OSError, http.client.HTTPException, UnicodeError) as error:
        said = f"cannot be reached: {_reason(error)}"
    else:
        return
    raise ConnectionLostError(
        f"The webhook at {host} {said}.",
        code="MA-DG-130",
        next_step="The alert is sent again; check MIGRATION_ALERT_WEBHOOK_URL if it comes back.",
    )


def _reason(error: object) -> str:
    """What a library says, or its kind where that could have the address in it."""
    if isinstance(error, TimeoutError):
        return "no answer came in time"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return type(error).__name__

"""The page as one HTML file that works without a network: no script, no request, no font.

Everything on it that came from a database goes through Jinja's escaping, and a policy in the file
forbids a browser to run or fetch anything, should something slip through.
"""

from __future__ import annotations

from functools import cache

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined, Template

from migration_assets.inventory_page.balance import UNEVEN, Balance
from migration_assets.inventory_page.content import MOST_BARS, MOST_PLOTS, SPREAD_NOTE, Page
from migration_assets.inventory_page.wording import counted, duration, visible

PLOT_WIDTH, PLOT_HEIGHT = 240.0, 56.0
"""Units of a plot's own coordinates; the page scales it."""


def html(page: Page) -> str:
    """Write the page down."""
    return _template().render(
        page=page,
        plots=[BalancePlot(balance) for balance in page.balances[:MOST_PLOTS]],
        more_balances=page.balances[MOST_PLOTS:],
        most_bars=MOST_BARS,
        spread_note=SPREAD_NOTE,
        uneven=UNEVEN,
    )


class BalancePlot:
    """A bar for each partition of a table, in SVG coordinates."""

    def __init__(self, balance: Balance) -> None:
        """Lay the bars out."""
        self.table = visible(balance.table)
        self.partitions = counted(len(balance.rows), "partition")
        self.estimated = balance.estimated
        self.ratio = balance.ratio
        self.mean = balance.mean
        self.largest = max(balance.rows)
        self.width, self.height = PLOT_WIDTH, PLOT_HEIGHT
        # The line at twice the mean is always in sight, so that even tables look even.
        top = max(self.largest, UNEVEN * balance.mean, 1)
        step = PLOT_WIDTH / len(balance.rows)
        self.bars = [
            (
                round(number * step, 2),
                round(PLOT_HEIGHT * (1 - rows / top), 2),
                round(step * 0.85, 2),
                round(PLOT_HEIGHT * rows / top, 2),
                rows > UNEVEN * balance.mean,
                f"partition {number}: {'about ' if balance.estimated else ''}{rows:,} rows",
            )
            for number, rows in enumerate(balance.rows)
        ]
        self.mean_y = round(PLOT_HEIGHT * (1 - balance.mean / top), 2)
        self.limit_y = round(PLOT_HEIGHT * (1 - UNEVEN * balance.mean / top), 2)


def templates(*packages: str) -> Environment:
    """What templates are rendered by: they find those of the packages, and the parts of this one.

    Args:
        packages: names of packages beside this one, looked through first.
    """
    environment = Environment(
        loader=ChoiceLoader(
            [PackageLoader("migration_assets", name) for name in (*packages, "inventory_page")]
        ),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"duration": duration, "visible": visible, "counted": counted}
    return environment


@cache
def _template() -> Template:
    return templates().get_template("page.html.j2")

"""How many rows the tables have, and which keys other tables may refer to."""

from __future__ import annotations

from dataclasses import dataclass

PRODUCTS = 1_200
EMPLOYEES = 500
CATEGORIES = 20
DEPARTMENTS = 12
PRICED_PRODUCTS = 100
"""Products that have daily prices."""
CURRENCIES = ["CHF", "CNY", "CZK", "DKK", "EUR", "GBP", "HUF", "JPY", "PLN", "SEK", "USD"]

DAY_2020 = 18_262
"""2020-01-01 in days since 1970."""
DAY_2025 = 20_453
"""2025-12-31 in days since 1970."""

_LEAST = 40


@dataclass(frozen=True)
class Sizes:
    """Rows of the tables that grow with the scale; the others have the same rows at any scale.

    Attributes:
        scale: 1.0 gives 1,000,000 transactions.
    """

    scale: float

    def rows(self, full: int) -> int:
        """Rows of a table that has `full` rows at scale 1.0; a few are always left."""
        return max(round(full * self.scale), min(full, _LEAST))

    @property
    def transactions(self) -> int:
        """sales.Transactions."""
        return self.rows(1_000_000)

    @property
    def orders(self) -> int:
        """sales.Orders."""
        return self.rows(60_000)

    @property
    def customers(self) -> int:
        """dbo.Customers, keys from 1 on without a gap."""
        return self.rows(20_000)

    @property
    def coupons(self) -> int:
        """sales.Coupons."""
        return self.rows(5_000)

    @property
    def measurements(self) -> int:
        """sales.Measurements."""
        return self.rows(50_000)

    @property
    def price_days(self) -> int:
        """Days in sales.DailyPrices, each with `PRICED_PRODUCTS` rows."""
        return self.rows(730)

    @property
    def ledger(self) -> int:
        """sales.Ledger."""
        return self.rows(12_000)

    @property
    def sessions(self) -> int:
        """sales.Sessions."""
        return self.rows(10_000)

    @property
    def events(self) -> int:
        """dbo.EventLog."""
        return self.rows(30_000)

    @property
    def timesheets(self) -> int:
        """hr.Timesheets."""
        return self.rows(40_000)

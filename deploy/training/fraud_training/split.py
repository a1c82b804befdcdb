"""Splits by time, as the labels become known.

On day d the labels of transactions up to day d − delay are known (day granularity: those of day d − delay − 1
fully). A model that goes live on day s is therefore trained on days up to s − delay − 1, and its test days
start at s.
"""

from dataclasses import dataclass

import numpy as np

from fraud_training.data import Dataset
from fraud_training.errors import EmptyPeriod, MissingDays, OneClass

WEEK = 7


@dataclass(frozen=True)
class Split:
    """Day numbers, both ends included: training, the gap until its labels are known, and a test week."""

    train_from: int
    train_to: int
    delay_days: int
    test_days: int = WEEK

    @property
    def test_from(self) -> int:
        """First day of the test."""
        return self.train_to + self.delay_days + 1

    @property
    def test_to(self) -> int:
        """Last day of the test."""
        return self.test_from + self.test_days - 1

    def train_rows(self, data: Dataset) -> np.ndarray:
        """Which rows are trained on."""
        return (data.day >= self.train_from) & (data.day <= self.train_to)

    def gap_rows(self, data: Dataset) -> np.ndarray:
        """Rows between training and test: their labels are not known yet, nothing is fitted to them."""
        return (data.day > self.train_to) & (data.day < self.test_from)

    def test_rows(self, data: Dataset) -> np.ndarray:
        """Which rows are tested on: customers known by then to be compromised are left out.

        On test day k (from 0) a customer is left out who has a fraud in the last week of the training days, or
        between its last day and k days later: what a label delay of a week lets one know.
        """
        rows = np.zeros(len(data), dtype=bool)
        fraud = data.fraud == 1
        for k in range(self.test_days):
            known = fraud & (data.day > self.train_to - WEEK) & (data.day <= self.train_to + k)
            compromised = np.unique(data.customer[known])
            rows |= (data.day == self.test_from + k) & ~np.isin(data.customer, compromised)
        return rows

    def shifted(self, days: int) -> "Split":
        """The same split, `days` later (earlier when negative); training does not start before day 0."""
        return Split(max(self.train_from + days, 0), self.train_to + days, self.delay_days, self.test_days)


def check(data: Dataset, split: Split, allow_missing_days: bool = False) -> None:
    """Refuses periods that nothing can be learned from or measured on.

    Raises `EmptyPeriod`, `OneClass` or `MissingDays`.
    """
    for period, rows in (("training", split.train_rows(data)), ("test", split.test_rows(data))):
        first, last = (
            (split.train_from, split.train_to) if period == "training" else (split.test_from, split.test_to)
        )
        where = f"{period} period, days {first} to {last}"
        if not rows.any():
            raise EmptyPeriod(f"{where}: no rows; the data has days 0 to {int(data.day[-1])}")
        frauds = int(data.fraud[rows].sum())
        if frauds in (0, int(rows.sum())):
            raise OneClass(where, int(rows.sum()), frauds)
    if not allow_missing_days:
        missing = sorted(set(range(split.train_from, split.test_to + 1)) - set(np.unique(data.day).tolist()))
        if missing:
            raise MissingDays([data.date_of(day) for day in missing])

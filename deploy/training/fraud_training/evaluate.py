"""The figures a model is judged by."""

from dataclasses import asdict, dataclass

import numpy as np
from sklearn.metrics import average_precision_score, brier_score_loss, log_loss, roc_auc_score

from fraud_training.data import Dataset

CARDS_PER_DAY = 100


@dataclass(frozen=True)
class Quality:
    """Ranking figures of scores on test rows: higher is better."""

    roc_auc: float
    average_precision: float
    card_precision_at_100: float

    @property
    def mean(self) -> float:
        """The mean of the three: what models are chosen by."""
        return (self.roc_auc + self.average_precision + self.card_precision_at_100) / 3

    def as_dict(self) -> dict[str, float]:
        """Name → figure."""
        return asdict(self)


def quality(data: Dataset, rows: np.ndarray, scores: np.ndarray) -> Quality:
    """`scores` has one entry per True of `rows`."""
    fraud = data.fraud[rows]
    return Quality(
        float(roc_auc_score(fraud, scores)),
        float(average_precision_score(fraud, scores)),
        card_precision(data.day[rows], data.customer[rows], fraud, scores),
    )


def card_precision(day, customer, fraud, scores, cards: int = CARDS_PER_DAY) -> float:
    """Mean over days of the share of frauds among the `cards` customers with the highest scores.

    A customer's score on a day is the highest of its transactions; a customer found to be compromised is
    left out of later days. A day with fewer customers than `cards` still divides by `cards`.
    """
    return CardAlerts(day, customer, fraud, scores).precision(cards)


class CardAlerts:
    """Each day's customers by their highest score, so that card precision can be asked for many times."""

    def __init__(self, day, customer, fraud, scores):
        names, customer = np.unique(customer, return_inverse=True)
        self.customers = len(names)
        self.days = [self._ranked(customer[rows], fraud[rows], scores[rows]) for rows in _rows_of_days(day)]

    def _ranked(self, customer, fraud, scores) -> tuple[np.ndarray, np.ndarray]:
        """Customers of a day, highest score first, and whether a fraud is among their payments."""
        names, position = np.unique(customer, return_inverse=True)
        highest = np.full(len(names), -np.inf)
        np.maximum.at(highest, position, scores)
        hit = np.zeros(len(names), dtype=bool)
        np.logical_or.at(hit, position, fraud == 1)
        order = np.argsort(-highest, kind="stable")
        return names[order], hit[order]

    def precision(self, cards: int = CARDS_PER_DAY, weight: np.ndarray | None = None) -> float:
        """The figure of `card_precision`. `weight`: how often each customer counts (sorted by name), as in a bootstrap."""
        weight = np.ones(self.customers) if weight is None else weight
        left = weight.astype(np.float64)
        shares = []
        for names, hit in self.days:
            here = left[names]
            before = np.cumsum(here) - here
            alerted = np.clip(cards - before, 0, here)
            shares.append((alerted * hit).sum() / cards)
            left[names[hit & (alerted > 0)]] = 0
        return float(np.mean(shares))


def _rows_of_days(day) -> list[np.ndarray]:
    return [np.flatnonzero(day == today) for today in np.unique(day)]


@dataclass(frozen=True)
class Spread:
    """Mean and standard deviation (of the sample; 0 for one) of a figure over seeds."""

    mean: float
    deviation: float

    def __str__(self) -> str:
        return f"{self.mean:.3f} ± {self.deviation:.3f}"


def spread(qualities: list[Quality]) -> dict[str, Spread]:
    """Figure name → its spread."""
    table = np.array([list(quality.as_dict().values()) for quality in qualities])
    deviation = table.std(axis=0, ddof=1) if len(table) > 1 else np.zeros(table.shape[1])
    names = qualities[0].as_dict()
    return {name: Spread(float(m), float(d)) for name, m, d in zip(names, table.mean(axis=0), deviation, strict=True)}


def calibration_figures(fraud: np.ndarray, probability: np.ndarray) -> dict[str, float]:
    """How far probabilities can be taken at their word."""
    return {
        "brier_score": float(brier_score_loss(fraud, probability)),
        "log_loss": float(log_loss(fraud, np.clip(probability, 1e-7, 1 - 1e-7))),
        "expected_calibration_error": expected_calibration_error(fraud, probability),
    }


def reliability(fraud: np.ndarray, probability: np.ndarray, bins: int = 10) -> list[tuple[float, float, int]]:
    """(mean probability, share of fraud, rows) of each non-empty bin of equal width."""
    index = np.minimum((probability * bins).astype(int), bins - 1)
    table = []
    for number in range(bins):
        rows = index == number
        if rows.any():
            table.append((float(probability[rows].mean()), float(fraud[rows].mean()), int(rows.sum())))
    return table


def expected_calibration_error(fraud: np.ndarray, probability: np.ndarray) -> float:
    """Mean distance of probability and share of fraud over the bins, weighted by rows."""
    table = reliability(fraud, probability)
    return sum(abs(p - share) * rows for p, share, rows in table) / len(fraud)

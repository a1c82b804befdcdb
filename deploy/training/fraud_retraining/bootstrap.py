"""Figures of champion and candidate on the same rows, with intervals: a bootstrap over customers.

Payments of one customer resemble each other, and card precision counts customers: so customers are drawn, each with
a Poisson(1) number of copies, the same draws for both models.
"""

from dataclasses import dataclass

import numpy as np

from fraud_training.evaluate import CardAlerts


@dataclass(frozen=True)
class Estimate:
    """A figure and the ends of its interval."""

    value: float
    low: float
    high: float


class Ranked:
    """Rows by one model's scores, so that areas can be computed for many weightings without sorting again."""

    def __init__(self, fraud: np.ndarray, scores: np.ndarray):
        self.order = np.argsort(-scores, kind="stable")
        ranked = scores[self.order]
        # Rows of equal score are one step of the curve.
        self.ends = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))
        self.fraud = fraud[self.order] == 1

    def areas(self, weight: np.ndarray) -> tuple[float, float]:
        """(area under ROC, average precision); NaN where only one class has weight."""
        weight = weight[self.order]
        true = np.cumsum(weight * self.fraud)[self.ends]
        false = np.cumsum(weight * ~self.fraud)[self.ends]
        if true[-1] == 0 or false[-1] == 0:
            return float("nan"), float("nan")
        steps = np.diff(true, prepend=0.0)
        precision = true / np.maximum(true + false, 1e-12)
        before = true - steps
        area = (np.diff(false, prepend=0.0) * (true + before)).sum() / 2
        return float(area / (true[-1] * false[-1])), float((steps * precision).sum() / true[-1])


class Figures:
    """All figures of one model's scores, for any weighting of the customers."""

    NAMES = ("roc_auc", "average_precision", "card_precision")

    def __init__(self, rows: dict[str, np.ndarray], scores: np.ndarray, cards: int):
        _, self.customer = np.unique(rows["customer"], return_inverse=True)
        self.ranked = Ranked(rows["fraud"], scores)
        self.alerts = CardAlerts(rows["day"], rows["customer"], rows["fraud"], scores)
        self.cards = cards

    def at(self, weight: np.ndarray) -> np.ndarray:
        """The figures in order of `NAMES`. `weight`: per customer."""
        return np.array([*self.ranked.areas(weight[self.customer]), self.alerts.precision(self.cards, weight)])


def compare(rows: dict[str, np.ndarray], scores: dict[str, np.ndarray], options) -> dict[str, dict[str, Estimate]]:
    """Role → figure → estimate; with a champion also `gain`: candidate less champion, drawn together.

    `rows`: day, customer, fraud. `options`: cards, resamples, confidence.
    """
    cards, resamples, confidence = options
    models = {role: Figures(rows, values, cards) for role, values in scores.items()}
    customers = len(np.unique(rows["customer"]))
    random = np.random.default_rng(0)
    point = {role: model.at(np.ones(customers)) for role, model in models.items()}
    draws = {role: [] for role in models}
    for _ in range(resamples):
        weight = random.poisson(1.0, customers).astype(np.float64)
        for role, model in models.items():
            draws[role].append(model.at(weight))
    drawn = {role: np.array(values) for role, values in draws.items()}
    if "champion" in models:
        point["gain"] = point["candidate"] - point["champion"]
        drawn["gain"] = drawn["candidate"] - drawn["champion"]
    ends = [(1 - confidence) / 2, (1 + confidence) / 2]
    table = {}
    for role, values in drawn.items():
        low, high = np.nanquantile(values, ends, axis=0)
        parts = zip(Figures.NAMES, point[role], low, high, strict=True)
        table[role] = {name: Estimate(float(v), float(a), float(b)) for name, v, a, b in parts}
    return table

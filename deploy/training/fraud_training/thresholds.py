"""Where to review and where to decline: from what things cost, or from how many alerts can be handled."""

from dataclasses import dataclass

import numpy as np

from fraud_training.errors import ConfigError


@dataclass(frozen=True)
class Thresholds:
    """Probabilities from which a transaction is reviewed and declined; `review_at` ≤ `decline_at`."""

    review_at: float
    decline_at: float

    def __post_init__(self):
        if not 0 <= self.review_at <= self.decline_at <= 1:
            raise ConfigError(
                f"thresholds must satisfy 0 ≤ review_at ({self.review_at}) ≤ decline_at ({self.decline_at}) ≤ 1"
            )


@dataclass(frozen=True)
class Costs:
    """What things cost, in the currency of the amounts.

    `fraud`: an approved fraud. `review`: one review. `review_recall`: the share of frauds that a review stops.
    `false_decline`: a legitimate payment declined (margin, call, customer leaving).
    """

    fraud: float
    review: float
    review_recall: float
    false_decline: float

    def __post_init__(self):
        if min(self.fraud, self.review, self.false_decline) <= 0 or not 0 < self.review_recall <= 1:
            raise ConfigError("thresholds: costs must be positive and review_recall in (0, 1]")


def from_costs(costs: Costs) -> Thresholds:
    """The thresholds of least expected cost, for calibrated probabilities p.

    Approving costs p·fraud, reviewing review + p·fraud·(1 − recall), declining (1 − p)·false_decline: three
    lines in p, and the thresholds are where the lowest changes. Where reviewing never pays, both are where
    declining beats approving.
    """
    residual = costs.fraud * (1 - costs.review_recall)
    review_at = costs.review / (costs.fraud - residual)
    decline_at = (costs.false_decline - costs.review) / (costs.false_decline + residual)
    if decline_at <= review_at:
        both = costs.false_decline / (costs.false_decline + costs.fraud)
        return Thresholds(both, both)
    return Thresholds(review_at, decline_at)


def from_alert_budget(
    probability: np.ndarray, fraud: np.ndarray, days: int, alerts_per_day: float, decline_precision: float
) -> Thresholds:
    """Thresholds that raise on average at most `alerts_per_day` alerts (reviews and declines together), declining
    where at least `decline_precision` of what lies at or above was fraud.

    Measured on rows that the model was not fitted to.
    """
    if alerts_per_day <= 0 or not 0 < decline_precision <= 1:
        raise ConfigError("thresholds: alerts_per_day must be positive and decline_precision in (0, 1]")
    order = np.argsort(-probability, kind="stable")
    ranked = probability[order]
    # The last row of each run of equal probabilities: only there can a threshold stand.
    last = np.append(ranked[1:] != ranked[:-1], True)
    alerts = np.arange(1, len(ranked) + 1)
    allowed = last & (alerts <= alerts_per_day * days)
    if not allowed.any():
        raise ConfigError(f"thresholds: {alerts_per_day} alerts a day are fewer than the highest score alone raises")
    review_at = float(ranked[np.flatnonzero(allowed)[-1]])
    precise = last & (np.cumsum(fraud[order]) / alerts >= decline_precision)
    decline_at = float(ranked[np.flatnonzero(precise)[-1]]) if precise.any() else 1.0
    return Thresholds(review_at, max(review_at, decline_at))


def outcome(probability: np.ndarray, fraud: np.ndarray, amount: np.ndarray, at: Thresholds) -> dict[str, float]:
    """What the thresholds would have done: counts of each decision, frauds in each, amounts caught and missed."""
    probability = probability.astype(np.float32)
    decline = probability >= np.float32(at.decline_at)
    review = (probability >= np.float32(at.review_at)) & ~decline
    approve = ~decline & ~review
    stolen = np.where(fraud == 1, amount, 0.0)
    table = {}
    for name, rows in (("approve", approve), ("review", review), ("decline", decline)):
        table[name] = int(rows.sum())
        table[f"{name}_frauds"] = int(fraud[rows].sum())
    table["amount_alerted"] = float(stolen[~approve].sum())
    table["amount_missed"] = float(stolen[approve].sum())
    return table

"""Thresholds from costs and from an alert budget."""

import numpy as np
import pytest

from fraud_training.errors import ConfigError
from fraud_training.thresholds import Costs, Thresholds, from_alert_budget, from_costs, outcome


@pytest.mark.parametrize("costs", [Costs(100, 4, 0.9, 30), Costs(50, 1, 0.5, 80), Costs(500, 10, 1.0, 20)])
def test_costs_are_least_at_the_thresholds(costs):
    at = from_costs(costs)
    p = np.linspace(0, 1, 10_001)
    lines = np.stack([
        p * costs.fraud,
        costs.review + p * costs.fraud * (1 - costs.review_recall),
        (1 - p) * costs.false_decline,
    ])  # fmt: skip
    best = lines.argmin(axis=0)
    decided = (p >= at.review_at).astype(int) + (p >= at.decline_at)
    # At a threshold itself both decisions cost the same.
    assert (best != decided).sum() <= 2


def test_reviews_that_never_pay():
    at = from_costs(Costs(fraud=10, review=9, review_recall=0.5, false_decline=10))
    assert at.review_at == at.decline_at == 0.5


def test_costs_that_make_no_sense():
    with pytest.raises(ConfigError, match="positive"):
        Costs(fraud=0, review=1, review_recall=0.5, false_decline=1)
    with pytest.raises(ConfigError, match="review_at"):
        Thresholds(0.8, 0.7)


def test_the_alert_budget_is_kept():
    random = np.random.default_rng(1)
    probability = random.random(7_000).round(2)
    fraud = (random.random(7_000) < probability**4).astype(int)
    at = from_alert_budget(probability, fraud, days=7, alerts_per_day=20, decline_precision=0.97)
    alerts = probability >= at.review_at
    assert alerts.sum() <= 140
    # The next score below would break it.
    lower = probability[probability < at.review_at].max()
    assert (probability >= lower).sum() > 140
    declined = probability >= at.decline_at
    assert not declined.any() or fraud[declined].mean() >= 0.97


def test_a_budget_that_one_score_exceeds():
    with pytest.raises(ConfigError, match="fewer than"):
        from_alert_budget(np.full(100, 0.5), np.ones(100), days=1, alerts_per_day=10, decline_precision=0.5)


def test_outcome_adds_up():
    probability = np.array([0.1, 0.3, 0.5, 0.7, 0.9])
    table = outcome(probability, np.array([1, 0, 1, 0, 1]), np.array([10.0, 1, 20, 1, 30]), Thresholds(0.3, 0.7))
    assert (table["approve"], table["review"], table["decline"]) == (1, 2, 2)
    assert (table["approve_frauds"], table["review_frauds"], table["decline_frauds"]) == (1, 1, 1)
    assert (table["amount_missed"], table["amount_alerted"]) == (10, 50)

"""Figures, against values worked out by hand."""

import numpy as np
import pytest

from fraud_training.evaluate import Quality, calibration_figures, card_precision, spread


def test_card_precision_by_hand():
    # Two days, two cards a day. Day 0: customers 1 (0.9, fraud), 2 (0.8), 3 (0.1, fraud): the first two hold one.
    # Day 1: customer 1 is out; 3 (0.7, fraud) and 2 (0.6) remain, one hit again.
    day = np.array([0, 0, 0, 0, 1, 1, 1])
    customer = np.array([1, 1, 2, 3, 1, 2, 3])
    fraud = np.array([0, 1, 0, 1, 1, 0, 1])
    score = np.array([0.2, 0.9, 0.8, 0.1, 1.0, 0.6, 0.7])
    assert card_precision(day, customer, fraud, score, cards=2) == pytest.approx((1 / 2 + 1 / 2) / 2)


def test_a_customer_counts_once_by_the_highest_score():
    day = np.zeros(4, dtype=int)
    customer = np.array([5, 5, 5, 6])
    fraud = np.array([1, 1, 1, 0])
    assert card_precision(day, customer, fraud, np.array([0.1, 0.2, 0.9, 0.5]), cards=2) == 0.5


def test_fewer_customers_than_cards():
    one = np.array([1])
    assert card_precision(np.array([0]), one, one, np.array([0.5])) == pytest.approx(1 / 100)


def test_spread_of_seeds():
    table = spread([Quality(0.8, 0.6, 0.3), Quality(0.9, 0.6, 0.2)])
    assert table["roc_auc"].mean == pytest.approx(0.85)
    assert table["roc_auc"].deviation == pytest.approx(0.0707, abs=1e-4)
    assert str(table["average_precision"]) == "0.600 ± 0.000"
    assert spread([Quality(0.8, 0.6, 0.3)])["roc_auc"].deviation == 0


def test_perfect_and_useless_calibration():
    fraud = np.array([0, 0, 1, 1])
    assert calibration_figures(fraud, fraud.astype(float))["expected_calibration_error"] == 0
    assert calibration_figures(fraud, 1.0 - fraud)["expected_calibration_error"] == 1

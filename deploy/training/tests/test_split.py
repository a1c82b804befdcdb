"""The split by time, and the protocol's customers left out."""

import numpy as np

from fraud_training.data import Dataset
from fraud_training.split import Split


def rows(days, customers, frauds):
    """A data set of these days, customers and labels, without features."""
    count = len(days)
    zero = np.zeros(count)
    time = np.array(days) * 86_400
    return Dataset((), np.arange(count).astype(str), time, np.array(days), np.array(customers), zero,
                   np.array(frauds), np.zeros((count, 0)))  # fmt: skip


def test_handbook_weeks():
    split = Split(115, 121, 7)
    assert (split.test_from, split.test_to) == (129, 135)
    assert split.shifted(-14) == Split(101, 107, 7)
    assert split.shifted(-110) == Split(5, 11, 7)


def test_no_label_is_used_before_it_is_known():
    for train_to in (30, 121):
        split = Split(0, train_to, 7)
        data = rows(range(200), range(200), [1] * 200)
        assert data.day[split.train_rows(data)].max() + 7 < split.test_from
        assert not (split.train_rows(data) & split.gap_rows(data)).any()
        assert not (split.gap_rows(data) & split.test_rows(data)).any()


def test_customers_known_to_be_compromised_are_left_out_of_the_test():
    # The fraud's day, and the test days (0 … 6) on which its customer is still there.
    cases = {114: range(7), 115: [], 121: [], 122: [0], 124: [0, 1, 2], 127: range(6), 128: range(7)}
    for fraud_day, expected in cases.items():
        days = [fraud_day, *range(129, 136)]
        data = rows(days, [1] * 8, [1] + [0] * 7)
        kept = data.day[Split(60, 121, 7).test_rows(data)] - 129
        assert kept.tolist() == list(expected), fraud_day


def test_the_length_of_training_does_not_change_the_test():
    data = rows(list(range(140)) * 3, np.arange(420) % 50, (np.arange(420) % 11 == 0).astype(int))
    short, long = Split(115, 121, 7), Split(10, 121, 7)
    assert np.array_equal(short.test_rows(data), long.test_rows(data))

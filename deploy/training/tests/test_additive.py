"""The exported form answers as the trained libraries do."""

import lightgbm
import numpy as np
import pytest

from fraud_training import calibrate
from fraud_training.additive import Additive, Tree, float32_at_most, from_lightgbm
from fraud_training.models import Candidate, raw_scores

RANDOM = np.random.default_rng(3)
# Whole numbers and few decimals: many values lie exactly on thresholds.
INPUTS = np.round(RANDOM.normal(0, 3, (3_000, 4)), 1).astype(np.float32)
FRAUD = (INPUTS[:, 0] + INPUTS[:, 1] * INPUTS[:, 2] + RANDOM.normal(0, 2, 3_000) > 6).astype(np.int8)

CANDIDATES = {
    "lightgbm": {"trees": 20, "num_leaves": 15},
    "random_forest": {"trees": 10, "min_samples_leaf": 3},
    "extra_trees": {"trees": 10, "max_depth": 6},
    "logistic_regression": {},
}


def fitted(family, **further):
    candidate = Candidate(name=family, family=family, train_days=7, parameters=CANDIDATES.get(family, {}), **further)
    return candidate.fit(INPUTS, FRAUD, seed=5)


@pytest.mark.parametrize("family", CANDIDATES)
def test_same_scores_as_the_library(family):
    (part,) = fitted(family)
    assert np.abs(part.additive.score(INPUTS) - part.raw(INPUTS)).max() < 1e-12
    assert part.importance.sum() == pytest.approx(1)


@pytest.mark.parametrize("family", CANDIDATES)
def test_values_next_to_thresholds(family):
    """The float32 neighbours of every threshold go the way that the library sends them."""
    (part,) = fitted(family)
    rows = []
    for tree in part.additive.trees:
        for feature, threshold in zip(tree.feature, tree.threshold, strict=True):
            for value in (np.nextafter(threshold, np.float32(-9)), threshold, np.nextafter(threshold, np.float32(9))):
                row = INPUTS[len(rows) % len(INPUTS)].copy()
                row[max(feature, 0)] = value
                rows.append(row)
    if rows:
        rows = np.array(rows, dtype=np.float32)
        assert np.abs(part.additive.score(rows) - part.raw(rows)).max() < 1e-12


def test_thresholds_are_rounded_down():
    exact = np.array([0.1, 0.5, -0.1, 1e-35, 16_777_217.0])
    rounded = float32_at_most(exact)
    assert rounded.dtype == np.float32
    assert (rounded.astype(np.float64) <= exact).all()
    assert (np.nextafter(rounded, np.float32(np.inf)).astype(np.float64) > exact).all()
    assert rounded[1] == 0.5


def test_a_booster_of_one_leaf():
    booster = lightgbm.train(
        {"objective": "binary", "verbose": -1, "min_child_samples": 5_000}, lightgbm.Dataset(INPUTS, FRAUD), 3
    )
    assert np.allclose(from_lightgbm(booster).score(INPUTS), booster.predict(INPUTS, raw_score=True))


def test_calibration_folds_into_the_sum():
    blend = Candidate(
        name="blend",
        family="blend",
        train_days=7,
        parts=tuple(Candidate(f, f, 7, parameters=CANDIDATES[f]) for f in ("lightgbm", "random_forest")),
    )
    parts = blend.fit(INPUTS[:2_000], FRAUD[:2_000], seed=0)
    raw = raw_scores(parts, INPUTS[2_000:])
    calibration = calibrate.fit(raw, FRAUD[2_000:])
    folded = calibration.fold(parts)
    assert len(folded.trees) == 30
    assert np.abs(folded.score(INPUTS[2_000:]) - calibration.apply(raw)).max() < 1e-12


def test_calibration_finds_the_curve_that_made_the_labels():
    raw = RANDOM.normal(0, 2, (200_000, 1))
    labels = (RANDOM.random(200_000) < 1 / (1 + np.exp(-(0.7 * raw[:, 0] - 1.5)))).astype(int)
    found = calibrate.fit(raw, labels)
    assert found.slopes[0] == pytest.approx(0.7, abs=0.02)
    assert found.intercept == pytest.approx(-1.5, abs=0.03)


def test_a_part_that_points_the_wrong_way_gets_no_weight():
    good = RANDOM.normal(0, 1, 20_000)
    labels = (RANDOM.random(20_000) < 1 / (1 + np.exp(-3 * good))).astype(int)
    wrong = RANDOM.normal(0, 1, 20_000) - labels
    found = calibrate.fit(np.stack([good, wrong], axis=1), labels)
    assert found.slopes[0] > 0
    assert found.slopes[1] == 0


def test_seeds_and_negatives_are_reproducible():
    one, again = (fitted("lightgbm", negatives=0.5)[0].raw(INPUTS) for _ in range(2))
    assert np.array_equal(one, again)
    whole = fitted("lightgbm")[0].raw(INPUTS)
    assert not np.array_equal(one, whole)


@pytest.mark.parametrize("family", ["lightgbm", "logistic_regression"])
def test_bags_are_averaged_and_differ_by_seed(family):
    (bagged,) = fitted(family, bags=3, negatives=0.5)
    assert np.abs(bagged.additive.score(INPUTS) - bagged.raw(INPUTS)).max() < 1e-12
    single = Candidate(name=family, family=family, train_days=7, negatives=0.5, parameters=CANDIDATES[family])
    # Seed 5 with three bags: seeds 15, 16, 17, which no other seed uses.
    raws = [single.fit(INPUTS, FRAUD, seed)[0].raw(INPUTS) for seed in (15, 16, 17)]
    assert np.allclose(bagged.raw(INPUTS), np.mean(raws, axis=0), atol=1e-12)
    assert not np.array_equal(raws[0], raws[1])


def test_hand_made_tree():
    tree = Tree(
        np.array([1, -1, -1]), np.array([0.5, 0, 0], dtype=np.float32), np.array([1, 0, 0]), np.array([2, 0, 0]),
        np.array([0.0, 10.0, 20.0]),
    )  # fmt: skip
    model = Additive((tree,)).scaled(2.0).shifted(1.0)
    assert model.score(np.array([[9, 0.5], [9, 0.51]], dtype=np.float32)).tolist() == [21.0, 41.0]

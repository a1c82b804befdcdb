"""The model families, each behind the same three methods: fit, raw scores, the form that is exported."""

import os
import warnings
from dataclasses import dataclass, field

import lightgbm
import numpy as np
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from fraud_training.additive import Additive, from_forest, from_lightgbm, from_linear
from fraud_training.errors import ConfigError

# What is trained does not depend on it.
THREADS = int(os.environ.get("TRAINING_THREADS", "2"))


@dataclass(frozen=True)
class Part:
    """One trained model. `raw` gives rows → score, rising with fraud; `additive` the same sum to export.

    `importance`: share of each input in what the model uses, summing to 1.
    """

    raw: object
    additive: Additive
    importance: np.ndarray


@dataclass(frozen=True)
class Candidate:
    """A recipe for a model: family, what it is fitted on, parameters.

    `features`: name of a feature set. `train_days`: length of training. `negatives`: share of the legitimate rows that is
    used, the kept ones weighted up by its inverse. A `blend` has several `parts`, each a family with parameters.
    `bags`: how many models, each with a seed and a share of the legitimate rows of its own, are averaged into one.
    """

    name: str
    family: str
    train_days: int
    features: str = "default"
    negatives: float = 1.0
    parameters: dict = field(default_factory=dict)
    parts: tuple["Candidate", ...] = ()
    bags: int = 1

    def fit(self, inputs: np.ndarray, fraud: np.ndarray, seed: int) -> list[Part]:
        """Fits on float32 rows; a blend gives a part for each of its models, everything else one."""
        bags = [self._bag(inputs, fraud, seed * self.bags + number) for number in range(self.bags)]
        return [_mean(models) for models in zip(*bags, strict=True)]

    def _bag(self, inputs, fraud, seed: int) -> list[Part]:
        rows, weight = self._sample(fraud, seed)
        return [_fit(part, (inputs[rows], fraud[rows], weight), seed) for part in self.parts or (self,)]

    def _sample(self, fraud, seed) -> tuple[np.ndarray, np.ndarray]:
        kept = (fraud == 1) | (np.random.default_rng(seed).random(len(fraud)) < self.negatives)
        return kept, np.where(fraud[kept] == 1, 1.0, 1 / self.negatives)


def raw_scores(parts: list[Part], inputs: np.ndarray) -> np.ndarray:
    """Rows × parts, float64."""
    return np.stack([part.raw(inputs) for part in parts], axis=1)


def _mean(models: tuple[Part, ...]) -> Part:
    """The model whose raw score is the mean of theirs."""
    if len(models) == 1:
        return models[0]
    total = models[0].additive
    for model in models[1:]:
        total = total.plus(model.additive)
    importance = np.mean([model.importance for model in models], axis=0)
    return Part(lambda x: np.mean([model.raw(x) for model in models], axis=0), total.scaled(1 / len(models)), importance)


def _fit(candidate: Candidate, rows, seed: int) -> Part:
    families = {
        "lightgbm": _lightgbm,
        "random_forest": _forest(RandomForestClassifier),
        "extra_trees": _forest(ExtraTreesClassifier),
        "logistic_regression": _logistic,
    }
    if candidate.family not in families:
        raise ConfigError(f"{candidate.name}: family {candidate.family!r} is none of {', '.join(families)}, blend")
    try:
        return families[candidate.family](candidate.parameters, rows, seed)
    except (TypeError, ValueError, lightgbm.basic.LightGBMError) as error:
        raise ConfigError(f"{candidate.name}: {candidate.family} refused its parameters: {error}") from error


def _lightgbm(parameters: dict, rows, seed: int) -> Part:
    inputs, fraud, weight = rows
    settings = {
        "objective": "binary",
        "verbose": -1,
        "seed": seed,
        "num_threads": THREADS,
        # The same trees whatever the number of threads.
        "deterministic": True,
        "force_row_wise": True,
        **parameters,
    }
    trees = settings.pop("trees", 100)
    booster = lightgbm.train(settings, lightgbm.Dataset(inputs, fraud, weight=weight), trees)
    gain = booster.feature_importance("gain")
    return Part(lambda x: booster.predict(x, raw_score=True), from_lightgbm(booster), gain / max(gain.sum(), 1e-300))


def _forest(kind):
    def fit(parameters: dict, rows, seed: int) -> Part:
        inputs, fraud, weight = rows
        settings = {"n_estimators": parameters.get("trees", 100), **parameters}
        settings.pop("trees", None)
        forest = kind(random_state=seed, n_jobs=THREADS, **settings).fit(inputs, fraud, sample_weight=weight)

        return Part(lambda x: forest.predict_proba(x)[:, 1], from_forest(forest), forest.feature_importances_)

    return fit


def _logistic(parameters: dict, rows, seed: int) -> Part:
    inputs, fraud, weight = rows
    scaler = StandardScaler().fit(inputs.astype(np.float64))
    # One thread: sums in one order, the same bytes everywhere.
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        model = LogisticRegression(random_state=seed, **{"max_iter": 1000, **parameters})
        model.fit(scaler.transform(inputs.astype(np.float64)), fraud, sample_weight=weight)
    weights, intercept = model.coef_[0], model.intercept_[0]

    def raw(x):
        return scaler.transform(x.astype(np.float64)) @ weights + intercept

    # A weight on a standardised feature is its effect per standard deviation.
    share = np.abs(weights) / max(np.abs(weights).sum(), 1e-300)
    return Part(raw, from_linear(weights, intercept, scaler.mean_, scaler.scale_), share)

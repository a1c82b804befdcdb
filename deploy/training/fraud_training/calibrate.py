"""Raw scores → probabilities that can be taken at their word.

p = 1 / (1 + e^−(Σ aᵢ·sᵢ + b)), fitted on rows that the scored model was not trained on: validation weeks. With one
score it is Platt's scaling; with the scores of a blend's parts it is also what weighs them.
"""

from dataclasses import dataclass

import numpy as np
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from fraud_training.additive import Additive
from fraud_training.models import Part


@dataclass(frozen=True)
class Calibration:
    """One slope per part, and an intercept."""

    slopes: tuple[float, ...]
    intercept: float

    def apply(self, raw: np.ndarray) -> np.ndarray:
        """Rows × parts → probabilities, float64."""
        return 1 / (1 + np.exp(-(raw @ np.array(self.slopes) + self.intercept)))

    def fold(self, parts: list[Part]) -> Additive:
        """The calibrated model as one sum."""
        folded = [part.additive.scaled(slope) for part, slope in zip(parts, self.slopes, strict=True)]
        total = folded[0]
        for part in folded[1:]:
            total = total.plus(part)
        return total.shifted(self.intercept).logistic()


def fit(raw: np.ndarray, fraud: np.ndarray) -> Calibration:
    """Fits slopes and intercept by maximum likelihood (`raw`: rows × parts).

    A part whose slope comes out negative tells nothing that the others do not: it gets none.
    """
    used = np.ones(raw.shape[1], dtype=bool)
    while True:
        center, scale = raw[:, used].mean(axis=0), np.maximum(raw[:, used].std(axis=0), 1e-12)
        with threadpool_limits(1):
            model = LogisticRegression(C=np.inf, max_iter=1000, tol=1e-8).fit((raw[:, used] - center) / scale, fraud)
        slopes = model.coef_[0] / scale
        if (slopes > 0).all() or used.sum() == 1:
            break
        used[np.flatnonzero(used)[np.argmin(slopes)]] = False
    every = np.zeros(raw.shape[1])
    every[used] = slopes
    return Calibration(tuple(float(a) for a in every), float(model.intercept_[0] - slopes @ center))

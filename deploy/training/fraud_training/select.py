"""Chooses a candidate by earlier weeks: every one of them is treated as the test week will be.

A validation week's split is the final one, so many weeks earlier: same label delay, same customers left
out, training cut off where its labels would have been. The latest one ends with the last training day, so no
choice ever sees a day after it.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from fraud_training import calibrate
from fraud_training.calibrate import Calibration
from fraud_training.data import Dataset
from fraud_training.errors import ConfigError, EmptyPeriod, LabelLeakage
from fraud_training.evaluate import Quality, quality
from fraud_training.models import Candidate, raw_scores
from fraud_training.recipe import Recipe
from fraud_training.split import WEEK, Split, check


@dataclass(frozen=True)
class Validation:
    """A candidate's figures on each validation week, and the calibration that those weeks' scores gave.

    `leaves`: the most that it grew for one of them; 0 for a linear model.
    """

    candidate: Candidate
    weeks: tuple[Quality, ...]
    calibration: Calibration
    leaves: int
    probability: np.ndarray
    fraud: np.ndarray

    @property
    def mean(self) -> Quality:
        """The mean over the weeks."""
        return Quality(*np.mean([list(week.as_dict().values()) for week in self.weeks], axis=0).tolist())


def final_split(data: Dataset, recipe: Recipe, train_days: int) -> Split:
    """The split of the test week for a candidate that trains on so many days (fewer where the data begins)."""
    test_from = recipe.split.test_from
    if test_from is None:
        test_from = int(data.day[-1]) - WEEK + 1
    train_to = test_from - recipe.split.label_delay_days - 1
    return Split(max(train_to - train_days + 1, 0), train_to, recipe.split.label_delay_days)


def validation_splits(data: Dataset, recipe: Recipe, train_days: int) -> list[Split]:
    """Earliest first; the last one's test week ends with the final split's training."""
    final = final_split(data, recipe, train_days)
    latest = final.train_to - (final.delay_days + WEEK)
    ends = [latest - WEEK * back for back in range(recipe.split.validation_weeks)][::-1]
    if ends[0] < WEEK - 1:
        raise EmptyPeriod(
            f"{recipe.split.validation_weeks} validation weeks before day {final.train_to + 1} leave no week to train on "
            "for the first: ask for fewer, or bring more history"
        )
    return [Split(max(end - train_days + 1, 0), end, final.delay_days) for end in ends]


def validate(data: Dataset, recipe: Recipe, candidate: Candidate) -> Validation:
    """Fits the candidate once per validation week (first seed) and measures it there."""
    data = data.select(recipe.names(candidate.features))
    splits = validation_splits(data, recipe, candidate.train_days)
    scored = [_scored(data, split, candidate, recipe) for split in splits]
    leaves = max(grown for _, _, grown in scored)
    scored = [(rows, raw) for rows, raw, _ in scored]
    weeks, probability = [], []
    for k, (rows, raw) in enumerate(scored):
        # A blend is weighed by the other weeks, so that no week helps to choose the weights it is judged by.
        others = [item for j, item in enumerate(scored) if j != k] or [scored[k]]
        own = _calibration(data, others).apply(raw)
        weeks.append(quality(data, rows, own))
        probability.append(own)
    fraud = np.concatenate([data.fraud[rows] for rows, _ in scored])
    calibration = _calibration(data, scored)
    return Validation(candidate, tuple(weeks), calibration, leaves, np.concatenate(probability), fraud)


def _scored(data: Dataset, split: Split, candidate: Candidate, recipe: Recipe):
    check(data, split, recipe.split.allow_missing_days)
    train, test = split.train_rows(data), split.test_rows(data)
    refuse_leakage(data, train)
    parts = candidate.fit(data.inputs(train), data.fraud[train], recipe.seeds[0])
    leaves = sum(tree.leaves() for part in parts for tree in part.additive.trees)
    return test, raw_scores(parts, data.inputs(test)), leaves


def _calibration(data: Dataset, scored) -> Calibration:
    raw = np.concatenate([raw for _, raw in scored])
    return calibrate.fit(raw, np.concatenate([data.fraud[rows] for rows, _ in scored]))


def refuse_leakage(data: Dataset, rows: np.ndarray) -> None:
    """Raises `LabelLeakage` for a feature that alone separates the classes without an error."""
    fraud = data.fraud[rows] == 1
    values = data.features[rows]
    yes, no = values[fraud], values[~fraud]
    separates = (yes.min(axis=0) > no.max(axis=0)) | (yes.max(axis=0) < no.min(axis=0))
    if separates.any():
        raise LabelLeakage(data.names[int(np.argmax(separates))])


def choose(
    data: Dataset, recipe: Recipe, report: Callable[[Validation], None] = lambda _: None
) -> tuple[Validation, list[Validation]]:
    """Validates every candidate; the highest mean of the three figures, averaged over the weeks, is chosen.

    At equal figures the earlier in the recipe, so simpler ones go first there. Candidates that grew more leaves than
    the recipe allows are only compared.
    """
    results = []
    for candidate in recipe.candidates:
        results.append(validate(data, recipe, candidate))
        report(results[-1])
    small_enough = [result for result in results if result.leaves <= recipe.max_leaves]
    if not small_enough:
        raise ConfigError(f"every candidate grew more than max_leaves = {recipe.max_leaves} leaves")
    return max(small_enough, key=lambda result: result.mean.mean), results

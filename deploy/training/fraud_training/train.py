"""The whole run: choose, fit, test once, export, check."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from fraud_training import export, metadata, select, thresholds
from fraud_training.data import Dataset
from fraud_training.evaluate import Quality, Spread, calibration_figures, quality, spread
from fraud_training.models import Part, raw_scores
from fraud_training.recipe import Recipe, ThresholdRecipe
from fraud_training.select import Validation
from fraud_training.split import Split, check
from fraud_training.thresholds import Costs, Thresholds

# Rows on which the file is compared with the trained model.
CHECKED_ROWS = 50_000


@dataclass(frozen=True)
class Tested:
    """A test week's figures, one per seed."""

    split: Split
    rows: int
    frauds: int
    seeds: tuple[Quality, ...]

    @property
    def spread(self) -> dict[str, Spread]:
        """Figure → mean and deviation over the seeds."""
        return spread(list(self.seeds))


@dataclass(frozen=True)
class Outcome:
    """Everything a run found out. `data` has the chosen model's features; `probability` is of the test rows."""

    recipe: Recipe
    data: Dataset
    chosen: Validation
    validations: list[Validation]
    test: Tested
    others: list[Tested]
    parts: list[Part]
    probability: np.ndarray
    thresholds: Thresholds
    test_figures: dict[str, float]
    validation_figures: dict[str, float]
    decisions: dict[str, float]
    check: export.Check
    content: bytes
    entries: dict[str, object]


def run(data: Dataset, recipe: Recipe, say: Callable[[str], None] = print) -> Outcome:
    """Runs the recipe. The test week is looked at after everything is chosen, and then only measured on."""
    first = max(recipe.candidates, key=lambda candidate: candidate.train_days)
    check(data, select.final_split(data, recipe, first.train_days), recipe.split.allow_missing_days)
    chosen, validations = select.choose(data, recipe, lambda result: say(_line(result)))
    say(f"chosen: {chosen.candidate.name}")

    data = data.select(recipe.names(chosen.candidate.features))
    split = select.final_split(data, recipe, chosen.candidate.train_days)
    select.refuse_leakage(data, split.train_rows(data))
    # The first seed is the model; the others only show how much of its figures is luck.
    test, parts = _tested(data, recipe, chosen, split)
    others = [_tested(data, recipe, chosen, split.shifted(days))[0] for days in recipe.split.other_weeks]

    rows = split.test_rows(data)
    probability = chosen.calibration.apply(raw_scores(parts, data.inputs(rows)))
    at = _thresholds(recipe.thresholds, data, split, chosen)
    content, entries, checked = _export(data, recipe, chosen, split, (parts, at, test))
    fraud = data.fraud[rows]
    return Outcome(
        recipe, data, chosen, validations, test, others, parts, probability, at,
        test_figures=calibration_figures(fraud, probability),
        validation_figures=calibration_figures(chosen.fraud, chosen.probability),
        decisions=thresholds.outcome(probability, fraud, data.amount[rows], at),
        check=checked,
        content=content,
        entries=entries,
    )  # fmt: skip


def _line(result: Validation) -> str:
    figures = "  ".join(f"{name} {value:.4f}" for name, value in result.mean.as_dict().items())
    return f"  validation, mean of {len(result.weeks)} weeks: {result.candidate.name:<24} {figures}"


def _tested(data: Dataset, recipe: Recipe, chosen: Validation, split: Split) -> tuple[Tested, list[Part]]:
    """Fits and tests once per seed; the parts are those of the first."""
    check(data, split, recipe.split.allow_missing_days)
    train, rows = split.train_rows(data), split.test_rows(data)
    inputs, fraud = data.inputs(train), data.fraud[train]
    models = [chosen.candidate.fit(inputs, fraud, seed) for seed in recipe.seeds]
    tested = data.inputs(rows)
    scores = [chosen.calibration.apply(raw_scores(parts, tested)) for parts in models]
    figures = tuple(quality(data, rows, score) for score in scores)
    return Tested(split, int(rows.sum()), int(data.fraud[rows].sum()), figures), models[0]


def _thresholds(recipe: ThresholdRecipe, data: Dataset, split: Split, chosen: Validation) -> Thresholds:
    if recipe.method == "costs":
        rows = split.train_rows(data) & (data.fraud == 1)
        loss = recipe.fraud if recipe.fraud is not None else float(data.amount[rows].mean())
        return thresholds.from_costs(Costs(loss, recipe.review, recipe.review_recall, recipe.false_decline))
    days = len(chosen.weeks) * split.test_days
    return thresholds.from_alert_budget(
        chosen.probability.astype(np.float32), chosen.fraud, days, recipe.alerts_per_day, recipe.decline_precision
    )


def _export(data: Dataset, recipe: Recipe, chosen: Validation, split: Split, fitted):
    parts, at, test = fitted
    train, gap = split.train_rows(data), split.gap_rows(data)
    inputs = data.inputs(gap)
    calibrated = chosen.calibration
    model = calibrated.fold(parts)
    gap_scores = calibrated.apply(raw_scores(parts, inputs))
    golden = inputs[metadata.golden_rows(gap_scores)]
    further = {
        "label_delay_days": split.delay_days,
        "family": chosen.candidate.family,
        "candidate": chosen.candidate.name,
        "seed": recipe.seeds[0],
        "trees": len(model.trees),
        "leaves": sum(tree.leaves() for tree in model.trees),
        "calibration": {"kind": "logistic, folded in", "slopes": calibrated.slopes, "intercept": calibrated.intercept},
    }
    entries = {
        "name": recipe.name,
        "version": recipe.version,
        "features": recipe.feature_sets[chosen.candidate.features],
        "label": "1",
        "thresholds": metadata.thresholds(at),
        "training": metadata.training(data, train, further),
        "metrics": {name: round(value, 6) for name, value in test.seeds[0].as_dict().items()},
        "baseline": metadata.baseline(data, train, gap_scores),
    }
    content = export.to_onnx(model, len(data.names), entries, golden)
    checked = _check(content, data, calibrated, parts)
    return content, entries, checked


def _check(content: bytes, data: Dataset, calibration, parts) -> export.Check:
    inputs = data.inputs(np.linspace(0, len(data) - 1, min(len(data), CHECKED_ROWS)).astype(int))
    return export.check(content, inputs, calibration.apply(raw_scores(parts, inputs)))

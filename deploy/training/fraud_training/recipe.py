"""A training run as a TOML file: what is tried, on which days, and how thresholds are set."""

import tomllib
from dataclasses import dataclass, field
from pathlib import Path

from fraud_training.errors import ConfigError
from fraud_training.models import Candidate


@dataclass(frozen=True)
class SplitRecipe:
    """`test_from`: first test day, counted from the first day of the data; left out: the last week.

    `validation_weeks`: how many weeks before the end of training are tested on to choose. `other_weeks`: how many
    days after the test week further ones begin.
    """

    label_delay_days: int = 7
    test_from: int | None = None
    validation_weeks: int = 4
    other_weeks: tuple[int, ...] = ()
    allow_missing_days: bool = False


@dataclass(frozen=True)
class ThresholdRecipe:
    """`costs` (fraud: left out, the mean amount of the training frauds) or `alert_budget`."""

    method: str = "costs"
    fraud: float | None = None
    review: float = 4.0
    review_recall: float = 0.9
    false_decline: float = 30.0
    alerts_per_day: float = 100.0
    decline_precision: float = 0.9


@dataclass(frozen=True)
class Recipe:
    """The whole of it. `max_leaves`: a candidate with more leaves is compared, never chosen (size and speed)."""

    name: str
    version: str
    title: str
    seeds: tuple[int, ...]
    candidates: tuple[Candidate, ...]
    feature_sets: dict[str, list]
    split: SplitRecipe = field(default_factory=SplitRecipe)
    thresholds: ThresholdRecipe = field(default_factory=ThresholdRecipe)
    max_leaves: int = 1_000_000

    def names(self, feature_set: str) -> list[str]:
        """The names of a feature set, in order."""
        return [_name(item) for item in self.feature_sets[feature_set]]

    def all_features(self) -> list:
        """Every feature of any candidate once: what replay has to compute."""
        items = {}
        for candidate in self.candidates:
            for item in self.feature_sets[candidate.features]:
                if items.setdefault(_name(item), item) != item:
                    raise ConfigError(f"feature {_name(item)} is defined in two ways")
        return list(items.values())


def _name(item) -> str:
    return item if isinstance(item, str) else item["name"]


def read(path: Path) -> Recipe:
    """Reads a recipe; raises `ConfigError` naming what is wrong in it."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: {error}") from error
    try:
        return _recipe(table)
    except (ConfigError, TypeError, KeyError) as error:
        problem = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise ConfigError(f"{path}: {problem}") from error


def _recipe(table: dict) -> Recipe:
    sets = table.pop("feature_sets")
    candidates = tuple(_candidate(item) for item in table.pop("candidates"))
    split = table.pop("split", {})
    recipe = Recipe(
        candidates=candidates,
        feature_sets=sets,
        seeds=tuple(table.pop("seeds", (0,))),
        split=SplitRecipe(**{**split, "other_weeks": tuple(split.get("other_weeks", ()))}),
        thresholds=ThresholdRecipe(**table.pop("thresholds", {})),
        **table,
    )
    if not candidates or not recipe.seeds:
        raise ConfigError("at least one candidate and one seed are needed")
    names = [candidate.name for candidate in candidates]
    if len(set(names)) < len(names):
        raise ConfigError(f"candidates need names of their own, not {', '.join(names)}")
    for candidate in candidates:
        if candidate.features not in sets:
            raise ConfigError(f"{candidate.name}: there is no feature set {candidate.features!r}")
    if recipe.thresholds.method not in ("costs", "alert_budget"):
        raise ConfigError(f"thresholds.method is {recipe.thresholds.method!r}, not costs or alert_budget")
    if recipe.split.validation_weeks < 1:
        raise ConfigError("split.validation_weeks must be at least 1: something has to choose")
    return recipe


def _candidate(item: dict) -> Candidate:
    item = dict(item)
    shared = {key: item[key] for key in ("train_days", "features", "negatives") if key in item}
    parts = tuple(
        Candidate(name=f"{item['name']}/{part['family']}", **{**shared, **part}) for part in item.pop("parts", ())
    )
    if bool(parts) != (item["family"] == "blend"):
        raise ConfigError(f"{item['name']}: a blend, and only a blend, has parts")
    candidate = Candidate(parts=parts, **item)
    if candidate.train_days < 7 or not 0 < candidate.negatives <= 1 or candidate.bags < 1:
        raise ConfigError(f"{candidate.name}: train_days must be at least 7, negatives in (0, 1], bags at least 1")
    return candidate


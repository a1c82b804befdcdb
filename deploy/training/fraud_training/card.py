"""The model card: what a reader needs to know before trusting the file, from the run's own figures."""

from fraud_training.evaluate import Spread
from fraud_training.figures import importance
from fraud_training.train import Outcome, Tested

FIGURES = {
    "roc_auc": "area under ROC",
    "average_precision": "average precision",
    "card_precision_at_100": "card precision at 100",
}


def table(outcome: Outcome) -> str:
    """The figures as Markdown tables: validation, test, other weeks."""
    return "\n\n".join([_validation(outcome), _tests(outcome)])


def _validation(outcome: Outcome) -> str:
    rows = ["| candidate | features | days | " + " | ".join(FIGURES.values()) + " | |", "|---|---|---|---|---|---|---|"]
    for result in outcome.validations:
        figures = " | ".join(f"{value:.3f}" for value in result.mean.as_dict().values())
        mark = "chosen" if result is outcome.chosen else ""
        if result.leaves > outcome.recipe.max_leaves:
            mark = f"compared only: {result.leaves:,} leaves"
        candidate = result.candidate
        width = len(outcome.recipe.names(candidate.features))
        rows.append(f"| {candidate.name} | {width} | {candidate.train_days} | {figures} | {mark} |")
    return "\n".join(rows)


def _tests(outcome: Outcome) -> str:
    rows = ["| test week | rows | frauds | " + " | ".join(FIGURES.values()) + " |", "|---|---|---|---|---|---|"]
    for number, week in enumerate([outcome.test, *outcome.others]):
        name = _days(outcome, week) + (" (the test)" if number == 0 else "")
        figures = " | ".join(_spread(value, len(week.seeds)) for value in week.spread.values())
        rows.append(f"| {name} | {week.rows:,} | {week.frauds:,} | {figures} |")
    return "\n".join(rows)


def _spread(value: Spread, seeds: int) -> str:
    return str(value) if seeds > 1 else f"{value.mean:.3f}"


def _days(outcome: Outcome, week: Tested) -> str:
    first, last = (outcome.data.date_of(day) for day in (week.split.test_from, week.split.test_to))
    return f"{first.isoformat()} to {last.isoformat()}"


def write(outcome: Outcome, pictures: list[str], places: tuple[str, str, str]) -> str:
    """The card as Markdown. `places`: name of the model file, folder of the pictures, command that made them."""
    file, folder, command = places
    training, split = outcome.entries["training"], outcome.test.split
    seeds = len(outcome.recipe.seeds)
    decisions = outcome.decisions
    alerts = (decisions["review"] + decisions["decline"]) / split.test_days
    stolen = decisions["amount_alerted"] + decisions["amount_missed"]
    caught = decisions["amount_alerted"] / stolen if stolen else 0.0
    images = "\n".join(f"![{name.removesuffix('.png').replace('_', ' ')}]({folder}/{name})\n" for name in pictures)
    used = "\n".join(f"| `{name}` | {share:.3f} |" for name, share in importance(outcome))
    return f"""# {outcome.recipe.title}

`{file}`: {outcome.recipe.name} {outcome.recipe.version}, {training["family"]}, {training["trees"]} trees,
{training["leaves"]:,} leaves, {len(outcome.data.names)} features, {len(outcome.content) / 1000:.0f} kB.
Made by `{command}`; this page too. The same input gives the same bytes.

## What it is for

Scores single card payments: the probability that a payment is fraud, given what is known of its customer and
terminal at its time. It was trained on **simulated** payments (the generator of the *Reproducible Machine Learning for
Credit Card Fraud Detection* handbook): it shows what the platform does and is a place to start, and says nothing
about any real portfolio. Train on your own labelled payments before deciding about real ones.

## Data

Trained on {training["from"]} to {training["to"]}: {training["rows"]:,} payments, {training["frauds"]:,} of them fraud.
Labels become known {split.delay_days} days after a payment; the {split.delay_days} days after training are therefore neither
trained nor tested on. Data hash (ids, features, labels of the training rows): `{training["data_sha256"]}`.

## How it was chosen

Every candidate was tested on {len(outcome.chosen.weeks)} earlier weeks, each treated as the test week is (same label delay,
customers known to be compromised left out, training cut off before). The last of them ends with the training data.
The highest mean of the three figures, averaged over those weeks, was chosen{_limit(outcome)}; the first seed is the file.

{_validation(outcome)}

## Quality

Measured after everything was chosen, {f"mean ± standard deviation of {seeds} seeds" if seeds > 1 else "one seed"}. {_others(outcome)}

{_tests(outcome)}

Card precision at 100: of the 100 customers with the highest scores of a day, the share that is found to have a fraud
that day; mean over the days, customers found once left out of later days. Where a day has fewer compromised customers than
100, it cannot reach 1.

## Calibration

Raw scores become probabilities by a logistic curve fitted on the validation weeks, folded into the leaves.

| | Brier score | log loss | expected calibration error |
|---|---|---|---|
| validation weeks | {_calibration(outcome.validation_figures)} |
| test week | {_calibration(outcome.test_figures)} |

## Thresholds

{_thresholds(outcome)}: review from **{outcome.thresholds.review_at:.4f}**, decline from **{outcome.thresholds.decline_at:.4f}**.
In the test week that gives {alerts:.0f} alerts a day ({decisions["review"]} reviews with {decisions["review_frauds"]} frauds, {decisions["decline"]} declines with
{decisions["decline_frauds"]}); {decisions["approve_frauds"]} frauds pass. Of the amount stolen {caught:.0%} is alerted on. A policy file overrides both.

## Pictures

{images}
## Importance

| feature | share of gain |
|---|---|
{used}

## Limits

- A customer's or terminal's first payments have no history: their windows are empty, and the score leans on the amount.
- A terminal's first frauds are unknown for {split.delay_days} days: until then frauds there look like any other payment.
- Probabilities hold for a share of fraud like that of the training data; where it differs, calibrate anew.
- The file was compared with the trained model on {outcome.check.rows:,} rows: greatest difference of the probability
  {outcome.check.greatest_difference:.1e}.
"""


def _limit(outcome: Outcome) -> str:
    limit = outcome.recipe.max_leaves
    too_large = any(result.leaves > limit for result in outcome.validations)
    return f" among those of at most {limit:,} leaves (the file is small and fast)" if too_large else ""


def _others(outcome: Outcome) -> str:
    if not outcome.others:
        return ""
    return "The other weeks are the same recipe with all days moved: trained anew, nothing chosen again."


def _calibration(figures: dict[str, float]) -> str:
    return " | ".join(f"{value:.5f}" for value in figures.values())


def _thresholds(outcome: Outcome) -> str:
    recipe = outcome.recipe.thresholds
    if recipe.method == "alert_budget":
        return (
            f"From an alert budget of {recipe.alerts_per_day:g} a day on the validation weeks, declining where the "
            f"precision is at least {recipe.decline_precision:.0%}"
        )
    loss = "the mean amount of the training frauds" if recipe.fraud is None else f"{recipe.fraud:g}"
    return (
        f"From costs (an approved fraud {loss}, a review {recipe.review:g}, which stops {recipe.review_recall:.0%} of "
        f"frauds, a false decline {recipe.false_decline:g})"
    )

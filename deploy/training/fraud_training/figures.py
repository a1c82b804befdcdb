"""The pictures of a model card, as PNG files without a date, so that equal runs write equal bytes."""

from pathlib import Path

import matplotlib
import numpy as np
from sklearn.metrics import precision_recall_curve, roc_curve

from fraud_training.evaluate import reliability
from fraud_training.train import Outcome

matplotlib.use("Agg")

from matplotlib import pyplot as plt  # noqa: E402  (the backend has to be set first)

INK, FRAUD, OTHER, FAINT = "#1f2933", "#c2410c", "#2563eb", "#9aa5b1"
STYLE = {
    "figure.figsize": (5.6, 4.2),
    "figure.dpi": 110,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "axes.grid": True,
    "grid.color": "#e4e7eb",
    "xtick.color": INK,
    "ytick.color": INK,
    "font.size": 9,
    "legend.frameon": False,
    "svg.hashsalt": "fraud",
}


def draw(outcome: Outcome, folder: Path) -> list[str]:
    """Draws all pictures into the folder; gives their file names."""
    folder.mkdir(parents=True, exist_ok=True)
    pictures = {
        "roc.png": _roc,
        "precision_recall.png": _precision_recall,
        "calibration.png": _calibration,
        "importance.png": _importance,
        "scores.png": _scores,
    }
    with plt.rc_context(STYLE):
        for name, paint in pictures.items():
            figure, axes = plt.subplots()
            paint(axes, outcome)
            figure.tight_layout()
            figure.savefig(folder / name, metadata={"Software": None})
            plt.close(figure)
    return list(pictures)


def _test(outcome: Outcome):
    return outcome.data.fraud[outcome.test.split.test_rows(outcome.data)], outcome.probability


def _roc(axes, outcome: Outcome) -> None:
    fraud, probability = _test(outcome)
    false, true, _ = roc_curve(fraud, probability)
    axes.plot([0, 1], [0, 1], color=FAINT, linestyle="--", linewidth=1, label="chance")
    axes.plot(false, true, color=FRAUD, label=f"test week, area {outcome.test.seeds[0].roc_auc:.3f}")
    axes.set(title="ROC", xlabel="false positive rate", ylabel="recall", xlim=(0, 1), ylim=(0, 1.01))
    axes.legend(loc="lower right")


def _precision_recall(axes, outcome: Outcome) -> None:
    fraud, probability = _test(outcome)
    precision, recall, thresholds = precision_recall_curve(fraud, probability)
    area = outcome.test.seeds[0].average_precision
    axes.axhline(fraud.mean(), color=FAINT, linestyle="--", linewidth=1, label=f"chance, {fraud.mean():.4f}")
    axes.step(recall, precision, where="post", color=FRAUD, label=f"test week, average precision {area:.3f}")
    at = outcome.thresholds
    for value, name, mark in ((at.review_at, "review", "o"), (at.decline_at, "decline", "s")):
        index = min(np.searchsorted(thresholds, value), len(thresholds) - 1)
        label = f"{name} from {value:.3f}"
        axes.plot(recall[index], precision[index], mark, color=INK, markersize=6, label=label)
    axes.set(title="Precision and recall", xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.02))
    axes.legend(loc="lower left")


def _calibration(axes, outcome: Outcome) -> None:
    sets = (
        ("validation weeks (fitted here)", outcome.chosen.fraud, outcome.chosen.probability, OTHER),
        ("test week", *_test(outcome), FRAUD),
    )
    axes.plot([0, 1], [0, 1], color=FAINT, linestyle="--", linewidth=1)
    for name, fraud, probability, color in sets:
        mean, share, rows = (np.array(column) for column in zip(*reliability(fraud, probability), strict=True))
        error = 1.96 * np.sqrt(share * (1 - share) / rows)
        axes.errorbar(mean, share, yerr=error, fmt="o-", color=color, markersize=4, linewidth=1.2, label=name)
    axes.set(
        title="Calibration: does 0.8 mean eight in ten? (bars: 95 %)",
        xlabel="fraud probability given", ylabel="share of fraud", xlim=(0, 1), ylim=(-0.02, 1.05),
    )  # fmt: skip
    axes.legend(loc="upper left")


def importance(outcome: Outcome) -> list[tuple[str, float]]:
    """Feature and share, highest first; of a blend the mean of its parts."""
    share = np.mean([part.importance for part in outcome.parts], axis=0)
    return sorted(zip(outcome.data.names, share.tolist(), strict=True), key=lambda item: (-item[1], item[0]))


def _importance(axes, outcome: Outcome) -> None:
    names, shares = zip(*importance(outcome)[:15][::-1], strict=True)
    axes.barh(range(len(names)), shares, color=OTHER)
    axes.set_yticks(range(len(names)), [_readable(name) for name in names], fontsize=8)
    axes.set(title="Importance: share of what the trees gain", xlabel="share")
    axes.grid(axis="y", visible=False)


def _readable(name: str) -> str:
    """`CUSTOMER_ID_AVG_AMOUNT_7DAY_WINDOW` is too long beside a bar."""
    return name.removesuffix("_WINDOW").replace("_ID_", " ").replace("_", " ").lower()


def _scores(axes, outcome: Outcome) -> None:
    fraud, probability = _test(outcome)
    bins = np.linspace(0, 1, 41)
    for name, label, color in (("legitimate", 0, OTHER), ("fraud", 1, FRAUD)):
        axes.hist(probability[fraud == label], bins=bins, color=color, alpha=0.6, label=name)
    top = axes.get_ylim()[1]
    for value, name in ((outcome.thresholds.review_at, "review"), (outcome.thresholds.decline_at, "decline")):
        axes.axvline(value, color=INK, linewidth=1, linestyle=":")
        axes.text(value + 0.01, top, name, va="top", fontsize=8, color=INK)
    axes.set_yscale("log")
    axes.set(title="Scores of the test week", xlabel="fraud probability", ylabel="transactions", xlim=(0, 1))
    axes.legend(loc="center")

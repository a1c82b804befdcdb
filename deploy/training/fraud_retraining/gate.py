"""Whether a candidate may become champion: every question, its answer, and why.

Pure: rows and figures in, verdict out.
"""

from dataclasses import asdict, dataclass

import numpy as np

from fraud_retraining.bootstrap import Estimate, compare
from fraud_retraining.parameters import GateParameters
from fraud_training.evaluate import calibration_figures

# The scenario of a row of which nobody wrote down the kind: left out of the comparison.
UNKNOWN = -1
SECONDS_PER_DAY = 86_400


@dataclass(frozen=True)
class Check:
    """One question. `found` and `asked` are as they are shown."""

    name: str
    passed: bool
    found: str
    asked: str


@dataclass(frozen=True)
class Verdict:
    """`promote`: every check passed. `figures`: role → figure → estimate, `gain` being the difference."""

    promote: bool
    checks: tuple[Check, ...]
    figures: dict[str, dict[str, Estimate]]
    scenarios: tuple[dict, ...]
    calibration: dict[str, dict[str, float]]

    @property
    def reasons(self) -> list[str]:
        """What spoke against it; where nothing did, what spoke for it."""
        against = [f"{check.name}: {check.found}; asked: {check.asked}" for check in self.checks if not check.passed]
        return against or [f"{check.name}: {check.found}" for check in self.checks[:2]]

    def as_dict(self) -> dict:
        """For JSON."""
        return {**asdict(self), "reasons": self.reasons}


@dataclass(frozen=True)
class Evidence:
    """What the gate judges. `rows`: day, customer, fraud and, where known, scenario (0: none, `UNKNOWN`), as columns;
    `scores`: role → probabilities of these rows, `champion` only where there is one. `engine`, `latency_us` and `history`
    as `evaluate` wrote them."""

    rows: dict[str, np.ndarray]
    scores: dict[str, np.ndarray]
    engine: dict
    latency_us: dict[str, float]
    history: dict


def judge(evidence: Evidence, asked: GateParameters, alert_budget: int) -> Verdict:
    """The verdict."""
    figures = compare(evidence.rows, evidence.scores, (alert_budget, asked.resamples, asked.confidence))
    fraud = evidence.rows["fraud"]
    calibration = {role: calibration_figures(fraud, scores) for role, scores in evidence.scores.items()}
    scenarios = tuple(_scenarios(evidence, alert_budget, asked))
    checks = [
        *(_against_champion(figures["gain"], asked, alert_budget) if "gain" in figures else _first(figures, fraud)),
        _floor(figures["candidate"]["roc_auc"], asked),
        *_scenario_checks(scenarios, asked),
        *_calibrated(calibration, evidence, asked),
        *_fast(evidence.latency_us, asked),
        *_same_answers(evidence.engine),
        _kept(evidence.history, asked),
    ]
    return Verdict(all(check.passed for check in checks), tuple(checks), figures, scenarios, calibration)


def _against_champion(gain: dict[str, Estimate], asked: GateParameters, budget: int) -> list[Check]:
    wanted = (
        ("average precision", gain["average_precision"], asked.min_average_precision_gain),
        (f"card precision at {budget}", gain["card_precision"], asked.min_card_precision_gain),
    )
    checks = [
        Check(
            f"better on {name}",
            estimate.low >= least and estimate.value > 0,
            _interval(estimate, asked),
            f"lower end at least {least:+.4f}",
        )
        for name, estimate, least in wanted
    ]
    roc = gain["roc_auc"]
    fine = roc.value >= -asked.max_roc_auc_loss
    return [*checks, Check("not worse on ROC", fine, _interval(roc, asked), f"at least {-asked.max_roc_auc_loss:+.4f}")]


def _interval(estimate: Estimate, asked: GateParameters) -> str:
    return f"{estimate.value:+.4f} ({asked.confidence:.0%}: {estimate.low:+.4f} to {estimate.high:+.4f})"


def _first(figures, fraud: np.ndarray) -> list[Check]:
    """Without a champion there is nothing to be better than, but chance."""
    found, chance = figures["candidate"]["average_precision"], float(fraud.mean())
    return [
        Check(
            "better than chance (there is no champion)",
            found.low > 2 * chance,
            f"average precision {found.value:.4f} (interval from {found.low:.4f})",
            f"lower end above twice the share of fraud, {2 * chance:.4f}",
        )
    ]


def _floor(roc: Estimate, asked: GateParameters) -> Check:
    return Check(
        "ROC above the floor", roc.value >= asked.min_roc_auc, f"{roc.value:.4f}", f"at least {asked.min_roc_auc}"
    )


def _scenarios(evidence: Evidence, budget: int, asked: GateParameters):
    """Each fraud scenario's recall at the alert budget: what is found among the `budget` highest scores a day."""
    kinds = evidence.rows.get("scenario")
    if kinds is None:
        return
    alerted = {role: _alerted(evidence.rows["day"], scores, budget) for role, scores in evidence.scores.items()}
    for kind in sorted({int(kind) for kind in kinds[evidence.rows["fraud"] == 1]} - {UNKNOWN}):
        mine = (kinds == kind) & (evidence.rows["fraud"] == 1)
        frauds = int(mine.sum())
        recall = {role: float(rows[mine].mean()) for role, rows in alerted.items()}
        yield {"scenario": kind, "frauds": frauds, "judged": frauds >= asked.min_scenario_frauds, "recall": recall}


def _alerted(day: np.ndarray, scores: np.ndarray, budget: int) -> np.ndarray:
    alerted = np.zeros(len(day), dtype=bool)
    for today in np.unique(day):
        rows = np.flatnonzero(day == today)
        alerted[rows[np.argsort(-scores[rows], kind="stable")[:budget]]] = True
    return alerted


def _scenario_checks(scenarios, asked: GateParameters) -> list[Check]:
    checks = []
    for row in scenarios:
        if "champion" not in row["recall"]:
            continue
        loss = row["recall"]["champion"] - row["recall"]["candidate"]
        found = (
            f"recall {row['recall']['candidate']:.3f}, champion {row['recall']['champion']:.3f}, {row['frauds']} frauds"
        )
        if not row["judged"]:
            found += f" (fewer than {asked.min_scenario_frauds}: not judged)"
        fine = not row["judged"] or loss <= asked.max_scenario_recall_loss
        name = f"not worse on fraud scenario {row['scenario']}"
        checks.append(Check(name, fine, found, f"loss at most {asked.max_scenario_recall_loss}"))
    return checks


def _calibrated(calibration, evidence: Evidence, asked: GateParameters) -> list[Check]:
    error = calibration["candidate"]["expected_calibration_error"]
    given, frauds = float(evidence.scores["candidate"].sum()), int(evidence.rows["fraud"].sum())
    # Three standard deviations of the count, and a factor for a share of fraud that changes from week to week.
    room = 0.5 * frauds + 3 * frauds**0.5
    limit = asked.max_calibration_error
    return [
        Check("calibrated", error <= limit, f"expected calibration error {error:.4f}", f"at most {limit}"),
        Check(
            "as many frauds as it says",
            abs(given - frauds) <= room,
            f"{given:.0f} expected, {frauds} found",
            f"within {room:.0f}",
        ),
    ]


def _fast(latency: dict[str, float], asked: GateParameters) -> list[Check]:
    mine = latency["candidate"]
    limit = f"at most {asked.max_latency_us:g} µs"
    checks = [Check("fast enough", mine <= asked.max_latency_us, f"{mine:.2f} µs a transaction", limit)]
    if "champion" in latency:
        ratio = mine / latency["champion"]
        found = f"{mine:.2f} µs, champion {latency['champion']:.2f} µs: {ratio:.2f} times"
        most = f"at most {asked.max_latency_ratio:g} times"
        checks.append(Check("not much slower", ratio <= asked.max_latency_ratio, found, most))
    return checks


def _same_answers(engine: dict) -> list[Check]:
    furthest = max(engine["from_trained"], engine["from_onnx_runtime"])
    differing = engine["feature_values_differing"]
    return [
        Check(
            "the serving engine answers as trained (golden rows, test week)",
            furthest <= engine["tolerance"],
            f"at most {furthest:.1e} apart on {engine['rows']:,} rows",
            f"at most {engine['tolerance']:.0e}",
        ),
        Check(
            "features in serving equal those of training",
            differing == 0,
            f"{differing} of {engine['feature_values']:,} values differ",
            "equal bit for bit",
        ),
    ]


def _kept(history: dict, asked: GateParameters) -> Check:
    """Services refuse a model whose features look back further than their store keeps."""
    days = -(-history["seconds"] // SECONDS_PER_DAY)
    fine = history["seconds"] <= asked.store_history_days * SECONDS_PER_DAY
    advice = "" if fine else f': set store.history = "{days}d" in every service, then gate.store_history_days to {days}'
    return Check(
        "services keep what its features look back at",
        fine,
        f"{history['feature']} looks back {days} days{advice}",
        f"at most {asked.store_history_days:g} days (store.history of the services)",
    )

"""The gate on made evidence: what it lets through, and what it stops for which reason."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from fraud_retraining import gate, page
from fraud_retraining.bootstrap import Figures, compare
from fraud_retraining.parameters import TRAINING, GateParameters, Parameters
from fraud_training import metadata, recipe
from fraud_training.evaluate import card_precision

ROWS, CUSTOMERS, DAYS = 14_000, 1_500, 7
ASKED = GateParameters(resamples=200, max_calibration_error=0.02)
BUDGET = 20


@pytest.fixture
def rows():
    """A week with 2 % frauds of two kinds."""
    random = np.random.default_rng(5)
    scenario = np.where(random.random(ROWS) < 0.02, random.integers(1, 3, ROWS), 0)
    return {
        "day": random.integers(0, DAYS, ROWS),
        "customer": random.integers(0, CUSTOMERS, ROWS),
        "fraud": (scenario > 0).astype(np.int8),
        "scenario": scenario,
    }


def scores(rows, strength, seed=1, blind_to=None):
    """Calibrated probabilities that know as much as `strength` of the label."""
    random = np.random.default_rng(seed)
    signal = np.where(rows["fraud"] == 1, strength, 0.0)
    if blind_to:
        signal[rows["scenario"] == blind_to] = 0.0
    evidence = signal + random.normal(0, 1, ROWS)
    share = rows["fraud"].mean()
    odds = share / (1 - share) * np.exp(strength * evidence - strength**2 / 2)
    return (odds / (1 + odds)).astype(np.float32).astype(np.float64)


def evidence(rows, candidate, champion=None, **other):
    engine = {"rows": ROWS, "from_trained": 1e-7, "from_onnx_runtime": 1e-7, "feature_values": 1, "tolerance": 1e-5}
    engine |= {"feature_values_differing": 0} | other.pop("engine", {})
    latency = other.pop("latency", {"candidate": 1.0, "champion": 1.0})
    models = {"candidate": candidate} | ({} if champion is None else {"champion": champion})
    history = other.pop("history", {"feature": "TERMINAL_ID_RISK_30DAY_WINDOW", "seconds": 37 * 86_400})
    return gate.Evidence(rows, models, engine, {role: latency[role] for role in models}, history)


def judged(*arguments, asked=ASKED, **other):
    return gate.judge(evidence(*arguments, **other), asked, BUDGET)


def failed(verdict):
    return {check.name for check in verdict.checks if not check.passed}


def test_a_better_one_is_promoted(rows):
    verdict = judged(rows, scores(rows, 4.0), scores(rows, 2.0, seed=2))
    assert verdict.promote, verdict.reasons
    assert verdict.figures["gain"]["average_precision"].low > 0


def test_an_equal_one_and_a_worse_one_are_refused(rows):
    same = scores(rows, 3.0)
    assert failed(judged(rows, same, same)) == {"better on average precision", f"better on card precision at {BUDGET}"}
    worse = judged(rows, scores(rows, 2.0, seed=2), scores(rows, 4.0))
    assert {"better on average precision", "not worse on ROC"} <= failed(worse)


def test_a_gain_within_the_noise_is_no_gain(rows):
    """The point estimate is above 0, its interval is not."""
    verdict = judged(rows, scores(rows, 3.0, seed=3), scores(rows, 3.0, seed=9))
    gain = verdict.figures["gain"]["average_precision"]
    assert 0.002 < gain.value and gain.low < 0
    assert not verdict.promote


def test_a_margin_is_asked_of_the_lower_end(rows):
    arguments = (rows, scores(rows, 4.0), scores(rows, 2.0, seed=2))
    low = judged(*arguments).figures["gain"]["average_precision"].low
    assert "better on average precision" in failed(
        judged(*arguments, asked=GateParameters(resamples=200, min_average_precision_gain=low + 0.01))
    )


def test_blind_to_one_scenario(rows):
    verdict = judged(rows, scores(rows, 5.0, blind_to=2), scores(rows, 2.5, seed=2))
    assert "not worse on fraud scenario 2" in failed(verdict)
    assert "not worse on fraud scenario 1" not in failed(verdict)


def test_kinds_that_are_not_known_are_not_compared(rows):
    rows["scenario"] = np.where(rows["scenario"] == 2, gate.UNKNOWN, rows["scenario"])
    verdict = judged(rows, scores(rows, 5.0, blind_to=gate.UNKNOWN), scores(rows, 2.5, seed=2))
    assert [row["scenario"] for row in verdict.scenarios] == [1]


def test_services_have_to_keep_what_a_candidate_looks_back_at(rows):
    far = {"feature": "TERMINAL_ID_RISK_90DAY_WINDOW", "seconds": 97 * 86_400}
    models = (rows, scores(rows, 4.0), scores(rows, 2.0, seed=2))
    verdict = judged(*models, history=far)
    assert failed(verdict) == {"services keep what its features look back at"}
    assert 'TERMINAL_ID_RISK_90DAY_WINDOW looks back 97 days: set store.history = "97d"' in verdict.reasons[0]
    longer = GateParameters(resamples=200, max_calibration_error=0.02, store_history_days=97)
    assert judged(*models, history=far, asked=longer).promote


@pytest.mark.parametrize(("name", "days"), [("default.toml", 37), ("handbook.toml", 97)])
def test_how_far_the_recipes_look_back(name, days):
    plan = recipe.read(TRAINING / name)
    assert max(metadata.looks_back(item) for item in plan.all_features()) == days * 86_400


def test_how_far_a_feature_looks_back():
    window = {"name": "N", "source": "window", "key": "customer", "aggregate": "count", "window": "36h"}
    names = ["TX_AMOUNT", "CUSTOMER_ID_NB_TX_15MINUTE_WINDOW", "TERMINAL_ID_RISK_2HOUR_WINDOW"]
    assert [metadata.looks_back(name) for name in names] == [0, 900, 7 * 86_400 + 7_200]
    assert metadata.looks_back(window) == 129_600 and metadata.looks_back({**window, "delay": "9s"}) == 129_609


def test_scenarios_of_few_frauds_are_shown_but_not_judged(rows):
    asked = GateParameters(resamples=200, min_scenario_frauds=10_000, max_calibration_error=0.02)
    verdict = judged(rows, scores(rows, 5.0, blind_to=2), scores(rows, 2.5, seed=2), asked=asked)
    assert not any("scenario" in name for name in failed(verdict))
    assert any("not judged" in check.found for check in verdict.checks)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"latency": {"candidate": 2000.0, "champion": 1900.0}}, "fast enough"),
        ({"latency": {"candidate": 50.0, "champion": 1.0}}, "not much slower"),
        ({"engine": {"from_trained": 1e-3}}, "the serving engine answers as trained (golden rows, test week)"),
        ({"engine": {"feature_values_differing": 3}}, "features in serving equal those of training"),
    ],
)
def test_one_reason_is_enough(rows, change, reason):
    verdict = judged(rows, scores(rows, 4.0), scores(rows, 2.0, seed=2), **change)
    assert failed(verdict) == {reason}
    assert any(text.startswith(reason) for text in verdict.reasons)


def test_probabilities_that_cannot_be_taken_at_their_word(rows):
    inflated = np.minimum(scores(rows, 4.0) * 3 + 0.05, 1.0)
    assert {"calibrated", "as many frauds as it says"} <= failed(judged(rows, inflated, scores(rows, 2.0, seed=2)))


def test_the_first_champion_has_to_beat_chance(rows):
    assert judged(rows, scores(rows, 3.0)).promote
    random = np.random.default_rng(3).permutation(scores(rows, 3.0))
    assert "better than chance (there is no champion)" in failed(judged(rows, random))


def test_figures_are_those_of_the_training(rows):
    """The bootstrap's quick sums against the libraries', unweighted and with customers drawn several times."""
    given = np.round(scores(rows, 2.5), 3)  # with many ties
    figures = Figures(rows, given, BUDGET)
    roc, precision, cards = figures.at(np.ones(len(np.unique(rows["customer"]))))
    assert roc == pytest.approx(roc_auc_score(rows["fraud"], given), abs=1e-12)
    assert precision == pytest.approx(average_precision_score(rows["fraud"], given), abs=1e-12)
    assert cards == card_precision(rows["day"], rows["customer"], rows["fraud"], given, BUDGET)
    names, place = np.unique(rows["customer"], return_inverse=True)
    weight = np.random.default_rng(0).poisson(1.0, len(names)).astype(float)
    roc, precision, cards = figures.at(weight)
    row_weight = weight[place]
    assert roc == pytest.approx(roc_auc_score(rows["fraud"], given, sample_weight=row_weight), abs=1e-12)
    assert precision == pytest.approx(
        average_precision_score(rows["fraud"], given, sample_weight=row_weight), abs=1e-12
    )
    # Copies of a customer are customers.
    copies = np.repeat(np.arange(ROWS), row_weight.astype(int))
    number = np.concatenate([np.arange(int(times)) for times in row_weight])
    drawn = {name: rows[name][copies] for name in ("day", "fraud")}
    fine = np.random.default_rng(1).random(ROWS) * 1e-9 + given  # no ties between customers
    expected = card_precision(drawn["day"], place[copies] * 100 + number, drawn["fraud"], fine[copies], BUDGET)
    # A cut through the copies of one customer finds only some of them: at most one card a day.
    assert Figures(rows, fine, BUDGET).at(weight)[2] == pytest.approx(expected, abs=1.5 / BUDGET)


def test_intervals_hold_the_truth_and_repeat(rows):
    options = (BUDGET, 200, 0.95)
    first = compare(rows, {"candidate": scores(rows, 3.0)}, options)
    assert first == compare(rows, {"candidate": scores(rows, 3.0)}, options)
    for estimate in first["candidate"].values():
        assert estimate.low < estimate.value < estimate.high


def test_the_page_says_it_all(rows):
    given = evidence(rows, scores(rows, 2.0, seed=2), scores(rows, 4.0))
    verdict = gate.judge(given, ASKED, BUDGET)
    days = dict.fromkeys(("train_from", "train_to", "test_from", "test_to"), "2024-01-01")
    training = {"name": "<fraud>", "version": "1", "candidate": "boosted", "days": days}
    text = page.write(verdict, given, (training, {"version": "3"}, Parameters(source="a", until=None, gate=ASKED)))
    assert "Refused" in text and "better on average precision" in text and "&lt;fraud&gt;" in text
    assert text.count("data:image/png") == 4
    assert "http://" not in text and "https://" not in text

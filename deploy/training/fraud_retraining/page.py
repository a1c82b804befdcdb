"""The verdict as one page: answer, reasons, figures, pictures. Everything is inside of the file."""

import base64
import io
from html import escape

import matplotlib
import numpy as np
from sklearn.metrics import precision_recall_curve

from fraud_retraining.gate import Evidence, Verdict
from fraud_training.evaluate import reliability
from fraud_training.figures import FAINT, FRAUD, INK, OTHER, STYLE

matplotlib.use("Agg")

from matplotlib import pyplot as plt  # noqa: E402  (the backend has to be set first)

COLOURS = {"candidate": FRAUD, "champion": OTHER}
CSS = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, sans-serif; color: #1f2933; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { margin-bottom: .2rem; } h2 { margin-top: 2rem; font-size: 1.15rem; }
.sub { color: #52606d; margin-top: 0; }
.answer { padding: .8rem 1rem; border-left: 6px solid; border-radius: 4px; }
.yes { background: #e3f8ea; border-color: #1b7f3b; } .no { background: #fdeceb; border-color: #b42318; }
.answer strong { font-size: 1.15rem; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .35rem .6rem; border-bottom: 1px solid #e4e7eb; vertical-align: top; }
th { color: #52606d; font-weight: 600; }
td.ok { color: #1b7f3b; white-space: nowrap; } td.bad { color: #b42318; font-weight: 600; white-space: nowrap; }
figure { margin: 0; } .pictures { display: flex; flex-wrap: wrap; gap: 1rem; } .pictures img { max-width: 100%; width: 29rem; }
"""
NAMES = {"roc_auc": "area under ROC", "average_precision": "average precision", "card_precision": "card precision"}


def write(verdict: Verdict, evidence: Evidence, about) -> str:
    """HTML. `about`: the training's summary, the champion (`version` None where there is none), the run's parameters."""
    training, champion, parameters = about
    days = training["days"]
    against = f"champion: version {champion['version']}" if champion["version"] else "there was no champion"
    answer = "Promoted" if verdict.promote else "Refused"
    reasons = "".join(f"<li>{escape(reason)}</li>" for reason in verdict.reasons)
    why = "What spoke for it" if verdict.promote else "What spoke against it"
    rows = len(evidence.rows["fraud"])
    frauds = int(evidence.rows["fraud"].sum())
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Verdict: {escape(training["version"])}, {answer.lower()}</title><style>{CSS}</style></head><body>
<h1>Verdict on {escape(training["name"])} {escape(training["version"])}</h1>
<p class="sub">{escape(training["candidate"])}, trained on {days["train_from"]} to {days["train_to"]}; {escape(against)}</p>
<div class="answer {"yes" if verdict.promote else "no"}"><strong>{answer}.</strong> {why}:<ul>{reasons}</ul></div>

<h2>Checks</h2>
<table><thead><tr><th>question</th><th></th><th>found</th><th>asked</th></tr></thead><tbody>
{_checks(verdict)}
</tbody></table>

<h2>Figures</h2>
<p>Both models on the same {rows:,} payments of {days["test_from"]} to {days["test_to"]} with {frauds:,} frauds, scored by the engine
that serves. Intervals: {parameters.gate.confidence:.0%}, {parameters.gate.resamples:,} draws of customers, the same for both.
Card precision: of the {parameters.alert_budget} customers with the highest scores of a day, the share with a fraud.</p>
{_figures(verdict)}
{_scenarios(verdict)}
<h2>Pictures</h2>
<div class="pictures">{_gain_picture(verdict)}{_curve_picture(evidence)}{_calibration_picture(evidence)}{_scores_picture(evidence)}</div>
</body></html>
"""


def _checks(verdict: Verdict) -> str:
    return "\n".join(
        f'<tr><td>{escape(check.name)}</td><td class="{"ok" if check.passed else "bad"}">'
        f"{'✓ yes' if check.passed else '✗ no'}</td>"
        f"<td>{escape(check.found)}</td><td>{escape(check.asked)}</td></tr>"
        for check in verdict.checks
    )


def _figures(verdict: Verdict) -> str:
    roles = [role for role in ("champion", "candidate", "gain") if role in verdict.figures]
    head = "".join(f"<th>{role}</th>" for role in roles)
    body = ""
    for name, shown in NAMES.items():
        cells = ""
        for role in roles:
            estimate = verdict.figures[role][name]
            sign = "+" if role == "gain" else ""
            cells += f"<td>{estimate.value:{sign}.4f} ({estimate.low:{sign}.4f} to {estimate.high:{sign}.4f})</td>"
        body += f"<tr><td>{shown}</td>{cells}</tr>"
    for name in ("brier_score", "log_loss", "expected_calibration_error"):
        cells = "".join(
            f"<td>{verdict.calibration[role][name]:.5f}</td>" if role in verdict.calibration else "<td></td>"
            for role in roles
        )
        body += f"<tr><td>{name.replace('_', ' ')}</td>{cells}</tr>"
    return f"<table><thead><tr><th></th>{head}</tr></thead><tbody>{body}</tbody></table>"


def _scenarios(verdict: Verdict) -> str:
    if not verdict.scenarios:
        return "<p>The data does not say which kind a fraud is: scenarios are not compared.</p>"
    roles = [role for role in ("champion", "candidate") if role in verdict.scenarios[0]["recall"]]
    head = "".join(f"<th>recall, {role}</th>" for role in roles)
    body = ""
    for row in verdict.scenarios:
        cells = "".join(f"<td>{row['recall'][role]:.3f}</td>" for role in roles)
        body += f"<tr><td>{row['scenario']}</td><td>{row['frauds']}</td>{cells}</tr>"
    return (
        "<h2>Fraud scenarios, recall within the alert budget</h2>"
        f"<table><thead><tr><th>scenario</th><th>frauds</th>{head}</tr></thead><tbody>{body}</tbody></table>"
    )


def _picture(paint, alt: str) -> str:
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots()
        paint(axes)
        figure.tight_layout()
        file = io.BytesIO()
        figure.savefig(file, metadata={"Software": None})
        plt.close(figure)
    content = base64.b64encode(file.getvalue()).decode()
    return f'<figure><img alt="{escape(alt)}" src="data:image/png;base64,{content}"></figure>'


def _gain_picture(verdict: Verdict) -> str:
    gain = verdict.figures.get("gain")
    if not gain:
        return ""

    def paint(axes):
        for place, name in enumerate(reversed(NAMES)):
            found = gain[name]
            colour = FAINT if found.low <= 0 <= found.high else (FRAUD if found.high < 0 else "#1b7f3b")
            axes.plot([found.low, found.high], [place, place], color=colour, linewidth=3, solid_capstyle="round")
            axes.plot(found.value, place, "o", color=INK, markersize=6)
        axes.axvline(0, color=INK, linewidth=1)
        axes.set_yticks(range(len(NAMES)), [NAMES[name] for name in reversed(NAMES)])
        axes.set(title="Candidate less champion", xlabel="gain, with its interval", ylim=(-0.6, len(NAMES) - 0.4))
        axes.grid(axis="y", visible=False)

    return _picture(paint, "gain of each figure with its interval")


def _curve_picture(evidence: Evidence) -> str:
    def paint(axes):
        for role, scores in evidence.scores.items():
            precision, recall, _ = precision_recall_curve(evidence.rows["fraud"], scores)
            axes.step(recall, precision, where="post", color=COLOURS[role], label=role)
        axes.set(title="Precision and recall", xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.02))
        axes.legend(loc="lower left")

    return _picture(paint, "precision-recall curves")


def _calibration_picture(evidence: Evidence) -> str:
    def paint(axes):
        axes.plot([0, 1], [0, 1], color=FAINT, linestyle="--", linewidth=1)
        for role, scores in evidence.scores.items():
            mean, share, _ = zip(*reliability(evidence.rows["fraud"], scores), strict=True)
            axes.plot(mean, share, "o-", color=COLOURS[role], markersize=4, linewidth=1.2, label=role)
        axes.set(
            title="Calibration",
            xlabel="fraud probability given",
            ylabel="share of fraud",
            xlim=(0, 1),
            ylim=(-0.02, 1.05),
        )
        axes.legend(loc="upper left")

    return _picture(paint, "calibration curves")


def _scores_picture(evidence: Evidence) -> str:
    def paint(axes):
        bins = np.linspace(0, 1, 41)
        for role, scores in evidence.scores.items():
            for label, line in ((0, ":"), (1, "-")):
                shown = f"{role}, {'fraud' if label else 'legitimate'}"
                chosen = scores[evidence.rows["fraud"] == label]
                axes.hist(chosen, bins=bins, histtype="step", linestyle=line, color=COLOURS[role], label=shown)
        axes.set_yscale("log")
        axes.set(title="Scores", xlabel="fraud probability", ylabel="transactions", xlim=(0, 1))
        axes.legend(loc="upper center")

    return _picture(paint, "score distributions")

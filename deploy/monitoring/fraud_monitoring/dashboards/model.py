"""Fraud: model. What it says, whether its world has moved, and how right it was."""

from .board import Board
from .panels import Bounds, Query, Text, bars, course, figure, listing, spread

BOTH = 'job=~"fraud-(api|stream)", namespace=~"$namespace"'
HERE = 'namespace=~"$namespace"'
#: An hour is all night or all day: these always differ from a whole training window.
STEADY = 'feature!~"TX_DURING_.*"'


def _rate(metric: str, by: str) -> str:
    return f"sum by ({by}) (rate({metric}{{{BOTH}}}[$__rate_interval]))"


GLANCE = [
    figure(
        Text("Fraud share", "Transactions with a probability from 0.5, over ten minutes. Alert at 20 %.", "percentunit"),
        Query(f"max(namespace_job:fraud_share:ratio_rate10m{{{HERE}}})", "share"),
        Bounds(warning=0.05, wrong=0.2),
    ),
    figure(
        Text("Without a model", "Share of decisions taken by the fallback rules alone. Alert at 1 %.", "percentunit"),
        Query(f"max(namespace_job:fraud_without_model:ratio_rate5m{{{HERE}}})", "without"),
        Bounds(warning=0.0001, wrong=0.01),
    ),
    figure(
        Text("Greatest drift", "Population stability index of the feature that moved most; night and weekend left out.", "none"),
        Query(f"max(fraud_feature_drift_psi{{{BOTH}, {STEADY}}})", "PSI"),
        Bounds(warning=0.1, wrong=0.2),
    ),
    figure(
        Text("Score drift", "Population stability index of the score against the training data.", "none"),
        Query(f"max(fraud_score_drift_psi{{{BOTH}}})", "PSI"),
        Bounds(warning=0.1, wrong=0.2),
    ),
    figure(
        Text("Precision", "Of the labelled transactions that were flagged, the share that was fraud.", "percentunit"),
        Query(f'avg(fraud_model_quality{{{BOTH}, metric="precision", label_age="all"}})', "precision"),
    ),
    figure(
        Text("Recall", "Of the labelled frauds, the share that was flagged.", "percentunit"),
        Query(f'avg(fraud_model_quality{{{BOTH}, metric="recall", label_age="all"}})', "recall"),
    ),
]

SCORES = [
    spread(
        Text("Scores, spread", "Each column is a moment; the darker, the more transactions scored that high.", "none"),
        Query(_rate("ml_model_fraud_probability_bucket", "le"), "{{le}}"),
    ),
    course(
        Text("Score quantiles", "Half, nineteen in twenty and 99 in 100 transactions score below.", "none"),
        [
            Query(f"histogram_quantile({q}, {_rate('ml_model_fraud_probability_bucket', 'le')})", f"p{q * 100:g}")
            for q in (0.5, 0.95, 0.99)
        ],
    ),
    course(
        Text("Confidence", "The greater of the probability of fraud and its complement: median and lowest twentieth.", "none"),
        [
            Query(f"histogram_quantile({q}, {_rate('ml_model_confidence_score_bucket', 'le')})", f"p{q * 100:g}")
            for q in (0.05, 0.5)
        ],
    ),
    course(
        Text("Fraud share", "Of predictions, per service; the line is the alert's bound.", "percentunit"),
        [Query(f"namespace_job:fraud_share:ratio_rate10m{{{HERE}}}", "{{namespace}} {{job}}")],
        Bounds(wrong=0.2),
    ),
    course(
        Text("Predictions by version", "During a rollout two versions serve.", "ops"),
        [Query(_rate("ml_model_predictions_total", "model_version, prediction_result"), "{{model_version}} {{prediction_result}}")],
        stacked=True,
    ),
    listing(
        Text("Models in service", "Name, version and file of each instance's model.", "none"),
        Query(f"max by (job, pod, name, version, sha256) (fraud_model_info{{{BOTH}}})", "{{version}}"),
        ["Value"],
    ),
]

DECISIONS = [
    course(
        Text("Decisions", "What callers and consumers are told.", "ops"),
        [Query(_rate("fraud_decisions_total", "decision"), "{{decision}}")],
        stacked=True,
    ),
    course(
        Text("Decided by", "The model's score, or a rule of the policy (which may override it).", "ops"),
        [Query(_rate("fraud_decisions_total", "decision_source"), "{{decision_source}}")],
        stacked=True,
    ),
    course(
        Text("Assessed, not recorded", "Repeats of a known transaction, and such as came too late to change the windows.", "ops"),
        [Query(_rate("fraud_repeated_or_late_total", "kind"), "{{kind}}")],
    ),
    course(
        Text("Fields read over", "Fields that are not defined, and labels that do not belong into a payment.", "ops"),
        [Query(_rate("fraud_ignored_fields_total", "kind"), "{{kind}}")],
    ),
]

DRIFT = [
    course(
        Text("Drift by feature", "Population stability index: below 0.1 steady, above 0.2 moved. Night and weekend left out.", "none"),
        [Query(f"max by (feature) (fraud_feature_drift_psi{{{BOTH}, {STEADY}}})", "{{feature}}")],
        Bounds(wrong=0.2),
    ),
    bars(
        Text("Drift now", "The same, at this moment.", "none"),
        Query(f"sort_desc(max by (feature) (fraud_feature_drift_psi{{{BOTH}, {STEADY}}}))", "{{feature}}"),
        Bounds(warning=0.1, wrong=0.2),
    ),
    course(
        Text("Drift of the score", "Against the scores on the training data.", "none"),
        [Query(f"max by (job) (fraud_score_drift_psi{{{BOTH}}})", "{{job}}")],
        Bounds(wrong=0.2),
    ),
]

LABELS = [
    course(
        Text("Labels", "As they come in from reviewers and charge-backs.", "ops"),
        [Query(_rate("fraud_labels_total", "label"), "{{label}}")],
        stacked=True,
    ),
    course(
        Text("Quality over labelled traffic", "Precision and recall at the review threshold, and average precision.", "percentunit"),
        [Query(f'avg by (metric) (fraud_model_quality{{{BOTH}, label_age="all"}})', "{{metric}}")],
    ),
    course(
        Text("Precision by age of the label", "Quick labels are mostly of the plain cases.", "percentunit"),
        [Query(f'avg by (label_age) (fraud_model_quality{{{BOTH}, metric="precision"}})', "{{label_age}}")],
    ),
]

CHANGES = [
    course(
        Text("Refused models and policies", "Within five minutes; what served before serves on.", "short"),
        [
            Query(
                f'sum by (job) (increase(ml_model_errors_total{{{BOTH}, error_type="reload_refused"}}[5m]))',
                "{{job}}",
            )
        ],
    ),
    course(
        Text("Without a model", "Share of decisions by the fallback rules alone.", "percentunit"),
        [Query(f"namespace_job:fraud_without_model:ratio_rate5m{{{HERE}}}", "{{namespace}} {{job}}")],
        Bounds(wrong=0.01),
    ),
    course(
        Text("Model failures", "Transactions that the model could not answer.", "ops"),
        [Query(f'sum by (job) (rate(ml_model_errors_total{{{BOTH}, error_type="prediction"}}[$__rate_interval]))', "{{job}}")],
    ),
]

REGISTRY = [
    course(
        Text("Rollbacks", "Returns to the model before, by reason, within a quarter of an hour.", "short"),
        [Query(f"sum by (job, reason) (increase(fraud_model_rollbacks_total{{{BOTH}}}[15m]))", "{{job}} {{reason}}")],
    ),
    course(
        Text("Looks at the registry", "By what they found.", "ops"),
        [Query(_rate("fraud_model_registry_looks_total", "result"), "{{result}}")],
        stacked=True,
    ),
    course(
        Text("Models not taken", "By reason, within five minutes.", "short"),
        [Query(f"sum by (reason) (increase(fraud_model_reload_failures_total{{{BOTH}}}[5m]))", "{{reason}}")],
    ),
]

SHADOW = [
    course(
        Text("Challenger: transactions", "Scored beside the served model, dropped because its queue was full, failed.", "ops"),
        [
            Query(f"sum(rate(fraud_shadow_{what}_total{{{BOTH}}}[$__rate_interval]))", what)
            for what in ("scored", "dropped", "failed")
        ],
    ),
    course(
        Text("Challenger: score difference", "Distance of its probability from the served model's.", "none"),
        [
            Query(f"histogram_quantile({q}, {_rate('fraud_shadow_score_difference_bucket', 'le')})", f"p{q * 100:g}")
            for q in (0.5, 0.95, 0.99)
        ],
    ),
    course(
        Text("Challenger: other decisions", "Transactions that it would have decided otherwise.", "ops"),
        [Query(_rate("fraud_shadow_decision_flips_total", "from, to"), "{{from}} → {{to}}")],
        stacked=True,
    ),
    listing(
        Text("Challengers", "Which model runs beside, where.", "none"),
        Query(f"max by (job, pod, name, version, sha256) (fraud_shadow_model_info{{{BOTH}}})", "{{version}}"),
        ["Value"],
    ),
]

BOARD = Board(
    "fraud-model",
    "Fraud: model",
    "Scores and decisions, drift against the training data, labels and the quality they show.",
    [
        ("At a glance", GLANCE),
        ("Scores", SCORES),
        ("Decisions", DECISIONS),
        ("Drift", DRIFT),
        ("Labels and quality", LABELS),
        ("Changes of the model", CHANGES),
        ("Registry", REGISTRY),
        ("Challenger", SHADOW),
    ],
)

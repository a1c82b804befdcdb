"""Fraud: service. Rate, errors and duration of the API, what it sheds, and what it has left."""

from .board import Board
from .panels import Bounds, Query, Text, bars, course, figure, listing, spread

CALLS = 'job="fraud-api", namespace=~"$namespace", endpoint=~"/predict.*|/labels|/invocations|/v2/models/.*"'
API = 'job="fraud-api", namespace=~"$namespace"'
BOTH = 'job=~"fraud-(api|stream)", namespace=~"$namespace"'
HERE = 'namespace=~"$namespace"'


def _quantile(q: float, series: str, by: str = "le") -> str:
    return f"histogram_quantile({q}, sum by ({by}) (rate({series}[$__rate_interval])))"


GLANCE = [
    figure(
        Text("Requests", "Requests of callers a second; probes and metrics do not count.", "reqps"),
        Query(f"sum(namespace:fraud_api_requests:rate5m{{{HERE}}})", "requests"),
    ),
    figure(
        Text("Errors", "Share of requests answered with a fault of ours (5xx without what was shed). Alert at 5 %.", "percentunit"),
        Query(f"max(namespace:fraud_api_errors:ratio_rate5m{{{HERE}}})", "errors"),
        Bounds(warning=0.01, wrong=0.05),
    ),
    figure(
        Text("Shed", "Share of requests turned away because more work waited than can be done in time. Alert at 1 %.", "percentunit"),
        Query(f"max(namespace:fraud_api_shed:ratio_rate5m{{{HERE}}})", "shed"),
        Bounds(warning=0.001, wrong=0.01),
    ),
    figure(
        Text("p95", "95 % of accepted requests are answered within this time. Alert at 2 s.", "s"),
        Query(f"max(namespace:fraud_api_latency_seconds:p95_rate5m{{{HERE}}})", "p95"),
        Bounds(warning=0.5, wrong=2),
    ),
    figure(
        Text("Replicas", "Instances of fraud-api that answer Prometheus.", "none"),
        Query(f"sum(up{{{API}}})", "replicas"),
        Bounds(wrong=1, falling=True),
    ),
    figure(
        Text("Decisions", "Decisions a second of both services.", "ops"),
        Query(f"sum(namespace_job:fraud_decisions:rate5m{{{HERE}}})", "decisions"),
    ),
]

RATE = [
    course(
        Text("Requests by endpoint", "Where callers knock.", "reqps"),
        [Query(f"sum by (endpoint) (rate(http_requests_total{{{CALLS}}}[$__rate_interval]))", "{{endpoint}}")],
        stacked=True,
    ),
    course(
        Text("Answers by status", "2xx: decided. 4xx: the caller's mistake. 429, 503: turned away. Other 5xx: ours.", "reqps"),
        [Query(f"sum by (status_code) (rate(http_requests_total{{{CALLS}}}[$__rate_interval]))", "{{status_code}}")],
        stacked=True,
    ),
    course(
        Text("Requests by replica", "Uneven lines: long-lived connections that all ended at one replica.", "reqps"),
        [Query(f"sum by (pod, instance) (rate(http_requests_total{{{CALLS}}}[$__rate_interval]))", "{{pod}} {{instance}}")],
    ),
]

ERRORS = [
    course(
        Text("Error ratio", "5xx without what was shed, over all requests; the line is the alert's bound.", "percentunit"),
        [Query(f"namespace:fraud_api_errors:ratio_rate5m{{{HERE}}}", "{{namespace}}")],
        Bounds(wrong=0.05),
    ),
    course(
        Text("Faults of ours", "What failed inside: the model, a reload, the store, a snapshot.", "ops"),
        [Query(f"sum by (job, error_type) (rate(ml_model_errors_total{{{BOTH}}}[$__rate_interval]))", "{{job}} {{error_type}}")],
    ),
    course(
        Text("Transactions without an assessment", "By reason: most are senders' mistakes.", "ops"),
        [
            Query(
                f"sum by (failure_reason) (rate(ml_model_failed_predictions_total{{{BOTH}}}[$__rate_interval]))",
                "{{failure_reason}}",
            )
        ],
        stacked=True,
    ),
    course(
        Text("Answers from 400", "All endpoints, probes too.", "reqps"),
        [Query(f"sum by (status_code) (rate(http_errors_total{{{API}}}[$__rate_interval]))", "{{status_code}}")],
        stacked=True,
    ),
]

DURATION = [
    course(
        Text("Response time", "Of requests that were accepted; the line is the alert's bound on p95.", "s"),
        [
            Query(_quantile(q, f'http_request_duration_seconds_bucket{{{CALLS}, status_code!~"429|503"}}'), f"p{q * 100:g}")
            for q in (0.5, 0.95, 0.99)
        ],
        Bounds(wrong=2),
    ),
    course(
        Text("p95 by endpoint", "Batches take longer than single payments.", "s"),
        [Query(_quantile(0.95, f"http_request_duration_seconds_bucket{{{CALLS}}}", "le, endpoint"), "{{endpoint}}")],
    ),
    course(
        Text("Assessment", "From the parsed transaction to its assessment: store, features, model, policy.", "s"),
        [
            Query(_quantile(q, f"ml_model_prediction_duration_seconds_bucket{{{BOTH}}}", "le, job"), f"{{{{job}}}} p{q * 100:g}")
            for q in (0.5, 0.99)
        ],
    ),
    spread(
        Text("Response times, spread", "Each column is a moment; the darker, the more answers took that long.", "s"),
        Query(f"sum by (le) (rate(http_request_duration_seconds_bucket{{{CALLS}}}[$__rate_interval]))", "{{le}}"),
    ),
]

SATURATION = [
    course(
        Text("Turned away, by reason", "overload, in_flight: too much work. rate_limit: one caller. not_ready: starting.", "reqps"),
        [Query(f"sum by (reason) (rate(fraud_requests_shed_total{{{API}}}[$__rate_interval]))", "{{reason}}")],
        stacked=True,
    ),
    course(
        Text("Shed ratio", "Share turned away for lack of capacity; the line is the alert's bound.", "percentunit"),
        [Query(f"namespace:fraud_api_shed:ratio_rate5m{{{HERE}}}", "{{namespace}}")],
        Bounds(wrong=0.01),
    ),
    course(
        Text("Under way", "HTTP requests and assessments in progress.", "none"),
        [
            Query(f"sum(http_requests_in_progress{{{API}}})", "requests"),
            Query(f"sum by (job) (ml_model_active_requests{{{BOTH}}})", "assessments {{job}}"),
        ],
    ),
    course(
        Text("CPU of its limit", "Share of each replica's own CPU limit; above the line the administrator is called at full scale.", "percentunit"),
        [Query(f"namespace_pod:fraud_api_cpu_of_limit:ratio_rate2m{{{HERE}}}", "{{pod}}")],
        Bounds(wrong=0.8),
    ),
    course(
        Text("CPU", "As the process itself sees it: 100 is one core.", "percent"),
        [Query(f"max by (job, pod, instance) (ml_model_cpu_usage_percent{{{BOTH}}})", "{{job}} {{pod}} {{instance}}")],
    ),
    course(
        Text("Memory", "Resident memory of each process.", "bytes"),
        [Query(f"max by (job, pod, instance) (ml_model_memory_usage_bytes{{{BOTH}}})", "{{job}} {{pod}} {{instance}}")],
    ),
]

REPLICAS = [
    course(
        Text("Instances that answer", "Of those that Prometheus knows.", "none"),
        [
            Query(f"sum by (job) (up{{{BOTH}}})", "{{job}} up"),
            Query(f"count by (job) (up{{{BOTH}}})", "{{job}} known"),
        ],
    ),
    listing(
        Text("Models in service", "Which file serves where. More than one version outside of a rollout: somebody refused it.", "none"),
        Query(f"max by (job, pod, name, version, sha256) (fraud_model_info{{{BOTH}}})", "{{version}}"),
        ["Value"],
    ),
    course(
        Text("Store: memory", "At its ceiling new customers and terminals are refused.", "bytes"),
        [Query(f"max by (job, pod, instance) (fraud_store_bytes{{{BOTH}}})", "{{job}} {{pod}} {{instance}}")],
    ),
    course(
        Text("Store: transactions", "Kept for the longest window in use.", "short"),
        [Query(f"max by (job, pod, instance) (fraud_store_events{{{BOTH}}})", "{{job}} {{pod}} {{instance}}")],
    ),
    bars(
        Text("Store: keys", "Customers and terminals known.", "short"),
        Query(f"sum by (job, key) (fraud_store_keys{{{BOTH}}})", "{{job}} {{key}}"),
    ),
]

BOARD = Board(
    "fraud-service",
    "Fraud: service",
    "Rate, errors, duration and saturation of fraud-api, what it turns away, and its replicas.",
    [
        ("At a glance", GLANCE),
        ("Rate", RATE),
        ("Errors", ERRORS),
        ("Duration", DURATION),
        ("Saturation and shedding", SATURATION),
        ("Replicas and store", REPLICAS),
    ],
)

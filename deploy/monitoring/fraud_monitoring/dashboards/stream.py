"""Fraud: stream. Between the topics: how far behind, how quick, how often it had to begin anew."""

from .board import Board
from .panels import Bounds, Query, Text, bars, course, figure, spread

STREAM = 'job="fraud-stream", namespace=~"$namespace"'
HERE = 'namespace=~"$namespace"'


def _rate(metric: str, by: str = "") -> str:
    return f"sum{f' by ({by})' if by else ''} (rate({metric}{{{STREAM}}}[$__rate_interval]))"


def _quantiles(metric: str, of: tuple[float, ...] = (0.5, 0.95, 0.99)) -> list[Query]:
    return [Query(f"histogram_quantile({q}, {_rate(f'{metric}_bucket', 'le')})", f"p{q * 100:g}") for q in of]


GLANCE = [
    figure(
        Text("Lag", "Messages not yet scored and committed, all topics. Alert at 500 for one topic.", "short"),
        Query(f"sum(namespace_topic_consumer_group:kafka_consumer_lag:sum{{{HERE}}})", "lag"),
        Bounds(warning=100, wrong=500),
    ),
    figure(
        Text("Read", "Messages taken a second.", "ops"),
        Query(_rate("kafka_messages_consumed_total"), "read"),
    ),
    figure(
        Text("End to end, p95", "From a record's own time to the commit of its prediction.", "s"),
        Query(f"histogram_quantile(0.95, {_rate('fraud_stream_end_to_end_seconds_bucket', 'le')})", "p95"),
        Bounds(warning=1, wrong=5),
    ),
    figure(
        Text("Dead letters", "Share of messages that cannot be scored. Alert at 1 %.", "percentunit"),
        Query(f"max(namespace:fraud_stream_dead_letters:ratio_rate5m{{{HERE}}})", "dead letters"),
        Bounds(warning=0.001, wrong=0.01),
    ),
    figure(
        Text("Sessions lost", "In the last quarter of an hour. Alert above 3.", "none"),
        Query(f"sum(increase(fraud_stream_sessions_lost_total{{{STREAM}}}[15m]))", "lost"),
        Bounds(warning=1, wrong=4),
    ),
    figure(
        Text("Instances", "That answer Prometheus.", "none"),
        Query(f"sum(up{{{STREAM}}})", "up"),
        Bounds(wrong=1, falling=True),
    ),
]

LAG = [
    course(
        Text("Lag by topic", "Messages not yet committed; the line is the alert's bound.", "short"),
        [Query(f"namespace_topic_consumer_group:kafka_consumer_lag:sum{{{HERE}}}", "{{topic}} {{consumer_group}}")],
        Bounds(wrong=500),
    ),
    course(
        Text("Lag by partition", "One line above the others: a hot key, or a slow instance.", "short"),
        [Query(f"max by (topic, partition) (fraud_stream_partition_lag{{{STREAM}}})", "{{topic}}/{{partition}}")],
    ),
    course(
        Text("Waiting inside", "Fetched, not yet scored; the line is the alert's bound.", "short"),
        [Query(f"sum by (topic) (kafka_queue_length{{{STREAM}}})", "{{topic}}")],
        Bounds(wrong=1000),
    ),
]

FLOW = [
    course(
        Text("Read", "By topic.", "ops"),
        [Query(_rate("kafka_messages_consumed_total", "topic"), "{{topic}}")],
    ),
    course(
        Text("Written", "Predictions and dead letters, acknowledged.", "ops"),
        [Query(_rate("kafka_messages_produced_total", "topic"), "{{topic}}")],
    ),
    course(
        Text("Dead letters", "By reason; their bytes are kept.", "ops"),
        [Query(_rate("fraud_stream_dead_letters_total", "reason"), "{{reason}}")],
        stacked=True,
    ),
    bars(
        Text("Dead letters, last hour", "By reason.", "short"),
        Query(f"sum by (reason) (increase(fraud_stream_dead_letters_total{{{STREAM}}}[1h]))", "{{reason}}"),
    ),
    course(
        Text("Labels that wait", "For a transaction that has not come yet.", "short"),
        [Query(f"sum(fraud_stream_labels_waiting{{{STREAM}}})", "labels")],
    ),
]

LATENCY = [
    course(
        Text("End to end", "From a record's own time to the commit of its prediction.", "s"),
        _quantiles("fraud_stream_end_to_end_seconds"),
    ),
    spread(
        Text("End to end, spread", "Each column is a moment; the darker, the more predictions took that long.", "s"),
        Query(_rate("fraud_stream_end_to_end_seconds_bucket", "le"), "{{le}}"),
    ),
    course(
        Text("Commit", "From the first message of a batch sent to the batch's commit.", "s"),
        _quantiles("fraud_stream_commit_seconds"),
    ),
    course(
        Text("Batch size", "Records that are scored and committed together; grows with load.", "short"),
        _quantiles("fraud_stream_batch_records", (0.5, 0.95)),
    ),
    course(
        Text("Assessment", "From the parsed transaction to its assessment.", "s"),
        _quantiles("ml_model_prediction_duration_seconds", (0.5, 0.99)),
    ),
]

LIFE = [
    course(
        Text("Rebalances", "Times that partitions were assigned, within five minutes.", "short"),
        [Query(f"sum by (pod, instance) (increase(fraud_stream_assignments_total{{{STREAM}}}[5m]))", "{{pod}} {{instance}}")],
    ),
    course(
        Text("Sessions lost", "For a passing reason, within five minutes; each begins anew after a pause.", "short"),
        [Query(f"sum by (pod, instance) (increase(fraud_stream_sessions_lost_total{{{STREAM}}}[5m]))", "{{pod}} {{instance}}")],
    ),
    course(
        Text("Observed again", "Records read again to rebuild a state, and times that it was rebuilt, within five minutes.", "short"),
        [
            Query(f"sum(increase(fraud_stream_replayed_records_total{{{STREAM}}}[5m]))", "records"),
            Query(f"sum(increase(fraud_stream_restores_total{{{STREAM}}}[5m]))", "restores"),
        ],
    ),
    course(
        Text("Snapshots", "Written within five minutes.", "short"),
        [Query(f"sum(increase(fraud_stream_snapshots_total{{{STREAM}}}[5m]))", "snapshots")],
    ),
    course(
        Text("Standing still for snapshots", "Seconds of each second.", "percentunit"),
        [Query(_rate("fraud_stream_snapshot_seconds_sum"), "share")],
    ),
    course(
        Text("Memory", "Resident memory of each process.", "bytes"),
        [Query(f"max by (pod, instance) (ml_model_memory_usage_bytes{{{STREAM}}})", "{{pod}} {{instance}}")],
    ),
]

BOARD = Board(
    "fraud-stream",
    "Fraud: stream",
    "fraud-stream between its topics: lag, latency, dead letters, rebalances and recovery.",
    [("At a glance", GLANCE), ("Lag", LAG), ("Flow", FLOW), ("Latency", LATENCY), ("Rebalances and recovery", LIFE)],
)

"""Fraud: cluster. What Kubernetes says of the pods: scaling, CPU and memory of their limits, restarts."""

from .board import Board
from .panels import Bounds, Query, Text, course, figure, listing

HERE = 'namespace=~"$namespace"'
OURS = f'{HERE}, container=~"fraud-(api|stream)"'
DEPLOYED = f'{HERE}, deployment=~"fraud-(api|stream).*"'
SCALED = f'{HERE}, horizontalpodautoscaler=~"(keda-hpa-)?fraud-(api|stream).*"'


def _of_autoscaler(series: str, name: str) -> Query:
    return Query(
        f"max by (horizontalpodautoscaler) (kube_horizontalpodautoscaler_{series}{{{SCALED}}})",
        "{{horizontalpodautoscaler}} " + name,
    )


GLANCE = [
    figure(
        Text("Replicas", "Of fraud-api, ready or not.", "none"),
        Query(f'sum(max by (deployment) (kube_deployment_status_replicas{{{HERE}, deployment=~"fraud-api.*"}}))', "replicas"),
    ),
    figure(
        Text("Not available", "Replicas of both services that are wanted but do not serve.", "none"),
        Query(
            f"sum(max by (deployment) (kube_deployment_spec_replicas{{{DEPLOYED}}}))"
            f" - sum(max by (deployment) (kube_deployment_status_replicas_available{{{DEPLOYED}}}))",
            "missing",
        ),
        Bounds(warning=1, wrong=2),
    ),
    figure(
        Text("Busiest replica", "Greatest share of its CPU limit. At full scale the administrator is called above 80 %.", "percentunit"),
        Query(f"max(namespace_pod:fraud_api_cpu_of_limit:ratio_rate2m{{{HERE}}})", "CPU"),
        Bounds(warning=0.7, wrong=0.8),
    ),
    figure(
        Text("Fullest container", "Greatest share of its memory limit. Alert at 70 %.", "percentunit"),
        Query(f"max(namespace_pod_container:fraud_memory_of_limit:ratio{{{HERE}}})", "memory"),
        Bounds(warning=0.6, wrong=0.7),
    ),
    figure(
        Text("Restarts", "In the last quarter of an hour, of all containers. Alert above 2 for one.", "none"),
        Query(f"sum(increase(kube_pod_container_status_restarts_total{{{OURS}}}[15m]))", "restarts"),
        Bounds(warning=1, wrong=3),
    ),
    figure(
        Text("Alerts", "Firing now, those for the record left out.", "none"),
        Query(
            'count(ALERTS{alertname=~"(Fraud|AdminNotification).+", alertstate="firing", severity!="info"}) or vector(0)',
            "alerts",
        ),
        Bounds(wrong=1),
    ),
]

SCALING = [
    course(
        Text("Autoscaler", "Replicas that are, that it wants, and its bounds.", "none"),
        [
            _of_autoscaler("status_current_replicas", "now"),
            _of_autoscaler("status_desired_replicas", "wanted"),
            _of_autoscaler("spec_min_replicas", "least"),
            _of_autoscaler("spec_max_replicas", "most"),
        ],
    ),
    course(
        Text("Replicas", "Asked for, there, and available.", "none"),
        [
            Query(f"max by (deployment) (kube_deployment_spec_replicas{{{DEPLOYED}}})", "{{deployment}} asked for"),
            Query(f"max by (deployment) (kube_deployment_status_replicas{{{DEPLOYED}}})", "{{deployment}} there"),
            Query(f"max by (deployment) (kube_deployment_status_replicas_available{{{DEPLOYED}}})", "{{deployment}} available"),
        ],
    ),
    course(
        Text("Requests", "What the replicas are there for.", "reqps"),
        [Query(f"namespace:fraud_api_requests:rate5m{{{HERE}}}", "{{namespace}}")],
    ),
]

RESOURCES = [
    course(
        Text("CPU of its limit, fraud-api", "Per replica; the line is the administrator's.", "percentunit"),
        [Query(f"namespace_pod:fraud_api_cpu_of_limit:ratio_rate2m{{{HERE}}}", "{{pod}}")],
        Bounds(wrong=0.8),
    ),
    course(
        Text("CPU", "Cores used by each container.", "short"),
        [Query(f"sum by (pod, container) (rate(container_cpu_usage_seconds_total{{{OURS}}}[$__rate_interval]))", "{{pod}}")],
    ),
    course(
        Text("Memory of its limit", "Per container; the line is the alert's bound.", "percentunit"),
        [Query(f"namespace_pod_container:fraud_memory_of_limit:ratio{{{HERE}}}", "{{pod}}")],
        Bounds(wrong=0.7),
    ),
    course(
        Text("Memory", "Working set of each container: what the kernel counts against the limit.", "bytes"),
        [Query(f"max by (pod, container) (container_memory_working_set_bytes{{{OURS}}})", "{{pod}}")],
    ),
]

HEALTH = [
    course(
        Text("Restarts", "Within a quarter of an hour; the line is the alert's bound.", "short"),
        [
            Query(
                f"sum by (pod, container) (increase(kube_pod_container_status_restarts_total{{{OURS}}}[15m]))",
                "{{pod}}",
            )
        ],
        Bounds(wrong=3),
    ),
    course(
        Text("Waiting containers", "By reason.", "none"),
        [Query(f"sum by (reason) (kube_pod_container_status_waiting_reason{{{OURS}}})", "{{reason}}")],
    ),
    listing(
        Text("Alerts", "Pending and firing.", "none"),
        Query('ALERTS{alertname=~"(Fraud|AdminNotification).+"}', "{{alertname}}"),
        ["Value", "__name__"],
    ),
]

BOARD = Board(
    "fraud-cluster",
    "Fraud: cluster",
    "The pods as Kubernetes sees them: scaling, CPU and memory of their limits, restarts, alerts.",
    [("At a glance", GLANCE), ("Scaling", SCALING), ("CPU and memory", RESOURCES), ("Health", HEALTH)],
)

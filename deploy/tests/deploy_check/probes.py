"""Probes, draining and what a Pod keeps."""

from .pods import LASTING, workloads
from .settings import effective

OURS = ("fraud-api", "fraud-stream")


def check(bundle):
    """Probes that mean different things, an end that fits the drain, a store that fits its replicas."""
    for pod in workloads(bundle):
        for container in pod.containers:
            for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
                if probe in container:
                    yield from _port(pod, container, probe)
            if pod.kind in LASTING and container["name"] in OURS and bundle.is_overlay:
                if pod.kind in ("Deployment", "StatefulSet"):
                    yield from _meaning(pod, container)
                yield from _drain(bundle, pod, container)
        if pod.kind in ("Deployment", "StatefulSet") and bundle.is_overlay:
            for probe in ("readinessProbe", "livenessProbe"):
                if not any(probe in c for c in pod.containers):
                    yield f"{pod.where}: no {probe}"


def _port(pod, container, probe):
    content = container[probe]
    for kind in ("httpGet", "tcpSocket", "grpc"):
        if kind in content:
            port = content[kind]["port"]
            has = [p for p in container.get("ports", []) if port in (p.get("name"), p["containerPort"])]
            if not has:
                yield f"{pod.where}: {probe} asks port {port}, which {container['name']} does not have"
    if content.get("timeoutSeconds", 1) > content.get("periodSeconds", 10) and probe != "startupProbe":
        yield f"{pod.where}: {probe} may take longer than its period"


def _meaning(pod, container):
    where = f"{pod.where}: {container['name']}"
    probes = {p: container.get(p) for p in ("startupProbe", "readinessProbe", "livenessProbe")}
    for name, probe in probes.items():
        if not probe:
            yield f"{where}: no {name}"
            return
    if probes["readinessProbe"]["httpGet"]["path"] != "/health/ready":
        yield f"{where}: readiness does not ask /health/ready"
    if probes["livenessProbe"]["httpGet"]["path"] != "/health/live":
        yield f"{where}: liveness does not ask /health/live: what it waits for would get it killed"

    def patience(probe):
        return probe.get("periodSeconds", 10) * probe.get("failureThreshold", 3)

    if patience(probes["livenessProbe"]) <= patience(probes["readinessProbe"]):
        yield f"{where}: liveness is no more patient than readiness: a busy replica would be killed, not relieved"
    if patience(probes["startupProbe"]) < 30:
        yield f"{where}: startup has less than 30 s"


def _seconds(text):
    text = str(text)
    for unit, factor in (("ms", 0.001), ("s", 1), ("m", 60), ("h", 3600)):
        if text.endswith(unit) and text[: -len(unit)].replace(".", "").isdigit():
            return float(text[: -len(unit)]) * factor
    return float(text)


def _drain(bundle, pod, container):
    where = f"{pod.where}: {container['name']}"
    settings = effective(bundle, pod, container)
    grace = pod.spec.get("terminationGracePeriodSeconds", 30)
    before = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
    server, store = settings.get("server", {}), settings.get("store", {})
    kind = store.get("kind", "embedded")
    if container["name"] == "fraud-api":
        drain = before + _seconds(server.get("drain_delay", "0s")) + _seconds(server.get("drain_timeout", "30s"))
        margin = 10 if "snapshot_path" in store else 2
        if drain + margin > grace:
            yield f"{where}: drains for {drain:.0f} s and needs {margin} s more, but is killed after {grace} s"
        several = pod.kind == "Deployment" and pod.object["spec"].get("replicas") != 1
        if several and before + _seconds(server.get("drain_delay", "0s")) < 5:
            yield f"{where}: stops serving before balancers have forgotten it (preStop and drain_delay together under 5 s)"
    elif grace < 12:
        yield f"{where}: is killed after {grace} s, its own end takes up to 9.5 s"
    if pod.kind == "Deployment":
        yield from _keeps(pod, (kind, settings), where)


def _keeps(pod, kind_and_settings, where):
    kind, settings = kind_and_settings
    replicas = pod.object["spec"].get("replicas")
    recreate = pod.object["spec"].get("strategy", {}).get("type") == "Recreate"
    folder = settings.get("store", {}).get("snapshot_path") or settings.get("state", {}).get("folder")
    if kind != "redis":
        if replicas != 1:
            yield f"{where}: keeps its history in memory, but has {replicas or 'an autoscaler’s'} replicas: each would know a part"
        if not recreate:
            yield f"{where}: two Pods at once would each write the history; strategy must be Recreate"
        if not folder:
            yield f"{where}: keeps its history nowhere: a restart would forget every customer"
    elif folder:
        yield f"{where}: has a shared store and a folder for snapshots"

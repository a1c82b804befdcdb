"""Replicas, autoscalers, disruption budgets, rollouts, resources."""

from decimal import Decimal

from .pods import LASTING, workloads
from .quantity import parse

# The ceiling that the design sets: what keeps an attacker from running up the bill.
CEILING = 6


def check(bundle):
    """Everything about how many and how large."""
    pods = workloads(bundle)
    scalers = list(_scalers(bundle))
    for scaler in scalers:
        yield from _scaler(bundle, scaler, pods)
    targets = [(s["kind"], s["name"]) for s in scalers]
    for target in sorted(set(targets)):
        if targets.count(target) > 1:
            yield f"{'/'.join(target)}: two autoscalers pull it to and fro"
    for pod in pods:
        scaled = (pod.kind, pod.name) in targets
        if scaled and "replicas" in pod.object["spec"]:
            yield f"{pod.where}: `replicas` beside an autoscaler: each apply would undo what it did"
        if pod.kind == "Deployment" and not scaled and "replicas" not in pod.object["spec"] and bundle.is_overlay:
            yield f"{pod.where}: neither `replicas` nor an autoscaler"
        yield from _rollout(pod)
        yield from _resources(pod)
    for budget in bundle.of("PodDisruptionBudget"):
        yield from _budget(budget, pods, scalers)


def _scalers(bundle):
    for o in bundle.of("HorizontalPodAutoscaler"):
        target = o["spec"]["scaleTargetRef"]
        yield {"object": o, "kind": target["kind"], "name": target["name"], "least": o["spec"].get("minReplicas", 1),
               "most": o["spec"]["maxReplicas"]}  # fmt: skip
    for o in bundle.of("ScaledObject"):
        target, spec = o["spec"]["scaleTargetRef"], o["spec"]
        yield {"object": o, "kind": target.get("kind", "Deployment"), "name": target["name"],
               "least": spec.get("minReplicaCount", 0), "most": spec.get("maxReplicaCount", 100)}  # fmt: skip


def _scaler(bundle, scaler, pods):
    o = scaler["object"]
    where = f"{o['kind']}/{o['metadata']['name']}"
    target = next((p for p in pods if (p.kind, p.name) == (scaler["kind"], scaler["name"])), None)
    if target is None:
        yield f"{where}: there is no {scaler['kind']}/{scaler['name']} to scale"
    if scaler["least"] > scaler["most"]:
        yield f"{where}: its minimum {scaler['least']} exceeds its maximum {scaler['most']}"
    if scaler["most"] != CEILING:
        yield f"{where}: its maximum is {scaler['most']}, the ceiling is {CEILING}"
    if scaler["least"] != 4:
        yield f"{where}: its minimum is {scaler['least']}, it should be 4"
    if o["kind"] == "HorizontalPodAutoscaler":
        if not o["spec"].get("behavior", {}).get("scaleDown", {}).get("stabilizationWindowSeconds"):
            yield f"{where}: no stabilizationWindowSeconds for scaling down"
        up = o["spec"].get("behavior", {}).get("scaleUp", {})
        reach = max((p["value"] * (60 // p["periodSeconds"]) for p in up.get("policies", []) if p["type"] == "Pods"), default=0)
        if reach < scaler["most"] - scaler["least"] or up.get("stabilizationWindowSeconds", 0) > 0:
            yield f"{where}: cannot go from {scaler['least']} to {scaler['most']} within a minute"
        goals = {}
        for metric in o["spec"].get("metrics", []):
            resource = metric.get("resource", {})
            goals[resource.get("name")] = resource.get("target", {}).get("averageUtilization")
            for container in target.containers if target else []:
                if resource.get("name") not in container.get("resources", {}).get("requests", {}):
                    yield f"{where}: {container['name']} requests no {resource.get('name')}, so there is no utilisation"
        if goals != {"cpu": 70, "memory": 80}:
            yield f"{where}: scales on {goals}, it should be 70 % of CPU and 80 % of memory"


def _rollout(pod):
    if pod.kind != "Deployment":
        return
    strategy = pod.object["spec"].get("strategy", {})
    rolling = strategy.get("rollingUpdate") or {}
    if strategy.get("type") == "Recreate" and rolling:
        yield f"{pod.where}: Recreate with rollingUpdate is refused"
    zero = (0, "0", "0%")
    if rolling.get("maxSurge") in zero and rolling.get("maxUnavailable") in zero:
        yield f"{pod.where}: neither surge nor unavailability: no rollout could ever move"


def _resources(pod):
    for container in pod.all_containers:
        where = f"{pod.where}: {container['name']}"
        resources = container.get("resources", {})
        amounts = {}
        for side in ("requests", "limits"):
            for name in ("cpu", "memory"):
                if name not in resources.get(side, {}):
                    yield f"{where}: no {name} in its {side}"
            for name, text in resources.get(side, {}).items():
                amounts[side, name] = parse(text)
                if amounts[side, name] is None:
                    yield f"{where}: {side}.{name} {text!r} is no quantity"
        for (side, name), value in amounts.items():
            limit = amounts.get(("limits", name))
            if side == "requests" and value is not None and limit is not None and value > limit:
                yield f"{where}: requests more {name} ({value}) than its limit ({limit})"
    for volume in pod.spec.get("volumes", []):
        size = (volume.get("emptyDir") or {}).get("sizeLimit", "1")
        if parse(size) is None:
            yield f"{pod.where}: sizeLimit {size!r} of {volume['name']} is no quantity"
        if "emptyDir" in volume and not (volume["emptyDir"] or {}).get("sizeLimit"):
            yield f"{pod.where}: emptyDir {volume['name']} has no sizeLimit: it could fill the node's disk"


def replicas(pod, scalers):
    """The fewest and the most Pods of a workload."""
    for s in scalers:
        if (s["kind"], s["name"]) == (pod.kind, pod.name):
            return s["least"], s["most"]
    count = pod.object["spec"].get("replicas", 1) if pod.kind in LASTING else 1
    return count, count


def _amount(value, of):
    text = str(value)
    return -(-of * int(text[:-1]) // 100) if text.endswith("%") else int(text)


def _budget(budget, pods, scalers):
    where = f"PodDisruptionBudget/{budget['metadata']['name']}"
    from .pods import matches

    spec = budget["spec"]
    least = sum(replicas(p, scalers)[0] for p in pods if p.kind in LASTING and matches(spec["selector"], p.labels))
    if least == 0:
        return  # said elsewhere: it takes no Pod
    if "minAvailable" in spec:
        allowed = least - _amount(spec["minAvailable"], least)
    else:
        allowed = _amount(spec.get("maxUnavailable", 0), least)
    if allowed < 1:
        yield f"{where}: with {least} replicas it allows no disruption, so no node could ever be drained"
    if least - allowed < 1:
        yield f"{where}: allows all {least} replicas to go at once"


def demand(bundle, side="requests", most=True):
    """CPU cores and bytes of all lasting Pods together, at most or at least replicas."""
    scalers = list(_scalers(bundle))
    total = {"cpu": Decimal(0), "memory": Decimal(0)}
    for pod in workloads(bundle):
        if pod.kind not in LASTING:
            continue
        count = replicas(pod, scalers)[1 if most else 0]
        for container in pod.containers:
            for name in total:
                total[name] += count * (parse(container.get("resources", {}).get(side, {}).get(name, 0)) or 0)
    return total

"""What a namespace that runs already would refuse of the next apply."""

import re

from .pods import workloads

# What kustomize puts behind the name of what it generates.
_HASH = re.compile(r"-[2456789bcdfghkmt]{10}$")
# What may be in a generated ConfigMap that a bare Pod reads: with another epoch the Pod is made anew anyway (README.md,
# "When the store is lost").
_FIXED = {"FRAUD__STORE__REDIS__EPOCH"}


def check(bundle):
    """A Pod that stands for itself takes a new image and nothing else, so it must not name what changes its name."""
    for pod in workloads(bundle):
        if pod.kind != "Pod":
            continue
        for name in sorted(_config_maps(pod)):
            found = bundle.find("ConfigMap", name, pod.namespace)
            moving = sorted(set((found or {}).get("data") or {}) - _FIXED)
            if _HASH.search(name) and moving:
                yield f"{pod.where}: reads {name}, whose name changes with {moving[0]}: the next apply would be refused"


def _config_maps(pod):
    for container in pod.all_containers:
        for source in container.get("envFrom", []):
            if "configMapRef" in source:
                yield source["configMapRef"]["name"]
        for entry in container.get("env", []):
            if "configMapKeyRef" in entry.get("valueFrom", {}):
                yield entry["valueFrom"]["configMapKeyRef"]["name"]
    for volume in pod.spec.get("volumes", []):
        for part in [volume, *volume.get("projected", {}).get("sources", [])]:
            if "configMap" in part:
                yield part["configMap"]["name"]

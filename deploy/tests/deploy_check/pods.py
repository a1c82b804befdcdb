"""Workloads and their Pods, in one shape whatever made them."""

from dataclasses import dataclass

KINDS = ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job", "CronJob", "Pod")
# Those that are to stay up; the others end by themselves.
LASTING = ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet")


@dataclass
class Workload:
    """A workload with the Pod it makes."""

    object: dict
    spec: dict
    labels: dict

    @property
    def kind(self):
        return self.object["kind"]

    @property
    def name(self):
        return self.object["metadata"]["name"]

    @property
    def namespace(self):
        return self.object["metadata"].get("namespace", "default")

    @property
    def where(self):
        return f"{self.kind}/{self.name}"

    @property
    def containers(self):
        return self.spec.get("containers", [])

    @property
    def all_containers(self):
        return self.spec.get("initContainers", []) + self.containers

    def ports(self):
        """Name and number of every port that a container says it has."""
        return [p for c in self.all_containers for p in c.get("ports", [])]

    def port(self, reference):
        """The number behind a port's name or number; None where no container has it."""
        for port in self.ports():
            if reference in (port.get("name"), port["containerPort"]):
                return port["containerPort"]
        return None


def workloads(bundle):
    """Every workload of a bundle."""
    found = []
    for o in bundle.of(*KINDS):
        spec = o.get("spec", {})
        if o["kind"] == "Pod":
            found.append(Workload(o, spec, o["metadata"].get("labels", {})))
            continue
        template = spec["jobTemplate"]["spec"]["template"] if o["kind"] == "CronJob" else spec.get("template", {})
        found.append(Workload(o, template.get("spec", {}), template.get("metadata", {}).get("labels", {})))
    return found


def matches(selector, labels):
    """Whether a label selector takes these labels. An empty one takes all, a missing one none."""
    if selector is None:
        return False
    wanted = selector.get("matchLabels") or {}
    if any(labels.get(k) != v for k, v in wanted.items()):
        return False
    for e in selector.get("matchExpressions") or []:
        has, value = e["key"] in labels, labels.get(e["key"])
        ok = {
            "In": has and value in e.get("values", []),
            "NotIn": not has or value not in e.get("values", []),
            "Exists": has,
            "DoesNotExist": not has,
        }[e["operator"]]
        if not ok:
            return False
    return True


def mounts(workload, container):
    """Mount path to volume, for a container."""
    volumes = {v["name"]: v for v in workload.spec.get("volumes", [])}
    for t in workload.object.get("spec", {}).get("volumeClaimTemplates", []):
        volumes[t["metadata"]["name"]] = {"name": t["metadata"]["name"], "persistentVolumeClaim": {}}
    return {m["mountPath"]: (volumes.get(m["name"]), m) for m in container.get("volumeMounts", [])}

"""What one object says of another: that it is there, and has what is asked of it."""

import re

from .pods import matches, mounts, workloads

# What Kubernetes puts into a container's environment for a Service of its namespace.
_SERVICE_VARIABLE = re.compile(r"^([A-Z0-9_]+)_SERVICE_(HOST|PORT)$")
_REFERENCE = re.compile(r"\$\(([A-Za-z_][A-Za-z0-9_]*)\)|\$\{?([A-Z0-9_]+_SERVICE_(?:HOST|PORT))\b")


def check(bundle):
    """Selectors, ports, and every name that an object refers to."""
    pods = workloads(bundle)
    yield from _selectors(bundle, pods)
    yield from _services(bundle, pods)
    yield from _monitors(bundle)
    if bundle.is_overlay:
        for pod in pods:
            yield from _volumes(bundle, pod)
            yield from _environment(bundle, pod)
        yield from _names(bundle)


def _selectors(bundle, pods):
    for pod in pods:
        if pod.kind in ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet"):
            if not matches(pod.object["spec"].get("selector"), pod.labels):
                yield f"{pod.where}: its selector does not take its own Pods {pod.labels}"
        for constraint in pod.spec.get("topologySpreadConstraints", []):
            if not matches(constraint.get("labelSelector"), pod.labels):
                yield f"{pod.where}: topologySpreadConstraints count other Pods than its own"
        for port in pod.ports():
            same = [p for p in pod.ports() if p["containerPort"] == port["containerPort"]]
            if len(same) > 1:
                yield f"{pod.where}: port {port['containerPort']} stands twice"
    # Two workloads whose selectors take each other's Pods fight over them.
    owners = [p for p in pods if p.kind in ("Deployment", "ReplicaSet", "StatefulSet")]
    for one in owners:
        for other in pods:
            if one.object is not other.object and one.namespace == other.namespace:
                if matches(one.object["spec"].get("selector"), other.labels):
                    yield f"{one.where}: its selector takes Pods of {other.where} as well"
    for kind in ("PodDisruptionBudget", "NetworkPolicy"):
        for o in bundle.of(kind):
            selector = o["spec"].get("selector" if kind == "PodDisruptionBudget" else "podSelector")
            if kind == "NetworkPolicy" and (not selector or not pods):
                continue
            if not any(matches(selector, p.labels) and _same(o, p) for p in pods):
                yield f"{kind}/{o['metadata']['name']}: its selector takes no Pod that is here"


def _same(o, pod):
    return o["metadata"].get("namespace", "default") == pod.namespace


def _services(bundle, pods):
    for service in bundle.of("Service"):
        name, spec = service["metadata"]["name"], service["spec"]
        if "selector" not in spec:
            continue
        behind = [p for p in pods if matches({"matchLabels": spec["selector"]}, p.labels) and _same(service, p)]
        if not behind:
            yield f"Service/{name}: its selector {spec['selector']} takes no Pod"
        for port in spec.get("ports", []):
            target = port.get("targetPort", port["port"])
            for pod in behind:
                if pod.port(target) is None:
                    yield f"Service/{name}: no container of {pod.where} has the port {target}"


def _monitors(bundle):
    for monitor in bundle.of("ServiceMonitor"):
        name = monitor["metadata"]["name"]
        found = [s for s in bundle.of("Service") if matches(monitor["spec"]["selector"], s["metadata"].get("labels", {}))]
        if not found:
            yield f"ServiceMonitor/{name}: takes no Service"
        for endpoint in monitor["spec"]["endpoints"]:
            for service in found:
                if endpoint.get("port") not in [p.get("name") for p in service["spec"]["ports"]]:
                    yield f"ServiceMonitor/{name}: Service {service['metadata']['name']} has no port {endpoint.get('port')}"


def _has_secret(bundle, name):
    return bundle.find("Secret", name) is not None or name in bundle.secrets


def _volumes(bundle, pod):
    named = {v["name"] for v in pod.spec.get("volumes", [])}
    named |= {t["metadata"]["name"] for t in pod.object.get("spec", {}).get("volumeClaimTemplates", [])}
    used = set()
    for container in pod.all_containers:
        for path, (volume, mount) in mounts(pod, container).items():
            used.add(mount["name"])
            if mount["name"] not in named:
                yield f"{pod.where}: {container['name']} mounts {path} from {mount['name']}, which is no volume"
            elif volume and (part := mount.get("subPath")) and "configMap" in volume:
                found = bundle.find("ConfigMap", volume["configMap"]["name"], pod.namespace)
                if found and part not in (found.get("data") or {}):
                    yield f"{pod.where}: ConfigMap {volume['configMap']['name']} has no {part}"
    for name in sorted(named - used):
        yield f"{pod.where}: volume {name} is mounted nowhere"
    for volume in pod.spec.get("volumes", []):
        parts = [volume, *volume.get("projected", {}).get("sources", [])]
        for part in parts:
            if "configMap" in part:
                source = part["configMap"]
                found = bundle.find("ConfigMap", source["name"], pod.namespace)
                if found is None and not source.get("optional"):
                    yield f"{pod.where}: no ConfigMap {source['name']}"
                for item in source.get("items", []):
                    if found is not None and item["key"] not in (found.get("data") or {}):
                        yield f"{pod.where}: ConfigMap {source['name']} has no {item['key']}"
            if "secret" in part:
                name = part["secret"].get("secretName") or part["secret"].get("name")
                if not _has_secret(bundle, name) and not part["secret"].get("optional"):
                    yield f"{pod.where}: no Secret {name}, and no kustomization says that somebody makes it"
        claim = volume.get("persistentVolumeClaim")
        if claim and bundle.find("PersistentVolumeClaim", claim["claimName"], pod.namespace) is None:
            yield f"{pod.where}: no PersistentVolumeClaim {claim['claimName']}"


def _environment(bundle, pod):
    services = {s["metadata"]["name"].upper().replace("-", "_"): s for s in bundle.of("Service") if _same(s, pod)}
    for container in pod.all_containers:
        where = f"{pod.where}: {container['name']}"
        for source in container.get("envFrom", []):
            for kind, key in (("ConfigMap", "configMapRef"), ("Secret", "secretRef")):
                if key in source and not source[key].get("optional"):
                    name = source[key]["name"]
                    there = _has_secret(bundle, name) if kind == "Secret" else bundle.find(kind, name, pod.namespace)
                    if not there:
                        yield f"{where}: no {kind} {name}"
        defined = set()
        for entry in container.get("env", []):
            if entry["name"] in defined:
                yield f"{where}: {entry['name']} is set twice"
            source = entry.get("valueFrom", {})
            if reference := source.get("configMapKeyRef"):
                found = bundle.find("ConfigMap", reference["name"], pod.namespace)
                if not reference.get("optional") and (not found or reference["key"] not in (found.get("data") or {})):
                    yield f"{where}: no ConfigMap {reference['name']} with {reference['key']}"
            if reference := source.get("secretKeyRef"):
                if not reference.get("optional") and not _has_secret(bundle, reference["name"]):
                    yield f"{where}: no Secret {reference['name']}"
            yield from _variables(where, (entry.get("value", ""), defined), services, pod)
            defined.add(entry["name"])
        for text in container.get("command", []) + container.get("args", []):
            yield from _variables(where, (text, defined), services, pod)


def _variables(where, text_and_defined, services, pod):
    text, defined = text_and_defined
    for found in _REFERENCE.finditer(text):
        name = found.group(1) or found.group(2)
        if name in defined:
            continue
        service = _SERVICE_VARIABLE.match(name)
        if service and service.group(1) == "KUBERNETES":
            continue
        if service and service.group(1) in services:
            if pod.spec.get("enableServiceLinks") is False:
                yield f"{where}: uses {name}, but enableServiceLinks is false"
            elif services[service.group(1)]["spec"].get("clusterIP") == "None":
                yield f"{where}: uses {name}, but that Service has no address of its own"
        elif service:
            yield f"{where}: uses {name}, but there is no such Service"
        elif found.group(1):
            yield f"{where}: $({name}) is defined nowhere before"


def _names(bundle):
    for pod in workloads(bundle):
        account = pod.spec.get("serviceAccountName")
        if account and account != "default" and bundle.find("ServiceAccount", account, pod.namespace) is None:
            yield f"{pod.where}: no ServiceAccount {account}"
    for ingress in bundle.of("Ingress"):
        name = ingress["metadata"]["name"]
        for rule in ingress["spec"].get("rules", []):
            for path in rule["http"]["paths"]:
                backend = path["backend"]["service"]
                service = bundle.find("Service", backend["name"])
                ports = service["spec"]["ports"] if service else []
                wanted = backend["port"].get("name", backend["port"].get("number"))
                if not any(wanted in (p.get("name"), p["port"]) for p in ports):
                    yield f"Ingress/{name}: no Service {backend['name']} with port {wanted}"
        for tls in ingress["spec"].get("tls", []):
            if not _has_secret(bundle, tls.get("secretName")):
                yield f"Ingress/{name}: no Secret {tls.get('secretName')}, and no kustomization says that somebody makes it"
    for binding in bundle.of("RoleBinding", "ClusterRoleBinding"):
        where = f"{binding['kind']}/{binding['metadata']['name']}"
        role = binding["roleRef"]
        if bundle.find(role["kind"], role["name"]) is None:
            yield f"{where}: no {role['kind']} {role['name']}"
        for subject in binding.get("subjects", []):
            if subject["kind"] == "ServiceAccount":
                if bundle.find("ServiceAccount", subject["name"], subject.get("namespace")) is None:
                    yield f"{where}: no ServiceAccount {subject['name']} in {subject.get('namespace')}"
    cluster_wide = {
        "Namespace", "ClusterRole", "ClusterRoleBinding", "StorageClass", "PersistentVolume", "PriorityClass",
        "CustomResourceDefinition",
    }  # fmt: skip
    spaces = {o["metadata"]["name"] for o in bundle.of("Namespace")}
    for o in bundle.objects:
        if o["kind"] not in cluster_wide and "namespace" not in o["metadata"]:
            yield f"{o['kind']}/{o['metadata']['name']}: has no namespace, so it goes wherever the caller happens to be"
        elif o["kind"] not in cluster_wide and o["metadata"]["namespace"] not in spaces | {"argocd", "kube-system"}:
            yield f"{o['kind']}/{o['metadata']['name']}: namespace {o['metadata']['namespace']} is made by nobody"

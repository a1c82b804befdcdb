"""What a Pod may do: the restricted standard, and beyond it what is ours."""

import re

from .pods import LASTING, workloads

_LEVEL = "pod-security.kubernetes.io/enforce"
# Pods that ask the API server something, and so need a token. Everything else has none.
TOKENS = {"prometheus", "kube-state-metrics"}
_VERSION = re.compile(r"^v?\d+\.\d+")


def check(bundle):
    """Pod security, images, tokens, what is open to the world."""
    for namespace in bundle.of("Namespace"):
        if namespace["metadata"].get("labels", {}).get(_LEVEL) != "restricted":
            yield f"Namespace/{namespace['metadata']['name']}: does not enforce restricted pod security"
    for pod in workloads(bundle):
        yield from _pod(pod, bundle)
        for container in pod.all_containers:
            yield from _container(pod, container)
            if bundle.is_overlay:
                yield from _image(pod, container)
    for role in bundle.of("Role", "ClusterRole"):
        for rule in role.get("rules", []):
            if "*" in rule.get("verbs", []) + rule.get("resources", []) + rule.get("apiGroups", []):
                yield f"{role['kind']}/{role['metadata']['name']}: grants `*`"
            if "secrets" in rule.get("resources", []):
                yield f"{role['kind']}/{role['metadata']['name']}: reads Secrets"
    for secret in bundle.of("Secret"):
        yield f"Secret/{secret['metadata']['name']}: a secret in a manifest is none"
    if bundle.is_overlay:
        yield from _public(bundle)


def _pod(pod, bundle):
    spec = pod.spec
    for key in ("hostNetwork", "hostPID", "hostIPC"):
        if spec.get(key):
            yield f"{pod.where}: {key}"
    context = spec.get("securityContext", {})
    if context.get("runAsNonRoot") is not True:
        yield f"{pod.where}: runAsNonRoot is not set"
    # An image whose user is a name cannot be checked by the kubelet; a number here always can.
    if not isinstance(context.get("runAsUser"), int) or context["runAsUser"] == 0:
        yield f"{pod.where}: runAsUser is no number, or 0"
    if context.get("seccompProfile", {}).get("type") != "RuntimeDefault":
        yield f"{pod.where}: seccompProfile is not RuntimeDefault"
    if spec.get("automountServiceAccountToken") is not False and pod.labels.get("app.kubernetes.io/name") not in TOKENS:
        yield f"{pod.where}: a token of its service account is mounted"
    if bundle.is_overlay and pod.kind in LASTING and pod.kind != "ReplicaSet" and not spec.get("serviceAccountName"):
        yield f"{pod.where}: runs under the namespace's default service account"
    for volume in spec.get("volumes", []):
        known = {"configMap", "secret", "emptyDir", "projected", "persistentVolumeClaim", "downwardAPI", "ephemeral"}
        for kind in set(volume) - {"name"} - known:
            yield f"{pod.where}: volume {volume['name']} is a {kind}, which restricted pod security refuses"


def _container(pod, container):
    where = f"{pod.where}: {container['name']}"
    context = container.get("securityContext", {})
    if context.get("allowPrivilegeEscalation") is not False:
        yield f"{where}: allowPrivilegeEscalation is not false"
    if context.get("readOnlyRootFilesystem") is not True:
        yield f"{where}: its root file system can be written"
    if context.get("capabilities", {}).get("drop") != ["ALL"]:
        yield f"{where}: does not drop all capabilities"
    if context.get("capabilities", {}).get("add"):
        yield f"{where}: adds capabilities"
    if context.get("privileged"):
        yield f"{where}: privileged"
    for port in container.get("ports", []):
        if "hostPort" in port:
            yield f"{where}: takes a port of the node"
    for entry in container.get("env", []):
        if re.search(r"(PASSWORD|SECRET|TOKEN|KEY)$", entry["name"]) and entry.get("value"):
            yield f"{where}: {entry['name']} stands in the manifest; secrets come from files"


def _image(pod, container):
    name, _, tag = container["image"].rpartition(":")
    if "@sha256:" in container["image"]:
        return
    if not name or "/" in tag:
        yield f"{pod.where}: image {container['image']} has no tag; the overlay's `images` gives it one"
    elif not _VERSION.match(tag):
        yield f"{pod.where}: image {container['image']} is not pinned to a version"


def _public(bundle):
    """What the world reaches asks for keys, within TLS."""
    doors = [s for s in bundle.of("Service") if s["spec"].get("type") in ("LoadBalancer", "NodePort")]
    doors += bundle.of("Ingress")
    for door in doors:
        where = f"{door['kind']}/{door['metadata']['name']}"
        if door["kind"] == "Ingress":
            if not door["spec"].get("tls"):
                yield f"{where}: no TLS"
            names = {p["backend"]["service"]["name"] for r in door["spec"]["rules"] for p in r["http"]["paths"]}
            apis = [p for p in workloads(bundle) if p.name in names or p.labels.get("app.kubernetes.io/name") in names]
        else:
            wanted = door["spec"]["selector"]
            apis = [p for p in workloads(bundle) if wanted.items() <= p.labels.items()]
        for pod in apis:
            given = {e["name"]: e.get("value") for c in pod.containers for e in c.get("env", [])}
            if "FRAUD__SERVER__KEYS_FILE" not in given or given.get("FRAUD__SERVER__REQUIRE_KEYS") != "true":
                yield f"{where}: opens {pod.where} to the world without keys"
            if door["kind"] == "Service" and "FRAUD__SERVER__TLS_CERT_FILE" not in given:
                yield f"{where}: opens {pod.where} to the world without TLS"
        if door["kind"] == "Service":
            for port in door["spec"]["ports"]:
                if port.get("targetPort") in ("management", 8001, "metrics", 9464):
                    yield f"{where}: shows operators' paths to the world"

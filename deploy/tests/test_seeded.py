"""A test of the tests: each check is given a bundle with one mistake in it, and must find it; without it, nothing."""

import copy
import fnmatch
from decimal import Decimal

import pytest
import yaml

from deploy_check.__main__ import CHECKS, problems, unused
from deploy_check.build import DEPLOY, BuildError, Bundle, build, kustomizations
from deploy_check.quantity import parse

BUILT = {name: build(DEPLOY / name) for name in ("dev", "prod", "cloud", "demo", "examples/prod-with-ingress")}


def seeded(overlay, change):
    """A copy of an overlay with one mistake."""
    bundle = copy.deepcopy(BUILT[overlay])
    change(bundle)
    return bundle


def named(bundle, kind, name):
    """Objects by name; a generated one has a hash of ten characters at its end."""
    found = [o for o in bundle.of(kind) if fnmatch.fnmatch(o["metadata"]["name"], name)]
    assert found, f"no {kind}/{name}"
    return found


def at(kind, name, path, value, delete=False):
    """A change: sets, or deletes, what stands at a path (`spec/ports/0/port`, `~` for a `/` in a key) of one object."""

    def change(bundle):
        place = named(bundle, kind, name)[0]
        *above, last = [int(p) if p.isdigit() else p.replace("~", "/") for p in path.split("/")]
        for part in above:
            place = place[part]
        if delete:
            del place[last]
        else:
            place[last] = value

    return change


def without(kind, name):
    """A change: one object is missing."""

    def change(bundle):
        found = named(bundle, kind, name)
        bundle.objects = [o for o in bundle.objects if o not in found]

    return change


def adding(text):
    """A change: one more object."""
    return lambda bundle: bundle.objects.append(yaml.safe_load(text))


def environment(name, variable, value):
    """A change: another value of one variable of a Deployment."""

    def change(bundle):
        entries = named(bundle, "Deployment", name)[0]["spec"]["template"]["spec"]["containers"][0]["env"]
        next(e for e in entries if e["name"] == variable)["value"] = value

    return change


SPEC = "spec/template/spec"
C = f"{SPEC}/containers/0"
D, HPA, NP, PDB, SO, SM, SS = (
    "Deployment", "HorizontalPodAutoscaler", "NetworkPolicy", "PodDisruptionBudget", "ScaledObject", "ServiceMonitor",
    "StatefulSet",
)  # fmt: skip
API, STREAM = "fraud-api", "fraud-stream"
INGRESS = "examples/prod-with-ingress"
ROLE = "{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {name: x}, rules: [%s]}"

# check, overlay, mistake, words of what is said of it
MISTAKES = [
    # Schemas.
    ("schema", "dev", at(D, API, f"{C}/imagePulPolicy", "Always"), "imagePulPolicy"),
    ("schema", "dev", at("Service", API, "spec/ports/0/port", "8000"), "is not of type 'integer'"),
    ("schema", "dev", at("Service", API, "kind", "Servise"), "knows no v1 Servise"),
    ("schema", "dev", at(D, API, "apiVersion", "apps/v1beta1"), "knows no apps/v1beta1 Deployment"),
    ("schema", "prod", at(HPA, API, "apiVersion", "autoscaling/v2beta2"), "knows no autoscaling/v2beta2"),
    ("schema", "dev", at(D, API, f"{SPEC}/terminationGracePeriod", 4), "terminationGracePeriod"),
    ("schema", "cloud", at(SM, API, "spec/endpoints/0/prot", "x"), "prot"),
    ("schema", "cloud", at(SM, API, "spec/endpoints/0/interval", "15 seconds"), "does not match"),
    ("schema", "cloud", at(SO, STREAM, "spec/maxReplicas", 6), "maxReplicas"),
    ("schema", "cloud", at(SO, STREAM, "spec/triggers/0/metadata/lagThreshold", 5), "lagThreshold"),
    ("schema", "cloud", at(SO, STREAM, "metadata/lables", {}), "lables"),
    ("schema", "dev", adding("{apiVersion: acme.example/v1, kind: Thing, metadata: {name: x}}"), "no schema for acme.example"),
    # Selectors and names.
    ("references", "dev", at("Service", API, "spec/selector/app.kubernetes.io~name", "x"), "takes no Pod"),
    ("references", "dev", at(D, API, "spec/selector/matchLabels", {"a": "b"}), "does not take its own Pods"),
    ("references", "prod", at(PDB, API, "spec/selector/matchLabels", {"a": "b"}), "takes no Pod that is here"),
    ("references", "prod", at(NP, API, "spec/podSelector", {"matchLabels": {"a": "b"}}), "takes no Pod that is here"),
    ("references", "prod", at(D, API, f"{SPEC}/topologySpreadConstraints/0/labelSelector", {"matchLabels": {"a": "b"}}), "count other Pods"),
    ("references", "prod", at(D, STREAM, "spec/selector/matchLabels", {"app.kubernetes.io/part-of": "fraud-scoring"}), "takes Pods of Deployment/fraud-api"),
    ("references", "dev", at("Service", API, "spec/ports/0/targetPort", "web"), "has the port web"),
    ("references", "dev", at("Service", API, "spec/ports/0/targetPort", 8080), "has the port 8080"),
    ("references", "cloud", at(SM, API, "spec/endpoints/0/port", "metrics"), "has no port metrics"),
    ("references", "cloud", at(SM, API, "spec/selector", {"matchLabels": {"a": "b"}}), "takes no Service"),
    ("references", "dev", without("ConfigMap", "fraud-api-environment-*"), "no ConfigMap fraud-api-environment"),
    ("references", "dev", without("ServiceAccount", API), "no ServiceAccount fraud-api"),
    ("references", "cloud", lambda b: b.secrets.clear(), "no Secret fraud-api-keys"),
    ("references", "prod", without("Service", "fraud-redis"), "FRAUD_REDIS_SERVICE_HOST, but there is no such Service"),
    ("references", "dev", at("Service", "fraud-kafka", "spec/clusterIP", "None"), "no address of its own"),
    ("references", "dev", at(D, STREAM, f"{SPEC}/enableServiceLinks", False), "enableServiceLinks is false"),
    ("references", "dev", at(D, API, f"{C}/env/0/value", "$(NOWHERE)/x"), "$(NOWHERE) is defined nowhere"),
    ("references", "dev", at(D, API, f"{C}/volumeMounts/0/name", "other"), "which is no volume"),
    ("references", "dev", at(D, API, f"{SPEC}/volumes/1/configMap", {"name": "other"}), "no ConfigMap other"),
    ("references", "dev", at(D, API, "metadata/namespace", None, delete=True), "has no namespace"),
    ("references", "dev", at(D, API, "metadata/namespace", "elsewhere"), "is made by nobody"),
    ("references", INGRESS, at("Ingress", API, "spec/rules/0/http/paths/0/backend/service/port/name", "web"), "with port web"),
    # Scaling.
    ("scaling", "prod", at(D, API, "spec/replicas", 4), "`replicas` beside an autoscaler"),
    ("scaling", "prod", at(HPA, API, "spec/minReplicas", 8), "exceeds its maximum"),
    ("scaling", "prod", at(HPA, API, "spec/maxReplicas", 10), "the ceiling is 6"),
    ("scaling", "prod", at(HPA, API, "spec/minReplicas", 2), "it should be 4"),
    ("scaling", "prod", at(HPA, API, "spec/scaleTargetRef/name", "fraud-apy"), "there is no Deployment/fraud-apy"),
    ("scaling", "prod", at(HPA, API, "spec/metrics/0/resource/target/averageUtilization", 90), "70 % of CPU"),
    ("scaling", "prod", at(HPA, API, "spec/behavior/scaleDown", None, delete=True), "stabilizationWindowSeconds"),
    ("scaling", "prod", at(HPA, API, "spec/behavior/scaleUp/policies/0/periodSeconds", 600), "within a minute"),
    ("scaling", "prod", at(HPA, STREAM, "spec/scaleTargetRef/name", API), "two autoscalers"),
    ("scaling", "cloud", at(SO, STREAM, "spec/maxReplicaCount", 12), "the ceiling is 6"),
    ("scaling", "cloud", at(SO, STREAM, "spec/scaleTargetRef/name", API), "two autoscalers"),
    ("scaling", "prod", without(HPA, API), "neither `replicas` nor an autoscaler"),
    ("scaling", "prod", at(PDB, API, "spec/maxUnavailable", 0), "no node could ever be drained"),
    ("scaling", "prod", at(PDB, API, "spec/minAvailable", "100%"), "no node could ever be drained"),
    ("scaling", "prod", at(PDB, API, "spec/maxUnavailable", "100%"), "to go at once"),
    ("scaling", "prod", at(D, API, "spec/strategy/rollingUpdate", {"maxSurge": 0, "maxUnavailable": 0}), "no rollout could ever move"),
    ("scaling", "dev", at(D, API, "spec/strategy/rollingUpdate", {"maxSurge": 1}), "Recreate with rollingUpdate"),
    ("scaling", "dev", at(D, API, f"{C}/resources/requests/cpu", "2"), "requests more cpu"),
    ("scaling", "dev", at(D, API, f"{C}/resources/limits/memory", "512MB"), "is no quantity"),
    ("scaling", "dev", at(D, API, f"{C}/resources/limits", {"cpu": "1"}), "no memory in its limits"),
    ("scaling", "prod", at(D, API, f"{C}/resources/requests", {"memory": "64Mi"}), "so there is no utilisation"),
    ("scaling", "dev", at(D, API, f"{SPEC}/volumes/0", {"name": "state", "emptyDir": {}}), "could fill the node's disk"),
    # What a Pod may do.
    ("security", "dev", at("Namespace", "fraud-dev", "metadata/labels", {}), "does not enforce restricted"),
    ("security", "dev", at(D, API, f"{SPEC}/hostNetwork", True), "hostNetwork"),
    ("security", "dev", at(D, API, f"{SPEC}/securityContext/runAsNonRoot", False), "runAsNonRoot"),
    ("security", "dev", at(D, API, f"{SPEC}/securityContext/runAsUser", 0), "runAsUser"),
    ("security", "dev", at(D, API, f"{SPEC}/securityContext/seccompProfile", {"type": "Unconfined"}), "seccompProfile"),
    ("security", "dev", at(D, API, f"{SPEC}/automountServiceAccountToken", True), "token"),
    ("security", "dev", at(D, API, f"{SPEC}/volumes/1", {"name": "state", "hostPath": {"path": "/"}}), "hostPath"),
    ("security", "dev", at(D, API, f"{SPEC}/serviceAccountName", None, delete=True), "default service account"),
    ("security", "dev", at(D, API, f"{C}/securityContext/allowPrivilegeEscalation", True), "allowPrivilegeEscalation"),
    ("security", "dev", at(D, API, f"{C}/securityContext/readOnlyRootFilesystem", False), "can be written"),
    ("security", "dev", at(D, API, f"{C}/securityContext/capabilities", {"drop": ["NET_RAW"]}), "drop all"),
    ("security", "dev", at(D, API, f"{C}/ports/0/hostPort", 8000), "port of the node"),
    ("security", "dev", at(D, API, f"{C}/image", "fraud-api"), "has no tag"),
    ("security", "prod", at(D, API, f"{C}/image", "fraud-api:latest"), "not pinned"),
    ("security", "prod", at("StatefulSet", "fraud-redis", f"{C}/image", "redis:bookworm"), "not pinned"),
    ("security", "prod", at(D, API, f"{C}/env/0", {"name": "REDIS_PASSWORD", "value": "x"}), "stands in the manifest"),
    ("security", "prod", adding("{apiVersion: v1, kind: Secret, metadata: {name: x}}"), "a secret in a manifest"),
    ("security", "prod", adding(ROLE % "{apiGroups: [''], resources: [secrets], verbs: [get]}"), "reads Secrets"),
    ("security", "prod", adding(ROLE % "{apiGroups: [''], resources: [pods], verbs: ['*']}"), "grants `*`"),
    ("security", "prod", at("Service", API, "spec/type", "LoadBalancer"), "without keys"),
    ("security", "cloud", at("Service", "fraud-api-public", "spec/ports/0/targetPort", "management"), "shows operators' paths"),
    ("security", INGRESS, at("Ingress", API, "spec/tls", None, delete=True), "no TLS"),
    # Flows.
    ("network", "prod", without(NP, "default-deny"), "no policy that denies everything first"),
    ("network", "prod", without(NP, "allow-dns"), "names are resolved"),
    ("network", "prod", without(NP, "fraud-store-clients"), "cannot reach StatefulSet/fraud-redis"),
    ("network", "prod", without(NP, "fraud-kafka-clients"), "cannot reach StatefulSet/fraud-kafka"),
    ("network", "prod", at(NP, API, "spec/ingress/0/from", []), "a Pod without a name can reach Deployment/fraud-api on port 8000"),
    ("network", "prod", at(NP, API, "spec/ingress/0/ports", []), "callers are no operators"),
    ("network", "prod", at(NP, API, "spec/ingress/1/ports/0/port", "http"), "Prometheus cannot reach"),
    ("network", "prod", at(NP, API, "spec/egress", [{}]), "nothing has business in the internet"),
    ("network", "prod", at(NP, "fraud-redis", "spec/ingress/0/from/0", {"podSelector": {}}), "only the services use the store"),
    ("network", "prod", at(NP, "fraud-redis", "spec/ingress/0/ports/0/port", 6380), "cannot reach StatefulSet/fraud-redis"),
    ("network", "prod", without("Pod", "fraud-store-init"), "nothing that begins its store"),
    ("network", "cloud", without(NP, "fraud-api-public"), "cannot reach Deployment/fraud-api on port 8000"),
    ("network", "demo", without(NP, "attack"), "Deployment/alertmanager cannot reach Job/attack"),
    ("network", "demo", without(NP, "scraped-by-prometheus"), "Deployment/prometheus cannot reach Deployment/fraud-api"),
    ("network", "demo", without(NP, "grafana"), "Deployment/grafana cannot reach Deployment/prometheus"),
    # Settings.
    ("settings", "dev", environment(API, "FRAUD_CONFIG", "/etc/other.toml"), "is mounted from nowhere"),
    ("settings", "dev", environment(API, "FRAUD__STORE__SNAPSHOT_PATH", "/tmp/x"), "where nothing is mounted"),
    ("settings", "dev", at(D, API, f"{C}/volumeMounts/0/mountPath", "/data"), "where nothing is mounted"),
    ("settings", "dev", at(D, API, f"{C}/volumeMounts/0/readOnly", True), "cannot be written"),
    ("settings", "dev", at(D, API, f"{C}/ports/0/containerPort", 8080), "port 8080 is declared"),
    ("settings", "dev", at(D, API, f"{C}/resources/limits/memory", "300Mi"), "killed before it refuses"),
    ("settings", "prod", at("ConfigMap", "fraud-store-??????????", "data/FRAUD__STORE__REDIS__PASSWORD_FILE", "/x"), "where nothing is mounted"),
    ("settings", "prod", at(SS, "fraud-redis", f"{C}/resources/limits/memory", "1Gi"), "killed while it rewrites"),
    ("settings", "prod", at(SS, "fraud-redis", f"{SPEC}/volumes/1/emptyDir/sizeLimit", "2Gi"), "its data with it"),
    # Probes and the end.
    ("probes", "dev", at(D, API, f"{C}/livenessProbe/httpGet/port", "admin"), "asks port admin"),
    ("probes", "dev", at(D, API, f"{C}/livenessProbe/httpGet/path", "/health/ready"), "would get it killed"),
    ("probes", "dev", at(D, API, f"{C}/readinessProbe/httpGet/path", "/health/live"), "readiness does not ask"),
    ("probes", "dev", at(D, API, f"{C}/startupProbe", None, delete=True), "no startupProbe"),
    ("probes", "dev", at(D, API, f"{C}/startupProbe/failureThreshold", 5), "startup has less than 30 s"),
    ("probes", "dev", at(D, API, f"{C}/livenessProbe/failureThreshold", 0), "no more patient than readiness"),
    ("probes", "dev", at(D, API, f"{C}/readinessProbe/timeoutSeconds", 30), "longer than its period"),
    ("probes", "prod", at("StatefulSet", "fraud-redis", f"{C}/readinessProbe", None, delete=True), "no readinessProbe"),
    ("probes", "prod", at(D, API, f"{SPEC}/terminationGracePeriodSeconds", 20), "is killed after 20 s"),
    ("probes", "prod", at(D, STREAM, f"{SPEC}/terminationGracePeriodSeconds", 5), "is killed after 5 s"),
    ("probes", "dev", at(D, API, "spec/strategy", {"type": "RollingUpdate"}), "must be Recreate"),
    ("probes", "dev", at(D, API, "spec/replicas", 2), "each would know a part"),
    ("probes", "prod", at("ConfigMap", "fraud-store-??????????", "data", {"FRAUD__STORE__KIND": "embedded"}), "keeps its history in memory"),
    # Sizes.
    ("sizes", "dev", at(D, API, f"{C}/resources/requests/cpu", "3"), "cores in all"),
    ("sizes", "prod", at(D, API, f"{C}/resources/requests/memory", "2Gi"), "MiB in all"),
    ("sizes", "demo", at(D, API, f"{C}/resources/limits/cpu", "200m"), "they would never be full"),
    ("sizes", "demo", at(SS, "fraud-redis", f"{C}/resources/limits/cpu", "500m"), "they would never be full"),
    # The next apply.
    ("updates", "prod", at("ConfigMap", "fraud-store-epoch-*", "data/FRAUD__STORE__REDIS__TIMEOUT", "1s"), "the next apply would be refused"),
    # Volumes that images have of their own.
    ("volumes", "prod", at(SS, "fraud-kafka", f"{C}/volumeMounts/0/mountPath", "/etc/kafka"), "the container cannot be made"),
    ("volumes", "prod", at(SS, "fraud-kafka", f"{C}/volumeMounts/1/mountPath", "/var/lib/kafka"), "is lost with the container"),
    ("volumes", "demo", at(D, "grafana", f"{C}/image", "example.com/other:1.0"), "nobody looked which volumes"),
]  # fmt: skip


@pytest.mark.parametrize("name", sorted(BUILT))
def test_without_a_mistake_nothing_is_found(name):
    assert list(problems(BUILT[name])) == []


@pytest.mark.parametrize(("check", "overlay", "change", "said"), MISTAKES)
def test_a_mistake_is_found(check, overlay, change, said):
    found = [text for _, text in problems(seeded(overlay, change), [check])]
    assert any(said in text for text in found), found


def test_every_check_was_seen_failing():
    assert {mistake[0] for mistake in MISTAKES} == set(CHECKS)


def test_a_kustomization_that_warns_or_fails_is_no_kustomization(tmp_path):
    (tmp_path / "kustomization.yaml").write_text("resources: [missing.yaml]\n")
    with pytest.raises(BuildError, match="missing.yaml"):
        build(tmp_path)
    (tmp_path / "a.yaml").write_text("{apiVersion: v1, kind: ConfigMap, metadata: {name: a}}\n")
    (tmp_path / "kustomization.yaml").write_text("commonLabels: {a: b}\nresources: [a.yaml]\n")
    with pytest.raises(BuildError, match="deprecated"):
        build(tmp_path)


def test_a_component_that_nobody_adds_is_found(tmp_path):
    (tmp_path / "kustomization.yaml").write_text("kind: Component\n")
    assert kustomizations()[1]
    assert unused([tmp_path], []) == [tmp_path]


@pytest.mark.parametrize(("text", "value"), [("100m", "0.1"), ("1", 1), ("2Ki", 2048), ("1e3", 1000), (".5", "0.5"), ("1E", 10**18)])
def test_quantities(text, value):
    assert parse(text) == Decimal(value)


@pytest.mark.parametrize("text", ["128MB", "1 Gi", "100Mib", "", "m", "1mi", "0.5.5", "1K"])
def test_what_is_no_quantity(text):
    assert parse(text) is None


def test_an_empty_bundle_is_fine():
    assert list(problems(Bundle("x", []))) == []

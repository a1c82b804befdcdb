"""NetworkPolicies, worked out: which flow passes and which does not."""

from .pods import LASTING, matches, workloads

_NAME = "app.kubernetes.io/name"
_SPACE = "kubernetes.io/metadata.name"


class Peer:
    """A Pod, as policies see it."""

    def __init__(self, name, labels, space, workload=None):
        self.name, self.labels, self.workload = name, labels, workload
        self.space = space
        self.space_labels = {_SPACE: space}

    def port(self, reference):
        return self.workload.port(reference) if self.workload else reference


def _stranger(name, labels, space):
    return Peer(name, labels, space)


def _takes(peer, rule_peers, home):
    if not rule_peers:
        return True
    for p in rule_peers:
        if "ipBlock" in p:
            if p["ipBlock"]["cidr"] in ("0.0.0.0/0", "::/0") or peer.labels.get("address") == p["ipBlock"]["cidr"]:
                return True
            continue
        space = p.get("namespaceSelector")
        in_space = peer.space == home if space is None else matches(space, peer.space_labels)
        if in_space and ("podSelector" not in p or matches(p["podSelector"], peer.labels)):
            return True
    return False


def _ports(rule, server, port):
    if not rule.get("ports"):
        return True
    return any(server.port(p.get("port")) == port for p in rule["ports"])


def _side(bundle, side, peers, port):
    """Whether one side lets the flow pass. Policies add up; none on this side lets all pass."""
    client, server = peers
    here, there = (client, server) if side == "Egress" else (server, client)
    if here.workload is None:
        return True
    policies = []
    for o in bundle.of("NetworkPolicy"):
        spec = o["spec"]
        types = spec.get("policyTypes") or (["Ingress"] + (["Egress"] if "egress" in spec else []))
        if side in types and o["metadata"].get("namespace", "default") == here.space:
            if matches(spec.get("podSelector", {}), here.labels):
                policies.append(spec)
    if not policies:
        return True
    key, ends = ("egress", "to") if side == "Egress" else ("ingress", "from")
    for spec in policies:
        for rule in spec.get(key) or []:
            if _takes(there, rule.get(ends), here.space) and _ports(rule, server, port):
                return True
    return False


def passes(bundle, client, server, port):
    """Whether a connection from one to the other's port comes about."""
    return all(_side(bundle, side, (client, server), port) for side in ("Egress", "Ingress"))


def check(bundle):
    """The flows of the design pass, all others do not."""
    if not bundle.is_overlay:
        return
    pods = [Peer(w.where, w.labels, w.namespace, w) for w in workloads(bundle)]
    ours = [p for p in pods if p.labels.get("app.kubernetes.io/part-of") == "fraud-scoring"]
    if not ours:
        return
    spaces = {p.space for p in ours}
    for space in sorted(spaces):
        denies = [
            o for o in bundle.of("NetworkPolicy")
            if o["metadata"].get("namespace") == space and o["spec"].get("podSelector") == {}
            and set(o["spec"].get("policyTypes", [])) == {"Ingress", "Egress"} and not o["spec"].get("ingress")
            and not o["spec"].get("egress")
        ]  # fmt: skip
        if not denies:
            yield f"Namespace {space}: no policy that denies everything first"
    yield from _flows(bundle, ours, pods)


def _flows(bundle, ours, pods):
    space = ours[0].space
    by = {}
    for p in pods:
        by.setdefault(p.labels.get(_NAME), []).append(p)
    client = _stranger("a caller", {"fraud-scoring/client": "true"}, "shop")
    stranger = _stranger("a Pod without a name", {"app": "x"}, space)
    outsider = _stranger("a Pod of another namespace", {"app": "x"}, "elsewhere")
    prometheus = _stranger("Prometheus", {_NAME: "prometheus"}, "monitoring")
    dns = _stranger("DNS", {"k8s-app": "kube-dns"}, "kube-system")
    world = _stranger("the internet", {"address": "203.0.113.0/24"}, "internet")
    uses_redis = bool(by.get("fraud-redis"))
    public = any(s["spec"].get("type") == "LoadBalancer" for s in bundle.of("Service"))

    def each(name):
        return by.get(name, [])

    def flow(wanted, ends, port, why):
        one, other = ends
        if passes(bundle, one, other, port) != wanted:
            verb = "cannot reach" if wanted else "can reach"
            yield f"{one.name} {verb} {other.name} on port {port}: {why}"

    for api in each("fraud-api"):
        yield from flow(True, (client, api), 8000, "callers score")
        yield from flow(True, (prometheus, api), 8001, "metrics are scraped")
        yield from flow(False, (client, api), 8001, "callers are no operators")
        yield from flow(public, (stranger, api), 8000, "only named callers score")
        yield from flow(public, (outsider, api), 8000, "only named callers score")
        yield from flow(False, (outsider, api), 8001, "/admin is there")
        yield from flow(public, (world, api), 8000, "the world comes in where public-access says so, and only there")
        yield from flow(False, (api, world), 443, "nothing has business in the internet")
        yield from flow(True, (api, dns), 53, "names are resolved where there is DNS")
        for redis in each("fraud-redis"):
            yield from flow(True, (api, redis), 6379, "the store is there")
        for kafka in each("fraud-kafka"):
            yield from flow(False, (api, kafka), 9092, "the API has no business with Kafka")
    for stream in each("fraud-stream"):
        yield from flow(True, (prometheus, stream), 9464, "metrics are scraped")
        yield from flow(False, (client, stream), 9464, "nobody calls the stream")
        yield from flow(False, (outsider, stream), 9464, "nobody calls the stream")
        yield from flow(False, (stream, world), 443, "nothing has business in the internet")
        for kafka in each("fraud-kafka"):
            yield from flow(True, (stream, kafka), 9092, "transactions come from there")
        for redis in each("fraud-redis"):
            yield from flow(True, (stream, redis), 6379, "the store is there")
        for api in each("fraud-api"):
            yield from flow(False, (stream, api), 8000, "the stream scores by itself")
    for init in each("fraud-store-init"):
        for redis in each("fraud-redis"):
            yield from flow(True, (init, redis), 6379, "it begins the store")
    for redis in each("fraud-redis"):
        for other in (stranger, outsider, client, prometheus, world):
            yield from flow(False, (other, redis), 6379, "only the services use the store")
        yield from flow(False, (redis, world), 443, "a store goes nowhere")
    for kafka in each("fraud-kafka"):
        yield from flow(True, (client, kafka), 9092, "producers send there")
        for other in (stranger, outsider, world):
            yield from flow(False, (other, kafka), 9092, "only named clients use Kafka")
    # What only the demo has: its own monitoring, and the attack.
    for one, other, port, why in (
        ("attack", "fraud-api", 8000, "it attacks"),
        ("attack", "prometheus", 9090, "it watches"),
        ("attack", "alertmanager", 9093, "it watches"),
        ("alertmanager", "attack", 8080, "the alarm arrives there"),
        ("prometheus", "fraud-api", 8001, "metrics are scraped"),
        ("prometheus", "fraud-stream", 9464, "metrics are scraped"),
        ("prometheus", "kube-state-metrics", 8080, "metrics are scraped"),
        ("prometheus", "alertmanager", 9093, "alerts are sent"),
        ("grafana", "prometheus", 9090, "panels ask"),
    ):
        for client in by.get(one, []):
            for server in by.get(other, []):
                yield from flow(True, (client, server), port, why)
    if uses_redis and not each("fraud-store-init"):
        yield "Redis is here, but nothing that begins its store"
    lasting = [p for p in ours if p.workload.kind in LASTING]
    for p in lasting:
        if passes(bundle, p, outsider, 80):
            yield f"{p.name} can reach any Pod of another namespace"

"""Whether an overlay fits the node that it promises to fit, and whether its drill can come to its end."""

from decimal import Decimal

from .pods import workloads
from .quantity import parse
from .scaling import CEILING, demand

# CPU cores and bytes left for us: dev promises 2 cores and 4 GB; prod is tried on one small node, at full scale.
# What the node keeps for itself and the control plane is taken off. The demo's attack comes on top: half a core.
FITS = {
    "dev": (1.2, 3 * 2**30),
    "examples/dev-with-claims": (1.2, 3 * 2**30),
    "prod": (1.3, 4 * 2**30),
    "demo": (1.3, 4 * 2**30),
}
# Seconds of CPU a payment, as deploy/demo has them measured: of a replica, and of Redis' one thread.
REPLICA, REDIS = Decimal("90e-6"), Decimal("165e-6")


def check(bundle):
    """Requests of all Pods together, at the most replicas; a Redis that six full replicas leave some room."""
    yield from _drill(bundle)
    if bundle.name not in FITS:
        return
    cores, memory = FITS[bundle.name]
    need = demand(bundle)
    if need["cpu"] > cores:
        yield f"requests {need['cpu']} cores in all, its node has {cores} for it"
    if need["memory"] > memory:
        yield f"requests {need['memory'] / 2**20:.0f} MiB in all, its node has {memory / 2**20:.0f} for it"


def _drill(bundle):
    """The alarm is about the CPU of six replicas: it never comes where they wait for a Redis that is full before they are."""
    pods = {p.name: p for p in workloads(bundle)}
    if not {"attack", "fraud-api", "fraud-redis"} <= pods.keys():
        return
    limit = {name: parse(pods[name].containers[0]["resources"]["limits"]["cpu"]) for name in ("fraud-api", "fraud-redis")}
    used, has = CEILING * limit["fraud-api"] / REPLICA * REDIS, min(1, limit["fraud-redis"])
    if used > has * Decimal("0.8"):
        yield f"six replicas at their limit ask {used:.2f} cores of Redis' thread, which has {has}: they would never be full"

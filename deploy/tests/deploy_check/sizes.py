"""Whether an overlay fits the node that it promises to fit."""

from .scaling import demand

# CPU cores and bytes left for us: dev promises 2 cores and 4 GB; prod is tried on one small node, at full scale.
# What the node keeps for itself and the control plane is taken off.
FITS = {
    "dev": (1.2, 3 * 2**30),
    "examples/dev-with-claims": (1.2, 3 * 2**30),
    "prod": (1.3, 4 * 2**30),
}


def check(bundle):
    """Requests of all Pods together, at the most replicas."""
    if bundle.name not in FITS:
        return
    cores, memory = FITS[bundle.name]
    need = demand(bundle)
    if need["cpu"] > cores:
        yield f"requests {need['cpu']} cores in all, its node has {cores} for it"
    if need["memory"] > memory:
        yield f"requests {need['memory'] / 2**20:.0f} MiB in all, its node has {memory / 2**20:.0f} for it"

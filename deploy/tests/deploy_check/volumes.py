"""The volumes that images declare themselves.

At each such path an engine mounts a volume of its own, empty and gone with the container, unless something is mounted at exactly
that path. A mount above it does not help: what is written below the path is lost all the same, and where the mount above is
read-only the container cannot be made, since there is no folder to mount on.
"""

from pathlib import PurePosixPath

from .pods import mounts, workloads

# `VOLUME` of each image's Dockerfile, by the last part of its name.
DECLARED = {
    "alertmanager": ["/alertmanager"],
    "fraud-airflow": [],
    "fraud-api": [],
    "fraud-loadgen": [],
    "fraud-mlflow": [],
    "fraud-stream": [],
    "grafana": [],
    "kafka": ["/etc/kafka/secrets", "/mnt/shared/config", "/var/lib/kafka/data"],
    "kube-state-metrics": [],
    "postgres": ["/var/lib/postgresql/data"],
    "prometheus": ["/prometheus"],
    "python": [],
    "redis": ["/data"],
}
# What bases call an image before an overlay gives it its name.
ALIASES = {"airflow": "fraud-airflow", "mlflow": "fraud-mlflow"}


def image_problems(image, places):
    """What is wrong with mounts (path to whether it is read-only) in a container of that image."""
    name = image.partition("@")[0].rpartition("/")[2].partition(":")[0]
    declared = DECLARED.get(ALIASES.get(name, name))
    if declared is None:
        yield f"nobody looked which volumes the image {image} declares: say so in deploy/tests/deploy_check/volumes.py"
        return
    for path in declared:
        if path in places:
            continue
        above = [str(p) for p in PurePosixPath(path).parents if str(p) in places]
        if above and places[above[0]]:
            yield f"the image has a volume at {path}, and {above[0]} above it is mounted read-only: the container cannot be made"
        elif above:
            yield f"the image has a volume at {path}, below the mount {above[0]}: what is written there is lost with the container"


def check(bundle):
    """No mount above a volume that its image declares."""
    for pod in workloads(bundle):
        for container in pod.all_containers:
            places = {path: bool(mount.get("readOnly")) for path, (_, mount) in mounts(pod, container).items()}
            for text in image_problems(container["image"], places):
                yield f"{pod.where}: {container['name']}: {text}"

"""The settings that a container ends up with, and whether the real program takes them."""

import os
import re
import subprocess
import tempfile
import tomllib
from pathlib import Path

from .pods import mounts, workloads
from .quantity import parse

PROGRAMS = ("fraud-api", "fraud-stream")
_PREFIX = "FRAUD__"


def environment(bundle, pod, container, stand_in=None):
    """The container's environment as the kubelet makes it. Services get stand-in addresses (host and port)."""
    host, number = stand_in or ("10.96.0.10", None)
    env = {}
    for service in bundle.of("Service"):
        if service["metadata"].get("namespace", "default") == pod.namespace and service["spec"].get("clusterIP") != "None":
            name = service["metadata"]["name"].upper().replace("-", "_")
            env[f"{name}_SERVICE_HOST"] = host
            env[f"{name}_SERVICE_PORT"] = number or str(service["spec"]["ports"][0]["port"])
    links = dict(env)
    for source in container.get("envFrom", []):
        found = bundle.find("ConfigMap", source.get("configMapRef", {}).get("name"), pod.namespace)
        env.update((found or {}).get("data") or {})
    for entry in container.get("env", []):
        value = entry.get("value", "")
        if "fieldRef" in entry.get("valueFrom", {}):
            value = "fraud-0"
        for name, known in {**links, **env}.items():
            value = value.replace(f"$({name})", known)
        env[entry["name"]] = value
    return env


def file_text(bundle, pod, container, path):
    """What a container reads at a path, when a ConfigMap is mounted there; None otherwise."""
    for place, (volume, mount) in mounts(pod, container).items():
        if volume and "configMap" in volume:
            found = bundle.find("ConfigMap", volume["configMap"]["name"], pod.namespace)
            name = mount.get("subPath") or os.path.relpath(path, place)
            data = (found or {}).get("data") or {}
            if (mount.get("subPath") and place == path or path.startswith(place + "/")) and name in data:
                return data[name]
    return None


def effective(bundle, pod, container):
    """File and environment, merged as the program merges them (without its defaults)."""
    env = environment(bundle, pod, container)
    text = file_text(bundle, pod, container, env.get("FRAUD_CONFIG", "")) or ""
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        tree = {}  # the program says so itself
    for name, value in env.items():
        if name.startswith(_PREFIX):
            place = tree
            *groups, key = name[len(_PREFIX) :].lower().split("__")
            for group in groups:
                place = place.setdefault(group, {})
            place[key] = value
    return tree


def leaves(tree, path=""):
    """Every key with its value, `server.bind`."""
    for key, value in tree.items():
        where = f"{path}.{key}" if path else key
        if isinstance(value, dict):
            yield from leaves(value, where)
        else:
            yield where, value


def ours(bundle):
    """Every container of ours that is a program with settings."""
    for pod in workloads(bundle):
        for container in pod.all_containers:
            image = container["image"].rpartition("/")[2].split(":")[0]
            if image in PROGRAMS:
                yield pod, container, image


def check(bundle):
    """Paths that are mounted, ports that are listened on, memory that is there."""
    if not bundle.is_overlay:
        return
    yield from _redis(bundle)
    for pod, container, _ in ours(bundle):
        where = f"{pod.where}: {container['name']}"
        env = environment(bundle, pod, container)
        tree = effective(bundle, pod, container)
        path = env.get("FRAUD_CONFIG")
        if path and file_text(bundle, pod, container, path) is None:
            yield f"{where}: FRAUD_CONFIG {path} is mounted from nowhere"
        places = mounts(pod, container)
        for key, value in leaves(tree):
            if key.endswith(("_file", "_path", ".folder", ".path", "load_state")) and str(value).startswith("/"):
                within = [m for m in places if value == m or value.startswith(m.rstrip("/") + "/")]
                if not within:
                    yield f"{where}: {key} is {value}, where nothing is mounted"
                elif key.endswith((".snapshot_path", ".folder")):
                    volume, mount = places[max(within, key=len)]
                    if mount.get("readOnly") or "configMap" in volume or "secret" in volume:
                        yield f"{where}: {key} is {value}, which cannot be written"
        listens = {int(str(v).rpartition(":")[2]) for k, v in leaves(tree) if k in ("server.bind", "server.management") and ":" in str(v)}
        for port in container.get("ports", []):
            if listens and port["containerPort"] not in listens:
                yield f"{where}: port {port['containerPort']} is declared, the settings listen on {sorted(listens)}"
        for key in ("bind", "management"):
            value = str(tree.get("server", {}).get(key, ""))
            if container.get("ports") and value.startswith("127."):
                yield f"{where}: server.{key} {value} is not reached from outside of the Pod"
        limit = parse(container.get("resources", {}).get("limits", {}).get("memory", "")) or 0
        store = tree.get("store", {})
        if container.get("ports") and store.get("kind", "embedded") != "redis":
            most = int(store.get("max_bytes", 4 << 30))
            if limit and most > limit * 3 / 4:
                yield f"{where}: the store may take {most} bytes of a limit of {limit}: it would be killed before it refuses"


def _redis(bundle):
    """Memory and disk that a Redis may need beyond what it may keep."""
    for pod in workloads(bundle):
        for container in pod.containers:
            text = file_text(bundle, pod, container, "/etc/redis/redis.conf")
            found = re.search(r"(?m)^maxmemory (\d+)([kmg])b$", text or "")
            if not found:
                continue
            where = f"{pod.where}: {container['name']}"
            most = int(found[1]) << {"k": 10, "m": 20, "g": 30}[found[2]]
            limit = parse(container.get("resources", {}).get("limits", {}).get("memory", "")) or 0
            if limit < 2 * most:
                yield f"{where}: may keep {most} bytes within a limit of {limit}: it would be killed while it rewrites its file"
            # The file, as much again before it is rewritten, and the new one beside both.
            for volume in pod.spec.get("volumes", []):
                size = parse((volume.get("emptyDir") or {}).get("sizeLimit", "")) or 0
                if volume["name"] == "data" and size < 3 * most:
                    yield f"{where}: may keep {most} bytes on a volume of {size}: it would be evicted, and its data with it"


def check_load(bundle, binaries: Path):
    """Whether the load generator takes its arguments. Services are where nobody listens, so nothing is ever sent."""
    for pod in workloads(bundle):
        for container in pod.containers:
            if container["image"].rpartition("/")[2].split(":")[0] != "fraud-loadgen":
                continue
            env = environment(bundle, pod, container, ("127.0.0.1", "1"))
            arguments = container.get("args", [])
            for name, value in env.items():
                arguments = [a.replace(f"$({name})", value) for a in arguments]
            # 69: the target or the monitoring does not answer, which is said after the arguments were taken.
            fine = (69,) if arguments[:1] == ["drill"] else (0,)
            arguments += [] if arguments[:1] == ["drill"] else ["--dry-run"]
            command = [str(binaries / "fraud-loadgen"), *arguments]
            ran = subprocess.run(command, env={}, capture_output=True, text=True, timeout=60, check=False)
            if ran.returncode not in fine:
                yield f"{pod.where}: {container['name']}: exit code {ran.returncode}: {ran.stderr.strip()[:400]}"


def check_config(bundle, binaries: Path):
    """What the real programs say of the settings in this bundle."""
    for pod, container, image in ours(bundle):
        env = environment(bundle, pod, container)
        arguments = container.get("args", [])
        with tempfile.TemporaryDirectory() as folder:
            path = env.pop("FRAUD_CONFIG", None)
            if path:
                text = file_text(bundle, pod, container, path)
                env["FRAUD_CONFIG"] = str(Path(folder) / Path(path).name)
                Path(env["FRAUD_CONFIG"]).write_text(text or "")
            if arguments[:1] == ["store"]:
                # Its settings are the API's; what it does is tried where there is a Redis.
                arguments = []
            command = [str(binaries / image), *arguments, "--check-config"]
            ran = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
            if ran.returncode != 0:
                yield f"{pod.where}: {container['name']}: {' '.join(command[1:])}: {ran.stderr.strip()}"

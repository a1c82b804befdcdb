"""Checks a compose file that was resolved already: check_compose.py RESOLVED.json

The schema is not looked at here (the specification's own loader does that), but what a reviewer would: that every container
is hardened and bounded, that images have a version, that what is mounted exists, that nobody outside of the machine can
reach a port, and that what is waited for can come."""
import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tests"))
from deploy_check.volumes import image_problems

OWN = {"fraud-api", "fraud-stream", "fraud-loadgen"}
SERVICES = {"fraud-api", "fraud-stream", "kafka", "redis", "prometheus", "alertmanager", "grafana"}
CONDITIONS = {"service_healthy", "service_completed_successfully", "service_started"}


def service_problems(name: str, service: dict, model: dict) -> list[str]:
    """What is wrong with one service."""
    others, found = model["services"], []
    found += [f"the network {network} is not declared" for network in service.get("networks", {}) if network not in model.get("networks", {})]
    if not service.get("read_only"):
        found.append("its root can be written: read_only")
    if service.get("cap_drop") != ["ALL"]:
        found.append("it keeps capabilities: cap_drop [ALL]")
    if "no-new-privileges:true" not in service.get("security_opt", []):
        found.append("it may gain privileges: no-new-privileges:true")
    if not service.get("mem_limit"):
        found.append("its memory has no limit: mem_limit")
    image, _, tag = service["image"].partition(":")
    if image in OWN:
        if "build" not in service:
            found.append("it is ours and is not built")
    elif not tag or tag == "latest":
        found.append(f"the image {service['image']} has no version")
    if image not in OWN and not service.get("user"):
        found.append("it runs as whoever the image says: give a user")
    if str(service.get("user", "")).split(":")[0] in {"0", "root"}:
        found.append("it runs as root")
    for port in service.get("ports", []):
        if port.get("host_ip") != "127.0.0.1":
            found.append(f"port {port.get('published')} can be reached from outside: 127.0.0.1:…")
    for mount in service.get("volumes", []):
        if mount["type"] == "bind" and not pathlib.Path(mount["source"]).exists():
            found.append(f"{mount['source']} is mounted and does not exist")
        if mount["type"] == "bind" and not mount.get("read_only"):
            found.append(f"{mount['source']} can be written from inside")
        if mount["type"] == "volume" and mount.get("source") not in model.get("volumes", {}):
            found.append(f"the volume {mount.get('source')} is not declared")
    places = {path.split(":")[0]: False for path in service.get("tmpfs", [])}
    places |= {mount["target"]: bool(mount.get("read_only")) for mount in service.get("volumes", [])}
    found += image_problems(service["image"], places)
    for other, how in service.get("depends_on", {}).items():
        condition, target = how.get("condition"), others.get(other)
        if condition not in CONDITIONS or target is None:
            found.append(f"it waits for {other} in a way that does not exist")
        elif condition == "service_healthy" and "healthcheck" not in target and target["image"].split(":")[0] not in OWN:
            found.append(f"it waits for {other} to be healthy, which has no health check")
        elif condition == "service_completed_successfully" and target.get("restart", "no").split(":")[0] not in {"no", "on-failure"}:
            found.append(f"it waits for {other} to end, which is started again and again")
    return [f"{name}: {problem}" for problem in found]


def main(model: dict) -> list[str]:
    """All problems."""
    services = model["services"]
    found = [f"{name} is missing" for name in sorted(SERVICES - services.keys())]
    for name, service in services.items():
        found += service_problems(name, service, model)
    return found


if __name__ == "__main__":
    with open(sys.argv[1], encoding="utf-8") as file:
        problems = main(json.load(file))
    for problem in problems:
        print(f"compose: {problem}", file=sys.stderr)
    sys.exit(1 if problems else 0)

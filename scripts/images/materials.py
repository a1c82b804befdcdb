"""Checks a bill of materials (CycloneDX, JSON): materials.py FILE SERVICE

It must name the service, and the crates that do its work, each with version, hash and licence."""
import json
import sys

WORK = {
    "fraud-api": {"fraud-core", "tract-onnx", "actix-web", "prometheus"},
    "fraud-stream": {"fraud-core", "tract-onnx", "rdkafka", "parquet"},
    "fraud-loadgen": {"fraud-core", "hdrhistogram", "rdkafka", "mio"},
}


def problems(bill: dict, service: str) -> list[str]:
    """What is wrong with it."""
    found = []
    if bill.get("bomFormat") != "CycloneDX":
        found.append(f"bomFormat is {bill.get('bomFormat')!r}, not CycloneDX")
    name = bill.get("metadata", {}).get("component", {}).get("name")
    if name != service:
        found.append(f"it is about {name!r}")
    parts = {part["name"]: part for part in bill.get("components", [])}
    found += [f"{crate} is missing" for crate in sorted(WORK[service] - parts.keys())]
    for crate, part in sorted(parts.items()):
        lacks = [key for key in ("version", "licenses", "purl") if not part.get(key)]
        if lacks:
            found.append(f"{crate} has no {', '.join(lacks)}")
    return found


if __name__ == "__main__":
    path, service = sys.argv[1:]
    with open(path, encoding="utf-8") as file:
        bill = json.load(file)
    found = problems(bill, service)
    for problem in found:
        print(f"{path}: {problem}", file=sys.stderr)
    if found:
        sys.exit(1)
    print(f"  ok  bill of materials of {service}: {len(bill['components'])} crates")

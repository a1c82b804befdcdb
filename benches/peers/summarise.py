"""Medians over interleaved runs of http_load, and their ratios to the bare service."""

import json
import re
import statistics
import sys

kind, files = sys.argv[1], sys.argv[2:]
runs = {}
for file in files:
    name = re.search(r"-(\w+)-\d+\.json$", file).group(1)
    runs.setdefault(name, []).append(json.load(open(file)))


def median(name, pick):
    return statistics.median(pick(run) for run in runs[name])


if kind == "saturation":
    rate = {name: median(name, lambda run: run["ok_per_cpu_second"]) for name in runs}
    for name, value in sorted(rate.items(), key=lambda pair: -pair[1]):
        wall = median(name, lambda run: run["ok_per_second"])
        memory = median(name, lambda run: run["rss_mib"])
        print(
            f"{name:8} {value:9,.0f} per CPU-second  {wall:9,.0f} per second  {memory:6.1f} MiB  "
            f"{value / rate['bare']:.3f} of bare" + (f"  {value / rate['fastapi']:.1f} × FastAPI" if "fastapi" in rate else "")
        )
else:
    for point in ["p50", "p90", "p99", "p99.9"]:
        bare = median("bare", lambda run: run["latency_us"][point])
        api = median("api", lambda run: run["latency_us"][point])
        print(f"{point:6} bare {bare:8.0f} µs   fraud-api {api:8.0f} µs   ratio {api / bare:.2f}")
    print("client behind its schedule at worst:", max(run["behind_ms"] for all in runs.values() for run in all), "ms")

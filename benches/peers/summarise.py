"""Medians over interleaved runs of http_load, and their ratios to the bare service.

    summarise.py saturation|paced|overload RUN.json …      files are named KIND-NAME-ROUND.json
"""

import json
import re
import statistics
import sys

kind, files = sys.argv[1], sys.argv[2:]
runs = {}
for file in files:
    name, number = re.search(r"-([\w.]+)-(\d+)\.json$", file).groups()
    runs.setdefault(name, {})[int(number)] = json.load(open(file))


def median(name, pick):
    return statistics.median(pick(run) for run in runs[name].values())


def ratio(name, other, pick):
    """The median of the ratios of runs of one round, which saw the same machine."""
    return statistics.median(pick(run) / pick(runs[other][number]) for number, run in runs[name].items())


def late():
    worst = max(run["behind_ms"] for all in runs.values() for run in all.values())
    print(f"\nThe load client was at worst {worst:.1f} ms behind its schedule" + (": too much, run it again" if worst > 5 else "."))


if kind == "saturation":
    rate = lambda run: run["ok_per_cpu_second"]
    print("| service | per CPU-second | per second | MiB | share of bare |" + (" × FastAPI |" if "fastapi" in runs else ""))
    print("|---|---|---|---|---|" + ("---|" if "fastapi" in runs else ""))
    for name in sorted(runs, key=lambda name: -median(name, rate)):
        row = [name, f"{median(name, rate):,.0f}", f"{median(name, lambda run: run['ok_per_second']):,.0f}"]
        row += [f"{median(name, lambda run: run['rss_mib']):.1f}", f"{ratio(name, 'bare', rate):.3f}"]
        if "fastapi" in runs:
            row.append(f"{ratio(name, 'fastapi', rate):.1f}")
        print("| " + " | ".join(row) + " |")
elif kind == "paced":
    print("| latency | bare, µs | fraud-api, µs | ratio |\n|---|---|---|---|")
    for point in ["p50", "p90", "p99", "p99.9"]:
        pick = lambda run: run["latency_us"][point]
        print(f"| {point} | {median('bare', pick):.0f} | {median('api', pick):.0f} | {ratio('api', 'bare', pick):.2f} |")
    late()
else:
    good = lambda run: run["ok_per_second"]
    print("| offered | answered 200 in time, /s | of the peak | p99 of those, ms | 503, /s | timed out | for nobody | MiB | first after, ms |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name in ["peak", "1.5", "5"]:
        seconds = lambda run: run["ok"] / max(run["ok_per_second"], 1)
        row = ["closed loop" if name == "peak" else f"{name} ×", f"{median(name, good):,.0f}", f"{ratio(name, 'peak', good):.3f}"]
        row.append(f"{median(name, lambda run: run['accepted_us']['p99'] / 1e3):.1f}")
        row.append(f"{median(name, lambda run: run['statuses'].get('503', 0) / seconds(run)):,.0f}")
        row.append(f"{median(name, lambda run: run['timeouts']):.0f}")
        wasted = lambda run: run["predictions"] - run["ok"] if "predictions" in run else 0
        row.append(f"{median(name, wasted):.0f}")
        row.append(f"{median(name, lambda run: run['rss_mib']):.1f}")
        row.append(f"{median(name, lambda run: run.get('first_after_ms', 0)):.1f}")
        print("| " + " | ".join(row) + " |")
    late()

"""What is made of other files: the operator's rules, Alertmanager's configuration with webhooks alone, the dashboards.

All of it is committed, so that a cluster needs no Python; `stale` finds what no longer fits its source.
"""

from pathlib import Path

import yaml

from . import files
from .dashboards import ALL
from .dashboards.board import written

_NOTE = "# Made by `scripts/monitoring.sh generate` from {source}: change that.\n"
_OBJECT = """apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: fraud-{name}
  labels:
    app.kubernetes.io/part-of: fraud-scoring
    # The operator reads only rules with the label that its Prometheus selects.
    release: kube-prometheus-stack
spec:
"""


def _operator_rules(path: Path) -> str:
    """A rule file is a PrometheusRule's spec, two columns to the right; its comments come along."""
    name = path.name.removesuffix(".rules.yaml")
    lines = path.read_text().splitlines()
    begin = next(number for number, line in enumerate(lines) if line.startswith("groups:"))
    spec = "\n".join("  " + line if line else "" for line in lines[begin:])
    comment = "\n".join(lines[:begin])
    note = _NOTE.format(source=f"rules/{path.name}")
    return note + comment + ("\n" if comment else "") + _OBJECT.format(name=name) + spec + "\n"


def _operator_kustomization(paths: list[Path]) -> str:
    lines = ["apiVersion: kustomize.config.k8s.io/v1beta1", "kind: Kustomization", "resources:"]
    lines += [f"  - {_operator_name(path)}" for path in paths]
    return _NOTE.format(source="rules/") + "\n".join(lines) + "\n"


def _operator_name(path: Path) -> str:
    return path.name.removesuffix(".rules.yaml") + ".yaml"


def _webhooks_only(text: str) -> str:
    """The same routes and inhibitions for a place without mail, Telegram and retraining: a demo, a laptop, a drill."""
    config = yaml.safe_load(text)
    config["global"] = {"resolve_timeout": config["global"]["resolve_timeout"]}
    config.pop("templates")
    left_out = "retraining"
    config["route"]["routes"] = [route for route in config["route"]["routes"] if route["receiver"] != left_out]
    config["receivers"] = [
        {"name": receiver["name"], "webhook_configs": receiver["webhook_configs"]}
        for receiver in config["receivers"]
        if receiver["name"] != left_out
    ]
    return _NOTE.format(source="alertmanager.yaml") + yaml.safe_dump(config, sort_keys=False, width=120)


def outputs(home: Path = files.HOME) -> dict[Path, str]:
    """Every made file with what should stand in it."""
    paths = files.rule_files(home)
    made = {home / "operator" / _operator_name(path): _operator_rules(path) for path in paths}
    made[home / "operator/kustomization.yaml"] = _operator_kustomization(paths)
    made[home / "alertmanager.webhook.yaml"] = _webhooks_only((home / "alertmanager.yaml").read_text())
    for board in ALL:
        made[home / "dashboards" / f"{board.uid}.json"] = written(board)
    return made


def write(home: Path = files.HOME) -> None:
    """Writes what is made, and removes what is no longer."""
    made = outputs(home)
    for path, text in made.items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    for path in _extra(home, made):
        path.unlink()


def stale(home: Path = files.HOME) -> list[str]:
    """What differs from what would be written, in words."""
    made = outputs(home)
    found = [
        f"{path.relative_to(home)} is not what its source gives: run `scripts/monitoring.sh generate` and commit"
        for path, text in made.items()
        if not path.exists() or path.read_text() != text
    ]
    return found + [f"{path.relative_to(home)} has no source any more: delete it" for path in _extra(home, made)]


def _extra(home: Path, made: dict[Path, str]) -> list[Path]:
    there = [*(home / "operator").glob("*.yaml"), *files.dashboards(home)]
    return [path for path in there if path not in made]

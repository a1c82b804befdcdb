"""Where things are, and the rule files as data."""

from dataclasses import dataclass
from pathlib import Path

import yaml

HOME = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Rule:
    """One rule of a rule file. `name` is the alert's, or the recorded series'."""

    file: str
    name: str
    expr: str
    is_alert: bool
    labels: dict
    annotations: dict


def rule_files(home: Path = HOME) -> list[Path]:
    """All rule files, in order of name."""
    return sorted((home / "rules").glob("*.rules.yaml"))


def rules(home: Path = HOME) -> list[Rule]:
    """Every rule of every file."""
    found = []
    for path in rule_files(home):
        for group in yaml.safe_load(path.read_text())["groups"]:
            for rule in group["rules"]:
                found.append(
                    Rule(
                        file=path.name,
                        name=rule.get("alert") or rule["record"],
                        expr=rule["expr"],
                        is_alert="alert" in rule,
                        labels=rule.get("labels", {}),
                        annotations=rule.get("annotations", {}),
                    )
                )
    return found


def dashboards(home: Path = HOME) -> list[Path]:
    """All dashboards as Grafana reads them."""
    return sorted((home / "dashboards").glob("*.json"))


def runbooks(home: Path = HOME) -> list[Path]:
    """All runbooks."""
    return sorted((home / "runbooks").glob("*.md"))

"""What can be known without a running service. Every function gives a list of problems, in words, empty when all is well.

Which metrics exist is taken from the services' own snapshots where there are any, and from `tests/series/*.txt` for the rest; that these
lists are true is what the live check sees.
"""

import json
import re
from pathlib import Path

import yaml

from . import files, promql

#: Sections that every runbook must have.
_SECTIONS = ("**Meaning.**", "**Look at**", "```promql", "**Do**", "**It resolves**")
_RUNBOOKS = "https://github.com/fraud-scoring/fraud-scoring/blob/main/deploy/monitoring/runbooks/"
_SEVERITIES = {"critical", "warning", "info"}
#: Made by Prometheus itself.
_PROMETHEUS_OWN = {"up", "ALERTS"}
_HISTOGRAM_PARTS = ("_bucket", "_sum", "_count")


def known_metrics(home: Path = files.HOME) -> set[str]:
    """Every series name that a rule, a panel or a runbook may use."""
    known = set(_PROMETHEUS_OWN)
    lists = [*(home / "tests/series").glob("*.txt")]
    snapshot = home.parent.parent / "fraud-api/tests/snapshots/metrics.txt"
    lists.append(snapshot)
    for path in lists:
        for line in path.read_text().splitlines():
            if not line or line.startswith("#"):
                continue
            name, kind, *_ = line.split()
            known |= {name + part for part in _HISTOGRAM_PARTS} if kind == "histogram" else {name}
    return known | {rule.name for rule in files.rules(home) if not rule.is_alert}


def alerts(home: Path = files.HOME) -> list[str]:
    """Each alert has a severity, two annotations and a runbook of its own; each runbook an alert."""
    problems = []
    pages = {path.stem: path.read_text() for path in files.runbooks(home)}
    names = [rule.name for rule in files.rules(home) if rule.is_alert]
    for rule in files.rules(home):
        if not rule.is_alert:
            continue
        if rule.labels.get("severity") not in _SEVERITIES:
            problems.append(f"{rule.name}: label `severity` must be one of {', '.join(sorted(_SEVERITIES))}")
        for annotation in ("summary", "description"):
            if not rule.annotations.get(annotation):
                problems.append(f"{rule.name}: annotation `{annotation}` is missing")
        if rule.annotations.get("runbook_url") != f"{_RUNBOOKS}{rule.name}.md":
            problems.append(f"{rule.name}: annotation `runbook_url` must be {_RUNBOOKS}{rule.name}.md")
        if rule.name not in pages:
            problems.append(f"{rule.name}: there is no runbooks/{rule.name}.md")
    problems += [f"{name}: two alerts have this name" for name in sorted({name for name in names if names.count(name) > 1})]
    for name, text in pages.items():
        if name not in names:
            problems.append(f"runbooks/{name}.md: there is no such alert")
        if not text.startswith(f"# {name}\n"):
            problems.append(f"runbooks/{name}.md: must begin with `# {name}`")
        problems += [f"runbooks/{name}.md: has no {section}" for section in _SECTIONS if section not in text]
        for link in re.findall(r"\]\(([^)#]+)\)", text):
            if "://" not in link and not (home / "runbooks" / link).exists():
                problems.append(f"runbooks/{name}.md: links to {link}, which is not there")
    return problems


def runbook_queries(home: Path = files.HOME) -> list[tuple[str, str]]:
    """(where, expression) of each query in a runbook; one a line."""
    found = []
    for path in files.runbooks(home):
        for block in re.findall(r"```promql\n(.*?)```", path.read_text(), re.S):
            found += [(f"runbooks/{path.name}", line) for line in block.splitlines() if line.strip()]
    return found


def panel_queries(home: Path = files.HOME) -> list[tuple[str, str]]:
    """(where, expression) of each query of each panel, with Grafana's variables still in it."""
    found = []
    for path in files.dashboards(home):
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel.get("targets", []):
                found.append((f"{path.name}, panel “{panel['title']}” ({panel['id']})", target["expr"]))
    return found


def expressions(home: Path = files.HOME) -> list[str]:
    """Each expression parses, names only metrics that somebody exports, and no label twice as different things."""
    problems = []
    known = known_metrics(home)
    all_of_them = [(f"rules/{rule.file}, {rule.name}", rule.expr) for rule in files.rules(home)]
    for where, expr in all_of_them + panel_queries(home) + runbook_queries(home):
        try:
            found = promql.metrics(promql.settled(expr))
        except ValueError as error:
            problems.append(f"{where}: {error}")
            continue
        problems += [f"{where}: nobody exports `{name}`" for name in sorted(found - known)]
    return problems


def every_alert_is_tested(home: Path = files.HOME) -> list[str]:
    """promtool sees each alert firing at least once, and silent at least once."""
    fires, silent = set(), set()
    for path in sorted((home / "tests").glob("*.test.yaml")):
        for test in yaml.safe_load(path.read_text())["tests"]:
            for case in test.get("alert_rule_test", []):
                (fires if case["exp_alerts"] else silent).add(case["alertname"])
    names = [rule.name for rule in files.rules(home) if rule.is_alert]
    problems = [f"{name}: no test sees it firing" for name in names if name not in fires]
    return problems + [f"{name}: no test sees it silent" for name in names if name not in silent]


def boards(home: Path = files.HOME) -> list[str]:
    """Each dashboard is whole: what a person at the screen needs, and what Grafana needs to show it."""
    problems = []
    uids = set()
    for path in files.dashboards(home):
        board = json.loads(path.read_text())
        where = path.name
        problems += [f"{where}: `{key}` is missing" for key in ("uid", "title", "description", "schemaVersion") if not board.get(key)]
        if board.get("uid") in uids:
            problems.append(f"{where}: its uid is another's too")
        uids.add(board.get("uid"))
        if [variable["name"] for variable in board["templating"]["list"]] != ["datasource", "namespace"]:
            problems.append(f"{where}: the variables must be datasource and namespace")
        ids = [panel["id"] for panel in board["panels"]]
        if len(ids) != len(set(ids)):
            problems.append(f"{where}: two panels have one id")
        problems += [f"{where}: {problem}" for problem in _overlaps(board["panels"])]
        for panel in board["panels"]:
            if panel["type"] != "row":
                problems += [f"{where}, panel “{panel.get('title')}”: {problem}" for problem in _panel(panel)]
    return problems


def _panel(panel: dict) -> list[str]:
    problems = [f"`{key}` is missing" for key in ("title", "description", "targets") if not panel.get(key)]
    if not panel.get("fieldConfig", {}).get("defaults", {}).get("unit"):
        problems.append("has no unit")
    source = {"type": "prometheus", "uid": "${datasource}"}
    if panel.get("datasource") != source:
        problems.append("its data source is not the variable")
    refs = [target["refId"] for target in panel.get("targets", [])]
    if len(refs) != len(set(refs)):
        problems.append("two queries have one refId")
    for target in panel.get("targets", []):
        if target.get("datasource") != source:
            problems.append("a query's data source is not the variable")
        if not target.get("legendFormat"):
            problems.append("a query has no legend")
        if "namespace=~" not in target["expr"] and "ALERTS" not in target["expr"]:
            problems.append("a query does not keep to the chosen namespace")
    return problems


def _overlaps(panels: list[dict]) -> list[str]:
    taken: dict[tuple[int, int], str] = {}
    problems = []
    for panel in panels:
        at = panel["gridPos"]
        if at["x"] + at["w"] > 24:
            problems.append(f"panel “{panel['title']}” stands out of the grid")
        for x in range(at["x"], at["x"] + at["w"]):
            for y in range(at["y"], at["y"] + at["h"]):
                if (x, y) in taken:
                    problems.append(f"panels “{taken[x, y]}” and “{panel['title']}” overlap")
                    break
                taken[x, y] = panel["title"]
            else:
                continue
            break
    return problems


def routes(home: Path = files.HOME) -> list[str]:
    """What Alertmanager's tools do not look at: secrets are files, and inhibitions name alerts that there are."""
    problems = []
    text = (home / "alertmanager.yaml").read_text()
    config = yaml.safe_load(text)
    for secret in ("bot_token:", "smtp_auth_password:", "auth_password:", "password:"):
        if re.search(rf"^\s*-?\s*{secret}", text, re.M):
            problems.append(f"alertmanager.yaml: `{secret}` stands in it; give a file ({secret[:-1]}_file)")
    names = {rule.name for rule in files.rules(home) if rule.is_alert}
    matchers = [matcher for rule in config["inhibit_rules"] for key in ("source_matchers", "target_matchers") for matcher in rule[key]]
    matchers += [matcher for route in config["route"]["routes"] for matcher in route.get("matchers", [])]
    for matcher in matchers:
        for pattern in re.findall(r'alertname=~?"([^"]+)"', matcher):
            if not any(re.fullmatch(pattern, name) for name in names):
                problems.append(f"alertmanager.yaml: `{matcher}` matches no alert")
            if "|" in pattern and "(" not in pattern:
                problems += [f"alertmanager.yaml: there is no alert {part}" for part in pattern.split("|") if part not in names]
    return problems


ALL = [alerts, expressions, every_alert_is_tested, boards, routes]

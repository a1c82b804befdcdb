"""Checks Argo CD's objects: check.py FOLDER ROOT [CRDS]

FOLDER holds the objects, ROOT is the tree that their paths are in, CRDS (optional) a folder of their OpenAPI schemas.
Prints what is wrong, one line each, and ends with 1 if anything is."""
import fnmatch
import json
import pathlib
import sys

import jsonschema
import yaml

OURS = "fraud-scoring/fraud-scoring.git"
WAVE = "argocd.argoproj.io/sync-wave"


def strict(schema: object) -> object:
    """The schema with unknown fields refused wherever it names the fields."""
    if isinstance(schema, list):
        return [strict(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    out = {key: strict(value) for key, value in schema.items()}
    if isinstance(out.get("properties"), dict) and not out.get("x-kubernetes-preserve-unknown-fields"):
        out.setdefault("additionalProperties", False)
    if out.pop("x-kubernetes-int-or-string", False):
        out.pop("type", None)
    return out


def by_schema(path: pathlib.Path, document: dict, crds: pathlib.Path) -> list[str]:
    """Problems that the definition of the kind sees."""
    definition = json.loads((crds / f"{document['kind']}_v1alpha1.json").read_text())["openAPIV3Schema"]
    definition["properties"]["metadata"] = {"type": "object"}
    validator = jsonschema.Draft202012Validator(strict(definition))
    return [f"{path}: {'.'.join(map(str, error.absolute_path))}: {error.message}" for error in validator.iter_errors(document)]


def project_problems(path: pathlib.Path, project: dict) -> list[str]:
    """A project that allows everything protects nothing."""
    spec, found = project["spec"], []
    if "*" in spec.get("sourceRepos", []):
        found.append("takes sources from anywhere: name the repositories")
    if any(place.get("namespace") == "*" or place.get("server") == "*" for place in spec.get("destinations", [])):
        found.append("goes into any namespace: name them")
    if any("*" in (kind.get("group"), kind.get("kind")) for kind in spec.get("clusterResourceWhitelist", [])):
        found.append("may make any cluster-wide kind: name them")
    return [f"{path}: the project {problem}" for problem in found]


def application_problems(path: pathlib.Path, application: dict, context: dict) -> list[str]:
    """Problems of one application, within its project and the tree."""
    spec, found = application["spec"], []
    project = context["projects"].get(spec["project"])
    if project is None:
        return [f"{path}: its project {spec['project']!r} does not exist"]
    source, place = spec["source"], spec["destination"]
    allowed = project["spec"]
    if not any(fnmatch.fnmatch(source["repoURL"], pattern) for pattern in allowed["sourceRepos"]):
        found.append(f"its project does not allow the repository {source['repoURL']}")
    if not any(fnmatch.fnmatch(place["namespace"], item["namespace"]) for item in allowed["destinations"]):
        found.append(f"its project does not allow the namespace {place['namespace']}")
    is_ours = source["repoURL"].endswith(OURS)
    revision = source.get("targetRevision", "HEAD")
    if not is_ours and revision in {"HEAD", "main", "master", "*"}:
        found.append(f"others' work by the moving name {revision}: give a version")
    options = spec.get("syncPolicy", {}).get("syncOptions", [])
    if "definitions" in application["metadata"]["name"]:
        if "ServerSideApply=true" not in options:
            found.append("definitions are too large for client-side apply: ServerSideApply=true")
        if spec["syncPolicy"].get("automated", {}).get("prune"):
            found.append("definitions must not be pruned: everything of their kind would go with them")
    if is_ours:
        folder = context["root"] / source["path"]
        if not (folder / "kustomization.yaml").is_file():
            found.append(f"there is no kustomization in {source['path']}")
        if source["path"] != "deploy/argocd/applications":
            found += replicas_problems(spec, options)
    return [f"{path}: {problem}" for problem in found]


def replicas_problems(spec: dict, options: list[str]) -> list[str]:
    """The autoscaler and git must not both say how many replicas there are."""
    ignored = [item for item in spec.get("ignoreDifferences", []) if item.get("kind") == "Deployment"]
    if not any("/spec/replicas" in item.get("jsonPointers", []) for item in ignored):
        return ["a difference in /spec/replicas of Deployments must be ignored: the autoscaler owns it"]
    if "RespectIgnoreDifferences=true" not in options:
        return ["without RespectIgnoreDifferences=true a sync still resets the replicas"]
    return []


def waves_problems(applications: list[tuple[pathlib.Path, dict]]) -> list[str]:
    """Definitions before the operators, operators before what uses them."""
    waves = {
        item["metadata"]["name"]: int(item["metadata"].get("annotations", {}).get(WAVE, "0")) for _, item in applications
    }
    order = [("monitoring-definitions", "monitoring"), ("monitoring", "fraud"), ("keda", "fraud")]
    return [
        f"{early} (wave {waves[early]}) must come before {late} (wave {waves[late]})"
        for early, late in order
        if early in waves and late in waves and waves[early] >= waves[late]
    ]


def main(folder: pathlib.Path, root: pathlib.Path, crds: pathlib.Path | None) -> list[str]:
    """All problems."""
    documents = []
    for path in sorted(folder.rglob("*.yaml")):
        documents += [(path, item) for item in yaml.safe_load_all(path.read_text()) if item and item["kind"] != "Kustomization"]
    found = []
    if crds:
        for path, item in documents:
            found += by_schema(path, item, crds)
        if found:
            return found
    projects = {item["metadata"]["name"]: item for _, item in documents if item["kind"] == "AppProject"}
    applications = [(path, item) for path, item in documents if item["kind"] == "Application"]
    context = {"projects": projects, "root": root}
    for path, item in documents:
        found += project_problems(path, item) if item["kind"] == "AppProject" else application_problems(path, item, context)
    listed = set(yaml.safe_load((folder / "applications/kustomization.yaml").read_text())["resources"])
    there = {path.name for path, _ in applications if path.parent.name == "applications"}
    found += [f"applications/kustomization.yaml does not list {name}" for name in sorted(there - listed)]
    return found + waves_problems(applications)


if __name__ == "__main__":
    arguments = [pathlib.Path(text) for text in sys.argv[1:]]
    problems = main(arguments[0], arguments[1], arguments[2] if len(arguments) > 2 else None)
    for problem in problems:
        print(problem, file=sys.stderr)
    sys.exit(1 if problems else 0)

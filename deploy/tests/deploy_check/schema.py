"""Strict schemas: kinds of Kubernetes 1.32, and the custom ones that are used here."""

import functools
import json
from pathlib import Path

import jsonschema
import yaml
from kubernetes_validate.utils import schema_contents
from referencing import Registry, Resource

from .build import DEPLOY

VERSION = "v1.32.0"
# Groups that the API server itself serves; a kind of these that has no schema does not exist.
BUILT_IN = {
    "", "apps", "autoscaling", "batch", "policy", "networking.k8s.io", "rbac.authorization.k8s.io", "storage.k8s.io",
    "scheduling.k8s.io", "coordination.k8s.io", "discovery.k8s.io", "apiextensions.k8s.io",
    "admissionregistration.k8s.io", "apiregistration.k8s.io", "certificates.k8s.io", "node.k8s.io",
}  # fmt: skip
# Whole schemas of custom kinds, where they are at hand; the ones in tests/schemas name only what is used here.
REFERENCE = DEPLOY.parents[1] / "shared" / "reference" / "crds"


def _group(api_version):
    return api_version.rpartition("/")[0]


@functools.cache
def _known():
    index = set()
    import kubernetes_validate

    folder = Path(kubernetes_validate.__file__).parent / "kubernetes-json-schema" / f"{VERSION}-local-strict"
    for path in folder.glob("*.json"):
        index.add(path.stem)
    return index


@functools.cache
def _built_in(kind, api_version):
    group, _, version = api_version.rpartition("/")
    short = group.split(".")[0]
    name = f"{kind.lower()}-{short + '-' if short else ''}{version}"
    if name not in _known():
        return None
    folder = f"kubernetes-json-schema/{VERSION}-local-strict"
    schema = schema_contents(f"{folder}/{name}.json", VERSION)
    registry = Resource.from_contents(schema) @ _definitions()
    return jsonschema.Draft202012Validator(schema, registry=registry)


@functools.cache
def _definitions():
    folder = f"kubernetes-json-schema/{VERSION}-local-strict"
    return Resource.from_contents(schema_contents(f"{folder}/_definitions.json", VERSION)) @ Registry()


def _closed(schema):
    """An OpenAPI schema of a CRD as the API server's strict validation reads it: what is not named is an error."""
    if not isinstance(schema, dict):
        return schema
    out = {k: v for k, v in schema.items() if not k.startswith("x-kubernetes") and k not in ("description", "format")}
    if "properties" in out:
        out["properties"] = {k: _closed(v) for k, v in out["properties"].items()}
        if "additionalProperties" not in out and not schema.get("x-kubernetes-preserve-unknown-fields"):
            out["additionalProperties"] = False
    for key in ("items", "additionalProperties"):
        if key in out:
            out[key] = _closed(out[key])
    if schema.get("x-kubernetes-int-or-string"):
        out.pop("type", None)
        out.pop("anyOf", None)
        out["type"] = ["integer", "string"]
    return out


@functools.cache
def _custom(kind, api_version):
    group, _, version = api_version.rpartition("/")
    found = []
    for path in sorted((DEPLOY / "tests" / "schemas").glob("*.yaml")):
        for entry in yaml.safe_load_all(path.read_text()):
            if (entry["group"], entry["version"], entry["kind"]) == (group, version, kind):
                found.append(entry["schema"])
    path = REFERENCE / f"{kind}_{version}.json"
    if path.exists():
        content = json.loads(path.read_text())
        if content["group"] == group:
            found.append(content["openAPIV3Schema"])
    validators = []
    for schema in found:
        closed = _closed(schema)
        # metadata is the API server's own; it is checked against ObjectMeta below.
        closed.setdefault("properties", {}).update({"metadata": {"type": "object"}, "apiVersion": {}, "kind": {}})
        validators.append(jsonschema.Draft202012Validator(closed))
    return validators


def check(o):
    """What is wrong with an object, as texts."""
    kind, api_version = o["kind"], o["apiVersion"]
    where = f"{kind}/{o['metadata'].get('name')}"
    if _group(api_version) in BUILT_IN:
        validator = _built_in(kind, api_version)
        if validator is None:
            yield f"{where}: Kubernetes {VERSION} knows no {api_version} {kind}"
            return
        validators = [validator]
    else:
        validators = _custom(kind, api_version)
        if not validators:
            yield f"{where}: no schema for {api_version} {kind}; add what is used of it to deploy/tests/schemas"
            return
        # Names, labels and annotations of a custom object are like those of any other.
        stand_in = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": o["metadata"]}
        yield from (text.replace("ConfigMap/", f"{kind}/") for text in check(stand_in))
    for validator in validators:
        for error in sorted(validator.iter_errors(o), key=lambda e: list(map(str, e.absolute_path))):
            best = jsonschema.exceptions.best_match([error]) or error
            path = ".".join(map(str, best.absolute_path)) or "(top)"
            yield f"{where}: {path}: {best.message[:200]}"

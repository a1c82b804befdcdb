"""From kustomizations to the objects that a cluster would be sent."""

import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import yaml

DEPLOY = Path(__file__).resolve().parents[2]

# What a component needs to be there beforehand is said in its kustomization's annotations.
SECRETS = "fraud-scoring/secrets"


class BuildError(Exception):
    """A kustomization that cannot be built."""


@dataclass
class Bundle:
    """The objects of one kustomization."""

    name: str
    objects: list
    # Secrets that somebody makes by hand before the first apply.
    secrets: set = field(default_factory=set)

    @property
    def is_overlay(self) -> bool:
        """Whether it is applied as it is, and so must be whole; the others are parts of such."""
        return any(o["kind"] == "Namespace" for o in self.objects)

    def of(self, *kinds):
        """The objects of some kinds."""
        return [o for o in self.objects if o["kind"] in kinds]

    def find(self, kind, name, namespace=None):
        """The object of that name, or nothing."""
        for o in self.of(kind):
            here = o["metadata"].get("namespace")
            if o["metadata"]["name"] == name and (namespace is None or here == namespace):
                return o
        return None


def kustomizations():
    """Every kustomization under deploy/ that stands for itself, and the folders of those that are only added to others."""
    whole, components = [], []
    for path in sorted(DEPLOY.rglob("kustomization.yaml")):
        kind = yaml.safe_load(path.read_text()).get("kind", "Kustomization")
        (components if kind == "Component" else whole).append(path.parent)
    return whole, components


def build(folder: Path) -> Bundle:
    """Builds one kustomization, strictly.

    Raises BuildError with what the tool said.
    """
    kubectl = os.environ.get("KUBECTL", "kubectl")
    ran = subprocess.run([kubectl, "kustomize", str(folder)], capture_output=True, text=True, check=False)
    # A warning (a deprecated field, a patch without a target) is a mistake that was let through.
    if ran.returncode != 0 or ran.stderr.strip():
        raise BuildError(f"{folder}: {ran.stderr.strip()}")
    objects = [o for o in yaml.load_all(ran.stdout, Loader=UniqueLoader) if o]
    secrets = set()
    for path in members(folder):
        annotations = yaml.safe_load(path.read_text()).get("metadata", {}).get("annotations", {})
        secrets |= set(filter(None, annotations.get(SECRETS, "").replace(" ", "").split(",")))
    return Bundle(str(folder.relative_to(DEPLOY) if folder.is_relative_to(DEPLOY) else folder), objects, secrets)


def members(folder: Path):
    """The kustomization files that one is made of, itself included."""
    path = folder / "kustomization.yaml"
    if not path.exists():
        return
    yield path
    content = yaml.safe_load(path.read_text())
    for entry in content.get("resources", []) + content.get("components", []):
        below = (folder / entry).resolve()
        if below.is_dir():
            yield from members(below)


class UniqueLoader(yaml.CSafeLoader if hasattr(yaml, "CSafeLoader") else yaml.SafeLoader):
    """YAML in which a key that stands twice is an error."""


def _mapping(loader, node, deep=False):
    seen = set()
    for key, _ in node.value:
        name = loader.construct_object(key, deep=deep)
        if name in seen:
            raise yaml.constructor.ConstructorError(None, None, f"the key {name!r} stands twice", key.start_mark)
        seen.add(name)
    return yaml.SafeLoader.construct_mapping(loader, node, deep)


UniqueLoader.add_constructor(
    yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, lambda loader, node: _mapping(loader, node, deep=True)
)
UniqueLoader.add_constructor("tag:yaml.org,2002:value", lambda loader, node: str(node.value))

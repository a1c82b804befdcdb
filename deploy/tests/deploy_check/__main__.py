"""python -m deploy_check [--binaries FOLDER] [KUSTOMIZATION…]: builds and checks every kustomization under deploy/."""

import argparse
import sys
from pathlib import Path

from . import network, probes, references, scaling, schema, security, settings, sizes, updates, volumes
from .build import DEPLOY, BuildError, build, kustomizations

# Every check: name and function of a bundle that yields what is wrong.
CHECKS = {
    "schema": lambda bundle: (text for o in bundle.objects for text in schema.check(o)),
    "references": references.check,
    "scaling": scaling.check,
    "security": security.check,
    "network": network.check,
    "settings": settings.check,
    "probes": probes.check,
    "sizes": sizes.check,
    "updates": updates.check,
    "volumes": volumes.check,
}


def problems(bundle, checks=None):
    """Everything that is wrong with a bundle: name of the check, text."""
    for name in checks or CHECKS:
        for text in CHECKS[name](bundle):
            yield name, text


def unused(components, folders):
    """Components that no kustomization adds: nothing has built them."""
    import yaml

    added = set()
    for folder in [*folders, *components]:
        content = yaml.safe_load((folder / "kustomization.yaml").read_text())
        added |= {(folder / entry).resolve() for entry in content.get("components", [])}
    return [c for c in components if c.resolve() not in added]


def main():
    parser = argparse.ArgumentParser(prog="deploy_check", description=__doc__)
    parser.add_argument("--binaries", type=Path, help="folder of the three programs, to ask them about settings and arguments")
    parser.add_argument("--write", type=Path, help="folder to write what was built to, one file a kustomization")
    parser.add_argument("kustomization", nargs="*", help="below deploy/; all by default")
    arguments = parser.parse_args()
    whole, components = kustomizations()
    folders = [DEPLOY / k for k in arguments.kustomization] or whole
    wrong = 0
    for folder in folders:
        try:
            bundle = build(folder)
        except BuildError as error:
            print(f"build  {error}", file=sys.stderr)
            wrong += 1
            continue
        found = list(problems(bundle))
        if arguments.binaries:
            found += [("check-config", text) for text in settings.check_config(bundle, arguments.binaries)]
            found += [("check-load", text) for text in settings.check_load(bundle, arguments.binaries)]
        for name, text in found:
            print(f"deploy/{bundle.name}: {name}: {text}", file=sys.stderr)
        wrong += len(found)
        kind = "overlay" if bundle.is_overlay else "part"
        print(f"deploy/{bundle.name}: {kind}, {len(bundle.objects)} objects, {len(found) or 'no'} problems")
        if arguments.write and bundle.is_overlay:
            text = schema.yaml.safe_dump_all(bundle.objects, sort_keys=False)
            (arguments.write / (bundle.name.replace("/", "-") + ".yaml")).write_text(text)
    if not arguments.kustomization:
        for component in unused(components, whole):
            print(f"{component.relative_to(DEPLOY.parent)}: no kustomization adds it, so nothing built it", file=sys.stderr)
            wrong += 1
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

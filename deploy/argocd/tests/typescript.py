"""Writes Argo CD's objects as TypeScript, so that its compiler holds them against the published types: typescript.py FOLDER

It sees wrong types and, unlike a validator, every field that does not exist."""
import json
import pathlib
import sys

import yaml

print('import type { IApplication } from "@kubernetes-models/argo-cd/argoproj.io/v1alpha1/Application";')
print('import type { IAppProject } from "@kubernetes-models/argo-cd/argoproj.io/v1alpha1/AppProject";')
number = 0
for path in sorted(pathlib.Path(sys.argv[1]).rglob("*.yaml")):
    for document in yaml.safe_load_all(path.read_text()):
        if document and document["kind"] != "Kustomization":
            number += 1
            print(f"// {path}\nexport const object{number}: I{document['kind']} = {json.dumps(document, indent=2)};")

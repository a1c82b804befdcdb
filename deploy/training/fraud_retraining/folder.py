"""A run's folder: every step reads what earlier ones wrote there, and writes its own whole or not at all."""

import contextlib
import json
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from fraud_retraining.errors import OutOfOrder
from fraud_retraining.parameters import DrillParameters, Environment, Parameters

# File → the step that writes it.
FILES = {
    "transactions.parquet": "extract",
    "extract.json": "extract",
    "champion.json": "champion",
    "champion.onnx": "champion",
    "features.parquet": "features",
    "model.onnx": "train",
    "training.json": "train",
    "test.parquet": "train",
    "curves.json": "train",
    "scored.parquet": "evaluate",
    "evaluation.json": "evaluate",
    "run.json": "log",
    "verdict.json": "gate",
    "verdict.html": "gate",
    "version.json": "register",
}
# What tells a run's folder from others: written by its first steps, a drill's only one, or one that failed.
MARKS = ("extract.json", "champion.json", "drill.json", "failure.json")
SECONDS_PER_DAY = 86_400


@dataclass(frozen=True)
class Run:
    """Everything a step is given."""

    id: str
    parameters: Parameters | DrillParameters
    environment: Environment

    @property
    def folder(self) -> Path:
        """Made where it is lacking."""
        folder = self.environment.folder(self.id)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def path(self, name: str) -> Path:
        """Where a file is written."""
        return self.folder / name

    def need(self, name: str) -> Path:
        """A file of an earlier step; raises `OutOfOrder`."""
        path = self.path(name)
        if not path.exists():
            raise OutOfOrder(path, FILES.get(name, "before this one"))
        return path

    def read(self, name: str) -> dict:
        """A JSON file of an earlier step."""
        return json.loads(self.need(name).read_text(encoding="utf-8"))

    def write(self, name: str, table: dict) -> dict:
        """Writes a JSON file in one step; gives the table."""
        self.write_bytes(name, (json.dumps(table, indent=1, default=str, allow_nan=False) + "\n").encode())
        return table

    def write_bytes(self, name: str, content: bytes) -> Path:
        """Writes a file in one step: a reader sees the old one or the new one."""
        path = self.path(name)
        draft = path.with_name(f".{path.name}.part")
        draft.write_bytes(content)
        draft.replace(path)
        return path


def remove_old(run: Run) -> list[str]:
    """Removes the folders of runs that nothing was written to for `keep_days`, never the run's own; gives their names."""
    oldest = time.time() - run.parameters.keep_days * SECONDS_PER_DAY
    removed = []
    for folder in sorted(run.folder.parent.iterdir()):
        # What is not ours to read is not ours to remove.
        with contextlib.suppress(OSError):
            ours = not folder.is_symlink() and any((folder / mark).is_file() for mark in MARKS)
            if not ours or folder == run.folder:
                continue
            if max(path.lstat().st_mtime for path in (folder, *folder.iterdir())) < oldest:
                shutil.rmtree(folder)
                removed.append(folder.name)
    return removed

"""A copy of the folder that a test may spoil."""

import shutil
import tempfile
from pathlib import Path

from fraud_monitoring import files

ROOT = files.HOME.parent.parent
#: What the checks look at outside of their folder.
OUTSIDE = ["fraud-api/tests/snapshots/metrics.txt", "deploy/training/README.md", "fraud-stream/RECOVERY.md"]


class Copy:
    """A copy of the folder that a test may spoil."""

    def __enter__(self) -> Path:
        self.folder = tempfile.TemporaryDirectory()
        root = Path(self.folder.name)
        shutil.copytree(files.HOME, root / "deploy/monitoring", ignore=shutil.ignore_patterns("__pycache__"))
        for name in OUTSIDE:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, root / name)
        return root / "deploy/monitoring"

    def __exit__(self, *_) -> None:
        self.folder.cleanup()


def replaced(path: Path, old: str, new: str) -> None:
    """Puts `new` in the place of the first `old`, which must be there."""
    text = path.read_text()
    assert old in text, f"{old!r} is not in {path.name}"
    path.write_text(text.replace(old, new, 1))

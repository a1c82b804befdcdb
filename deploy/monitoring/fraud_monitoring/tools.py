"""What Prometheus' and Alertmanager's own tools say: promtool on rules and their tests, amtool on configuration and routes."""

import shutil
import subprocess
import tempfile
from pathlib import Path

from . import files


def run(*command: str) -> tuple[bool, str]:
    """Whether a command succeeded, and what it printed."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode == 0, (done.stdout + done.stderr).strip()


def rule_syntax(home: Path = files.HOME) -> list[str]:
    """promtool reads every rule file, and finds no rule twice."""
    good, said = run("promtool", "check", "rules", *map(str, files.rule_files(home)))
    return [] if good and "duplicate rule" not in said else [f"promtool check rules: {said}"]


def rule_tests(home: Path = files.HOME, only: str = "*") -> list[str]:
    """promtool's tests of the rules hold. `only` is a pattern of their file names."""
    problems = []
    for path in sorted((home / "tests").glob(f"{only}.test.yaml")):
        good, said = run("promtool", "test", "rules", str(path))
        if not good:
            problems.append(f"promtool test rules {path.name}: {said}")
    return problems


def _amtool() -> str:
    # Debian puts it where a plain user's PATH may not look.
    return shutil.which("amtool") or "/usr/bin/amtool"


def _readable(config: Path, folder: str) -> Path:
    """The configuration as any Alertmanager from 0.24 on reads it: `bot_token_file` came with 0.26."""
    copy = Path(folder) / config.name
    copy.write_text(config.read_text().replace("bot_token_file: ", "bot_token: "))
    return copy


def routes(home: Path = files.HOME) -> list[str]:
    """amtool reads both configurations, and every alert goes where `tests/routes.txt` says, with the labels of its rule."""
    problems = []
    wanted = dict(
        line.split() for line in (home / "tests/routes.txt").read_text().splitlines() if line and not line.startswith("#")
    )
    alerts = [rule for rule in files.rules(home) if rule.is_alert]
    problems += [f"tests/routes.txt: where does {rule.name} go?" for rule in alerts if rule.name not in wanted]
    with tempfile.TemporaryDirectory() as folder:
        for name in ("alertmanager.yaml", "alertmanager.webhook.yaml"):
            config = _readable(home / name, folder)
            good, said = run(_amtool(), "check-config", str(config))
            if not good:
                problems.append(f"amtool check-config {name}: {said}")
        config = str(_readable(home / "alertmanager.yaml", folder))
        for rule in alerts:
            receivers = wanted.get(rule.name, "")
            labels = [f"{key}={value}" for key, value in {"alertname": rule.name, "namespace": "fraud", **rule.labels}.items()]
            test = ("config", "routes", "test", f"--config.file={config}", f"--verify.receivers={receivers}")
            good, said = run(_amtool(), *test, *labels)
            if not good:
                problems.append(f"{rule.name} does not go to {receivers}: {said}")
    return problems


ALL = [rule_syntax, rule_tests, routes]

"""Calls the platform's own programs: features and scores come from the engine that serves."""

import json
import shutil
import subprocess
from pathlib import Path

from fraud_retraining.errors import ProgramError, StepError
from fraud_retraining.parameters import Environment

# How much of what a program said stands in an error.
SAID = 600


def find(environment: Environment, name: str) -> str:
    """The program's path; raises `StepError` where it is not installed."""
    found = shutil.which(name, path=str(environment.programs) if environment.programs else None)
    if not found:
        place = environment.programs or "PATH"
        raise StepError(f"{name} is not in {place}: set FRAUD_BIN to the folder with the platform's programs")
    return found


def call(environment: Environment, name: str, arguments: list) -> str:
    """Runs it to its end; gives what it printed. Raises `ProgramError` with its last words."""
    command = [find(environment, name), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    if done.returncode:
        said = (done.stderr or done.stdout).strip()
        raise ProgramError(f"{name} {arguments[0]}", done.returncode, said[-SAID:])
    return done.stdout


def replay(
    environment: Environment, model: Path, files: tuple[Path, Path], label_delay_days: int, features: Path | None
):
    """Scores transactions with a model as if each arrived at its time, labels coming back after the delay.

    `files`: transactions, assessments. `features`: where the model's features go. Gives the summary.
    """
    transactions, output = files
    summary = output.with_suffix(".summary.json")
    arguments = ["replay", "--input", transactions, "--model", model, "--output", output, "--summary", summary]
    arguments += ["--labels", "tx_fraud", "--label-delay", f"{label_delay_days}d"]
    if features:
        arguments += ["--features", features]
    call(environment, "fraud-stream", arguments)
    return json.loads(summary.read_text(encoding="utf-8"))


def latency(environment: Environment, transactions: Path, models: list[Path]) -> list[dict]:
    """Time to assess one transaction, of all models in one run."""
    arguments = ["latency", "--input", transactions]
    for model in models:
        arguments += ["--model", model]
    return json.loads(call(environment, "fraud-stream", arguments))["models"]

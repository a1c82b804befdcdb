"""The command line: one step of a run, all of them, keys, and the webhook that starts runs.

python -m fraud_retraining extract --run-id monday --parameters '{"source": "archive", "until": "2026-01-31"}'
python -m fraud_retraining all --run-id monday --parameters @parameters.json
python -m fraud_retraining keys --private fraud.key --public fraud.pub
python -m fraud_retraining trigger --airflow http://localhost:8080 --credentials airflow.json --alert FraudFeatureDrift
"""

import argparse
import json
import sys
from pathlib import Path

from fraud_retraining import signing, trigger
from fraud_retraining.errors import StepError
from fraud_retraining.folder import Run
from fraud_retraining.parameters import Environment, parse, parse_drill

# sysexits.h: wrong data (the same will come of another try); a fault that may pass.
DATA_ERROR = 65
TRY_AGAIN = 75


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; gives the exit status: 0, 65 (trying again is no use), 75 (it may help), 99 (not promoted)."""
    options = _parser().parse_args(arguments)
    return options.command(options)


def _parser() -> argparse.ArgumentParser:
    from fraud_retraining.steps import STEPS

    parser = argparse.ArgumentParser(
        prog="python -m fraud_retraining", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, step in {**STEPS, "all": None}.items():
        text = (step.__doc__ or "").split("\n")[0] if step else "All steps, one after the other."
        command = commands.add_parser(name, help=text.rstrip("."), description=text)
        command.set_defaults(command=_steps, steps=list(STEPS) if name == "all" else [name], parse=parse)
        _run_options(command)

    attack = commands.add_parser(
        "drill", help="attack the service with fraud-loadgen's drill; the report goes to MLflow"
    )
    attack.set_defaults(command=_steps, steps=["drill"], parse=parse_drill)
    _run_options(attack)

    keys = commands.add_parser("keys", help="make a pair of Ed25519 keys for signing models")
    keys.add_argument("--private", type=Path, required=True, help="file for the private key (PEM); it must not exist")
    keys.add_argument("--public", type=Path, required=True, help="file for the public key (PEM), for the services")
    keys.set_defaults(command=_keys)

    hook = commands.add_parser("trigger", help="wait for Alertmanager's webhook and start runs through Airflow's API")
    hook.add_argument("--airflow", required=True, metavar="URL", help="Airflow's API server")
    hook.add_argument("--credentials", type=Path, required=True, help='JSON file {"username": …, "password": …}')
    hook.add_argument("--alert", action="append", required=True, help="an alert that starts a run; may be repeated")
    hook.add_argument("--dag", default="fraud_retraining")
    hook.add_argument("--conf", default="{}", help="parameters of the runs, JSON")
    hook.add_argument("--listen", default="127.0.0.1:8790", metavar="ADDRESS:PORT")
    hook.set_defaults(command=_trigger)
    return parser


def _run_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--run-id", required=True, help="names the run's folder below FRAUD_WORK")
    command.add_argument("--parameters", required=True, help="JSON, or @FILE")


def _steps(options: argparse.Namespace) -> int:
    from fraud_retraining.steps import DRILL, REFUSED, STEPS
    from fraud_training.errors import TrainingError

    environment = Environment.read()
    for name in options.steps:
        try:
            text = options.parameters
            parameters = options.parse(Path(text[1:]).read_text() if text.startswith("@") else text)
            run = Run(options.run_id, parameters, environment)
            run.path("failure.json").unlink(missing_ok=True)
            result = {**STEPS, **DRILL}[name](run)
        except (TrainingError, StepError, OSError) as error:
            retry = isinstance(error, OSError) or getattr(error, "retry", False)
            _failed(environment, options.run_id, {"step": name, "message": str(error), "retry": retry})
            return TRY_AGAIN if retry else DATA_ERROR
        print(json.dumps({"step": name, **(result or {"promoted": False})}, default=str), flush=True)
        if result is None:
            return REFUSED
    return 0


def _failed(environment: Environment, run_id: str, failure: dict) -> None:
    print(f"fraud_retraining {failure['step']}: {failure['message']}", file=sys.stderr, flush=True)
    # For whoever started the process: an exit status has no room for a reason.
    folder = environment.folder(run_id)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "failure.json").write_text(json.dumps(failure), encoding="utf-8")


def _keys(options: argparse.Namespace) -> int:
    try:
        signing.make_keys(options.private, options.public)
    except (StepError, OSError) as error:
        print(f"fraud_retraining keys: {error}", file=sys.stderr)
        return DATA_ERROR
    print(f"{options.private}: for the retraining (FRAUD_SIGNING_KEY_FILE); {options.public}: for the services")
    return 0


def _trigger(options: argparse.Namespace) -> int:
    host, _, port = options.listen.rpartition(":")
    try:
        airflow = trigger.Airflow(options.airflow, options.credentials, options.dag)
        hook = trigger.Hook(airflow, tuple(options.alert), json.loads(options.conf))
        trigger.run(hook, (host, int(port)))
    except (ValueError, OSError) as error:
        print(f"fraud_retraining trigger: {error}", file=sys.stderr)
        return 64
    return 0

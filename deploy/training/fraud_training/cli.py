"""The command line: `features` and `train`."""

import argparse
import json
import os
import sys
from pathlib import Path

import numpy as np
import polars as pl

from fraud_training import card, data, export, figures, recipe
from fraud_training.errors import TrainingError
from fraud_training.train import Outcome, run

# sysexits.h: the input data was wrong.
DATA_ERROR = 65


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; gives the exit status."""
    options = _parser().parse_args(arguments)
    try:
        options.command(options)
    except TrainingError as error:
        print(f"fraud_training: {error}", file=sys.stderr)
        return DATA_ERROR
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m fraud_training", description=__doc__)
    commands = parser.add_subparsers(required=True)

    features = commands.add_parser(
        "features", help="write an untrained model of a recipe's features: with it as --model, replay computes them"
    )
    features.add_argument("--recipe", type=Path, required=True)
    features.add_argument("--output", type=Path, required=True, help="the ONNX file to write")
    features.set_defaults(command=_features)

    train = commands.add_parser("train", help="train, test, export")
    train.add_argument("--recipe", type=Path, required=True)
    train.add_argument("--transactions", type=Path, required=True, help="ids, times, customers, amounts, labels")
    train.add_argument("--features", type=Path, required=True, help="what replay wrote with --features")
    train.add_argument("--model", type=Path, required=True, help="the ONNX file to write")
    train.add_argument("--card", type=Path, required=True, help="the model card to write, Markdown")
    train.add_argument("--pictures", type=Path, required=True, help="folder for the card's pictures")
    train.add_argument("--scores", type=Path, help="also write transaction_id and score, Parquet")
    train.add_argument("--scores-from-day", type=int, default=0, help="first day of --scores (default 0)")
    train.add_argument("--made-by", default="python -m fraud_training train", help="the command the card names")
    train.set_defaults(command=_train)
    return parser


def _features(options: argparse.Namespace) -> None:
    export.save(export.carrier(recipe.read(options.recipe).all_features()), options.output)


def _train(options: argparse.Namespace) -> None:
    plan = recipe.read(options.recipe)
    print(f"reading {options.transactions.name} and {options.features.name} ...", flush=True)
    rows = data.load(options.transactions, options.features)
    print(f"{len(rows):,} labelled rows, {int(rows.fraud.sum()):,} frauds, days 0 to {int(rows.day[-1])}", flush=True)
    outcome = run(rows, plan, lambda line: print(line, flush=True))
    export.save(outcome.content, options.model)
    names = figures.draw(outcome, options.pictures)
    folder = os.path.relpath(options.pictures, options.card.parent)
    options.card.parent.mkdir(parents=True, exist_ok=True)
    text = card.write(outcome, names, (options.model.name, folder, options.made_by))
    options.card.write_text(text, encoding="utf-8")
    if options.scores:
        _scores(outcome, options.scores, options.scores_from_day)
    print()
    print(card.table(outcome))
    print()
    print(json.dumps({"thresholds": outcome.entries["thresholds"], "metrics": outcome.entries["metrics"]}))
    print(f"{options.model}: {len(outcome.content):,} bytes, at most "
          f"{outcome.check.greatest_difference:.1e} from the trained model on {outcome.check.rows:,} rows")  # fmt: skip


def _scores(outcome: Outcome, path: Path, first_day: int) -> None:
    """What the exported file answers, by ONNX Runtime, for every row from that day on."""
    rows = outcome.data.day >= first_day
    ids = outcome.data.ids[rows]
    score = export.run(outcome.content, outcome.data.inputs(rows))
    table = pl.DataFrame({"transaction_id": ids, "score": score.astype(np.float64)})
    whole = table["transaction_id"].cast(pl.Int64, strict=False)
    if not whole.null_count():
        # Ids that were numbers are numbers again, so that the file joins with the transactions.
        table = table.with_columns(whole)
    path.parent.mkdir(parents=True, exist_ok=True)
    table.write_parquet(path)

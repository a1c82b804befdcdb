"""Whole runs: the file, its metadata, its card, and the same bytes twice."""

import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import polars as pl
import pytest

from conftest import RECIPE
from fraud_training import card, errors, export, figures, metadata, recipe, select, thresholds, train
from fraud_training.cli import main
from fraud_training.evaluate import quality

# Keys that FORMAT.md knows; any other is refused at load.
FORMAT = Path(__file__).resolve().parents[3] / "fraud-core" / "models" / "FORMAT.md"


@pytest.fixture
def outcome(dataset, plan):
    return train.run(dataset, plan, lambda _: None)


def test_the_file_answers_as_the_model(outcome, dataset):
    rows = outcome.test.split.test_rows(dataset)
    answered = export.run(outcome.content, dataset.inputs(rows))
    assert np.abs(answered - outcome.probability).max() < 1e-5
    assert quality(dataset, rows, answered).roc_auc == pytest.approx(outcome.test.seeds[0].roc_auc, abs=1e-6)
    assert outcome.test.seeds[0].roc_auc > 0.8


def test_the_same_input_gives_the_same_bytes(outcome, tables, write, plan):
    transactions, features = tables
    shuffled = write(transactions.sample(fraction=1, shuffle=True, seed=2), features.reverse())
    assert train.run(shuffled, plan, lambda _: None).content == outcome.content


def test_metadata(outcome, dataset):
    entries = metadata.read(onnx.load_from_string(outcome.content))
    assert entries["format"] == "1"
    assert (entries["name"], entries["version"]) == ("test", "1")
    assert entries["features"] == list(outcome.data.names)
    assert 0 <= entries["thresholds"]["review_at"] <= entries["thresholds"]["decline_at"] <= 1
    training = entries["training"]
    assert (training["from"], training["to"]) == ("2024-01-20", "2024-02-18")
    rows = outcome.test.split.train_rows(outcome.data)
    assert training["rows"] == rows.sum()
    assert training["data_sha256"] == metadata.data_hash(outcome.data, rows)
    assert set(entries["metrics"]) == {"roc_auc", "average_precision", "card_precision_at_100"}


def test_every_key_is_one_that_the_platform_knows(outcome):
    if not FORMAT.exists():
        pytest.skip(f"{FORMAT} is not here")
    known = set(re.findall(r"^\| `(fraud\.\w+)`", FORMAT.read_text(), re.MULTILINE))
    assert {entry.key for entry in onnx.load_from_string(outcome.content).metadata_props} <= known


def test_golden_rows_hold_after_a_round_trip_through_text(outcome):
    golden = metadata.read(onnx.load_from_string(outcome.content))["golden"]
    inputs = np.array(golden["inputs"]).astype(np.float32)
    session = onnxruntime.InferenceSession(outcome.content)
    again = session.run(["probabilities"], {"features": inputs})[0][:, 1]
    assert np.abs(again - np.array(golden["probabilities"])).max() <= 1e-7
    assert 16 <= len(inputs) <= 1000
    gap = outcome.data.inputs(outcome.test.split.gap_rows(outcome.data))
    everything = export.run(outcome.content, gap)
    assert (min(golden["probabilities"]), max(golden["probabilities"])) == pytest.approx(
        (everything.min(), everything.max()), abs=1e-7
    )


def test_baseline_bins(outcome):
    entries = metadata.read(onnx.load_from_string(outcome.content))
    data, rows = outcome.data, outcome.test.split.train_rows(outcome.data)
    for k, name in enumerate(data.names):
        histogram = entries["baseline"]["features"][name]
        edges, counts = histogram["edges"], histogram["counts"]
        values = data.inputs(rows)[:, k].astype(np.float64)
        assert len(counts) == len(edges) + 1
        assert (np.diff(edges) > 0).all()
        for number, count in enumerate(counts):
            index = np.searchsorted(edges, values, side="right")
            assert (index == number).sum() == count
        assert min(counts) > 0
        assert histogram["median"] == np.median(values)
    assert sum(entries["baseline"]["score"]["counts"]) == outcome.test.split.gap_rows(data).sum()


@pytest.mark.parametrize("values", [[1.0] * 50, [0.0] * 99 + [1.0], list(range(7))])
def test_histograms_of_few_values(values):
    histogram = metadata._histogram(np.array(values, dtype=np.float32), 10)
    assert sum(histogram["counts"]) == len(values)
    assert min(histogram["counts"]) > 0


def test_an_export_that_differs_is_refused(outcome, dataset):
    with pytest.raises(errors.ExportError, match="differs from the trained model"):
        export.check(outcome.content, dataset.inputs(slice(100)), np.full(100, 0.5))


@pytest.mark.parametrize("family", ["logistic_regression", "random_forest", "blend"])
def test_every_family_exports(dataset, tmp_path, family):
    item = f'[[candidates]]\nname = "one"\nfeatures = "all"\nfamily = "{family}"\ntrain_days = 30\n'
    if family == "blend":
        item += 'parts = [{ family = "lightgbm", parameters = { trees = 5 } }, { family = "extra_trees" }]\n'
    path = tmp_path / "one.toml"
    path.write_text(RECIPE[: RECIPE.index("[[candidates]]")] + item)
    outcome = train.run(dataset, recipe.read(path), lambda _: None)
    assert outcome.check.greatest_difference < 1e-5
    assert len(onnx.load_from_string(outcome.content).graph.node) == 1


def test_the_choice_does_not_see_the_test_week(dataset, plan):
    """Other labels from the day after training on change nothing about what is chosen and calibrated."""
    chosen, results = select.choose(dataset, plan)
    split = select.final_split(dataset, plan, 30)
    later = dataset.day > split.train_to
    assert later.any()
    dataset.fraud.setflags(write=True)
    dataset.fraud[later] = 1 - dataset.fraud[later]
    again, others = select.choose(dataset, plan)
    assert again.candidate == chosen.candidate
    assert [r.weeks for r in results] == [r.weeks for r in others]
    assert again.calibration == chosen.calibration


def test_a_candidate_that_is_too_large_is_only_compared(dataset, plan):
    chosen, results = select.choose(dataset, replace(plan, max_leaves=10))
    assert chosen.candidate.name == "linear"
    assert [result.leaves > 10 for result in results] == [False, True]
    boosted = replace(plan, candidates=plan.candidates[1:], max_leaves=10)
    with pytest.raises(errors.ConfigError, match="max_leaves"):
        select.choose(dataset, boosted)


def test_too_many_validation_weeks(dataset, plan):
    plan = replace(plan, split=replace(plan.split, validation_weeks=9))
    with pytest.raises(errors.EmptyPeriod, match="ask for fewer"):
        select.choose(dataset, plan)


def test_card_and_pictures(outcome, tmp_path):
    names = figures.draw(outcome, tmp_path)
    text = card.write(outcome, names, ("m.onnx", "pictures", "make it"))
    for name in names:
        assert (tmp_path / name).stat().st_size > 5_000
        assert f"pictures/{name}" in text
    assert f"**{outcome.thresholds.review_at:.4f}**" in text
    assert "| boosted | 3 | 30 |" in text
    first = {name: (tmp_path / name).read_bytes() for name in names}
    figures.draw(outcome, tmp_path)
    assert first == {name: (tmp_path / name).read_bytes() for name in names}


def test_alert_budget_recipe(dataset, plan):
    plan = replace(plan, thresholds=recipe.ThresholdRecipe(method="alert_budget", alerts_per_day=5))
    outcome = train.run(dataset, plan, lambda _: None)
    got = thresholds.outcome(
        outcome.chosen.probability, outcome.chosen.fraud, np.zeros(len(outcome.chosen.fraud)), outcome.thresholds
    )
    assert 0 < got["review"] + got["decline"] <= 5 * 14


def write_files(tables, tmp_path):
    paths = [tmp_path / name for name in ("t.parquet", "f.parquet", "recipe.toml")]
    for table, path in zip(tables, paths, strict=False):
        table.write_parquet(path)
    paths[2].write_text(RECIPE)
    return paths


def arguments(paths, out):
    return [
        "train", "--transactions", str(paths[0]), "--features", str(paths[1]), "--recipe", str(paths[2]),
        "--model", str(out / "m.onnx"), "--card", str(out / "README.md"), "--pictures", str(out / "pictures"),
        "--scores", str(out / "scores.parquet"), "--scores-from-day", "50",
    ]  # fmt: skip


def test_command_line(tables, tmp_path):
    paths = write_files(tables, tmp_path)
    assert main(arguments(paths, tmp_path)) == 0
    scores = pl.read_parquet(tmp_path / "scores.parquet")
    assert scores.columns == ["transaction_id", "score"]
    day = tables[0].filter(pl.col("tx_datetime").dt.date() >= pl.date(2024, 2, 20))
    assert scores["transaction_id"].sort().equals(day["transaction_id"].sort())
    assert "](pictures/roc.png)" in (tmp_path / "README.md").read_text()


def test_another_process_writes_the_same_file(tables, tmp_path):
    """Neither hash seeds nor the number of threads nor what ran before in the process get into the file."""
    paths = write_files(tables, tmp_path)
    contents = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        command = [sys.executable, "-m", "fraud_training", *arguments(paths, tmp_path / name)]
        # Two threads once: their number gets in neither.
        threads = {"TRAINING_THREADS": "1" if name == "a" else "2", "PYTHONHASHSEED": "1" if name == "a" else "2"}
        subprocess.run(
            command, check=True, capture_output=True, cwd=Path(__file__).parents[1], env={**os.environ, **threads}
        )
        contents.append((tmp_path / name / "m.onnx").read_bytes())
    assert contents[0] == contents[1]


def test_errors_are_one_line_and_leave_no_file(tables, tmp_path, capsys):
    transactions, features = tables
    paths = write_files((transactions.drop("tx_fraud"), features), tmp_path)
    assert main(arguments(paths, tmp_path)) == 65
    message = capsys.readouterr().err
    assert message.startswith("fraud_training: ") and message.count("\n") == 1 and "tx_fraud" in message
    assert not (tmp_path / "m.onnx").exists()


def test_carrier_of_features(tmp_path, plan):
    path = tmp_path / "carrier.onnx"
    assert main(["features", "--recipe", str(tmp_path / "recipe.toml"), "--output", str(path)]) == 0
    content = path.read_bytes()
    assert metadata.read(onnx.load_from_string(content))["features"] == plan.names("all")
    assert export.run(content, np.ones((3, 3), dtype=np.float32)).tolist() == [0.5, 0.5, 0.5]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (("version", "verzion"), "verzion"),
        (('family = "lightgbm"', 'family = "magic"'), "magic"),
        (('features = "all"', 'features = "none"'), "none"),
        (("train_days = 30", "train_days = 3"), "train_days"),
        (('name = "boosted"', 'name = "linear"'), "names of their own"),
        (("num_leaves = 7", "num_leaves = -7"), "num_leaves"),
        (('"1"', "1 2"), "recipe.toml"),
        (("validation_weeks = 2", "validation_weeks = 0"), "validation_weeks"),
    ],
)
def test_recipes_that_cannot_be_followed(dataset, tmp_path, change, problem):
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE.replace(*change))
    with pytest.raises(errors.ConfigError, match=problem):
        select.choose(dataset, recipe.read(path))

"""Champion and candidate in the engine that serves: with other features, of a newer format, with wrong golden rows.

Needs the platform's programs: FRAUD_BIN, as `scripts/mlops.sh` sets it.
"""

import os
import shutil
from datetime import date
from pathlib import Path

import numpy as np
import onnx
import polars as pl
import pytest

from fraud_retraining import evaluate, extract, programs, train
from fraud_retraining.errors import ModelRefused, ProgramError
from fraud_retraining.folder import Run
from fraud_retraining.parameters import Environment, Parameters
from fraud_training import graph, metadata
from fraud_training.additive import Additive

pytestmark = pytest.mark.skipif("FRAUD_BIN" not in os.environ, reason="FRAUD_BIN is not set: scripts/mlops.sh sets it")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run whose candidate is trained."""
    folder = tmp_path_factory.mktemp("run")
    environment = Environment(folder / "work", Path(os.environ["FRAUD_BIN"]).absolute(), None, None, "a test")
    archive = folder / "archive.parquet"
    size = ["--days", "63", "--customers", "500", "--terminals", "800", "--seed", "3", "--output", archive]
    programs.call(environment, "fraud-loadgen", ["simulate", *size])
    recipe = str(Path(__file__).with_name("recipe.toml"))
    run = Run("r", Parameters(str(archive), date(2018, 6, 10), window_days=63, recipe=recipe), environment)
    extract.extract(run)
    train.features(run)
    train.fit(run)
    return run


@pytest.fixture
def run(trained, tmp_path):
    """A copy of it."""
    shutil.copytree(trained.folder, tmp_path / "r")
    environment = Environment(tmp_path, trained.environment.programs, None, None, "a test")
    run = Run("r", trained.parameters, environment)
    run.write("champion.json", {"version": "1", "sha256": "unused here"})
    return run


def champion(run, features: list, **entries) -> None:
    """Puts a linear model of these features into the run."""
    proto = graph.build(Additive(weights=np.full(len(features), 0.001), intercept=-3.0, link="logistic"), len(features))
    metadata.write(proto, {"format": metadata.FORMAT, "name": "old", "version": "1", "features": features, **entries})
    run.write_bytes("champion.onnx", proto.SerializeToString(deterministic=True))


def test_without_a_champion(run):
    run.write("champion.json", {"version": None, "sha256": None})
    found = evaluate.evaluate(run)
    assert found["roles"] == ["candidate"] and found["engine"]["feature_values_differing"] == 0
    assert found["engine"]["from_trained"] < 1e-5 and found["latency_us"]["candidate"] > 0
    assert found["history"]["seconds"] == 37 * 86_400


def test_a_champion_of_other_features_is_compared_on_the_same_rows(run):
    own = {"name": "N", "source": "window", "key": "customer", "aggregate": "count", "window": "2h"}
    champion(run, ["TX_AMOUNT", own])
    found = evaluate.evaluate(run)
    table = pl.read_parquet(run.path("scored.parquet"))
    assert found["roles"] == ["candidate", "champion"]
    assert table["champion"].null_count() == 0 and table["champion"].n_unique() > 100
    # Of the rows, not of the features that the candidate happens to have.
    amounts = table["amount"].to_numpy()
    order = np.argsort(amounts)
    assert np.corrcoef(amounts[order], table["champion"].to_numpy()[order])[0, 1] > 0.9


def test_a_champion_of_a_newer_format(run):
    champion(run, ["TX_AMOUNT"], format="2")
    with pytest.raises(ModelRefused, match="champion cannot be used by the engine that serves.*format"):
        evaluate.evaluate(run)


def test_a_champion_with_a_feature_nobody_knows(run):
    champion(run, ["TX_AMOUNT", "MOON_PHASE"])
    with pytest.raises(ModelRefused, match="MOON_PHASE"):
        evaluate.evaluate(run)


def test_a_candidate_whose_golden_rows_do_not_agree(run):
    run.write("champion.json", {"version": None, "sha256": None})
    proto = onnx.load_from_string(run.path("model.onnx").read_bytes())
    entries = metadata.read(proto)
    entries["golden"]["probabilities"][0] += 0.01
    del proto.metadata_props[:]
    metadata.write(proto, entries)
    run.write_bytes("model.onnx", proto.SerializeToString(deterministic=True))
    with pytest.raises(ModelRefused, match="golden"):
        evaluate.evaluate(run)


def test_a_program_that_is_refused_says_why(run):
    with pytest.raises(ProgramError, match="no such option|unexpected|--nonsense") as caught:
        programs.call(run.environment, "fraud-stream", ["replay", "--nonsense"])
    assert not caught.value.retry

"""Small labelled data sets with a signal that can be learned."""

from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest

from fraud_training import data, models, recipe

# The sets are so small that a second thread only waits.
models.THREADS = 1

DAYS = 70
PER_DAY = 120
START = datetime(2024, 1, 1)
FEATURES = ["TX_AMOUNT", "CUSTOMER_ID_NB_TX_7DAY_WINDOW", "TERMINAL_ID_RISK_7DAY_WINDOW"]

RECIPE = """
name = "test"
version = "1"
title = "A model for tests"
seeds = [0, 1]

[split]
label_delay_days = 7
validation_weeks = 2
test_from = 56
other_weeks = [7]

[feature_sets]
all = ["TX_AMOUNT", "CUSTOMER_ID_NB_TX_7DAY_WINDOW", "TERMINAL_ID_RISK_7DAY_WINDOW"]

[[candidates]]
name = "linear"
family = "logistic_regression"
features = "all"
train_days = 30

[[candidates]]
name = "boosted"
family = "lightgbm"
features = "all"
train_days = 30
parameters = { trees = 12, num_leaves = 7, min_child_samples = 10 }
"""


@pytest.fixture
def tables():
    """(transactions, features): frauds are dear or at risky terminals, with noise."""
    random = np.random.default_rng(7)
    rows = DAYS * PER_DAY
    seconds = np.sort(random.integers(0, DAYS * 86_400, rows))
    amount = np.round(random.gamma(2.0, 30.0, rows), 2)
    risk = np.where(random.random(rows) < 0.05, random.random(rows), 0.0)
    logit = 0.04 * (amount - 200) + 6 * (risk - 0.5)
    fraud = (random.random(rows) < 1 / (1 + np.exp(-logit))).astype(int)
    transactions = pl.DataFrame(
        {
            "transaction_id": np.arange(rows),
            "tx_datetime": [START + timedelta(seconds=int(s)) for s in seconds],
            "customer_id": random.integers(0, 400, rows),
            "tx_amount": amount,
            "tx_fraud": fraud,
        }
    )
    count = random.integers(1, 30, rows).astype(float)
    values = dict(zip(FEATURES, [amount, count, risk], strict=True))
    return transactions, pl.DataFrame({"transaction_id": np.arange(rows).astype(str), **values})


@pytest.fixture
def write(tmp_path):
    """Writes the two tables as files and loads them."""

    def load(transactions, features, extension="parquet"):
        paths = []
        for name, table in (("transactions", transactions), ("features", features)):
            path = tmp_path / f"{name}.{extension}"
            {"parquet": table.write_parquet, "csv": table.write_csv, "jsonl": table.write_ndjson}[extension](path)
            paths.append(path)
        return data.load(*paths)

    return load


@pytest.fixture
def dataset(tables, write):
    """The loaded data."""
    return write(*tables)


@pytest.fixture
def plan(tmp_path):
    """The recipe for it."""
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE)
    return recipe.read(path)

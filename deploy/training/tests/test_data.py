"""Reading and joining, and everything that can be wrong with the input."""

import numpy as np
import polars as pl
import pytest

from fraud_training import data, errors, select
from fraud_training.split import Split, check


def test_formats_agree(tables, write):
    parquet, csv, lines = (write(*tables, extension) for extension in ("parquet", "csv", "jsonl"))
    for other in (csv, lines):
        assert np.array_equal(parquet.time, other.time)
        assert np.array_equal(parquet.ids, other.ids)
        assert np.array_equal(parquet.features, other.features)
        assert np.array_equal(parquet.fraud, other.fraud)


def test_row_order_does_not_matter(tables, write):
    transactions, features = tables
    shuffled = write(transactions.sample(fraction=1, shuffle=True, seed=1), features.reverse())
    plain = write(transactions, features)
    assert np.array_equal(plain.ids, shuffled.ids)
    assert np.array_equal(plain.features, shuffled.features)


def test_upper_case_columns_and_integer_ids_join(tables, write):
    transactions, features = tables
    upper = transactions.rename({name: name.upper() for name in transactions.columns})
    assert len(write(upper, features)) == transactions.height


def test_text_times_are_utc(tables, write):
    transactions, features = tables
    plain = write(transactions, features)
    for pattern in ("%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%dT%H:%M:%S+00:00"):
        text = transactions.with_columns(pl.col("tx_datetime").dt.strftime(pattern))
        assert np.array_equal(write(text, features).time, plain.time)


@pytest.mark.parametrize("column", data.TRANSACTION_COLUMNS)
def test_missing_column_is_named(tables, write, column):
    transactions, features = tables
    with pytest.raises(errors.MissingColumns, match=column):
        write(transactions.drop(column), features)


def test_feature_file_without_ids(tables, write):
    transactions, features = tables
    with pytest.raises(errors.MissingColumns, match="transaction_id"):
        write(transactions, features.drop("transaction_id"))


def test_missing_feature_is_named(dataset):
    with pytest.raises(errors.MissingColumns, match="TX_DURING_NIGHT"):
        dataset.select(["TX_AMOUNT", "TX_DURING_NIGHT"])


def test_duplicated_ids(tables, write):
    transactions, features = tables
    with pytest.raises(errors.DuplicateIds, match="2 transaction ids"):
        write(pl.concat([transactions, transactions.head(2)]), features)
    with pytest.raises(errors.DuplicateIds, match="1 transaction ids"):
        write(transactions, pl.concat([features, features.head(1)]))


def test_files_of_different_data(tables, write):
    transactions, features = tables
    with pytest.raises(errors.UnmatchedRows, match="not of the same data"):
        write(transactions.with_columns(pl.col("transaction_id") + 10**6), features)
    with pytest.raises(errors.UnmatchedRows, match="have no transaction"):
        write(transactions.head(1000), features)
    with pytest.raises(errors.UnmatchedRows, match="rejected"):
        write(transactions, features.head(1000))


def test_a_few_rejected_rows_are_left_out(tables, write):
    transactions, features = tables
    assert len(write(transactions, features.tail(-10))) == transactions.height - 10


@pytest.mark.parametrize("value", [None, float("nan"), float("inf")])
def test_a_feature_that_is_not_a_number(tables, write, value):
    transactions, features = tables
    risk = features["TERMINAL_ID_RISK_7DAY_WINDOW"].to_list()
    risk[17] = value
    with pytest.raises(errors.BadValues, match="TERMINAL_ID_RISK_7DAY_WINDOW"):
        write(transactions, features.with_columns(pl.Series("TERMINAL_ID_RISK_7DAY_WINDOW", risk)))


def test_labels_other_than_zero_and_one(tables, write):
    transactions, features = tables
    with pytest.raises(errors.BadValues, match="tx_fraud is 2"):
        write(transactions.with_columns(pl.col("tx_fraud") * 2), features)


def test_unreadable_files(tmp_path):
    with pytest.raises(errors.ConfigError, match="no such file"):
        data.read_table(tmp_path / "none.parquet")
    broken = tmp_path / "broken.parquet"
    broken.write_bytes(b"PAR1 not really")
    with pytest.raises(errors.BadValues, match="cannot be read"):
        data.read_table(broken)
    other = tmp_path / "table.xlsx"
    other.write_bytes(b"")
    with pytest.raises(errors.ConfigError, match="extension"):
        data.read_table(other)


SPLIT = Split(10, 40, 7)


def test_empty_period(dataset):
    with pytest.raises(errors.EmptyPeriod, match="days 0 to 69"):
        check(dataset, Split(70, 90, 7))


def test_one_class_only(tables, write):
    transactions, features = tables
    with pytest.raises(errors.OneClass, match="0 of"):
        check(write(transactions.with_columns(tx_fraud=pl.lit(0)), features), SPLIT)


def test_missing_days_are_named_and_can_be_allowed(tables, write):
    transactions, features = tables
    holiday = pl.col("tx_datetime").dt.date().is_between(pl.date(2024, 1, 20), pl.date(2024, 1, 21))
    kept = transactions.filter(~holiday)
    rows = write(kept, features.filter(pl.col("transaction_id").cast(int).is_in(kept["transaction_id"].implode())))
    with pytest.raises(errors.MissingDays, match="2 days.*2024-01-20, 2024-01-21"):
        check(rows, SPLIT)
    check(rows, SPLIT, allow_missing_days=True)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_feature_made_from_the_label(tables, write, plan, sign):
    transactions, features = tables
    leak = pl.Series("TX_AMOUNT", sign * transactions["tx_fraud"].to_numpy().astype(float))
    rows = write(transactions, features.with_columns(leak))
    with pytest.raises(errors.LabelLeakage, match="TX_AMOUNT"):
        select.choose(rows, plan)

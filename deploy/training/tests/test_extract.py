"""What the extraction takes, and what it refuses by name."""

import json
from datetime import UTC, date, datetime, timedelta
from functools import partial

import polars as pl
import pytest

from conftest import DAYS, RECIPE, START
from fraud_retraining.errors import ClockSkew, ParameterError
from fraud_retraining.extract import READERS, extract
from fraud_retraining.folder import Run
from fraud_retraining.parameters import Environment, Parameters, parse
from fraud_training.errors import (
    BadValues,
    ConfigError,
    DataError,
    DuplicateIds,
    EmptyPeriod,
    MissingColumns,
    MissingDays,
    OneClass,
)

# Every label of the data is known a week after its end.
UNTIL = (START + timedelta(days=DAYS + 7)).date()


@pytest.fixture
def payments(tables):
    """The transactions, with terminals."""
    return tables[0].with_columns((pl.col("transaction_id") % 50).alias("terminal_id"))


@pytest.fixture
def run(tmp_path):
    """A run on a table, written as `archive/payments.EXTENSION`."""
    (tmp_path / "recipe.toml").write_text(RECIPE)

    def make(table, extension="parquet", **parameters):
        folder = tmp_path / "archive"
        folder.mkdir(exist_ok=True)
        path = folder / f"payments.{extension}"
        {"parquet": table.write_parquet, "csv": table.write_csv, "jsonl": table.write_ndjson}[extension](path)
        values = {"source": str(folder), "until": UNTIL, "window_days": 70, "recipe": str(tmp_path / "recipe.toml")}
        environment = Environment(tmp_path / "work", None, None, None, "a test")
        return Run("test", Parameters(**{**values, **parameters}), environment)

    return make


def written(run):
    return pl.read_parquet(run.path("transactions.parquet"))


@pytest.mark.parametrize("extension", ["parquet", "csv", "jsonl"])
def test_every_format_gives_the_same(run, payments, extension):
    found = extract(run(payments, extension))
    assert (found["rows"], found["frauds"]) == (payments.height, payments["tx_fraud"].sum())
    table = written(run(payments, extension))
    assert table["tx_datetime"].to_list() == sorted(payments["tx_datetime"])


def test_the_window_ends_where_labels_are_not_known_yet(run, payments):
    found = extract(run(payments, until=date(2024, 3, 1), window_days=30))
    assert found["first_day"] == date(2024, 1, 24)
    assert found["last_day"] == date(2024, 2, 22)


def test_capitals_and_envelopes(run, payments, tmp_path):
    loud = payments.rename({name: name.upper() for name in payments.columns})
    assert extract(run(loud))["rows"] == payments.height
    (tmp_path / "archive" / "payments.parquet").unlink()
    wrapped = run(payments.with_columns(pl.struct(pl.all()).alias("data")).select("data"), "jsonl")
    assert extract(wrapped)["rows"] == payments.height


def test_labels_that_stand_apart_count_as_they_were_known(run, payments, tmp_path):
    frauds = payments.filter(pl.col("tx_fraud") == 1)
    labels = frauds.select(
        "transaction_id", pl.lit(1).alias("label"), pl.col("tx_datetime").dt.offset_by("2d").alias("observed_at")
    )
    labels.write_parquet(tmp_path / "labels.parquet")
    bare = payments.drop("tx_fraud")
    assert extract(run(bare, labels=str(tmp_path / "labels.parquet")))["frauds"] == frauds.height
    # A label after the run's day is not known.
    late = labels.with_columns(pl.lit(datetime(2025, 1, 1)).alias("observed_at"))
    pl.concat([labels[:10], late[10:]]).write_parquet(tmp_path / "labels.parquet")
    assert extract(run(bare, labels=str(tmp_path / "labels.parquet")))["frauds"] == 10
    # Nor can one be known before its payment.
    labels.with_columns(pl.lit(datetime(2023, 1, 1)).alias("observed_at")).write_parquet(tmp_path / "labels.parquet")
    with pytest.raises(ClockSkew, match="observed before"):
        extract(run(bare, labels=str(tmp_path / "labels.parquet")))


def labels_in_many_forms(frauds):
    """Lines as fraud-labels may have them: words, truth values, numbers, seconds, no time, several in one message."""
    rows = []
    for number, (payment, at) in enumerate(frauds.select("transaction_id", "tx_datetime").iter_rows()):
        label = {"transaction_id": payment if number % 2 else str(payment), "label": ("fraud", True, 1)[number % 3]}
        seen = at.replace(tzinfo=UTC) + timedelta(days=2)
        if number % 4:
            label["observed_at"] = int(seen.timestamp()) if number % 4 == 1 else seen.isoformat()
        rows.append(label)
    innocent = {"transaction_id": -1, "label": "legitimate", "observed_at": None}
    return [json.dumps([rows[0], innocent]), "", *map(json.dumps, rows[1:])]


def test_labels_in_every_form_that_the_stream_takes(run, payments, tmp_path):
    frauds = payments.filter(pl.col("tx_fraud") == 1)
    path = tmp_path / "labels.jsonl"
    path.write_text("\n".join(labels_in_many_forms(frauds)))
    extract(run(payments.drop("tx_fraud"), labels=str(path)))
    table = written(run(payments))
    assert set(table.filter(pl.col("tx_fraud") == 1)["transaction_id"]) == set(map(str, frauds["transaction_id"]))


@pytest.mark.parametrize(
    ("label", "observed_at"),
    [
        (pl.lit(True), pl.col("tx_datetime").dt.epoch("s")),
        (pl.lit(1.0), pl.col("tx_datetime").dt.epoch("s").cast(pl.Float64)),
        (pl.lit("fraud"), pl.lit(None)),
        (pl.lit(1), None),
    ],
    ids=["flags and seconds", "numbers", "words without times", "no column of times"],
)
def test_labels_in_tables(run, payments, tmp_path, label, observed_at):
    frauds = payments.filter(pl.col("tx_fraud") == 1)
    times = {} if observed_at is None else {"observed_at": observed_at}
    table = frauds.select("transaction_id", label=label, **times)
    (tmp_path / "labels").mkdir()
    table[:10].write_parquet(tmp_path / "labels" / "a.parquet")
    table[10:].write_csv(tmp_path / "labels" / "b.csv")
    found = extract(run(payments.drop("tx_fraud"), labels=str(tmp_path / "labels")))
    assert found["frauds"] == frauds.height > 20


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"transaction_id": 1, "label": "perhaps"}', "label is not true, false"),
        ('{"transaction_id": 1, "label": 2}', "label is not true, false"),
        ('{"label": 1}', "have no transaction_id"),
        ('{"transaction_id": 1, "label": 1, "observed_at": "soon"}', "neither RFC 3339 nor Unix seconds in 1 of 1"),
        ("[1]", "line 1: a label is"),
        ("no JSON", "line 1: a label is"),
    ],
)
def test_labels_that_are_none(run, payments, tmp_path, line, said):
    (tmp_path / "labels.jsonl").write_text(line)
    with pytest.raises(BadValues, match=said):
        extract(run(payments.drop("tx_fraud"), labels=str(tmp_path / "labels.jsonl")))


def test_an_empty_window_says_where_there_is_data(run, payments):
    with pytest.raises(EmptyPeriod, match="there are some from 2024-01-01"):
        extract(run(payments, until=date(2023, 6, 1)))


@pytest.mark.parametrize("label", [0, 1])
def test_one_class(run, payments, label):
    with pytest.raises(OneClass):
        extract(run(payments.with_columns(pl.lit(label).alias("tx_fraud"))))


def test_missing_days_are_named(run, payments):
    gone = date(2024, 1, 20)
    with pytest.raises(MissingDays, match="2024-01-20"):
        extract(run(payments.filter(pl.col("tx_datetime").dt.date() != gone)))
    # The end is part of it: an archive that stopped.
    with pytest.raises(MissingDays):
        extract(run(payments.filter(pl.col("tx_datetime") < START + timedelta(days=DAYS - 2))))


def test_a_message_that_came_twice_is_one_payment(run, payments):
    found = extract(run(pl.concat([payments, payments[:40]])))
    assert (found["rows"], found["repeats_dropped"]) == (payments.height, 40)
    other = payments[:1].with_columns(pl.col("tx_amount") + 1)
    with pytest.raises(DuplicateIds):
        extract(run(pl.concat([payments, other])))


@pytest.mark.parametrize("first", [0, 1])
def test_a_payment_that_was_found_to_be_fraud_later_is_fraud(run, payments, first):
    """The archive has it twice, with either label first."""
    again = payments.filter(pl.col("tx_fraud") == 1)[:30]
    other = again.with_columns(pl.lit(0).cast(again.schema["tx_fraud"]).alias("tx_fraud"))
    found = extract(run(pl.concat([again, payments, other] if first else [other, payments])))
    assert found["frauds"] == payments["tx_fraud"].sum()


def test_kinds_of_fraud_that_only_some_files_have(run, payments, tmp_path):
    half = payments.height // 2
    (tmp_path / "archive").mkdir()
    payments[:half].write_parquet(tmp_path / "archive" / "early.parquet")
    kinds = pl.Series("tx_fraud_scenario", ["2", ""] * payments.height)[: payments.height - half]
    extract(run(payments[half:].with_columns(kinds), "csv"))
    assert written(run(payments[half:].with_columns(kinds), "csv"))["tx_fraud_scenario"].value_counts(sort=True).rows() == [
        (None, payments.height - kinds.len() // 2), (2, kinds.len() // 2),
    ]  # fmt: skip
    with pytest.raises(BadValues, match="tx_fraud_scenario is no whole number"):
        extract(run(payments[half:].with_columns(kinds.replace("2", "stolen card")), "csv"))


def test_clocks_ahead_of_time(run, payments):
    now = datetime(2024, 3, 5, tzinfo=UTC)
    with pytest.raises(ClockSkew, match="lie in the future"):
        extract(run(payments), now)
    # One terminal's clock is left out and counted.
    one = payments[:1].with_columns(
        pl.lit(datetime(2031, 1, 1)).alias("tx_datetime"), pl.lit(-1, pl.Int64).alias("transaction_id")
    )
    found = extract(run(pl.concat([payments, one])))
    assert (found["rows"], found["future_rows_dropped"]) == (payments.height, 1)


def test_what_cannot_be_read(run, payments, tmp_path):
    with pytest.raises(MissingColumns, match="tx_fraud"):
        extract(run(payments.drop("tx_fraud")))
    with pytest.raises(BadValues, match="a label is 0 or 1"):
        extract(run(payments.with_columns(pl.lit(3).alias("tx_fraud"))))
    with pytest.raises(ConfigError, match="no file"):
        extract(run(payments, source=str(tmp_path / "elsewhere")))
    whole = run(payments)
    path = tmp_path / "archive" / "payments.parquet"
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(DataError, match="payments.parquet: cannot be read"):
        extract(whole)


def test_an_object_store_that_is_away_may_come_back(run, payments, monkeypatch):
    """Nobody listens on the port."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"):
        monkeypatch.setenv(name, "test")
    away = partial(pl.scan_parquet, storage_options={"max_retries": 0})
    monkeypatch.setitem(READERS, ".parquet", away)
    with pytest.raises(OSError, match="s3://"):
        extract(run(payments, source="s3://archive/**/*.parquet"))


def test_values_that_cannot_be_used_are_wrong_data(run, payments, tmp_path):
    """Whatever polars cannot make of them, no second try will."""
    labels = payments.select("transaction_id", label=pl.lit(b"\xff"))
    labels.write_parquet(tmp_path / "labels.parquet")
    with pytest.raises(BadValues, match="values that cannot be used"):
        extract(run(payments.drop("tx_fraud"), labels=str(tmp_path / "labels.parquet")))


def test_parameters_say_everything_that_is_wrong():
    with pytest.raises(ParameterError) as caught:
        parse(json.dumps({"source": "", "until": "soon", "windows": 3, "gate": {"resamples": "many", "min_gain": 1}}))
    assert len(caught.value.problems) >= 4
    good = parse(json.dumps({"source": "a", "until": "2024-01-31T03:00:00", "gate": {"confidence": 0.9}}))
    assert (good.until, good.gate.confidence) == (date(2024, 1, 31), 0.9)

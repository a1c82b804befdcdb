"""Reads transactions and features, and joins them into one [`Dataset`][fraud_training.data.Dataset]."""

from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from fraud_training.errors import BadValues, ConfigError, DuplicateIds, MissingColumns, UnmatchedRows

TRANSACTION_COLUMNS = ("transaction_id", "tx_datetime", "customer_id", "tx_amount", "tx_fraud")

# Replay leaves out rows that it rejected. More than this share of them is not a few bad rows but the wrong file.
MAX_UNMATCHED_SHARE = 0.01

SECONDS_PER_DAY = 86_400


@dataclass(frozen=True)
class Dataset:
    """Labelled rows in order of event time, then id.

    `features`: rows × features, float64 as replay computed them. `time`: Unix seconds. `day`: whole UTC days
    since the first row's day. `customer`: a number per customer. `fraud`: 0 or 1. `ids`: as text.
    """

    names: tuple[str, ...]
    ids: np.ndarray
    time: np.ndarray
    day: np.ndarray
    customer: np.ndarray
    amount: np.ndarray
    fraud: np.ndarray
    features: np.ndarray

    def __len__(self) -> int:
        return len(self.time)

    def inputs(self, rows) -> np.ndarray:
        """The features of these rows (a mask or indices) as models see them: cast once to float32."""
        return self.features[rows].astype(np.float32)

    def date_of(self, day: int) -> date:
        """The calendar date of a day number."""
        return date(1970, 1, 1) + timedelta(days=int(self.time[0]) // SECONDS_PER_DAY + int(day))

    def select(self, names) -> "Dataset":
        """The same rows with these features in this order."""
        missing = set(names) - set(self.names)
        if missing:
            raise MissingColumns("the feature file", missing, self.names)
        columns = [self.names.index(name) for name in names]
        return Dataset(
            tuple(names), self.ids, self.time, self.day, self.customer, self.amount, self.fraud,
            np.ascontiguousarray(self.features[:, columns]),
        )  # fmt: skip


def read_table(path: Path) -> pl.DataFrame:
    """Reads Parquet, CSV or JSON lines, by extension."""
    if not path.exists():
        raise ConfigError(f"{path}: no such file")
    readers = {".parquet": pl.read_parquet, ".csv": pl.read_csv, ".jsonl": pl.read_ndjson, ".ndjson": pl.read_ndjson}
    reader = readers.get(path.suffix)
    if reader is None:
        raise ConfigError(f"{path}: unknown extension; {', '.join(readers)} can be read")
    try:
        return reader(path)
    except pl.exceptions.PolarsError as error:
        raise BadValues(f"{path}: cannot be read: {error}") from error


def load(transactions: Path, features: Path) -> Dataset:
    """Joins a transaction file (ids, times, customers, amounts, labels) with replay's feature file."""
    payments = _transactions(transactions)
    matrix = _features(features)
    names = tuple(name for name in matrix.columns if name != "transaction_id")
    joined = payments.join(matrix, on="transaction_id", how="inner")
    _check_match(payments.height, matrix.height, joined.height)
    joined = joined.sort("time", "transaction_id")
    time = joined["time"].to_numpy().astype(np.int64)
    return Dataset(
        names=names,
        ids=joined["transaction_id"].to_numpy(),
        time=time,
        day=time // SECONDS_PER_DAY - time[0] // SECONDS_PER_DAY,
        customer=joined["customer"].to_numpy().astype(np.int64),
        amount=joined["tx_amount"].to_numpy().astype(np.float64),
        fraud=joined["tx_fraud"].to_numpy().astype(np.int8),
        features=np.ascontiguousarray(joined.select(names).to_numpy().astype(np.float64)),
    )


def _transactions(path: Path) -> pl.DataFrame:
    table = read_table(path)
    table = table.rename({name: name.lower() for name in table.columns})
    missing = set(TRANSACTION_COLUMNS) - set(table.columns)
    if missing:
        raise MissingColumns(path, missing, table.columns)
    table = table.select(
        pl.col("transaction_id").cast(pl.String),
        _seconds(table).alias("time"),
        pl.col("customer_id").cast(pl.String).rank("dense").alias("customer"),
        pl.col("tx_amount").cast(pl.Float64),
        pl.col("tx_fraud").cast(pl.Int64, strict=False),
    )
    empty = [name for name in table.columns if table[name].null_count()]
    if empty:
        raise BadValues(f"{path}: {', '.join(empty)}: values are missing or cannot be read")
    others = set(table["tx_fraud"].unique()) - {0, 1}
    if others:
        raise BadValues(f"{path}: tx_fraud is {min(others)} in some rows; a label is 0 or 1")
    _check_ids(path, table)
    return table


def _seconds(table: pl.DataFrame) -> pl.Expr:
    column = pl.col("tx_datetime")
    kind = table.schema["tx_datetime"]
    if kind == pl.String:
        # `2018-04-01 00:00:31`, or RFC 3339 with an offset.
        column = column.str.replace(" ", "T").str.replace(r"^([^T]*T[\d:.]*\d)$", "${1}Z")
        column = column.str.to_datetime(time_zone="UTC", strict=False)
    elif not isinstance(kind, pl.Datetime):
        raise BadValues(f"tx_datetime is a column of {kind}; times or text are expected")
    return column.dt.timestamp("ms").floordiv(1000)


def _features(path: Path) -> pl.DataFrame:
    table = read_table(path)
    if "transaction_id" not in table.columns:
        raise MissingColumns(path, {"transaction_id"}, table.columns)
    names = [name for name in table.columns if name != "transaction_id"]
    if not names:
        raise MissingColumns(path, {"(any feature)"}, table.columns)
    table = table.with_columns(pl.col("transaction_id").cast(pl.String), pl.col(names).cast(pl.Float64, strict=False))
    _check_ids(path, table)
    finite = table.select(pl.col(names).is_finite().fill_null(False).all()).row(0)
    bad = [name for name, fine in zip(names, finite, strict=True) if not fine]
    if bad:
        raise BadValues(f"{path}: {', '.join(bad)}: values are missing or not finite")
    return table


def _check_ids(path: Path, table: pl.DataFrame) -> None:
    repeated = table["transaction_id"].filter(table["transaction_id"].is_duplicated())
    if len(repeated):
        raise DuplicateIds(path, repeated.n_unique(), repeated[0])


def _check_match(payments: int, rows: int, joined: int) -> None:
    if joined == 0:
        raise UnmatchedRows("no transaction id stands in both files: they are not of the same data")
    if joined < rows:
        raise UnmatchedRows(f"{rows - joined} rows of the feature file have no transaction: the files differ")
    if payments - joined > MAX_UNMATCHED_SHARE * payments:
        raise UnmatchedRows(
            f"{payments - joined} of {payments} transactions have no features; replay rejected them "
            "(see its .rejected.jsonl) or the feature file is of other data"
        )

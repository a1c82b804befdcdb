"""Reads the window of transactions that a run learns from, and refuses one that would teach the wrong thing."""

import glob
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl

from fraud_retraining.errors import ClockSkew
from fraud_retraining.folder import Run
from fraud_training import recipe
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

COLUMNS = ("transaction_id", "tx_datetime", "customer_id", "terminal_id", "tx_amount", "tx_fraud")
# What is read beside them: the kind of fraud, where it is known, and the columns of labels that stand apart.
KNOWN = (*COLUMNS, "tx_fraud_scenario", "label", "observed_at")
CONTENT = ("tx_datetime", "customer_id", "terminal_id", "tx_amount")
READERS = {".parquet": pl.scan_parquet, ".csv": pl.scan_csv, ".jsonl": pl.scan_ndjson, ".ndjson": pl.scan_ndjson}
# As the online edges allow.
MAX_FUTURE = timedelta(minutes=5)
# A few rows ahead of time are one terminal's clock; more of them are a wrong time zone.
MAX_SKEWED_SHARE = 0.001


def extract(run: Run, now: datetime | None = None) -> dict:
    """Writes the window's transactions; gives what was found.

    The last day is the last one whose labels are all known: `until` less the label delay.
    """
    parameters = run.parameters
    plan = recipe.read(parameters.recipe_path)
    delay = plan.split.label_delay_days
    table = _times(read(parameters.source))
    if parameters.labels:
        table = _labelled(table, parameters)
    _check_columns(parameters.source, table)
    table, skewed = _refuse_future(table, now or datetime.now(UTC))

    end = datetime(parameters.until.year, parameters.until.month, parameters.until.day) - timedelta(days=delay)
    begin = end - timedelta(days=parameters.window_days)
    found = (table["tx_datetime"].min(), table["tx_datetime"].max())
    table = table.filter((pl.col("tx_datetime") >= begin) & (pl.col("tx_datetime") < end))
    if not table.height:
        raise EmptyPeriod(
            f"{parameters.source}: no transactions from {begin:%Y-%m-%d} to before {end:%Y-%m-%d} (until less {delay} days "
            f"of label delay); there are some from {found[0]} to {found[1]}: change until, window_days or source"
        )
    table, repeats = _without_repeats(parameters.source, table)
    _check_labels(parameters.source, table)
    if not plan.split.allow_missing_days:
        _check_days(table, end)
    table = table.sort("tx_datetime", "transaction_id", maintain_order=True)
    draft = run.path(".transactions.part")
    table.write_parquet(draft)
    draft.replace(run.path("transactions.parquet"))
    return run.write(
        "extract.json",
        {
            "source": parameters.source,
            "first_day": table["tx_datetime"].min().date(),
            "last_day": table["tx_datetime"].max().date(),
            "rows": table.height,
            "frauds": int(table["tx_fraud"].sum()),
            "repeats_dropped": repeats,
            "future_rows_dropped": skewed,
            "label_delay_days": delay,
        },
    )


def read(source: str) -> pl.DataFrame:
    """Reads files, folders and patterns, local or of object storage; column names in lower case.

    Kafka envelopes (`data`) are opened, columns that mean nothing here are left out.
    """
    remote = "://" in source
    if not remote:
        path = Path(source)
        pattern = str(path / "**" / "*") if path.is_dir() else source
        names = sorted(name for name in glob.glob(pattern, recursive=True) if Path(name).suffix in READERS)
        if not names:
            raise ConfigError(f"source {source}: no file of {', '.join(READERS)} is there")
    else:
        names = [source]
    tables = []
    for name in names:
        reader = READERS.get(Path(name).suffix)
        if not reader:
            raise ConfigError(f"source {source}: unknown extension; {', '.join(READERS)} can be read")
        try:
            table = reader(name).collect()
        except (pl.exceptions.PolarsError, OSError) as error:
            raise DataError(f"{name}: cannot be read: {str(error)[:400]}") from error
        if "data" in table.columns and isinstance(table.schema["data"], pl.Struct):
            table = table.select("data").unnest("data")
        table = table.rename({column: column.lower() for column in table.columns})
        tables.append(table.select(column for column in table.columns if column in KNOWN))
    try:
        return pl.concat(tables, how="diagonal_relaxed")
    except pl.exceptions.PolarsError as error:
        raise BadValues(f"source {source}: its files have columns of different kinds: {error}") from error


def _times(table: pl.DataFrame, column: str = "tx_datetime") -> pl.DataFrame:
    """Times as UTC without a zone."""
    if column not in table.columns:
        return table
    kind = table.schema[column]
    expression = pl.col(column)
    if kind == pl.String:
        expression = expression.str.replace(" ", "T").str.replace(r"^([^T]*T[\d:.]*\d)$", "${1}Z")
        expression = expression.str.to_datetime(time_zone="UTC", time_unit="us", strict=False)
        expression = expression.dt.replace_time_zone(None)
    elif isinstance(kind, pl.Datetime):
        expression = expression.dt.convert_time_zone("UTC").dt.replace_time_zone(None) if kind.time_zone else expression
        expression = expression.dt.cast_time_unit("us")
    else:
        raise BadValues(f"{column} is a column of {kind}; times or text are expected")
    table = table.with_columns(expression)
    if table[column].null_count():
        raise BadValues(f"{column}: {table[column].null_count()} values are missing or no times")
    return table


def _labelled(table: pl.DataFrame, parameters) -> pl.DataFrame:
    """Takes the labels that were known at `until`, of each transaction the latest; the rest is not known fraud."""
    labels = _times(read(parameters.labels), "observed_at")
    missing = {"transaction_id", "label", "observed_at"} - set(labels.columns)
    if missing:
        raise MissingColumns(parameters.labels, missing, labels.columns)
    labels = labels.with_columns(pl.col("transaction_id").cast(pl.String), pl.col("label").cast(pl.Int64))
    labels = labels.filter(pl.col("observed_at") < datetime.combine(parameters.until, datetime.min.time()))
    labels = labels.sort("observed_at", "label").unique("transaction_id", keep="last", maintain_order=True)
    table = table.drop("tx_fraud", strict=False).with_columns(pl.col("transaction_id").cast(pl.String))
    joined = table.join(labels, on="transaction_id", how="left")
    early = joined.filter(pl.col("observed_at") < pl.col("tx_datetime")).height
    if early > MAX_SKEWED_SHARE * labels.height:
        raise ClockSkew(
            f"{parameters.labels}: {early} of {labels.height} labels were observed before their transaction happened: "
            "the clocks or time zones of the two sources differ; correct one of them"
        )
    return joined.with_columns(pl.col("label").fill_null(0).alias("tx_fraud")).drop("label", "observed_at")


def _check_columns(source: str, table: pl.DataFrame) -> None:
    missing = set(COLUMNS) - set(table.columns)
    if missing:
        raise MissingColumns(source, missing, table.columns)


def _refuse_future(table: pl.DataFrame, now: datetime) -> tuple[pl.DataFrame, int]:
    limit = now.astimezone(UTC).replace(tzinfo=None) + MAX_FUTURE
    ahead = table.filter(pl.col("tx_datetime") > limit)
    if ahead.height > MAX_SKEWED_SHARE * table.height:
        raise ClockSkew(
            f"{ahead.height} of {table.height} transactions lie in the future, the last at {ahead['tx_datetime'].max()}: "
            "a clock or a time zone of the source is wrong; times are UTC unless they carry an offset"
        )
    return table.filter(pl.col("tx_datetime") <= limit), ahead.height


def _without_repeats(source: str, table: pl.DataFrame) -> tuple[pl.DataFrame, int]:
    """An archived topic may hold a message twice. Equal content is one payment; other content is an error."""
    once = table.unique(["transaction_id", *CONTENT], keep="first", maintain_order=True)
    repeated = once.filter(pl.col("transaction_id").is_duplicated())
    if repeated.height:
        raise DuplicateIds(source, repeated["transaction_id"].n_unique(), str(repeated["transaction_id"][0]))
    return once, table.height - once.height


def _check_labels(source: str, table: pl.DataFrame) -> None:
    labels = table["tx_fraud"].cast(pl.Int64, strict=False)
    if labels.null_count():
        raise BadValues(f"{source}: tx_fraud is missing or no number in {labels.null_count()} rows; a label is 0 or 1")
    others = set(labels.unique()) - {0, 1}
    if others:
        raise BadValues(f"{source}: tx_fraud is {min(others)} in some rows; a label is 0 or 1")
    frauds = int(labels.sum())
    if frauds in (0, table.height):
        raise OneClass("the window", table.height, frauds)


def _check_days(table: pl.DataFrame, end: datetime) -> None:
    days = set(table["tx_datetime"].dt.date().unique())
    first, last = min(days), (end - timedelta(days=1)).date()
    span = {first + timedelta(days=number) for number in range((last - first).days + 1)}
    if span - days:
        raise MissingDays(sorted(span - days))

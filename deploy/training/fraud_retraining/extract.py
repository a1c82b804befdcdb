"""Reads the window of transactions that a run learns from, and refuses one that would teach the wrong thing."""

import glob
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl

from fraud_retraining.errors import ClockSkew
from fraud_retraining.folder import Run
from fraud_retraining.parameters import Parameters
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
# What a label may be, as text: fraud-stream/src/kafka/format.rs, and numbers of files that know only fractions.
VERDICTS = {"true": 1, "1": 1, "1.0": 1, "fraud": 1, "false": 0, "0": 0, "0.0": 0, "legitimate": 0}
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
    try:
        table, dropped = _window(parameters, plan, now or datetime.now(UTC))
    except pl.exceptions.PolarsError as error:
        files = f"{parameters.source}, {parameters.labels}" if parameters.labels else parameters.source
        raise BadValues(f"{files}: values that cannot be used: {str(error)[:400]}") from error
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
            **dropped,
            "label_delay_days": plan.split.label_delay_days,
        },
    )


def _window(parameters: Parameters, plan: recipe.Recipe, now: datetime) -> tuple[pl.DataFrame, dict[str, int]]:
    """The window's transactions in order, and how many were left out for which reason."""
    delay = plan.split.label_delay_days
    table = _times(read(parameters.source))
    if parameters.labels:
        table = _labelled(table, parameters)
    _check_columns(parameters.source, table)
    table, skewed = _refuse_future(table, now)

    end = datetime(parameters.until.year, parameters.until.month, parameters.until.day) - timedelta(days=delay)
    begin = end - timedelta(days=parameters.window_days)
    found = (table["tx_datetime"].min(), table["tx_datetime"].max())
    table = table.filter((pl.col("tx_datetime") >= begin) & (pl.col("tx_datetime") < end))
    if not table.height:
        raise EmptyPeriod(
            f"{parameters.source}: no transactions from {begin:%Y-%m-%d} to before {end:%Y-%m-%d} (until less {delay} days "
            f"of label delay); there are some from {found[0]} to {found[1]}: change until, window_days or source"
        )
    table = table.with_columns(pl.col("tx_fraud").cast(pl.Float64, strict=False))
    table, repeats = _without_repeats(parameters.source, table)
    _check_labels(parameters.source, table)
    if not plan.split.allow_missing_days:
        _check_days(table, end)
    table = _scenarios(parameters.source, table.with_columns(pl.col("tx_fraud").cast(pl.Int64)))
    table = table.sort("tx_datetime", "transaction_id", maintain_order=True)
    return table, {"repeats_dropped": repeats, "future_rows_dropped": skewed}


def read(source: str, readers: dict[str, Callable] = READERS, prepare: Callable | None = None) -> pl.DataFrame:
    """Reads files, folders and patterns, local or of object storage; column names in lower case.

    Kafka envelopes (`data`) are opened, columns that mean nothing here are left out. `prepare`: (name, table) → table,
    for each file. Raises `OSError` where the storage is away: that may pass.
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
        reader = readers.get(Path(name).suffix)
        if not reader:
            raise ConfigError(f"source {source}: unknown extension; {', '.join(READERS)} can be read")
        try:
            table = reader(name).collect()
        except FileNotFoundError as error:
            raise ConfigError(f"source {source}: {name} is not there") from error
        except pl.exceptions.PolarsError as error:
            raise DataError(f"{name}: cannot be read: {str(error)[:400]}") from error
        if "data" in table.columns and isinstance(table.schema["data"], pl.Struct):
            table = table.select("data").unnest("data")
        table = table.rename({column: column.lower() for column in table.columns})
        table = table.select(column for column in table.columns if column in KNOWN)
        tables.append(prepare(name, table) if prepare else table)
    try:
        return pl.concat(tables, how="diagonal_relaxed")
    except pl.exceptions.PolarsError as error:
        raise BadValues(f"source {source}: its files have columns of different kinds: {error}") from error


def _times(table: pl.DataFrame) -> pl.DataFrame:
    """Times as UTC without a zone."""
    if "tx_datetime" not in table.columns:
        return table
    table = table.with_columns(_utc(table, "tx_datetime"))
    if table["tx_datetime"].null_count():
        raise BadValues(f"tx_datetime: {table['tx_datetime'].null_count()} values are missing or no times")
    return table


def _utc(table: pl.DataFrame, column: str) -> pl.Expr:
    kind, expression = table.schema[column], pl.col(column)
    if kind == pl.String:
        expression = expression.str.replace(" ", "T").str.replace(r"^([^T]*T[\d:.]*\d)$", "${1}Z")
        expression = expression.str.to_datetime(time_zone="UTC", time_unit="us", strict=False)
        return expression.dt.replace_time_zone(None)
    if isinstance(kind, pl.Datetime):
        expression = expression.dt.convert_time_zone("UTC").dt.replace_time_zone(None) if kind.time_zone else expression
        return expression.dt.cast_time_unit("us")
    raise BadValues(f"{column} is a column of {kind}; times or text are expected")


def _label_lines(name: str) -> pl.LazyFrame:
    """Messages of labels, one a line: an object or an array of them, whose fields need not be of one kind."""
    columns = ("transaction_id", "label", "observed_at")
    rows = []
    for number, line in enumerate(pl.scan_lines(name).collect()["line"], 1):
        if not line.strip():
            continue
        try:
            message = json.loads(line)
            message = message.get("data", message) if isinstance(message, dict) else message
            for label in message if isinstance(message, list) else [message]:
                fields = {field.lower(): value for field, value in label.items()}
                rows.append([_text(fields.get(column)) for column in columns])
        except (ValueError, AttributeError) as error:
            shape = "{transaction_id, label, observed_at}, or an array of such"
            raise BadValues(f"{name}, line {number}: a label is {shape}") from error
    return pl.LazyFrame(rows, schema=dict.fromkeys(columns, pl.String), orient="row")


def _text(value) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value)


def _label_form(name: str, table: pl.DataFrame) -> pl.DataFrame:
    """Labels as the stream takes them: ids as text, 0 or 1, and a time, null where there is none."""
    missing = {"transaction_id", "label"} - set(table.columns)
    if missing:
        raise MissingColumns(name, missing, table.columns)
    if "observed_at" not in table.columns or table.schema["observed_at"] == pl.Null:
        table = table.with_columns(pl.lit(None, pl.String).alias("observed_at"))
    kind = table.schema["observed_at"]
    time = pl.from_epoch(pl.col("observed_at").cast(pl.Int64, strict=False))
    if not kind.is_numeric():
        time = pl.coalesce(_utc(table, "observed_at"), time) if kind == pl.String else _utc(table, "observed_at")
    verdict = pl.col("label").cast(pl.String).replace_strict(VERDICTS, default=None, return_dtype=pl.Int64)
    read = table.select(pl.col("transaction_id").cast(pl.String), label=verdict, observed_at=time.dt.cast_time_unit("us"))
    wrong = read["transaction_id"].null_count(), read["label"].null_count()
    if any(wrong):
        raise BadValues(
            f"{name}: {wrong[0]} labels have no transaction_id, and label is not true, false, 1, 0, fraud or legitimate "
            f"in {wrong[1]} of {read.height}"
        )
    lost = read["observed_at"].null_count() - table["observed_at"].null_count()
    if lost:
        raise BadValues(f"{name}: observed_at is neither RFC 3339 nor Unix seconds in {lost} of {read.height} labels")
    return read


def _labelled(table: pl.DataFrame, parameters: Parameters) -> pl.DataFrame:
    """Takes the labels that were known at `until`, of each transaction the latest; the rest is not known fraud.

    One without a time counts as known after the label delay: that of every transaction of the window is over.
    """
    lines = dict.fromkeys((".jsonl", ".ndjson"), _label_lines)
    labels = read(parameters.labels, {**READERS, **lines}, _label_form)
    until = datetime.combine(parameters.until, datetime.min.time())
    labels = labels.filter(pl.col("observed_at").is_null() | (pl.col("observed_at") < until))
    labels = labels.sort("observed_at", "label").unique("transaction_id", keep="last", maintain_order=True)
    table = table.drop("tx_fraud", "label", "observed_at", strict=False)
    table = table.with_columns(pl.col("transaction_id").cast(pl.String))
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
    """An archived topic may hold a message twice. Equal content is one payment, a fraud where one of them says so; other
    content is an error."""
    table = table.sort("tx_fraud", descending=True, nulls_last=True, maintain_order=True)
    once = table.unique(["transaction_id", *CONTENT], keep="first", maintain_order=True)
    repeated = once.filter(pl.col("transaction_id").is_duplicated())
    if repeated.height:
        raise DuplicateIds(source, repeated["transaction_id"].n_unique(), str(repeated["transaction_id"][0]))
    return once, table.height - once.height


def _check_labels(source: str, table: pl.DataFrame) -> None:
    labels = table["tx_fraud"]
    if labels.null_count():
        raise BadValues(f"{source}: tx_fraud is missing or no number in {labels.null_count()} rows; a label is 0 or 1")
    others = set(labels.unique()) - {0, 1}
    if others:
        raise BadValues(f"{source}: tx_fraud is {min(others):g} in some rows; a label is 0 or 1")
    frauds = int(labels.sum())
    if frauds in (0, table.height):
        raise OneClass("the window", table.height, frauds)


def _scenarios(source: str, table: pl.DataFrame) -> pl.DataFrame:
    """The kinds of fraud as whole numbers, null where they are not known."""
    if "tx_fraud_scenario" not in table.columns:
        return table
    kinds = table["tx_fraud_scenario"]
    known = ~kinds.cast(pl.String).fill_null("").is_in(["", "NaN"])
    kinds = kinds.cast(pl.Float64, strict=False).fill_nan(None)
    wrong = (known & (kinds.is_null() | (kinds != kinds.floor()))).sum()
    if wrong:
        raise BadValues(f"{source}: tx_fraud_scenario is no whole number in {wrong} rows; leave it empty where nobody knows")
    return table.with_columns(kinds.cast(pl.Int64).alias("tx_fraud_scenario"))


def _check_days(table: pl.DataFrame, end: datetime) -> None:
    days = set(table["tx_datetime"].dt.date().unique())
    first, last = min(days), (end - timedelta(days=1)).date()
    span = {first + timedelta(days=number) for number in range((last - first).days + 1)}
    if span - days:
        raise MissingDays(sorted(span - days))

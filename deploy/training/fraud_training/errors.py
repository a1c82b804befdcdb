"""What can be wrong with the input. Each message says what was found and what to change."""


class TrainingError(Exception):
    """Anything that stops a training run and is not a bug in it."""


class ConfigError(TrainingError):
    """A recipe that cannot be followed."""


class DataError(TrainingError):
    """Transactions or features that cannot be trained on."""


class MissingColumns(DataError):
    """A file without columns that are needed."""

    def __init__(self, path, missing, present):
        self.missing = sorted(missing)
        super().__init__(f"{path}: columns {', '.join(self.missing)} are missing (it has {', '.join(present)})")


class DuplicateIds(DataError):
    """A transaction id that stands in a file more than once."""

    def __init__(self, path, count, example):
        self.count = count
        super().__init__(
            f"{path}: {count} transaction ids occur more than once, among them {example!r}: "
            "an id names one payment; drop the repeats"
        )


class UnmatchedRows(DataError):
    """Features and transactions that do not belong together."""


class BadValues(DataError):
    """A value that no feature or label can have."""


class MissingDays(DataError):
    """Days without a single transaction inside the range that is used."""

    def __init__(self, days):
        self.days = days
        shown = ", ".join(str(day) for day in days[:5]) + (" …" if len(days) > 5 else "")
        super().__init__(
            f"no transactions on {len(days)} days in the range that is used ({shown}): windows and label delay "
            "would be wrong; complete the data or set split.allow_missing_days"
        )


class EmptyPeriod(DataError):
    """A training or test period without rows."""


class OneClass(DataError):
    """A period in which all labels are equal."""

    def __init__(self, period, rows, frauds):
        super().__init__(
            f"{period}: {frauds} of {rows} rows are fraud; both classes are needed. "
            "Are the labels filled in (tx_fraud), and is the period long enough?"
        )


class LabelLeakage(DataError):
    """A feature that gives the label away."""

    def __init__(self, feature):
        self.feature = feature
        super().__init__(
            f"feature {feature} separates fraud from the rest without a single error: it was made from the label "
            "and will not be there when transactions are scored; leave it out"
        )


class ExportError(TrainingError):
    """An ONNX file that does not answer as the trained model does."""

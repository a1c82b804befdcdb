"""What stops a step, beside what `fraud_training.errors` has. Each message says what was found and what to change."""

from fraud_training.errors import DataError


class StepError(Exception):
    """Anything that stops a step and is not a bug in it. `retry`: whether trying again may help."""

    retry = False


class ParameterError(StepError):
    """Parameters of a run that cannot be followed: all that is wrong with them."""

    def __init__(self, problems: list[str]):
        self.problems = problems
        super().__init__("parameters: " + "; ".join(problems))


class OutOfOrder(StepError):
    """A step whose predecessor has not run."""

    def __init__(self, path, step):
        super().__init__(f"{path.name} is not in the run's folder {path.parent}: run the step '{step}' first")


class ProgramError(StepError):
    """A program of the platform that did not do its work."""

    def __init__(self, program: str, status: int, said: str):
        self.status = status
        # 65: wrong data, 64: a model or an argument that cannot be used. The rest may be a full disk or a killed process.
        self.retry = status not in (64, 65)
        super().__init__(f"{program} ended with {status}: {said}")


class ClockSkew(DataError):
    """Times that cannot be."""


class RegistryError(StepError):
    """A registry that does not answer, or not as it should."""

    def __init__(self, message: str, retry: bool = False):
        self.retry = retry
        super().__init__(message)


class ModelRefused(StepError):
    """A model file that is not what the registry says, or that cannot be loaded."""

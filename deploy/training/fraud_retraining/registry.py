"""MLflow: tracking and registry. The only module that knows it.

A version of the registered model carries `fraud.sha256`, `fraud.file` (the ONNX file within the artefact folder) and,
where a key is given, `fraud.signature`; services check all three. `fraud.rolled_back` is written by services that
went back to `previous`. Aliases: `candidate` (the newest), `champion` (in service), `previous` (the one before).
"""

import contextlib
import hashlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from fraud_retraining.errors import ModelRefused, RegistryError

FILE = "model.onnx"
# A task that is tried again need not wait for hours inside of one try (MLflow: 120 s, 7 times, ever longer apart).
LIMITS = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}


@dataclass(frozen=True)
class Version:
    """A model version as far as it matters here."""

    number: str
    sha256: str | None
    rolled_back: str | None
    file: str


class Registry:
    """One registered model on one server."""

    def __init__(self, uri: str | None, model: str):
        if not uri:
            raise RegistryError("no registry: set MLFLOW_TRACKING_URI to the MLflow server's address")
        for name, value in LIMITS.items():
            os.environ.setdefault(name, value)
        import mlflow

        self.mlflow, self.uri, self.model = mlflow, uri, model
        mlflow.set_tracking_uri(uri)
        self.client = mlflow.MlflowClient(tracking_uri=uri, registry_uri=uri)

    @contextlib.contextmanager
    def asking(self, what: str):
        """Whatever the client meets becomes one error that names the server and what was wanted."""
        from mlflow.exceptions import MlflowException

        try:
            yield
        except RegistryError:
            raise
        except (MlflowException, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            said = " ".join(str(error).split())[:400]
            raise RegistryError(f"registry {self.uri}: {what}: {type(error).__name__}: {said}", retry=True) from error

    def aliases(self) -> dict[str, str]:
        """Alias → version number; empty where the model is not registered yet."""
        from mlflow.exceptions import MlflowException

        with self.asking(f"aliases of {self.model}"):
            try:
                found = self.client.get_registered_model(self.model)
            except MlflowException as error:
                if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                    return {}
                raise
            # An answer that means nothing reads as a model without aliases: as if there were no champion to be better than.
            if found.name != self.model:
                raise RegistryError(
                    f"registry {self.uri}: asked for {self.model}, it answered {found.name!r}", retry=True
                )
            return {alias: str(number) for alias, number in found.aliases.items()}

    def version(self, number: str) -> Version:
        """One version."""
        with self.asking(f"version {number} of {self.model}"):
            found = self.client.get_model_version(self.model, number)
            tags = dict(found.tags)
        return Version(
            str(found.version), tags.get("fraud.sha256"), tags.get("fraud.rolled_back"), tags.get("fraud.file", FILE)
        )

    def in_service(self) -> Version | None:
        """The champion; where services have rolled it back, the one they went back to; None where there is none yet."""
        aliases = self.aliases()
        for alias in ("champion", "previous"):
            if alias in aliases:
                version = self.version(aliases[alias])
                if not version.rolled_back:
                    return version
        if "champion" in aliases:
            raise RegistryError(
                f"{self.model}: services have rolled back version {aliases['champion']} (champion), and version "
                f"{aliases.get('previous', 'none')} (previous) is none to go back to: move the alias champion to a version "
                "that may serve, or delete it to begin anew"
            )
        return None

    def fetch(self, version: Version) -> bytes:
        """The version's file; raises `ModelRefused` where it is not the one that was registered."""
        name = f"{self.model} version {version.number}"
        if not version.sha256:
            raise ModelRefused(f"{name} has no tag fraud.sha256: it was not registered by the retraining; set the tag or move "
                               "the alias champion to a version that has it")  # fmt: skip
        with self.asking(f"file {version.file} of version {version.number}"):
            uri = self.client.get_model_version_download_uri(self.model, version.number)
            content = self._artifact(f"{uri.rstrip('/')}/{version.file}")
        found = hashlib.sha256(content).hexdigest()
        if found != version.sha256:
            raise ModelRefused(
                f"{name}: {version.file} has {len(content)} bytes with SHA-256 {found}, registered was {version.sha256}: "
                "truncated or replaced; restore the artefact, or move the alias champion to a version that is whole"
            )
        return content

    def _artifact(self, uri: str) -> bytes:
        with tempfile.TemporaryDirectory() as folder:
            path = self.mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=folder, tracking_uri=self.uri)
            return Path(path).read_bytes()

    def run(self, experiment: str, tags: dict[str, str]) -> str:
        """The MLflow run with these tags, begun where there is none: a step that is tried again finds its own."""
        with self.asking(f"experiment {experiment}"):
            found = self.client.get_experiment_by_name(experiment)
            number = found.experiment_id if found else self.client.create_experiment(experiment)
            wanted = " and ".join(f"tags.`{name}` = '{value}'" for name, value in tags.items())
            runs = self.client.search_runs([number], wanted, max_results=1)
            if runs:
                return runs[0].info.run_id
            return self.client.create_run(number, tags={**tags, "mlflow.runName": tags["fraud.run"]}).info.run_id

    def log(self, run_id: str, params: dict, metrics: dict) -> None:
        """Parameters (as text, cut to what MLflow takes) and metrics."""
        from mlflow.entities import Metric, Param

        with self.asking("logging parameters and metrics"):
            now = int(self.client.get_run(run_id).info.start_time)
            values = [Metric(name, float(value), now, 0) for name, value in metrics.items()]
            texts = [Param(name, str(value)[:500]) for name, value in params.items()]
            self.client.log_batch(run_id, metrics=values, params=texts)

    def log_file(self, run_id: str, path: Path, folder: str | None = None) -> None:
        """A file, or all files of a folder."""
        with self.asking(f"logging {path.name}"):
            if path.is_dir():
                self.client.log_artifacts(run_id, str(path), folder or path.name)
            else:
                self.client.log_artifact(run_id, str(path), folder)

    def log_model(self, run_id: str, content: bytes, features: list[str]) -> str:
        """The ONNX file as an MLflow model with its signature; gives its address. Once per run."""
        import numpy as np
        import onnx
        from mlflow.models import ModelSignature
        from mlflow.types import Schema, TensorSpec

        with self.asking("logging the model"):
            known = self.client.get_run(run_id).data.tags.get("fraud.model_uri")
            if known:
                return known
            proto = onnx.load_from_string(content)
            inputs = Schema([TensorSpec(np.dtype(np.float32), (-1, len(features)), proto.graph.input[0].name)])
            outputs = Schema([TensorSpec(np.dtype(np.float32), (-1, 2), item.name) for item in proto.graph.output])
            with self.mlflow.start_run(run_id=run_id):
                info = self.mlflow.onnx.log_model(
                    proto,
                    name="model",
                    signature=ModelSignature(inputs, outputs),
                    # Given, so that nothing is guessed by running the model.
                    pip_requirements=["onnxruntime", "numpy"],
                    metadata={"features": features},
                    save_as_external_data=False,
                )
            place = self.client.get_logged_model(info.model_id).artifact_location
            stored = self._artifact(f"{place.rstrip('/')}/{FILE}")
            if stored != content:
                raise RegistryError(
                    f"registry {self.uri}: the model was stored with {len(stored)} bytes instead of {len(content)}, or with "
                    "others: the artefact store is not to be trusted",
                    retry=True,
                )
            self.client.set_tag(run_id, "fraud.model_uri", info.model_uri)
            return info.model_uri

    def finish(self, run_id: str, tags: dict[str, str]) -> None:
        """Tags the run and ends it."""
        with self.asking("ending the run"):
            for name, value in tags.items():
                self.client.set_tag(run_id, name, value)
            self.client.set_terminated(run_id)

    def register(self, run_id: str, uri: str, tags: dict[str, str]) -> str:
        """A version of this run's model with its tags, made once; the alias `candidate` names it."""
        from mlflow.exceptions import MlflowException

        with self.asking(f"registering {self.model}"):
            try:
                self.client.create_registered_model(self.model, description="Fraud scores; see the aliases.")
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
            mine = [
                version
                for version in self.client.search_model_versions(f"run_id = '{run_id}'")
                if version.name == self.model
            ]
            if mine:
                number = str(mine[0].version)
            else:
                # Tags with the creation: nobody ever sees a version without its hash.
                model_id = uri.removeprefix("models:/")
                made = self.client.create_model_version(self.model, uri, run_id, tags=tags, model_id=model_id)
                number = str(made.version)
            self.client.set_registered_model_alias(self.model, "candidate", number)
            return number

    def promote(self, number: str, expected: str | None) -> dict[str, str]:
        """Makes the version champion, and the one in service `previous`; gives the aliases.

        `expected`: the version that was in service when the candidate was compared. Where another one is now, the
        comparison says nothing about it: refused. Doing it twice is doing it once.
        """
        aliases = self.aliases()
        if aliases.get("champion") == number:
            return aliases
        serving = self.in_service()
        found = serving.number if serving else None
        if found != expected:
            raise RegistryError(
                f"version {found} is in service, the candidate was compared with {expected}: run the retraining again"
            )
        with self.asking(f"promoting version {number}"):
            # First where to go back to: services that see the new champion find it.
            if expected is not None:
                self.client.set_registered_model_alias(self.model, "previous", expected)
            self.client.set_registered_model_alias(self.model, "champion", number)
        return self.aliases()

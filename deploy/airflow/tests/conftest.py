"""A real MLflow server for the tests of the registry; they run in MLflow's environment."""

import sys
from pathlib import Path

import pytest

from servers import Servers


@pytest.fixture(scope="session")
def mlflow_uri(tmp_path_factory):
    """The address of a server of its own."""
    servers = Servers(tmp_path_factory.mktemp("servers"), {"mlflow": Path(sys.executable)})
    try:
        yield servers.mlflow()
    finally:
        servers.stop_all()

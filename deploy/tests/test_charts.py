"""Values for charts, which nothing here can render: the Secrets that they name are those that somebody is told to make."""

import re

import pytest
import yaml

from deploy_check.build import DEPLOY

CHARTS = ("airflow", "mlflow")
# What a chart reads of a Secret that is given to it by name alone.
KEYS = {"fernetKeySecretName": "fernet-key", "jwtSecretName": "jwt-secret", "apiSecretKeySecretName": "api-secret-key"}


def made(text):
    """Secret to keys, as the commands in a text make them."""
    secrets = {}
    for name, rest in re.findall(r"create secret generic (\S+)((?:.*\\\n)*.*)", text):
        files = re.findall(r"--from-(?:file|literal)=([^\s=]+)", rest)
        secrets[name] = set(files)
    return secrets


def named(values, path=""):
    """Every Secret that values name: where, name, keys."""
    for key, value in values.items() if isinstance(values, dict) else enumerate(values):
        where = f"{path}.{key}"
        if isinstance(value, (dict, list)):
            if isinstance(key, str) and key.startswith("existing") and key.endswith("Secret"):
                yield where, value["name"], {v for k, v in value.items() if k != "name"}
            else:
                yield from named(value, where)
        elif isinstance(key, str) and key.lower().endswith("secretname"):
            yield where, value, {KEYS[key]} if key in KEYS else set()


def problems(name, values, readme):
    secrets = made(readme)
    for where, secret, keys in named(yaml.safe_load(values)):
        if secret not in secrets:
            yield f"{name}{where}: nobody is told to make the Secret {secret}"
        elif keys - secrets[secret]:
            yield f"{name}{where}: the Secret {secret} has no {', '.join(sorted(keys - secrets[secret]))}"


def texts(name):
    values = (DEPLOY / name / "chart" / "values.yaml").read_text()
    return values, (DEPLOY / name / "README.md").read_text() + re.sub(r"(?m)^#\s*", "", values)


@pytest.mark.parametrize("name", CHARTS)
def test_a_charts_secrets_are_those_that_are_made(name):
    values, told = texts(name)
    assert list(named(yaml.safe_load(values)))
    assert list(problems(name, values, told)) == []


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("jwtSecretName: airflow", "jwtSecretName: airflow-jwt-secret", "nobody is told to make the Secret airflow-jwt-secret"),
        ("secretName: fraud-retraining", "secretName: fraud-key", "nobody is told to make the Secret fraud-key"),
    ],
)
def test_a_secret_that_nobody_makes_is_found(before, after, said):
    values, told = texts("airflow")
    assert before in values
    assert any(said in text for text in problems("airflow", values.replace(before, after), told))


def test_a_key_that_a_secret_does_not_have_is_found():
    values, told = texts("mlflow")
    assert any("has no access-key-id" in text for text in problems("mlflow", values, told.replace("literal=access-key-id", "literal=key-id")))

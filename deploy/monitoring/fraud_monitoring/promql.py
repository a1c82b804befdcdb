"""What stands in an expression, and expressions as Prometheus itself can read them."""

import json
import re

import promql_parser

# What Grafana puts in place of its variables. `.*` is the variable's own value for "All".
_VARIABLES = {
    "$__rate_interval": "1m",
    "$__interval": "15s",
    "$__range": "10m",
    "$namespace": ".*",
}


def settled(expr: str) -> str:
    """An expression of a panel with values for Grafana's variables.

    Raises ValueError for a variable that is not known here: Prometheus would be asked for a literal dollar.
    """
    for name, value in _VARIABLES.items():
        expr = re.sub(re.escape(name) + r"(?![A-Za-z_])", value, expr)
    if "$" in expr:
        raise ValueError(f"unknown variable in `{expr}`; known are {', '.join(_VARIABLES)}")
    return expr


def selectors(expr: str) -> list:
    """Every selector (a metric with its label conditions) in an expression.

    Raises ValueError when it cannot be parsed.
    """
    found = []
    _walk(promql_parser.parse(expr), found)
    return found


def text_of(selector) -> str:
    """A selector by itself, as Prometheus reads it: without its range, offset or function."""
    signs = {"MatchOp.Equal": "=", "MatchOp.NotEqual": "!=", "MatchOp.Re": "=~", "MatchOp.NotRe": "!~"}
    conditions = [f"{one.name}{signs[str(one.op)]}{json.dumps(one.value)}" for one in selector.matchers.matchers]
    return f"{selector.name or ''}{{{', '.join(conditions)}}}"


def metrics(expr: str) -> set[str]:
    """The names of all metrics in an expression."""
    return {selector.name for selector in selectors(expr) if selector.name}


def _walk(node, found: list) -> None:
    if isinstance(node, promql_parser.VectorSelector):
        found.append(node)
        return
    if isinstance(node, promql_parser.MatrixSelector):
        found.append(node.vector_selector)
        return
    for part in ("expr", "lhs", "rhs", "param"):
        child = getattr(node, part, None)
        if child is not None and type(child).__module__ == type(node).__module__:
            _walk(child, found)
    for child in getattr(node, "args", None) or []:
        _walk(child, found)

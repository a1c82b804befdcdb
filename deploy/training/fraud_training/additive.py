"""One form for every model that is exported: a sum of trees or of weighted features, and what follows it.

LightGBM, forests, blends of them and logistic regression all are `link(Σ parts)`. Calibration scales the sum
before the logistic link, so it is folded into the leaves: what is exported stays one ensemble of trees, with
nothing to compute after it.
"""

from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True)
class Tree:
    """A binary tree; node 0 is its root.

    A row goes to `left` where its `feature` ≤ `threshold`, else to `right`. At leaves `feature` is −1 and
    `value` counts. Thresholds are float32: for float32 rows the comparison is the trained one, exactly.
    """

    feature: np.ndarray
    threshold: np.ndarray
    left: np.ndarray
    right: np.ndarray
    value: np.ndarray

    def leaves(self) -> int:
        """How many leaves it has."""
        return int((self.feature < 0).sum())


@dataclass(frozen=True)
class Additive:
    """`intercept` + the trees' leaves + `weights`·row, then the link: `logistic` or `identity`."""

    trees: tuple[Tree, ...] = ()
    weights: np.ndarray | None = None
    intercept: float = 0.0
    link: str = "identity"

    def scaled(self, factor: float) -> "Additive":
        """The sum times `factor`."""
        trees = tuple(replace(tree, value=tree.value * factor) for tree in self.trees)
        weights = None if self.weights is None else self.weights * factor
        return replace(self, trees=trees, weights=weights, intercept=self.intercept * factor)

    def plus(self, other: "Additive") -> "Additive":
        """Both sums together."""
        weights = [part.weights for part in (self, other) if part.weights is not None]
        return replace(
            self,
            trees=self.trees + other.trees,
            weights=sum(weights) if weights else None,
            intercept=self.intercept + other.intercept,
        )

    def shifted(self, amount: float) -> "Additive":
        """The sum plus `amount`."""
        return replace(self, intercept=self.intercept + amount)

    def logistic(self) -> "Additive":
        """1 / (1 + e^−sum)."""
        return replace(self, link="logistic")

    def score(self, rows: np.ndarray) -> np.ndarray:
        """Evaluates float32 rows in float64: slow and obvious, for checks."""
        total = np.full(len(rows), self.intercept)
        if self.weights is not None:
            total += rows.astype(np.float64) @ self.weights
        everyone = np.arange(len(rows))
        for tree in self.trees:
            node = np.zeros(len(rows), dtype=np.int64)
            while (inner := tree.feature[node] >= 0).any():
                goes_left = rows[everyone, np.maximum(tree.feature[node], 0)] <= tree.threshold[node]
                node = np.where(inner, np.where(goes_left, tree.left[node], tree.right[node]), node)
            total += tree.value[node]
        return 1 / (1 + np.exp(-total)) if self.link == "logistic" else total


def float32_at_most(thresholds: np.ndarray) -> np.ndarray:
    """The greatest float32 ≤ each float64.

    For a float32 x, x ≤ t holds exactly when x ≤ float32_at_most(t). Rounding to nearest, as exporters often
    do, may round up past a value and send it the other way.
    """
    thresholds = np.asarray(thresholds, dtype=np.float64)
    nearest = thresholds.astype(np.float32)
    return np.where(nearest.astype(np.float64) > thresholds, np.nextafter(nearest, np.float32(-np.inf)), nearest)


def from_lightgbm(booster) -> Additive:
    """The trees of a trained LightGBM booster without categorical features; the sum is its raw score."""
    return Additive(tuple(_lightgbm_tree(tree["tree_structure"]) for tree in booster.dump_model()["tree_info"]))


def _lightgbm_tree(root: dict) -> Tree:
    nodes: list[list[float]] = []

    def add(node: dict) -> int:
        index = len(nodes)
        if "split_feature" not in node:
            nodes.append([-1, 0.0, 0, 0, node["leaf_value"]])
            return index
        if node["decision_type"] != "<=":
            raise ValueError(f"a {node['decision_type']} split: categorical features are not exported")
        nodes.append([node["split_feature"], node["threshold"], 0, 0, 0.0])
        nodes[index][2] = add(node["left_child"])
        nodes[index][3] = add(node["right_child"])
        return index

    add(root)
    return _tree(*(np.array(column) for column in zip(*nodes, strict=True)))


def from_forest(forest) -> Additive:
    """The trees of a fitted scikit-learn forest; the sum is its probability of class 1."""
    share = 1 / len(forest.estimators_)
    trees = []
    for estimator in forest.estimators_:
        tree = estimator.tree_
        classes = tree.value[:, 0, :]
        leaf = tree.children_left < 0
        value = np.where(leaf, classes[:, 1] / classes.sum(axis=1), 0.0) * share
        feature = np.where(leaf, -1, tree.feature)
        left, right = np.where(leaf, 0, tree.children_left), np.where(leaf, 0, tree.children_right)
        trees.append(_tree(feature, np.where(leaf, 0.0, tree.threshold), left, right, value))
    return Additive(tuple(trees))


def from_linear(weights, intercept: float, mean, scale) -> Additive:
    """A linear model on standardised rows, with the standardising folded in; the sum is its log-odds."""
    weights = np.asarray(weights) / scale
    return Additive(weights=weights, intercept=float(intercept - weights @ mean))


def _tree(feature, threshold, left, right, value) -> Tree:
    return Tree(
        feature.astype(np.int64),
        float32_at_most(threshold),
        left.astype(np.int64),
        right.astype(np.int64),
        value.astype(np.float64),
    )

"""How good what is said of slides is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def measure(
    probabilities: Sequence[NDArray[np.float32]], labels: Sequence[str], classes: Sequence[str]
) -> dict[str, float | None]:
    """Compare what was found of slides with their labels.

    Parameters
    ----------
    probabilities : sequence of ndarray
        For each slide ``(classes,)`` float32.
    labels : sequence of str
    classes : sequence of str

    Returns
    -------
    dict
        ``slides``, ``loss`` (cross-entropy), ``accuracy``, ``balanced_accuracy`` (mean over the
        classes that occur) and ``auc`` (area under the ROC curve, mean of one class against the
        rest); ``None`` where it cannot be said.
    """
    if not labels:
        return {"slides": 0, **dict.fromkeys(("loss", "accuracy", "balanced_accuracy", "auc"))}
    truth = np.array([classes.index(label) for label in labels])
    found = np.array(probabilities, np.float64)
    right = found.argmax(1) == truth
    present = np.unique(truth)
    several = len(present) == len(classes)
    areas = [_area(found[truth == each, each], found[truth != each, each]) for each in present]
    return {
        "slides": len(labels),
        "loss": float(-np.log(np.maximum(found[np.arange(len(truth)), truth], 1e-12)).mean()),
        "accuracy": float(right.mean()),
        "balanced_accuracy": float(np.mean([right[truth == each].mean() for each in present])),
        "auc": float(np.mean(areas)) if several else None,
    }


def _area(positive: NDArray[np.float64], negative: NDArray[np.float64]) -> float:
    """Part of the pairs in which the positive one is higher; of no pairs, nothing is said."""
    if not len(positive) or not len(negative):
        return float("nan")
    higher = (positive[:, None] > negative) + 0.5 * (positive[:, None] == negative)
    return float(higher.mean())

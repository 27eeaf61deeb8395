"""Which tiles decided what a model says of a slide."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..core.embeddings import Embeddings
from ..core.inference import queue
from ..core.tiles import TileGrid
from ..models.base import SlideModel
from ..models.slide_classifier import SlideClassifier, SlideJudgement
from .search import TileScores


def judge_slide(
    model: SlideClassifier, embeddings: tuple[Embeddings, ...]
) -> tuple[SlideJudgement, tuple[TileScores, ...]]:
    """Classify a slide with a trained head.

    Parameters
    ----------
    model : SlideClassifier
    embeddings : tuple of Embeddings
        One for each of its sources, in that order, each in the order of the grid.

    Returns
    -------
    SlideJudgement
    tuple of TileScores
        For each encoder how much its tiles counted (see :func:`scores`); empty if the head does
        not weigh tiles.

    Raises
    ------
    ValueError
        They are not the embeddings that the model takes.
    """
    bags = [each.vectors for each in embeddings]
    judged = queue(model.device).call(lambda: model.judge(bags))
    total = sum(len(each) for each in embeddings)
    return judged, tuple(
        scores(each.tiles, weights, f"attention, {each.key.encoder}", total)
        for each, weights in zip(embeddings, judged.attention, strict=False)
    )


def slide_model_scores(
    model: SlideModel, grid: TileGrid, embeddings: Embeddings
) -> TileScores | None:
    """How much each tile counts for a model of slides; ``None`` if it cannot say."""
    centres = grid.centers[embeddings.tiles]
    weights = queue(model.device).call(
        lambda: model.attention(embeddings.vectors, centres, grid.side)
    )
    return None if weights is None else scores(embeddings.tiles, weights, model.spec.name)


def scores(
    tiles: NDArray[np.int64], weights: NDArray[np.float32], text: str, total: int = 0
) -> TileScores:
    """Turn weights with the sum 1 into values that can be compared between slides.

    1 is what a tile has if all count alike: the weights times the number of tiles.
    """
    return TileScores(tiles, (weights * (total or len(tiles))).astype(np.float32), text)

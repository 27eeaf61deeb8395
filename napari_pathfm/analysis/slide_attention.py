"""What a model says of a slide, and which of its tiles decided that."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..core.embeddings import Embeddings
from ..core.inference import queue
from ..io.store import StoredFeatures
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


def embed_slide(
    model: SlideModel, features: StoredFeatures
) -> tuple[NDArray[np.float32], TileScores | None]:
    """Embed a slide with a model of slides.

    Parameters
    ----------
    model : SlideModel
    features : StoredFeatures
        Of the encoder that the model wants, complete.

    Returns
    -------
    ndarray
        ``(dim,)`` float32.
    TileScores or None
        How much each tile counted (see :func:`scores`); ``None`` if the model cannot say.

    Raises
    ------
    ValueError
        They are of another encoder, or of tiles of another size than the model wants.
    """
    grid, embeddings, spec = features.grid(), features.read().in_grid_order(), model.spec
    if spec.encoder not in ("", features.key.encoder):
        raise ValueError(f"{spec.name} takes embeddings of {spec.encoder}: make those first.")
    if spec.tile_px and (grid.spec.tile_px, grid.spec.mpp) != (spec.tile_px, spec.mpp):
        raise ValueError(
            f"{spec.name} takes tiles of {spec.tile_px} px at {spec.mpp} um/px, not of "
            f"{grid.spec.tile_px} px at {grid.spec.mpp} um/px. Embed the slide so."
        )
    of_slide = embeddings.vectors, grid.centers[embeddings.tiles], grid.side
    inference = queue(model.device)
    vector = inference.call(lambda: model.embed_slide(*of_slide))
    weights = inference.call(lambda: model.attention(*of_slide))
    if weights is None:
        return vector, None
    return vector, scores(embeddings.tiles, weights, f"attention, {spec.name}")


def scores(
    tiles: NDArray[np.int64], weights: NDArray[np.float32], text: str, total: int = 0
) -> TileScores:
    """Turn weights with the sum 1 into values that can be compared between slides.

    1 is what a tile has if all count alike: the weights times the number of tiles.
    """
    values = (weights * (total or len(tiles))).astype(np.float32)
    return TileScores(tiles, values, text, name="attention")

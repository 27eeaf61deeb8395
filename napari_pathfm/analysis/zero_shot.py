"""Classify tiles by the names of classes alone, with no example.

Each class is asked for with all its synonyms in all templates of a prompt ensemble. Each text's
vector is brought to length 1, their mean is taken, and that is brought to length 1 again (Radford
et al., ICML 2021, 3.1.4; with synonyms: Lu et al., CVPR 2023, "MI-Zero"); for BioViL, whose authors
do it otherwise, the texts' vectors keep their lengths until the mean is taken. A tile's score for a
class is the cosine of the two vectors; probabilities are the softmax of the cosines times the scale
that the model learned in training, if it did.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..core.embeddings import Embeddings
from ..core.inference import InferenceQueue
from ..core.jobs import Job
from ..models.base import TextEncoder
from .prompts import PromptSet, prompts_of
from .search import TileScores, cosine, lengths
from .text_search import check_comparable, embed_texts, tiles_for_text


@dataclass(frozen=True, eq=False)
class ZeroShot:
    """How well tiles fit to classes that are given by name.

    Attributes
    ----------
    classes : tuple of str
        K names.
    tiles : ndarray
        ``(M,)`` int64: number of the tile in its grid.
    cosines : ndarray
        ``(M, K)`` float32, -1 to 1.
    logit_scale : float or None
        What cosines are multiplied by before the softmax; ``None`` if the model has no such scale.
    """

    classes: tuple[str, ...]
    tiles: NDArray[np.int64]
    cosines: NDArray[np.float32]
    logit_scale: float | None = None

    @property
    def best(self) -> NDArray[np.int64]:
        """``(M,)`` int64: index of the class that fits best."""
        found: NDArray[np.int64] = self.cosines.argmax(1)
        return found

    @property
    def probabilities(self) -> NDArray[np.float32]:
        """``(M, K)`` float32, each row of sum 1.

        Raises
        ------
        ValueError
            The model has no scale for its cosines, so they cannot be turned into probabilities.
        """
        if self.logit_scale is None:
            raise ValueError(
                "This model was trained without a scale for its cosines, so that it has no "
                "probabilities. Compare the cosines themselves."
            )
        logits = self.cosines.astype(np.float64) * self.logit_scale
        powers = np.exp(logits - logits.max(1, keepdims=True))
        shares: NDArray[np.float32] = (powers / powers.sum(1, keepdims=True)).astype(np.float32)
        return shares

    def of(self, name: str) -> TileScores:
        """Return the cosines to one class, for a heatmap.

        Raises
        ------
        ValueError
            There is no such class.
        """
        if name not in self.classes:
            raise ValueError(f"There is no class {name!r}: choose one of {', '.join(self.classes)}")
        column = self.cosines[:, self.classes.index(name)]
        return TileScores(self.tiles, np.ascontiguousarray(column), f"similar to “{name}”")

    def slide(self, tiles: int = 10) -> NDArray[np.float32]:
        """Score the whole slide: for each class the mean of its highest cosines.

        Top-K pooling of MI-Zero (Lu et al., CVPR 2023), which CONCH's authors use with 1, 5, 10,
        50 and 100 tiles.

        Parameters
        ----------
        tiles : int
            How many; all where there are fewer.

        Returns
        -------
        ndarray
            ``(K,)`` float32.
        """
        highest = np.sort(self.cosines, 0)[::-1][: max(1, tiles)]
        means: NDArray[np.float32] = highest.mean(0)
        return means


def class_vectors(
    encoder: TextEncoder,
    classes: Mapping[str, Sequence[str]],
    prompts: PromptSet | None = None,
    queue: InferenceQueue | None = None,
) -> Job[NDArray[np.float32]]:
    """Embed classes by their names.

    Parameters
    ----------
    encoder : TextEncoder
    classes : mapping
        Synonyms of each class by its name, which is asked for itself where there are none.
    prompts : PromptSet, optional
        That of the encoder's authors, or the general one, if absent.
    queue : InferenceQueue, optional
        That of the encoder's device if absent.

    Returns
    -------
    ndarray
        ``(K, D)`` float32, each of length 1.

    Raises
    ------
    ValueError
        There is no class, or one without a name.
    """
    if not classes:
        raise ValueError("There are no classes to tell apart: name one or more.")
    prompts = prompts or prompts_of(encoder.spec.name)
    asked = [prompts.prompts(synonyms or [name]) for name, synonyms in classes.items()]
    texts, plain = [text for texts in asked for text in texts], encoder.spec.mean_first
    vectors = yield from embed_texts(encoder, texts, queue, own_lengths=plain)
    ends = np.cumsum([len(texts) for texts in asked])
    parts = np.split(vectors if plain else vectors / lengths(vectors)[:, None], ends[:-1])
    means = np.stack([part.mean(0) for part in parts])
    found: NDArray[np.float32] = (means / lengths(means)[:, None]).astype(np.float32)
    return found


def zero_shot(
    embeddings: Embeddings,
    encoder: TextEncoder,
    classes: Mapping[str, Sequence[str]],
    prompts: PromptSet | None = None,
    queue: InferenceQueue | None = None,
) -> Job[ZeroShot]:
    """Score tiles for classes that are given by name.

    Parameters
    ----------
    embeddings : Embeddings
        As of :func:`~napari_pathfm.analysis.text_search.for_texts`.
    encoder, classes, prompts, queue
        As of :func:`class_vectors`.

    Raises
    ------
    ValueError
        There is no class, or the embeddings may not be compared with texts of this encoder.
    """
    check_comparable(embeddings, tiles_for_text(encoder))
    vectors = yield from class_vectors(encoder, classes, prompts, queue)
    cosines = np.stack([cosine(embeddings.vectors, vector) for vector in vectors], 1)
    scale = getattr(encoder, "logit_scale", None)
    return ZeroShot(tuple(classes), embeddings.tiles, cosines, scale)

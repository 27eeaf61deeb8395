"""Find the tiles that a text describes.

A text encoder puts tiles and texts into one space, where their cosine says how well they fit
(Radford et al., ICML 2021). Where an encoder's pooled vectors lie in that space (``spec.joint``),
stored embeddings are searched as they are; otherwise its tiles are embedded once more, for texts,
and those vectors are kept beside the others, so that this happens once a slide.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from ..core.embeddings import Embeddings, FeatureKey
from ..core.inference import InferenceQueue, Priority
from ..core.inference import queue as device_queue
from ..core.jobs import Job, Progress
from ..core.tiles import TileGrid
from ..io.store import FeatureStore
from ..models.base import Encoder, TextEncoder
from ..models.wrapped import WrappedEncoder
from .embed import TileSource, embed
from .search import TileScores, cosine

FOR_TEXT = "text"
"""Pooling of vectors that were made for texts by an encoder whose own lie elsewhere."""

TEXTS_A_UNIT, TEXTS_A_SHORT_UNIT = 16, 2
"""Texts of one unit of inference: with no window, and with one open."""


class TilesForText(WrappedEncoder[TextEncoder]):
    """An encoder whose vectors of tiles are those that may be compared with its texts."""

    @property
    def key(self) -> FeatureKey:
        """The encoder's, of another pooling: these vectors are not to be mixed with its own."""
        return replace(self._encoder.key, pooling=FOR_TEXT)

    def embed(self, tiles: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Embed ``(B, H, W, 3)`` uint8 tiles where the texts are: ``(B, D)`` float32, length 1."""
        return self._encoder.embed_for_text(tiles)


@runtime_checkable
class WithLengths(Protocol):
    """An encoder that tells vectors of texts before they are brought to length 1."""

    def text_features(self, texts: list[str]) -> NDArray[np.float32]:
        """Embed texts: ``(N, D)`` float32."""


def text_encoder(encoder: Encoder) -> TextEncoder:
    """Return the encoder as one that embeds texts.

    Raises
    ------
    ValueError
        It embeds none.
    """
    if not isinstance(encoder, TextEncoder):
        raise images_only(encoder.spec.name)
    return encoder


def images_only(name: str) -> ValueError:
    """Return the error that says that an encoder embeds no texts, and what to do."""
    return ValueError(
        f"{name} cannot be asked in words, it embeds images only. Embed the slide with an encoder "
        "of images and texts, such as plip, quiltnet-b-32, conch or clip."
    )


def tiles_for_text(encoder: TextEncoder) -> Encoder:
    """Return what embeds tiles where the texts are: the encoder itself where that is the same."""
    return encoder if encoder.spec.joint else TilesForText(encoder)


def embed_texts(
    encoder: TextEncoder,
    texts: Sequence[str],
    queue: InferenceQueue | None = None,
    own_lengths: bool = False,
) -> Job[NDArray[np.float32]]:
    """Embed texts in the inference thread, some at a time.

    Parameters
    ----------
    encoder : TextEncoder
    texts : sequence of str
    queue : InferenceQueue, optional
        That of the encoder's device if absent.
    own_lengths : bool
        Leave vectors the lengths that the network gives them, if the encoder tells them.

    Returns
    -------
    ndarray
        ``(N, D)`` float32, each of length 1 unless they have their own.
    """
    embed = encoder.embed_text
    if own_lengths and isinstance(encoder, WithLengths):
        embed = encoder.text_features
    queue = queue or device_queue(encoder.device)
    step = TEXTS_A_UNIT if queue.unit_seconds is None else TEXTS_A_SHORT_UNIT
    parts: list[NDArray[np.float32]] = []
    for start in range(0, len(texts), step):
        yield Progress(start, len(texts), "Reading the text")
        part = list(texts[start : start + step])
        parts.append(queue.call(partial(embed, part), Priority.VISIBLE))
    return np.concatenate(parts)


def text_search(
    embeddings: Embeddings, text: str, encoder: TextEncoder, queue: InferenceQueue | None = None
) -> Job[TileScores]:
    """Score every tile by its cosine similarity to a text, which is taken as it is.

    Parameters
    ----------
    embeddings : Embeddings
        Of :func:`tiles_for_text` of this encoder.
    text : str
        As a caption would say it: "lymphocytes, H&E".
    encoder : TextEncoder
    queue : InferenceQueue, optional
        That of the encoder's device if absent.

    Returns
    -------
    TileScores
        In the order of `embeddings`.

    Raises
    ------
    ValueError
        There is no text, or the embeddings may not be compared with texts of this encoder.
    """
    text = _written(text)
    check_comparable(embeddings, tiles_for_text(encoder))
    (query,) = yield from embed_texts(encoder, [text], queue)
    values = cosine(embeddings.vectors, query)
    return TileScores(embeddings.tiles, values, f"similar to “{text}”")


def check_comparable(embeddings: Embeddings, encoder: Encoder) -> None:
    """Raise ``ValueError`` if embeddings were not made by this encoder, with these weights."""
    key = encoder.key
    if encoder.spec.joint and embeddings.key.stain:  # texts have no stains
        key = key.normalised(embeddings.key.stain)
    if difference := embeddings.key.difference(key):
        raise ValueError(
            f"These embeddings cannot be compared with texts of {encoder.spec.name}: {difference}. "
            "Embed the slide with it and these weights first."
        )


def for_texts(
    slide: TileSource,
    grid: TileGrid,
    embeddings: Embeddings,
    encoder: TextEncoder,
    store: Path | None = None,
    queue: InferenceQueue | None = None,
) -> Job[Embeddings]:
    """Return vectors of the same tiles that may be compared with texts.

    Parameters
    ----------
    slide : TileSource
        A slide reader; read only where the encoder's own vectors lie elsewhere.
    grid : TileGrid
    embeddings : Embeddings
        Of that grid by that encoder.
    encoder : TextEncoder
    store : Path, optional
        The slide's store, where vectors that are made for texts are kept.
    queue : InferenceQueue, optional
        That of the encoder's device if absent.

    Raises
    ------
    ValueError
        Another encoder, or one with other weights, made the embeddings.
    ModelError, SlideError, ProjectError
        As of :func:`napari_pathfm.analysis.embed.embed`.
    """
    if encoder.spec.joint or embeddings.key.pooling == FOR_TEXT:
        check_comparable(embeddings, tiles_for_text(encoder))
        return embeddings
    check_comparable(embeddings, encoder)
    tiles = tiles_for_text(encoder)
    kept = None if store is None else FeatureStore(store, tiles.key, grid)
    return (yield from embed(slide, grid, tiles, kept, queue, np.sort(embeddings.tiles)))


def search_slide(
    slide: TileSource,
    grid: TileGrid,
    embeddings: Embeddings,
    text: str,
    encoder: Encoder,
    store: Path | None = None,
    queue: InferenceQueue | None = None,
) -> Job[TileScores]:
    """Score the tiles of a slide by a text; :func:`for_texts`, then :func:`text_search`.

    Raises
    ------
    ValueError
        The encoder embeds no texts, there is no text, or other weights made the embeddings.
    ModelError, SlideError, ProjectError
        As of :func:`napari_pathfm.analysis.embed.embed`.
    """
    asked, text = text_encoder(encoder), _written(text)
    vectors = yield from for_texts(slide, grid, embeddings, asked, store, queue)
    return (yield from text_search(vectors, text, asked, queue))


def _written(text: str) -> str:
    if not text.strip():
        raise ValueError("Nothing to search for: write what the tiles should show.")
    return text.strip()

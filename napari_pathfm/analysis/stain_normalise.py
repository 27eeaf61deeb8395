"""Give the tiles of a slide the colours of another one, between reader and encoder.

How a slide looks is found once, on tiles from all over its tissue, and every tile is changed alike.
A tile by itself may hold one stain only, or ink: its own fit would turn stroma into nuclei, and
would take away what makes tiles of one slide differ.
"""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..core.embeddings import FeatureKey
from ..core.jobs import Job, Progress
from ..core.threads import reader_threads
from ..core.tiles import TileGrid
from ..io.memory import recycler
from ..io.walk import decoders
from ..models.base import Encoder
from ..models.wrapped import WrappedEncoder
from .embed import TileSource
from .macenko import MacenkoLook, macenko
from .recolour import Floats, Pixels, Recolour
from .reinhard import ReinhardLook, reinhard
from .stains import glass_colour

SAMPLE_TILES = 48
SAMPLE_PIXELS = 100_000
"""How many of each the look of a slide is found on."""

Look = MacenkoLook | ReinhardLook

_GLASS = np.full(3, 240.0)

TYPICAL: dict[str, Look] = {
    "macenko": MacenkoLook(
        np.array([[0.5888, 0.6791, 0.4382], [0.0742, 0.9333, 0.3513]]),
        np.array([1.857, 0.690]),
        _GLASS,
    ),
    "reinhard": ReinhardLook(
        np.array([8.697, -0.111, 0.0355]), np.array([0.475, 0.0756, 0.0182]), _GLASS
    ),
}
"""What slides are made to look like: the median of each number over 80 H&E slides of many
laboratories and scanners (Pathology Atlas), on grey glass; `benchmarks/stains.py` makes them."""

FITS: dict[str, Callable[[Pixels, Floats], Look]] = {"macenko": macenko, "reinhard": reinhard}


@dataclass(frozen=True, eq=False)
class Reference:
    """What slides are made to look like, and by which method.

    Attributes
    ----------
    method : str
        A key of :data:`FITS`.
    look : MacenkoLook or ReinhardLook
    """

    method: str
    look: Look

    @property
    def name(self) -> str:
        """Method and eight hexadecimal digits over the look: ``"macenko to 1a2b3c4d"``."""
        numbers = json.dumps([round(float(number), 6) for number in self.look.numbers])
        return f"{self.method} to {hashlib.blake2b(numbers.encode(), digest_size=4).hexdigest()}"


def typical(method: str) -> Reference:
    """Return the look of a typical H&E slide.

    Raises
    ------
    ValueError
        There is no such method.
    """
    if method not in TYPICAL:
        raise ValueError(f"There is no stain normalisation {method!r}: choose one of {[*FITS]}.")
    return Reference(method, TYPICAL[method])


def find_look(slide: TileSource, grid: TileGrid, method: str) -> Job[Look]:
    """Find how a slide looks, on tiles from all over a grid.

    Raises
    ------
    ValueError
        There is too little tissue, or for Macenko's method one stain only.
    SlideError
        The slide cannot be read.
    """
    yield Progress(0, 0, "Looking at the stains")
    chosen = np.unique(np.linspace(0, len(grid) - 1, min(len(grid), SAMPLE_TILES)).astype(int))
    parts = [tiles for _, tiles in slide.tiles(grid, chosen, 8)] if len(grid) else []
    pixels = np.concatenate([np.zeros((0, 3), np.uint8), *(part.reshape(-1, 3) for part in parts)])
    sample = pixels[:: max(1, len(pixels) // SAMPLE_PIXELS)]
    return FITS[method](sample, glass_colour(sample))


def normalise(slide: TileSource, grid: TileGrid, reference: Reference) -> Job[NormalisedTiles]:
    """Return the slide as a source of tiles that look like the reference.

    Parameters
    ----------
    slide : TileSource
    grid : TileGrid
        Of the tissue that says how the slide looks.
    reference : Reference

    Raises
    ------
    ValueError, SlideError
        As of :func:`find_look`.
    """
    own = yield from find_look(slide, grid, reference.method)
    return normalised(slide, own, reference)


def normalised(slide: TileSource, own: Look, reference: Reference) -> NormalisedTiles:
    """Return a slide of which is known how it looks, as tiles that look like the reference."""
    return NormalisedTiles(slide, _between(own, reference.look), reference)


def normalise_for(
    slide: TileSource, grid: TileGrid, encoder: Encoder, reference: Reference | None
) -> Job[tuple[TileSource, Encoder]]:
    """Return what is to be embedded with what, as scanned where there is no reference.

    Raises
    ------
    ValueError, SlideError
        As of :func:`find_look`.
    """
    if reference is None:
        return slide, encoder
    tiles = yield from normalise(slide, grid, reference)
    return tiles, NormalisedEncoder(encoder, reference)


class NormalisedTiles:
    """A source of tiles whose colours are changed on their way, in the decoding threads.

    Parameters
    ----------
    slide : TileSource
    recolour : callable
    reference : Reference
    """

    def __init__(self, slide: TileSource, recolour: Recolour, reference: Reference) -> None:
        self._slide, self._recolour, self.reference = slide, recolour, reference

    def tiles(
        self, grid: TileGrid, order: NDArray[np.integer] | None = None, batch: int = 32
    ) -> Generator[tuple[NDArray[np.int64], Pixels], None, None]:
        """Yield numbers ``(B,)`` and tiles ``(B, tile_px, tile_px, 3)`` uint8."""
        under_way: deque[_Batch] = deque()
        with closing(self._slide.tiles(grid, order, batch)) as reader:
            try:
                for numbers, tiles in reader:
                    under_way.append(_Batch(numbers, tiles, self._recolour))
                    if len(under_way) > 1:  # one is changed while another is used
                        yield under_way.popleft().result()
                while under_way:
                    yield under_way.popleft().result()
            finally:
                for each in under_way:
                    each.cancel()


class _Batch:
    """Tiles that are being changed, some by each thread."""

    def __init__(self, numbers: NDArray[np.int64], tiles: Pixels, recolour: Recolour) -> None:
        self._numbers, self._made = numbers, recycler().take(*tiles.shape)
        parts = np.array_split(np.arange(len(tiles)), reader_threads())
        cuts = [slice(part[0], part[-1] + 1) for part in parts if len(part)]
        self._parts = [decoders().submit(recolour, tiles[cut], self._made[cut]) for cut in cuts]

    def result(self) -> tuple[NDArray[np.int64], Pixels]:
        for part in self._parts:
            part.result()
        return self._numbers, self._made

    def cancel(self) -> None:
        for part in self._parts:
            part.cancel()


class NormalisedEncoder(WrappedEncoder[Encoder]):
    """An encoder that says of its embeddings that their tiles were normalised.

    Parameters
    ----------
    encoder : Encoder
    reference : Reference
    """

    def __init__(self, encoder: Encoder, reference: Reference) -> None:
        super().__init__(encoder)
        self._reference = reference

    @property
    def key(self) -> FeatureKey:
        """The encoder's, of other preprocessing: such embeddings are compared with no others."""
        return self._encoder.key.normalised(self._reference.name)


def _between(own: Look, target: Look) -> Recolour:
    if isinstance(own, MacenkoLook) and isinstance(target, MacenkoLook):
        return own.to(target)
    if isinstance(own, ReinhardLook) and isinstance(target, ReinhardLook):
        return own.to(target)
    raise TypeError("a look of one method cannot be turned into one of another")

"""What every encoder and every segmenter promises."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from ..core.embeddings import FeatureKey
from ..core.prompts import Prompts


class ModelError(Exception):
    """A model cannot be loaded or used; the message says what to do about it."""


class DeviceLost(ModelError):
    """The card on which a network ran does not answer any more: what it was to do has not been
    done, and nothing goes on elsewhere unless the user says so."""


STATUSES = ("open", "gated", "closed", "none")
"""Whether weights can be had: by anybody, by those who accept terms, by nobody outside (a file at
hand is loaded all the same), or there is no such model."""

KINDS = ("encoder", "slide", "segmenter", "example", "report")
"""What a model makes: a vector of a tile, one of a slide, masks from prompts, masks from examples,
or text."""


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """Facts that every model has, from the catalogue.

    Attributes
    ----------
    name : str
    kind : str
        One of :data:`KINDS`.
    status : str
        One of :data:`STATUSES`.
    params : int
        Number of parameters without a classifier; 0 if nobody has said.
    image_mb : int
        Megabytes that one image takes in float32 on its way through a segmenter, counted on its
        network; 0 for other models, for which :mod:`napari_pathfm.models.memory` estimates it.
    licence : str
    commercial : bool
        Whether the licence allows commercial use; what is unclear is not.
    gate : str
        What stands before a download ("" for nothing, "accept terms", ...).
    source : str
        Repository or model card.
    citation : str
        Paper.
    note : str
        What a user should know: what is missing, which model is nearest.
    """

    name: str
    kind: str = "encoder"
    status: str = "open"
    params: int
    licence: str
    commercial: bool
    gate: str
    source: str
    citation: str = ""
    note: str = ""
    image_mb: int = 0


@dataclass(frozen=True, kw_only=True)
class EncoderSpec(ModelSpec):
    """Facts of an encoder of tiles.

    Attributes
    ----------
    tile_px : int
        Side of a tile in pixels; tiles of another size are resized to it.
    mpp : float
        Micrometres per pixel for which it was made.
    dim : int
        Length of the pooled vector.
    token_dim : int
        Channels of the patch tokens (of a CNN's last feature map).
    patch : int
        Side of a patch token in input pixels (a CNN's stride).
    prefix_tokens : int
        Class and register tokens before the patch tokens; 0 for a CNN.
    mean, std : tuple of float
        Per channel, for pixels scaled to 0..1.
    interpolation : str
        "bilinear" or "bicubic": how tiles of another size are resized.
    pooling : str
        "cls", "cls+mean" or "avg" of the tokens, "own": the network's own pooling, or "two-scale":
        the class token beside the mean of those of the tile's quarters, each at twice the size.
    precision : str
        What its authors run it in: "float32", "float16" or "bfloat16".
    crop_px : int
        Side of the middle of a tile that the network sees; 0 for all of it.
    gray : bool
        Tiles are turned to grey first.
    any_size : bool
        Whether :meth:`Encoder.tokens` takes tiles of every multiple of `patch` as they are.
    text : bool
        Whether it embeds text, too.
    joint : bool
        Whether the pooled vectors lie where its texts do, so that stored ones can be searched by
        text; else tiles are embedded once more for it.
    mean_first : bool
        Of several texts for one class, the mean is taken and then brought to length 1, as its
        authors do it; else each of them is brought to length 1 before.
    """

    tile_px: int
    mpp: float
    dim: int
    token_dim: int
    patch: int
    prefix_tokens: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: str
    pooling: str
    precision: str
    crop_px: int = 0
    gray: bool = False
    any_size: bool = False
    text: bool = False
    joint: bool = False
    mean_first: bool = False

    @property
    def input_px(self) -> int:
        """Side of what the network sees."""
        return self.crop_px or self.tile_px


@dataclass(frozen=True, kw_only=True)
class SlideSpec(ModelSpec):
    """Facts of a model that turns the embeddings of a slide's tiles into one vector.

    Attributes
    ----------
    encoder : str
        Name of the encoder whose embeddings it takes; empty for any.
    dim_in : int
        Length of those; 0 for any.
    dim : int
        Length of the slide's vector; 0: that of the embeddings.
    tile_px : int
        Side of the tiles in pixels; 0 for any.
    mpp : float
        Micrometres per pixel of the tiles; 0 for any.
    precision : str
        As of :class:`EncoderSpec`.
    """

    encoder: str
    dim_in: int
    dim: int
    tile_px: int
    mpp: float
    precision: str


@runtime_checkable
class Encoder(Protocol):
    """Turns tiles into vectors.

    ``embed`` and ``tokens`` are units of work: they run in the device's inference thread, called
    through :func:`napari_pathfm.core.inference.queue`, never anywhere else.
    """

    @property
    def spec(self) -> EncoderSpec:
        """Facts."""

    @property
    def key(self) -> FeatureKey:
        """What decides whether its vectors may be compared with others."""

    @property
    def device(self) -> str:
        """Where it runs, the name of its inference queue ("cpu", "cuda:0", "mps")."""

    def embed(self, tiles: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Embed ``(B, H, W, 3)`` uint8 tiles of any one size; returns ``(B, dim)`` float32."""

    def tokens(self, tiles: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Patch tokens of ``(B, H, W, 3)`` uint8 tiles: ``(B, h, w, token_dim)`` float32."""


@runtime_checkable
class TextEncoder(Encoder, Protocol):
    """An encoder that puts texts into the space of its tiles, where their cosine is of use."""

    def embed_text(self, texts: list[str]) -> NDArray[np.float32]:
        """Embed texts: ``(N, D)`` float32, each of length 1."""

    def embed_for_text(self, tiles: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Embed ``(B, H, W, 3)`` uint8 tiles where the texts are: ``(B, D)`` float32, length 1."""


@runtime_checkable
class SlideModel(Protocol):
    """Turns the embeddings of a slide's tiles into one vector of the slide.

    Both methods are units of work that run in the device's inference thread, like an encoder's.
    They take the tiles in any order, as

    - `vectors`: ``(N, dim_in)`` float32, N at least 1,
    - `centres`: ``(N, 2)`` centres ``(y, x)`` in level-0 pixels,
    - `side`: side of a tile in level-0 pixels.
    """

    @property
    def spec(self) -> SlideSpec:
        """Facts."""

    @property
    def device(self) -> str:
        """Where it runs."""

    def embed_slide(
        self, vectors: NDArray[np.float32], centres: NDArray[np.float64], side: float
    ) -> NDArray[np.float32]:
        """Return the slide's vector, ``(dim,)`` float32."""

    def attention(
        self, vectors: NDArray[np.float32], centres: NDArray[np.float64], side: float
    ) -> NDArray[np.float32] | None:
        """How much each tile counts, ``(N,)`` float32 with the sum 1; ``None``: it cannot say."""


@dataclass(frozen=True, eq=False)
class ImageEmbedding:
    """A crop as a segmenter's image encoder sees it; immutable, may be cached and stored.

    Attributes
    ----------
    model : str
        Name of the segmenter that made it; no other can decode it.
    shape : tuple of int
        ``(height, width)`` of the crop in pixels.
    features : ndarray
        ``(C, h, w)`` float32, or what else the segmenter keeps in it.
    """

    model: str
    shape: tuple[int, int]
    features: NDArray[Any]


@dataclass(frozen=True, eq=False)
class Segmentation:
    """Three candidate masks for each of N objects, best first.

    Attributes
    ----------
    masks : ndarray
        ``(N, 3, h, w)`` bool, in pixels of the crop. A segmenter with one answer repeats it.
    scores : ndarray
        ``(N, 3)`` float32: the model's own estimate of the IoU, 0 to 1.
    logits : ndarray
        ``(N, 3, p, p)`` float32 over the square that it sees, to be handed back as a prompt; 256
        pixels a side with most.
    """

    masks: NDArray[np.bool_]
    scores: NDArray[np.float32]
    logits: NDArray[np.float32]


@runtime_checkable
class Segmenter(Protocol):
    """Turns prompts on a crop into masks; runs in the inference thread like an encoder."""

    @property
    def name(self) -> str:
        """Name in the registry."""

    @property
    def device(self) -> str:
        """Where it runs."""

    @property
    def input_px(self) -> int:
        """Side of the square its image encoder sees."""

    @property
    def answers(self) -> frozenset[str]:
        """Which prompts it understands: "points", "box", "mask"."""

    @property
    def weights_id(self) -> str:
        """What tells its weights from others of the same name, the same in every session; "" if
        there are no others. What is encoded with others is never decoded."""

    def encode(self, rgb: NDArray[np.uint8]) -> ImageEmbedding:
        """Run the image encoder once on a ``(h, w, 3)`` uint8 crop of any size."""

    def decode(
        self,
        embedding: ImageEmbedding,
        prompts: Sequence[Prompts],
        logits: NDArray[np.float32] | None = None,
    ) -> Segmentation:
        """Answer the prompts of N objects, cheaply.

        Parameters
        ----------
        embedding : ImageEmbedding
            From this segmenter's :meth:`encode`.
        prompts : sequence of Prompts
            N, in **pixels of the crop**, ``(y, x)`` (see :meth:`Prompts.moved`).
        logits : ndarray, optional
            ``(N, p, p)`` float32 from an earlier answer, or drawn in any number of pixels.

        Raises
        ------
        ValueError
            It does not understand such a prompt; the message names one that does.
        """


ExamplePair = tuple[NDArray[np.uint8], NDArray[np.bool_]]
"""An image, ``(h, w, 3)`` uint8, and what in it is meant, ``(h, w)`` bool."""

Answering = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
"""Takes a ``(h, w, 3)`` uint8 image of any size; returns ``(h, w)`` float32, 0 to 1: how likely a
pixel is meant. More than 0.5 means that it is."""


@runtime_checkable
class ExampleSegmenter(Protocol):
    """Segments what examples show; runs in the inference thread like an encoder."""

    @property
    def name(self) -> str:
        """For people, and for the table of objects."""

    @property
    def device(self) -> str:
        """Where it runs."""

    @property
    def input_px(self) -> int:
        """Side of the square that it looks at."""

    def learn(self, examples: Sequence[ExamplePair]) -> Answering:
        """Look at examples, at least one; both this and what is returned are units of work.

        What it is asked about should show things as large as the examples do.

        Raises
        ------
        ValueError
            There is no example, or nothing can be learned from them.
        """

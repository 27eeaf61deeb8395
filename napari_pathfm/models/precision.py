"""How precisely to calculate: as fast as possible with the same answers, measured on real tiles.

bfloat16 and channels-last win on some processors and networks and lose on others, so each
combination is tried on the first tiles of a slide. One is taken only where the cosine of its
vectors to those of float32 is at least 0.999 in the mean and 0.995 for every tile.
"""

from __future__ import annotations

import contextlib
import copy
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

COSINE_MEAN, COSINE_EACH = 0.999, 0.995
"""What the cosine to float32 must reach."""

CALIBRATION_TILES = 8
"""How many tiles are measured; fewer than half of that are not enough to judge by."""

_REPEATS = 3


@dataclass(frozen=True)
class Precision:
    """A way to run a network.

    Attributes
    ----------
    name : str
        "float32", "bfloat16, channels-last", ...
    dtype : str
        Of convolutions and matrix products; norms stay in float32.
    channels_last : bool
        Memory order of images and feature maps.
    """

    dtype: str = "float32"
    channels_last: bool = False

    @property
    def name(self) -> str:
        """Name for people and for the store."""
        return f"{self.dtype}, channels-last" if self.channels_last else self.dtype


FLOAT32 = Precision()


@dataclass(frozen=True)
class Trial:
    """One precision, tried on the tiles.

    Attributes
    ----------
    precision : Precision
    seconds : float
        For one batch of the tiles, the median of several.
    cosine_mean, cosine_min : float
        To float32.
    """

    precision: Precision
    seconds: float
    cosine_mean: float
    cosine_min: float

    @property
    def same(self) -> bool:
        """Whether it gives the same answers as float32."""
        return self.cosine_mean >= COSINE_MEAN and self.cosine_min >= COSINE_EACH


@runtime_checkable
class Calibrating(Protocol):
    """An encoder that finds its own best precision on the first tiles."""

    def calibration(self, tiles: NDArray[np.uint8]) -> Generator[None, None, None]:
        """Try each precision on the tiles; every ``next`` is one short unit of inference."""


def candidates(device: str, convolutional: bool) -> tuple[Precision, ...]:
    """Precisions worth trying on a device besides float32.

    Channels-last is about convolutions, so it is tried alone for convolutional networks only.
    """
    kind = device.partition(":")[0]
    if kind == "cuda":
        return Precision("bfloat16", True), Precision("float16", True)
    if kind == "cpu":
        half = Precision("bfloat16", convolutional)
        return (Precision("float32", True), half) if convolutional else (half,)
    return (Precision("float16"),)


def convert(network: torch.nn.Module, precision: Precision) -> torch.nn.Module:
    """Return a copy of a float32 network to be run under :func:`autocast`.

    Weights of convolutions and matrix products are stored in `precision`, so that they are not
    converted anew in each pass; everything else stays in float32, as autocast wants it.
    """
    import torch

    dtype = getattr(torch, precision.dtype)
    products = (torch.nn.Conv2d, torch.nn.Linear)
    memo: dict[int, Any] = {}
    for module in network.modules():
        if isinstance(module, products):
            for parameter in module.parameters(recurse=False):
                made = torch.nn.Parameter(parameter.to(dtype), requires_grad=False)
                memo[id(parameter)] = made
    converted = copy.deepcopy(network, memo)
    if precision.channels_last:
        converted = converted.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return converted


def autocast(device: str, precision: Precision) -> contextlib.AbstractContextManager[Any]:
    """Context in which a network of this precision runs."""
    import torch

    if precision.dtype == "float32":
        return contextlib.nullcontext()
    return torch.autocast(device.partition(":")[0], getattr(torch, precision.dtype))


def trial(
    precision: Precision,
    embed: Callable[[NDArray[np.uint8]], NDArray[np.float32]],
    tiles: NDArray[np.uint8],
    reference: NDArray[np.float32],
    too_slow: float,
) -> Generator[None, None, Trial]:
    """Measure one precision; yields between passes, each of which is a unit of inference.

    Parameters
    ----------
    precision : Precision
    embed : callable
        Runs it on tiles.
    tiles : ndarray
        ``(B, H, W, 3)`` uint8.
    reference : ndarray
        ``(B, D)`` float32 from float32; empty if this is it.
    too_slow : float
        Seconds after which it cannot win any more: it is then not measured again.
    """
    vectors = embed(tiles)  # the first pass also prepares kernels: it is not timed
    yield
    seconds: list[float] = []
    while len(seconds) < _REPEATS and (not seconds or min(seconds) < 1.5 * too_slow):
        start = time.perf_counter()
        embed(tiles)
        seconds.append(time.perf_counter() - start)
        yield
    cosines = cosine(vectors, reference) if len(reference) else np.ones(len(tiles))
    return Trial(precision, float(np.median(seconds)), float(cosines.mean()), float(cosines.min()))


def fastest(trials: list[Trial]) -> Trial:
    """Choose the fastest trial among those that give float32's answers; the first one does."""
    return min((t for t in trials if t.same), key=lambda t: t.seconds, default=trials[0])


def cosine(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float64]:
    """Cosine of each row of `a` to that of `b`: ``(B, D)`` twice, gives ``(B,)``."""
    x, y = np.asarray(a, np.float64), np.asarray(b, np.float64)
    norms = np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1)
    cosines: NDArray[np.float64] = (x * y).sum(1) / np.maximum(norms, 1e-12)
    return cosines

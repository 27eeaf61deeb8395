"""How precisely to calculate: as fast as possible with the same answers, measured on real tiles.

bfloat16 and channels-last win on some processors and networks and lose on others, so each
combination is tried on the first tiles of a slide. One is taken only where the cosine of its
vectors to those of float32 is at least 0.999 in the mean and 0.995 for every tile.
"""

from __future__ import annotations

import contextlib
import copy
import math
import os
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import cycle
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

COSINE_MEAN, COSINE_EACH = 0.999, 0.995
"""What the cosine to float32 must reach."""

CALIBRATION_TILES, ENOUGH_TILES = 16, 4
"""How many tiles are measured, and how many at least are needed to judge by."""

CALIBRATION_SECONDS = 5.0
"""A network that is so slow that float32 alone takes longer is measured on fewer tiles."""


QUICK_SECONDS, QUICK_PASSES = 0.5, 12
"""One that is quick is measured again and again so long, at most so often: a machine has moods."""

HALF_WINS, HALF_TRIES = 1.5, 10
"""Times as fast as in float32 that products in bfloat16 have to be; how often both are tried."""

HALF = "PATHFM_HALF"
"""Environment variable: ``1`` or ``0`` say what would be measured."""

EXACT_LAYERS = 3
"""Of a convolutional network in bfloat16. EfficientNet-Lite0's mean cosine to float32 on tissue
rises from 0.9971 to 0.9992, for 5% of its time."""


@dataclass(frozen=True)
class Precision:
    """A way to run a network.

    Attributes
    ----------
    dtype : str
        Of convolutions and matrix products; norms stay in float32.
    channels_last : bool
        Memory order of images and feature maps.
    exact : int
        So many of the first convolutions stay in float32. Errors that are made there are the
        same over whole areas of plain colour, so they do not cancel each other.
    plain_attention : bool
        Attention as two matrix products instead of torch's own kernel, which on some processors
        is slower than these: in bfloat16 it takes a quarter of a ViT-S.
    compiled : bool
        Whether it runs as code that was made for this processor, see :mod:`.compiled`.
    """

    dtype: str = "float32"
    channels_last: bool = False
    exact: int = 0
    plain_attention: bool = False
    compiled: bool = False

    @property
    def eager(self) -> Precision:
        """The same without being compiled."""
        return replace(self, compiled=False)

    @property
    def name(self) -> str:
        """Name for people and for the store: "bfloat16, channels-last", ..."""
        parts = [self.dtype]
        if self.exact:
            parts.append(f"float32 in the first {self.exact} layers")
        if self.channels_last:
            parts.append("channels-last")
        if self.compiled:
            parts.append("compiled")
        return ", ".join(parts)


FLOAT32 = Precision()


@dataclass(frozen=True, eq=False)
class Trial:
    """One precision, tried on the tiles.

    Attributes
    ----------
    precision : Precision
    seconds : float
        For one tile, the median of several passes.
    cosine_mean, cosine_min : float
        To float32.
    vectors : ndarray
        ``(B, D)`` float32: what it gave for the first B tiles.
    """

    precision: Precision
    seconds: float
    cosine_mean: float
    cosine_min: float
    vectors: NDArray[np.float32] = field(repr=False)

    @property
    def same(self) -> bool:
        """Whether it gives the same answers as float32."""
        return self.cosine_mean >= COSINE_MEAN and self.cosine_min >= COSINE_EACH


@runtime_checkable
class Calibrating(Protocol):
    """An encoder that finds its own best precision on the first tiles."""

    @property
    def calibrated(self) -> bool:
        """Whether it has done so."""

    @property
    def agreement(self) -> str:
        """How near its vectors are to those of float32, in words; empty while that is unknown."""

    @property
    def compiling(self) -> bool:
        """Whether a faster way to calculate is being made meanwhile."""

    def calibration(self, tiles: NDArray[np.uint8], unit: int) -> Generator[None, None, None]:
        """Try each precision; every ``next`` is a unit of inference of at most `unit` tiles."""


def candidates(device: str, convolutional: bool) -> tuple[Precision, ...]:
    """Precisions worth trying on a device besides float32.

    Channels-last is about convolutions, so it is tried alone for convolutional networks only.
    """
    kind = device.partition(":")[0]
    if kind == "cuda":
        return Precision("bfloat16", True), Precision("float16", True)
    if kind == "cpu":
        if convolutional:
            return Precision("float32", True), Precision("bfloat16", True, EXACT_LAYERS)
        plain = Precision("float32", plain_attention=True)
        return plain, Precision("bfloat16", plain_attention=True)
    return (Precision("float16"),)


@cache
def half_wins(device: str) -> bool:
    """Whether a processor calculates products in bfloat16 much faster than in float32.

    Measured once, both taking turns: a machine has moods. Elsewhere it was never measured, and
    networks stay in float32. For those whose answers are masks, not vectors that are compared:
    bfloat16 changes about a hundredth of the pixels of a nucleus at most. A process that another
    one has begun is told by :data:`HALF`.
    """
    import torch

    if device.partition(":")[0] != "cpu":
        return False
    told = os.environ.get(HALF)
    if told in ("0", "1"):
        return told == "1"
    exact = torch.ones(1024, 512)
    both = [(numbers, numbers[:512].clone()) for numbers in (exact, exact.bfloat16())]
    paces: list[list[float]] = [[], []]
    with torch.inference_mode():
        for _ in range(HALF_TRIES):
            for (numbers, weight), pace in zip(both, paces, strict=True):
                start = time.perf_counter()
                torch.nn.functional.linear(numbers, weight)
                pace.append(time.perf_counter() - start)
    return min(paces[0]) > HALF_WINS * min(paces[1])


def convert(network: torch.nn.Module, precision: Precision) -> torch.nn.Module:
    """Return a copy of a float32 network to be run under :func:`autocast`.

    Weights of convolutions and matrix products are stored in `precision`, so that they are not
    converted anew in each pass; everything else stays in float32, as autocast wants it.
    """
    import torch

    dtype = getattr(torch, precision.dtype)
    products = torch.nn.Conv2d | torch.nn.Linear
    ours = [(name, m) for name, m in network.named_modules() if isinstance(m, products)]
    memo: dict[int, Any] = {}
    for _, module in ours[precision.exact :]:
        for parameter in module.parameters(recurse=False):
            made = torch.nn.Parameter(parameter.to(dtype), requires_grad=False)
            memo[id(parameter)] = made
    converted = copy.deepcopy(network, memo)
    for name, _ in ours[: precision.exact]:
        part: Any = converted.get_submodule(name)
        part.forward = _Exact(part)
    if precision.plain_attention:
        for part in converted.modules():
            if hasattr(part, "fused_attn"):  # timm's name for the choice
                part.fused_attn = False
    if precision.channels_last:
        converted = converted.to(memory_format=torch.channels_last)
    return converted


class _Exact:
    """A module's ``forward`` in float32 within autocast; unlike a closure it can be pickled."""

    def __init__(self, module: Any) -> None:
        self._module = module

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        import torch

        with torch.autocast(images.device.type, enabled=False):
            answer: torch.Tensor = type(self._module).forward(self._module, images.float())
            return answer


def autocast(device: str, precision: Precision) -> contextlib.AbstractContextManager[Any]:
    """Context in which a network of this precision runs."""
    import torch

    if precision.dtype == "float32":
        return contextlib.nullcontext()
    return torch.autocast(device.partition(":")[0], getattr(torch, precision.dtype))


def trial(
    precision: Precision,
    embed: Callable[[NDArray[np.uint8]], NDArray[np.float32]],
    parts: list[NDArray[np.uint8]],
    reference: Trial | None = None,
    to_beat: float = np.inf,
) -> Generator[None, None, Trial]:
    """Measure one precision; yields between passes, each of which is a unit of inference.

    Parameters
    ----------
    precision : Precision
    embed : callable
        Runs it on tiles.
    parts : list of ndarray
        ``(b, H, W, 3)`` uint8 each: the tiles, a unit at a time.
    reference : Trial, optional
        That of float32; absent for float32 itself.
    to_beat : float
        Seconds a tile of the best so far: once it is clearly slower, the rest is not measured.
    """
    embed(parts[0])  # prepares kernels, so it is not timed
    yield
    vectors: list[NDArray[np.float32]] = []
    paces: list[float] = []
    spent = 0.0
    for number, part in zip(range(max(QUICK_PASSES, len(parts))), cycle(parts), strict=False):
        if number >= len(parts) and spent > QUICK_SECONDS:
            break
        start = time.perf_counter()
        made = embed(part)
        seconds = time.perf_counter() - start
        if number < len(parts):
            vectors.append(made)
        paces.append(seconds / len(part))
        spent += seconds
        yield
        enough = sum(map(len, vectors)) >= ENOUGH_TILES
        if enough and (spent > CALIBRATION_SECONDS or min(paces) > 1.5 * to_beat):
            break
    found = np.concatenate(vectors)
    pace = float(np.median(paces))
    if reference is None:
        return Trial(precision, pace, 1.0, 1.0, found)
    cosines = cosine(found, reference.vectors)
    return Trial(precision, pace, float(cosines.mean()), float(cosines.min()), found)


def fastest(trials: list[Trial]) -> Trial:
    """Choose the fastest trial among those that give float32's answers; the first one does."""
    return min((t for t in trials if t.same), key=lambda t: t.seconds, default=trials[0])


def agreement(trials: Sequence[Trial], precision: Precision) -> str:
    """Say what the cosine to float32 is, or why float32 had to be kept.

    Parameters
    ----------
    trials : sequence of Trial
        What was measured; empty before.
    precision : Precision
        The one that was taken.

    Returns
    -------
    str
        "cosine to float32: mean 0.9996, least 0.9987". Figures are rounded down, so that nothing
        looks like more than it is. Empty where there is nothing to tell.
    """
    if precision.dtype == "float32":
        refused = [trial for trial in trials if not trial.same]
        return "; ".join(f"{each.precision.dtype} not taken: {_cosines(each)}" for each in refused)
    return "".join(_cosines(trial) for trial in trials if trial.precision == precision)


def agreement_of(encoder: object) -> str:
    """Say how near an encoder's vectors are to those of float32, if it measures that."""
    return encoder.agreement if isinstance(encoder, Calibrating) else ""


def compiling(encoder: object) -> bool:
    """Whether an encoder is being compiled meanwhile."""
    return isinstance(encoder, Calibrating) and encoder.compiling


def _cosines(trial: Trial) -> str:
    mean, least = (math.floor(c * 1e4) / 1e4 for c in (trial.cosine_mean, trial.cosine_min))
    return f"cosine to float32: mean {mean:.4f}, least {least:.4f}"


def cosine(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float64]:
    """Cosine of each row of `a` to that of `b`, ``(B, D)`` both; as many as both have."""
    rows = min(len(a), len(b))
    x, y = np.asarray(a[:rows], np.float64), np.asarray(b[:rows], np.float64)
    norms = np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1)
    cosines: NDArray[np.float64] = (x * y).sum(1) / np.maximum(norms, 1e-12)
    return cosines

"""Models of whole slides: those that need no weights, and those that are a network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..core.jobs import Progress
from .base import ModelError, SlideSpec
from .checkpoint import load_into, read_state
from .device import default_device, to_device
from .weights import find_weights

if TYPE_CHECKING:
    import torch

    from .catalog import CatalogEntry
    from .encoder import Build

Pool = Callable[[NDArray[np.float32]], NDArray[np.float32]]


class Pooling:
    """A :class:`~napari_pathfm.models.base.SlideModel` that pools the tiles of any encoder.

    Parameters
    ----------
    name : str
    pool : callable
        ``(N, D)`` to ``(D,)``.
    """

    device = "cpu"

    def __init__(self, name: str, pool: Pool) -> None:
        self._pool = pool
        self.spec = SlideSpec(
            name=name,
            kind="slide",
            params=0,
            licence="none needed",
            commercial=True,
            gate="",
            source="",
            encoder="",
            dim_in=0,
            dim=0,
            tile_px=0,
            mpp=0.0,
            precision="float32",
        )

    def embed_slide(
        self, vectors: NDArray[np.float32], centres: NDArray[np.float64], side: float
    ) -> NDArray[np.float32]:
        """Return the pooled vector, ``(D,)`` float32."""
        check_bag(vectors, centres, self.spec)
        return self._pool(vectors).astype(np.float32)

    def attention(
        self, vectors: NDArray[np.float32], centres: NDArray[np.float64], side: float
    ) -> NDArray[np.float32] | None:
        """Nothing: no tile was chosen by what it shows."""
        return None


def mean(report: Callable[[Progress], None] | None = None) -> Pooling:
    """Mean of each feature over the tiles; there is nothing to report."""
    return Pooling("mean", lambda vectors: vectors.mean(0, dtype=np.float64))


def maximum(report: Callable[[Progress], None] | None = None) -> Pooling:
    """Largest value of each feature over the tiles; there is nothing to report."""
    return Pooling("max", lambda vectors: vectors.max(0))


def check_bag(vectors: NDArray[np.float32], centres: NDArray[np.float64], spec: SlideSpec) -> None:
    """Raise ``ValueError`` unless these are the tiles of a slide that the model can take."""
    if vectors.ndim != 2 or not len(vectors) or centres.shape != (len(vectors), 2):
        raise ValueError(
            "a slide is vectors (N, D) and as many centres (N, 2), N at least 1, not "
            f"{vectors.shape} and {centres.shape}"
        )
    if spec.dim_in and vectors.shape[1] != spec.dim_in:
        raise ValueError(
            f"{spec.name} takes the {spec.dim_in} numbers that {spec.encoder} gives, not "
            f"{vectors.shape[1]}: embed the slide with {spec.encoder}."
        )


class NetworkSlideModel:
    """A network as a :class:`~napari_pathfm.models.base.SlideModel`.

    The network is called with ``(N, dim_in)`` float32 vectors and their cells, ``(N, 2)`` int64
    row and column of a grid of tiles, row by row, and gives ``(dim,)`` float32. If it can say which
    tiles it looked at, it has ``attention(vectors, cells)`` to ``(N,)``, too.

    Parameters
    ----------
    spec : SlideSpec
    network : torch.nn.Module
        In float32, with its weights, in evaluation mode.
    device : str
    """

    def __init__(self, spec: SlideSpec, network: torch.nn.Module, device: str) -> None:
        self.spec, self.device = spec, device
        self._network: Any = network.to(device)

    def embed_slide(
        self, vectors: NDArray[np.float32], centres: NDArray[np.float64], side: float
    ) -> NDArray[np.float32]:
        """Return the slide's vector, ``(dim,)`` float32."""
        vector, _ = self._run(self._network, vectors, centres, side)
        return vector

    def attention(
        self, vectors: NDArray[np.float32], centres: NDArray[np.float64], side: float
    ) -> NDArray[np.float32] | None:
        """How much each tile counts, ``(N,)`` float32; ``None`` if the network cannot say."""
        if not hasattr(self._network, "attention"):
            return None
        found, order = self._run(self._network.attention, vectors, centres, side)
        weights = np.empty_like(found)
        weights[order] = found
        return weights

    def _run(
        self,
        function: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
        vectors: NDArray[np.float32],
        centres: NDArray[np.float64],
        side: float,
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Return the answer, and which tiles it is of: they are taken row by row."""
        import torch

        check_bag(vectors, centres, self.spec)
        cells = np.floor(centres / side).astype(np.int64)
        order = np.lexsort((cells[:, 1], cells[:, 0]))
        with torch.inference_mode():
            answer = function(
                to_device(vectors[order], self.device), to_device(cells[order], self.device)
            )
            found: NDArray[np.float32] = answer.float().cpu().numpy()
        return found, order


class Load(Protocol):
    """Loads a model of slides of the catalogue."""

    def __call__(
        self,
        entry: CatalogEntry,
        weights: Path | None = None,
        device: str | None = None,
        report: Callable[[Progress], None] | None = None,
    ) -> NetworkSlideModel:
        """Load it; see :class:`napari_pathfm.models.encoder.Load`."""


def loader(build: Build) -> Load:
    """Make a way of loading models of slides of its way of building them."""

    def load(
        entry: CatalogEntry,
        weights: Path | None = None,
        device: str | None = None,
        report: Callable[[Progress], None] | None = None,
    ) -> NetworkSlideModel:
        spec = slide_spec(entry)
        path = find_weights(spec.name, entry.weights, weights, spec.gate, report)
        network = build(entry, meta=True)
        load_into(network, read_state(path), path, spec.name)
        return NetworkSlideModel(spec, network, device or default_device())

    return load


def slide_spec(entry: CatalogEntry) -> SlideSpec:
    """Facts of an entry as a model of slides.

    Raises
    ------
    TypeError
        It is another kind of model.
    """
    if not isinstance(entry.spec, SlideSpec):
        raise TypeError(f"{entry.spec.name} is no model of slides but a {entry.spec.kind} model")
    return entry.spec


def check_params(network: torch.nn.Module, spec: SlideSpec) -> None:
    """Raise ``ModelError`` if the catalogue says another number of parameters."""
    found = sum(parameter.numel() for parameter in network.parameters())
    if spec.params not in (0, found):
        raise ModelError(
            f"{spec.name} should have {spec.params} parameters, but has {found}. Correct the entry."
        )

"""Encoders that are a network on a device: tiles in, vectors and tokens out."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..core.embeddings import FeatureKey
from ..core.jobs import Progress
from . import precision as precisions
from .base import DeviceLost, EncoderSpec, ModelError
from .checkpoint import file_hash, load_into, read_state
from .compiled import attach
from .compiler import Compiler, Origin
from .device import Uploaded, default_device, lost, to_device, upload
from .folding import fold_batch_norms
from .keys import MAPPINGS, State
from .precision import FLOAT32, Precision, Trial
from .weights import find_weights

if TYPE_CHECKING:
    import torch

    from .catalog import CatalogEntry


LUMA = (0.299, 0.587, 0.114)
"""Parts of red, green and blue in a grey value (ITU-R BT.601), as Pillow has them."""


class Build(Protocol):
    """Builds the network of an entry, without its weights."""

    def __call__(self, entry: CatalogEntry, meta: bool = False) -> torch.nn.Module:
        """Build it on the processor, or on the meta device: shapes without memory."""


class Rename(Protocol):
    """Turns the names of a checkpoint's parameters into the network's."""

    def __call__(self, state: State, entry: CatalogEntry, /) -> State:
        """Rename them."""


class Prepare(Protocol):
    """Gives a network what it needs besides its weights: tokenisers, in other files."""

    def __call__(
        self,
        network: Any,
        entry: CatalogEntry,
        weights: Path | None,
        report: Callable[[Progress], None] | None,
        /,
    ) -> None:
        """Prepare it."""


class Load(Protocol):
    """Loads an encoder of the catalogue."""

    def __call__(
        self,
        entry: CatalogEntry,
        weights: Path | None = None,
        device: str | None = None,
        report: Callable[[Progress], None] | None = None,
    ) -> NetworkEncoder:
        """Load it.

        Parameters
        ----------
        entry : CatalogEntry
        weights : Path, optional
            A file, or a folder that may hold it (see :func:`napari_pathfm.models.weights.locate`).
        device : str, optional
            "cpu", "cuda:0", "mps"; the best one if absent.
        report : callable, optional
            Is told how far a download is.

        Raises
        ------
        ModelError
            No weights, wrong weights, or a network that is not what the catalogue says.
        """


def loader(build: Build, rename: Rename | None = None, prepare: Prepare | None = None) -> Load:
    """Make a way of loading of what is special in it."""

    def load(
        entry: CatalogEntry,
        weights: Path | None = None,
        device: str | None = None,
        report: Callable[[Progress], None] | None = None,
    ) -> NetworkEncoder:
        import torch

        spec = entry.encoder
        path = find_weights(spec.name, entry.weights, weights, spec.gate, report)
        state = read_state(path)
        if entry.keys:
            state = MAPPINGS[entry.keys](state)
        if rename is not None:
            state = rename(state, entry)
        network = build(entry, meta=True)
        if any(buffer.is_meta for _, buffer in _transient_buffers(network)):
            network = build(entry)  # calculated, not loaded: they need a real device
        load_into(network, state, path, spec.name)
        if not spec.prefix_tokens:
            fold_batch_norms(network, torch.zeros(1, 3, spec.input_px, spec.input_px))
        if prepare is not None:
            prepare(network, entry, weights, report)
        kind = NetworkTextEncoder if spec.text else NetworkEncoder
        return kind(spec, network, file_hash(path), device or default_device())

    return load


def check_facts(network: Any, entry: CatalogEntry, library: str) -> None:
    """Compare a network with the catalogue.

    Parameters
    ----------
    network : torch.nn.Module
        With ``num_features``, and ``num_prefix_tokens`` if it has such.
    entry : CatalogEntry
    library : str
        Whose architecture it is, for the message.

    Raises
    ------
    ModelError
        The catalogue says something else.
    """
    spec = entry.encoder
    facts = {
        "params": (spec.params, sum(p.numel() for p in network.parameters())),
        "token_dim": (spec.token_dim, network.num_features),
        "prefix_tokens": (spec.prefix_tokens, getattr(network, "num_prefix_tokens", 0)),
    }
    for fact, (said, found) in facts.items():
        if said != found:
            raise ModelError(
                f"{entry.origin}: {spec.name} should have {fact} = {said}, but {library}'s "
                f"{entry.arch} has {found}. Correct the entry (arch, arch_kwargs or {fact})."
            )


def _transient_buffers(network: torch.nn.Module) -> list[tuple[str, torch.Tensor]]:
    saved = set(network.state_dict())
    return [(name, buffer) for name, buffer in network.named_buffers() if name not in saved]


class NetworkEncoder:
    """A network as an :class:`~napari_pathfm.models.base.Encoder`.

    The network has ``forward_features(images)``: ``(B, 3, h, w)`` float32 to ``(B, T, C)`` tokens,
    class and register tokens first, or to a ``(B, C, h, w)`` feature map. One whose catalogue entry
    says ``pooling = "own"`` has ``pool(features)``, too, to ``(B, dim)``; one of which it says
    ``pooling = "two-scale"`` has ``two_scales(images)``, to ``(B, dim)``.

    It starts in float32 and goes over to the fastest precision with the same answers when it is
    calibrated: by :meth:`calibration`, or by the first :meth:`embed` of enough tiles.

    Parameters
    ----------
    spec : EncoderSpec
    network : torch.nn.Module
        In float32, with its weights, in evaluation mode.
    weights_hash : str
        Goes into the key.
    device : str

    Attributes
    ----------
    exact : bool
        Whether it has to stay in float32; to be set before it is calibrated.
    origin : tuple or None
        With which name and weights another process gets the same encoder; only then it is compiled.
    """

    def __init__(
        self, spec: EncoderSpec, network: torch.nn.Module, weights_hash: str, device: str
    ) -> None:
        self.spec, self.device = spec, device
        self.precision, self.exact = FLOAT32, False
        self.origin: Origin | None = None
        self.trials: tuple[Trial, ...] = ()
        self._parts: list[NDArray[np.uint8]] = []
        self._weights_hash = weights_hash
        self._network: Any = network.to(device)
        self._scale, self._shift = _normalisation(spec, device)
        name = f"{spec.name} {weights_hash} {spec.mean} {spec.std} {spec.input_px}"
        self._compiler = Compiler(name, device)

    @property
    def key(self) -> FeatureKey:
        """What decides whether its vectors may be compared with others."""
        spec = self.spec
        mean, std = (",".join(f"{v:g}" for v in values) for values in (spec.mean, spec.std))
        size = f"{spec.crop_px} of {spec.tile_px}" if spec.crop_px else f"{spec.tile_px}"
        size += " grey" if spec.gray else ""
        return FeatureKey(
            encoder=spec.name,
            pooling=spec.pooling,
            weights=self._weights_hash,
            preprocessing=f"{size} px {spec.interpolation} mean={mean} std={std}",
            precision=self.precision.name,
        )

    def upload(self, tiles: NDArray[np.uint8]) -> NDArray[np.uint8] | Uploaded:
        """Begin to bring tiles to the device, from any thread; :meth:`embed` takes the answer."""
        return upload(tiles, self.device)

    def embed(self, tiles: NDArray[np.uint8] | Uploaded) -> NDArray[np.float32]:
        """Embed ``(B, H, W, 3)`` uint8 tiles of any one size; returns ``(B, dim)`` float32.

        Raises
        ------
        MemoryError
            The device has not enough memory for that many at once.
        DeviceLost
            It does not answer any more.
        """
        if not self.calibrated and not isinstance(tiles, Uploaded):
            self.calibrate(tiles)
        start = time.perf_counter()
        vectors = self._embed(self._network, self.precision, tiles)
        if self.trials:
            seconds = time.perf_counter() - start
            self._compiler.worked(seconds, self.origin, self._network, self.precision)
        return vectors

    def compile(self) -> None:
        """Have the network compiled now, which takes a minute; it is tried when it is used next.

        It must have been calibrated. Does nothing where that was done, or is not possible.
        """
        self._compiler.start(self.origin, self._network, self.precision)
        self._compiler.wait()

    @property
    def compiling(self) -> bool:
        """Whether the network is being compiled meanwhile."""
        return self._compiler.busy

    def to_compile(
        self, precision: Precision
    ) -> tuple[torch.nn.Module, tuple[torch.Tensor, torch.Tensor]]:
        """Return its network in a precision, and factor and summand for pixels; before any use."""
        return precisions.convert(self._network, precision), (self._scale, self._shift)

    def tokens(self, tiles: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Patch tokens of ``(B, H, W, 3)`` uint8 tiles: ``(B, h, w, token_dim)`` float32.

        An encoder with ``spec.any_size`` takes tiles of every multiple of ``spec.patch`` as they
        are, so ``h = H / patch``; else they are resized, so ``h = spec.input_px / spec.patch``.
        """
        as_they_are = self.spec.any_size and not tiles.shape[1] % self.spec.patch
        px = tiles.shape[1] if as_they_are else self.spec.input_px

        def grid(pixels: torch.Tensor) -> torch.Tensor:
            features = self._features(self._network, self.precision, pixels)
            if features.ndim == 4:
                return features.permute(0, 2, 3, 1)
            patches = features[:, self.spec.prefix_tokens :]
            side = px // self.spec.patch
            return patches.reshape(len(patches), side, side, -1)

        return self._forward(self.precision, tiles, grid, as_they_are)

    @property
    def calibrated(self) -> bool:
        """Whether :attr:`precision` has been chosen on real tiles, and nothing new is to try."""
        return bool(self.trials) and not self._compiler.ready

    @property
    def agreement(self) -> str:
        """How near its vectors are to those of float32, in words; empty while that is unknown."""
        return precisions.agreement(self.trials, self.precision)

    def calibrate(self, tiles: NDArray[np.uint8]) -> None:
        """Find the fastest precision on these tiles, in one go."""
        for _ in self.calibration(tiles):
            pass

    def calibration(self, tiles: NDArray[np.uint8], unit: int = 8) -> Generator[None, None, None]:
        """Try each precision on the first of the tiles; every ``next`` is one pass.

        Afterwards :attr:`precision` is the fastest that gives the same answers as float32, and
        :attr:`trials` holds what was measured. With too few tiles to judge by it stays as it is.
        When the network has been compiled later on, that is tried on the tiles of the first time.

        Parameters
        ----------
        tiles : ndarray
            ``(B, H, H, 3)`` uint8.
        unit : int
            Tiles of one pass.
        """
        if not self.trials:
            if len(tiles) < precisions.ENOUGH_TILES:
                return
            tiles = tiles[: precisions.CALIBRATION_TILES].copy()
            self._parts = [tiles[start : start + unit] for start in range(0, len(tiles), unit)]
        before = {trial.precision: trial for trial in self.trials}
        trials: list[Trial] = []
        best = self._network
        for precision, network in self._ways():
            run = partial(self._embed, network, precision)
            reference = next(iter((*self.trials, *trials)), None)
            to_beat = precisions.fastest(trials).seconds if trials else np.inf
            trying = precisions.trial(precision, run, self._parts, reference, to_beat)
            try:
                measured = yield from trying
            except (MemoryError, RuntimeError):
                if not precision.compiled:
                    raise
                continue  # the others do without it
            trials.append(measured)
            if precisions.fastest(trials) is measured:
                best = network
        self._network, self.precision = best, precisions.fastest(trials).precision
        after = {trial.precision: trial for trial in trials}
        self.trials = tuple({**before, **after}.values())

    def _ways(self) -> Iterator[tuple[Precision, torch.nn.Module]]:
        """Ways to calculate, and the network for each; float32 first.

        When a compiled one has come later on, it is that and the one before: the machine may have
        been faster or slower when all were measured.
        """
        original, ways = self._network, [self.precision]
        if not self.trials:
            more = precisions.candidates(self.device, self.spec.prefix_tokens == 0)
            ways += [each for each in more if each.dtype == "float32" or not self.exact]
        for precision in ways:
            network = original
            if precision != self.precision:
                network = precisions.convert(original, precision)
            yield precision, network
            features = self._compiler.find(precision)
            if features is not None:
                yield replace(precision, compiled=True), attach(network, features)

    def _embed(
        self, network: Any, precision: Precision, tiles: NDArray[np.uint8] | Uploaded
    ) -> NDArray[np.float32]:
        def vectors(pixels: torch.Tensor) -> torch.Tensor:
            if self.spec.pooling == "two-scale":
                found: torch.Tensor = network.two_scales(self._normalised(pixels, precision))
                return found
            return self._pool(network, self._features(network, precision, pixels))

        return self._forward(precision, tiles, vectors)

    def _features(self, network: Any, precision: Precision, pixels: torch.Tensor) -> torch.Tensor:
        """Run a network on ``(B, 3, h, w)`` pixels, 0 to 255."""
        import torch

        as_compiled = pixels.dtype, *pixels.shape[2:]
        side = self.spec.input_px
        if precision.compiled and as_compiled == (torch.uint8, side, side):
            order = torch.channels_last
            found: torch.Tensor = network.from_pixels(pixels.contiguous(memory_format=order))
        else:
            found = network.forward_features(self._normalised(pixels, precision))
        return found

    def _normalised(self, pixels: torch.Tensor, precision: Precision) -> torch.Tensor:
        """Turn pixels into what the network was trained on."""
        images = (pixels * self._scale).add_(self._shift)
        return images if precision.channels_last else images.contiguous()

    def _pool(self, network: Any, features: torch.Tensor) -> torch.Tensor:
        import torch

        if self.spec.pooling == "own":
            pooled: torch.Tensor = network.pool(features)
            return pooled
        features = features.float()
        if features.ndim == 4:
            return features.mean((2, 3))
        patches = features[:, self.spec.prefix_tokens :].mean(1)
        if self.spec.pooling == "avg":
            return patches
        if self.spec.pooling == "cls":
            return features[:, 0]
        return torch.cat([features[:, 0], patches], 1)

    def _forward(
        self,
        precision: Precision,
        tiles: NDArray[np.uint8] | Uploaded,
        answer: Callable[[torch.Tensor], torch.Tensor],
        as_they_are: bool = False,
    ) -> NDArray[np.float32]:
        import torch

        try:
            with torch.inference_mode(), precisions.autocast(self.device, precision):
                pixels = self._pixels(tiles, as_they_are)
                result: NDArray[np.float32] = answer(pixels).float().cpu().numpy()
                return result
        except torch.OutOfMemoryError as error:
            torch.cuda.empty_cache()
            raise MemoryError(
                f"{self.device} has not enough memory for {len(tiles)} tiles at once with "
                f"{self.spec.name}. Close other programs that use it, or run on the CPU."
            ) from error
        except RuntimeError as error:
            if not lost(error):
                raise
            raise DeviceLost(
                f"{self.device} does not answer any more ({str(error).splitlines()[0]}). What has "
                "been computed is kept. Start the program anew to try the card again, or go on "
                "with --device cpu, which is slower."
            ) from error

    def _pixels(self, tiles: NDArray[np.uint8] | Uploaded, as_they_are: bool) -> torch.Tensor:
        """Bring tiles to the device and resize them: ``(B, 3, px, px)``, 0 to 255.

        They are float32 where something was to be calculated, else uint8 as they came. The memory
        order is channels-last, as in the tiles.
        """
        import torch

        if tiles.ndim != 4 or tiles.shape[3] != 3 or tiles.shape[1] != tiles.shape[2]:
            raise ValueError(f"tiles must be (B, H, H, 3) uint8, not {tiles.shape}")
        spec = self.spec
        images = to_device(tiles, self.device)
        images = images.permute(0, 3, 1, 2)
        if tiles.shape[1] != spec.tile_px and not as_they_are:
            images = torch.nn.functional.interpolate(
                images.float(),
                size=(spec.tile_px, spec.tile_px),
                mode=spec.interpolation,
                antialias=True,
            ).clamp_(0, 255)
        if spec.crop_px and not as_they_are:
            edge = (spec.tile_px - spec.crop_px) // 2
            images = images[..., edge : edge + spec.crop_px, edge : edge + spec.crop_px]
        if spec.gray:
            grey = self._scale.new_tensor(LUMA).view(3, 1, 1)
            images = (images * grey).sum(1, keepdim=True).repeat(1, 3, 1, 1)
        return images


class NetworkTextEncoder(NetworkEncoder):
    """A network that embeds text, too: a :class:`~napari_pathfm.models.base.TextEncoder`.

    It has ``project(features)`` to ``(B, D)`` and ``encode_text(texts)`` to ``(N, D)``, besides
    what :class:`NetworkEncoder` asks for.
    """

    def embed_text(self, texts: list[str]) -> NDArray[np.float32]:
        """Embed texts: ``(N, D)`` float32, each of length 1."""
        vectors = self.text_features(texts)
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        units: NDArray[np.float32] = vectors / np.maximum(lengths, np.float32(1e-12))
        return units

    def text_features(self, texts: list[str]) -> NDArray[np.float32]:
        """Embed texts: ``(N, D)`` float32, each of the length that the network gives it."""
        import torch

        with torch.inference_mode(), precisions.autocast(self.device, self.precision):
            found = self._network.encode_text(texts).float()
        vectors: NDArray[np.float32] = found.cpu().numpy()
        return vectors

    @property
    def logit_scale(self) -> float | None:
        """By what cosines were multiplied in training, before the softmax; ``None``: by nothing."""
        learned = getattr(self._network, "logit_scale", None)
        return None if learned is None else float(learned.exp())

    def embed_for_text(self, tiles: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Embed ``(B, H, W, 3)`` uint8 tiles where the texts are: ``(B, D)`` float32, length 1."""
        import torch

        network = self._network

        def project(pixels: torch.Tensor) -> torch.Tensor:
            projected = network.project(self._features(network, self.precision, pixels))
            return torch.nn.functional.normalize(projected.float(), dim=1)

        return self._forward(self.precision, tiles, project)


def _normalisation(spec: EncoderSpec, device: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Factor and summand that turn 0..255 into what the network was trained on."""
    import torch

    mean, std = (torch.tensor(v, device=device).view(3, 1, 1) for v in (spec.mean, spec.std))
    return 1 / (255 * std), -mean / std

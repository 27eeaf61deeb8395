"""The process that compiles a network: ``python -m napari_pathfm.models.compiling WORK``.

WORK holds ``job.json`` from :class:`~.compiler.Compiler`. What comes out is run once and compared
before it is moved to where it is wanted: whatever is wrong with it goes wrong here. If it cannot be
made, a file ``.failed`` there says why, and nobody tries again with these versions.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import zipfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from .catalog import get_encoder, get_segmenter
from .compiled import KINDS, open_compiled, tidy
from .compiler import ENCODER, JOB
from .precision import Precision, autocast
from .sam_parts import compilable

BATCH, MAX_BATCH = 4, 4096
"""Tiles that it is compiled with; it takes any number up to the second."""

SAME = 0.999
"""Least cosine to what the network itself answers."""


class _FromPixels(torch.nn.Module):
    """A network's features in its precision, normalisation included."""

    def __init__(
        self,
        network: torch.nn.Module,
        precision: Precision,
        normalisation: tuple[torch.Tensor, torch.Tensor],
    ) -> None:
        super().__init__()
        self.network, self._precision = network, precision
        self._scale, self._shift = normalisation

    def forward(self, pixels: torch.Tensor) -> Any:
        images = pixels * self._scale + self._shift
        if not self._precision.channels_last:
            images = images.contiguous()
        with autocast(pixels.device.type, self._precision):
            return self.network.forward_features(images)  # type: ignore[operator]


def compile_network(
    network: torch.nn.Module,
    precision: Precision,
    normalisation: tuple[torch.Tensor, torch.Tensor],
    px: int,
    file: Path,
) -> None:
    """Compile a network's features for any number of ``(3, px, px)`` tiles.

    Parameters
    ----------
    network : torch.nn.Module
    precision : Precision
    normalisation : tuple of torch.Tensor
        Factor and summand, ``(3, 1, 1)`` float32 each.
    px : int
    file : Path
        To be made; its suffix is that of the device in :data:`~.compiled.KINDS`.

    Raises
    ------
    Exception
        It cannot be exported or compiled, or does not answer as the network does.
    """
    device = normalisation[0].device
    features = _FromPixels(network, precision, normalisation).eval()
    batch = {0: torch.export.Dim("batch", min=1, max=MAX_BATCH)}
    _compile(features, (_pixels(BATCH, px, device),), (batch,), device, file)
    examples = [(_pixels(count, px, device),) for count in (1, BATCH, 2 * BATCH)]
    _compare(features, examples, device, file)


def compile_part(
    kind: str, part: torch.nn.Module, examples: Sequence[tuple[torch.Tensor, ...]], file: Path
) -> None:
    """Compile an image encoder, or a mask decoder for one prompt of any number of points.

    Parameters
    ----------
    kind : str
        :data:`~.compiler.IMAGE_ENCODER` or :data:`~.compiler.MASK_DECODER`.
    part : ImageEncoder or MaskDecoder
    examples : sequence of tuple of torch.Tensor
        What it takes; for the decoder, of prompts with several numbers of points.
    file : Path
        To be made, as by :func:`compile_network`.

    Raises
    ------
    Exception
        It cannot be exported or compiled, or does not answer as the part itself does.
    """
    device = examples[0][0].device
    _compile(part, examples[-1], compilable(kind), device, file)
    _compare(part, examples, device, file)


def _compile(
    network: torch.nn.Module,
    example: tuple[torch.Tensor, ...],
    shapes: tuple[Any, ...],
    device: torch.device,
    file: Path,
) -> None:
    package = file.with_suffix(".pt2")
    # Weights are packed once; as many threads as whoever runs it has.
    configs = {} if device.type != "cpu" else {"freezing": True, "cpp.dynamic_threads": True}
    with torch.no_grad():
        exported = torch.export.export(network, example, dynamic_shapes=shapes)
        torch._inductor.aoti_compile_and_package(
            exported, package_path=str(package), inductor_configs=configs
        )
    if file.suffix == KINDS["cpu"]:
        _unpack(package, file)


def _compare(
    network: torch.nn.Module,
    examples: Sequence[tuple[torch.Tensor, ...]],
    device: torch.device,
    file: Path,
) -> None:
    """Raise ``ValueError`` where the file does not answer as the network itself."""
    made = open_compiled(file, str(device))
    for example in examples:
        with torch.no_grad():
            theirs, ours = made(*example), network(*example)
        pairs = zip(theirs, ours, strict=True) if isinstance(ours, tuple) else [(theirs, ours)]
        for left, right in pairs:
            flat = left.float().flatten(1), right.float().flatten(1)
            least = torch.nn.functional.cosine_similarity(*flat).min().item()
            if not least >= SAME:
                raise ValueError(f"compiled it answers otherwise: cosine {least:.4f}")


def _unpack(package: Path, file: Path) -> None:
    """Take the library out of torch's package; weights and all else that is needed are in it."""
    with zipfile.ZipFile(package) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith((".so", ".dll"))]
        file.write_bytes(archive.read(name))


def _pixels(count: int, px: int, device: torch.device) -> torch.Tensor:
    """``(count, 3, px, px)`` uint8 in the memory order of tiles."""
    pixels = torch.randint(0, 256, (count, 3, px, px), dtype=torch.uint8, device=device)
    return pixels.contiguous(memory_format=torch.channels_last)


def _be_last() -> None:
    """Work only where nobody else wants to: a window and its network come first."""
    if hasattr(os, "nice"):
        os.nice(19)
    if hasattr(os, "SCHED_IDLE"):
        with suppress(OSError):  # a sandbox may forbid it
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


def main(work: Path) -> None:
    """Compile what a folder says, and remove the folder."""
    _be_last()
    os.environ["TORCHINDUCTOR_COMPILE_THREADS"] = "1"  # the network is still at work
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(work / "inductor")
    job = json.loads((work / JOB).read_text())
    file, precision = Path(job["file"]), Precision(**job["precision"])
    made = (work / "made").with_suffix(file.suffix)
    try:
        weights = None if job["weights"] is None else Path(job["weights"])
        if job["kind"] == ENCODER:
            encoder: Any = get_encoder(job["model"], weights, job["device"])
            network, normalisation = encoder.to_compile(precision)
            compile_network(network, precision, normalisation, encoder.spec.input_px, made)
        else:
            segmenter: Any = get_segmenter(job["model"], weights, job["device"])
            part, examples = segmenter.to_compile(job["kind"])
            compile_part(job["kind"], part, examples, made)
        os.replace(made, file)
        tidy(file.parent)
    except Exception as error:
        file.with_suffix(".failed").write_text(f"{type(error).__name__}: {error}")
        raise
    finally:
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

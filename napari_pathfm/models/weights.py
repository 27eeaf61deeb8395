"""Where weights come from: a file, a folder, an installed package, the hub or an address."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..core.jobs import Job, Progress, run
from .base import ModelError
from .checkpoint import file_hash, first_line

SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")
OTHER_SUFFIXES = (".json", ".txt", ".spm")
"""Of files beside the weights, such as a tokeniser's."""
SILENCE = 10.0
"""Seconds without an answer after which a download is given up."""


@dataclass(frozen=True)
class WeightsSource:
    """Where the weights of a model are to be had, besides a file that the user gives.

    Attributes
    ----------
    package : str
        Installed package that carries them, as `file` inside it.
    hub : str
        Repository on the Hugging Face hub, with `file` in it.
    url : str
        Address of the file itself.
    file : str
        Name of the file in the package or repository.
    sha256 : str
        Expected hash of what `url` gives, empty if unknown.
    """

    package: str = ""
    hub: str = ""
    url: str = ""
    file: str = ""
    sha256: str = ""

    @property
    def file_name(self) -> str:
        """Name under which the file is published."""
        return (self.url or self.file).rpartition("/")[2]


def find_weights(
    name: str,
    source: WeightsSource,
    given: Path | None = None,
    gate: str = "",
    report: Callable[[Progress], None] | None = None,
) -> Path:
    """Return the file with a model's weights, downloading it if need be (see :func:`locate`)."""
    return run(locate(name, source, given, gate), report)


def locate(
    name: str, source: WeightsSource, given: Path | None = None, gate: str = ""
) -> Job[Path]:
    """Find the file with a model's weights; a job, for it may have to be downloaded.

    Looked for in this order: `given`, the folders of ``$PATHFM_MODELS``, the installed package,
    earlier downloads, the hub or the address.

    Parameters
    ----------
    name : str
        Name of the model; ``<name>.safetensors``, ``.pth``, ``.pt`` and ``.bin`` are looked for.
        A name that ends in ``.json``, ``.txt`` or ``.spm`` is itself that of the file.
    source : WeightsSource
    given : Path, optional
        A file, or a folder (of a project) that may hold one of these names.
    gate : str
        What the user must do before a download is allowed, for messages.

    Raises
    ------
    ModelError
        There is no such file, or it cannot be downloaded; the message says what to do.
    """
    if given is not None and not Path(given).is_dir():
        return _existing(name, Path(given))
    folders = ([Path(given)] if given is not None else []) + model_folders()
    for folder in folders:
        if found := _in_folder(folder, name, source):
            return found
    if source.package:
        return _in_package(name, source)
    if source.hub:
        return (yield from _from_hub(name, source, gate))
    if source.url:
        target = download_folder() / (source.file_name or f"{name}.pth")
        if target.is_file():
            return target
        return (yield from download(source.url, target, source.sha256, name))
    raise ModelError(f"There are no weights of {name} to be had. {_remedy(name)}")


def model_folders() -> list[Path]:
    """Folders of ``$PATHFM_MODELS`` (several are separated as in ``$PATH``)."""
    listed = os.environ.get("PATHFM_MODELS", "").split(os.pathsep)
    return [Path(folder).expanduser() for folder in listed if folder]


def download_folder() -> Path:
    """Folder that keeps what was downloaded: the first of ``$PATHFM_MODELS``, or the cache's."""
    import pooch

    folders = model_folders()
    return folders[0] if folders else Path(pooch.os_cache("napari-pathfm")) / "models"


def download(url: str, target: Path, sha256: str = "", name: str = "the model") -> Job[Path]:
    """Download a file, going on where an earlier attempt stopped.

    What has arrived is kept in ``<target>.part`` until it is complete (and has the right hash).

    Raises
    ------
    ModelError
        Offline, refused, too short or with another hash.
    """
    import requests

    part = target.with_name(f"{target.name}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        have = part.stat().st_size if part.exists() else 0
        headers = {"Range": f"bytes={have}-", "Accept-Encoding": "identity"}
        with requests.get(url, headers=headers, stream=True, timeout=SILENCE) as answer:
            if answer.status_code == 416:  # nothing is missing any more
                total = have
            else:
                answer.raise_for_status()
                have = have if answer.status_code == 206 else 0
                total = have + int(answer.headers.get("Content-Length", 0))
                yield from _save(answer, part, have, total, name)
    except (requests.RequestException, OSError) as error:
        raise ModelError(
            f"The weights of {name} cannot be downloaded from {url}: {error}. {_remedy(name)} "
            "What has arrived is kept; another attempt goes on from there."
        ) from error
    _check_download(part, total, sha256, name, url)
    part.replace(target)
    return target


def _save(answer: Any, part: Path, have: int, total: int, name: str) -> Job[None]:
    with part.open("ab" if have else "wb") as file:
        for block in answer.iter_content(1 << 20):
            file.write(block)
            have += len(block)
            yield Progress(have >> 20, total >> 20, f"Downloading {name}", "MiB")


def _check_download(part: Path, total: int, sha256: str, name: str, url: str) -> None:
    size = part.stat().st_size
    if total and size < total:
        raise ModelError(
            f"The download of {name} from {url} stopped after {size} of {total} bytes. "
            "Try again: it goes on from there."
        )
    if sha256 and file_hash(part, 64) != sha256:
        part.unlink()
        raise ModelError(
            f"What {url} gave is not the file that was expected (its sha256 differs), so it was "
            f"thrown away. Try again, or get the weights of {name} elsewhere. {_remedy(name)}"
        )


def _from_hub(name: str, source: WeightsSource, gate: str) -> Job[Path]:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    try:
        return Path(hf_hub_download(source.hub, source.file, local_files_only=True))
    except LocalEntryNotFoundError:
        yield Progress(0, 0, f"Fetching {name} from the Hugging Face hub")
    # The bases are errors of the system and of whichever HTTP library the hub's client uses.
    offline: tuple[type[BaseException], ...] = (LocalEntryNotFoundError, *HfHubHTTPError.__bases__)
    try:
        return Path(hf_hub_download(source.hub, source.file))
    except (GatedRepoError, RepositoryNotFoundError) as error:
        terms = gate or f"accept the terms at https://huggingface.co/{source.hub}"
        raise ModelError(
            f"The hub does not hand out {source.hub} to you. First {terms}, then log in with "
            f"`hf auth login` (or set HF_TOKEN) and try again. {_remedy(name)}"
        ) from error
    except offline as error:
        raise ModelError(
            f"The weights of {name} ({source.hub}) cannot be fetched from the Hugging Face hub: "
            f"{first_line(error)} Check the network and try again. {_remedy(name)}"
        ) from error


def _existing(name: str, path: Path) -> Path:
    if not path.is_file():
        raise ModelError(f"There is no weights file {path} for {name}. Check the path.")
    return path


def _in_folder(folder: Path, name: str, source: WeightsSource) -> Path | None:
    wanted = _file_names(name)
    if source.url:
        wanted.append(source.file_name)
    return next((folder / file for file in wanted if (folder / file).is_file()), None)


def _in_package(name: str, source: WeightsSource) -> Path:
    spec = importlib.util.find_spec(source.package)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = Path(folder) / source.file
        if path.is_file():
            return path
    raise ModelError(
        f"The weights of {name} come with the package {source.package.replace('_', '-')}, which "
        "is not installed or not complete: install it again with pip."
    )


def _file_names(name: str) -> list[str]:
    return [name] if name.endswith(OTHER_SUFFIXES) else [f"{name}{end}" for end in SUFFIXES]


def _remedy(name: str) -> str:
    first, *others = _file_names(name)
    more = f" (or {', '.join(other.removeprefix(name) for other in others)})" if others else ""
    return (
        f"You can also put the file as {first}{more} into a folder and name that folder in "
        "PATHFM_MODELS, or give the file itself."
    )

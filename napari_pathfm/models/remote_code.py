"""Models whose network exists only as code beside their weights: it runs after the user's yes.

The yes is to one model at one exact revision, the hash of a commit, and is kept in a file of the
user's settings. For a copy of the repository in a folder, the revision is a hash of its code.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .base import ModelError
from .checkpoint import first_line
from .revisions import is_commit
from .weights import model_folders


@dataclass(frozen=True)
class Consent:
    """The user's yes to the code of a model.

    Attributes
    ----------
    hub : str
        Repository on the Hugging Face hub, or a folder on this computer.
    revision : str
        Forty hexadecimal digits: the commit, or :func:`folder_revision`.
    """

    hub: str
    revision: str


def consents_file() -> Path:
    """File in which it is kept what the user has allowed."""
    import platformdirs

    return Path(platformdirs.user_config_path("napari-pathfm")) / "remote_code.json"


def allowed(name: str) -> Consent | None:
    """Return what the user has said yes to for a model, ``None`` for nothing.

    Raises
    ------
    ModelError
        The file of the settings is damaged.
    """
    found = _read().get(name)
    return None if found is None else Consent(**found)


def allow(name: str, hub: str, revision: str) -> None:
    """Remember that the user has said yes to the code of a model, instead of what was before.

    Raises
    ------
    ModelError
        `revision` is no full hash, but a branch or tag, whose code may change.
    """
    if not is_commit(revision):
        raise ModelError(
            f"{revision!r} is no revision that stays what it is: give the full hash of a commit, "
            "forty hexadecimal digits."
        )
    consents = {**_read(), name: asdict(Consent(hub, revision))}
    path = consents_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}")
    temporary.write_text(json.dumps(consents, indent=2), "utf-8")
    temporary.replace(path)


def require(name: str, hub: str, revision: str = "") -> Consent:
    """Make sure that the user has said yes to the code of a model.

    Parameters
    ----------
    name : str
    hub : str
        Where the code is.
    revision : str
        Which it is; if empty, the one that was allowed.

    Raises
    ------
    ModelError
        Nothing was allowed, or another repository or revision.
    """
    consent = allowed(name)
    if consent is None or consent.hub != hub or revision not in ("", consent.revision):
        which = f" at revision {revision}" if revision else ""
        before = f" You allowed {consent.hub} at {consent.revision}." if consent else ""
        raise ModelError(
            f"{name} runs code of its authors from {hub}{which}, with all that you may do on this "
            f"computer.{before} If you trust it, allow it with “pathfm models allow {name}”."
        )
    return consent


def _read() -> dict[str, Any]:
    path = consents_file()
    try:
        found = json.loads(path.read_text("utf-8"))
        if not all({"hub", "revision"} == set(consent) for consent in found.values()):
            raise ValueError("it holds something else")
    except FileNotFoundError:
        return {}
    except (ValueError, AttributeError, TypeError) as error:
        raise ModelError(
            f"What code you have allowed cannot be read from {path}: {error}. Delete that file, "
            "then allow models again."
        ) from error
    return dict(found)


def folder_revision(folder: Path) -> str:
    """Forty hexadecimal digits over the code and the settings of a repository in a folder."""
    digest = hashlib.blake2b(digest_size=20)
    for path in sorted([*folder.rglob("*.py"), *folder.rglob("*.json")]):
        text = path.read_bytes()
        digest.update(f"{path.relative_to(folder).as_posix()} {len(text)}\n".encode() + text)
    return digest.hexdigest()


def local_folder(name: str, given: Path | None = None) -> Path | None:
    """Return a copy of a model's repository on this computer.

    That is `given` itself, or ``<name>`` in it or in a folder of ``$PATHFM_MODELS``; it holds a
    ``config.json``.
    """
    places = [] if given is None else [Path(given), Path(given) / name]
    places += [folder / name for folder in model_folders()]
    return next((place.absolute() for place in places if (place / "config.json").is_file()), None)


def newest_revision(hub: str) -> str:
    """Ask the hub for the newest commit of a repository.

    Raises
    ------
    ModelError
        It does not answer, or not to this user.
    """
    from huggingface_hub import HfApi

    try:
        return str(HfApi().model_info(hub).sha)
    except (OSError, ValueError) as error:
        raise ModelError(
            f"The Hugging Face hub does not say which revision of {hub} is the newest: "
            f"{first_line(error)} Name one with --revision, or a copy of the repository with "
            "--folder."
        ) from error


def load_network(name: str, hub: str, folder: Path | None = None) -> tuple[Any, Consent]:
    """Load a model with the code of its repository, if the user has said yes to that.

    Parameters
    ----------
    name : str
    hub : str
        Repository on the Hugging Face hub.
    folder : Path, optional
        A copy of it on this computer, taken instead.

    Returns
    -------
    network : transformers.PreTrainedModel
    consent : Consent
        To what the user has said yes.

    Raises
    ------
    ModelError
        The user has not said yes to this code, or it cannot be loaded.
    """
    if folder is not None:
        consent = require(name, str(folder), folder_revision(folder))
    else:
        consent = require(name, hub)
    from transformers import AutoModel, PretrainedConfig

    pinned = {} if folder else {"revision": consent.revision, "code_revision": consent.revision}
    try:
        config, _ = PretrainedConfig.get_config_dict(consent.hub, **pinned)
        _check_own_code(name, consent.hub, config)
        network: Any = AutoModel.from_pretrained(consent.hub, trust_remote_code=True, **pinned)
    except (ImportError, OSError, ValueError, RuntimeError, AttributeError, TypeError) as error:
        raise ModelError(
            f"{name} cannot be loaded from {consent.hub}: {first_line(error)} Its code may want "
            "another version of transformers or a package that is missing; see there."
        ) from error
    return network.eval().requires_grad_(False), consent


def _check_own_code(name: str, hub: str, config: dict[str, Any]) -> None:
    """Refuse a repository that has code come from another one, to which nobody has said yes."""
    for reference in config.get("auto_map", {}).values():
        for each in reference if isinstance(reference, list) else [reference]:
            if isinstance(each, str) and "--" in each:
                other = each.partition("--")[0]
                raise ModelError(
                    f"The code of {name} in {hub} comes from another repository, {other}, which "
                    "is not run. Use a copy of the repository that holds its code itself."
                )

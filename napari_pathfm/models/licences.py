"""Licences that are not for commercial use: told before a model's first use.

In the window and in a terminal the user is asked, once a model; the answer is kept in the user's
settings. A script is told once.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path

from .base import ModelSpec
from .catalog import entries

_told: set[str] = set()
"""Models of which this process has told."""


class LicenceWarning(UserWarning):
    """A model that is not, or not clearly, for commercial use is about to be used."""


def terms(spec: ModelSpec) -> str:
    """Say what is not allowed, by which licence, and where that stands."""
    return (
        f"{spec.name} is not, or not clearly, for commercial use ({spec.licence}, see "
        f"{spec.source})."
    )


def first_use(name: str) -> ModelSpec | None:
    """Return the facts of a model whose licence its user has to be told of now, or ``None``.

    To ask is to tell: the answer is ``None`` from then on.
    """
    entry = entries().get(name)
    if entry is None or name in _told or not must_ask(entry.spec):
        return None
    _told.add(name)
    return entry.spec


def warn(name: str, stacklevel: int = 2) -> None:
    """Warn whoever uses a model in a script, the first time, with :class:`LicenceWarning`."""
    if spec := first_use(name):
        warnings.warn(terms(spec), LicenceWarning, stacklevel=stacklevel + 1)


def settings_file() -> Path:
    """Where the answers are kept."""
    import platformdirs

    return Path(platformdirs.user_config_dir("napari-pathfm")) / "licences.json"


def must_ask(spec: ModelSpec) -> bool:
    """Whether a model is not for commercial use and its user has not agreed to that yet."""
    if spec.status == "none":
        return False  # there is no such model to use
    return not spec.commercial and _agreed().get(spec.name) != spec.licence


def agree(spec: ModelSpec) -> None:
    """Remember that the user agrees to a model's licence; another licence is asked for anew.

    Raises
    ------
    OSError
        The settings cannot be written.
    """
    file = settings_file()
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(_agreed() | {spec.name: spec.licence}, indent=1), "utf-8")


def _agreed() -> dict[str, str]:
    try:
        found = json.loads(settings_file().read_text("utf-8"))
    except (OSError, ValueError):
        return {}  # nothing was agreed to, or nobody can say what
    return found if isinstance(found, dict) else {}

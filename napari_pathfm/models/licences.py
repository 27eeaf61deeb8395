"""Which licences the user has agreed to: asked once a model, kept in the user's settings."""

from __future__ import annotations

import json
from pathlib import Path

from .base import ModelSpec


def settings_file() -> Path:
    """Where the answers are kept."""
    import platformdirs

    return Path(platformdirs.user_config_dir("napari-pathfm")) / "licences.json"


def must_ask(spec: ModelSpec) -> bool:
    """Whether a model is not for commercial use and its user has not agreed to that yet."""
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

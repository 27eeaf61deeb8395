"""Which revision of a repository weights come from, and which one the user has pinned.

Beside each file that was downloaded lies ``<file>.source.json``: address, commit and sha256. What
the user has pinned is kept in a file of the settings and goes before what a catalogue says.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from .base import ModelError

COMMIT = re.compile(r"[0-9a-f]{40}")
HEADER = "X-Repo-Commit"
"""How the Hugging Face hub says which commit a file is from."""


def is_commit(revision: str) -> bool:
    """Whether a revision is the full hash of a commit, which stays what it is."""
    return bool(COMMIT.fullmatch(revision))


def record_file(path: Path) -> Path:
    """Where it is written down from where a file was downloaded."""
    return path.with_name(f"{path.name}.source.json")


def write_record(path: Path, url: str, commit: str, sha256: str) -> None:
    """Write down from where a file was downloaded.

    Raises
    ------
    OSError
        It cannot be written.
    """
    record = {"url": url, "revision": commit, "sha256": sha256}
    record_file(path).write_text(json.dumps(record, indent=1), "utf-8")


def commit_of(path: Path) -> str:
    """Return the commit from which a file was downloaded, here or into the hub's cache; else ""."""
    if path.parent.parent.name == "snapshots" and is_commit(path.parent.name):
        return path.parent.name
    try:
        found = json.loads(record_file(path).read_text("utf-8"))
    except (OSError, ValueError):
        return ""  # somebody put the file there, and it is taken as it is
    revision = found.get("revision", "") if isinstance(found, dict) else ""
    return revision if isinstance(revision, str) else ""


def pins_file() -> Path:
    """File of the settings in which it is kept which revisions the user has pinned."""
    import platformdirs

    return Path(platformdirs.user_config_path("napari-pathfm")) / "revisions.json"


def pins() -> dict[str, str]:
    """Return which revision the user has pinned of each model.

    Raises
    ------
    ModelError
        The file of the settings is damaged.
    """
    path = pins_file()
    try:
        found: dict[str, Any] = json.loads(path.read_text("utf-8"))
        return {str(name): str(revision) for name, revision in found.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError) as error:
        raise ModelError(
            f"Which revisions are pinned cannot be read from {path}: {error}. Delete that file, "
            "then pin them again."
        ) from error


def pin(name: str, revision: str = "") -> None:
    """Take a model's files from one revision from now on; empty: as the catalogue says.

    Raises
    ------
    OSError
        The settings cannot be written.
    """
    wanted = {**pins(), name: revision}
    path = pins_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    kept = {name: revision for name, revision in wanted.items() if revision}
    path.write_text(json.dumps(kept, indent=1), "utf-8")

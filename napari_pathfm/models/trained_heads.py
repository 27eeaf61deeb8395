"""Heads that were trained in a project, as choices by their names."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from ..core.registry import Choice, Registry
from .base import ModelError
from .slide_classifier import Card, SlideClassifier, load_classifier


def trained_heads(folder: Path) -> Registry[SlideClassifier]:
    """Every head that can be chosen in a project.

    Parameters
    ----------
    folder : Path
        Its ``models`` folder.
    """
    return Registry("", "trained model", [partial(_choices, folder)])


def trained_cards(folder: Path) -> dict[str, Card]:
    """What is known of each head of a ``models`` folder, by its name, without loading anything."""
    found = {path.stem: _card(path) for path in sorted(folder.glob("*.json"))}
    return {name: card for name, card in found.items() if card is not None}


def _choices(folder: Path) -> Iterator[Choice[SlideClassifier]]:
    for path in sorted(folder.glob("*.json")):
        # One that is damaged or too new can be chosen, too: it says so itself.
        if path.with_suffix(".safetensors").is_file() or _card(path) is not None:
            yield Choice(path.stem, str(path), partial(load_classifier, path))


def _card(path: Path) -> Card | None:
    try:
        return Card.read(path)
    except ModelError:
        return None  # no trained head: other models have files of that kind, too

"""Which models there are, and what stands in the way of one."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ._shared import models_folder

if TYPE_CHECKING:
    from ..io.project import Project
    from ..models.catalog import CatalogEntry
    from ..models.check import Check, Memory

LISTS = {
    "encoder": "encoders",
    "segmenter": "segmenters",
    "example": "example_segmenters",
    "slide": "slide_models",
    "report": "report_models",
}
"""Where :func:`models` lists a kind of model."""


def models(project: Project | str | Path | None = None) -> dict[str, list[dict[str, Any]]]:
    """List every model by its kind: its facts, and what there is of it on this computer.

    Nothing is loaded. Those that a plugin registers without a catalogue have no facts.

    Parameters
    ----------
    project : Project, str or Path, optional
        The heads that were trained in it are listed, too, as "heads".
    """
    from ..models.catalog import encoders, entries, segmenters, slide_models
    from ..models.check import free_memory

    known, memory = entries(), free_memory()
    registered = {
        "encoder": encoders().names(),
        "segmenter": segmenters().names(),
        "slide": slide_models().names(),
    }
    names = {
        kind: {*registered.get(kind, ()), *(n for n, e in known.items() if e.spec.kind == kind)}
        for kind in LISTS
    }
    listed = {
        title: [_facts(name, kind, known.get(name), memory) for name in sorted(names[kind])]
        for kind, title in LISTS.items()
    }
    if project is not None:
        listed["heads"] = _heads(models_folder(project))
    return listed


def check_model(name: str) -> Check:
    """Say what stands in the way of a model; may ask the network.

    A model that is in no catalogue (of a plugin, say) has its own ways, and nothing is said.

    Raises
    ------
    ModelError
        There is no such model.
    """
    from ..core.registry import did_you_mean
    from ..models.base import ModelError
    from ..models.catalog import encoders, entries, segmenters, slide_models
    from ..models.check import Check, check

    known = entries()
    if name in known:
        return check(known[name], thorough=True)
    names = {*known, *encoders().names(), *segmenters().names(), *slide_models().names()}
    if name not in names:
        more = f"{did_you_mean(name, sorted(names))} “pathfm models” lists them all."
        raise ModelError(f"There is no model {name!r}.{more}")
    return Check(None, None, ())


def _facts(name: str, kind: str, entry: CatalogEntry | None, memory: Memory) -> dict[str, Any]:
    from ..models.check import check

    if entry is None:
        return {"name": name, "kind": kind, "status": "open", "note": "No catalogue has it."}
    return asdict(entry.spec) | check(entry, memory=memory).facts()


def _heads(folder: Path) -> list[dict[str, Any]]:
    from ..models.trained_heads import trained_cards

    return [
        {
            "name": name,
            "kind": "head",
            "head": card.head,
            "classes": list(card.classes),
            "encoders": [source.key.encoder for source in card.sources],
            "metrics": card.metrics,
            "made": card.made,
        }
        for name, card in trained_cards(folder).items()
    ]

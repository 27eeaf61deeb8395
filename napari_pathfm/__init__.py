"""Explore, segment, correct and export whole-slide images, in napari.

The verbs of :mod:`napari_pathfm.api` can be called from here; they are imported at their first
use, so that importing the package costs next to nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .api import (
        commit,
        embed,
        export,
        export_features,
        import_features,
        import_objects,
        load_embeddings,
        open_project,
        open_slide,
        quality,
        search,
        search_text,
        segment,
        sift,
        stain_reference,
        tiles,
        tissue,
        umap,
        zero_shot,
    )

__all__ = [
    "commit",
    "embed",
    "export",
    "export_features",
    "import_features",
    "import_objects",
    "load_embeddings",
    "open_project",
    "open_slide",
    "quality",
    "search",
    "search_text",
    "segment",
    "sift",
    "stain_reference",
    "tiles",
    "tissue",
    "umap",
    "zero_shot",
]


def __getattr__(name: str) -> object:
    if name in __all__:
        from . import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

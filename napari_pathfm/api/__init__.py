"""The verbs without a window: each runs to its end and returns its result.

Positions are ``(y, x)`` in level-0 pixels. Long verbs take `report`, a function that is called
with every :class:`~napari_pathfm.core.jobs.Progress`."""

from __future__ import annotations

from ._shared import Report
from .annotations import commit, export, import_objects, segment, segment_each
from .by_example import save_example, segment_by_example
from .catalogue import LISTS, check_model, models
from .embeddings import (
    embed,
    embedded_for_text,
    export_features,
    import_features,
    load_embeddings,
    stain_reference,
)
from .explore import predict_slides, search, search_text, umap, zero_shot
from .slides import kept_mpp, open_project, open_slide, quality, sift, tiles, tissue

__all__ = [
    "LISTS",
    "Report",
    "check_model",
    "commit",
    "embed",
    "embedded_for_text",
    "export",
    "export_features",
    "import_features",
    "import_objects",
    "kept_mpp",
    "load_embeddings",
    "models",
    "open_project",
    "open_slide",
    "predict_slides",
    "quality",
    "save_example",
    "search",
    "search_text",
    "segment",
    "segment_by_example",
    "segment_each",
    "sift",
    "stain_reference",
    "tiles",
    "tissue",
    "umap",
    "zero_shot",
]
